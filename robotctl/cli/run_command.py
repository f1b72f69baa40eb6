"""`robotctl run TASK`: runs episodes of a task and says how they went."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from robotctl.bench.episodes import EpisodeJob
    from robotctl.guardrails.load import GuardrailSet
    from robotctl.task import Task

VIOLATED = 5


def run(
    task: Annotated[str, typer.Argument(help="A task by name (kitchen/clear-table) or file.", show_default=False)],
    seed: Annotated[
        int, typer.Option(help="Seed of everything random: starts, people, sensing.", envvar="ROBOTCTL_SEED", min=0)
    ] = 0,
    episodes: Annotated[int, typer.Option(help="How many episodes, with seeds from --seed on.", min=1)] = 1,
    workers: Annotated[
        int | None, typer.Option(help="Processes for several episodes.", min=1, show_default="2")
    ] = None,
    guardrails: Annotated[
        list[str] | None, typer.Option(help="A guardrail file in addition to the task's; may be repeated.")
    ] = None,
    relax: Annotated[
        list[str] | None, typer.Option(help="Id of a guardrail to take out; needs --reason; may be repeated.")
    ] = None,
    reason: Annotated[list[str] | None, typer.Option(help="Why; one for each --relax, or one for all.")] = None,
    model: Annotated[
        Path | None, typer.Option(help="A world model made by `robotctl train`.", show_default="the packaged one")
    ] = None,
    planner: Annotated[str, typer.Option(help="The trajectory planner: sqp, or one that a package brings.")] = "sqp",
    planner_timeout: Annotated[
        float | None,
        typer.Option(
            help="Real seconds an answer of the planner may take before the robot brakes without it.",
            min=0.05,
            show_default="30",
        ),
    ] = None,
    people: Annotated[str, typer.Option(help="none, default (the task's own), or a file of people.")] = "default",
    time_limit: Annotated[
        float | None, typer.Option(help="Simulated seconds.", min=0.05, show_default="the task's")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for the episodes, or the .mcap file of one.", show_default="episodes/"),
    ] = None,
    live: Annotated[
        bool | None, typer.Option("--live/--no-live", help="Live view.", show_default="if stderr is a terminal")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check all files, say what would run, and end.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Runs a task and says whether the objective was met and every guardrail held.

    Exit codes: 0 met and nothing violated, 4 not reached, 5 a guardrail violated, 6 refused, 130 interrupted.
    """
    from robotctl.bench.episodes import EpisodeJob
    from robotctl.cli.output import print_json, stdout_for_answers
    from robotctl.guardrails.load import find_guardrails, load_guardrails
    from robotctl.planning import registry
    from robotctl.task import load_people, load_task, spoken_of

    registry.check(planner)
    loaded = load_task(task)
    extra = tuple(find_guardrails(text) for text in guardrails or ())
    relaxed = relaxations(relax or [], reason or [])
    rules = load_guardrails((*loaded.guardrail_files, *extra), loaded.scene, relaxed, spoken_of(loaded))
    people_file = None if people in ("none", "default") else Path(people)
    if people_file is not None:
        load_people(people_file, loaded.scene)
    if model is not None and not model.is_file():
        from robotctl.errors import InvalidFileError

        raise InvalidFileError(f"{model}: no such file; `robotctl train kitchen --quick --out {model}` makes one")

    options: dict[str, Any] = {
        "guardrail_files": extra,
        "relax": relaxed,
        "model": model,
        "people": "none" if people == "none" else "default",
        "time_limit": time_limit,
        "planner": planner,
        **({} if planner_timeout is None else {"patience": planner_timeout}),
    }
    files = episode_files(out, loaded.name, seed, episodes)
    jobs = [EpisodeJob(task, people_file, {**options, "seed": seed + i, "out": file}) for i, file in enumerate(files)]
    for name, why in relaxed.items():
        typer.echo(f"relaxed: {name} ({why})", err=True)
    if dry_run:
        _show_dry_run(loaded, rules, jobs, as_json)
        return

    view = live if live is not None else sys.stderr.isatty()
    with stdout_for_answers():
        if episodes == 1:
            answer = _one(jobs[0], loaded, rules, view)
            code = int(answer["exit_code"])
        else:
            answer = _several(jobs, loaded, min(workers or 2, episodes), view)
            code = answer["exit_code"]
    if as_json:
        print_json(answer)
    else:
        _show(answer)
    raise typer.Exit(code)


