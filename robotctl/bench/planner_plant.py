"""This file makes a planning problem's truth, and a model of it that is wrong by as much as it states.

The plant is a fixed function of the reference, one and the same for all plans: what the packaged actuator model says,
without its guess of the payload (it would learn the error away), plus an offset of joints e(q). Every plan's first
sample is measured; at its knot k the planner's model is off by e(q) b_k / b_1, b being the stated bound, and e moves
the sphere it moves most by 0.98 b_1: every plan is wrong by what is stated at every knot. e depends on where the
joints are, as gears do, and not on time, because a robot whose reference rests is stated to stand still. People walk
straight on across the goal; every keypoint is predicted off by its whole bound.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from robotctl.bench.planner_checker import STILL, rule_margins
from robotctl.bench.planner_journeys import KIND as JOURNEY
from robotctl.bench.planner_problems import KINDS, PlanningProblem
from robotctl.bench.planner_surroundings import at_rest
from robotctl.body import INDEX, KEYPOINTS
from robotctl.guardrails.guardrail import Assumptions
from robotctl.planning.tables import levers
from robotctl.robot import tcp_pose
from robotctl.state import PersonState, State
from robotctl.trajectory import Trajectory
from robotctl.world_model.composite import LearnedWorldModel

DRIVEN = (*KINDS, JOURNEY)
REACHED = 0.98  # share of the stated bounds: offsets turn points, and bounds are of straight lines
LEAST = 0.3  # share of its levers by which an offset of joints moves the robot, or it is not made larger
TURNS = 0.6  # [rad] by which the offset turns per radian of joint motion, in half of the runs
CANDIDATES = 32
PLACES = ("furniture-clearance", "stove-keep-out", "contact:furniture", "contact:object", "upright-when-filled")
HISTORY_STEP = 0.1  # [s] between the readings of a person
PASSING = (0.6, 1.2)  # a person passes the goal so far away [m], so long after the start [s]
NOTHING = 0.01  # [m/s] top speed of people for a planner that is told that nothing moves unforeseen


def in_the_way(problem: PlanningProblem) -> PlanningProblem:
    """The problem with its person moved, so that the way straight on passes the goal at PASSING."""
    if not problem.state.people:
        return problem
    moved = []
    tip = tcp_pose(np.asarray(problem.goal.q))[0]
    for person in problem.state.people:
        pelvis = person.history[:, INDEX["pelvis"]]
        velocity = _velocity(person.history)
        along = velocity / np.linalg.norm(velocity)
        aside = pelvis[-1] - tip
        aside -= (aside @ along) * along
        aside[2] = 0.0
        aside *= PASSING[0] / np.linalg.norm(aside)
        shift = tip + aside - PASSING[1] * velocity - pelvis[-1]
        shift[2] = 0.0
        moved.append(replace(person, keypoints=person.keypoints + shift, history=person.history + shift))
    return replace(problem, state=replace(problem.state, people=tuple(moved)))


def nothing_assumed(a: Assumptions) -> Assumptions:
    """For the control: everything is where it is predicted."""
    return replace(a, human_speed=dict.fromkeys(a.human_speed, NOTHING), sensing_latency=0.0, human_error=0.0,
                   object_error=0.0, tracking_error=0.0, tracking_speed_error=0.0, actuation_latency=0.0)  # fmt: skip


def _velocity(history: np.ndarray) -> np.ndarray:
    """Horizontal velocity (3,) [m/s] of a person seen (T, J, 3)."""
    pelvis = history[:, INDEX["pelvis"]]
    velocity = (pelvis[-1] - pelvis[0]) / (HISTORY_STEP * (len(history) - 1))
    velocity[2] = 0.0
    return np.asarray(velocity)


class Plant:
    """What is true: where the joints are for a reference, and where the person is."""

    def __init__(self, problem: PlanningProblem, scale: float = 1.0) -> None:
        """scale: the error is that many times the stated one; 0: there is none."""
        self.robot, self.model, self.scale = problem.robot, problem.model, scale
        self._generator = np.random.default_rng([problem.seed, DRIVEN.index(problem.kind), len(problem.joints), 1])
        self._free = free = list(problem.joints)
        self._lever = np.ones(10)
        self._lever[2:] = np.maximum(levers(problem.robot).max(axis=0), 0.1)
        self._turn = np.zeros(10)
        if self._generator.uniform() < 0.5:
            self._turn[free] = TURNS * self._generator.choice((-1.0, 1.0), len(free)) / np.sqrt(len(free))
        self.people_off = self._generator.normal(size=3)  # where people are predicted, in half of the runs
        self._directions = np.zeros((2, 10))
        self._directions[:, free] = self._generator.normal(size=(2, len(free))) / self._lever[free]
        self._people = problem.state.people

    def turn_against(self, problem: PlanningProblem, q: np.ndarray) -> None:
        """Of CANDIDATES directions takes the one that brings the motion q (n, 10) nearest to what stands about."""
        n = len(q)
        value = self.residual(q, 0.0 * q, 0.0 * q)[0]
        none, zero, still = np.zeros((n, 0, len(KEYPOINTS), 3)), np.zeros(n), np.zeros((n, 10))
        drawn, gaps = [], []
        for _ in range(CANDIDATES):
            self._directions = np.zeros((2, 10))
            self._directions[:, self._free] = (
                self._generator.normal(size=(2, len(self._free))) / self._lever[self._free]
            )
            states = np.concatenate([q + value + self.offset(q), still], axis=1)
            truth = Trajectory(zero, states, np.zeros((n - 1, 11)), none, none[..., 0], zero, zero, still)
            margins = rule_margins(problem, truth)
            drawn.append(self._directions)
            gaps.append(min(float(margins[m].min(initial=np.inf)) for m in PLACES if m in margins))
        self._directions = drawn[int(np.argmin(gaps))]

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
        return self.scale * REACHED * self.model.position_bound[1] * small * e / np.maximum(moved, least)[:, None]

    def drift(self, q: np.ndarray, dq: np.ndarray) -> np.ndarray:
        """The offset's rate (n, 10) while the reference moves at dq (n, 10)."""
        return (self.offset(q + 1e-4 * dq) - self.offset(q - 1e-4 * dq)) / 2e-4

    def person(self, i: int, times: np.ndarray) -> np.ndarray:
        """True keypoints (T, J, 3) of person i at absolute times (T,): as seen at first, then straight on."""
        seen = self._people[i]
        stamps = seen.stamp + HISTORY_STEP * np.arange(1 - len(seen.history), 1)
        k = np.clip(np.searchsorted(stamps, times, side="right") - 1, 0, len(stamps) - 2)
        share = np.clip((times - stamps[k]) / HISTORY_STEP, 0.0, 1.0)[:, None, None]
        past = (1.0 - share) * seen.history[k] + share * seen.history[k + 1]
        return past + np.maximum(times - seen.stamp, 0.0)[:, None, None] * _velocity(seen.history)

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
    def _stated(self) -> float:
        return self.plant.scale if self.plant is not None and self.told else 0.0

    @property
    def position_bound(self) -> np.ndarray:
        return self.actuators.position_bound * self._stated

    @property
    def speed_bound(self) -> float:
        return self.actuators.speed_bound * self._stated

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


def wrong_model(problem: PlanningProblem, plant: Plant, told: bool = True) -> WrongModel:
    """The problem's model as the planner gets it."""
    m = problem.model
    away = (problem.seed + len(problem.joints)) % 2 == 0
    return WrongModel(m.people, m.actuators, m.outcomes, m.contact, m.keypoint_speed, m.human_error, plant=plant,
                      direction=tuple(plant.people_off), away=away, told=told)  # fmt: skip
