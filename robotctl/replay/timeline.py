"""This file turns an episode's log into what happened when."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np

from robotctl.controller import FILTERED
from robotctl.episode.reader import EpisodeLog
from robotctl.errors import UsageError
from robotctl.replay.predictions import Honesty, Receipt, predictions, receipt, units_of

UNITS = {"m/s": "m/s", "m": "m", "1": "share of range", "N": "N"}  # of margins: in this order, and in words


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
    appraisal: list[float] = field(default_factory=list)  # success probability of the present plan, NaN: none yet
    judged: dict[str, list[float]] = field(default_factory=dict)  # true margins where small, inf elsewhere
    units: dict[str, str] = field(default_factory=dict)  # of margins, by guardrail id
    honesty: dict[str, Honesty] = field(default_factory=dict)  # of the plans, by guardrail id
    filtered: bool = True  # the safety filter had the last word

    @property
    def start(self) -> float:
        return self.time[0] if self.time else 0.0

    @property
    def end(self) -> float:
        return self.time[-1] if self.time else 0.0


def timeline(log: EpisodeLog, start: float = 0.0, end: float = math.inf) -> Timeline:
    """What happened from `start` to `end` [s]."""
    from robotctl.robot import DQ_MAX

    line = Timeline(filtered=log.metadata.get("arm", "full") in FILTERED)
    receipts: list[Receipt] = []
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
        for name in line.judged.keys() | step.judged.keys():
            line.judged.setdefault(name, [math.inf] * known).append(step.judged.get(name, math.inf))
        line.appraisal.append(step.appraisal[1] if step.appraisal else math.nan)
        receipts.append(receipt(step))
        line.stopped.append(step.verdict.stopped)
        if step.verdict.intervened:
            _extend(line.interventions, step.verdict.reason or "intervened", now, gap=0.11)
        touched = {(c.link, c.other) for c in step.truth.contacts if c.other in step.truth.person_names}
        line.contacts += [(now, link, person) for link, person in sorted(touched - touching)]
        touching = touched
        if step.message:
            line.messages.append((now, step.message))
    line.units = units_of(log)
    line.honesty = predictions(receipts, line.units)
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


def thinned(values: Sequence[float], every: int) -> np.ndarray:
    """The smallest of each `every` values; NaN where none is known."""
    array = np.array(values, float)
    array = np.pad(array, (0, -len(array) % every), constant_values=np.inf).reshape(-1, every).min(axis=1)
    return np.where(np.isfinite(array), array, np.nan)


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
        "min_margins_judged": {name: min(values) for name, values in sorted(line.judged.items())},
        "predictions": {name: honesty.to_dict() for name, honesty in line.honesty.items()},
        "appraisal": [
            {"time": t, "success_probability": b}
            for t, (a, b) in zip(line.time[1:], pairwise(line.appraisal), strict=True)
            if b == b and a != b
        ],
        "min_distance_to_people_m": min(line.distance),
        "interventions": [vars(span) for span in line.interventions],
        "stopped_ticks": sum(line.stopped),
        "contacts": [{"time": t, "link": link, "person": person} for t, link, person in line.contacts],
        "messages": [{"time": t, "text": text} for t, text in line.messages],
    }
