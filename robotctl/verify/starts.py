"""This file draws where an episode begins: at rest, with every rule on places fulfilled, often only just."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from robotctl.body import KEYPOINTS
from robotctl.guardrails.guardrail import Assumptions, Guardrail, in_force
from robotctl.guardrails.joint_limits import JointLimits
from robotctl.robot import HOME, Q_MAX, Q_MIN, RobotModel
from robotctl.safety.safety_filter import JOINT_ERROR
from robotctl.safety.tube import HAND_EXTENT
from robotctl.state import Held
from robotctl.trajectory import Sweep, Trajectory
from robotctl.verify.room import Room, finger_opening, held_in_grasp, on_motion
from robotctl.verify.scenarios import Scenario

NOBODY = np.zeros((1, 0, len(KEYPOINTS), 3))  # keypoints of no people at one sample
CANDIDATES, BATCHES = 32, 8
TIGHT = -0.02  # a place that is too tight is so by at most this [m; 1 for limits without a unit]
OFF_STOPS = JOINT_ERROR + 0.02  # joints start at least this far from their stops [m, rad]
REACH = 0.9  # [m] the base stands at most this far from the outline of what is near


@dataclass(frozen=True, eq=False)
class Start:
    """A robot at rest."""

    q: np.ndarray  # (10,)
    held: Held | None  # as it truly lies in the hand
    opening: float  # of the fingers [m]


def draw_start(rng: np.random.Generator, room: Room, scenario: Scenario, skill: str) -> Start:
    """A start of the scenario."""
    held, opening = _held(rng, room, scenario)
    robot = room.robot(held)
    tight = rng.uniform() < scenario.too_tight
    snug = rng.uniform() < 0.5
    for _ in range(BATCHES):
        q = np.clip(_postures(rng, held), Q_MIN + OFF_STOPS, Q_MAX - OFF_STOPS)
        q[:, :3] = _bases(rng, room, scenario.near)
        by_rule = place_slacks(room, robot, held, skill, q)
        slack = by_rule.min(axis=0, initial=np.inf)
        fits = np.flatnonzero((slack < 0) & (slack > TIGHT) if tight else slack >= 0)
        if len(fits):
            nearest = by_rule[int(rng.integers(0, len(by_rule))), fits] if len(by_rule) else np.zeros(len(fits))
            return Start(q[fits[np.argmin(nearest)] if snug else fits[0]], held, opening)
    return Start(room.task.scene.robot_start.copy(), None, 0.04)


def place_slacks(room: Room, robot: RobotModel, held: Held | None, skill: str, q: np.ndarray) -> np.ndarray:
    """Smallest margin of each of the R rules on places for a robot that stands at each of q (n, 10): (R, n)."""
    still = sweep_at(
        robot, room.rules.assumptions, q, np.zeros_like(q), np.zeros_like(q), NOBODY.repeat(len(q), axis=0)
    )
    rules = [rule for rule in in_force(room.rules.guardrails, held, skill) if not on_motion(rule)]
    return np.array([lowest(as_assumed(rule).margin(still, robot)) for rule in rules]).reshape(-1, len(q))


def sweep_at(
    robot: RobotModel, assumed: Assumptions, q: np.ndarray, dq: np.ndarray, ddq: np.ndarray, keypoints: np.ndarray
) -> Sweep:
    """The sweep of q, dq, ddq (n, 10) and true keypoints (n, P, J, 3), with the drives' errors at their bound."""
    n = len(q)
    trajectory = Trajectory(
        times=np.arange(n) / 240.0,
        states=np.concatenate([q, dq], axis=1),
        actions=np.zeros((n - 1, 11)),
        keypoints=keypoints,
        keypoint_bound=np.zeros(keypoints.shape[:3]),
        position_bound=np.full(n, assumed.tracking_error),
        speed_bound=np.full(n, assumed.tracking_speed_error),
        acceleration=ddq,
    )
    return replace(robot.sweep(trajectory), rotation_bound=2.0 * assumed.tracking_error / HAND_EXTENT)


def as_assumed(rule: Guardrail) -> Guardrail:
    """The rule for joints that are as far from their reference as the safety case allows."""
    return replace(rule, position_error=JOINT_ERROR) if isinstance(rule, JointLimits) else rule


def lowest(margin: np.ndarray) -> np.ndarray:
    """Smallest entry of each row (n, m): (n,); NaN counts as -inf, nothing as inf."""
    return np.asarray(np.min(np.where(np.isnan(margin), -np.inf, margin), axis=1, initial=np.inf))


def _held(rng: np.random.Generator, room: Room, scenario: Scenario) -> tuple[Held | None, float]:
    label = str(rng.choice(scenario.holds))
    kinds = [room.task.scene.kinds[name] for name in room.graspable()]
    fitting = [kind for kind in kinds if label in kind.labels]
    if not fitting:
        return None, float(rng.uniform(0.0, 0.08))
    kind = fitting[int(rng.integers(0, len(fitting)))]
    grasp = kind.grasps[int(rng.integers(0, len(kind.grasps)))]
    held = held_in_grasp(kind, grasp)
    if scenario.name == "hot":
        held = replace(held, labels=held.labels | {"hot"})
    return held, finger_opening(kind, grasp, held)


def _postures(rng: np.random.Generator, held: Held | None) -> np.ndarray:
    """Arm postures (n, 10), base at the origin: tucked, reaching with the hand more or less down, or anything."""
    n = CANDIDATES
    level = held is not None and "fillable" in held.labels
    q = np.tile(HOME, (n, 1))
    family = np.ones(n, int) if level else rng.choice(3, n, p=[0.3, 0.45, 0.25])
    tucked = HOME[3:] + rng.normal(size=(n, 7)) * [0.6, 0.3, 0.5, 0.3, 0.1, 0.1, 0.6]
    reach = np.column_stack(
        [
            rng.uniform(-1.6, 1.6, n), rng.uniform(-0.9, 1.2, n), rng.normal(size=n) * (0.03 if level else 0.3),
            rng.uniform(-2.8, -0.5, n), rng.normal(size=n) * (0.03 if level else 0.3), np.zeros(n),
            rng.uniform(-2.6, 2.6, n),
        ]
    )  # fmt: skip
    reach[:, 5] = reach[:, 1] - reach[:, 3] + rng.normal(size=n) * (0.12 if level else 0.4)  # hand z down at 0
    anything = rng.uniform(Q_MIN[3:], Q_MAX[3:], (n, 7))
    q[:, 3:] = np.choose(family[:, None], [tucked, reach, anything])
    return q


def _bases(rng: np.random.Generator, room: Room, near: str) -> np.ndarray:
    """Base x, y, yaw (n, 3): anywhere on the floor, or around something with that label."""
    n, boxes = CANDIDATES, room.boxes(near)
    out = np.column_stack([rng.uniform(-2.3, 2.3, n), rng.uniform(-2.9, 1.4, n), rng.uniform(-np.pi, np.pi, n)])
    if near and boxes:
        box = boxes[int(rng.integers(0, len(boxes)))]
        around = np.hypot(*box.half[:2]) if box.yaw else box.half[:2]
        offset = rng.uniform(-1, 1, (n, 2)) * (around + REACH)
        out[:, :2] = box.center[:2] + offset
        facing = np.arctan2(-offset[:, 1], -offset[:, 0]) + 0.5 * rng.normal(size=n)
        out[:, 2] = np.where(rng.uniform(size=n) < 0.6, facing, out[:, 2])
    return out
