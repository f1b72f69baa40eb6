"""This file turns guardrail files into guardrails over a scene.

Several files compose by conjunction: every rule of every file holds, and of every assumption the more cautious
one counts, so that adding a file can only shrink what the robot may do.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BeforeValidator, Field

from robotctl.body import PARTS
from robotctl.errors import InvalidFileError, UsageError, nearest
from robotctl.files import Document, Location, load_yaml, show_path
from robotctl.geometry import rotation_z
from robotctl.guardrails.blade_speed import BladeSpeed
from robotctl.guardrails.clearance import Boxes, Clearance
from robotctl.guardrails.contact_force import ContactForce
from robotctl.guardrails.grasp import Grasp
from robotctl.guardrails.guardrail import Assumptions, Guardrail, Header, Scope
from robotctl.guardrails.hot import Hot
from robotctl.guardrails.joint_limits import JointLimits
from robotctl.guardrails.keep_out import KeepOut
from robotctl.guardrails.placement import Placement
from robotctl.guardrails.separation import Separation
from robotctl.guardrails.speed import Speed
from robotctl.guardrails.undisturbed import Undisturbed
from robotctl.guardrails.upright import Upright
from robotctl.kind_files import OBJECT_LABELS
from robotctl.scene import Box, Place, Scene
from robotctl.scene_files import ROOM_LABELS
from robotctl.scene_paths import looks_like_path, scenes_folder
from robotctl.schema import Name, Strict, Unit, Word, header, one_or_more, unique, validate

GUARDRAILS_SCHEMA = "robotctl/guardrails.v1"
SKILLS = frozenset({"pick", "place", "push", "pull", "cut"})


@dataclass(frozen=True, eq=False)
class GuardrailSet:
    """Everything that holds in an episode."""

    name: str
    assumptions: Assumptions
    guardrails: tuple[Guardrail, ...]
    sha256: str  # of the resolved rules, assumptions and relaxations
    relaxed: dict[str, str]  # id of a rule that was taken out -> the reason given


# ---- the file --------------------------------------------------------------------------------------------------

_Source = Annotated[str, Field(min_length=3, max_length=500)]
_Speed = Annotated[float, Unit("m/s", minimum=0, maximum=10)]
_Radius = Annotated[float, Unit("m", minimum=0, maximum=10)]
_Slope = Annotated[float, Unit("1/s", positive=True, maximum=100)]
_Force = Annotated[float, Unit("N", positive=True, maximum=10000)]
_Time = Annotated[float, Unit("s", minimum=0, maximum=10)]
_Labels = Annotated[list[Annotated[str, Word(OBJECT_LABELS, "label")]], BeforeValidator(one_or_more)]
_Skills = Annotated[list[Annotated[str, Word(SKILLS, "skill")]], BeforeValidator(one_or_more)]


class _HumanSpeedFile(Strict):
    torso: _Speed | None = None
    arm: _Speed | None = None
    hand: _Speed | None = None
    leg: _Speed | None = None


class _AssumptionsFile(Strict):
    human_speed: _HumanSpeedFile = _HumanSpeedFile()
    sensing_latency: _Time | None = None
    human_error: _Radius | None = None
    object_error: _Radius | None = None
    tracking_error: _Radius | None = None
    tracking_speed_error: _Speed | None = None
    actuation_latency: _Time | None = None
    source: _Source


class _ScopeFile(Strict):
    held: _Labels = []
    skill: _Skills = []


class _GuardrailFile(Strict):
    id: Name
    tier: Annotated[int, Field(ge=0, le=4)]
    source: _Source
    scope: _ScopeFile = _ScopeFile()

    def header(self) -> Header:
        return Header(self.id, self.tier, self.source, Scope(frozenset(self.scope.held), frozenset(self.scope.skill)))


class _SeparationFile(_GuardrailFile):
    kind: Literal["separation"]
    radius: _Radius
    slope: _Slope
    v_max: _Speed


class _BladeSpeedFile(_GuardrailFile):
    kind: Literal["blade_speed"]
    radius: _Radius
    slope: _Slope
    v_max: _Speed


class _HotFile(_GuardrailFile):
    kind: Literal["hot"]
    radius: _Radius
    slope: _Slope
    v_max: _Speed


class _ContactForceFile(_GuardrailFile):
    kind: Literal["contact_force"]
    limit: _Force
    brake_at: _Force


class _PlacementFile(_GuardrailFile):
    kind: Literal["placement"]
    edge: _Radius = 0.0
    forbidden: Annotated[list[Annotated[str, Word(ROOM_LABELS, "label")]], BeforeValidator(one_or_more)] = []


class _UndisturbedFile(_GuardrailFile):
    kind: Literal["undisturbed"]
    tolerance: _Radius


class _GraspFile(_GuardrailFile):
    kind: Literal["grasp"]
    radius: _Radius


class _ClearanceFile(_GuardrailFile):
    kind: Literal["clearance"]
    distance: _Radius


class _KeepOutFile(_GuardrailFile):
    kind: Literal["keep_out"]
    region: str | None = None  # a region by its name, which must exist
    label: Annotated[str, Word(ROOM_LABELS, "label")] | None = None  # every region with that label, if there is one


class _UprightFile(_GuardrailFile):
    kind: Literal["upright"]
    max_tilt: Annotated[float, Unit("rad", positive=True, maximum=math.pi)]


class _SpeedFile(_GuardrailFile):
    kind: Literal["speed"]
    v_max: _Speed


class _JointLimitsFile(_GuardrailFile):
    kind: Literal["joint_limits"]
    fraction: Annotated[float, Field(gt=0, le=1)]


_AnyGuardrail = Annotated[
    _SeparationFile
    | _BladeSpeedFile
    | _HotFile
    | _ClearanceFile
    | _KeepOutFile
    | _UprightFile
    | _SpeedFile
    | _JointLimitsFile
    | _ContactForceFile
    | _PlacementFile
    | _UndisturbedFile
    | _GraspFile,
    Field(discriminator="kind"),
]


class GuardrailsFile(Strict):
    """`scenes/guardrails/NAME.yaml`."""

    schema_: Literal["robotctl/guardrails.v1"] = Field(alias="schema")
    name: Name
    description: str = ""
    assumptions: _AssumptionsFile | None = None
    guardrails: Annotated[list[_AnyGuardrail], Field(max_length=200)]


# ---- loading ---------------------------------------------------------------------------------------------------


def load_guardrails(
    paths: Sequence[Path], scene: Scene, relax: Mapping[str, str] | None = None, spoken_of: frozenset[str] | None = None
) -> GuardrailSet:
    """The guardrails of all files over `scene`, without those that `relax` takes out (id -> reason).

    spoken_of: names of the items that a task may move (task.spoken_of); None: any.
    """
    stays = frozenset() if spoken_of is None else frozenset(item.name for item in scene.items) - spoken_of
    documents = [(document, read_guardrails(document)) for document in map(load_yaml, paths)]
    rules = [
        _build(document, ("guardrails", i), entry, scene, stays)
        for document, file in documents
        for i, entry in enumerate(file.guardrails)
    ]
    relaxed = _relaxed({rule.header.id for rule in rules}, relax or {})
    assumptions = _most_cautious([file.assumptions for _, file in documents if file.assumptions], paths)
    kept: dict[str, Guardrail] = {}  # by content: the same rule from two files counts once
    for rule in rules:
        if rule.header.id not in relaxed:
            kept.setdefault(canonical(rule), rule)
    resolved = {"assumptions": asdict(assumptions), "guardrails": sorted(kept), "relaxed": relaxed}
    return GuardrailSet(
        name="+".join(file.name for _, file in documents),
        assumptions=assumptions,
        guardrails=tuple(kept.values()),
        sha256=hashlib.sha256(_json(resolved).encode()).hexdigest(),
        relaxed=relaxed,
    )


def read_guardrails(document: Document) -> GuardrailsFile:
    """The validated content of one guardrail file."""
    header(document, GUARDRAILS_SCHEMA)
    file = validate(document, GuardrailsFile)
    unique(document, "guardrails", (entry.id for entry in file.guardrails), "id")
    return file


def canonical(rule: Guardrail) -> str:
    """A rule as canonical JSON: the same text for the same meaning."""
    return _json({"kind": type(rule).__name__, **asdict(rule)})  # type: ignore[call-overload]


def _json(value: Any) -> str:
    def plain(item: Any) -> Any:
        if isinstance(item, frozenset):
            return sorted(item)
        if isinstance(item, np.ndarray):
            return item.tolist()
        raise TypeError(type(item).__name__)

    return json.dumps(value, default=plain, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _relaxed(ids: Iterable[str], relax: Mapping[str, str]) -> dict[str, str]:
    known = sorted(ids)
    for name, reason in relax.items():
        if name not in known:
            raise UsageError(f"--relax: no guardrail '{name}'{nearest(name, known)}")
        if not reason.strip():
            raise UsageError(f"--relax {name}: give a reason with --reason TEXT")
    return dict(sorted(relax.items()))


def _most_cautious(declared: Sequence[_AssumptionsFile], paths: Sequence[Path]) -> Assumptions:
    """Of each assumption the largest value that any file declares."""
    names = ", ".join(show_path(path) for path in paths)

    def largest(key: str, values: Iterable[float | None]) -> float:
        given = [value for value in values if value is not None]
        if not given:
            raise InvalidFileError(f"{names}: key 'assumptions.{key}': is missing")
        return max(given)

    return Assumptions(
        human_speed={
            part: largest(f"human_speed.{part}", (getattr(d.human_speed, part) for d in declared)) for part in PARTS
        },
        **{
            key: largest(key, (getattr(d, key) for d in declared))
            for key in (
                "sensing_latency",
                "human_error",
                "object_error",
                "tracking_error",
                "tracking_speed_error",
                "actuation_latency",
            )
        },
    )


def _build(
    document: Document, location: Location, file: _GuardrailFile, scene: Scene, stays: frozenset[str]
) -> Guardrail:
    about = file.header()
    match file:
        case _SeparationFile():
            return Separation(about, file.radius, file.slope, file.v_max)
        case _BladeSpeedFile():
            return BladeSpeed(about, file.radius, file.slope, file.v_max)
        case _HotFile():
            _needs_held(document, location, file, "what is hot")
            return Hot(about, file.radius, file.slope, file.v_max)
        case _ContactForceFile():
            if file.brake_at > file.limit:
                document.fail((*location, "brake_at"), "is above the limit: the robot must brake before it is reached")
            return ContactForce(about, file.limit, file.brake_at)
        case _PlacementFile():
            _needs_held(document, location, file, "what is put down")
            if not file.edge and not file.forbidden:
                document.fail(location, "say where not: 'edge' (a distance), 'forbidden' (places by label) or both")
            places = [place for place in scene.places if place.labels & set(file.forbidden)]
            return Placement(about, file.edge, Boxes.of(scene.boxes()), _flat(places))
        case _UndisturbedFile():
            return Undisturbed(about, file.tolerance, stays)
        case _GraspFile():
            _needs_held(document, location, file, "what is not picked up then")
            return Grasp(about, file.radius)
        case _ClearanceFile():
            return Clearance(about, file.distance, Boxes.of(scene.boxes()))
        case _KeepOutFile():
            return KeepOut(about, Boxes.of(_regions(document, location, file, scene)))
        case _UprightFile():
            _needs_held(document, location, file, "what stays upright")
            return Upright(about, math.cos(file.max_tilt))
        case _SpeedFile():
            return Speed(about, file.v_max)
        case _JointLimitsFile():
            return JointLimits(about, file.fraction)
    raise AssertionError(file)


def _needs_held(document: Document, location: Location, file: _GuardrailFile, what: str) -> None:
    if not file.scope.held:
        document.fail((*location, "scope"), f"say {what}: scope: {{held: LABEL}}")


def _flat(places: Sequence[Place]) -> Boxes:
    """Places as boxes without height."""
    return Boxes(
        center=np.array([place.center for place in places]).reshape(-1, 3),
        rotation=np.array([rotation_z(place.yaw) for place in places]).reshape(-1, 3, 3),
        half=np.array([[*place.half, 0.0] for place in places]).reshape(-1, 3),
    )


def _regions(document: Document, location: Location, file: _KeepOutFile, scene: Scene) -> list[Box]:
    if (file.region is None) == (file.label is None):
        document.fail(location, "say where with either 'region' (a name) or 'label'")
    if file.label is not None:
        return [region.box for region in scene.regions if file.label in region.labels]
    found = [region.box for region in scene.regions if region.name == file.region]
    if not found:
        names = {region.name for region in scene.regions}
        document.fail((*location, "region"), f"no region '{file.region}'{nearest(str(file.region), names)}")
    return found


def resolved_values(rules: GuardrailSet) -> dict[str, Any]:
    """What is in force, with every number in SI units, as JSON values."""
    return {
        "name": rules.name,
        "sha256": rules.sha256,
        "assumptions": asdict(rules.assumptions),
        "guardrails": [{**json.loads(canonical(rule)), "unit": rule.unit} for rule in rules.guardrails],
        "relaxed": dict(rules.relaxed),
    }


# ---- finding ---------------------------------------------------------------------------------------------------


def guardrail_files() -> list[Path]:
    """The packaged guardrail files."""
    return sorted((scenes_folder() / "guardrails").glob("*.yaml"))


def find_guardrails(path_or_name: str) -> Path:
    """A guardrail file by its name ("household") or its path."""
    if looks_like_path(path_or_name):
        return Path(path_or_name)
    names = {path.stem: path for path in guardrail_files()}
    if path_or_name not in names:
        raise UsageError(f"no guardrail file '{path_or_name}'{nearest(path_or_name, names)}")
    return names[path_or_name]
