"""The optimizer: rows are the guardrails and their gradients are right, plans reach, keep the rules, and say so."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robotctl.body import INDEX, KEYPOINTS
from robotctl.errors import UsageError
from robotctl.geometry import namespace, point_box_distance, rotation_z
from robotctl.guardrails.blade_speed import BladeSpeed
from robotctl.guardrails.clearance import Clearance
from robotctl.guardrails.guardrail import Assumptions, Guardrail, Header, Scope, in_force, parts
from robotctl.guardrails.joint_limits import JointLimits
from robotctl.guardrails.keep_out import KeepOut
from robotctl.guardrails.separation import Separation
from robotctl.guardrails.speed import Speed
from robotctl.guardrails.upright import Upright
from robotctl.objectives.hand_path import HandPath
from robotctl.objectives.reach import ReachGoal
from robotctl.planning import seeds, sqp
from robotctl.planning.cost import ReachCost
from robotctl.planning.inverse_kinematics import solve, turned
from robotctl.planning.kernels import forward_batch
from robotctl.planning.plan import Plan, Status
from robotctl.planning.qp import solve_qp
from robotctl.planning.route import Route
from robotctl.planning.row_gradients import linearise
from robotctl.planning.rows import ALLOWED, BOX, STOP, TILT, evaluate
from robotctl.planning.tables import Surroundings, bare_tightening, boxes_of, build
from robotctl.planning.trajectory_optimizer import TrajectoryOptimizer
from robotctl.robot import BRAKE, DDQ_MAX, DQ_MAX, HOME, Q_MAX, Q_MIN, RobotModel, forward, tcp_pose
from robotctl.state import TICK, Held, PersonState, RobotState, State
from robotctl.trajectory import Trajectory
from robotctl.world_model.kinematic import KinematicModel, integrate

jax.config.update("jax_enable_x64", True)

ASSUMPTIONS = Assumptions({"torso": 1.6, "arm": 2.0, "hand": 2.0, "leg": 3.0}, 0.05, 0.02, 0.004, 0.008, 0.06, 0.06)
DOWN = np.diag([1.0, -1.0, -1.0])  # hand rotation: fingers point down


@dataclass(frozen=True)
class Box:
    center: np.ndarray
    half: np.ndarray
    yaw: float = 0.0


def box(center: Sequence[float], half: Sequence[float], yaw: float = 0.0) -> Box:
    return Box(np.array(center, float), np.array(half, float), yaw)


TABLE = (
    box((0.3, -0.6, 0.73), (0.7, 0.4, 0.02)),
    *(box((0.3 + 0.65 * x, -0.6 + 0.35 * y, 0.355), (0.03, 0.03, 0.355)) for x in (-1, 1) for y in (-1, 1)),
)
COUNTER = (box((0.0, 1.8, 0.45), (1.6, 0.3, 0.45)), box((0.0, 2.2, 1.25), (2.5, 0.1, 1.25)))
KITCHEN = (*COUNTER, *TABLE)
START = np.array([0.3, 0.65, 0.0, *HOME[3:]])
REACHING = np.array([0.3, 0.55, -np.pi / 2, 0.0, 0.2, 0.0, -1.9, 0.0, 2.1, 0.785])  # the hand above the table


def header(name: str, **scope: frozenset[str]) -> Header:
    return Header(name, 2, "test", Scope(**scope))


HOUSEHOLD: tuple[Guardrail, ...] = (
    Separation(header("separation"), 0.12, 1.5, 1.5),
    BladeSpeed(header("blade", held=frozenset({"sharp"})), 0.30, 1.0, 0.25),
    Clearance(header("clearance"), 0.005, boxes_of(KITCHEN)),
    KeepOut(header("stove"), boxes_of([box((1.3, 1.8, 1.2), (0.3, 0.3, 0.3))])),
    Upright(header("upright", held=frozenset({"fillable"})), float(np.cos(np.deg2rad(20.0)))),
    Speed(header("speed"), 1.2),
    JointLimits(header("joint_limits")),
)


def body_at(x: float, y: float, yaw: float) -> np.ndarray:
    """A standing person's keypoints (J, 3), looking along yaw."""
    height = {
        "head": 1.65, "neck": 1.45, "chest": 1.3, "pelvis": 0.95, "shoulder": 1.4, "elbow": 1.1, "wrist": 0.85,
        "hand": 0.75, "hip": 0.92, "knee": 0.5, "ankle": 0.08, "toe": 0.05,
    }  # fmt: skip
    side = {"shoulder": 0.2, "elbow": 0.24, "wrist": 0.25, "hand": 0.25, "hip": 0.12, "knee": 0.12, "ankle": 0.12}
    points = np.zeros((len(KEYPOINTS), 3))
    for name, i in INDEX.items():
        word = name.split("_")[-1]
        sign = -1.0 if name.startswith("right") else (1.0 if name.startswith("left") else 0.0)
        points[i] = (0.2 if word == "toe" else 0.0, sign * side.get(word, 0.12), height[word])
    return points @ rotation_z(yaw).T + [x, y, 0.0]


