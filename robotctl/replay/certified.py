"""This file draws what the safety filter verified in a tick: everywhere the hand may be until the robot stands."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from robotctl.controller import FILTERED
from robotctl.episode.bundle import Unbundled
from robotctl.episode.reader import EpisodeLog
from robotctl.guardrails.guardrail import Assumptions
from robotctl.guardrails.joint_limits import JointLimits
from robotctl.guardrails.load import load_guardrails
from robotctl.robot import BRAKE, HAND
from robotctl.safety.brake import brake_velocities
from robotctl.safety.safety_filter import LIMIT_SHARE
from robotctl.safety.tube import levers, worst_case
from robotctl.scene import Scene
from robotctl.skills.context import robot_holding
from robotctl.state import N_JOINTS, RobotState

EVERY = 2  # of its samples, 25 ms apart, one in so many is drawn


@dataclass(frozen=True)
class Moment:
    """What a tick's tube is made of."""

    time: float  # [s]
    robot: RobotState
    action: np.ndarray  # (11,) what the filter let through


class Certified:
    """Tubes of one episode, with the assumptions and limits that were in force."""

    def __init__(self, log: EpisodeLog, scene: Scene, files: Unbundled) -> None:
        rules = load_guardrails(files.guardrails, scene, files.relaxed)
        shares = [rule.fraction for rule in rules.guardrails if isinstance(rule, JointLimits)]
        self._filtered = log.metadata.get("arm", "full") in FILTERED
        self._limit = BRAKE * LIMIT_SHARE * min(shares, default=1.0)
        self._assumptions: Assumptions = rules.assumptions
        self._kinds = scene.kinds

    def tube(self, moment: Moment) -> np.ndarray:
        """Spheres x y z r (n, 4) [m] that hold hand and load from now until the robot stands; (0, 4) if it stands."""
        velocity = moment.action[:N_JOINTS]
        if not self._filtered or not (velocity.any() or moment.robot.dq_ref.any()):
            return np.zeros((0, 4))
        robot = robot_holding(self._kinds, moment.robot.held)
        path = np.concatenate([velocity[None], brake_velocities(velocity, self._limit)])
        lever = levers(robot, self._assumptions.object_error)
        sweep = worst_case(robot, lever, moment.robot, [path], (), moment.time, self._assumptions, 0.0).sweep
        shown = robot.spheres.frame == HAND
        center, radius = sweep.center[::EVERY, shown], sweep.radius[::EVERY, shown]
        return np.concatenate([center, radius[..., None]], axis=2).reshape(-1, 4)
