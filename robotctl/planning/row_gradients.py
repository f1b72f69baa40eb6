"""Gradients of the rows that enter the QP, and the curvature of speeds, for robotctl.planning.rows.

Derivatives are by where the joints really are and how fast their reference moves; the normals of distances, the share
`bend` of speeds, and which capsule is nearest are held fixed. The tests check them against finite differences and jax.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from robotctl.planning.kernels import (
    add_point_gradient,
    add_turning_gradient,
    add_velocity_gradient,
    box_gap,
    frames,
    place,
    segment_gap,
    twists,
    velocity,
)
from robotctl.planning.rows import (
    ALLOWED,
    BALL,
    BOX,
    EPSILON2,
    JOINT,
    MOTION,
    PAIR,
    PLACE,
    TILT,
    bend_of,
    brake_duration,
    length,
)
from robotctl.robot import HAND, N_FRAMES

SLOWEST = 0.05  # [m/s] below it the curvature of a speed is cut off


@njit(cache=True, error_model="numpy")
def _speed_gradient(rotation, origin, omega, v0, f, point, vel, radius, share, gq, gdq):
    """gq, gdq += share * gradient of |v| + |w| r of a sphere."""
    straight = length(vel[0], vel[1], vel[2])
    weight = vel * (share / straight)
    add_velocity_gradient(rotation, origin, omega, v0, f, point, vel, weight, gq)
    add_point_gradient(rotation, origin, f, point, weight, gdq)
    turning = omega[min(f, 7)]
    weight = turning * (share * radius / length(turning[0], turning[1], turning[2]))
    add_turning_gradient(rotation, omega, f, weight, gq, gdq)


@njit(cache=True, error_model="numpy")
def _rate_gradient(
    rotation, origin, omega, v0, f, point, vel, n, rate, stopping, half_brake, joint, turn, tight, gq, gdq
):
    """gq, gdq += gradient of the approach term of a distance with gradient n (n itself held fixed)."""
    if rate < 0.0:  # towards the obstacle: rate * stopping
        factor = stopping
        if half_brake:
            gdq[joint] += turn * rate * 0.5 / tight.brake[joint]
    else:
        factor = -tight.spread
    weight = n * factor
    add_velocity_gradient(rotation, origin, omega, v0, f, point, vel, weight, gq)
    add_point_gradient(rotation, origin, f, point, weight, gdq)


@njit(cache=True, error_model="numpy")
def linearise(q, dq, rules, tight, evaluation):
    """Gradients of the selected rows, (T, 2, K, 20), with respect to q and dq at their knot; 0 where there is none."""
    body, people, solids, balls = rules.body, rules.people, rules.solids, rules.balls
    motion, tilt = rules.motion, rules.tilt
    T, C = len(q), people.radius.shape[1]
    keep = evaluation.value.shape[2]
    gradient = np.zeros((T, 2, keep, 20))
    rotation, origin = np.empty((N_FRAMES, 3, 3)), np.empty((N_FRAMES, 3))
    omega, v0 = np.empty((8, 3)), np.empty((8, 3))
    point, vel, other, other_vel, n = np.empty(3), np.empty(3), np.empty(3), np.empty(3), np.empty(3)
    for k in range(1, T):
        if evaluation.row[k, PLACE, 0, 0] < 0 and evaluation.row[k, MOTION, 0, 0] < 0:
            continue
        frames(q[k], rotation, origin)
        twists(rotation, origin, dq[k], omega, v0)
        brake_time, joint = brake_duration(dq[k], tight.brake)
        stopping = max(tight.spread, 0.5 * brake_time + tight.lead)
        half_brake = stopping > tight.spread
        bend = bend_of(dq[k], brake_time, tight.bend)
        turn = 1.0 if dq[k, joint] >= 0 else -1.0
        for group in range(2):
            for i in range(keep):
                kind, first, second = evaluation.row[k, group, i]
                if kind < 0:
                    break
                gq, gdq = gradient[k, group, i, :10], gradient[k, group, i, 10:]
                if kind == TILT:
                    _tilt_gradient(rotation, omega, tilt.axis, tight, gq)
                    continue
                if kind == JOINT:  # second: 1 towards the upper end stop, -1 towards the lower one
                    gq[first] = -second
                    gdq[first] -= second * (0.5 * brake_time + tight.lead)
                    gdq[joint] -= abs(dq[k, first]) * 0.5 * turn / tight.brake[joint]
                    continue
                s = first
                f, r = body.frame[s], body.radius[s]
                point[0], point[1], point[2] = place(rotation, origin, f, body.offset, s)
                vel[0], vel[1], vel[2] = velocity(omega, v0, f, point[0], point[1], point[2])
                straight = length(vel[0], vel[1], vel[2])
                if kind <= PAIR:  # distances
                    relative = vel.copy()
                    if kind == BOX:
                        _, n[0], n[1], n[2] = box_gap(
                            point[0], point[1], point[2], solids.center, solids.rotation, solids.half, second, np.inf
                        )
                    else:
                        if kind == BALL:
                            other[:] = balls.center[second]
                        else:
                            g = body.frame[second]
                            other[0], other[1], other[2] = place(rotation, origin, g, body.offset, second)
                            other_vel[0], other_vel[1], other_vel[2] = velocity(
                                omega, v0, g, other[0], other[1], other[2]
                            )
                            relative -= other_vel
                        n[:] = point - other
                        n /= length(n[0], n[1], n[2])
                    rate = n[0] * relative[0] + n[1] * relative[1] + n[2] * relative[2]
                    add_point_gradient(rotation, origin, f, point, n, gq)
                    _rate_gradient(
                        rotation, origin, omega, v0, f, point, vel, n, rate, stopping, half_brake, joint, turn, tight,
                        gq, gdq,
                    )  # fmt: skip
                    if kind == PAIR:
                        add_point_gradient(rotation, origin, body.frame[second], other, -n, gq)
                        factor = stopping if rate < 0.0 else -tight.spread
                        weight = n * -factor
                        add_velocity_gradient(
                            rotation, origin, omega, v0, body.frame[second], other, other_vel, weight, gq
                        )
                        add_point_gradient(rotation, origin, body.frame[second], other, weight, gdq)
                    else:
                        weight = vel * (-tight.reach / straight)
                        add_velocity_gradient(rotation, origin, omega, v0, f, point, vel, weight, gq)
                        add_point_gradient(rotation, origin, f, point, weight, gdq)
                    continue

                m = second if kind == ALLOWED else second // C
                slope = motion.slope[m]
                if kind == ALLOWED:
                    _speed_gradient(rotation, origin, omega, v0, f, point, vel, r, -1.0, gq, gdq)
                    for j in range(8):  # bend itself held fixed
                        gdq[2 + j] -= bend * body.lever[s, j] * (1.0 if dq[k, 2 + j] >= 0.0 else -1.0)
                    if not motion.monitors[m] or C == 0:
                        continue
                    nearest, c_near = np.inf, 0
                    for c in range(C):
                        gap = segment_gap(point[0], point[1], point[2], people.a, people.b, k, c)[0]
                        gap -= people.radius[k, c] + people.speed[c] * tight.latency
                        if gap < nearest:
                            nearest, c_near = gap, c
                    grown = r + body.slack[s] + tight.position[k] + tight.reach * straight
                    faster = tight.speed[k] + body.slip[s]
                    limit = slope * (nearest - grown - motion.radius[m]) - faster
                    if limit <= 0.0 or limit >= motion.v_max[m] - faster:
                        continue
                    c, share = c_near, tight.used * slope
                else:
                    c = second % C
                    person = people.speed[c]
                    gap = segment_gap(point[0], point[1], point[2], people.a, people.b, k, c)[0] - people.radius[k, c]
                    turning = omega[min(f, 7)]
                    speed = straight + length(turning[0], turning[1], turning[2]) * r
                    _speed_gradient(rotation, origin, omega, v0, f, point, vel, r, -0.5 * slope * brake_time, gq, gdq)
                    gdq[joint] -= slope * (person + 0.5 * speed) * turn / tight.brake[joint]
                    grown = r + body.slack[s] + tight.position[k] + tight.reach * straight
                    room = (
                        gap
                        - person * (tight.latency + tight.tick)
                        - grown
                        - motion.radius[m]
                        - (tight.speed[k] + body.slip[s]) / slope
                    )
                    if room <= 0.0:
                        continue
                    share = slope
                _, n[0], n[1], n[2] = segment_gap(point[0], point[1], point[2], people.a, people.b, k, c)
                add_point_gradient(rotation, origin, f, point, n * share, gq)
                weight = vel * (-tight.reach * share / straight)
                add_velocity_gradient(rotation, origin, omega, v0, f, point, vel, weight, gq)
                add_point_gradient(rotation, origin, f, point, weight, gdq)
    return gradient


@njit(cache=True, error_model="numpy")
def _tilt_gradient(rotation, omega, axis, tight, gq):
    """gq += gradient of the tilt row: d a / d q_i = z_i x a for the turned axis a."""
    hand = rotation[HAND]
    a = np.empty(3)
    for i in range(3):
        a[i] = hand[i, 0] * axis[0] + hand[i, 1] * axis[1] + hand[i, 2] * axis[2]
    bound = tight.rotation + tight.spread * length(omega[7, 0], omega[7, 1], omega[7, 2])
    sine = np.sqrt(a[0] * a[0] + a[1] * a[1] + EPSILON2)
    w0, w1, w2 = -bound * a[0] / sine, -bound * a[1] / sine, 1.0
    for i in range(8):
        z0, z1, z2 = rotation[i, 0, 2], rotation[i, 1, 2], rotation[i, 2, 2]
        gq[2 + i] += w0 * (z1 * a[2] - z2 * a[1]) + w1 * (z2 * a[0] - z0 * a[2]) + w2 * (z0 * a[1] - z1 * a[0])


@njit(cache=True, error_model="numpy")
def speed_curvature(q, dq, body, multipliers):
    """Curvature of the speed rows, sum_s lambda_s d^2 |v_s| / d dq^2, (T, 10, 10), for multipliers (T, S).

    |v| is convex in dq, with the Hessian J' (I - v v' / |v|^2) J / |v|: the part of the Lagrangian's Hessian that
    the linearised rows miss, without which the iterates cut corners of the speed limit.
    """
    T, S = multipliers.shape
    hessian = np.zeros((T, 10, 10))
    rotation, origin = np.empty((N_FRAMES, 3, 3)), np.empty((N_FRAMES, 3))
    omega, v0 = np.empty((8, 3)), np.empty((8, 3))
    point, vel, axis = np.empty(3), np.empty(3), np.zeros(3)
    jacobian = np.zeros((3, 10))
    for k in range(1, T):
        if multipliers[k].max() <= 0.0:
            continue
        frames(q[k], rotation, origin)
        twists(rotation, origin, dq[k], omega, v0)
        for s in range(S):
            if multipliers[k, s] <= 0.0:
                continue
            f = body.frame[s]
            point[0], point[1], point[2] = place(rotation, origin, f, body.offset, s)
            vel[0], vel[1], vel[2] = velocity(omega, v0, f, point[0], point[1], point[2])
            straight = max(length(vel[0], vel[1], vel[2]), SLOWEST)
            jacobian[:] = 0.0
            for d in range(3):
                axis[:] = 0.0
                axis[d] = 1.0
                add_point_gradient(rotation, origin, f, point, axis, jacobian[d])
            along = (vel[0] * jacobian[0] + vel[1] * jacobian[1] + vel[2] * jacobian[2]) / straight
            weight = multipliers[k, s] / straight
            for i in range(10):
                for j in range(10):
                    total = -along[i] * along[j]
                    for d in range(3):
                        total += jacobian[d, i] * jacobian[d, j]
                    hessian[k, i, j] += weight * total
    return hessian
