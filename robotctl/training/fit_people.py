"""Fits, calibrates and judges the human motion model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from robotctl.body import KEYPOINT_PART, KEYPOINTS, PARTS
from robotctl.errors import UsageError
from robotctl.training.people_data import Windows, together, wrist_error
from robotctl.world_model.calibration import auroc, conformal_quantile
from robotctl.world_model.human_motion import COVERAGE, STEPS, HumanMotionModel, in_own_frame, to_own_frame

READ = 64  # principal components of the readings
TOLD = 64  # principal components of the futures
WIDTH = 128
WANTED = (0.88, 0.93)  # coverage of one person that is neither too bold nor too wide
UNUSUAL = 1.5  # readings this many times beyond the 99.9th percentile of the calibration set are not trusted


def principal(data: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean (d,), orthonormal basis (d, count) and standard deviations (count,) of the main components of (n, d)."""
    mean = data.mean(axis=0)
    covariance = (data - mean).T @ (data - mean) / len(data)
    values, vectors = np.linalg.eigh(covariance)
    return mean, vectors[:, ::-1][:, :count], np.sqrt(np.maximum(values[::-1][:count], 1e-12))


def fit_people(
    train: Windows, calibration: Windows, seed: int, steps: int, progress: Callable[[float, float], None] | None = None
) -> HumanMotionModel:
    """The model of the training people, its bounds calibrated on other people."""
    import jax.numpy as jnp

    from robotctl.training.jax_fit import fit_ensemble

    history = train.history.astype(float)
    rotation, origin = to_own_frame(history)
    x = in_own_frame(history, rotation, origin)
    y = in_own_frame(train.future.astype(float), rotation, origin)
    input_mean, input_vectors, input_spread = principal(x, READ)
    output_mean, output_vectors, output_spread = principal(y, TOLD)
    input_basis = input_vectors / input_spread
    output_basis = output_vectors * output_spread
    z = (x - input_mean) @ input_basis
    c = (y - output_mean) @ (output_vectors / output_spread)
    ridge = 1e-3 * len(z) * np.eye(READ)
    linear = np.linalg.solve(z.T @ z + ridge, z.T @ c).T
    rest = (y - output_mean - (z @ linear.T) @ output_basis.T).astype(np.float32)

    basis = jnp.asarray(output_basis.T, jnp.float32)
    groups = len(PARTS)

    def loss(out: Any, target: Any) -> Any:
        """Negative log likelihood of the length of each keypoint's error: |e| / s + 3 log s (Laplace in 3-D)."""
        error = (target - out[:, :TOLD] @ basis).reshape(len(out), len(STEPS), len(KEYPOINTS), 3)
        length = jnp.sqrt(jnp.sum(error**2, axis=-1) + 1e-6)
        log_scale = out[:, TOLD:].reshape(len(out), len(STEPS), groups)[..., KEYPOINT_PART]
        return jnp.mean(length * jnp.exp(-log_scale) + 3.0 * log_scale)

    outputs = TOLD + len(STEPS) * groups
    network = fit_ensemble(
        seed, z.astype(np.float32), (rest,), loss, outputs, WIDTH, steps=steps, rate=3e-3, progress=progress,
        group=train.person,
    )  # fmt: skip
    model = HumanMotionModel(
        input_mean.astype(np.float32),
        input_basis.astype(np.float32),
        output_mean.astype(np.float32),
        output_basis.astype(np.float32),
        linear.astype(np.float32),
        network,
        np.ones((len(STEPS), groups), np.float32),
        np.full(2, np.inf, np.float32),
    )
    return calibrate(model, calibration)


