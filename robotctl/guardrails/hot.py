"""What is hot stays away from people: the speed limit of separation, for all of what the hand holds."""

from __future__ import annotations

from dataclasses import dataclass

from robotctl.guardrails.guardrail import Array, Header, allowed_speed, distance_to_people, parts
from robotctl.robot import RobotModel
from robotctl.trajectory import Sweep


@dataclass(frozen=True)
class Hot:
    """Allowed minus actual speed of every sphere of the held object, (H+1, n_held) [m/s]."""

    header: Header
    radius: float  # [m] no motion of it at all inside this distance
    slope: float  # [1/s]
    v_max: float  # [m/s]
    unit = "m/s"

    def margin(self, sweep: Sweep, robot: RobotModel) -> Array:
        held = parts(robot, "held", "blade")
        distance = distance_to_people(sweep, held)
        return allowed_speed(distance, self.radius, self.slope, self.v_max) - sweep.speed[:, held]
