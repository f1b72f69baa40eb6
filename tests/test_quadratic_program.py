"""The interior-point method against PIQP, and against the conditions that any solution of a convex program meets."""

from __future__ import annotations

import numpy as np
import piqp
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from robotctl.planning.interior_point import GROUPS, SLACK_CURVATURE, Program, solve
from robotctl.planning.qp import solve_qp

DT = 0.1
PENALTY = np.array([200.0, 40.0])


def program(seed: int, stages: int = 6, joints: int = 3, keep: int = 4) -> Program:
    """Random: about half of the rows are violated at the start, some of them by more than the bounds allow to mend."""
    rng = np.random.default_rng(seed)
    nx = 2 * joints
    root = rng.normal(size=(stages, nx, nx))
    width = rng.uniform(0.2, 1.0, (2, stages, nx)), rng.uniform(1.0, 8.0, (2, stages, joints))
    low, high = np.concatenate([width[0][0], width[1][0]], axis=1), np.concatenate([width[0][1], width[1][1]], axis=1)
    values = rng.normal(0.0, 0.3, (stages, GROUPS * keep))
    room = np.concatenate([low, high, np.zeros((stages, GROUPS)), values], axis=1)
    return Program(
        DT, root @ root.transpose(0, 2, 1) + 1e-3 * np.eye(nx), rng.normal(0.0, 10.0, (stages, nx)),
        rng.uniform(1e-3, 1e-1, joints), rng.normal(size=(stages, joints)), room,
        rng.normal(size=(stages, GROUPS, keep, nx)), np.full((stages, GROUPS), keep), PENALTY,
    )  # fmt: skip


def by_piqp(p: Program) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """x (H, 2n), du (H, n) and slacks (H, 2) of the same program, written out with every variable."""
    H, nx = p.gradient.shape
    n, keep = nx // 2, p.rows.shape[2]
    size = nx + n + GROUPS
    P, c = np.zeros((H * size, H * size)), np.zeros(H * size)
    A, G = np.zeros((H * nx, H * size)), np.zeros((H * GROUPS * keep, H * size))
    low, high, g = np.zeros(H * size), np.full(H * size, np.inf), np.zeros(H * GROUPS * keep)
    eye = np.eye(n)
    for k in range(H):
        x, u, s = (slice(k * size + a, k * size + b) for a, b in ((0, nx), (nx, nx + n), (nx + n, size)))
        P[x, x], P[u, u], P[s, s] = p.hessian[k], np.diag(p.effort), SLACK_CURVATURE * np.eye(GROUPS)
        c[x], c[u], c[s] = p.gradient[k], p.effort * p.control[k], p.penalty
        low[x], low[u] = -p.room[k, :nx], -p.room[k, nx : nx + n]
        high[x], high[u] = p.room[k, 3 * n : 3 * n + nx], p.room[k, 3 * n + nx : 6 * n]
        row = slice(k * nx, (k + 1) * nx)
        A[row, x] = -np.eye(nx)
        A[row, u] = np.concatenate([0.5 * DT * DT * eye, DT * eye])
        if k:
            A[row, (k - 1) * size : (k - 1) * size + nx] = np.block([[eye, DT * eye], [0.0 * eye, eye]])
        for group in range(GROUPS):
            at = slice((k * GROUPS + group) * keep, (k * GROUPS + group + 1) * keep)
            G[at, x], G[at, s.start + group] = p.rows[k, group], 1.0
            g[at] = -p.room[k, 6 * n + GROUPS + group * keep : 6 * n + GROUPS + (group + 1) * keep]
    solver = piqp.SparseSolver()
    solver.settings.eps_abs = solver.settings.eps_rel = 1e-9
    free = np.full(len(g), np.inf)
    solver.setup(sp.csc_matrix(P), c, sp.csc_matrix(A), np.zeros(H * nx), sp.csc_matrix(G), g, free, low, high)
    assert solver.solve() == piqp.PIQP_SOLVED
    z = np.asarray(solver.result.x).reshape(H, size)
    return z[:, :nx], z[:, nx : nx + n], z[:, nx + n :]


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("joints", [1, 3, 10])
def test_it_finds_what_piqp_finds(seed: int, joints: int) -> None:
    p = program(seed, joints=joints)
    found = solve(p, 60, 1e-10, 1e-9)
    assert found.solved
    x, du, slack = by_piqp(p)
    np.testing.assert_allclose(found.x, x, atol=2e-5)
    np.testing.assert_allclose(found.du, du, atol=5e-4)
    np.testing.assert_allclose(found.slack, slack, atol=2e-5)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6))