class Walking(KinematicModel):
    """Predicts people who walk on with constant velocity, within a small bound."""

    velocity = np.zeros(2)

    def predict_people(self, state: State, times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        keypoints, bound = super().predict_people(state, times)
        for i, person in enumerate(state.people):
            since = times + state.time - person.stamp
            keypoints[:, i, :, :2] += since[:, None, None] * self.velocity
            bound[:, i] = 0.03 + 0.1 * since[:, None]
        return keypoints, bound


class Sagging(KinematicModel):
    """Joints trail their reference and sag with the arm's reach, as a learned residual would say."""

    def residual(self, q, dq, ddq, state):
        return q @ SAG.T + dq @ TRAIL.T, np.zeros_like(dq)

    def residual_jacobians(self, q, dq, ddq, state):
        return np.tile(SAG, (len(q), 1, 1)), np.tile(TRAIL, (len(q), 1, 1))


SAG, TRAIL = np.zeros((10, 10)), -0.02 * np.eye(10)
SAG[4, 4], SAG[6, 6], SAG[6, 4] = 0.03, 0.02, 0.015


@cache
def speeds() -> np.ndarray:
    return ASSUMPTIONS.keypoint_speed()


def optimizer(guardrails: Sequence[Guardrail] = HOUSEHOLD, model: KinematicModel | None = None) -> TrajectoryOptimizer:
    return TrajectoryOptimizer(guardrails, model or KinematicModel(speeds()), ASSUMPTIONS, KITCHEN)


def state_at(
    q: np.ndarray, dq: np.ndarray | None = None, people: tuple[PersonState, ...] = (), time: float = 0.0
) -> State:
    dq = np.zeros(10) if dq is None else dq
    return State(time, RobotState(q, dq, q, dq, 0.08), people=people)


def person(x: float, y: float, yaw: float = 0.0, stamp: float = 0.0) -> PersonState:
    keypoints = body_at(x, y, yaw)
    return PersonState("ann", keypoints, stamp, keypoints[None])


def goal_at(q: np.ndarray) -> ReachGoal:
    return ReachGoal(*tcp_pose(q), q)


def holding(*labels: str) -> RobotModel:
    """The robot with a stick in the hand: along the hand's y axis if sharp, upright below it otherwise."""
    T = np.eye(4)
    T[:3, :3] = DOWN
    T[:3, 3] = (0.0, 0.0, 0.15)
    along = np.array([[0.0, y, 0.0] for y in (-0.08, 0.0, 0.08, 0.16)])
    held = Held("thing", "thing", frozenset(labels), T)
    return RobotModel().holding(
        held, along, np.full(4, 0.02), np.array([False, False, True, True]) & ("sharp" in labels)
    )


def tip_error(q: np.ndarray, goal: ReachGoal) -> float:
    return float(np.linalg.norm(tcp_pose(q)[0] - goal.position))


# ---- kinematics and rows -------------------------------------------------------------------------------------


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000))
def test_the_kernels_have_the_robots_kinematics(seed: int) -> None:
    q = np.random.default_rng(seed).uniform(Q_MIN, Q_MAX, (3, 10))
    for mine, theirs in zip(forward_batch(q), forward(q), strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-12)


def surroundings(keypoints: np.ndarray, bound: np.ndarray) -> Surroundings:
    return Surroundings(boxes_of(KITCHEN), np.zeros((0, 4)), keypoints, bound, speeds(), 0.0, Q_MIN, Q_MAX, 0.0)


def random_motion(seed: int, people: int = 1) -> tuple[Trajectory, Surroundings]:
    """Configurations and speeds near the table, with people around; the first sample is not looked at."""
    rng = np.random.default_rng(seed)
    n = 6
    q = REACHING + rng.normal(0.0, 0.3, (n, 10))
    dq = rng.normal(0.0, 0.3, (n, 10))
    keypoints = np.zeros((n, people, len(KEYPOINTS), 3))
    for k in range(n):
        for p in range(people):
            keypoints[k, p] = body_at(*rng.uniform((-0.6, -1.4), (1.2, 0.2)), rng.uniform(-3, 3))
    bound = rng.uniform(0.0, 0.1, keypoints.shape[:3])
    trajectory = Trajectory(
        0.1 * np.arange(n), np.concatenate([q, dq], axis=1), np.zeros((n - 1, 11)), keypoints, bound,
        rng.uniform(0.0, 0.02, n), np.zeros(n), np.zeros((n, 10)),
    )  # fmt: skip
    return trajectory, surroundings(keypoints, bound)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from(["none", "sharp", "fillable"]), st.integers(0, 2))
