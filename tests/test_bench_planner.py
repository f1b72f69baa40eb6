"""The planner bench: its problems can be solved, its checker sees what is wrong, its methods really run."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from robotctl.bench import planner as bench
from robotctl.bench.peers.peer import Answer, Peer
from robotctl.bench.planner_checker import FEASIBLE, check, check_path
from robotctl.bench.planner_closed_loop import judge, observe
from robotctl.bench.planner_closed_loop import record as closed_loop_record
from robotctl.bench.planner_plant import in_the_way
from robotctl.bench.planner_problems import (
    JOINTS,
    KINDS,
    STEPS,
    PlanningProblem,
    make_problem,
    problems,
)
from robotctl.cli.main import app
from robotctl.errors import UsageError
from robotctl.guardrails.clearance import Boxes, Clearance
from robotctl.robot import DDQ_MAX, tcp_pose
from robotctl.scene import Box

SEED = 1003
GRAY = (0.5, 0.5, 0.5, 1.0)


@cache
def problem(kind: str, joints: int = 7, seed: int = SEED) -> PlanningProblem:
    return make_problem(kind, joints, seed)


def with_boxes(given: PlanningProblem, *boxes: Box) -> PlanningProblem:
    """The problem with other furniture."""
    rules = tuple(replace(g, boxes=Boxes.of(boxes)) if isinstance(g, Clearance) else g for g in given.guardrails)
    return replace(given, guardrails=rules, boxes=boxes, obstacles=np.zeros((0, 4)))


# ---- problems --------------------------------------------------------------------------------------------------


def test_there_are_sixty_problems_by_default() -> None:
    assert len(problems(range(6))) == 60
    assert len({(k, n) for k, n, _ in problems([0])}) == len(KINDS) * len(JOINTS)
    with pytest.raises(UsageError, match="did you mean 'shelf'"):
        problems([0], ["shelfs"])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("joints", JOINTS)
def test_a_problem_starts_safely_and_its_guide_can_be_reached(kind: str, joints: int) -> None:
    given = problem(kind, joints)
    brake = np.zeros((STEPS, 10))
    brake[0] = -given.state.robot.dq_ref / given.dt
    assert check(given, brake).feasible  # standing still is always allowed
    verdict = check(given, given.witness)  # in time, past everything; people leave these witnesses room as well
    assert verdict.feasible, verdict.violations
    assert verdict.arrived
    ends = check_path(given, np.stack([given.goal.q, given.goal.q]))
    assert max(v for name, v in ends.violations.items() if name != "start") <= 0.0  # the guide is clear
    np.testing.assert_allclose(tcp_pose(given.goal.q)[0], given.goal.position)
    fixed = np.setdiff1d(np.arange(10), given.joints)
    np.testing.assert_array_equal(given.goal.q[fixed], given.state.robot.q_ref[fixed])


def test_a_problem_is_the_same_every_time() -> None:
    one, two = make_problem("shelf", 10, SEED), make_problem("shelf", 10, SEED)
    np.testing.assert_array_equal(one.witness, two.witness)
    np.testing.assert_array_equal(one.obstacles, two.obstacles)


def test_kinds_are_what_they_say() -> None:
    ids = {kind: {g.header.id for g in problem(kind).guardrails} for kind in KINDS}
    assert "blade-near-human" in ids["blade"]
    assert "upright-when-filled" in ids["cup"]
    assert "upright-when-filled" not in ids["static"]
    assert len(problem("person").state.people) == len(problem("blade").state.people) == 1
    straight = np.linspace(problem("static").state.robot.q_ref, problem("static").goal.q, 60)
    assert not check_path(problem("static"), straight).feasible  # something is in the way


# ---- the checker -----------------------------------------------------------------------------------------------


def test_a_motion_through_a_box_violates_and_away_from_it_does_not() -> None:
    given = problem("static")
    rotation, origin = given.robot.forward(_middle(given))
    del rotation
    through = with_boxes(given, Box("box", origin[8], np.full(3, 0.05), 0.3, GRAY))
    away = with_boxes(given, Box("box", np.array([0.0, 0.0, 3.0]), np.full(3, 0.05), 0.3, GRAY))
    bad, good = check(through, given.witness), check(away, given.witness)
    assert bad.violations["furniture-clearance"] > 0.05
    assert not bad.feasible
    assert good.violations["furniture-clearance"] == 0.0
    assert good.feasible
    assert bad.cost == good.cost  # what is in the way does not change what a motion costs


def test_between_the_knots_counts() -> None:
    """A thin obstacle that the hand passes between two knots."""
    given = problem("static")
    q = given.state.robot.q_ref + _path(given)
    speeds = np.abs(np.diff(q, axis=0)).max(axis=1)
    k = int(np.argmax(speeds))
    middle = given.robot.forward(0.5 * (q[k] + q[k + 1]))[1][8]
    ball = replace(with_boxes(given), obstacles=np.array([[*middle, 0.005]]))
    verdict = check(ball, given.witness)
    assert verdict.violations["contact:object"] > 0.01
    assert abs(verdict.details["contact:object"] - (k + 0.5) * given.dt) < 0.3


def test_nan_is_a_violation() -> None:
    given = problem("static")
    u = given.witness.copy()
    u[3, 5] = np.nan
    assert not check(given, u).feasible
    nowhere = replace(given, obstacles=np.array([[np.nan, 0.0, 0.0, 0.1]]))
    assert not check(nowhere, given.witness).feasible
    assert not check_path(given, np.full((2, 10), np.nan)).feasible
    with pytest.raises(ValueError, match="expected accelerations"):
        check(given, u[:3])


def test_limits_count() -> None:
    given = problem("static")
    u = np.zeros((STEPS, 10))
    u[0] = -given.state.robot.dq_ref / given.dt
    assert check(given, u).feasible
    hard = u.copy()
    hard[4, 6], hard[5, 6] = 1.2 * DDQ_MAX[6], -1.2 * DDQ_MAX[6]
    assert check(given, hard).violations["limits:acceleration"] == pytest.approx(0.2 * DDQ_MAX[6])
    fast = u.copy()
    fast[4:14, 9], fast[14:24, 9] = 3.0, -3.0
    assert check(given, fast).violations["limits:speed"] == pytest.approx(3.0 - 2.61, abs=0.02)
    base = u.copy()
    base[4, 0], base[5, 0] = 0.5, -0.5
    assert check(given, base).violations["limits:fixed"] == pytest.approx(0.005)
    assert "limits:fixed" not in {n for n, v in check(problem("cup", 10), given.witness).violations.items() if v > 0}


def test_a_spilt_cup_and_a_hasty_knife_violate() -> None:
    cup, blade = problem("cup"), problem("blade")
    tipped = np.zeros((STEPS, 10))
    tipped[2:7, 8], tipped[7:12, 8] = -2.0, 2.0  # the wrist bends by half a radian
    assert check(cup, tipped).violations["upright-when-filled"] > 0.01
    hasty = np.zeros((STEPS, 10))
    hasty[2:6, 3], hasty[6:10, 3] = 3.0, -3.0
    assert check(blade, hasty).violations["blade-near-human"] > 0.1


def _middle(given: PlanningProblem) -> np.ndarray:
    return given.state.robot.q_ref + _path(given)[12]


def _path(given: PlanningProblem) -> np.ndarray:
    """The witness's joints relative to its start, (H+1, 10)."""
    dq = np.concatenate([given.state.robot.dq_ref[None], given.state.robot.dq_ref + 0.1 * np.cumsum(given.witness, 0)])
    return np.concatenate([np.zeros((1, 10)), np.cumsum(0.05 * (dq[1:] + dq[:-1]), axis=0)])


