"""A data folder as a home: what of it no fit has seen, and how far off a model is on that."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from robotctl.errors import UsageError
from robotctl.training import adapt
from robotctl.training import recipe as recipes
from robotctl.training.units import PEOPLE, PLAY, PUSHES
from robotctl.world_model.actuators import ActuatorModel
from robotctl.world_model.contact import ContactModel
from robotctl.world_model.human_motion import HumanMotionModel

UNITS = {PUSHES: "mm at 2 s", PEOPLE: "m at 1 s", PLAY: "mm at 1 s"}  # of the figures below
_HORIZON = {PUSHES: 2.0, PEOPLE: 1.0, PLAY: 1.0}


@dataclass(frozen=True)
class Home:
    """Test data of one home, by part; a part that the folder does not hold is missing."""

    name: str
    tests: dict[str, Any]

    def errors(self, people: HumanMotionModel, actuators: ActuatorModel, contact: ContactModel) -> dict[str, float]:
        """Mean error of every part on what moved, in UNITS."""
        return {part: error(part, (people, actuators, contact), test) for part, test in self.tests.items()}


def error(part: str, models: tuple[HumanMotionModel, ActuatorModel, ContactModel], test: Any) -> float:
    """Mean error of one part of a model on test data."""
    from robotctl.training.fit_actuators import evaluate_actuators
    from robotctl.training.fit_contact import evaluate_contact
    from robotctl.training.fit_people import evaluate_people

    people, actuators, contact = models
    if part == PEOPLE:
        judged = evaluate_people(people, test)
    elif part == PLAY:
        judged = evaluate_actuators(actuators, test)
    else:
        judged = evaluate_contact(contact, test, frozenset())
    values = dict(zip(judged["horizon_s"], judged["error"], strict=True))
    value = next((v for horizon, v in values.items() if abs(horizon - _HORIZON[part]) < 1e-6), None)
    if value is None:
        raise UsageError(f"nothing moved in the test data of part '{part}': it tells nothing")
    return float(value)


def open_home(folder: Path) -> Home:
    """The test data in a folder that `train` or `train adapt` filled."""
    if (folder / adapt.MANIFEST).exists():
        tested = adapt.pushes_for(adapt.adaptation_of(folder), folder, adapt.TEST, adapt.KNOWN)
        tests = {} if tested is None else {PUSHES: tested}
    elif (folder / recipes.MANIFEST).exists():
        recipe = recipes.recipe_of(folder)
        sets = {PUSHES: recipes.push_sets, PEOPLE: recipes.people_sets, PLAY: recipes.play_sets}
        tests = {
            part: of(recipe, folder)[2]
            for part, of in sets.items()
            if all(job.path.exists() for job in recipe.jobs(part, folder))
        }
    else:
        raise UsageError(f"--home {folder}: no data of `robotctl train` or `robotctl train adapt` there")
    if PUSHES not in tests:
        raise UsageError(f"--home {folder}: holds no pushes to test with")
    return Home(str(folder), tests)
