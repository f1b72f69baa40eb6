"""This file turns reference paths and the last readings of people into the worst case they can sweep.

A path is sampled every D = 25 ms; sample m stands for the times within h = D/2 of it. What can happen between
samples is bounded from the joint speeds. On an interval the joint velocities are linear in time, so a point p
of the robot has |p'''| <= 3 (L.|dq|) A + (L.|dq|) W^2, with L the lever of the point about each turning joint,
A = sum |ddq| and W = sum |dq| over the turning joints (second and third derivatives of p by the joint angles
are at most the shorter lever). Linear interpolation of a vector with |v''| <= b is off by at most b D^2 / 8;
hence between two samples a speed is at most the interpolated one plus that "bend", and a sphere's centre moves
at most h times it away from the nearer sample.

What is held is within `object_error` of where it is believed to be in the hand, turns with it, and moves at most its
kind's `slip` faster.
The robot follows its reference with a delay of at most `actuation_latency`, within `tracking_error`; a person's
keypoint is within `human_error` of its reading, and moved at most with its assumed speed since the stamp.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import accumulate

import numpy as np

from robotctl.body import CAPSULE_A, CAPSULE_B, CAPSULE_RADIUS, KEYPOINT_PART
from robotctl.geometry import norm
from robotctl.guardrails.guardrail import Assumptions
from robotctl.robot import ARM_OFFSETS, HAND, ROBOT_SPHERES, T_LINK7_HAND, RobotModel
from robotctl.safety.brake import reference_path
from robotctl.state import TICK, PersonState, RobotState
from robotctl.trajectory import Sweep, Trajectory

SPACING = 0.5 * TICK  # [s] between samples
REACH = 0.5 * SPACING  # [s] each sample stands for this long before and after it
HAND_EXTENT = 0.138  # [m] from the hand's back to the finger tips: two points that far apart, both off by e,
# let the hand tilt by at most 2 e / HAND_EXTENT


FIRST_OF_HAND = int(np.flatnonzero(ROBOT_SPHERES.frame == HAND)[0])  # a sphere that turns with the hand
NOT_LOOKED_AT = np.zeros(0)  # what no margin asks of a tube


@dataclass(frozen=True)
class Tube:
    """What the robot may sweep along several candidate paths, one after the other in the same arrays."""

    sweep: Sweep  # worst case, motion between samples included
    motion: np.ndarray  # (n, S) share of the radii that is motion between samples [m]
    turn: np.ndarray  # (n, 1) share of the rotation bound that is motion between samples [rad]
    spans: tuple[slice, ...]  # rows of each candidate

    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """Corners low, high (3,) of an axis-aligned box around everything the robot may sweep."""
        center = np.ascontiguousarray(self.sweep.center.reshape(-1, 3).T)
        reach = self.sweep.radius.max()
        return center.min(axis=1) - reach, center.max(axis=1) + reach

    def at_samples(self) -> Sweep:
        """The sweep without the motion between samples."""
        return replace(
            self.sweep, radius=self.sweep.radius - self.motion, rotation_bound=self.sweep.rotation_bound - self.turn
        )


def levers(robot: RobotModel, object_error: float = 0.0) -> np.ndarray:
    """Longest lever of every sphere's farthest point about the eight turning joints, (S, 8) [m].

    object_error [m]: how much farther out than believed what is held may be. The yaw and the arm's first joint share
    their axis; from joint k on, the lever is at most the sum of the links behind it. Joints that do not move a sphere
    have lever 0.
    """
    link = np.linalg.norm(ARM_OFFSETS[1:, :3, 3], axis=1)  # from frame f to f + 1, for f = 1..6
    behind = np.concatenate([[0.0, 0.0], np.cumsum(np.append(link, np.linalg.norm(T_LINK7_HAND[:3, 3])))])
    spheres = robot.spheres
    own = np.linalg.norm(spheres.offset, axis=1) + spheres.radius + object_error * _holds(spheres.part)
    frame, joint = spheres.frame[:, None], np.arange(HAND)  # joint 0 is the yaw, 1..7 the arm's, at those frames
    return np.where(frame >= joint, behind[frame] - behind[joint] + own[:, None], 0.0)


def grown_people(
    people: Sequence[PersonState], time: float, times: np.ndarray, assumptions: Assumptions
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Capsule ends a, b (C, 3) as last read; radii at `times` (n, C), grown by all that may have happened; growth (C,).

    A reading from the future is no reading: its age is NaN, and NaN is unsafe everywhere.
    """
    keypoints = np.array([p.keypoints for p in people], dtype=float)
    stamps = np.array([p.stamp for p in people], dtype=float)
    age = np.where(stamps <= time + 1e-9, np.maximum(time - stamps, 0.0), np.nan)
    part = assumptions.reckoned_speed().take(KEYPOINT_PART)
    speed = np.maximum(part.take(CAPSULE_A), part.take(CAPSULE_B))  # (16,)
    since = times[:, None, None] + (REACH + assumptions.actuation_latency + age)[None, :, None]
    radius = CAPSULE_RADIUS + assumptions.human_error + speed * since  # (n, P, 16)
    a, b = keypoints.take(CAPSULE_A, axis=1), keypoints.take(CAPSULE_B, axis=1)
    growth = np.concatenate([speed] * len(keypoints))
    return a.reshape(-1, 3), b.reshape(-1, 3), radius.reshape(len(times), -1), growth


