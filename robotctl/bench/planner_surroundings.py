"""This file turns a witness motion and a generator into what stands and walks around it: boxes, spheres, a person."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np

from robotctl.geometry import point_box_distance, point_segment_distance
from robotctl.guardrails.clearance import Boxes
from robotctl.guardrails.guardrail import Assumptions, Guardrail
from robotctl.guardrails.load import find_guardrails, load_guardrails
from robotctl.robot import HAND, RobotModel, tcp_pose
from robotctl.scene import Box
from robotctl.scene_files import load_scene
from robotctl.simulation.people import Person
from robotctl.state import PersonState, RobotState, State
from robotctl.task import PersonPlan
from robotctl.trajectory import Trajectory
from robotctl.world_model.composite import LearnedWorldModel, load_world_model

STEPS, DT = 30, 0.1  # the planner's horizon: 3 s
WITNESS_ROOM = 0.035  # [m] that everything leaves the witness
PERSON_ROOM = {"person": 0.3, "blade": 0.5}  # [m] people leave at start and guide, bounds included; radii: 0.12, 0.30
GRAY = (0.6, 0.6, 0.6, 1.0)


@cache
def household() -> tuple[tuple[Guardrail, ...], Assumptions]:
    """The packaged household guardrails and the assumptions they rest on."""
    loaded = load_guardrails([find_guardrails("household")], load_scene("kitchen"))
    return loaded.guardrails, loaded.assumptions


@cache
def world_model() -> LearnedWorldModel:
    """The packaged world model."""
    return load_world_model(None, household()[1])


def at_rest(robot: RobotModel, q: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sphere centres (n, S, 3) and the hand's rotation (n, 3, 3) at joints q (n, 10)."""
    rotation, origin = robot.forward(q)
    frame, offset = robot.spheres.frame, robot.spheres.offset
    return origin[:, frame] + (rotation[:, frame] @ offset[:, :, None])[..., 0], rotation[:, HAND]


def box_gaps(center: np.ndarray, radius: np.ndarray, boxes: Sequence[Box]) -> np.ndarray:
    """Surface distance (n, S, B) [m] of spheres at center (n, S, 3) to boxes."""
    a = Boxes.of(boxes)
    if not boxes:
        return np.full((*center.shape[:2], 1), np.inf)
    return point_box_distance(center[:, :, None], a.center, a.rotation, a.half) - radius[:, None]


class Room:
    """The space the witness leaves free."""

    def __init__(self, robot: RobotModel, witness: np.ndarray, straight: np.ndarray) -> None:
        fine = np.concatenate([witness, 0.5 * (witness[1:] + witness[:-1]), straight[-1:]])
        self.radius = robot.spheres.radius
        self.center = at_rest(robot, fine)[0]
        self.frame = robot.spheres.frame
        self.straight = at_rest(robot, straight)[0]
        self.outer = self.frame >= 5

    def self_distance(self) -> float:
        """Between wrist, hand or load and base or shoulder, the smallest along the witness [m]."""
        inner = self.frame <= 1
        gap = np.linalg.norm(self.center[:, self.outer, None] - self.center[:, None, inner], axis=-1)
        return float((gap - self.radius[self.outer, None] - self.radius[inner]).min())

    def leaves(self, box: Box, room: float = WITNESS_ROOM) -> bool:
        return bool(box_gaps(self.center, self.radius, [box]).min() >= room)

    def near_the_way(self, generator: np.random.Generator, spread: float) -> np.ndarray:
        """A point near the straight way of an outer sphere, (3,)."""
        k, s = generator.integers(len(self.straight)), generator.choice(np.flatnonzero(self.outer))
        return self.straight[k, s] + generator.normal(0.0, spread, 3)

    def box(self, name: str, generator: np.random.Generator, largest: float, blocks: bool = False) -> Box | None:
        """A box near the way; `blocks`: in the straight way."""
        for _ in range(100):
            half = generator.uniform(0.03, largest, 3)
            spread = 0.08 if blocks else 0.22
            box = Box(name, self.near_the_way(generator, spread), half, generator.uniform(-np.pi, np.pi), GRAY)
            if self.leaves(box) and not (blocks and box_gaps(self.straight, self.radius, [box]).min() > 0.0):
                return box
        return None


def furniture(kind: str, room: Room, guide: np.ndarray, generator: np.random.Generator) -> list[Box] | None:
    """Boxes that leave the witness room: a table or a shelf, and boxes near the way."""
    if kind == "shelf":
        boxes = _shelf(guide, generator)
        if not all(room.leaves(box) for box in boxes):
            return None
        extra = 4
    else:
        tip = tcp_pose(guide)[0]
        top = Box("table", np.array([tip[0], tip[1], tip[2] - generator.uniform(0.18, 0.35)]),
                  np.array([0.25, 0.4, 0.02]), float(guide[2]), GRAY)  # fmt: skip
        boxes = [top] if room.leaves(top) else []
        extra = {"static": 12, "person": 4, "blade": 5, "cup": 8}[kind]
    for i in range(extra):
        box = room.box(f"box{i}", generator, 0.12, blocks=kind == "static" and i == 0)
        if box is None:
            return None
        boxes.append(box)
    return boxes


