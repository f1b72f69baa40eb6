"""A primal-dual interior-point method for the quadratic programs of one SQP iteration, in numba.

    minimise    sum_k 1/2 x_k' Q_k x_k + c_k' x_k + 1/2 |u_k + du_k|^2_R + mu' s_k + 1/2 e |s_k|^2,   k = 1..H
    with        x_k = (dq_k, dv_k):  dq_k = dq_{k-1} + dt dv_{k-1} + dt^2/2 du_{k-1},  dv_k = dv_{k-1} + dt du_{k-1}
    subject to  low <= (x_k, du_{k-1}) <= high,    g_ki + G_ki x_k + s_k,group(i) >= 0,    s_k >= 0

Mehrotra's predictor and corrector (Nocedal and Wright 2006, alg. 16.4). Slacks are eliminated first; what remains is an
unconstrained linear-quadratic problem whose Newton step is a Riccati recursion (Rao, Wright, Rawlings 1998,
"Application of interior-point methods to model predictive control"), in time linear in H. The double integrator makes
A' P A and B' P B sums of blocks, so a stage costs one Cholesky factorisation of the joints' size and one outer product.

Per stage all inequalities C z + h >= 0 stand in one row of every array, in the order: lower bounds of (x, du), upper
bounds, slacks, rows of the first group, of the second. Their distances t > 0 and multipliers lam > 0 meet
t lam -> 0 in the end, and lam / t weighs C' C in the Newton step.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

FAST = {"reassoc", "contract", "nsz"}  # what the compiler may do to sums; NaN stays NaN
GROUPS = 2
SLACK_CURVATURE = 1e-2  # e
BOUNDARY = 0.99  # share of the way to the nearest bound that a step goes
NEAREST = 0.05  # first distance t from a bound, at least [m, rad, m/s, m/s^2]
FIRST_SLACK = 0.005  # [m, m/s]
CENTRE = 1.0  # t lam at the start


class Program(NamedTuple):
    """A quadratic program of H stages, n joints and K rows per group."""

    dt: float
    hessian: np.ndarray  # (H, 2n, 2n) Q
    gradient: np.ndarray  # (H, 2n) c
    effort: np.ndarray  # (n,) diagonal of R
    control: np.ndarray  # (H, n) u
    room: np.ndarray  # (H, M) h: minus low, high, zeros, g; M = 6 n + 2 + 2 K
    rows: np.ndarray  # (H, 2, K, 2n) G
    used: np.ndarray  # (H, 2) rows in use
    penalty: np.ndarray  # (2,) mu


class Solution(NamedTuple):
    """Steps and multipliers; `solved` is False if the iterations ran out or the numbers did."""

    du: np.ndarray  # (H, n)
    x: np.ndarray  # (H, 2n)
    slack: np.ndarray  # (H, 2)
    multiplier: np.ndarray  # (H, M)
    iterations: int
    solved: bool


@njit(cache=True, fastmath=FAST)
def _factorise(Q, R, dt, P, W, chol, gain):
    """Riccati recursion: for each stage the factor L of R + B'PB (its diagonal inverted) and L^-1 B'PA."""
    H, nx = Q.shape[0], Q.shape[1]
    n = nx // 2
    half = 0.5 * dt * dt
    P[:] = Q[H - 1]
    for k in range(H - 1, -1, -1):
        L, K = chol[k], gain[k]
        for i in range(nx):
            for j in range(n):
                W[i, j] = half * P[i, j] + dt * P[i, n + j]
        for i in range(n):
            for j in range(n):
                L[i, j] = half * W[i, j] + dt * W[n + i, j]
                K[i, j] = W[j, i]
                K[i, n + j] = dt * W[j, i] + W[n + j, i]
            L[i, i] += R[k, i]
        for i in range(n):
            if not L[i, i] > 0.0:
                return False
            inverse = 1.0 / np.sqrt(L[i, i])
            L[i, i] = inverse
            for j in range(nx):
                K[i, j] *= inverse
            for r in range(i + 1, n):
                L[r, i] *= inverse
            for r in range(i + 1, n):
                share = L[r, i]
                for j in range(i + 1, n):
                    L[r, j] -= share * L[j, i]
                for j in range(nx):
                    K[r, j] -= share * K[i, j]
        if k == 0:
            break
        for i in range(n):
            for j in range(n):
                qq, qv, vq = P[i, j], P[i, n + j], P[n + i, j]
                P[n + i, n + j] += dt * (dt * qq + qv + vq) + Q[k - 1, n + i, n + j]
                P[n + i, j] += dt * qq + Q[k - 1, n + i, j]
                P[i, n + j] += dt * qq + Q[k - 1, i, n + j]
                P[i, j] += Q[k - 1, i, j]
        for r in range(n):
            for i in range(nx):
                share = K[r, i]
                for j in range(nx):
                    P[i, j] -= share * K[r, j]
    return True


@njit(cache=True, fastmath=FAST)
def _sweep(chol, gain, gx, gu, dt, f, p, x, u):
    """The minimiser x (H, 2n), u (H, n) of the factorised problem with gradients gx and gu."""
    H, nx = gx.shape
    n = nx // 2
    half = 0.5 * dt * dt
    p[:] = gx[H - 1]
    for k in range(H - 1, -1, -1):
        L, K, fk = chol[k], gain[k], f[k]
        for i in range(n):
            fk[i] = half * p[i] + dt * p[n + i] + gu[k, i]
        for i in range(n):
            fk[i] *= L[i, i]
            for j in range(i + 1, n):
                fk[j] -= L[j, i] * fk[i]
        if k == 0:
            break
        for i in range(n):
            p[n + i] += dt * p[i] + gx[k - 1, n + i]
            p[i] += gx[k - 1, i]
        for r in range(n):
            for i in range(nx):
                p[i] -= K[r, i] * fk[r]
    for k in range(H):
        L, K, uk = chol[k], gain[k], u[k]
        for i in range(n):
            uk[i] = f[k, i]
            if k > 0:
                for j in range(nx):
                    uk[i] += K[i, j] * x[k - 1, j]
        for i in range(n - 1, -1, -1):
            for j in range(i + 1, n):
                uk[i] -= L[j, i] * uk[j]
            uk[i] *= L[i, i]
        for i in range(n):
            uk[i] = -uk[i]
            x[k, i] = half * uk[i]
            x[k, n + i] = dt * uk[i]
            if k > 0:
                x[k, i] += x[k - 1, i] + dt * x[k - 1, n + i]
                x[k, n + i] += x[k - 1, n + i]


@njit(cache=True, fastmath=FAST)
def _times_constraints(program, x, u, s, out):
    """C z (H, M) of a point or a step."""
    H, nx = x.shape
    n = nx // 2
    bounds = 3 * n
    keep = program.rows.shape[2]
    for k in range(H):
        o = out[k]
        for i in range(nx):
            o[i], o[bounds + i] = x[k, i], -x[k, i]
        for i in range(n):
            o[nx + i], o[bounds + nx + i] = u[k, i], -u[k, i]
        for g in range(GROUPS):
            o[2 * bounds + g] = s[k, g]
            at = 2 * bounds + GROUPS + g * keep
            for r in range(keep):
                total = s[k, g]
                if r < program.used[k, g]:
                    for j in range(nx):
                        total += program.rows[k, g, r, j] * x[k, j]
                o[at + r] = total


@njit(cache=True, fastmath=FAST)
def _barrier(program, D, Q, R, w, hs):
    """Q + C' D C and R + C' D C without the slacks; w (H, 2, 2n) and hs (H, 2): their columns and diagonal."""
    H, nx = program.gradient.shape
    n = nx // 2
    bounds = 3 * n
    keep = program.rows.shape[2]
    Q[:] = program.hessian
    for k in range(H):
        for i in range(nx):
            Q[k, i, i] += D[k, i] + D[k, bounds + i]
        for i in range(n):
            R[k, i] = program.effort[i] + D[k, nx + i] + D[k, bounds + nx + i]
        for g in range(GROUPS):
            at = 2 * bounds + GROUPS + g * keep
            column = w[k, g]
            column[:] = 0.0
            total = SLACK_CURVATURE + D[k, 2 * bounds + g]
            for r in range(keep):
                total += D[k, at + r]
            hs[k, g] = total
            for r in range(program.used[k, g]):
                for i in range(nx):
                    share = D[k, at + r] * program.rows[k, g, r, i]
                    column[i] += share
                    for j in range(nx):
                        Q[k, i, j] += share * program.rows[k, g, r, j]
            if program.used[k, g] > 0:
                for i in range(nx):
                    share = column[i] / total
                    for j in range(nx):
                        Q[k, i, j] -= share * column[j]


@njit(cache=True, fastmath=FAST)
def _gradients(program, y, bx, bu, bs, w, hs, gx, gu, gs):
    """Gradients of the objective (bx, bu, bs) less C' y; what the slacks add is eliminated into gx."""
    H, nx = program.gradient.shape
    n = nx // 2
    bounds = 3 * n
    keep = program.rows.shape[2]
    for k in range(H):
        for i in range(nx):
            gx[k, i] = bx[k, i] - y[k, i] + y[k, bounds + i]
        for i in range(n):
            gu[k, i] = bu[k, i] - y[k, nx + i] + y[k, bounds + nx + i]
        for g in range(GROUPS):
            at = 2 * bounds + GROUPS + g * keep
            total = bs[k, g] - y[k, 2 * bounds + g]
            for r in range(keep):
                total -= y[k, at + r]
            for r in range(program.used[k, g]):
                for i in range(nx):
                    gx[k, i] -= y[k, at + r] * program.rows[k, g, r, i]
            gs[k, g] = total
            for i in range(nx):
                gx[k, i] -= total / hs[k, g] * w[k, g, i]


