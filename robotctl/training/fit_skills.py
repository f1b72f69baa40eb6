"""Fits and judges the skill outcome model: which attempts succeed, how long they take, how exactly they place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from robotctl.world_model.calibration import (
    auroc,
    brier,
    calibration_error_by_chance,
    conformal_quantile,
    expected_calibration_error,
    reliability,
)
from robotctl.world_model.ensemble import Ensemble
from robotctl.world_model.skill_outcome import (
    LEAST_DISPLACEMENT,
    PRIOR,
    SkillAttempt,
    SkillModel,
    SkillOutcomeModel,
    of_skill,
)

ENOUGH = 40  # attempts before features are looked at
BOTH = 6  # of these, successes and failures at least
FOLDS = 4
TOLD = 0.9  # quantile of the placement error that is predicted
WIDTH = 12
STEPS = 600
TEMPERATURES = np.geomspace(0.5, 8.0, 41)


def fit_skills(attempts: Sequence[SkillAttempt], seed: int) -> SkillOutcomeModel:
    """A model of every skill that was tried."""
    names = sorted({a.skill for a in attempts})
    return SkillOutcomeModel({name: fit_skill(of_skill(attempts, name), seed) for name in names})


def fit_skill(attempts: Sequence[SkillAttempt], seed: int) -> SkillModel:
    """The model of one skill; its logits are tempered so that attempts left out of the fit are predicted honestly."""
    model = _with_displacement(_describe(attempts), attempts, seed)
    outcome = np.array([a.success for a in attempts], float)
    if len(attempts) < ENOUGH or min(outcome.sum(), (1 - outcome).sum()) < BOTH:
        return model
    x = _inputs(model, attempts)
    fold = np.random.default_rng(seed).permutation(len(x)) % FOLDS
    linear, deep = np.empty(len(x)), np.empty(len(x))
    for k in range(FOLDS):
        seen, left = fold != k, fold == k
        linear[left] = _with_constant(x[left]) @ logistic_regression(x[seen], outcome[seen])
        network = _train(x[seen], outcome[seen], seed)
        deep[left] = network(x[left].astype(np.float32))[..., 0].mean(axis=0)
    (simple, warm), (rich, hot) = _temper(linear, outcome), _temper(deep, outcome)
    if simple <= rich:  # a network needs many attempts before it is worth its weights
        return replace(model, weights=logistic_regression(x, outcome), temperature=warm)
    return replace(model, network=_train(x, outcome, seed), temperature=hot)


def _temper(logits: np.ndarray, outcome: np.ndarray) -> tuple[float, float]:
    """The least log loss of logits (n,) of left-out attempts divided by a temperature, and that temperature."""
    loss = [float(np.mean(np.logaddexp(0.0, logits / t) - outcome * logits / t)) for t in TEMPERATURES]
    return min(loss), float(TEMPERATURES[np.argmin(loss)])


def _with_constant(x: np.ndarray) -> np.ndarray:
    return np.column_stack([x, np.ones(len(x))])


def logistic_regression(x: np.ndarray, outcome: np.ndarray, precision: float = 1.0) -> np.ndarray:
    """Weights (F + 1,), the constant last, of the most probable linear logit of normalised features x (n, F).

    The weights have the prior N(0, 1 / precision), the constant none (but one success and one failure more than
    seen, to begin with); Newton's method, Bishop 2006, "Pattern recognition and machine learning", section 4.3.3.
    """
    rows = _with_constant(x)
    prior = precision * np.diag([*np.ones(x.shape[1]), 1e-2])
    weights = np.zeros(rows.shape[1])
    weights[-1] = np.log((outcome.sum() + 1.0) / (len(outcome) - outcome.sum() + 1.0))
    for _ in range(50):
        p = 1.0 / (1.0 + np.exp(-np.clip(rows @ weights, -30.0, 30.0)))
        gradient = rows.T @ (p - outcome) + prior @ weights
        step = np.linalg.solve((rows * (p * (1.0 - p))[:, None]).T @ rows + prior, gradient)
        weights = weights - step * min(1.0, 3.0 / max(float(np.abs(step).max()), 1e-12))  # far steps overshoot
        if np.abs(step).max() < 1e-8:
            break
    return weights


def _describe(attempts: Sequence[SkillAttempt]) -> SkillModel:
    """Features, counts and times without a network."""
    kinds = sorted({a.kind for a in attempts})
    features = sorted({name for a in attempts for name in a.features})
    names = (*features, *(f"kind={kind}" for kind in kinds))
    raw = np.array([[a.features.get(name, np.nan) for name in features] for a in attempts], float)
    raw = raw.reshape(len(attempts), len(features))
    known = np.isfinite(raw)
    # The median: what a caller does not say is taken as usual, and the usual placement is a careful one.
    center = np.array([np.median(raw[row, i]) if np.any(row) else 0.0 for i, row in enumerate(known.T)])
    spread = np.sqrt(np.where(known, (raw - center) ** 2, 0.0).sum(axis=0) / np.maximum(known.sum(axis=0), 1))
    share = [float(np.mean([a.kind == kind for a in attempts])) for kind in kinds]
    by_kind = {kind: [a for a in attempts if a.kind == kind] for kind in kinds}
    good = {kind: [a for a in tried if a.success] for kind, tried in by_kind.items()}
    timed = {kind: [a.duration for a in good[kind] if np.isfinite(a.duration)] for kind in kinds}
    placed = {
        kind: [a.displacement for a in good[kind] if np.isfinite(a.displacement)]
        for kind in kinds
        if any(np.isfinite(a.displacement) for a in good[kind])
    }
    return SkillModel(
        names=names,
        center=np.concatenate([center, share]),
        spread=np.concatenate([np.where(spread > 1e-6, spread, 1.0), np.ones(len(kinds))]),
        network=None,
        temperature=1.0,
        counts={kind: (len(good[kind]), len(by_kind[kind]) - len(good[kind])) for kind in kinds},
        durations={kind: float(np.mean(times)) for kind, times in timed.items() if times},
        displacements={kind: float(np.quantile(values, 0.9)) for kind, values in placed.items()},
    )


def _inputs(model: SkillModel, attempts: Sequence[SkillAttempt]) -> np.ndarray:
    """Normalised features (n, F)."""
    x = np.array([model.vector(a.kind, a.features) for a in attempts])
    return np.clip((x - model.center) / model.spread, -4.0, 4.0)


def _with_displacement(model: SkillModel, attempts: Sequence[SkillAttempt], seed: int) -> SkillModel:
    """The model with its placement error told from the features, if that predicts left-out attempts better."""
    good = [a for a in attempts if a.success and np.isfinite(a.displacement)]
    if len(good) < ENOUGH or max(a.displacement for a in good) <= LEAST_DISPLACEMENT:
        return model
    x = _with_constant(_inputs(model, good))
    kinds = np.array([name.startswith("kind=") for name in model.names] + [True])
    y = np.log(np.maximum([a.displacement for a in good], LEAST_DISPLACEMENT))
    fold = np.random.default_rng([seed, 2]).permutation(len(y)) % FOLDS
    above = {}  # by how much the left-out errors exceed what is predicted
    for name, columns in (("features", np.ones(len(kinds), bool)), ("kind", kinds)):
        above[name] = np.empty(len(y))
        for k in range(FOLDS):
            weights = quantile_regression(x[fold != k][:, columns], y[fold != k], TOLD)
            above[name][fold == k] = y[fold == k] - x[fold == k][:, columns] @ weights
    if pinball(above["features"], TOLD).sum() >= pinball(above["kind"], TOLD).sum():
        return model
    weights = quantile_regression(x, y, TOLD)
    # Conformalised quantile regression (Romano et al. 2019), with the folds' errors for those of a calibration set.
    weights[-1] += float(conformal_quantile(above["features"], TOLD))
    return replace(
        model, displacement_weights=weights, displacement_range=(float(np.exp(y.min())), float(np.exp(y.max())))
    )


def pinball(error: np.ndarray, level: float) -> np.ndarray:
    """Loss of quantile predictions that the truth exceeds by `error`; Koenker and Bassett 1978, any shape."""
    return np.asarray(np.maximum(level * error, (level - 1.0) * error))


def quantile_regression(x: np.ndarray, y: np.ndarray, level: float, ridge: float = 0.01) -> np.ndarray:
    """Weights (F,) of the linear `level` quantile of y (n,) given x (n, F), by iteratively reweighted least squares.

    ridge: penalty on all weights but the last, which is the constant's, in units of n.
    """
    penalty = ridge * len(x) * np.diag([*np.ones(x.shape[1] - 1), 0.0])
    weights = np.zeros(x.shape[1])
    weights[-1] = np.quantile(y, level)
    for _ in range(60):
        error = y - x @ weights
        share = np.where(error > 0.0, level, 1.0 - level) / np.maximum(np.abs(error), 0.02)
        weights = np.linalg.solve((x * share[:, None]).T @ x + penalty, (x * share[:, None]).T @ y)
    return weights


def _train(x: np.ndarray, outcome: np.ndarray, seed: int) -> Ensemble:
    from robotctl.training.jax_fit import fit_ensemble

    return fit_ensemble(
        seed, x.astype(np.float32), (outcome.astype(np.float32),), _logistic, 1, WIDTH, depth=1, members=5, steps=STEPS,
        batch=128, rate=1e-2, decay=0.3,
    )  # fmt: skip


def _logistic(out: Any, target: Any) -> Any:
    """Negative log likelihood of outcomes given logits, for JAX."""
    import jax.numpy as jnp

    return jnp.mean(jnp.logaddexp(0.0, out[:, 0]) - target * out[:, 0])


@dataclass(frozen=True)
class _Predicted:
    """N attempts as models that did not see them predict them."""

    attempts: list[SkillAttempt]
    learned: np.ndarray  # (N,) probability of success
    base_rate: np.ndarray  # (N,) share of all attempts of the skill that succeeded
    rate_by_kind: np.ndarray  # (N,) share of those of the kind
    displacement: np.ndarray  # (N,) error that nine of ten successes stay below [m]
    displacement_by_kind: np.ndarray  # (N,) the same from the kind alone [m]

    @property
    def outcome(self) -> np.ndarray:
        return np.array([a.success for a in self.attempts], float)


def _cross_validate(tried: list[SkillAttempt], seed: int) -> _Predicted:
    """Every attempt of one skill predicted by a model fitted on the other folds."""
    fold = np.random.default_rng([seed, 1]).permutation(len(tried)) % FOLDS
    learned, base, kind_base, away, kind_away = (np.full(len(tried), np.nan) for _ in range(5))
    for k in range(FOLDS):
        seen = [a for a, f in zip(tried, fold, strict=True) if f != k]
        if not seen:
            continue
        model = fit_skill(seen, seed)
        counts = _describe(seen)
        rate = (sum(a.success for a in seen) + PRIOR[0]) / (len(seen) + sum(PRIOR))
        for i in np.flatnonzero(fold == k):
            learned[i] = model.probability(tried[i].kind, tried[i].features)
            kind_base[i] = counts.probability(tried[i].kind, {})
            base[i] = rate
            away[i] = model.displacement(tried[i].kind, tried[i].features)
            kind_away[i] = counts.displacement(tried[i].kind, {})
    known = np.isfinite(learned)
    kept = [a for a, good in zip(tried, known, strict=True) if good]
    return _Predicted(kept, *(column[known] for column in (learned, base, kind_base, away, kind_away)))


def evaluate_skills(attempts: Sequence[SkillAttempt], seed: int) -> list[dict[str, Any]]:
    """How well attempts that a model did not see are predicted, against their base rate: every skill, and all."""
    names = sorted({a.skill for a in attempts})
    predicted = {name: _cross_validate(of_skill(attempts, name), seed) for name in names}
    parts = [_score(name, predicted[name], seed) for name in names]
    if len(names) > 1:
        every = list(predicted.values())
        pooled = _Predicted(
            [a for p in every for a in p.attempts],
            *(np.concatenate([getattr(p, f.name) for p in every]) for f in fields(_Predicted)[1:]),
        )
        parts.append(_score("all", pooled, seed))
    return parts


def _score(name: str, predicted: _Predicted, seed: int) -> dict[str, Any]:
    outcome, tried = predicted.outcome, predicted.attempts
    error, base = brier(predicted.learned, outcome), brier(predicted.base_rate, outcome)
    return {
        "name": f"skill_outcome.{name}",
        "unit": "Brier score",
        "error": round(error, 4),
        "baselines": {
            "base_rate": round(base, 4),
            "rate_by_kind": round(brier(predicted.rate_by_kind, outcome), 4),
        },
        "below_base_rate": round(1.0 - error / base, 4) if base > 0.0 else None,
        "auroc": round(auroc(predicted.learned, outcome), 4) if 0.0 < outcome.mean() < 1.0 else None,
        "calibration_error": round(expected_calibration_error(predicted.learned, outcome), 4),
        "calibration_error_by_chance": round(calibration_error_by_chance(predicted.learned, seed), 4),
        "reliability": reliability(predicted.learned, outcome),
        "success_rate": round(float(outcome.mean()), 4),
        "success_by_kind": {
            kind: [int(sum(a.success for a in tried if a.kind == kind)), sum(a.kind == kind for a in tried)]
            for kind in sorted({a.kind for a in tried})
        },
        "displacement": _score_displacement(predicted) if name == "place" else None,
        "n": len(tried),
    }


def _score_displacement(predicted: _Predicted) -> dict[str, Any] | None:
    """How often successes stay below the predicted placement error, and what predicting the kind's alone costs."""
    good = np.array([a.success and np.isfinite(a.displacement) for a in predicted.attempts], bool)
    if not np.any(good):
        return None
    true = np.log(np.maximum([a.displacement for a in predicted.attempts], LEAST_DISPLACEMENT))[good]
    learned, kind = np.log(predicted.displacement[good]), np.log(predicted.displacement_by_kind[good])
    return {
        "nominal": TOLD,
        "below": round(float(np.mean(true <= learned)), 4),
        "below_by_kind": round(float(np.mean(true <= kind)), 4),
        "pinball_log": round(float(pinball(true - learned, TOLD).mean()), 4),
        "pinball_log_by_kind": round(float(pinball(true - kind, TOLD).mean()), 4),
        "mean_mm": round(float(1e3 * np.exp(learned).mean()), 2),
        "mean_mm_by_kind": round(float(1e3 * np.exp(kind).mean()), 2),
        "n": int(good.sum()),
    }
