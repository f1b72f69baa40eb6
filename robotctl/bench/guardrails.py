"""This file turns tasks and seeds into evidence about guardrails: the same episodes with and without them.

Arms: `full` (planner and filter know the guardrails), `none` (nobody does; the judge still judges), `no-people`
(as full, without people: what the guardrails cost when nobody is near). Every episode's answer is kept in a file
of its own, so that an interrupted bench goes on where it stopped.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from robotctl.bench.episodes import EpisodeJob, failed, run_job, summarize, violates
from robotctl.bench.statistics import quotient, rate
from robotctl.bench.sweep import sweep
from robotctl.errors import InvalidFileError, UsageError, nearest
from robotctl.jsontext import json_text

SCHEMA = "robotctl/bench-guardrails.v1"
ARMS: dict[str, dict[str, Any]] = {
    "full": {"arm": "full"},
    "none": {"arm": "none"},
    "no-people": {"arm": "full", "people": "none"},
}


@dataclass(frozen=True)
class Trial:
    """One episode of the bench."""

    arm: str
    task: str
    seed: int
    folder: Path
    model: Path | None
    time_limit: float | None = None  # [s]; None: the task's
    keep: bool = False  # keep the log of an uneventful episode, too
    options: dict[str, Any] = field(default_factory=dict)  # further fields of robotctl.control.RunOptions

    @property
    def key(self) -> str:
        return f"{self.arm}/{self.task.replace('/', '-')}/seed{self.seed}"

    @property
    def answer_file(self) -> Path:
        return self.folder / f"{self.key}.json"

    def fingerprint(self) -> str:
        """Changes with whatever the episode is made from: files, model, version."""
        return f"{_fingerprint(self.task, self.model)}-{self.time_limit}"


def trials(
    tasks: Sequence[str],
    seeds: Sequence[int],
    arms: Sequence[str],
    folder: Path,
    model: Path | None = None,
    time_limit: float | None = None,
    keep: bool = False,
) -> list[Trial]:
    """All episodes to run, arms interleaved so that an early look compares like with like."""
    return [
        Trial(arm, task, seed, folder, model, time_limit, keep, ARMS[arm])
        for seed in seeds
        for task in tasks
        for arm in arms
    ]


def chosen_tasks(pattern: str) -> list[str]:
    """Packaged tasks whose names match, or one task file."""
    from robotctl.scene_paths import looks_like_path
    from robotctl.task import task_names

    if looks_like_path(pattern):
        return [pattern]
    found = [name for name in task_names() if fnmatch(name, pattern)]
    if not found:
        raise UsageError(f"--tasks: no task matches '{pattern}'{nearest(pattern, task_names())}")
    return found


def chosen_arms(text: str) -> list[str]:
    """Arms from `full,none,no-people`."""
    arms = [arm.strip() for arm in text.split(",") if arm.strip()]
    for arm in arms:
        if arm not in ARMS:
            raise UsageError(f"--arms: no arm '{arm}'{nearest(arm, ARMS)}")
    if not arms:
        raise UsageError(f"--arms: name at least one of {', '.join(ARMS)}")
    return list(dict.fromkeys(arms))


def chosen_seeds(text: str | None, episodes: int) -> range:
    """Seeds A, A+1, ..., B-1 from `A:B`; without it 0 .. episodes-1."""
    if text is None:
        return range(episodes)
    first, colon, last = text.partition(":")
    if not (colon and first.isdigit() and last.isdigit() and int(first) < int(last)):
        raise UsageError(f"--seeds: expected A:B with A < B, as in 0:20, got '{text[:40]}'")
    return range(int(first), int(last))


def run_bench(
    plan: Sequence[Trial], workers: int, resume: bool, advance: Callable[[Trial, dict[str, Any]], None]
) -> dict[str, list[dict[str, Any]]]:
    """Answers by arm. `advance` hears of every episode, those that were there already included."""
    answers: dict[str, dict[str, Any]] = {}
    waiting: dict[str, Trial] = {}
    for trial in plan:
        known = _known(trial, resume)
        if known is None:
            waiting[trial.key] = trial
        else:
            answers[trial.key] = known
            advance(trial, known)
    for outcome in sweep(run_trial, list(waiting.items()), workers):
        trial = waiting[outcome.key]
        if outcome.error is None:
            answers[trial.key] = outcome.value
        else:
            answers[trial.key] = failed(outcome, trial.seed, trial.task)
            if outcome.details:
                trial.answer_file.parent.mkdir(parents=True, exist_ok=True)
                trial.answer_file.with_suffix(".error.txt").write_text(outcome.details)
        advance(trial, answers[trial.key])
    return {arm: [answers[t.key] for t in plan if t.arm == arm] for arm in dict.fromkeys(t.arm for t in plan)}


def run_trial(trial: Trial) -> dict[str, Any]:
    """Runs one episode and files its answer; the file appears whole or not at all."""
    trial.answer_file.parent.mkdir(parents=True, exist_ok=True)
    log = _free(trial.answer_file.with_suffix(".mcap"))
    options = {
        "seed": trial.seed,
        "out": log,
        "model": trial.model,
        "time_limit": trial.time_limit,
        **trial.options,
    }
    answer = run_job(EpisodeJob(trial.task, options=options))
    if not trial.keep and answer["success"] and not violates(answer):
        log.unlink(missing_ok=True)
        answer["episode"] = None
    if answer["exit_code"] != 130:
        part = trial.answer_file.with_suffix(".part")
        part.write_text(json_text({**answer, "arm": trial.arm, "fingerprint": trial.fingerprint()}))
        os.replace(part, trial.answer_file)
    return answer


def arm_figures(name: str, answers: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The row of one arm."""
    summary = summarize(answers)
    judged = [a for a in answers if "error" not in a]
    separations = [a["min_separation_m"] for a in judged if a.get("min_separation_m") is not None]
    return {
        "name": name,
        "episodes": summary["n"],
        "failed": summary["failed"],
        "success_rate": summary["success_rate"],
        "success_ci95": summary["success_ci95"],
        "episodes_violating": summary["episodes_violating"],
        "violation_rate": rate(summary["episodes_violating"], len(judged))[0],
        "violation_ci95": summary["violation_ci95"],
        "violations": summary["violations"],
        "violations_by_id": _by_id(judged),
        "contacts_moving": summary["contacts_moving"],
        "contacts_passive": sum(a["contacts"]["passive"] for a in judged),
        "min_separation_m": min(separations, default=None),
        "interventions_per_moving_cycle": quotient(
            (a["filter"]["interventions"] for a in judged), (a["filter"]["moving_cycles"] for a in judged)
        ),
        "stopped_s": round(sum(a["filter"]["stopped_s"] for a in judged), 3),
        "simulated_s": round(sum(a["time"]["simulated_s"] for a in judged), 3),
        "moving_s": round(sum(a.get("moving_s", 0.0) for a in judged), 3),
        "real_time_factor": summary["real_time_factor"],
    }


