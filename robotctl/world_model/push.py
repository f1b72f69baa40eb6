"""A straight push with the closed hand: where it starts, which way it goes, and where the hand is when."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from robotctl.geometry import namespace

STEP = 0.1  # of the contact model [s]
ACCELERATION = 0.5  # of the hand at both ends of a push [m/s^2]
REST = 0.6  # what slides on comes to rest within [s]


def hand_down(heading: float) -> np.ndarray:
    """World from hand for a hand that points down, its x axis at `heading`, (3, 3)."""
    c, s = np.cos(heading), np.sin(heading)
    return np.array([[c, s, 0.0], [s, -c, 0.0], [0.0, 0.0, -1.0]])


def turn(angle: Any, vector: Any) -> Any:
    """Vectors (..., 2) turned by angles (...)."""
    xp = namespace(vector)
    c, s = xp.cos(angle), xp.sin(angle)
    return xp.stack([c * vector[..., 0] - s * vector[..., 1], s * vector[..., 0] + c * vector[..., 1]], axis=-1)


@dataclass(frozen=True)
class Push:
    """A straight push of an object, in the frame of its pose: where the hand starts, which way it goes and how far."""

    start: np.ndarray  # (2,) of the hand [m]
    direction: float  # of the motion [rad]
    heading: float  # of the hand's x axis [rad]
    length: float  # [m]
    speed: float  # [m/s]

    @property
    def duration(self) -> float:
        """Time from rest to rest [s]."""
        top = self._top
        return self.length / top + top / ACCELERATION

    @property
    def _top(self) -> float:
        return min(self.speed, float(np.sqrt(self.length * ACCELERATION)))

    def travel(self, time: np.ndarray) -> np.ndarray:
        """Way made at times (n,) [s]: a trapezoid of speed, a triangle where the push is short, (n,) [m]."""
        top = self._top
        ramp, total = top / ACCELERATION, self.duration
        t = np.clip(time, 0.0, total)
        down = np.maximum(t - (total - ramp), 0.0)
        even = top * np.clip(t - ramp, 0.0, None)
        return 0.5 * ACCELERATION * np.minimum(t, ramp) ** 2 + even - 0.5 * ACCELERATION * down**2

    def hand(self, thing: np.ndarray, way: float | np.ndarray) -> np.ndarray:
        """Pose x y yaw of the hand after some of its way, (..., 3), the object having been at `thing` (3,)."""
        along = thing[2] + self.direction
        start = thing[:2] + turn(np.array(thing[2]), self.start)
        position = start + np.asarray(way)[..., None] * np.array([np.cos(along), np.sin(along)])
        heading = np.full((*position.shape[:-1], 1), thing[2] + self.heading)
        return np.concatenate([position, heading], axis=-1)

    def hands(self, thing: np.ndarray, late: float = 0.0, rest: float = REST) -> np.ndarray:
        """Poses of the hand every STEP, (T+1, 3), a little `late` on its reference as arms are [s]."""
        steps = int(np.ceil((self.duration + rest) / STEP))
        return self.hand(thing, self.travel(STEP * np.arange(steps + 1) - late))
