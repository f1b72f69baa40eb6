"""Fits, calibrates and judges the actuator model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from robotctl.errors import UsageError
from robotctl.robot import DDQ_MAX, DQ_MAX, HAND, TCP, forward, frame_velocities
from robotctl.state import TICK
from robotctl.training.play_data import Trace
from robotctl.world_model.actuators import ARM, COVERAGE, SIGN, ActuatorModel
from robotctl.world_model.ensemble import Ensemble
from robotctl.world_model.world_model import HORIZON, MODEL_STEP

EVERY = 4  # ticks between the starts of two windows
STRIDE = round(MODEL_STEP / TICK)  # ticks in a model step
UNDISTURBED = 6  # ticks before a window in which nothing may have been touched
MOVING = 0.05  # fastest joint speed [m/s, rad/s] above which a sample counts as moving
WIDTH = 24
SUBSET = 80_000  # samples trained on
LEVER = np.array([1.0, 1.0, 0.8, 0.7, 0.7, 0.6, 0.5, 0.3, 0.25, 0.1])  # of each joint at the hand, about [m]


@dataclass(frozen=True)
class Samples:
    """N pairs of a start (what is known then) and a later sample of the reference with what came of it."""

    episode: np.ndarray  # (N,)
    loaded: np.ndarray  # (N,) whether something was in the hand
    step: np.ndarray  # (N,) model steps from the start to the sample, 1..HORIZON
    error_now: np.ndarray  # (N, 10) measured tracking error at the start
    dq_now: np.ndarray  # (N, 10) reference velocity at the start
    q: np.ndarray  # (N, 10) reference at the sample
    dq: np.ndarray  # (N, 10)
    ddq: np.ndarray  # (N, 10) acceleration that led there
    delta_q: np.ndarray  # (N, 10) true minus reference
    delta_dq: np.ndarray  # (N, 10)

    def __len__(self) -> int:
        return len(self.step)

    def where(self, chosen: np.ndarray) -> Samples:
        return Samples(*(getattr(self, name)[chosen] for name in self.__dataclass_fields__))

    @property
    def moving(self) -> np.ndarray:
        return np.abs(self.dq).max(axis=1) > MOVING


def samples_of(traces: Sequence[Trace]) -> Samples:
    """All windows of all traces in which the robot touched nothing, every horizon step of each."""
    columns: dict[str, list[np.ndarray]] = {name: [] for name in Samples.__dataclass_fields__}
    for episode, trace in enumerate(traces):
        ddq = np.diff(trace.dq_ref, axis=0, prepend=trace.dq_ref[:1]) / TICK
        last_touch = np.maximum.accumulate(np.where(trace.free, -1, np.arange(len(trace.free))))
        starts = np.arange(UNDISTURBED, len(trace.free) - 1, EVERY)
        for step in range(1, HORIZON + 1):
            begin = starts[starts + step * STRIDE < len(trace.free)]
            end = begin + step * STRIDE
            quiet = last_touch[end] < begin - UNDISTURBED
            begin, end = begin[quiet], end[quiet]
            columns["episode"].append(np.full(len(begin), episode))
            columns["loaded"].append(trace.loaded[begin] & trace.loaded[end])
            columns["step"].append(np.full(len(begin), step))
            columns["error_now"].append(trace.q_seen[begin] - trace.q_ref[begin])
            columns["dq_now"].append(trace.dq_ref[begin])
            columns["q"].append(trace.q_ref[end])
            columns["dq"].append(trace.dq_ref[end])
            columns["ddq"].append(ddq[end])
            columns["delta_q"].append(trace.q[end] - trace.q_ref[end])
            columns["delta_dq"].append(trace.dq[end] - trace.dq_ref[end])
    return Samples(*(np.concatenate(columns[name]) for name in Samples.__dataclass_fields__))


def fit_actuators(
    train: Samples,
    calibration: Samples,
    seed: int,
    steps: int,
    progress: Callable[[float, float], None] | None = None,
) -> ActuatorModel:
    """The model of the training episodes, its bounds calibrated on other episodes."""
    import jax.numpy as jnp

    from robotctl.training.jax_fit import fit_ensemble

    generator = np.random.default_rng(seed)
    train = train.where(generator.permutation(len(train))[:60_000])
    latency, inertia = _drive(train)
    context = train.error_now + latency * train.dq_now
    raw = np.concatenate(
        [train.q[:, ARM], train.dq / DQ_MAX, train.ddq / DDQ_MAX, np.tanh(train.dq / SIGN), context], axis=1
    )
    center, spread = raw.mean(axis=0), np.maximum(raw.std(axis=0), 1e-6)
    rest = np.concatenate(
        [train.delta_q + latency * train.dq - inertia * train.ddq, train.delta_dq + latency * train.ddq], axis=1
    )
    # The middle of the errors sets the scale, not the rare slips; below 0.1 mm at the hand nothing is to be gained.
    scale = np.maximum(1.48 * np.median(np.abs(rest), axis=0), np.concatenate([1e-4 / LEVER, 2e-3 / LEVER]))
    blank = Ensemble((), ())
    model = ActuatorModel(latency, inertia, center, spread, scale, blank, np.zeros(HORIZON + 1), 0.0)
    x = model.inputs(train.q, train.dq, train.ddq, context)

    def loss(out: Any, target: Any) -> Any:
        """Pseudo-Huber: stick and slip make a few large errors that should not rule."""
        return jnp.mean(jnp.sqrt(1.0 + (out - target) ** 2) - 1.0)

    network = fit_ensemble(
        seed, x.astype(np.float32), ((rest / scale).astype(np.float32),), loss, 20, WIDTH, steps=steps, batch=512,
        rate=5e-3, decay=0.1, progress=progress, group=train.episode,
    )  # fmt: skip
    return calibrate(replace(model, network=network), calibration)


def _drive(samples: Samples) -> tuple[np.ndarray, np.ndarray]:
    """Latency and inertia of each joint (10,), least absolute deviations by iterated reweighting."""
    latency, inertia = np.empty(10), np.empty(10)
    for j in range(10):
        known = np.stack([-samples.dq[:, j], samples.ddq[:, j]], axis=1)
        weight = np.ones(len(samples))
        for _ in range(20):
            root = np.sqrt(weight)[:, None]
            found = np.linalg.lstsq(known * root, samples.delta_q[:, j] * root[:, 0], rcond=None)[0]
            weight = 1.0 / (np.abs(samples.delta_q[:, j] - known @ found) + 1e-5)
        latency[j], inertia[j] = found
    return latency, inertia


def predicted(model: ActuatorModel, samples: Samples) -> tuple[np.ndarray, np.ndarray]:
    """delta_q and delta_dq (N, 10) as the model expects them at the start of each window."""
    context = samples.error_now + model.latency * samples.dq_now
    return model.predict(samples.q, samples.dq, samples.ddq, context)


def point_errors(
    samples: Samples, delta_q: np.ndarray, delta_dq: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Errors of a prediction in space: TCP [m], the worst of all frames [m], worst underestimated speed [m/s]; (N,)."""
    true_points, true_speed = _points(samples.q + samples.delta_q, samples.dq + samples.delta_dq)
    points, speed = _points(samples.q + delta_q, samples.dq + delta_dq)
    away = np.linalg.norm(true_points - points, axis=-1)
    return away[:, -1], away.max(axis=1), np.maximum(true_speed - speed, 0.0).max(axis=1)


