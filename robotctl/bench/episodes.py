"""This file turns a task and seeds into results, one after the other or in parallel processes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from robotctl.bench.statistics import quotient, rate
from robotctl.bench.sweep import Outcome, sweep

SCHEMA = "robotctl/runs.v1"


@dataclass(frozen=True)
class EpisodeJob:
    """One episode to run. Plain values only, so that it travels to another process."""

    task: str  # name or path of a task
    people_file: Path | None = None  # people in place of the task's own
    options: dict[str, Any] = field(default_factory=dict)  # fields of robotctl.control.RunOptions


def run_job(job: EpisodeJob, observe: Callable[[Any], None] | None = None) -> dict[str, Any]:
    """Runs one episode; its answer with the keys of `run --json`."""
    from robotctl.control import RunOptions, run_episode
    from robotctl.task import load_people, load_task

    task = load_task(job.task)
    if job.people_file is not None:
        task = replace(task, people=load_people(job.people_file, task.scene))
    return run_episode(task, RunOptions(**job.options), observe).to_dict()


def run_jobs(jobs: Sequence[tuple[str, EpisodeJob]], workers: int) -> Iterator[Outcome]:
    """Outcomes as they come; with one worker in one other process, so that a crash does not end the sweep."""
    return sweep(run_job, jobs, max(1, workers))


def failed(outcome: Outcome, seed: int, task: str) -> dict[str, Any]:
    """What stands in the place of an answer when an episode could not be run."""
    return {"task": task, "seed": seed, "success": False, "exit_code": outcome.exit_code, "error": outcome.error}


def violates(answer: dict[str, Any]) -> bool:
    """Whether the judge saw a guardrail violated or a moving robot touch a person."""
    return _count(answer, "guardrails", "violations") > 0 or _count(answer, "contacts", "moving") > 0


def summarize(answers: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The figures of several episodes. An episode that could not be run counts as not successful.

    The real-time factor is simulated time over wall time, each summed over the episodes: the speed of one robot,
    whatever number of workers share the machine.
    """
    n = len(answers)
    success_rate, success_ci = rate(sum(bool(a["success"]) for a in answers), n)
    violating = sum(violates(a) for a in answers)
    judged = [a for a in answers if "error" not in a]
    return {
        "n": n,
        "success_rate": success_rate,
        "success_ci95": success_ci,
        "violations": sum(_count(a, "guardrails", "violations") for a in answers),
        "contacts_moving": sum(_count(a, "contacts", "moving") for a in answers),
        "episodes_violating": violating,
        "violation_ci95": rate(violating, len(judged))[1],
        "failed": n - len(judged),
        "real_time_factor": quotient((a["time"]["simulated_s"] for a in judged), (a["time"]["wall_s"] for a in judged)),
    }


def joint_exit_code(answers: Sequence[dict[str, Any]]) -> int:
    """One exit code for several episodes: what is worst counts."""
    codes = {int(a["exit_code"]) for a in answers}
    for code in (5, 130, 1, 7, 3, 2, 4, 6):
        if code in codes:
            return code
    return max(codes, default=0)


def _count(answer: dict[str, Any], part: str, key: str) -> int:
    return int(answer.get(part, {}).get(key, 0))
