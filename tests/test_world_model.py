"""World model: the exact part is exact, the learned part beats its baselines, and every bound is a bound."""

from __future__ import annotations

import itertools
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robotctl.body import INDEX, KEYPOINT_PART, KEYPOINTS
from robotctl.errors import InvalidFileError
from robotctl.geometry import rotation_z
from robotctl.guardrails.guardrail import Assumptions
from robotctl.robot import HOME
from robotctl.scene import Sensors
from robotctl.simulation.people import Person
from robotctl.state import PersonState, RobotState, State
from robotctl.training.people_data import collect_people, random_plan, split
from robotctl.world_model import storage
from robotctl.world_model.calibration import auroc, brier, conformal_quantile, reliability
from robotctl.world_model.composite import DEFAULT, LearnedWorldModel, load_world_model
from robotctl.world_model.ensemble import Ensemble
from robotctl.world_model.human_motion import COVERAGE, STEPS
from robotctl.world_model.kinematic import KinematicModel, integrate
from robotctl.world_model.skill_outcome import SkillAttempt, SkillOutcomeModel
from robotctl.world_model.world_model import HORIZON, MODEL_STEP, WorldModel

SPEEDS = np.array([1.6, 2.0, 2.0, 3.0])
ASSUMED = Assumptions(
    dict(zip(("torso", "arm", "hand", "leg"), SPEEDS.tolist(), strict=True)), 0.05, 0.02, 0.004, 0.008, 0.06, 0.06
)
SENSORS = Sensors(0.033, 0.02, 0.004, 0.05, 2e-4)
TIMES = MODEL_STEP * np.arange(HORIZON + 1)


@pytest.fixture(scope="module")
def learned() -> LearnedWorldModel:
    return load_world_model(None, ASSUMED)


@pytest.fixture(params=["kinematic", "learned"])
def model(request: pytest.FixtureRequest) -> WorldModel:
    return KinematicModel(SPEEDS) if request.param == "kinematic" else load_world_model(None, ASSUMED)


def walker(seed: int = 1000, time: float = 4.0) -> PersonState:
    """Someone as seen without noise, half a second of history."""
    person = Person(random_plan(np.random.default_rng(seed)), np.random.default_rng(seed))
    history = np.array([person.keypoints(time + 0.1 * k) for k in range(-5, 1)])
    return PersonState("ann", history[-1], time, history)


def belief(*people: PersonState, age: float = 0.05) -> State:
    now = people[0].stamp + age if people else 5.0
    robot = RobotState(HOME + 0.003, np.full(10, 0.11), HOME, np.full(10, 0.1), 0.08)
    return State(now, robot, people=tuple(people))


# ---- the exact part --------------------------------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, HORIZON))
def test_integrate_is_the_double_integrator_of_fine_steps(seed: int, steps: int) -> None:
    rng = np.random.default_rng(seed)
    q, dq, ddq = rng.normal(size=10), rng.normal(size=10), rng.normal(size=(steps, 10))
    q_all, dq_all = integrate(q, dq, ddq)
    fine = 10
    q_fine, dq_fine = integrate(q, dq, np.repeat(ddq, fine, axis=0), MODEL_STEP / fine)
    np.testing.assert_allclose(q_all, q_fine[::fine], atol=1e-9)
    np.testing.assert_allclose(dq_all, dq_fine[::fine], atol=1e-9)


def test_kinematic_rollout_keeps_the_reference_and_grows_the_people() -> None:
    state = belief(walker())
    trajectory = KinematicModel(SPEEDS).rollout(state, np.zeros((HORIZON, 10)))
    np.testing.assert_allclose(trajectory.q[-1], HOME + 0.1 * HORIZON * MODEL_STEP)
    np.testing.assert_allclose(trajectory.keypoints[7, 0], state.people[0].keypoints)
    np.testing.assert_allclose(trajectory.keypoint_bound[10, 0, INDEX["right_hand"]], 0.02 + 2.0 * (1.0 + 0.05))


# ---- what holds for every world model --------------------------------------------------------------------------


