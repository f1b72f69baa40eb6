"""Keeps one plan alive between ticks: a full solve when the goal changes, a real-time iteration at 10 Hz otherwise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from robotctl.objectives.reach import ReachGoal
from robotctl.planning.guarded import GuardedPlanner
from robotctl.planning.plan import Plan, Status
from robotctl.planning.planner import Planner
from robotctl.robot import BRAKE, RobotModel
from robotctl.state import TICK, State

TICKS_PER_PLAN = 2  # planning at 10 Hz
RESCUE = 10  # plans in a row without a solution, or without headway, after which the seeds are tried again


@dataclass(frozen=True)
class Proposal:
    """What the planner would like to do in this tick."""

    action: np.ndarray | None  # (11,); None: no usable plan, the filter brakes
    plan: Plan | None
    fresh: bool  # whether the plan was made in this tick


def slow_down(dq_ref: np.ndarray) -> np.ndarray:
    """Joint velocities at the end of a tick of braking, (10,); all joints stop together."""
    ticks = max(1.0, float(np.max(np.abs(dq_ref) / (0.8 * BRAKE * TICK))))
    return dq_ref * (1.0 - 1.0 / ticks)


class Replanner:
    """Asks the planner for plans and reads the command of each tick from the newest one."""

    def __init__(self, planner: Planner) -> None:
        self._planner = GuardedPlanner(planner)
        self._plan: Plan | None = None
        self._planned_at = 0.0  # time of the newest plan [s]
        self._goal: ReachGoal | None = None
        self._tick = 0
        self._failures = 0
        self._attempt = 0  # how often the goal has been planned for anew

    def warm_up(self) -> None:
        """Compiles or loads what the first plan needs."""
        self._planner.warm_up()

    def propose(
        self,
        state: State,
        goal: ReachGoal | None,
        opening: float,
        robot: RobotModel,
        skill: str,
        obstacles: np.ndarray,
    ) -> Proposal:
        """The command for the coming tick. Without a goal the robot comes to rest and holds still."""
        self._tick += 1
        if goal is None:
            self._plan = self._goal = None
            return Proposal(np.append(slow_down(state.robot.dq_ref), opening), None, False)
        changed = goal is not self._goal
        fresh = changed or self._plan is None or self._tick % TICKS_PER_PLAN == 0
        if fresh:
            stuck = self._plan is not None and self._plan.stalled > 0 and self._plan.stalled % RESCUE == 0
            cold = changed or self._plan is None or self._failures >= RESCUE or stuck
            guess = None if cold else self._plan
            self._attempt = 0 if changed else self._attempt + cold
            self._plan = self._planner.plan(state, guess, goal, robot, skill, obstacles, attempt=self._attempt)
            self._goal, self._planned_at = goal, state.time
            self._failures = 0 if self._plan.status is Status.SOLVED else (1 if cold else self._failures + 1)
        plan = self._plan
        assert plan is not None
        if plan.trajectory is None:
            return Proposal(None, plan, fresh)
        action = plan.action(state.time - self._planned_at)
        action[10] = opening
        return Proposal(action, plan, fresh)
