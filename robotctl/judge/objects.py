"""The surfaces of the movable objects, and where their parts are for a given pose."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from robotctl.judge.surface import Surface, hull_points, surface, urdf_points
from robotctl.scene import ObjectKind, Scene

LANDMARKS = 32  # of an object, about


@dataclass(frozen=True)
class Body:
    """An object kind's surface; blade marks the points of its sharp edge."""

    surface: Surface
    blade: np.ndarray  # (N,) bool
    labels: frozenset[str]
    kind: str
    slip: float  # how much faster than the hand that holds it a point of it may move, as the kind says [m/s]

    @property
    def landmarks(self) -> np.ndarray:
        """Some points of the surface, spread over it, (L, 3)."""
        points = self.surface.points
        return points[:: max(1, len(points) // LANDMARKS)]


def object_bodies(scene: Scene) -> dict[str, Body]:
    """The body of every item of the scene, by the item's name; items of one kind share it."""
    kinds = {name: _body(kind) for name, kind in scene.kinds.items()}
    return {item.name: replace(kinds[item.kind], labels=scene.labels_of(item)) for item in scene.items}


def _body(kind: ObjectKind) -> Body:
    points = urdf_points(kind.urdf)
    if len(points) == 0:  # no collision shapes: what the scene says covers it
        points = np.concatenate([hull_points(_cross(r)) + np.array([x, y, z]) for x, y, z, r in kind.spheres])
    whole = surface(points)
    edge = kind.spheres[np.asarray(kind.blade, bool)]
    apart = np.linalg.norm(whole.points[:, None] - edge[None, :, :3], axis=2) - edge[:, 3]
    return Body(whole, (apart <= 0).any(axis=1), kind.labels, kind.name, kind.slip)


def _cross(radius: float) -> np.ndarray:
    """Vertices of an octahedron around a ball."""
    return radius * np.sqrt(3.0) * np.concatenate([np.eye(3), -np.eye(3)])


def rotation_of(quaternion: np.ndarray) -> np.ndarray:
    """Rotation matrix (..., 3, 3) of a quaternion xyzw (..., 4), by Rodrigues' formula on its vector part."""
    v, w = quaternion[..., :3], quaternion[..., 3]
    zero = np.zeros_like(w)
    K = np.stack(
        [
            np.stack([zero, -v[..., 2], v[..., 1]], axis=-1),
            np.stack([v[..., 2], zero, -v[..., 0]], axis=-1),
            np.stack([-v[..., 1], v[..., 0], zero], axis=-1),
        ],
        axis=-2,
    )
    return np.eye(3) + 2.0 * w[..., None, None] * K + 2.0 * (K @ K)


def lowest(points: np.ndarray, position: np.ndarray, quaternion: np.ndarray) -> float:
    """Height of the lowest of the points (N, 3) of a body in a pose [m]."""
    return float((points @ rotation_of(quaternion)[2]).min() + position[2])
