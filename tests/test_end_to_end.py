"""Whole episodes in the real simulator: every part is the one that ships."""

from __future__ import annotations

from dataclasses import replace

import pytest

from robotctl.control import RunOptions, run_episode
from robotctl.episode.reader import episode_digest, read_episode
from robotctl.replay import judge_again
from robotctl.task import Predicate, load_task


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
    assert judge_again(log).differences == ()


def test_the_same_seed_gives_the_same_episode_bit_for_bit(tmp_path):
    task = load_task("kitchen/put-away-knife")
    digests = set()
    for run in ("a", "b"):
        path = tmp_path / f"{run}.mcap"
        result = run_episode(task, RunOptions(seed=1003, out=path, time_limit=9.0))
        assert result.digest == episode_digest(path)
        digests.add(result.digest)
    assert len(digests) == 1
    other = run_episode(task, RunOptions(seed=1004, out=tmp_path / "c.mcap", time_limit=9.0))
    assert other.digest not in digests


def test_without_filter_and_guardrails_the_same_task_violates(tmp_path):
    """The test bites: take the guardrails away and the judge sees the blade move near the person."""
    task = load_task("kitchen/put-away-knife")
    result = run_episode(task, RunOptions(seed=1002, out=tmp_path / "none.mcap", arm="none"))
    assert result.to_dict()["guardrails"]["violations"] > 0
    assert result.exit_code == 5


def test_another_objective_is_met_with_another_plan(tmp_path):
    task = load_task("kitchen/clear-table")
    cup = replace(task, objective=(Predicate("on", "counter", frozenset(), "cup_2", False),))
    result = run_episode(cup, RunOptions(seed=1002, out=tmp_path / "cup.mcap", people="none"))
    answer = result.to_dict()
    assert answer["exit_code"] == 0
    assert [skill["skill"] for skill in answer["skills"]] == ["pick cup_2", "place cup_2 on counter"]
