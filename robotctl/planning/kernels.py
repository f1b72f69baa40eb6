"""Kinematics in numba: frames, velocities and their derivatives for one configuration at a time.

The same robot as robotctl.robot, written as loops. Turning joint i (0 the yaw, 1..7 the arm) has axis z_i through
o_i and moves every frame f >= i. With w_i the sum of z_m dq_m over m <= i, and v_i(p) the velocity that base and
joints m <= i give a point p, the velocity of a point p of frame f is v_f(p) and

    d p / d q_i = z_i x (p - o_i)
    d v / d q_i = w_i x (z_i x (p - o_i)) + z_i x (v_f(p) - v_i(p))      (what lies behind joint i turns with it)
    d w / d q_i = z_i x (w_f - w_i).
"""

from __future__ import annotations

import numpy as np
from numba import njit

from robotctl.robot import ARM_OFFSETS, HAND, N_FRAMES, T_LINK7_HAND

JOINTS = 10
TURNING = 8  # the yaw and arm 1..7: joint 2 + i turns about the z axis of frame i

_ROLL = np.array([0.0, -1.0, 1.0, 1.0, -1.0, 1.0, 1.0])  # sign of each arm joint's quarter turn about x, 0 none
_SHIFT = ARM_OFFSETS[:, :3, 3].copy()
_HAND_ROTATION = T_LINK7_HAND[:3, :3].copy()
_HAND_SHIFT = float(T_LINK7_HAND[2, 3])


@njit(cache=True, error_model="numpy", inline="always")
def cross(a0, a1, a2, b0, b1, b2):
    """a x b by components."""
    return a1 * b2 - a2 * b1, a2 * b0 - a0 * b2, a0 * b1 - a1 * b0


@njit(cache=True, error_model="numpy")
def frames(q, rotation, origin):
    """Fill rotation (9, 3, 3) and origin (9, 3) of every frame in the world, for q (10,)."""
    c, s = np.cos(q[2]), np.sin(q[2])
    x0, x1, x2 = c, s, 0.0
    y0, y1, y2 = -s, c, 0.0
    z0, z1, z2 = 0.0, 0.0, 1.0
    p0, p1, p2 = q[0], q[1], 0.0
    for f in range(HAND):
        if f > 0:
            d0, d1, d2 = _SHIFT[f - 1, 0], _SHIFT[f - 1, 1], _SHIFT[f - 1, 2]
            p0 += d0 * x0 + d1 * y0 + d2 * z0
            p1 += d0 * x1 + d1 * y1 + d2 * z1
            p2 += d0 * x2 + d1 * y2 + d2 * z2
            roll = _ROLL[f - 1]
            if roll != 0.0:  # a quarter turn about x: (y, z) -> (z, -y) or (-z, y)
                y0, y1, y2, z0, z1, z2 = roll * z0, roll * z1, roll * z2, -roll * y0, -roll * y1, -roll * y2
            c, s = np.cos(q[2 + f]), np.sin(q[2 + f])
            x0, x1, x2, y0, y1, y2 = (
                c * x0 + s * y0, c * x1 + s * y1, c * x2 + s * y2,
                c * y0 - s * x0, c * y1 - s * x1, c * y2 - s * x2,
            )  # fmt: skip
        rotation[f, 0, 0], rotation[f, 1, 0], rotation[f, 2, 0] = x0, x1, x2
        rotation[f, 0, 1], rotation[f, 1, 1], rotation[f, 2, 1] = y0, y1, y2
        rotation[f, 0, 2], rotation[f, 1, 2], rotation[f, 2, 2] = z0, z1, z2
        origin[f, 0], origin[f, 1], origin[f, 2] = p0, p1, p2
    for i in range(3):
        for j in range(3):
            total = 0.0
            for k in range(3):
                total += rotation[HAND - 1, i, k] * _HAND_ROTATION[k, j]
            rotation[HAND, i, j] = total
        origin[HAND, i] = origin[HAND - 1, i] + _HAND_SHIFT * rotation[HAND - 1, i, 2]


