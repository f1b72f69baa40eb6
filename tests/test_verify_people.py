"""`robotctl verify people`: speeds known in closed form, the judge's measure, factors, exit codes."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from robotctl.body import INDEX, KEYPOINTS, PARTS
from robotctl.cli.main import app
from robotctl.guardrails.guardrail import Assumptions
from robotctl.guardrails.load import find_guardrails, load_guardrails
from robotctl.judge.monitor import Monitor
from robotctl.scene_files import load_scene
from robotctl.simulation.people import Person
from robotctl.task import PersonPlan, load_task
from robotctl.verify.people import RATE, audit_dict, measure, part_speeds, verify_people

HOUSEHOLD = find_guardrails("household")
STAND = PersonPlan("ann", "stand", np.array([[0.3, -1.5]]), 0.9, 0.0, (), jitter=0.0, loop=False)
BODY = Person(STAND, np.random.default_rng(0)).keypoints(0.0)  # (J, 3)


def assumed(torso: float = 1.6, arm: float = 2.0, hand: float = 2.0, leg: float = 3.0) -> Assumptions:
    speed = {"torso": torso, "arm": arm, "hand": hand, "leg": leg}
    return Assumptions(speed, 0.05, 0.02, 0.004, 0.008, 0.06, 0.06)


def save(path: Path, time: np.ndarray, moved: dict[str, np.ndarray]) -> Path:
    """A motion file of a standing body; keypoints named in `moved` (or `all` of them) are shifted by (T, 3) [m]."""
    xyz = np.tile(BODY, (len(time), 1, 1))
    for name, shift in moved.items():
        if name == "all":
            xyz += shift[:, None]
        else:
            xyz[:, INDEX[name]] += shift
    np.savez(path, time_s=time, joint_names=np.array(KEYPOINTS), xyz_m=xyz)
    return path


def along_x(x: np.ndarray) -> np.ndarray:
    return np.stack([x, 0 * x, 0 * x], axis=1)


def swing(path: Path, peak: float, keypoint: str = "right_hand", turn: float = 2 * np.pi) -> Path:
    """One keypoint swings to and fro four times with that peak speed [m/s], from rest to rest."""
    time = np.arange(0.0, 4.0 + 1e-9, 1 / 120)
    return save(path, time, {keypoint: along_x(peak / turn * (1.0 - np.cos(turn * time)))})


def plan_of(path: Path, **changes: Any) -> PersonPlan:
    values = dict(path=np.zeros((0, 2)), speed=0.9, start=0.0, reach=(), jitter=0.0, loop=False)
    return PersonPlan(name="ann", clip=str(path), **{**values, **changes})


def speeds(path: Path, assumptions: Assumptions, **changes: Any) -> dict[str, Any]:
    motion = measure(Person(plan_of(path, **changes), np.random.default_rng(0)), "ann")
    return {part.part: part for part in part_speeds([motion], assumptions)}


def invoke(*args: str | Path, code: int) -> Any:
    result = CliRunner().invoke(app, ["verify", "people", *map(str, args)])
    assert result.exit_code == code, (result.stdout, result.stderr, result.exception)
    return result


# ---- what is measured ------------------------------------------------------------------------------------------


def test_a_walk_at_constant_speed(tmp_path: Path) -> None:
    """The simulator's cubic starts with half the slope: 7/8 and 9/8 of the speed in the two steps of a sample."""
    time = np.arange(0.0, 2.0 + 1e-9, 1 / 120)
    path = save(tmp_path / "m.npz", time, {"all": along_x(1.5 * time)})
    torso = speeds(path, assumed())["torso"]
    assert torso.p50 == pytest.approx(1.5)
    assert torso.max == pytest.approx(1.5 * 9 / 8)
    assert torso.factor == pytest.approx(1.5 * 9 / 8 / 1.6)
    assert torso.first_beyond is not None
    assert torso.first_beyond.time == pytest.approx(2 / 240)
    assert torso.share_beyond == pytest.approx(2 / (480 + 2))  # at both ends; two steps after the motion
    calm = speeds(path, assumed(torso=1.7))["torso"]
    assert calm.first_beyond is None
    assert calm.share_beyond == 0.0