def _human_distance(
    center: np.ndarray,
    radius: np.ndarray,
    times: np.ndarray,
    a: np.ndarray,
    b: np.ndarray,
    grown: np.ndarray,
    growth: np.ndarray,
    horizon: float,
) -> np.ndarray:
    """Surface distance of every sphere to the nearest capsule, (n, S) [m]; inf where all are beyond `horizon`.

    The same as guardrails.distance_to_people for capsules that stay where they are and grow at `growth` (C,) [m/s],
    but only over the pairs that can matter. A capsule is left out if all of it stays beyond the horizon, and for a
    sphere if another capsule is nearer throughout: with f = distance to the axis - capsule radius at the first
    sample and u how far the sphere gets from there, f_c - f_0 - (growth_c - growth_0) t > 2 u at both ends of the
    time, for the capsule 0 that is nearest at first. NaN is never left out.
    """
    n, s = radius.shape
    first = center[0]
    middle = first.sum(axis=0) / s
    reach = norm(center - first).max(axis=0)  # (S,) u above
    robot_size = (norm(first - middle) + reach).max() + radius.max()
    segment = b - a
    length = norm(segment)
    apart = norm(a + 0.5 * segment - middle) - 0.5 * length - grown.max(axis=0)
    near = ~(apart - robot_size >= horizon)
    if not near.any():
        return np.full((n, s), np.inf)
    a, segment, grown, growth = a[near], segment[near], grown[:, near], growth[near]
    length2 = np.maximum(length[near] ** 2, 1e-12)

    lead = to_axis(first.T[:, :, None], a.T[:, None], segment.T[:, None], length2) - grown[0]  # (S, C)
    nearest = lead.argmin(axis=1)
    ahead = lead - lead.min(axis=1, keepdims=True) - 2.0 * reach[:, None]
    duration = float(times.max() - times.min())
    at_end = ahead - (growth - growth[nearest][:, None]) * duration
    sphere, capsule = np.nonzero(~((ahead > 0) & (at_end > 0)))  # every sphere keeps its nearest, NaN stays

    points = center.transpose(2, 0, 1).take(sphere, axis=2)
    distance = to_axis(points, a.take(capsule, axis=0).T, segment.take(capsule, axis=0).T, length2.take(capsule))
    distance -= grown.take(capsule, axis=1)
    begin = np.searchsorted(sphere, np.arange(s))
    return np.minimum.reduceat(distance, begin, axis=1) - radius


def to_axis(point: np.ndarray, a: np.ndarray, segment: np.ndarray, length2: np.ndarray) -> np.ndarray:
    """Distance of points to segments that begin at `a`, coordinates first: (3, ...) broadcast -> (...) [m]."""
    x, y, z = point[0] - a[0], point[1] - a[1], point[2] - a[2]
    u, v, w = segment
    t = x * u
    t += y * v
    t += z * w
    t /= length2
    np.maximum(t, 0.0, out=t)
    np.minimum(t, 1.0, out=t)
    x -= t * u
    y -= t * v
    z -= t * w
    x *= x
    y *= y
    z *= z
    x += y
    x += z
    return np.sqrt(x, out=x)


