"""This file measures how fast people move, against what a guardrail file assumes of them.

Speeds are those of the judge: a keypoint's way in one physics step over the step's time, of the motion as the simulator
plays it. A part is as fast as the fastest of its keypoints.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from robotctl.body import KEYPOINT_PART, KEYPOINTS, PARTS
from robotctl.files import load_yaml, one_line, show_path
from robotctl.guardrails.guardrail import Assumptions
from robotctl.guardrails.load import find_guardrails, load_guardrails
from robotctl.scene import Scene
from robotctl.scene_files import load_scene
from robotctl.simulation.bullet_world import PEOPLE, STEPS
from robotctl.simulation.bvh_file import read_bvh
from robotctl.simulation.people import Person
from robotctl.state import TICK
from robotctl.task import MOTION_FILES, PEOPLE_SCHEMA, PersonPlan, find_task, load_people, load_task

RATE = round(STEPS / TICK)  # of the physics, and so of the judge [Hz]
ROUNDING = 1e-9  # a speed is the difference of two doubles over a step [m/s]
DEFAULT_GUARDRAILS = "household"


@dataclass(frozen=True)
class Beyond:
    """When a keypoint first exceeds the assumed speed."""

    time: float  # of the episode, or of the motion file [s]
    person: str
    keypoint: str
    speed: float  # [m/s]


@dataclass(frozen=True)
class PartSpeed:
    """The speed of one part over all physics steps [m/s]."""

    part: str  # one of PARTS
    p50: float
    p99: float
    p999: float
    max: float
    assumed: float
    share_beyond: float  # of the steps
    first_beyond: Beyond | None

    @property
    def factor(self) -> float:
        """The smallest factor on the assumed speed with which it would hold."""
        if self.max <= ROUNDING:
            return 0.0
        return self.max / self.assumed if self.assumed > 0.0 else math.inf


@dataclass(frozen=True)
class Motion:
    """Speeds of one person's keypoints."""

    person: str
    time: np.ndarray  # (N,) at the end of each step [s]
    speed: np.ndarray  # (N, len(KEYPOINTS)) [m/s]


@dataclass(frozen=True)
class Audit:
    """Whether people keep the assumed speeds."""

    file: str
    guardrails: tuple[str, ...]
    unit: str | None  # in which a BVH file was found to be written
    duration: float  # of all people's motion together [s]
    people: tuple[tuple[str, tuple[PartSpeed, ...]], ...]  # each by name
    parts: tuple[PartSpeed, ...]  # of all of them

    @property
    def holds(self) -> bool:
        return all(part.first_beyond is None for part in self.parts)

    @property
    def factor(self) -> float:
        """The smallest factor on all assumed speeds with which they would hold."""
        return max(part.factor for part in self.parts)


def verify_people(file: str, guardrails: Sequence[str], scene: str, seed: int) -> Audit:
    """Measures a motion file, or the people of a task or of a people file.

    guardrails: names or files; without any those of the task, else the household's. scene: where the people of a
    people file, or a motion, are. seed: of the episode, which people with `jitter` depend on.
    """
    plans, room, own = _plans(file, scene)
    given = tuple(find_guardrails(name) for name in guardrails)
    paths = given or own or (find_guardrails(DEFAULT_GUARDRAILS),)
    assumptions = load_guardrails(paths, room).assumptions
    motions = [
        measure(Person(plan, np.random.default_rng([seed, PEOPLE + i])), plan.name) for i, plan in enumerate(plans)
    ]
    return Audit(
        file=file,
        guardrails=tuple(show_path(path) for path in paths),
        unit=read_bvh(Path(file)).unit if Path(file).suffix.lower() == ".bvh" else None,
        duration=sum(len(motion.time) for motion in motions) / RATE,
        people=tuple((motion.person, part_speeds([motion], assumptions)) for motion in motions),
        parts=part_speeds(motions, assumptions),
    )


def _plans(file: str, scene: str) -> tuple[tuple[PersonPlan, ...], Scene, tuple[Path, ...]]:
    """The people, the scene around them, and the guardrails that come with them."""
    path = Path(file)
    if path.suffix.lower() in MOTION_FILES:
        plan = PersonPlan(
            one_line(path.stem), file, np.zeros((0, 2)), speed=1.0, start=0.0, reach=(), jitter=0.0, loop=False
        )
        return (plan,), load_scene(scene), ()
    path = find_task(file)
    document = load_yaml(path)
    if isinstance(document.data, dict) and document.data.get("schema") == PEOPLE_SCHEMA:
        room = load_scene(scene)
        return load_people(path, room), room, ()
    task = load_task(path)
    return task.people, task.scene, task.guardrail_files