@njit(cache=True, fastmath=FAST)
def _start(program, s, t, lam, Cz):
    """No step, slacks where rows are violated, and multipliers of equal weight; the slacks' own take the penalty."""
    H, M = t.shape
    keep = program.rows.shape[2]
    slack_at = M - GROUPS * (keep + 1)
    x, u = np.zeros(program.gradient.shape), np.zeros(program.control.shape)
    for k in range(H):
        for g in range(GROUPS):
            at = slack_at + GROUPS + g * keep
            s[k, g] = FIRST_SLACK
            for r in range(program.used[k, g]):
                s[k, g] = max(s[k, g], FIRST_SLACK - program.room[k, at + r])
    _times_constraints(program, x, u, s, Cz)
    for k in range(H):
        for i in range(M):
            t[k, i] = max(Cz[k, i] + program.room[k, i], NEAREST)
            lam[k, i] = CENTRE / t[k, i]
        for g in range(GROUPS):
            at = slack_at + GROUPS + g * keep
            total = program.penalty[g]
            for r in range(keep):
                total -= lam[k, at + r]
            lam[k, slack_at + g] = max(total, lam[k, slack_at + g])


@njit(cache=True, fastmath=True)
def _furthest(step, per_value):
    """The largest -step / value of two arrays (H, M): 1 / how much of the step is possible."""
    worst = 0.0
    for k in range(len(step)):
        for i in range(step.shape[1]):
            ratio = -step[k, i] * per_value[k, i]
            worst = ratio if ratio > worst else worst
    return worst


