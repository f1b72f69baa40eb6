"""Robustness of formulas of signal temporal logic over a log, by rtamt."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from functools import lru_cache

import numpy as np

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import rtamt

GAP_STEPS = 12  # 50 ms at 240 Hz: runs with fewer steps between them are one


def robustness(formula: str, signals: Mapping[str, np.ndarray]) -> np.ndarray:
    """Robustness (T,) of a formula at every step, for signals (T,)."""
    specification = _parsed(formula, tuple(signals))
    steps = len(next(iter(signals.values())))
    data = {"time": list(range(steps + 1))}  # rtamt 0.4.10 fails on one sample alone: the last one counts twice
    data |= {name: [*values.tolist(), float(values[-1])] for name, values in signals.items()}
    return np.array([value for _, value in specification.evaluate(data)][:steps])


@lru_cache(maxsize=256)
def _parsed(formula: str, names: tuple[str, ...]) -> rtamt.StlDiscreteTimeOfflineSpecification:
    """An offline specification keeps nothing from one evaluation to the next."""
    specification = rtamt.StlDiscreteTimeOfflineSpecification()
    for name in (*names, "out"):
        specification.declare_var(name, "float")
    specification.spec = f"out = {formula}"
    specification.parse()
    return specification


def runs(bad: np.ndarray) -> int:
    """Number of runs of bad (T,) bool: bad now, and not once in the 50 ms before."""
    if not bad.any():
        return 0
    signal = {"bad": np.where(bad, 1.0, -1.0)}
    return int(np.sum(robustness(f"(bad > 0) and not (once[1:{GAP_STEPS}](bad > 0))", signal) > 0))
