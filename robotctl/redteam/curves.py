"""This file draws the smallest margin against the factor by which an assumption is broken."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from robotctl.page.markup import tag
from robotctl.page.plots import Series, line_plot
from robotctl.page.svg import Level

STYLE = (
    "text{font:12px sans-serif;fill:#333}.title{font-size:13px}.grid{stroke:#e5e5e5}.axis{stroke:#333}"
    ".level{stroke:#b00020;stroke-width:1.5}.band{fill:#f3d9d9}"
)


def draw(curves: dict[str, dict[str, Any]], first_failure: dict[str, float | None], out: Path) -> Path | None:
    """Writes the picture; None without any point."""
    series = []
    for name, curve in curves.items():
        points = [point for point in curve["points"] if point["value"] is not None]
        failure = first_failure.get(name)
        shown = name if failure is None else f"{name} ({failure:.2f})"
        series.append(Series(shown, [p["factor"] for p in points], [p["value"] for p in points]))
    values = [y for curve in series for y in curve.y if y is not None]
    if not values:
        return None
    picture = line_plot(
        series,
        "factor on what is assumed",
        "smallest margin, 1 = undisturbed",
        x_range=(1.0, 2.0),
        y_range=(min(-0.1, 1.1 * min(values)), max(0.5, 1.1 * max(values))),
        levels=[Level(0.0, 0.0, "violated below")],
        right_margin=230.0,
    )
    if picture is None:
        return None
    text = str(picture).replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1)
    head, rest = text.split(">", 1)
    out.write_text(f"{head}>{tag('style', STYLE)}{rest}\n")
    return out
