"""Reads `scene.yaml`, strictly, into a scene."""

from __future__ import annotations

import itertools
import os
from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from robotctl.assets import check_urdf
from robotctl.errors import nearest
from robotctl.files import Document, Location, load_yaml
from robotctl.geometry import rotation_z
from robotctl.kind_files import OBJECT_LABELS, load_kinds, unit_vector
from robotctl.scene import (
    Actuators,
    Box,
    Furniture,
    Item,
    Join,
    ObjectKind,
    Place,
    Region,
    Scene,
    Seam,
    Sensors,
)
from robotctl.scene_paths import find_scene, referenced
from robotctl.schema import Name, Numbers, Strict, Unit, Word, header, unique, validate

ROOM_LABELS = frozenset(
    {
        "table", "counter", "cabinet", "shelf", "bin", "wall", "floor", "tray", "board", "rack", "seat", "appliance",
        "dishwasher", "stove", "sink", "fridge", "hot", "coaster", "decoration", "robot_only", "people_only",
    }
)  # fmt: skip
SCENE_SCHEMA = "robotctl/scene.v1"
HOME_ARM = (0.0, -0.6, 0.0, -2.3, 0.0, 1.7, 0.785)  # robot_start without `arm`: tucked over the base [rad]
MEET = 0.002  # cut faces of joined pieces lie this near each other [m]

_RoomLabels = list[Annotated[str, Word(ROOM_LABELS, "label")]]
_Color = Annotated[list[Annotated[float, Field(ge=0, le=1)]], Field(min_length=3, max_length=4)]
_Angle = Annotated[float, Unit("rad", minimum=-100, maximum=100)]
_Point = Annotated[Numbers, Unit("m", 3, minimum=-100, maximum=100)]
_Size = Annotated[Numbers, Unit("m", 3, positive=True, maximum=100)]


class _BoxFile(Strict):
    name: Name
    center: _Point
    size: _Size
    yaw: _Angle = 0.0
    color: _Color = [0.8, 0.8, 0.8]


class _FurnitureFile(Strict):
    name: Name
    labels: _RoomLabels = []
    boxes: Annotated[list[_BoxFile], Field(min_length=1)]
    urdf: str | None = None


class _PlaceFile(Strict):
    name: Name
    labels: _RoomLabels = []
    center: _Point
    size: Annotated[Numbers, Unit("m", 2, positive=True, maximum=100)]
    yaw: _Angle = 0.0
    overhang_edge: Annotated[list[float], Field(min_length=2, max_length=2)] | None = None


class _RegionFile(Strict):
    name: Name
    labels: _RoomLabels = []
    center: _Point
    size: _Size
    yaw: _Angle = 0.0
    color: _Color = [0.9, 0.3, 0.2, 0.2]


class ItemFile(Strict):
    """An entry of `items`, in a scene or in a task."""

    name: Name
    kind: Name
    position: _Point
    yaw: _Angle = 0.0
    jitter: Annotated[float, Unit("m", minimum=0, maximum=0.5)] = 0.0
    turn: Annotated[float, Unit("rad", minimum=0, maximum=np.pi)] = 0.0
    labels: Annotated[
        list[Annotated[str, Word(OBJECT_LABELS, "label")]], Field(max_length=20)
    ] = []  # beside its kind's


class JoinFile(Strict):
    """An entry of `joins`, in a scene or in a task: items in a row that are one thing until a blade parts them."""

    name: Name
    items: Annotated[list[Name], Field(min_length=2, max_length=12)]


class _StartFile(Strict):
    base: Annotated[Numbers, Unit("m", 2, minimum=-10, maximum=10)]
    yaw: _Angle = 0.0
    arm: Annotated[Numbers, Unit("rad", 7, minimum=-3.8, maximum=3.8)] = HOME_ARM


class _FrictionFile(Strict):
    base: Annotated[float, Unit("N", minimum=0)]  # along x and along y
    base_yaw: Annotated[float, Unit("N m", minimum=0)]
    arm: Annotated[Numbers, Unit("N m", 7, minimum=0)]

    def joints(self) -> np.ndarray:
        """(10,) in the order of the joints."""
        return np.array([self.base, self.base, self.base_yaw, *self.arm])


