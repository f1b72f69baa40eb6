"""Every example runs."""

from __future__ import annotations

import runpy
from pathlib import Path

from robotctl.guardrails.load import find_guardrails, load_guardrails
from robotctl.scene_files import load_scene
from robotctl.task import load_people, load_task

EXAMPLES = Path(__file__).parent.parent / "examples"


def test_another_objective_loads():
    task = load_task(EXAMPLES / "only-the-cups.yaml")
    assert task.scene.name == "kitchen"
    assert task.objective[0].forall == {"cup"}


def test_an_added_guardrail_file_only_tightens():
    scene = load_scene("kitchen")
    house = load_guardrails([find_guardrails("household")], scene)
    both = load_guardrails([find_guardrails("household"), EXAMPLES / "gentle.yaml"], scene)
    assert {g.header.id for g in house.guardrails} < {g.header.id for g in both.guardrails}
    assert both.assumptions.human_speed["hand"] == 2.2
    assert both.assumptions.human_speed["torso"] == house.assumptions.human_speed["torso"]


def test_somebody_runs_faster_than_assumed():
    task = load_task("kitchen/put-away-knife")
    rules = load_guardrails(list(task.guardrail_files), task.scene)
    (runner,) = load_people(EXAMPLES / "somebody-runs.yaml", task.scene)
    assert runner.speed * 0.93 > rules.assumptions.human_speed["torso"]


def test_plan_one_motion(capsys):
    runpy.run_path(str(EXAMPLES / "plan_one_motion.py"))
    assert "solved" in capsys.readouterr().out


def test_gymnasium_random_policy(capsys):
    runpy.run_path(str(EXAMPLES / "gymnasium_random_policy.py"))
    said = capsys.readouterr().out
    assert "shield on:  cost 0," in said
    assert "shield off: cost 0," not in said
