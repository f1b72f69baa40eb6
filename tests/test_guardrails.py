"""Guardrails as functions of a sweep: where they change sign, what they ignore, and that NaN is unsafe."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from robotctl.body import CAPSULE_RADIUS, KEYPOINTS
from robotctl.geometry import point_box_distance, rotation_z
from robotctl.guardrails.blade_speed import BladeSpeed
from robotctl.guardrails.clearance import Boxes, Clearance
from robotctl.guardrails.guardrail import Header, Scope, allowed_speed, in_force, parts
from robotctl.guardrails.joint_limits import JointLimits
from robotctl.guardrails.keep_out import KeepOut
from robotctl.guardrails.separation import Separation
from robotctl.guardrails.speed import Speed
from robotctl.guardrails.upright import Upright
from robotctl.robot import BRAKE, DQ_MAX, HAND, HOME, Q_MAX, Q_MIN, RobotModel, forward
from robotctl.state import Held
from robotctl.trajectory import Trajectory

H = 4
BOXES = Boxes(
    np.array([[0.8, 0.1, 0.4], [-0.6, 0.9, 0.7], [0.2, -1.0, 0.3]]),
    np.stack([rotation_z(a) for a in (0.3, -1.0, 0.0)]),
    np.array([[0.2, 0.3, 0.4], [0.4, 0.2, 0.02], [0.5, 0.1, 0.3]]),
)


def header(name: str, **scope: frozenset[str]) -> Header:
    return Header(name, 1, "test", Scope(**scope))


RULES = (
    Separation(header("separation"), 0.12, 1.5, 1.5),
    BladeSpeed(header("blade"), 0.30, 1.0, 0.25),
    Clearance(header("clearance"), 0.005, BOXES),
    KeepOut(header("keep_out"), BOXES),
    Upright(header("upright"), float(np.cos(np.deg2rad(20.0)))),
    Speed(header("speed"), 1.2),
    JointLimits(header("joint_limits")),
)
BY_ID = {rule.header.id: rule for rule in RULES}
KNIFE = Held("knife_1", "knife", frozenset({"sharp"}), np.eye(4))


def robot_with_knife() -> RobotModel:
    local = np.array([[0.0, 0.05 * i, 0.12] for i in range(4)])
    return RobotModel().holding(KNIFE, local, np.full(4, 0.02), np.arange(4) > 1)


def trajectory(q: np.ndarray, dq: np.ndarray, person: np.ndarray | None = None, bound: float = 0.0) -> Trajectory:
    """The same state at every sample; a person is (J, 3) or nobody."""
    people = np.zeros((0, len(KEYPOINTS), 3)) if person is None else person[None]
    return Trajectory(
        times=np.arange(H + 1) * 0.1,
        states=np.tile(np.concatenate([q, dq]), (H + 1, 1)),
        actions=np.zeros((H, 11)),
        keypoints=np.tile(people, (H + 1, 1, 1, 1)),
        keypoint_bound=np.full((H + 1, *people.shape[:2]), bound),
        position_bound=np.full(H + 1, bound),
        speed_bound=np.full(H + 1, bound),
        acceleration=np.zeros((H + 1, 10)),
    )


def margin(name: str, q=HOME, dq=None, person=None, bound: float = 0.0, robot: RobotModel | None = None) -> np.ndarray:
    robot = robot or robot_with_knife()
    dq = np.zeros(10) if dq is None else np.asarray(dq, float)
    return BY_ID[name].margin(robot.sweep(trajectory(q, dq, person, bound)), robot)


def ball(x: float, y: float, z: float) -> np.ndarray:
    """A person shrunk to a point: a ball of the thickest capsule's radius."""
    return np.tile([x, y, z], (len(KEYPOINTS), 1)).astype(float)


def forth(speed: float) -> np.ndarray:
    """The base drives along x; every point of the robot has this speed."""
    return np.array([speed, *np.zeros(9)])


@pytest.mark.parametrize("speed", [0.1, 0.4])
def test_separation_changes_sign_where_the_speed_equals_what_is_allowed(speed):
    """The base sphere (radius 0.28) drives at a ball: margin 0 at a gap of radius + speed / slope."""
    limit = 0.28 + CAPSULE_RADIUS.max() + 0.12 + speed / 1.5
    for offset, safe in ((0.001, True), (-0.001, False)):
        person = ball(limit + offset, 0.0, 0.16)
        assert np.all(margin("separation", dq=forth(speed), person=person) >= 0) == safe
    assert np.all(margin("separation", dq=forth(0.0), person=ball(0.1, 0.0, 0.2)) >= 0)  # at rest: always safe


def test_separation_falls_as_a_person_comes_nearer():
    worst = [margin("separation", dq=forth(0.3), person=ball(x, 0, 0.5)).min() for x in np.linspace(2, 0.5, 40)]
    assert np.all(np.diff(worst) <= 1e-12)
    assert worst[0] > 0 > worst[-1]


