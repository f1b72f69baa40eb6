"""The pieces that plots are drawn from: axes, words, levels, legends, as SVG."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from robotctl.page.markup import Markup, join, tag

# Told apart by people with any colour vision: Okabe and Ito 2008, "Color universal design". Dashes help, too.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#9a6b00", "#4a9fd0", "#555555")
DASHES = ("", "6 4", "2 3", "8 3 2 3", "4 2", "1 2", "10 4")
WIDTH = 680.0  # of a plot, in its own units


@dataclass(frozen=True)
class Level:
    """What values are held against: a line at a value, or a band."""

    low: float
    high: float
    name: str


@dataclass(frozen=True)
class Key:
    """An entry of a legend."""

    name: str
    colour: str
    dashes: str = ""
    dot: bool = False  # a dot stands for it, not a line


def ticks(low: float, high: float, most: int = 8) -> list[float]:
    """Round numbers from low to high: 1, 2 or 5 times a power of ten apart."""
    span = max(high - low, 1e-12)
    power = 10.0 ** math.floor(math.log10(span / most))
    step = next(k * power for k in (1.0, 2.0, 5.0, 10.0, 20.0) if span / (k * power) <= most)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [k * step for k in range(first, min(last, first + 2 * most) + 1)]


def label(value: float) -> str:
    return f"{value:.10g}" if abs(value) < 1e-12 or 1e-3 <= abs(value) < 1e5 else f"{value:.3g}"


def scale(low: float, high: float, begin: float, end: float, log: bool = False) -> Callable[[float], float]:
    """Position in the picture of a value."""
    if log:
        low, high = math.log(low), math.log(high)
    gain = (end - begin) / max(high - low, 1e-12)

    def place(value: float) -> float:
        shown = math.log(value) if log else value
        return begin + gain * (min(max(shown, low), high) - low)

    return place


def picture(parts: Sequence[Markup], height: float) -> Markup:
    return tag("svg", *parts, viewBox=f"0 0 {WIDTH:.0f} {height:.0f}", role="img", class_="plot")


def line(x1: float, y1: float, x2: float, y2: float, kind: str) -> Markup:
    return tag("line", x1=x1, y1=y1, x2=x2, y2=y2, class_=kind)


def words(x: float, y: float, text: str, anchor: str, kind: str = "tick", transform: str | None = None) -> Markup:
    return tag("text", text, x=x, y=y, text_anchor=anchor, class_=kind, transform=transform)


def short(name: str, most: int = 24) -> str:
    """A name that fits beside a plot."""
    return name if len(name) <= most else name[: most - 1] + "…"


def level_mark(
    level: Level, begin: float, end: float, place: Callable[[float], float], upright: bool = False
) -> Markup:
    low, high = sorted((place(level.low), place(level.high)))
    if high - low < 1.0:
        ends = (low, begin, low, end) if upright else (begin, low, end, low)
        return line(*ends, "level")
    box = (low, begin, high - low, end - begin) if upright else (begin, low, end - begin, high - low)
    return tag("rect", x=box[0], y=box[1], width=box[2], height=box[3], class_="band")


def legend(entries: Sequence[Key], levels: Sequence[Level], x: float, y: float) -> Markup:
    parts = []
    for key in entries:
        if key.dot:
            parts.append(tag("circle", cx=x + 12, cy=y, r=4.0, fill=key.colour))
        else:
            drawn = {"stroke": key.colour, "stroke_width": 2.0, "stroke_dasharray": key.dashes or None}
            parts.append(tag("line", x1=x, y1=y, x2=x + 24, y2=y, **drawn))
        parts.append(words(x + 30, y + 4, short(key.name), "start"))
        y += 20.0
    for level in levels:
        if level.high > level.low:
            parts.append(tag("rect", x=x, y=y - 6, width=24.0, height=12.0, class_="band"))
        else:
            parts.append(line(x, y, x + 24, y, "level"))
        parts.append(words(x + 30, y + 4, short(level.name), "start"))
        y += 20.0
    return join(*parts)
