"""A task: which scene, which people walk through it, what shall be true in the end, and which guardrails hold.

Values first, then the schema of a task file, then loading.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import BeforeValidator, Field

from robotctl.errors import UsageError, nearest
from robotctl.files import Document, Location, load_yaml
from robotctl.geometry import point_box_distance, rotation_z
from robotctl.kind_files import OBJECT_LABELS
from robotctl.scene import Box, Place, Scene
from robotctl.scene_files import ItemFile, JoinFile, items_of, joins_of, load_scene
from robotctl.scene_paths import looks_like_path, referenced, scenes_folder
from robotctl.schema import Name, Numbers, Strict, Unit, Word, header, one_or_more, unique, validate

TASK_SCHEMA = "robotctl/task.v1"
PEOPLE_SCHEMA = "robotctl/people.v1"
PREDICATES = frozenset({"on", "at", "inside", "next_to", "open", "held", "upright", "sliced", "clean_surface"})
SUPPORTED = frozenset({"on", "at", "inside", "upright", "sliced"})
WITH_PLACE = frozenset({"on", "at", "inside"})
CLIPS = frozenset({"walk", "stand"})
MOTION_FILES = (".npz", ".bvh")  # of a recorded clip
LONGEST = 1200.0  # way and reaches of a person [s]; a lap of a loop a third of it, as three are laid out
LAPS = 3  # of a loop that the simulation lays out; the middle one repeats
REACHING = 10.0  # turn, way there and back of one reach, at most [s]
SHORTEST = 0.01  # way of a walk [m]
REACH = 1.2  # a standing person reaches this far sideways, leaning included [m]
AT = 0.02  # "at" a place: this near its middle, unless the task says otherwise [m]
NEAR_PLACE = 0.03  # an item this close above a place stands on it at the start [m]


@dataclass(frozen=True, eq=False)
class Reach:
    """A person stops at a point of the path and reaches for something."""

    at: int  # index of the path point where the person stops
    target: np.ndarray  # (3,) where the hand goes [m]
    hold: float  # how long it stays there [s]
    hand: str  # right or left


@dataclass(frozen=True, eq=False)
class PersonPlan:
    """What a person does."""

    name: str
    clip: str  # walk, stand, or the path of an .npz or .bvh file with recorded motion
    path: np.ndarray  # (n, 2) on the floor [m]
    speed: float  # of walking [m/s]
    start: float  # when the person sets off [s]
    reach: tuple[Reach, ...]
    jitter: float  # path points and reach targets are shifted at random by at most this [m]
    loop: bool  # begin again after the last point


@dataclass(frozen=True, eq=False)
class Predicate:
    """One condition on the end state. Exactly one of `forall` and `object` is given."""

    is_: str  # on, at, inside, upright, sliced; more words are reserved
    place: str | None  # name of a place, or a label that several places share
    forall: frozenset[str]  # every object with all these labels
    object: str | None  # for `sliced` the name of a joined thing
    negate: bool
    origin: str | None = None  # restricts `forall` to objects that begin on this place (name or label)
    within: float = AT  # how near the middle of its place `at` means [m]


@dataclass(frozen=True, eq=False)
class Task:
    """What is asked of the robot."""

    name: str
    path: Path
    scene: Scene
    people: tuple[PersonPlan, ...]
    objective: tuple[Predicate, ...]  # all of them
    within: float  # simulated time [s]
    guardrail_files: tuple[Path, ...]
    text: str  # the file's source
    description: str = ""


# ---- the file --------------------------------------------------------------------------------------------------

_Label = Annotated[str, Word(OBJECT_LABELS, "label")]
_SHORT = ("open", "held", "upright", "sliced", "clean_surface")  # predicates of one object: `{upright: cup_1}`


class _ReachFile(Strict):
    at: Annotated[int, Field(ge=0)]
    target: Annotated[Numbers, Unit("m", 3, minimum=-50, maximum=50)]
    hold: Annotated[float, Unit("s", minimum=0, maximum=600)]
    hand: Literal["right", "left"] = "right"


class _PersonFile(Strict):
    name: Name
    clip: str = "walk"
    path: Annotated[list[Annotated[Numbers, Unit("m", 2, minimum=-50.0, maximum=50.0)]], Field(max_length=500)] = []
    speed: Annotated[float, Unit("m/s", positive=True, maximum=10)] = 0.9
    start: Annotated[float, Unit("s", minimum=0)] = 0.0
    reach: Annotated[list[_ReachFile], Field(max_length=100)] = []
    jitter: Annotated[float, Unit("m", minimum=0, maximum=1)] = 0.0
    loop: bool = False


class _ForallFile(Strict):
    label: Annotated[list[_Label], BeforeValidator(one_or_more), Field(min_length=1)]
    on: str | None = None


class PredicateFile(Strict):
    """`{forall: {label: dish, on: table}, is: on, place: counter}`, `{upright: cup_1}` or `{not: ...}` of these.

    `within` goes with `at`: how near the middle of its place the object has to be.
    """

    forall: _ForallFile | None = None
    object: str | None = None
    is_: Annotated[str, Word(PREDICATES, "predicate")] | None = Field(None, alias="is")
    place: str | None = None
    within: Annotated[float, Unit("m", positive=True, maximum=10)] | None = None
    not_: PredicateFile | None = Field(None, alias="not")
    open: str | None = None
    held: str | None = None
    upright: str | None = None
    sliced: str | None = None
    clean_surface: str | None = None


class _ObjectiveFile(Strict):
    all: Annotated[list[PredicateFile], Field(min_length=1, max_length=100)]


class TaskFile(Strict):
    """`tasks/NAME.yaml`."""

    schema_: Literal["robotctl/task.v1"] = Field(alias="schema")
    description: str = ""
    scene: str
    items: Annotated[list[ItemFile], Field(max_length=500)] | None = None  # in place of the scene's
    joins: Annotated[list[JoinFile], Field(max_length=50)] = []  # of these items
    people: Annotated[list[_PersonFile], Field(max_length=20)] = []
    objective: _ObjectiveFile
    within: Annotated[float, Unit("s", positive=True, maximum=86400)]
    guardrails: Annotated[list[str], Field(min_length=1, max_length=20)]


class PeopleFile(Strict):
    """People on their own, for `robotctl run --people FILE`."""

    schema_: Literal["robotctl/people.v1"] = Field(alias="schema")
    people: Annotated[list[_PersonFile], Field(max_length=20)]


# ---- finding ---------------------------------------------------------------------------------------------------


def task_names() -> list[str]:
    """Names of the packaged tasks, "kitchen/clear-table"."""
    folder = scenes_folder()
    return sorted(f"{path.parent.parent.name}/{path.stem}" for path in folder.glob("*/tasks/*.yaml"))


def find_task(path_or_name: str | os.PathLike[str]) -> Path:
    """File of a task given by its name ("kitchen/clear-table") or its file."""
    if looks_like_path(path_or_name):
        return Path(path_or_name)
    name = str(path_or_name)
    if name not in task_names():
        raise UsageError(f"no task '{name}'{nearest(name, task_names())}")
    scene, _, task = name.partition("/")
    return scenes_folder() / scene / "tasks" / f"{task}.yaml"


def places_named(scene: Scene, name_or_label: str) -> tuple[Place, ...]:
    """The place of that name, or every place with that label."""
    return tuple(p for p in scene.places if p.name == name_or_label or name_or_label in p.labels)


# ---- loading ---------------------------------------------------------------------------------------------------


def load_task(path_or_name: str | os.PathLike[str]) -> Task:
    """Reads a task and its scene; InvalidFileError says in one line what is wrong and where."""
    document = load_yaml(find_task(path_or_name))
    header(document, TASK_SCHEMA)
    file = validate(document, TaskFile)
    scene = load_scene(referenced(document, ("scene",), file.scene))
    if file.items is not None:
        items = items_of(document, file.items, scene.kinds)
        scene = replace(scene, items=items, joins=joins_of(document, file.joins, items, scene.kinds))
    elif file.joins:
        document.fail(("joins",), "joins the task's own 'items', but there are none")
    path = document.path.resolve()
    unique(document, "people", (person.name for person in file.people))
    return Task(
        name=f"{path.parent.parent.name}/{path.stem}" if path.parent.name == "tasks" else path.stem,
        path=path,
        scene=scene,
        people=tuple(_person(document, ("people", i), p, scene) for i, p in enumerate(file.people)),
        objective=tuple(
            _predicate(document, ("objective", "all", i), p, scene) for i, p in enumerate(file.objective.all)
        ),
        within=file.within,
        guardrail_files=tuple(referenced(document, ("guardrails", i), g) for i, g in enumerate(file.guardrails)),
        text=document.text,
        description=file.description,
    )


def load_people(path: Path, scene: Scene) -> tuple[PersonPlan, ...]:
    """Reads a file of people, to walk through `scene` in place of a task's own."""
    document = load_yaml(path)
    header(document, PEOPLE_SCHEMA)
    file = validate(document, PeopleFile)
    unique(document, "people", (person.name for person in file.people))
    return tuple(_person(document, ("people", i), p, scene) for i, p in enumerate(file.people))


