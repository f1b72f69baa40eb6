"""`robotctl verify filter`: the filter holds under anything that is assumed; a filter with a part missing does not."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from typer.testing import CliRunner

from robotctl.cli.main import app
from robotctl.robot import BRAKE, DQ_MAX, RobotModel
from robotctl.safety.brake import brake_velocities
from robotctl.safety.safety_filter import SafetyFilter
from robotctl.safety.tube import levers
from robotctl.state import TICK, RobotState, State
from robotctl.verify.cases import load_case, save_case
from robotctl.verify.crowd import RATE
from robotctl.verify.filter import Findings, episodes, replay_case, sample, verify_filter
from robotctl.verify.induction import TAIL, Course, Fault, Inputs, draw_episode, repeat
from robotctl.verify.late_drives import point_speed
from robotctl.verify.room import Room, held_in_grasp, load_room
from robotctl.verify.scenarios import SCENARIOS
from robotctl.verify.starts import sweep_at
from robotctl.verify.true_margins import Motion, joined, judge_episode, truths

SEED = 1000
BY_NAME = {scenario.name: scenario for scenario in SCENARIOS}


@pytest.fixture(scope="module")
def room() -> Room:
    return load_room()


@pytest.fixture(scope="module")
def drawn(room: Room) -> list[tuple[Inputs, Course]]:
    """Some episodes, at least one with people, with a knife and with a cup or bowl."""
    return [draw_episode(room, (SEED, number), 20) for number in range(20)]


def test_no_planner_and_no_person_makes_a_moving_robot_break_a_guardrail(room):
    """5,000 sampled steps of the induction; at 240 Hz every guardrail holds, by its own formula and by the judge."""
    found = sample(room, SEED, episodes(5000))
    assert found.total.samples == 5000
    assert found.total.failures == 0, found.faults[:10]
    assert set(found.smallest) == {rule.header.id for rule in room.rules.guardrails} - ELSEWHERE
    assert set(found.smallest_judge) == set(found.smallest)
    assert found.total.moving > 0.4 * 5000  # a frozen robot would prove nothing
    assert found.total.accepted + found.total.scaled + found.total.braked == 5000
    assert min(found.total.accepted, found.total.scaled) > 250
    assert all(tally.moving for tally in found.by_proposal.values())
    assert all(tally.moving > 0.1 * tally.samples for tally in found.by_scenario.values())


# ---- the check bites: a filter without one of its parts fails --------------------------------------------------------


def maimed(without: str = "", zero: str = "", cls: type[SafetyFilter] = SafetyFilter) -> Callable[[Room], SafetyFilter]:
    """A filter that knows nothing of one guardrail, or takes one assumption for zero."""

    def make(room: Room) -> SafetyFilter:
        rules = tuple(rule for rule in room.rules.guardrails if rule.header.id != without)
        assumed = room.rules.assumptions
        if zero:
            value = dict.fromkeys(assumed.human_speed, 0.0) if zero == "human_speed" else 0.0
            assumed = replace(assumed, **{zero: value})
        return cls(SimpleNamespace(guardrails=rules, assumptions=assumed), room.task.scene.kinds)

    return make


def faults(
    room: Room, make: Callable[[Room], SafetyFilter], scenario: str, what: str, first: int = 0, most: int = 80
) -> Findings:
    """Findings of the scenario's episodes up to the first in which `what` is wrong."""
    found = Findings()
    for number in range(first, first + most):
        found.add(sample(room, SEED, [(number, 20)], make, BY_NAME[scenario]))
        if any(fault.what == what for _, fault in found.faults):
            return found
    raise AssertionError(f"{most} episodes and nothing was wrong with {what}")


FIRST = {"stove-keep-out": 54}  # episodes before these show nothing and take time
BINDING = {
    "human-separation": "people",
    "blade-near-human": "blade",
    "furniture-clearance": "furniture",
    "stove-keep-out": "stove",
    "upright-when-filled": "filled",
    "hot-near-human": "hot",
    "speed": "free",
    "joint-limits": "free",
}
# Rules on moments, on things and on what is felt: test_guardrails_things.py and test_proof.py.
ELSEWHERE = {"sharp-grasp", "sharp-placement", "undisturbed"}


@pytest.mark.parametrize("rule", BINDING)
def test_every_guardrail_is_missed(room, rule):
    found = faults(room, maimed(without=rule), BINDING[rule], rule, FIRST.get(rule, 0))
    assert {fault.what for _, fault in found.faults} - {"moving contact"} == {rule}
    assert found.total.failures > 0


