"""What the robot's own drives accept of a command, limits of travel, speed and following error.

These are no guardrails: a real drive's electronics refuse what its mechanics cannot follow, and so does the machine
without a shield. Otherwise a policy that jumps between extremes would measure nothing but a reference running away.
"""

from __future__ import annotations

import numpy as np

from robotctl.robot import BRAKE, DQ_MAX, Q_MAX, Q_MIN
from robotctl.state import N_JOINTS, TICK, RobotState

FOLLOWING = 0.1 * DQ_MAX  # a reference this far from its joint waits for it; the usual lag is about half of it [m, rad]


def accepted(action: np.ndarray, robot: RobotState) -> np.ndarray:
    """The action (11,) [m/s, rad/s, m] with joint velocities that the drives follow.

    The velocity changes by at most BRAKE over the tick, stays low enough to stop before the end of the travel, and
    does not lead farther away from a joint that something holds back.
    """
    ahead = robot.q_ref - robot.q
    low = -_towards(robot.q_ref - Q_MIN, -robot.dq_ref) * (ahead > -FOLLOWING)
    high = _towards(Q_MAX - robot.q_ref, robot.dq_ref) * (ahead < FOLLOWING)
    velocity = np.clip(np.clip(action[:N_JOINTS], -DQ_MAX, DQ_MAX), low, high)
    step = BRAKE * TICK
    return np.append(np.clip(velocity, robot.dq_ref - step, robot.dq_ref + step), action[N_JOINTS:])


def _towards(room: np.ndarray, speed: np.ndarray) -> np.ndarray:
    """Largest speed (10,) at the end of the tick from which BRAKE stops within `room`, the present one being `speed`.

    The v >= 0 with TICK (speed + v) / 2 + v^2 / (2 BRAKE) <= room; 0 where there is none.
    """
    left = np.maximum(room - 0.5 * TICK * speed, 0.0)
    # Discrete braking needs up to half a tick more than v^2 / (2 BRAKE): the last step may be a part of one.
    half = 0.5 * TICK * BRAKE
    return np.maximum(np.sqrt(half**2 + 2.0 * BRAKE * left) - 2.0 * half, 0.0)
