"""The quadratic subproblem of one SQP iteration: which rows and bounds enter, in the solver's order.

Stage k = 1..H holds x_k = (dq_k, dv_k), the changes of n joint positions and speeds, du_{k-1}, and the slacks s_k (2)
of the two groups of rows; the full program stands in robotctl.planning.interior_point. The l1 weight mu makes the
penalty exact: s > 0 only where the rows cannot hold. A row that no x within its bounds can reach stays out.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from robotctl.planning.interior_point import Program, solve

MOST = 40  # iterations
GAP = 1e-5  # mean product of a row's distance and multiplier
TOLERANCE = 1e-6  # of the rows [m, m/s]
FAR = 10.0  # a row that is not there has this much room [m, m/s]


class Step(NamedTuple):
    """What the QP proposes, and by how much it expects the objective without the slacks to fall."""

    du: np.ndarray  # (H, n)
    slack: np.ndarray  # (H, 2)
    multipliers: np.ndarray  # (H, 2, K) of the rows
    decrease: float


@njit(cache=True, error_model="numpy")
def _arrange(free, rows, values, by_q, by_dq, x_low, x_high, u_low, u_high):
    """Room (H, M), rows (H, 2, K, 2n) with those that can matter first, their count (H, 2) and origin (H, 2, K).

    rows (H, 2, K, 20) are gradients with respect to where the joints really are, q + residual, and dq; by_q and
    by_dq (H, 10, 10) are the residual's derivatives. Bounds (H, n) and (H, 2n) are those of the free joints.
    """
    H, groups, keep = values.shape
    n = len(free)
    nx = 2 * n
    bounds = 3 * n
    room = np.full((H, 2 * bounds + groups * (keep + 1)), FAR)
    out = np.zeros((H, groups, keep, nx))
    count = np.zeros((H, groups), np.int64)
    origin = np.full((H, groups, keep), -1)
    for k in range(H):
        for i in range(nx):
            room[k, i], room[k, bounds + i] = -x_low[k, i], x_high[k, i]
        for i in range(n):
            room[k, nx + i], room[k, bounds + nx + i] = -u_low[k, i], u_high[k, i]
        for g in range(groups):
            room[k, 2 * bounds + g] = 0.0
            for r in range(keep):
                if not np.isfinite(values[k, g, r]):
                    continue
                at = count[k, g]
                least = values[k, g, r]
                for j in range(n):
                    of_q, of_dq = rows[k, g, r, free[j]], rows[k, g, r, 10 + free[j]]
                    for i in range(10):
                        of_q += rows[k, g, r, i] * by_q[k, i, free[j]]
                        of_dq += rows[k, g, r, i] * by_dq[k, i, free[j]]
                    out[k, g, at, j], out[k, g, at, n + j] = of_q, of_dq
                    least += of_q * (x_low[k, j] if of_q > 0.0 else x_high[k, j])
                    least += of_dq * (x_low[k, n + j] if of_dq > 0.0 else x_high[k, n + j])
                if least < 0.0:
                    room[k, 2 * bounds + groups + g * keep + at] = values[k, g, r]
                    origin[k, g, at] = r
                    count[k, g] = at + 1
    return room, out, count, origin


@njit(cache=True, error_model="numpy")
def _decrease(program, solution):
    """By how much the quadratic objective without the slacks falls."""
    H, nx = program.gradient.shape
    n = nx // 2
    total = 0.0
    for k in range(H):
        for i in range(nx):
            slope = program.gradient[k, i]
            for j in range(nx):
                slope += 0.5 * program.hessian[k, i, j] * solution.x[k, j]
            total += slope * solution.x[k, i]
        for i in range(n):
            du = solution.du[k, i]
            total += program.effort[i] * du * (program.control[k, i] + 0.5 * du)
    return -total


def solve_qp(
    dt: float,
    free: np.ndarray,  # (n,) joints that move
    hessian: np.ndarray,  # (H, 20, 20)
    gradient: np.ndarray,  # (H, 20)
    effort: np.ndarray,  # (10,) diagonal of R
    u: np.ndarray,  # (H, 10)
    rows: np.ndarray,  # (H, 2, K, 20) by where the joints really are
    values: np.ndarray,  # (H, 2, K) present value of each row; inf: no row
    residual: tuple[np.ndarray, np.ndarray],  # (H, 10, 10) each: its derivatives by q and dq
    u_bounds: tuple[np.ndarray, np.ndarray],  # (H, n) each, on du
    x_bounds: tuple[np.ndarray, np.ndarray],  # (H, 2n) each, on dx
    penalty: np.ndarray,  # (2,) mu
) -> Step | None:
    """The QP's step; None if the solver failed."""
    both = np.concatenate([free, 10 + free])
    room, rows, count, origin = _arrange(free, rows, values, *residual, *x_bounds, *u_bounds)
    program = Program(
        dt, hessian.take(both, 1).take(both, 2), gradient.take(both, 1), effort[free], u.take(free, 1), room, rows,
        count, penalty,
    )  # fmt: skip
    solution = solve(program, MOST, GAP, TOLERANCE)
    if not np.isfinite(solution.du).all():
        return None
    bound = solution.multiplier[:, -values[0].size :].reshape(values.shape)
    multipliers = np.zeros(values.shape)
    k, g, r = np.nonzero(origin >= 0)
    multipliers[k, g, origin[k, g, r]] = bound[k, g, r]
    return Step(solution.du, np.maximum(solution.slack, 0.0), multipliers, _decrease(program, solution))