def calibrate(model: HumanMotionModel, windows: Windows) -> HumanMotionModel:
    """Conformal factors from moving people that the model was not trained on, and what usual readings look like."""
    keypoints, scale, _ = model.predict(windows.history.astype(float))
    ratio = np.linalg.norm(windows.future - keypoints, axis=-1) / scale
    moving = windows.moving
    factor = np.stack(
        [
            [conformal_quantile(ratio[moving, k][:, g == KEYPOINT_PART].ravel(), COVERAGE) for g in range(len(PARTS))]
            for k in range(len(STEPS))
        ]
    )
    if not np.all(np.isfinite(factor)):
        raise UsageError("too few moving people to calibrate the human motion model; watch more")
    rotation, origin = to_own_frame(windows.history.astype(float))
    x = in_own_frame(windows.history.astype(float), rotation, origin) - model.input_mean
    novelty = model.novelty(x, x @ model.input_basis)
    unusual = UNUSUAL * np.array([np.quantile(values, 0.999) for values in novelty])
    return replace(model, factor=factor.astype(np.float32), unusual=unusual.astype(np.float32))


def evaluate_people(
    model: HumanMotionModel, test: Windows, recordings: Mapping[str, Windows] | None = None
) -> dict[str, Any]:
    """Errors by horizon against staying put and constant velocity, and coverage of the bounds, on moving people.

    recordings: windows of clips that no fit has seen; then how the model takes them is told as well.
    """
    shown = test.where(test.moving)
    keypoints, scale, usual = model.predict(shown.history.astype(float))
    bound = model.factor[:, KEYPOINT_PART] * scale
    error = np.linalg.norm(shown.future - keypoints, axis=-1)
    still, constant = baselines(shown.history.astype(float))
    everyone = model.predict(test.history.astype(float))
    all_error = np.linalg.norm(test.future - everyone[0], axis=-1)
    all_bound = model.factor[:, KEYPOINT_PART] * everyone[1]
    second = int(np.argmin(np.abs(STEPS - 1.0)))
    part = {
        "name": "human_motion",
        "unit": "m",
        "horizon_s": [float(s) for s in STEPS],
        "error": _rounded(error.mean(axis=(0, 2))),
        "baselines": {
            "static": _rounded(np.linalg.norm(shown.future - still, axis=-1).mean(axis=(0, 2))),
            "constant_velocity": _rounded(np.linalg.norm(shown.future - constant, axis=-1).mean(axis=(0, 2))),
        },
        "right_wrist": wrist_errors(shown, {"learned": keypoints, "static": still, "constant_velocity": constant}),
        "coverage": {
            "nominal": COVERAGE,
            "measured": round(float((all_error <= all_bound).mean()), 4),
            **coverage(error <= bound, shown.person),
        },
        "bound_mean": {
            part: _rounded(bound[:, :, g == KEYPOINT_PART].mean(axis=(0, 2))) for g, part in enumerate(PARTS)
        },
        "bound_mean_all_1s": round(float(all_bound[:, second].mean()), 4),
        "trusted": round(float(usual.mean()), 4),
        "n": len(shown),
        "people": len(np.unique(shown.person)),
    }
    return part if recordings is None else part | {"held_out_clips": evaluate_recordings(model, test, recordings)}


