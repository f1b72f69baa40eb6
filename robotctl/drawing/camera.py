"""This file says where one looks at a scene from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from robotctl.scene import Scene


@dataclass(frozen=True)
class Camera:
    """A pinhole camera in the world."""

    eye: np.ndarray  # (3,) [m]
    target: np.ndarray  # (3,) [m]
    field_of_view: float = 45.0  # vertical [deg]

    def axes(self) -> np.ndarray:
        """Right, up and forward in the world, (3, 3)."""
        forward = self.target - self.eye
        forward = forward / np.linalg.norm(forward)
        right = np.cross(forward, [0.0, 0.0, 1.0])
        right = right / np.linalg.norm(right)
        return np.stack([right, np.cross(right, forward), forward])


def middle_of(scene: Scene) -> tuple[np.ndarray, float]:
    """The middle of what there is to see, (3,), and how wide it is [m]."""
    points = [scene.robot_start[:2]] + [item.position[:2] for item in scene.items]
    points += [box.center[:2] for piece in scene.furniture if "wall" not in piece.labels for box in piece.boxes]
    low, high = np.min(points, axis=0), np.max(points, axis=0)
    return np.array([*(low + high) / 2, 0.75]), float(np.linalg.norm(high - low))


def overview(scene: Scene, azimuth: float = 70.0, elevation: float = 30.0) -> Camera:
    """A camera that sees the whole scene from the south (azimuth 90) or the south-west (less) [deg]."""
    middle, extent = middle_of(scene)
    a, e = np.deg2rad(azimuth), np.deg2rad(elevation)
    out = np.array([-np.cos(a) * np.cos(e), -np.sin(a) * np.cos(e), np.sin(e)])
    return Camera(middle + (1.8 + 0.64 * extent) * out, middle)
