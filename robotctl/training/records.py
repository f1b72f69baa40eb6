"""Turns what was collected into columns of a table, and tables back into what the fits read."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np

from robotctl.errors import InvalidFileError
from robotctl.training.people_data import Windows
from robotctl.training.play_data import Trace
from robotctl.training.push_data import PushTrace
from robotctl.training.tables import load_table
from robotctl.world_model.skill_outcome import SkillAttempt

Columns = dict[str, np.ndarray]
T = TypeVar("T")
_TRACE = tuple(Trace.__dataclass_fields__)
_PUSH = ("hand", "thing", "seen")


def of_windows(windows: Windows) -> Columns:
    """A row for every window of a person."""
    return {"history": windows.history, "future": windows.future, "person": windows.person}


def of_traces(traces: Sequence[Trace]) -> Columns:
    """A row for every tick of every episode of play."""
    episode = np.concatenate([np.full(len(trace.q), i) for i, trace in enumerate(traces)])
    return {"episode": episode, **{name: np.concatenate([getattr(t, name) for t in traces]) for name in _TRACE}}


def of_attempts(attempts: Sequence[SkillAttempt]) -> Columns:
    """A row for every try of a skill; its features as JSON, since skills differ in them."""
    return {
        "skill": np.array([a.skill for a in attempts], str),
        "kind": np.array([a.kind for a in attempts], str),
        "features": np.array([json.dumps(a.features, sort_keys=True) for a in attempts], str),
        "success": np.array([a.success for a in attempts], bool),
        "duration": np.array([a.duration for a in attempts], float),
        "displacement": np.array([a.displacement for a in attempts], float),
    }


def of_pushes(traces: Sequence[PushTrace]) -> Columns:
    """A row for every step of every push."""
    length = [len(trace.hand) for trace in traces]
    columns = {name: _joined([getattr(t, name) for t in traces], 3) for name in _PUSH}
    return {
        "push": np.repeat(np.arange(len(traces)), length),
        "kind": np.repeat(np.array([t.kind for t in traces], str), length),
        "toppled": np.repeat(np.array([t.toppled for t in traces], bool), length),
        **columns,
    }


def _joined(rows: Sequence[np.ndarray], width: int) -> np.ndarray:
    return np.concatenate([np.zeros((0, width)), *rows])


def windows_from(paths: Sequence[Path]) -> Windows:
    """All windows of several files, everyone with a number of their own."""
    parts, seen = [], 0
    for table in map(load_table, paths):
        person = _column(paths, table, "person")
        parts.append(Windows(_column(paths, table, "history"), _column(paths, table, "future"), person + seen))
        seen += int(person.max(initial=-1)) + 1
    return Windows(*(np.concatenate([getattr(p, name) for p in parts]) for name in ("history", "future", "person")))


def traces_from(paths: Sequence[Path]) -> list[Trace]:
    """The episodes of play of several files."""

    def read(table: Columns) -> list[Trace]:
        rows = [table["episode"] == i for i in np.unique(table["episode"])]
        return [Trace(*(table[name][chosen] for name in _TRACE)) for chosen in rows]

    return _each(paths, read)


def attempts_from(paths: Sequence[Path]) -> list[SkillAttempt]:
    """The attempts of several files."""

    def read(table: Columns) -> list[SkillAttempt]:
        return [
            SkillAttempt(
                str(skill), str(kind), {k: float(v) for k, v in json.loads(features).items()}, bool(success),
                float(duration), float(displacement),
            )
            for skill, kind, features, success, duration, displacement in zip(
                *(table[name] for name in ("skill", "kind", "features", "success", "duration", "displacement")),
                strict=True,
            )
        ]  # fmt: skip

    return _each(paths, read)


def pushes_from(paths: Sequence[Path]) -> list[PushTrace]:
    """The pushes of several files."""

    def read(table: Columns) -> list[PushTrace]:
        out = []
        for i in np.unique(table["push"]):
            rows = table["push"] == i
            hand, thing, seen = (table[name][rows] for name in _PUSH)
            out.append(PushTrace(str(table["kind"][rows][0]), hand, thing, seen, bool(table["toppled"][rows][0])))
        return out

    return _each(paths, read)


def _each(paths: Sequence[Path], read: Callable[[Columns], list[T]]) -> list[T]:
    """What is read from each file, joined; InvalidFileError when a column is missing or odd."""
    out = []
    for path in paths:
        try:
            out += read(load_table(path))
        except (KeyError, ValueError, TypeError, AttributeError) as error:
            raise InvalidFileError(f"{path}: not data of this kind ({type(error).__name__}: {error})") from error
    return out


def _column(paths: Sequence[Path], table: Columns, name: str) -> np.ndarray:
    if name not in table:
        raise InvalidFileError(f"{paths[0].parent}: a people file lacks '{name}'")
    return table[name]
