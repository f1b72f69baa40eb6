"""This file turns an episode into one HTML file that plays it anywhere, without a server and without the network."""

from __future__ import annotations

import base64
import importlib.resources
import string
from collections.abc import Callable
from typing import Any

import numpy as np

from robotctl.page.markup import Markup, escaped, join, tag
from robotctl.page.svg import COLOURS, label, scale, ticks
from robotctl.replay.events import LEAD, Event, events
from robotctl.replay.guarded import server
from robotctl.replay.scenery import Scenery, point_of_view
from robotctl.replay.stage import Stage
from robotctl.replay.timeline import UNITS, Timeline, thinned

EVERY = 2  # ticks: ten pictures a second
WIDE, HIGH, LEFT, RIGHT, TOP, BOTTOM = 360.0, 150.0, 40.0, 352.0, 8.0, 128.0  # of a plot
POINTS = 300  # of a curve


def film(
    title: str, verdict: Markup, stage: Stage, line: Timeline, progress: Callable[[float], Any] = lambda time: None
) -> str:
    """The page. progress: told of every time [s] that is drawn. MissingPartError without viser."""
    plots = [_plot(unit, line) for unit in UNITS]
    template = string.Template(importlib.resources.files("robotctl.replay").joinpath("film.html").read_text("utf-8"))
    player = base64.b64encode(_player(stage, progress).encode()).decode()
    return template.substitute(
        title=escaped(title),
        verdict=verdict,
        plots=join(*plots),
        events=join(*(_button(event) for event in events(line))),
        film=player,
        start=f"{stage.time[0]:.3f}",
        end=f"{stage.time[-1]:.3f}",
    )


def _player(stage: Stage, progress: Callable[[float], Any]) -> str:
    """viser's own player with the recorded scene."""
    with server() as unseen:
        scenery = Scenery(unseen.scene, stage)
        point_of_view(unseen, stage)
        scenery.show(0)
        recording = unseen.get_scene_serializer()
        for tick in range(EVERY, len(stage.time), EVERY):
            recording.insert_sleep(float(stage.time[tick] - stage.time[tick - EVERY]))
            scenery.show(tick)
            progress(float(stage.time[tick]))
        return recording.as_html()


def _button(event: Event) -> Markup:
    word = {"filter": "the safety filter acted: ", "violation": "violated: "}.get(event.kind, "")
    text = f"{event.time:.1f} s  {word}{event.text}"
    return tag("button", text, class_=event.kind, data_time=f"{max(0.0, event.time - LEAD):.2f}")


def _plot(unit: str, line: Timeline) -> Markup | None:
    """The true margins of one unit over time; None if there is none."""
    every = max(1, len(line.time) // POINTS)
    curves = {name: thinned(values, every) for name, values in line.judged.items() if line.units.get(name) == unit}
    curves = {name: curve for name, curve in curves.items() if np.isfinite(curve).any()}
    if not curves:
        return None
    times = np.array(line.time[::every])
    low = min(0.0, *(float(np.nanmin(curve)) for curve in curves.values()))
    high = max(float(np.nanmax(curve)) for curve in curves.values())
    across, up = scale(line.start, line.end, LEFT, RIGHT), scale(low, 1.05 * high, BOTTOM, TOP)
    parts = [tag("rect", x=LEFT, y=up(0.0), width=RIGHT - LEFT, height=BOTTOM - up(0.0), fill="#fbe3dc")]
    for value in ticks(low, 1.05 * high, 4):
        parts.append(tag("line", x1=LEFT, x2=RIGHT, y1=up(value), y2=up(value), stroke="#e6e6e6"))
        parts.append(tag("text", label(value), x=LEFT - 5, y=up(value) + 4, text_anchor="end"))
    for value in ticks(line.start, line.end, 6):
        parts.append(tag("text", f"{label(value)} s", x=across(value), y=BOTTOM + 16, text_anchor="middle"))
    for i, curve in enumerate(curves.values()):
        parts += _strokes(times, curve, across, up, COLOURS[i % len(COLOURS)])
    parts.append(tag("line", class_="now", x1=LEFT, x2=LEFT, y1=TOP, y2=BOTTOM, stroke="#111"))
    words = f"true margins in {UNITS[unit]}; below 0 a guardrail is violated"
    keys = [
        tag("span", tag("i", style=f"background:{COLOURS[i % len(COLOURS)]}"), name) for i, name in enumerate(curves)
    ]
    picture = tag(
        "svg", *parts, viewBox=f"0 0 {WIDE:.0f} {HIGH:.0f}", role="img", aria_label=words,
        data_left=f"{LEFT:.0f}", data_right=f"{RIGHT:.0f}",
    )  # fmt: skip
    return join(tag("h2", f"True margins [{UNITS[unit]}]"), picture, tag("div", *keys, class_="legend"))


def _strokes(
    times: np.ndarray, curve: np.ndarray, across: Callable[[float], float], up: Callable[[float], float], color: str
) -> list[Markup]:
    """The stretches of a curve that are known."""
    known = np.isfinite(curve)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], known, [False]]).astype(int)))
    strokes = []
    for begin, end in zip(edges[::2], edges[1::2], strict=True):
        points = " ".join(f"{across(times[i]):.1f},{up(curve[i]):.1f}" for i in range(begin, end))
        if end - begin == 1:
            points += f" {across(times[begin]) + 1:.1f},{up(curve[begin]):.1f}"
        strokes.append(tag("polyline", points=Markup(points), fill="none", stroke=color, stroke_width="1.5"))
    return strokes