@pytest.mark.parametrize(
    ("keypoint", "part"), [("left_hand", "hand"), ("left_wrist", "hand"), ("head", "torso"), ("right_toe", "leg"),
                           ("right_elbow", "arm"), ("left_hip", "torso")],
)  # fmt: skip
def test_a_swing_counts_for_its_part(tmp_path: Path, keypoint: str, part: str) -> None:
    found = speeds(swing(tmp_path / "m.npz", 2.5, keypoint), assumed(1.0, 1.0, 1.0, 1.0))
    assert found[part].max == pytest.approx(2.5, rel=2e-3)
    assert found[part].p50 == pytest.approx(2.5 * np.sin(np.pi / 4), rel=0.03)  # median of |sin|
    assert found[part].first_beyond.keypoint == keypoint
    # |sin(2 pi t)| = 1 / 2.5 is first passed at 65.5 ms, and exceeded for 73.8 % of the time.
    assert found[part].first_beyond.time == pytest.approx(np.arcsin(0.4) / (2 * np.pi), abs=2 / 240)
    assert found[part].share_beyond == pytest.approx(1.0 - 2.0 * np.arcsin(0.4) / np.pi, abs=0.02)
    for other in PARTS:
        assert (found[other].max > 1e-9) == (other == part)


def test_it_is_the_judges_measure(tmp_path: Path) -> None:
    task = load_task("kitchen/put-away-knife")
    person = Person(task.people[0], np.random.default_rng([1000, 10]))
    found = part_speeds([measure(person, "cook")], assumed(hand=1.0))
    monitor = Monitor(assumed(hand=1.0))
    times = np.arange(0, int((person.start + person.duration) * RATE) + 3) / RATE
    keypoints = np.array([person.keypoints(float(t)) for t in times])[:, None]
    for k in range(0, len(times), 12):
        monitor.people(np.full(len(times[k : k + 12]), 1 / RATE), keypoints[k : k + 12])
    for part in found:
        assert monitor.worst[f"human_speed.{part.part}"]["worst"] == pytest.approx(part.max, rel=1e-9)
    assert set(monitor.broken()) == {"human_speed.hand"} == {f"human_speed.{p.part}" for p in found if p.first_beyond}


def test_time_counts_from_the_start_of_the_episode(tmp_path: Path) -> None:
    path = swing(tmp_path / "m.npz", 2.5)
    early, late = (speeds(path, assumed(), start=start)["hand"] for start in (0.0, 3.1))
    assert late.first_beyond.time == pytest.approx(early.first_beyond.time + 3.1, abs=2 / 240)
    assert late.max == pytest.approx(early.max, rel=1e-3)


def test_a_loop_is_measured_over_its_seam(tmp_path: Path) -> None:
    motion = measure(Person(plan_of(swing(tmp_path / "m.npz", 1.0), loop=True), np.random.default_rng(0)), "ann")
    assert motion.time[-1] > 8.0
    assert motion.time[-1] < 8.02


