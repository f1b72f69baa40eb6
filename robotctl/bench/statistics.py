"""This file turns counts of episodes into rates with intervals."""

from __future__ import annotations

from collections.abc import Iterable

CONFIDENCE = 0.95


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
