"""The robot does not touch furniture: base, arm and palm stay a distance away from every box of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from robotctl.geometry import namespace, norm, rotation_z
from robotctl.guardrails.guardrail import Array, Header, parts
from robotctl.robot import RobotModel
from robotctl.scene import Box
from robotctl.trajectory import Sweep


@dataclass(frozen=True)
class Boxes:
    """Solid boxes of the scene, in the world frame."""

    center: np.ndarray  # (B, 3) [m]
    rotation: np.ndarray  # (B, 3, 3) world from box
    half: np.ndarray  # (B, 3) half extents [m]

    @staticmethod
    def of(boxes: Sequence[Box]) -> Boxes:
        """The boxes of a scene."""
        return Boxes(
            center=np.array([box.center for box in boxes]).reshape(-1, 3),
            rotation=np.array([rotation_z(box.yaw) for box in boxes]).reshape(-1, 3, 3),
            half=np.array([box.half for box in boxes]).reshape(-1, 3),
        )


def box_margin(sweep: Sweep, spheres: np.ndarray, boxes: Boxes, distance: float) -> Array:
    """Sphere surface to box surface minus `distance`, (H+1, S' * B) [m]."""
    center = sweep.center[:, spheres]
    steps, n = center.shape[0], len(boxes.center)
    if n == 0:
        return center[:, :0, 0]
    # Signed box distance (geometry.point_box_distance) with R^T (p - c) as one product over all pairs.
    xp = namespace(center)
    turn = xp.asarray(boxes.rotation.transpose(1, 0, 2).reshape(3, 3 * n))
    origin = xp.asarray(np.einsum("bi,bij->bj", boxes.center, boxes.rotation))
    outside = xp.abs((center.reshape(-1, 3) @ turn).reshape(-1, n, 3) - origin) - xp.asarray(boxes.half)
    gap = norm(xp.maximum(outside, 0.0), 1e-9) + xp.minimum(xp.max(outside, axis=-1), 0.0)
    gap = gap.reshape(*center.shape[:2], n) - (sweep.radius[:, spheres, None] + distance)
    return gap.reshape(steps, -1)


@dataclass(frozen=True)
class Clearance:
    """Distance to furniture minus the distance asked for, (H+1, S' * B) [m]. Fingers may touch: they grasp."""

    header: Header
    distance: float  # [m]
    boxes: Boxes
    unit = "m"

    def margin(self, sweep: Sweep, robot: RobotModel) -> Array:
        return box_margin(sweep, parts(robot, "base", "arm", "hand"), self.boxes, self.distance)
