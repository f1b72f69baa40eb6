"""The whole of `robotctl train` on one page: collect, fit, evaluate, save.

people  watch simulated people                    -> human motion model
play    move the joints, with and without a load  -> actuator model
skills  try to pick and place, with those two     -> skill outcome model
cuts    try to cut                                -> the same
pulls   try to drag things, and to lift heavy ones -> the same
pushes  push things about, where the outcome is in doubt -> contact model
"""

from __future__ import annotations

import importlib.metadata
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import robotctl
from robotctl.page.document import checked
from robotctl.training import recipe as recipes
from robotctl.training import units
from robotctl.training.page.page import page_path, write_page
from robotctl.training.recipe import (
    PARTS,
    QUICK,
    ROUNDS,
    STRANGERS,
    Progress,
    Recipe,
    claim,
    curiosity,
    data_hash,
    first_stage,
)
from robotctl.training.target import household, open_target
from robotctl.training.units import CUTS, PEOPLE, PLAY, PULLS, PUSHES, SKILLS
from robotctl.world_model import composite, storage
from robotctl.world_model.contact import QUASI_STATIC, ContactModel
from robotctl.world_model.skill_outcome import SkillOutcomeModel

CURIOUS_STEPS = 200  # of the fits between two rounds of pushes


def train(
    recipe: Recipe, out: Path, folder: Path, workers: int = 2, resume: bool = False, progress: Progress | None = None
) -> dict[str, Any]:
    """Collects, fits, evaluates and saves a world model; returns the answer of `robotctl train --json`."""
    started = time.perf_counter()
    collect(recipe, folder, workers, resume, (PEOPLE, PLAY), progress)
    # What is fitted leaves a core to what is collected meanwhile.
    with beside(lambda tell: fit_first_stage(recipe, folder, tell), progress):
        collect(recipe, folder, workers, True, (PUSHES,), progress)
    with beside(lambda tell: fit_pushes(recipe, folder, tell), progress) as fitting:
        collect(recipe, folder, workers, True, (SKILLS, CUTS, PULLS), progress)
    collected = time.perf_counter() - started
    answer = _finish(recipe, out, folder, fitting.result(), progress)
    spent = {"collect": round(collected, 1), "fit": round(time.perf_counter() - started - collected, 1)}
    write_page(page_path(out), storage.load_card(out), spent)
    return {**answer, **{f"{what}_s": seconds for what, seconds in spent.items()}}


@contextmanager
def beside(work: Callable[[Progress], Any], progress: Progress | None) -> Iterator[Future[Any]]:
    """Does some fitting in a thread beside the body, and ends with it; when the body fails the fitting is given up."""
    given_up = threading.Event()

    def tell(what: str, share: float) -> None:
        if given_up.is_set():
            raise InterruptedError("the fit was given up")
        if progress is not None:
            progress(what, share)

    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(work, tell)
        try:
            yield future
            future.result()
        except BaseException:
            given_up.set()
            raise


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
    claim(recipe, folder, resume)
    if SKILLS in kinds and not first_stage(folder).exists():
        collect(recipe, folder, workers, True, [k for k in kinds if k != SKILLS], progress)
        fit_first_stage(recipe, folder, progress)
    for kind in kinds:
        jobs = recipe.jobs(kind, folder)
        if kind == PUSHES:
            _collect_pushes(recipe, folder, workers, resume, progress)
            continue

        def advance(done: int, total: int, kind: str = kind) -> None:
            if progress is not None:
                progress(f"collect {kind}", done / total)

        units.make_all(jobs, workers, resume, advance)
    return sum(len(recipe.jobs(kind, folder)) for kind in kinds)


