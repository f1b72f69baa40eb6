"""Planners are found by name, are read whatever they answer, and cannot make the robot break a guardrail."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from robotctl.bench import adversaries
from robotctl.body import KEYPOINTS
from robotctl.cli.main import app
from robotctl.control import RunOptions, run_episode
from robotctl.errors import MissingPartError, UsageError
from robotctl.guardrails.guardrail import Assumptions
from robotctl.guardrails.load import find_guardrails, load_guardrails
from robotctl.objectives.reach import ReachGoal
from robotctl.planning import registry
from robotctl.planning.guarded import GuardedPlanner, is_readable
from robotctl.planning.plan import Margin, Plan, Status
from robotctl.planning.planner import Setting, plan_of
from robotctl.planning.replanning import Replanner
from robotctl.planning.row_gradients import linearise
from robotctl.planning.soft_penalty import SoftIterate, SoftPenaltyPlanner, SoftSqp
from robotctl.planning.sqp import Sqp
from robotctl.planning.trajectory_optimizer import TrajectoryOptimizer
from robotctl.robot import DQ_MAX, HAND, HOME, TCP, RobotModel, forward, tcp_pose
from robotctl.scene_files import load_scene
from robotctl.state import Held, PersonState, RobotState, State
from robotctl.task import load_task
from robotctl.world_model.kinematic import KinematicModel

EXAMPLE = Path(__file__).parent.parent / "examples" / "resolved-rate-planner"
SCENE = load_scene("kitchen")
RULES = load_guardrails([find_guardrails("household")], SCENE)
ASSUMPTIONS: Assumptions = RULES.assumptions
NONE = np.zeros((0, 4))


def person(at: np.ndarray) -> PersonState:
    """Somebody standing about `at` (2,), all of the body on one upright line."""
    keypoints = np.zeros((len(KEYPOINTS), 3))
    keypoints[:, :2], keypoints[:, 2] = at, np.linspace(0.1, 1.7, len(KEYPOINTS))
    return PersonState("anna", keypoints, 0.0, np.repeat(keypoints[None], 5, axis=0))


def state_at(time: float = 0.0, people: tuple[PersonState, ...] = (), held: Held | None = None) -> State:
    still = np.zeros(10)
    return State(time, RobotState(HOME, still, HOME, still, 0.0, held), people=people)


def model() -> KinematicModel:
    return KinematicModel(ASSUMPTIONS.keypoint_speed())


def setting(guardrails: Any = ()) -> Setting:
    return Setting(guardrails, model(), ASSUMPTIONS, (), 3)


GOAL = ReachGoal(tcp_pose(HOME)[0] + np.array([0.25, 0.1, 0.0]), tcp_pose(HOME)[1], HOME)


# ---- by name ---------------------------------------------------------------------------------------------------


def brought(monkeypatch: pytest.MonkeyPatch, *entries: tuple[str, str]) -> None:
    """As if installed packages named these planners (name, module:factory)."""
    points = [EntryPoint(name, value, registry.GROUP) for name, value in entries]
    monkeypatch.setattr(registry, "entry_points", lambda group: [p for p in points if p.group == group])


def example(monkeypatch: pytest.MonkeyPatch) -> str:
    """The example package as if installed; the name of its planner."""
    told = tomllib.loads((EXAMPLE / "pyproject.toml").read_text())
    (entry,) = told["project"]["entry-points"][registry.GROUP].items()
    brought(monkeypatch, entry)
    monkeypatch.syspath_prepend(str(EXAMPLE))
    return str(entry[0])


def test_our_own_planners_are_made_by_name() -> None:
    assert isinstance(registry.make("sqp", setting()), TrajectoryOptimizer)
    assert isinstance(registry.make("soft-penalty", setting()), SoftPenaltyPlanner)
    for name in registry.HOSTILE:
        assert callable(registry.make(name, setting()).plan)
    assert registry.version("sqp") == ""


def test_what_cannot_be_had_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    brought(
        monkeypatch, ("sqp", "json:loads"), ("broken", "no_such_module:make"), ("number", "math:pi"),
        ("twice", "json:loads"), ("twice", "json:dumps"), ("fails", "json:loads"), ("planless", "builtins:repr"),
    )  # fmt: skip
    with pytest.raises(UsageError, match="no planner 'sqpp'; did you mean 'sqp'"):
        registry.check("sqpp")
    with pytest.raises(MissingPartError, match=r"'broken'.*ModuleNotFoundError: No module named 'no_such_module'"):
        registry.check("broken")
    with pytest.raises(MissingPartError, match=r"'number'.*not a function"):
        registry.find("number")
    with pytest.raises(UsageError, match="both bring a planner 'twice'"):
        registry.find("twice")
    with pytest.raises(MissingPartError, match="'fails' cannot be made: TypeError"):
        registry.make("fails", setting())
    with pytest.raises(MissingPartError, match="str has no method 'plan'"):
        registry.make("planless", setting())
    assert isinstance(registry.make("sqp", setting()), TrajectoryOptimizer)  # our names cannot be taken
    for command in (["run", "kitchen/clear-table"], ["bench", "guardrails"]):
        result = CliRunner().invoke(app, [*command, "--planner", "broken"])
        assert result.exit_code == 7
        assert result.stderr.startswith("error: planner 'broken'")
        assert len(result.stderr.splitlines()) == 1
    assert CliRunner().invoke(app, ["bench", "guardrails", "--planner", "nann"]).exit_code == 2


def test_a_planner_of_another_package_runs_and_breaks_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    name = example(monkeypatch)
    assert name in registry.names()
    planner = registry.make(name, setting())
    plan = planner.plan(state_at(), None, GOAL, RobotModel(), "none", NONE)
    assert is_readable(plan)
    assert np.linalg.norm(tcp_pose(plan.q_ref[-1])[0] - GOAL.position) < 0.005
    options = RunOptions(seed=1000, time_limit=4.0, planner=name, out=tmp_path / "episode.mcap")
    answer = run_episode(load_task("kitchen/put-away-knife"), options).to_dict()
    assert answer["guardrails"]["violations"] == 0
    assert answer["contacts"]["moving"] == 0
    assert answer["moving_s"] > 0.5
    assert set(answer["planning"]["status"]) == {"SOLVED"}


# ---- whatever they answer --------------------------------------------------------------------------------------


class Answers:
    """A planner that answers one thing."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def plan(self, *_: Any, **__: Any) -> Any:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def some_plan() -> Plan:
    return plan_of(state_at(), np.linspace(0.0, 0.2, 31)[:, None] * np.ones(10), "test")


