"""Puts elements together into one HTML page that stands alone and asks nothing of the network."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from robotctl.errors import UsageError
from robotctl.page.markup import Markup, join, tag

POLICY = "default-src 'none'; style-src 'unsafe-inline'"  # a browser fetches nothing, whatever a card contains
STYLE = """
:root { color-scheme: light; }
body { margin: 0; background: #fff; color: #1b1b1b; font: 16px/1.55 system-ui, "DejaVu Sans", sans-serif; }
main { max-width: 800px; margin: 0 auto; padding: 32px 20px 80px; }
h1 { font-size: 28px; line-height: 1.2; margin: 0 0 6px; overflow-wrap: anywhere; }
h2 { font-size: 22px; margin: 56px 0 4px; padding-top: 20px; border-top: 1px solid #ddd; overflow-wrap: anywhere; }
h3 { font-size: 17px; margin: 32px 0 4px; }
p { margin: 10px 0; overflow-wrap: anywhere; }
.scroll { overflow-x: auto; margin: 12px 0 20px; }
table { border-collapse: collapse; font-size: 14px; font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: 4px 12px 4px 0; border-bottom: 1px solid #eee; vertical-align: top; }
th:first-child, .words td, .words th { text-align: left; font-weight: normal; }
thead th { color: #555; font-weight: normal; }
.words td { overflow-wrap: anywhere; }
.overview td { white-space: nowrap; }
.figures td, .figures th { white-space: nowrap; }
.below { display: block; color: #666; font-size: 12px; }
.cards { display: flex; flex-wrap: wrap; gap: 16px; margin: 24px 0; }
.cards div { flex: 1 1 200px; border: 1px solid #ddd; border-top: 4px solid #0072b2; padding: 12px 16px; }
.cards div.other { border-top-color: #d55e00; }
.cards b { display: block; font-size: 30px; line-height: 1.2; }
.cards span { display: block; font-size: 14px; color: #333; }
.bad { color: #b03a00; font-weight: bold; }
.lead { color: #555; font-size: 14px; }
code { font-size: 13px; overflow-wrap: anywhere; }
figure { margin: 28px 0 20px; }
figcaption { font-size: 14px; color: #333; margin-bottom: 8px; }
svg.plot { width: 100%; height: auto; display: block; font: 12px system-ui, "DejaVu Sans", sans-serif; }
svg .grid { stroke: #e6e6e6; }
svg .axis { stroke: #888; }
svg .level { stroke: #111; stroke-dasharray: 3 3; }
svg .band { fill: #dcefe2; }
svg .tick { fill: #333; }
svg .title { fill: #333; font-size: 13px; }
svg .note { fill: #666; font-size: 11px; }
@media print { h2 { break-after: avoid; } figure { break-inside: avoid; } }
"""


def document(title: str, body: Markup) -> str:
    """The page as text; `body` is its `main` element."""
    head = join(
        Markup('<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'),
        Markup(f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'),
        tag("title", title),
        tag("style", Markup(STYLE)),
    )
    return f"<!DOCTYPE html>\n{tag('html', tag('head', head), tag('body', body), lang='en')}\n"


def checked(path: Path, option: str) -> Path:
    """A path that a page can be written to; UsageError otherwise, naming the option that it was given with."""
    if path.suffix not in (".html", ".htm"):
        raise UsageError(f"{option} {path}: a page ends in .html")
    if path.is_dir():
        raise UsageError(f"{option} {path}: is a folder")
    return path


def write(path: Path, page: str) -> None:
    """Writes a page, as a whole or not at all."""
    partial = path.with_name(path.name + ".partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(page, encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        raise UsageError(f"{path}: the page cannot be written: {error.strerror or error}") from error


def paragraph(*children: Any, **attributes: Any) -> Markup:
    return tag("p", *children, **attributes)


def figure(plot: Markup | None, caption: str) -> Markup | None:
    """A plot and what it shows; nothing if there is no plot."""
    return None if plot is None else tag("figure", tag("figcaption", caption), plot)


def table(head: Sequence[Any], rows: Sequence[Sequence[Any]], kind: str | None = None) -> Markup | None:
    """A table whose first column names the rows; nothing without rows. kind: `words` where cells hold sentences."""
    if not rows:
        return None
    top = tag("tr", *(tag("th", cell, scope="col") for cell in head))
    body = [tag("tr", tag("th", row[0], scope="row"), *(tag("td", cell) for cell in row[1:])) for row in rows]
    return tag(
        "div",
        tag("table", (any(head) and tag("thead", top)) or None, tag("tbody", *body), class_=kind),
        class_="scroll",
    )
