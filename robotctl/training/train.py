"""The whole of `robotctl train` on one page: collect, fit, evaluate, save.

people  watch simulated people                    -> human motion model
play    move the joints, with and without a load  -> actuator model
skills  try to pick and place, with those two     -> skill outcome model
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

import robotctl
from robotctl.errors import InvalidFileError, UsageError
from robotctl.training import units
from robotctl.training.target import household, open_target
from robotctl.training.units import PEOPLE, PLAY, SKILLS, Unit
from robotctl.world_model import composite, storage
from robotctl.world_model.contact import QUASI_STATIC
from robotctl.world_model.skill_outcome import SkillOutcomeModel

PARTS = (PEOPLE, PLAY, SKILLS)
SHARES = (0.7, 0.15, 0.15)  # of people, and of episodes, to fit, calibrate and test with
Progress = Callable[[str, float], None]  # what is being done, and the share of it that is done


@dataclass(frozen=True)
class Amount:
    """How much is collected and how long is fitted."""

    people: int
    play: int  # episodes
    skills: int  # episodes
    people_steps: int
    play_steps: int


FULL = Amount(people=400, play=150, skills=300, people_steps=8000, play_steps=6000)
QUICK = Amount(people=120, play=45, skills=160, people_steps=2000, play_steps=3000)


@dataclass(frozen=True)
class Recipe:
    """What makes a model: the same recipe gives the same weights."""

    target: str  # scene or task
    seed: int
    amount: Amount

    def jobs(self, kind: str, folder: Path) -> list[Unit]:
        """The units of one kind of data."""
        stage = first_stage(folder) if kind == SKILLS else None
        return units.units(kind, getattr(self.amount, kind), self.seed, self.target, folder, stage)


def first_stage(folder: Path) -> Path:
    """The model of people and actuators that skills are tried with."""
    return folder / "first-stage.safetensors"


def train(
    recipe: Recipe, out: Path, folder: Path, workers: int = 2, resume: bool = False, progress: Progress | None = None
) -> dict[str, Any]:
    """Collects, fits, evaluates and saves a world model; returns the answer of `robotctl train --json`."""
    started = time.perf_counter()
    collect(recipe, folder, workers, resume, (PEOPLE, PLAY), progress)
    collected = time.perf_counter() - started
    started = time.perf_counter()
    fit_first_stage(recipe, folder, progress)
    fitted = time.perf_counter() - started
    started = time.perf_counter()
    collect(recipe, folder, workers, True, (SKILLS,), progress)
    collected += time.perf_counter() - started
    started = time.perf_counter()
    answer = fit(recipe, out, folder, progress, first_stage_done=True)
    return {**answer, "collect_s": round(collected, 1), "fit_s": round(fitted + time.perf_counter() - started, 1)}


# ---- collect ---------------------------------------------------------------------------------------------------


def collect(
    recipe: Recipe,
    folder: Path,
    workers: int,
    resume: bool,
    kinds: Sequence[str] = PARTS,
    progress: Progress | None = None,
) -> int:
    """Makes the data files of the recipe; returns how many there are."""
    _claim(recipe, folder, resume)
    if SKILLS in kinds and not first_stage(folder).exists():
        collect(recipe, folder, workers, True, [k for k in kinds if k != SKILLS], progress)
        fit_first_stage(recipe, folder, progress)
    for kind in kinds:
        jobs = recipe.jobs(kind, folder)

        def advance(done: int, total: int, kind: str = kind) -> None:
            if progress is not None:
                progress(f"collect {kind}", done / total)

        units.make_all(jobs, workers, resume, advance)
    return sum(len(recipe.jobs(kind, folder)) for kind in kinds)


def _claim(recipe: Recipe, folder: Path, resume: bool) -> None:
    """Makes the folder this recipe's own; what another recipe left there is an error, not overwritten."""
    manifest = folder / "recipe.json"
    scene, _ = open_target(recipe.target)
    mine = {**asdict(recipe), "scene_sha256": hashlib.sha256(scene.text.encode()).hexdigest()}
    if manifest.exists():
        theirs = _read_manifest(manifest)
        if theirs != mine:
            changed = [key for key in mine if theirs.get(key) != mine[key]]
            raise UsageError(
                f"{folder}: holds data of another recipe ({', '.join(changed)} differs); choose another --data"
            )
        if not resume:
            for kind in PARTS:
                for job in recipe.jobs(kind, folder):
                    job.path.unlink(missing_ok=True)
            first_stage(folder).unlink(missing_ok=True)
    elif folder.exists() and any(folder.iterdir()):
        raise UsageError(f"{folder}: is not empty and not made by `robotctl train`; choose another --data")
    folder.mkdir(parents=True, exist_ok=True)
    manifest.write_text(json.dumps(mine, indent=1) + "\n")


