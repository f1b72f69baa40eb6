"""`robotctl bench`: the same episodes with and without guardrails, with and without the learned model."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from robotctl.cli import bench_planner_command
from robotctl.cli.bench_options import (
    Episodes,
    Json,
    Keep,
    Model,
    Out,
    Resume,
    Seeds,
    Tasks,
    Workers,
    answer_folder,
    command_of,
    existing_model,
    part_of,
    told_how_to_go_on,
)

if TYPE_CHECKING:
    from robotctl.bench.trials import Trial

TWO_TASKS = "kitchen/clear-table,kitchen/put-away-knife"
app = typer.Typer(help="Measures what robotctl promises, over many episodes.", no_args_is_help=True)
app.command("planner")(bench_planner_command.planner)


@app.callback()
def bench() -> None:
    """Measures what robotctl promises, over many episodes."""


@app.command("guardrails")
def guardrails(
    tasks: Tasks = TWO_TASKS,
    episodes: Episodes = 10,
    seeds: Seeds = None,
    arms: Annotated[
        str | None,
        typer.Option(
            help="Which of full, filter-only, planner-only, soft-penalty, none, no-people.", show_default="all six"
        ),
    ] = None,
    planner: Annotated[str, typer.Option(help="The trajectory planner: ours, a hostile one, or a plug-in.")] = "sqp",
    price: Annotated[bool, typer.Option("--price", help="Measure the seconds that each guardrail costs, too.")] = False,
    workers: Workers = 2,
    shard: Annotated[
        str | None, typer.Option(help="Only part i of n (1/4, 2/4, ...); then --resume joins them.", show_default=False)
    ] = None,
    model: Model = None,
    time_limit: Annotated[
        float | None, typer.Option(help="Simulated seconds of an episode.", min=0.05, show_default="the task's")
    ] = None,
    resume: Resume = False,
    keep: Keep = False,
    report: Annotated[
        Path | None,
        typer.Option(help="Run nothing; make the report from the answers in --out, as this file.", show_default=False),
    ] = None,
    out: Out = None,
    as_json: Json = False,
) -> None:
    """Runs tasks with the guardrails in planner and filter, in one of them, as costs, in none, and without people.

    The test bites if arm `none` violates often; the guardrails hold if arm `full` never does. Exit code 5 if an arm
    with the filter violated a guardrail. The folder of the answers gets a report.html.
    """
    from robotctl.bench.episodes import violates
    from robotctl.bench.guardrails import UNFILTERED, bench_answer, chosen_arms, exit_code, trials
    from robotctl.bench.report import bench_page
    from robotctl.bench.trials import chosen_seeds, chosen_tasks, filed_answers
    from robotctl.cli.bench_tables import guardrails_table
    from robotctl.cli.output import console, note, print_json
    from robotctl.errors import UsageError
    from robotctl.page.document import checked, write
    from robotctl.planning import registry

    if report is not None:
        if out is None:
            raise UsageError("--report needs the --out of the bench that it is about")
        report = checked(report, "--report")
        answers = filed_answers(out)
        answer = bench_answer(answers, out)
    else:
        registry.check(planner)
        chosen, numbers = chosen_arms(arms, planner, price), chosen_seeds(seeds, episodes)
        folder = answer_folder("guardrails", out, resume)
        command = command_of(sys.argv[1:])
        plan = trials(
            chosen_tasks(tasks), numbers, chosen, folder, existing_model(model), time_limit, keep, planner, price,
            command,
        )[part_of(shard)]  # fmt: skip
        answers = _run(plan, workers, resume, folder, lambda t, a: t.arm not in UNFILTERED and violates(a))
        answer = bench_answer(answers, folder)
        if shard is None:
            report = folder / "report.html"
        else:
            note(f"when all parts are done: robotctl bench guardrails --out {folder} --report FILE.html")
    if report is not None:
        write(report, bench_page(answer))
    answer["report"] = report
    if as_json:
        print_json(answer)
    else:
        terminal = console()
        for part in guardrails_table(answer):
            terminal.print(part)
    raise typer.Exit(exit_code(answer))


@app.command("model")
def model_(
    tasks: Tasks = "kitchen/*",
    episodes: Episodes = 10,
    seeds: Seeds = None,
    workers: Workers = 2,
    model: Model = None,
    resume: Resume = False,
    keep: Keep = False,
    out: Out = None,
    as_json: Json = False,
) -> None:
    """Runs tasks with the learned model, with what is known without learning, and with random weights.

    Exit code 5 if a guardrail was violated in any arm: they do not depend on the model.
    """
    from robotctl.bench.episodes import violates
    from robotctl.bench.model import ARMS, bench_answer, model_files, trials
    from robotctl.bench.trials import chosen_seeds, chosen_tasks
    from robotctl.cli.bench_tables import model_table
    from robotctl.cli.output import console, print_json

    folder = answer_folder("model", out, resume)
    names, numbers = chosen_tasks(tasks), chosen_seeds(seeds, episodes)
    plan = trials(names, numbers, ARMS, folder, model_files(existing_model(model), folder, 0), keep)
    answers = _run(plan, workers, resume, folder, lambda t, a: violates(a))
    results = {arm: [a for a in answers if a["arm"] == arm] for arm in ARMS}
    answer = bench_answer(results, names, numbers, folder, model)
    if as_json:
        print_json(answer)
    else:
        console().print(model_table(answer))
    bad = any(row["episodes_violating"] or row["contacts_moving"] for row in answer["closed_loop"])
    raise typer.Exit(5 if bad else 1 if any(row["failed"] for row in answer["closed_loop"]) else 0)


def _run(
    plan: Sequence[Trial],
    workers: int,
    resume: bool,
    folder: Path,
    alarming: Callable[[Trial, dict[str, Any]], bool],
) -> list[dict[str, Any]]:
    """The answers of all trials, in their order, under a progress bar that counts those that should not have been."""
    from robotctl.bench.trials import run_trials
    from robotctl.cli.output import stdout_for_answers
    from robotctl.cli.view import progress_bar

    with (
        stdout_for_answers(),
        progress_bar(len(plan), "episodes") if sys.stderr.isatty() else nullcontext() as bar,
        told_how_to_go_on(folder),
    ):

        def advance(trial: Trial, answer: dict[str, Any]) -> None:
            if bar is not None:
                bar.advance(bool(answer["success"]), alarming(trial, answer))

        return run_trials(plan, workers, resume, advance)


@app.command("filter")
def filter_(
    cycles: Annotated[int, typer.Option(help="Control cycles, a quarter of each kind.", min=4)] = 4000,
    seed: Annotated[int, typer.Option(help="Same seed, same cycles.", min=0)] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Times the safety filter alone: a knife in the hand, two people, the kitchen, slow and fast, far and near.

    Times are wall times, and processor times beside them: on a machine that does other things the latter say more.
    """
    from robotctl.bench.filter import measure
    from robotctl.cli.bench_tables import filter_table
    from robotctl.cli.output import console, noted_if_slow, print_json

    with noted_if_slow("measuring"):
        answer = measure(cycles, seed)
    if as_json:
        print_json(answer)
    else:
        console().print(filter_table(answer))
