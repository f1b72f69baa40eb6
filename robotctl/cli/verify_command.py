"""`robotctl verify`: are the assumptions of the safety case true?"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer

NOT_HELD = 4  # exit code when an assumption does not hold
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


@verify_app.command("robot")
def robot(
    scene: Annotated[str, typer.Argument(help="A scene by name or file.")] = "kitchen",
    guardrails: Annotated[
        str, typer.Option("--guardrails", metavar="FILE", help="Whose assumptions, by name or path.")
    ] = "household",
    seed: Annotated[int, typer.Option(help="Same seed, same figures.", min=0, envvar="ROBOTCTL_SEED")] = 0,
    motions: Annotated[int, typer.Option(help="Random motions with an empty hand; the rest goes with it.", min=1)] = 24,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Does the robot do what the safety case assumes of it?

    Moves, loads, brakes and touches things in the simulator, as far as the filter lets it, and measures at 240 Hz what
    is assumed of tracking, braking, grip, covering spheres and sensors. Exit code 4 if something does not hold.
    """
    import sys

    from robotctl.cli.output import console, note, print_json, stdout_for_answers
    from robotctl.guardrails.load import find_guardrails, load_guardrails
    from robotctl.scene_files import load_scene

    loaded = load_scene(scene)
    rules = load_guardrails((find_guardrails(guardrails),), loaded)
    if not sys.stderr.isatty():
        note("measuring takes about two minutes")
    with stdout_for_answers(), _counting(sys.stderr.isatty(), "measuring") as progress:
        from robotctl.verify.robot import verify_robot

        answer = verify_robot(loaded, rules, seed, motions, progress)
    if as_json:
        print_json(answer)
    else:
        for part in _robot_parts(answer):
            console().print(part)
    raise typer.Exit(0 if answer["holds"] else NOT_HELD)


def _robot_parts(answer: dict[str, Any]) -> Iterator[Any]:
    """A row for each check; bodies that their spheres hold share one."""
    from rich.table import Table

    from robotctl.cli.report import number, safe

    grid = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for heading in ("check", "condition", "assumed", "worst", "99 %", "unit", "n", "motions", "holds"):
        left = heading in ("check", "condition", "unit", "holds")
        grid.add_column(heading, justify="left" if left else "right", no_wrap=heading in ("check", "holds"))
    covered = [c for c in answer["checks"] if c["name"] == "coverage" and c["holds"]]
    rows = [c for c in answer["checks"] if c not in covered]
    if covered:
        nearest = max(covered, key=lambda c: float(c["worst"]))
        n = sum(c["n"] for c in covered)
        rows.append(nearest | {"condition": f"{len(covered)} bodies, nearest {nearest['condition']}", "n": n})
    for row in rows:
        word = "[dim]-[/]" if row["assumed"] is None else "[green]yes[/]" if row["holds"] else "[bold red]no[/]"
        digits = 2 if row["name"] == "coverage" else 1
        figures = (number(row[key], digits) for key in ("assumed", "worst", "p99"))
        count, motions = f"{row['n']:,} {row['of']}", str(row["motions"] or "")
        grid.add_row(safe(row["name"]), safe(row["condition"]), *figures, row["unit"], count, motions, word)
    yield grid
    failed = [row for row in rows if not row["holds"]]
    for row in failed:
        note = f"; {safe(row['note'])}" if row["note"] else ""
        yield f"[bold red]does not hold[/]: {safe(row['name'])}, {safe(row['condition'])}{note}"
    if not failed:
        yield f"[green]all {len(answer['checks'])} checks hold[/], seed {answer['seed']}"


@contextmanager
def _counting(shown: bool, what: str) -> Iterator[Callable[[int, int], None] | None]:
    """A function to call with what is done and what there is in all, shown as a bar on stderr; None if not shown."""
    if not shown:
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    columns = (TextColumn(what), BarColumn(), TimeElapsedColumn(), TextColumn("[dim]left[/]"), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task("", total=None)
        yield lambda done, total: bars.update(task, completed=done, total=total)


@verify_app.command("people")
def people(
    file: Annotated[
        str,
        typer.Argument(
            metavar="FILE",
            help="A motion (.npz, .bvh), a file of people, or a task by name or file.",
            show_default=False,
        ),
    ],
    guardrails: Annotated[
        list[str] | None,
        typer.Option(
            "--guardrails", help="By name or path; may be repeated.", show_default="the task's, else household"
        ),
    ] = None,
    scene: Annotated[str, typer.Option(help="Where the people of a people file walk.")] = "kitchen",
    seed: Annotated[int, typer.Option(help="Of the episode: people with jitter depend on it.", min=0)] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Do people keep the speeds that the guardrails assume of them?

    Example: robotctl verify people guest.bvh

    Measured at every physics step (240 Hz), as the judge does. Exit code 4 if some part of a body is ever faster.
    """
    from rich.table import Table
    from rich.text import Text

    from robotctl.cli.output import console, noted_if_slow, print_json, stdout_for_answers

    with stdout_for_answers():
        from robotctl.verify.people import audit_dict, verify_people

        with noted_if_slow("measuring the motion"):
            audit = verify_people(file, guardrails or (), scene, seed)
    if as_json:
        print_json(audit_dict(audit))
    else:
        table = Table(box=None, pad_edge=False)
        for heading in ("part", "p50", "p99", "p99.9", "max", "assumed", "beyond", "first"):
            table.add_column(heading, justify="left" if heading in ("part", "first") else "right")
        for part in audit.parts:
            first, style = part.first_beyond, "red" if part.first_beyond is not None else ""
            where = ""
            if first is not None:
                who = f" of {first.person}" if len(audit.people) > 1 else ""
                where = f"{first.keypoint}{who} at {first.time:.2f} s, {first.speed:.2f} m/s"
            speeds = [f"{value:.2f}" for value in (part.p50, part.p99, part.p999, part.max)]
            share = f"{100 * part.share_beyond:.2f} %" if first is not None else "-"
            table.add_row(part.part, *speeds, f"{part.assumed:.2f} m/s", share, Text(where), style=style)
        terminal = console()
        terminal.print(table)
        count = f"{len(audit.people)} {'person' if len(audit.people) == 1 else 'people'}"
        unit = f", read in the unit {audit.unit}" if audit.unit is not None else ""
        terminal.print(Text(f"{count}, {audit.duration:.1f} s of motion{unit}; {' + '.join(audit.guardrails)}"))
        if audit.holds:
            terminal.print(Text(f"holds: nobody is faster than assumed (at most {100 * audit.factor:.0f} % of it)"))
        elif math.isfinite(audit.factor):
            enough = math.ceil(1e3 * audit.factor) / 1e3
            terminal.print(Text(f"does not hold: it would with the assumed speeds times {enough:g}"))
        else:
            terminal.print("does not hold, with no factor on the assumed speeds: one of them is 0")
    if not audit.holds:
        raise typer.Exit(NOT_HELD)
