"""The red team: attacks keep to their bounds, the search bites and repeats itself, known attacks stay beaten."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from robotctl.body import KEYPOINT_PART, KEYPOINTS, PARTS
from robotctl.cli.main import app
from robotctl.errors import InvalidFileError, UsageError
from robotctl.guardrails.load import load_guardrails
from robotctl.judge.monitor import Monitor
from robotctl.redteam import chase as loop
from robotctl.redteam.ambush import BEYOND, EDGES, FIRST_LOOK, Ambush, Scout
from robotctl.redteam.attack import Attack, Chase, Intruder, attack_dict, load_attack, parse, save_attack
from robotctl.redteam.campaign import Plan, planned, run_payload
from robotctl.redteam.curves import draw
from robotctl.redteam.episode import natural_scales, run_attack, trial_of
from robotctl.redteam.intruders import person_plan
from robotctl.redteam.journal import Entry, Journal
from robotctl.redteam.search import minimize
from robotctl.simulation.faults import Faults, FaultyReadings, LostPart, SensorFaults, WorldFaults, WrongStamp
from robotctl.simulation.people import Person
from robotctl.simulation.sensing import Cameras, Snapshot
from robotctl.state import Observation, PersonReading, Truth
from robotctl.task import load_task

TASK = "kitchen/put-away-knife"
ATTACKS = sorted((Path(__file__).parent / "attacks").glob("*.json"))
SCOUT = Scout((0.0, 2.0, 6.0), ((0.6, 0.65, 0.7), (0.5, 1.2, 0.9), (0.4, 1.5, 1.0)), ((0.3, 0.6),) * 3)


@pytest.fixture(scope="module")
def arena() -> loop.Arena:
    return loop.Arena.of(TASK)


def ambush(arena: loop.Arena, stratum: str = "inside", broken: str = "", factor: float = 1.0) -> Ambush:
    return Ambush(
        TASK, arena.task.scene, arena.rules.assumptions, SCOUT, 1000, 6.0, stratum, broken, factor, ("", "nan")
    )


def vectors(length: int) -> st.SearchStrategy[np.ndarray]:
    """Vectors of a search, ends and nonsense included."""
    number = st.one_of(st.floats(0.0, 1.0), st.sampled_from([0.0, 1.0, -3.0, 7.0, float("nan")]))
    return st.lists(number, min_size=length, max_size=length).map(np.array)


# ---- what may be chosen ------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_inside_keeps_every_assumption(arena: loop.Arena, data: st.DataObject) -> None:
    space = ambush(arena)
    attack = space.decode(data.draw(vectors(len(space.genes()))))
    assumed, scene = arena.rules.assumptions, arena.task.scene.sensors
    assert 0 < attack.time_limit <= 6.0
    for person in attack.people:
        assert person.speed <= assumed.human_speed["torso"]
        part = "leg" if person.limb.endswith("foot") else "hand"
        assert person.limb_speed <= assumed.human_speed[part]
        assert person.start >= 0
    sensors = attack.faults.sensors
    assert scene.latency + sensors.delay <= assumed.sensing_latency + 1e-6
    assert sensors.hidden_delay == 0
    assert np.linalg.norm(sensors.human_bias) <= assumed.human_error + 1e-5
    assert np.linalg.norm(sensors.object_bias) <= assumed.object_error + 1e-5
    spans = [*sensors.blackouts, *sensors.frozen, *((lost.start, lost.end) for lost in sensors.lost)]
    assert all(FIRST_LOOK <= start < end for start, end in spans)
    assert sensors.unseen == ()
    assert all(lost.how == "nan" for lost in sensors.lost)
    assert all(wrong.offset > 0.1 for wrong in sensors.stamps)  # so far in the future that they are no readings
    assert parse({k: v for k, v in attack_dict(attack).items() if k != "schema"}) == attack


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_chase_keeps_to_its_axes(arena: loop.Arena, data: st.DataObject) -> None:
    vector = data.draw(vectors(len(loop.genes(arena.task.scene))))
    chase = loop.decode(vector, arena, 1000, "inside", "", 1.0)
    assert chase.factors == {}
    assert all(abs(share) <= 1 for share in (*chase.command, *chase.offset, *chase.slip, chase.age, chase.delay))
    assert 0.6 <= chase.haste <= 1
    assert parse(json.loads(json.dumps({k: v for k, v in attack_dict(chase).items() if k != "schema"}))) == chase


@pytest.mark.parametrize("broken", EDGES)
def test_the_edge_breaks_one_assumption_to_the_full(arena: loop.Arena, broken: str) -> None:
    space = ambush(arena, "edge", broken, 2.0)
    attack, calm = (
        space.decode(np.full(len(space.genes()), 0.5)),
        ambush(arena).decode(np.full(len(space.genes()), 0.5)),
    )
    assert attack != replace(calm, stratum="edge", broken=broken, factor=2.0)
    chase = loop.decode(np.full(len(loop.genes(arena.task.scene)), 0.5), arena, 1000, "edge", broken, 2.0)
    assert chase.factors == {broken: 2.0}


def test_beyond_offers_what_nobody_assumes(arena: loop.Arena) -> None:
    space = ambush(arena, "beyond")
    rng = np.random.default_rng(0)
    attacks = [space.decode(rng.uniform(size=len(space.genes()))) for _ in range(100)]
    assert {attack.broken for attack in attacks} == set(BEYOND)
    assert all(2.0 <= attack.factor <= 4.0 for attack in attacks)
    assert any(attack.people[0].clip == "appear" for attack in attacks)
    assert any(attack.faults.sensors.unseen for attack in attacks)


@settings(max_examples=25, deadline=None)
@given(
    speed=st.floats(0.2, 1.56), limb=st.sampled_from(["right_hand", "left_hand", "right_foot", "left_foot"]),
    x=st.floats(-3, 3), y=st.floats(-3, 3), z=st.floats(0.05, 1.8), short=st.floats(0.0, 0.8),
)  # fmt: skip
def test_a_dash_is_as_fast_as_told_and_no_faster(
    arena: loop.Arena, tmp_path_factory: pytest.TempPathFactory,
    speed: float, limb: str, x: float, y: float, z: float, short: float,
) -> None:  # fmt: skip
    assumed = arena.rules.assumptions.keypoint_speed()
    top = 0.98 * assumed[PARTS.index("leg" if limb.endswith("foot") else "hand")]
    intruder = Intruder("dash", (x, y), (0.3, 0.65, z), speed, top, 0.2, short, limb)  # type: ignore[arg-type]
    plan = person_plan(intruder, 0, tmp_path_factory.mktemp("people"))
    person = Person(plan, np.random.default_rng(0))
    path = np.array([person.keypoints(t) for t in np.arange(0, 6, 1 / 240)])
    fastest = np.linalg.norm(np.diff(path, axis=0), axis=-1).max(axis=0) * 240
    assert np.all(fastest <= assumed[KEYPOINT_PART] * 1.01)


# ---- the search --------------------------------------------------------------------------------------------------


def valley(seen: list[np.ndarray]):
    def evaluate(vectors: list[np.ndarray]) -> list[float]:
        seen.extend(vectors)
        return [float(np.sum((vector - 0.3) ** 2)) for vector in vectors]

    return evaluate


def test_the_search_finds_a_valley_within_its_budget_and_bounds() -> None:
    seen: list[np.ndarray] = []
    vector, value = minimize(valley(seen), 6, 160, 3)
    assert len(seen) == 160
    assert all(np.all((v >= 0) & (v <= 1)) for v in seen)
    assert value < 0.02 < min(float(np.sum((v - 0.3) ** 2)) for v in seen[:56])  # beyond what Sobol points found
    assert np.sum((vector - 0.3) ** 2) == pytest.approx(value)


def test_the_same_seed_tries_the_same_vectors() -> None:
    runs = []
    for seed in (3, 3, 4):
        np.random.seed(seed + 10)  # noqa: NPY002 - the search must not hang on the global generator
        seen: list[np.ndarray] = []
        minimize(valley(seen), 5, 50, seed)
        runs.append(np.array(seen))
    assert np.array_equal(runs[0], runs[1])
    assert not np.array_equal(runs[0], runs[2])


def test_enough_ends_the_search() -> None:
    seen: list[np.ndarray] = []
    minimize(valley(seen), 5, 200, 3, known=[np.full(5, 0.3)], enough=0.001)
    assert len(seen) == 1


def closest(arena: loop.Arena, budget: int, broken: str = "", factor: float = 1.0) -> tuple[float, int]:
    """Smallest value and number of violating chases of a search."""
    scales, violating = natural_scales(arena.rules.guardrails), 0

    def evaluate(vectors: list[np.ndarray]) -> list[float]:
        nonlocal violating
        values = []
        for vector in vectors:
            answer = loop.run_chase(loop.decode(vector, arena, 1000, "inside", broken, factor), arena)
            trial = trial_of(answer, scales, inside=not broken)
            violating += bool(trial.violations and not trial.discarded)
            values.append(trial.value)
        return values

    known = loop.openings(arena.task.scene)[:4]
    _, value = minimize(evaluate, len(loop.genes(arena.task.scene)), budget, 1000, known)
    return value, violating


def test_the_search_bites(arena: loop.Arena) -> None:
    """A filter that takes people for five times as slow as they are is caught; the real one is not."""
    assumed = arena.rules.assumptions
    slow = {part: 0.2 * speed for part, speed in assumed.human_speed.items()}
    careless = replace(arena, believed=replace(assumed, human_speed=slow))
    value, violating = closest(careless, 6)
    assert violating > 0
    assert value < 0
    value, violating = closest(arena, 8)
    assert violating == 0
    assert 0 < value < 0.5


def test_an_assumption_broken_by_two_is_found(arena: loop.Arena) -> None:
    value, violating = closest(arena, 4, "human_speed", 2.0)
    assert violating > 0
    assert value < 0


# ---- faults of sensors and the world -----------------------------------------------------------------------------


def reading(x: float, stamp: float) -> PersonReading:
    return PersonReading("p", np.full((len(KEYPOINTS), 3), x), stamp)


def test_faults_of_sensors() -> None:
    faults = FaultyReadings(
        SensorFaults(
            blackouts=((1.0, 1.2),),
            unseen=((2.0, 2.1),),
            frozen=((3.0, 3.1),),
            lost=(LostPart(("head",), 4.0, 4.1), LostPart(("neck",), 4.0, 4.1, "zero")),
            stamps=(WrongStamp(5.0, 5.1, 0.2),),
        )
    )

    def arrives(time: float) -> tuple[PersonReading, ...]:
        return faults.spoil(time, ((), (reading(time, time),)))[1]

    assert arrives(0.5)[0].stamp == 0.5
    assert arrives(1.1) == ()
    assert arrives(2.05) == ()
    arrives(2.5)
    assert arrives(3.05)[0].stamp == 2.5
    lost = arrives(4.05)[0].keypoints
    assert np.isnan(lost[0]).all()
    assert np.all(lost[1] == 0)
    assert np.all(lost[2:] == 4.05)
    assert arrives(5.05)[0].stamp == pytest.approx(5.25)


@pytest.mark.parametrize("bias", [0.0, 0.008, 0.02])
def test_bias_and_noise_together_stay_within_the_error(bias: float) -> None:
    sensors = replace(load_task(TASK).scene.sensors, dropout=0.0)
    cameras = Cameras(sensors, [], ["p"], np.random.default_rng(0), SensorFaults(human_bias=(bias, 0.0, 0.0)))
    true = np.ones((1, len(KEYPOINTS), 3))
    errors = []
    for tick in range(40):
        cameras.record(Snapshot(0.05 * tick, np.zeros((0, 3)), np.zeros((0, 4)), true))
        errors.append(cameras.read(0.05 * tick)[1][0].keypoints - true[0])
    assert np.linalg.norm(np.array(errors), axis=-1).max() <= sensors.human_error + 1e-12
    assert np.mean(errors, axis=(0, 1))[0] == pytest.approx(bias, abs=1e-3)


def test_late_readings_say_so_or_hide_it() -> None:
    sensors = replace(load_task(TASK).scene.sensors, dropout=0.0)
    for faults, shown, stamp in (
        (SensorFaults(), 0.867, 0.867),  # 33 ms
        (SensorFaults(delay=0.1), 0.767, 0.767),
        (SensorFaults(hidden_delay=0.1), 0.767, 0.867),
    ):
        cameras = Cameras(replace(sensors, human_error=0.0), [], ["p"], np.random.default_rng(0), faults)
        for step in range(217):
            time = step / 240
            cameras.record(Snapshot(time, np.zeros((0, 3)), np.zeros((0, 4)), np.full((1, len(KEYPOINTS), 3), time)))
        seen = cameras.read(0.9)[1][0]
        assert seen.keypoints[0, 0] == pytest.approx(shown, abs=0.0045)
        assert seen.stamp == pytest.approx(stamp, abs=0.0045)


def test_what_differs_in_the_world() -> None:
    scene = load_task(TASK).scene
    other = WorldFaults(friction=0.5, drive_delay=0.02, drive_friction=2.0, drive_stiffness=0.5).scene(scene)
    assert other.kinds["knife"].friction == pytest.approx(0.5 * scene.kinds["knife"].friction)
    assert other.actuators.latency == pytest.approx(scene.actuators.latency + 0.02)
    assert np.allclose(other.actuators.friction, 2 * scene.actuators.friction)
    assert other.sensors is scene.sensors


# ---- the monitors ------------------------------------------------------------------------------------------------


def seen_by(monitor: Monitor, now: float, person: PersonReading | None, speed: float = 0.0) -> dict:
    """One tick with a person at x = 1 and what was read of them at its beginning."""
    times = now + np.arange(1, 13) / 240
    true = np.ones((12, 1, len(KEYPOINTS), 3))
    zero = np.zeros(10)
    empty = np.zeros((12, 0, 3)), np.zeros((12, 0, 4))
    monitor.remember(Truth(times, np.zeros((12, 10)), np.zeros((12, 10)), np.zeros(12), (), *empty, ("p",), true))
    people = (person,) if person is not None else ()
    monitor.sensing(Observation(now, zero, zero, zero, np.full(10, speed), 0.0, (), people))
    return monitor.broken()


def test_the_monitors_compare_readings_with_the_truth() -> None:
    assumed = load_guardrails(load_task(TASK).guardrail_files, load_task(TASK).scene).assumptions
    fine = 1 + 0.9 * assumed.human_error / np.sqrt(3)
    monitor = Monitor(assumed)
    seen_by(monitor, 0.0, None)
    assert seen_by(monitor, 0.05, reading(fine, 0.05)) == {}
    assert seen_by(monitor, 0.10, reading(float("nan"), 0.1)) == {}  # no reading
    assert seen_by(monitor, 0.15, reading(5.0, 0.3)) == {}  # from the future: no reading
    assert set(seen_by(monitor, 0.20, reading(1.05, 0.2))) == {"human_error"}


def test_the_monitors_notice_that_somebody_was_never_seen() -> None:
    assumed = load_guardrails(load_task(TASK).guardrail_files, load_task(TASK).scene).assumptions
    monitor = Monitor(assumed)
    assert seen_by(monitor, 0.0, None) == {}  # the robot stands
    assert set(seen_by(monitor, 0.05, None, speed=0.1)) == {"unseen_people"}
    other = Monitor(assumed)
    seen_by(other, 0.0, reading(1.0, 0.0))
    assert seen_by(other, 0.05, None, speed=0.1) == {}


# ---- files, campaigns --------------------------------------------------------------------------------------------


def test_attack_files(tmp_path: Path) -> None:
    attack = Attack(
        TASK, 3, 2.0, (Intruder("walk", (1, 2), (0, 0, 1), 0.9, 2.0, 0.1),), faults=Faults(SensorFaults(0.1))
    )
    file = tmp_path / "attack.json"
    save_attack(file, attack, {"digest": "x"})
    assert load_attack(file) == (attack, {"digest": "x"})
    for spoil, words in (
        ({"people": 3}, "people"), ({"task": None}, "task"), ({"more": 1}, "more"), ({"seed": -1}, "seed"),
        ({"time_limit": 1e9}, "between"), ({"schema": "x"}, "schema"), ({"factor": "two"}, "factor"),
    ):  # fmt: skip
        (tmp_path / "bad.json").write_text(json.dumps({**json.loads(file.read_text()), **spoil}))
        with pytest.raises(InvalidFileError, match=words):
            load_attack(tmp_path / "bad.json")
    (tmp_path / "bad.json").write_text("{")
    with pytest.raises(InvalidFileError, match="readable"):
        load_attack(tmp_path / "bad.json")


def test_plans() -> None:
    plan = planned(TASK, "edge", 400, 0, "both", 6.0, "human_speed,stamps")
    assert (plan.simulated(), plan.looped()) == (20, 380)
    assert Plan(TASK, "beyond", 50, 0).simulated() == 50
    for wrong in (("outside", "both", ""), ("edge", "hammer", ""), ("edge", "both", "human"), ("beyond", "loop", "")):
        with pytest.raises(UsageError):
            planned(TASK, wrong[0], 10, 0, wrong[1], 6.0, wrong[2])


def test_a_broken_assumption_discards_an_inside_trial() -> None:
    answer = {
        "guardrails": {"violations": 1, "by_id": {"speed": {"worst_margin": -0.1, "unit": "m/s", "violations": 1}}},
        "contacts": {"moving": 0},
        "assumptions": {"broken": {"tracking_error": {"worst": 0.016, "assumed": 0.008, "duration_s": 0.1}}},
        "moving_s": 1.0,
    }
    assert trial_of(answer, {"speed": 1.0}, inside=True).discarded
    assert trial_of(answer, {"speed": 1.0}, inside=True).value > 1
    assert trial_of(answer, {}, inside=False).others == {"speed": 1}  # a rule that is not claimed
    assert not trial_of(answer, {"speed": 1.0}, inside=True, allowed=("tracking",)).discarded
    assert trial_of(answer, {"speed": 1.0}, inside=False).value == pytest.approx(-0.1)
    answer["guardrails"] = {"violations": 0, "by_id": {"speed": {"worst_margin": 0.3, "unit": "m/s"}}}
    answer["assumptions"] = {"broken": {}}
    answer["contacts"] = {"moving": 1}
    touched = trial_of(answer, {"speed": 1.0}, inside=True)
    assert (touched.guardrail, touched.violations) == ("contact", 1)
    assert touched.value < 0


def test_the_journal_survives_a_cut_line(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "c", {"budget": 3}, resume=False)
    trial = trial_of(
        {"guardrails": {"violations": 0, "by_id": {}}, "contacts": {"moving": 0}, "assumptions": {"broken": {}},
         "moving_s": 0.0}, {}, True
    )  # fmt: skip
    entry = Entry("loop", 0, (0.25, 0.5), {}, trial)
    journal.add(entry)
    with (tmp_path / "c" / "trials.jsonl").open("a") as stream:
        stream.write('{"search": "loop", "ind')
    again = Journal(tmp_path / "c", {"budget": 3}, resume=True)
    assert again.known("loop", 0, np.array([0.25, 0.5])) == entry
    assert again.known("loop", 1, np.array([0.25, 0.5])) is None
    assert again.known("loop", 0, np.array([0.3, 0.5])) is None
    with pytest.raises(UsageError, match="--resume"):
        Journal(tmp_path / "c", {"budget": 3}, resume=False)
    with pytest.raises(UsageError, match="other options"):
        Journal(tmp_path / "c", {"budget": 4}, resume=True)


def test_a_campaign_from_the_command_line_and_a_replay(tmp_path: Path) -> None:
    """A small budget in the closed loop; going on from its journal says the same; a replay is identical."""
    command = ["redteam", TASK, "--budget", "3", "--seed", "1000", "--workers", "1", "--instrument", "loop", "--json"]
    run = CliRunner().invoke(app, [*command, "--out", str(tmp_path / "c")])
    assert run.exit_code == 0, run.output
    answer = json.loads(run.stdout)
    assert answer["schema"] == "robotctl/redteam.v1"
    assert (answer["trials"], answer["violations"], answer["stratum"]) == (3, 0, "inside")
    assert answer["interval"] is None
    assert answer["worst"][0]["margin"] > 0
    lines = (tmp_path / "c" / "trials.jsonl").read_text().splitlines()
    (tmp_path / "c" / "trials.jsonl").write_text("\n".join(lines[:2]) + "\n")
    again = json.loads(CliRunner().invoke(app, [*command, "--out", str(tmp_path / "c"), "--resume"]).stdout)
    assert again == answer
    replayed = CliRunner().invoke(app, ["redteam", "--replay", answer["worst"][0]["attack"], "--json"])
    assert json.loads(replayed.stdout)["identical"] is True
    assert CliRunner().invoke(app, ["redteam"]).exit_code == 2


def test_an_attack_in_the_simulator_repeats_itself(tmp_path: Path) -> None:
    """Faults and a dash included, byte for byte."""
    faults = Faults(
        SensorFaults(human_bias=(0.01, 0.0, 0.0), blackouts=((0.5, 0.7),)), WorldFaults(mass=1.2, drive_delay=0.01)
    )
    person = Intruder("dash", (2.0, 0.7), (0.8, 0.7, 0.8), 1.5, 1.9, 0.2, 0.3, "left_hand")
    attack = Attack(TASK, 1000, 1.2, (person,), faults=faults)
    answers = [run_attack(attack, tmp_path / f"{k}.mcap") for k in (0, 1)]
    assert answers[0]["digest"] == answers[1]["digest"]
    assert answers[0]["guardrails"]["violations"] == 0
    assert answers[0]["assumptions"]["broken"] == {}


def test_curves_are_drawn(tmp_path: Path) -> None:
    point = {"factor": 1.5, "value": 0.2}
    curves = {"a<b": {"points": [point, {"factor": 2.0, "value": -0.1}]}, "none": {"points": []}}
    text = draw(curves, {"a<b": 1.8, "none": None}, tmp_path / "c.svg").read_text()
    assert text.startswith("<svg xmlns")
    assert "a&lt;b (1.80)" in text
    assert draw({"none": {"points": []}}, {}, tmp_path / "d.svg") is None


# ---- what was found stays beaten ---------------------------------------------------------------------------------


def test_there_are_known_attacks() -> None:
    assert len(ATTACKS) >= 4


@pytest.mark.parametrize("file", ATTACKS, ids=lambda file: file.stem)
def test_known_attacks_violate_nothing(file: Path, tmp_path: Path) -> None:
    """The worst attacks within the assumptions that campaigns found."""
    attack, _ = load_attack(file)
    rules = load_guardrails(load_task(attack.task).guardrail_files, load_task(attack.task).scene).guardrails
    payload = {
        "attack": attack_dict(attack), "out": str(tmp_path / "e.mcap"), "scales": natural_scales(rules),
        "inside": True, "allowed": (),
    }  # fmt: skip
    trial = run_payload(payload)
    assert trial.violations == 0
    assert not trial.discarded
    assert trial.moving_s > 0
    assert isinstance(attack, Chase) or trial.episode
