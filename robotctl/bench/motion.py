"""This file turns families of motion problems into counts: solved, colliding, times; judged by PyBullet's own Panda.

`python -m robotctl.bench.motion 0:50 shelf cage` prints them; without names, all families.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from robotctl.bench import motion_families
from robotctl.planning.motion.answer import result, warm_up
from robotctl.planning.motion.planner import plan
from robotctl.planning.motion.problem import load_problems
from robotctl.simulation.panda_checker import PandaChecker


def measure(family: str, seeds: Sequence[int], time_limit: float = 5.0) -> dict[str, Any]:
    """Plans the problems of a family and has every path judged: counts, and times of planning [ms] and motion [s]."""
    warm_up()
    rows = [motion_families.problem(family, seed) for seed in seeds]
    with tempfile.TemporaryDirectory() as folder:  # problems take the way that a user's take
        file = Path(folder) / "problems.json"
        file.write_text(json.dumps(rows))
        problems = load_problems(file)
    ms, lasts, clearances, unsolved, bad = [], [], [], [], []
    for row, problem in zip(rows, problems, strict=True):
        motion = plan(problem, time_limit, np.random.default_rng(0))
        found = result(problem, motion)
        ms.append(motion.ms)
        if not motion.solved:
            unsolved.append(f"{problem.id}: {motion.reason}")
            continue
        lasts.append(found["times"][-1])
        clearances.append(motion.min_clearance)
        with PandaChecker(row) as checker:
            verdict = checker.judge(found["path"], found["times"], row.get("goal_touch_allowed", ()))
        if not verdict.good:
            bad.append(f"{problem.id}: {verdict}")
    return {
        "family": family,
        "n": len(rows),
        "solved": len(lasts),
        "bad": bad,
        "unsolved": unsolved,
        "ms_p50": float(np.median(ms)),
        "ms_p95": float(np.percentile(ms, 95)),
        "ms_max": float(np.max(ms)),
        "motion_s_p50": float(np.median(lasts)) if lasts else None,
        "min_clearance_m": float(np.min(clearances)) if clearances else None,
        "clearance_m_p50": float(np.median(clearances)) if clearances else None,
    }


def main(arguments: Sequence[str]) -> None:
    first, last = (int(word) for word in arguments[0].split(":"))
    for family in arguments[1:] or sorted(motion_families.FAMILIES):
        row = measure(family, range(first, last))
        figures = f"{row['ms_p50']:.0f} / {row['ms_p95']:.0f} / {row['ms_max']:.0f}"
        print(f"{family:<12} {row['solved']}/{row['n']} solved, {len(row['bad'])} bad, ms p50/p95/max {figures}")
        if row["solved"]:
            clear = 1e3 * row["clearance_m_p50"]
            print(f"{'':<12} medians: motion {row['motion_s_p50']:.2f} s, clearance {clear:.1f} mm")
        for line in [*row["unsolved"], *row["bad"]]:
            print(f"    {line}")


if __name__ == "__main__":
    main(sys.argv[1:])
