"""This file turns a motion problem into a timed path that is checked along its whole length, or says why there is none.

The straight way is tried first, then RRT-Connect between the start and several goals; the way found is shortened, its
corners are rounded as far as there is room, and what comes out is checked once more as a checker from outside would.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import StrEnum

import numpy as np

from robotctl.planning.motion import rrt
from robotctl.planning.motion.chain import ACCELERATION, SPEED, Robot, hand_pose, panda
from robotctl.planning.motion.clearance import (
    MARGIN,
    TOUCH,
    World,
    free,
    march,
    obstruction,
    path_clearance,
    scratch,
    world_of,
)
from robotctl.planning.motion.goals import reach
from robotctl.planning.motion.problem import Problem
from robotctl.planning.motion.timing import blend_points, corners, curve, timed

ENOUGH = 600  # seeds, if they gave some free goal, or never reached the pose at all
ROOTS = 16  # configurations at most that a pose goal is planned to
SEED_ROUNDS = (40, 160, 400, 400, 1000, 1000, 2000)  # seeds of inverse kinematics, until some solutions are free
APART = 0.3  # two goal configurations differ by more than this [rad]
BATCH = 64  # samples between two looks at the clock
SHARE = 0.85  # of the time limit that the search may take; the rest is for shortening and timing
STRICT_SHARE = 0.4  # of the search, where the goal does not need the touches it allows
RESTART = 3000  # samples after which the trees start anew, then twice as many
SHORTCUTS, PATIENCE = 120, 12  # most of them, and how many in a row that change nothing
COMFORT = 0.01  # no stretch that keeps this is cut short, nor a corner rounded, at the price of keeping less [m]
CHECKED = 0.8 * MARGIN  # of the final check: a chord of a rounded corner may be nearer than the corner [m]


class Status(StrEnum):
    """How planning ended."""

    SOLVED = "solved"
    START_OUT_OF_LIMITS = "start_out_of_limits"
    GOAL_OUT_OF_LIMITS = "goal_out_of_limits"
    START_IN_COLLISION = "start_in_collision"
    GOAL_IN_COLLISION = "goal_in_collision"
    NO_INVERSE_KINEMATICS = "no_inverse_kinematics"
    TIME_LIMIT = "time_limit"


@dataclass(frozen=True)
class Motion:
    """What planning answers; without a solution `path` is empty and `reason` says why."""

    status: Status
    reason: str = ""
    path: np.ndarray = field(default_factory=lambda: np.empty((0, 7)))  # (n, 7) [rad]
    times: np.ndarray = field(default_factory=lambda: np.empty(0))  # (n,) [s]
    length: float = 0.0  # of the path in joint space, Euclidean [rad]
    min_clearance: float = float("nan")  # smallest distance to an obstacle along the path [m]; NaN without obstacles
    ms: float = 0.0  # wall time of planning

    @property
    def solved(self) -> bool:
        return self.status is Status.SOLVED


def plan(
    problem: Problem, time_limit: float, rng: np.random.Generator, clock: Callable[[], float] = time.perf_counter
) -> Motion:
    """Plans within `time_limit` [s] by `clock`; the same generator state gives the same path unless time runs out."""
    begun = clock()
    outcome = _plan(problem, begun, time_limit, rng, clock)
    return replace(outcome, ms=1e3 * (clock() - begun))


def _plan(problem: Problem, begun: float, limit: float, rng: np.random.Generator, clock: Callable[[], float]) -> Motion:
    start = problem.start_q
    robot = panda(problem.finger)
    for what, q in (("start", start), ("goal", problem.goal_q)):
        beyond = "" if q is None else _beyond(robot, q)
        if beyond:
            status = Status.START_OUT_OF_LIMITS if what == "start" else Status.GOAL_OUT_OF_LIMITS
            return Motion(status, f"{what} out of limits: {beyond}")
    hand = hand_pose(robot, problem.goal_q)[1] if problem.goal_q is not None else problem.goal_position
    assert hand is not None  # a problem has one of the two goals
    strict = world_of(problem.obstacles, (), hand, 0.0)
    lenient = world_of(problem.obstacles, problem.touch_allowed, hand, TOUCH if problem.touch_allowed else 0.0)
    if _wrist_overlaps(robot, start) or (problem.goal_q is not None and _wrist_overlaps(robot, problem.goal_q)):
        robot = panda(problem.finger, wrist=False)
    names = [obstacle.name for obstacle in problem.obstacles]
    blocked = obstruction(robot, lenient, names, start)
    if blocked:
        return Motion(Status.START_IN_COLLISION, f"start in collision with {blocked}")
    goals = _goals(problem, robot, lenient, names, begun + SHARE * limit, rng, clock)
    if isinstance(goals, Motion):
        return goals
    deadline = begun + SHARE * limit
    attempts = [(lenient, goals, deadline)]
    if problem.touch_allowed and free(robot, strict, start, MARGIN, scratch(robot)):
        untouching = goals[[free(robot, strict, q, MARGIN, scratch(robot)) for q in goals]]
        if len(untouching):
            attempts.insert(0, (strict, untouching, begun + STRICT_SHARE * limit))
    for world, roots, until in attempts:
        way = search(robot, world, start, roots, until, rng, clock)
        if way is None:
            continue
        motion = _finish(robot, world, way, rng, in_time=clock() < begun + limit)
        if motion is not None:
            return motion
    return Motion(Status.TIME_LIMIT, f"no path found within the time limit of {limit:g} s")


def _beyond(robot: Robot, q: np.ndarray) -> str:
    """Which joint of q (7,) is beyond its limits, in words; empty if none."""
    for j in range(len(q)):
        if not robot.low[j] <= q[j] <= robot.high[j]:
            return f"joint {j + 1} is {q[j]:.4f} rad, allowed {robot.low[j]:.4f} to {robot.high[j]:.4f}"
    return ""


def _wrist_overlaps(robot: Robot, q: np.ndarray) -> bool:
    """Whether q is free of collisions with itself but for links 5 and 7."""
    nothing = world_of((), (), np.zeros(3), 0.0)
    return not free(robot, nothing, q, MARGIN, scratch(robot)) and free(
        robot._replace(pair=robot.pair[~np.all(robot.pair == (5, 7), axis=1)]), nothing, q, MARGIN, scratch(robot)
    )


def _goals(
    problem: Problem,
    robot: Robot,
    world: World,
    names: list[str],
    deadline: float,
    rng: np.random.Generator,
    clock: Callable[[], float],
) -> np.ndarray | Motion:
    """Free goal configurations (g, 7), the nearest to the start first, or the answer that there is none."""
    if problem.goal_q is not None:
        blocked = obstruction(robot, world, names, problem.goal_q)
        if blocked:
            return Motion(Status.GOAL_IN_COLLISION, f"goal in collision with {blocked}")
        return problem.goal_q[None]
    assert problem.goal_rotation is not None
    assert problem.goal_position is not None
    chosen: list[np.ndarray] = []
    blocked, tried = "", 0
    mem = scratch(robot)
    for count in SEED_ROUNDS:
        seeds = rng.uniform(robot.low, robot.high, (count, len(robot.low)))
        seeds[0] = problem.start_q
        for q in reach(robot, problem.goal_rotation, problem.goal_position, seeds):
            if any(np.linalg.norm(q - other) < APART for other in chosen) or len(chosen) == ROOTS:
                continue
            if free(robot, world, q, MARGIN, mem):
                chosen.append(q)
            elif not blocked:
                blocked = obstruction(robot, world, names, q)
        tried += count
        if len(chosen) >= 4 or (tried >= ENOUGH and (chosen or not blocked)):
            break
        if clock() > deadline:
            break
    if chosen:
        return np.array(sorted(chosen, key=lambda q: float(np.linalg.norm(robot.weight * (q - problem.start_q)))))
    if blocked:
        return Motion(Status.GOAL_IN_COLLISION, f"goal in collision with {blocked}")
    return Motion(Status.NO_INVERSE_KINEMATICS, "no inverse kinematics: the arm cannot take the goal's hand pose")


def search(
    robot: Robot,
    world: World,
    start: np.ndarray,
    goals: np.ndarray,
    deadline: float,
    rng: np.random.Generator,
    clock: Callable[[], float] = time.perf_counter,
) -> np.ndarray | None:
    """A free path (n, 7) with corners from start to one of the goals (g, 7), or None at the deadline."""
    mem = scratch(robot)
    for goal in goals:
        if march(robot, world, start, goal, MARGIN, mem) >= 1.0:
            return np.array([start, goal])
    budget = RESTART
    while True:
        trees = rrt.plant(start, goals)
        for _ in range(0, budget, BATCH):
            if clock() > deadline:
                return None
            samples = rng.uniform([*robot.low, 0.0], [*robot.high, 1.0], (BATCH, len(start) + 1))
            a, b = rrt.grow(robot, world, trees, samples, rrt.STEP, MARGIN)
            if a >= 0:
                return rrt.way(trees, a, b)
        budget *= 2


def _finish(robot: Robot, world: World, way: np.ndarray, rng: np.random.Generator, in_time: bool) -> Motion | None:
    """Shortens (if there is time for it), rounds, times and checks a free path; None if the check fails."""
    if in_time:
        way = rrt.shorten(robot, world, way, rng.random((SHORTCUTS, 2)), MARGIN, COMFORT, PATIENCE)
        way = rrt.straighten(robot, world, way, MARGIN, COMFORT)
    way = corners(way)
    if len(way) == 1:
        times, path = np.array([0.0]), way
        good, least = path_clearance(robot, world, path, CHECKED, scratch(robot))
        return _motion(world, times, path, least) if good else None
    sizes = _blends(robot, world, way)
    for shrink in (1.0, 0.5, 0.2, 0.0):
        times, path = timed(curve(way, shrink * sizes), way[-1], SPEED, ACCELERATION)
        path = np.clip(path, robot.low, robot.high)  # a blend stays within; rounding may not
        good, least = path_clearance(robot, world, path, CHECKED, scratch(robot))
        if good:
            return _motion(world, times, path, least)
    return None


def _motion(world: World, times: np.ndarray, path: np.ndarray, least: float) -> Motion:
    length = float(np.linalg.norm(np.diff(path, axis=0), axis=1).sum())
    return Motion(Status.SOLVED, "", path, times, length, least if len(world.kind) else float("nan"))


def _blends(robot: Robot, world: World, way: np.ndarray) -> np.ndarray:
    """How far before and behind each corner (n,) [rad] its rounding reaches: as far as it is free.

    Where the corner itself keeps COMFORT, a rounding does so as well, unless it had to be too small for that.
    """
    lengths = np.linalg.norm(np.diff(way, axis=0), axis=1)
    sizes = np.zeros(len(way))
    mem = scratch(robot)
    for corner in range(1, len(way) - 1):
        whole = 0.5 * min(lengths[corner - 1], lengths[corner])
        for margin, halvings in ((COMFORT, 4), (MARGIN, 7)):
            tries = [whole * 0.5**k for k in range(halvings)]
            fitting = (s for s in tries if rrt.keeps(robot, world, blend_points(way, corner, s), margin, mem))
            sizes[corner] = next(fitting, 0.0)
            if sizes[corner] > 0.0:
                break
    return sizes
