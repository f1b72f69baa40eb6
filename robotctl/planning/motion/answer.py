"""This file turns motion problems into the answer of `robotctl plan`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from robotctl.planning.motion import rrt
from robotctl.planning.motion.chain import ACCELERATION, SPEED, hand_pose, panda
from robotctl.planning.motion.clearance import MARGIN, obstruction, scratch, world_of
from robotctl.planning.motion.planner import COMFORT, Motion, plan
from robotctl.planning.motion.problem import Obstacle, Problem
from robotctl.planning.motion.timing import curve, timed

SCHEMA = "robotctl/plan.v1"


def answer(
    problems: Sequence[Problem], time_limit: float, seed: int, advance: Callable[[Motion], None] | None = None
) -> dict[str, Any]:
    """Plans every problem within `time_limit` [s] each, after `warm_up`. A path does not depend on other problems."""
    results = []
    for problem in problems:
        motion = plan(problem, time_limit, np.random.default_rng(seed))
        results.append(result(problem, motion))
        if advance is not None:
            advance(motion)
    solved = sum(row["solved"] for row in results)
    return {"schema": SCHEMA, "seed": seed, "problems": len(results), "solved": solved, "results": results}


def result(problem: Problem, motion: Motion) -> dict[str, Any]:
    """One entry of `results`."""
    row: dict[str, Any] = {
        "id": problem.id,
        "solved": motion.solved,
        "status": motion.status.value,
        "ms": round(motion.ms, 3),
        "path": motion.path.tolist(),
        "times": motion.times.tolist(),
        "length": motion.length if motion.solved else None,
        "min_clearance_m": motion.min_clearance,
    }
    if not motion.solved:
        row["reason"] = motion.reason
    return row


def warm_up() -> None:
    """Compiles, or loads from numba's cache, everything that planning needs, so that `ms` is planning alone."""
    start, end = np.array([-0.3, 0.0, 0.0, -1.5, 0.0, 1.5, 0.0]), np.array([0.3, 0.0, 0.0, -1.5, 0.0, 1.5, 0.0])
    ball = Obstacle("ball", "sphere", np.array([0.05, 0.05, 0.0]), np.array([0.0, 0.0, 2.0]), np.eye(3))
    robot, rng = panda(), np.random.default_rng(0)
    rotation, position = hand_pose(robot, end)
    plan(Problem("warm-up", start, None, position, rotation, (ball,), 0.04, ("ball",)), 60.0, rng)
    plan(Problem("warm-up", start, end, None, None, (ball,), 0.04, ()), 60.0, rng)
    world = world_of((ball,), (), position, 0.0)
    obstruction(robot, world, ["ball"], np.array([0.0, 1.7, 0.0, -0.1, 0.0, 1.5, 0.0]))
    # Straight ways need no trees: what follows makes sure that these are ready, too.
    trees = rrt.plant(start, end[None])
    rrt.grow(robot, world, trees, np.append(end, 0.5)[None], rrt.STEP, MARGIN)
    path = np.array([start, start + 0.2, end])
    rrt.shorten(robot, world, path, rng.random((4, 2)), MARGIN, COMFORT, 4)
    rrt.straighten(robot, world, path, MARGIN, COMFORT)
    rrt.keeps(robot, world, path, COMFORT, scratch(robot))
    timed(curve(path, np.array([0.0, 0.1, 0.0])), end, SPEED, ACCELERATION)
