"""Figures and tables that several parts share: errors by horizon, coverage, learning curves."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from robotctl.page.document import figure, table
from robotctl.page.markup import Markup, join, tag
from robotctl.page.plots import Bar, Series, bar_plot, line_plot
from robotctl.page.svg import Level
from robotctl.training.page.card import Notes, at
from robotctl.training.page.sentences import WANTED, Value, count, words


def errors_by_horizon(part: Notes, curves: dict[str, list[Value]], caption: str) -> Markup:
    """Errors by horizon as a plot and as a table in which the least is bold, the learned ones first."""
    horizon, unit = part.numbers("horizon_s"), part.text("unit")
    shown = [Series(words(name), horizon, values) for name, values in curves.items()]
    wanted = [i for i, h in enumerate(horizon) if h in (0.1, 0.5, 1.0, 2.0, 3.0)] or [
        i for i, h in enumerate(horizon) if h is not None
    ][:6]
    least = {i: min((v for c in curves.values() if (v := at(c, i)) is not None), default=None) for i in wanted}

    def marked(values: list[Value], i: int) -> Any:
        value = at(values, i)
        return tag("b", cell(value)) if value is not None and value == least[i] else cell(value)

    rows = [[words(name), *(marked(values, i) for i in wanted)] for name, values in curves.items()]
    head = [f"[{unit}]", *(f"{horizon[i]:g} s" for i in wanted)]
    plot = line_plot(shown, "seconds ahead", f"mean error [{unit}]")
    return join(figure(plot, caption), table(head, rows if wanted else []))


def cell(value: Value) -> str:
    return "-" if value is None else f"{value:.3g}" if abs(value) < 1e4 else f"{value:.2g}"


def levels(nominal: Value) -> list[Level]:
    if nominal is None:
        return []
    low, high = nominal + WANTED[0], min(nominal + WANTED[1], 1.0)
    return [Level(low, high, f"wanted: {low:.2f} to {high:.2f}"), Level(nominal, nominal, f"declared: {nominal:.2f}")]


def coverage_plot(bars: Sequence[Bar], nominal: Value, caption: str, names: Sequence[str] = ()) -> Markup | None:
    """Shares of cases in which bounds held, beside what is declared."""
    if sum(bar.value is not None for bar in bars) < 2:
        return None  # the text says it
    least = min((v for bar in bars for v in (bar.value, bar.low) if v is not None), default=0.0)
    low = max(0.0, min(0.7, math.floor(10.0 * least - 0.5) / 10.0))
    plot = bar_plot(
        bars, "share of cases in which the bound held", x_range=(low, 1.0), levels=levels(nominal), dots=True,
        names=names,
    )  # fmt: skip
    return figure(plot, caption)


def wilson(share: Value, n: Value) -> tuple[Value, Value]:
    """95 % interval of a probability of which `share` of n trials was seen (Wilson 1927)."""
    if share is None or n is None or n < 1.0 or not 0.0 <= share <= 1.0:
        return None, None
    z = 1.96
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return max(0.0, middle - half), min(1.0, middle + half)


def learning_curve(part: Notes, what: str) -> Markup | None:
    """Test error by how much was learned from."""
    curve = part["learning_curve"]
    n, error = curve.numbers("n"), curve.numbers("error")
    if not curve or not n:
        return None
    unit, of = curve.text("unit") or part.text("unit"), curve.text("of") or "cases"
    spread = curve.numbers("standard_error")
    ends = [
        [e + sign * 1.96 * s if e is not None and s is not None else None for e, s in zip(error, spread, strict=False)]
        for sign in (-1, 1)
    ]
    others = {"unseen kinds": curve.numbers("unseen_kinds"), **curve["baselines"].series()}
    series = [Series("learned", n, error, ends[0], ends[1])]
    series += [Series(words(name), n, values) for name, values in others.items() if values]
    steps = curve.number("steps")
    length = "" if steps is None else f" Every fit has {count(steps)} steps; the model itself may have more."
    caption = (
        f"Learning curve: {what} by how many {of} were learned from, on {of} that no fit has seen; lines are 95\xa0% "
        f"intervals.{length}"
    )
    if len(error) > 1 and (first := error[0]) and (last := error[-1]) is not None and n[0] is not None:
        change = 1.0 - last / first
        trend = f"{100 * abs(change):.0f}\xa0% {'less' if change >= 0 else 'more'}"
        caption += f" With all of them the error is {trend} than with {count(n[0])}."
    label = f"error [{unit}]" if unit != "Brier score" else unit
    return figure(line_plot(series, f"{of} learned from (logarithmic)", label, log_x=True), caption)
