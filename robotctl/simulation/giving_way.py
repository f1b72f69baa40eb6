"""What people do who run into the robot: they stop, step back the way they came, wait, and try again.

People follow their plans on rails, without mass: nothing in the engine stops them. Somebody who walked on against a
robot that stands in the way would push it aside with any force.
"""

from __future__ import annotations

import numpy as np

BUMP = 0.005  # pressed in so deep, it is felt [m]
BACKWARDS = 0.5  # pace of stepping back, as a share of the pace that led there
RETREAT = 1.5  # stepping back [s]
WAIT = 3.0  # until the next attempt [s]


class Clocks:
    """How far each of n people is behind their plan [s]."""

    def __init__(self, n: int, step: float) -> None:
        """step: of the engine [s]."""
        self._step = step
        self._behind = np.zeros(n)  # exactly 0 for somebody whom nothing has stopped
        self._since = np.full(n, np.inf)  # the last bump [s]

    def ahead(self, times: np.ndarray) -> np.ndarray:
        """Where everybody will be in their plans at `times` (K,) [s], those of the coming steps, (K, n)."""
        lost = self._lost(self._since + self._step * np.arange(len(times))[:, None])
        return times[:, None] - (self._behind + np.cumsum(lost, axis=0))

    def advance(self, bumped: np.ndarray) -> bool:
        """After a step, with who was bumped into in it (n,) bool: whether anybody will now move otherwise than told."""
        self._behind += self._lost(self._since)
        otherwise = bool((bumped & (self._since > 0.0)).any())
        self._since = np.where(bumped, 0.0, self._since + self._step)
        return otherwise

    def _lost(self, since: np.ndarray) -> np.ndarray:
        """What a step costs of a plan's time, by the time since the last bump [s]."""
        pace = np.where(since < RETREAT, -BACKWARDS, np.where(since < RETREAT + WAIT, 0.0, 1.0))
        return (1.0 - pace) * self._step
