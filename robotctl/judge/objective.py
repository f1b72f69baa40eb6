"""Which of the task's conditions are true, from where things really are at the end.

on PLACE      its lowest point within 2 cm of the place's height, its centre over the place's rectangle. A toppled cup
              is on the table too; ask for `upright` beside it where that matters.
inside PLACE  the same, but up to 30 cm above the place's surface, for things that lie on others in it.
at PLACE      on it, and the origin of its body frame within the task's distance (2 cm) of the place's middle.
upright       its z axis within 15 degrees of vertical.
sliced        at each of its seams the middles of the two cut faces, which lie on each other before, are at least 5 mm
              apart.

The object must be at rest and out of the hand; otherwise nothing about it is true yet, not even `not on`. Of food in
pieces this holds for every piece.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from robotctl.judge.objects import Body, lowest, rotation_of
from robotctl.scene import Place, Scene
from robotctl.task import Predicate, Task

CLOSE = 0.02  # [m] between an object's lowest point and the surface it stands on
DEPTH = 0.30  # [m] how far above a place's surface things in it may lie
RESTING = 0.02  # [m/s]
PARTED = 0.005  # [m]
UPRIGHT = np.cos(np.deg2rad(15.0))


@dataclass(frozen=True)
class Arrangement:
    """Where every object is at one instant."""

    position: dict[str, np.ndarray]  # (3,)
    quaternion: dict[str, np.ndarray]  # (4,) xyzw
    speed: dict[str, float]  # of the fastest point of its surface, over the last tick [m/s]
    held: str | None


def judge_objective(
    task: Task, bodies: Mapping[str, Body], start: Arrangement, end: Arrangement
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The task's conditions in words: those satisfied, and those not."""
    satisfied: list[str] = []
    unsatisfied: list[str] = []
    for predicate in task.objective:
        if predicate.is_ == "sliced":
            words = f"{predicate.object} {'not ' if predicate.negate else ''}sliced"
            (satisfied if _sliced(predicate, task.scene, end) else unsatisfied).append(words)
            continue
        for name in _meant(predicate, task.scene, bodies, start):
            true = _settled(name, end) and _holds(predicate, name, task.scene, bodies[name], end) != predicate.negate
            words = " ".join(w for w in (name, "not" if predicate.negate else "", predicate.is_, predicate.place) if w)
            (satisfied if true else unsatisfied).append(words)
    return tuple(satisfied), tuple(unsatisfied)


def _meant(predicate: Predicate, scene: Scene, bodies: Mapping[str, Body], start: Arrangement) -> list[str]:
    """The objects a condition speaks of."""
    if predicate.object is not None:
        return [predicate.object]
    names = [name for name, body in bodies.items() if predicate.forall <= body.labels and name in start.position]
    if predicate.origin is None:
        return names
    places = _places(scene, predicate.origin)
    return [n for n in names if any(_stands(p, n, bodies[n], start, 0.03) for p in places)]


def _sliced(predicate: Predicate, scene: Scene, end: Arrangement) -> bool:
    """Whether all seams of a joined thing gape (or, negated, not all), its pieces being at rest."""
    seams = [seam for seam in scene.seams() if seam.food == predicate.object]
    if not all(_settled(piece, end) for seam in seams for piece in (seam.first, seam.second)):
        return False
    apart = [_there(s.first, s.first_face, end) - _there(s.second, s.second_face, end) for s in seams]
    gaps = np.linalg.norm(apart, axis=1)
    return bool(np.all(gaps >= PARTED)) != predicate.negate


def _there(name: str, point: np.ndarray, end: Arrangement) -> np.ndarray:
    """A point of an object's body frame in the world, (3,)."""
    return np.asarray(rotation_of(end.quaternion[name]) @ point + end.position[name])


def _settled(name: str, end: Arrangement) -> bool:
    """At rest and not held: only then does a condition, negated or not, count as decided."""
    return name in end.position and end.held != name and end.speed[name] < RESTING


def _holds(predicate: Predicate, name: str, scene: Scene, body: Body, end: Arrangement) -> bool:
    if predicate.is_ == "upright":
        return bool(rotation_of(end.quaternion[name])[2, 2] >= UPRIGHT)
    places = _places(scene, predicate.place)
    if predicate.is_ == "at":
        near = [p for p in places if np.linalg.norm(end.position[name][:2] - p.center[:2]) <= predicate.within]
        return any(_stands(place, name, body, end, CLOSE) for place in near)
    depth = DEPTH if predicate.is_ == "inside" else CLOSE
    return any(_stands(place, name, body, end, depth) for place in places)


def _places(scene: Scene, name_or_label: str | None) -> list[Place]:
    return [p for p in scene.places if p.name == name_or_label or name_or_label in p.labels]


def _stands(place: Place, name: str, body: Body, where: Arrangement, depth: float) -> bool:
    """Centre over the rectangle, lowest point from CLOSE below to `depth` above the surface."""
    position, quaternion = where.position[name], where.quaternion[name]
    center = rotation_of(quaternion) @ body.surface.center + position
    dx, dy = center[:2] - place.center[:2]
    c, s = np.cos(place.yaw), np.sin(place.yaw)
    over = abs(c * dx + s * dy) <= place.half[0] and abs(c * dy - s * dx) <= place.half[1]
    height = lowest(body.surface.points, position, quaternion) - place.center[2]
    return bool(over and -CLOSE <= height <= depth)
