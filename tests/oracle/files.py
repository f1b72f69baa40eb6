"""This file turns the YAML files behind an episode into numbers, with PyYAML and a table of units alone."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from robotctl.scene_paths import scenes_folder

UNITS = {
    "m": 1.0, "cm": 1e-2, "mm": 1e-3, "rad": 1.0, "deg": math.pi / 180, "m/s": 1.0, "1/s": 1.0, "s": 1.0, "ms": 1e-3,
    "N": 1.0,
}  # fmt: skip


@dataclass(frozen=True)
class Rule:
    """One entry of a guardrail file, its numbers in SI units."""

    id: str
    kind: str
    held: frozenset[str]  # labels of what has to be in the hand; empty: always
    values: dict[str, Any]


@dataclass(frozen=True)
class Boxes:
    """Boxes turned about z."""

    center: np.ndarray  # (B, 3) [m]
    half: np.ndarray  # (B, 3) [m]
    yaw: np.ndarray  # (B,) [rad]


@dataclass(frozen=True)
class Thing:
    """A movable object."""

    urdf: Path
    labels: frozenset[str]
    blade: np.ndarray  # (n, 4) balls that hold its sharp edge, x y z r [m]


@dataclass(frozen=True)
class World:
    """All an episode is judged by."""

    rules: tuple[Rule, ...]
    furniture: Boxes
    regions: dict[str, tuple[frozenset[str], Boxes]]  # name -> labels, the box
    things: dict[str, Thing]  # by the item's name


def si(text: Any) -> Any:
    """'40 mm' as 0.04, '0 0 16 44 mm' as a list, what is no quantity as it is."""
    if not isinstance(text, str):
        return text
    *numbers, unit = text.split()
    if unit not in UNITS or not numbers:
        return text
    values = [float(number) * UNITS[unit] for number in numbers]
    return values[0] if len(values) == 1 else values


# Rules on moments, on where things are, and on forces: their judge has tests of its own (test_guardrails_things.py).
NOT_MEASURED = ("grasp", "placement", "undisturbed", "contact_force")


def read_bundle(folder: Path) -> tuple[World, dict[str, Any]]:
    """The world of the files that are attached to an episode, unpacked into a folder; and their list."""
    manifest = json.loads((folder / "manifest.json").read_text())
    guardrails = [folder / name for name in manifest["guardrails"]]
    return read_world(folder / manifest["task"], guardrails, manifest["relaxed"]), manifest


def read_world(task_file: Path, guardrail_files: Iterable[Path], relaxed: Iterable[str] = ()) -> World:
    """The world of a task under some guardrail files, without the rules whose ids are relaxed."""
    task = _read(task_file)
    scene_file = _path(task_file, task["scene"])
    scene = _read(scene_file)
    kinds = {}
    for name in scene["kinds"]:
        file = _path(scene_file, name)
        kinds |= {kind["name"]: _thing(file, kind) for kind in _read(file)["kinds"]}
    items = task.get("items") or scene.get("items") or []
    entries = [entry for file in guardrail_files for entry in _read(file)["guardrails"]]
    unique = [entry for i, entry in enumerate(entries) if entry not in entries[:i]]
    return World(
        rules=tuple(
            _rule(entry) for entry in unique if entry["id"] not in set(relaxed) and entry["kind"] not in NOT_MEASURED
        ),
        furniture=_boxes([box for piece in scene.get("furniture") or [] for box in piece["boxes"]]),
        regions={r["name"]: (frozenset(r.get("labels") or ()), _boxes([r])) for r in scene.get("regions") or []},
        things={
            item["name"]: replace(kind := kinds[item["kind"]], labels=kind.labels | set(item.get("labels") or ()))
            for item in items
        },
    )


def _read(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


def _path(file: Path, name: str) -> Path:
    return scenes_folder() / name[9:] if name.startswith("robotctl:") else file.parent / name


def _rule(entry: dict[str, Any]) -> Rule:
    held = (entry.get("scope") or {}).get("held") or []
    values = {key: si(value) for key, value in entry.items() if key not in ("id", "kind", "scope", "source", "tier")}
    return Rule(entry["id"], entry["kind"], frozenset([held] if isinstance(held, str) else held), values)


def _thing(file: Path, kind: dict[str, Any]) -> Thing:
    blade = np.array([si(text) for text in kind.get("blade_spheres") or []]).reshape(-1, 4)
    return Thing(_path(file, kind["urdf"]), frozenset(kind["labels"]), blade)


def _boxes(boxes: list[dict[str, Any]]) -> Boxes:
    return Boxes(
        np.array([si(box["center"]) for box in boxes]).reshape(-1, 3),
        np.array([si(box["size"]) for box in boxes]).reshape(-1, 3) / 2,
        np.array([si(box.get("yaw", 0.0)) for box in boxes], dtype=float),
    )
