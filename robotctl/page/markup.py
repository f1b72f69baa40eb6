"""Writes HTML and SVG so that no text can become markup: whatever is not `Markup` already is escaped."""

from __future__ import annotations

import html
from typing import Any

LONGEST = 2000  # characters of one text


class Markup(str):
    """Text that is markup, made by `tag` or `join`."""

    __slots__ = ()


def escaped(value: Any) -> Markup:
    """The value as text that is safe inside an element and inside a quoted attribute."""
    if isinstance(value, Markup):
        return value
    text = str(value)
    text = text if len(text) <= LONGEST else text[:LONGEST] + "…"
    # Half of a surrogate pair has no UTF-8, and control characters have no place in HTML.
    text = "".join(c if c.isprintable() or c in "\n\t\xa0" else "\ufffd" for c in text)
    return Markup(html.escape(text, quote=True))


def join(*children: Any) -> Markup:
    """Children one after the other; None is left out."""
    return Markup("".join(escaped(child) for child in children if child is not None))


def tag(_name: str, *children: Any, **attributes: Any) -> Markup:
    """An element. In names of attributes `_` stands for `-`, and a last one is dropped (`class_`); None leaves out."""
    words = [_name]
    for key, value in attributes.items():
        if value is not None:
            shown = f"{value:.6g}" if isinstance(value, float) else escaped(value)
            words.append(f'{key.rstrip("_").replace("_", "-")}="{shown}"')
    return Markup(f"<{' '.join(words)}>{join(*children)}</{_name}>")
