"""What makes a model: target, seed and amounts; and which data files, and which part of them, that comes down to."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from robotctl.errors import InvalidFileError, UsageError
from robotctl.training import records, units
from robotctl.training.target import open_target
from robotctl.training.units import CUTS, PEOPLE, PLAY, PULLS, PUSHES, SIZE, SKILLS, Unit
from robotctl.world_model.contact import ContactModel

PARTS = (PEOPLE, PLAY, SKILLS, CUTS, PULLS, PUSHES)
MANIFEST = "recipe.json"  # says what a data folder was collected by
SHARES = (0.5, 0.3, 0.2)  # of people, and of episodes, to fit, calibrate and test with
AIMED = (0.25, 0.4, 0.35)  # of the aimed pushes, to fit, calibrate and test with
ROUNDS = (0.2, 0.4, 0.4)  # of the pushes: the first at random, the others where the ensemble disagrees
STRANGERS = frozenset({"book", "jar"})  # kinds that no fit sees: what new things are like is tested on them
Progress = Callable[[str, float], None]  # what is being done, and the share of it that is done


@dataclass(frozen=True)
class Amount:
    """How much is collected and how long is fitted."""

    people: int
    play: int  # episodes
    skills: int  # episodes
    cuts: int
    pulls: int
    pushes: int  # at random and curious, to fit
    aimed: int  # pushes to fit, calibrate and test with
    people_steps: int
    play_steps: int
    push_steps: int


_LATER = {"cuts": 0, "pulls": 0}  # what folders of an earlier version do not have
FULL = Amount(
    people=300, play=75, skills=110, cuts=80, pulls=120, pushes=225, aimed=550,
    people_steps=4000, play_steps=4000, push_steps=1500,
)  # fmt: skip
QUICK = Amount(
    people=200, play=36, skills=60, cuts=40, pulls=50, pushes=150, aimed=250,
    people_steps=2000, play_steps=2000, push_steps=600,
)  # fmt: skip


@dataclass(frozen=True)
class Recipe:
    """What makes a model: the same recipe gives the same weights."""

    target: str  # scene or task
    seed: int
    amount: Amount

    def jobs(self, kind: str, folder: Path) -> list[Unit]:
        """The units of one kind of data."""
        if kind == PUSHES:
            return [job for number in range(len(ROUNDS)) for job in self.round(number, folder)] + self.aimed(folder)
        stage = first_stage(folder) if kind == SKILLS else None
        return units.units(kind, getattr(self.amount, kind), self.seed, self.target, folder, stage)

    def round(self, number: int, folder: Path) -> list[Unit]:
        """The pushes of one round: at random, or where the model of the rounds before is in doubt."""
        edges = np.round(np.cumsum([0.0, *ROUNDS]) * self.amount.pushes / SIZE[PUSHES]).astype(int)
        model = curiosity(folder, number) if number else None
        numbers = range(edges[number], edges[number + 1])
        return [Unit(PUSHES, i, self.seed, self.target, folder, model) for i in numbers]

    def aimed(self, folder: Path) -> list[Unit]:
        """The pushes as the planner's are: to fit, calibrate and test with."""
        first = round(self.amount.pushes / SIZE[PUSHES])
        numbers = range(first, first + round(self.amount.aimed / SIZE[PUSHES]))
        return [Unit(PUSHES, i, self.seed, self.target, folder, aimed=True) for i in numbers]


def first_stage(folder: Path) -> Path:
    """The model of people and actuators that skills are tried with."""
    return folder / "first-stage.safetensors"


def curiosity(folder: Path, number: int) -> Path:
    """The contact model that chooses the pushes of a round."""
    return folder / f"curiosity-{number}.safetensors"


# ---- the folder ------------------------------------------------------------------------------------------------


def claim(recipe: Recipe, folder: Path, resume: bool) -> None:
    """Makes the folder this recipe's own; what another recipe left there is an error, not overwritten."""
    scene, _ = open_target(recipe.target)
    mine = {**asdict(recipe), "scene_sha256": hashlib.sha256(scene.text.encode()).hexdigest()}
    if claim_folder(folder, MANIFEST, mine) and not resume:
        for kind in PARTS:
            for job in recipe.jobs(kind, folder):
                job.path.unlink(missing_ok=True)
        for path in folder.glob("*.safetensors"):
            path.unlink()


def claim_folder(folder: Path, name: str, mine: dict[str, Any]) -> bool:
    """Makes a folder the one of what `mine` says, by a manifest of that name; returns whether it already was.

    UsageError if it holds anything else.
    """
    manifest = folder / name
    known = manifest.exists()
    if known:
        theirs = read_manifest(manifest)
        if theirs != mine:
            changed = [key for key in mine if theirs.get(key) != mine[key]]
            raise UsageError(
                f"{folder}: holds data of another recipe ({', '.join(changed)} differs); choose another --data"
            )
    elif folder.exists() and any(folder.iterdir()):
        raise UsageError(f"{folder}: is not empty and not made by `robotctl train`; choose another --data")
    folder.mkdir(parents=True, exist_ok=True)
    manifest.write_text(json.dumps(mine, indent=1) + "\n")
    return known


