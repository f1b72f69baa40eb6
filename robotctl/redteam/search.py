"""The search for the vector with the smallest value: Sobol points first, then CMA-ES from the best of them.

Sobol points: Owen-scrambled, `scipy.stats.qmc`. CMA-ES: Hansen, "The CMA evolution strategy: a tutorial", 2016, by the
package `cma`. Every round of vectors depends on the seed and on the values of earlier rounds alone, so an interrupted
search goes on from a list of known values as if it had never stopped. What a search finds is no sample: no interval can
be given for it.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence

import numpy as np

FIRST = 0.35  # share of the budget for Sobol points
WIDTH = 0.2  # of CMA-ES at the start, in shares of the axes
POPULATION = 8
Evaluate = Callable[[list[np.ndarray]], list[float]]


def minimize(
    evaluate: Evaluate,
    axes: int,
    budget: int,
    seed: int,
    known: Sequence[np.ndarray] = (),
    enough: float = -np.inf,
) -> tuple[np.ndarray, float]:
    """The best vector (n,) in [0, 1]^n of `budget` that `evaluate` gave values for, and its value.

    known: vectors to try first (the worst ones at another factor). enough: a value below it ends the search.
    """
    tried: list[tuple[float, np.ndarray]] = []

    def rated(vectors: list[np.ndarray]) -> list[float]:
        values = evaluate(vectors)
        tried.extend(zip(values, vectors, strict=True))
        if min(values) < enough:
            raise _EnoughError
        return values

    first = [np.round(np.clip(vector, 0.0, 1.0), 6) for vector in known][:budget]
    spread = max(round(FIRST * budget), min(budget, 8)) if not first else round(0.5 * FIRST * budget)
    try:
        if first:
            rated(first)
        others = sobol(axes, min(spread, budget - len(first)), seed)
        if others:
            rated(others)
        start = 0
        while len(tried) < budget:
            ordered = sorted(range(len(tried)), key=lambda i: (tried[i][0], i))
            origin = tried[ordered[min(start, len(ordered) - 1)]][1]
            _descend(rated, origin, budget - len(tried), seed + start)
            start += 1
    except _EnoughError:
        pass
    value, vector = min(tried, key=lambda entry: entry[0])
    return vector, value


class _EnoughError(Exception):
    """What was looked for has been found."""


def sobol(axes: int, count: int, seed: int) -> list[np.ndarray]:
    """The first `count` points of a scrambled Sobol sequence."""
    from scipy.stats import qmc

    if count <= 0:
        return []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # counts that are no power of two lose balance, which is fine here
        points = qmc.Sobol(axes, seed=seed).random(count)
    return list(np.round(points, 6))


def _descend(rated: Evaluate, origin: np.ndarray, budget: int, seed: int) -> None:
    """One run of CMA-ES from `origin`, until it stops by itself or the budget is used."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import cma

        draw = np.random.default_rng([seed, 7])
        strategy = cma.CMAEvolutionStrategy(
            np.clip(origin, 0.02, 0.98).tolist(),
            WIDTH,
            {
                "bounds": [0.0, 1.0],
                "popsize": POPULATION,
                "randn": lambda *shape: draw.standard_normal(shape),
                "seed": np.nan,  # leaves the global generator alone
                "verbose": -9,
                "verb_log": 0,
                "tolflatfitness": 5,
            },
        )
        while budget > 0 and not strategy.stop():
            asked = strategy.ask()
            vectors = [np.round(np.clip(vector, 0.0, 1.0), 6) for vector in asked]
            if budget < len(vectors):
                rated(vectors[:budget])
                return
            strategy.tell(asked, rated(vectors))
            budget -= len(vectors)
