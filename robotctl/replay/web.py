"""This file shows an episode in the browser: the scene, a time slider, margins, and what happened one click away."""

from __future__ import annotations

import html
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from robotctl.errors import UsageError
from robotctl.judge.judge import NEAR
from robotctl.replay.events import LEAD, Event, events
from robotctl.replay.guarded import LOOPBACK, is_loopback, server
from robotctl.replay.scenery import Scenery, point_of_view
from robotctl.replay.stage import Stage
from robotctl.replay.timeline import UNITS, Timeline, thinned

if TYPE_CHECKING:
    import viser

WIDE = 390  # the panel [pixels]
RATE = 20.0  # frames a second while it plays
SPEEDS = ("0.25", "0.5", "1", "2", "4")
POINTS = 500  # of a curve in a plot
MARKS = 40  # on the slider
SMALL = "padding:0.2em 1em;font-size:0.85em"
BUTTONS = 60  # of events
COLORS = ("#1b6fd8", "#d9541e", "#2a9d57", "#8a4fc2", "#b8860b", "#0f8f9c", "#c2306b", "#5a6b7b")
SIGNS = {"skill": "▸", "filter": "▪", "violation": "✗", "contact": "✗", "message": "·"}


class Page:
    """The page of one episode; `seek` and `play` may be called from any thread."""

    def __init__(self, shown: viser.ViserServer, title: str, verdict: str, stage: Stage, line: Timeline) -> None:
        self._stage, self._line = stage, line
        self._lock = threading.RLock()  # setting the slider may call back
        self._tick = 0
        self._playing = False
        self._speed = 1.0
        self._shown = shown
        shown.gui.configure_theme(show_logo=False, show_share_button=False, control_width="large")
        shown.gui.main_panel.dock_right()
        shown.gui.main_panel.set_width(WIDE)
        shown.gui.set_panel_label(title)
        with shown.atomic():
            self._scenery = Scenery(shown.scene, stage)
        point_of_view(shown, stage)
        self._controls(shown, verdict)
        tabs = shown.gui.add_tab_group()
        found = events(line)
        with tabs.add_tab(f"What happened ({len(found)})"):
            self._events(shown, found)
        with tabs.add_tab("True margins"):
            shown.gui.add_html(
                f'<div style="{SMALL}">Below 0 a guardrail is violated. At the top: far from it, or silent.</div>'
            )
            self._plots = [_Plot(shown, unit, line) for unit in UNITS if _shown(line, unit)]
        self.seek(0)

    def _controls(self, shown: viser.ViserServer, verdict: str) -> None:
        gui, times = shown.gui, self._stage.time
        gui.add_html(f'<div style="padding:0 1em 0.4em">{verdict}</div>')
        self._button = gui.add_button("Play", hint="or press it again to pause")
        marked = [event for event in events(self._line) if event.kind in ("filter", "violation", "contact")]
        marks = tuple(dict.fromkeys(round(event.time, 2) for event in marked))
        self._slider = gui.add_slider(
            "time [s]",
            min=float(times[0]),
            max=float(times[-1]),
            step=0.05,
            initial_value=float(times[0]),
            marks=marks if 0 < len(marks) <= MARKS else None,
            hint="dots: the safety filter acted, a guardrail was violated, or somebody was touched",
        )
        self._rate = gui.add_dropdown("speed", SPEEDS, initial_value="1")
        self._plan = gui.add_checkbox("planned way of the hand", True)
        self._tube = gui.add_checkbox("safety tube", True, hint="everywhere hand and load may be until they stand")
        self._now = gui.add_html("")
        self._slider.on_update(lambda _: self.seek(self._at(float(self._slider.value))))
        self._button.on_click(lambda _: self.play(not self._playing))
        self._rate.on_update(lambda _: setattr(self, "_speed", float(self._rate.value)))
        self._plan.on_update(lambda _: self.seek(self._tick, again=True))
        self._tube.on_update(lambda _: self.seek(self._tick, again=True))

    def _events(self, shown: viser.ViserServer, found: list[Event]) -> None:
        worst = [event for event in found if event.kind in ("violation", "contact")]
        if not worst:
            shown.gui.add_html(f'<div style="{SMALL};color:#2a7d46">no guardrail was violated</div>')
        for event in (found if len(found) <= BUTTONS else (*worst, *found))[:BUTTONS]:
            self._event(shown, event)

    def _event(self, shown: viser.ViserServer, event: Event) -> None:
        color = {"violation": "red", "contact": "red", "filter": "yellow"}.get(event.kind, "gray")
        label = f"{event.time:.1f} s {SIGNS[event.kind]} {'filter: ' if event.kind == 'filter' else ''}{event.text}"
        button = shown.gui.add_button(label[:70], color=color)  # type: ignore[arg-type]
        button.on_click(lambda _: self.seek(self._at(event.time - LEAD)))

    def _at(self, time: float) -> int:
        """The tick of a time [s]."""
        return int(np.clip(np.searchsorted(self._stage.time, time + 1e-6) - 1, 0, len(self._stage.time) - 1))

    def seek(self, tick: int, again: bool = False) -> None:
        """Shows a tick."""
        with self._lock:
            if tick == self._tick and not again and self._now.content:
                return
            self._tick = tick
            with self._shown.atomic():
                self._scenery.show(tick, self._plan.value, self._tube.value)
                now = float(self._stage.time[tick])
                if abs(self._slider.value - now) > 1e-6:
                    self._slider.value = now  # type: ignore[misc]
                self._now.content = _words(self._line, tick)
                for plot in self._plots:
                    plot.mark(now)

    def play(self, playing: bool) -> None:
        """Starts or pauses; from the beginning when it has ended."""
        if playing and self._tick == len(self._stage.time) - 1:
            self.seek(0)
        self._playing = playing
        self._button.label = "Pause" if playing else "Play"

    def run(self, stop: threading.Event) -> None:
        """Plays on until `stop` is set."""
        before, owed = time.monotonic(), 0.0
        while not stop.wait(1.0 / RATE):
            now = time.monotonic()
            elapsed, before = now - before, now
            if not self._playing:
                owed = 0.0
                continue
            owed += elapsed * self._speed * RATE
            ticks, owed = int(owed), owed % 1.0
            last = len(self._stage.time) - 1
            self.seek(min(self._tick + ticks, last))
            if self._tick == last:
                self.play(False)


