"""The quadratic subproblem of one SQP iteration, as a stagewise sparse QP for PIQP.

Stage k = 1..H holds dx_k = (dq_k, dv_k), the changes of n joint positions and speeds, and the slacks s_k (2) of the
two groups of rows. The controls are not variables: a double integrator has u_{k-1} = (v_k - v_{k-1}) / dt.

    minimise    sum_k 1/2 dx_k' Q_k dx_k + c_k' dx_k + 1/2 |u_{k-1} + du_{k-1}|^2_R + mu' s_k
    with        du_{k-1} = (dv_k - dv_{k-1}) / dt,    dx_0 = 0
    subject to  dq_k = dq_{k-1} + dt/2 (dv_{k-1} + dv_k)
                g_ki + G_ki dx_k + s_k,group(i) >= 0
                bounds on dx and on du;  s >= 0

The l1 weight mu makes the penalty exact: s > 0 only where the rows cannot hold. PIQP's multistage backend
factorises the stages one after the other (Schwan, Jiang, Kuhn, Jones 2023, "PIQP: A Proximal Interior-Point
Quadratic Programming Solver"), in time that grows with the cube of a stage's size: without the controls it is 22
for ten joints. The sparsity never changes, so only values are written.
"""

from __future__ import annotations

import numpy as np
import piqp
import scipy.sparse as sp

GROUPS = 2
SLACK_CURVATURE = 1e-2  # keeps the slacks' Hessian away from zero
FAR = 10.0  # a row that is not there has this much room [m, m/s]
OK = (piqp.PIQP_SOLVED, piqp.PIQP_MAX_ITER_REACHED)


def _pattern(rows: np.ndarray, columns: np.ndarray, shape: tuple[int, int]) -> tuple[sp.csc_matrix, np.ndarray]:
    """A CSC matrix with these entries, and for each stored value the number of the entry it holds."""
    numbered = sp.coo_matrix((np.arange(1.0, len(rows) + 1), (rows, columns)), shape=shape).tocsc()
    order = numbered.data.astype(int) - 1
    return numbered, order


class StageQP:
    """The QP of `horizon` stages, `joints` joints and `keep` rows per group and stage; solved again and again."""

    def __init__(self, horizon: int, keep: int, dt: float, joints: int = 10, iterations: int = 40) -> None:
        self.horizon, self.keep, self.joints, self.dt = horizon, keep, joints, dt
        n, nx = joints, 2 * joints
        size = nx + GROUPS
        total = horizon * size
        stage = np.arange(horizon) * size
        joint = np.arange(n)

        # Hessian: the upper triangle of Q_k, the slacks, and what the effort couples: v_{k-1} with v_k.
        self._upper = np.triu_indices(nx)
        slack = np.arange(nx, size)
        rows = np.concatenate([self._upper[0], slack])
        columns = np.concatenate([self._upper[1], slack])
        before = (stage[:-1, None] + n + joint).ravel()
        self._P, self._P_order = _pattern(
            np.concatenate([(stage[:, None] + rows).ravel(), before]),
            np.concatenate([(stage[:, None] + columns).ravel(), before + size]),
            (total, total),
        )
        self._speed_diagonal = (np.arange(n, nx), np.arange(n, nx))

        # Dynamics: dq_k - dt/2 dv_k - dq_{k-1} - dt/2 dv_{k-1} = 0.
        parts = []
        for variable, back, value in ((0, 0, 1.0), (n, 0, -0.5 * dt), (0, 1, -1.0), (n, 1, -0.5 * dt)):
            k = np.arange(back, horizon)[:, None]
            row, column = k * n + joint, (k - back) * size + variable + joint
            parts.append((np.full(row.size, value), row.ravel(), column.ravel()))
        values, rows, columns = (np.concatenate(part) for part in zip(*parts, strict=True))
        self._A = sp.csc_matrix((values, (rows, columns)), shape=(horizon * n, total))
        self._b = np.zeros(horizon * n)

        # Rows: each has the stage's dx and the slack of its group. Below them the changes of speed, dt du.
        m = horizon * GROUPS * keep
        k, group, _ = np.unravel_index(np.arange(m), (horizon, GROUPS, keep))
        columns = np.concatenate([np.tile(np.arange(nx), (m, 1)), (nx + group)[:, None]], axis=1) + stage[k, None]
        rows = np.repeat(np.arange(m), nx + 1)
        change = m + (np.arange(horizon)[:, None] * n + joint)
        speed = stage[:, None] + n + joint
        self._G, self._G_order = _pattern(
            np.concatenate([rows, change.ravel(), change[1:].ravel()]),
            np.concatenate([columns.ravel(), speed.ravel(), speed[:-1].ravel()]),
            (m + horizon * n, total),
        )
        self._change = np.concatenate([np.ones(change.size), -np.ones(change[1:].size)])
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
        h, n, keep, dt = self.horizon, self.joints, self.keep, self.dt
        smooth = effort / (dt * dt)
        hessian = hessian.copy()
        hessian[:-1, *self._speed_diagonal] += 2.0 * smooth
        hessian[-1, *self._speed_diagonal] += smooth
        triangle = np.concatenate(
            [hessian[:, self._upper[0], self._upper[1]], np.full((h, GROUPS), SLACK_CURVATURE)], axis=1
        )
        coupling = np.broadcast_to(-smooth, (h - 1, n))
        self._P.data[:] = np.concatenate([triangle.ravel(), coupling.ravel()])[self._P_order]
        pull = effort / dt * u
        c = np.concatenate([gradient, np.broadcast_to(penalty, (h, GROUPS))], axis=1)
        c[:, n : 2 * n] += pull
        c[:-1, n : 2 * n] -= pull[1:]
        present = np.isfinite(values)
        block = np.concatenate([np.where(present[..., None], rows, 0.0), np.ones((h, GROUPS, keep, 1))], axis=-1)
        self._G.data[:] = np.concatenate([block.ravel(), self._change])[self._G_order]
        low = np.concatenate([np.where(present, -values, -FAR).ravel(), dt * u_bounds[0].ravel()])
        high = np.concatenate([self._free, dt * u_bounds[1].ravel()])
        slack = np.zeros((h, GROUPS))
        x_low = np.concatenate([x_bounds[0], slack], axis=1).ravel()
        x_high = np.concatenate([x_bounds[1], slack + np.inf], axis=1).ravel()
        if self._is_set_up:
            self._solver.update(P=self._P, c=c.ravel(), G=self._G, h_l=low, h_u=high, x_l=x_low, x_u=x_high)
        else:
            self._solver.setup(self._P, c.ravel(), self._A, self._b, self._G, low, high, x_low, x_high)
            self._is_set_up = True
        status = self._solver.solve()
        solution = np.asarray(self._solver.result.x).reshape(h, 2 * n + GROUPS)
        if status not in OK or not np.isfinite(solution).all():
            return None
        du = np.diff(solution[:, n : 2 * n], axis=0, prepend=0.0) / dt
        bound = np.asarray(self._solver.result.z_l)[: values.size].reshape(values.shape)
        return du, np.maximum(solution[:, 2 * n :], 0.0), np.where(present, np.abs(bound), 0.0)
