"""`robotctl verify robot`: it measures what is there, and says so when an assumption does not hold."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pybullet
import pytest
from typer.testing import CliRunner

from robotctl.cli.main import app
from robotctl.guardrails.load import find_guardrails, load_guardrails
from robotctl.judge.machine import poses
from robotctl.judge.monitor import Monitor, landmarks
from robotctl.robot import BRAKE, DQ_MAX, HOME, ROBOT_SPHERES, STROKE
from robotctl.scene_files import load_scene
from robotctl.simulation.bullet_world import World
from robotctl.verify import robot as verify
from robotctl.verify.braking import brake, braking_checks
from robotctl.verify.check import at_least, at_most
from robotctl.verify.contact import presses
from robotctl.verify.coverage import object_checks, robot_checks
from robotctl.verify.gripping import back_off, empty_room, plan_lift, rig_for, take
from robotctl.verify.holding import holding
from robotctl.verify.motions import Apart, free_rules, limits_only
from robotctl.verify.rig import Recording, Rig
from robotctl.verify.sensing import sensing_checks
from robotctl.verify.tracking import tracking, tracking_checks

SCENE = load_scene("kitchen")
RULES = load_guardrails((find_guardrails("household"),), SCENE)
ASSUMED = RULES.assumptions
LIMIT = SCENE.actuators.torque_limit


@pytest.fixture(scope="module")
def moved() -> Recording:
    """A short free motion."""
    return verify.free_motion(empty_room(SCENE), ASSUMED, free_rules(RULES.guardrails), np.random.default_rng(1000))


def by_name(checks: list) -> dict:
    return {check.name: check for check in checks}


# ---- figures -----------------------------------------------------------------------------------------------------


def test_no_value_and_nan_do_not_hold():
    assert at_most("x", "", 1.0, np.array([0.5, 1.0]), "m").holds
    assert not at_most("x", "", 1.0, np.array([0.5, 1.1]), "m").holds
    assert not at_most("x", "", 1.0, np.array([0.5, np.nan]), "m").holds
    assert not at_most("x", "", 1.0, np.zeros(0), "m").holds
    assert not at_least("x", "", 1.0, np.array([np.nan]), "m").holds
    assert not at_least("x", "", 1.0, np.array([0.9, 2.0]), "m").holds
    low = at_least("x", "", 1.0, np.arange(1, 1001.0), "m")
    assert (low.worst, low.p99) == (1.0, pytest.approx(10, abs=1))


# ---- tracking ----------------------------------------------------------------------------------------------------


def test_tracking_is_what_the_judge_measures(moved):
    """The worst figures are those of the judge's monitor, tick by tick."""
    monitor = Monitor(ASSUMED)
    marks = landmarks(poses(np.ascontiguousarray(moved.q), np.zeros(len(moved))))
    for k in range(0, len(moved), 12):
        monitor.tracking(np.full(12, moved.dt), marks[k : k + 12], moved.reference[k : k + 12])
    mine = tracking(moved, ASSUMED)
    assert mine.error.max() == pytest.approx(monitor.worst["tracking_error"]["worst"], rel=0.02)
    assert mine.faster.max() == pytest.approx(monitor.worst["tracking_speed_error"]["worst"], rel=0.02)


def test_a_motion_uses_the_limits_and_touches_nothing(moved):
    speed = np.abs(np.diff(moved.q, axis=0)).max(axis=0) / moved.dt / DQ_MAX
    assert speed.max() > 0.85
    change = np.abs(np.diff(np.diff(moved.reference[::12], axis=0), axis=0)).max(axis=0) / 0.05**2
    assert (change / BRAKE).max() > 0.85
    assert not moved.touched.any()


def test_tracking_fails_when_less_is_assumed_than_measured(moved):
    found = by_name(tracking_checks("free", [moved], ASSUMED, LIMIT))
    assert found["tracking_error"].holds
    assert found["tracking_speed_error"].holds
    less = replace(ASSUMED, tracking_error=0.3e-3 * found["tracking_error"].worst)
    assert not by_name(tracking_checks("free", [moved], less, LIMIT))["tracking_error"].holds
    late = replace(ASSUMED, actuation_latency=0.0)  # the robot is where its reference is: the drives are late
    assert not by_name(tracking_checks("free", [moved], late, LIMIT))["tracking_error"].holds
    assert found["actuation_latency"].worst >= 1e3 * SCENE.actuators.latency / 2


