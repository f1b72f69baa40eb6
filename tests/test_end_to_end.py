"""Whole episodes in the real simulator: every part is the one that ships."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

import robotctl
from robotctl.control import RunOptions, run_episode
from robotctl.episode.reader import episode_digest, read_episode
from robotctl.planning import trajectory_optimizer
from robotctl.replay.rejudge import judge_again
from robotctl.task import Predicate, load_task

FETCH = """schema: robotctl/task.v1
description: Fetch a cup from the far side of the table.
scene: ../scene.yaml
objective:
  all:
    - {object: cup_1, is: on, place: counter}
within: 60 s
guardrails: [../../guardrails/household.yaml]
"""


@pytest.mark.parametrize(("name", "goals"), [("kitchen/clear-table", 6), ("kitchen/put-away-knife", 1)])
def test_task_is_done_within_the_guardrails(name, goals, tmp_path):
    result = run_episode(load_task(name), RunOptions(seed=1002, out=tmp_path / "episode.mcap"))
    answer = result.to_dict()
    assert answer["guardrails"]["violations"] == 0, answer["guardrails"]
    assert answer["contacts"]["moving"] == 0
    assert answer["objective"]["unsatisfied"] == [], answer["skills"]
    assert len(answer["objective"]["satisfied"]) == goals
    assert answer["exit_code"] == 0
    assert answer["min_separation_m"] < 1.0, "the person never came near: the test would show nothing"
    log = read_episode(tmp_path / "episode.mcap")
    assert log.complete
    if name == "kitchen/put-away-knife":  # the shorter one
        assert judge_again(log).differences == ()


def test_the_same_seed_gives_the_same_episode_bit_for_bit(tmp_path):
    task = load_task("kitchen/put-away-knife")
    digests = set()
    for run in ("a", "b"):
        path = tmp_path / f"{run}.mcap"
        result = run_episode(task, RunOptions(seed=1003, out=path, time_limit=6.0))
        assert result.digest == episode_digest(path)
        digests.add(result.digest)
    assert len(digests) == 1
    other = run_episode(task, RunOptions(seed=1004, out=tmp_path / "c.mcap", time_limit=6.0))
    assert other.digest not in digests


def test_without_filter_and_guardrails_the_same_task_violates(tmp_path):
    """The test bites: take the guardrails away and the judge sees the blade move near the person."""
    task = load_task("kitchen/put-away-knife")
    result = run_episode(task, RunOptions(seed=1002, out=tmp_path / "none.mcap", arm="none"))
    assert result.to_dict()["guardrails"]["violations"] > 0
    assert result.exit_code == 5


@pytest.mark.slow
def test_what_stands_on_the_far_side_is_fetched_round_the_table(tmp_path, monkeypatch):
    """Longer than the planner's horizon, with the table in between: needs a route, to the cup and back."""
    scenes = tmp_path / "scenes"
    shutil.copytree(Path(robotctl.__file__).parent / "_scenes", scenes)
    scene = scenes / "kitchen" / "scene.yaml"
    furniture, _ = scene.read_text().split("items:\n")
    cup = "{name: cup_1, kind: cup, position: 0.25 -0.88 0.75 m, jitter: 15 mm, turn: 30 deg}"
    scene.write_text(f"{furniture}items:\n  - {cup}\n")
    task = scenes / "kitchen" / "tasks" / "fetch.yaml"
    task.write_text(FETCH)
    answer = run_episode(load_task(str(task)), RunOptions(seed=1000, out=tmp_path / "fetch.mcap")).to_dict()
    assert answer["exit_code"] == 0, answer["reason"]
    assert answer["guardrails"]["violations"] == 0
    monkeypatch.setattr(trajectory_optimizer, "find_route", lambda *_: None)
    without = RunOptions(seed=1000, out=tmp_path / "without.mcap", time_limit=25.0)
    assert run_episode(load_task(str(task)), without).to_dict()["objective"]["unsatisfied"]


def test_another_objective_is_met_with_another_plan(tmp_path):
    task = load_task("kitchen/clear-table")
    cup = replace(task, objective=(Predicate("on", "counter", frozenset(), "cup_2", False),))
    result = run_episode(cup, RunOptions(seed=1002, out=tmp_path / "cup.mcap", people="none"))
    answer = result.to_dict()
    assert answer["exit_code"] == 0
    assert [skill["skill"] for skill in answer["skills"]] == ["pick cup_2", "place cup_2 on counter"]
