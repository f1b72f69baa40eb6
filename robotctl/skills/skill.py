"""A skill as a story of phases: each phase is an objective for the trajectory optimizer and a finger opening.

A skill is a generator: it yields the phase it wants, is sent the state once that phase is reached (or given up),
and returns its outcome. It commands no motion itself: how to reach a phase's goal is planned at run time.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field

import numpy as np

from robotctl.objectives.reach import ReachGoal
from robotctl.robot import tcp_pose
from robotctl.state import State


@dataclass(frozen=True)
class Phase:
    """One stretch of a skill: where the hand should be and how far the fingers should be open."""

    name: str
    goal: ReachGoal | None  # None: hold still
    opening: float  # commanded finger opening [m]
    position_tolerance: float = 0.006  # [m]
    angle_tolerance: float = 0.05  # [rad]
    hold: float = 0.0  # how long to stay once reached [s]
    patience: float = 15.0  # moving time after which the phase is given up [s]
    passing: bool = False  # reached as soon as within tolerance, moving or not
    frees: bool = False  # leaves a contact: pushing against something at first is no reason to give up
    ignore: frozenset[str] = frozenset()  # objects the hand may come close to

    def error(self, q: np.ndarray) -> tuple[float, float]:
        """Distance [m] and angle [rad] between the hand at joints q (10,) and the goal; 0 where it has none."""
        if self.goal is None:
            return 0.0, 0.0
        position, rotation = tcp_pose(q)
        distance = 0.0 if self.goal.position is None else float(np.linalg.norm(position - self.goal.position))
        if self.goal.rotation is None:
            return distance, 0.0
        cosine = (np.trace(self.goal.rotation.T @ rotation) - 1.0) / 2.0
        return distance, float(np.arccos(np.clip(cosine, -1.0, 1.0)))


@dataclass(frozen=True)
class Reached:
    """What the skill is told when a phase ends."""

    state: State
    ok: bool  # False: the phase was given up
    distance: float = 0.0  # of the hand from the goal [m]
    angle: float = 0.0  # [rad]

    def short(self) -> str:
        """How far the phase is from its goal, in words."""
        return f"{1000 * self.distance:.0f} mm and {np.rad2deg(self.angle):.0f} deg short"


@dataclass(frozen=True)
class Outcome:
    """How a skill ended."""

    success: bool
    reason: str
    tried: bool = True  # False: no posture was found, nothing was done
    features: dict[str, float] = field(default_factory=dict)  # what the outcome model is asked and taught with


Story = Generator[Phase, Reached, Outcome]
