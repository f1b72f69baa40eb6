"""A trajectory of joints and people over time, and what it sweeps through space."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from robotctl.state import TICK

Array = Any  # numpy.ndarray or jax.Array


@dataclass(frozen=True)
class Trajectory:
    """A predicted motion of the robot and of the people around it, sampled at `times`.

    `states` is where the joints really go (commands plus the model's actuator residual); bounds say how
    wrong that may be. A world model fills them with calibrated errors, the safety filter with worst cases.
    """

    times: Array  # (H+1,) seconds from now
    states: Array  # (H+1, 20) joint positions then velocities [m, rad, m/s, rad/s]
    actions: np.ndarray  # (H, 11) velocity command at the end of each interval and finger opening
    keypoints: Array  # (H+1, P, J, 3) predicted keypoints of the people [m]
    keypoint_bound: Array  # (H+1, P, J) radius that holds the true keypoint [m]
    position_bound: Array  # (H+1,) radius that holds every true point of the robot [m]
    speed_bound: Array  # (H+1,) what any true point may be faster than predicted [m/s]
    acceleration: Array  # (H+1, 10) joint acceleration commanded at the sample [m/s^2, rad/s^2]

    @property
    def q(self) -> Array:
        return self.states[:, : self.states.shape[1] // 2]

    @property
    def dq(self) -> Array:
        return self.states[:, self.states.shape[1] // 2 :]


@dataclass(frozen=True)
class Sweep:
    """What a trajectory sweeps: every robot sphere and every human capsule at every sample.

    S spheres (see RobotModel.spheres), C human capsules over all people. Radii already hold the bounds:
    two things whose swept volumes are apart here are apart in the world while the bounds hold.
    """

    trajectory: Trajectory
    center: Array  # (H+1, S, 3) sphere centres [m]
    radius: Array  # (H+1, S) sphere radius + position bound [m]
    speed: Array  # (H+1, S) fastest point of the sphere: |v| + |omega| r + speed bound [m/s]
    hand_rotation: Array  # (H+1, 3, 3) world from hand
    capsule_a: Array  # (H+1, C, 3) [m]
    capsule_b: Array  # (H+1, C, 3) [m]
    capsule_radius: Array  # (H+1, C) body radius + keypoint bound [m]
    rotation_bound: Array | float = 0.0  # (H+1, 1) angle the hand's true rotation may be off [rad]
    human_distance: Array | None = None  # (H+1, S) surface distance to the nearest capsule, where already known [m]
    force: float = 0.0  # that the robot feels itself press with now [N]
    strain: np.ndarray = field(default_factory=lambda: np.zeros(10))  # (10,) reference minus measured joints [m, rad]
    thing_names: tuple[str, ...] = ()  # of the B spheres that cover things which stand around
    thing_center: np.ndarray = field(default_factory=lambda: np.zeros((0, 3)))  # (B, 3) [m]
    thing_radius: np.ndarray = field(default_factory=lambda: np.zeros(0))  # (B,) [m], error of their poses included


def along_tick(q_ref: np.ndarray, dq_ref: np.ndarray, velocity: np.ndarray, since: np.ndarray) -> np.ndarray:
    """Joint reference (K, 10) at times `since` (K,) [s] into a tick from q_ref, dq_ref that ends with `velocity`.

    Exact: the reference is a double integrator, its acceleration constant over the tick.
    """
    acceleration = (velocity - dq_ref) / TICK
    s = since[:, None]
    return q_ref + s * (dq_ref + 0.5 * s * acceleration)
