"""This file turns a planning problem into the rows that all peers share: the same pairs, tightening and guess.

Peers see the guardrails at every knot and half-way between (60 samples in 3 s). Of the thousands of pairs of a sphere
with a box, an object, another sphere or a human capsule, those that matter most along the straight way are kept, the
same for every peer. Rows are stricter than the guardrails by the model's bounds and by PAD, for what happens between
the samples. The cost is the checker's, so peers minimise exactly what they are compared by.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from robotctl.bench.planner_problems import PlanningProblem, accelerations
from robotctl.bench.planner_surroundings import DT, STEPS, at_rest
from robotctl.geometry import point_box_distance, point_segment_distance, rotation_z
from robotctl.guardrails.blade_speed import BladeSpeed
from robotctl.guardrails.clearance import Clearance
from robotctl.guardrails.guardrail import parts
from robotctl.guardrails.joint_limits import JointLimits
from robotctl.guardrails.keep_out import KeepOut
from robotctl.guardrails.separation import Separation
from robotctl.guardrails.speed import Speed
from robotctl.guardrails.upright import Upright
from robotctl.planning.cost import COMMON_POSTURE, POSITION, POSTURE, ROTATION, TERMINAL
from robotctl.robot import DDQ_MAX, DQ_MAX, Q_MAX, Q_MIN
from robotctl.trajectory import Sweep, Trajectory

PAD = np.array([0.004, 0.02])  # [m, m/s] for what happens between the samples
GUESS_TIME = 2.4  # [s] of the straight motion that peers start from
N_BOX, N_BALL, N_SELF, N_SEPARATION, N_BLADE, N_SPEED = 72, 24, 12, 32, 16, 12  # rows of each sort per sample
LIMIT_ROOM = 0.01  # from end stops and top speeds [m, rad, m/s, rad/s]
FAR = 50.0  # [m] where padding stands: nothing reaches it
SAMPLES = 2 * STEPS  # half-way and at the end of every step


@dataclass(frozen=True, eq=False)
class Spec:
    """The shared rows. Samples alternate: half-way through step k, its end, half-way through step k + 1, ..."""

    problem: PlanningProblem
    free: np.ndarray  # (n,) joints that move
    guess: np.ndarray  # (H, 10) accelerations
    box_sphere: np.ndarray  # (N_BOX,) sphere of each pair
    box_center: np.ndarray  # (N_BOX, 3)
    box_rotation: np.ndarray  # (N_BOX, 3, 3) world from box
    box_half: np.ndarray  # (N_BOX, 3)
    box_room: np.ndarray  # (N_BOX,) distance asked for beyond the sphere's radius [m]
    ball_sphere: np.ndarray  # (N_BALL,)
    ball: np.ndarray  # (N_BALL, 4) x y z r
    self_pair: np.ndarray  # (N_SELF, 2) spheres
    people_pair: np.ndarray  # (N_SEPARATION + N_BLADE, 2) sphere and capsule
    people_rule: np.ndarray  # (N_SEPARATION + N_BLADE, 2) radius [m] and slope [1/s]
    speed_sphere: np.ndarray  # (N_SPEED + N_BLADE,)
    speed_limit: np.ndarray  # (N_SPEED + N_BLADE,) [m/s]
    tilt: float  # cosine of the largest tilt; -2 without the rule
    axis: np.ndarray  # (3,) of the held object in the hand
    capsule_a: np.ndarray  # (SAMPLES, C, 3)
    capsule_b: np.ndarray  # (SAMPLES, C, 3)
    capsule_radius: np.ndarray  # (SAMPLES, C)
    bound: np.ndarray  # (SAMPLES,) position bound [m]
    speed_bound: float  # [m/s]
    low: np.ndarray  # (10,) of joints
    high: np.ndarray  # (10,)
    fastest: np.ndarray  # (10,)
    strongest: np.ndarray  # (10,)
    weight: np.ndarray  # (H,) of pose terms at the knots 1..H


def specify(problem: PlanningProblem) -> Spec:
    """The rows of a problem."""
    robot, start, goal = problem.robot, problem.state.robot, problem.goal
    assert goal.q is not None
    times = DT * np.arange(STEPS + 1)
    s = np.clip(times / GUESS_TIME, 0.0, 1.0)
    straight = start.q_ref + (s**3 * (10.0 - 15.0 * s + 6.0 * s * s))[:, None] * (goal.q - start.q_ref)
    guess = accelerations(straight, start.dq_ref)
    guess[:, np.setdiff1d(np.arange(10), problem.joints)] = 0.0

    sample_times = 0.5 * DT * np.arange(1, SAMPLES + 1)
    keypoints, keypoint_bound = problem.model.predict_people(problem.state, times)
    k = np.minimum((sample_times / DT + 1e-9).astype(int), STEPS - 1)
    share = sample_times / DT - k
    along = np.repeat(straight[1:], 2, axis=0)
    along[::2] = 0.5 * (straight[1:] + straight[:-1])
    speed = np.repeat(np.diff(straight, axis=0) / DT, 2, axis=0)
    bound = _between(problem.position_bound, k, share)
    zero = np.zeros(SAMPLES)
    sweep = robot.sweep(
        Trajectory(
            sample_times, np.concatenate([along, speed], axis=1), np.zeros((SAMPLES - 1, 11)),
            _between(keypoints, k, share), _between(keypoint_bound, k, share), zero, zero, np.zeros((SAMPLES, 10)),
        )
    )  # fmt: skip
    center, radius = at_rest(robot, along)[0], robot.spheres.radius
    rules = problem.guardrails
    share_of_limits = min((g.fraction for g in rules if isinstance(g, JointLimits)), default=1.0)
    weight = np.ones(STEPS)
    weight[-1] = TERMINAL
    return Spec(
        problem, np.array(problem.joints), guess,
        *_box_pairs(problem, center, radius),
        *_ball_pairs(problem, center, radius),
        _self_pairs(problem, center, radius),
        *_people_pairs(problem, sweep),
        *_speed_spheres(problem, sweep.speed),
        max((g.cos_max_tilt for g in rules if isinstance(g, Upright)), default=-2.0),
        np.array([0.0, 0.0, 1.0]) if robot.held is None else robot.held.T_hand_object[:3, 2],
        sweep.capsule_a, sweep.capsule_b, sweep.capsule_radius,
        bound, problem.speed_bound,
        Q_MIN + LIMIT_ROOM, Q_MAX - LIMIT_ROOM, DQ_MAX * share_of_limits - LIMIT_ROOM, DDQ_MAX, weight,
    )  # fmt: skip


COST = (POSITION, ROTATION, COMMON_POSTURE * POSTURE)  # weights of position, rotation and posture


def _between(values: np.ndarray, k: np.ndarray, share: np.ndarray) -> np.ndarray:
    share = share.reshape(-1, *[1] * (values.ndim - 1))
    return (1.0 - share) * values[k] + share * values[k + 1]


def _nearest(gap: np.ndarray, count: int) -> np.ndarray:
    """Indices of the `count` smallest entries; fewer if there are fewer that are finite."""
    order = np.argsort(gap, kind="stable")[:count]
    return order[np.isfinite(gap[order])]


def _padded(values: np.ndarray, count: int, fill: float) -> np.ndarray:
    out = np.full((count, *values.shape[1:]), fill, dtype=values.dtype)
    out[: len(values)] = values
    return out


def _box_pairs(
    problem: PlanningProblem, center: np.ndarray, radius: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Furniture and keep-out regions, the nearest pairs; padding is far away."""
    spheres = [parts(problem.robot, "finger", "held", "blade")]
    boxes = [(np.array([b.center for b in problem.boxes]).reshape(-1, 3),
              np.array([rotation_z(b.yaw) for b in problem.boxes]).reshape(-1, 3, 3),
              np.array([b.half for b in problem.boxes]).reshape(-1, 3))]  # fmt: skip
    rooms = [0.0]
    for g in problem.guardrails:
        if isinstance(g, Clearance | KeepOut):
            clearance = isinstance(g, Clearance)
            spheres.append(parts(problem.robot, "base", "arm", "hand") if clearance else np.arange(len(radius)))
            boxes.append((g.boxes.center, g.boxes.rotation, g.boxes.half))
            rooms.append(g.distance if isinstance(g, Clearance) else 0.0)
    rows: list[tuple[np.ndarray, ...]] = []
    for chosen, (c, R, half), asked in zip(spheres, boxes, rooms, strict=True):
        s, b = (a.ravel() for a in np.meshgrid(chosen, np.arange(len(c)), indexing="ij"))
        gap = point_box_distance(center[:, s], c[b], R[b], half[b]).min(axis=0) - radius[s] - asked
        rows.append((gap, s, c[b], R[b], half[b], np.full(len(s), asked)))
    gap, s, c, R, half, room = (np.concatenate(part) for part in zip(*rows, strict=True))
    movable = problem.robot.spheres.frame[s] >= (1 if len(problem.joints) == 7 else 0)
    keep = _nearest(np.where(movable, gap, np.inf), N_BOX)
    return (
        _padded(s[keep], N_BOX, 0), _padded(c[keep], N_BOX, FAR), _padded(R[keep], N_BOX, 0.0),
        _padded(half[keep], N_BOX, 0.01), _padded(room[keep], N_BOX, -FAR),
    )  # fmt: skip


