"""Do nothing else: things that the objective does not speak of stay where they are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from robotctl.geometry import namespace, norm
from robotctl.guardrails.guardrail import Array, Header, parts
from robotctl.robot import RobotModel
from robotctl.trajectory import Sweep


@dataclass(frozen=True)
class Undisturbed:
    """Distance of wrist, palm and what is held to the spheres of the things to be left alone, (H+1, S' * B) [m].

    Fingers may come near: they take things from among others. The planner keeps them off, too; what they touch all
    the same and move by more than `tolerance` is the judge's to see.
    """

    header: Header
    tolerance: float  # [m] how far such a thing may have moved from where it was
    items: frozenset[str]  # the things that stay
    unit = "m"

    def margin(self, sweep: Sweep, robot: RobotModel) -> Array:
        xp = namespace(sweep.center)
        if not sweep.thing_names:
            return xp.zeros((sweep.center.shape[0], 0))
        concerned = np.intersect1d(parts(robot, "arm", "hand", "held", "blade"), outer(robot))
        chosen = np.array([i for i, name in enumerate(sweep.thing_names) if name in self.items], dtype=int)
        center, radius = sweep.thing_center[chosen], sweep.thing_radius[chosen]
        gap = norm(sweep.center[:, concerned, None] - xp.asarray(center), 1e-9) - xp.asarray(radius)
        return (gap - sweep.radius[:, concerned, None]).reshape(gap.shape[0], -1)


def outer(robot: RobotModel) -> np.ndarray:
    """Indices of the robot's spheres beyond the elbow."""
    return np.flatnonzero(robot.spheres.frame >= 5)
