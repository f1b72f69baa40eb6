"""What a skill may ask of the rest of the house: geometry of the scene, postures, predicted success."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from robotctl.geometry import matrix_from_quaternion, rotation_z
from robotctl.guardrails.placement import Placement
from robotctl.objectives.hand_path import HandPath, Posture
from robotctl.robot import RobotModel
from robotctl.scene import Box, ObjectKind, Scene
from robotctl.skills.pushing import Contact
from robotctl.state import Held, ObjectState, State


class Postures(Protocol):
    """Finds collision-free whole-body postures."""

    def find(self, paths: Sequence[HandPath], q: np.ndarray, robot: RobotModel, obstacles: np.ndarray) -> list[Posture]:
        """Postures for the reachable paths from joints q (10,), best first; empty if none is reachable.

        obstacles (n, 4): spheres x y z r to stay clear of.
        """
        ...

    def give_up(self, q: np.ndarray) -> None:
        """Joints q (10,), the first of a posture, were not reached: what is like it is to be found last."""
        ...


class Outcomes(Protocol):
    """Predicts how likely a skill is to succeed."""

    def success_probability(self, skill: str, kind: str, features: dict[str, float]) -> float: ...

    def duration(self, skill: str, kind: str) -> float: ...


def robot_holding(kinds: Mapping[str, ObjectKind], held: Held | None) -> RobotModel:
    """The robot with `held` in its hand, if anything."""
    if held is None:
        return RobotModel()
    kind = kinds[held.kind]
    return RobotModel().holding(held, kind.spheres[:, :3], kind.spheres[:, 3], kind.blade, kind.slip)


class Leaving:
    """Where the rules let things be left; answers are remembered, as a search asks them often."""

    def __init__(self, rules: Sequence[Placement], kinds: Mapping[str, ObjectKind], error: float) -> None:
        """error [m]: how far from where it is meant to be a thing may come to lie."""
        self._rules, self._kinds, self._error = tuple(rules), kinds, error
        self._known: dict[tuple[str, frozenset[str], bytes, float], bool] = {}

    def allows(self, item: ObjectState, position: np.ndarray, yaw: float) -> bool:
        """Whether `item` may stand at `position` (3,), turned by `yaw`."""
        rules = [rule for rule in self._rules if rule.header.scope.held & item.labels]
        if not rules:
            return True
        key = item.kind, item.labels, np.round(position, 3).tobytes(), round(yaw, 2)
        if key not in self._known:
            spheres = self._kinds[item.kind].spheres
            center = position + spheres[:, :3] @ rotation_z(yaw).T
            margins = [rule.release_margin(center, spheres[:, 3] + self._error) for rule in rules]
            self._known[key] = all(margin >= 0 for margin in margins)
        return self._known[key]


NOWHERE_BARRED = Leaving((), {}, 0.0)


@dataclass(frozen=True)
class SkillContext:
    """Everything a skill needs besides the state."""

    scene: Scene
    boxes: tuple[Box, ...]
    postures: Postures
    outcomes: Outcomes
    contact: Contact  # predicts pushed objects
    generator: np.random.Generator  # for searching among pushes
    late: float = 0.025  # how far the hand trails its reference [s]
    leaving: Leaving = NOWHERE_BARRED

    def kind(self, state: State, name: str) -> ObjectKind:
        return self.scene.kinds[state.object(name).kind]

    def robot(self, state: State) -> RobotModel:
        """The robot as it is now, with what it holds."""
        return robot_holding(self.scene.kinds, state.robot.held)

    def obstacles(self, state: State, ignore: frozenset[str]) -> np.ndarray:
        """Covering spheres (n, 4) x y z r [m] of the believed objects that are neither held nor ignored."""
        held = state.robot.held
        rows = [np.zeros((0, 4))]
        for item in state.objects:
            if item.name in ignore or (held is not None and item.name == held.name):
                continue
            spheres = self.scene.kinds[item.kind].spheres
            centers = item.position + spheres[:, :3] @ matrix_from_quaternion(item.quaternion).T
            rows.append(np.column_stack([centers, spheres[:, 3]]))
        return np.concatenate(rows)

    def find_postures(self, paths: Sequence[HandPath], state: State, ignore: frozenset[str]) -> list[Posture]:
        """Postures for the reachable paths, best first."""
        robot, obstacles = self.robot(state), self.obstacles(state, ignore)
        return self.postures.find(paths, state.robot.q_ref, robot, obstacles)
