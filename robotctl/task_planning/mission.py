"""Carries a task through: plan the skills, run the next one, look again, plan anew, until the goals are met."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace

import numpy as np

from robotctl.skills.context import SkillContext
from robotctl.skills.cut import cut
from robotctl.skills.executive import Executive
from robotctl.skills.pick import pick
from robotctl.skills.place import place
from robotctl.skills.pull import pull
from robotctl.skills.push import push
from robotctl.skills.skill import Outcome, Phase
from robotctl.state import State
from robotctl.task_planning.appraisal import Appraisal, appraise
from robotctl.task_planning.goals import Goal, arrangement
from robotctl.task_planning.search import Experience, SkillStep, TaskPlan, plan_task

ATTEMPTS = 4  # a skill on one object that failed this often is given up
PUSHES = 8  # an object that was pushed this often is not pushed again; nor pulled, that was pulled this often
REST = 0.6  # the world may settle this long before the task counts as done [s]


@dataclass(frozen=True)
class Attempt:
    """A finished skill, for the log and for learning."""

    step: SkillStep
    outcome: Outcome
    duration: float  # [s]


@dataclass
class Mission:
    """The task's progress. `ended` says why it is over: 'done', 'refused' or 'given up'; None while it runs."""

    goals: tuple[Goal, ...]
    context: SkillContext
    plan: TaskPlan | None = None
    appraisal: Appraisal | None = None
    ended: str | None = None
    reason: str = ""
    attempts: list[Attempt] = field(default_factory=list)
    _executive: Executive | None = None
    _step: SkillStep | None = None
    _since: float = 0.0
    _blocked: set[str] = field(default_factory=set)  # objects out of reach until something else has moved
    _not_pulled: frozenset[str] = frozenset()  # objects that no pull was found for, until something else has moved
    _bad_spots: list[tuple[str, np.ndarray]] = field(default_factory=list)
    _failures: Counter[tuple[str, str]] = field(default_factory=Counter)
    _cuts: Counter[str] = field(default_factory=Counter)  # failed cuts of each seam
    _done_since: float | None = None
    _news: list[str] = field(default_factory=list)

    @property
    def skill(self) -> str:
        """Name of the running skill, for guardrail scopes; 'none' between skills."""
        return self._step.skill if self._step else "none"

    @property
    def now_doing(self) -> str:
        return str(self._step) if self._step else "resting"

    def phase(self, state: State, waiting: bool) -> Phase | None:
        """The phase to work on at this tick; None: hold still."""
        if self.ended:
            return None
        if self._executive is not None:
            phase = self._executive.advance(state, waiting)
            if phase is not None:
                return phase
            self._finish(state)
        if self._rested(state):
            return None
        self._choose(state)
        return self._executive.advance(state, waiting) if self._executive else None

    def news(self) -> str:
        """What happened since the last call that is worth a line; usually nothing."""
        lines, self._news = self._news, []
        return "; ".join(lines)

    def progress(self, state: State) -> tuple[int, int]:
        """How many of the task's conditions the believed arrangement meets, and of how many.

        Those on the seams of one food are one condition.
        """
        held = state.robot.held.name if state.robot.held else None
        where = arrangement(state)
        conditions: dict[str, bool] = {}
        for goal in self.goals:
            words = str(replace(goal, seams=()))
            conditions[words] = conditions.get(words, True) and goal.object != held and goal.met(where)
        return sum(conditions.values()), len(conditions)

    def _rested(self, state: State) -> bool:
        """Whether all goals are met; ends the mission once they have stayed met for a while."""
        met, total = self.progress(state)
        if met < total or state.robot.held is not None:
            self._done_since = None
            return False
        if self._done_since is None:
            self._done_since = state.time
        if state.time - self._done_since >= REST:
            self.ended = "done"
        return True

    def _choose(self, state: State) -> None:
        """Plans from here and starts the first skill, unless the foreseen outcome is bad."""
        picks = frozenset(name for (skill, name), n in self._failures.items() if skill == "pick" and n >= ATTEMPTS)
        pushes, pulls = self._worn("push"), self._worn("pull") | self._not_pulled
        cuts = frozenset(str(seam) for seam, n in self._cuts.items() if n >= ATTEMPTS)
        experience = Experience(picks, frozenset(self._blocked), pushes, tuple(self._bad_spots), pulls, cuts)
        self.plan = plan_task(state, self.goals, self.context, experience)
        self.appraisal = appraise(self.plan, ATTEMPTS)
        # An incomplete plan is not begun, but it is carried on with: the rest may come within reach again.
        worthwhile = self.appraisal.acceptable or (not self.plan.complete and bool(self.attempts))
        if not self.plan.steps or not worthwhile:
            self.ended = "given up" if self.attempts else "refused"
            self.reason = self.plan.reason or (
                f"the plan succeeds with a probability of {self.appraisal.success_probability:.2f} only: "
                + ", ".join(
                    f"{s} ({s.success_probability:.2f})" for s in self.plan.steps if s.success_probability < 0.5
                )
            )
            return
        self._step = self.plan.steps[0]
        self._since = state.time
        if self._step.skill == "pick":
            story = pick(self._step.object, state, self.context)
        elif self._step.skill == "push":
            assert self._step.spot is not None
            story = push(self._step.object, self._step.spot, state, self.context)
        elif self._step.skill == "pull":
            assert self._step.spot is not None
            story = pull(self._step.object, self._step.spot, state, self.context)
        elif self._step.skill == "cut":
            assert self._step.seam is not None
            story = cut(self._step.seam, state, self.context)
        else:
            assert self._step.spot is not None
            story = place(self._step.spot, state, self.context)
        self._executive = Executive(str(self._step), story)
        self._news.append(f"starts to {self._step}")

    def _worn(self, skill: str) -> frozenset[str]:
        """Objects that a skill was used on often enough, or failed on."""
        used = Counter(attempt.step.object for attempt in self.attempts if attempt.step.skill == skill)
        failed = self._failures if skill == "pull" else {}
        return frozenset(name for name, n in used.items() if n >= PUSHES or failed.get((skill, name), 0) >= ATTEMPTS)

    def _finish(self, state: State) -> None:
        assert self._executive is not None
        assert self._step is not None
        outcome = self._executive.outcome or Outcome(False, "no outcome")
        self.attempts.append(Attempt(self._step, outcome, state.time - self._since))
        self._news.append(f"{self._step}: {outcome.reason}")
        if outcome.success:
            self._blocked.clear()
            self._not_pulled = frozenset()
        elif self._step.skill == "cut":
            self._cuts[str(self._step.seam)] += 1 if outcome.tried else ATTEMPTS
        elif self._step.skill == "place" or (self._step.skill == "push" and not outcome.tried):
            assert self._step.spot is not None
            self._bad_spots.append((self._step.object, self._step.spot.position))
        elif self._step.skill == "pull":
            self._not_pulled |= frozenset() if outcome.tried else {self._step.object}
        elif not outcome.tried:
            self._blocked.add(self._step.object)
        if outcome.tried and not outcome.success:
            self._failures[(self._step.skill, self._step.object)] += 1
        self._executive, self._step = None, None
