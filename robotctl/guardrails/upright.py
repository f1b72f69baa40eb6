"""What can spill stays upright while it is carried."""

from __future__ import annotations

from dataclasses import dataclass

from robotctl.geometry import namespace, norm
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
        cosine = axis[:, 2:3]
        # A rotation by d more changes the cosine by at most d sin(tilt) + d^2 / 2.
        sine = norm(axis[:, :2], 1e-9)[:, None]
        bound = sweep.rotation_bound
        return cosine - bound * sine - 0.5 * bound * bound - self.cos_max_tilt
