"""This file turns counts of episodes into rates with intervals."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

CONFIDENCE = 0.95
RESAMPLES = 4000


def clopper_pearson(successes: int, trials: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Exact two-sided interval for a rate (Clopper & Pearson 1934): beta quantiles. No trials: (0, 1)."""
    from scipy.special import betaincinv

    if not 0 <= successes <= trials:
        raise ValueError(f"{successes} successes in {trials} trials")
    tail = (1.0 - confidence) / 2
    low = float(betaincinv(successes, trials - successes + 1, tail)) if successes > 0 else 0.0
    high = float(betaincinv(successes + 1, trials - successes, 1 - tail)) if successes < trials else 1.0
    return low, high


def rate(successes: int, trials: int) -> tuple[float | None, list[float]]:
    """A rate and its 95 % interval, rounded for reading."""
    low, high = clopper_pearson(successes, trials)
    return (round(successes / trials, 4) if trials else None), [round(low, 4), round(high, 4)]


def quotient(numerators: Iterable[float], denominators: Iterable[float]) -> float | None:
    """Sum over sum, as for a real-time factor over several episodes; None when there is nothing to divide by."""
    bottom = sum(denominators)
    return round(sum(numerators) / bottom, 4) if bottom > 0 else None


def per_hour(events: int, seconds: float) -> tuple[float | None, list[float | None]]:
    """Events per hour and the exact 95 % interval of a Poisson rate (Garwood 1936), the counterpart of a rate's.

    Events that come in bursts make it too narrow. No time: nothing is known.
    """
    from scipy.special import gammaincinv

    if seconds <= 0:
        return None, [0.0, None]
    tail, hours = (1.0 - CONFIDENCE) / 2, seconds / 3600.0
    low = float(gammaincinv(events, tail)) if events > 0 else 0.0
    high = float(gammaincinv(events + 1, 1.0 - tail))
    return round(events / hours, 2), [round(low / hours, 2), round(high / hours, 2)]


def median(values: Sequence[float]) -> float | None:
    """The median, rounded for reading; None without values."""
    return round(float(np.median(values)), 4) if len(values) else None


def bootstrap_median(values: Sequence[float], generator: np.random.Generator) -> list[float | None]:
    """95 % percentile interval of the median (Efron 1979), by resampling; nothing is known from fewer than two."""
    if len(values) < 2:
        return [None, None]
    drawn = np.median(generator.choice(np.asarray(values, float), (RESAMPLES, len(values))), axis=1)
    low, high = np.quantile(drawn, [(1.0 - CONFIDENCE) / 2, (1.0 + CONFIDENCE) / 2])
    return [round(float(low), 4), round(float(high), 4)]