def bench_answer(
    arms: dict[str, list[dict[str, Any]]], tasks: Sequence[str], seeds: Sequence[int], folder: Path
) -> dict[str, Any]:
    """The answer of `bench guardrails --json`."""
    return {
        "schema": SCHEMA,
        "tasks": list(tasks),
        "seeds": list(seeds),
        "out": folder,
        "arms": [arm_figures(name, answers) for name, answers in arms.items()],
        "by_task": [
            {"task": task, **arm_figures(name, chosen)}
            for task in tasks
            for name, answers in arms.items()
            if (chosen := [a for a in answers if a["task"] == task])
        ],
    }


def _by_id(answers: Sequence[dict[str, Any]]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for answer in answers:
        for name, rule in answer["guardrails"]["by_id"].items():
            counts[name] = counts.get(name, 0) + int(rule["violations"])
    return counts


def _known(trial: Trial, resume: bool) -> dict[str, Any] | None:
    """The answer of an earlier run of the same bench."""
    if not trial.answer_file.exists():
        return None
    if not resume:
        raise UsageError(f"{trial.answer_file}: exists already; go on with --resume or choose another --out")
    try:
        answer = json.loads(trial.answer_file.read_text())
        fingerprint = answer.pop("fingerprint")
    except (OSError, ValueError, KeyError, AttributeError):
        raise InvalidFileError(f"{trial.answer_file}: not an answer of this bench; remove it") from None
    if fingerprint != trial.fingerprint():
        raise UsageError(f"{trial.answer_file}: made from other files or another version; choose another --out")
    return answer


_FINGERPRINTS: dict[tuple[str, Path | None], str] = {}


def _fingerprint(task: str, model: Path | None) -> str:
    if (task, model) not in _FINGERPRINTS:
        import robotctl
        from robotctl.episode.bundle import bundle
        from robotctl.task import load_task

        digest = hashlib.sha256(robotctl.__version__.encode() + bundle(load_task(task)))
        if model is not None:
            digest.update(model.read_bytes())
        _FINGERPRINTS[(task, model)] = digest.hexdigest()
    return _FINGERPRINTS[(task, model)]


def _free(path: Path) -> Path:
    """The path, or with a number when a log of an earlier attempt lies there."""
    candidates: Iterator[Path] = (path.with_name(f"{path.stem}-{k}{path.suffix}") for k in range(1, 1000))
    return path if not path.exists() else next(c for c in candidates if not c.exists())
