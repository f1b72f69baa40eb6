"""Fits, calibrates and judges the human motion model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from robotctl.body import KEYPOINT_PART, KEYPOINTS, PARTS
from robotctl.errors import UsageError
from robotctl.training.people_data import Windows, wrist_error
from robotctl.world_model.calibration import conformal_quantile
from robotctl.world_model.human_motion import COVERAGE, STEPS, HumanMotionModel, in_own_frame, to_own_frame

READ = 32  # principal components of the readings
TOLD = 48  # principal components of the futures
WIDTH = 96
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
        seed, z.astype(np.float32), (rest,), loss, outputs, WIDTH, steps=steps, rate=3e-3, progress=progress
    )
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


def evaluate_people(model: HumanMotionModel, test: Windows) -> dict[str, Any]:
    """Errors by horizon against staying put and constant velocity, and coverage of the bounds, on moving people."""
    moving = test.moving
    shown = Windows(test.history[moving], test.future[moving], test.person[moving])
    history = shown.history.astype(float)
    keypoints, scale, usual = model.predict(history)
    bound = model.factor[:, KEYPOINT_PART] * scale
    error = np.linalg.norm(shown.future - keypoints, axis=-1)
    velocity = (history[:, -1] - history[:, -3]) / 0.2
    constant = history[:, -1][:, None] + STEPS[:, None, None] * velocity[:, None]
    still = np.broadcast_to(history[:, -1:], constant.shape)
    everyone = model.predict(test.history.astype(float))
    all_error = np.linalg.norm(test.future - everyone[0], axis=-1)
    all_bound = model.factor[:, KEYPOINT_PART] * everyone[1]
    second = int(np.argmin(np.abs(STEPS - 1.0)))

    def by_step(values: np.ndarray) -> list[float]:
        return [round(float(v), 4) for v in values]

    return {
        "name": "human_motion",
        "unit": "m",
        "horizon_s": [float(s) for s in STEPS],
        "error": by_step(error.mean(axis=(0, 2))),
        "baselines": {
            "static": by_step(np.linalg.norm(shown.future - still, axis=-1).mean(axis=(0, 2))),
            "constant_velocity": by_step(np.linalg.norm(shown.future - constant, axis=-1).mean(axis=(0, 2))),
        },
        "right_wrist": {
            name: {"0.5": round(float(wrist_error(shown.future, p, 0.5).mean()), 4),
                   "1.0": round(float(wrist_error(shown.future, p, 1.0).mean()), 4)}
            for name, p in (("learned", keypoints), ("static", still), ("constant_velocity", constant))
        },
        "coverage": {
            "nominal": COVERAGE,
            "measured": round(float((all_error <= all_bound).mean()), 4),
            "moving": round(float((error <= bound).mean()), 4),
            "moving_by_step": by_step((error <= bound).mean(axis=(0, 2))),
        },
        "bound_mean": {
            part: by_step(bound[:, :, g == KEYPOINT_PART].mean(axis=(0, 2))) for g, part in enumerate(PARTS)
        },
        "bound_mean_all_1s": round(float(all_bound[:, second].mean()), 4),
        "trusted": round(float(usual.mean()), 4),
        "n": len(shown),
        "people": len(np.unique(shown.person)),
    }  # fmt: skip
