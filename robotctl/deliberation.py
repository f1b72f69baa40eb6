"""Everything that proposes: mission, skills and trajectory planner, asked once per control tick for one thought.

Nothing here is trusted. A thought is plain numbers and words, so that it can come from another process
(robotctl.isolation), where whatever happens to it cannot stop the safety filter.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np

from robotctl.episode.step import Foreseen, PlanSummary
from robotctl.guardrails.load import GuardrailSet
from robotctl.guardrails.placement import Placement
from robotctl.planning import registry
from robotctl.planning.planner import Setting
from robotctl.planning.postures import PostureSearch
from robotctl.planning.replanning import Proposal, Replanner
from robotctl.robot import RobotModel, tcp_pose
from robotctl.scene import Scene
from robotctl.skills.context import Leaving, SkillContext
from robotctl.skills.skill import Phase
from robotctl.state import State
from robotctl.task import Task
from robotctl.task_planning.appraisal import Appraisal
from robotctl.task_planning.goals import arrangement, ground
from robotctl.task_planning.mission import Attempt, Mission
from robotctl.world_model.composite import LearnedWorldModel

LEFT_OFF = 0.008  # a thing is let go of this far from where it should be [m]
LOOK = 0.4  # the robot looks this long before it counts what is there: single readings may be missing [s]


class Errand(Protocol):
    """What gives the deliberator its phases: a task's mission, or an exercise in play."""

    ended: str | None
    reason: str

    @property
    def skill(self) -> str: ...

    @property
    def appraisal(self) -> Appraisal | None: ...

    def phase(self, state: State, waiting: bool) -> Phase | None: ...


@dataclass(frozen=True)
class Thought:
    """What the robot would like to do in one tick, and why."""

    action: Any = None  # (11,) joint velocities at the tick's end and finger opening; unchecked; None: no usable plan
    plan: PlanSummary | None = None
    skill: str = "none"  # for guardrails that are scoped to one
    doing: str = "looking"  # for people to read
    appraisal: tuple[str, float] | None = None  # word and success probability of the present plan
    progress: tuple[int, int] = (0, 0)  # conditions met in the belief, conditions in all
    news: str = ""  # worth a line in the timeline
    ended: str = ""  # done, refused, given up: nothing more is wanted
    reason: str = ""  # of the end
    attempts: tuple[dict[str, Any], ...] = ()  # skills that ended since the last thought
    plan_ms: float = 0.0
    failure: str = ""  # why there is no thought (robotctl.isolation)


class Deliberator(Protocol):
    """Thinks once per tick."""

    def think(self, state: State, waiting: bool, brake: bool = False) -> Thought:
        """What to do in the coming tick.

        waiting: a guardrail or a person nearby keeps the robot still; that is not being stuck.
        brake: come to rest, whatever the mission wants.
        """
        ...


class Deliberation:
    """The robot's own: looks, takes on the task, and plans."""

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
        self.replanner = Replanner(registry.make(planner, Setting(planned, model, guardrails.assumptions, boxes, seed)))
        postures = PostureSearch(boxes, np.random.default_rng([seed, 20]))
        generator = np.random.default_rng([seed, 21])
        error = guardrails.assumptions.tracking_error + guardrails.assumptions.object_error + LEFT_OFF
        leaving = Leaving([rule for rule in planned if isinstance(rule, Placement)], scene.kinds, error)
        self.context = SkillContext(scene, boxes, postures, model, model.contact, generator, model.late, leaving)
        self.errand: Errand | None = None
        self._task: Task | None = None
        self._told = 0  # attempts that earlier thoughts have told of

    def warm_up(self) -> None:
        """Compiles or loads what the first plan needs, so that the episode's clock does not pay for it."""
        self.replanner.warm_up()

    def begin(self, task: Task) -> None:
        """Takes on a task; its goals are grounded once the scene has been looked at."""
        self._task, self.errand, self._told = task, None, 0

    def think(self, state: State, waiting: bool, brake: bool = False) -> Thought:
        """See Deliberator."""
        if self.errand is None and self._task is not None and state.time >= LOOK:
            labels = {item.name: item.labels for item in state.objects}
            self.errand = Mission(ground(self._task, arrangement(state), labels), self.context)
        errand = self.errand
        phase = errand.phase(state, waiting) if errand and not brake else None
        skill = errand.skill if errand else "none"
        started = time.perf_counter()
        proposal = self._propose(state, phase, self.context.robot(state), skill)
        thought = Thought(
            action=proposal.action,
            plan=_summary(proposal),
            skill=skill,
            appraisal=_in_words(errand.appraisal) if errand else None,
            ended=(errand.ended or "") if errand else "",
            reason=errand.reason if errand else "",
            plan_ms=1e3 * (time.perf_counter() - started),
        )
        if not isinstance(errand, Mission):
            return thought
        attempts = tuple(_told(attempt) for attempt in errand.attempts[self._told :])
        self._told = len(errand.attempts)
        return replace(
            thought, doing=errand.now_doing, progress=errand.progress(state), news=errand.news(), attempts=attempts
        )

    def _propose(self, state: State, phase: Phase | None, robot: RobotModel, skill: str) -> Proposal:
        opening = phase.opening if phase else state.robot.opening
        if phase is None and state.robot.held is not None:
            opening = 0.0  # keep the grip while waiting
        obstacles = self.context.obstacles(state, phase.ignore if phase else frozenset())
        return self.replanner.propose(state, phase.goal if phase else None, opening, robot, skill, obstacles)


def _summary(proposal: Proposal) -> PlanSummary | None:
    """What the log keeps of a plan."""
    plan = proposal.plan
    if plan is None:
        return None
    path = np.zeros((0, 3))
    if proposal.fresh and plan.trajectory is not None and np.isfinite(plan.trajectory.states).all():
        path = np.array([tcp_pose(q)[0] for q in plan.trajectory.q[::3]])
    margins = {
        name: Foreseen(float(margin.value), float(margin.bound), float(margin.time), float(margin.soon))
        for name, margin in plan.margins.items()
    }
    cost = {term: float(value) for term, value in plan.cost.items()}
    return PlanSummary(plan.status.name, cost, plan.iterations, proposal.fresh, margins, path)


def _in_words(appraisal: Appraisal | None) -> tuple[str, float] | None:
    return (appraisal.word, float(appraisal.success_probability)) if appraisal else None


def _told(attempt: Attempt) -> dict[str, Any]:
    """A finished skill as the answer of `run --json` has it."""
    return {
        "skill": str(attempt.step),
        "success": bool(attempt.outcome.success),
        "reason": attempt.outcome.reason,
        "predicted": round(float(attempt.step.success_probability), 4),
        "duration_s": round(float(attempt.duration), 2),
    }