def test_every_guardrail_of_the_household_has_a_scenario(room):
    assert set(BINDING) | ELSEWHERE | {"contact-force"} == {rule.header.id for rule in room.rules.guardrails}


def test_the_speed_of_people_is_missed(room):
    found = faults(room, maimed(zero="human_speed"), "people", "human-separation")
    assert {fault.seen_by for _, fault in found.faults} >= {"formula"}


class Coasting(SafetyFilter):
    """Stores a brake that was not verified: it begins a tick late."""

    def _store(self, state, brake, velocity):
        super()._store(state, np.concatenate([velocity[None], brake]) if len(brake) else brake, velocity)


class Limp(SafetyFilter):
    """Stores a brake that takes the joints to rest one after the other: each as fast as it can."""

    def _store(self, state, brake, velocity):
        own = brake_velocities(velocity, self._acceleration_limit)
        step = BRAKE * TICK
        for tick in range(len(own)):
            own[tick] = np.sign(velocity) * np.maximum(np.abs(velocity) - (tick + 1) * step, 0.0)
        super()._store(state, own if len(brake) == len(own) else brake, velocity)


class Dizzy(SafetyFilter):
    """Answers with a number that is none."""

    def certify(self, state, action, skill):
        verdict = super().certify(state, action, skill)
        return replace(verdict, action=verdict.action * np.nan) if state.time > 0.3 else verdict


@pytest.mark.parametrize(
    ("cls", "what"), [(Coasting, "stored brake"), (Coasting, "no rest"), (Limp, "stored brake"), (Dizzy, "action")]
)
def test_an_unverified_brake_is_noticed(room, cls, what):
    assert faults(room, maimed(cls=cls), "free", what).total.failures > 0


def test_a_coasting_robot_breaks_guardrails(room):
    """Not only the answers are wrong: the motion is, too."""
    for scenario, rule in (("furniture", "furniture-clearance"), ("people", "human-separation")):
        assert faults(room, maimed(cls=Coasting), scenario, rule).total.failures > 0


def test_a_recovery_that_gets_worse_is_noticed(room, monkeypatch):
    """A filter that lets every motion through which is too near to furniture calls it a recovery; it is none."""
    monkeypatch.setattr(
        "robotctl.safety.safety_filter._recovers", lambda guardrail, *_: guardrail.header.id == "furniture-clearance"
    )
    found = faults(room, maimed(), "furniture", "furniture-clearance")
    assert found.recovering > 0


def test_the_judge_sees_what_the_formulas_see(room):
    """Without the blade's rule the judge finds violations by itself, in the same episode."""
    found = Findings()
    for number in range(40):
        found.add(sample(room, SEED, [(number, 20)], maimed(without="blade-near-human"), BY_NAME["blade"]))
        if {fault.seen_by for _, fault in found.faults} == {"formula", "judge"}:
            return
    raise AssertionError("the judge saw nothing")


# ---- the worlds lie within the assumptions, and at their edge --------------------------------------------------------


def test_worlds_lie_within_the_assumptions(room, drawn):
    """The judge's monitor for people and readings; for the drives the definition itself."""
    assumed = room.rules.assumptions
    lever = levers(RobotModel())
    speeds, late, far = [], [], []
    for inputs, course in drawn:
        judge = room.judge(inputs.held(room))
        motion = Motion(inputs, course)
        judge.observe(joined(truths(room, inputs, motion, inputs.held(room))))
        assert not [name for name in judge.verdict().broken if name.startswith("human")]
        moved = np.linalg.norm(np.diff(inputs.keypoints, axis=0), axis=-1) * RATE
        if moved.size:
            speeds.append(float(moved.max()))
        assert np.all((inputs.delay >= 0) & (inputs.delay <= assumed.actuation_latency + 1e-12))
        late.append(float(inputs.delay.max()))
        off = point_speed(inputs.offset, lever)
        assert off.max() <= assumed.tracking_error
        far.append(float(off.max()))
        faster = point_speed(np.diff(inputs.offset, axis=0) * RATE, lever)
        assert faster.max() <= 0.5 * assumed.tracking_speed_error
        assert not faster[~motion.moving[1:]].any()
        excess = np.abs(np.diff(motion.true_q, axis=0)) * RATE / DQ_MAX
        assert excess.max() <= 1.0
    assert max(speeds) == pytest.approx(max(assumed.human_speed.values()), rel=1e-6)
    assert max(late) == assumed.actuation_latency
    assert max(far) > 0.99 * assumed.tracking_error


