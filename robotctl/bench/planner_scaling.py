"""This file measures how our planner's time grows with horizon, obstacles, joints and ensemble size, and draws it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from robotctl.bench.peers.ours import one_step_on
from robotctl.bench.pictures import pyplot, saved
from robotctl.bench.planner_problems import PlanningProblem, make_problem
from robotctl.bench.planner_surroundings import at_rest, world_model
from robotctl.planning.interior_point import GROUPS, Program, solve
from robotctl.planning.qp import GAP, MOST, TOLERANCE
from robotctl.planning.sqp import PENALTY
from robotctl.planning.trajectory_optimizer import TrajectoryOptimizer
from robotctl.state import State
from robotctl.world_model.ensemble import Ensemble

STEPS = (10, 20, 30, 50, 75, 100)
OBSTACLES = (8, 16, 32, 64, 128)
MEMBERS = (1, 2, 3, 5, 10, 20)
JOINTS = (7, 10)
QP_JOINTS = (7, 10, 14, 20)  # of quadratic programs without a robot: ours has ten
QP_ROWS = 8  # per group and stage, as in the planner
SEEDS = range(4)
REPEATS = 5  # calls of which the median counts
FAR = 3.0  # [m] away
ROOM = 0.12  # [m] that obstacles beyond the problem's own leave the straight way


def measure(tell: Callable[[str], None]) -> list[dict[str, Any]]:
    """Median times of one warm-started call and of a cold plan, with one thing varied at a time."""
    points: list[dict[str, Any]] = []
    for joints in JOINTS:
        chosen = [make_problem("shelf", joints, seed) for seed in SEEDS]
        for what, values in (("steps", STEPS), ("obstacles", OBSTACLES), ("members", MEMBERS)):
            for value in values:
                times = np.array([_times(_varied(p, what, value), value if what == "steps" else None) for p in chosen])
                cold, warm, per_qp = np.median(times, axis=0)
                points.append({"joints": joints, "varied": what, "value": value, "cold_ms": round(float(cold), 2),
                               "rti_ms": round(float(warm), 2), "ms_per_qp": round(float(per_qp), 2)})  # fmt: skip
                tell(f"{joints} joints, {value} {what}: cold {cold:.1f} ms, one call {warm:.1f} ms")
    for joints in QP_JOINTS:
        per_qp = float(np.median([_qp_ms(joints, seed) for seed in SEEDS]))
        points.append({"joints": joints, "varied": "qp", "value": joints, "ms_per_qp": round(per_qp, 3)})
        tell(f"{joints} joints: one quadratic program {per_qp:.2f} ms")
    return points


def draw(points: Sequence[dict[str, Any]], folder: Path) -> Path:
    """The picture planner-scaling.png in `folder`."""
    figure, axes = pyplot().subplots(1, 4, figsize=(13, 3.4), sharey=True)
    words = {"steps": "horizon [steps of 0.1 s]", "obstacles": "obstacle spheres", "members": "ensemble members"}
    rows = [p for p in points if p["varied"] == "qp"]
    axes[3].plot([p["value"] for p in rows], [p["ms_per_qp"] for p in rows], "^:", color="tab:green", label="one QP")
    axes[3].set(xlabel="joints (quadratic program alone)", xscale="log", yscale="log")
    axes[3].set_xticks(QP_JOINTS, [str(v) for v in QP_JOINTS])
    axes[3].minorticks_off()
    axes[3].grid(alpha=0.3)
    axes[3].legend(fontsize=8)
    for axis, (what, word) in zip(axes, words.items(), strict=False):
        for joints, color in zip(JOINTS, ("tab:blue", "tab:orange"), strict=True):
            rows = [p for p in points if p["varied"] == what and p["joints"] == joints]
            x = [p["value"] for p in rows]
            axis.plot(x, [p["cold_ms"] for p in rows], "o-", color=color, label=f"{joints} joints, cold")
            axis.plot(x, [p["rti_ms"] for p in rows], "s--", color=color, label=f"{joints} joints, one warm call")
        axis.set(xlabel=word, xscale="log", yscale="log")
        axis.set_xticks(x, [str(v) for v in x])
        axis.minorticks_off()
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("median time [ms]")
    axes[0].legend(fontsize=8)
    return saved(figure, folder, "planner-scaling.png")


def _varied(problem: PlanningProblem, what: str, value: int) -> PlanningProblem:
    """The problem with another number of obstacles or members."""
    if what == "obstacles":
        rng = np.random.default_rng(problem.seed)
        have, goal = problem.obstacles[:value], np.asarray(problem.goal.position)
        more = rng.normal(0.0, 0.5, (value - len(have), 3)) + goal
        way = np.linspace(problem.state.robot.q_ref, np.asarray(problem.goal.q), 15)
        gap = np.linalg.norm(at_rest(problem.robot, way)[0][:, :, None] - more, axis=-1)
        near = (gap - problem.robot.spheres.radius[:, None]).min(axis=(0, 1)) < ROOM
        more[near, 0] += FAR  # what stands in the way would make another problem of it
        balls = np.concatenate([have, np.concatenate([more, np.full((len(more), 1), 0.03)], axis=1)])
        return replace(problem, obstacles=balls)
    if what == "members":
        model = world_model()
        network = model.actuators.network
        chosen = np.arange(value) % len(network.weights[0])  # members are repeated: only the work counts
        other = Ensemble(tuple(w[chosen] for w in network.weights), tuple(b[chosen] for b in network.biases))
        return replace(problem, model=replace(model, actuators=replace(model.actuators, network=other)))
    return problem


def _qp_ms(joints: int, seed: int) -> float:
    """Median time of one quadratic program of 30 stages with random costs and rows [ms]."""
    rng = np.random.default_rng(seed)
    stages, nx = 30, 2 * joints
    root = rng.normal(size=(stages, nx, nx)) / nx
    bounds = [rng.uniform(0.2, 1.0, (stages, nx)), rng.uniform(1.0, 8.0, (stages, joints))] * 2
    values = rng.normal(0.2, 0.1, (stages, GROUPS * QP_ROWS))
    program = Program(
        0.1, root @ root.transpose(0, 2, 1) + 1e-3 * np.eye(nx), rng.normal(size=(stages, nx)), np.full(joints, 1e-3),
        rng.normal(size=(stages, joints)), np.concatenate([*bounds, np.zeros((stages, GROUPS)), values], axis=1),
        rng.normal(size=(stages, GROUPS, QP_ROWS, nx)), np.full((stages, GROUPS), QP_ROWS), PENALTY,
    )  # fmt: skip
    spent = []
    for _ in range(REPEATS + 1):
        begin = time.perf_counter()
        solve(program, MOST, GAP, TOLERANCE)
        spent.append(1e3 * (time.perf_counter() - begin))
    return float(np.median(spent[1:]))


def _times(problem: PlanningProblem, steps: int | None) -> tuple[float, float, float]:
    """Median time of a cold plan and of one warm call from it, and of the latter per QP [ms]."""
    planner = TrajectoryOptimizer(
        problem.guardrails, problem.model, problem.assumptions, problem.boxes, steps or problem.horizon, problem.dt,
        problem.joints,
    )  # fmt: skip

    def timed(state: State, guess: Any) -> tuple[Any, float]:
        spent = []
        for _ in range(REPEATS + 1):
            begin = time.perf_counter()
            plan = planner.plan(state, guess, problem.goal, problem.robot, "pick", problem.obstacles)
            spent.append(1e3 * (time.perf_counter() - begin))
        return plan, float(np.median(spent[1:]))  # the first call may compile

    first, cold = timed(problem.state, None)
    again, warm = timed(one_step_on(problem.state, first), first)
    return cold, warm, warm / max(again.iterations, 1)