# ---- methods ---------------------------------------------------------------------------------------------------


def test_ours_solves_two_problems() -> None:
    for kind, joints in (("cup", 7), ("shelf", 10)):
        for name in ("cold", "rti"):
            found = bench.record(problem(kind, joints), bench.method(name), 10.0)
            assert found["feasible"], found
            assert found["violation"] <= FEASIBLE
            assert 0.0 < found["ms"] < 60_000.0
            assert (found["cost"] is None) == (name == "rti")  # it starts elsewhere: its cost does not compare


@pytest.mark.parametrize(
    ("name", "library", "kind"),
    [("ompl", "ompl", "shelf"), ("drake", "pydrake", "shelf"), ("ipopt", "casadi", "cup"), ("mppi", "jax", "cup")],
)
def test_a_peer_answers(name: str, library: str, kind: str) -> None:
    pytest.importorskip(library)
    answer = bench.method(name).solve(problem(kind), 2.0)
    assert answer.ms > 0.0
    if answer.u is not None:
        assert np.isfinite(check(problem(kind), answer.u).violation)
    elif answer.path is not None:
        assert check_path(problem(kind), answer.path).feasible


def test_the_peers_rows_agree_with_the_checker() -> None:
    """Symbolic, JAX and guardrails are three formulations: a motion that the rows allow is feasible."""
    pytest.importorskip("jax")
    from robotctl.bench.peers.formulation import specify
    from robotctl.bench.peers.jax_rows import as_data, cost, margins, on_device, rollout

    for kind in ("cup", "static"):
        given = problem(kind)
        data = on_device(as_data(specify(given)))
        q, dq, q_real, dq_real = rollout(given.witness, data)
        verdict = check(given, given.witness)
        assert float(cost(given.witness, q, dq, q_real, data)) == pytest.approx(verdict.cost, rel=1e-6)
        assert min(float(rows.min()) for rows in margins(q, dq, q_real, dq_real, data).values()) > -0.01


