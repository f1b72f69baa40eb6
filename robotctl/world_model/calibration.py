"""Turns errors on held-out episodes into bounds with a declared coverage, and scores predicted probabilities.

Split conformal prediction: Vovk et al. 2005; Angelopoulos and Bates 2021, "A gentle introduction to conformal
prediction", section 1.1.
"""

from __future__ import annotations

import numpy as np


def conformal_quantile(scores: np.ndarray, coverage: float) -> np.ndarray:
    """The smallest bound that a new score keeps with probability >= coverage, over axis 0: (n, ...) -> (...).

    The ceil((n + 1) coverage)-th smallest of n calibration scores; with too few of them the bound is infinite.
    """
    n = len(scores)
    rank = int(np.ceil((n + 1) * coverage))
    if rank > n:
        return np.full(scores.shape[1:], np.inf)
    return np.partition(scores, rank - 1, axis=0)[rank - 1]


def brier(probability: np.ndarray, outcome: np.ndarray) -> float:
    """Mean squared difference between predicted probabilities (n,) and outcomes (n,) in {0, 1}; Brier 1950."""
    return float(np.mean((np.asarray(probability, float) - np.asarray(outcome, float)) ** 2))


def auroc(score: np.ndarray, outcome: np.ndarray) -> float:
    """Probability that a success is scored above a failure (ties count half); nan with one class only."""
    score, outcome = np.asarray(score, float), np.asarray(outcome, bool)
    good, bad = score[outcome], score[~outcome]
    if not len(good) or not len(bad):
        return float("nan")
    above = (good[:, None] > bad[None]).mean() + 0.5 * (good[:, None] == bad[None]).mean()
    return float(above)


def expected_calibration_error(probability: np.ndarray, outcome: np.ndarray, bins: int = 5) -> float:
    """Mean gap between predicted and observed frequency over bins that hold equally many predictions.

    sum_b n_b / n |mean outcome in b - mean probability in b|; Naeini, Cooper and Hauskrecht 2015, "Obtaining well
    calibrated probabilities using Bayesian binning", AAAI. probability (n,), outcome (n,) in {0, 1}.
    """
    probability, outcome = np.asarray(probability, float), np.asarray(outcome, float)
    gap = (outcome - probability)[np.argsort(probability, kind="stable")]
    return float(sum(abs(part.sum()) for part in np.array_split(gap, min(bins, len(gap)))) / len(gap))


def calibration_error_by_chance(probability: np.ndarray, seed: int, bins: int = 5, repeats: int = 400) -> float:
    """What `expected_calibration_error` is on average if the probabilities (n,) are right: few outcomes scatter."""
    generator = np.random.default_rng(seed)
    drawn = generator.uniform(size=(repeats, len(probability))) < np.asarray(probability)
    return float(np.mean([expected_calibration_error(probability, outcome, bins) for outcome in drawn]))


def reliability(probability: np.ndarray, outcome: np.ndarray, bins: int = 5) -> list[dict[str, float]]:
    """Predicted against observed frequency in bins of equal width; empty bins are left out."""
    probability, outcome = np.asarray(probability, float), np.asarray(outcome, float)
    index = np.minimum((probability * bins).astype(int), bins - 1)
    return [
        {
            "predicted": float(probability[index == b].mean()),
            "observed": float(outcome[index == b].mean()),
            "n": int(np.sum(index == b)),
        }
        for b in range(bins)
        if np.any(index == b)
    ]
