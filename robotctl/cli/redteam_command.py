"""`robotctl redteam`: looks for the episode in which a guardrail comes closest to being violated."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import nullcontext
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer


def redteam(
    task: Annotated[
        str | None,
        typer.Argument(help="Packaged task such as kitchen/clear-table, or a task file.", show_default=False),
    ] = None,
    budget: Annotated[int, typer.Option(help="Attacks to try.", min=1)] = 200,
    stratum: Annotated[
        str, typer.Option(help="inside the assumptions, at their edge (factors 1 to 2), or beyond them.")
    ] = "inside",
    seed: Annotated[int, typer.Option(help="Seed of search and episodes.", min=0, envvar="ROBOTCTL_SEED")] = 0,
    workers: Annotated[int, typer.Option(help="Processes.", min=1)] = 2,
    instrument: Annotated[
        str, typer.Option(help="simulator, loop (the filter in a closed loop without physics), or both.")
    ] = "both",
    assumptions: Annotated[str, typer.Option(help="Which the edge breaks, by commas.", show_default="all")] = "",
    time_limit: Annotated[float, typer.Option(help="Simulated seconds of an episode.", min=1.5, max=600.0)] = 6.0,
    replay: Annotated[
        Path | None, typer.Option(help="Run the attack in this file again instead.", show_default=False)
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with what lies in --out.")] = False,
    out: Annotated[
        Path | None, typer.Option(help="Folder for trials, attacks and episodes.", show_default="runs/redteam-DATE")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Looks for the episode in which a guardrail comes closest to being violated.

    An adversary chooses people, faults of sensors, drives and things, and the planner: Sobol points first, then
    CMA-ES on the smallest margin that the judge saw. Exit code 5 if a guardrail was violated although all
    assumptions held.
    """
    from robotctl.cli.output import console, note, print_json, stdout_for_answers
    from robotctl.errors import UsageError

    if (task is None) == (replay is None):
        raise UsageError("name either a TASK or an attack with --replay")
    stamp = f"{datetime.now():%Y%m%d-%H%M%S}"
    if replay is not None:
        from robotctl.redteam.again import replay_attack

        with stdout_for_answers():
            again = replay_attack(replay, out or Path("runs") / f"redteam-replay-{stamp}")
        if as_json:
            print_json(again)
        else:
            for line in replay_lines(again):
                console().print(line)
        raise typer.Exit(again["exit_code"])
    assert task is not None
    from robotctl.cli.view import progress_bar
    from robotctl.redteam.campaign import planned, run_campaign

    if resume and out is None:
        raise UsageError("--resume needs the --out of the campaign to go on with")
    folder = out or Path("runs") / f"redteam-{stratum}-{stamp}"
    plan = planned(task, stratum, budget, seed, instrument, time_limit, assumptions)
    with stdout_for_answers(), progress_bar(budget, "attacks") if sys.stderr.isatty() else nullcontext() as bar:

        def advance(trial: Any) -> None:
            if bar is not None:
                bar.advance(not (trial.discarded or trial.error), bool(trial.violations) and not trial.discarded)

        answer = run_campaign(plan, folder, workers, resume, advance)
    if answer["interrupted"]:
        note(f"to go on: the same command with  --resume --out {folder}")
    if as_json:
        print_json(answer)
    else:
        for line in lines(answer):
            console().print(line)
    raise typer.Exit(answer["exit_code"])


def lines(answer: dict[str, Any]) -> Iterator[str]:
    """A campaign for people."""
    from robotctl.cli.report import number, plural, safe

    color = "red" if answer["exit_code"] == 5 else "green"
    made = ", ".join(f"{count} in the {name}" for name, count in answer["by_instrument"].items() if count)
    yield f"[bold]{safe(answer['task'])}[/] {answer['stratum']}: {plural(answer['trials'], 'attack')} ({made})"
    flagged = "" if answer["flagged"] is None else f"; the monitors said so in {100 * answer['flagged']:.0f} %"
    yield f"  violating   [{color}]{answer['violations']}[/]{flagged}"
    if answer["discarded"] or answer["failed"]:
        yield f"  discarded   {answer['discarded']} (an assumption broke that should hold), failed {answer['failed']}"
    for name, factor in answer["first_failure"].items():
        margin = answer["curves"].get(name, {}).get("points", [{}])[-1]
        shown = "none up to 2" if factor is None else f"{factor:.2f}"
        unit = margin.get("unit", "")
        yield (
            f"  {safe(name):<21} first violation at factor [bold]{shown}[/]; at {margin.get('factor', 2.0):g}: "
            f"{safe(margin.get('guardrail', '-'))} {number(margin.get('margin'), 3)} {unit}"
        )
    for entry in answer["worst"][:5]:
        margin = number(entry["margin"], 4, entry["unit"])
        yield f"  worst       {safe(entry['guardrail'])} {margin} ({entry['instrument']}): {safe(entry['attack'])}"
    if answer["picture"]:
        yield f"  picture     {safe(answer['picture'])}"
    yield f"  [dim]{answer['note']}[/]"


def replay_lines(answer: dict[str, Any]) -> Iterator[str]:
    """A replayed attack for people."""
    from robotctl.cli.report import number, safe

    word = {True: "[green]identical[/]", False: "[red]different[/]", None: "nothing to compare with"}[
        answer["identical"]
    ]
    yield f"[bold]{safe(answer['attack'])}[/] ({answer['instrument']}): {word}"
    yield f"  closest     {safe(answer['guardrail'])} {number(answer['margin'], 4, answer['unit'])}"
    yield f"  violations  {answer['violations']}"
    if answer["broken"]:
        yield f"  assumptions broken: {', '.join(safe(name) for name in answer['broken'])}"
    if answer["episode"]:
        yield f"  look at it  robotctl replay {safe(answer['episode'])}"
    yield f"  digest      {answer['digest']}"
