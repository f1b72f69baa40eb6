"""This file turns a seed into many sampled steps of the safety filter's inductive proof, and counts those that fail.

A sample is one control tick. It begins where ticks before it led, with a verified brake stored, and anything within
the assumptions may happen: proposals, people, readings, drives, things in the hand. It fails if the filter's answer is
not an accepted action or the next piece of the stored brake, if the brake does not end at rest, or if the true motion
in that tick has a margin below 0 (robotctl.verify.true_margins).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from robotctl.bench.statistics import clopper_pearson
from robotctl.bench.sweep import sweep
from robotctl.errors import RobotctlError
from robotctl.verify.cases import load_case, save_case
from robotctl.verify.induction import Course, Fault, Inputs, MakeFilter, draw_episode, repeat
from robotctl.verify.room import HOUSEHOLD, Room, load_room
from robotctl.verify.scenarios import Scenario
from robotctl.verify.true_margins import Margins, judge_episode

SCHEMA = "robotctl/verify-filter.v1"
TICKS = 20  # samples of an episode
EPISODES = 20  # of a job
CASES = 20  # failing episodes that are written out
SHOWN = 20  # faults in the answer


@dataclass
class Tally:
    """Counts over some samples."""

    samples: int = 0
    failures: int = 0
    moving: int = 0
    accepted: int = 0  # the proposal passed in full
    scaled: int = 0  # a part of it passed
    braked: int = 0  # the stored brake was followed, or the robot stood

    def add(self, other: Tally) -> None:
        for name, value in vars(other).items():
            setattr(self, name, getattr(self, name) + value)


@dataclass
class Findings:
    """What a number of episodes came to; adding up in any order gives the same."""

    total: Tally = field(default_factory=Tally)
    recovering: int = 0
    by_proposal: dict[str, Tally] = field(default_factory=dict)
    by_scenario: dict[str, Tally] = field(default_factory=dict)
    smallest: dict[str, float] = field(default_factory=dict)  # by the guardrails' formulas
    smallest_judge: dict[str, float] = field(default_factory=dict)
    faults: list[tuple[int, Fault]] = field(default_factory=list)  # with the number of the episode

    def add(self, other: Findings) -> None:
        self.total.add(other.total)
        self.recovering += other.recovering
        for mine, theirs in ((self.by_proposal, other.by_proposal), (self.by_scenario, other.by_scenario)):
            for name, tally in theirs.items():
                mine.setdefault(name, Tally()).add(tally)
        for mine_, theirs_ in ((self.smallest, other.smallest), (self.smallest_judge, other.smallest_judge)):
            for name, margin in theirs_.items():
                mine_[name] = min(margin, mine_.get(name, np.inf))
        self.faults += other.faults


def examine(number: int, inputs: Inputs, course: Course, margins: Margins) -> Findings:
    """The findings of one episode."""
    found = Findings(smallest=dict(margins.formula), smallest_judge=dict(margins.judge))
    found.faults = [(number, fault) for fault in margins.faults]
    failed = {fault.tick for fault in margins.faults}
    for tick in range(inputs.samples):
        scale = course.scale[tick]
        one = Tally(
            1, int(tick in failed), int(margins.moving[tick]), int(scale == 1), int(0 < scale < 1), int(not scale > 0)
        )
        found.total.add(one)
        found.recovering += bool(course.recovering[tick])
        found.by_proposal.setdefault(inputs.said[tick], Tally()).add(one)
        found.by_scenario.setdefault(inputs.scenario, Tally()).add(one)
    return found


def sample(
    room: Room,
    seed: int,
    numbers: Iterable[tuple[int, int]],
    make: MakeFilter | None = None,
    scenario: Scenario | None = None,
) -> Findings:
    """Runs and examines episodes (number, samples) of one scenario, or of all."""
    found = Findings()
    for number, samples in numbers:
        inputs, course = draw_episode(room, (seed, number), samples, make, scenario)
        found.add(examine(number, inputs, course, judge_episode(room, inputs, course)))
    return found


def episodes(samples: int) -> list[tuple[int, int]]:
    """Episodes (number, samples) that make up so many samples."""
    whole, rest = divmod(samples, TICKS)
    return [(n, TICKS) for n in range(whole)] + ([(whole, rest)] if rest else [])


def _job(payload: tuple[tuple[str, ...], int, list[tuple[int, int]]]) -> Findings:
    files, seed, numbers = payload
    return sample(load_room(files), seed, numbers)


def verify_filter(
    samples: int,
    seed: int,
    workers: int = 1,
    files: Sequence[str] = (HOUSEHOLD,),
    out: Path | None = None,
    advance: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Samples the induction; the answer of `robotctl verify filter`. Failing episodes are written into `out`.

    advance: is told the samples and the failures of every finished job.
    """
    began = time.perf_counter()
    room = load_room(tuple(files))
    plan = episodes(samples)
    jobs = [(str(i), (room.files, seed, plan[i : i + EPISODES])) for i in range(0, len(plan), EPISODES)]
    found = Findings()
    outcomes = (partial(_job, payload) for _, payload in jobs) if workers == 1 else None
    for part in (outcome() for outcome in outcomes) if outcomes else _parts(jobs, workers):
        found.add(part)
        if advance is not None:
            advance(part.total.samples, part.total.failures)
    found.faults.sort(key=lambda entry: (entry[0], entry[1].tick, entry[1].what, entry[1].seen_by))
    cases = _write_cases(room, seed, dict(plan), found, out) if out is not None else []
    return {**answer(found, seed, room), "cases": cases, "wall_s": round(time.perf_counter() - began, 1)}


