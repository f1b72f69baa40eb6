"""Answers a skill's question for postures with inverse kinematics in one scene's furniture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from robotctl.objectives.hand_path import HandPath, Posture
from robotctl.planning.inverse_kinematics import solve
from robotctl.planning.tables import boxes_of
from robotctl.robot import RobotModel
from robotctl.scene import Box

TRIES = 384  # starts in all
TRIES_EACH = 24  # and at least so many for every path
ALIKE = 0.7  # postures are alike if no joint of the arm differs by more [rad]
LAST_RESORT = 30.0  # what a posture costs more that is like one which was not reached [s]


class PostureSearch:
    """Fulfils `skills.context.Postures`."""

    def __init__(self, boxes: Sequence[Box], generator: np.random.Generator) -> None:
        self._boxes = boxes_of(boxes)
        self._generator = generator
        self._given_up: list[np.ndarray] = []  # arm joints (7,)

    def find(self, paths: Sequence[HandPath], q: np.ndarray, robot: RobotModel, obstacles: np.ndarray) -> list[Posture]:
        """The cheapest posture of every reachable path from joints q (10,), best first."""
        tries = max(TRIES, TRIES_EACH * len(paths))
        best: dict[int, Posture] = {}
        found = [self._weighed(one) for one in solve(robot, self._boxes, paths, q, self._generator, obstacles, tries)]
        for posture in sorted(found, key=lambda one: one.cost):
            best.setdefault(posture.index, posture)
        return list(best.values())

    def give_up(self, q: np.ndarray) -> None:
        """The way to joints q (10,) was not found: postures like it are a last resort from now on."""
        self._given_up.append(q[3:])

    def _weighed(self, posture: Posture) -> Posture:
        arm = posture.q[0][3:]
        alike = any(np.abs(arm - other).max() < ALIKE for other in self._given_up)
        return replace(posture, cost=posture.cost + LAST_RESORT) if alike else posture
