"""The robot's side of an episode, put together: estimator, world model, planner, filter and mission.

Nothing here knows the simulator: observations come in, certified actions go out.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from robotctl.guardrails.load import GuardrailSet
from robotctl.perception import Estimator
from robotctl.planning import registry
from robotctl.planning.planner import Setting
from robotctl.planning.postures import PostureSearch
from robotctl.planning.replanning import Proposal, Replanner
from robotctl.robot import RobotModel
from robotctl.safety.safety_filter import SafetyFilter
from robotctl.safety.verdict import Verdict
from robotctl.scene import Scene
from robotctl.skills.context import SkillContext
from robotctl.skills.skill import Phase
from robotctl.state import Observation, State
from robotctl.task import Task
from robotctl.task_planning.appraisal import Appraisal
from robotctl.task_planning.goals import arrangement, ground
from robotctl.task_planning.mission import Mission
from robotctl.world_model.composite import LearnedWorldModel

STILL = 1e-3  # reference joint speed below which the robot stands [m/s, rad/s]
LOOK = 0.4  # the robot looks this long before it counts what is there: single readings may be missing [s]
WATCHFUL = 1.5  # a robot standing with a person this near is waiting, not stuck [m]


class Errand(Protocol):
    """What gives the controller its phases: a task's mission, or an exercise in play."""

    ended: str | None
    reason: str

    @property
    def skill(self) -> str: ...

    @property
    def appraisal(self) -> Appraisal | None: ...

    def phase(self, state: State, waiting: bool) -> Phase | None: ...


@dataclass(frozen=True)
class Cycle:
    """What one control cycle believed, proposed and decided."""

    observation: Observation
    state: State
    phase: Phase | None
    proposal: Proposal
    verdict: Verdict
    plan_ms: float
    filter_ms: float


class Controller:
    """Perceive, predict, plan, filter: one call of `act` per control tick."""

    def __init__(
        self,
        scene: Scene,
        guardrails: GuardrailSet,
        model: LearnedWorldModel,
        seed: int,
        arm: str = "full",
        planner: str = registry.DEFAULT,
    ) -> None:
        boxes = scene.boxes()
        planned = guardrails.guardrails if arm in ("full", "planner-only") else ()
        self.scene = scene
        self.estimator = Estimator(scene)
        setting = Setting(planned, model, guardrails.assumptions, boxes, seed)
        self.replanner = Replanner(registry.make(planner, setting))
        postures = PostureSearch(boxes, np.random.default_rng([seed, 20]))
        generator = np.random.default_rng([seed, 21])
        self.context = SkillContext(scene, boxes, postures, model, model.contact, generator, model.late)
        self.filter = SafetyFilter(guardrails, scene.kinds) if arm in ("full", "filter-only") else None
        self.mission: Errand | None = None
        self.first_appraisal: Appraisal | None = None  # what was foreseen before anything was done
        self._task: Task | None = None
        self._waiting = False

    def warm_up(self) -> None:
        """Compiles or loads what the first plan needs, so that the episode's clock does not pay for it."""
        self.replanner.warm_up()

    def begin(self, task: Task) -> None:
        """Takes on a task; its goals are grounded once the scene has been looked at."""
        self._task, self.mission = task, None

    def act(self, observation: Observation, brake: bool = False) -> Cycle:
        """The certified action for the coming tick. brake: come to rest, whatever the mission wants."""
        state = self.estimator.update(observation)
        if self.mission is None and self._task is not None and state.time >= LOOK:
            labels = {item.name: item.labels for item in state.objects}
            self.mission = Mission(ground(self._task, arrangement(state), labels), self.context)
        phase = self.mission.phase(state, self._waiting) if self.mission and not brake else None
        if self.first_appraisal is None and self.mission is not None:
            self.first_appraisal = self.mission.appraisal
        skill = self.mission.skill if self.mission else "none"
        robot = self.context.robot(state)

        started = time.perf_counter()
        proposal = self._propose(state, phase, robot, skill)
        planned = time.perf_counter()
        verdict = self._certify(state, proposal, skill)
        done = time.perf_counter()

        standing = bool(np.all(np.abs(state.robot.dq_ref) < STILL))
        self._waiting = verdict.intervened or (standing and nearest_person(state, robot) < WATCHFUL)
        return Cycle(observation, state, phase, proposal, verdict, 1e3 * (planned - started), 1e3 * (done - planned))

    def _propose(self, state: State, phase: Phase | None, robot: RobotModel, skill: str) -> Proposal:
        opening = phase.opening if phase else state.robot.opening
        if phase is None and state.robot.held is not None:
            opening = 0.0  # keep the grip while waiting
        obstacles = self.context.obstacles(state, phase.ignore if phase else frozenset())
        return self.replanner.propose(state, phase.goal if phase else None, opening, robot, skill, obstacles)

    def _certify(self, state: State, proposal: Proposal, skill: str) -> Verdict:
        if self.filter is not None:
            return self.filter.certify(state, proposal.action, skill)
        action = proposal.action
        if action is None or not np.isfinite(action).all():  # drives refuse what is no number
            action = np.append(np.zeros(len(state.robot.dq_ref)), state.robot.opening)
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
