"""This file turns trials, an episode each, into answers in files: shared by the benches that run whole tasks.

Every answer is kept in a file of its own, so that an interrupted bench goes on where it stopped, and so that several
machines can share one.
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

import robotctl
from robotctl.bench.episodes import EpisodeJob, failed, run_job, violates
from robotctl.bench.sweep import sweep
from robotctl.errors import InvalidFileError, UsageError, nearest
from robotctl.jsontext import json_text
from robotctl.planning import registry


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
    command: str = ""  # that asked for it, for the report

    @property
    def key(self) -> str:
        return f"{self.arm}/{self.task.replace('/', '-')}/seed{self.seed}"

    @property
    def answer_file(self) -> Path:
        return self.folder / f"{self.key}.json"

    @property
    def error_file(self) -> Path:
        """What is written where the episode could not be run; it is tried again with `--resume`."""
        return self.folder / f"{self.key}.error.json"

    @property
    def origin(self) -> dict[str, str]:
        """Where an answer comes from, for the report."""
        planner = self.options.get("planner", registry.DEFAULT)
        return {"arm": self.arm, "planner": planner, "command": self.command, "version": robotctl.__version__}

    def fingerprint(self) -> str:
        """Changes with whatever the episode is made from: files, model, version, planner, options."""
        planner = registry.version(self.options.get("planner", registry.DEFAULT))
        made = json.dumps([self.options, planner], sort_keys=True)
        return f"{_fingerprint(self.task, self.model)}-{self.time_limit}-{made}"


def chosen_tasks(patterns: str) -> list[str]:
    """Packaged tasks whose names match one of the patterns (with commas between), and task files."""
    from robotctl.scene_paths import looks_like_path
    from robotctl.task import task_names

    chosen: list[str] = []
    for pattern in filter(None, (part.strip() for part in patterns.split(","))):
        found = [pattern] if looks_like_path(pattern) else [name for name in task_names() if fnmatch(name, pattern)]
        if not found:
            raise UsageError(f"--tasks: no task matches '{pattern}'{nearest(pattern, task_names())}")
        chosen += found
    if not chosen:
        raise UsageError(f"--tasks: name at least one of {', '.join(task_names())}")
    return list(dict.fromkeys(chosen))


def chosen_seeds(text: str | None, episodes: int) -> range:
    """Seeds A, A+1, ..., B-1 from `A:B`; without it 0 .. episodes-1."""
    if text is None:
        return range(episodes)
    first, colon, last = text.partition(":")
    if not (colon and first.isdigit() and last.isdigit() and int(first) < int(last)):
        raise UsageError(f"--seeds: expected A:B with A < B, as in 0:20, got '{text[:40]}'")
    return range(int(first), int(last))


def run_trials(
    plan: Sequence[Trial], workers: int, resume: bool, advance: Callable[[Trial, dict[str, Any]], None]
) -> list[dict[str, Any]]:
    """The answers in the order of the plan. `advance` hears of each, those that were there already included."""
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
            answer = answers[trial.key] = {**failed(outcome, trial.seed, trial.task), **trial.origin}
            trial.error_file.parent.mkdir(parents=True, exist_ok=True)
            trial.error_file.write_text(json_text({**answer, "details": outcome.details}))
        advance(trial, answers[trial.key])
    return [answers[trial.key] for trial in plan]


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
    answer = {**run_job(EpisodeJob(trial.task, options=options)), **trial.origin}
    if not trial.keep and answer["success"] and not violates(answer):
        log.unlink(missing_ok=True)
        answer["episode"] = None
    if answer["exit_code"] != 130:
        part = trial.answer_file.with_suffix(".part")
        part.write_text(json_text({**answer, "fingerprint": trial.fingerprint()}))
        os.replace(part, trial.answer_file)
        trial.error_file.unlink(missing_ok=True)
    return answer


def filed_answers(folder: Path) -> list[dict[str, Any]]:
    """All answers that lie in the folder of a bench, by arm, task and seed; episodes that could not be run, too."""
    found: dict[tuple[str, str, int], dict[str, Any]] = {}
    for path in sorted(folder.rglob("seed*.json"), key=lambda path: (not path.name.endswith(".error.json"), path)):
        try:
            answer = json.loads(path.read_text())
            answer.pop("fingerprint", None)
            key = str(answer["arm"]), str(answer["task"]), int(answer["seed"])
            complete = "error" in answer or {"guardrails", "contacts", "filter", "time"} <= set(answer)
        except (OSError, ValueError, KeyError, AttributeError, TypeError):
            complete = False
        if not complete:
            raise InvalidFileError(f"{path}: not an answer of this bench; remove it")
        found[key] = answer
    if not found:
        raise InvalidFileError(f"{folder}: holds no answers of a bench")
    return [found[key] for key in sorted(found)]


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
