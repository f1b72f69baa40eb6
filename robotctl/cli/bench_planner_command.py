"""`robotctl bench planner`: our trajectory optimizer beside its peers."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any

import typer

from robotctl.cli.bench_options import Json, Out, Resume, Seeds, answer_folder, told_how_to_go_on

OPEN, CLOSED_LOOP, JOURNEYS = 6, 5, 30  # seeds of `bench planner`, `--closed-loop` and `--journeys`


def planner(
    seeds: Seeds = None,
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
    resume: Resume = False,
    out: Out = None,
    as_json: Json = False,
) -> None:
    """Compares our trajectory optimizer with its peers on the same problems, judged by one independent checker.

    Methods whose library is not installed are left out and named: they are the extra `bench`.
    """
    from robotctl.bench.planner import bench_answer, chosen_kinds, chosen_methods, expected, run_bench
    from robotctl.bench.planner_journeys import KIND as JOURNEY
    from robotctl.bench.planner_problems import problems as all_problems
    from robotctl.bench.trials import chosen_seeds
    from robotctl.cli.bench_tables import planner_table
    from robotctl.cli.output import console, note, print_json, stdout_for_answers
    from robotctl.cli.view import progress_bar
    from robotctl.errors import MissingPartError, UsageError

    folder = answer_folder("planner", out, resume)
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

        with told_how_to_go_on(folder):
            records = run_bench(plan, names, folder, time_limit, resume, advance)
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
    from robotctl.cli.bench_tables import interval
    from robotctl.cli.output import console, note, print_json, stdout_for_answers
    from robotctl.cli.report import number, safe
    from robotctl.cli.view import progress_bar
    from robotctl.errors import MissingPartError

    with stdout_for_answers(), progress_bar(len(plan), "runs") if sys.stderr.isatty() else nullcontext() as bar:

        def advance(record: dict[str, Any]) -> None:
            if bar is not None:
                bar.advance(record["arrived"], bool(record["violations"]))

        with told_how_to_go_on(folder):
            records = run_closed_loop(plan, folder, arm, resume, advance)
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
        terminal.print(f"arrived: {number(answer['arrived_rate'])} ({interval(answer['arrived_ci95'])})")
        for name, value in answer["smallest_margins"].items():
            terminal.print(f"  {name}: {number(value, 4)}")
        terminal.print(f"[dim]answers:[/] {safe(answer['out'])}")
    return 5 if arm == "told" and answer["runs_violating"] else 0