def _predicate(
    document: Document, location: Location, file: PredicateFile, scene: Scene, negate: bool = False
) -> Predicate:
    given = [key for key in _SHORT if getattr(file, key) is not None]
    if file.not_ is not None:
        if len(file.model_fields_set) > 1:
            document.fail(location, "'not' stands alone: {not: {...}}")
        return _predicate(document, (*location, "not"), file.not_, scene, not negate)
    if given:
        if len(file.model_fields_set) > 1:
            document.fail(location, f"'{given[0]}: OBJECT' stands alone")
        is_, name, key = given[0], getattr(file, given[0]), given[0]
    else:
        if file.is_ is None:
            document.fail((*location, "is"), "is missing")
        is_, name, key = file.is_, file.object, "object"
    if is_ not in SUPPORTED:
        document.fail(
            (*location, "is" if file.is_ else is_),
            f"'{is_}' is not supported yet by this version; supported: {', '.join(sorted(SUPPORTED))}",
        )
    if (name is None) == (file.forall is None):
        document.fail(location, "say what is meant with either 'object' or 'forall'")
    if is_ == "sliced":
        return _sliced(document, location, key, name, scene, negate)
    items = {item.name for item in scene.items}
    if name is not None and name not in items:
        document.fail((*location, key), f"no object '{name}' in scene {scene.name}{nearest(name, items)}")
    if (file.place is None) == (is_ in WITH_PLACE):
        document.fail((*location, "place"), "is missing" if file.place is None else f"'{is_}' takes no place")
    if file.place is not None:
        _known_place(document, (*location, "place"), file.place, scene)
    if file.within is not None and is_ != "at":
        document.fail((*location, "within"), f"'{is_}' knows no distance; 'at' does")
    labels = frozenset(file.forall.label) if file.forall else frozenset()
    origin = file.forall.on if file.forall else None
    if file.forall is not None:
        if origin is not None:
            _known_place(document, (*location, "forall", "on"), origin, scene)
        if not starting(scene, labels, origin):
            where = f" on {origin}" if origin else ""
            document.fail((*location, "forall"), f"no object with {_and(labels)} begins{where}")
    return Predicate(is_, file.place, labels, name, negate, origin, file.within or AT)


