"""This file turns motion problems into the answer of `robotctl plan`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from robotctl.planning.motion.chain import hand_pose, panda
from robotctl.planning.motion.planner import Motion, plan
from robotctl.planning.motion.problem import Obstacle, Problem

SCHEMA = "robotctl/plan.v1"


def answer(
    problems: Sequence[Problem], time_limit: float, seed: int, advance: Callable[[Motion], None] | None = None
) -> dict[str, Any]:
    """Plans every problem within `time_limit` [s] each. A problem's path does not depend on the others in the list."""
    warm_up()
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
    start = np.array([0.9, 0.3, 0.0, -2.0, 0.0, 2.3, 0.785])
    end = start * np.array([-1.0, 1, 1, 1, 1, 1, 1])
    rotation, position = hand_pose(panda(), end)
    wall = Obstacle("wall", "box", np.array([0.2, 0.02, 0.2]), np.array([0.6, 0.0, 0.2]), np.eye(3))
    plan(Problem("warm-up", start, None, position, rotation, (wall,), 0.04, ("wall",)), 60.0, np.random.default_rng(0))
