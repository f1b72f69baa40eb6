"""This file turns text with a unit ("40 mm", "0.3 -0.6 0.75 m") into SI numbers.

`pint` knows the units; it takes a quarter of a second to import, so it is loaded with the first value.
Angles are a dimension of their own here: "5 rad/s" is no frequency, and "0.3" is no angle.
"""

from __future__ import annotations

import functools
import math
import re
from typing import Any

from robotctl.errors import nearest

UNITS = (
    "m", "cm", "mm", "km", "s", "ms", "us", "min", "h", "g", "kg", "rad", "mrad", "deg", "N", "kN", "Hz",
)  # fmt: skip
_DEFINITIONS = (
    "milli- = 1e-3 = m-", "micro- = 1e-6 = u-", "centi- = 1e-2 = c-", "kilo- = 1e3 = k-",
    "meter = [length] = m", "second = [time] = s", "gram = [mass] = g", "radian = [angle] = rad",
    f"degree = {math.pi!r} / 180 * radian = deg", "minute = 60 * second = min", "hour = 3600 * second = h",
    "newton = kilogram * meter / second ** 2 = N", "hertz = 1 / second = Hz",
)  # fmt: skip

_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d{1,3})?"
_TEXT = re.compile(rf"\s*(?P<numbers>{_NUMBER}(?:\s+{_NUMBER})*)(?P<unit>.*)", re.DOTALL)
_UNIT = re.compile(r"(?:1\s*/\s*)?[a-zA-Z]+(?:\^-?[1-4])?(?:\s*[/*\s]\s*[a-zA-Z]+(?:\^-?[1-4])?){0,3}")
_EXAMPLE = {"m": "40 mm", "s": "50 ms", "rad": "20 deg", "m/s": "1.6 m/s", "1/s": "1.5 1/s", "kg": "300 g", "N": "35 N"}


@functools.cache
def _registry() -> Any:
    import pint

    registry: Any = pint.UnitRegistry(None)
    for definition in _DEFINITIONS:
        registry.define(definition)
    return registry


@functools.lru_cache(maxsize=256)
def factor(unit: str, canonical: str) -> float:
    """How many `canonical` units one `unit` is; ValueError if it is unknown or measures something else."""
    if not _UNIT.fullmatch(unit):
        raise ValueError(f"'{unit}' is not a unit{nearest(unit, UNITS)}")
    for word in re.findall(r"[a-zA-Z]+", unit):
        if word not in UNITS:
            raise ValueError(f"unknown unit '{word}'{nearest(word, _alternatives(word, unit, canonical))}")
    registry = _registry()
    given, wanted = registry.parse_units(unit), registry.parse_units(canonical)
    if given.dimensionality != wanted.dimensionality:
        raise ValueError(f"'{unit}' does not measure what is asked for here: give it in {canonical}")
    return float(registry.Quantity(1.0, given).to(wanted).magnitude)


def _alternatives(word: str, unit: str, canonical: str) -> list[str]:
    """Units to suggest for a misspelt one: where it stands alone, only those that measure the right thing."""
    registry = _registry()
    wanted = registry.parse_units(canonical).dimensionality
    fitting = [known for known in UNITS if registry.parse_units(known).dimensionality == wanted]
    return fitting if fitting and word == unit else list(UNITS)


def parse_vector(text: object, canonical: str, count: int) -> tuple[float, ...]:
    """`count` numbers followed by one unit, in `canonical` units; ValueError says what is wrong."""
    example = _EXAMPLE.get(canonical, f"1 {canonical}") if count == 1 else " ".join(["0.5"] * count) + f" {canonical}"
    if isinstance(text, bool) or not isinstance(text, (str, int, float)):
        raise ValueError(f"expected a text with a unit such as '{example}'")
    match = _TEXT.fullmatch(str(text))
    if match is None:
        raise ValueError(f"'{str(text)[:40]}' is not {_numbers(count)} with a unit such as '{example}'")
    numbers, unit = match["numbers"].split(), match["unit"].strip()
    # "1.5 1/s": the 1 of the unit looks like one more number.
    if unit.startswith("/") and len(numbers) == count + 1 and numbers[-1] == "1":
        numbers, unit = numbers[:-1], "1" + unit
    if not unit:
        raise ValueError(f"'{str(text)[:40]}' has no unit; write it like '{example}'")
    if len(numbers) != count:
        raise ValueError(f"expected {_numbers(count)} with a unit such as '{example}', got {len(numbers)}")
    scale = factor(unit, canonical)
    values = tuple(float(number) * scale for number in numbers)
    if not all(math.isfinite(value) for value in values):
        raise ValueError("numbers must be finite")
    return values


def _numbers(count: int) -> str:
    return "one number" if count == 1 else f"{count} numbers"
