"""This file turns a kind, a number of joints and a seed into one planning problem that has a solution.

Every problem is built around a hidden witness: a smooth joint motion from the start to the guide that takes
WITNESS_TIME of the 3 s. Boxes and obstacle spheres are drawn near its straight counterpart and kept only where they
leave the witness room, so that a way in time exists; one box of every static problem blocks the straight way. People are drawn so
that the robot may stand where it starts or ends, whatever the prediction's bound allows them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np

from robotctl.errors import UsageError, nearest
from robotctl.geometry import point_box_distance, point_segment_distance, rotation_z
from robotctl.guardrails.clearance import Clearance
from robotctl.guardrails.guardrail import Assumptions, Guardrail, in_force
from robotctl.guardrails.keep_out import KeepOut
from robotctl.guardrails.load import boxes_of, find_guardrails, load_guardrails
from robotctl.objectives.reach import ReachGoal
from robotctl.planning.inverse_kinematics import descend
from robotctl.robot import DDQ_MAX, DQ_MAX, HAND, Q_MAX, Q_MIN, TCP, RobotModel, tcp_pose
from robotctl.scene import Box, load_scene
from robotctl.simulation.people import Person
from robotctl.state import Held, PersonState, RobotState, State
from robotctl.task import PersonPlan
from robotctl.trajectory import Trajectory
from robotctl.world_model.composite import LearnedWorldModel, load_world_model

KINDS = ("static", "person", "blade", "cup", "shelf")
JOINTS = (7, 10)
STEPS, DT = 30, 0.1  # the planner's horizon: 3 s
WITNESS_TIME = 2.2  # [s] of the 3 s: the reserve of every problem
WITNESS_ROOM = 0.035  # [m] that everything leaves the witness
WITNESS_SPEED = 0.75  # [m/s] of any sphere on the witness; the guardrail's ceiling is 1.2
BLADE_SPEED = 0.11  # [m/s] of the blade on the witness; the guardrail's ceiling is 0.25
JOINT_ROOM = 0.15  # from the joints' end stops [m, rad]
PERSON_ROOM = {"person": 0.3, "blade": 0.5}  # [m] people leave at start and guide, bounds included; radii: 0.12, 0.30
PERSON_DRAWS = 6  # walkers tried before everything is drawn again
READY = np.array([0.0, 0.0, 0.0, 0.0, -0.3, 0.0, -2.1, 0.0, 1.9, 0.785])  # about where the arm starts
ATTEMPTS = 10_000
GRAY = (0.6, 0.6, 0.6, 1.0)
DOWN = np.diag([1.0, -1.0, -1.0])  # the hand's rotation with the fingers pointing down
FORWARD = np.array([[0.0, 0.0, 1.0], [0.0, -1.0, 0.0], [1.0, 0.0, 0.0]])  # with the fingers pointing along x


@dataclass(frozen=True, eq=False)
class PlanningProblem:
    """What every method is asked: accelerations (STEPS, 10) from the start's reference."""

    name: str
    kind: str
    joints: tuple[int, ...]  # those that may move
    seed: int
    state: State
    goal: ReachGoal
    robot: RobotModel
    guardrails: tuple[Guardrail, ...]  # in force
    boxes: tuple[Box, ...]  # furniture
    obstacles: np.ndarray  # (n, 4) spheres of other objects x y z r [m]
    model: LearnedWorldModel
    assumptions: Assumptions
    witness: np.ndarray  # (STEPS, 10) accelerations of a motion that gets there; people may slow it down
    horizon: int = STEPS
    dt: float = DT


def problems(
    seeds: Iterable[int], kinds: Sequence[str] = KINDS, joints: Sequence[int] = JOINTS
) -> list[tuple[str, int, int]]:
    """Kind, number of joints and seed of every problem, in the order in which they are run."""
    for kind in kinds:
        if kind not in KINDS:
            raise UsageError(f"--kinds: no kind '{kind}'{nearest(kind, KINDS)}")
    return [(kind, n, seed) for seed in seeds for kind in kinds for n in joints]


def make_problem(kind: str, joints: int, seed: int) -> PlanningProblem:
    """The problem of these three, always the same."""
    generator = np.random.default_rng([seed, KINDS.index(kind), joints])
    for _ in range(ATTEMPTS):
        problem = _attempt(kind, joints, seed, generator)
        if problem is not None:
            return problem
    raise UsageError(f"no problem found for {kind}, {joints} joints, seed {seed}")  # does not happen: a few dozen draws do


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
    a = boxes_of(boxes)
    if not boxes:
        return np.full((*center.shape[:2], 1), np.inf)
    return point_box_distance(center[:, :, None], a.center, a.rotation, a.half) - radius[:, None]


# ---- one attempt -----------------------------------------------------------------------------------------------


