"""The task's objective as ground goals over named objects, and whether a believed arrangement meets them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from robotctl.geometry import matrix_from_quaternion, rotation_z
from robotctl.scene import Place, Scene, Seam
from robotctl.skills.cutting import PARTED, gap
from robotctl.state import State
from robotctl.task import Predicate, Task

ON_TOLERANCE = 0.03  # believed height above a place that still counts as standing on it [m]
BELIEF = 0.004  # what is believed to be this much nearer than asked is near enough [m]
UPRIGHT = np.cos(np.deg2rad(20.0))
UNTURNED = np.array([0.0, 0.0, 0.0, 1.0])


@dataclass(frozen=True)
class Pose:
    """Where an object is, as far as goals are concerned."""

    position: np.ndarray  # (3,) [m]
    up: float  # z component of the object's own z axis
    quaternion: np.ndarray = field(default_factory=lambda: UNTURNED)  # (4,) xyzw


Arrangement = Mapping[str, Pose]


@dataclass(frozen=True)
class Goal:
    """One ground predicate: `object` is (or is not) `relation` one of `places`."""

    relation: str
    object: str
    places: tuple[Place, ...]
    negate: bool = False
    within: float = 0.0  # how near the middle of its place `at` means [m]
    seams: tuple[Seam, ...] = ()  # that shall be open: of `object`, which is joined food

    def met(self, arrangement: Arrangement) -> bool:
        if self.relation == "sliced":
            seen = all({s.first, s.second} <= arrangement.keys() for s in self.seams)
            return seen and all(parted(seam, arrangement) for seam in self.seams) != self.negate
        pose = arrangement.get(self.object)
        if pose is None:
            return False
        if self.relation == "upright":
            return (pose.up >= UPRIGHT) != self.negate
        places = self.places
        if self.relation == "at":
            near = max(self.within - BELIEF, 0.5 * self.within)
            places = tuple(p for p in places if np.linalg.norm(pose.position[:2] - p.center[:2]) <= near)
        return any(stands_on(pose, place) for place in places) != self.negate

    def __str__(self) -> str:
        where = f" {self.places[0].name}" if self.places else ""
        if len(self.seams) == 1:
            where = f" at {self.seams[0]}"
        return f"{'not ' if self.negate else ''}{self.object} {self.relation}{where}"


def parted(seam: Seam, arrangement: Arrangement) -> bool:
    """Whether the seam gapes."""
    return gap(seam, arrangement[seam.first], arrangement[seam.second]) >= PARTED


def stands_on(pose: Pose, place: Place) -> bool:
    """Whether the object's foot is on the place's rectangle."""
    local = rotation_z(place.yaw).T @ (pose.position - place.center)
    return bool(np.all(np.abs(local[:2]) <= place.half) and abs(local[2]) <= ON_TOLERANCE)


def arrangement(state: State) -> dict[str, Pose]:
    """The believed arrangement of all objects."""
    return {
        item.name: Pose(item.position, float(matrix_from_quaternion(item.quaternion)[2, 2]), item.quaternion)
        for item in state.objects
    }


def places_named(scene: Scene, word: str) -> tuple[Place, ...]:
    """Places with that name, or with that label."""
    return tuple(p for p in scene.places if p.name == word or word in p.labels)


def ground(task: Task, start: Arrangement, labels: Mapping[str, frozenset[str]]) -> tuple[Goal, ...]:
    """The objective with `forall` expanded over the objects that are there at the start, `sliced` over the seams."""
    goals = []
    for predicate in task.objective:
        if predicate.is_ == "sliced":
            goals += _sliced(predicate, task.scene)
            continue
        places = places_named(task.scene, predicate.place) if predicate.place else ()
        for name in _subjects(predicate, task.scene, start, labels):
            goals.append(Goal(predicate.is_, name, places, predicate.negate, predicate.within))
    return tuple(goals)


def _sliced(predicate: Predicate, scene: Scene) -> list[Goal]:
    """A goal for each seam; a single one for all of them where not all may be open."""
    assert predicate.object is not None
    seams = tuple(seam for seam in scene.seams() if seam.food == predicate.object)
    groups = [seams] if predicate.negate else [(seam,) for seam in seams]
    return [Goal("sliced", predicate.object, (), predicate.negate, seams=group) for group in groups]


def _subjects(
    predicate: Predicate, scene: Scene, start: Arrangement, labels: Mapping[str, frozenset[str]]
) -> Sequence[str]:
    if predicate.object is not None:
        return [predicate.object]
    origin = getattr(predicate, "origin", None)
    places = places_named(scene, origin) if origin else None
    return [
        name
        for name, pose in start.items()
        if predicate.forall <= labels[name] and (places is None or any(stands_on(pose, p) for p in places))
    ]