def _read_manifest(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise InvalidFileError(f"{path}: not a readable recipe ({error})") from error
    if not isinstance(data, dict):
        raise InvalidFileError(f"{path}: not a recipe")
    return data


def recipe_of(folder: Path) -> Recipe:
    """The recipe that a data folder was collected by."""
    manifest = folder / "recipe.json"
    if not manifest.exists():
        raise UsageError(f"{folder}: no data here; run `robotctl train collect` first")
    data = _read_manifest(manifest)
    try:
        return Recipe(str(data["target"]), int(data["seed"]), Amount(**{k: int(v) for k, v in data["amount"].items()}))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InvalidFileError(f"{manifest}: not a recipe ({error})") from error


# ---- fit and evaluate ------------------------------------------------------------------------------------------


def _people_sets(recipe: Recipe, folder: Path) -> list[Any]:
    from robotctl.training.people_data import split

    windows = units.load_people(recipe.jobs(PEOPLE, folder))
    return split(windows, SHARES, np.random.default_rng([recipe.seed, 7]))


def _play_sets(recipe: Recipe, folder: Path) -> list[Any]:
    """Samples of disjoint episodes, each set with empty and loaded hands in the same proportion."""
    from robotctl.training.fit_actuators import samples_of

    samples = samples_of(units.load_play(recipe.jobs(PLAY, folder)))
    episodes = np.unique(samples.episode)
    generator = np.random.default_rng([recipe.seed, 8])
    sets: list[list[int]] = [[], [], []]
    for loaded in (False, True):
        group = generator.permutation([e for e in episodes if (e % 3 != 0) == loaded])
        edges = np.round(np.cumsum([0.0, *SHARES]) * len(group)).astype(int)
        for i in range(3):
            sets[i] += group[edges[i] : edges[i + 1]].tolist()
    return [samples.where(np.isin(samples.episode, chosen)) for chosen in sets]


def fit_first_stage(recipe: Recipe, folder: Path, progress: Progress | None = None) -> None:
    """Fits people and actuators and saves them, without skills, beside the data."""
    from robotctl.training.fit_actuators import fit_actuators
    from robotctl.training.fit_people import fit_people

    amount = recipe.amount

    def report(what: str) -> Callable[[float, float], None]:
        def advance(share: float, loss: float) -> None:
            if progress is not None:
                progress(f"fit {what}", share)

        return advance

    fitted, calibration, _ = _people_sets(recipe, folder)
    people = fit_people(fitted, calibration, recipe.seed, amount.people_steps, report(PEOPLE))
    fitted, calibration, _ = _play_sets(recipe, folder)
    actuators = fit_actuators(fitted, calibration, recipe.seed, amount.play_steps, report(PLAY))
    composite.save_world_model(
        first_stage(folder), people, actuators, SkillOutcomeModel(), QUASI_STATIC, {"stage": "first"}
    )


def fit(
    recipe: Recipe, out: Path, folder: Path, progress: Progress | None = None, first_stage_done: bool = False
) -> dict[str, Any]:
    """Fits on collected data, evaluates, and saves the model with its card."""
    from robotctl.training.fit_skills import fit_skills

    if not first_stage_done:
        fit_first_stage(recipe, folder, progress)
    attempts = units.load_skills(recipe.jobs(SKILLS, folder))
    if progress is not None:
        progress("fit skills", 0.0)
    model = _open(recipe, first_stage(folder))
    model = replace(model, outcomes=fit_skills(attempts, recipe.seed))
    evaluation, transitions = evaluate(model, recipe, folder, progress)
    card = {
        "schema": "robotctl/model-card.v1",
        "command": f"robotctl train {recipe.target} --seed {recipe.seed}"
        + (" --quick" if recipe.amount == QUICK else ""),
        "recipe": asdict(recipe),
        "data_sha256": data_hash(recipe, folder),
        "transitions": transitions,
        "evaluation": evaluation,
        "versions": versions(),
    }
    sha256 = composite.save_world_model(out, model.people, model.actuators, model.outcomes, model.contact, card)
    return {
        "schema": "robotctl/train.v1",
        "model": str(out),
        "sha256": sha256,
        "transitions": sum(transitions.values()),
        "evaluation": evaluation,
    }


def _open(recipe: Recipe, path: Path | None) -> composite.LearnedWorldModel:
    scene, _ = open_target(recipe.target)
    return composite.load_world_model(path, household(scene).assumptions)


def evaluate(
    model: composite.LearnedWorldModel, recipe: Recipe, folder: Path, progress: Progress | None = None
) -> tuple[dict[str, Any], dict[str, int]]:
    """How good the model is on the recipe's people and episodes that no fit has seen, and how much was collected."""
    from robotctl.training.fit_actuators import evaluate_actuators
    from robotctl.training.fit_people import evaluate_people
    from robotctl.training.fit_skills import evaluate_skills

    if progress is not None:
        progress("evaluate", 0.0)
    people, play = _people_sets(recipe, folder), _play_sets(recipe, folder)
    attempts = units.load_skills(recipe.jobs(SKILLS, folder))
    parts = [evaluate_people(model.people, people[2]), evaluate_actuators(model.actuators, play[2])]
    parts += evaluate_skills(attempts, recipe.seed)
    counted = {PEOPLE: sum(map(len, people)), PLAY: sum(map(len, play)), SKILLS: len(attempts)}
    if progress is not None:
        progress("evaluate", 1.0)
    return {"parts": parts}, counted


def evaluate_file(path: Path | None, recipe: Recipe, folder: Path, progress: Progress | None = None) -> dict[str, Any]:
    """Evaluates a model file (None: the packaged one) on the recipe's test data."""
    model = _open(recipe, path)
    evaluation, transitions = evaluate(model, recipe, folder, progress)
    return {
        "schema": "robotctl/train-evaluate.v1",
        "model": model.path,
        "sha256": model.sha256,
        "transitions": sum(transitions.values()),
        "evaluation": evaluation,
    }


def data_hash(recipe: Recipe, folder: Path) -> str:
    """One sha256 over all data files of the recipe, by name."""
    digest = hashlib.sha256()
    for kind in PARTS:
        for job in recipe.jobs(kind, folder):
            digest.update(job.path.name.encode())
            digest.update(hashlib.sha256(job.path.read_bytes()).digest())
    return digest.hexdigest()


def versions() -> dict[str, str]:
    """Of what the weights may depend on."""
    names = ("numpy", "jax", "equinox", "optax", "pybullet", "safetensors")
    return {"robotctl": robotctl.__version__, **{name: importlib.metadata.version(name) for name in names}}


def install_default(path: Path) -> None:
    """Makes a model the one that comes with robotctl (for maintainers)."""
    composite.DEFAULT.parent.mkdir(exist_ok=True)
    shutil.copyfile(path, composite.DEFAULT)
    shutil.copyfile(storage.card_path(path), storage.card_path(composite.DEFAULT))