def test_readings_are_true_within_their_error(room, drawn):
    """A reading is within human_error of where the person was at its stamp, or could have been before time 0."""
    assumed = room.rules.assumptions
    reach = max(assumed.human_speed.values())
    worst, oldest = 0.0, 0.0
    for inputs, _ in drawn:
        for tick in range(len(inputs.said)):
            for person in range(len(inputs.names)):
                read, stamp = inputs.readings[tick, person], inputs.stamps[tick, person]
                if not np.isfinite(read).all() or stamp > tick * TICK:
                    continue  # nonsense, for one tick
                step = round(stamp * RATE)
                then = inputs.keypoints[max(step, 0), person]
                apart = float(np.linalg.norm(read - then, axis=-1).max()) - reach * max(-stamp, 0.0)
                worst, oldest = max(worst, apart), max(oldest, tick * TICK - stamp)
    assert worst == pytest.approx(assumed.human_error, abs=1e-9)
    assert oldest > 1.0


def test_held_things_are_seen_by_the_judge(room, drawn):
    """The true hand holds what the robot believes to hold, off by object_error."""
    seen = set()
    for inputs, course in drawn:
        if not inputs.kind:
            continue
        off = np.linalg.norm(inputs.believed[:, :3, 3] - inputs.T_hand_object[:3, 3], axis=1)
        assert np.allclose(off, room.rules.assumptions.object_error)
        if course.dq.any():
            margins = judge_episode(room, inputs, course)
            labels = room.task.scene.kinds[inputs.kind].labels
            for label, rule in (("sharp", "blade-near-human"), ("fillable", "upright-when-filled")):
                if label in labels and np.abs(np.diff(course.q, axis=0)).max() > 0.01 and rule in margins.judge:
                    seen.add(rule)
    assert seen == {"blade-near-human", "upright-when-filled"}


# ---- numbers ---------------------------------------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_samples_with_any_number_of_workers(monkeypatch):
    monkeypatch.setattr("robotctl.verify.filter.EPISODES", 1)  # so that there is work for two
    one, two = (verify_filter(60, SEED, workers) for workers in (1, 2))
    for answer in (one, two):
        del answer["wall_s"]
    assert one == two
    assert one["samples"] == 60
    assert verify_filter(60, SEED + 1)["smallest_margins"] != one["smallest_margins"]


def test_an_odd_number_of_samples():
    assert episodes(45) == [(0, 20), (1, 20), (2, 5)]
    answer = verify_filter(7, SEED)
    assert answer["samples"] == answer["accepted"] + answer["scaled"] + answer["braked"] == 7
    assert answer["failures_ci95"][0] == 0 < answer["failures_ci95"][1] < 1


def test_repeating_an_episode_gives_the_same_course(room, drawn):
    for inputs, course in drawn[:10]:
        again = repeat(room, inputs)
        assert np.array_equal(again.q, course.q)
        assert np.array_equal(again.scale, course.scale)
        assert again.recovering == course.recovering


# ---- cases -----------------------------------------------------------------------------------------------------------


def a_failure(room: Room) -> tuple[Inputs, tuple[Fault, ...]]:
    make = maimed(zero="human_speed")
    for number in range(40):
        inputs, course = draw_episode(room, (SEED, number), 20, make, BY_NAME["people"])
        found = judge_episode(room, inputs, course).faults
        if found:
            return inputs, found
    raise AssertionError("no failure")


def test_a_case_is_read_back_as_it_was_written(room, tmp_path):
    inputs, found = a_failure(room)
    path = tmp_path / "case.npz"
    save_case(path, room, inputs, found)
    again, files = load_case(path)
    assert files == ("household",)
    for name, value in vars(inputs).items():
        same = getattr(again, name)
        if isinstance(value, np.ndarray):
            assert np.array_equal(same, value, equal_nan=value.dtype.kind == "f")
        else:
            assert same == value
    course = repeat(room, again, maimed(zero="human_speed"))
    assert judge_episode(room, again, course).faults == found
    assert replay_case(path)["failures"] == 0  # the filter as it is stops in time


def test_failures_are_written_out(room, tmp_path, monkeypatch):
    monkeypatch.setattr(Room, "filter", maimed(cls=Coasting))
    answer = verify_filter(40, SEED, out=tmp_path / "cases")
    assert answer["failures"] > 0
    assert answer["faults"]
    assert len(answer["cases"]) == 2
    inputs, _ = load_case(tmp_path / "cases" / f"filter-{SEED}-0.npz")
    assert inputs.samples == 20
    assert len(inputs.said) == 20 + TAIL


