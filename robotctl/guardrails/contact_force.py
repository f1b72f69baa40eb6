"""The robot gives way when it presses on something. Reactive: it answers to a force that is felt already, and so it is
never called guaranteed. What keeps the robot off people and furniture are the guardrails on motion and places.
"""

from __future__ import annotations

from dataclasses import dataclass

from robotctl.geometry import namespace
from robotctl.guardrails.guardrail import Array, Header
from robotctl.robot import DQ_MAX, RobotModel
from robotctl.trajectory import Sweep

CREEP = 0.05  # [m/s] no faster than this the robot may get away from what it presses on


@dataclass(frozen=True)
class ContactForce:
    """`brake_at` minus the force felt now, (H+1, S or 1) [N]; at least 0 where the robot stands or slowly gives way.

    It gives way where its reference goes back to where the joints are held: what presses is the difference of both.
    """

    header: Header
    limit: float  # [N] the judge's: no more than this
    brake_at: float  # [N] the robot brakes from here on
    unit = "N"

    def margin(self, sweep: Sweep, robot: RobotModel) -> Array:
        xp = namespace(sweep.center)
        if sweep.force <= self.brake_at:  # however fast it moves
            return xp.full((sweep.center.shape[0], 1), self.brake_at - sweep.force)
        slack = self.brake_at - sweep.force + 0.0 * sweep.speed
        onward = (sweep.trajectory.dq / DQ_MAX) @ xp.asarray(sweep.strain / DQ_MAX)
        giving = (sweep.speed - sweep.trajectory.speed_bound[:, None] <= CREEP) & (onward <= 0.0)[:, None]
        return xp.where(giving & ~xp.isnan(slack), xp.maximum(slack, 0.0), slack)