def _shelf(guide: np.ndarray, generator: np.random.Generator) -> list[Box]:
    """Boards, sides and back of a shelf in the robot's x direction whose front the hand reaches into."""
    tip = tcp_pose(guide)[0]
    front = tip[0] - generator.uniform(0.0, 0.06)
    deep, wide, thick = 0.18, 0.45, 0.01  # half [m]
    below, above = generator.uniform(0.11, 0.15), generator.uniform(0.13, 0.2)
    middle = tip[1] + generator.uniform(-0.12, 0.12)
    heights = (tip[2] - below, tip[2] + above, tip[2] - below - 0.35)
    boards = [Box(f"board{i}", np.array([front + deep, middle, z]), np.array([deep, wide, thick]), 0.0, GRAY)
              for i, z in enumerate(heights)]  # fmt: skip
    low, high = tip[2] - below - 0.35, tip[2] + above
    upright = np.array([deep, thick, 0.5 * (high - low)])
    sides = [Box(f"side{i}", np.array([front + deep, middle + sign * wide, 0.5 * (low + high)]), upright, 0.0, GRAY)
             for i, sign in enumerate((-1.0, 1.0))]  # fmt: skip
    back = Box("back", np.array([front + 2 * deep, middle, 0.5 * (low + high)]),
               np.array([thick, wide, 0.5 * (high - low)]), 0.0, GRAY)  # fmt: skip
    return [*boards, *sides, back]


def obstacle_spheres(kind: str, room: Room, boxes: Sequence[Box], generator: np.random.Generator) -> np.ndarray:
    """Spheres (n, 4) of things that stand about; on the boards of a shelf. Only wrist, hand and load mind them."""
    wanted = {"shelf": 16, "static": 6}.get(kind, 3)
    found: list[np.ndarray] = []
    for _ in range(400):
        if len(found) == wanted:
            break
        radius = generator.uniform(0.02, 0.05)
        if kind == "shelf":
            board = boxes[int(generator.integers(2))]
            low, high = board.center - board.half, board.center + board.half
            center = np.array([*generator.uniform(low[:2], high[:2]), high[2] + radius])
        else:
            center = room.near_the_way(generator, 0.18)
        gap = np.linalg.norm(room.center[:, room.outer] - center, axis=-1) - room.radius[room.outer] - radius
        if gap.min() >= WITNESS_ROOM:
            found.append(np.array([*center, radius]))
    return np.array(found).reshape(-1, 4)


def person_near(kind: str, robot: RobotModel, q: np.ndarray, generator: np.random.Generator) -> PersonState | None:
    """Someone who walks across in front of the robot, as seen; None if that leaves start or guide q (2, 10) no room."""
    distance, side = generator.uniform(1.2, 2.4), generator.choice((-1.0, 1.0))
    path = np.array([[distance, -2.5 * side], [distance + generator.normal(0.0, 0.3), 2.5 * side]])
    plan = PersonPlan("ann", "walk", path, generator.uniform(0.6, 1.0), 0.0, (), 0.0, False)
    person = Person(plan, np.random.default_rng(0))  # without jitter the generator is not used
    now = generator.uniform(1.0, 3.0)
    history = np.array([person.keypoints(now + 0.1 * k) for k in range(-5, 1)])
    seen = PersonState("ann", history[-1], 10.0 - household()[1].sensing_latency, history)
    state = State(10.0, RobotState(q[0], 0 * q[0], q[0], 0 * q[0], 0.08), people=(seen,))
    keypoints, bound = world_model().predict_people(state, DT * np.arange(STEPS + 1))
    n = len(keypoints)
    nearest_gap = np.inf
    for posture in q:
        still = np.tile(np.concatenate([posture, np.zeros(10)]), (n, 1))
        zero = np.zeros(n)
        sweep = robot.sweep(Trajectory(DT * np.arange(n), still, np.zeros((n - 1, 11)), keypoints, bound, zero, zero,
                                       np.zeros((n, 10))))  # fmt: skip
        gap = point_segment_distance(sweep.center[:, :, None], sweep.capsule_a[:, None], sweep.capsule_b[:, None])
        nearest_gap = min(nearest_gap, (gap - sweep.capsule_radius[:, None] - sweep.radius[:, :, None]).min())
    least = PERSON_ROOM[kind]
    return seen if least <= nearest_gap <= least + 0.7 else None
