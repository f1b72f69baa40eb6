"""What a skill may ask of the rest of the house: geometry of the scene, postures, predicted success."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from robotctl.robot import RobotModel
from robotctl.scene import Box, ObjectKind, Scene
from robotctl.state import State


@dataclass(frozen=True)
class HandPath:
    """TCP poses that one base placement must reach in turn: before and at a grasp, above and at a place."""

    positions: tuple[np.ndarray, ...]  # each (3,) [m]
    rotation: np.ndarray  # (3, 3) world from hand


@dataclass(frozen=True)
class Posture:
    """Joints that reach a HandPath."""

    index: int  # which of the offered paths
    q: tuple[np.ndarray, ...]  # one (10,) for each position of the path
    cost: float  # travel from the present joints, about seconds


class Postures(Protocol):
    """Finds collision-free whole-body postures."""

    def find(
        self, paths: Sequence[HandPath], state: State, robot: RobotModel, ignore: frozenset[str]
    ) -> list[Posture]:
        """Postures for the reachable paths, best first; empty if none is reachable."""
        ...


class Outcomes(Protocol):
    """Predicts how likely a skill is to succeed."""

    def success_probability(self, skill: str, kind: str, features: dict[str, float]) -> float: ...

    def duration(self, skill: str, kind: str) -> float: ...


@dataclass(frozen=True)
class SkillContext:
    """Everything a skill needs besides the state."""

    scene: Scene
    boxes: tuple[Box, ...]
    postures: Postures
    outcomes: Outcomes

    def kind(self, state: State, name: str) -> ObjectKind:
        return self.scene.kinds[state.object(name).kind]

    def robot(self, state: State) -> RobotModel:
        """The robot as it is now, with what it holds."""
        held = state.robot.held
        if held is None:
            return RobotModel()
        kind = self.scene.kinds[held.kind]
        return RobotModel().holding(held, kind.spheres[:, :3], kind.spheres[:, 3], kind.blade)
