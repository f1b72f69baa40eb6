"""This file runs the optimizer alone, in closed loop, with a model that is wrong by as much as it states.

No safety filter: the real Replanner plans from what is measured, and what it commands is followed by a plant of ours.
The plant is a fixed function of the reference, so it is one and the same for all plans: what the packaged actuator
model says, without its guess of the payload (it would learn the error away), plus an offset of joints e(q). Every
plan's first sample is measured; at its knot k the model it is given is off by e(q) b_k / b_1, b being the stated
bound, and e moves the fastest sphere by 0.99 b_1: every plan is wrong by what is stated at every knot. e depends on
where the joints are, as gears do, and not on time, because the model states that a robot whose reference rests stands
still. People walk straight on; every keypoint is predicted off by its whole bound.
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
from robotctl.bench.planner_checker import ARRIVED, CHUNK, FEASIBLE, STILL, hand_errors, rule_margins
from robotctl.bench.planner_problems import KINDS, PlanningProblem, make_problem
from robotctl.bench.planner_surroundings import at_rest
from robotctl.bench.statistics import rate
from robotctl.body import INDEX
from robotctl.planning.plan import Plan, Status
from robotctl.planning.replanning import Replanner, slow_down
from robotctl.planning.tables import levers
from robotctl.robot import tcp_pose
from robotctl.state import TICK, PersonState, RobotState, State
from robotctl.trajectory import Trajectory
from robotctl.world_model.composite import LearnedWorldModel

SCHEMA = "robotctl/bench-planner-closed-loop.v1"
SEEDS = 5
TIME_LIMIT = 6.0  # [s]
SUBSTEPS = 50  # samples of one tick of 0.05 s: 1 kHz
REACHED = 0.98  # share of the stated bounds: offsets turn points, and bounds are of straight lines
LEAST = 0.3  # share of its levers by which an offset of joints moves the robot, or it is not made larger
TURNS = 0.6  # [rad] by which the offset turns per radian of joint motion, in half of the runs
HISTORY_STEP = 0.1  # [s] between the readings of a person


class Plant:
    """What is true: where the joints are for a reference, and where the person is."""

    def __init__(self, problem: PlanningProblem) -> None:
        self.robot, self.model = problem.robot, problem.model
        self.generator = np.random.default_rng([problem.seed, KINDS.index(problem.kind), len(problem.joints), 1])
        free = list(problem.joints)
        self._lever = np.ones(10)
        self._lever[2:] = np.maximum(levers(problem.robot).max(axis=0), 0.1)
        self._directions = np.zeros((2, 10))
        self._directions[:, free] = self.generator.normal(size=(2, len(free))) / self._lever[free]
        self._turn = np.zeros(10)
        if self.generator.uniform() < 0.5:
            self._turn[free] = TURNS * self.generator.choice((-1.0, 1.0), len(free)) / np.sqrt(len(free))
        self._people = problem.state.people

    def residual(self, q: np.ndarray, dq: np.ndarray, ddq: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """What the model says without a payload, at reference samples (n, 10) that ddq led to; at rest it stands."""
        delta_q, delta_dq = self.model.actuators.predict(q, dq, ddq, np.zeros_like(q))
        moves = (np.abs(dq).max(axis=1) >= STILL) | (np.abs(ddq).max(axis=1) > 0.0)
        return delta_q, np.where(moves[:, None], delta_dq, 0.0)

    def offset(self, q: np.ndarray) -> np.ndarray:
        """e (n, 10) at references q (n, 10): it moves the sphere that it moves most by b_1."""
        angle = (q @ self._turn)[:, None]
        e = np.cos(angle) * self._directions[0] + np.sin(angle) * self._directions[1]
        small = 1e-4
        moved = np.linalg.norm(at_rest(self.robot, q + small * e)[0] - at_rest(self.robot, q)[0], axis=2).max(axis=1)
        least = small * LEAST * np.linalg.norm(self._lever * e, axis=1)  # joints that make up for each other
        return REACHED * self.model.position_bound[1] * small * e / np.maximum(moved, least)[:, None]

    def drift(self, q: np.ndarray, dq: np.ndarray) -> np.ndarray:
        """The offset's rate (n, 10) while the reference moves at dq (n, 10)."""
        return (self.offset(q + 1e-4 * dq) - self.offset(q - 1e-4 * dq)) / 2e-4

    def person(self, i: int, times: np.ndarray) -> np.ndarray:
        """True keypoints (T, J, 3) of person i at absolute times (T,): as seen at first, then straight on."""
        seen = self._people[i]
        stamps = seen.stamp + HISTORY_STEP * np.arange(1 - len(seen.history), 1)
        velocity = (seen.history[-1] - seen.history[0])[INDEX["pelvis"]] / (stamps[-1] - stamps[0])
        velocity[2] = 0.0
        k = np.clip(np.searchsorted(stamps, times, side="right") - 1, 0, len(stamps) - 2)
        share = np.clip((times - stamps[k]) / HISTORY_STEP, 0.0, 1.0)[:, None, None]
        past = (1.0 - share) * seen.history[k] + share * seen.history[k + 1]
        return past + np.maximum(times - seen.stamp, 0.0)[:, None, None] * velocity

    def people(self, now: float, latency: float) -> tuple[PersonState, ...]:
        """What is seen of them at `now`."""
        stamp = now - latency
        found = []
        for i, seen in enumerate(self._people):
            history = self.person(i, stamp + HISTORY_STEP * np.arange(1 - len(seen.history), 1))
            found.append(PersonState(seen.name, history[-1], stamp, history))
        return tuple(found)