def test_rows_are_the_guardrails_margins(seed: int, held: str, people: int) -> None:
    trajectory, around = random_motion(seed, people)
    robot = RobotModel() if held == "none" else holding(held)
    rules = in_force(HOUSEHOLD, robot.held, "pick")
    tables = build(rules, robot, around, [])
    tight = bare_tightening(trajectory.position_bound, trajectory.speed_bound)
    worst = evaluate(trajectory.q, trajectory.dq, tables, tight, 8).worst
    sweep = robot.sweep(trajectory)
    for column, guardrail in enumerate(rules):
        if isinstance(guardrail, JointLimits):
            continue
        margin = guardrail.margin(sweep, robot).min(axis=1)[1:]
        mine = worst[1:, column]
        near = mine < 0.35  # rows with more slack are left out where they cannot matter
        np.testing.assert_allclose(mine[near], margin[near], atol=1e-9)
        assert np.all(margin[~near] >= 0.35)


def test_row_gradients_are_the_gradients_of_the_margins() -> None:
    """Every selected row against jax's derivative of the guardrail's own margin."""
    robot = holding("sharp", "fillable")  # all guardrails at once
    rules = in_force(HOUSEHOLD, robot.held, "pick")
    trajectory, around = random_motion(1)
    differentiate = jax.jit(jax.jacfwd(_margins(rules, robot, trajectory)))
    checked = set()
    for seed in range(5):
        states = random_motion(seed)[0].states
        q, dq = states[:, :10].copy(), states[:, 10:].copy()
        tables = build(rules, robot, around, [])
        tables = tables._replace(solids=tables.solids._replace(required=_without_contact(tables, len(rules))))
        tight = bare_tightening(trajectory.position_bound, trajectory.speed_bound)
        found = evaluate(q, dq, tables, tight, 8)
        gradient = linearise(q, dq, tables, tight, found)
        jacobians = differentiate(states)
        for k in range(1, len(states)):
            for row, mine in zip(found.row[k].reshape(-1, 3), gradient[k].reshape(-1, 20), strict=True):
                entry = _entry(row, tables, rules, robot)
                if entry is not None:
                    name, column = entry
                    np.testing.assert_allclose(mine, np.asarray(jacobians[name])[k, column, k], atol=1e-6)
                    checked.add(name)
    assert checked == {g.header.id for g in rules} - {"joint_limits", "stove"}


def _margins(rules: Sequence[Guardrail], robot: RobotModel, trajectory: Trajectory):
    def margins(states: jax.Array) -> dict[str, jax.Array]:
        sweep = robot.sweep(_as_jax(trajectory, states))
        return {g.header.id: g.margin(sweep, robot) for g in rules if not isinstance(g, JointLimits)}

    return margins


def _as_jax(trajectory: Trajectory, states: jax.Array) -> Trajectory:
    xp = namespace(jax.numpy.asarray(states))
    values = {
        name: xp.asarray(getattr(trajectory, name))
        for name in ("times", "keypoints", "keypoint_bound", "position_bound", "speed_bound", "acceleration")
    }
    return replace(trajectory, states=xp.asarray(states), **values)


def _without_contact(tables, owners: int) -> np.ndarray:
    """Required distances without the rows that no guardrail asks for."""
    required = tables.solids.required.copy()
    required[:, tables.solids.owner >= owners] = -np.inf
    return required


def _entry(row: np.ndarray, tables, rules: Sequence[Guardrail], robot: RobotModel) -> tuple[str, int] | None:
    """Guardrail id and column of its margin that a row stands for."""
    kind, first, second = row
    if kind == BOX:
        owner = tables.solids.owner[second]
        guardrail = rules[owner]
        block = np.flatnonzero(tables.solids.owner == owner)
        concerned = (
            parts(robot, "base", "arm", "hand") if isinstance(guardrail, Clearance) else np.arange(len(robot.spheres))
        )
        return guardrail.header.id, int(np.flatnonzero(concerned == first)[0] * len(block) + second - block[0])
    if kind == ALLOWED:
        guardrail = rules[tables.motion.owner[second]]
        concerned = parts(robot, "blade") if isinstance(guardrail, BladeSpeed) else np.arange(len(robot.spheres))
        return guardrail.header.id, int(np.flatnonzero(concerned == first)[0])
    if kind == TILT:
        return rules[tables.tilt.owner[second]].header.id, 0
    return None