# ---- the command -----------------------------------------------------------------------------------------------


def run(*args: str) -> dict:
    result = CliRunner().invoke(app, ["bench", "planner", *args, "--json"])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_the_command_reports_resumes_and_refuses(tmp_path: Path) -> None:
    args = ("--methods", "cold,rti", "--seeds", f"{SEED}:{SEED + 1}", "--kinds", "cup", "--out", str(tmp_path / "out"))
    told = run(*args)
    assert told["schema"] == "robotctl/bench-planner.v1"
    assert told["problems"] == 2
    promised = {
        "name", "n", "solved", "feasible_rate", "ms_p50", "ms_p95", "cost_ratio_to_best", "max_violation",
    }  # fmt: skip
    assert [row["name"] for row in told["methods"]] == ["cold", "rti"]
    assert all(promised <= set(row) for row in told["methods"] + told["by_group"])
    assert set(told["ratios"]) == {"rti"}
    assert told["machine"]
    assert run(*args, "--resume")["methods"] == told["methods"]
    refused = CliRunner().invoke(app, ["bench", "planner", *args])
    assert refused.exit_code == 2
    shown = CliRunner().invoke(app, ["bench", "planner", *args, "--resume"])
    assert "cold" in shown.stdout
    wrong = CliRunner().invoke(app, ["bench", "planner", "--methods", "simplex"])
    assert wrong.exit_code == 2


def test_an_interrupted_bench_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Interrupting:
        name = "mppi"
        kinds = KINDS

        def solve(self, problem: PlanningProblem, time_limit: float) -> Answer:
            raise KeyboardInterrupt

    class Still:
        name = "cold"
        kinds = KINDS
        calls = 0

        def solve(self, problem: PlanningProblem, time_limit: float) -> Answer:
            Still.calls += 1
            return Answer(1.0, np.zeros((STEPS, 10)))

    peers: dict[str, type[Peer]] = {"cold": Still, "mppi": Interrupting}
    monkeypatch.setattr(bench, "method", lambda name: peers[name]())
    plan = [("cup", 7, SEED)]
    with pytest.raises(KeyboardInterrupt):
        bench.run_bench(plan, ["cold", "mppi"], tmp_path, 1.0, False, lambda _: None)
    peers["mppi"] = type("Later", (Still,), {"name": "mppi"})
    records = bench.run_bench(plan, ["cold", "mppi"], tmp_path, 1.0, True, lambda _: None)
    assert [r["method"] for r in records] == ["cold", "mppi"]
    assert Still.calls == 2  # `cold` was not asked again


def test_a_peer_that_gives_up_is_an_answer() -> None:
    class Failing:
        name = "drake"
        kinds = KINDS

        def solve(self, problem: PlanningProblem, time_limit: float) -> Answer:
            raise RuntimeError("no")

    found = bench.record(problem("cup"), Failing(), 1.0)
    assert not found["feasible"]
    assert found["note"] == "RuntimeError: no"
    row = bench.figures("drake", [found], {})
    assert row["feasible_rate"] == 0.0
    assert row["max_violation"] == np.inf  # null in JSON
    Failing.name = "cold"
    with pytest.raises(RuntimeError):  # ours must not
        bench.record(problem("cup"), Failing(), 1.0)
    assert bench.expected([("cup", 7, 0), ("static", 7, 0)], ["cold", "ompl"]) == 3
    with pytest.raises(UsageError, match="at least one"):
        bench.chosen_kinds(",")


