"""The front door: parses the command line and hands over to one command. Nothing heavy is imported here."""

from __future__ import annotations

import os
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

import robotctl
from robotctl.cli import (
    adapt_command,
    bench_command,
    doctor_command,
    episodes_command,
    plan_command,
    redteam_command,
    replay_command,
    run_command,
)
from robotctl.cli.files_commands import guardrails_app, scenes_app, tasks_app
from robotctl.cli.output import errors_as_lines
from robotctl.cli.train_command import train_app
from robotctl.cli.verify_command import verify_app

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")  # small matrices: threads only cost, and would make sums depend on the machine


class FrontDoor(TyperGroup):
    """Runs a command so that errors end as one line and an exit code."""

    def invoke(self, ctx: Any) -> Any:
        with errors_as_lines():
            return super().invoke(ctx)


app = typer.Typer(
    name="robotctl",
    cls=FrontDoor,
    help="Makes a simulated household robot do a task, near people, within guardrails.",
    epilog="Exit codes: 0 done, 2 usage, 3 invalid file, 4 not reached, 5 guardrail violated, 6 refused, "
    "7 something missing, 130 interrupted.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

app.command("run")(run_command.run)
app.command("replay")(replay_command.replay)
app.command("plan")(plan_command.plan)
app.add_typer(bench_command.app, name="bench")
app.command("redteam")(redteam_command.redteam)
train_app.command("adapt")(adapt_command.adapt)
train_app.command("merge")(adapt_command.merge)
app.add_typer(train_app, name="train")
app.add_typer(episodes_command.app, name="episodes")
app.add_typer(scenes_app, name="scenes")
app.add_typer(tasks_app, name="tasks")
app.add_typer(guardrails_app, name="guardrails")
app.add_typer(verify_app, name="verify")
app.command("doctor")(doctor_command.doctor)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"robotctl {robotctl.__version__}")
        raise typer.Exit


@app.callback()
def front(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and end.")
    ] = False,
) -> None:
    """Makes a simulated household robot do a task, near people, within guardrails."""
