"""This file turns a kind, a number of joints and a seed into one planning problem that has a solution.

Every problem is built around a hidden witness: a smooth joint motion from the start to the guide that takes
WITNESS_TIME of the 3 s. Boxes and obstacle spheres are drawn near its straight counterpart and kept only where they
leave the witness room, so that a way in time exists; one box of every static problem blocks the straight way. People
are drawn so that the robot may stand where it starts or ends, whatever the prediction's bound allows them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from robotctl.bench.planner_surroundings import (
    DT,
    STEPS,
    WITNESS_ROOM,
    Room,
    furniture,
    household,
    obstacle_spheres,
    person_near,
    world_model,
)
from robotctl.errors import UsageError, nearest
from robotctl.geometry import rotation_z
from robotctl.guardrails.clearance import Boxes, Clearance
from robotctl.guardrails.guardrail import Assumptions, Guardrail, in_force
from robotctl.guardrails.keep_out import KeepOut
from robotctl.objectives.reach import ReachGoal
from robotctl.planning.inverse_kinematics import descend
from robotctl.robot import BRAKE, DDQ_MAX, DQ_MAX, HAND, Q_MAX, Q_MIN, TCP, RobotModel, tcp_pose
from robotctl.scene import Box
from robotctl.state import Held, PersonState, RobotState, State
from robotctl.world_model.composite import LearnedWorldModel
from robotctl.world_model.kinematic import held_bound

KINDS = ("static", "person", "blade", "cup", "shelf")
JOINTS = (7, 10)
WITNESS_TIME = 2.2  # [s] of the 3 s: the reserve of every problem
WITNESS_SPEED = 0.75  # [m/s] of any sphere on the witness; the guardrail's ceiling is 1.2
BLADE_SPEED = 0.11  # [m/s] of the blade on the witness; the guardrail's ceiling is 0.25
JOINT_ROOM = 0.15  # from the joints' end stops [m, rad]
PERSON_DRAWS = 6  # walkers tried before everything is drawn again
READY = np.array([0.0, 0.0, 0.0, 0.0, -0.3, 0.0, -2.1, 0.0, 1.9, 0.785])  # about where the arm starts
ATTEMPTS = 10_000
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
    witness: np.ndarray  # (STEPS, 10) accelerations of a motion that gets there
    horizon: int = STEPS
    dt: float = DT

    @property
    def position_bound(self) -> np.ndarray:
        """How far a point may be from where it is planned (horizon+1,) [m].

        The larger of the model's calibrated error and the safety case's assumed one: what the filter will go by.
        """
        return np.maximum(held_bound(self.model.position_bound, self.horizon + 1), self.assumptions.tracking_error)

    @property
    def speed_bound(self) -> float:
        """How much faster than planned a point may be [m/s]."""
        return max(float(self.model.speed_bound), self.assumptions.tracking_speed_error)


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
    raise UsageError(f"no problem found for {kind}, {joints} joints, seed {seed}")  # a few dozen draws usually do


# ---- one attempt -----------------------------------------------------------------------------------------------


def _attempt(kind: str, joints: int, seed: int, generator: np.random.Generator) -> PlanningProblem | None:
    free = np.arange(10 - joints, 10)
    robot = robot_with(kind, generator)
    start = READY.copy()
    start[3:] += generator.normal(0.0, 0.25, 7) * (0.4 if kind == "cup" else 1.0)
    if kind in ("cup", "blade", "shelf"):  # the hand in order from the start
        ordered = _reached(*_hand_pose(kind, tcp_pose(start)[0], generator), start, free[-7:])
        if ordered is None:
            return None
        start = ordered
    guide = _guide(kind, joints, start, free, generator)
    if guide is None:
        return None
    q = _witness(kind, start, guide, free, generator)
    if not _fits(kind, robot, q, free):
        return None
    straight = start + _min_jerk(np.linspace(0.0, 1.0, len(q)))[:, None] * (guide - start)
    room = Room(robot, q, straight)
    if room.self_distance() < WITNESS_ROOM:
        return None
    boxes = furniture(kind, room, guide, generator)
    if boxes is None:
        return None
    obstacles = obstacle_spheres(kind, room, boxes, generator)
    stove = room.box("stove", generator, 0.10)
    if stove is None:
        return None
    people: tuple[PersonState, ...] = ()
    if kind in ("person", "blade"):
        drawn = (person_near(kind, robot, np.stack([start, guide]), generator) for _ in range(PERSON_DRAWS))
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
        guardrails=in_force(_over(rules, boxes, [stove]), robot.held, "pick"),
        boxes=tuple(boxes),
        obstacles=obstacles,
        model=model,
        assumptions=assumptions,
        witness=accelerations(q, dq),
    )


def _over(rules: Sequence[Guardrail], boxes: Sequence[Box], stove: Sequence[Box]) -> list[Guardrail]:
    """The household's rules over the problem's own boxes."""
    placed = {Clearance: Boxes.of(boxes), KeepOut: Boxes.of(stove)}
    return [replace(g, boxes=placed[type(g)]) if type(g) in placed else g for g in rules]  # type: ignore[type-var]


def robot_with(kind: str, generator: np.random.Generator) -> RobotModel:
    """The robot with what it holds: a blade along the hand's y, an upright cup below the hand, or nothing."""
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
    gentle = np.minimum(0.7 * DDQ_MAX, 0.9 * BRAKE)
    if np.any(np.abs(dq) > 0.7 * DQ_MAX) or np.any(np.abs(np.gradient(dq, DT, axis=0)) > gentle):
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
