"""What every guardrail is: a margin in SI units over a sweep, safe iff every entry is >= 0.

NaN is unsafe: safety is tested as `all(margin >= 0)`, never as `any(margin < 0)`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

import numpy as np

from robotctl.body import PARTS
from robotctl.geometry import namespace, point_segment_distance
from robotctl.robot import RobotModel
from robotctl.state import Held
from robotctl.trajectory import Sweep

Array = Any
HUMAN_RESERVE = 1.1  # people may be this much faster than assumed before anything happens: a safety factor


@dataclass(frozen=True)
class Assumptions:
    """What the safety case takes for granted; declared in the file, logged, monitored in every episode."""

    human_speed: dict[str, float]  # [m/s] by body part class (torso, arm, hand, leg)
    sensing_latency: float  # [s] oldest regular reading of a person
    human_error: float  # [m] radius around a keypoint reading that holds the true keypoint
    object_error: float  # [m] the same for objects
    tracking_error: float  # [m] how far a point of the robot may be from where its reference was
    tracking_speed_error: float  # [m/s] how much faster a point may move than its reference did
    actuation_latency: float  # [s] how far the robot trails its reference

    def keypoint_speed(self) -> np.ndarray:
        """Assumed speed of every body part class, in the order of robotctl.body.PARTS, (4,) [m/s]."""
        return np.array([self.human_speed[part] for part in PARTS])

    def reckoned_speed(self) -> np.ndarray:
        """What filter and planner reckon with: HUMAN_RESERVE times the assumed speeds, (4,) [m/s]."""
        return HUMAN_RESERVE * self.keypoint_speed()


@dataclass(frozen=True)
class Scope:
    """When a guardrail applies: by the labels of what is held and by the running skill; empty means always."""

    held: frozenset[str] = frozenset()
    skill: frozenset[str] = frozenset()

    def applies(self, held: Held | None, skill: str) -> bool:
        return (not self.held or self.concerns(held)) and self.during(skill)

    def concerns(self, held: Held | None) -> bool:
        """Whether something with one of the labels is held."""
        return held is not None and bool(self.held & held.labels)

    def during(self, skill: str) -> bool:
        """Whether it applies while this skill runs."""
        return not self.skill or skill in self.skill


@dataclass(frozen=True)
class Header:
    """What every guardrail declares about itself."""

    id: str
    tier: int  # 0 contact with a person, 1 sharp, hot, heavy, 2 machine and scene, 3 spill, 4 task
    source: str  # standard and clause, or who decided
    scope: Scope = Scope()


class Guardrail(Protocol):
    """One rule. `margin` is pure and works on NumPy and JAX sweeps alike."""

    @property
    def header(self) -> Header: ...

    @property
    def unit(self) -> str: ...

    def margin(self, sweep: Sweep, robot: RobotModel) -> Array:
        """Slack of the rule at every sample, (H+1, m) in `unit`; m may be 0 when nothing is concerned."""
        ...


def in_force(guardrails: Sequence[Guardrail], held: Held | None, skill: str) -> tuple[Guardrail, ...]:
    """The guardrails whose scope applies now."""
    return tuple(g for g in guardrails if g.header.scope.applies(held, skill))


def parts(robot: RobotModel, *names: str) -> np.ndarray:
    """Indices of the robot's spheres that belong to the named parts. Not to be written to."""
    return _indices(robot.spheres.part, names)


@lru_cache(maxsize=256)
def _indices(part: tuple[str, ...], names: tuple[str, ...]) -> np.ndarray:
    return np.array([i for i, name in enumerate(part) if name in names], dtype=int)


def distance_to_people(sweep: Sweep, spheres: np.ndarray) -> Array:
    """Surface distance of each sphere to the nearest human capsule, (H+1, S') [m]; inf without people."""
    if sweep.human_distance is not None:
        return sweep.human_distance[:, spheres]
    xp = namespace(sweep.center)
    center = sweep.center[:, spheres]
    if sweep.capsule_a.shape[1] == 0 or len(spheres) == 0:
        return xp.full(center.shape[:2], np.inf)
    gap = point_segment_distance(center[:, :, None], sweep.capsule_a[:, None], sweep.capsule_b[:, None])
    return xp.min(gap - sweep.capsule_radius[:, None], axis=-1) - sweep.radius[:, spheres]


def allowed_speed(distance: Array, radius: float, slope: float, v_max: float) -> Array:
    """Speed limit that grows with distance beyond `radius`: clip(slope (d - radius), 0, v_max) [m/s].

    It is never negative, so that standing still is always safe, whatever a person does.
    """
    xp = namespace(distance)
    return xp.clip(slope * (distance - radius), 0.0, v_max)
