"""Whether the filter's spheres hold what they stand for: the robot's shapes over the fingers' stroke, and every object.

Shapes are read from the models that the simulator loads. Collision shapes count with their whole convex hull, which is
what collides; what is only seen with the vertices of its meshes.
"""

from __future__ import annotations

import importlib.util
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import numpy as np

from robotctl.errors import MissingPartError
from robotctl.geometry import rotation_rpy, transform
from robotctl.judge.surface import box_vertices, cylinder_points, hull_points, obj_vertices, sphere_vertices
from robotctl.robot import HAND, MOUNT_HEIGHT, ROBOT_SPHERES, STROKE, Spheres
from robotctl.scene import ObjectKind, Scene
from robotctl.scene_paths import scenes_folder
from robotctl.verify.check import Check, at_most

SPACING = 0.004  # of the points on hulls [m]
OPENINGS = 9  # of the fingers, over their stroke
FINGER_MOUNT = 0.0584  # of the fingers in the hand's frame [m]
# The frame of every link of the robot, and where the link is in it (x, y, z) [m]. A finger also slides along y.
FRAMES: dict[str, tuple[int, tuple[float, float, float]]] = {
    "base": (0, (0.0, 0.0, 0.0)),
    "panda_link0": (0, (0.0, 0.0, MOUNT_HEIGHT)),
    **{f"panda_link{i}": (i, (0.0, 0.0, 0.0)) for i in range(1, 8)},
    "panda_hand": (HAND, (0.0, 0.0, 0.0)),
    "panda_leftfinger": (HAND, (0.0, 0.0, FINGER_MOUNT)),
    "panda_leftpad": (HAND, (0.0, 0.0, FINGER_MOUNT)),
    "panda_rightfinger": (HAND, (0.0, 0.0, FINGER_MOUNT)),
    "panda_rightpad": (HAND, (0.0, 0.0, FINGER_MOUNT)),
}  # fmt: skip


@lru_cache(maxsize=1)
def robot_bodies() -> tuple[tuple[str, int, np.ndarray], ...]:
    """Of every link's shapes: what they are, their frame, and their points (N, 3) there, over the fingers' stroke."""
    model = scenes_folder() / "assets" / "robot.urdf"
    out = []
    for link in ET.parse(model).getroot().iter("link"):
        name = str(link.get("name"))
        if name not in FRAMES:
            continue
        frame, offset = FRAMES[name]
        slides = np.linspace(0.0, STROKE / 2, OPENINGS) if frame == HAND and name != "panda_hand" else np.zeros(1)
        sign = 1.0 if "left" in name else -1.0
        for shapes in ("collision", "visual"):
            points = link_points(link, shapes, model)
            if len(points):
                places = [points + offset + np.array([0.0, sign * y, 0.0]) for y in slides]
                out.append((f"{name.removeprefix('panda_')}, {shapes}", frame, np.concatenate(places)))
    return tuple(out)


def robot_checks(spheres: Spheres = ROBOT_SPHERES) -> list[Check]:
    """How far each body of the robot reaches out of the spheres of its frame."""
    return [
        _check(name, outside(points, spheres.offset[spheres.frame == frame], spheres.radius[spheres.frame == frame]))
        for name, frame, points in robot_bodies()
    ]


def object_checks(scene: Scene) -> list[Check]:
    """How far objects reach out of their kind's spheres, and blades out of the spheres of their edge."""
    out = []
    for _, kind in sorted(scene.kinds.items()):
        root = ET.parse(kind.urdf).getroot()
        for shapes in ("collision", "visual"):
            points = link_points(root, shapes, kind.urdf)
            if len(points):
                out.append(_check(f"{kind.name}, {shapes}", outside(points, kind.spheres[:, :3], kind.spheres[:, 3])))
        if np.any(kind.blade):
            out.append(_check(f"{kind.name}, blade", outside(blade_points(kind), *_blade(kind))))
    return out


def outside(points: np.ndarray, center: np.ndarray, radius: np.ndarray) -> np.ndarray:
    """Distance (N,) of points to the nearest sphere [m]; negative inside."""
    return np.asarray((np.linalg.norm(points[:, None] - center, axis=2) - radius).min(axis=1))


def blade_points(kind: ObjectKind) -> np.ndarray:
    """What of a sharp object must be in its blade's spheres: all from the heel of the edge on, or the tip half.

    Without a declared edge it is not known where the blade begins: all beyond the first blade sphere's middle counts.
    """
    root = ET.parse(kind.urdf).getroot()
    points = np.concatenate([link_points(root, shapes, kind.urdf) for shapes in ("collision", "visual")])
    first, last = kind.spheres[kind.blade][0, :3], kind.spheres[kind.blade][-1, :3]
    along = (last - first) / max(float(np.linalg.norm(last - first)), 1e-9)
    begin = first
    if kind.edge is not None:
        along, begin = kind.edge.along, kind.edge.heel
        steps = np.linspace(0.0, kind.edge.length, 101)
        points = np.concatenate([points, kind.edge.heel + steps[:, None] * along])
    return np.asarray(points[(points - begin) @ along >= -1e-9])


def _blade(kind: ObjectKind) -> tuple[np.ndarray, np.ndarray]:
    spheres = kind.spheres[kind.blade]
    return spheres[:, :3], spheres[:, 3]


def link_points(element: ET.Element, shapes: str, model: Path) -> np.ndarray:
    """Points (N, 3) of all shapes ("collision" or "visual") below an element of a model, in the link's frame."""
    found = [np.zeros((0, 3)), *_shapes(element, shapes, model)]
    return np.concatenate(found)


def _shapes(element: ET.Element, shapes: str, model: Path) -> Iterator[np.ndarray]:
    for shape in element.iter(shapes):
        geometry, origin = shape.find("geometry"), shape.find("origin")
        turn, place = np.zeros(3), np.zeros(3)
        if origin is not None:
            turn = np.array((origin.get("rpy") or "0 0 0").split(), float)
            place = np.array((origin.get("xyz") or "0 0 0").split(), float)
        T = transform(rotation_rpy(*turn), place)
        for body in geometry if geometry is not None else ():
            points = _points(body, model, hull=shapes == "collision")
            yield points @ T[:3, :3].T + T[:3, 3]


def _points(body: ET.Element, model: Path, hull: bool) -> np.ndarray:
    if body.tag == "box":
        return hull_points(box_vertices(np.array(str(body.get("size")).split(), float)), SPACING)
    if body.tag == "cylinder":
        return cylinder_points(float(body.get("radius", 0)), float(body.get("length", 0)), SPACING)
    if body.tag == "sphere":
        return hull_points(sphere_vertices(float(body.get("radius", 0))), SPACING)
    if body.tag == "mesh":
        scale = np.array((body.get("scale") or "1 1 1").split(), float)
        vertices = obj_vertices(_mesh(str(body.get("filename")), model)) * scale
        return np.concatenate([vertices, hull_points(vertices, SPACING)]) if hull else vertices
    raise MissingPartError(f"{model.name}: cannot check a shape of kind '{body.tag}'")


def _mesh(name: str, model: Path) -> Path:
    if not name.startswith("franka:"):
        return model.parent / name
    spec = importlib.util.find_spec("pybullet_data")
    if spec is None or spec.origin is None:
        raise MissingPartError("pybullet_data is missing: install pybullet")
    return Path(spec.origin).parent / "franka_panda" / name.removeprefix("franka:")


def _check(condition: str, reach: np.ndarray) -> Check:
    return at_most("coverage", condition, 0.0, 1e3 * reach, "mm", "points")