class _TorqueFile(_FrictionFile):
    base: Annotated[float, Unit("N", positive=True)]
    base_yaw: Annotated[float, Unit("N m", positive=True)]
    arm: Annotated[Numbers, Unit("N m", 7, positive=True)]


class _ActuatorsFile(Strict):
    latency: Annotated[float, Unit("s", minimum=0, maximum=0.2)]
    stiffness: Annotated[float, Unit("rad/s", positive=True)]
    damping: Annotated[float, Field(gt=0, le=5)]
    friction: _FrictionFile
    torque_limit: _TorqueFile
    grip_force: Annotated[float, Unit("N", positive=True, maximum=200)]


class _SensorsFile(Strict):
    latency: Annotated[float, Unit("s", minimum=0, maximum=1)]
    human_error: Annotated[float, Unit("m", minimum=0, maximum=1)]
    object_error: Annotated[float, Unit("m", minimum=0, maximum=1)]
    dropout: Annotated[float, Field(ge=0, le=1)]
    encoder_noise: Annotated[float, Unit("rad", minimum=0, maximum=0.1)]


class SceneFile(Strict):
    """`scene.yaml`."""

    schema_: Literal["robotctl/scene.v1"] = Field(alias="schema")
    name: Name
    description: str = ""
    robot_start: _StartFile
    actuators: _ActuatorsFile
    sensors: _SensorsFile
    kinds: list[str]
    furniture: Annotated[list[_FurnitureFile], Field(max_length=500)]
    places: Annotated[list[_PlaceFile], Field(max_length=500)]
    regions: Annotated[list[_RegionFile], Field(max_length=500)] = []
    items: Annotated[list[ItemFile], Field(max_length=500)]
    joins: Annotated[list[JoinFile], Field(max_length=50)] = []


# ---- loading ---------------------------------------------------------------------------------------------------


def load_scene(path_or_name: str | os.PathLike[str]) -> Scene:
    """Reads a scene with its object kinds; InvalidFileError says in one line what is wrong and where."""
    document = load_yaml(find_scene(path_or_name))
    header(document, SCENE_SCHEMA)
    file = validate(document, SceneFile)
    kinds: dict[str, ObjectKind] = {}
    for i, text in enumerate(file.kinds):
        for name, kind in load_kinds(referenced(document, ("kinds", i), text)).items():
            if name in kinds:
                document.fail(("kinds", i), f"object kind '{name}' is defined in two files")
            kinds[name] = kind
    for section in ("furniture", "places", "regions"):
        unique(document, section, (entry.name for entry in getattr(file, section)))
    for i, piece in enumerate(file.furniture):
        unique(document, ("furniture", i, "boxes"), (box.name for box in piece.boxes))
    start = file.robot_start
    items = items_of(document, file.items, kinds)
    return Scene(
        name=file.name,
        path=document.path.resolve(),
        furniture=tuple(_furniture(document, i, piece) for i, piece in enumerate(file.furniture)),
        places=tuple(_place(document, i, place) for i, place in enumerate(file.places)),
        regions=tuple(Region(r.name, frozenset(r.labels), _box(r)) for r in file.regions),
        kinds=kinds,
        items=items,
        robot_start=np.array([*start.base, start.yaw, *start.arm]),
        actuators=_actuators(file.actuators),
        sensors=Sensors(**file.sensors.model_dump()),
        text=document.text,
        description=file.description,
        joins=joins_of(document, file.joins, items, kinds),
    )


def items_of(document: Document, items: Sequence[ItemFile], kinds: Mapping[str, ObjectKind]) -> tuple[Item, ...]:
    """The objects under a file's key `items`."""
    unique(document, "items", (item.name for item in items))
    for i, item in enumerate(items):
        if item.kind not in kinds:
            document.fail(("items", i, "kind"), f"unknown object kind '{item.kind}'{nearest(item.kind, kinds)}")
        if "sharp" in item.labels and "sharp" not in kinds[item.kind].labels:
            document.fail(("items", i, "labels"), "what is sharp has a blade: say so in its kind")
    return tuple(
        Item(i.name, i.kind, np.array(i.position), i.yaw, i.jitter, i.turn, frozenset(i.labels)) for i in items
    )


