"""The cross-entropy method and MPPI: 512 motions at a time through the same model, the rows as penalties.

CEM: Rubinstein 1999, with the elite's mean and standard deviation smoothed (Botev et al. 2013). MPPI: Williams et al.
2017, "Information-theoretic MPC", iterated at one state; its temperature follows the spread of the costs. Both draw
offsets from the straight path as cubic splines with KNOTS coefficients per joint (accelerations drawn independently
wander off by metres in 3 s), which become accelerations by a fixed matrix.
"""

from __future__ import annotations

import time
from functools import lru_cache
from typing import Any

import numpy as np

from robotctl.bench.peers.formulation import specify
from robotctl.bench.peers.peer import Answer
from robotctl.bench.planner_problems import DT, KINDS, STEPS, PlanningProblem
from robotctl.robot import DDQ_MAX

SAMPLES = 512
KNOTS = 7
BATCH = 16  # motions evaluated at once: what fits the cache
ELITE = 32
SMOOTH = 0.3  # share of the old mean and deviation that is kept
SPREAD = (0.1, 0.3)  # first standard deviation of the coefficients: base, arm [m, rad]
STUCK = 1e-3  # relative gain over PATIENCE iterations that is worth going on
PATIENCE = 10
TEMPERATURE = 0.05  # of MPPI, as a share of the costs' spread to their best decile
SHRINK = 0.97  # of MPPI's noise per iteration


class Sampler:
    """CEM or MPPI, until nothing improves or the time is over."""

    kinds = KINDS

    def __init__(self, name: str) -> None:
        self.name = name

    def solve(self, problem: PlanningProblem, time_limit: float) -> Answer:
        from robotctl.bench.peers.jax_rows import as_data, on_device

        spec = specify(problem)
        free = tuple(problem.joints)
        basis = _basis()
        evaluate = _evaluator(free)
        data = on_device(as_data(spec))
        largest = DDQ_MAX[spec.free]
        rng = np.random.default_rng(problem.seed)
        first = spec.guess[:, spec.free]
        mean = np.zeros((KNOTS, len(free)))
        deviation = np.tile(np.where(spec.free < 3, *SPREAD), (KNOTS, 1))
        np.asarray(evaluate(np.tile(first, (SAMPLES, 1, 1)), data))  # compiles
        best, best_cost, history = first, np.inf, []
        begin = time.perf_counter()
        while time.perf_counter() - begin < time_limit:
            knots = mean + deviation * rng.standard_normal((SAMPLES, *mean.shape))
            knots[0] = mean
            u = np.clip(first + basis @ knots, -largest, largest)
            cost = np.asarray(evaluate(u, data))
            cost = np.where(np.isfinite(cost), cost, np.inf)
            i = int(np.argmin(cost))
            if cost[i] < best_cost:
                best, best_cost = u[i], float(cost[i])
            mean, deviation = self._update(knots, cost, mean, deviation)
            history.append(best_cost)
            if len(history) > PATIENCE and history[-1 - PATIENCE] - best_cost < STUCK * best_cost:
                break
        ms = 1e3 * (time.perf_counter() - begin)
        u = np.zeros((STEPS, 10))
        u[:, spec.free] = best
        return Answer(ms, u, note=f"{len(history)} iterations")

    def _update(
        self, knots: np.ndarray, cost: np.ndarray, mean: np.ndarray, deviation: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        order = np.argsort(cost)
        if self.name == "cem":
            elite = knots[order[:ELITE]]
            return (
                SMOOTH * mean + (1.0 - SMOOTH) * elite.mean(axis=0),
                SMOOTH * deviation + (1.0 - SMOOTH) * elite.std(axis=0),
            )
        spread = max(cost[order[SAMPLES // 10]] - cost[order[0]], 1e-9)
        weight = np.exp(-(cost - cost[order[0]]) / (TEMPERATURE * spread))
        return np.tensordot(weight / weight.sum(), knots, axes=1), SHRINK * deviation


def _basis() -> np.ndarray:
    """Accelerations (STEPS, KNOTS) of cubic B-splines that begin with value and speed 0."""
    from scipy.interpolate import BSpline

    degree, count = 3, KNOTS + 2
    inner = np.linspace(0.0, 1.0, count - degree + 1)
    knots = np.concatenate([np.zeros(degree), inner, np.ones(degree)])
    spline = BSpline(knots, np.eye(count), degree)
    speed = spline.derivative()(np.linspace(0.0, 1.0, STEPS + 1)) / (STEPS * DT)
    return np.diff(speed, axis=0)[:, 2:] / DT


@lru_cache(maxsize=4)
def _evaluator(free: tuple[int, ...]) -> Any:
    """Penalised cost of many motions of the free joints, compiled."""
    import jax

    from robotctl.bench.peers.jax_rows import full, penalised

    index = np.array(free)

    def every(u: Any, data: Any) -> Any:
        return jax.lax.map(lambda one: penalised(full(one, index), data), u, batch_size=BATCH)

    return jax.jit(every)
