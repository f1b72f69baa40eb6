"""`robotctl bench`: the same episodes with and without guardrails, and our planner beside its peers."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import nullcontext
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer

COLUMNS = (
    "n", "success (95 %)", "violating (95 %)", "violations", "contacts", "nearest", "filter acts", "stopped", "lasts",
    "speed",
)  # fmt: skip
OPEN, CLOSED_LOOP, JOURNEYS = 6, 5, 30  # seeds of `bench planner`, `--closed-loop` and `--journeys`
app = typer.Typer(help="Measures what robotctl promises, over many episodes.", no_args_is_help=True)


@app.callback()
def bench() -> None:
    """Measures what robotctl promises, over many episodes."""


@app.command("guardrails")
def guardrails(
    tasks: Annotated[str, typer.Option(help="Tasks by a pattern over their names, or one task file.")] = "kitchen/*",
    episodes: Annotated[int, typer.Option(help="Episodes of each task in each arm.", min=1)] = 10,
    seeds: Annotated[str | None, typer.Option(help="Seeds A:B (without B) instead.", show_default=False)] = None,
    arms: Annotated[str, typer.Option(help="Which of full, none, no-people.")] = "full,none,no-people",
    workers: Annotated[int, typer.Option(help="Processes.", min=1)] = 2,
    shard: Annotated[
        str | None, typer.Option(help="Only part i of n (1/4, 2/4, ...); then --resume joins them.", show_default=False)
    ] = None,
    model: Annotated[
        Path | None, typer.Option(help="A world model made by `robotctl train`.", show_default="the packaged one")
    ] = None,
    time_limit: Annotated[
        float | None, typer.Option(help="Simulated seconds of an episode.", min=0.05, show_default="the task's")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with what lies in --out.")] = False,
    keep: Annotated[bool, typer.Option("--keep", help="Keep the logs of uneventful episodes, too.")] = False,
    out: Annotated[
        Path | None, typer.Option(help="Folder for answers and logs.", show_default="runs/bench-guardrails-DATE")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Runs every task with guardrails, without them, and without people, and counts what the judge saw.

    The test bites if arm `none` violates often; the guardrails hold if arm `full` never does. Exit code 5 if arm
    `full` or `no-people` violated a guardrail.
    """
    from robotctl.bench.episodes import violates
    from robotctl.bench.guardrails import (
        bench_answer,
        chosen_arms,
        chosen_seeds,
        chosen_tasks,
        run_bench,
        trials,
    )
    from robotctl.cli.output import console, note, print_json, stdout_for_answers
    from robotctl.cli.view import progress_bar
    from robotctl.errors import InvalidFileError, UsageError

    if resume and out is None:
        raise UsageError("--resume needs the --out of the bench to go on with")
    if model is not None and not model.is_file():
        raise InvalidFileError(f"{model}: no such file")
    folder = out or Path("runs") / f"bench-guardrails-{datetime.now():%Y%m%d-%H%M%S}"
    names, numbers = chosen_tasks(tasks), chosen_seeds(seeds, episodes)
    plan = trials(names, numbers, chosen_arms(arms), folder, model, time_limit, keep)[part_of(shard)]
    with stdout_for_answers(), progress_bar(len(plan), "episodes") if sys.stderr.isatty() else nullcontext() as bar:

        def advance(trial: Any, answer: dict[str, Any]) -> None:
            if bar is not None:
                bar.advance(bool(answer["success"]), trial.arm != "none" and violates(answer))

        try:
            results = run_bench(plan, workers, resume, advance)
        except KeyboardInterrupt:
            note(f"to go on: the same command with  --resume --out {folder}")
            raise
    answer = bench_answer(results, names, numbers, folder)
    if as_json:
        print_json(answer)
    else:
        terminal = console()
        for part in table(answer):
            terminal.print(part)
    raise typer.Exit(exit_code(answer))


