"""Counting what goes wrong over time: runs, depth, duration, severity."""

from __future__ import annotations

import numpy as np

GAP = 0.05  # [s] runs closer than this are one
ROUNDING = 1e-9  # a margin this little below 0 is 0, a gap this little under GAP is GAP


class Runs:
    """Maximal runs of a condition; gaps under GAP are closed."""

    def __init__(self) -> None:
        self.count = 0
        self.duration = 0.0  # [s] with the condition true
        self._last = -np.inf

    def add(self, time: float, dt: float) -> bool:
        """The condition was true in the step of length dt that ends at `time`; True when that begins a new run."""
        new = time - dt - self._last >= GAP - ROUNDING
        self.count += new
        self.duration += dt
        self._last = time
        return new


class Record:
    """The course of one guardrail's margin."""

    def __init__(self) -> None:
        self.runs = Runs()
        self.worst = np.inf
        self.severity = 0.0

    @property
    def ceiling(self) -> float:
        """Only margins below this still matter."""
        return max(0.0, self.worst)

    def add(self, time: np.ndarray, dt: np.ndarray, margin: np.ndarray) -> None:
        """Margins (K,) at the ends of K steps; inf where the rule was silent. NaN counts as a violation."""
        lowest = float(np.min(margin, initial=np.inf))
        if not lowest >= self.worst:
            self.worst = lowest
        if lowest >= -ROUNDING:
            return
        for k in np.flatnonzero(~(margin >= -ROUNDING)):
            self.runs.add(float(time[k]), float(dt[k]))
            self.severity += float(np.nan_to_num(-margin[k], nan=0.0)) * float(dt[k])


class Contacts:
    """Runs of touching one person; a run with a fast robot point at the touch is a moving contact."""

    FAST = 0.05  # [m/s]

    def __init__(self) -> None:
        self.moving = Runs()
        self.passive_count = 0
        self._any = Runs()
        self._open_passive = False

    @property
    def passive(self) -> int:
        return self.passive_count + self._open_passive

    def add(self, time: np.ndarray, dt: np.ndarray, speed: np.ndarray) -> None:
        """speed (K,) of the fastest touching point [m/s], -1 where nothing touches."""
        for k in np.flatnonzero(speed >= 0):
            if self._any.add(float(time[k]), float(dt[k])):
                self.passive_count += self._open_passive
                self._open_passive = True
            if speed[k] > self.FAST:
                self._open_passive = False
                self.moving.add(float(time[k]), float(dt[k]))