@njit(cache=True, error_model="numpy")
def twists(rotation, origin, dq, omega, v0):
    """Fill omega (8, 3) = w_i and v0 (8, 3), the velocity that base and joints up to i give the world's origin."""
    w0, w1, w2 = 0.0, 0.0, 0.0
    u0, u1, u2 = dq[0], dq[1], 0.0
    for i in range(TURNING):
        rate = dq[2 + i]
        z0, z1, z2 = rotation[i, 0, 2], rotation[i, 1, 2], rotation[i, 2, 2]
        m0, m1, m2 = cross(origin[i, 0], origin[i, 1], origin[i, 2], z0, z1, z2)
        w0, w1, w2 = w0 + rate * z0, w1 + rate * z1, w2 + rate * z2
        u0, u1, u2 = u0 + rate * m0, u1 + rate * m1, u2 + rate * m2
        omega[i, 0], omega[i, 1], omega[i, 2] = w0, w1, w2
        v0[i, 0], v0[i, 1], v0[i, 2] = u0, u1, u2


@njit(cache=True, error_model="numpy", inline="always")
def place(rotation, origin, frame, offset, s):
    """World position of the point offset[s] (n, 3) of a frame, by components."""
    x, y, z = offset[s, 0], offset[s, 1], offset[s, 2]
    return (
        origin[frame, 0] + (rotation[frame, 0, 0] * x + rotation[frame, 0, 1] * y + rotation[frame, 0, 2] * z),
        origin[frame, 1] + (rotation[frame, 1, 0] * x + rotation[frame, 1, 1] * y + rotation[frame, 1, 2] * z),
        origin[frame, 2] + (rotation[frame, 2, 0] * x + rotation[frame, 2, 1] * y + rotation[frame, 2, 2] * z),
    )


@njit(cache=True, error_model="numpy", inline="always")
def velocity(omega, v0, frame, x, y, z):
    """Velocity of the point (x, y, z) fixed to a frame, by components."""
    i = min(frame, TURNING - 1)
    c0, c1, c2 = cross(omega[i, 0], omega[i, 1], omega[i, 2], x, y, z)
    return v0[i, 0] + c0, v0[i, 1] + c1, v0[i, 2] + c2


@njit(cache=True, error_model="numpy")
def add_point_gradient(rotation, origin, frame, point, weight, out):
    """out[j] += weight . d point / d q_j, for a point fixed to a frame; out (10,)."""
    out[0] += weight[0]
    out[1] += weight[1]
    for i in range(min(frame, TURNING - 1) + 1):
        j0, j1, j2 = cross(
            rotation[i, 0, 2], rotation[i, 1, 2], rotation[i, 2, 2],
            point[0] - origin[i, 0], point[1] - origin[i, 1], point[2] - origin[i, 2],
        )  # fmt: skip
        out[2 + i] += weight[0] * j0 + weight[1] * j1 + weight[2] * j2


@njit(cache=True, error_model="numpy")
def add_velocity_gradient(rotation, origin, omega, v0, frame, point, vel, weight, out):
    """out[j] += weight . d v / d q_j for the velocity of a point fixed to a frame. (d v / d dq is d p / d q.)"""
    for i in range(min(frame, TURNING - 1) + 1):
        z0, z1, z2 = rotation[i, 0, 2], rotation[i, 1, 2], rotation[i, 2, 2]
        j0, j1, j2 = cross(z0, z1, z2, point[0] - origin[i, 0], point[1] - origin[i, 1], point[2] - origin[i, 2])
        w0, w1, w2 = omega[i, 0], omega[i, 1], omega[i, 2]
        c0, c1, c2 = cross(w0, w1, w2, point[0], point[1], point[2])
        d0, d1, d2 = cross(
            z0, z1, z2, vel[0] - v0[i, 0] - c0, vel[1] - v0[i, 1] - c1, vel[2] - v0[i, 2] - c2
        )  # fmt: skip
        e0, e1, e2 = cross(w0, w1, w2, j0, j1, j2)
        out[2 + i] += weight[0] * (d0 + e0) + weight[1] * (d1 + e1) + weight[2] * (d2 + e2)


