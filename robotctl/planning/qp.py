"""The quadratic subproblem of one SQP iteration, as a stagewise sparse QP for PIQP.

Stage k = 1..H holds du_{k-1} (10), dx_k = (dq_k, d dq_k) (20) and the slacks s_k (2) of the two groups of rows:

    minimise    sum_k 1/2 dx_k' Q_k dx_k + c_k' dx_k + 1/2 w |u_{k-1} + du_{k-1}|^2_R + mu' s_k
    subject to  dq_k   = dq_{k-1} + dt d dq_{k-1} + dt^2/2 du_{k-1},      dx_0 = 0
                d dq_k = d dq_{k-1} + dt du_{k-1}
                g_ki + G_ki dx_k + s_k,group(i) >= 0
                bounds on du, dx;  s >= 0

The l1 weight mu makes the penalty exact: s > 0 only where the rows cannot hold. PIQP's multistage backend
factorises the stages one after the other (Schwan, Jiang, Kuhn, Jones 2023, "PIQP: A Proximal Interior-Point
Quadratic Programming Solver"). The sparsity never changes, so only values are written.
"""

from __future__ import annotations

import numpy as np
import piqp
import scipy.sparse as sp

NU, NX, NS = 10, 20, 2
STAGE = NU + NX + NS
SLACK_CURVATURE = 1e-2  # keeps the slacks' Hessian away from zero
OK = (piqp.PIQP_SOLVED, piqp.PIQP_MAX_ITER_REACHED)


def _pattern(rows: np.ndarray, columns: np.ndarray, shape: tuple[int, int]) -> tuple[sp.csc_matrix, np.ndarray]:
    """A CSC matrix with these entries, and for each stored value the number of the entry it holds."""
    numbered = sp.coo_matrix((np.arange(1.0, len(rows) + 1), (rows, columns)), shape=shape).tocsc()
    order = numbered.data.astype(int) - 1
    return numbered, order


class StageQP:
    """The QP of `horizon` stages with `keep` rows per group and stage; solved again and again with new values."""

    def __init__(self, horizon: int, keep: int, dt: float, iterations: int = 40) -> None:
        self.horizon, self.keep = horizon, keep
        n = horizon * STAGE
        stage = np.arange(horizon) * STAGE
        joint = np.arange(NU)
        # Hessian: the upper triangle of Q_k, then the diagonals of R and of the slacks.
        self._upper = np.triu_indices(NX)
        diagonal = np.concatenate([joint, np.arange(NU + NX, STAGE)])
        rows = np.concatenate([NU + self._upper[0], diagonal])
        columns = np.concatenate([NU + self._upper[1], diagonal])
        self._P, self._P_order = _pattern((stage[:, None] + rows).ravel(), (stage[:, None] + columns).ravel(), (n, n))

        # Dynamics: for each stage and joint the entries of its two equations.
        entries = (  # equation (0 position, 1 speed), variable, stages back, coefficient
            (0, NU, 0, 1.0), (0, 0, 0, -0.5 * dt * dt), (0, NU, 1, -1.0), (0, 2 * NU, 1, -dt),
            (1, 2 * NU, 0, 1.0), (1, 0, 0, -dt), (1, 2 * NU, 1, -1.0),
        )  # fmt: skip
        parts = []
        for equation, variable, back, value in entries:
            k = np.arange(back, horizon)[:, None]
            row = k * NX + equation * NU + joint
            column = (k - back) * STAGE + variable + joint
            parts.append((np.full(row.size, value), row.ravel(), column.ravel()))
        values, rows, columns = (np.concatenate(part) for part in zip(*parts, strict=True))
        self._A = sp.csc_matrix((values, (rows, columns)), shape=(horizon * NX, n))
        self._b = np.zeros(horizon * NX)

        # Rows: each has the stage's dx and the slack of its group.
        m = horizon * NS * keep
        k, group, _ = np.unravel_index(np.arange(m), (horizon, NS, keep))
        columns = np.concatenate(
            [np.tile(np.arange(NU, NU + NX), (m, 1)), (NU + NX + group)[:, None]], axis=1
        ) + stage[k, None]  # fmt: skip
        rows = np.repeat(np.arange(m), NX + 1)
        self._G, self._G_order = _pattern(rows, columns.ravel(), (m, n))
        self._free = np.full(m, np.inf)
        self._solver = piqp.SparseSolver()
        settings = self._solver.settings
        settings.kkt_solver = piqp.KKTSolver.sparse_multistage
        settings.max_iter = iterations
        settings.eps_abs = settings.eps_rel = 1e-6
        settings.eps_duality_gap_abs = settings.eps_duality_gap_rel = 1e-4
        self._is_set_up = False

    def solve(
        self,
        hessian: np.ndarray,  # (H, 20, 20)
        gradient: np.ndarray,  # (H, 20)
        effort: np.ndarray,  # (10,) diagonal of w R
        u: np.ndarray,  # (H, 10)
        rows: np.ndarray,  # (H, 2, K, 20)
        values: np.ndarray,  # (H, 2, K) present value of each row; inf: no row
        u_bounds: tuple[np.ndarray, np.ndarray],  # (H, 10) each, on du
        x_bounds: tuple[np.ndarray, np.ndarray],  # (H, 20) each, on dx
        penalty: np.ndarray,  # (2,) mu
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
        """Steps du (H, 10), slacks (H, 2) and multipliers of the rows (H, 2, K); None if the solver failed."""
        h, keep = self.horizon, self.keep
        triangle = np.concatenate(
            [
                hessian[:, self._upper[0], self._upper[1]],
                np.broadcast_to(effort, (h, NU)),
                np.full((h, NS), SLACK_CURVATURE),
            ],
            axis=1,
        )
        self._P.data[:] = triangle.ravel()[self._P_order]
        c = np.concatenate([effort * u, gradient, np.broadcast_to(penalty, (h, NS))], axis=1).ravel()
        present = np.isfinite(values)
        block = np.concatenate([np.where(present[..., None], rows, 0.0), np.ones((h, NS, keep, 1))], axis=-1)
        self._G.data[:] = block.ravel()[self._G_order]
        low = np.where(present, -values, -10.0).ravel()
        slack = np.zeros((h, NS))
        x_low = np.concatenate([u_bounds[0], x_bounds[0], slack], axis=1).ravel()
        x_high = np.concatenate([u_bounds[1], x_bounds[1], slack + np.inf], axis=1).ravel()
        if self._is_set_up:
            self._solver.update(P=self._P, c=c, G=self._G, h_l=low, h_u=self._free, x_l=x_low, x_u=x_high)
        else:
            self._solver.setup(self._P, c, self._A, self._b, self._G, low, self._free, x_low, x_high)
            self._is_set_up = True
        status = self._solver.solve()
        solution = np.asarray(self._solver.result.x).reshape(h, STAGE)
        if status not in OK or not np.isfinite(solution).all():
            return None
        multipliers = np.where(present, np.abs(np.asarray(self._solver.result.z_l)).reshape(h, NS, keep), 0.0)
        return solution[:, :NU].copy(), np.maximum(solution[:, NU + NX :], 0.0), multipliers