def test_a_solution_meets_the_conditions_of_optimality(seed: int) -> None:
    p = program(seed)
    found = solve(p, 60, 1e-9, 1e-8)
    assert found.solved
    H, nx = p.gradient.shape
    n, keep = nx // 2, p.rows.shape[2]
    # The dynamics hold.
    before = np.concatenate([np.zeros((1, nx)), found.x[:-1]])
    np.testing.assert_allclose(found.x[:, n:], before[:, n:] + DT * found.du, atol=1e-9)
    np.testing.assert_allclose(found.x[:, :n], before[:, :n] + DT * before[:, n:] + 0.5 * DT * DT * found.du, atol=1e-9)
    # Bounds and rows hold, multipliers are none where there is room.
    z = np.concatenate([found.x, found.du], axis=1)
    value = np.einsum("kgri,ki->kgr", p.rows, found.x) + found.slack[..., None]
    distance = np.concatenate([z, -z, found.slack, value.reshape(H, -1)], axis=1) + p.room
    assert distance.min() > -1e-6
    assert found.multiplier.min() >= 0.0
    assert np.abs(distance * found.multiplier).max() < 1e-4
    # The slacks' multipliers and those of their rows share the penalty.
    rows = found.multiplier[:, 6 * n + GROUPS :].reshape(H, GROUPS, keep).sum(axis=2)
    own = found.multiplier[:, 6 * n : 6 * n + GROUPS]
    np.testing.assert_allclose(rows + own, PENALTY + SLACK_CURVATURE * found.slack, rtol=1e-5)


def test_slacks_are_used_only_where_rows_cannot_hold() -> None:
    """The exact penalty: with room for every row there is no slack; with one that no x can reach there is."""
    p = program(3)
    n = p.control.shape[1]
    easy, hard = p.room.copy(), p.room.copy()
    easy[:, 6 * n + GROUPS :] = 0.1
    hard[:, 6 * n + GROUPS :] = 0.1
    hard[2, 6 * n + GROUPS] = -50.0
    assert solve(p._replace(room=easy), 60, 1e-9, 1e-8).slack.max() < 1e-6
    slack = solve(p._replace(room=hard), 60, 1e-9, 1e-8).slack
    assert slack[2, 0] > 10.0
    assert np.delete(slack.ravel(), 2 * GROUPS).max() < 0.1 * slack[2, 0]


def test_numbers_that_are_none_are_no_solution() -> None:
    p = program(1)
    gradient = p.gradient.copy()
    gradient[0, 0] = np.nan
    assert not solve(p._replace(gradient=gradient), 40, 1e-6, 1e-6).solved


def test_rows_out_of_reach_change_nothing_and_the_chain_rule_holds() -> None:
    """A row that the bounds keep positive stays out; rows are differentiated through the residual."""
    rng = np.random.default_rng(5)
    H, keep, free = 4, 3, np.array([3, 5, 9])
    by_q, by_dq = 0.1 * rng.normal(size=(2, H, 10, 10))
    rows = rng.normal(size=(H, GROUPS, keep, 20))
    values = rng.normal(0.0, 0.2, (H, GROUPS, keep))
    values[:, :, 0] = 1e3  # far out of reach
    values[1, 1, 2] = np.inf  # no row
    root = rng.normal(size=(H, 20, 20))
    hessian, gradient = root @ root.transpose(0, 2, 1), rng.normal(size=(H, 20))
    u, effort = rng.normal(size=(H, 10)), np.full(10, 0.01)
    bounds = (np.full((H, 3), -5.0), np.full((H, 3), 5.0)), (np.full((H, 6), -0.5), np.full((H, 6), 0.5))
    with_all = solve_qp(DT, free, hessian, gradient, effort, u, rows, values, (by_q, by_dq), *bounds, PENALTY)
    values[:, :, 0] = np.inf
    without = solve_qp(DT, free, hessian, gradient, effort, u, rows, values, (by_q, by_dq), *bounds, PENALTY)
    assert with_all is not None
    assert without is not None
    np.testing.assert_array_equal(with_all.du, without.du)
    assert np.all(with_all.multipliers[:, :, 0] == 0.0)
    dv = DT * np.cumsum(without.du, axis=0)
    dq = np.cumsum(DT * np.concatenate([np.zeros((1, 3)), dv[:-1]]) + 0.5 * DT * DT * without.du, axis=0)
    full = np.zeros((H, 20))
    full[:, free], full[:, 10 + free] = dq, dv
    real = np.einsum("kij,kj->ki", by_q, full[:, :10]) + np.einsum("kij,kj->ki", by_dq, full[:, 10:]) + full[:, :10]
    present = values + np.einsum("kgri,ki->kgr", rows, np.concatenate([real, full[:, 10:]], axis=1))
    assert (present + without.slack[..., None])[np.isfinite(values)].min() > -1e-4
    cost = 0.5 * np.einsum("ki,kij,kj->", full, hessian, full) + (gradient * full).sum()
    moved = u[:, free] + without.du
    cost += 0.5 * 0.01 * (moved**2 - u[:, free] ** 2).sum()
    assert without.decrease == pytest.approx(-cost, rel=1e-9)
