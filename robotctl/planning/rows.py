"""The guardrails' margins along a trajectory, tightened: the inequality rows of the optimizer.

Every row is evaluated at every knot; only the K most critical of each group and knot are linearised (constraint
generation, robotctl.planning.sqp; robotctl.planning.row_gradients). Two groups share one slack variable each per knot:
PLACE (where things are, [m]) and MOTION (how fast they move near people, [m/s]). With every tightening zero a row is
exactly the guardrail's margin, which the tests check against `guardrail.margin` and its jax gradient.

Tightening, with p a sphere's centre, v its velocity, n the gradient of a distance, rate = n . v, and T the
duration of the safety filter's brake, T = max_j |dq_j| / BRAKE_j:

    gap    -> gap - position bound - reach |v| + min(rate max(spread, T/2 + lead), -rate spread)
              a convex obstacle's distance grows at least by n . dp, so this holds between the knots, and a brake
              that starts at the knot ends before the obstacle
    allowed-> used max(allowed(d - v_part latency) - speed bound, 0) - speed - bend W (3 A + W^2)
              the last term as in the filter: the sum of lever |dq| times A = W / T and W = sum |dq| of turning joints
              >= 0 at speed 0, whatever people do: standing still is always safe
    joint  -> distance to the end stop - |dq_j| (T/2 + lead)
    stop   -> max(d - v_part (latency + tick) - radius - bound/slope, 0) - v_part T - speed T / 2, times slope
              when the brake from here ends, people at their assumed speed still leave the robot its distance
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from robotctl.planning.kernels import box_gap, frames, place, twists, velocity
from robotctl.robot import HAND, N_FRAMES

PLACE, MOTION = 0, 1  # groups of rows
BOX, BALL, PAIR, TILT, JOINT, ALLOWED, STOP = range(7)  # kinds of rows
HORIZON_PLACE = 0.4  # [m] rows with more slack than this stay out of the QP
HORIZON_MOTION = 1.5  # [m/s]
DEAD = 1e-3  # [m, m/s] a violation below this does not count: the QP's accuracy
EPSILON2 = 1e-18  # as in the guardrails: keeps the gradient of a speed finite at rest


class Evaluation(NamedTuple):
    """All rows of a trajectory, condensed."""

    worst: np.ndarray  # (T, owners) smallest row of each owner
    violation: np.ndarray  # (T, 2) largest violation of each group, beyond DEAD
    stop_time: np.ndarray  # (T,) [s] longest brake that people leave time for; 0: no motion at all
    value: np.ndarray  # (T, 2, K) the smallest rows of each group, ascending; inf: fewer
    row: np.ndarray  # (T, 2, K, 3) their kind, first and second index


@njit(cache=True, error_model="numpy")
def _insert(values, rows, value, kind, first, second):
    """Keep the K smallest values, ascending; value is smaller than the last."""
    i = len(values) - 1
    while i > 0 and values[i - 1] > value:
        values[i] = values[i - 1]
        rows[i, 0], rows[i, 1], rows[i, 2] = rows[i - 1, 0], rows[i - 1, 1], rows[i - 1, 2]
        i -= 1
    values[i] = value
    rows[i, 0], rows[i, 1], rows[i, 2] = kind, first, second


@njit(cache=True, error_model="numpy")
def brake_duration(dq, brake):
    """Duration of a synchronised brake and the joint that decides it."""
    longest, joint = 0.0, 0
    for j in range(len(dq)):
        time = abs(dq[j]) / brake[j]
        if time > longest:
            longest, joint = time, j
    return longest, joint


@njit(cache=True, error_model="numpy")
def bend_of(dq, brake_time, bend):
    """How much faster than sampled a point with unit levers may be, per unit of joint speed, while it brakes."""
    total = 0.0
    for i in range(8):
        total += abs(dq[2 + i])
    return bend * (3.0 * total / max(brake_time, 0.05) + total * total)


@njit(cache=True, error_model="numpy")
def _turning(dq, lever, s):
    """Sum of lever |dq| over the turning joints [m/s], for sphere s of lever (S, 8)."""
    total = 0.0
    for i in range(8):
        total += lever[s, i] * abs(dq[2 + i])
    return total


@njit(cache=True, error_model="numpy", inline="always")
def length(x, y, z):
    return np.sqrt(x * x + y * y + z * z + EPSILON2)


@njit(cache=True, error_model="numpy", inline="always")
def _segment_distance(x, y, z, segment, c):
    """kernels.segment_gap for segments by components (7, C): first end, way to the other end, its square."""
    e0, e1, e2 = segment[3, c], segment[4, c], segment[5, c]
    d0, d1, d2 = x - segment[0, c], y - segment[1, c], z - segment[2, c]
    t = min(max((d0 * e0 + d1 * e1 + d2 * e2) / segment[6, c], 0.0), 1.0)
    d0, d1, d2 = d0 - t * e0, d1 - t * e1, d2 - t * e2
    return np.sqrt(d0 * d0 + d1 * d1 + d2 * d2 + EPSILON2)


@njit(cache=True, error_model="numpy", inline="always")
def _approach(gap, rate, stopping, spread):
    """A distance reduced by motion between knots and by a brake that starts here."""
    return gap + min(rate * stopping, -rate * spread)


@njit(cache=True, error_model="numpy")
def evaluate(q, dq, rules, tight, keep):
    """All rows at every knot but the first: q, dq (T, 10) are where the joints really are; NaN breaks every row."""
    body, people, solids, balls, pairs = rules.body, rules.people, rules.solids, rules.balls, rules.pairs
    motion, tilt = rules.motion, rules.tilt
    body_frame, body_offset, body_radius, body_slack, lever = (
        body.frame,
        body.offset,
        body.radius,
        body.slack,
        body.lever,
    )
    solid_center, solid_rotation, solid_half = solids.center, solids.rotation, solids.half
    solid_required, solid_owner = solids.required, solids.owner
    ball_center, ball_radius, ball_required = balls.center, balls.radius, balls.required
    people_a, people_b, people_radius, people_speed = people.a, people.b, people.radius, people.speed
    concerns, monitors, tight_position, tight_speed = motion.concerns, motion.monitors, tight.position, tight.speed
    first_of, second_of = pairs.first, pairs.second
    T, S, C, last = len(q), len(body_radius), people_radius.shape[1], keep - 1
    worst = np.full((T, rules.owners), np.inf)
    violation = np.zeros((T, 2))
    stop_time = np.full(T, np.inf)
    value = np.full((T, 2, keep), np.inf)
    value[:, PLACE, :] = HORIZON_PLACE
    value[:, MOTION, :] = HORIZON_MOTION
    row = np.full((T, 2, keep, 3), -1)

    rotation, origin = np.empty((N_FRAMES, 3, 3)), np.empty((N_FRAMES, 3))
    omega, v0 = np.empty((8, 3)), np.empty((8, 3))
    center, vel, straight_, spin = np.empty((S, 3)), np.empty((S, 3)), np.empty(S), np.empty(8)
    segment, gaps, taken, walked = np.empty((7, C)), np.empty(C), np.empty(C), np.empty(C)
    size = np.sqrt((solids.half**2).sum(axis=1))
    for k in range(1, T):
        if not (np.isfinite(q[k].sum()) and np.isfinite(dq[k].sum())):  # comparisons with NaN would let it pass
            worst[k], violation[k], stop_time[k] = -np.inf, np.inf, 0.0
            continue
        frames(q[k], rotation, origin)
        twists(rotation, origin, dq[k], omega, v0)
        brake_time, _ = brake_duration(dq[k], tight.brake)
        stopping = max(tight.spread, 0.5 * brake_time + tight.lead)
        bend = bend_of(dq[k], brake_time, tight.bend)
        places, place_rows = value[k, PLACE], row[k, PLACE]
        motions, motion_rows = value[k, MOTION], row[k, MOTION]
        for c in range(C):
            for d in range(3):
                segment[d, c], segment[3 + d, c] = people_a[k, c, d], people_b[k, c, d] - people_a[k, c, d]
            square = segment[3, c] * segment[3, c] + segment[4, c] * segment[4, c] + segment[5, c] * segment[5, c]
            segment[6, c] = square if square > 1e-12 else 1.0
            taken[c] = people_radius[k, c] + people_speed[c] * tight.latency
            walked[c] = people_speed[c] * brake_time
        for i in range(8):
            spin[i] = length(omega[i, 0], omega[i, 1], omega[i, 2])
        for s in range(S):
            f = body_frame[s]
            x, y, z = place(rotation, origin, f, body_offset, s)
            v_x, v_y, v_z = velocity(omega, v0, f, x, y, z)
            center[s, 0], center[s, 1], center[s, 2] = x, y, z
            vel[s, 0], vel[s, 1], vel[s, 2] = v_x, v_y, v_z
            straight_[s] = straight = length(v_x, v_y, v_z)
            speed = straight + spin[min(f, 7)] * body_radius[s]
            grown = body_radius[s] + body_slack[s] + tight_position[k] + tight.reach * straight

            for b in range(len(solid_owner)):
                required = solid_required[s, b]
                if required == -np.inf:
                    continue
                # Farther off, the row is neither among the K smallest nor the owner's smallest.
                matters = max(places[last], min(worst[k, solid_owner[b]], HORIZON_PLACE))
                far = max(grown + required + stopping * straight + matters, 0.0)
                d0, d1, d2 = x - solid_center[b, 0], y - solid_center[b, 1], z - solid_center[b, 2]
                if d0 * d0 + d1 * d1 + d2 * d2 > (size[b] + far) * (size[b] + far):
                    continue
                gap, n0, n1, n2 = box_gap(x, y, z, solid_center, solid_rotation, solid_half, b, far)
                if gap == np.inf:
                    continue
                rate = n0 * v_x + n1 * v_y + n2 * v_z
                g = _approach(gap - grown - required, rate, stopping, tight.spread)
                worst[k, solid_owner[b]] = min(worst[k, solid_owner[b]], g)
                if g < places[last]:
                    _insert(places, place_rows, g, BOX, s, b)
            for b in range(len(ball_radius)):
                required = ball_required[s, b]
                if required == -np.inf:
                    continue
                d0, d1, d2 = x - ball_center[b, 0], y - ball_center[b, 1], z - ball_center[b, 2]
                matters = max(places[last], min(worst[k, balls.owner], HORIZON_PLACE))
                far = max(ball_radius[b] + grown + required + stopping * straight + matters, 0.0)
                square = d0 * d0 + d1 * d1 + d2 * d2
                if square > far * far:
                    continue
                distance = np.sqrt(square + EPSILON2)
                rate = (d0 * v_x + d1 * v_y + d2 * v_z) / distance
                g = _approach(distance - ball_radius[b] - grown - required, rate, stopping, tight.spread)
                worst[k, balls.owner] = min(worst[k, balls.owner], g)
                if g < places[last]:
                    _insert(places, place_rows, g, BALL, s, b)

            for c in range(C):  # without branches: the compiler does several at once
                gaps[c] = _segment_distance(x, y, z, segment, c) - taken[c]
            near, near_stop, at_stop = np.inf, np.inf, -1
            for c in range(C):
                near = min(near, gaps[c])
                if gaps[c] - walked[c] < near_stop:
                    near_stop, at_stop = gaps[c] - walked[c], c
            turning = bend * _turning(dq[k], lever, s)
            for m in range(len(monitors)):
                if not concerns[m, s]:
                    continue
                owner, slope = motion.owner[m], motion.slope[m]
                faster = tight_speed[k] + body.slip[s]
                allowed = motion.v_max[m] - faster
                if monitors[m] and C > 0:
                    limit = slope * (near - grown - motion.radius[m]) - faster
                    if limit <= tight.creep:
                        stop_time[k] = 0.0
                    allowed = min(allowed, limit)
                g = tight.used * max(allowed, 0.0) - speed - turning
                worst[k, owner] = min(worst[k, owner], g)
                if g < motions[last]:
                    _insert(motions, motion_rows, g, ALLOWED, s, m)
                if monitors[m] and C > 0 and tight.brake[0] < np.inf:
                    person = people_speed[at_stop]
                    room = near_stop + person * (brake_time - tight.tick)
                    room -= grown + motion.radius[m] + faster / slope
                    stop_time[k] = min(stop_time[k], max(room, 0.0) / person)
                    g = slope * (max(room, 0.0) - (person + 0.5 * speed) * brake_time)
                    worst[k, owner] = min(worst[k, owner], g)
                    if g < motions[last]:
                        _insert(motions, motion_rows, g, STOP, s, m * C + at_stop)

        for i in range(len(first_of)):
            s, o = first_of[i], second_of[i]
            d0, d1, d2 = center[s, 0] - center[o, 0], center[s, 1] - center[o, 1], center[s, 2] - center[o, 2]
            square = d0 * d0 + d1 * d1 + d2 * d2
            far = body_radius[s] + body_radius[o] + body_slack[s] + stopping * (straight_[s] + straight_[o])
            far += max(places[last], min(worst[k, pairs.owner], HORIZON_PLACE))
            if square > far * far:
                continue
            distance = np.sqrt(square + EPSILON2)
            rate = d0 * (vel[s, 0] - vel[o, 0]) + d1 * (vel[s, 1] - vel[o, 1]) + d2 * (vel[s, 2] - vel[o, 2])
            g = distance - body_radius[s] - body_radius[o] - body_slack[s]
            g = _approach(g, rate / distance, stopping, tight.spread)
            worst[k, pairs.owner] = min(worst[k, pairs.owner], g)
            if g < places[last]:
                _insert(places, place_rows, g, PAIR, s, o)
        for i in range(len(tilt.cosine)):
            g = _tilt_margin(rotation[HAND], omega[7], tilt.axis, tilt.cosine[i], tight)
            worst[k, tilt.owner[i]] = min(worst[k, tilt.owner[i]], g)
            if g < places[last]:
                _insert(places, place_rows, g, TILT, 0, i)
        for j in range(10):  # a brake from here ends before the end stops
            travel = dq[k, j] * (0.5 * brake_time + tight.lead)
            end = 1 if travel > 0.0 else -1
            g = rules.high[j] - q[k, j] - travel if travel > 0.0 else q[k, j] - rules.low[j] + travel
            if g < places[last]:
                _insert(places, place_rows, g, JOINT, j, end)
        if row[k, PLACE, 0, 0] >= 0:
            violation[k, PLACE] = max(0.0, -places[0] - DEAD)
        if row[k, MOTION, 0, 0] >= 0:
            violation[k, MOTION] = max(0.0, -motions[0] - DEAD)
    return Evaluation(worst, violation, stop_time, value, row)


@njit(cache=True, error_model="numpy")
def _tilt_margin(hand, omega, axis, cosine, tight):
    """The upright guardrail's margin with the hand's rotation off by a little."""
    a0 = hand[0, 0] * axis[0] + hand[0, 1] * axis[1] + hand[0, 2] * axis[2]
    a1 = hand[1, 0] * axis[0] + hand[1, 1] * axis[1] + hand[1, 2] * axis[2]
    a2 = hand[2, 0] * axis[0] + hand[2, 1] * axis[1] + hand[2, 2] * axis[2]
    bound = tight.rotation + tight.spread * length(omega[0], omega[1], omega[2])
    return a2 - bound * np.sqrt(a0 * a0 + a1 * a1 + EPSILON2) - 0.5 * bound * bound - cosine