@dataclass(frozen=True)
class WrongModel(LearnedWorldModel):
    """What the planner believes. `told`: whether it is told how wrong that is."""

    plant: Plant | None = None
    away: bool = False  # predicts people farther from the robot than they are, else anywhere
    direction: tuple[float, ...] = (0.0, 0.0, 1.0)
    told: bool = True

    @property
    def position_bound(self) -> np.ndarray:
        return self.actuators.position_bound * self.told

    @property
    def speed_bound(self) -> float:
        return self.actuators.speed_bound * self.told

    def residual(self, q: np.ndarray, dq: np.ndarray, ddq: np.ndarray, state: State) -> tuple[np.ndarray, np.ndarray]:
        assert self.plant is not None
        stated = self.actuators.position_bound
        more = 1.0 - stated[np.minimum(np.arange(len(q)), len(stated) - 1), None] / stated[1]
        led = np.concatenate([ddq[:1], ddq[:-1]])
        delta_q, delta_dq = self.plant.residual(q, dq, led)
        delta_q += more * self.plant.offset(q)
        delta_dq += more * self.plant.drift(q, dq)
        delta_q[0], delta_dq[0] = state.robot.q - state.robot.q_ref, state.robot.dq - state.robot.dq_ref
        return delta_q, delta_dq

    def residual_jacobians(
        self, q: np.ndarray, dq: np.ndarray, ddq: np.ndarray, state: State
    ) -> tuple[np.ndarray, np.ndarray]:
        robot = state.robot  # as if it carried nothing
        robot = replace(robot, q=robot.q_ref - self.actuators.latency * robot.dq_ref)
        return self.actuators.residual_jacobians(q, dq, ddq, robot)

    def predict_people(self, state: State, times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        assert self.plant is not None
        keypoints, bound = super().predict_people(state, times)
        for i in range(len(state.people)):
            keypoints[:, i] = self.plant.person(i, state.time + times)
            direction = np.array(self.direction)
            if self.away:
                direction = state.people[i].keypoints[INDEX["pelvis"]] - tcp_pose(state.robot.q)[0]
                direction[2] = 0.0
            keypoints[:, i] += bound[:, i, :, None] * direction / np.linalg.norm(direction)
        return keypoints, bound * self.told


@dataclass(frozen=True)
class Run:
    """What happened, for the judge and the tests."""

    q: np.ndarray  # (n+1, 10) reference at the ticks
    dq: np.ndarray  # (n+1, 10), linear in between
    plans: tuple[tuple[State, Plan, float], ...]  # state, plan and its time [ms]
    arrived: bool


def wrong_model(problem: PlanningProblem, plant: Plant, told: bool = True) -> WrongModel:
    """The problem's model as the planner gets it."""
    m = problem.model
    direction = plant.generator.normal(size=3)
    away = (problem.seed + len(problem.joints)) % 2 == 0
    return WrongModel(m.people, m.actuators, m.outcomes, m.keypoint_speed, m.human_error, plant=plant,
                      direction=tuple(direction / np.linalg.norm(direction)), away=away, told=told)  # fmt: skip


def drive(problem: PlanningProblem, plant: Plant, model: WrongModel) -> Run:
    """At most TIME_LIMIT of planning at 10 Hz; a plan that is not solved is not followed: the reference brakes."""
    replanner = Replanner(optimizer(replace(problem, model=model)))
    start = problem.state.robot
    q, dq, ddq = [start.q_ref], [start.dq_ref], np.zeros(10)
    plans: list[tuple[State, Plan, float]] = []
    for tick in range(round(TIME_LIMIT / TICK)):
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
        keypoints = np.stack(people, axis=1) if people else np.zeros((len(sample), 0, len(INDEX), 3))
        zero = np.zeros(len(sample))
        truth = Trajectory(times, states, np.zeros((len(sample) - 1, 11)), keypoints, np.zeros(keypoints.shape[:3]),
                           zero, zero, ddq[k])  # fmt: skip
        for name, margin in rule_margins(problem, truth).items():
            least = -np.inf if np.isnan(margin).any() else float(margin.min(initial=np.inf))
            smallest[name] = min(smallest.get(name, np.inf), least)
    return smallest


def record(problem: PlanningProblem, told: bool = True) -> dict[str, Any]:
    """One run, judged."""
    plant = Plant(problem)
    run = drive(problem, plant, wrong_model(problem, plant, told))
    margins = judge(problem, plant, run)
    ms = [m for _, _, m in run.plans]
    return {
        "problem": problem.name, "kind": problem.kind, "joints": len(problem.joints), "seed": problem.seed,
        "arrived": run.arrived, "seconds": round(TICK * (len(run.q) - 1), 3),
        "margins": {name: m for name, m in margins.items() if m < np.inf},
        "violations": {name: m for name, m in margins.items() if not m >= -FEASIBLE},
        "plans": {status.value: sum(p.status is status for _, p, _ in run.plans) for status in Status},
        "ms_p50": round(float(np.median(ms)), 2), "ms_max": round(max(ms), 2),
    }  # fmt: skip