def measure(person: Person, name: str) -> Motion:
    """Speeds from when the person sets off until the motion ends or has come round."""
    first = math.floor(person.start * RATE)
    steps = math.ceil((person.start + person.duration) * RATE) + 2 - first  # 2: over the seam of a loop
    speed = np.empty((steps, len(KEYPOINTS)))
    before = person.keypoints(first / RATE)
    for k in range(steps):
        now = person.keypoints((first + k + 1) / RATE)
        moved = now - before
        speed[k] = np.sqrt((moved * moved).sum(axis=1)) * RATE
        before = now
    return Motion(name, (first + 1 + np.arange(steps)) / RATE, speed)


def part_speeds(motions: Sequence[Motion], assumptions: Assumptions) -> tuple[PartSpeed, ...]:
    """The speed of each part over the steps of all motions, in the order of PARTS."""
    return tuple(
        _part_speed(part, motions, float(assumed))
        for part, assumed in zip(PARTS, assumptions.keypoint_speed(), strict=True)
    )


def _part_speed(part: str, motions: Sequence[Motion], assumed: float) -> PartSpeed:
    columns = np.flatnonzero(PARTS.index(part) == KEYPOINT_PART)
    limit = assumed + ROUNDING
    fastest = np.concatenate([np.zeros(0), *(motion.speed[:, columns].max(axis=1) for motion in motions)])
    if not len(fastest):
        return PartSpeed(part, 0.0, 0.0, 0.0, 0.0, assumed, 0.0, None)
    p50, p99, p999 = np.quantile(fastest, [0.5, 0.99, 0.999]).tolist()
    found = [beyond for motion in motions if (beyond := _first(motion, columns, limit)) is not None]
    return PartSpeed(
        part,
        p50,
        p99,
        p999,
        float(fastest.max()),
        assumed,
        float(np.mean(~(fastest <= limit))),
        min(found, key=lambda beyond: beyond.time, default=None),
    )


def _first(motion: Motion, columns: np.ndarray, limit: float) -> Beyond | None:
    """The first step in which one of these keypoints is too fast, and the fastest of them in it."""
    speed = motion.speed[:, columns]
    steps = np.flatnonzero(~np.all(speed <= limit, axis=1))
    if not len(steps):
        return None
    column = int(np.argmax(speed[steps[0]]))
    keypoint = KEYPOINTS[int(columns[column])]
    return Beyond(float(motion.time[steps[0]]), motion.person, keypoint, float(speed[steps[0], column]))


def audit_dict(audit: Audit) -> dict[str, object]:
    """The audit as JSON knows it."""
    return {
        "schema": "robotctl/verify-people.v1",
        "file": audit.file,
        "guardrails": audit.guardrails,
        **({"unit": audit.unit} if audit.unit is not None else {}),
        "rate_hz": RATE,
        "duration_s": round(audit.duration, 3),
        "holds": audit.holds,
        "factor": _short(audit.factor),
        "parts": {part.part: _part_dict(part) for part in audit.parts},
        "people": [
            {"name": name, "parts": {part.part: _part_dict(part) for part in parts}} for name, parts in audit.people
        ],
    }


def _part_dict(part: PartSpeed) -> dict[str, object]:
    first = part.first_beyond
    return {
        "p50": _short(part.p50),
        "p99": _short(part.p99),
        "p99.9": _short(part.p999),
        "max": _short(part.max),
        "assumed": part.assumed,
        "unit": "m/s",
        "share_beyond": round(part.share_beyond, 6),
        "first_beyond": None
        if first is None
        else {
            "time_s": round(first.time, 4),
            "person": first.person,
            "keypoint": first.keypoint,
            "speed": _short(first.speed),
        },
        "holds": first is None,
        "factor": _short(part.factor),
    }


def _short(value: float) -> float:
    """Four decimals, rounded up: a factor that is reported suffices."""
    return math.ceil(value * 1e4 - 1e-6) / 1e4 if math.isfinite(value) else value