@pytest.mark.parametrize("people", [0, 1, 3])
@pytest.mark.parametrize("steps", [0, 1, HORIZON, HORIZON + 5])
def test_rollout_has_all_its_parts(model: WorldModel, people: int, steps: int) -> None:
    state = belief(*(walker(1000 + i) for i in range(people)))
    trajectory = model.rollout(state, np.random.default_rng(0).normal(size=(steps, 10)))
    assert trajectory.states.shape == (steps + 1, 20)
    assert trajectory.actions.shape == (steps, 11)
    assert trajectory.keypoints.shape == (steps + 1, people, len(KEYPOINTS), 3)
    assert trajectory.keypoint_bound.shape == (steps + 1, people, len(KEYPOINTS))
    assert trajectory.acceleration.shape == (steps + 1, 10)
    for array in (trajectory.position_bound, trajectory.speed_bound):
        assert array.shape == (steps + 1,)
        assert np.all(array > 0.0)
    assert all(np.all(np.isfinite(v)) for v in (trajectory.states, trajectory.keypoints, trajectory.keypoint_bound))


@settings(max_examples=20, deadline=None)
@given(st.integers(1000, 1200), st.floats(0.0, 1.0), st.floats(0.5, 20.0))
def test_no_bound_beyond_the_assumed_speed_and_no_prediction_outside_it(seed: int, age: float, time: float) -> None:
    state = belief(walker(seed, time), age=age)
    worst = 0.02 + (TIMES + age)[:, None] * SPEEDS[KEYPOINT_PART]
    for model in (KinematicModel(SPEEDS), load_world_model(None, ASSUMED)):
        keypoints, bound = model.predict_people(state, TIMES)
        assert np.all(bound[:, 0] <= worst + 1e-9)
        assert np.all(np.diff(bound[:, 0], axis=0) >= -1e-9)  # knowing less and less
        assert np.all(np.linalg.norm(keypoints[:, 0] - state.people[0].keypoints, axis=-1) <= worst + 1e-9)


def test_residual_jacobians_agree_with_finite_differences(model: WorldModel) -> None:
    rng, state = np.random.default_rng(0), belief()
    q, dq = HOME + 0.1 * rng.normal(size=(6, 10)), 0.3 * rng.normal(size=(6, 10))
    ddq = rng.normal(size=(6, 10))
    by_q, by_dq = model.residual_jacobians(q, dq, ddq, state)
    h = 2e-3  # float32 weights: smaller steps drown in rounding
    for j in range(10):
        step = h * np.eye(10)[j]
        for analytic, (up, down) in (
            (by_q, (model.residual(q + step, dq, ddq, state)[0], model.residual(q - step, dq, ddq, state)[0])),
            (by_dq, (model.residual(q, dq + step, ddq, state)[0], model.residual(q, dq - step, ddq, state)[0])),
        ):
            np.testing.assert_allclose(analytic[:, :, j], (up - down) / (2 * h), atol=3e-4, rtol=0.02)


def test_the_present_is_measured_not_predicted(learned: LearnedWorldModel) -> None:
    state = belief()
    trajectory = learned.rollout(state, np.zeros((5, 10)))
    np.testing.assert_allclose(trajectory.q[0], state.robot.q)
    np.testing.assert_allclose(trajectory.dq[0], state.robot.dq)


def test_the_robot_trails_its_reference(learned: LearnedWorldModel) -> None:
    """The drives are 25 ms late; the scene file says so, the model has to have learned it."""
    q, dq = np.repeat(HOME[None], 3, axis=0), np.full((3, 10), 0.4)
    robot = RobotState(HOME - 0.025 * dq[0], dq[0], HOME, dq[0], 0.08)
    delta_q, _ = learned.residual(q, dq, np.zeros((3, 10)), State(0.0, robot))
    np.testing.assert_allclose(delta_q[1:, :3], -0.01, atol=0.002)


# ---- people ----------------------------------------------------------------------------------------------------


def test_people_are_predicted_better_than_by_the_baselines_and_within_bounds(learned: LearnedWorldModel) -> None:
    windows = collect_people(SENSORS, (), 12, np.random.default_rng(77_000))  # seen by no fit
    moving = windows.moving
    history, future = windows.history[moving].astype(float), windows.future[moving]
    keypoints, scale, usual = learned.people.predict(history)
    half, second = (int(np.argmin(np.abs(STEPS - s))) for s in (0.5, 1.0))
    velocity = (history[:, -1] - history[:, -3]) / 0.2
    for k in (half, second):
        error = np.linalg.norm(future[:, k] - keypoints[:, k], axis=-1).mean()
        static = np.linalg.norm(future[:, k] - history[:, -1], axis=-1).mean()
        constant = np.linalg.norm(future[:, k] - history[:, -1] - STEPS[k] * velocity, axis=-1).mean()
        assert error < 0.7 * min(static, constant)
    inside = np.linalg.norm(future - keypoints, axis=-1) <= learned.people.factor[:, KEYPOINT_PART] * scale
    assert abs(inside[:, : second + 1].mean() - COVERAGE) < 0.06
    assert usual.mean() > 0.98


