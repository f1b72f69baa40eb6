"""This file names every parser of a user's file, and reads one file with it, as a command would."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

import numpy as np

import robotctl.scene_files
import robotctl.task
from fuzzing.mutate import CANONICAL
from robotctl.assets import check_mesh, check_urdf
from robotctl.episode.bundle import ATTACHMENT, unbundled
from robotctl.episode.reader import read_episode
from robotctl.errors import InvalidFileError
from robotctl.files import one_line
from robotctl.guardrails.guardrail import Assumptions
from robotctl.guardrails.load import load_guardrails
from robotctl.kind_files import load_kinds
from robotctl.planning.motion.problem import load_problems
from robotctl.remarks import scene_remarks
from robotctl.replay.timeline import timeline
from robotctl.scene import Scene
from robotctl.scene_files import load_scene
from robotctl.simulation.motion_file import read_motion
from robotctl.simulation.people import Person
from robotctl.task import PersonPlan, load_people, load_task
from robotctl.units import parse_vector
from robotctl.world_model.composite import load_world_model

ASSUMED = Assumptions({"torso": 1.6, "arm": 2.0, "hand": 2.0, "leg": 3.0}, 0.05, 0.02, 0.004, 0.008, 0.06, 0.06)


@functools.cache
def _untouched_scene(path: Path) -> Scene:
    return load_scene(path)


def _scene_once(path: Path) -> Scene:
    """A scene that is not under test is read once."""
    return load_scene(path) if path.name.startswith("input-") else _untouched_scene(path)


robotctl.task.load_scene = _scene_once  # type: ignore[assignment]


def _scene(path: Path) -> None:
    scene_remarks(load_scene(path))


def _kinds(path: Path) -> None:
    load_kinds(path)


def _urdf(path: Path) -> None:
    check_urdf(path, movable=False)


def _walk(people: tuple[PersonPlan, ...]) -> None:
    for i, plan in enumerate(people):
        person = Person(plan, np.random.default_rng([0, i]))
        if not all(np.all(np.isfinite(person.keypoints(time))) for time in (0.0, 1.0, 1e3)):
            raise AssertionError("a keypoint is not finite")


def _task(path: Path) -> None:
    task = load_task(path)
    load_guardrails(task.guardrail_files, task.scene)
    _walk(task.people)


def _people(path: Path) -> None:
    _walk(load_people(path, _untouched_scene(path.parent / "scene.yaml")))


def _guardrails(path: Path) -> None:
    load_guardrails([path], _untouched_scene(path.parent.parent / "kitchen" / "scene.yaml"))


def _motion(path: Path) -> None:
    read_motion(path)
    _walk((PersonPlan("ann", str(path), np.zeros((0, 2)), 1.0, 0.0, (), jitter=0.0, loop=False),))


def _episode(path: Path) -> None:
    log = read_episode(path)
    timeline(log)
    if ATTACHMENT in log.attachments:
        with unbundled(log.attachments[ATTACHMENT]):
            pass


def _bundle(path: Path) -> None:
    with unbundled(path.read_bytes()) as files:
        load_task(files.task)


def _model(path: Path) -> None:
    load_world_model(path, ASSUMED)


def _plan(path: Path) -> None:
    load_problems(path)


def _quantity(path: Path) -> None:
    """The unit and the count that a key asks for, and the text: `m|3|0.3 -0.6 0.75 m`.

    Files show such a ValueError on one line.
    """
    words = path.read_bytes().decode("utf-8", "replace").split("|", 2)
    unit = words[0] if words[0] in CANONICAL else "m"
    count = int(words[1]) if len(words) > 1 and words[1] in ("1", "2", "3", "4", "7") else 1
    try:
        parse_vector(words[-1], unit, count)
    except ValueError as error:
        raise InvalidFileError(one_line(str(error))) from None


READERS: dict[str, Callable[[Path], None]] = {
    "scene": _scene,
    "task": _task,
    "people": _people,
    "guardrails": _guardrails,
    "kinds": _kinds,
    "urdf": _urdf,
    "obj": check_mesh,
    "npz": _motion,
    "bvh": _motion,
    "episode": _episode,
    "bundle": _bundle,
    "model": _model,
    "plan": _plan,
    "quantity": _quantity,
}
