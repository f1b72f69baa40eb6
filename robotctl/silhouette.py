"""The silhouette of a model seen from above: a polygon, and a grid of signed distances to it.

That is what a hand that pushes along a table meets of an object. A silhouette is star-shaped about the body frame's
origin: a hollow that no straight push from outside can reach into is filled.
"""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from robotctl.geometry import rotation_rpy

CORNERS = 180  # of the polygon, at even angles
REACH = 0.16  # half the side of the grid [m]
CELL = 0.005  # [m]
CELLS = 2 * round(REACH / CELL) + 1  # grid points along one side
SHARP = 8  # corners kept of a silhouette
BEND = np.deg2rad(25.0)  # a corner that turns by less is round
FOOT = 0.0005  # corners this near the lowest carry the object [m]
FEET = 8  # points that an object stands on, at most
_ROUND = 32  # corners that stand for a circle


@dataclass(frozen=True, eq=False)
class Silhouette:
    """An object's outline in its body frame, and how it rests on its table."""

    polygon: np.ndarray  # (CORNERS, 2) counter-clockwise [m]
    sharp: np.ndarray  # (SHARP, 2) its corners, which a coarse look at distances would miss; padded with 0 0 [m]
    distance: np.ndarray  # (CELLS, CELLS) signed distance at (x, y) = CELL (i, j) - REACH, negative inside [m]
    center: np.ndarray  # (2,) centre of mass [m]
    top: float  # height of its highest point [m]
    feet: np.ndarray  # (FEET, 2) points that it stands on [m]; padded with the centre
    load: np.ndarray  # (FEET,) share of the weight on each of them at rest; padded with 0
    support: float  # their mean distance from the centre of mass, by load [m]
    gyration: float  # radius of gyration about the upright axis, longer by how easily the foot swings [m]


@lru_cache(maxsize=64)
def silhouette(urdf: Path, above: float = 0.0) -> Silhouette:
    """The silhouette of what of a (checked) model's collision shapes is higher than `above` [m]."""
    link = ElementTree.parse(urdf).getroot().find("link")
    assert link is not None
    shapes = [_placed(collision, urdf.parent) for collision in link.iterfind("collision")]
    met = [shape[:, :2] for shape in shapes if shape[:, 2].max() > above]
    polygon = _star(met)
    axis = CELL * np.arange(CELLS) - REACH
    grid = np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1).reshape(-1, 2)
    distance = signed_distance(polygon, grid).reshape(CELLS, CELLS)
    center = _numbers(link.find("inertial/origin"), "xyz")[:2]
    corners = np.concatenate(shapes)
    feet, load = _stands_on(corners[corners[:, 2] < corners[:, 2].min() + FOOT, :2], center)
    support = float(load @ np.linalg.norm(feet - center, axis=1))
    top, gyration = float(corners[:, 2].max()), _gyration(link)
    return Silhouette(polygon, _sharp(met), distance, center, top, feet, load, support, gyration)


def _gyration(link: ElementTree.Element) -> float:
    """Distance at which a horizontal force at the foot moves it twice as far as one that does not turn the object [m].

    A force at the foot moves it by 1/m + h^2/I_xx where it tilts the object, and by r^2/I_zz more where it turns it.
    """
    mass = float(link.find("inertial/mass").attrib["value"])  # type: ignore[union-attr]
    inertia = link.find("inertial/inertia").attrib  # type: ignore[union-attr]
    height = _numbers(link.find("inertial/origin"), "xyz")[2]
    tilting = 0.5 * (float(inertia["ixx"]) + float(inertia["iyy"]))
    return float(np.sqrt(float(inertia["izz"]) * (1.0 / mass + height**2 / tilting)))


