"""What the user sees while robotctl works: the live view of one episode, and the progress of many. On stderr.

The control cycle only leaves its newest `Progress` here, which costs a microsecond. A thread draws it, at most ten
times a second and never using more than a small share of the machine; lines are put together from ready-made
segments because rich's tables cost ten times as much.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING

from rich.console import Console, ConsoleOptions, RenderResult
from rich.control import Control
from rich.live_render import LiveRender
from rich.segment import Segment
from rich.style import Style

from robotctl.cli.output import COMPILING, console
from robotctl.cli.sparkline import bar, sparkline

if TYPE_CHECKING:
    from robotctl.control import Progress

RATE = 10.0  # pictures a second, at most
SHARE = 0.008  # of the time may go into drawing
MEMORY = 30.0  # the distance curve shows so much of the past [s]
WIDTH = 92
TOLERANCE = 5e-3  # a plan may miss a margin by this much on its way to convergence; the filter decides

PLAIN, DIM, BOLD = Style.null(), Style(dim=True), Style(bold=True)
GOOD, FAIR, BAD = Style(color="green"), Style(color="yellow"), Style(color="red", bold=True)
ACCENT = Style(color="cyan")
WORDS = {"confident": GOOD, "hopeful": GOOD, "doubtful": FAIR, "afraid": BAD}


class LiveView:
    """Shows one episode while it runs; use as a context manager and hand `observe` to run_episode."""

    def __init__(
        self, task: str, seed: int, limit: float, units: dict[str, str], terminal: Console | None = None
    ) -> None:
        self._console = terminal or console(stderr=True)
        self._panel = Panel(task, seed, limit, units)
        self._picture = LiveRender(self._panel)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._draw_often, name="live view", daemon=True)

    def observe(self, progress: Progress) -> None:
        """Takes note of one control tick."""
        self._panel.take(progress)

    def __enter__(self) -> LiveView:
        self._console.show_cursor(False)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Leaves the terminal as it was: the answer says what was seen."""
        self._stop.set()
        self._thread.join()
        self._console.control(self._picture.position_cursor())
        self._console.show_cursor(True)

    def _draw_often(self) -> None:
        pause = 1.0 / RATE
        while not self._stop.wait(pause):
            if not self._panel.changed:
                continue
            started = time.thread_time()
            self._draw()
            pause = max(1.0 / RATE, (time.thread_time() - started) / SHARE)

    def _draw(self) -> None:
        with self._console:
            self._console.print(Control(), self._picture.position_cursor(), end="")
            self._console.print(self._picture, end="")