@njit(cache=True, error_model="numpy")
def add_turning_gradient(rotation, omega, frame, weight, out_q, out_dq):
    """out += weight . d w / d q and weight . d w / d dq for the angular velocity w of a frame."""
    f = min(frame, TURNING - 1)
    for i in range(f + 1):
        z0, z1, z2 = rotation[i, 0, 2], rotation[i, 1, 2], rotation[i, 2, 2]
        d0, d1, d2 = cross(
            z0, z1, z2, omega[f, 0] - omega[i, 0], omega[f, 1] - omega[i, 1], omega[f, 2] - omega[i, 2]
        )  # fmt: skip
        out_q[2 + i] += weight[0] * d0 + weight[1] * d1 + weight[2] * d2
        out_dq[2 + i] += weight[0] * z0 + weight[1] * z1 + weight[2] * z2


@njit(cache=True, error_model="numpy")
def box_gap(x, y, z, center, rotation, half, b, reach):
    """Signed distance of the point (x, y, z) to box b of (n, 3), (n, 3, 3), (n, 3), and its gradient by components.

    inf if the point is farther off than `reach`. The same formula as robotctl.geometry.point_box_distance.
    """
    d0, d1, d2 = x - center[b, 0], y - center[b, 1], z - center[b, 2]
    l0 = rotation[b, 0, 0] * d0 + rotation[b, 1, 0] * d1 + rotation[b, 2, 0] * d2
    l1 = rotation[b, 0, 1] * d0 + rotation[b, 1, 1] * d1 + rotation[b, 2, 1] * d2
    l2 = rotation[b, 0, 2] * d0 + rotation[b, 1, 2] * d1 + rotation[b, 2, 2] * d2
    b0, b1, b2 = abs(l0) - half[b, 0], abs(l1) - half[b, 1], abs(l2) - half[b, 2]
    o0, o1, o2 = max(b0, 0.0), max(b1, 0.0), max(b2, 0.0)
    outside2 = o0 * o0 + o1 * o1 + o2 * o2
    if outside2 > reach * reach:
        return np.inf, 0.0, 0.0, 0.0
    gap = np.sqrt(outside2 + 1e-18)
    deepest = max(b0, b1, b2)
    if deepest > 0.0:
        o0, o1, o2 = o0 / gap, o1 / gap, o2 / gap
    else:
        gap += deepest
        o0 = 1.0 if b0 == deepest else 0.0
        o1 = 1.0 if b1 == deepest and o0 == 0.0 else 0.0
        o2 = 1.0 - o0 - o1
    o0, o1, o2 = np.copysign(o0, l0), np.copysign(o1, l1), np.copysign(o2, l2)
    return (
        gap,
        rotation[b, 0, 0] * o0 + rotation[b, 0, 1] * o1 + rotation[b, 0, 2] * o2,
        rotation[b, 1, 0] * o0 + rotation[b, 1, 1] * o1 + rotation[b, 1, 2] * o2,
        rotation[b, 2, 0] * o0 + rotation[b, 2, 1] * o1 + rotation[b, 2, 2] * o2,
    )


@njit(cache=True, error_model="numpy")
def segment_gap(x, y, z, a, b, k, c):
    """Distance of the point (x, y, z) to segment c at knot k of a, b (T, n, 3), and its gradient by components."""
    e0, e1, e2 = b[k, c, 0] - a[k, c, 0], b[k, c, 1] - a[k, c, 1], b[k, c, 2] - a[k, c, 2]
    d0, d1, d2 = x - a[k, c, 0], y - a[k, c, 1], z - a[k, c, 2]
    length2 = e0 * e0 + e1 * e1 + e2 * e2
    t = (d0 * e0 + d1 * e1 + d2 * e2) / (length2 if length2 > 1e-12 else 1.0)
    t = min(max(t, 0.0), 1.0)
    d0, d1, d2 = d0 - t * e0, d1 - t * e1, d2 - t * e2
    distance = np.sqrt(d0 * d0 + d1 * d1 + d2 * d2 + 1e-18)
    return distance, d0 / distance, d1 / distance, d2 / distance


@njit(cache=True, error_model="numpy")
def forward_batch(q):
    """Rotation (n, 9, 3, 3) and origin (n, 9, 3) for q (n, 10)."""
    n = len(q)
    rotation, origin = np.empty((n, N_FRAMES, 3, 3)), np.empty((n, N_FRAMES, 3))
    for k in range(n):
        frames(q[k], rotation[k], origin[k])
    return rotation, origin