def test_prediction_turns_and_moves_with_the_person(learned: LearnedWorldModel) -> None:
    person = walker()
    turn, shift = rotation_z(2.0), np.array([1.0, -2.0, 0.0])
    moved = replace(person, keypoints=person.keypoints @ turn.T + shift, history=person.history @ turn.T + shift)
    keypoints, bound = learned.predict_people(belief(person), TIMES)
    turned, same_bound = learned.predict_people(belief(moved), TIMES)
    np.testing.assert_allclose(turned, keypoints @ turn.T + shift, atol=1e-4)
    np.testing.assert_allclose(bound, same_bound, atol=1e-4)


def test_someone_unlike_anyone_seen_gets_the_worst_case(learned: LearnedWorldModel) -> None:
    person = walker()
    strange = np.random.default_rng(0).normal(scale=0.5, size=person.history.shape) + person.history
    odd = replace(person, keypoints=strange[-1], history=strange)
    keypoints, bound = learned.predict_people(belief(odd), TIMES)
    np.testing.assert_allclose(keypoints[10, 0], odd.keypoints)
    np.testing.assert_allclose(bound[:, 0], 0.02 + (TIMES + 0.05)[:, None] * SPEEDS[KEYPOINT_PART])


def test_nobody_is_in_two_sets() -> None:
    windows = collect_people(SENSORS, (), 6, np.random.default_rng(1000))
    parts = split(windows, (0.5, 0.25, 0.25), np.random.default_rng(0))
    assert sum(map(len, parts)) == len(windows)
    people = [set(part.person.tolist()) for part in parts]
    assert sum(map(len, people)) == len(set.union(*people)) == 6


# ---- calibration -----------------------------------------------------------------------------------------------


