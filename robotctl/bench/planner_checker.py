"""This file turns one method's answer to a planning problem into how far it breaks the rules, and what it costs.

It shares no code with the planner but the documented cost. Accelerations (H, 10) are integrated exactly at 1 kHz, the
world model's residual and its predicted people are taken at the knots and joined by straight lines, and every
guardrail judges the swept motion by its own `margin`. What no guardrail covers is checked here as well: joint,
speed and acceleration limits of the reference, fixed joints that move, and contact of fingers, load, wrist and hand.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np

from robotctl.bench.planner_problems import PlanningProblem
from robotctl.geometry import point_box_distance, point_segment_distance, rotation_z
from robotctl.guardrails.clearance import Clearance
from robotctl.guardrails.guardrail import parts
from robotctl.planning.cost import ReachCost
from robotctl.robot import DDQ_MAX, DQ_MAX, Q_MAX, Q_MIN, tcp_pose
from robotctl.state import State
from robotctl.trajectory import Sweep, Trajectory

SUBSTEPS = 100  # samples of one step of 0.1 s: 1 kHz
CHUNK = 500  # samples checked at a time, for the memory's sake
FEASIBLE = 1e-3  # [m, m/s] largest violation that counts as none
STILL = 5e-3  # joint speeds below this are commanded as zero: the model's speed bound does not apply [m/s, rad/s]
ARRIVED = (0.02, 0.06)  # final error of the hand [m], [rad]
PATH_STEP = 0.01  # largest joint step between samples of a path without timing [m, rad]


@dataclass(frozen=True)
class Verdict:
    """What the checker found."""

    violations: dict[str, float]  # by guardrail or limit, >= 0 [m, m/s, rad, rad/s, 1]; inf for NaN
    position_error: float  # of the TCP at the end [m]
    rotation_error: float  # of the hand at the end [rad]
    cost: float | None  # the common cost; None for a path without timing
    details: dict[str, float] = field(default_factory=dict)  # time of the largest violation [s]
    clearance: float = np.inf  # least distance to furniture and objects beyond what is required [m]

    @property
    def violation(self) -> float:
        return max(self.violations.values())

    @property
    def feasible(self) -> bool:
        return bool(self.violation <= FEASIBLE)  # NaN is not

    @property
    def arrived(self) -> bool:
        return bool(self.position_error <= ARRIVED[0] and self.rotation_error <= ARRIVED[1])


def check(problem: PlanningProblem, u: np.ndarray, state: State | None = None) -> Verdict:
    """Judges accelerations u (H, 10) from the reference of `state` (None: the problem's start)."""
    if state is not None:
        problem = replace(problem, state=state)
    u = np.asarray(u, float)
    if u.shape != (problem.horizon, 10):
        raise ValueError(f"expected accelerations ({problem.horizon}, 10), got {u.shape}")
    if not np.isfinite(u).all():
        return Verdict({"finite": np.inf}, np.inf, np.inf, None)
    dt, start = problem.dt, problem.state.robot
    knots = _integrate(start.q_ref, start.dq_ref, u, dt)
    residual = problem.model.residual(*knots, np.concatenate([u, u[-1:]]), problem.state)
    times = dt * np.arange(problem.horizon + 1)
    keypoints, bound = problem.model.predict_people(problem.state, times)
    worst: dict[str, float] = {}
    when: dict[str, float] = {}
    clearance = np.inf
    distances = [g.header.id for g in problem.guardrails if isinstance(g, Clearance)] + ["contact:object"]
    total = problem.horizon * SUBSTEPS + 1
    for first in range(0, total, CHUNK):
        sample = np.arange(first, min(first + CHUNK, total))
        k = np.minimum(sample // SUBSTEPS, problem.horizon - 1)
        share = (sample - k * SUBSTEPS) / SUBSTEPS
        tau = (share * dt)[:, None]
        q = knots[0][k] + tau * knots[1][k] + 0.5 * tau**2 * u[k]
        dq = knots[1][k] + tau * u[k]
        moving = np.abs(dq).max(axis=1) >= STILL
        trajectory = Trajectory(
            times=sample * dt / SUBSTEPS,
            states=np.concatenate([q + _between(residual[0], k, share), dq + _between(residual[1], k, share)], axis=1),
            actions=np.zeros((len(sample) - 1, 11)),
            keypoints=_between(keypoints, k, share),
            keypoint_bound=_between(bound, k, share),
            position_bound=_between(problem.position_bound, k, share),
            speed_bound=np.where(moving, problem.speed_bound, 0.0),
            acceleration=u[k],
        )
        margins = {**rule_margins(problem, trajectory), **_limits(problem, q, dq, u[k])}
        for name, margin in margins.items():
            _note(worst, when, name, margin, trajectory.times)
        clearance = min([clearance, *(float(margins[name].min()) for name in distances if margins[name].size)])
    end = knots[0][-1] + residual[0][-1]
    return Verdict(
        worst, *hand_errors(problem, end), _cost(problem, *knots, knots[0] + residual[0], u), when, clearance
    )


def check_path(problem: PlanningProblem, path: np.ndarray) -> Verdict:
    """Judges a path of joints (n, 10) without timing, straight between its points: speeds and people are left out."""
    path = np.asarray(path, float)
    if path.ndim != 2 or not len(path) or not np.isfinite(path).all():
        return Verdict({"finite": np.inf}, np.inf, np.inf, None)
    pieces = [path[:1]]
    for a, b in pairwise(path):
        n = max(1, int(np.ceil(np.abs(b - a).max() / PATH_STEP)))
        pieces.append(a + np.linspace(0.0, 1.0, n + 1)[1:, None] * (b - a))
    q = np.concatenate(pieces)
    worst: dict[str, float] = {}
    none = np.zeros((CHUNK, 0, 20, 3))
    for first in range(0, len(q), CHUNK):
        part = q[first : first + CHUNK]
        n = len(part)
        zero = np.zeros(n)
        trajectory = Trajectory(
            zero, np.concatenate([part, 0.0 * part], axis=1), np.zeros((n - 1, 11)), none[:n], none[:n, :, :, 0],
            np.full(n, problem.position_bound.max()), zero, np.zeros((n, 10)),
        )  # fmt: skip
        still = np.zeros((n, 10))
        for name, margin in {**rule_margins(problem, trajectory), **_limits(problem, part, still, still)}.items():
            _note(worst, {}, name, margin, zero)
    worst["start"] = float(np.abs(q[0] - problem.state.robot.q_ref).max())
    return Verdict(worst, *hand_errors(problem, q[-1]), None)


def _integrate(q0: np.ndarray, dq0: np.ndarray, u: np.ndarray, dt: float) -> tuple[np.ndarray, np.ndarray]:
    """Knots (H+1, 10) of the double integrator: q' = q + dt v + dt^2/2 u, v' = v + dt u."""
    q, dq = np.empty((len(u) + 1, 10)), np.empty((len(u) + 1, 10))
    q[0], dq[0] = q0, dq0
    for k in range(len(u)):
        q[k + 1] = q[k] + dt * dq[k] + 0.5 * dt * dt * u[k]
        dq[k + 1] = dq[k] + dt * u[k]
    return q, dq


def _between(values: np.ndarray, k: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Values at the knots (H+1, ...) joined by straight lines."""
    share = share.reshape(-1, *[1] * (values.ndim - 1))
    return (1.0 - share) * values[k] + share * values[k + 1]


def _note(worst: dict[str, float], when: dict[str, float], name: str, margin: np.ndarray, times: np.ndarray) -> None:
    """Keeps the largest violation of a rule. `not margin >= 0` is one: NaN, too."""
    if margin.size == 0:
        worst.setdefault(name, 0.0)
        return
    along = margin.reshape(len(margin), -1)
    smallest = np.where(np.isnan(along), -np.inf, along).min(axis=1)
    i = int(np.argmin(smallest))
    violation = max(0.0, -float(smallest[i]))
    if name not in worst or violation > worst[name]:
        worst[name], when[name] = violation, float(times[i])


def rule_margins(problem: PlanningProblem, trajectory: Trajectory) -> dict[str, np.ndarray]:
    """Margins of every guardrail in force and of contact, (n, m) each."""
    robot = problem.robot
    sweep = robot.sweep(trajectory)
    if sweep.capsule_a.shape[1]:  # once for all guardrails that ask
        sweep = replace(sweep, human_distance=_people(sweep))
    margins = {g.header.id: g.margin(sweep, robot) for g in problem.guardrails}
    # Contact that no guardrail speaks of: the clearance leaves out fingers and load, and knows no movable objects.
    grip = parts(robot, "finger", "held", "blade")
    outer, inner = np.flatnonzero(robot.spheres.frame >= 5), np.flatnonzero(robot.spheres.frame <= 1)
    radius = sweep.radius[:, :, None]
    gaps = [
        point_box_distance(sweep.center[:, grip], box.center, rotation_z(box.yaw), box.half) - sweep.radius[:, grip]
        for box in problem.boxes
    ]
    if gaps:
        margins["contact:furniture"] = np.concatenate(gaps, axis=1)
    away = np.linalg.norm(sweep.center[:, outer, None] - problem.obstacles[:, :3], axis=-1)
    margins["contact:object"] = away - radius[:, outer] - problem.obstacles[:, 3]
    apart = np.linalg.norm(sweep.center[:, outer, None] - sweep.center[:, None, inner], axis=-1)
    spheres = robot.spheres.radius
    margins["contact:self"] = apart - spheres[outer, None] - spheres[inner]
    return margins


def _people(sweep: Sweep) -> np.ndarray:
    """Surface distance (n, S) [m] of every sphere to the nearest capsule."""
    nearest = np.full(sweep.center.shape[:2], np.inf)
    for c in range(sweep.capsule_a.shape[1]):
        gap = point_segment_distance(sweep.center, sweep.capsule_a[:, c, None], sweep.capsule_b[:, c, None])
        nearest = np.minimum(nearest, gap - sweep.capsule_radius[:, c, None])
    return nearest - sweep.radius


def _limits(problem: PlanningProblem, q: np.ndarray, dq: np.ndarray, u: np.ndarray) -> dict[str, np.ndarray]:
    """Margins of the reference: end stops, speeds, accelerations, and joints that must not move."""
    fixed = np.setdiff1d(np.arange(10), problem.joints)
    return {
        "limits:position": np.concatenate([q - Q_MIN, Q_MAX - q], axis=1),
        "limits:speed": DQ_MAX - np.abs(dq),
        "limits:acceleration": DDQ_MAX + 1e-9 - np.abs(u),
        "limits:fixed": -np.abs(q[:, fixed] - problem.state.robot.q_ref[fixed]),
    }


def hand_errors(problem: PlanningProblem, q: np.ndarray) -> tuple[float, float]:
    """Distance [m] and angle [rad] between the hand at q (10,) and the goal."""
    position, rotation = tcp_pose(q)
    goal = problem.goal
    assert goal.position is not None
    assert goal.rotation is not None
    cosine = 0.5 * (np.trace(rotation.T @ goal.rotation) - 1.0)
    return float(np.linalg.norm(position - goal.position)), float(np.arccos(np.clip(cosine, -1.0, 1.0)))


def _cost(problem: PlanningProblem, q: np.ndarray, dq: np.ndarray, q_real: np.ndarray, u: np.ndarray) -> float:
    """The documented cost with the weights that do not depend on the motion (robotctl.planning.cost)."""
    cost = ReachCost(problem.goal, problem.horizon)
    return float(sum(cost.terms(q, dq, q_real, u, cost.common_weights()).values()))