def _attempt(kind: str, joints: int, seed: int, generator: np.random.Generator) -> PlanningProblem | None:
    free = np.arange(10 - joints, 10)
    robot = _robot(kind, generator)
    start = READY.copy()
    start[3:] += generator.normal(0.0, 0.25, 7) * (0.4 if kind == "cup" else 1.0)
    if kind in ("cup", "blade", "shelf"):  # the hand in order from the start
        start = _reached(*_hand_pose(kind, tcp_pose(start)[0], generator), start, free[-7:])
        if start is None:
            return None
    guide = _guide(kind, joints, start, free, generator)
    if guide is None:
        return None
    q = _witness(kind, start, guide, free, generator)
    if not _fits(kind, robot, q, free):
        return None
    straight = start + _min_jerk(np.linspace(0.0, 1.0, len(q)))[:, None] * (guide - start)
    room = _Room(robot, q, straight)
    if room.self_distance() < WITNESS_ROOM:
        return None
    boxes = _furniture(kind, room, guide, generator)
    if boxes is None:
        return None
    obstacles = _obstacles(kind, room, boxes, generator)
    stove = [room.box("stove", generator, 0.10)]
    if stove[0] is None:
        return None
    people: tuple[PersonState, ...] = ()
    if kind in ("person", "blade"):
        drawn = (_person(kind, robot, np.stack([start, guide]), generator) for _ in range(PERSON_DRAWS))
        person = next((p for p in drawn if p is not None), None)
        if person is None:
            return None
        people = (person,)
    rules, assumptions = household()
    model = world_model()
    dq = np.zeros(10)
    if generator.uniform() < 0.5:
        dq[free] = generator.uniform(-1.0, 1.0, joints) * (0.01 if kind == "blade" else 0.05)
    drives = start - model.actuators.latency * dq  # trails its reference as the drives do
    position, rotation = tcp_pose(guide)
    return PlanningProblem(
        name=f"{kind}-{joints}-{seed}",
        kind=kind,
        joints=tuple(int(j) for j in free),
        seed=seed,
        state=State(10.0, RobotState(drives, dq, start, dq, 0.08, robot.held), people=people),
        goal=ReachGoal(position, rotation, guide),
        robot=robot,
        guardrails=in_force(_over(rules, boxes, stove), robot.held, "pick"),
        boxes=tuple(boxes),
        obstacles=obstacles,
        model=model,
        assumptions=assumptions,
        witness=accelerations(q, dq),
    )


def _over(rules: Sequence[Guardrail], boxes: Sequence[Box], stove: Sequence[Box]) -> list[Guardrail]:
    """The household's rules over the problem's own boxes."""
    placed = {Clearance: boxes_of(boxes), KeepOut: boxes_of(stove)}
    return [replace(g, boxes=placed[type(g)]) if type(g) in placed else g for g in rules]  # type: ignore[type-var]


def _robot(kind: str, generator: np.random.Generator) -> RobotModel:
    """The robot with what it holds: a knife along the hand's y, or an upright cup below the hand."""
    if kind not in ("blade", "cup"):
        return RobotModel()
    T = np.eye(4)
    T[:3, :3] = DOWN  # the object's z is up when the fingers point down
    if kind == "cup":
        T[:3, 3] = (0.0, 0.0, 0.13)
        held = Held("cup", "cup", frozenset({"fillable"}), T)
        local = np.array([[0.0, 0.0, z] for z in (-0.02, 0.0, 0.03)])
        return RobotModel().holding(held, local, np.full(3, 0.045), np.zeros(3, bool))
    T[:3, 3] = (0.0, 0.0, 0.115)
    held = Held("knife", "knife", frozenset({"sharp"}), T)
    length = generator.uniform(0.10, 0.18)
    local = np.array([[0.0, y, 0.0] for y in (-0.10, -0.05, 0.0, 0.05, 0.5 * length, length)])
    return RobotModel().holding(held, local, np.full(6, 0.018), np.array([False] * 3 + [True] * 3))


