"""Speed and separation monitoring: the nearer a person, the slower every part of the robot."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from robotctl.guardrails.guardrail import Array, Header, allowed_speed, distance_to_people
from robotctl.robot import RobotModel
from robotctl.trajectory import Sweep


@dataclass(frozen=True)
class Separation:
    """Allowed minus actual speed of every sphere, (H+1, S) [m/s]; cf. ISO/TS 15066:2016 5.5.4."""

    header: Header
    radius: float  # [m] no motion at all inside it
    slope: float  # [1/s]
    v_max: float  # [m/s]
    unit = "m/s"

    def margin(self, sweep: Sweep, robot: RobotModel) -> Array:
        distance = distance_to_people(sweep, np.arange(len(robot.spheres)))
        return allowed_speed(distance, self.radius, self.slope, self.v_max) - sweep.speed