def worst_case(
    robot: RobotModel,
    lever: np.ndarray,
    state: RobotState,
    candidates: Sequence[np.ndarray],
    people: Sequence[PersonState],
    time: float,
    assumptions: Assumptions,
    horizon: float,
) -> Tube:
    """The tube of every candidate, a sequence of joint velocities (k, 10) at tick ends, from the reference on.

    lever: see `levers`. horizon [m]: distances to people beyond it may be reported as inf.
    """
    paths = [reference_path(state.q_ref, state.dq_ref, velocities) for velocities in candidates]
    ends = list(accumulate(len(times) for times, _, _, _ in paths))
    spans = tuple(slice(end - len(path[0]), end) for end, path in zip(ends, paths, strict=True))
    n = ends[-1]
    times = np.concatenate([p[0] for p in paths])
    q, dq = np.concatenate([p[1] for p in paths]), np.concatenate([p[2] for p in paths])
    ddq = np.concatenate([rows for p in paths for rows in (p[3], p[3][-1:])])  # of the interval after each sample
    after, before = np.arange(1, n + 1), np.arange(-1, n - 1)
    for span in spans:
        after[span.stop - 1], before[span.start] = span.stop - 1, span.start

    center, velocity, turning_speed, hand_rotation = robot.sphere_motion(q, dq)
    radius, count = robot.spheres.radius, len(robot.spheres)
    holds = _holds(robot.spheres.part)
    grip = assumptions.object_error * holds

    turning = np.abs(dq[:, 2:])
    turning = np.maximum(turning, turning.take(after, axis=0))
    total, change = turning.sum(axis=1), np.abs(ddq[:, 2:]).sum(axis=1)
    bend = np.empty((n, count + 1))  # of every sphere, and of the hand's turning
    bend[:, :count], bend[:, count] = turning @ lever.T, total
    bend *= ((SPACING * SPACING / 8.0) * (3.0 * change + total * total))[:, None]
    bend = np.maximum(bend, bend.take(before, axis=0))

    sampled = np.empty((n, 2 * count + 1))  # of every sphere's fastest point and its centre; the hand's turning
    center_speed = norm(velocity)
    sampled[:, :count] = center_speed + turning_speed * (radius + grip)
    sampled[:, count:-1] = center_speed + turning_speed * grip
    sampled[:, -1] = turning_speed[:, FIRST_OF_HAND]
    between = np.maximum(sampled.take(after, axis=0), sampled.take(before, axis=0))
    np.maximum(between, sampled, out=between)
    between += sampled
    between *= 0.5  # the highest interpolated speed within REACH of each sample
    speed = between[:, :count] + bend[:, :count]
    speed += assumptions.tracking_speed_error + robot.slip * holds
    between[:, count:] += bend
    between[:, count:] *= REACH
    motion, turn = between[:, count:-1], between[:, -1:]
    grown = radius + grip + assumptions.tracking_error + motion

    if people:
        a, b, capsule_radius, growth = grown_people(people, time, times, assumptions)
        distance = _human_distance(center, grown, times, a, b, capsule_radius, growth, horizon)
    else:
        a = b = np.zeros((0, 3))
        capsule_radius = np.zeros((n, 0))
        distance = np.full((n, len(radius)), np.inf)
    sweep = Sweep(
        trajectory=Trajectory(
            times=times,
            states=np.concatenate([q, dq], axis=1),
            actions=NOT_LOOKED_AT,
            keypoints=NOT_LOOKED_AT,
            keypoint_bound=NOT_LOOKED_AT,
            position_bound=np.full(n, assumptions.tracking_error),
            speed_bound=np.full(n, assumptions.tracking_speed_error),
            acceleration=ddq,
        ),
        center=center,
        radius=grown,
        speed=speed,
        hand_rotation=hand_rotation,
        capsule_a=a[None],  # they stay where they are and grow
        capsule_b=b[None],
        capsule_radius=capsule_radius,
        rotation_bound=turn + 2.0 * assumptions.tracking_error / HAND_EXTENT,
        human_distance=distance,
        force=state.force,
        strain=state.q_ref - state.q,
    )
    return Tube(sweep, motion, turn, spans)


@lru_cache(maxsize=64)
def _holds(part: tuple[str, ...]) -> np.ndarray:
    """1 for the spheres of what is held, 0 for the others, (S,). Not to be written to."""
    return np.array([float(name in ("held", "blade")) for name in part])