def test_delayed_joints_are_found_late():
    """A robot that follows exactly, 25 ms late, needs a delay of 25 ms and no error."""
    steps, late = 240, 6
    q = HOME + np.outer(np.sin(np.arange(steps + late) / 30.0), DQ_MAX / 10)
    still = np.zeros(steps, bool)
    recording = Recording(
        1 / 240, q[:steps], np.zeros(steps), q[late:], np.zeros((steps, 10)), np.zeros((steps, 3)),
        np.zeros((steps, 4)), np.zeros((steps, 4, 4)), still, still,
    )  # fmt: skip
    found = tracking(recording, replace(ASSUMED, tracking_error=1e-6, tracking_speed_error=1e-6))
    assert found.error.max() < 1e-9
    assert found.joint.max() < 1e-9
    assert found.delay.max() == pytest.approx(late / 240)


# ---- braking -----------------------------------------------------------------------------------------------------


def brakes_of(torque: float) -> list:
    """Two brakes with drives of that share of their torque."""
    room = empty_room(SCENE)
    weak = replace(SCENE.actuators, torque_limit=torque * LIMIT)
    out = []
    for way in (np.eye(10)[3], np.ones(10)):
        with Rig(replace(room, robot_start=HOME, actuators=weak), ASSUMED, (*limits_only(), Apart())) as rig:
            rig.reset(0)
            out.append(brake(rig, way, 0.04))
    return out


def test_braking_fails_with_weak_drives():
    good = brakes_of(1.0)
    assert all(check.holds for check in braking_checks("", good, ASSUMED))
    assert all(one.begin < one.rest < len(one.recording) for one in good)
    assert np.abs(np.diff(good[0].recording.reference, axis=0)).max() * 240 > 0.9 * DQ_MAX[3]
    weak = by_name(braking_checks("", brakes_of(0.3), ASSUMED))
    assert not weak["brake_error"].holds
    assert not weak["brake_late"].holds


# ---- the hand ----------------------------------------------------------------------------------------------------


def test_a_thing_is_really_held_and_seen_to_slip():
    generator = np.random.default_rng(1001)
    kind = SCENE.kinds["cup"]
    lift = plan_lift(SCENE, kind, generator)
    assert lift is not None
    with rig_for(lift, ASSUMED) as rig:
        assert take(rig, lift, 0)
        recording = rig.recording()
    held = holding(recording.part(-180), kind, ASSUMED)
    assert len(held.off) == 180
    assert np.nanmax(held.off) < 0.02
    # The same thing 30 mm from where it is: what is believed of it is wrong by as much.
    moved = replace(recording.part(-180), position=recording.position[-180:] + np.array([0.03, 0.0, 0.0]))
    assert np.nanmin(holding(moved, kind, ASSUMED).off) > 0.01
    jumped = recording.part(-180)
    jumped.position[90:] += [0.0, 0.0, 0.001]
    assert np.nanmax(holding(jumped, kind, ASSUMED).jump) > 0.2  # 1 mm in a step of 1/240 s


def test_what_is_let_go_falls():
    """Nothing sticks to the pads."""
    lift = plan_lift(SCENE, SCENE.kinds["cup"], np.random.default_rng(1001))
    assert lift is not None
    with rig_for(lift, ASSUMED) as rig:
        assert take(rig, lift, 0)
        back_off(rig)
        held = rig.truth().object_position[-1, 0, 2]
        for _ in range(6):
            rig.step(np.append(np.zeros(10), STROKE))
        assert held - rig.truth().object_position[-1, 0, 2] > 0.5 * 9.81 * 0.25**2


def test_soft_pads_keep_what_is_carried_from_rocking(monkeypatch):
    """Pads that withstand no tilting, as points would not, let a plate rock from one contact to the next."""

    def fastest_over_the_hand() -> float:
        kind = SCENE.kinds["plate"]
        (recording,), held = verify.carry_motions(SCENE, RULES, kind, 1, np.random.default_rng([1005, 7]))
        assert held
        return float(np.nanmax(holding(recording, kind, ASSUMED).jump))

    assert fastest_over_the_hand() < 0.01
    build = World._build_robot

    def with_points_for_pads(world: World) -> None:
        build(world)
        for link, name in world.links.items():
            if name.endswith("pad"):
                pybullet.changeDynamics(world.robot, link, rollingFriction=0.0, physicsClientId=world.client)

    monkeypatch.setattr(World, "_build_robot", with_points_for_pads)
    assert fastest_over_the_hand() > 0.04