def joins_of(
    document: Document, joins: Sequence[JoinFile], items: Sequence[Item], kinds: Mapping[str, ObjectKind]
) -> tuple[Join, ...]:
    """The joined things under a file's key `joins`; `items` are the same file's."""
    unique(document, "joins", (join.name for join in joins))
    named = {item.name: item for item in items}
    index = {item.name: i for i, item in enumerate(items)}
    used: dict[str, str] = {}
    out = []
    for i, join in enumerate(joins):
        if join.name in named:
            document.fail(("joins", i, "name"), f"'{join.name}' is the name of an item, too")
        for k, name in enumerate(join.items):
            at = ("joins", i, "items", k)
            if name not in named:
                document.fail(at, f"no item '{name}'{nearest(name, named)}")
            if name in used:
                document.fail(at, f"'{name}' is part of '{used[name]}' already")
            used[name] = join.name
            if not kinds[named[name].kind].cut_force:
                document.fail(at, f"'{name}' cannot be cut: its kind '{named[name].kind}' has no 'cut_force'")
            if k and (named[name].jitter or named[name].turn):
                key = "jitter" if named[name].jitter else "turn"
                document.fail(("items", index[name], key), f"'{name}' moves with '{join.items[0]}': give it there")
        pieces = [named[name] for name in join.items]
        seams = [
            _seam(document, ("joins", i, "items", k + 1), join.name, a, b, kinds)
            for k, (a, b) in enumerate(itertools.pairwise(pieces))
        ]
        out.append(Join(join.name, tuple(join.items), tuple(seams)))
    return tuple(out)


def _seam(
    document: Document, location: Location, food: str, first: Item, second: Item, kinds: Mapping[str, ObjectKind]
) -> Seam:
    """Where two pieces meet: the pair of cut faces that lie on each other and look at each other."""
    best, gap = None, np.inf
    a, b = kinds[first.kind], kinds[second.kind]
    for x, y in itertools.product(a.cut_faces, b.cut_faces):
        one, other = (
            item.position + rotation_z(item.yaw) @ face for item, face in ((first, a.face(x)), (second, b.face(y)))
        )
        toward = np.sign(x) * np.sign(y) * np.cos(first.yaw - second.yaw)
        if toward < -0.999 and np.linalg.norm(one - other) < gap:
            best, gap = Seam(food, first.name, second.name, a.face(x), b.face(y)), float(np.linalg.norm(one - other))
    if best is None or gap > MEET:
        far = "no cut face of one looks at one of the other" if best is None else f"{1000 * gap:.0f} mm between them"
        document.fail(location, f"'{first.name}' and '{second.name}' do not meet: {far}")
    return best


def _box(file: _BoxFile | _RegionFile) -> Box:
    red, green, blue, *alpha = file.color
    return Box(
        file.name,
        np.array(file.center),
        np.array(file.size) / 2,
        file.yaw,
        (red, green, blue, alpha[0] if alpha else 1.0),
    )


def _furniture(document: Document, index: int, file: _FurnitureFile) -> Furniture:
    urdf = None
    if file.urdf is not None:
        location = ("furniture", index, "urdf")
        urdf = referenced(document, location, file.urdf)
        check_urdf(urdf, movable=False)
    return Furniture(file.name, frozenset(file.labels), tuple(_box(box) for box in file.boxes), urdf)


def _place(document: Document, index: int, file: _PlaceFile) -> Place:
    edge = None
    if file.overhang_edge is not None:
        edge = unit_vector(document, ("places", index, "overhang_edge"), file.overhang_edge)
        along = np.array([np.cos(file.yaw), np.sin(file.yaw)])
        if max(abs(edge @ along), abs(edge @ np.array([-along[1], along[0]]))) < 0.999:
            document.fail(("places", index, "overhang_edge"), "must be square to one side of the place")
    return Place(file.name, frozenset(file.labels), np.array(file.center), np.array(file.size) / 2, file.yaw, edge)


def _actuators(file: _ActuatorsFile) -> Actuators:
    return Actuators(
        file.latency, file.stiffness, file.damping, file.friction.joints(), file.torque_limit.joints(), file.grip_force
    )