def _sliced(
    document: Document, location: Location, key: str, name: str | None, scene: Scene, negate: bool
) -> Predicate:
    """`{sliced: NAME}`: of one joined thing."""
    joined = {join.name for join in scene.joins}
    if name is None:
        document.fail(location, "'sliced' is said of one thing: {sliced: NAME}")
    if name not in joined:
        document.fail((*location, key), f"nothing of joined pieces is called '{name}'{nearest(name, joined)}")
    return Predicate("sliced", None, frozenset(), name, negate)


def starting(scene: Scene, labels: frozenset[str], origin: str | None) -> tuple[str, ...]:
    """Names of the items with all `labels` that begin on the places named `origin` (anywhere for None)."""
    places = places_named(scene, origin) if origin else None
    return tuple(
        item.name
        for item in scene.items
        if labels <= scene.labels_of(item) and (places is None or any(_above(item.position, place) for place in places))
    )


def spoken_of(task: Task) -> frozenset[str]:
    """Names of the items that the objective speaks of, and of the blades it needs: all that may be moved for it."""
    pieces = {join.name: join.items for join in task.scene.joins}
    names: set[str] = set()
    for predicate in task.objective:
        if predicate.object is not None:
            names.update(pieces.get(predicate.object, (predicate.object,)))
        else:
            names.update(starting(task.scene, predicate.forall, predicate.origin))
        if predicate.is_ == "sliced" and not predicate.negate:
            names.update(item.name for item in task.scene.items if task.scene.kinds[item.kind].edge is not None)
    return frozenset(names)


