"""This file judges a recorded episode again, from its own ground truth and files."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from robotctl.episode.bundle import ATTACHMENT, unbundled
from robotctl.episode.reader import EpisodeLog
from robotctl.errors import InvalidFileError
from robotctl.jsontext import plain


@dataclass(frozen=True)
class Rejudged:
    """A verdict recomputed from a log, beside the one that was logged."""

    verdict: dict[str, Any]
    differences: tuple[str, ...]  # where the two differ; () when they are the same
    logged: bool  # the log holds a verdict to compare with

    @property
    def matches_log(self) -> bool:
        return self.logged and not self.differences


def judge_again(log: EpisodeLog) -> Rejudged:
    """Judges the ground truth in the log by the scene, task and guardrails attached to it."""
    from robotctl.guardrails.load import load_guardrails
    from robotctl.judge import Judge
    from robotctl.task import load_task, spoken_of

    if ATTACHMENT not in log.attachments:
        raise InvalidFileError(f"{log.path}: no attachment '{ATTACHMENT}': it cannot be judged again")
    with unbundled(log.attachments[ATTACHMENT]) as files:
        task = load_task(files.task)
        guardrails = load_guardrails(files.guardrails, task.scene, files.relaxed, spoken_of(task))
        judge = Judge(task.scene, guardrails, task)
        for step in log.steps:
            judge.observe(step.truth, step.reference)
            judge.sensed(step.observation)
        verdict = plain(judge.verdict().to_dict())
    differences = list(differing(verdict, {key: (log.summary or {}).get(key) for key in verdict}))
    expected = log.metadata.get("guardrails_sha256")
    if expected not in (None, guardrails.sha256):
        differences.append("guardrails: the attached files are not those that were in force")
    return Rejudged(verdict, tuple(differences) if log.summary is not None else (), log.summary is not None)


def differing(a: Any, b: Any, where: str = "") -> Iterator[str]:
    """Where two JSON values differ."""
    if isinstance(a, dict) and isinstance(b, dict):
        for key in sorted(a.keys() | b.keys()):
            yield from differing(a.get(key), b.get(key), f"{where}.{key}" if where else key)
    elif a != b:
        yield f"{where}: {a} instead of {b}"