def test_stop_rows_have_the_gradient_of_finite_differences() -> None:
    """The rows without a guardrail of their own: people must leave the robot its distance when a brake ends."""
    trajectory, around = random_motion(7)
    away = around.keypoints + np.array([0.0, -1.2, 0.0])
    tables = build(HOUSEHOLD, RobotModel(), replace(around, keypoints=away), [])
    n = len(trajectory.times)
    tight = bare_tightening(np.zeros(n), np.zeros(n))._replace(brake=BRAKE, latency=0.05, tick=0.05)

    def rows(states: np.ndarray):
        return evaluate(states[:, :10].copy(), states[:, 10:].copy(), tables, tight, 200)

    states = np.concatenate([trajectory.q, 0.3 * trajectory.dq], axis=1)
    found = rows(states)
    gradient = linearise(states[:, :10].copy(), states[:, 10:].copy(), tables, tight, found)
    checked = 0
    for k in range(1, n):
        stops = [i for i in range(200) if found.row[k, 1, i, 0] == STOP and found.value[k, 1, i] > 0.05][:4]
        for i in stops:
            numeric = np.zeros(20)
            for j in range(20):
                values = []
                for sign in (1.0, -1.0):
                    moved = states.copy()
                    moved[k, j] += sign * 1e-6
                    other = rows(moved)
                    same = np.all(other.row[k, 1] == found.row[k, 1, i], axis=1)
                    values.append(other.value[k, 1][same][0])
                numeric[j] = (values[0] - values[1]) / 2e-6
            np.testing.assert_allclose(gradient[k, 1, i], numeric, atol=1e-5)
            checked += 1
    assert checked >= 6


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10_000))
def test_the_costs_gradient_is_right(seed: int) -> None:
    rng = np.random.default_rng(seed)
    h = 5
    goal = goal_at(REACHING)
    if seed % 2:  # with a line of approach
        line = rng.normal(size=3)
        goal = replace(goal, along=line / np.linalg.norm(line))
    guide = None
    if seed % 3 == 0:  # on a route that ends within the horizon
        guide = Route.through(REACHING + np.linspace(-0.3, 0.0, 3)[:, None] * rng.normal(size=10)).guide(h + 1, 0.1)
    cost = ReachCost(goal, h, guide)
    q, dq = REACHING + rng.normal(0.0, 0.5, (h + 1, 10)), rng.normal(0.0, 0.5, (h + 1, 10))
    u = np.zeros((h, 10))
    nothing = np.zeros((h, 10, 10))
    weights = cost.weights(q)
    gradient = cost.expand(q, dq, q, (nothing, nothing), weights).gradient
    direction = rng.normal(size=(h + 1, 20))
    step = 1e-6

    def along(t: float) -> float:
        moved_q, moved_dq = q + t * direction[:, :10], dq + t * direction[:, 10:]
        return sum(cost.terms(moved_q, moved_dq, moved_q, u, weights).values())

    assert (gradient * direction[1:]).sum() == pytest.approx((along(step) - along(-step)) / (2 * step), rel=1e-4)


# ---- seeds ---------------------------------------------------------------------------------------------------


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000))
def test_tracked_seeds_respect_the_joints(seed: int) -> None:
    rng = np.random.default_rng(seed)
    q0, dq0 = rng.uniform(0.7 * Q_MIN, 0.7 * Q_MAX), rng.uniform(-0.3, 0.3, 10) * DQ_MAX
    goal = rng.uniform(0.95 * Q_MIN, 0.95 * Q_MAX)
    for _, path in seeds.seed_paths(q0, goal, DQ_MAX, 30, 0.1):
        u = seeds.track(q0, dq0, path, DQ_MAX, Q_MIN, Q_MAX, DDQ_MAX, 0.1)
        _, dq = integrate(q0, dq0, u)
        assert np.all(np.abs(u) <= DDQ_MAX + 1e-9)
        assert np.all(np.abs(dq) <= DQ_MAX + 1e-9)


def test_the_quickest_brake_stops_every_joint_within_its_limit() -> None:
    dq0 = 0.9 * DQ_MAX * np.where(np.arange(10) % 2, 1.0, -1.0)
    limit = 0.9 * np.minimum(DDQ_MAX, BRAKE)
    u = seeds.brake(dq0, limit, 30, 0.1)
    _, dq = integrate(START, dq0, u)
    np.testing.assert_allclose(dq[-1], 0.0, atol=1e-12)
    assert np.all(np.abs(u) <= limit + 1e-9)


# ---- plans ---------------------------------------------------------------------------------------------------


@dataclass
class Run:
    """A closed loop: what happened."""

    q: list[np.ndarray]
    plans: list[Plan]
    margin: dict[str, float]  # smallest true margin of the household, every 0.01 s
    reached: float | None  # when the tip came within 1 cm of the goal [s]


