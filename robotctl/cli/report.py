"""This file turns answers into lines for people. What it prints is also in the JSON."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

OUTCOME = {
    0: ("green", "done"),
    4: ("yellow", "objective not reached"),
    5: ("red", "a guardrail was violated"),
    6: ("yellow", "refused"),
    130: ("yellow", "interrupted"),
}


def safe(text: Any) -> str:
    """Text from a file or a log as one line that neither rich nor the terminal takes for a command."""
    from rich.markup import escape

    from robotctl.files import one_line

    return escape(one_line(str(text)))


def number(value: float | None, digits: int = 2, unit: str = "") -> str:
    """A figure, or a dash when there is none."""
    return "-" if value is None else f"{value:.{digits}f}{' ' + unit if unit else ''}"


def plural(count: int, thing: str) -> str:
    return f"{count:,} {thing}" if count == 1 else f"{count:,} {thing}s"


def run_lines(answer: dict[str, Any]) -> Iterator[str]:
    """How one episode went."""
    color, word = OUTCOME.get(answer["exit_code"], ("red", f"exit code {answer['exit_code']}"))
    if answer.get("ended") == "stopped":
        word = "stopped"
    reason = answer.get("reason")
    why = f" ({safe(reason)})" if reason else ""
    yield f"[bold]{safe(answer['task'])}[/] seed {answer['seed']}: [bold {color}]{word}[/]{why}"
    if "error" in answer:
        yield f"  error       {safe(answer['error'])}"
        return
    yield from _objective(answer["objective"])
    yield from _guardrails(answer["guardrails"], answer.get("relaxed", {}))
    yield from _people(answer)
    f, p, t = answer["filter"], answer["planning"], answer["time"]
    yield (
        f"  filter      {plural(f['interventions'], 'intervention')} in {f['moving_cycles']:,} moving cycles, "
        f"stopped {f['stopped_s']:.1f} s, {number(f['ms_p50'])} ms (99 %: {number(f['ms_p99'])} ms)"
    )
    statuses = ", ".join(f"{count} {name.lower()}" for name, count in p["status"].items())
    late = f", {plural(p['late_ticks'], 'late tick')}" if "late_ticks" in p else ""
    yield (
        f"  planner     {number(p['ms_p50'], 1)} ms (95 %: {number(p['ms_p95'], 1)} ms)"
        f"{f'; {statuses}' if statuses else ''}{late}"
    )
    yield (
        f"  time        {t['simulated_s']:.1f} s simulated in {t['wall_s']:.1f} s: "
        f"{number(t['real_time_factor'], 1)} times real time"
    )
    outlook = answer["appraisal"]
    if outlook.get("word"):
        chance = number(outlook["success_probability"])
        yield f"  foreseen    {safe(outlook['word'])}: success with probability {chance}"
    if answer.get("episode"):
        yield f"  episode     {safe(answer['episode'])}"
        yield f"  look at it  robotctl replay {safe(answer['episode'])}"


def _objective(objective: dict[str, list[str]]) -> Iterator[str]:
    met, open_ = objective["satisfied"], objective["unsatisfied"]
    yield f"  objective   {len(met)} of {len(met) + len(open_)} met"
    for text in open_:
        yield f"              [yellow]not met:[/] {safe(text)}"


def _guardrails(guardrails: dict[str, Any], relaxed: dict[str, str]) -> Iterator[str]:
    count = guardrails["violations"]
    color = "red" if count else "green"
    yield f"  guardrails  [{color}]{plural(count, 'violation')}[/] in {guardrails['steps_judged']:,} steps judged"
    for name, rule in guardrails["by_id"].items():
        if rule["violations"]:
            yield (
                f"              [red]{safe(name)}[/]: {rule['violations']} times, {rule['duration_s']:.2f} s, "
                f"worst {rule['worst_margin']:.3f} {rule['unit']}"
            )
    for name, reason in relaxed.items():
        yield f"              [yellow]relaxed: {safe(name)}[/] ({safe(reason)})"


def _people(answer: dict[str, Any]) -> Iterator[str]:
    contacts, nearest = answer["contacts"], answer.get("min_separation_m")
    moving = plural(contacts["moving"], "contact")
    line = f"  people      [{'red' if contacts['moving'] else 'green'}]{moving}[/] of the moving robot"
    if contacts["passive"]:
        line += f", touched {plural(contacts['passive'], 'time')} at rest"
    yield line + (f", nearest {nearest:.2f} m" if nearest is not None else "")
    for name, broken in answer["assumptions"]["broken"].items():
        figures = f"{broken['worst']:.3g} instead of {broken['assumed']:.3g}, for {broken['duration_s']:.2f} s"
        yield f"              [yellow]assumption broken:[/] {safe(name)} {figures}"


def summary_lines(summary: dict[str, Any]) -> Iterator[str]:
    """How several episodes went."""
    low, high = summary["success_ci95"]
    violating = summary["episodes_violating"]
    yield (
        f"[bold]{plural(summary['n'], 'episode')}[/]: success rate [bold]{number(summary['success_rate'])}[/] "
        f"(95 %: {low:.2f} to {high:.2f})"
    )
    low, high = summary["violation_ci95"]
    color = "red" if violating else "green"
    yield (
        f"  guardrails  [{color}]{plural(summary['violations'], 'violation')}[/] in {plural(violating, 'episode')} "
        f"(rate, 95 %: {low:.2f} to {high:.2f}), {plural(summary['contacts_moving'], 'contact')} of the moving robot"
    )
    if summary["failed"]:
        yield f"  [red]{plural(summary['failed'], 'episode')} could not be run[/]"
    yield f"  time        {number(summary['real_time_factor'], 1)} times real time"


def proof_table(answer: dict[str, Any]) -> Iterator[Any]:
    """The proofs of `guardrails prove`, one row each."""
    from rich.table import Table

    grid = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for title in ("", "guardrail or term"):
        grid.add_column(title, no_wrap=True)
    for title in ("binds", "violations with it", "without it", "worst without it"):
        grid.add_column(title, justify="right")
    for proof in answer["proofs"]:
        word = "[green]proved[/]" if proof["proved"] else "[dim]silent[/]" if proof["note"] else "[red]survives[/]"
        if proof["note"]:
            grid.add_row(word, safe(proof["name"]), safe(proof["note"]))
            continue
        grid.add_row(
            word,
            safe(proof["name"]),
            "yes" if proof["binds"] else "no",
            str(proof["violations_with"]),
            str(proof["violations_without"]),
            number(proof["worst_without"], 3, proof["unit"]),
        )
    yield grid
    survivors = ", ".join(map(safe, answer["survivors"]))
    yield f"{answer['proved']} proved" + (f", [red]survivors: {survivors}[/]" if survivors else ", no survivor")