def _points(q: np.ndarray, dq: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Origins of the frames and the TCP (N, 10, 3) and their speeds (N, 10)."""
    rotation, origin = forward(q)
    velocity, omega = frame_velocities(rotation, origin, dq)
    lever = rotation[:, HAND] @ TCP
    points = np.concatenate([origin, (origin[:, HAND] + lever)[:, None]], axis=1)
    tip = velocity[:, HAND] + np.cross(omega[:, HAND], lever)
    velocities = np.concatenate([velocity, tip[:, None]], axis=1)
    return points, np.linalg.norm(velocities, axis=-1)


def calibrate(model: ActuatorModel, samples: Samples) -> ActuatorModel:
    """Bounds that hold all points of a moving robot, by horizon step; the present is as uncertain as the first step.

    The largest of what each calibration episode needs for itself: the samples of an episode share its payload, so it is
    episodes that are exchangeable, and a new one needs more than all n with probability 1 / (n + 1) (split conformal
    prediction for groups; Dunn, Wasserman, Ramdas 2023, section 3).
    """
    moving = samples.where(samples.moving)
    _, worst, faster = point_errors(moving, *predicted(model, moving))
    episodes = [moving.episode == episode for episode in np.unique(moving.episode)]
    if not any(np.any(moving.loaded[chosen]) for chosen in episodes):
        raise UsageError("no undisturbed play with a load to calibrate the actuator model; collect more")

    def widest(errors: np.ndarray, chosen: np.ndarray) -> float:
        return max(float(np.quantile(errors[chosen & episode], COVERAGE)) for episode in episodes)

    steps = [widest(worst, moving.step == k) for k in range(1, HORIZON + 1)]
    bound = np.maximum.accumulate(np.array([steps[0], *steps]))
    return replace(model, position_bound=bound, speed_bound=widest(faster, moving.step > 0))


def _share(held: np.ndarray) -> float | None:
    return round(float(held.mean()), 4) if len(held) else None


def evaluate_actuators(model: ActuatorModel, test: Samples) -> dict[str, Any]:
    """TCP error by horizon against the integrator and pure latency, and coverage of the bounds, on moving samples."""
    moving = test.where(test.moving)
    zero = np.zeros_like(moving.q)
    late = 0.025  # what the scene's file says of the drives would be the best guess without learning
    guesses = {
        "learned": predicted(model, moving),
        "integrator": (zero, zero),
        "pure_latency": (-late * moving.dq, -late * moving.ddq),
    }
    errors = {name: point_errors(moving, *guess) for name, guess in guesses.items()}
    steps = [1, 5, 10, 20, 30]

    def by_step(values: np.ndarray, chosen: np.ndarray | None = None) -> list[float | None]:
        rows = [moving.step == k if chosen is None else (moving.step == k) & chosen for k in steps]
        return [round(float(1e3 * values[row].mean()), 3) if np.any(row) else None for row in rows]

    _, worst, faster = errors["learned"]
    return {
        "name": "actuator_residual",
        "unit": "mm",
        "horizon_s": [k * MODEL_STEP for k in steps],
        "error": by_step(errors["learned"][0]),
        "baselines": {name: by_step(errors[name][0]) for name in ("integrator", "pure_latency")},
        "loaded": {name: by_step(errors[name][0], moving.loaded) for name in guesses},
        "empty": {name: by_step(errors[name][0], ~moving.loaded) for name in guesses},
        "coverage": {
            "nominal": COVERAGE,
            "moving": round(float((worst <= model.position_bound[moving.step]).mean()), 4),
            "moving_loaded": _share((worst <= model.position_bound[moving.step])[moving.loaded]),
            "speed": round(float((faster <= model.speed_bound).mean()), 4),
        },
        "bound_mm": [round(float(1e3 * b), 3) for b in model.position_bound[[0, *steps]]],
        "speed_bound": round(model.speed_bound, 4),
        "n": len(moving),
        "episodes": len(np.unique(moving.episode)),
    }
