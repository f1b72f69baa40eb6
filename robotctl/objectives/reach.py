"""What a skill's present phase wants of the robot: the hand at a pose, the joints near a posture."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class ReachGoal:
    """Where the tool centre point should be. None leaves a part free.

    `q` is a posture guide (from inverse kinematics): it leads far from the goal and fades near it, where the
    pose decides. Without any part the robot is asked to come to rest.
    """

    position: np.ndarray | None = None  # (3,) TCP in the world [m]
    rotation: np.ndarray | None = None  # (3, 3) world from hand
    q: np.ndarray | None = None  # (10,) [m, rad]
    along: np.ndarray | None = None  # (3,) unit vector, world: the hand should come to its goal on this line
    speed_scale: float = 1.0  # share of the joint speed limits that may be used
