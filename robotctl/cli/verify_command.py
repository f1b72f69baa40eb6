"""`robotctl verify`: are the assumptions of the safety case true?"""

from __future__ import annotations

import sys
from contextlib import nullcontext
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

verify_app = typer.Typer(help="Checks the assumptions of the safety case.", no_args_is_help=True)


@verify_app.callback()
def verify() -> None:
    """Checks the assumptions of the safety case, one by one, against the simulator, motion files and samples."""


@verify_app.command("filter")
def filter_(
    samples: Annotated[int, typer.Option(help="Control ticks to try.", min=1, max=100_000_000)] = 10_000,
    seed: Annotated[int, typer.Option(help="Same seed, same samples, with any number of workers.", min=0)] = 0,
    workers: Annotated[int, typer.Option(help="Processes.", min=1)] = 1,
    guardrails: Annotated[
        list[str] | None,
        typer.Option(help="Guardrails by name or path; may be repeated.", show_default="household"),
    ] = None,
    replay: Annotated[
        Path | None, typer.Option(help="Run the case in this file again instead.", show_default=False)
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for failing cases.", show_default="runs/verify-filter-DATE")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Tries to break the safety filter: sampled steps of its inductive proof, under the worst that is assumed.

    Every sample is one control tick from a state whose stored brake was verified, with any proposal, and with people,
    readings, drives and held things as bad as the assumptions allow. Exit code 5 if a guardrail was broken by a moving
    robot, or an action was executed that was not verified; each failure is written to a file that --replay runs again.
    """
    from robotctl.cli.output import COMPILING, console, note, noted_if_slow, print_json, stdout_for_answers
    from robotctl.cli.report import plural, safe
    from robotctl.cli.view import progress_bar
    from robotctl.verify.filter import HOUSEHOLD, episodes, load_room, replay_case, verify_filter

    files = tuple(guardrails or ())
    with stdout_for_answers():
        with noted_if_slow(COMPILING):
            load_room(files or (HOUSEHOLD,)).judge(None)
        if replay is not None:
            answer = replay_case(replay, files)
        else:
            folder = out or Path("runs") / f"verify-filter-{datetime.now():%Y%m%d-%H%M%S}"
            with progress_bar(len(episodes(samples)), "episodes") if sys.stderr.isatty() else nullcontext() as bar:

                def advance(done: int, failed: int) -> None:
                    for _ in range(len(episodes(done)) if bar is not None else 0):
                        bar.advance(True, failed > 0)  # type: ignore[union-attr]

                answer = verify_filter(samples, seed, workers, files or (HOUSEHOLD,), folder, advance)
    if as_json:
        print_json(answer)
    else:
        terminal = console()
        colour = "red" if answer["failures"] else "green"
        terminal.print(f"[{colour}]{answer['failures']} of {plural(answer['samples'], 'sample')} fail[/]")
        terminal.print(f"rate of failures, 95 %: at most {answer['failures_ci95'][1]:.2g}")
        terminal.print(
            f"moving {100 * answer['moving_share']:.0f} %, accepted {answer['accepted']}, "
            f"scaled {answer['scaled']}, braked {answer['braked']}"
        )
        for name, margin in answer["smallest_margins"].items():
            judged = answer["smallest_margins_judge"].get(name)
            terminal.print(f"  {safe(name)}: {margin:.4f}" + ("" if judged is None else f" (judge {judged:.4f})"))
        for fault in answer["faults"]:
            margin = "" if fault["margin"] is None else f" {fault['margin']:.6f}"
            terminal.print(
                f"[red]  episode {fault['episode']} tick {fault['tick']}: {safe(fault['what'])}{margin} "
                f"({fault['seen_by']})[/]"
            )
    if answer["failures"] and replay is None:
        note(f"to run a failure again: robotctl verify filter --replay {answer['cases'][0]}")
    raise typer.Exit(5 if answer["failures"] else 0)