def close_loop(
    planner: TrajectoryOptimizer,
    goal: ReachGoal,
    seconds: float,
    q: np.ndarray = START,
    robot: RobotModel | None = None,
    walker: tuple[np.ndarray, np.ndarray] | None = None,
    obstacles: np.ndarray | None = None,
) -> Run:
    """Plan at 10 Hz, integrate the reference exactly; a person walks from a point with a velocity (2,) each."""
    robot = robot or RobotModel()
    dq, plan = np.zeros(10), None
    run = Run([q], [], {}, None)
    fine = np.arange(0.0, TICK, 0.01)

    def people_at(times: np.ndarray) -> np.ndarray:
        if walker is None:
            return np.zeros((len(times), 0, len(KEYPOINTS), 3))
        start, velocity = walker
        yaw = float(np.arctan2(velocity[1], velocity[0]))
        return np.array([[body_at(*(start + velocity * t), yaw)] for t in times])

    for tick in range(round(seconds / TICK)):
        now = TICK * tick
        if tick % 2 == 0:
            seen = people_at(np.array([now - 0.05]))[0]
            people = tuple(PersonState("ann", k, now - 0.05, k[None]) for k in seen)
            plan = planner.plan(state_at(q, dq, people, now), plan, goal, robot, "pick", obstacles)
            run.plans.append(plan)
        assert plan is not None
        velocity = plan.action(TICK * (tick % 2))[:10]
        u = (velocity - dq) / TICK
        keypoints = people_at(now + fine)
        n = len(fine)
        truth = Trajectory(
            fine,
            np.concatenate([q + fine[:, None] * dq + 0.5 * fine[:, None] ** 2 * u, dq + fine[:, None] * u], axis=1),
            np.zeros((n - 1, 11)),
            keypoints,
            np.zeros(keypoints.shape[:3]),
            np.zeros(n),
            np.zeros(n),
            np.tile(u, (n, 1)),
        )
        sweep = robot.sweep(truth)
        for guardrail in in_force(HOUSEHOLD, robot.held, "pick"):
            margin = guardrail.margin(sweep, robot)
            if margin.size:
                name = guardrail.header.id
                run.margin[name] = min(run.margin.get(name, np.inf), float(margin.min()))
        q, dq = q + 0.5 * TICK * (dq + velocity), velocity
        run.q.append(q)
        if run.reached is None and tip_error(q, goal) < 0.01:
            run.reached = now + TICK
    return run


def worst(run: Run) -> float:
    return min(run.margin.values())


def test_it_reaches_and_then_stands() -> None:
    goal = goal_at(REACHING)
    run = close_loop(optimizer(), goal, 4.0)
    assert run.reached is not None
    assert run.reached < 2.2
    assert tip_error(run.q[-1], goal) < 1e-3
    np.testing.assert_array_equal(run.q[-1], run.q[-2])  # exactly at rest
    assert worst(run) >= 0.0
    assert all(plan.status is Status.SOLVED for plan in run.plans)


def test_it_drives_and_turns_around() -> None:
    """1 m and 180 degrees, from the table to the counter, in about 3 s."""
    q = np.array([0.3, 0.35, -np.pi / 2, *HOME[3:]])
    position = np.array([-0.5, 1.68, 1.0])
    targets = [HandPath((position,), r) for r in turned(DOWN, np.linspace(0.0, 2 * np.pi, 12, endpoint=False))]
    best = solve(RobotModel(), boxes_of(KITCHEN), targets, q, np.random.default_rng(0))[0]
    goal = ReachGoal(position, targets[best.index].rotation, best.q[0])
    run = close_loop(optimizer(), goal, 4.5, q)
    assert np.linalg.norm(best.q[0][:2] - q[:2]) > 0.8
    assert run.reached is not None
    assert run.reached < 3.5
    assert worst(run) >= 0.0


def test_a_short_descent_is_straight_and_quick() -> None:
    position, rotation = tcp_pose(REACHING)
    below = position - [0.0, 0.0, 0.12]
    targets = [HandPath((position, below), rotation)]
    candidate = solve(RobotModel(), boxes_of(KITCHEN), targets, REACHING, np.random.default_rng(0))[0]
    aside = {}
    for line in (None, np.array([0.0, 0.0, -1.0])):
        goal = ReachGoal(below, rotation, candidate.q[1], along=line)
        run = close_loop(optimizer(), goal, 2.0, candidate.q[0])
        assert run.reached is not None
        assert run.reached < 0.9
        aside[line is None] = max(np.linalg.norm((tcp_pose(q)[0] - below)[:2]) for q in run.q)
    assert aside[True] < 0.02
    assert aside[False] < 0.004  # fingers that straddle a wall have 6 mm on either side
    assert worst(run) >= 0.0


def test_the_first_velocity_is_the_present_one_and_limits_hold() -> None:
    dq = np.array([0.3, -0.2, 0.5, 0.5, -0.4, 0.3, 0.2, -0.3, 0.4, -0.2])
    plan = optimizer().plan(state_at(START, dq), None, goal_at(REACHING), RobotModel(), "pick")
    np.testing.assert_array_equal(plan.q_ref[0], START)
    np.testing.assert_array_equal(plan.dq_ref[0], dq)
    q, velocity = integrate(START, dq, plan.ddq_ref)
    np.testing.assert_allclose(plan.q_ref, q, atol=1e-12)
    np.testing.assert_allclose(plan.dq_ref, velocity, atol=1e-12)
    assert np.all(np.abs(plan.ddq_ref) <= DDQ_MAX + 1e-9)
    assert np.all(np.abs(plan.dq_ref) <= DQ_MAX)
    np.testing.assert_allclose(plan.action(0.0)[:10], dq + TICK * plan.ddq_ref[0], atol=1e-12)
    np.testing.assert_allclose(plan.action(TICK)[:10], plan.dq_ref[1], atol=1e-12)
    assert not plan.action(100.0).any()