class Panel:
    """The picture of one moment, as a rich renderable."""

    def __init__(self, task: str, seed: int, limit: float, units: dict[str, str]) -> None:
        self.changed = True
        self._task, self._seed, self._limit, self._units = task, seed, limit, units
        self._now: Progress | None = None
        self._started = time.monotonic()
        self._largest: dict[str, float] = {}
        self._distances: deque[tuple[float, float]] = deque()
        self._interventions = self._stopped = 0
        self._was_intervened = False
        self._tick = 0.05
        self._message = ""

    def take(self, progress: Progress) -> None:
        """Remembers a tick. Called from the control cycle: no drawing here."""
        if self._now is None:
            self._started = time.monotonic()
        elif progress.time > self._now.time:
            self._tick = progress.time - self._now.time
        self._now = progress
        self._interventions += progress.intervened
        self._stopped += progress.stopped
        self._distances.append((progress.time, progress.distance_to_people))
        if progress.time - self._distances[0][0] > MEMORY:
            self._distances.popleft()
        if progress.message:
            self._message = progress.message
        self.changed = True

    def __rich_console__(self, terminal: Console, options: ConsoleOptions) -> RenderResult:
        width = min(options.max_width, WIDTH)
        for line in self.lines(width):
            yield from _fit(line, width)
            yield Segment.line()

    def lines(self, width: int) -> Iterator[list[Segment]]:
        """The picture's lines."""
        self.changed = False
        p = self._now
        if p is None:
            yield [Segment(f" {self._task} ", BOLD), Segment(COMPILING, DIM)]
            return
        elapsed = time.monotonic() - self._started
        speed = f"{p.time / elapsed:.1f}x real time" if elapsed > 0.5 else ""
        clock = f"{p.time:.1f} s of {self._limit:.0f} s   {speed}"
        title = f" {self._task}"
        seed = f"  seed {self._seed}"
        gap = max(1, width - len(title) - len(seed) - len(clock) - 1)
        yield [Segment(title, BOLD), Segment(seed, DIM), Segment(" " * gap), Segment(clock, DIM)]
        done = p.time / self._limit if self._limit > 0 else 0.0
        full = round(min(1.0, done) * (width - 2))
        yield [Segment(" "), Segment("━" * full, ACCENT), Segment("─" * (width - 2 - full), DIM)]

        yield [Segment(" now        ", DIM), Segment(p.skill, BOLD)]
        total = p.objective_total
        goals = "■" * p.objective_done + "□" * (total - p.objective_done) if 0 < total <= 20 else ""
        word, probability = p.appraisal or ("", 0.0)
        yield [
            Segment(" objective  ", DIM),
            Segment(f"{goals + ' ' if goals else ''}{p.objective_done} of {total}", GOOD if total else DIM),
            Segment("   foreseen ", DIM),
            Segment(f"{word} {probability:.2f}" if word else "-", WORDS.get(word, PLAIN)),
            Segment("   cost ", DIM),
            Segment(f"{p.cost:.3g}"),
        ]
        yield [Segment("")]
        yield from self._margins(p, width)
        yield [Segment("")]
        yield self._people(p, width)
        yield self._filter(p)
        yield [
            Segment(" planner    ", DIM),
            Segment(f"{p.status.lower() or 'idle':<11}", GOOD if p.status == "SOLVED" else PLAIN),
            Segment(f" {p.plan_ms:5.1f} ms", PLAIN),
        ]
        yield [Segment(" "), Segment(self._message, DIM)]

    def _margins(self, p: Progress, width: int) -> Iterator[list[Segment]]:
        names = list(self._units) or list(p.margins)
        longest = max((len(name) for name in names), default=0)
        room = max(8, width - longest - 36)
        header = f" {'margin':<{longest}}  {'':<{room}}  {'now':>8}  {'ahead':>8}"
        yield [Segment(header, DIM)]
        silent = "· not in force" if p.margins else "· at rest"  # a robot that stays at rest has nothing to verify
        for name in names:
            if name not in p.margins:
                yield [Segment(f" {name:<{longest}}  {silent if room > 14 else '·'}", DIM)]
                continue
            present, ahead = p.margins[name]
            if math.isfinite(present):
                self._largest[name] = max(self._largest.get(name, 1e-9), present)
            largest = self._largest.get(name, 1.0)
            style = BAD if not ahead >= -TOLERANCE else FAIR if ahead < 0.1 * largest else GOOD
            solid = bar(min(ahead, present) / largest, room)
            light = bar(present / largest, room)[len(solid) :]
            yield [
                Segment(f" {name:<{longest}}  "),
                Segment(solid, style),
                Segment("░" * len(light.rstrip()), style),
                Segment(" " * (room - len(solid) - len(light.rstrip()))),
                Segment(f"  {_figure(present):>8}", BAD if not present >= 0 else PLAIN),
                Segment(f"  {_figure(ahead):>8}", style),
                Segment(f" {self._units.get(name, '').removeprefix('1')}", DIM),
            ]

    def _people(self, p: Progress, width: int) -> list[Segment]:
        if not math.isfinite(p.distance_to_people):
            return [Segment(" people     ", DIM), Segment("nobody in sight", DIM)]
        style = BAD if p.distance_to_people < 0.2 else FAIR if p.distance_to_people < 0.6 else GOOD
        room = max(10, width - 34)
        seen = max(1, round(room * min(1.0, p.time / MEMORY)))
        curve = sparkline([d for _, d in list(self._distances)], seen, low=0.0, high=2.0)
        return [
            Segment(" people     ", DIM),
            Segment(f"{f'{p.distance_to_people:.2f} m away':<14}", style),
            Segment(" " * (room - len(curve))),
            Segment(curve, ACCENT),
            Segment(f" {MEMORY:.0f} s", DIM),
        ]

    def _filter(self, p: Progress) -> list[Segment]:
        state, style = ("stops", FAIR) if p.stopped else ("corrects", FAIR) if p.intervened else ("passes", GOOD)
        return [
            Segment(" filter     ", DIM),
            Segment(f"{state:<11}", style),
            Segment(f" {p.filter_ms:5.1f} ms", PLAIN),
            Segment(f"   {self._interventions} interventions, stopped {self._stopped * self._tick:.1f} s", DIM),
        ]


class Progressing:
    """A progress bar of episodes with the count of what matters."""

    def __init__(self, total: int, what: str, terminal: Console) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
        from rich.progress import TimeRemainingColumn as Remaining

        self._done = self._met = self._violating = 0
        self.bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TextColumn("{task.fields[figures]}"),
            TimeElapsedColumn(),
            TextColumn("[dim]left[/]"),
            Remaining(),
            console=terminal,
            refresh_per_second=4,
        )
        self._task = self.bar.add_task(what, total=total, figures="")

    def advance(self, met: bool, violating: bool) -> None:
        """One more episode is over."""
        self._done += 1
        self._met += met
        self._violating += violating
        color = "red" if self._violating else "green"
        figures = f"{self._met} done, [{color}]{self._violating} violating[/]"
        self.bar.update(self._task, advance=1, figures=figures)


@contextmanager
def progress_bar(total: int, what: str) -> Iterator[Progressing]:
    """A progress bar on stderr."""
    shown = Progressing(total, what, console(stderr=True))
    with shown.bar:
        yield shown


@contextmanager
def time_bar(duration: float, what: str) -> Iterator[Callable[[float], None]]:
    """A bar on stderr over `duration` simulated seconds; call what it gives with the time that has been reached."""
    from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed:.0f} of {task.total:.0f} s"))
    with Bar(*columns, TimeRemainingColumn(), console=console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=duration)
        yield lambda time: bar.update(task, completed=time)


def _figure(value: float) -> str:
    if math.isnan(value):
        return "nan"
    if math.isinf(value):
        return "-" if value > 0 else "-inf"
    return f"{value:.3f}" if abs(value) < 100 else f"{value:.3g}"


def _fit(line: list[Segment], width: int) -> Iterator[Segment]:
    """The line cut or filled up to `width` cells; all our characters are one cell wide."""
    left = width
    for segment in line:
        text = segment.text[:left]
        left -= len(text)
        yield Segment(text, segment.style)
    if left:
        yield Segment(" " * left)
