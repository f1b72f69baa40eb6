"""The robot does not touch furniture: base, arm and palm stay a distance away from every box of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from robotctl.geometry import namespace, point_box_distance
from robotctl.guardrails.guardrail import Array, Header, parts
from robotctl.robot import RobotModel
from robotctl.trajectory import Sweep


@dataclass(frozen=True)
class Boxes:
    """Solid boxes of the scene, in the world frame."""

    center: np.ndarray  # (B, 3) [m]
    rotation: np.ndarray  # (B, 3, 3) world from box
    half: np.ndarray  # (B, 3) half extents [m]


def box_margin(sweep: Sweep, spheres: np.ndarray, boxes: Boxes, distance: float) -> Array:
    """Sphere surface to box surface minus `distance`, (H+1, S' * B) [m]."""
    xp = namespace(sweep.center)
    gap = point_box_distance(
        sweep.center[:, spheres, None], xp.asarray(boxes.center), xp.asarray(boxes.rotation), xp.asarray(boxes.half)
    )
    gap = gap - sweep.radius[:, spheres, None] - distance
    return gap.reshape(gap.shape[0], -1)


@dataclass(frozen=True)
class Clearance:
    """Distance to furniture minus the distance asked for, (H+1, S' * B) [m]. Fingers may touch: they grasp."""

    header: Header
    distance: float  # [m]
    boxes: Boxes
    unit = "m"

    def margin(self, sweep: Sweep, robot: RobotModel) -> Array:
        return box_margin(sweep, parts(robot, "base", "arm", "hand"), self.boxes, self.distance)