# ---- people --------------------------------------------------------------------------------------------------

CROSSING = (np.array([-2.5, -0.2]), np.array([0.9, 0.0]))  # along the table's north edge, through the robot's work
WALL = "separation"


def walking() -> Walking:
    model = Walking(speeds())
    object.__setattr__(model, "velocity", CROSSING[1])
    return model


@pytest.mark.parametrize("predictor", ["walking", "worst case"])
def test_it_lets_a_person_pass_and_reaches(predictor: str) -> None:
    model = walking() if predictor == "walking" else KinematicModel(speeds())
    goal = goal_at(REACHING)
    run = close_loop(optimizer(model=model), goal, 6.0, walker=CROSSING)
    assert worst(run) >= 0.0
    assert tip_error(run.q[-1], goal) < 0.01


def test_without_the_guardrail_the_violation_appears() -> None:
    """The same scene bites: only the separation guardrail keeps it harmless."""
    late = (np.array([-1.2, -0.2]), CROSSING[1])
    goal = goal_at(REACHING)
    others = [g for g in HOUSEHOLD if g.header.id != WALL]
    free = close_loop(optimizer(others, walking()), goal, 3.0, walker=late)
    assert free.margin[WALL] < -0.1
    kept = close_loop(optimizer(model=walking()), goal, 3.0, walker=late)
    assert kept.margin[WALL] >= 0.0


def test_it_stands_while_a_person_is_near_and_says_what_binds() -> None:
    near = person(0.3, -0.3)
    plan = optimizer().plan(state_at(START, people=(near,)), None, goal_at(REACHING), RobotModel(), "pick")
    assert plan.status is Status.SOLVED  # standing still is always safe
    assert not plan.action(0.0).any()
    np.testing.assert_allclose(plan.q_ref, np.tile(START, (31, 1)), atol=1e-2)


def test_surprised_in_motion_it_brakes_and_reports_the_guardrail() -> None:
    dq = np.zeros(10)
    dq[0] = 0.7
    plan = optimizer().plan(state_at(START, dq, (person(0.9, 0.65),)), None, goal_at(REACHING), RobotModel(), "pick")
    assert plan.status in (Status.INFEASIBLE, Status.TIMEOUT)
    assert plan.binding == WALL
    assert abs(plan.dq_ref[1, 0]) < 0.7 - 0.1 * 0.9 * DDQ_MAX[0]  # nearly the hardest brake
    assert np.all(np.abs(plan.dq_ref[8:]) < 5e-3)


def test_a_blade_is_carried_slowly() -> None:
    run = close_loop(optimizer(), goal_at(REACHING), 2.5, robot=holding("sharp"))
    assert run.margin["blade"] >= 0.0
    assert tip_error(run.q[-1], goal_at(REACHING)) < tip_error(START, goal_at(REACHING)) - 0.2


def test_every_program_starts_from_accelerations_that_it_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    """From nearly full speed, cold, where braking is tried first: a program that forbids it may have no solution."""
    allowed: list[bool] = []

    def watched(*arguments):
        low, high = arguments[9]  # on the change of the controls
        allowed.append(bool(np.all(low <= 1e-9) and np.all(high >= -1e-9)))
        return solve_qp(*arguments)

    monkeypatch.setattr(sqp, "solve_qp", watched)
    for sign in (-1.0, 1.0):
        fast = state_at(START, sign * 0.8 * DQ_MAX, people=(person(-0.5, 0.3),))
        optimizer().plan(fast, None, goal_at(REACHING), RobotModel(), "pick")
    assert allowed
    assert all(allowed)


def test_what_can_spill_stays_upright() -> None:
    tipped = REACHING.copy()
    tipped[8] -= 0.6  # a goal posture on which the way would tilt the hand by 34 degrees
    goal = ReachGoal(tcp_pose(REACHING)[0], None, tipped)
    start = START.copy()
    start[3:] = REACHING[3:]
    others = [g for g in HOUSEHOLD if g.header.id != "upright"]
    free = close_loop(optimizer(others), goal, 2.0, start, holding("fillable"))
    assert free.margin["upright"] < 0.0
    kept = close_loop(optimizer(), goal, 2.0, start, holding("fillable"))
    assert kept.margin["upright"] >= 0.0


# ---- obstacles and furniture ---------------------------------------------------------------------------------


