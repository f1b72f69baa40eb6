"""This file turns a model file into points on the surface of what it describes, grouped into patches.

Points lie on the convex hull of every collision shape, because that is what the simulator collides with. A point
set misses the surface by at most half its spacing sideways; seen from a human capsule of radius r at distance d,
that is spacing^2 / (8 (d + r)), under 0.3 mm for a forearm that touches.
"""

from __future__ import annotations

import importlib.util
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path

import numpy as np

SPACING = 0.010  # [m] at most, between neighbouring points
PATCH = 0.06  # [m] edge of the cube whose points form one patch


@dataclass(frozen=True)
class Surface:
    """Points of one rigid body in its own frame, sorted so that each patch is a run of them."""

    points: np.ndarray  # (N, 3) [m]
    patch_first: np.ndarray  # (Q + 1,) index of each patch's first point
    patch_center: np.ndarray  # (Q, 3)
    patch_radius: np.ndarray  # (Q,)
    center: np.ndarray  # (3,) of a ball around all points
    radius: float


def surface(points: np.ndarray) -> Surface:
    """Groups points (N, 3) into patches."""
    cell = np.floor(points / PATCH).astype(int)
    order = np.lexsort((points[:, 2], points[:, 1], points[:, 0], cell[:, 2], cell[:, 1], cell[:, 0]))
    points, cell = points[order], cell[order]
    new = np.any(cell[1:] != cell[:-1], axis=1)
    first = np.concatenate([[0], np.flatnonzero(new) + 1, [len(points)]])
    runs = [points[a:b] for a, b in pairwise(first)]
    center = np.array([0.5 * (run.min(axis=0) + run.max(axis=0)) for run in runs])
    radius = np.array([np.linalg.norm(run - c, axis=1).max() for run, c in zip(runs, center, strict=True)])
    middle = 0.5 * (points.min(axis=0) + points.max(axis=0))
    return Surface(points, first, center, radius, middle, float(np.linalg.norm(points - middle, axis=1).max()))


def hull_points(vertices: np.ndarray, spacing: float = SPACING) -> np.ndarray:
    """Points on the convex hull of `vertices` (n, 3), about `spacing` apart, and all of the hull's corners."""
    from scipy.spatial import ConvexHull

    hull = ConvexHull(vertices)
    points = []
    for a, b, c in vertices[hull.simplices]:
        n = int(np.ceil(max(np.linalg.norm(b - a), np.linalg.norm(c - a), np.linalg.norm(c - b)) / spacing))
        i, j = np.meshgrid(np.arange(n + 1), np.arange(n + 1), indexing="ij")
        inside = i + j <= n
        u, v = i[inside] / n, j[inside] / n
        points.append(a + u[:, None] * (b - a) + v[:, None] * (c - a))
    # The corners are what reaches farthest and moves fastest; thinning them would cost up to 2 mm.
    return np.concatenate([vertices[hull.vertices], _thinned(np.concatenate(points), 0.7 * spacing)])


def _thinned(points: np.ndarray, cell: float) -> np.ndarray:
    """The first point in every cube of edge `cell`."""
    _, first = np.unique(np.floor(points / cell).astype(int), axis=0, return_index=True)
    return points[np.sort(first)]


def box_vertices(size: np.ndarray) -> np.ndarray:
    """Corners of a box centred at the origin, (8, 3)."""
    signs = np.array([[i, j, k] for i in (-1, 1) for j in (-1, 1) for k in (-1, 1)])
    return 0.5 * signs * size


def cylinder_points(radius: float, length: float, spacing: float) -> np.ndarray:
    """Points on a cylinder about z, centred at the origin."""
    around = 2 * np.pi * np.arange(n := int(np.ceil(2 * np.pi * radius / spacing))) / n
    ring = np.stack([np.cos(around), np.sin(around)], axis=1)
    heights = np.linspace(-length / 2, length / 2, int(np.ceil(length / spacing)) + 1)
    side = [np.column_stack([radius * ring, np.full(len(ring), z)]) for z in heights]
    grid = np.arange(-radius, radius, spacing)
    x, y = (m.ravel() for m in np.meshgrid(grid, grid))
    disc = np.stack([x, y], axis=1)[x * x + y * y < radius * radius]
    caps = [np.column_stack([disc, np.full(len(disc), z)]) for z in (-length / 2, length / 2)]
    return np.concatenate(side + caps)


def obj_vertices(path: Path) -> np.ndarray:
    """Vertices of a Wavefront OBJ file, (n, 3)."""
    with path.open(encoding="utf-8", errors="replace") as lines:
        return np.array([[float(x) for x in line.split()[1:4]] for line in lines if line.startswith("v ")])


@lru_cache(maxsize=64)
def urdf_points(path: Path, spacing: float = SPACING) -> np.ndarray:
    """Points on the collision shapes of a one-link model, in the link's frame, (N, 3)."""
    points = [np.zeros((0, 3))]
    for shape in ET.parse(path).getroot().iter("collision"):
        origin = shape.find("origin")
        xyz, rpy = (_numbers(origin, key) for key in ("xyz", "rpy"))
        points.append(_shape_points(shape.find("geometry"), path, spacing) @ _turned(rpy).T + xyz)
    return _thinned(np.concatenate(points), 0.5 * spacing)


def _shape_points(geometry: ET.Element | None, path: Path, spacing: float) -> np.ndarray:
    for shape in geometry if geometry is not None else ():
        if shape.tag == "box":
            return hull_points(box_vertices(_numbers(shape, "size")), spacing)
        if shape.tag == "cylinder":
            return cylinder_points(float(shape.get("radius", 0)), float(shape.get("length", 0)), spacing)
        if shape.tag == "sphere":
            return hull_points(sphere_vertices(float(shape.get("radius", 0))), spacing)
        if shape.tag == "mesh":
            scale = _numbers(shape, "scale") if shape.get("scale") else np.ones(3)
            return hull_points(obj_vertices(path.parent / str(shape.get("filename"))) * scale, spacing)
    return np.zeros((0, 3))


def sphere_vertices(radius: float, n: int = 200) -> np.ndarray:
    """Points spread evenly over a sphere (golden spiral)."""
    i = np.arange(n) + 0.5
    z, turn = 1 - 2 * i / n, np.pi * (1 + 5**0.5) * i
    flat = np.sqrt(1 - z * z)
    return radius * np.stack([flat * np.cos(turn), flat * np.sin(turn), z], axis=1)


def _numbers(element: ET.Element | None, key: str) -> np.ndarray:
    text = element.get(key) if element is not None else None
    return np.array([float(x) for x in text.split()]) if text else np.zeros(3)


def _turned(rpy: np.ndarray) -> np.ndarray:
    """Rotation matrix of roll, pitch, yaw."""
    (a, b, c), (sa, sb, sc) = np.cos(rpy), np.sin(rpy)
    return np.array(
        [
            [c * b, c * sb * sa - sc * a, c * sb * a + sc * sa],
            [sc * b, sc * sb * sa + c * a, sc * sb * a - c * sa],
            [-sb, b * sa, b * a],
        ]
    )


def panda_mesh(name: str) -> Path:
    """A collision mesh of the Panda that comes with PyBullet; found without importing it."""
    found = importlib.util.find_spec("pybullet_data")
    if found is None or not found.submodule_search_locations:
        raise FileNotFoundError("the package pybullet_data, which carries the Panda's meshes, is not installed")
    return Path(found.submodule_search_locations[0]) / "franka_panda" / "meshes" / "collision" / f"{name}.obj"
