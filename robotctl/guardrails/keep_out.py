"""A region no part of the robot, nor anything it holds, may enter."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from robotctl.guardrails.clearance import Boxes, box_margin
from robotctl.guardrails.guardrail import Array, Header
from robotctl.robot import RobotModel
from robotctl.trajectory import Sweep


@dataclass(frozen=True)
class KeepOut:
    """Distance of every sphere to the region, (H+1, S * B) [m]."""

    header: Header
    boxes: Boxes
    unit = "m"

    def margin(self, sweep: Sweep, robot: RobotModel) -> Array:
        return box_margin(sweep, np.arange(len(robot.spheres)), self.boxes, 0.0)