def test_it_goes_around_an_object() -> None:
    start = REACHING.copy()
    start[0] -= 0.25
    end = REACHING.copy()
    end[0] += 0.25
    goal = goal_at(end)
    between = 0.5 * (tcp_pose(start)[0] + tcp_pose(end)[0])
    obstacles = np.array([[*between, 0.05], [*(between - [0, 0, 0.05]), 0.05]])

    def closest(run: Run) -> float:
        robot = RobotModel()
        center = robot.sphere_motion(np.array(run.q), np.zeros((len(run.q), 10)))[0]
        outer = robot.spheres.frame >= 5
        gap = np.linalg.norm(center[:, outer, None] - obstacles[:, :3], axis=-1) - obstacles[:, 3]
        return float((gap - robot.spheres.radius[outer, None]).min())

    through = close_loop(optimizer(), goal, 1.5, start)
    around = close_loop(optimizer(), goal, 3.0, start, obstacles=obstacles)
    assert closest(through) < -0.02
    assert closest(around) >= 0.0
    assert tip_error(around.q[-1], goal) < 0.01
    assert worst(around) >= 0.0


def test_a_goal_inside_furniture_is_approached_but_not_entered() -> None:
    position, rotation = tcp_pose(REACHING)
    inside = ReachGoal(np.array([0.3, -0.4, 0.62]), rotation, REACHING)
    run = close_loop(optimizer(), inside, 4.0)
    assert worst(run) >= 0.0
    assert np.linalg.norm(tcp_pose(run.q[-1])[0] - inside.position) < np.linalg.norm(position - inside.position)


def test_without_clearance_it_would_hit_the_table() -> None:
    """The robot would sink its palm into the table: the clearance row is what stops it."""
    rotation = tcp_pose(REACHING)[1]
    inside = ReachGoal(np.array([0.3, -0.4, 0.62]), rotation, REACHING)
    free = [g for g in HOUSEHOLD if g.header.id != "clearance"]
    planner = TrajectoryOptimizer(free, KinematicModel(speeds()), ASSUMPTIONS, ())
    assert close_loop(planner, inside, 2.5).margin["clearance"] < -0.01


# ---- the model's residual, faults, contracts ------------------------------------------------------------------


def test_the_hand_arrives_where_the_model_says_it_really_is() -> None:
    model = Sagging(speeds())
    goal = goal_at(REACHING)
    run = close_loop(optimizer(model=model), goal, 3.0)
    q = run.q[-1]
    sag = model.residual(q[None], np.zeros((1, 10)), np.zeros((1, 10)), state_at(q))[0][0]
    assert tip_error(q, goal) > 0.01  # the reference is deliberately off
    assert tip_error(q + sag, goal) < 2e-3


@pytest.mark.parametrize("broken", ["state", "goal", "people"])
def test_what_is_not_finite_gives_no_plan(broken: str) -> None:
    state, goal = state_at(START), goal_at(REACHING)
    if broken == "state":
        state = state_at(START * np.nan)
    if broken == "goal":
        goal = replace(goal, position=np.array([np.nan, 0.0, 0.0]))
    if broken == "people":
        state = state_at(START, people=(person(np.nan, 0.0),))
    plan = optimizer().plan(state, None, goal, RobotModel(), "pick")
    assert plan.status is Status.NONFINITE
    assert plan.trajectory is None


def test_an_obstacle_that_is_nowhere_gives_no_plan() -> None:
    nowhere = np.array([[0.5, np.nan, 0.8, 0.05]])
    plan = optimizer().plan(state_at(START), None, goal_at(REACHING), RobotModel(), "pick", nowhere)
    assert plan.status is Status.NONFINITE


@pytest.mark.parametrize("joint", [0, 2, 5, 9])
def test_a_model_that_says_nan_gives_no_plan(joint: int) -> None:
    class Broken(KinematicModel):
        def residual(
            self, q: np.ndarray, dq: np.ndarray, ddq: np.ndarray, state: State
        ) -> tuple[np.ndarray, np.ndarray]:
            delta_q, delta_dq = super().residual(q, dq, ddq, state)
            delta_q[3:, joint] = np.nan
            return delta_q, delta_dq

    planner = optimizer(model=Broken(speeds()))
    for guess in (None, optimizer().plan(state_at(HOME), None, goal_at(REACHING), RobotModel(), "pick")):
        plan = planner.plan(state_at(HOME), guess, goal_at(REACHING), RobotModel(), "pick")
        assert plan.status is Status.NONFINITE
        assert plan.trajectory is None


def test_an_unknown_guardrail_is_refused_not_dropped() -> None:
    class Odd:
        header, unit = header("odd"), "m"

        def margin(self, sweep, robot):
            return sweep.center[..., 0]

    with pytest.raises(UsageError, match="odd"):
        optimizer([Odd()]).plan(state_at(START), None, goal_at(REACHING), RobotModel(), "pick")