def read_manifest(path: Path) -> dict[str, Any]:
    """What a folder says of itself."""
    try:
        data = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise InvalidFileError(f"{path}: not a readable recipe ({error})") from error
    if not isinstance(data, dict):
        raise InvalidFileError(f"{path}: not a recipe")
    return data


def recipe_of(folder: Path) -> Recipe:
    """The recipe that a data folder was collected by."""
    manifest = folder / MANIFEST
    if not manifest.exists():
        raise UsageError(f"{folder}: no data here; run `robotctl train collect` first")
    data = read_manifest(manifest)
    try:
        amount = {**_LATER, **{k: int(v) for k, v in data["amount"].items()}}
        return Recipe(str(data["target"]), int(data["seed"]), Amount(**amount))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InvalidFileError(f"{manifest}: not a recipe ({error})") from error


def data_hash(recipe: Recipe, folder: Path) -> str:
    """One sha256 over all data files of the recipe, by name."""
    return hash_of(job.path for kind in PARTS for job in recipe.jobs(kind, folder))


def hash_of(paths: Iterable[Path]) -> str:
    """One sha256 over files and their names, in this order."""
    digest = hashlib.sha256()
    for path in paths:
        digest.update(path.name.encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


# ---- what is fitted, calibrated and tested on ------------------------------------------------------------------


def _paths(jobs: Sequence[Unit]) -> list[Path]:
    return [job.path for job in jobs]


def people_sets(recipe: Recipe, folder: Path) -> list[Any]:
    """Windows of disjoint people."""
    from robotctl.training.people_data import split

    windows = records.windows_from(_paths(recipe.jobs(PEOPLE, folder)))
    return split(windows, SHARES, np.random.default_rng([recipe.seed, 7]))


def recorded_people(recipe: Recipe) -> dict[str, Any]:
    """Windows of recorded motions that no fit sees, slowed down to the speeds that the safety case assumes, by clip."""
    from robotctl.training.recordings import watch_recordings
    from robotctl.training.target import household

    scene, _ = open_target(recipe.target)
    speeds = household(scene).assumptions.keypoint_speed()
    return watch_recordings(scene.sensors, np.random.default_rng([recipe.seed, 10]), speeds)


def play_sets(recipe: Recipe, folder: Path) -> list[Any]:
    """Samples of disjoint episodes, each set with empty and loaded hands in the same proportion."""
    from robotctl.training.fit_actuators import samples_of

    samples = samples_of(records.traces_from(_paths(recipe.jobs(PLAY, folder))))
    episodes = np.unique(samples.episode)
    generator = np.random.default_rng([recipe.seed, 8])
    sets: list[list[int]] = [[], [], []]
    for loaded in (False, True):
        group = generator.permutation([e for e in episodes if (e % 3 != 0) == loaded])
        edges = np.round(np.cumsum([0.0, *SHARES]) * len(group)).astype(int)
        for i in range(3):
            sets[i] += group[edges[i] : edges[i + 1]].tolist()
    return [samples.where(np.isin(samples.episode, chosen)) for chosen in sets]


def attempts(recipe: Recipe, folder: Path, contact: ContactModel) -> list[Any]:
    """All tries of skills; of pushing, what the contact model foresaw of aimed pushes that it was not fitted to."""
    from robotctl.training import push_attempts

    scene, _ = open_target(recipe.target)
    aimed = records.pushes_from(_paths(recipe.aimed(folder)))
    fitted = set(_aimed_sets(recipe, len(aimed))[0])
    others = [trace for i, trace in enumerate(aimed) if i not in fitted]
    tried = records.attempts_from(_paths([job for kind in (SKILLS, CUTS, PULLS) for job in recipe.jobs(kind, folder)]))
    return tried + push_attempts.attempts_of(contact, others, scene.kinds)


def pushes(recipe: Recipe, folder: Path, jobs: Sequence[Unit]) -> Any:
    """The pushes of some units."""
    from robotctl.training.fit_contact import pushes_of

    scene, _ = open_target(recipe.target)
    return pushes_of(records.pushes_from(_paths(jobs)), scene.kinds)


def push_sets(recipe: Recipe, folder: Path) -> list[Any]:
    """Pushes to fit (of known kinds only), to calibrate and to test with."""
    from robotctl.training.fit_contact import pushes_of

    scene, _ = open_target(recipe.target)
    known = [job for number in range(len(ROUNDS)) for job in recipe.round(number, folder)]
    aimed = records.pushes_from(_paths(recipe.aimed(folder)))
    fitted, *others = _aimed_sets(recipe, len(aimed))
    traces = records.pushes_from(_paths(known)) + [aimed[i] for i in fitted]
    sets = [traces, *([aimed[i] for i in rows] for rows in others)]
    fit, calibration, test = (pushes_of(part, scene.kinds) for part in sets)
    return [fit.without(STRANGERS), calibration, test]


def _aimed_sets(recipe: Recipe, count: int) -> list[list[int]]:
    """Which of the aimed pushes are for what."""
    order = np.random.default_rng([recipe.seed, 9]).permutation(count)
    edges = np.round(np.cumsum([0.0, *AIMED]) * count).astype(int)
    return [sorted(order[edges[i] : edges[i + 1]].tolist()) for i in range(len(AIMED))]
