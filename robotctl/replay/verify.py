"""This file runs a recorded episode again, from its seed and files, and compares every message of every step.

Everything is made anew: what is sensed, believed, foreseen, planned, decided by the filter, and what happens. On the
same platform with the same libraries all of it is the same, bit for bit; only wall times (`/timing`) are left out.
"""

from __future__ import annotations

import contextlib
import math
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import TypeAdapter

from robotctl.episode.bundle import ATTACHMENT, unbundled
from robotctl.episode.codec import TOPICS, decode_truth, encode
from robotctl.episode.digest import EXCLUDED
from robotctl.episode.reader import EpisodeLog
from robotctl.episode.schema import message_class
from robotctl.episode.step import Step
from robotctl.errors import InvalidFileError, UsageError
from robotctl.versions import versions

COMPARED = tuple(topic for topic in TOPICS if topic not in EXCLUDED)


@dataclass(frozen=True)
class Difference:
    """Where a run first parts from the log."""

    step: int  # counted from 0
    time: float  # [s]
    where: str  # topic and field: /truth q[3]
    logged: str
    again: str
    hint: str = ""  # what may explain it


@dataclass(frozen=True)
class Verified:
    """What came of running an episode again."""

    steps: int  # that are the same
    first_difference: Difference | None
    note: str = ""  # what else is to be known, such as that the log ends early

    @property
    def identical(self) -> bool:
        return self.first_difference is None

    def to_dict(self) -> dict[str, Any]:
        difference = self.first_difference
        return {
            "identical": self.identical,
            "steps": self.steps,
            "first_difference": None if difference is None else vars(difference),
            "note": self.note,
        }


class _Diverged(Exception):
    """The run has parted from the log: nothing after that can be compared."""


class _LogEnds(Exception):
    """Everything in the log is compared."""


class Comparison:
    """Stands in for the writer of an episode, and compares with what another one wrote."""

    def __init__(self, log: EpisodeLog, observe: Callable[[float], None] | None = None) -> None:
        self._logged = enumerate(log.messages)
        self._observe = observe
        self.steps = 0
        self.difference: Difference | None = None

    def __enter__(self) -> Comparison:
        return self

    def __exit__(self, *error: Any) -> None:
        pass

    def append(self, step: Step) -> None:
        """Compares one control tick; _Diverged or _LogEnds when there is nothing more to compare."""
        index, logged = next(self._logged, (0, None))
        if logged is None:
            raise _LogEnds
        now = encode(step)
        for topic in COMPARED:
            if logged.get(topic) != now.get(topic):
                where, before, after = first_difference(topic, logged.get(topic), now.get(topic))
                hint = _hint(logged)
                self.difference = Difference(index, step.observation.time, where, before, after, hint)
                raise _Diverged
        self.steps += 1
        if self._observe is not None:
            self._observe(step.observation.time)

    def close(self, summary: dict[str, Any]) -> str:
        """The run is over; the log must be, too."""
        index, logged = next(self._logged, (0, None))
        if logged is not None:
            self.difference = Difference(index, 0.0, "end", "goes on", f"ends: {summary.get('ended')}")
            raise _Diverged
        return ""