# ---- closed loop -----------------------------------------------------------------------------------------------


def test_the_planners_model_is_wrong_by_what_it_states() -> None:
    given = in_the_way(problem("person", 10, 1000))
    plant, run = observe(given)
    model = given.model
    stated = model.position_bound[1:]
    reached = []
    for state, plan, _ in run.plans:
        assert plan.trajectory is not None
        led = np.concatenate([plan.ddq_ref[:1], plan.ddq_ref])
        residual, rate = plant.residual(plan.q_ref, plan.dq_ref, led)
        q, dq = plan.q_ref + residual + plant.offset(plan.q_ref), plan.dq_ref + rate
        true = given.robot.sphere_motion(q, dq + plant.drift(plan.q_ref, plan.dq_ref))
        told = given.robot.sphere_motion(plan.trajectory.q, plan.trajectory.dq)
        reached.append(np.linalg.norm(true[0] - told[0], axis=2).max(axis=1)[1:] / stated)
        radius = given.robot.spheres.radius
        speed = [np.linalg.norm(v, axis=2) + turning * radius for _, v, turning, _ in (true, told)]
        assert (speed[0] - speed[1])[1:].max() <= 1.1 * model.speed_bound
        true_people = plant.person(0, state.time + plan.trajectory.times)
        away = np.linalg.norm(plan.trajectory.keypoints[:, 0] - true_people, axis=-1)
        np.testing.assert_allclose(away, plan.trajectory.keypoint_bound[:, 0])
        np.testing.assert_allclose(plan.trajectory.q[0], state.robot.q)  # the present is measured
    assert np.max(reached) <= 1.02  # a bound on straight ways: an offset turns the points a little, too
    assert np.min(reached) >= 0.8


def test_ours_keeps_margins_in_closed_loop_and_only_because_it_is_told() -> None:
    for kind, seed, name, scale in (
        ("blade", 1001, "blade-near-human", 1.0),
        ("static", 1004, "furniture-clearance", 16.0),
    ):
        given = problem(kind, 7, seed)
        told, untold = closed_loop_record(given, True, scale), closed_loop_record(given, False, scale)
        assert told["violations"] == {}
        assert name in untold["violations"]
        assert told["plans"]["solved"] > 0
        assert told["margins"][name] < 0.03  # it came near


def test_the_judge_of_the_closed_loop_sees_a_motion_through_a_box() -> None:
    given = problem("static")
    plant, run = observe(given)
    middle = given.robot.forward(run.q[len(run.q) // 2])[1][8]
    through = with_boxes(given, Box("box", middle, np.full(3, 0.05), 0.3, GRAY))
    assert judge(through, plant, run)["furniture-clearance"] < -0.05
    assert judge(given, plant, run)["furniture-clearance"] >= 0.0


def test_the_command_runs_the_closed_loop(tmp_path: Path) -> None:
    args = ("--closed-loop", "--seeds", "1001:1002", "--kinds", "blade", "--problems", "1", "--out", str(tmp_path))
    told = run(*args)
    assert (told["runs"], told["runs_violating"], told["arm"]) == (1, 0, "told")
    assert run(*args, "--resume")["by_run"] == told["by_run"]
    control = run(*args, "--resume", "--untold")
    assert control["runs_violating"] == 1
    assert CliRunner().invoke(app, ["bench", "planner", "--untold"]).exit_code == 2


def test_the_command_drives_journeys(tmp_path: Path) -> None:
    args = ("--journeys", "--seeds", "1006:1007", "--out", str(tmp_path))
    found = run(*args)
    assert (found["runs"], found["runs_violating"], found["arrived_rate"], found["arm"]) == (1, 0, 1.0, "told")
    assert run(*args, "--resume")["by_run"] == found["by_run"]
    assert CliRunner().invoke(app, ["bench", "planner", "--no-routes"]).exit_code == 2