def _above(position: np.ndarray, place: Place) -> bool:
    local = rotation_z(place.yaw).T @ (position - place.center)
    return bool(np.all(np.abs(local[:2]) <= place.half) and abs(local[2]) <= NEAR_PLACE)


def _known_place(document: Document, location: Location, name: str, scene: Scene) -> None:
    if not places_named(scene, name):
        known = {p.name for p in scene.places}.union(*(p.labels for p in scene.places))
        document.fail(location, f"no place '{name}' in scene {scene.name}{nearest(name, known)}")


def _and(labels: frozenset[str]) -> str:
    return f"label{'s' * (len(labels) > 1)} {' and '.join(sorted(labels))}"


def _person(document: Document, location: Location, file: _PersonFile, scene: Scene) -> PersonPlan:
    clip = file.clip
    if clip.lower().endswith(MOTION_FILES):
        clip = str(referenced(document, (*location, "clip"), clip))
    elif clip not in CLIPS:
        choices = sorted(CLIPS)
        other = f"{nearest(clip[:40], choices)} (or an .npz or .bvh file)"
        document.fail((*location, "clip"), f"unknown clip '{clip[:40]}'{other}")
    elif not file.path:
        document.fail((*location, "path"), "at least one point is needed")
    if clip == "walk" and len(file.path) < 2:
        document.fail((*location, "path"), "a walk needs at least two points; use 'clip: stand' for one")
    if clip in CLIPS:
        _can_be_walked(document, location, file)
    for i, point in enumerate(file.path):
        box = _standing_in(np.array(point), scene)
        if box is not None:
            document.fail((*location, "path", i), f"the person would stand in furniture '{box.name}'")
    for i, reach in enumerate(file.reach):
        where = (*location, "reach", i)
        if reach.at >= len(file.path):
            document.fail((*where, "at"), f"the path has only {len(file.path)} points (counted from 0)")
        distance = math.dist(reach.target[:2], file.path[reach.at])
        if distance > REACH or not 0.2 <= reach.target[2] <= 2.2:
            document.fail((*where, "target"), f"out of reach: {distance:.2f} m from where the person stands")
    return PersonPlan(
        name=file.name,
        clip=clip,
        path=np.array(file.path).reshape(-1, 2),
        speed=file.speed,
        start=file.start,
        reach=tuple(Reach(r.at, np.array(r.target), r.hold, r.hand) for r in file.reach),
        jitter=file.jitter,
        loop=file.loop,
    )


def _can_be_walked(document: Document, location: Location, file: _PersonFile) -> None:
    """A walk leads somewhere, and there is an end to what the person does."""
    way = path_length(np.array([*file.path, file.path[0]] if file.loop else file.path))
    if file.clip == "walk" and way < SHORTEST:
        document.fail((*location, "path"), f"is shorter than {SHORTEST:g} m; use 'clip: stand' for one place")
    lasts = way / file.speed + sum(reach.hold + REACHING for reach in file.reach)
    limit = LONGEST / LAPS if file.loop else LONGEST
    if not lasts <= limit:
        what = "a lap" if file.loop else "this"
        document.fail((*location, "path"), f"{what} takes {lasts:.0f} s; at most {limit:.0f} s are possible")


def _standing_in(point: np.ndarray, scene: Scene) -> Box | None:
    """A box of furniture that a person's body (hip height and below) would be in."""
    for box in scene.boxes():
        low, high = box.center[2] - box.half[2], box.center[2] + box.half[2]
        if high < 0.05 or low > 1.0:
            continue
        flat = np.array([point[0], point[1], box.center[2]])
        if float(point_box_distance(flat, box.center, rotation_z(box.yaw), box.half)) < 0:
            return box
    return None


def path_length(points: Sequence[np.ndarray] | np.ndarray) -> float:
    """Length of a path over the floor [m]."""
    return float(np.sum(np.linalg.norm(np.diff(np.asarray(points), axis=0), axis=1))) if len(points) > 1 else 0.0