@pytest.mark.parametrize("name", ["separation", "blade", "clearance", "keep_out", "speed"])
def test_bounds_only_tighten(name):
    person = ball(0.9, 0.3, 0.6)
    free = margin(name, dq=forth(0.2), person=person)
    tight = margin(name, dq=forth(0.2), person=person, bound=0.02)
    assert np.all(tight <= free + 1e-12)
    assert tight.min() < free.min()


def test_blade_speaks_only_of_the_blade():
    rule, robot = BY_ID["blade"], robot_with_knife()
    assert margin("blade", dq=forth(0.2), person=ball(1.0, 0, 0.6)).shape == (H + 1, 2)
    assert list(parts(robot, "blade")) == [len(robot.spheres) - 2, len(robot.spheres) - 1]
    assert margin("blade", dq=forth(0.2), robot=RobotModel()).shape == (H + 1, 0)
    assert np.all(margin("blade", dq=forth(rule.v_max - 0.001)) >= 0)  # nobody there: its own ceiling
    assert not np.all(margin("blade", dq=forth(rule.v_max + 0.001)) >= 0)


def test_clearance_leaves_out_fingers_and_what_they_hold():
    robot = robot_with_knife()
    spheres = parts(robot, "base", "arm", "hand")
    assert margin("clearance").shape == (H + 1, len(spheres) * 3)
    assert margin("keep_out").shape == (H + 1, len(robot.spheres) * 3)


def test_box_margin_is_the_exact_distance():
    """Against geometry.point_box_distance, sphere by sphere and box by box."""
    rng = np.random.default_rng(0)
    robot = RobotModel()
    for _ in range(20):
        q = rng.uniform(np.maximum(Q_MIN, -2), np.minimum(Q_MAX, 2))
        sweep = robot.sweep(trajectory(q, np.zeros(10)))
        gap = BY_ID["keep_out"].margin(sweep, robot)[0].reshape(len(robot.spheres), 3)
        for i, center in enumerate(sweep.center[0]):
            for b in range(3):
                exact = point_box_distance(center, BOXES.center[b], BOXES.rotation[b], BOXES.half[b])
                assert gap[i, b] == pytest.approx(exact - robot.spheres.radius[i], abs=1e-8)


def test_no_boxes_no_rows():
    empty = Boxes(np.zeros((0, 3)), np.zeros((0, 3, 3)), np.zeros((0, 3)))
    robot = RobotModel()
    sweep = robot.sweep(trajectory(HOME, np.zeros(10)))
    assert Clearance(header("x"), 0.0, empty).margin(sweep, robot).shape == (H + 1, 0)


@pytest.mark.parametrize(("tilt", "safe"), [(0.0, True), (19.9, True), (20.1, False), (90.0, False), (180.0, False)])
def test_upright_changes_sign_at_the_largest_tilt(tilt, safe):
    rotation, _ = forward(HOME)
    c, s = np.cos(np.deg2rad(tilt)), np.sin(np.deg2rad(tilt))
    T = np.eye(4)
    T[:3, :3] = rotation[HAND].T @ np.array([[1, 0, 0], [0, c, -s], [0, s, c]])
    held = Held("cup_1", "cup", frozenset({"fillable"}), T)
    robot = RobotModel().holding(held, np.zeros((1, 3)), np.array([0.04]), np.array([False]))
    assert np.all(margin("upright", robot=robot) >= 0) == safe
    if tilt == 19.9:  # the hand may be turned a little more than its reference says
        sweep = replace(robot.sweep(trajectory(HOME, np.zeros(10))), rotation_bound=np.full((H + 1, 1), 0.01))
        assert not np.all(BY_ID["upright"].margin(sweep, robot) >= 0)
    assert margin("upright", robot=RobotModel()).shape == (H + 1, 0)


def test_upright_bound_holds_any_small_turn():
    """The margin with a rotation bound is at most that of every hand turned by less."""
    rng = np.random.default_rng(1)
    held = Held("cup_1", "cup", frozenset({"fillable"}), np.eye(4))
    robot = RobotModel().holding(held, np.zeros((1, 3)), np.array([0.04]), np.array([False]))
    sweep = robot.sweep(trajectory(HOME, np.zeros(10)))
    for _ in range(200):
        axis = rng.normal(size=3)
        axis /= np.linalg.norm(axis)
        bound, angle = 0.3, rng.uniform(0, 0.3)
        K = np.array([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]])
        turned = np.eye(3) + np.sin(angle) * K + (1 - np.cos(angle)) * K @ K
        hand, _ = np.linalg.qr(rng.normal(size=(3, 3)))
        hands = np.tile(hand, (H + 1, 1, 1))
        bounded = replace(sweep, hand_rotation=hands, rotation_bound=np.full((H + 1, 1), bound))
        moved = replace(sweep, hand_rotation=turned @ hands)
        assert np.all(BY_ID["upright"].margin(bounded, robot) <= BY_ID["upright"].margin(moved, robot) + 1e-9)