def baselines(history: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where keypoints (n, K, J, 3) are at STEPS after histories (n, HISTORY, J, 3) if they stay put; if they go on.

    The velocity is that of the last 0.2 s.
    """
    velocity = (history[:, -1] - history[:, -3]) / 0.2
    constant = history[:, -1][:, None] + STEPS[:, None, None] * velocity[:, None]
    return np.broadcast_to(history[:, -1:], constant.shape), constant


def wrist_errors(windows: Windows, predictions: Mapping[str, np.ndarray]) -> dict[str, dict[str, float]]:
    """Mean error of the right wrist at 0.5 and 1 s of several predictions (n, K, J, 3) [m]."""
    return {
        name: {str(step): round(float(wrist_error(windows.future, p, step).mean()), 4) for step in (0.5, 1.0)}
        for name, p in predictions.items()
    }


def coverage(inside: np.ndarray, person: np.ndarray) -> dict[str, Any]:
    """How often bounds held, by step, body part and person: inside (n, K, J) of the windows of `person` (n,).

    The standard error takes the people for independent, not their windows (cluster-robust, linearised ratio).
    """
    parts = {part: inside[:, :, g == KEYPOINT_PART] for g, part in enumerate(PARTS)}
    people = np.unique(person)
    own = np.array([inside[person == p].mean() for p in people])
    size = np.array([np.sum(person == p) for p in people])
    error = np.sqrt(np.sum((size * (own - inside.mean())) ** 2) * len(people) / max(len(people) - 1, 1)) / size.sum()
    low, high = WANTED
    return {
        "moving": round(float(inside.mean()), 4),
        "standard_error": round(float(error), 4),
        "moving_by_step": _rounded(inside.mean(axis=(0, 2))),
        "moving_by_part": {part: round(float(held.mean()), 4) for part, held in parts.items()},
        "moving_by_part_and_step": {part: _rounded(held.mean(axis=(0, 2))) for part, held in parts.items()},
        "by_person": {
            "min": round(float(own.min()), 4),
            "median": round(float(np.median(own)), 4),
            "max": round(float(own.max()), 4),
            "each": [round(float(v), 3) for v in np.sort(own)],
            "within": round(float(np.mean((own >= low) & (own <= high))), 4),
            "persistence": _persistence(inside.mean(axis=(1, 2)), person),
        },
    }


def _persistence(held: np.ndarray, person: np.ndarray) -> float | None:
    """Correlation of the coverage in the first half of each person's windows with that in the second, over people.

    Near 0 if people differ by the chance of what they did meanwhile; 1 if some are always harder than others.
    """
    halves = [np.array_split(held[person == p], 2) for p in np.unique(person) if np.sum(person == p) > 1]
    first, second = (np.array([pair[i].mean() for pair in halves]) for i in range(2))
    if len(halves) < 3 or np.ptp(first) < 1e-9 or np.ptp(second) < 1e-9:
        return None
    return round(float(np.corrcoef(first, second)[0, 1]), 4)


def evaluate_recordings(model: HumanMotionModel, people: Windows, recordings: Mapping[str, Windows]) -> dict[str, Any]:
    """What becomes of moving people of recorded clips that no fit has seen, beside ordinary `people`.

    Readings flagged as unlike those trained on are held where they are, with the worst-case bound, at run time: that
    is `as_used`. `auroc`: the probability that a recorded window is stranger to the model than an ordinary one.
    """
    usual_score = model.strangeness(people.history.astype(float))
    scores, clips, every = [], {}, []
    for clip, windows in recordings.items():
        shown = windows.where(windows.moving)
        history = shown.history.astype(float)
        score = model.strangeness(history)
        row = _recorded(model, shown, score > 1.0)
        clips[clip] = row | {"auroc": _separation(usual_score, score)}
        scores.append(score)
        every.append(shown)
    pooled, score = together(every), np.concatenate(scores)
    return {
        **_recorded(model, pooled, score > 1.0),
        "auroc": _separation(usual_score, score),
        "ordinary_flagged": round(float(np.mean(usual_score > 1.0)), 4),
        "clips": clips,
    }


def _separation(ordinary: np.ndarray, strange: np.ndarray) -> float:
    """AUROC of the scores; every tenth of the ordinary ones is plenty."""
    ordinary = ordinary[::10]
    return round(
        auroc(np.concatenate([ordinary, strange]), np.arange(len(ordinary) + len(strange)) >= len(ordinary)), 4
    )


def _recorded(model: HumanMotionModel, shown: Windows, flagged: np.ndarray) -> dict[str, Any]:
    history = shown.history.astype(float)
    keypoints, scale, _ = model.predict(history)
    still, constant = baselines(history)
    guesses = {
        "learned": keypoints,
        "as_used": np.where(flagged[:, None, None, None], still, keypoints),
        "static": still,
        "constant_velocity": constant,
    }
    inside = np.linalg.norm(shown.future - keypoints, axis=-1) <= model.factor[:, KEYPOINT_PART] * scale
    trusted = ~flagged
    return {
        "flagged": round(float(flagged.mean()), 4),
        "right_wrist": wrist_errors(shown, guesses),
        "right_wrist_trusted": wrist_errors(shown.where(trusted), {k: g[trusted] for k, g in guesses.items()})
        if np.any(trusted)
        else None,
        "coverage_trusted": round(float(inside[trusted].mean()), 4) if np.any(trusted) else None,
        "n": len(shown),
    }


def _rounded(values: np.ndarray) -> list[float]:
    return [round(float(v), 4) for v in values]
