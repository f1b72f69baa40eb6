"""No blade motion near people: the speed limit of separation, for the spheres of a sharp edge in the hand."""

from __future__ import annotations

from dataclasses import dataclass

from robotctl.guardrails.guardrail import Array, Header, allowed_speed, distance_to_people, parts
from robotctl.robot import RobotModel
from robotctl.trajectory import Sweep


@dataclass(frozen=True)
class BladeSpeed:
    """Allowed minus actual speed of every blade sphere, (H+1, n_blade) [m/s]."""

    header: Header
    radius: float  # [m] no blade motion at all inside it
    slope: float  # [1/s]
    v_max: float  # [m/s]
    unit = "m/s"

    def margin(self, sweep: Sweep, robot: RobotModel) -> Array:
        blade = parts(robot, "blade")
        distance = distance_to_people(sweep, blade)
        return allowed_speed(distance, self.radius, self.slope, self.v_max) - sweep.speed[:, blade]