def _collect_pushes(recipe: Recipe, folder: Path, workers: int, resume: bool, progress: Progress | None) -> None:
    """Round after round: at random first, then where the model of all rounds before is in doubt.

    While that model is fitted, pushes to calibrate and test with are collected.
    """
    total = len(recipe.jobs(PUSHES, folder))
    done = 0

    def advance(made: int, _: int) -> None:
        if progress is not None:
            progress(f"collect {PUSHES}", (done + made) / total)

    def collect_now(jobs: Sequence[units.Unit]) -> None:
        nonlocal done
        units.make_all(jobs, workers, resume, advance)
        done += len(jobs)

    aimed = recipe.aimed(folder)
    share = -(-len(aimed) // (len(ROUNDS) - 1))
    for number in range(len(ROUNDS)):
        if number:
            with beside(lambda _, number=number: _fit_curiosity(recipe, folder, number), None):  # type: ignore[misc]
                collect_now(aimed[(number - 1) * share : number * share])
        collect_now(recipe.round(number, folder))


def _fit_curiosity(recipe: Recipe, folder: Path, number: int) -> None:
    """The contact model that chooses a round's pushes, going on from the round's before; if it is not there yet."""
    from robotctl.training.fit_contact import fit_contact

    if curiosity(folder, number).exists():
        return
    jobs = [job for before in range(number) for job in recipe.round(before, folder)]
    start = None
    if number > 1:
        start = ContactModel.from_arrays(storage.load(curiosity(folder, number - 1))[0])
    data = recipes.pushes(recipe, folder, jobs).without(STRANGERS)
    model = fit_contact(data, recipe.seed + number, CURIOUS_STEPS, start)
    storage.save(curiosity(folder, number), model.arrays(), {}, {"stage": f"curiosity {number}"})


# ---- fit and evaluate ------------------------------------------------------------------------------------------


def _report(progress: Progress | None, what: str) -> Callable[[float, float], None]:
    """Progress of one fit."""

    def advance(share: float, loss: float) -> None:
        if progress is not None:
            progress(f"fit {what}", share)

    return advance


def fit_first_stage(recipe: Recipe, folder: Path, progress: Progress | None = None) -> None:
    """Fits people and actuators and saves them, without skills, beside the data."""
    from robotctl.training.fit_actuators import fit_actuators
    from robotctl.training.fit_people import fit_people

    amount = recipe.amount
    fitted, calibration, _ = recipes.people_sets(recipe, folder)
    people = fit_people(fitted, calibration, recipe.seed, amount.people_steps, _report(progress, PEOPLE))
    fitted, calibration, _ = recipes.play_sets(recipe, folder)
    actuators = fit_actuators(fitted, calibration, recipe.seed, amount.play_steps, _report(progress, PLAY))
    composite.save_world_model(
        first_stage(folder), people, actuators, SkillOutcomeModel(), QUASI_STATIC, {"stage": "first"}
    )


def fit_pushes(recipe: Recipe, folder: Path, progress: Progress | None = None) -> ContactModel:
    """Fits and calibrates the contact model."""
    from robotctl.training.fit_contact import calibrate, fit_contact

    fitted, calibration, _ = recipes.push_sets(recipe, folder)
    contact = fit_contact(fitted, recipe.seed, recipe.amount.push_steps, progress=_report(progress, PUSHES))
    return calibrate(contact, calibration, STRANGERS)


def fit(
    recipe: Recipe, out: Path, folder: Path, progress: Progress | None = None, curve: bool = False
) -> dict[str, Any]:
    """Fits on collected data, evaluates, and saves the model with its card and the card's page.

    curve: learning curves are measured, too.
    """
    fit_first_stage(recipe, folder, progress)
    return _finish(recipe, out, folder, fit_pushes(recipe, folder, progress), progress, curve)


def _finish(
    recipe: Recipe, out: Path, folder: Path, contact: ContactModel, progress: Progress | None, curve: bool = False
) -> dict[str, Any]:
    """Fits the outcomes of skills, puts all parts together, evaluates and saves."""
    from robotctl.training.fit_skills import fit_skills

    if progress is not None:
        progress(f"fit {SKILLS}", 0.0)
    outcomes = fit_skills(recipes.attempts(recipe, folder, contact), recipe.seed)
    model = replace(_open(recipe, first_stage(folder)), outcomes=outcomes, contact=contact)
    evaluation, transitions = evaluate(model, recipe, folder, progress, curve)
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
    write_page(page_path(out), storage.load_card(out))
    return {
        "schema": "robotctl/train.v1",
        "model": str(out),
        "page": str(page_path(out)),
        "sha256": sha256,
        "transitions": sum(transitions.values()),
        "evaluation": evaluation,
    }


def _open(recipe: Recipe, path: Path | None) -> composite.LearnedWorldModel:
    scene, _ = open_target(recipe.target)
    return composite.load_world_model(path, household(scene).assumptions)


def evaluate(
    model: composite.LearnedWorldModel,
    recipe: Recipe,
    folder: Path,
    progress: Progress | None = None,
    curve: bool = False,
) -> tuple[dict[str, Any], dict[str, int]]:
    """How good the model is on the recipe's people and episodes that no fit has seen, and how much was collected."""
    from robotctl.training.fit_actuators import evaluate_actuators
    from robotctl.training.fit_contact import coverage_of_halvings, evaluate_contact
    from robotctl.training.fit_people import evaluate_people
    from robotctl.training.fit_skills import evaluate_skills

    if progress is not None:
        progress("evaluate", 0.0)
    people, play = recipes.people_sets(recipe, folder), recipes.play_sets(recipe, folder)
    attempts = recipes.attempts(recipe, folder, model.contact)
    pushes = recipes.push_sets(recipe, folder)
    parts = [
        evaluate_people(model.people, people[2], recipes.recorded_people(recipe)),
        evaluate_actuators(model.actuators, play[2]),
    ]
    parts += evaluate_skills(attempts, recipe.seed)
    parts.append(evaluate_contact(model.contact, pushes[2], STRANGERS))
    parts[-1]["coverage_of_halvings"] = coverage_of_halvings(model.contact, pushes[1:], STRANGERS, recipe.seed)
    if curve:
        _add_learning_curves(parts, recipe, attempts, pushes, progress)
    steps = int(sum(sum(part.length) for part in pushes))
    counted = {PEOPLE: sum(map(len, people)), PLAY: sum(map(len, play)), SKILLS: len(attempts), PUSHES: steps}
    if progress is not None:
        progress("evaluate", 1.0)
    return {"parts": parts}, counted


def _add_learning_curves(
    parts: list[dict[str, Any]], recipe: Recipe, attempts: Any, pushes: Any, progress: Progress | None
) -> None:
    """Puts `learning_curve` into the parts of the contact model and of every skill."""
    from robotctl.training import learning_curves
    from robotctl.world_model.skill_outcome import of_skill

    def advance(share: float) -> None:
        if progress is not None:
            progress("learning curves", share)

    advance(0.0)
    for part in parts:
        kind, _, skill = part["name"].partition(".")
        if kind == "skill_outcome" and skill != "all":
            part["learning_curve"] = learning_curves.of_attempts(of_skill(attempts, skill), recipe.seed)
        elif kind == "contact":
            steps = min(learning_curves.STEPS, recipe.amount.push_steps)
            part["learning_curve"] = learning_curves.of_pushes(
                pushes[0], pushes[2], recipe.seed, steps, STRANGERS, advance
            )


def evaluate_file(
    path: Path | None,
    recipe: Recipe,
    folder: Path,
    progress: Progress | None = None,
    curve: bool = False,
    page: Path | None = None,
) -> dict[str, Any]:
    """Evaluates a model file (None: the packaged one) on the recipe's test data. page: an HTML file to write, too."""
    if page is not None:
        checked(page, "--page")
    model = _open(recipe, path)
    evaluation, transitions = evaluate(model, recipe, folder, progress, curve)
    if page is not None:
        data = {"target": recipe.target, "seed": recipe.seed}
        write_page(page, {**model.card, "sha256": model.sha256, "evaluation": evaluation, "evaluated_on": data})
    return {
        "schema": "robotctl/train-evaluate.v1",
        "model": model.path,
        **({} if page is None else {"page": str(page)}),
        "sha256": model.sha256,
        "transitions": sum(transitions.values()),
        "evaluation": evaluation,
    }


def versions() -> dict[str, str]:
    """Of what the weights may depend on."""
    names = ("numpy", "jax", "equinox", "optax", "pyarrow", "pybullet", "safetensors")
    return {"robotctl": robotctl.__version__, **{name: importlib.metadata.version(name) for name in names}}


def install_default(path: Path) -> None:
    """Makes a model the one that comes with robotctl (for maintainers)."""
    composite.DEFAULT.parent.mkdir(exist_ok=True)
    shutil.copyfile(path, composite.DEFAULT)
    shutil.copyfile(storage.card_path(path), storage.card_path(composite.DEFAULT))