@pytest.mark.parametrize("damage", ["missing", "text", "empty", "pickle", "other", "shape"])
def test_a_broken_case_is_one_line(tmp_path, damage, room, drawn):
    path = tmp_path / "case.npz"
    if damage == "text":
        path.write_text("no case")
    elif damage == "empty":
        path.write_bytes(b"")
    elif damage == "pickle":
        np.savez(path, header=np.array({"schema": 1}, dtype=object))
    elif damage == "other":
        np.savez(path, header=np.array(json.dumps({"schema": "another"})))
    elif damage == "shape":
        inputs, _ = drawn[0]
        save_case(path, room, replace(inputs, delay=inputs.delay[:-1]), [])
    result = CliRunner().invoke(app, ["verify", "filter", "--replay", str(path)])
    assert result.exit_code == 3
    assert "case.npz" in result.stderr
    assert "Traceback" not in result.stderr


# ---- the command -----------------------------------------------------------------------------------------------------


def test_the_command(tmp_path):
    result = CliRunner().invoke(
        app, ["verify", "filter", "--samples", "60", "--seed", str(SEED), "--json", "--out", str(tmp_path / "out")]
    )
    assert result.exit_code == 0, result.stderr
    answer = json.loads(result.stdout)
    assert answer["schema"] == "robotctl/verify-filter.v1"
    assert {"samples", "failures", "failures_ci95", "moving_share", "accepted", "scaled", "braked", "smallest_margins",
            "by_proposal", "wall_s"} <= set(answer)  # fmt: skip
    assert not (tmp_path / "out").exists()
    shown = CliRunner().invoke(app, ["verify", "filter", "--samples", "20", "--seed", str(SEED)])
    assert shown.exit_code == 0
    assert "0 of 20 samples fail" in shown.stdout


def test_failures_give_exit_code_5(tmp_path, room, monkeypatch):
    inputs, found = a_failure(room)
    path = tmp_path / "case.npz"
    save_case(path, room, inputs, found)
    monkeypatch.setattr(Room, "filter", maimed(zero="human_speed"))
    result = CliRunner().invoke(app, ["verify", "filter", "--replay", str(path)])
    assert result.exit_code == 5
    assert "human-separation" in result.stdout


def test_unknown_guardrails_are_a_usage_error():
    result = CliRunner().invoke(app, ["verify", "filter", "--samples", "20", "--guardrails", "houshold"])
    assert result.exit_code == 2
    assert "household" in result.stderr


# ---- what is held may be farther out -----------------------------------------------------------------------------


def test_a_held_thing_off_by_object_error_keeps_the_speed_limit(room):
    """A plate swung round as fast as the filter lets it be, and the plate lies 4 mm farther out than believed."""
    kind = room.task.scene.kinds["plate"]
    held = held_in_grasp(kind, kind.grasps[0])
    speed = next(rule for rule in room.rules.guardrails if rule.header.id == "speed")
    posture = np.array([-1.0, -2.6, 0.0, 0.0, 1.2, 0.0, -0.8, 0.0, 2.0, 0.8])

    def swing(rate: float) -> np.ndarray | None:
        """Where the robot is when it turns at `rate`; None if the filter does not let it."""
        guard, q, dq = room.filter(), posture, np.zeros(10)
        for tick in range(8):
            state = State(tick * TICK, RobotState(q, dq, q, dq, 0.0, held), (), ())
            verdict = guard.certify(state, np.array([0, 0, rate, *np.zeros(8)]), "place")
            if verdict.scale < 1:
                return None
            q, dq = q + 0.5 * TICK * (dq + verdict.action[:10]), verdict.action[:10]
        return q

    low, high = 0.5, 1.45
    for _ in range(20):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if swing(middle) is not None else (low, middle)
    q, dq = swing(low), np.array([0, 0, low, *np.zeros(7)])
    rng = np.random.default_rng(0)
    for _ in range(50):
        way = rng.normal(size=3)
        pose = held.T_hand_object.copy()
        pose[:3, 3] += room.rules.assumptions.object_error * way / np.linalg.norm(way)
        robot = room.robot(replace(held, T_hand_object=pose))
        assumed, nobody = room.rules.assumptions, np.zeros((1, 0, 20, 3))
        sweep = sweep_at(robot, assumed, q[None], dq[None], np.zeros((1, 10)), nobody)
        assert speed.margin(sweep, robot).min() >= 0