def _stands_on(lowest: np.ndarray, center: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """FEET corners of the hull of the lowest points, and their loads: equal but for what brings them to the centre."""
    from scipy.spatial import ConvexHull

    hull = lowest[ConvexHull(lowest).vertices]
    hull = hull[np.linalg.norm(hull - np.roll(hull, 1, axis=0), axis=1) > 1e-4]
    feet = hull[np.round(np.linspace(0, len(hull), min(len(hull), FEET), endpoint=False)).astype(int)]
    # The smallest change of equal loads, with the same sum, whose moment about the centre of mass is zero.
    rule = np.vstack([np.ones(len(feet)), (feet - center).T])
    even = np.full(len(feet), 1.0 / len(feet))
    load = np.maximum(even + np.linalg.pinv(rule) @ (np.array([1.0, 0.0, 0.0]) - rule @ even), 0.0)
    missing = FEET - len(feet)
    return np.concatenate([feet, np.repeat(center[None], missing, axis=0)]), np.pad(load / load.sum(), (0, missing))


def _sharp(shapes: list[np.ndarray]) -> np.ndarray:
    """Corners of the hull of all shapes that turn by more than BEND, the sharpest SHARP of them, (SHARP, 2)."""
    from scipy.spatial import ConvexHull

    points = np.concatenate(shapes)
    hull = points[ConvexHull(points).vertices]
    hull = hull[np.linalg.norm(hull - np.roll(hull, 1, axis=0), axis=1) > 1e-4]
    before, after = hull - np.roll(hull, 1, axis=0), np.roll(hull, -1, axis=0) - hull
    bend = np.arctan2(cross(before, after), np.sum(before * after, axis=1))
    order = np.argsort(-bend)[:SHARP]
    corners = hull[order[bend[order] > BEND]]
    return np.concatenate([corners, np.zeros((SHARP - len(corners), 2))])


def signed_distance(polygon: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Distance of points (n, 2) to a polygon (m, 2) that is star-shaped about the origin, negative inside, (n,)."""
    a, b = polygon, np.roll(polygon, -1, axis=0)
    edge = b - a
    away = points[:, None] - a
    share = np.clip(np.sum(away * edge, axis=2) / np.maximum(np.sum(edge * edge, axis=1), 1e-18), 0.0, 1.0)
    gap = np.linalg.norm(away - share[..., None] * edge, axis=2).min(axis=1)
    # Inside one of the triangles (origin, a, b), whose corners run counter-clockwise.
    left = cross(edge, away) >= 0.0
    between = (cross(a, points[:, None]) >= 0.0) & (cross(points[:, None], b) >= 0.0)
    return np.where(np.any(left & between, axis=1), -gap, gap)


def cross(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """z component of the product of vectors in the plane, (..., 2) -> (...)."""
    return np.asarray(a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0])


def _placed(collision: ElementTree.Element, folder: Path) -> np.ndarray:
    """Corners (n, 3) of a collision shape in the body frame."""
    origin = collision.find("origin")
    xyz, rpy = (_numbers(origin, key) for key in ("xyz", "rpy"))
    return _corners(collision, folder) @ np.asarray(rotation_rpy(*rpy)).T + xyz


def _numbers(element: ElementTree.Element | None, key: str) -> np.ndarray:
    text = None if element is None else element.get(key)
    return np.zeros(3) if text is None else np.array([float(word) for word in text.split()])


def _corners(collision: ElementTree.Element, folder: Path) -> np.ndarray:
    """Points (n, 3) whose convex hull is (about) the shape, in its own frame."""
    shape = collision.find("geometry/*")
    assert shape is not None
    signs = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], float)
    if shape.tag == "box":
        return 0.5 * signs * _numbers(shape, "size")
    if shape.tag == "mesh":
        rows = (folder / shape.attrib["filename"]).read_text().splitlines()
        scale = _numbers(shape, "scale") if shape.get("scale") else np.ones(3)
        return scale * np.array([[float(x) for x in row.split()[1:4]] for row in rows if row.startswith("v ")])
    radius = float(shape.attrib["radius"])
    angle = 2 * np.pi * np.arange(_ROUND) / _ROUND
    if shape.tag == "sphere":
        tilt = np.arccos(np.linspace(-1.0, 1.0, _ROUND))[:, None]
        ring = [np.sin(tilt) * np.cos(angle), np.sin(tilt) * np.sin(angle), np.cos(tilt) + 0.0 * angle]
        return radius * np.stack(ring, axis=-1).reshape(-1, 3)
    half = 0.5 * float(shape.attrib["length"]) + (radius if shape.tag == "capsule" else 0.0)
    circle = radius * np.column_stack([np.cos(angle), np.sin(angle)])
    return np.concatenate([np.column_stack([circle, np.full(_ROUND, z)]) for z in (-half, half)])


def _star(shapes: list[np.ndarray]) -> np.ndarray:
    """The outermost point along rays from the origin of the convex hulls of all shapes, (CORNERS, 2)."""
    from scipy.spatial import ConvexHull

    angle = 2 * np.pi * np.arange(CORNERS) / CORNERS
    ray = np.column_stack([np.cos(angle), np.sin(angle)])
    reach = np.zeros(CORNERS)
    for shape in shapes:
        hull = shape[ConvexHull(shape).vertices]
        a, b = hull, np.roll(hull, -1, axis=0)
        edge = b - a
        # ray * t = a + s * edge, solved by Cramer's rule.
        across = cross(ray[:, None], edge)
        with np.errstate(divide="ignore", invalid="ignore"):
            t = cross(a, edge) / across
            s = cross(a, ray[:, None]) / across
        hit = (np.abs(across) > 1e-12) & (s >= -1e-9) & (s <= 1.0 + 1e-9) & (t > 0.0)
        reach = np.maximum(reach, np.where(hit, t, 0.0).max(axis=1))
    return ray * np.maximum(reach, 1e-3)[:, None]
