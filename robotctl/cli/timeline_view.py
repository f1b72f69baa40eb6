"""This file turns a timeline into lines for the terminal: bars, curves, and a story."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from robotctl.episode.reader import EpisodeLog
    from robotctl.page.markup import Markup
    from robotctl.replay.predictions import Promises
    from robotctl.replay.rejudge import Rejudged
    from robotctl.replay.timeline import Timeline
    from robotctl.replay.verify import Verified

NAME = 26  # columns for the names on the left
COLORS = ("cyan", "magenta", "blue", "yellow", "green")


def heading(log: EpisodeLog) -> Iterator[str]:
    """What this is and how it ended."""
    from robotctl.cli.report import OUTCOME, plural, safe

    about = {key: safe(value) for key, value in log.metadata.items()}
    arm = f", arm {about['arm']}" if about.get("arm", "full") != "full" else ""
    yield f"[bold]{about.get('task', '?')}[/] seed {about.get('seed', '?')}{arm}  [dim]{about.get('started', '')}[/]"
    if not log.complete or log.summary is None:
        yield f"[yellow]incomplete[/]: {safe(log.damage)}; {log.count} steps, {log.duration:.1f} s recovered"
        return
    try:
        summary = log.summary
        color, word = OUTCOME.get(summary["exit_code"], ("red", "failed"))
        met, open_ = len(summary["objective"]["satisfied"]), len(summary["objective"]["unsatisfied"])
        violations, seconds = int(summary["guardrails"]["violations"]), float(summary["time"]["simulated_s"])
    except (KeyError, TypeError, ValueError):
        yield "[yellow]the summary is of another version of robotctl[/]"
        return
    yield (
        f"[bold {color}]{word}[/] after {seconds:.1f} s: {plural(met, 'goal')} met, {open_} not, "
        f"[{'red' if violations else 'green'}]{plural(violations, 'violation')}[/]"
    )


def plain_heading(log: EpisodeLog) -> tuple[str, Markup]:
    """The same for a page: a title, and how it ended."""
    from rich.text import Text

    from robotctl.page.markup import tag

    title, *rest = (Text.from_markup(text).plain for text in heading(log))
    good = log.complete and (log.summary or {}).get("exit_code") == 0
    color = "#2a7d46" if good else "#b03a00"
    verdict = tag("span", *rest, style=f"color:{color}")
    return " ".join(title.split()), verdict


def picture(line: Timeline, columns: int) -> Iterator[str]:
    """The timeline as lines of blocks."""
    from robotctl.cli.sparkline import sparkline

    width = max(20, columns - NAME - 22)
    yield ""
    yield from _skills(line, width)
    yield ""
    met = line.objective
    total = max(1, line.objective_total)
    curve = sparkline([float(m) for m in met], width, 0.0, float(total), "max")
    yield _row("objective", f"[green]{curve}[/]", f"{met[-1]} of {line.objective_total}")
    nearest = min(line.distance)
    curve = sparkline(line.distance, width, 0.0, 2.0)
    if any(math.isfinite(p) for p in line.appraisal):
        chances = [p if math.isfinite(p) else math.inf for p in line.appraisal]
        last = next(p for p in reversed(line.appraisal) if math.isfinite(p))
        yield _row("appraisal", f"[magenta]{sparkline(chances, width, 0.0, 1.0)}[/]", f"success {last:.2f}")
    yield _row("people", f"[cyan]{curve}[/]", f"nearest {nearest:.2f} m" if math.isfinite(nearest) else "nobody")
    curve = sparkline(line.speed, width, 0.0, 1.0, "max")
    yield _row("speed", f"[blue]{curve}[/]", f"up to {100 * max(line.speed):.0f} %")
    yield _row("filter", _events(line, width), f"{_seconds(sum(line.stopped), line):.1f} s stopped")
    yield ""
    yield f"[dim]{'true margins':<{NAME}}{'(· far, or silent)':<{width}}  smallest[/]"
    for name, values in sorted(line.judged.items()):
        finite = [v for v in values if math.isfinite(v)]
        if not finite:
            continue
        least = min(finite)
        color = "red" if least < 0 else "green"
        unit = line.units.get(name, "")
        curve = sparkline(values, width, 0.0, max(*finite, 1e-9))
        yield _row(name, f"[{color}]{curve}[/]", f"{least:.3f} {'' if unit == '1' else unit}".rstrip())
    yield _axis(line, width)
    yield from _honesty(line)
    yield from _story(line)


def _honesty(line: Timeline) -> Iterator[str]:
    """How often what the plans foresaw of each guardrail came true."""
    rows = {name: honesty for name, honesty in line.honesty.items() if honesty.soon.count or honesty.ahead.count}
    if not rows:
        return
    yield ""
    yield f"[dim]{'foreseen margins kept':<{NAME}}{'0.1 s ahead':<22}{'3 s ahead':<22}model's bound[/]"
    for name, honesty in rows.items():
        bound = f"{np.median(honesty.bounds):.3f} {honesty.unit}" if honesty.bounds else ""
        yield f"{name[: NAME - 1]:<{NAME}}{_kept(honesty.soon):<22}{_kept(honesty.ahead):<22}{bound}"


def _kept(promises: Promises) -> str:
    return f"{100 * promises.kept / promises.count:.0f} % of {promises.count}" if promises.count else "-"


def _row(name: str, curve: str, figure: str) -> str:
    from rich.markup import escape

    return escape(f"{name[: NAME - 1]:<{NAME}}") + f"{curve}  {figure}"


def _skills(line: Timeline, width: int) -> Iterator[str]:
    """One row per skill, a bar where it ran."""
    span = max(line.end - line.start, 1e-9)
    rows = list(dict.fromkeys(s.what for s in line.skills))
    for i, what in enumerate(rows[:24]):
        cells = [" "] * width
        seconds = 0.0
        for skill in line.skills:
            if skill.what != what:
                continue
            seconds += skill.end - skill.start
            first = int((skill.start - line.start) / span * (width - 1))
            last = int((skill.end - line.start) / span * (width - 1))
            cells[first : last + 1] = "█" * (last - first + 1)
        color = "bright_black" if what in ("resting", "looking") else COLORS[i % len(COLORS)]
        yield _row(what, f"[{color}]{''.join(cells)}[/]", f"{seconds:.1f} s")
    if len(rows) > 24:
        yield f"[dim]and {len(rows) - 24} more[/]"


def _events(line: Timeline, width: int) -> str:
    """A mark where the filter intervened, a cross where a person was touched."""
    span = max(line.end - line.start, 1e-9)
    cells = ["[dim]·[/]"] * width

    def column(t: float) -> int:
        return int((t - line.start) / span * (width - 1))

    for spell in line.interventions:
        for i in range(column(spell.start), column(spell.end) + 1):
            cells[i] = "[yellow]▪[/]"
    for now, _, _ in line.contacts:
        cells[column(now)] = "[red]✗[/]"
    return "".join(cells)


def _seconds(ticks: int, line: Timeline) -> float:
    return ticks * (line.end - line.start) / max(1, len(line.time) - 1)


def _axis(line: Timeline, width: int) -> str:
    """Times below the curves, at round seconds."""
    span = line.end - line.start
    step = next((s for s in (0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600) if span / s <= width / 10), 1200)
    cells = [" "] * width
    t = math.ceil(line.start / step) * step
    while t <= line.end + 1e-9 and span > 0:
        at = int((t - line.start) / span * (width - 1))
        text = f"{t:g} s" if step < 60 else f"{t / 60:g} min"
        if at + len(text) < width:
            cells[at : at + len(text) + 1] = "│" + text
        t += step
    return f"{'':<{NAME}}[dim]{''.join(cells)}[/]"


def _story(line: Timeline) -> Iterator[str]:
    """What was worth a line: messages, interventions, contacts, in the order of time."""
    from robotctl.cli.report import safe

    events = [(t, safe(text)) for t, text in line.messages]
    for spell in line.interventions:
        seconds = max(spell.end - spell.start, 0.05)
        events.append((spell.start, f"[yellow]filter for {seconds:.2f} s: {safe(spell.what)}[/]"))
    events += [(t, f"[red]{safe(link)} touches {safe(person)}[/]") for t, link, person in line.contacts]
    events.sort(key=lambda event: event[0])
    if events:
        yield ""
    for t, text in events[:40]:
        yield f"[dim]{t:7.2f} s[/]  {text}"
    if len(events) > 40:
        yield f"[dim]and {len(events) - 40} more; narrow it with --from and --to, or see --json[/]"


def judged(again: Rejudged | None) -> Iterator[str]:
    """The recomputed verdict."""
    from robotctl.cli.report import plural, safe

    if again is None:
        return
    yield ""
    guardrails = again.verdict["guardrails"]
    yield (
        f"judged again: {plural(guardrails['violations'], 'violation')} in {guardrails['steps_judged']:,} steps, "
        f"{plural(again.verdict['contacts']['moving'], 'contact')} of the moving robot"
    )
    if not again.logged:
        yield "[yellow]the log holds no verdict to compare with[/]"
    elif again.matches_log:
        yield "[green]the same as the logged verdict, in every figure[/]"
    else:
        yield "[red]not the logged verdict:[/]"
        yield from (f"  {safe(text)}" for text in again.differences)


def verified(rerun: Verified | None) -> Iterator[str]:
    """What came of running the episode again."""
    from robotctl.cli.report import safe

    if rerun is None:
        return
    yield ""
    if rerun.note:
        yield f"[yellow]{safe(rerun.note)}[/]"
    difference = rerun.first_difference
    if difference is None:
        yield f"[green]run again: the same in every bit, {rerun.steps:,} steps[/]"
        return
    yield f"[red]run again: not the same from step {difference.step} on[/] ({difference.time:.2f} s)"
    yield f"  {safe(difference.where)}: {safe(difference.again)} instead of {safe(difference.logged)}"
    if difference.hint:
        yield f"  {safe(difference.hint)}"
