"""Reads `kinds.yaml`, strictly, into object kinds."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from robotctl.assets import check_urdf
from robotctl.files import Document, Location, load_yaml
from robotctl.scene import Edge, Grasp, ObjectKind
from robotctl.scene_paths import referenced
from robotctl.schema import Name, Numbers, Strict, Unit, Word, header, unique, validate

OBJECT_LABELS = frozenset(
    {
        "dish", "cup", "mug", "bowl", "plate", "pot", "cutlery", "fork", "knife", "sharp", "fillable", "food", "book",
        "rolls", "hot",
    }
)  # fmt: skip
KINDS_SCHEMA = "robotctl/kinds.v1"
MASS_TOLERANCE = 0.05  # a kind's mass and its URDF's may differ by this share

_ObjectLabels = Annotated[list[Annotated[str, Word(OBJECT_LABELS, "label")]], Field(min_length=1)]
_Sphere = Annotated[Numbers, Unit("m", 4, minimum=-2, maximum=2)]
_Direction = Annotated[list[float], Field(min_length=3, max_length=3)]


class _GraspFile(Strict):
    name: Name
    kind: Literal["rim", "handle", "edge"]
    position: Annotated[Numbers, Unit("m", 3, minimum=-1.0, maximum=1.0)]
    approach: _Direction
    closing: _Direction
    opening: Annotated[float, Unit("m", positive=True, maximum=0.08)]
    symmetric: bool = False


class _EdgeFile(Strict):
    heel: Annotated[Numbers, Unit("m", 3, minimum=-1.0, maximum=1.0)]
    tip: Annotated[Numbers, Unit("m", 3, minimum=-1.0, maximum=1.0)]
    facing: _Direction


class _KindFile(Strict):
    name: Name
    labels: _ObjectLabels
    urdf: str
    mass: Annotated[float, Unit("kg", positive=True, maximum=20)]
    friction: Annotated[float, Field(gt=0, le=3)]
    height: Annotated[float, Unit("m", positive=True, maximum=2)]
    radius: Annotated[float, Unit("m", positive=True, maximum=2)]
    spheres: Annotated[list[_Sphere], Field(max_length=64)]
    blade_spheres: Annotated[list[_Sphere], Field(max_length=64)] = []
    slip: Annotated[float, Unit("m/s", minimum=0, maximum=10)] = 0.15
    grasps: Annotated[list[_GraspFile], Field(max_length=64)] = []
    edge: _EdgeFile | None = None
    cut_force: Annotated[float, Unit("N", positive=True, maximum=100)] | None = None
    cut_faces: Annotated[list[Annotated[float, Unit("m", minimum=-1.0, maximum=1.0)]], Field(max_length=2)] = []


class KindsFile(Strict):
    """`kinds.yaml`."""

    schema_: Literal["robotctl/kinds.v1"] = Field(alias="schema")
    kinds: Annotated[list[_KindFile], Field(min_length=1, max_length=200)]


# ---- loading ---------------------------------------------------------------------------------------------------


def load_kinds(path: Path) -> dict[str, ObjectKind]:
    """Reads the object kinds of one file and checks their models."""
    document = load_yaml(path)
    header(document, KINDS_SCHEMA)
    file = validate(document, KindsFile)
    unique(document, "kinds", (kind.name for kind in file.kinds))
    return {kind.name: _kind(document, ("kinds", i), kind) for i, kind in enumerate(file.kinds)}


def unit_vector(document: Document, location: Location, numbers: list[float]) -> np.ndarray:
    """The direction under a key of a file, of length 1, in the shape it was given."""
    direction = np.array(numbers)
    length = float(np.linalg.norm(direction)) if np.all(np.abs(direction) < 1e6) else np.inf
    if not 1e-6 < length < 1e6:
        document.fail(location, "a direction must have a length")
    return direction / length


def _kind(document: Document, location: Location, file: _KindFile) -> ObjectKind:
    urdf = referenced(document, (*location, "urdf"), file.urdf)
    mass = check_urdf(urdf)
    if abs(mass - file.mass) > MASS_TOLERANCE * file.mass:
        document.fail((*location, "mass"), f"{file.mass:g} kg, but {urdf.name} weighs {mass:g} kg")
    spheres = [*file.spheres, *file.blade_spheres]
    if not spheres:
        document.fail((*location, "spheres"), "at least one sphere is needed to cover the object")
    for name, group in (("spheres", file.spheres), ("blade_spheres", file.blade_spheres)):
        for i, sphere in enumerate(group):
            if sphere[3] <= 0:
                document.fail((*location, name, i), "the radius (fourth number) must be above 0")
    if bool(file.blade_spheres) != ("sharp" in file.labels):
        document.fail((*location, "labels"), "the label 'sharp' and 'blade_spheres' go together")
    if file.edge is not None and "sharp" not in file.labels:
        document.fail((*location, "edge"), "what has an edge is 'sharp': add the label and 'blade_spheres'")
    if (file.cut_force is None) != (not file.cut_faces):
        key = "cut_faces" if file.cut_force is None else "cut_force"
        document.fail((*location, key), "'cut_force' and 'cut_faces' go together")
    if any(abs(x) < 1e-6 for x in file.cut_faces):
        document.fail((*location, "cut_faces"), "a cut face lies on one side of the middle, at x below or above 0")
    unique(document, (*location, "grasps"), (grasp.name for grasp in file.grasps))
    return ObjectKind(
        name=file.name,
        labels=frozenset(file.labels),
        urdf=urdf,
        mass=file.mass,
        friction=file.friction,
        height=file.height,
        radius=file.radius,
        spheres=np.array(spheres),
        blade=np.arange(len(spheres)) >= len(file.spheres),
        grasps=tuple(_grasp(document, (*location, "grasps", i), g) for i, g in enumerate(file.grasps)),
        edge=None if file.edge is None else _edge(document, (*location, "edge"), file.edge),
        cut_force=file.cut_force or 0.0,
        cut_faces=tuple(file.cut_faces),
        slip=file.slip,
    )


def _edge(document: Document, location: Location, file: _EdgeFile) -> Edge:
    heel, tip = np.array(file.heel), np.array(file.tip)
    if np.linalg.norm(tip - heel) < 0.01:
        document.fail((*location, "tip"), "an edge is at least 10 mm long")
    edge = Edge(heel, tip, unit_vector(document, (*location, "facing"), file.facing))
    if abs(edge.facing @ edge.along) > 1e-3:
        document.fail((*location, "facing"), "must be square to the edge from heel to tip")
    return edge


def _grasp(document: Document, location: Location, file: _GraspFile) -> Grasp:
    approach = unit_vector(document, (*location, "approach"), file.approach)
    closing = unit_vector(document, (*location, "closing"), file.closing)
    if abs(approach @ closing) > 1e-3:
        document.fail((*location, "closing"), "must be square to 'approach'")
    return Grasp(
        file.name, file.kind, np.array(file.position), approach, closing, file.opening, file.symmetric
    )  # fmt: skip