def _ball_pairs(problem: PlanningProblem, center: np.ndarray, radius: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    outer, balls = np.flatnonzero(problem.robot.spheres.frame >= 5), problem.obstacles
    s, o = (a.ravel() for a in np.meshgrid(outer, np.arange(len(balls)), indexing="ij"))
    gap = np.linalg.norm(center[:, s] - balls[o, :3], axis=2).min(axis=0) - radius[s] - balls[o, 3]
    keep = _nearest(gap, N_BALL)
    return _padded(s[keep], N_BALL, 0), _padded(balls[o[keep]], N_BALL, FAR) * _valid(len(keep), N_BALL)


def _valid(n: int, count: int) -> np.ndarray:
    """Padding balls have radius 0."""
    out = np.ones((count, 4))
    out[n:, 3] = 0.0
    return out


def _self_pairs(problem: PlanningProblem, center: np.ndarray, radius: np.ndarray) -> np.ndarray:
    frame = problem.robot.spheres.frame
    s, o = (a.ravel() for a in np.meshgrid(np.flatnonzero(frame >= 5), np.flatnonzero(frame <= 1), indexing="ij"))
    gap = np.linalg.norm(center[:, s] - center[:, o], axis=2).min(axis=0) - radius[s] - radius[o]
    keep = _nearest(gap, N_SELF)
    return np.stack([s[keep], o[keep]], axis=1)


def _people_pairs(problem: PlanningProblem, sweep: Sweep) -> tuple[np.ndarray, np.ndarray]:
    """Sphere, capsule and rule of the pairs with the least slack on the straight way; padded with a rule never met."""
    a, b, r = sweep.capsule_a, sweep.capsule_b, sweep.capsule_radius
    center, speed = sweep.center, sweep.speed
    counts = {Separation: N_SEPARATION, BladeSpeed: N_BLADE}
    total = N_SEPARATION + N_BLADE
    pair, rule = np.zeros((total, 2), int), np.tile([-FAR, 100.0], (total, 1))
    if not a.shape[1]:
        return pair, rule
    gap = point_segment_distance(center[:, :, None], a[:, None], b[:, None]) - r[:, None]
    gap = gap - problem.robot.spheres.radius[:, None]
    at = 0
    for g in problem.guardrails:
        if not isinstance(g, Separation | BladeSpeed):
            continue
        chosen = parts(problem.robot, "blade") if isinstance(g, BladeSpeed) else np.arange(center.shape[1])
        slack = (g.slope * (gap[:, chosen] - g.radius) - speed[:, chosen, None]).min(axis=0)
        keep = _nearest(slack.ravel(), counts[type(g)])
        s, c = np.unravel_index(keep, slack.shape)
        pair[at : at + len(keep)] = np.stack([chosen[s], c], axis=1)
        rule[at : at + len(keep)] = (g.radius, g.slope)
        at += len(keep)
    return pair, rule


def _speed_spheres(problem: PlanningProblem, speed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The spheres that are fastest on the straight way, and every blade sphere, with their ceilings."""
    ceiling = min(g.v_max for g in problem.guardrails if isinstance(g, Speed | Separation))
    fastest = np.argsort(-speed.max(axis=0), kind="stable")[:N_SPEED]
    sphere, limit = np.zeros(N_SPEED + N_BLADE, int), np.full(N_SPEED + N_BLADE, FAR)
    sphere[:N_SPEED], limit[:N_SPEED] = fastest, ceiling
    for g in problem.guardrails:
        if isinstance(g, BladeSpeed):
            blade = parts(problem.robot, "blade")[:N_BLADE]
            sphere[N_SPEED : N_SPEED + len(blade)] = blade
            limit[N_SPEED : N_SPEED + len(blade)] = g.v_max
    return sphere, limit
