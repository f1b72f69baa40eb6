"""OMPL's RRT-Connect over the same spheres, for problems without people: a path, no timing, so no cost.

Kuffner and LaValle 2000. The first path found is the answer: shortening it would only cost time here. Collisions are
checked in NumPy, state by state, as OMPL's Python bindings ask for them.
"""

from __future__ import annotations

import time
from functools import cache
from typing import Any

import numpy as np

from robotctl.bench.peers.formulation import LIMIT_ROOM, PAD
from robotctl.bench.peers.peer import Answer
from robotctl.bench.planner_problems import PlanningProblem
from robotctl.bench.planner_surroundings import at_rest
from robotctl.guardrails.clearance import Clearance
from robotctl.guardrails.guardrail import parts
from robotctl.guardrails.keep_out import KeepOut
from robotctl.robot import Q_MAX, Q_MIN

RESOLUTION = 0.004  # share of the space's extent between checked states of a motion
SEED = 1
FLOOR = 1.5  # how far from start and goal the base may go [m, rad]


class RrtConnect:
    name = "ompl"
    kinds = ("static", "shelf")

    def solve(self, problem: PlanningProblem, time_limit: float) -> Answer:
        from ompl import base, geometric, util

        util.setLogLevel(util.LOG_ERROR)
        _seed(util)
        free, start = np.array(problem.joints), problem.state.robot.q_ref
        goal = np.asarray(problem.goal.q)
        n = len(free)
        space = base.RealVectorStateSpace(n)
        bounds = base.RealVectorBounds(n)
        low, high = Q_MIN + LIMIT_ROOM, Q_MAX - LIMIT_ROOM
        low[:3], high[:3] = np.minimum(start, goal)[:3] - FLOOR, np.maximum(start, goal)[:3] + FLOOR
        for i, j in enumerate(free):
            bounds.setLow(i, float(low[j]))
            bounds.setHigh(i, float(high[j]))
        space.setBounds(bounds)
        collision = Collision(problem)
        setup = geometric.SimpleSetup(space)
        q = start.copy()

        def valid(state: Any) -> bool:
            for i in range(n):
                q[free[i]] = state[i]
            return collision.free(q)

        setup.setStateValidityChecker(valid)
        setup.getSpaceInformation().setStateValidityCheckingResolution(RESOLUTION)
        ends = []
        for joints in (start, goal):
            state = space.allocState()
            for i in range(n):
                state[i] = float(joints[free[i]])
            ends.append(state)
        setup.setStartAndGoalStates(*ends)
        setup.setPlanner(geometric.RRTConnect(setup.getSpaceInformation()))
        begin = time.perf_counter()
        found = setup.solve(time_limit)
        if not found or not setup.haveExactSolutionPath():
            return Answer(1e3 * (time.perf_counter() - begin), note="no path")
        ms = 1e3 * (time.perf_counter() - begin)
        states = setup.getSolutionPath().getStates()
        path = np.tile(start, (len(states), 1))
        for row, state in zip(path, states, strict=True):
            row[free] = [state[i] for i in range(n)]
        return Answer(ms, path=path, note=f"{len(states)} way points")


@cache
def _seed(util: Any) -> None:
    """OMPL takes one seed per process, before its first random number."""
    util.RNG.setSeed(SEED)


class Collision:
    """Whether joints keep every distance that the guardrails and contact ask for."""

    def __init__(self, problem: PlanningProblem) -> None:
        robot = self._robot = problem.robot
        spheres = robot.spheres
        self._outer, self._inner = np.flatnonzero(spheres.frame >= 5), np.flatnonzero(spheres.frame <= 1)
        bound = problem.position_bound.max() + PAD[0]
        grown = spheres.radius + bound
        rows = [(b.boxes, parts(robot, "base", "arm", "hand"), b.distance) for b in problem.guardrails
                if isinstance(b, Clearance)]  # fmt: skip
        rows += [(b.boxes, parts(robot, "finger", "held", "blade"), 0.0) for b in problem.guardrails
                 if isinstance(b, Clearance)]  # fmt: skip
        rows += [(b.boxes, np.arange(len(spheres)), 0.0) for b in problem.guardrails if isinstance(b, KeepOut)]
        self._center = np.concatenate([b.center for b, _, _ in rows])
        self._turn = np.concatenate([b.rotation for b, _, _ in rows])
        self._half = np.concatenate([b.half for b, _, _ in rows])
        self._least = np.full((len(spheres), len(self._center)), -np.inf)  # of the distance to each box
        at = 0
        for boxes, concerned, distance in rows:
            self._least[concerned, at : at + len(boxes.center)] = (grown[concerned] + distance)[:, None]
            at += len(boxes.center)
        self._balls = problem.obstacles[:, :3]
        self._apart = grown[self._outer, None] + problem.obstacles[:, 3]
        self._own = spheres.radius[self._outer, None] + spheres.radius[self._inner] + PAD[0]

    def free(self, q: np.ndarray) -> bool:
        center = at_rest(self._robot, q[None])[0][0]
        local = np.abs(np.einsum("sbi,bij->sbj", center[:, None] - self._center, self._turn)) - self._half
        gap = np.linalg.norm(np.maximum(local, 0.0), axis=-1) + np.minimum(local.max(axis=-1), 0.0)
        outer = center[self._outer]
        return bool(
            np.all(gap >= self._least)
            and np.all(np.linalg.norm(outer[:, None] - self._balls, axis=-1) >= self._apart)
            and np.all(np.linalg.norm(outer[:, None] - center[self._inner], axis=-1) >= self._own)
        )