class _Plot:
    """The margins of one unit over time, with a line at the present."""

    def __init__(self, shown: viser.ViserServer, unit: str, line: Timeline) -> None:
        from viser import uplot

        every = max(1, len(line.time) // POINTS)
        self._time = np.array(line.time[::every])
        top = NEAR[unit]
        self._curves = curves = {
            name: np.nan_to_num(thinned(values, every), nan=top)
            for name, values in line.judged.items()
            if line.units.get(name) == unit and np.isfinite(values).any()
        }
        low = min(0.0, *(float(curve.min()) for curve in curves.values()))
        self._ends = low, top
        series: list[uplot.Series] = [uplot.Series(label="s")]
        for i, name in enumerate(curves):
            series.append(uplot.Series(label=name, stroke=COLORS[i % len(COLORS)], width=1.5))
        series.append(uplot.Series(label="now", stroke="#222222", width=1.0))
        self._handle = shown.gui.add_uplot(
            self._data(float(self._time[0])),
            tuple(series),
            title=f"margins [{UNITS[unit]}]",
            scales={"x": uplot.Scale(time=False), "y": uplot.Scale(range=(low, 1.05 * top))},
            legend=uplot.Legend(show=True),
            height=190,
        )

    def _data(self, now: float) -> tuple[np.ndarray, ...]:
        mark = np.full(len(self._time), np.nan)
        at = int(np.clip(np.searchsorted(self._time, now), 0, len(self._time) - 2))
        mark[at : at + 2] = self._ends
        return (self._time, *self._curves.values(), mark)

    def mark(self, now: float) -> None:
        """Moves the line to the present."""
        self._handle.data = self._data(now)


def _shown(line: Timeline, unit: str) -> bool:
    """Whether there is a margin of this unit to plot."""
    return any(line.units.get(name) == unit and np.isfinite(values).any() for name, values in line.judged.items())


def _words(line: Timeline, tick: int) -> str:
    """What is going on in a tick, as HTML."""
    now = line.time[tick]
    doing = next((span.what for span in line.skills if span.start <= now <= span.end), "")
    acted = next((span.what for span in line.interventions if span.start <= now <= span.end + 0.3), "")
    passes = "passes" if line.filtered else "none in this arm"
    chance = line.appraisal[tick]
    rows = [
        ("now", f"<b>{now:.2f} s</b> {html.escape(doing)}"),
        ("objective", f"{line.objective[tick]} of {line.objective_total} believed met"),
        ("success foreseen", "-" if np.isnan(chance) else f"{100 * chance:.0f} %"),
        ("nearest person", "-" if np.isinf(line.distance[tick]) else f"{line.distance[tick]:.2f} m"),
        ("safety filter", f'<b style="color:#b36b00">acts: {html.escape(acted)}</b>' if acted else passes),
    ]
    grey = 'style="color:#777;padding-right:1em"'
    cells = "".join(f"<tr><td {grey}>{name}</td><td>{text}</td></tr>" for name, text in rows)
    return f'<table style="margin:0.2em 1em;font-size:0.85em">{cells}</table>'


def serve(
    title: str,
    verdict: str,
    stage: Stage,
    line: Timeline,
    port: int,
    host: str = LOOPBACK,
    expose: bool = False,
    ready: Callable[[str], Any] = lambda url: None,
    stop: threading.Event | None = None,
) -> None:
    """Serves the page until `stop` is set (or Ctrl-C). verdict: HTML.

    ready: told the address once it can be opened. UsageError for a host that others can reach, unless `expose`;
    MissingPartError without viser.
    """
    if not is_loopback(host) and not expose:
        raise UsageError(
            f"--host {host}: others could reach the page there, and it has no password; say --expose if you mean it"
        )
    with server(host, port) as shown:
        page = Page(shown, title, verdict, stage, line)
        ready(f"http://{'localhost' if is_loopback(host) else host}:{shown.get_port()}")
        page.run(stop or threading.Event())