def replay_case(path: Path, files: Sequence[str] = ()) -> dict[str, Any]:
    """Runs a written case again; the same answer, for its samples."""
    began = time.perf_counter()
    inputs, own = load_case(path)
    room = load_room(tuple(files) or own)
    if inputs.kind and inputs.kind not in room.task.scene.kinds:
        raise RobotctlError(f"{path}: no kind of object '{inputs.kind}' in scene {room.task.scene.name}")
    course = repeat(room, inputs)
    found = examine(inputs.seed[1], inputs, course, judge_episode(room, inputs, course))
    return {
        **answer(found, inputs.seed[0], room),
        "cases": [str(path)],
        "wall_s": round(time.perf_counter() - began, 1),
    }


def answer(found: Findings, seed: int, room: Room) -> dict[str, Any]:
    """Findings as they are printed."""
    total = found.total
    return {
        "schema": SCHEMA,
        "seed": seed,
        "guardrails": {"files": list(room.files), "sha256": room.rules.sha256},
        "samples": total.samples,
        "failures": total.failures,
        "failures_ci95": [float(f"{bound:.3g}") for bound in clopper_pearson(total.failures, total.samples)],
        "moving_share": round(total.moving / max(total.samples, 1), 4),
        "accepted": total.accepted,
        "scaled": total.scaled,
        "braked": total.braked,
        "recovering": found.recovering,
        "smallest_margins": {rule: round(m, 6) for rule, m in sorted(found.smallest.items())},
        "smallest_margins_judge": {rule: round(m, 6) for rule, m in sorted(found.smallest_judge.items())},
        "by_proposal": {name: asdict(tally) for name, tally in sorted(found.by_proposal.items())},
        "by_scenario": {name: asdict(tally) for name, tally in sorted(found.by_scenario.items())},
        "faults": [
            {"episode": number, **asdict(fault), "margin": None if fault.margin is None else round(fault.margin, 6)}
            for number, fault in found.faults[:SHOWN]
        ],
    }


def _parts(jobs: Sequence[tuple[str, Any]], workers: int) -> Iterable[Findings]:
    for outcome in sweep(_job, jobs, workers):
        if outcome.error is not None:
            raise RobotctlError(f"samples from episode {outcome.key} on could not be run: {outcome.error}")
        yield outcome.value


def _write_cases(room: Room, seed: int, plan: dict[int, int], found: Findings, out: Path) -> list[str]:
    """Runs the first failing episodes again, which are the same again, and writes them out."""
    paths = []
    for number in sorted({number for number, _ in found.faults})[:CASES]:
        inputs, _ = draw_episode(room, (seed, number), plan[number])
        path = out / f"filter-{seed}-{number}.npz"
        save_case(path, room, inputs, [fault for n, fault in found.faults if n == number])
        paths.append(str(path))
    return paths
