"""What can spill stays upright while it is carried."""

from __future__ import annotations

from dataclasses import dataclass

from robotctl.geometry import namespace
from robotctl.guardrails.guardrail import Array, Header
from robotctl.robot import RobotModel
from robotctl.trajectory import Sweep


@dataclass(frozen=True)
class Upright:
    """cos(tilt of the held object's z axis) - cos(max tilt), (H+1, 1) [1]."""

    header: Header
    cos_max_tilt: float
    unit = "1"

    def margin(self, sweep: Sweep, robot: RobotModel) -> Array:
        xp = namespace(sweep.center)
        if robot.held is None:
            return xp.zeros((sweep.center.shape[0], 0))
        axis = sweep.hand_rotation @ xp.asarray(robot.held.T_hand_object[:3, 2])
        return axis[:, 2:3] - self.cos_max_tilt
