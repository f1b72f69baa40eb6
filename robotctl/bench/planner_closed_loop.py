"""This file runs the optimizer alone, in closed loop, with a model that is wrong by as much as it states.

There is no safety filter: the real Replanner plans from what is measured, and the plant of robotctl.bench.planner_plant
follows what it commands. Every guardrail judges what truly happened at 1 kHz, without bounds.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

import robotctl
from robotctl.bench.peers.ours import SKILL, optimizer
from robotctl.bench.planner import known_answers, machine, write_answers
from robotctl.bench.planner_checker import ARRIVED, CHUNK, FEASIBLE, hand_errors, rule_margins
from robotctl.bench.planner_journeys import KIND as JOURNEY
from robotctl.bench.planner_journeys import make_journey
from robotctl.bench.planner_plant import Plant, WrongModel, in_the_way, nothing_assumed, wrong_model
from robotctl.bench.planner_problems import PlanningProblem, make_problem
from robotctl.bench.statistics import rate
from robotctl.body import KEYPOINTS
from robotctl.planning.plan import Plan, Status
from robotctl.planning.replanning import Replanner, slow_down
from robotctl.state import TICK, RobotState, State
from robotctl.trajectory import Trajectory

SCHEMA = "robotctl/bench-planner-closed-loop.v1"
FINGERPRINT = f"{robotctl.__version__}-{SCHEMA}"
ARMS = ("told", "untold", "no-routes")  # ours, told nothing of errors, without ways round
TIME_LIMIT = 6.0  # [s]
JOURNEY_LIMIT = 20.0  # [s]
BASE_EVERY = 5  # ticks between two positions of the base that are kept
SUBSTEPS = 50  # samples of one tick of 0.05 s: 1 kHz


@dataclass(frozen=True)
class Run:
    """What happened, for the judge and the tests."""

    q: np.ndarray  # (n+1, 10) reference at the ticks
    dq: np.ndarray  # (n+1, 10), linear in between
    plans: tuple[tuple[State, Plan, float], ...]  # state, plan and its time [ms]
    arrived: bool


def drive(problem: PlanningProblem, plant: Plant, model: WrongModel, routes: bool = True) -> Run:
    """At most TIME_LIMIT of planning at 10 Hz; a plan that is not solved is not followed: the reference brakes."""
    replanner = Replanner(optimizer(replace(problem, model=model), routes=routes))
    start = problem.state.robot
    q, dq, ddq = [start.q_ref], [start.dq_ref], np.zeros(10)
    plans: list[tuple[State, Plan, float]] = []
    for tick in range(round((JOURNEY_LIMIT if problem.kind == JOURNEY else TIME_LIMIT) / TICK)):
        delta_q, delta_dq = (part[0] for part in plant.residual(q[-1][None], dq[-1][None], ddq[None]))
        e, rate_e = plant.offset(q[-1][None])[0], plant.drift(q[-1][None], dq[-1][None])[0]
        now = problem.state.time + tick * TICK
        robot = RobotState(q[-1] + delta_q + e, dq[-1] + delta_dq + rate_e, q[-1], dq[-1], start.opening, start.held)
        state = State(now, robot, people=plant.people(now, problem.assumptions.sensing_latency))
        begin = time.perf_counter()
        proposal = replanner.propose(state, problem.goal, start.opening, problem.robot, SKILL, problem.obstacles)
        ms = 1e3 * (time.perf_counter() - begin)
        if proposal.fresh and proposal.plan is not None:
            plans.append((state, proposal.plan, ms))
        solved = proposal.plan is not None and proposal.plan.status is Status.SOLVED
        ahead = proposal.action[:10] if solved and proposal.action is not None else slow_down(dq[-1])
        ddq = (ahead - dq[-1]) / TICK
        q.append(q[-1] + 0.5 * TICK * (dq[-1] + ahead))
        dq.append(ahead)
        if not dq[-1].any() and not dq[-2].any() and _there(problem, robot.q):
            return Run(np.array(q), np.array(dq), tuple(plans), True)
    return Run(np.array(q), np.array(dq), tuple(plans), False)


def _there(problem: PlanningProblem, q: np.ndarray) -> bool:
    position, rotation = hand_errors(problem, q)
    return position <= ARRIVED[0] and rotation <= ARRIVED[1]


def judge(problem: PlanningProblem, plant: Plant, run: Run) -> dict[str, float]:
    """Smallest true margin of every rule at 1 kHz, no bounds; -inf for NaN."""
    n = len(run.q) - 1
    ddq = np.diff(run.dq, axis=0) / TICK
    value, slope = plant.residual(run.q, run.dq, np.concatenate([np.zeros((1, 10)), ddq]))
    smallest: dict[str, float] = {}
    total = n * SUBSTEPS + 1
    for first in range(0, total, CHUNK):
        sample = np.arange(first, min(first + CHUNK, total))
        k = np.minimum(sample // SUBSTEPS, n - 1)
        s = (sample / SUBSTEPS - k)[:, None]
        q, dq = run.q[k] + TICK * (s * run.dq[k] + 0.5 * TICK * s * s * ddq[k]), run.dq[k] + TICK * s * ddq[k]
        # Cubics through the model's residuals and their rates at the ticks (Hermite), and their derivative.
        a, b, va, vb = value[k], value[k + 1], TICK * slope[k], TICK * slope[k + 1]
        residual = a + s * s * (3.0 - 2.0 * s) * (b - a) + s * (1.0 - s) * ((1.0 - s) * va - s * vb)
        rate_r = (6.0 * s * (1.0 - s) * (b - a) + (1 - 4 * s + 3 * s * s) * va + (3 * s * s - 2 * s) * vb) / TICK
        times = sample * TICK / SUBSTEPS
        states = np.concatenate([q + residual + plant.offset(q), dq + rate_r + plant.drift(q, dq)], axis=1)
        people = [plant.person(i, problem.state.time + times) for i in range(len(problem.state.people))]
        keypoints = np.stack(people, axis=1) if people else np.zeros((len(sample), 0, len(KEYPOINTS), 3))
        zero = np.zeros(len(sample))
        truth = Trajectory(times, states, np.zeros((len(sample) - 1, 11)), keypoints, np.zeros(keypoints.shape[:3]),
                           zero, zero, ddq[k])  # fmt: skip
        for name, margin in rule_margins(problem, truth).items():
            least = -np.inf if np.isnan(margin).any() else float(margin.min(initial=np.inf))
            smallest[name] = min(smallest.get(name, np.inf), least)
    return smallest


def observe(problem: PlanningProblem, told: bool = True, scale: float = 1.0, routes: bool = True) -> tuple[Plant, Run]:
    """Drives the problem. The offset is the worst of some drawn ones for the motion that an exact model leads to."""
    exact = Plant(problem, 0.0)
    unharmed = drive(problem, exact, wrong_model(problem, exact, told), routes)
    plant = Plant(problem, scale)
    plant.turn_against(problem, unharmed.q)
    return plant, drive(problem, plant, wrong_model(problem, plant, told), routes)


def record(problem: PlanningProblem, told: bool = True, scale: float = 1.0, routes: bool = True) -> dict[str, Any]:
    """One run, judged. told: whether the planner knows the bounds; scale: error and bounds over those of the model.

    routes: whether it may look for a way round.
    """
    if problem.kind != JOURNEY:
        problem = in_the_way(problem)
    if not told:
        problem = replace(problem, assumptions=nothing_assumed(problem.assumptions))
    plant, run = observe(problem, told, scale, routes)
    margins = judge(problem, plant, run)
    ms = [m for _, _, m in run.plans]
    return {
        "problem": problem.name, "kind": problem.kind, "joints": len(problem.joints), "seed": problem.seed,
        "arrived": run.arrived, "seconds": round(TICK * (len(run.q) - 1), 3),
        "margins": {name: m for name, m in margins.items() if m < np.inf},
        "violations": {name: m for name, m in margins.items() if not m >= -FEASIBLE},
        "plans": {status.value: sum(p.status is status for _, p, _ in run.plans) for status in Status},
        "ms_p50": round(float(np.median(ms)), 2), "ms_max": round(max(ms), 2),
        "base": run.q[::BASE_EVERY, :2].round(3).tolist(),
    }  # fmt: skip


def run_closed_loop(
    plan: Sequence[tuple[str, int, int]],
    folder: Path,
    arm: str,
    resume: bool,
    advance: Callable[[dict[str, Any]], None],
) -> list[dict[str, Any]]:
    """One record for each problem; `advance` hears of every one, known ones included. arm: one of ARMS."""
    records = []
    for kind, joints, seed in plan:
        file = _file(folder, kind, joints, seed)
        known = known_answers(file, FINGERPRINT, resume)
        if arm not in known:
            problem = make_journey(seed) if kind == JOURNEY else make_problem(kind, joints, seed)
            known[arm] = record(problem, told=arm != "untold", routes=arm != "no-routes")
            write_answers(file, {"fingerprint": FINGERPRINT, "answers": known})
        records.append(known[arm])
        advance(known[arm])
    return records


def arms_of(plan: Sequence[tuple[str, int, int]], folder: Path) -> dict[str, list[dict[str, Any]]]:
    """What `folder` holds of these problems: the records of each arm."""
    known = [known_answers(_file(folder, *row), FINGERPRINT, True) for row in plan]
    return {arm: [k[arm] for k in known if arm in k] for arm in ARMS if any(arm in k for k in known)}


def _file(folder: Path, kind: str, joints: int, seed: int) -> Path:
    return folder / f"closed-loop-{kind}-{joints}-{seed}.json"


def closed_loop_answer(records: Sequence[dict[str, Any]], arm: str, folder: Path) -> dict[str, Any]:
    """The answer of `bench planner --closed-loop --json` and of `--journeys`."""
    arrived, interval = rate(sum(r["arrived"] for r in records), len(records))
    names = dict.fromkeys(name for r in records for name in r["margins"])
    return {
        "schema": SCHEMA,
        "runs": len(records),
        "arm": arm,
        "runs_violating": sum(bool(r["violations"]) for r in records),
        "violations": [{"problem": r["problem"], **r["violations"]} for r in records if r["violations"]],
        "arrived_rate": arrived,
        "arrived_ci95": interval,
        "smallest_margins": {n: min(r["margins"].get(n, np.inf) for r in records) for n in names},
        "plans": {status.value: sum(r["plans"][status.value] for r in records) for status in Status},
        "ms_p50": round(float(np.median([r["ms_p50"] for r in records])), 2) if records else None,
        "ms_max": max((r["ms_max"] for r in records), default=None),
        "by_run": list(records),
        "machine": machine(),
        "out": folder,
    }
