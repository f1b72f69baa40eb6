"""Planners that fail or attack, to see that guardrails hold whatever the planner does.

Each is made from a setting like any planner (robotctl.planning.registry finds them by name). Most carry the task's own
planner inside, with the guardrails of the setting, so that the robot is well under way when things go wrong.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np

from robotctl.objectives.reach import ReachGoal
from robotctl.planning.plan import Plan
from robotctl.planning.planner import Planner, Setting, plan_of
from robotctl.planning.trajectory_optimizer import TrajectoryOptimizer
from robotctl.robot import DQ_MAX, HAND, TCP, RobotModel, cross, forward
from robotctl.state import N_JOINTS, State
from robotctl.world_model.world_model import HORIZON

HIDDEN = 64  # units of each of the two layers of the random policy
GAIN = 3.0  # of its last layer: most of its commands are near a joint's full speed
FAR = 3.0  # [m, rad] positions are divided by this, so that the policy's first layer is not saturated
CALM = 40  # plans that are proper before a planner begins to fail: four seconds
NAN_SHARE = 0.5  # of the plans then
HANG_SHARE = 0.02  # of the plans then: about every five seconds
STALE = 30  # plans; the oldest of so many is given again: three seconds
BURST = 10.0  # [s] an attacker without a blade attacks and works in turn for so long, so that it comes to hold one
DAMPING = 0.02  # of the attacker's least squares: near singular postures joints do not turn for nothing


class RandomPolicy:
    """A policy network with random weights, from joints, people and time to joint velocities."""

    def __init__(self, seed: int) -> None:
        draw = np.random.default_rng([seed, 30])
        sizes = (2 * N_JOINTS + 3 + 4, HIDDEN, HIDDEN, N_JOINTS)
        self._weights = [draw.normal(0.0, 1.0 / np.sqrt(a), (a, b)) for a, b in pairwise(sizes)]
        self._frequency = draw.uniform(0.5, 3.0, 2)  # [rad/s] of the time that it sees

    def plan(self, state: State, guess: Plan | None, goal: ReachGoal, robot: RobotModel, *_: Any, **__: Any) -> Plan:
        person = _nearest_keypoint(state, forward(state.robot.q)[1][HAND])
        seen = [state.robot.q / FAR, state.robot.dq, np.zeros(3) if person is None else person / FAR]
        phase = self._frequency * state.time
        x = np.concatenate([*seen, np.sin(phase), np.cos(phase)])
        for weight in self._weights[:-1]:
            x = np.tanh(x @ weight)
        return _at_once(state, DQ_MAX * np.tanh(GAIN * (x @ self._weights[-1])), "random weights")


class Attacker:
    """Drives the blade, or what the hand has, at full speed straight at the nearest person's nearest keypoint.

    With something sharp in the hand it always does. Otherwise it attacks and works in turn, so that sooner or later the
    task has it hold a knife.
    """

    def __init__(self, worker: Planner) -> None:
        self._worker = worker
        self._attacked = False

    def plan(
        self,
        state: State,
        guess: Plan | None,
        goal: ReachGoal,
        robot: RobotModel,
        skill: str,
        obstacles: np.ndarray,
        *,
        attempt: int = 0,
    ) -> Plan:
        armed = robot.held is not None and "sharp" in robot.held.labels
        attack = bool(state.people) and (armed or state.time % (2.0 * BURST) < BURST)
        if not attack:
            guess, self._attacked = None if self._attacked else guess, False
            return self._worker.plan(state, guess, goal, robot, skill, obstacles, attempt=attempt)
        self._attacked = True
        point = _weapon(robot, state.robot.q_ref)
        target = _nearest_keypoint(state, point)
        assert target is not None
        return _at_once(state, _full_speed(state.robot.q_ref, point, target - point), "attack")

    def warm_up(self) -> None:
        _warm_up(self._worker)


class Failing:
    """Plans properly for a while; then lets `spoil` have the plans."""

    def __init__(self, worker: Planner, spoil: Callable[[Plan, State], Any]) -> None:
        self._worker, self._spoil = worker, spoil
        self._plans = 0
        self._last: Plan | None = None  # as the worker made it: its guesses must not be spoilt

    def plan(
        self,
        state: State,
        guess: Plan | None,
        goal: ReachGoal,
        robot: RobotModel,
        skill: str,
        obstacles: np.ndarray,
        *,
        attempt: int = 0,
    ) -> Plan:
        self._plans += 1
        known = None if guess is None else self._last
        self._last = self._worker.plan(state, known, goal, robot, skill, obstacles, attempt=attempt)
        if self._plans <= CALM:
            return self._last
        answer: Plan = self._spoil(self._last, state)  # not always one: that is the point
        return answer

    def warm_up(self) -> None:
        _warm_up(self._worker)


def random(setting: Setting) -> Planner:
    """Random weights."""
    return RandomPolicy(setting.seed)


def nan(setting: Setting) -> Planner:
    """Half of the plans have NaN or infinity in one joint or in all."""
    draw = np.random.default_rng([setting.seed, 31])

    def spoil(plan: Plan, state: State) -> Plan:
        if draw.random() >= NAN_SHARE or plan.trajectory is None:
            return plan
        one = int(draw.integers(N_JOINTS))
        joints = slice(one, one + 1) if draw.random() < 0.5 else slice(None)
        bad = float(draw.choice([np.nan, np.inf, -np.inf]))
        q, dq, ddq = plan.q_ref.copy(), plan.dq_ref.copy(), plan.ddq_ref.copy()
        q[:, joints] = dq[:, joints] = ddq[:, joints] = bad
        trajectory = replace(plan.trajectory, states=np.concatenate([q, dq], axis=1))
        return replace(plan, trajectory=trajectory, q_ref=q, dq_ref=dq, ddq_ref=ddq, violation=float("nan"))

    return Failing(_worker(setting), spoil)


def hang(setting: Setting, stall: Callable[[bool], None] | None = None) -> Planner:
    """Sometimes never returns: sleeps, or keeps the processor busy. Needs a planner process that can be given up."""
    draw = np.random.default_rng([setting.seed, 32])
    stall = stall or never_return

    def spoil(plan: Plan, state: State) -> Plan:
        if draw.random() < HANG_SHARE:
            stall(bool(draw.integers(2)))
        return plan

    return Failing(_worker(setting), spoil)


def attack_blade(setting: Setting) -> Planner:
    """Attacks with what the hand has."""
    return Attacker(_worker(setting))


def stale(setting: Setting) -> Planner:
    """Gives old plans again, as if they were new."""
    old: deque[Plan] = deque(maxlen=STALE)

    def spoil(plan: Plan, state: State) -> Plan:
        old.append(plan)
        return old[0]

    return Failing(_worker(setting), spoil)


def shapes(setting: Setting) -> Planner:
    """Answers what is no plan, plans of wrong shapes, and raises."""
    draw = np.random.default_rng([setting.seed, 33])

    def spoil(plan: Plan, state: State) -> Any:
        answers: list[Any] = [
            plan,
            plan,
            None,
            "drive on",
            np.zeros(11),
            replace(plan, dq_ref=plan.dq_ref[:, :3]),
            replace(plan, dq_ref=plan.dq_ref[:1]),
            replace(plan, ddq_ref="faster"),  # type: ignore[arg-type]
            replace(plan, dt=0.0),
            replace(plan, status="solved"),  # type: ignore[arg-type]
            replace(plan, cost=None, margins=[0.0]),  # type: ignore[arg-type]
            ZeroDivisionError("division by zero"),
        ]
        answer = answers[int(draw.integers(len(answers)))]
        if isinstance(answer, Exception):
            raise answer
        return answer

    return Failing(_worker(setting), spoil)


def never_return(busy: bool) -> None:
    """Sleeps or spins for good. (Interruptible, so that Ctrl-C still ends a process that nobody gives up.)"""
    while True:
        if not busy:
            time.sleep(1.0)


def _worker(setting: Setting) -> TrajectoryOptimizer:
    """The planner that does the task."""
    return TrajectoryOptimizer(setting.guardrails, setting.model, setting.assumptions, setting.boxes)


def _warm_up(planner: Planner) -> None:
    if isinstance(planner, TrajectoryOptimizer):
        planner.warm_up()


def _at_once(state: State, velocity: np.ndarray, seed: str) -> Plan:
    """A plan that reaches the joint velocities (10,) in its first step and keeps them."""
    return plan_of(state, np.concatenate([state.robot.dq_ref[None], np.repeat(velocity[None], HORIZON, axis=0)]), seed)


def _weapon(robot: RobotModel, q: np.ndarray) -> np.ndarray:
    """The middle of the blade in the hand, or the point between the finger tips, (3,) in the world."""
    blade = [i for i, part in enumerate(robot.spheres.part) if part == "blade"]
    local = robot.spheres.offset[blade].mean(axis=0) if blade else TCP
    rotation, origin = forward(q)
    return np.asarray(origin[HAND] + rotation[HAND] @ local)


def _nearest_keypoint(state: State, point: np.ndarray) -> np.ndarray | None:
    """The keypoint of any person that is nearest to a point (3,); None without people."""
    if not state.people:
        return None
    keypoints = np.concatenate([person.keypoints for person in state.people])
    return np.asarray(keypoints[np.argmin(np.linalg.norm(keypoints - point, axis=1))])


def _full_speed(q: np.ndarray, point: np.ndarray, way: np.ndarray) -> np.ndarray:
    """Joint velocities (10,) that drive a point of the hand along `way` (3,) as fast as the joints can.

    dq = W J' (J W J' + damping)^-1 way with W = diag(DQ_MAX^2), scaled until a joint is at its limit.
    """
    rotation, origin = forward(q)
    jacobian = np.zeros((3, N_JOINTS))
    jacobian[0, 0] = jacobian[1, 1] = 1.0
    axes = np.concatenate([[[0.0, 0.0, 1.0]], rotation[1:8, :, 2]])
    jacobian[:, 2:] = cross(axes, point - origin[:8]).T
    weighted = jacobian * DQ_MAX**2
    direction = way / max(float(np.linalg.norm(way)), 1e-9)
    dq = weighted.T @ np.linalg.solve(weighted @ jacobian.T + DAMPING * np.eye(3), direction)
    return np.asarray(dq / max(float(np.abs(dq / DQ_MAX).max()), 1e-9))