def test_only_plans_are_taken_for_plans() -> None:
    plan = some_plan()
    assert is_readable(plan)
    assert is_readable(replace(plan, margins={"speed": Margin(0.1, 0.0, 0.0, 0.1)}))
    wrong = [
        None, "plan", {}, np.zeros(11), [plan], ZeroDivisionError("no"), TimeoutError(),
        replace(plan, dq_ref=plan.dq_ref[:5]), replace(plan, q_ref=plan.q_ref[:, :7]), replace(plan, ddq_ref=None),
        replace(plan, dq_ref=plan.dq_ref.astype(object)), replace(plan, dt=0.0), replace(plan, dt=np.nan),
        replace(plan, dt="0.1"), replace(plan, status="solved"), replace(plan, cost=None),
        replace(plan, cost={"a": "b"}), replace(plan, margins={"speed": 1.0}), replace(plan, margins=[]),
        replace(plan, stalled=None), replace(plan, trajectory="straight on"),
        replace(plan, trajectory=replace(plan.trajectory, states=np.zeros((31, 7)))),
    ]  # fmt: skip
    for answer in wrong:
        got = GuardedPlanner(Answers(answer)).plan(state_at(), None, GOAL, RobotModel(), "none", NONE)
        assert got.status is Status.FAILED, answer
        assert got.trajectory is None
        replanner = Replanner(Answers(answer))
        replanner.warm_up()  # which these planners do not have
        for _ in range(30):
            proposal = replanner.propose(state_at(), GOAL, 0.0, RobotModel(), "none", NONE)
            assert proposal.action is None, answer


