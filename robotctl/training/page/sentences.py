"""Puts figures into words: numbers with units, comparisons with guesses, how well bounds held."""

from __future__ import annotations

from typing import Any

from robotctl.page.markup import tag
from robotctl.training.page.card import Notes, at

WANTED = (-0.02, 0.03)  # coverage may be that much off what is declared: neither too bold nor too wide
WORDS = {
    "static": "stays put",
    "nothing_moves": "nothing moves",
    "constant_velocity": "goes on as before",
    "integrator": "follows exactly",
    "pure_latency": "25 ms late",
    "base_rate": "rate of all attempts",
    "rate_by_kind": "rate of its kind",
    "disc": "pushed disc",
    "quasi_static": "quasi-static push",
    "quasi_static_found": "with the friction found",
    "as_used": "as used",
    "learned": "learned",
}
Value = float | None


def said(value: Value, unit: str) -> str:
    """A number with its unit, at a precision that can be read."""
    if value is None:
        return "not known"
    if unit == "m" and abs(value) < 1.0:
        return f"{1e3 * value:.0f}\xa0mm"
    digits = 3 if abs(value) < 1.0 else 2 if abs(value) < 10.0 else 0
    return f"{value:.{digits}f}\xa0{unit}" if unit else f"{value:.{digits}f}"


def percent(value: Value, digits: int = 1) -> str:
    return "not known" if value is None else f"{100 * value:.{digits}f}\xa0%"


def count(value: Value) -> str:
    return "?" if value is None else f"{value:,.0f}"


def words(name: str) -> str:
    return WORDS.get(name, name.replace("_", " "))


def best_of(baselines: dict[str, list[Value]], index: int | None) -> tuple[str, Value]:
    """The baseline with the least error at an index of the horizon."""
    known = [(value, name) for name, values in baselines.items() if (value := at(values, index)) is not None]
    return (min(known)[1], min(known)[0]) if known else ("", None)


def compared(error: Value, name: str, baseline: Value, unit: str) -> str:
    """One sentence on a learned error beside the best baseline's."""
    if error is None or baseline is None or baseline <= 0.0:
        return ""
    guess = f"the best guess without learning (“{words(name)}”)"
    share = 1.0 - error / baseline
    if share >= 0.005:
        return f"That is {100 * share:.0f}\xa0% less than {guess}, which has {said(baseline, unit)}."
    if share > -0.005:
        return f"That is no better than {guess}."
    return f"That is worse than {guess}, which has {said(baseline, unit)}: learning does not pay here yet."


def horizon(part: Notes, wanted: float) -> tuple[int | None, str]:
    """Index and name of the horizon nearest to `wanted` seconds."""
    known = [(abs(h - wanted), i, h) for i, h in enumerate(part.numbers("horizon_s")) if h is not None]
    if not known:
        return None, ""
    _, index, seconds = min(known)
    return index, f"{seconds:g}\xa0s ahead"


def kept(measured: Value, nominal: Value) -> str:
    """The measured coverage, and how it compares with the declared one."""
    if measured is None or nominal is None:
        return percent(measured)
    low, high = nominal + WANTED[0] - 1e-9, nominal + WANTED[1] + 1e-9
    if measured < low:
        return f"{percent(measured)}, fewer than declared: the bounds are too narrow"
    if measured > high:
        return f"{percent(measured)}, more than declared: the bounds are wider than they need be"
    return f"{percent(measured)}, as declared"


def bounds(measured: Value, nominal: Value) -> Any:
    """The measured coverage and the declared one, marked where the bounds are too narrow."""
    shown = "-" if measured is None else f"{percent(measured)} ({percent(nominal, 0)})"
    narrow = measured is not None and nominal is not None and measured < nominal + WANTED[0] - 1e-9
    return tag("span", shown, class_="bad") if narrow else shown


def guess(name: str, value: Value, unit: str) -> str:
    return "-" if value is None else f"{said(value, unit)} ({words(name)})"


def better(error: Value, best: Value) -> bool | None:
    return None if error is None or best is None else error < best
