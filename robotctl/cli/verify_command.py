"""`robotctl verify`: are the assumptions of the safety case true?"""

from __future__ import annotations

import math
from typing import Annotated

import typer

NOT_HELD = 4  # exit code when an assumption does not hold

verify_app = typer.Typer(help="Checks the assumptions of the safety case.", no_args_is_help=True)


@verify_app.callback()
def verify() -> None:
    """Checks the assumptions of the safety case, one by one, against the simulator, motion files and samples."""


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
