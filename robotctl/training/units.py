"""The units of work that collecting data is cut into: each is one file, made by one process, and can be resumed.

A unit is a deterministic function of the seed and its number, whoever makes it and when.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from robotctl.errors import InvalidFileError
from robotctl.training.people_data import Windows
from robotctl.training.play_data import Trace
from robotctl.world_model.skill_outcome import SkillAttempt, load_attempts, save_attempts

PEOPLE, PLAY, SKILLS = "people", "play", "skills"
SIZE = {PEOPLE: 10, PLAY: 3, SKILLS: 2}  # people, episodes, episodes in one unit
_STREAM = {PEOPLE: 101, PLAY: 102, SKILLS: 103}  # keeps the random streams of the kinds apart


@dataclass(frozen=True)
class Unit:
    """One file of data."""

    kind: str  # people, play or skills
    number: int
    seed: int
    target: str  # scene or task whose sensors, actuators, objects and people are used
    folder: Path
    model: Path | None = None  # skills are tried with this model

    @property
    def path(self) -> Path:
        return self.folder / f"{self.kind}-{self.number:04d}.{'jsonl' if self.kind == SKILLS else 'npz'}"


def units(kind: str, amount: int, seed: int, target: str, folder: Path, model: Path | None = None) -> list[Unit]:
    """Enough units for `amount` people or episodes."""
    return [Unit(kind, i, seed, target, folder, model) for i in range(-(-amount // SIZE[kind]))]


def make(unit: Unit) -> Path:
    """Collects one unit and writes its file, as a whole or not at all."""
    from robotctl.training.people_data import collect_people
    from robotctl.training.play_data import collect_play
    from robotctl.training.target import open_target

    scene, people = open_target(unit.target)
    stream = [unit.seed, _STREAM[unit.kind], unit.number]
    if unit.kind == PEOPLE:
        windows = collect_people(scene.sensors, people, SIZE[PEOPLE], np.random.default_rng(stream))
        _save(unit.path, {name: getattr(windows, name) for name in ("history", "future", "person")})
    elif unit.kind == PLAY:
        traces = collect_play(scene, range(unit.number * SIZE[PLAY], (unit.number + 1) * SIZE[PLAY]), stream)
        _save(unit.path, {f"{i}.{name}": getattr(t, name) for i, t in enumerate(traces) for name in FIELDS})
    else:
        from robotctl.play import collect_attempts
        from robotctl.training.target import household
        from robotctl.world_model.composite import load_world_model

        model = load_world_model(unit.model, household(scene).assumptions)
        seed = int(np.random.default_rng(stream).integers(2**31))
        save_attempts(unit.path, collect_attempts(scene, model, seed, SIZE[SKILLS]))
    return unit.path


FIELDS = tuple(Trace.__dataclass_fields__)


def _save(path: Path, arrays: dict[str, np.ndarray]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial.npz")
    np.savez(partial, **arrays)  # type: ignore[arg-type]
    partial.replace(path)


def make_all(
    jobs: Sequence[Unit], workers: int, resume: bool, progress: Callable[[int, int], None] | None = None
) -> None:
    """Makes all units in `workers` fresh processes; with `resume` those whose files are there are kept.

    Interrupted, it leaves whole files behind and raises KeyboardInterrupt.
    """
    missing = [job for job in jobs if not (resume and readable(job))]
    done = len(jobs) - len(missing)
    if progress is not None:
        progress(done, len(jobs))
    if not missing:
        return
    context = multiprocessing.get_context("spawn")
    pool = context.Pool(min(workers, len(missing)), initializer=_quiet_worker)
    try:
        for _ in pool.imap_unordered(make, missing):
            done += 1
            if progress is not None:
                progress(done, len(jobs))
        pool.close()
    except BaseException:
        pool.terminate()
        raise
    finally:
        pool.join()


def _quiet_worker() -> None:
    """A worker leaves Ctrl-C to its parent and computes on one core."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"


def readable(unit: Unit) -> bool:
    """Whether a unit's file is there and whole."""
    try:
        if unit.kind == SKILLS:
            load_attempts(unit.path)
        else:
            _load(unit.path)
    except InvalidFileError:
        return False
    return True


def _load(path: Path) -> dict[str, Any]:
    try:
        with np.load(path, allow_pickle=False) as data:
            return {name: data[name] for name in data}
    except Exception as error:  # a zip archive can break in many ways, and each means the same here
        raise InvalidFileError(
            f"{path}: not a whole data file ({type(error).__name__}); remove it and --resume"
        ) from error


def load_people(jobs: Sequence[Unit]) -> Windows:
    """All windows of the units, everyone with a number of their own."""
    parts = [_load(job.path) for job in jobs if job.kind == PEOPLE]
    try:
        person = [p["person"] + i * SIZE[PEOPLE] for i, p in enumerate(parts)]
        return Windows(
            np.concatenate([p["history"] for p in parts]),
            np.concatenate([p["future"] for p in parts]),
            np.concatenate(person),
        )
    except KeyError as error:
        raise InvalidFileError(f"{jobs[0].folder}: a people file lacks {error}") from error


def load_play(jobs: Sequence[Unit]) -> list[Trace]:
    """The episodes of the units."""
    traces = []
    for job in jobs:
        if job.kind == PLAY:
            data = _load(job.path)
            try:
                count = len({name.split(".")[0] for name in data})
                traces += [Trace(*(data[f"{i}.{name}"] for name in FIELDS)) for i in range(count)]
            except KeyError as error:
                raise InvalidFileError(f"{job.path}: lacks {error}") from error
    return traces


def load_skills(jobs: Sequence[Unit]) -> list[SkillAttempt]:
    """The attempts of the units."""
    return [attempt for job in jobs if job.kind == SKILLS for attempt in load_attempts(job.path)]
