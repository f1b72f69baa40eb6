"""The units of work that collecting data is cut into: each is one file, made by one process, and can be resumed.

A unit is a deterministic function of the seed, its number and the model it acts by, whoever makes it and when.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from robotctl.errors import InvalidFileError
from robotctl.training import records
from robotctl.training.tables import load_table, save_table

T = TypeVar("T")
PEOPLE, PLAY, SKILLS, CUTS, PULLS, PUSHES = "people", "play", "skills", "cuts", "pulls", "pushes"
# People, episodes, episodes, cuts, pulls (and some lifts beside), pushes in one unit.
SIZE = {PEOPLE: 10, PLAY: 3, SKILLS: 2, CUTS: 10, PULLS: 10, PUSHES: 25}
LIFTS = 3  # tries to lift what play never meets, in one unit of pulls
_STREAM = {
    PEOPLE: 101,
    PLAY: 102,
    SKILLS: 103,
    PUSHES: 104,
    CUTS: 105,
    PULLS: 106,
}  # keeps the random streams of the kinds apart


@dataclass(frozen=True)
class Unit:
    """One file of data."""

    kind: str  # people, play, skills, cuts, pulls or pushes
    number: int
    seed: int
    target: str  # scene or task whose sensors, actuators, objects and people are used
    folder: Path
    model: Path | None = None  # skills are tried with this model, pushes are chosen by its disagreement
    aimed: bool = False  # pushes at the object, as the planner's are: to calibrate and test with
    kinds: tuple[str, ...] = ()  # that are pushed; none named: all that may be
    size: int | None = None  # pushes, where they are fewer than SIZE

    @property
    def path(self) -> Path:
        return self.folder / f"{self.kind}-{self.number:04d}.parquet"


def units(kind: str, amount: int, seed: int, target: str, folder: Path, model: Path | None = None) -> list[Unit]:
    """Enough units for `amount` people, episodes or tries."""
    return [Unit(kind, i, seed, target, folder, model) for i in range(-(-amount // SIZE[kind]))]


def make(unit: Unit) -> Path:
    """Collects one unit and writes its file, as a whole or not at all."""
    save_table(unit.path, _MAKERS[unit.kind](unit, [unit.seed, _STREAM[unit.kind], unit.number]))
    return unit.path


def _make_people(unit: Unit, stream: list[int]) -> records.Columns:
    from robotctl.training.people_data import collect_people
    from robotctl.training.target import open_target

    scene, people = open_target(unit.target)
    return records.of_windows(collect_people(scene.sensors, people, SIZE[PEOPLE], np.random.default_rng(stream)))


def _make_play(unit: Unit, stream: list[int]) -> records.Columns:
    from robotctl.training.play_data import collect_play
    from robotctl.training.target import open_target

    scene, _ = open_target(unit.target)
    return records.of_traces(collect_play(scene, _numbers(unit, SIZE[PLAY]), stream))


def _make_skills(unit: Unit, stream: list[int]) -> records.Columns:
    from robotctl.play import collect_attempts
    from robotctl.training.target import household, open_target
    from robotctl.world_model.composite import load_world_model

    scene, _ = open_target(unit.target)
    model = load_world_model(unit.model, household(scene).assumptions)
    seed = int(np.random.default_rng(stream).integers(2**31))
    return records.of_attempts(list(collect_attempts(scene, model, seed, SIZE[SKILLS])))


def _make_cuts(unit: Unit, stream: list[int]) -> records.Columns:
    from robotctl.training.cut_data import collect_cuts
    from robotctl.training.target import open_target

    scene, _ = open_target(unit.target)
    return records.of_attempts(collect_cuts(scene, _numbers(unit, SIZE[CUTS]), stream))


def _make_pulls(unit: Unit, stream: list[int]) -> records.Columns:
    from robotctl.training.pull_data import collect_lifts, collect_pulls
    from robotctl.training.target import open_target

    scene, _ = open_target(unit.target)
    pulls = collect_pulls(scene, _numbers(unit, SIZE[PULLS]), stream)
    return records.of_attempts(pulls + collect_lifts(scene, _numbers(unit, LIFTS), [*stream, 1]))


def _numbers(unit: Unit, size: int) -> range:
    return range(unit.number * size, (unit.number + 1) * size)


def _make_pushes(unit: Unit, stream: list[int]) -> records.Columns:
    from robotctl.training.curiosity import collect_pushes
    from robotctl.training.target import open_target

    scene, _ = open_target(unit.target)
    if unit.kinds:
        stream = [*stream, 1]  # none of the pushes that a model was made from with the same seed
    first = unit.number * SIZE[PUSHES]
    pushes = range(first, first + (SIZE[PUSHES] if unit.size is None else unit.size))
    return records.of_pushes(collect_pushes(scene, pushes, stream, unit.model, unit.aimed, unit.kinds))


_MAKERS = {
    PEOPLE: _make_people, PLAY: _make_play, SKILLS: _make_skills, CUTS: _make_cuts, PULLS: _make_pulls,
    PUSHES: _make_pushes,
}  # fmt: skip


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
    for _ in in_processes(make, missing, workers):
        done += 1
        if progress is not None:
            progress(done, len(jobs))


def in_processes(work: Callable[[T], object], jobs: Sequence[T], workers: int) -> Iterator[None]:
    """Does all jobs in `workers` fresh processes and yields after each that is done; stopped early, it ends them."""
    context = multiprocessing.get_context("spawn")
    pool = context.Pool(min(workers, len(jobs)), initializer=_quiet_worker)
    try:
        for _ in pool.imap_unordered(work, jobs):
            yield
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
        load_table(unit.path)
    except InvalidFileError:
        return False
    return True
