"""What a plan should achieve: the hand at its pose, the joints near their guide, little effort.

With e the position error [m] and theta the angle between hand and goal, per knot (the last one counts more):

    pose      = 1/2 e' W e + w_r (1 - cos theta)           (1 - cos theta = |R - R*|_F^2 / 4: smooth at any angle)
    posture   = 1/2 sum_j w_j (q_j - q*_j)^2
    velocity  = 1/2 w_v sum_j (dq_j / DQ_MAX_j)^2
    effort    = 1/2 w_u sum_j (u_j / DDQ_MAX_j)^2

W = w_p I, or, if the hand should come along a line d, w_p (d d' + STRAIGHT (I - d d')): off the line errors count more.
near = 1 / (1 + error^2 / NEAR^2) blends posture into pose; it is held fixed during one SQP iteration. On a route
(robotctl.planning.route) q* runs along it, knot by knot, and near counts the time to its end instead. The Hessian
of the pose term is the Gauss-Newton one (Nocedal and Wright 2006, ch. 10): J_v' W J_v + w_r J_w' J_w.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit

from robotctl.objectives.reach import ReachGoal
from robotctl.planning.kernels import cross, frames
from robotctl.planning.route import Guide
from robotctl.robot import DDQ_MAX, DQ_MAX, HAND, N_FRAMES, TCP

POSITION = 60.0  # w_p [1/m^2]
STRAIGHT = 20.0  # how much more an error off the line of approach counts than one along it
ROTATION = 12.0  # w_r [1]
POSTURE = np.array([6.0, 6.0, 3.0, *[2.0] * 7])  # w_j [1/m^2, 1/rad^2]
POSTURE_FLOOR = 0.3  # share of the posture term that stays at the goal, against drift of the redundant joints
COMMON_POSTURE = 0.3  # share of the posture term when different ways are compared
POSE_FLOOR = 0.02  # share of the pose term far away
VELOCITY = 0.02
EFFORT = 0.05  # smooth enough for the drives and the solver; ten times less is hardly faster
TERMINAL = 5.0  # weight of the last knot
NEAR = 0.35  # pose error at which posture and pose weigh the same [m; a radian counts as 0.3 m]
NEAR_ROUTE = 0.1  # so long before the end of a route the pose weighs half [s]
RADIAN = 0.3  # [m]

CURVATURE = 1e-6  # least of the Hessian's diagonal
EFFORT_WEIGHT = EFFORT / DDQ_MAX**2
VELOCITY_WEIGHT = VELOCITY / DQ_MAX**2


@njit(cache=True)
def _pose(q, position, rotation, w_position, w_rotation, derivatives):
    """Error^2, cost, gradient and Gauss-Newton Hessian of the pose term at q (T, 10)."""
    T = len(q)
    error2, cost = np.zeros(T), np.zeros(T)
    gradient, hessian = np.zeros((T, 10)), np.zeros((T, 10, 10))
    R, o = np.empty((N_FRAMES, 3, 3)), np.empty((N_FRAMES, 3))
    linear, turning, weighted = np.zeros((3, 10)), np.zeros((3, 10)), np.empty(3)
    tip, e, force, torque = np.empty(3), np.empty(3), np.empty(3), np.empty(3)
    for k in range(T):
        frames(q[k], R, o)
        for i in range(3):
            tip[i] = o[HAND, i] + R[HAND, i, 2] * TCP[2]
            e[i] = tip[i] - position[i]
        trace = 0.0
        torque[:] = 0.0
        for c in range(3):
            a0, a1, a2 = R[HAND, 0, c], R[HAND, 1, c], R[HAND, 2, c]
            b0, b1, b2 = rotation[0, c], rotation[1, c], rotation[2, c]
            trace += a0 * b0 + a1 * b1 + a2 * b2
            t0, t1, t2 = cross(a0, a1, a2, b0, b1, b2)
            torque[0] -= 0.5 * t0
            torque[1] -= 0.5 * t1
            torque[2] -= 0.5 * t2
        turned = 0.5 * (3.0 - trace)  # 1 - cos theta
        square = e[0] * e[0] + e[1] * e[1] + e[2] * e[2]
        for i in range(3):
            force[i] = w_position[i, 0] * e[0] + w_position[i, 1] * e[1] + w_position[i, 2] * e[2]
        cost[k] = 0.5 * (e[0] * force[0] + e[1] * force[1] + e[2] * force[2]) + w_rotation * turned
        error2[k] = (square if w_position[0, 0] > 0.0 else 0.0) + (2.0 * RADIAN**2 * turned if w_rotation > 0 else 0.0)
        if not derivatives:
            continue
        linear[0, 0] = linear[1, 1] = 1.0
        for i in range(8):
            z0, z1, z2 = R[i, 0, 2], R[i, 1, 2], R[i, 2, 2]
            linear[0, 2 + i], linear[1, 2 + i], linear[2, 2 + i] = cross(
                z0, z1, z2, tip[0] - o[i, 0], tip[1] - o[i, 1], tip[2] - o[i, 2]
            )
            turning[0, 2 + i], turning[1, 2 + i], turning[2, 2 + i] = z0, z1, z2
        for i in range(10):
            for d in range(3):
                gradient[k, i] += linear[d, i] * force[d] + w_rotation * turning[d, i] * torque[d]
                weighted[d] = 0.0
                for f in range(3):
                    weighted[d] += w_position[d, f] * linear[f, i]
            for j in range(i + 1):
                h = 0.0
                for d in range(3):
                    h += weighted[d] * linear[d, j] + w_rotation * turning[d, i] * turning[d, j]
                hessian[k, i, j] = hessian[k, j, i] = h
    return error2, cost, gradient, hessian


@njit(cache=True)
def _other_terms(q, dq, u, guide, weight):
    """Posture, velocity and effort of q, dq (H+1, 10) and u (H, 10), for a guide (H, 10) with weights (H,)."""
    posture = velocity = effort = 0.0
    for k in range(len(u)):
        off = 0.0
        for j in range(10):
            off += POSTURE[j] * (q[k + 1, j] - guide[k, j]) ** 2
            velocity += 0.5 * VELOCITY_WEIGHT[j] * dq[k + 1, j] ** 2
            effort += 0.5 * EFFORT_WEIGHT[j] * u[k, j] ** 2
        posture += 0.5 * weight[k] * off
    return posture, velocity, effort


@njit(cache=True)
def _chained(q, dq, pose_gradient, pose_hessian, by_q, by_dq, guide, pose_weight, posture_weight):
    """Gradient (H, 20) and Hessian (H, 20, 20) of all terms but effort by q and dq at knots 1..H.

    pose_gradient (H, 10) and pose_hessian (H, 10, 10) are by where the joints really are, q + residual; by_q and
    by_dq (H, 10, 10) are the residual's derivatives.
    """
    H = len(q) - 1
    gradient, hessian = np.zeros((H, 20)), np.zeros((H, 20, 20))
    chain, turned = np.empty((10, 20)), np.empty((10, 20))
    for k in range(H):
        w = pose_weight[k]
        for i in range(10):
            for j in range(10):
                chain[i, j], chain[i, 10 + j] = by_q[k, i, j], by_dq[k, i, j]
            chain[i, i] += 1.0
        for i in range(10):
            turned[i] = 0.0
            for m in range(10):
                share = w * pose_hessian[k, i, m]
                for j in range(20):
                    turned[i, j] += share * chain[m, j]
        for i in range(10):
            slope = w * pose_gradient[k, i]
            for j in range(20):
                gradient[k, j] += slope * chain[i, j]
                for m in range(20):
                    hessian[k, j, m] += chain[i, j] * turned[i, m]
        for j in range(10):
            gradient[k, j] += posture_weight[k] * POSTURE[j] * (q[k + 1, j] - guide[k, j])
            gradient[k, 10 + j] += VELOCITY_WEIGHT[j] * dq[k + 1, j]
            hessian[k, j, j] += CURVATURE + posture_weight[k] * POSTURE[j]
            hessian[k, 10 + j, 10 + j] += CURVATURE + VELOCITY_WEIGHT[j]
    return gradient, hessian


@dataclass(frozen=True)
class Expansion:
    """The cost about a trajectory, knots 1..H."""

    gradient: np.ndarray  # (H, 20)
    hessian: np.ndarray  # (H, 20, 20)


class ReachCost:
    """The cost of a trajectory for one goal."""

    def __init__(self, goal: ReachGoal, horizon: int, guide: Guide | None = None) -> None:
        """guide: where the knots could be on a way round; None: straight to the goal's posture."""
        self._position = np.zeros(3) if goal.position is None else np.asarray(goal.position, float)
        self._rotation = np.eye(3) if goal.rotation is None else np.ascontiguousarray(goal.rotation, dtype=float)
        self._w_position = np.zeros((3, 3)) if goal.position is None else POSITION * np.eye(3)
        if goal.position is not None and goal.along is not None:
            line = np.outer(goal.along, goal.along)
            self._w_position = POSITION * (line + STRAIGHT * (np.eye(3) - line))
        self._w_rotation = 0.0 if goal.rotation is None else ROTATION
        self._has_pose = goal.position is not None or goal.rotation is not None
        self._guided = goal.q is not None
        self._guide = np.zeros((horizon, 10))  # joints that each knot is drawn to
        if goal.q is not None:
            self._guide[:] = np.asarray(goal.q, float) if guide is None else guide.q[1:]
        self._route = guide
        self._share = np.ones(horizon)
        self._share[-1] = TERMINAL

    def weights(self, q_real: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Weights (H,) of pose and posture at knots 1..H, from how near each knot is to the goal."""
        near = np.ones(len(q_real) - 1)
        if self._route is not None:  # the hand may be near its goal with a table in between: no pull towards it
            return self._share / (1.0 + (self._route.to_go[1:] / NEAR_ROUTE) ** 2), self._share
        if self._guided:
            if self._has_pose:
                error2 = _pose(q_real[1:], self._position, self._rotation, self._w_position, self._w_rotation, False)[0]
                near = 1.0 / (1.0 + error2 / NEAR**2)
            else:
                near[:] = 0.0
        far = 1.0 - near + POSTURE_FLOOR if self._guided else np.zeros_like(near)
        return self._share * (POSE_FLOOR + (1.0 - POSE_FLOOR) * near), self._share * far

    def common_weights(self) -> tuple[np.ndarray, np.ndarray]:
        """Weights that do not depend on the trajectory: to compare trajectories that end far from each other."""
        if self._route is not None:
            return self.weights(self._route.q)
        if not self._guided:
            return self._share, np.zeros_like(self._share)
        return self._share, (COMMON_POSTURE if self._has_pose else 1.0) * self._share

    def error(self, q: np.ndarray) -> float:
        """Distance of joints q (10,) to the goal; a radian of the hand or of the guide counts as RADIAN metres.

        On a route: how far they are behind where its guide ends [s].
        """
        total = 0.0
        if self._route is not None:
            total = max(self._route.route.left(q) - float(self._route.to_go[-1]), 0.0)
        elif self._has_pose:
            total = float(
                np.sqrt(
                    max(
                        _pose(q[None], self._position, self._rotation, self._w_position, self._w_rotation, False)[0][0],
                        0.0,
                    )
                )
            )
        elif self._guided:
            total = float(np.linalg.norm((q - self._guide[-1]) * np.sqrt(POSTURE / POSTURE[0])))
        return total

    def terms(
        self, q: np.ndarray, dq: np.ndarray, q_real: np.ndarray, u: np.ndarray, weights: tuple[np.ndarray, np.ndarray]
    ) -> dict[str, float]:
        """Cost by term of a trajectory: reference q, dq and real positions (H+1, 10), accelerations u (H, 10)."""
        pose = 0.0
        if self._has_pose:
            cost = _pose(q_real[1:], self._position, self._rotation, self._w_position, self._w_rotation, False)[1]
            pose = float(weights[0] @ cost)
        posture, velocity, effort = _other_terms(q, dq, u, self._guide, weights[1])
        return {"pose": pose, "posture": posture, "velocity": velocity, "effort": effort}

    def expand(
        self,
        q: np.ndarray,
        dq: np.ndarray,
        q_real: np.ndarray,
        residual: tuple[np.ndarray, np.ndarray],
        weights: tuple[np.ndarray, np.ndarray],
    ) -> Expansion:
        """Gradient and Gauss-Newton Hessian at knots 1..H.

        residual: derivatives of q_real - q by q and dq, (H, 10, 10) each.
        """
        g, b = np.zeros((len(q) - 1, 10)), np.zeros((len(q) - 1, 10, 10))
        if self._has_pose:
            _, _, g, b = _pose(q_real[1:], self._position, self._rotation, self._w_position, self._w_rotation, True)
        return Expansion(*_chained(q, dq, g, b, *residual, self._guide, *weights))
