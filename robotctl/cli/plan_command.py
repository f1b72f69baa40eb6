"""`robotctl plan PROBLEMS.json`: motions of a Panda among given obstacles."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any

import typer

MANY = 3  # problems from which on a progress bar is shown
NOT_SOLVED = 4


def plan(
    problems: Annotated[
        Path, typer.Argument(metavar="PROBLEMS.json", help="One problem or a list of them.", show_default=False)
    ],
    out: Annotated[
        Path | None, typer.Option("--out", metavar="PATHS.json", help="Write the answer here, too.", show_default=False)
    ] = None,
    time_limit: Annotated[float, typer.Option(help="Seconds for each problem.", min=0.01, max=3600.0)] = 5.0,
    seed: Annotated[int, typer.Option(help="Same seed, same paths.", min=0, envvar="ROBOTCTL_SEED")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Plans motions of a Franka Panda, fixed at the origin, among boxes, cylinders and spheres.

    Example: robotctl plan examples/plan-shelf.json --out paths.json

    Paths keep the limits of joint position, speed and acceleration, and clear the obstacles and the robot itself all
    along. docs/plan.md describes the files. Exit code 4 if some problem was not solved.
    """
    from robotctl.cli.output import COMPILING, noted_if_slow, print_json, stdout_for_answers
    from robotctl.planning.motion.problem import load_problems

    rows = load_problems(problems)
    if out is not None:
        _must_be_writable(out)
    with stdout_for_answers():
        from robotctl.planning.motion.answer import answer, warm_up

        with noted_if_slow(COMPILING):
            warm_up()
        bar = _progress(len(rows)) if sys.stderr.isatty() and len(rows) >= MANY else nullcontext(None)
        with bar as advance:
            found = answer(rows, time_limit, seed, advance)
    if out is not None:
        from robotctl.jsontext import json_text

        out.write_text(json_text(found, indent=None) + "\n")
    if as_json:
        print_json(found)
    else:
        _show(found, out)
    if found["solved"] < found["problems"]:
        raise typer.Exit(NOT_SOLVED)


def _must_be_writable(out: Path) -> None:
    """Said before planning, not after."""
    from robotctl.errors import UsageError

    if out.is_dir():
        raise UsageError(f"--out {out}: is a folder; name a file")
    try:
        out.open("a").close()
    except OSError as error:
        raise UsageError(f"--out {out}: cannot be written: {error.strerror}") from None


def _progress(total: int) -> Any:
    """A context that gives a function to call after each problem, shown as a bar on stderr."""
    from collections.abc import Iterator
    from contextlib import contextmanager

    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    @contextmanager
    def showing() -> Iterator[Any]:
        columns = (TextColumn("planning"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
            task = bars.add_task("", total=total)
            yield lambda motion: bars.advance(task)

    return showing()


def _show(found: dict[str, Any], out: Path | None) -> None:
    """A row for each problem, and what it comes to."""
    from rich.table import Table
    from rich.text import Text

    from robotctl.cli.output import console
    from robotctl.files import one_line

    table = Table(box=None, pad_edge=False)
    for heading in ("problem", "status", "planned in", "lasts", "length", "clearance"):
        table.add_column(heading, justify="left" if heading in ("problem", "status") else "right", overflow="fold")
    table.columns[1].no_wrap = True
    for row in found["results"]:
        cells = ["", "", ""]
        if row["solved"]:
            clear = row["min_clearance_m"]
            near = f"{1e3 * clear:.0f} mm" if clear == clear else "-"  # NaN without obstacles
            cells = [f"{row['times'][-1]:.2f} s", f"{row['length']:.2f} rad", near]
        table.add_row(Text(one_line(str(row["id"]))), row["status"], f"{row['ms']:.0f} ms", *cells)
    terminal = console()
    terminal.print(table)
    for row in found["results"]:
        if "reason" in row:
            terminal.print(Text(f"{one_line(str(row['id']))}: {one_line(row['reason'])}"))
    where = f"; paths in {out}" if out is not None else "; --out FILE or --json gives the paths"
    terminal.print(Text(f"{found['solved']} of {found['problems']} solved{where}"))
