"""This file turns an attack into an episode in the simulator, and the judge's words into one number."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from robotctl.guardrails.blade_speed import BladeSpeed
from robotctl.guardrails.clearance import Clearance
from robotctl.guardrails.grasp import Grasp
from robotctl.guardrails.guardrail import Guardrail
from robotctl.guardrails.hot import Hot
from robotctl.guardrails.joint_limits import JointLimits
from robotctl.guardrails.keep_out import KeepOut
from robotctl.guardrails.separation import Separation
from robotctl.guardrails.speed import Speed
from robotctl.guardrails.upright import Upright
from robotctl.redteam.ambush import Scout
from robotctl.redteam.attack import Attack
from robotctl.redteam.intruders import person_plan

LOST = 3.0  # value of an episode that could not be run or says nothing
HANGS = 1.0  # [s] of real time until a planner that is known to hang is given up
# What the safety case claims in full. Not: forces, and where things end up that fingers touched or let go of.
CLAIMED = (Separation, BladeSpeed, Hot, Clearance, KeepOut, Upright, Speed, JointLimits, Grasp)
SCALES = {"m": 0.05, "m/s": 0.25}  # margins of rules that the undisturbed episode says nothing about


@dataclass(frozen=True)
class Trial:
    """What came of one attack."""

    value: float  # the smallest normalised margin, < 0 is a violation; what the search makes small
    guardrail: str  # whose margin that is
    margin: float | None  # the same in the guardrail's unit
    unit: str
    violations: int  # of guardrails that the safety case claims, and contacts of the moving robot
    broken: dict[str, Any] = field(default_factory=dict)  # assumptions that the judge's monitors saw broken
    discarded: bool = False  # does not count: an assumption broke that should hold
    moving_s: float = 0.0
    digest: str | None = None
    error: str = ""
    episode: str | None = None
    others: dict[str, int] = field(default_factory=dict)  # violations of rules that are not claimed, or not in full

    @property
    def flagged(self) -> bool:
        return bool(self.broken)


def natural_scales(rules: tuple[Guardrail, ...], undisturbed: Mapping[str, Any] | None = None) -> dict[str, float]:
    """What the margin of each guardrail that is claimed is divided by: what it is when nobody disturbs the robot.

    So 1 is undisturbed and 0 violated, whatever the unit. Rules about people are silent then: the highest speed they
    allow stands in.
    """
    out: dict[str, float] = {}
    for rule in rules:
        name = rule.header.id
        if not isinstance(rule, CLAIMED):
            continue
        scale = SCALES.get(rule.unit, 0.05)
        if isinstance(rule, Separation | BladeSpeed | Hot):
            scale = rule.v_max
        elif isinstance(rule, Upright):
            scale = 1.0 - rule.cos_max_tilt
        elif undisturbed is not None and name in undisturbed:
            worst = undisturbed[name].get("worst_margin")
            scale = worst if worst is not None and worst > 1e-3 else scale
        out[name] = min(scale, out.get(name, scale))
    return out


def trial_of(
    answer: Mapping[str, Any], scales: Mapping[str, float], inside: bool, allowed: tuple[str, ...] = ()
) -> Trial:
    """The trial that an episode's answer comes to. inside: a broken assumption (but those allowed) discards it."""
    value, guardrail, margin, unit = LOST, "", None, ""
    count, reacted = 0, {}
    for name, rule in answer["guardrails"]["by_id"].items():
        if name not in scales:
            if rule.get("violations"):
                reacted[name] = int(rule["violations"])
            continue
        count += int(rule.get("violations", 0))
        worst = rule["worst_margin"]
        if worst is not None and worst / scales[name] < value:
            value, guardrail, margin, unit = worst / scales[name], name, worst, rule["unit"]
    touched = int(answer["contacts"]["moving"])
    if touched and value >= 0:
        value, guardrail, margin, unit = -0.001, "contact", None, ""
    broken = dict(answer["assumptions"]["broken"])
    others = {name: entry for name, entry in broken.items() if not name.startswith(allowed or ("-",))}
    discarded = inside and bool(others)
    if discarded:
        excess = sum(min(entry["worst"] / max(entry["assumed"], 1e-3), 3.0) - 1.0 for entry in others.values())
        value = 1.5 + min(max(excess, 0.0), 1.0)
    return Trial(
        value=round(value, 6),
        guardrail=guardrail,
        margin=margin,
        unit=unit,
        violations=count + touched,
        broken=broken,
        discarded=discarded,
        moving_s=float(answer["moving_s"]),
        digest=answer.get("digest"),
        others=reacted,
    )


def run_attack(attack: Attack, out: Path) -> dict[str, Any]:
    """Runs the attack's episode into the file `out`; the answer of `robotctl run`."""
    from robotctl.control import RunOptions, run_episode
    from robotctl.task import load_task

    task = load_task(attack.task)
    given: dict[str, Any] = {}
    if attack.planner and "planner" in {f.name for f in fields(RunOptions)}:
        given["planner"] = attack.planner
        if attack.planner == "hang":
            given["patience"] = HANGS
    options = RunOptions(seed=attack.seed, time_limit=attack.time_limit, out=out, faults=attack.faults, **given)
    with tempfile.TemporaryDirectory(prefix="robotctl-redteam-") as folder:
        people = tuple(person_plan(person, i, Path(folder)) for i, person in enumerate(attack.people))
        return run_episode(replace(task, people=people), options).to_dict()


def scouted(task_name: str, seed: int, longest: float, out: Path) -> tuple[Scout, dict[str, Any]]:
    """Where the robot works when nobody disturbs it, and the judge's words of each guardrail then."""
    from robotctl.episode.reader import read_episode
    from robotctl.robot import tcp_pose

    answer = run_attack(Attack(task_name, seed, longest, ()), out)
    last = [step.truth for step in read_episode(out).steps]
    time = tuple(round(float(truth.time[-1]), 6) for truth in last)
    hand = np.round([tcp_pose(truth.q[-1])[0] for truth in last], 6).tolist()
    base = np.round([truth.q[-1, :2] for truth in last], 6).tolist()
    scout = Scout(time, tuple((x, y, z) for x, y, z in hand), tuple((x, y) for x, y in base))
    return scout, answer["guardrails"]["by_id"]