def test_nan_is_beyond(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    motion = measure(Person(plan_of(swing(tmp_path / "m.npz", 1.0)), np.random.default_rng(0)), "ann")
    motion.speed[7, INDEX["neck"]] = np.nan
    torso = part_speeds([motion], assumed())[0]
    assert torso.first_beyond is not None
    assert torso.share_beyond > 0.0


# ---- files -----------------------------------------------------------------------------------------------------


def test_nobody_holds(tmp_path: Path) -> None:
    people = tmp_path / "people.yaml"
    people.write_text("schema: robotctl/people.v1\npeople: []\n")
    audit = verify_people(str(people), (), "kitchen", 0)
    assert audit.holds
    assert audit.factor == 0.0


def test_the_packaged_people_keep_the_households_speeds() -> None:
    audit = verify_people("kitchen/put-away-knife", (), "kitchen", 1000)
    assert audit.holds
    assert 0.5 < audit.factor <= 1.0
    assert audit.guardrails[0].endswith("household.yaml")


def guardrails_file(path: Path, factor: float) -> Path:
    """The household's rules with its assumed speeds times a factor."""
    text = HOUSEHOLD.read_text()
    line = re.search(r"human_speed: *\n(?: +\w+: [^\n]*\n){4}|human_speed: *\{[^}]*\}", text)
    assert line is not None
    scaled = re.sub(r"([\d.]+) m/s", lambda m: f"{float(m[1]) * factor:.6f} m/s", line[0])
    path.write_text(text.replace(line[0], scaled))
    return path


def test_the_factor_is_the_smallest_that_suffices(tmp_path: Path) -> None:
    motion = swing(tmp_path / "m.npz", 3.1)
    answer = json.loads(invoke(motion, "--json", code=4).stdout)
    assert answer["schema"] == "robotctl/verify-people.v1"
    assert answer["factor"] == pytest.approx(1.55, rel=2e-3)
    assert [part for part, found in answer["parts"].items() if not found["holds"]] == ["hand"]
    assert answer["parts"]["hand"]["first_beyond"]["keypoint"] == "right_hand"
    enough = guardrails_file(tmp_path / "enough.yaml", answer["factor"])
    small = guardrails_file(tmp_path / "small.yaml", answer["factor"] - 0.001)
    assert json.loads(invoke(motion, "--guardrails", enough, "--json", code=0).stdout)["holds"]
    invoke(motion, "--guardrails", small, code=4)


def test_two_people_are_told_apart(tmp_path: Path) -> None:
    swing(tmp_path / "fast.npz", 3.0)
    swing(tmp_path / "slow.npz", 0.5)
    people = tmp_path / "people.yaml"
    rows = ("{name: a, clip: slow.npz}", "{name: b, clip: fast.npz, start: 1 s}")
    people.write_text("schema: robotctl/people.v1\npeople:\n" + "".join(f"  - {row}\n" for row in rows))
    answer = json.loads(invoke(people, "--json", code=4).stdout)
    assert [row["name"] for row in answer["people"]] == ["a", "b"]
    assert [row["parts"]["hand"]["holds"] for row in answer["people"]] == [True, False]
    assert answer["parts"]["hand"]["first_beyond"]["person"] == "b"
    assert answer["parts"]["hand"]["max"] == answer["people"][1]["parts"]["hand"]["max"]
    table = invoke(people, code=4).stdout
    assert "right_hand of b at 1." in table
    assert "does not hold: it would with the assumed speeds times 1.5" in table


def test_a_motion_that_holds(tmp_path: Path) -> None:
    table = invoke(swing(tmp_path / "m.npz", 1.0), code=0).stdout
    assert "holds: nobody is faster than assumed (at most 50 % of it)" in table
    answer = json.loads(invoke(tmp_path / "m.npz", "--json", code=0).stdout)
    assert set(answer["parts"]) == set(PARTS)
    assert {"p50", "p99", "p99.9", "max", "assumed", "share_beyond", "first_beyond"} <= set(answer["parts"]["hand"])


def test_an_assumed_speed_of_zero_has_no_factor(tmp_path: Path) -> None:
    none = guardrails_file(tmp_path / "none.yaml", 0.0)
    swing(tmp_path / "m.npz", 1.0)
    assert "with no factor" in invoke(tmp_path / "m.npz", "--guardrails", none, code=4).stdout
    assert json.loads(invoke(tmp_path / "m.npz", "--guardrails", none, "--json", code=4).stdout)["factor"] is None


@pytest.mark.parametrize(
    ("name", "text", "code", "said"),
    [
        ("m.npz", "no zip", 3, "not a readable .npz motion file"),
        ("m.bvh", "HIERARCHY", 3, "m.bvh:1:1: the file ends before MOTION"),
        ("people.yaml", "schema: robotctl/people.v1\n", 3, "people.yaml:1:1"),
        ("task.yaml", "a: 1\n", 3, "key 'schema' is missing"),
        ("absent.npz", None, 3, "absent.npz: no such file"),
        ("absent.yaml", None, 3, "absent.yaml: no such file"),
        ("kitchen/clear-tabel", None, 2, "did you mean 'kitchen/clear-table'?"),
    ],
)
def test_errors_are_one_line(tmp_path: Path, name: str, text: str | None, code: int, said: str) -> None:
    path = tmp_path / name if code == 3 else name
    if text is not None:
        Path(path).write_text(text)
    result = invoke(path, "--json", code=code)
    assert result.stdout == ""
    assert len(result.stderr.strip().splitlines()) == 1
    assert said in result.stderr


def test_the_household_assumptions_are_those_of_the_file() -> None:
    rules = load_guardrails([HOUSEHOLD], load_scene("kitchen"))
    audit = verify_people("kitchen/clear-table", (), "kitchen", 0)
    assert [part.assumed for part in audit.parts] == list(rules.assumptions.keypoint_speed())
    assert list(audit_dict(audit))[:2] == ["schema", "file"]
