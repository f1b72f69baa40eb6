"""`robotctl bench filter`: what it counts; how long things take is not tested."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest
from typer.testing import CliRunner

from robotctl.bench import filter as bench
from robotctl.cli.main import app
from robotctl.guardrails.load import find_guardrails, load_guardrails
from robotctl.safety.safety_filter import SafetyFilter
from robotctl.task import load_task


@pytest.fixture(scope="module")
def kitchen():
    scene = load_task(bench.TASK).scene
    return scene, load_guardrails([find_guardrails(bench.GUARDRAILS)], scene)


def drive(kitchen, quarter, cycles, count=None):
    scene, rules = kitchen
    if count is not None:
        counted = [bench._counting(rule, count) for rule in rules.guardrails]
        rules = SimpleNamespace(guardrails=counted, assumptions=rules.assumptions)
    guard, verdicts, states, rows = SafetyFilter(rules, scene.kinds), [], [], []
    for state, proposal in bench.situations(scene, quarter, cycles, 1000, verdicts):
        before = count[0] if count else 0
        verdicts.append(guard.certify(state, proposal, "place"))
        states.append(state)
        rows.append(count[0] - before if count else 0)
    return states, verdicts, rows


def test_counting_rows_changes_nothing_else(kitchen):
    quarter = bench.QUARTERS[3]
    _, plain, _ = drive(kitchen, quarter, 60)
    _, counted, rows = drive(kitchen, quarter, 60, [0])
    assert [v.action.tobytes() for v in plain] == [v.action.tobytes() for v in counted]
    assert [v.margins for v in plain] == [v.margins for v in counted]
    assert min(rows) > 40 * 2  # joint limits alone have 40 entries at every sample
    assert max(rows) > min(rows)


def test_people_are_near_where_they_should_be(kitchen):
    """The nearest keypoint to the hand's surroundings: under 2.5 m in the near quarters, over it in the far ones."""
    for quarter in bench.QUARTERS:
        states, _, _ = drive(kitchen, quarter, 120)
        apart = min(
            float(np.linalg.norm(person.keypoints[:, :2] - state.robot.q_ref[:2], axis=1).min())
            for state in states
            for person in state.people
        )
        assert (apart < 2.5) == quarter.name.endswith("near")
        assert all(state.robot.held is not None and "sharp" in state.robot.held.labels for state in states)


def test_the_answer():
    result = CliRunner().invoke(app, ["bench", "filter", "--cycles", "80", "--seed", "1000", "--json"])
    assert result.exit_code == 0, result.stderr
    answer = json.loads(result.stdout)
    assert answer["schema"] == "robotctl/bench-filter.v1"
    assert {"ms_p50", "ms_p99", "ms_max", "cycles", "rows_median", "rows_max", "accepted_share"} <= set(answer)
    assert answer["cycles"] == 80
    assert set(answer["by_quarter"]) == {quarter.name for quarter in bench.QUARTERS}
    for row in (answer, *answer["by_quarter"].values()):
        assert row["accepted_share"] + row["scaled_share"] + row["braked_share"] == pytest.approx(1, abs=3e-4)
        assert 0 < row["ms_p50"] <= row["ms_p99"] <= row["ms_max"]
    assert answer["by_quarter"]["slow, far"]["accepted_share"] > answer["by_quarter"]["fast, near"]["accepted_share"]


def test_a_table(tmp_path):
    result = CliRunner().invoke(app, ["bench", "filter", "--cycles", "8", "--seed", "1000"])
    assert result.exit_code == 0, result.stderr
    assert "slow, far" in result.stdout
