"""A ceiling on how fast any part of the robot moves."""

from __future__ import annotations

from dataclasses import dataclass

from robotctl.guardrails.guardrail import Array, Header
from robotctl.robot import RobotModel
from robotctl.trajectory import Sweep


@dataclass(frozen=True)
class Speed:
    """Speed limit minus speed of every sphere, (H+1, S) [m/s]."""

    header: Header
    v_max: float  # [m/s]
    unit = "m/s"

    def margin(self, sweep: Sweep, robot: RobotModel) -> Array:
        return self.v_max - sweep.speed
