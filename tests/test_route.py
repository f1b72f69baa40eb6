"""Routes: free all along, found only where they are needed, followed to the end; without them long ways fail."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robotctl.bench import planner_closed_loop
from robotctl.bench.peers.ours import optimizer
from robotctl.bench.planner_closed_loop import drive
from robotctl.bench.planner_journeys import make_journey
from robotctl.bench.planner_plant import Plant, wrong_model
from robotctl.bench.planner_problems import PlanningProblem
from robotctl.bench.planner_surroundings import GRAY, at_rest, box_gaps, household
from robotctl.guardrails.clearance import Boxes, Clearance
from robotctl.objectives.reach import ReachGoal
from robotctl.planning.plan import Plan
from robotctl.planning.route import DONE, PACE, Route
from robotctl.robot import DQ_MAX, HOME, tcp_pose
from robotctl.scene import Box
from robotctl.simulation.people import Person
from robotctl.state import PersonState
from robotctl.task import PersonPlan

SEED = 1006  # from the south of the table to its north, a screen on one side; nothing is held, nobody about
OPEN = 1008  # from its east to its west, both ways round are open


def plan(problem: PlanningProblem, attempt: int = 0) -> Plan:
    return optimizer(problem).plan(
        problem.state, None, problem.goal, problem.robot, "pick", problem.obstacles, attempt=attempt
    )


def among(problem: PlanningProblem, *boxes: Box) -> PlanningProblem:
    """The problem in other furniture."""
    rules = tuple(replace(g, boxes=Boxes.of(boxes)) if isinstance(g, Clearance) else g for g in problem.guardrails)
    return replace(problem, guardrails=rules, boxes=boxes)


def box(x: float, y: float, half: tuple[float, float, float], yaw: float = 0.0) -> Box:
    return Box("box", np.array([x, y, half[2]]), np.array(half), yaw, GRAY)


def gap(problem: PlanningProblem, q: np.ndarray) -> float:
    """Smallest distance to furniture along straight lines between joints q (n, 10) [m]."""
    steps = np.linspace(0.0, 1.0, 21)[:, None]
    dense = np.concatenate([a + steps * (b - a) for a, b in itertools.pairwise(q)])
    return float(box_gaps(at_rest(problem.robot, dense)[0], problem.robot.spheres.radius, problem.boxes).min())


@pytest.mark.parametrize("seed", range(1000, 1006))
def test_a_route_is_free_from_start_to_goal(seed: int) -> None:
    problem = make_journey(seed)
    assert problem.goal.q is not None
    straight = np.stack([problem.state.robot.q_ref, problem.goal.q])
    assert gap(problem, straight) < 0.0
    route = plan(problem).route
    assert route is not None
    np.testing.assert_allclose(route.q[[0, -1]], straight)
    assert gap(problem, route.q) > 0.0
    assert plan(problem, 1).route is not route


def test_the_same_question_gets_the_same_route() -> None:
    first, second = (plan(make_journey(SEED)).route for _ in range(2))
    assert first is not None
    assert second is not None
    np.testing.assert_array_equal(first.q, second.q)


def test_where_the_straight_way_is_free_or_a_seed_gets_there_no_route_is_needed() -> None:
    far = make_journey(SEED)
    assert plan(among(far)).route is None
    assert plan(among(far, box(5.0, 5.0, (0.1, 0.1, 0.1)))).route is None
    q = HOME + np.array([*far.state.robot.q[:3], *[0.0] * 7])
    near = replace(
        far, goal=ReachGoal(*tcp_pose(q), q), state=replace(far.state, robot=replace(far.state.robot, q=q, q_ref=q))
    )
    assert plan(near).route is None


def test_without_any_way_there_is_still_a_plan() -> None:
    problem = make_journey(SEED)
    x, y = problem.goal.q[:2]
    walls = [box(x + 0.9 * np.cos(a), y + 0.9 * np.sin(a), (0.05, 1.0, 0.6), a) for a in 0.5 * np.pi * np.arange(4)]
    answer = plan(among(problem, *walls))
    assert answer.route is None
    assert answer.trajectory is not None
    at_goal = among(problem, box(x, y, (0.1, 0.1, 0.5)))  # the goal itself is inside something
    assert plan(at_goal).route is None


def test_a_search_stops_when_its_time_is_up() -> None:
    problem = make_journey(SEED)
    now = iter(np.arange(0.0, 1e3, 0.2))
    planner = optimizer(problem)
    planner._clock = lambda: float(next(now))
    answer = planner.plan(problem.state, None, problem.goal, problem.robot, "pick", time_budget=0.1)
    assert answer.route is None
    assert answer.trajectory is not None


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 6))
def test_a_guide_leads_along_its_route_no_faster_than_joints_move(seed: int, corners: int) -> None:
    generator = np.random.default_rng(seed)
    path = np.cumsum(generator.normal(0.0, 0.8, (corners + 1, 10)), axis=0)
    route = Route.through(path)
    assert np.all(np.diff(route.to_go) < 0.0)
    guide = route.guide(31, 0.1)
    np.testing.assert_allclose(guide.q[0], path[0])
    assert np.all(np.abs(np.diff(guide.q, axis=0)) <= PACE * 0.1 * DQ_MAX + 1e-9)
    assert np.all(np.diff(guide.to_go) <= 0.0)
    if route.to_go[0] < 2.0:
        np.testing.assert_allclose(guide.q[-1], path[-1])
    for k in range(0, len(route.q), 3):
        rest = route.rest(route.q[k])
        assert (rest is None) == (route.to_go[k] < DONE)
        if rest is not None:
            assert rest.to_go[0] == route.to_go[k]
            np.testing.assert_array_equal(rest.q, route.q[k:])
        assert route.left(route.q[k]) == pytest.approx(route.to_go[k])


def test_a_long_way_is_driven_and_only_because_of_the_route(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planner_closed_loop, "JOURNEY_LIMIT", 9.0)
    problem = make_journey(SEED)
    exact = Plant(problem, 0.0)
    with_routes, without = (drive(problem, exact, wrong_model(problem, exact), routes) for routes in (True, False))
    assert with_routes.arrived
    assert not without.arrived
    assert planner_closed_loop.judge(problem, exact, with_routes)["furniture-clearance"] >= 0.0


def standing(x: float, y: float) -> PersonState:
    someone = PersonPlan("ann", "stand", np.array([[x, y]]), 0.8, 0.0, (), 0.0, False)
    person = Person(someone, np.random.default_rng(0))
    history = np.array([person.keypoints(0.1 * k) for k in range(6)])
    return PersonState("ann", history[-1], 10.0 - household()[1].sensing_latency, history)


def test_who_stands_in_the_way_is_driven_round_at_the_second_attempt() -> None:
    problem = make_journey(OPEN)
    first = plan(problem).route
    assert first is not None
    middle = first.q[len(first.q) // 2]
    blocked = replace(problem, state=replace(problem.state, people=(standing(*middle[:2]),)))

    def nearest(route: Route | None) -> float:
        assert route is not None
        return float(np.linalg.norm(route.q[:, :2] - middle[:2], axis=1).min())

    assert nearest(plan(blocked).route) < 0.2
    assert nearest(plan(blocked, 1).route) > 0.5
