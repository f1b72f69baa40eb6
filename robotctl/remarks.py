"""This file turns a valid scene or task into remarks: what is allowed but probably not meant."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np

from robotctl.body import KEYPOINT_PART, PARTS
from robotctl.geometry import rotation_z
from robotctl.guardrails.guardrail import Assumptions
from robotctl.scene import Box, Item, Scene
from robotctl.simulation.people import Person
from robotctl.task import PersonPlan, Predicate, Task, places_named, starting

RESTING = 0.03  # an item this near above a surface rests on it [m]
SINKING = 0.005  # an item this deep in furniture is in it [m]
BODY = 0.2  # half width of a walking person [m]
ROOM = 0.05  # between things put down next to each other [m]
WATCHED = 60.0  # of a person's motion [s]
RATE = 60.0  # samples of it [Hz]


def scene_remarks(scene: Scene) -> list[str]:
    """Items that float or are stuck in furniture."""
    return list(_resting(scene))


def task_remarks(task: Task, assumptions: Assumptions) -> list[str]:
    """Those of the scene, and sensors or people beyond the assumptions, paths through furniture, places too small."""
    remarks = [*scene_remarks(task.scene), *_too_blind(task.scene, assumptions)]
    for plan in task.people:
        remarks += _walking(plan, task.scene)
        remarks += _too_fast(plan, assumptions)
    for predicate in task.objective:
        remarks += _doable(predicate, task.scene)
    return list(dict.fromkeys(remarks))


def _resting(scene: Scene) -> Iterator[str]:
    for item in scene.items:
        under = [box for box in scene.boxes() if _over(item.position, box)]
        tops = [_height(box) for box in under] + [0.0]
        inside = [b for b in under if b.center[2] - b.half[2] < item.position[2] < _height(b) - SINKING]
        if inside:
            yield f"item '{item.name}' is inside furniture '{inside[0].name}'"
        elif not any(0 <= item.position[2] - top + SINKING <= RESTING for top in tops) and not _leans(item, scene):
            yield f"item '{item.name}' rests on nothing: it will fall"


def _leans(item: Item, scene: Scene) -> bool:
    """Whether a part of the item, but not its middle, is over a surface at its height."""
    radius = scene.kinds[item.kind].radius
    ring = [item.position + rotation_z(a) @ [0.8 * radius, 0, 0] for a in np.linspace(0, 2 * np.pi, 8, endpoint=False)]
    return any(
        _over(point, box) and abs(item.position[2] - _height(box)) < RESTING for point in ring for box in scene.boxes()
    )


def _height(box: Box) -> float:
    return float(box.center[2] + box.half[2])


def _over(point: np.ndarray, box: Box, margin: float = 0.0) -> bool:
    local = rotation_z(box.yaw).T @ (point - box.center)
    return bool(np.all(np.abs(local[:2]) <= box.half[:2] + margin))


def _walking(plan: PersonPlan, scene: Scene) -> Iterator[str]:
    if plan.clip != "walk":
        return
    points = np.concatenate([plan.path, plan.path[:1]]) if plan.loop else plan.path
    solid = [b for b in scene.boxes() if _height(b) > 0.05 and b.center[2] - b.half[2] < 1.0]
    hit = set()
    for a, b in itertools.pairwise(points):
        steps = max(2, int(np.linalg.norm(b - a) / 0.05))
        for point in np.linspace(a, b, steps):
            hit |= {box.name for box in solid if _over(np.array([*point, box.center[2]]), box, 0.5 * BODY)}
    for name in sorted(hit):
        yield f"person '{plan.name}' walks through furniture '{name}'"


def _too_fast(plan: PersonPlan, assumptions: Assumptions) -> Iterator[str]:
    """Compares the motion itself, as the simulator will show it, with what the guardrails assume."""
    person = Person(plan, np.random.default_rng(0))
    times = plan.start + np.arange(0.0, WATCHED, 1 / RATE)
    keypoints = np.array([person.keypoints(float(time)) for time in times])
    fastest = np.linalg.norm(np.diff(keypoints, axis=0), axis=-1).max(axis=0) * RATE  # (J,)
    for i, part in enumerate(PARTS):
        speed, assumed = float(fastest[i == KEYPOINT_PART].max()), assumptions.human_speed[part]
        if speed > assumed:
            yield f"person '{plan.name}': {part} at {speed:.1f} m/s, the guardrails assume at most {assumed:g} m/s"


def _too_blind(scene: Scene, assumptions: Assumptions) -> Iterator[str]:
    sensors = scene.sensors
    for name, value, assumed, unit in (
        ("latency", sensors.latency, assumptions.sensing_latency, "s"),
        ("human_error", sensors.human_error, assumptions.human_error, "m"),
        ("object_error", sensors.object_error, assumptions.object_error, "m"),
    ):
        if value > assumed:
            yield f"sensors: {name} {value:g} {unit}, the guardrails assume at most {assumed:g} {unit}"


def _doable(predicate: Predicate, scene: Scene) -> Iterator[str]:
    if predicate.is_ == "sliced":
        if not any(scene.kinds[item.kind].edge for item in scene.items):
            yield f"'{predicate.object}' cannot be sliced: no item's kind has an 'edge'"
        return
    names = [predicate.object] if predicate.object else list(starting(scene, predicate.forall, predicate.origin))
    kinds = [scene.kind_of(name) for name in names]
    for name, kind in zip(names, kinds, strict=True):
        if not kind.grasps and predicate.is_ not in ("at", "upright"):  # what is pushed need not be picked up
            yield f"object '{name}' cannot be picked up: its kind '{kind.name}' has no grasps"
    if predicate.place and not predicate.negate:
        area = sum(4 * float(place.half.prod()) for place in places_named(scene, predicate.place))
        needed = sum(min(kind.radius * 2 + ROOM, 1.0) ** 2 for kind in kinds if len(kinds) > 1)
        if needed > area:
            yield f"place '{predicate.place}' is too small for {len(kinds)} objects next to each other"