def relaxations(ids: list[str], reasons: list[str]) -> dict[str, str]:
    """Guardrail id -> why it is taken out. Every one needs a reason."""
    from robotctl.errors import UsageError

    if len(reasons) == 1:
        reasons = reasons * len(ids)
    if len(ids) != len(reasons):
        raise UsageError("every --relax ID needs a --reason TEXT, and every --reason a --relax")
    return dict(zip(ids, reasons, strict=True))


def episode_files(out: Path | None, task: str, seed: int, episodes: int) -> list[Path | None]:
    """Where each episode goes; None: a new file in episodes/. Files that exist are refused before anything starts."""
    from robotctl.errors import UsageError

    if out is None:
        return [None] * episodes
    if out.suffix == ".mcap":
        if episodes > 1:
            raise UsageError(f"--out {out}: one file cannot hold {episodes} episodes; give a folder")
        files = [out]
    else:
        files = [out / f"{task.replace('/', '-')}-seed{seed + i}.mcap" for i in range(episodes)]
    for file in files:
        if file.exists():
            raise UsageError(f"{file}: exists already; episodes are never overwritten, choose another --out")
    return list(files)


def _one(job: EpisodeJob, task: Task, rules: GuardrailSet, view: bool) -> dict[str, Any]:
    """Runs one episode in this process, under the eyes of the user."""
    from robotctl.bench.episodes import run_job
    from robotctl.cli.view import LiveView

    if not view:
        return run_job(job)
    units = {rule.header.id: rule.unit for rule in rules.guardrails}
    limit = job.options["time_limit"] or task.within
    with LiveView(f"{task.name}", job.options["seed"], limit, units) as live:
        return run_job(job, live.observe)


def _several(jobs: list[EpisodeJob], task: Task, workers: int, view: bool) -> dict[str, Any]:
    """Runs many episodes in worker processes."""
    from robotctl.bench.episodes import SCHEMA, failed, joint_exit_code, run_jobs, summarize, violates
    from robotctl.cli.output import INTERRUPTED
    from robotctl.cli.view import progress_bar

    seeds = {str(job.options["seed"]): job.options["seed"] for job in jobs}
    answers: dict[int, dict[str, Any]] = {}
    interrupted = False
    with progress_bar(len(jobs), "episodes") if view else nullcontext() as bar:
        try:
            for outcome in run_jobs(list(zip(seeds, jobs, strict=True)), workers):
                seed = seeds[outcome.key]
                answer = outcome.value if outcome.error is None else failed(outcome, seed, task.name)
                answers[seed] = answer
                if bar is not None:
                    bar.advance(bool(answer["success"]), violates(answer))
        except KeyboardInterrupt:  # the workers have braked: what is done counts
            interrupted = True
    ordered = [answers[seed] for seed in sorted(answers)]
    code = joint_exit_code(ordered)
    return {
        "schema": SCHEMA,
        "task": task.name,
        "exit_code": INTERRUPTED if interrupted and code != VIOLATED else code,
        "interrupted": interrupted,
        "workers": workers,
        "summary": summarize(ordered),
        "episodes": ordered,
    }


def _show(answer: dict[str, Any]) -> None:
    from robotctl.cli.output import console
    from robotctl.cli.report import run_lines, summary_lines

    terminal = console()
    if "episodes" not in answer:
        for line in run_lines(answer):
            terminal.print(line)
        return
    if answer["interrupted"]:
        terminal.print("[yellow]interrupted[/]")
    for line in summary_lines(answer["summary"]):
        terminal.print(line)
    for episode in answer["episodes"]:
        if episode["exit_code"]:
            for line in run_lines(episode):
                terminal.print(line)


def _show_dry_run(task: Task, rules: GuardrailSet, jobs: list[EpisodeJob], as_json: bool) -> None:
    from robotctl.cli.output import print_json
    from robotctl.files import show_path

    answer = {
        "schema": "robotctl/dry-run.v1",
        "task": task.name,
        "scene": task.scene.name,
        "seeds": [job.options["seed"] for job in jobs],
        "people": [person.name for person in task.people] if jobs[0].options["people"] == "default" else [],
        "guardrails": [rule.header.id for rule in rules.guardrails],
        "guardrails_sha256": rules.sha256,
        "relaxed": rules.relaxed,
        "planner": jobs[0].options["planner"],
        "time_limit_s": jobs[0].options["time_limit"] or task.within,
        "episodes": [job.options["out"] for job in jobs],
    }
    if jobs[0].people_file is not None:
        answer["people"] = show_path(jobs[0].people_file)
    if as_json:
        print_json(answer)
        return
    for key, value in answer.items():
        if key != "schema":
            text = ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else value
            typer.echo(f"{key:<18} {text}")
