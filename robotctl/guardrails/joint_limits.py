"""Joint positions, speeds and accelerations stay inside what the machine can do."""

from __future__ import annotations

from dataclasses import dataclass

from robotctl.geometry import namespace
from robotctl.guardrails.guardrail import Array, Header
from robotctl.robot import BRAKE, DQ_MAX, Q_MAX, Q_MIN, RobotModel
from robotctl.trajectory import Sweep


@dataclass(frozen=True)
class JointLimits:
    """Slack to the position, speed and acceleration limits, each divided by its range, (H+1, 40) [1]."""

    header: Header
    fraction: float = 1.0  # share of the speed and acceleration limits that may be used
    position_error: float = 0.0  # how far a joint may be from where it is predicted [m, rad]
    unit = "1"

    def margin(self, sweep: Sweep, robot: RobotModel) -> Array:
        xp = namespace(sweep.center)
        trajectory = sweep.trajectory
        q, dq, ddq = trajectory.q, trajectory.dq, trajectory.acceleration
        span = Q_MAX - Q_MIN
        speed = self.fraction - xp.abs(dq) / DQ_MAX
        acceleration = self.fraction - xp.abs(ddq) / BRAKE
        low, high = Q_MIN + self.position_error, Q_MAX - self.position_error
        return xp.concatenate([(q - low) / span, (high - q) / span, speed, acceleration], axis=1)
