"""One tick of ground truth as the oracle sees it: where every body is and was a step ago, and what is held."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from oracle.geometry import near_people
from oracle.shapes import Solid
from robotctl.body import CAPSULE_A, CAPSULE_B, CAPSULE_RADIUS

FAR = 1e3  # [m] where nobody is


@dataclass
class Moment:
    """K physics steps."""

    dt: np.ndarray  # (K,) [s] since the step before
    q: np.ndarray  # (K, 10)
    q_before: np.ndarray  # (K, 10) a step earlier
    now: Mapping[str, np.ndarray]  # body -> poses (K, 4, 4)
    before: Mapping[str, np.ndarray]  # body -> poses (K, 4, 4) a step earlier
    solids: Mapping[str, Solid]  # body -> its shape
    blades: Mapping[str, np.ndarray]  # body -> (n, 4) balls of its sharp edge
    held: str | None  # the body that is held
    labels: frozenset[str]  # its labels
    keypoints: np.ndarray  # (K, P, J, 3)
    _near: dict[tuple[str, int], tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)
    _speed: dict[str, np.ndarray] = field(default_factory=dict)
    _gaps: dict[str, np.ndarray] = field(default_factory=dict)

    def corner_speed(self, body: str) -> np.ndarray:
        """Speed (K,) of the fastest corner of a body [m/s]."""
        if body not in self._speed:
            pose = self.now[body] - self.before[body]
            moved = pose[:, :3, :3] @ self.solids[body].corners.T + pose[:, :3, 3:]
            self._speed[body] = np.sqrt((moved**2).sum(axis=1).max(axis=1)) / self.dt
        return self._speed[body]

    def ball(self, body: str) -> tuple[np.ndarray, float]:
        """Centre (K, 3) and radius of a ball around a body."""
        solid = self.solids[body]
        return self.now[body][:, :3, :3] @ solid.center + self.now[body][:, :3, 3], solid.radius

    def at_least(self, body: str) -> np.ndarray:
        """What no point of a body is nearer to any person than, (K,) [m]."""
        if self.keypoints.shape[1] == 0:
            return np.full(len(self.dt), FAR)
        return self._ball_gaps(body).min(axis=(1, 2))

    def near(self, body: str, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Speeds (N,) of all points of a body at step k, and their distances (N, P) to every person."""
        if (body, k) not in self._near:
            persons = self.keypoints.shape[1]
            gaps, radius = self._ball_gaps(body)[k], self.solids[body].radius
            # No point of the ball is farther than gap + 2 radius from a capsule: those beyond that are never nearest.
            close = gaps <= gaps.min(axis=1, keepdims=True) + 2 * radius
            person = np.repeat(np.arange(persons), len(CAPSULE_RADIUS)).reshape(persons, -1)[close]
            points = self.keypoints[k]
            self._near[body, k] = near_people(
                self.now[body][k], self.before[body][k], self.dt[k], self.solids[body].points,
                points[:, CAPSULE_A][close], points[:, CAPSULE_B][close],
                np.tile(CAPSULE_RADIUS, (persons, 1))[close], person, persons,
            )  # fmt: skip
        return self._near[body, k]

    def _ball_gaps(self, body: str) -> np.ndarray:
        """From a body's ball to every capsule, (K, P, C) [m]."""
        if body not in self._gaps:
            center, radius = self.ball(body)
            a, b = self.keypoints[:, :, CAPSULE_A], self.keypoints[:, :, CAPSULE_B]
            axis = b - a
            w = center[:, None, None] - a
            along = np.clip((w * axis).sum(axis=-1) / np.maximum((axis**2).sum(axis=-1), 1e-12), 0.0, 1.0)
            self._gaps[body] = np.linalg.norm(w - along[..., None] * axis, axis=-1) - CAPSULE_RADIUS - radius
        return self._gaps[body]
