"""Predicts where a person's keypoints will be, from the last half second of readings, with calibrated bounds.

Everything is done in the person's own frame (pelvis at the origin of the floor, x where hips and shoulders face), so
that a walk north and a walk east are the same walk. Readings and futures are compressed to their principal
components; an ensemble maps one to the other and says how wrong it expects to be; conformal factors turn that
expectation into radii that hold the true keypoint as often as declared.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from robotctl.body import INDEX, KEYPOINT_PART, KEYPOINTS, PARTS
from robotctl.state import PersonState
from robotctl.world_model.ensemble import Ensemble

HISTORY = 6  # readings at 10 Hz that the model sees
STEPS = np.concatenate([np.arange(1, 11) / 10, [1.5, 2.0, 2.5, 3.0]])  # after the newest reading [s]
COVERAGE = 0.9  # how often the bound holds the true keypoint of a moving person

_HIPS = (INDEX["right_hip"], INDEX["left_hip"])
_SHOULDERS = (INDEX["right_shoulder"], INDEX["left_shoulder"])
_PELVIS = INDEX["pelvis"]


def to_own_frame(history: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rotation world from own frame (n, 3, 3) and origin on the floor (n, 3) of histories (n, T, J, 3)."""
    last = history[:, -2:].mean(axis=1)
    left = last[:, _HIPS[1]] - last[:, _HIPS[0]] + last[:, _SHOULDERS[1]] - last[:, _SHOULDERS[0]]
    left[:, 2] = 0.0
    left /= np.maximum(np.linalg.norm(left, axis=1, keepdims=True), 1e-9)
    zero = np.zeros_like(left[:, 0])
    forward = np.stack([left[:, 1], -left[:, 0], zero], axis=1)  # left x up
    rotation = np.stack([forward, left, np.stack([zero, zero, zero + 1.0], axis=1)], axis=2)
    origin = history[:, -1, _PELVIS].copy()
    origin[:, 2] = 0.0
    return rotation, origin


def in_own_frame(keypoints: np.ndarray, rotation: np.ndarray, origin: np.ndarray) -> np.ndarray:
    """Keypoints (n, T, J, 3) in the frames (n, 3, 3), (n, 3), flattened: (n, T * J * 3)."""
    own = (keypoints - origin[:, None, None]) @ rotation[:, None]
    return own.reshape(len(keypoints), -1)


@dataclass(frozen=True)
class HumanMotionModel:
    """The learned predictor. D components of the readings, E of the futures, K steps, G body part groups."""

    input_mean: np.ndarray  # (HISTORY * J * 3,) of the readings in the own frame [m]
    input_basis: np.ndarray  # (HISTORY * J * 3, D), whitening: components have unit variance
    output_mean: np.ndarray  # (K * J * 3,) of the future keypoints in the own frame [m]
    output_basis: np.ndarray  # (K * J * 3, E), scaled by the components' standard deviations
    linear: np.ndarray  # (E, D) least-squares part
    network: Ensemble  # D -> E + K * G: what the linear part misses, and the log of the expected error [m]
    factor: np.ndarray  # (K, G) conformal: bound = factor * expected error
    unusual: np.ndarray  # (2,) largest residual [m] and component of readings like those it was trained on

    def predict(self, history: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Keypoints (n, K, J, 3) [m] at STEPS, expected error (n, K, J) [m], and whether to trust them (n,).

        history (n, HISTORY, J, 3) world, 10 Hz, the newest last.
        """
        n = len(history)
        rotation, origin = to_own_frame(history)
        x = in_own_frame(history, rotation, origin) - self.input_mean
        z = x @ self.input_basis
        out = self.network(z.astype(np.float32))
        components = self.output_basis.shape[1]
        mean = out[..., :components].mean(axis=0) + z @ self.linear.T
        own = (mean @ self.output_basis.T + self.output_mean).reshape(n, len(STEPS), len(KEYPOINTS), 3)
        scale = np.exp(out[..., components:].mean(axis=0)).reshape(n, len(STEPS), len(PARTS))[..., KEYPOINT_PART]
        keypoints = origin[:, None, None] + own @ rotation.transpose(0, 2, 1)[:, None]
        return keypoints, scale, self.usual(x, z)

    def usual(self, x: np.ndarray, z: np.ndarray) -> np.ndarray:
        """Whether centred readings x (n, T * J * 3) with components z (n, D) look like those trained on, (n,)."""
        residual, largest = self.novelty(x, z)
        return (residual <= self.unusual[0]) & (largest <= self.unusual[1])

    def strangeness(self, history: np.ndarray) -> np.ndarray:
        """How unlike those trained on the readings (n, HISTORY, J, 3) are, (n,); above 1 they are not trusted."""
        x = in_own_frame(history, *to_own_frame(history)) - self.input_mean
        residual, largest = self.novelty(x, x @ self.input_basis)
        return np.asarray(np.maximum(residual / self.unusual[0], largest / self.unusual[1]))

    def novelty(self, x: np.ndarray, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Root mean square of what the components miss [m], and the largest component, (n,) each."""
        missed = x - (z / self._norms) @ self.input_basis.T
        return np.sqrt(np.mean(missed**2, axis=1)), np.max(np.abs(z), axis=1)

    @cached_property
    def _norms(self) -> np.ndarray:
        """Squared lengths (D,) of the columns of the input basis: whitening makes them orthogonal, not unit."""
        return np.asarray(np.sum(self.input_basis**2, axis=0))

    def predict_person(
        self, person: PersonState, elapsed: np.ndarray, keypoint_speed: np.ndarray, human_error: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """Keypoints (T, J, 3) and bounds (T, J) [m] at `elapsed` (T,) [s] after the newest reading.

        keypoint_speed (4,) [m/s] by body part and human_error [m] say how far from its reading a keypoint can be at
        all. No bound exceeds that; a person unlike those trained on gets it, around the newest reading.
        """
        speed = keypoint_speed[KEYPOINT_PART]
        worst = human_error + elapsed[:, None] * speed
        keypoints, scale, usual = self.predict(person.history[None])
        reading = person.keypoints
        if not usual[0]:
            return np.broadcast_to(reading, (len(elapsed), *reading.shape)).copy(), worst
        # Linear between the steps, from the reading itself on. Past the last step the prediction holds, and the bound
        # grows with the assumed speed.
        times = np.concatenate([[0.0], STEPS])
        k = np.clip(np.searchsorted(times, elapsed, side="right") - 1, 0, len(times) - 2)
        share = np.clip((elapsed - times[k]) / (times[k + 1] - times[k]), 0.0, 1.0)[:, None]
        path = np.concatenate([reading[None], keypoints[0]])
        bound = self.factor[:, KEYPOINT_PART] * scale[0]
        radius = np.concatenate([np.full((1, len(speed)), human_error), bound])
        radius = np.maximum.accumulate(radius, axis=0)  # the sensor's error is the least
        mean = path[k] + share[..., None] * (path[k + 1] - path[k])
        grown = radius[k] + share * (radius[k + 1] - radius[k])
        grown = grown + np.maximum(elapsed - STEPS[-1], 0.0)[:, None] * speed
        # The truth is within `worst` of the reading. A prediction beyond that would promise the impossible.
        away = mean - reading
        length = np.linalg.norm(away, axis=-1)
        mean = reading + away * np.minimum(1.0, worst / np.maximum(length, 1e-9))[..., None]
        return mean, np.minimum(grown, worst)