def _hand_pose(kind: str, position: np.ndarray, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A hand pose near `position`: down for what is held, forward for a shelf."""
    turn = generator.normal(0.0, 0.3)
    rotation = FORWARD @ rotation_z(turn) if kind == "shelf" else rotation_z(turn) @ DOWN
    return position, rotation


def _reached(position: np.ndarray, rotation: np.ndarray, near: np.ndarray, free: np.ndarray) -> np.ndarray | None:
    """Joints (10,) near `near` that bring the hand to the pose; None if they do not."""
    q = near[None].copy()
    mobility = np.zeros(10)
    mobility[free] = np.where(free < 3, 0.3, 1.0)
    low, high = Q_MIN + JOINT_ROOM, Q_MAX - JOINT_ROOM
    done = descend(q, position[None], np.ascontiguousarray(rotation)[None], mobility, near, 0.02, low, high, 60)
    return q[0] if done[0] else None


def _guide(
    kind: str, joints: int, start: np.ndarray, free: np.ndarray, generator: np.random.Generator
) -> np.ndarray | None:
    """Joints at the goal, (10,)."""
    tip, rotation = tcp_pose(start)
    if kind == "blade":
        away = generator.normal(size=3)
        position = tip + generator.uniform(0.06, 0.11) * away / np.linalg.norm(away)
        return _reached(position, rotation, start, free)
    near = start.copy()
    if joints == 10:
        near[:2] += generator.uniform((0.1, -0.5), (0.6, 0.5))
        near[2] += generator.normal(0.0, 0.3)
    if kind == "cup":
        near[3] += generator.uniform(-0.6, 0.6)
        tip = tcp_pose(near)[0] + generator.uniform((-0.08, -0.1, -0.1), (0.15, 0.1, 0.15))
        return _reached(*_hand_pose(kind, tip, generator), near, free)
    if kind == "shelf":
        tip = tcp_pose(near)[0] + generator.uniform((0.1, -0.25, -0.15), (0.3, 0.25, 0.15))
        return _reached(*_hand_pose(kind, tip, generator), near, free)
    near[3:] += generator.normal(0.0, 0.4, 7)
    near[3] += generator.choice((-1.0, 1.0)) * generator.uniform(0.2, 0.6)
    return np.clip(near, Q_MIN + JOINT_ROOM, Q_MAX - JOINT_ROOM)


def _min_jerk(s: np.ndarray) -> np.ndarray:
    s = np.clip(s, 0.0, 1.0)
    return s**3 * (10.0 - 15.0 * s + 6.0 * s * s)


def _witness(
    kind: str, start: np.ndarray, guide: np.ndarray, free: np.ndarray, generator: np.random.Generator
) -> np.ndarray:
    """A smooth motion with a detour, (STEPS + 1, 10) at the knots; it arrives after WITNESS_TIME."""
    s = np.linspace(0.0, STEPS * DT, STEPS + 1) / WITNESS_TIME
    detour = np.zeros(10)
    if kind in ("static", "person", "shelf"):
        detour[free] = generator.normal(0.0, 0.25, len(free)) * np.where(free < 3, 0.4, 1.0)
    bump = np.sin(np.pi * _min_jerk(s)) ** 2
    return start + _min_jerk(s)[:, None] * (guide - start) + bump[:, None] * detour


def accelerations(q: np.ndarray, dq: np.ndarray) -> np.ndarray:
    """Piecewise constant accelerations (H, 10) from speed dq (10,) whose knots stay close to the path q (H+1, 10).

    The speed at a knot is the path's (central differences), zero at the end; what that drifts is fed back.
    """
    speed = np.gradient(q, DT, axis=0)
    speed[-1] = 0.0
    u = np.empty((len(q) - 1, q.shape[1]))
    here, v = q[0].copy(), np.array(dq, float)
    for k in range(len(u)):
        end = speed[k + 1] + 2.0 * (q[k] - here)  # 2/s: gentle
        u[k] = np.clip((end - v) / DT, -DDQ_MAX, DDQ_MAX)
        here, v = here + DT * v + 0.5 * DT * DT * u[k], v + DT * u[k]
    return u


def _fits(kind: str, robot: RobotModel, q: np.ndarray, free: np.ndarray) -> bool:
    """Whether the witness keeps the joints' limits, the speeds and the tilt with reserve."""
    dq = np.gradient(q, DT, axis=0)
    if np.any(q[:, 3:] < (Q_MIN + JOINT_ROOM)[3:] - 1e-9) or np.any(q[:, 3:] > (Q_MAX - JOINT_ROOM)[3:] + 1e-9):
        return False
    if np.any(np.abs(dq) > 0.7 * DQ_MAX) or np.any(np.abs(np.gradient(dq, DT, axis=0)) > 0.7 * DDQ_MAX):
        return False
    _, velocity, turning, hand = robot.sphere_motion(q, dq)
    speed = np.linalg.norm(velocity, axis=2) + turning * robot.spheres.radius
    blade = np.array([part == "blade" for part in robot.spheres.part])
    if speed.max() > WITNESS_SPEED or (blade.any() and speed[:, blade].max() > BLADE_SPEED):
        return False
    travelled = np.linalg.norm(np.diff(_tips(q), axis=0), axis=1).sum()
    if travelled < (0.05 if kind == "blade" else 0.15):
        return False
    return kind != "cup" or bool((hand[:, 2, 2] < -np.cos(np.deg2rad(12.0))).all())


def _tips(q: np.ndarray) -> np.ndarray:
    """TCP (n, 3) at joints q (n, 10)."""
    rotation, origin = RobotModel().forward(q)
    return origin[:, HAND] + rotation[:, HAND] @ TCP


# ---- what stands around ----------------------------------------------------------------------------------------


class _Room:
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


def _furniture(kind: str, room: _Room, guide: np.ndarray, generator: np.random.Generator) -> list[Box] | None:
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


def _obstacles(kind: str, room: _Room, boxes: Sequence[Box], generator: np.random.Generator) -> np.ndarray:
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


def _person(kind: str, robot: RobotModel, q: np.ndarray, generator: np.random.Generator) -> PersonState | None:
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
