"""`guardrails prove`: what is taken away is missed; what is not missed is found out."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from robotctl.cli.files_commands import guardrails_app
from robotctl.guardrails.guardrail import Header
from robotctl.guardrails.speed import Speed
from robotctl.scene_paths import scenes_folder
from robotctl.verify.proof import answer, prove, prove_guardrail
from robotctl.verify.room import load_room

HOUSEHOLD = ("household",)


def test_every_guardrail_of_the_household_and_every_term_is_proved():
    found = answer(prove(HOUSEHOLD), HOUSEHOLD)
    assert found["survivors"] == []
    assert found["silent"] == []
    assert found["proved"] == len(found["proofs"]) == 20
    for proof in found["proofs"]:
        assert proof["binds"], proof
        assert proof["violations_with"] == 0 < proof["violations_without"], proof


@pytest.mark.slow
@pytest.mark.parametrize("name", ["strict", "workshop"])
def test_the_other_files_are_proved_where_they_speak_of_something(name):
    found = answer(prove((name,)), (name,))
    assert found["survivors"] == []
    assert found["silent"] == ["people-only"], "the kitchen has no such region"


def test_a_guardrail_that_nobody_would_miss_survives():
    room = load_room(HOUSEHOLD)
    idle = Speed(Header("idle", 2, "test"), 9.0)
    proof = prove_guardrail(replace(room, rules=replace(room.rules, guardrails=(*room.rules.guardrails, idle))), idle)
    assert not proof.proved
    assert not proof.binds


def test_a_guardrail_that_another_one_covers_survives():
    """Twice the same rule: neither is missed while the other holds, and that is said."""
    room = load_room(HOUSEHOLD)
    speed = next(rule for rule in room.rules.guardrails if isinstance(rule, Speed))
    twin = replace(speed, header=replace(speed.header, id="twin"))
    proof = prove_guardrail(replace(room, rules=replace(room.rules, guardrails=(*room.rules.guardrails, twin))), twin)
    assert not proof.proved


def test_the_command_says_who_survives(tmp_path: Path, monkeypatch):
    text = (scenes_folder() / "guardrails" / "household.yaml").read_text()
    path = tmp_path / "loose.yaml"
    path.write_text(
        text.split("guardrails:\n")[0]
        + "guardrails:\n  - {id: idle, kind: speed, v_max: 9 m/s, tier: 2, source: test}\n"
    )
    monkeypatch.setattr("robotctl.verify.proof._terms", lambda room: iter(()))
    result = CliRunner().invoke(guardrails_app, ["prove", str(path), "--json"])
    assert result.exit_code == 4, result.output
    assert json.loads(result.stdout)["survivors"] == ["idle"]
    shown = CliRunner().invoke(guardrails_app, ["prove", str(path)])
    assert "survives" in shown.stdout
    assert "survivors: idle" in shown.stdout
