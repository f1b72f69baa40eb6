"""Nothing sharp is picked up while a person is near. A rule on the moment in which the fingers close."""

from __future__ import annotations

from dataclasses import dataclass

from robotctl.geometry import namespace
from robotctl.guardrails.guardrail import Array, Header
from robotctl.robot import RobotModel
from robotctl.trajectory import Sweep


@dataclass(frozen=True)
class Grasp:
    """Distance of people to the hand when it takes hold of something in scope, minus `radius` [m].

    The scope's `held` names what is about to be held. Motions do not concern it: `margin` has no columns.
    """

    header: Header
    radius: float  # [m]
    unit = "m"

    def margin(self, sweep: Sweep, robot: RobotModel) -> Array:
        return namespace(sweep.center).zeros((sweep.center.shape[0], 0))