@settings(max_examples=20, deadline=None)
@given(st.integers(20, 200), st.floats(0.5, 0.95), st.integers(0, 1000))
def test_conformal_bounds_cover_new_cases(n: int, coverage: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    hits = [(rng.exponential() <= conformal_quantile(rng.exponential(size=n), coverage)) for _ in range(400)]
    assert np.mean(hits) >= coverage - 4 * np.sqrt(coverage * (1 - coverage) / 400)


def test_too_few_cases_bound_nothing() -> None:
    assert np.isinf(conformal_quantile(np.zeros(5), 0.95))


def test_scores_of_probabilities() -> None:
    outcome = np.array([1, 1, 0, 0])
    assert brier(np.array([1.0, 1.0, 0.0, 0.0]), outcome) == 0.0
    assert brier(np.full(4, 0.5), outcome) == 0.25
    assert auroc(np.array([0.9, 0.8, 0.2, 0.1]), outcome) == 1.0
    assert auroc(np.full(4, 0.5), outcome) == 0.5
    assert reliability(np.array([0.95, 0.9, 0.1, 0.05]), outcome)[-1] == {"predicted": 0.925, "observed": 1.0, "n": 2}


def test_ensemble_jacobian_agrees_with_finite_differences() -> None:
    rng = np.random.default_rng(0)
    sizes = (5, 7, 6, 3)
    network = Ensemble(
        tuple(rng.normal(size=(2, b, a)) for a, b in itertools.pairwise(sizes)),
        tuple(rng.normal(size=(2, b)) for b in sizes[1:]),
    )
    x = rng.normal(size=(4, 5))
    jacobian = network.mean_jacobian(x)
    for j in range(5):
        step = 1e-6 * np.eye(5)[j]
        slope = (network(x + step) - network(x - step)).mean(axis=0) / 2e-6
        np.testing.assert_allclose(jacobian[..., j], slope, atol=1e-6)
    np.testing.assert_allclose(network.mean_jacobian(x, 2), jacobian[:, :2])


# ---- skills ----------------------------------------------------------------------------------------------------


def attempts(n: int, seed: int = 1000) -> list[SkillAttempt]:
    """Picks that succeed when the finger has room below, mostly."""
    rng = np.random.default_rng(seed)
    out = []
    for _ in range(n):
        gap = rng.uniform(-0.05, 0.1)
        success = rng.uniform() < (0.95 if gap > 0.01 else 0.1)
        out.append(SkillAttempt("pick", "plate", {"gap": gap, "noise": rng.normal()}, success, 6.0, float("nan")))
    return out


def test_what_was_never_tried_is_even() -> None:
    model = SkillOutcomeModel()
    assert model.success_probability("pick", "cup", {"anything": 3.0}) == 0.5
    assert model.duration("pick", "cup") > 0.0


def test_few_attempts_are_counted_many_are_learned_from() -> None:
    from robotctl.training.fit_skills import evaluate_skills, fit_skills

    few = fit_skills(attempts(6), 0)
    good = sum(a.success for a in attempts(6))
    assert few.success_probability("pick", "plate", {"gap": 0.1}) == pytest.approx((good + 1) / 8)
    many = attempts(200)
    model = fit_skills(many, 0)
    assert model.success_probability("pick", "plate", {"gap": 0.08, "noise": 0.0}) > 0.8
    assert model.success_probability("pick", "plate", {"gap": -0.04, "noise": 0.0}) < 0.3
    assert 0.0 < model.success_probability("pick", "ufo", {"gap": float("nan"), "unheard_of": 1e9}) < 1.0
    assert model.duration("pick", "plate") == pytest.approx(6.0)
    (part,) = evaluate_skills(many, 0)
    assert part["error"] < 0.6 * part["baselines"]["base_rate"]
    assert part["auroc"] > 0.85


# ---- files -----------------------------------------------------------------------------------------------------


def test_the_packaged_model_is_described_and_small(learned: LearnedWorldModel) -> None:
    assert DEFAULT.stat().st_size < 1_000_000
    assert learned.card["sha256"] == learned.sha256
    assert learned.path == "robotctl default"
    residual = next(p for p in learned.card["evaluation"]["parts"] if p["name"] == "actuator_residual")
    assert residual["loaded"]["learned"][0] < residual["loaded"]["integrator"][0]  # it has felt loads


def test_running_needs_no_jax() -> None:
    code = "import sys, robotctl.world_model.composite, robotctl.perception; print('jax' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "False"


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_damaged_model_file_is_refused_in_one_line(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    whole = DEFAULT.read_bytes()
    header = int.from_bytes(whole[:8], "little") + 8
    if data.draw(st.booleans()):
        damaged = whole[: data.draw(st.integers(0, len(whole) - 1))]
    else:
        at = data.draw(st.integers(0, header - 1))
        damaged = whole[:at] + bytes([data.draw(st.integers(0, 255))]) + whole[at + 1 :]
    path = tmp_path_factory.mktemp("m") / "model.safetensors"
    path.write_bytes(damaged)
    try:
        load_world_model(path, ASSUMED)
        said = ""  # the change did not matter
    except InvalidFileError as error:
        said = str(error)
    assert "\n" not in said
    assert not said or "model.safetensors" in said


def damaged_copy(tmp_path: Path, fault: str) -> Path:
    arrays, notes, _ = storage.load(DEFAULT)
    arrays = {name: array.copy() for name, array in arrays.items()}
    path = tmp_path / "model.safetensors"
    if fault == "nan":
        arrays["people.linear"][3, 3] = np.nan
    if fault == "shape":
        arrays["actuators.latency"] = np.zeros(7, np.float32)
    if fault == "missing":
        del arrays["people.factor"]
    if fault == "network":
        arrays["people.network.w1"] = arrays["people.network.w1"][:, :-1]
    if fault == "spread":
        arrays["actuators.spread"][0] = 0.0
    if fault == "notes":
        notes = {"skills": {"pick": {"names": ["a"]}}}
    if fault == "integers":
        arrays["people.unusual"] = np.ones(2, np.int64)
    storage.save(path, arrays, notes, {})
    if fault == "foreign":
        from safetensors.numpy import save_file

        save_file({"w": np.zeros(3)}, path)
    if fault == "text":
        path.write_text("hello")
    if fault == "folder":
        path.unlink()
        path.mkdir()
    if fault == "absent":
        path.unlink()
    return path


@pytest.mark.parametrize(
    "fault",
    ["nan", "shape", "missing", "network", "spread", "notes", "integers", "foreign", "text", "folder", "absent"],
)
def test_a_wrong_model_file_is_refused_in_one_line(tmp_path: Path, fault: str) -> None:
    with pytest.raises(InvalidFileError) as error:
        load_world_model(damaged_copy(tmp_path, fault), ASSUMED)
    assert "model.safetensors" in str(error.value)
    assert "\n" not in str(error.value)


def test_a_copy_of_the_model_is_the_model(tmp_path: Path, learned: LearnedWorldModel) -> None:
    copy = load_world_model(damaged_copy(tmp_path, "none"), ASSUMED)
    state = belief(walker())
    np.testing.assert_array_equal(copy.predict_people(state, TIMES)[0], learned.predict_people(state, TIMES)[0])
