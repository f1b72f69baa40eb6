"""Our optimizer, three times: from scratch, with a time to use up, and as one iteration from its last plan."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np

from robotctl.bench.peers.peer import Answer
from robotctl.bench.planner_problems import DT, KINDS, PlanningProblem
from robotctl.planning.plan import Plan
from robotctl.planning.trajectory_optimizer import TrajectoryOptimizer
from robotctl.state import State

REPEATS = 3  # calls of which the median time counts: these are short, and the machine may be busy
SKILL = "pick"
BUDGET = 0.25  # [s]
_compiled: set[tuple[str, int]] = set()


def optimizer(problem: PlanningProblem, for_filter: bool = True, routes: bool = True) -> TrajectoryOptimizer:
    return TrajectoryOptimizer(
        problem.guardrails, problem.model, problem.assumptions, problem.boxes, problem.horizon, problem.dt,
        problem.joints, for_filter=for_filter, routes=routes,
    )  # fmt: skip


class Cold:
    """A full plan without a guess."""

    name = "cold"
    kinds = KINDS

    def solve(self, problem: PlanningProblem, time_limit: float) -> Answer:
        """It counts iterations, not seconds: the time limit is not needed."""
        planner = _ready(problem)
        plan, ms = _timed(planner, problem, problem.state, None)
        return _answer(plan, ms, None)


class Budget:
    """A full plan without a guess that goes on with other seeds until BUDGET is over.

    It solves the peers' problem: the guardrails, without the room that our safety filter asks for on top.
    """

    name = "budget"
    kinds = KINDS

    def solve(self, problem: PlanningProblem, time_limit: float) -> Answer:
        planner = _ready(problem, for_filter=False)
        begin = time.perf_counter()
        plan = planner.plan(problem.state, None, problem.goal, problem.robot, SKILL, problem.obstacles, BUDGET)
        return _answer(plan, 1e3 * (time.perf_counter() - begin), None)


class RealTime:
    """One warm-started call, 0.1 s into the cold plan: what a control cycle costs."""

    name = "rti"
    kinds = KINDS

    def solve(self, problem: PlanningProblem, time_limit: float) -> Answer:
        planner = _ready(problem)
        first = planner.plan(problem.state, None, problem.goal, problem.robot, SKILL, problem.obstacles)
        if first.trajectory is None:
            return _answer(first, 0.0, None)
        state = one_step_on(problem.state, first)
        plan, ms = _timed(planner, problem, state, first)
        return _answer(plan, ms, state)


def one_step_on(state: State, plan: Plan) -> State:
    """Where the plan leads after its first step; of people there is no newer reading."""
    assert plan.trajectory is not None
    robot = replace(
        state.robot,
        q=plan.trajectory.q[1], dq=plan.trajectory.dq[1], q_ref=plan.q_ref[1], dq_ref=plan.dq_ref[1],
    )  # fmt: skip
    return replace(state, time=state.time + DT, robot=robot)


def _timed(
    planner: TrajectoryOptimizer, problem: PlanningProblem, state: State, guess: Plan | None
) -> tuple[Plan, float]:
    times = []
    for _ in range(REPEATS):
        begin = time.perf_counter()
        plan = planner.plan(state, guess, problem.goal, problem.robot, SKILL, problem.obstacles)
        times.append(1e3 * (time.perf_counter() - begin))
    return plan, float(np.median(times))


def _ready(problem: PlanningProblem, for_filter: bool = True) -> TrajectoryOptimizer:
    """The planner, after compiling (or loading from the cache) what this kind of problem needs."""
    planner = optimizer(problem, for_filter)
    if (problem.kind, len(problem.joints)) not in _compiled:
        first = planner.plan(problem.state, None, problem.goal, problem.robot, SKILL, problem.obstacles)
        planner.plan(problem.state, first, problem.goal, problem.robot, SKILL, problem.obstacles)
        _compiled.add((problem.kind, len(problem.joints)))
    return planner


def _answer(plan: Plan, ms: float, state: State | None) -> Answer:
    u = plan.ddq_ref if len(plan.ddq_ref) else None
    return Answer(ms, u, state=state, note=f"{plan.status}, {plan.iterations} QPs, {plan.seed}")
