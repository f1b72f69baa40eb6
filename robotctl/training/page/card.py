"""Reads a model card that may be old, cut short or hostile: what is missing or odd is None or empty, never an error."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

MOST = 400  # entries of one list or object that are read
LARGEST = 1e12  # numbers beyond are taken for damage


def number(value: Any) -> float | None:
    """A finite number of ordinary size, or None."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value) if abs(value) <= LARGEST and math.isfinite(value) else None


@dataclass(frozen=True)
class Notes:
    """One object of a card."""

    content: Mapping[str, Any]

    @classmethod
    def of(cls, value: Any) -> Notes:
        return cls(value if isinstance(value, Mapping) else {})

    def __bool__(self) -> bool:
        return bool(self.content)

    def __getitem__(self, key: str) -> Notes:
        """The object under a key; empty if there is none."""
        return Notes.of(self.content.get(key))

    def number(self, key: str) -> float | None:
        return number(self.content.get(key))

    def numbers(self, key: str) -> list[float | None]:
        return [number(value) for value in self._list(key)]

    def text(self, key: str) -> str:
        """Words or a number; empty if there are none."""
        value = self.content.get(key)
        return str(value) if isinstance(value, (str, int, float)) else ""

    def objects(self, key: str) -> list[Notes]:
        """The objects of a list."""
        return [Notes(value) for value in self._list(key) if isinstance(value, Mapping)]

    def items(self) -> list[tuple[str, Notes]]:
        """Names and objects, without what is no object."""
        return [(key, Notes(value)) for key, value in self._entries() if isinstance(value, Mapping)]

    def series(self) -> dict[str, list[float | None]]:
        """Lists of numbers by name, a single number being a list of one."""
        out = {}
        for key, value in self._entries():
            if isinstance(value, list):
                out[key] = [number(v) for v in value[:MOST]]
            elif number(value) is not None:
                out[key] = [number(value)]
        return out

    def _entries(self) -> list[tuple[str, Any]]:
        return [(str(key), value) for key, value in list(self.content.items())[:MOST]]

    def _list(self, key: str) -> list[Any]:
        value = self.content.get(key)
        return value[:MOST] if isinstance(value, list) else []


def at(values: list[float | None], index: int | None) -> float | None:
    """The value at an index, None beyond the end."""
    return values[index] if index is not None and index < len(values) else None
