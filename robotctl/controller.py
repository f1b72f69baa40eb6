"""The robot's side of an episode, put together: estimator, deliberation and safety filter.

Nothing here knows the simulator: observations come in, certified actions go out. What deliberates may live in another
process (robotctl.isolation); estimator and filter are here, and decide alone what is executed.
"""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass

import numpy as np

from robotctl.deliberation import Deliberator, Thought
from robotctl.guardrails.load import GuardrailSet
from robotctl.perception import Estimator
from robotctl.robot import RobotModel
from robotctl.safety.safety_filter import SafetyFilter
from robotctl.safety.verdict import Verdict
from robotctl.scene import Scene
from robotctl.skills.context import robot_holding
from robotctl.state import N_JOINTS, Observation, State

STILL = 1e-3  # reference joint speed below which the robot stands [m/s, rad/s]
WATCHFUL = 1.5  # a robot standing with a person this near is waiting, not stuck [m]

FILTERED = ("full", "filter-only")  # arms in which the safety filter has the last word


@dataclass(frozen=True)
class Cycle:
    """What one control cycle believed, proposed and decided."""

    observation: Observation
    state: State
    thought: Thought
    verdict: Verdict
    distance_to_people: float  # [m], see nearest_person
    filter_ms: float


class Controller:
    """Perceive, deliberate, filter: one call of `act` per control tick."""

    def __init__(self, scene: Scene, guardrails: GuardrailSet, mind: Deliberator, arm: str = "full") -> None:
        self._scene = scene
        self._estimator = Estimator(scene)
        self._mind = mind
        self._filter = SafetyFilter(guardrails, scene.kinds) if arm in FILTERED else None
        self._waiting = False

    def act(self, observation: Observation, brake: bool = False) -> Cycle:
        """The certified action for the coming tick. brake: come to rest, whatever the mission wants."""
        state = self._estimator.update(observation)
        thought = self._mind.think(state, self._waiting, brake)
        started = time.perf_counter()
        verdict = self._certify(state, thought)
        filter_ms = 1e3 * (time.perf_counter() - started)
        distance = nearest_person(state, robot_holding(self._scene.kinds, state.robot.held))
        standing = bool(np.all(np.abs(state.robot.dq_ref) < STILL))
        self._waiting = verdict.intervened or (standing and distance < WATCHFUL)
        return Cycle(observation, state, thought, verdict, distance, filter_ms)

    def _certify(self, state: State, thought: Thought) -> Verdict:
        if self._filter is not None:
            return self._filter.certify(state, thought.action, thought.skill)
        action = np.append(np.zeros(N_JOINTS), state.robot.opening)
        with suppress(TypeError, ValueError):  # without a filter, drives stop at what is no command
            given = np.asarray(thought.action, float)
            if given.shape == action.shape and np.isfinite(given).all():
                action = given
        return Verdict.unfiltered(action)


def nearest_person(state: State, robot: RobotModel) -> float:
    """Distance from the nearest believed keypoint to the nearest sphere of the robot [m]; inf without people."""
    if not state.people:
        return float("inf")
    rotation, origin = robot.forward(state.robot.q)
    frame = robot.spheres.frame
    centers = origin[frame] + np.einsum("sij,sj->si", rotation[frame], robot.spheres.offset)
    points = np.concatenate([person.keypoints for person in state.people])
    gaps = np.linalg.norm(centers[:, None] - points[None], axis=-1) - robot.spheres.radius[:, None]
    return float(gaps.min())