def test_without_friction_nothing_is_held():
    kind = replace(SCENE.kinds["cup"], friction=0.02)
    lift = plan_lift(SCENE, kind, np.random.default_rng(1001))
    assert lift is not None
    with rig_for(lift, ASSUMED) as rig:
        assert not take(rig, lift, 0)


def test_pressing_far_breaks_tracking():
    deep = replace(ASSUMED, object_error=0.03)  # so far is the reference below the board
    touching = next(presses(SCENE, deep, 1, np.random.default_rng(1000)))
    assert touching.recording.touched.any()
    assert not by_name(tracking_checks("", [touching.recording], ASSUMED, LIMIT))["tracking_error"].holds


# ---- spheres and sensors -----------------------------------------------------------------------------------------


def test_coverage_fails_for_a_body_whose_sphere_shrinks():
    usual = {check.condition: check.worst for check in robot_checks()}
    assert max(usual.values()) < 0.2  # [mm]
    i = ROBOT_SPHERES.frame.tolist().index(5)
    radius = ROBOT_SPHERES.radius.copy()
    radius[i] -= 0.005
    shrunk = {check.condition: check for check in robot_checks(replace(ROBOT_SPHERES, radius=radius))}
    worse = {name for name, check in shrunk.items() if check.worst > usual[name] + 1e-9}
    assert worse
    assert worse <= {"link5, collision", "link5, visual"}
    assert not shrunk["link5, collision"].holds


def test_coverage_fails_for_an_object_whose_sphere_shrinks():
    knife = SCENE.kinds["kitchen_knife"]
    spheres = knife.spheres.copy()
    spheres[np.flatnonzero(knife.blade)[1], 3] -= 0.012
    scene = replace(SCENE, kinds={"kitchen_knife": replace(knife, spheres=spheres)})
    found = {check.condition: check for check in object_checks(scene)}
    assert not found["kitchen_knife, blade"].holds
    before = {check.condition: check for check in object_checks(replace(SCENE, kinds={knife.name: knife}))}
    assert before["kitchen_knife, blade"].holds


def test_sensors_worse_than_assumed_do_not_hold():
    def failing(**sensors: float) -> set[str]:
        scene = replace(SCENE, sensors=replace(SCENE.sensors, **sensors))
        return {c.name for c in sensing_checks(scene, ASSUMED, np.random.default_rng(1000)) if not c.holds}

    assert failing() == set()
    assert failing(human_error=0.03) == {"human_error"}
    assert failing(object_error=0.008) == {"object_error"}
    assert failing(latency=0.051) == {"sensing_latency"}


# ---- the command -------------------------------------------------------------------------------------------------


def test_command_speaks_and_its_exit_code_means_something(monkeypatch):
    checks = [at_most("tracking_error", "empty hand", 8.0, np.array([9.0]), "mm", motions=1, note="why")]
    monkeypatch.setattr(
        verify,
        "verify_robot",
        lambda *_: {"schema": verify.SCHEMA, "seed": 0, "checks": [c.to_dict() for c in checks], "holds": False},
    )
    shown = CliRunner().invoke(app, ["verify", "robot"])
    assert shown.exit_code == 4
    assert "does not hold" in shown.stdout
    assert "why" in shown.stdout
    assert CliRunner().invoke(app, ["verify", "robot", "kitchenn"]).exit_code == 2
    assert CliRunner().invoke(app, ["verify", "robot", "--guardrails", "householt"]).exit_code == 2


@pytest.mark.slow
def test_the_whole_thing_is_deterministic():
    small = replace(SCENE, kinds={name: SCENE.kinds[name] for name in ("cup", "tin")}, items=())
    rules = SimpleNamespace(guardrails=RULES.guardrails, assumptions=ASSUMED)
    first, second = (verify.verify_robot(small, rules, 1000, 2) for _ in range(2))
    assert first == second
    conditions = {check["condition"] for check in first["checks"]}
    assert {verify.EMPTY, verify.LOADED, "braking, cup in the hand", "pressing on a board"} <= conditions
