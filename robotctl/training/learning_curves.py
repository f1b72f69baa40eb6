"""Tells how much data is worth: test errors of fits on an eighth, a quarter, a half and all of what was collected."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from robotctl.training.fit_contact import Pushes, errors_ahead, fit_contact
from robotctl.training.fit_skills import FOLDS, fit_skill
from robotctl.world_model.contact import QUASI_STATIC
from robotctl.world_model.skill_outcome import PRIOR, SkillAttempt

SHARES = (0.125, 0.25, 0.5, 1.0)
STEPS = 400  # of the fits of the contact model
AHEAD = 2.0  # what its error is told of [s]


def sizes(count: int) -> list[int]:
    """The SHARES of `count` cases, each size once."""
    return sorted({max(round(share * count), 1) for share in SHARES})


def of_pushes(
    fitted: Pushes,
    test: Pushes,
    seed: int,
    steps: int,
    strangers: frozenset[str],
    progress: Callable[[float], None] | None = None,
) -> dict[str, Any]:
    """Error at AHEAD of moving test objects, by how many pushes, drawn from all rounds, the model is fitted on."""
    order = np.random.default_rng([seed, 12]).permutation(len(fitted))
    curve: dict[str, Any] = {
        "of": "pushes", "unit": "mm", "ahead_s": AHEAD, "steps": steps, "n": [], "error": [], "standard_error": [],
        "unseen_kinds": [],
    }  # fmt: skip
    known = errors_ahead(QUASI_STATIC, test.without(strangers), AHEAD)
    new = test.where(np.isin(np.array(test.kinds)[test.which], list(strangers)))
    for i, n in enumerate(sizes(len(fitted))):
        model = fit_contact(fitted.where(np.sort(order[:n])), seed, steps)
        error, strange = (errors_ahead(model, some, AHEAD) for some in (test.without(strangers), new))
        curve["n"].append(n)
        curve["error"].append(_millimetres(error))
        curve["standard_error"].append(_millimetres(error, spread=True))
        curve["unseen_kinds"].append(_millimetres(strange))
        if progress is not None:
            progress((i + 1) / len(SHARES))
    return curve | {"baselines": {"quasi_static": [_millimetres(known)] * len(curve["n"])}}


def _millimetres(error: np.ndarray, spread: bool = False) -> float | None:
    """Mean of errors (n,) [m], or its standard error; None of too few."""
    if len(error) < 1 + spread:
        return None
    value = error.std(ddof=1) / np.sqrt(len(error)) if spread else error.mean()
    return round(float(1e3 * value), 2)


def of_attempts(tried: Sequence[SkillAttempt], seed: int) -> dict[str, Any]:
    """Brier score of left-out attempts of one skill, by how many other attempts its model is fitted on.

    Folds as in `evaluate_skills`, so the last point is what that reports.
    """
    fold = np.random.default_rng([seed, 1]).permutation(len(tried)) % FOLDS
    rest = min(int(np.sum(fold != k)) for k in range(FOLDS))
    order = np.random.default_rng([seed, 12]).permutation(len(tried))
    counts = sizes(rest) if rest > 0 else []
    error, base = np.empty((len(counts), len(tried))), np.empty((len(counts), len(tried)))
    for k in range(FOLDS):
        others = order[fold[order] != k]
        for i, n in enumerate(counts):
            # All of them in their own order: the fit is then the one that `evaluate_skills` makes.
            chosen = np.sort(others if n == counts[-1] else others[:n])
            seen = [tried[int(j)] for j in chosen]
            model = fit_skill(seen, seed)
            rate = (sum(a.success for a in seen) + PRIOR[0]) / (len(seen) + sum(PRIOR))
            for j in np.flatnonzero(fold == k):
                attempt = tried[int(j)]
                error[i, j] = (model.probability(attempt.kind, attempt.features) - attempt.success) ** 2
                base[i, j] = (rate - attempt.success) ** 2
    spread = error.std(axis=1, ddof=1) / np.sqrt(len(tried)) if len(tried) > 1 else np.full(len(counts), np.nan)
    return {
        "of": "attempts",
        "unit": "Brier score",
        "n": counts,
        "error": [round(float(v), 4) for v in error.mean(axis=1)],
        "standard_error": [round(float(v), 4) if np.isfinite(v) else None for v in spread],
        "baselines": {"base_rate": [round(float(v), 4) for v in base.mean(axis=1)]},
    }