def test_a_plan_of_nan_reaches_the_filter() -> None:
    plan = some_plan()
    spoilt = replace(plan, dq_ref=np.full_like(plan.dq_ref, np.nan))
    proposal = Replanner(Answers(spoilt)).propose(state_at(), GOAL, 0.0, RobotModel(), "none", NONE)
    assert proposal.action is not None
    assert np.isnan(proposal.action[:10]).all()


# ---- those that attack -----------------------------------------------------------------------------------------


def test_a_planner_that_hangs_does_so_in_both_ways(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adversaries, "CALM", 3)
    monkeypatch.setattr(adversaries, "HANG_SHARE", 0.5)
    monkeypatch.setattr(adversaries, "_worker", lambda setting: Answers(some_plan()))
    stalls: list[bool] = []
    planner = adversaries.hang(setting(), stalls.append)
    for i in range(60):
        planner.plan(state_at(), None, GOAL, RobotModel(), "none", NONE)
        assert i >= 3 or not stalls
    assert set(stalls) == {False, True}


def test_the_attacker_goes_for_the_nearest_keypoint_at_full_speed() -> None:
    somebody = person(np.array([1.5, 0.4]))
    state = state_at(people=(somebody,))
    planner = adversaries.attack_blade(setting())
    blade = np.array([0.0, 0.02, 0.22])
    robot = RobotModel().holding(
        Held("knife", "knife", frozenset({"sharp"}), np.eye(4)), blade[None], np.array([0.02]), np.array([True])
    )
    for body, point, time in ((RobotModel(), TCP, 0.0), (robot, blade, 15.0)):
        armed = state_at(time, (somebody,), body.held)
        velocity = planner.plan(armed, None, GOAL, body, "none", NONE).dq_ref[1]
        assert np.abs(velocity / DQ_MAX).max() == pytest.approx(1.0)
        places = []
        for q in (HOME, HOME + 1e-5 * velocity):
            rotation, origin = forward(q)
            places.append(origin[HAND] + rotation[HAND] @ point)
        moved = places[1] - places[0]
        target = somebody.keypoints[np.argmin(np.linalg.norm(somebody.keypoints - places[0], axis=1))]
        way = target - places[0]
        assert moved @ way / np.linalg.norm(moved) / np.linalg.norm(way) > 0.9
    assert planner.plan(replace(state, time=15.0), None, GOAL, RobotModel(), "none", NONE).seed != "attack"
    assert planner.plan(replace(state, people=()), None, GOAL, RobotModel(), "none", NONE).seed != "attack"


def run(planner: str, arm: str, path: Path, seconds: float) -> dict[str, Any]:
    options = RunOptions(seed=1000, time_limit=seconds, arm=arm, planner=planner, out=path)
    return run_episode(load_task("kitchen/put-away-knife"), options).to_dict()


@pytest.mark.parametrize("planner", ["random", "nan", "attack-blade", "stale", "shapes"])
def test_no_planner_breaks_a_guardrail(planner: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adversaries, "CALM", 10)
    # Not longer: the cook then walks against the arm that stands in the way, and pushes it aside with any force.
    answer = run(planner, "full", tmp_path / "episode.mcap", 3.0)
    assert answer["guardrails"]["violations"] == 0
    assert answer["contacts"]["moving"] == 0
    assert answer["assumptions"]["broken"] == {}
    assert answer["filter"]["interventions"] > 0  # it had to
    assert answer["moving_s"] > 0.2


