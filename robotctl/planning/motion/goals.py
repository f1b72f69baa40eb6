"""This file turns a pose of the hand into configurations that reach it: damped least squares from many seeds, in numba.

Wampler 1986, "Manipulator inverse kinematic solutions based on vector formulations and damped least-squares methods".
"""

from __future__ import annotations

import numpy as np
from numba import njit

from robotctl.geometry import rotation_z
from robotctl.planning.motion.chain import Robot, forward

STEPS = 60
CLOSE = 1e-7  # a solution misses the pose by at most this much [m, rad]
LONGEST = 0.5  # of one step of a joint [rad]
HAND_FROM_LAST = rotation_z(-np.pi / 4)


@njit(cache=True)
def _solve(a, b):
    """x of a x = b for a symmetric positive definite (6, 6); both are overwritten, b with x (Cholesky)."""
    n = len(b)
    for i in range(n):
        for j in range(i + 1):
            total = a[i, j]
            for k in range(j):
                total -= a[i, k] * a[j, k]
            a[i, j] = np.sqrt(max(total, 1e-18)) if i == j else total / a[j, j]
    for i in range(n):
        for k in range(i):
            b[i] -= a[i, k] * b[k]
        b[i] /= a[i, i]
    for i in range(n - 1, -1, -1):
        for k in range(i + 1, n):
            b[i] -= a[k, i] * b[k]
        b[i] /= a[i, i]


@njit(cache=True)
def _reach(robot, q, turn, place, rotation, position, jacobian, normal, error):
    """Move q (J,) within its limits until the last frame has rotation `turn` and the hand stands at `place`."""
    joints = len(q)
    for _ in range(STEPS):
        forward(robot, q, rotation, position)
        last = rotation[joints]
        for i in range(3):
            hand = position[joints, i]
            for j in range(3):
                hand += last[i, j] * robot.hand_offset[j]
            error[i] = place[i] - hand
        # Rotation error: the axis of turn last^T, scaled to its angle (in the world).
        r = turn @ last.T
        x, y, z = r[2, 1] - r[1, 2], r[0, 2] - r[2, 0], r[1, 0] - r[0, 1]
        sine, cosine = 0.5 * np.sqrt(x * x + y * y + z * z), 0.5 * (r[0, 0] + r[1, 1] + r[2, 2] - 1.0)
        factor = 0.5 if sine < 1e-9 else 0.5 * np.arctan2(sine, cosine) / sine
        error[3], error[4], error[5] = factor * x, factor * y, factor * z
        miss = np.abs(error).max()
        if miss < CLOSE:
            return cosine > 0.0
        for k in range(joints):
            z0, z1, z2 = rotation[k + 1, 0, 2], rotation[k + 1, 1, 2], rotation[k + 1, 2, 2]
            p0 = place[0] - error[0] - position[k + 1, 0]
            p1 = place[1] - error[1] - position[k + 1, 1]
            p2 = place[2] - error[2] - position[k + 1, 2]
            jacobian[0, k], jacobian[1, k], jacobian[2, k] = z1 * p2 - z2 * p1, z2 * p0 - z0 * p2, z0 * p1 - z1 * p0
            jacobian[3, k], jacobian[4, k], jacobian[5, k] = z0, z1, z2
        damping = 1e-8 + 1e-3 * min(miss, 1.0)
        for i in range(6):
            for j in range(i + 1):
                total = damping if i == j else 0.0
                for k in range(joints):
                    total += jacobian[i, k] * jacobian[j, k]
                normal[i, j] = total
        _solve(normal, error)
        for k in range(joints):
            step = 0.0
            for i in range(6):
                step += jacobian[i, k] * error[i]
            step = min(max(step, -LONGEST), LONGEST)
            q[k] = min(max(q[k] + step, robot.low[k]), robot.high[k])
    return False


@njit(cache=True)
def _reach_all(robot, seeds, turn, place):
    """Solutions (n, J) within the joint limits from seeds (n, J), and which of them (n,) are any."""
    n, joints = seeds.shape
    rotation, position = np.empty((joints + 1, 3, 3)), np.empty((joints + 1, 3))
    jacobian, normal, error = np.empty((6, joints)), np.empty((6, 6)), np.empty(6)
    out, found = seeds.copy(), np.zeros(n, np.bool_)
    for i in range(n):
        found[i] = _reach(robot, out[i], turn, place, rotation, position, jacobian, normal, error)
    return out, found


def reach(robot: Robot, hand_rotation: np.ndarray, hand_position: np.ndarray, seeds: np.ndarray) -> np.ndarray:
    """Configurations (m, J) within the limits that put `panda_hand` at a pose, from seeds (n, J); m <= n."""
    turn = np.ascontiguousarray(hand_rotation @ HAND_FROM_LAST.T)
    out, found = _reach_all(robot, seeds, turn, np.ascontiguousarray(hand_position))
    return out[found]