def test_speed_is_of_the_fastest_point_of_each_sphere():
    robot = RobotModel()
    dq = np.array([0.1, 0.2, 0.5, 0.3, -0.4, 0.6, 0.2, -0.3, 0.5, 1.0])
    speed = 1.2 - BY_ID["speed"].margin(robot.sweep(trajectory(HOME, dq)), robot)[0]
    rotation, origin = forward(HOME)
    step = 1e-6
    later = forward(HOME + step * dq)
    rng = np.random.default_rng(2)
    for i, frame in enumerate(robot.spheres.frame):
        direction = rng.normal(size=(300, 3))
        direction /= np.linalg.norm(direction, axis=1, keepdims=True)
        local = robot.spheres.offset[i] + direction * robot.spheres.radius[i]
        moved = (local @ later[0][frame].T + later[1][frame]) - (local @ rotation[frame].T + origin[frame])
        assert np.linalg.norm(moved, axis=1).max() / step <= speed[i] + 1e-6


def test_joint_limits_count_positions_speeds_and_accelerations():
    assert np.all(margin("joint_limits") >= 0)
    for j in range(10):
        for q, safe in ((Q_MAX, False), (Q_MIN, False)):
            out = HOME.copy()
            out[j] = q[j] + np.sign(q[j] - HOME[j]) * 1e-6
            assert np.all(margin("joint_limits", q=out) >= 0) == safe
        dq = np.zeros(10)
        dq[j] = DQ_MAX[j] * 1.001
        assert not np.all(margin("joint_limits", dq=dq) >= 0)
        hard = trajectory(HOME, np.zeros(10))
        hard.acceleration[2, j] = -BRAKE[j] * 1.001
        robot = RobotModel()
        assert not np.all(BY_ID["joint_limits"].margin(robot.sweep(hard), robot) >= 0)


@given(
    distance=st.floats(-1, 10, allow_nan=False),
    radius=st.floats(0, 1),
    slope=st.floats(0.01, 10),
    v_max=st.floats(0, 3),
)
@settings(max_examples=200, deadline=None)
def test_allowed_speed_is_never_negative_and_never_falls_with_distance(distance, radius, slope, v_max):
    at, farther = allowed_speed(np.array([distance, distance + 0.1]), radius, slope, v_max)
    assert 0 <= at <= farther <= v_max
    assert allowed_speed(np.array([radius]), radius, slope, v_max)[0] == 0


@given(
    q=arrays(float, 10, elements=st.floats(-2, 2)),
    dq=arrays(float, 10, elements=st.floats(-0.5, 0.5)),
    where=st.integers(0, 19),
)
@settings(max_examples=40, deadline=None)
def test_nan_is_unsafe(q, dq, where):
    """One NaN in the joints, or in a person, and no rule that looks at it passes."""
    broken = q.copy()
    broken[where % 10] = np.nan
    robot = robot_with_knife()
    for rule in RULES:
        rows = rule.margin(robot.sweep(trajectory(broken, dq, ball(2, 0, 1))), robot)
        if rule.header.id == "upright" and where % 10 < 2:
            continue  # where the base stands does not tilt anything
        if rule.header.id == "joint_limits" or rows.size:
            assert not np.all(rows >= 0), rule.header.id
    person = ball(2, 0, 1)
    person[where] = np.nan
    for name in ("separation", "blade"):
        rows = BY_ID[name].margin(robot.sweep(trajectory(q, dq, person)), robot)
        seen = where in (0, 1, 3) or where > 3  # no capsule ends at the chest keypoint
        assert np.all(rows >= 0) or not seen or np.isnan(rows).any()
        if seen:
            assert not np.all(rows >= 0)


def test_scope_selects_by_labels_and_skill():
    sharp = BladeSpeed(header("blade", held=frozenset({"sharp"})), 0.3, 1.0, 0.25)
    picking = Speed(header("slow_pick", skill=frozenset({"pick"})), 0.5)
    rules = (BY_ID["separation"], sharp, picking)
    assert in_force(rules, None, "place") == (BY_ID["separation"],)
    assert in_force(rules, KNIFE, "place") == (BY_ID["separation"], sharp)
    assert in_force(rules, None, "pick") == (BY_ID["separation"], picking)
    cup = replace(KNIFE, labels=frozenset({"cup", "fillable"}))
    assert in_force(rules, cup, "place") == (BY_ID["separation"],)


@pytest.mark.parametrize("name", BY_ID)
def test_margins_are_the_same_in_jax(name):
    """The one definition gives the same numbers in the library that differentiates."""
    jax = pytest.importorskip("jax")
    jax.config.update("jax_enable_x64", True)
    rng = np.random.default_rng(3)
    robot = robot_with_knife()
    q, dq = HOME + rng.normal(size=10) * 0.2, rng.normal(size=10) * 0.2
    numpy = trajectory(q, dq, ball(1.1, 0.2, 0.7), 0.01)
    fields = ("times", "states", "keypoints", "keypoint_bound", "position_bound", "speed_bound", "acceleration")
    twin = replace(numpy, **{field: jax.numpy.asarray(getattr(numpy, field)) for field in fields})
    rule = BY_ID[name]
    mine, other = rule.margin(robot.sweep(numpy), robot), rule.margin(robot.sweep(twin), robot)
    assert np.allclose(mine, np.asarray(other), atol=1e-9)
