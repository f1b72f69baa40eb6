"""This file turns a point of view into the two matrices of a camera (OpenGL convention, written column by column)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from robotctl.scene import Scene

NEAR, FAR = 0.05, 50.0  # what is nearer or farther is not drawn [m]


@dataclass(frozen=True)
class Camera:
    """A pinhole camera in the world."""

    eye: tuple[float, float, float]  # [m]
    target: tuple[float, float, float]  # [m]
    field_of_view: float = 45.0  # vertical [deg]

    def view(self) -> list[float]:
        """Camera from world, 16 numbers: the camera looks along its -z, its y points up."""
        eye, target = np.array(self.eye), np.array(self.target)
        back = (eye - target) / np.linalg.norm(eye - target)
        right = np.cross([0.0, 0.0, 1.0], back)
        right = right / np.linalg.norm(right)
        rows = np.stack([right, np.cross(back, right), back])
        matrix = np.eye(4)
        matrix[:3, :3], matrix[:3, 3] = rows, -rows @ eye
        return [float(x) for x in matrix.T.ravel()]

    def projection(self, width: int, height: int) -> list[float]:
        """Perspective projection of gluPerspective, 16 numbers."""
        f = 1.0 / np.tan(np.deg2rad(self.field_of_view) / 2)
        depth = NEAR - FAR
        matrix = np.zeros((4, 4))
        matrix[0, 0], matrix[1, 1] = f * height / width, f
        matrix[2, 2], matrix[2, 3], matrix[3, 2] = (FAR + NEAR) / depth, 2 * FAR * NEAR / depth, -1.0
        return [float(x) for x in matrix.T.ravel()]


def overview(scene: Scene, azimuth: float = 70.0, elevation: float = 30.0) -> Camera:
    """A camera that sees the whole scene from the south (azimuth 90) or the south-west (less) [deg]."""
    points = [scene.robot_start[:2]] + [item.position[:2] for item in scene.items]
    points += [box.center[:2] for piece in scene.furniture if "wall" not in piece.labels for box in piece.boxes]
    low, high = np.min(points, axis=0), np.max(points, axis=0)
    distance = 1.8 + 0.64 * float(np.linalg.norm(high - low))
    a, e = np.deg2rad(azimuth), np.deg2rad(elevation)
    out = distance * np.array([-np.cos(a) * np.cos(e), -np.sin(a) * np.cos(e), np.sin(e)])
    middle = np.array([*(low + high) / 2, 0.75])
    return Camera(_point(middle + out), _point(middle))


def _point(values: Sequence[float] | np.ndarray) -> tuple[float, float, float]:
    x, y, z = (float(value) for value in values)
    return x, y, z
