"""Answers a skill's question for postures with inverse kinematics in one scene's furniture."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from robotctl.objectives.hand_path import HandPath, Posture
from robotctl.planning.inverse_kinematics import solve
from robotctl.planning.tables import boxes_of
from robotctl.robot import RobotModel
from robotctl.scene import Box

TRIES = 384  # starts in all
TRIES_EACH = 24  # and at least so many for every path


class PostureSearch:
    """Fulfils `skills.context.Postures`."""

    def __init__(self, boxes: Sequence[Box], generator: np.random.Generator) -> None:
        self._boxes = boxes_of(boxes)
        self._generator = generator

    def find(self, paths: Sequence[HandPath], q: np.ndarray, robot: RobotModel, obstacles: np.ndarray) -> list[Posture]:
        """The cheapest posture of every reachable path from joints q (10,), best first."""
        tries = max(TRIES, TRIES_EACH * len(paths))
        best: dict[int, Posture] = {}
        for posture in solve(robot, self._boxes, paths, q, self._generator, obstacles, tries):
            best.setdefault(posture.index, posture)
        return list(best.values())
