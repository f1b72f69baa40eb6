"""The quadratic subproblem of one SQP iteration: which rows and bounds enter, in the solver's order.

Stage k = 1..H holds x_k = (dq_k, dv_k), the changes of n joint positions and speeds, du_{k-1}, and the slacks s_k (2)
of the two groups of rows; the full program stands in robotctl.planning.interior_point. The l1 weight mu makes the
penalty exact: s > 0 only where the rows cannot hold. A row that no x within its bounds can reach stays out.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from robotctl.planning.interior_point import GROUPS, Program, solve

MOST = 40  # iterations
GAP = 1e-5  # mean product of a row's distance and multiplier
TOLERANCE = 1e-6  # of the rows [m, m/s]
FAR = 10.0  # a row that is not there has this much room [m, m/s]


@njit(cache=True)
def _arrange(rows, values, x_low, x_high, u_low, u_high):
    """Room (H, M), rows (H, 2, K, 2n) with those that can matter first, their count (H, 2) and origin (H, 2, K)."""
    H, groups, keep, nx = rows.shape
    bounds = nx + u_low.shape[1]
    room = np.full((H, 2 * bounds + groups * (keep + 1)), FAR)
    out = np.zeros(rows.shape)
    count = np.zeros((H, groups), np.int64)
    origin = np.full((H, groups, keep), -1)
    for k in range(H):
        for i in range(nx):
            room[k, i], room[k, bounds + i] = -x_low[k, i], x_high[k, i]
        for i in range(bounds - nx):
            room[k, nx + i], room[k, bounds + nx + i] = -u_low[k, i], u_high[k, i]
        for g in range(groups):
            room[k, 2 * bounds + g] = 0.0
            for r in range(keep):
                least = values[k, g, r]
                if not np.isfinite(least):
                    continue
                for j in range(nx):
                    gradient = rows[k, g, r, j]
                    least += gradient * (x_low[k, j] if gradient > 0.0 else x_high[k, j])
                if least >= 0.0:
                    continue
                at = count[k, g]
                room[k, 2 * bounds + groups + g * keep + at] = values[k, g, r]
                out[k, g, at] = rows[k, g, r]
                origin[k, g, at] = r
                count[k, g] = at + 1
    return room, out, count, origin


def solve_qp(
    dt: float,
    hessian: np.ndarray,  # (H, 2n, 2n)
    gradient: np.ndarray,  # (H, 2n)
    effort: np.ndarray,  # (n,) diagonal of R
    u: np.ndarray,  # (H, n)
    rows: np.ndarray,  # (H, 2, K, 2n)
    values: np.ndarray,  # (H, 2, K) present value of each row; inf: no row
    u_bounds: tuple[np.ndarray, np.ndarray],  # (H, n) each, on du
    x_bounds: tuple[np.ndarray, np.ndarray],  # (H, 2n) each, on dx
    penalty: np.ndarray,  # (2,) mu
) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """Steps du (H, n), slacks (H, 2) and multipliers of the rows (H, 2, K); None if the solver failed."""
    room, rows, count, origin = _arrange(rows, values, *x_bounds, *u_bounds)
    program = Program(dt, hessian, gradient, effort, u, room, rows, count, penalty)
    solution = solve(program, MOST, GAP, TOLERANCE)
    if not np.isfinite(solution.du).all():
        return None
    bound = solution.multiplier[:, -values[0].size :].reshape(values.shape)
    multipliers = np.zeros(values.shape)
    k, g, r = np.nonzero(origin >= 0)
    multipliers[k, g, origin[k, g, r]] = bound[k, g, r]
    return solution.du, np.maximum(solution.slack, 0.0), multipliers