@app.command("model")
def model_(
    tasks: Annotated[str, typer.Option(help="Tasks by a pattern over their names, or one task file.")] = "kitchen/*",
    episodes: Annotated[int, typer.Option(help="Episodes of each task in each arm.", min=1)] = 10,
    seeds: Annotated[str | None, typer.Option(help="Seeds A:B (without B) instead.", show_default=False)] = None,
    workers: Annotated[int, typer.Option(help="Processes.", min=1)] = 2,
    model: Annotated[
        Path | None, typer.Option(help="A world model made by `robotctl train`.", show_default="the packaged one")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with what lies in --out.")] = False,
    keep: Annotated[bool, typer.Option("--keep", help="Keep the logs of uneventful episodes, too.")] = False,
    out: Annotated[
        Path | None, typer.Option(help="Folder for answers and logs.", show_default="runs/bench-model-DATE")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Runs tasks with the learned model, with what is known without learning, and with random weights.

    Exit code 5 if a guardrail was violated in any arm: they do not depend on the model.
    """
    from robotctl.bench.episodes import violates
    from robotctl.bench.guardrails import chosen_seeds, chosen_tasks, run_bench
    from robotctl.bench.model import ARMS, bench_answer, model_files, trials
    from robotctl.cli.output import console, note, print_json, stdout_for_answers
    from robotctl.cli.view import progress_bar
    from robotctl.errors import UsageError

    if resume and out is None:
        raise UsageError("--resume needs the --out of the bench to go on with")
    folder = out or Path("runs") / f"bench-model-{datetime.now():%Y%m%d-%H%M%S}"
    names, numbers = chosen_tasks(tasks), chosen_seeds(seeds, episodes)
    plan = trials(names, numbers, ARMS, folder, model_files(model, folder, 0), keep)
    with stdout_for_answers(), progress_bar(len(plan), "episodes") if sys.stderr.isatty() else nullcontext() as bar:

        def advance(trial: Any, answer: dict[str, Any]) -> None:
            if bar is not None:
                bar.advance(bool(answer["success"]), violates(answer))

        try:
            results = run_bench(plan, workers, resume, advance)
        except KeyboardInterrupt:
            note(f"to go on: the same command with  --resume --out {folder}")
            raise
    answer = bench_answer(results, names, numbers, folder, model)
    if as_json:
        print_json(answer)
    else:
        console().print(model_table(answer))
    bad = any(row["episodes_violating"] or row["contacts_moving"] for row in answer["closed_loop"])
    raise typer.Exit(5 if bad else 1 if any(row["failed"] for row in answer["closed_loop"]) else 0)


def model_table(answer: dict[str, Any]) -> Any:
    """Tasks and arms as a table, one row each."""
    from rich.table import Table

    from robotctl.cli.report import number

    grid = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    grid.add_column("task", no_wrap=True)
    grid.add_column("model", no_wrap=True)
    for title in ("n", "success (95 %)", "time", "skills", "pushes", "violating"):
        grid.add_column(title, justify="right")
    for row in answer["closed_loop"]:
        grid.add_row(
            row["task"],
            f"[bold]{row['name']}[/]",
            str(row["episodes"]),
            f"{number(row['success_rate'])} ({_interval(row['success_ci95'])})",
            number(row["time_s_median"], 1, "s"),
            number(row["skills_median"], 1),
            number(row["pushes_median"], 1),
            f"[{'red' if row['episodes_violating'] else 'green'}]{row['episodes_violating']}[/]",
        )
    return grid


@app.command("planner")
def planner(
    seeds: Annotated[str | None, typer.Option(help="Seeds A:B (without B).", show_default="0:6")] = None,
    problems: Annotated[
        int | None, typer.Option(help="At most so many problems.", min=1, show_default="all of these seeds")
    ] = None,
    kinds: Annotated[str, typer.Option(help="Which kinds of problems.")] = "static,person,blade,cup,shelf",
    methods: Annotated[
        str | None,
        typer.Option(
            help="Which of cold, budget, rti, slsqp, ipopt, drake, cem, mppi, ompl.", show_default="all installed"
        ),
    ] = None,
    time_limit: Annotated[float, typer.Option(help="Seconds a slow method gets for one problem.", min=0.1)] = 10.0,
    scaling: Annotated[bool, typer.Option("--scaling", help="Draw how our times grow instead.")] = False,
    closed_loop: Annotated[
        bool,
        typer.Option("--closed-loop", help="Instead run ours alone, replanning with a model wrong within its bounds."),
    ] = False,
    untold: Annotated[
        bool, typer.Option("--untold", help="With --closed-loop, the control: ours is not told of any error.")
    ] = False,
    journeys: Annotated[
        bool, typer.Option("--journeys", help="Instead drive ours alone on long ways round the kitchen's table.")
    ] = False,
    no_routes: Annotated[
        bool, typer.Option("--no-routes", help="With --journeys, the control: ours looks for no way round.")
    ] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with what lies in --out.")] = False,
    out: Annotated[
        Path | None, typer.Option(help="Folder for the answers.", show_default="runs/bench-planner-DATE")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Compares our trajectory optimizer with its peers on the same problems, judged by one independent checker.

    Methods whose library is not installed are left out and named: pip install 'robotctl[bench]'.
    """
    from robotctl.bench.guardrails import chosen_seeds
    from robotctl.bench.planner import bench_answer, chosen_kinds, chosen_methods, expected, run_bench
    from robotctl.bench.planner_journeys import KIND as JOURNEY
    from robotctl.bench.planner_problems import problems as all_problems
    from robotctl.cli.output import console, note, print_json, stdout_for_answers
    from robotctl.cli.view import progress_bar
    from robotctl.errors import MissingPartError, UsageError

    if resume and out is None:
        raise UsageError("--resume needs the --out of the bench to go on with")
    folder = out or Path("runs") / f"bench-planner-{datetime.now():%Y%m%d-%H%M%S}"
    if scaling:
        from robotctl.bench.planner_scaling import draw, measure

        with stdout_for_answers():
            points = measure(note)
            picture = draw(points, folder)
        if as_json:
            print_json({"schema": "robotctl/bench-planner-scaling.v1", "points": points, "picture": picture})
        else:
            console().print(str(picture))
        return
    if untold and not closed_loop:
        raise UsageError("--untold is the control of --closed-loop")
    if no_routes and not journeys:
        raise UsageError("--no-routes is the control of --journeys")
    if journeys:
        ways = [(JOURNEY, 10, seed) for seed in chosen_seeds(seeds, JOURNEYS)][:problems]
        raise typer.Exit(closed_loop_runs(ways, folder, "no-routes" if no_routes else "told", resume, as_json, True))
    plan = all_problems(chosen_seeds(seeds, CLOSED_LOOP if closed_loop else OPEN), chosen_kinds(kinds))[:problems]
    if closed_loop:
        raise typer.Exit(closed_loop_runs(plan, folder, "untold" if untold else "told", resume, as_json))
    names, absent = chosen_methods(methods)
    for name, word in absent.items():
        note(f"{name}: left out, {word}")
    if not names:
        raise MissingPartError("no method can run here: pip install 'robotctl[bench]'")
    total = expected(plan, names)
    with stdout_for_answers(), progress_bar(total, "answers") if sys.stderr.isatty() else nullcontext() as bar:

        def advance(record: dict[str, Any]) -> None:
            if bar is not None:
                bar.advance(record["solved"], not record["feasible"])

        try:
            records = run_bench(plan, names, folder, time_limit, resume, advance)
        except KeyboardInterrupt:
            note(f"to go on: the same command with  --resume --out {folder}")
            raise
    answer = bench_answer(records, names, absent, time_limit, folder)
    if as_json:
        print_json(answer)
    else:
        terminal = console()
        for part in planner_table(answer):
            terminal.print(part)


def closed_loop_runs(
    plan: list[tuple[str, int, int]], folder: Path, arm: str, resume: bool, as_json: bool, journeys: bool = False
) -> int:
    """Runs and reports `--closed-loop` or `--journeys`; 5 when a margin was violated although bounds were told."""
    from robotctl.bench.planner_closed_loop import arms_of, closed_loop_answer, run_closed_loop
    from robotctl.bench.planner_journeys import draw
    from robotctl.cli.output import console, note, print_json, stdout_for_answers
    from robotctl.cli.report import number, safe
    from robotctl.cli.view import progress_bar
    from robotctl.errors import MissingPartError

    with stdout_for_answers(), progress_bar(len(plan), "runs") if sys.stderr.isatty() else nullcontext() as bar:

        def advance(record: dict[str, Any]) -> None:
            if bar is not None:
                bar.advance(record["arrived"], bool(record["violations"]))

        try:
            records = run_closed_loop(plan, folder, arm, resume, advance)
        except KeyboardInterrupt:
            note(f"to go on: the same command with  --resume --out {folder}")
            raise
    answer = closed_loop_answer(records, arm, folder)
    if journeys:
        try:
            answer["picture"] = draw(arms_of(plan, folder), folder)
        except MissingPartError as missing:
            note(str(missing))
    if as_json:
        print_json(answer)
    else:
        terminal = console()
        terminal.print(f"{answer['runs_violating']} of {answer['runs']} runs violate a margin")
        terminal.print(f"arrived: {number(answer['arrived_rate'])} ({_interval(answer['arrived_ci95'])})")
        for name, value in answer["smallest_margins"].items():
            terminal.print(f"  {name}: {number(value, 4)}")
        terminal.print(f"[dim]answers:[/] {safe(answer['out'])}")
    return 5 if arm == "told" and answer["runs_violating"] else 0


def planner_table(answer: dict[str, Any]) -> Iterator[Any]:
    """The methods as a table, one row each."""
    from rich.table import Table

    from robotctl.cli.report import number, safe

    grid = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 1, 0, 0))
    grid.add_column("method", no_wrap=True)
    for title in (
        "n",
        "solved",
        "feasible",
        "ms p50",
        "p95",
        "p99",
        "x ours",
        "cost/best",
        "in 5 %",
        "worst",
    ):
        grid.add_column(title, justify="right")
    for row in answer["methods"]:
        grid.add_row(
            f"[bold]{row['name']}[/]",
            str(row["n"]),
            str(row["solved"]),
            number(row["feasible_rate"]),
            number(row["ms_p50"], 1),
            number(row["ms_p95"], 1),
            number(row["ms_p99"], 1),
            number(answer["ratios"].get(row["name"]), 2),
            number(row["cost_ratio_to_best"], 3),
            number(row["within_5_percent"], 2),
            number(row["max_violation"], 4),
        )
    yield grid
    yield f"[dim]{answer['problems']} problems; {safe(answer['machine'])}[/]"
    yield f"[dim]answers:[/] {safe(answer['out'])}"


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
    from robotctl.cli.output import console, noted_if_slow, print_json

    with noted_if_slow("measuring"):
        answer = measure(cycles, seed)
    if as_json:
        print_json(answer)
    else:
        console().print(filter_table(answer))


def filter_table(answer: dict[str, Any]) -> Any:
    """All cycles and each quarter of them, one row each."""
    from rich.table import Table

    from robotctl.cli.report import number

    grid = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    grid.add_column("motion, people", no_wrap=True)
    for title in ("n", "ms p50", "p99", "max", "cpu ms p50", "p99", "rows", "accepted", "scaled", "braked", "moving"):
        grid.add_column(title, justify="right")
    for name, row in (("all", answer), *answer["by_quarter"].items()):
        shares = (row[f"{what}_share"] for what in ("accepted", "scaled", "braked", "moving"))
        times = (row[key] for key in ("ms_p50", "ms_p99", "ms_max", "cpu_ms_p50", "cpu_ms_p99"))
        grid.add_row(
            f"[bold]{name}[/]",
            str(row["cycles"]),
            *(number(ms, 2) for ms in times),
            f"{row['rows_median']}",
            *(f"{100 * share:.0f} %" for share in shares),
        )
    return grid


def part_of(shard: str | None) -> slice:
    """Every n-th trial from the i-th on, from `i/n`."""
    from robotctl.errors import UsageError

    if shard is None:
        return slice(None)
    i, slash, n = shard.partition("/")
    if not (slash and i.isdigit() and n.isdigit() and 1 <= int(i) <= int(n)):
        raise UsageError(f"--shard: expected i/n with 1 <= i <= n, as in 1/4, got '{shard[:20]}'")
    return slice(int(i) - 1, None, int(n))


def exit_code(answer: dict[str, Any]) -> int:
    """5 when an arm with guardrails violated one, 1 when an episode could not be run, else 0."""
    if any(arm["episodes_violating"] or arm["contacts_moving"] for arm in answer["arms"] if arm["name"] != "none"):
        return 5
    return 1 if any(arm["failed"] for arm in answer["arms"]) else 0


def table(answer: dict[str, Any]) -> Iterator[Any]:
    """The arms as a table, one row each; then where the files lie."""
    from rich.table import Table

    from robotctl.cli.report import number, plural, safe

    grid = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 1, 0, 0))
    widest = max((len(arm["name"]) for arm in answer["arms"]), default=0)
    grid.add_column("arm", no_wrap=True, min_width=widest)
    for title in COLUMNS:
        grid.add_column(title, justify="right")  # folds on a narrow terminal rather than losing figures
    for arm in answer["arms"]:
        n = max(1, arm["episodes"] - arm["failed"])
        violated = "red" if arm["episodes_violating"] else "green"
        share = arm["interventions_per_moving_cycle"]
        grid.add_row(
            f"[bold]{arm['name']}[/]",
            str(arm["episodes"]),
            f"{number(arm['success_rate'])} ({_interval(arm['success_ci95'])})",
            f"[{violated}]{number(arm['violation_rate'])}[/] ({_interval(arm['violation_ci95'])})",
            f"[{violated}]{arm['violations']}[/]",
            f"[{'red' if arm['contacts_moving'] else 'green'}]{arm['contacts_moving']}[/]",
            number(arm["min_separation_m"], 2, "m"),
            "-" if share is None else f"{100 * share:.1f} %",
            f"{arm['stopped_s'] / n:.1f} s",
            f"{arm['simulated_s'] / n:.1f} s",
            f"{number(arm['real_time_factor'], 1)}x",
        )
    yield grid
    for arm in answer["arms"]:
        broken = ", ".join(f"{safe(name)} {count}" for name, count in arm["violations_by_id"].items() if count)
        if broken:
            yield f"[dim]{arm['name']}:[/] {broken}"
        if arm["failed"]:
            yield f"[red]{arm['name']}: {plural(arm['failed'], 'episode')} could not be run[/]"
    yield f"[dim]answers and logs of eventful episodes:[/] {safe(answer['out'])}"


def _interval(bounds: list[float]) -> str:
    return f"{bounds[0]:.2f}-{bounds[1]:.2f}"
