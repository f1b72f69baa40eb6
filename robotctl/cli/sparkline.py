"""This file turns numbers into small pictures made of block characters."""

from __future__ import annotations

import math
from collections.abc import Sequence

BLOCKS = "▁▂▃▄▅▆▇█"
EIGHTHS = " ▏▎▍▌▋▊▉█"
GAP = "·"  # nothing known, or nothing near


def sparkline(
    values: Sequence[float], width: int, low: float | None = None, high: float | None = None, pick: str = "min"
) -> str:
    """A curve of `width` characters. Each shows the smallest (or largest) of the values that fall on it.

    A value that is not finite leaves a dot. low, high: what the bottom and the top mean; None: the data's own.
    """
    columns = resample(values, width, pick)
    finite = [v for v in columns if math.isfinite(v)]
    bottom = low if low is not None else min(finite, default=0.0)
    top = high if high is not None else max(finite, default=1.0)
    span = (top - bottom) or 1.0
    out = []
    for value in columns:
        if not math.isfinite(value):
            out.append(GAP)
        else:
            level = min(1.0, max(0.0, (value - bottom) / span))
            out.append(BLOCKS[min(len(BLOCKS) - 1, int(level * len(BLOCKS)))])
    return "".join(out)


def resample(values: Sequence[float], width: int, pick: str = "min") -> list[float]:
    """At most `width` numbers: of each stretch of values the smallest or largest finite one."""
    if len(values) <= width:
        return list(values)
    choose = min if pick == "min" else max
    out = []
    for i in range(width):
        part = values[i * len(values) // width : max((i + 1) * len(values) // width, i * len(values) // width + 1)]
        finite = [v for v in part if math.isfinite(v)]
        out.append(choose(finite) if finite else math.inf)
    return out


def bar(share: float, width: int) -> str:
    """A horizontal bar of up to `width` characters, to an eighth of a character."""
    if not math.isfinite(share):
        share = 1.0 if share > 0 else 0.0
    eighths = round(min(1.0, max(0.0, share)) * width * 8)
    return "█" * (eighths // 8) + (EIGHTHS[eighths % 8] if eighths % 8 else "")
