"""Draws curves and bars as inline SVG, small and without any library."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from robotctl.page.markup import Markup, tag
from robotctl.page.svg import (
    COLOURS,
    DASHES,
    WIDTH,
    Key,
    Level,
    label,
    legend,
    level_mark,
    line,
    picture,
    scale,
    short,
    ticks,
    words,
)

ROW = 23.0  # height of a bar with its name
Value = float | None


@dataclass(frozen=True)
class Series:
    """One curve; what is None is left out. low and high: ends of an interval around each value."""

    name: str
    x: Sequence[Value]
    y: Sequence[Value]
    low: Sequence[Value] = ()
    high: Sequence[Value] = ()
    notes: Sequence[str] = ()  # written beside the points
    joined: bool = True  # by a line

    def points(self) -> list[tuple[float, float, int]]:
        """x, y and index of the values that are known."""
        pairs = enumerate(zip(self.x, self.y, strict=False))
        return [(x, y, i) for i, (x, y) in pairs if x is not None and y is not None]


@dataclass(frozen=True)
class Bar:
    """One named value, with an interval, a reference value beside it and a few words."""

    name: str
    value: Value
    low: Value = None
    high: Value = None
    reference: Value = None
    note: str = ""
    group: int = 0  # chooses the colour


def _dashes(index: int) -> str:
    """A curve's dashes: another pattern with the same colour, the second time that colours go round."""
    return DASHES[(index + index // 7) % 7]


def line_plot(
    curves: Sequence[Series],
    x_label: str,
    y_label: str,
    *,
    log_x: bool = False,
    x_range: tuple[float, float] | None = None,
    y_range: tuple[float, float] | None = None,
    levels: Sequence[Level] = (),
    diagonal: bool = False,
    height: float = 300.0,
    right_margin: float = 180.0,
    keyed: bool = True,
) -> Markup | None:
    """Curves with axes and (keyed) a legend; None without any value. The y axis begins at 0 unless a range is given."""
    if log_x:
        positive = [[x if x is not None and x > 0 else None for x in c.x] for c in curves]
        curves = [
            Series(c.name, x, c.y, c.low, c.high, c.notes, c.joined) for c, x in zip(curves, positive, strict=True)
        ]
    known = [(curve, curve.points(), i) for i, curve in enumerate(curves)]
    known = [entry for entry in known if entry[1]]
    if not known:
        return None
    xs = sorted({x for _, points, _ in known for x, _, _ in points})
    tops = [y for _, points, _ in known for _, y, _ in points] + [level.high for level in levels]
    tops += [v for curve, _, _ in known for v in curve.high if v is not None]
    x_low, x_high = x_range or (xs[0] if log_x else min(xs[0], 0.0), xs[-1])
    if x_high <= x_low:
        x_low, x_high = (0.5 * x_low, 2.0 * x_low) if log_x else (x_low, x_low + 1.0)
    y_low, y_high = y_range or (min(0.0, *tops), 1.06 * max(*tops, 1e-9))
    left, right, top, bottom = 58.0, WIDTH - right_margin, 14.0, height - 44.0
    across, up = scale(x_low, x_high, left, right, log_x), scale(y_low, y_high, bottom, top)
    parts = [level_mark(level, left, right, up) for level in levels]
    for y in ticks(y_low, y_high):
        parts.append(line(left, up(y), right, up(y), "grid"))
        parts.append(words(left - 6, up(y) + 4, label(y), "end"))
    for x in xs if log_x and len(xs) <= 10 else ticks(x_low, x_high, 7):
        if not log_x or x > 0:
            parts.append(line(across(x), bottom, across(x), bottom + 4, "axis"))
            parts.append(words(across(x), bottom + 17, label(x), "middle"))
    parts.append(line(left, bottom, right, bottom, "axis"))
    parts.append(words((left + right) / 2, height - 8, x_label, "middle", "title"))
    parts.append(words(0, 0, y_label, "middle", "title", f"translate(12 {(top + bottom) / 2:.1f}) rotate(-90)"))
    if diagonal:
        parts.append(line(across(0.0), up(0.0), across(1.0), up(1.0), "level"))
    parts += [_curve(curve, points, i, across, up) for curve, points, i in reversed(known)]
    if keyed:
        entries = [Key(curve.name, COLOURS[i % 7], _dashes(i), not curve.joined) for curve, _, i in known]
        parts.append(legend(entries, levels, right + 16, top + 8))
    return picture(parts, height)


def _curve(
    curve: Series, points: list[tuple[float, float, int]], index: int, across: Callable[[float], float],
    up: Callable[[float], float],
) -> Markup:  # fmt: skip
    colour, parts = COLOURS[index % 7], []
    if curve.joined and len(points) > 1:
        path = " ".join(f"{across(x):.1f},{up(y):.1f}" for x, y, _ in points)
        wide = "2.4" if index == 0 else "1.6"
        parts.append(
            tag("polyline", points=path, fill="none", stroke=colour, stroke_width=wide,
                stroke_dasharray=_dashes(index) or None)
        )  # fmt: skip
    for x, y, i in points:
        low, high = (ends[i] if i < len(ends) else None for ends in (curve.low, curve.high))
        if low is not None and high is not None:
            parts.append(tag("line", x1=across(x), y1=up(low), x2=across(x), y2=up(high), stroke=colour))
        told = tag("title", f"{curve.name}: {label(y)} at {label(x)}")
        parts.append(tag("circle", told, cx=across(x), cy=up(y), r=3.2 if index == 0 else 2.4, fill=colour))
        if i < len(curve.notes):
            beside = up(y) + 13.0 if up(y) + 13.0 < up(0.0) else up(y) - 6.0  # not upon the axis
            parts.append(words(across(x) + 6, beside, curve.notes[i], "start", "note"))
    return tag("g", *parts)


def bar_plot(
    bars: Sequence[Bar],
    x_label: str,
    *,
    x_range: tuple[float, float] | None = None,
    levels: Sequence[Level] = (),
    dots: bool = False,
    names: Sequence[str] = (),
    reference: str = "",
) -> Markup | None:
    """Horizontal bars, or dots where the axis does not begin at 0; None without any value.

    names: what the groups (colours) mean. reference: what the short strokes mean.
    """
    values = [v for bar in bars for v in (bar.value, bar.high, bar.reference) if v is not None]
    values += [level.high for level in levels]
    if all(bar.value is None for bar in bars):
        return None
    low, high = x_range or (min(0.0, *values), 1.06 * max(*values, 1e-9))
    top = 6.0
    bottom = top + ROW * len(bars)
    noted = 58.0 if any(bar.note for bar in bars) else 0.0
    left, right = 170.0, WIDTH - 180.0 - noted
    across = scale(low, high, left, right)
    parts = [level_mark(level, top, bottom, across, upright=True) for level in levels]
    for x in ticks(low, high):
        parts.append(line(across(x), top, across(x), bottom, "grid"))
        parts.append(words(across(x), bottom + 15, label(x), "middle"))
    parts.append(words((left + right) / 2, bottom + 33, x_label, "middle", "title"))
    for i, bar in enumerate(bars):
        middle = top + ROW * (i + 0.5)
        parts.append(words(left - 8, middle + 4, short(bar.name), "end"))
        if bar.value is None:
            parts.append(words(left + 6, middle + 4, "not known", "start", "note"))
            continue
        colour, told = COLOURS[bar.group % 7], tag("title", f"{bar.name}: {label(bar.value)} {bar.note}")
        if dots:
            parts.append(tag("circle", told, cx=across(bar.value), cy=middle, r=5.0, fill=colour))
        else:
            begin, end = sorted((across(max(low, 0.0)), across(bar.value)))
            parts.append(tag("rect", told, x=begin, y=middle - 7, width=end - begin, height=14.0, fill=colour))
        if bar.low is not None and bar.high is not None:
            stroke = colour if dots else "#111"
            parts.append(tag("line", x1=across(bar.low), y1=middle, x2=across(bar.high), y2=middle, stroke=stroke))
        if bar.reference is not None:
            at = across(bar.reference)
            parts.append(tag("line", x1=at, y1=middle - 10, x2=at, y2=middle + 10, stroke="#111", stroke_width=2.0))
        parts.append(words(right + 10, middle + 4, bar.note, "start", "note"))
    entries = [Key(name, COLOURS[i % 7], dot=True) for i, name in enumerate(names)]
    entries += [Key(reference, "#111")] if reference else []
    parts.append(legend(entries, levels, right + noted + 16, top + 10))
    return picture(parts, max(bottom + 40, 20.0 * (len(entries) + len(levels)) + 20))