@njit(cache=True, fastmath=True)
def _size(a):
    """The largest |a| of an array (H, m)."""
    worst = 0.0
    for k in range(len(a)):
        for i in range(a.shape[1]):
            worst = abs(a[k, i]) if abs(a[k, i]) > worst else worst
    return worst


@njit(cache=True, fastmath=FAST)
def solve(program, most, gap_tolerance, tolerance):
    """At most `most` iterations, until the mean t lam and the rows' residuals are below their tolerances."""
    H, nx = program.gradient.shape
    n = nx // 2
    h = program.room
    M = h.shape[1]
    x, u, s = np.zeros((H, nx)), np.zeros((H, n)), np.zeros((H, GROUPS))
    dx, du, ds = np.zeros((H, nx)), np.zeros((H, n)), np.zeros((H, GROUPS))
    t, lam, Cz = np.empty((H, M)), np.empty((H, M)), np.empty((H, M))
    per_t, per_lam, D = np.empty((H, M)), np.empty((H, M)), np.empty((H, M))
    residual, y, move = np.empty((H, M)), np.empty((H, M)), np.empty((H, M))
    step_t, step_lam, second = np.empty((H, M)), np.empty((H, M)), np.empty((H, M))
    Q, R = np.empty((H, nx, nx)), np.empty((H, n))
    bx, bu, bs = np.empty((H, nx)), np.empty((H, n)), np.empty((H, GROUPS))
    gx, gu, gs = np.empty((H, nx)), np.empty((H, n)), np.empty((H, GROUPS))
    w, hs = np.empty((H, GROUPS, nx)), np.empty((H, GROUPS))
    P, W, p = np.empty((nx, nx)), np.empty((nx, n)), np.empty(nx)
    chol, gain, f = np.empty((H, n, n)), np.empty((H, n, nx)), np.empty((H, n))
    _start(program, s, t, lam, Cz)
    for iteration in range(most):
        gap = 0.0
        for k in range(H):
            for i in range(M):
                residual[k, i] = Cz[k, i] + h[k, i] - t[k, i]
                per_t[k, i], per_lam[k, i] = 1.0 / t[k, i], 1.0 / lam[k, i]
                D[k, i] = lam[k, i] * per_t[k, i]
                gap += t[k, i] * lam[k, i]
            for i in range(nx):
                total = program.gradient[k, i]
                for j in range(nx):
                    total += program.hessian[k, i, j] * x[k, j]
                bx[k, i] = total
            for i in range(n):
                bu[k, i] = program.effort[i] * (program.control[k, i] + u[k, i])
            for g in range(GROUPS):
                bs[k, g] = program.penalty[g] + SLACK_CURVATURE * s[k, g]
        mean = gap / (H * M)
        if not np.isfinite(mean):
            return Solution(u, x, s, lam, iteration, False)
        if mean < gap_tolerance and _size(residual) < tolerance:
            return Solution(u, x, s, lam, iteration, True)
        _barrier(program, D, Q, R, w, hs)
        if not _factorise(Q, R, program.dt, P, W, chol, gain):
            return Solution(u, x, s, lam, iteration, False)
        target = 0.0
        second[:] = 0.0
        for phase in range(2):  # the predictor, with target 0, then the corrector
            for k in range(H):
                for i in range(M):
                    y[k, i] = (target - second[k, i]) * per_t[k, i] - D[k, i] * residual[k, i]
            _gradients(program, y, bx, bu, bs, w, hs, gx, gu, gs)
            _sweep(chol, gain, gx, gu, program.dt, f, p, dx, du)
            for k in range(H):
                for g in range(GROUPS):
                    total = gs[k, g]
                    for i in range(nx):
                        total += w[k, g, i] * dx[k, i]
                    ds[k, g] = -total / hs[k, g]
            _times_constraints(program, dx, du, ds, move)
            first_t, first_lam, both = 0.0, 0.0, 0.0
            for k in range(H):
                for i in range(M):
                    a = move[k, i] + residual[k, i]
                    b = y[k, i] - D[k, i] * move[k, i] - lam[k, i]
                    first_t += a * lam[k, i]
                    first_lam += b * t[k, i]
                    both += a * b
                    step_t[k, i], step_lam[k, i], second[k, i] = a, b, a * b
            far_t, far_lam = _furthest(step_t, per_t), _furthest(step_lam, per_lam)
            if phase == 0:
                share, dual_share = 1.0 / max(far_t, 1.0), 1.0 / max(far_lam, 1.0)
                left = (gap + share * first_t + dual_share * (first_lam + share * both)) / (H * M)
                target = mean * min(max(left / mean, 1e-4), 1.0) ** 3
        share, dual_share = BOUNDARY / max(far_t, BOUNDARY), BOUNDARY / max(far_lam, BOUNDARY)
        for k in range(H):
            for i in range(M):
                t[k, i] += share * step_t[k, i]
                lam[k, i] += dual_share * step_lam[k, i]
                Cz[k, i] += share * move[k, i]
            for i in range(nx):
                x[k, i] += share * dx[k, i]
            for i in range(n):
                u[k, i] += share * du[k, i]
            for g in range(GROUPS):
                s[k, g] += share * ds[k, g]
    return Solution(u, x, s, lam, most, False)