def verify(log: EpisodeLog, model: Path | None = None, observe: Callable[[float], None] | None = None) -> Verified:
    """Runs the episode of a log again and compares.

    model: the world model's file, if it is not the packaged one and has been moved; observe: told of every time [s]
    that is compared. InvalidFileError or UsageError when the log does not say all that is needed.
    """
    from robotctl.control import RunOptions, run_episode
    from robotctl.guardrails.load import load_guardrails
    from robotctl.planning import registry
    from robotctl.simulation.faults import Faults
    from robotctl.task import load_task, spoken_of

    if ATTACHMENT not in log.attachments:
        raise InvalidFileError(f"{log.path}: no attachment '{ATTACHMENT}': it cannot be run again")
    about = log.metadata
    try:
        registry.check(about["planner"])
        options = RunOptions(
            seed=int(about["seed"]),
            model=_model(about, model),
            people=about["people"],
            time_limit=float(about["time_limit"]),
            planner=about["planner"],
            arm=about["arm"],
            brake_at=_braked_at(log),
            faults=TypeAdapter(Faults).validate_json(about["faults"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise InvalidFileError(f"{log.path}: of another version of robotctl: {error!r}") from None
    comparison = Comparison(log, observe)
    with unbundled(log.attachments[ATTACHMENT]) as files:
        task = replace(load_task(files.task), people=files.people)
        own = len(task.guardrail_files)
        options = replace(options, guardrail_files=files.guardrails[own:], relax=files.relaxed)
        rules = load_guardrails(files.guardrails, task.scene, files.relaxed, spoken_of(task))
        if rules.sha256 != about["guardrails_sha256"]:
            raise InvalidFileError(f"{log.path}: the attached guardrails are not those that were in force")
        with contextlib.suppress(_Diverged, _LogEnds):
            run_episode(task, options, record=lambda *_: comparison)
    notes = [] if log.complete else [f"the log ends early ({log.damage}); what is there was compared"]
    if comparison.difference is not None:
        notes += _other_versions(about)
    return Verified(comparison.steps, comparison.difference, "; ".join(notes))


def _other_versions(about: Mapping[str, str]) -> Iterator[str]:
    """What the log was made with that is another here."""
    try:
        then = TypeAdapter(dict[str, str]).validate_json(about.get("versions", "{}"))
    except ValueError:
        return
    now = versions()
    for name in sorted(then.keys() & now.keys()):
        if then[name] != now[name]:
            yield f"recorded with {name} {then[name]}, now {now[name]}"


def first_difference(topic: str, logged: bytes | None, now: bytes | None) -> tuple[str, str, str]:
    """Where two messages of one topic differ first: the field, and what it holds in each."""
    if logged is None or now is None:
        return topic, "nothing" if logged is None else "a message", "nothing" if now is None else "a message"
    kind = message_class(TOPICS[topic])
    different = _truths(logged, now) if topic == "/truth" else _fields(kind.FromString(logged), kind.FromString(now))
    for where, a, b in different:
        return f"{topic} {where}", a, b
    return topic, "other bytes", "other bytes"


def _fields(a: Any, b: Any, prefix: str = "") -> Iterator[tuple[str, str, str]]:
    """Every field in which two messages of one kind differ."""
    for field in a.DESCRIPTOR.fields:
        name, x, y = f"{prefix}{field.name}", getattr(a, field.name), getattr(b, field.name)
        values = [(name, x, y)]
        if field.is_repeated:
            if len(x) != len(y):
                yield name, f"{len(x)} values", f"{len(y)} values"
                continue
            values = [(f"{name}[{i}]", p, q) for i, (p, q) in enumerate(zip(x, y, strict=True))]
        for at, p, q in values:
            if field.message_type is not None:
                yield from _fields(p, q, f"{at}.")
            elif not _same(p, q):
                yield at, repr(p), repr(q)


def _truths(a: bytes, b: bytes) -> Iterator[tuple[str, str, str]]:
    """Every number in which two truths differ; their arrays are packed."""
    kind = message_class("Truth")
    one, other = vars(decode_truth(kind.FromString(a))), vars(decode_truth(kind.FromString(b)))
    for name, x in one.items():
        y = other[name]
        if not isinstance(x, np.ndarray) or x.shape != y.shape:
            if not np.array_equal(x, y):
                yield name, str(x)[:60], str(y)[:60]
            continue
        bits = x.view(np.int64) != y.view(np.int64)
        for index in np.argwhere(bits):
            yield f"{name}{index.tolist()}", repr(float(x[tuple(index)])), repr(float(y[tuple(index)]))


def _same(x: Any, y: Any) -> bool:
    """Equal in every bit; NaN is NaN."""
    if isinstance(x, float) and isinstance(y, float):
        return struct.pack("<d", x) == struct.pack("<d", y)
    return bool(x == y)


def _braked_at(log: EpisodeLog) -> float:
    """When somebody pressed Ctrl-C [s]; inf: nobody did."""
    for step in log.steps:
        if step.braked:
            return step.observation.time
    return math.inf


def _model(about: Mapping[str, str], given: Path | None) -> Path | None:
    """The file of the world model that the episode was run with; None is the packaged one."""
    from robotctl.world_model import storage
    from robotctl.world_model.composite import DEFAULT

    for path in (given, DEFAULT, Path(about["model"])):
        if path is not None and path.is_file() and storage.load(path)[2] == about["model_sha256"]:
            return None if path == DEFAULT else path
    what = "that file is another one" if given else "it is not the packaged one: name its file with --model"
    used = f"'{about['model']}' (sha256 {about['model_sha256'][:12]})"
    raise UsageError(f"the episode was run with the world model {used}; {what}")


def _hint(logged: dict[str, bytes]) -> str:
    """What in the logged step may explain that it cannot be had again."""
    message = str(message_class("Status").FromString(logged["/status"]).message)
    if "did not answer within" in message:
        return "the planner was too slow here, which no seed decides"
    return ""