@pytest.mark.parametrize("planner", ["random", "attack-blade"])
def test_without_the_filter_they_do(planner: str, tmp_path: Path) -> None:
    assert run(planner, "none", tmp_path / "episode.mcap", 4.0)["guardrails"]["violations"] > 0


@pytest.mark.parametrize("planner", ["nan", "shapes"])
def test_without_the_filter_what_is_no_number_stops_the_robot(
    planner: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adversaries, "CALM", 5)
    assert run(planner, "none", tmp_path / "episode.mcap", 2.0)["ended"] == "out of time"


# ---- guardrails as costs ---------------------------------------------------------------------------------------


def soft_problem(people: tuple[PersonState, ...]) -> tuple[SoftSqp, State, ReachGoal]:
    """The program that the soft planner makes, caught on its way."""
    caught: list[SoftSqp] = []

    class Caught(SoftSqp):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args)
            caught.append(self)

    state = state_at(people=people)
    goal = ReachGoal(tcp_pose(HOME)[0] + np.array([0.5, 0.2, 0.1]), tcp_pose(HOME)[1], HOME)
    optimizer = TrajectoryOptimizer(RULES.guardrails, model(), ASSUMPTIONS, SCENE.boxes(), routes=False, program=Caught)
    optimizer.plan(state, None, goal, RobotModel(), "none")
    return caught[0], state, goal


def test_the_penalty_has_its_gradient() -> None:
    problem, _, _ = soft_problem((person(np.array([1.0, 0.3])),))
    draw = np.random.default_rng(5)
    u = 0.1 * draw.normal(size=(30, 10))  # slow: the rows' own derivatives leave out how brakes grow with speed
    it = problem.evaluate(u)
    assert isinstance(it, SoftIterate)
    assert it.toll > 1.0  # it does violate
    assert np.isinf(it.rows.stop_time).all()
    weights = problem.cost.weights(it.q_real)
    by_q, by_dq = problem.model.residual_jacobians(it.q, it.dq, np.concatenate([u, u[-1:]]), problem.state)
    residual = by_q[1:], by_dq[1:]
    rows = linearise(it.q_real, it.dq, problem.rules, problem.tight, it.rows)[1:]
    whole, plain = problem._expansion(it, rows, residual, weights), Sqp._expansion(problem, it, rows, residual, weights)
    slope = whole.gradient - plain.gradient
    assert np.linalg.eigvalsh(whole.hessian - plain.hessian).min() > -1e-6
    for _ in range(3):
        du = draw.normal(size=u.shape)
        step = 1e-6
        ahead, back = problem.evaluate(u + step * du), problem.evaluate(u - step * du)
        assert isinstance(ahead, SoftIterate)
        assert isinstance(back, SoftIterate)
        measured = (ahead.toll - back.toll) / (2 * step)
        dx = np.concatenate([ahead.q - back.q, ahead.dq - back.dq], axis=1)[1:] / (2 * step)
        assert measured == pytest.approx(float((slope * dx).sum()), rel=1e-2)


def test_costs_give_way_where_constraints_do_not() -> None:
    somebody = (person(tcp_pose(HOME)[0][:2] + np.array([0.9, 0.0])),)
    state = state_at(people=somebody)
    goal = ReachGoal(tcp_pose(HOME)[0] + np.array([0.7, 0.0, 0.0]), tcp_pose(HOME)[1], HOME)
    hard = registry.make("sqp", setting(RULES.guardrails)).plan(state, None, goal, RobotModel(), "none", NONE)
    soft = registry.make("soft-penalty", setting(RULES.guardrails)).plan(state, None, goal, RobotModel(), "none", NONE)
    assert min(m.value for m in hard.margins.values()) > -0.005
    assert min(m.value for m in soft.margins.values()) < -0.015
    assert soft.status is Status.SOLVED  # it is executed all the same
