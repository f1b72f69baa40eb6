"""The robot gives way when it presses on something. Reactive: it answers to a force that is felt already, and so it is
never called guaranteed. What keeps the robot off people and furniture are the guardrails on motion and places.
"""

from __future__ import annotations

from dataclasses import dataclass

from robotctl.geometry import namespace
from robotctl.guardrails.guardrail import Array, Header
from robotctl.robot import RobotModel
from robotctl.trajectory import Sweep

CREEP = 0.05  # [m/s] slower than this the robot may still move, or it could never get away


@dataclass(frozen=True)
class ContactForce:
    """`brake_at` minus the force felt now, wherever a point moves faster than CREEP, (H+1, S) [N]; else at least 0."""

    header: Header
    limit: float  # [N] the judge's: no more than this
    brake_at: float  # [N] the robot brakes from here on
    unit = "N"

    def margin(self, sweep: Sweep, robot: RobotModel) -> Array:
        xp = namespace(sweep.center)
        slack = self.brake_at - sweep.force + 0.0 * sweep.speed
        slow = sweep.speed - sweep.trajectory.speed_bound[:, None] <= CREEP
        return xp.where(slow & ~xp.isnan(slack), xp.maximum(slack, 0.0), slack)