def test_the_same_question_gets_the_same_answer() -> None:
    plans = [optimizer().plan(state_at(START), None, goal_at(REACHING), RobotModel(), "pick") for _ in range(2)]
    np.testing.assert_array_equal(plans[0].ddq_ref, plans[1].ddq_ref)
    assert plans[0].iterations == plans[1].iterations


def test_a_time_budget_is_kept_and_what_is_left_of_it_is_used() -> None:
    """Every look at the clock takes 10 ms; between two looks lie two QPs at most."""
    looks = itertools.count()
    planner = TrajectoryOptimizer(
        HOUSEHOLD, KinematicModel(speeds()), ASSUMPTIONS, KITCHEN, clock=lambda: 0.01 * next(looks)
    )
    counted = optimizer().plan(state_at(HOME), None, goal_at(REACHING), RobotModel(), "pick")
    plans = [
        planner.plan(state_at(HOME), None, goal_at(REACHING), RobotModel(), "pick", time_budget=budget)
        for budget in (0.0, 0.035, 5.0)
    ]
    assert plans[0].iterations == 0
    assert 0 < plans[1].iterations <= 6
    assert plans[2].iterations > counted.iterations  # on with the seeds that were given up
    costs = [sum(plan.cost.values()) for plan in (counted, plans[2])]
    assert costs[1] <= costs[0] + 1e-6
    assert plans[2].status is Status.SOLVED


def test_without_the_filters_room_a_plan_is_bolder_and_keeps_the_guardrails() -> None:
    """The same problem with a brake's room and without: only what the guardrails ask for is left."""
    state, goal = state_at(HOME), goal_at(REACHING)
    bold = TrajectoryOptimizer(HOUSEHOLD, KinematicModel(speeds()), ASSUMPTIONS, KITCHEN, for_filter=False)
    plans = [p.plan(state, None, goal, RobotModel(), "pick") for p in (optimizer(), bold)]
    assert [plan.status for plan in plans] == [Status.SOLVED] * 2
    assert min(m.value for m in plans[1].margins.values()) >= -1e-3
    assert sum(plans[1].cost.values()) < sum(plans[0].cost.values())


def test_a_plan_reports_margins_cost_and_bounds() -> None:
    state = state_at(HOME, people=(person(-2.5, -0.5),))
    plan = optimizer().plan(state, None, goal_at(REACHING), RobotModel(), "pick")
    assert {"separation", "clearance", "speed", "joint_limits"} <= set(plan.margins)
    assert plan.binding in plan.margins
    assert set(plan.cost) == {"pose", "posture", "velocity", "effort"}
    assert plan.margins["separation"].bound > 0.0
    assert plan.trajectory is not None
    sweep = RobotModel().sweep(plan.trajectory)
    for guardrail in in_force(HOUSEHOLD, None, "pick"):
        if guardrail.header.id in plan.margins and guardrail.header.id != "separation":
            true = guardrail.margin(sweep, RobotModel())[1:].min()
            assert plan.margins[guardrail.header.id].value == pytest.approx(true, abs=1e-6)


# ---- inverse kinematics ---------------------------------------------------------------------------------------


def test_inverse_kinematics_reaches_without_touching() -> None:
    boxes = boxes_of(KITCHEN)
    for position in ((0.3, -0.35, 0.82), (0.8, -0.4, 0.8), (0.45, 1.72, 0.92)):
        above = np.add(position, (0.0, 0.0, 0.1))
        targets = [
            HandPath((above, np.array(position)), rotation)
            for rotation in turned(DOWN, np.linspace(0.0, 2 * np.pi, 12, endpoint=False))
        ]
        found = solve(RobotModel(), boxes, targets, START, np.random.default_rng(1))
        assert found
        assert [c.cost for c in found] == sorted(c.cost for c in found)
        for candidate in found[:5]:
            target = targets[candidate.index]
            for q, wanted in zip(candidate.q, target.positions, strict=True):
                tip, rotation = tcp_pose(q)
                np.testing.assert_allclose(tip, wanted, atol=1e-3)
                np.testing.assert_allclose(rotation, target.rotation, atol=6e-3)
                assert np.all(q >= Q_MIN)
                assert np.all(q <= Q_MAX)
                robot = RobotModel()
                body = parts(robot, "base", "arm", "hand")
                center = robot.sphere_motion(q[None], np.zeros((1, 10)))[0][0, body]
                gap = point_box_distance(center[:, None], boxes.center, boxes.rotation, boxes.half)
                assert (gap - robot.spheres.radius[body, None]).min() >= 0.016
            np.testing.assert_allclose(candidate.q[0][:3], candidate.q[1][:3])  # one base placement


def test_inverse_kinematics_gives_up_on_what_is_out_of_reach() -> None:
    target = HandPath((np.array([0.3, -0.3, 2.5]),), DOWN)
    assert solve(RobotModel(), boxes_of(KITCHEN), [target], START, np.random.default_rng(0)) == []
