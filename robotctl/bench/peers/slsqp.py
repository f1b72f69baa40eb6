"""SciPy's SLSQP (Kraft 1988) with exact JAX gradients: a general dense SQP, as one writes it in an afternoon.

SLSQP cannot take ten thousand rows, so the smallest row of each group within a step stands for the group; end stops
and joint speeds likewise per joint over the horizon. The iterate with the least violation, then cost, is answered.
"""

from __future__ import annotations

import time
from functools import lru_cache
from typing import Any

import numpy as np

from robotctl.bench.peers.formulation import Spec, specify
from robotctl.bench.peers.peer import Answer
from robotctl.bench.planner_problems import KINDS, STEPS, PlanningProblem
from robotctl.robot import DDQ_MAX

HELD = 1e-3  # violation of a (tightened) row that counts as none


class _TimeOver(Exception):
    pass


class Slsqp:
    """One start: the straight motion."""

    name = "slsqp"
    kinds = KINDS

    def solve(self, problem: PlanningProblem, time_limit: float) -> Answer:
        from scipy.optimize import minimize

        spec = specify(problem)
        task = _Task(spec)
        task.rows(task.start), task.jacobian(task.start), task.cost(task.start)  # compiles
        task.begin(time_limit)
        largest = np.tile(DDQ_MAX[spec.free], STEPS)
        note = ""
        try:
            found = minimize(
                task.cost, task.start, jac=True, method="SLSQP", bounds=list(zip(-largest, largest, strict=True)),
                constraints={"type": "ineq", "fun": task.rows, "jac": task.jacobian},
                options={"maxiter": 1000, "ftol": 1e-4},
            )  # fmt: skip
            note = str(found.message)
            task.rows(found.x)
        except _TimeOver:
            note = "time limit"
        ms = 1e3 * (time.perf_counter() - task.began)

        def full(x: np.ndarray) -> np.ndarray:
            u = np.zeros((STEPS, 10))
            u[:, spec.free] = x.reshape(STEPS, -1)
            return u

        return Answer(ms, full(task.best), note=note, earlier=tuple((at, full(x)) for at, x in task.history))


class _Task:
    """Cost and rows of one problem as SLSQP asks for them; remembers the best iterate."""

    def __init__(self, spec: Spec) -> None:
        from robotctl.bench.peers.jax_rows import as_data, on_device

        self._data = on_device(as_data(spec))
        self._value, self._rows, self._jacobian = _functions(tuple(int(j) for j in spec.free))
        self.start = spec.guess[:, spec.free].ravel()
        self.best, self._key = self.start, (np.inf, np.inf)
        self.began, self._deadline = 0.0, np.inf
        self.history: list[tuple[float, np.ndarray]] = []  # when [ms] which iterate became the best

    def begin(self, time_limit: float) -> None:
        self.best, self._key = self.start, (np.inf, np.inf)
        self.history.clear()
        self.began = time.perf_counter()
        self._deadline = self.began + time_limit

    def cost(self, x: np.ndarray) -> tuple[float, np.ndarray]:
        value, gradient = self._value(x, self._data)
        return float(value), np.asarray(gradient)

    def rows(self, x: np.ndarray) -> np.ndarray:
        if time.perf_counter() > self._deadline:
            raise _TimeOver
        rows = np.asarray(self._rows(x, self._data))
        violation = max(0.0, -float(rows.min())) if np.isfinite(rows).all() else np.inf
        if violation < np.inf:
            key = (max(violation - HELD, 0.0), float(self._value(x, self._data)[0]))
            if key < self._key:
                self.best, self._key = np.array(x), key
                self.history.append((1e3 * (time.perf_counter() - self.began), self.best))
        return rows

    def jacobian(self, x: np.ndarray) -> np.ndarray:
        return np.asarray(self._jacobian(x, self._data))


@lru_cache(maxsize=4)
def _functions(free: tuple[int, ...]) -> tuple[Any, Any, Any]:
    import jax
    import jax.numpy as jnp

    from robotctl.bench.peers.jax_rows import cost, full, margins, rollout

    index = np.array(free)

    def value(x: Any, data: Any) -> Any:
        u = full(x.reshape(STEPS, len(index)), index)
        q, dq, q_real, _ = rollout(u, data)
        return cost(u, q, dq, q_real, data)

    def rows(x: Any, data: Any) -> Any:
        groups = margins(*rollout(full(x.reshape(STEPS, len(index)), index), data), data)
        over_time = [groups.pop(name)[:, index].min(axis=0) for name in ("joints", "joint speed")]
        return jnp.concatenate([*over_time, *(g.reshape(STEPS, -1).min(axis=1) for g in groups.values())])

    return jax.jit(jax.value_and_grad(value)), jax.jit(rows), jax.jit(jax.jacrev(rows))
