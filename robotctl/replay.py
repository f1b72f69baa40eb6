"""This file turns an episode's log into what happened when, and judges it again from its own ground truth."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np

from robotctl.episode.bundle import ATTACHMENT, unbundled
from robotctl.episode.reader import EpisodeLog
from robotctl.errors import InvalidFileError, UsageError
from robotctl.jsontext import plain

STILL = 1e-3  # reference joint speed below which the robot stands [m/s, rad/s], as in the controller


@dataclass(frozen=True)
class Span:
    """A stretch of time in which one thing goes on."""

    what: str
    start: float  # [s]
    end: float  # [s]


@dataclass
class Timeline:
    """An episode at a glance; lists have one entry per control tick."""

    time: list[float] = field(default_factory=list)  # [s]
    skills: list[Span] = field(default_factory=list)
    objective: list[int] = field(default_factory=list)  # goals met, as believed
    objective_total: int = 0
    distance: list[float] = field(default_factory=list)  # robot to nearest person, as believed [m]
    speed: list[float] = field(default_factory=list)  # largest joint speed asked for, as a share of its limit
    margins: dict[str, list[float]] = field(default_factory=dict)  # smallest on the certified path, inf: not in force
    interventions: list[Span] = field(default_factory=list)  # with the reason
    stopped: list[bool] = field(default_factory=list)
    contacts: list[tuple[float, str, str]] = field(default_factory=list)  # with people: time, link, person
    messages: list[tuple[float, str]] = field(default_factory=list)

    @property
    def start(self) -> float:
        return self.time[0] if self.time else 0.0

    @property
    def end(self) -> float:
        return self.time[-1] if self.time else 0.0


def timeline(log: EpisodeLog, start: float = 0.0, end: float = math.inf) -> Timeline:
    """What happened from `start` to `end` [s]."""
    from robotctl.robot import DQ_MAX

    line = Timeline()
    touching: set[tuple[str, str]] = set()
    for step in log.steps:
        now = step.observation.time
        if now < start:
            continue
        if now > end:
            break
        known = len(line.time)
        line.time.append(now)
        _extend(line.skills, step.skill, now)
        line.objective.append(step.objective[0])
        line.objective_total = max(line.objective_total, step.objective[1])
        line.distance.append(step.distance_to_people)
        line.speed.append(float(np.max(np.abs(step.state.robot.dq_ref) / DQ_MAX)))
        for name in line.margins.keys() | step.margins.keys():
            present = step.margins.get(name, (math.inf, math.inf))[0]
            line.margins.setdefault(name, [math.inf] * known).append(present)
        line.stopped.append(step.verdict.stopped)
        if step.verdict.intervened:
            _extend(line.interventions, step.verdict.reason or "intervened", now, gap=0.11)
        touched = {(c.link, c.other) for c in step.truth.contacts if c.other in step.truth.person_names}
        line.contacts += [(now, link, person) for link, person in sorted(touched - touching)]
        touching = touched
        if step.message:
            line.messages.append((now, step.message))
    if not line.time:
        raise UsageError(f"{log.path}: nothing between {start:g} s and {end:g} s; it lasts {log.duration:.2f} s")
    return line


def _extend(spans: list[Span], what: str, now: float, gap: float = math.inf) -> None:
    """Makes the last span longer, or begins a new one."""
    if spans and spans[-1].what == what and now - spans[-1].end <= gap:
        spans[-1] = Span(what, spans[-1].start, now)
        return
    if spans and gap == math.inf:
        spans[-1] = Span(spans[-1].what, spans[-1].start, now)
    spans.append(Span(what, now, now))


def timeline_dict(line: Timeline) -> dict[str, Any]:
    """The timeline's figures for `replay --json`."""
    return {
        "from_s": line.start,
        "to_s": line.end,
        "steps": len(line.time),
        "skills": [vars(span) for span in line.skills],
        "objective": {
            "total": line.objective_total,
            "changes": [
                {"time": t, "met": b}
                for t, (a, b) in zip(line.time[1:], pairwise(line.objective), strict=True)
                if a != b
            ],
            "met": line.objective[-1],
        },
        "min_margins": {name: min(values) for name, values in sorted(line.margins.items())},
        "min_distance_to_people_m": min(line.distance),
        "interventions": [vars(span) for span in line.interventions],
        "stopped_ticks": sum(line.stopped),
        "contacts": [{"time": t, "link": link, "person": person} for t, link, person in line.contacts],
        "messages": [{"time": t, "text": text} for t, text in line.messages],
    }


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
