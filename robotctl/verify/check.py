"""One assumption held against what was measured."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Check:
    """One row of the answer. `assumed` None: measured for information, nothing rests on it."""

    name: str
    condition: str
    assumed: float | None
    worst: float
    p50: float
    p99: float
    unit: str
    n: int  # values the figures are over: physics steps, points or readings
    of: str  # what n counts
    holds: bool
    motions: int | None = None
    note: str = ""

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def at_most(
    name: str,
    condition: str,
    assumed: float | None,
    values: np.ndarray,
    unit: str,
    of: str = "steps",
    motions: int | None = None,
    note: str = "",
) -> Check:
    """The check that no value is above what is assumed. NaN, and no value at all, are above."""
    worst, p50, p99, n = _figures(values)
    holds = assumed is None or worst <= assumed
    return Check(name, condition, assumed, worst, p50, p99, unit, n, of, holds, motions, note)


def at_least(
    name: str,
    condition: str,
    assumed: float | None,
    values: np.ndarray,
    unit: str,
    of: str = "steps",
    motions: int | None = None,
    note: str = "",
) -> Check:
    """The check that no value is below what is assumed; `p99` is then the 1st percentile."""
    worst, p50, p99, n = (-np.asarray(figure) for figure in _figures(-np.asarray(values, float)))
    holds = assumed is None or worst >= assumed
    return Check(
        name, condition, assumed, float(worst), float(p50), float(p99), unit, -int(n), of, bool(holds), motions, note
    )


def _figures(values: np.ndarray) -> tuple[float, float, float, int]:
    """Largest, median and 99th percentile, and how many."""
    values = np.asarray(values, float).ravel()
    if len(values) == 0:
        return np.nan, np.nan, np.nan, 0
    middle, high = (float(np.quantile(values, q, method="higher")) for q in (0.50, 0.99))
    return float(values.max()), middle, high, len(values)
