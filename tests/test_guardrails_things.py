"""Rules about heat, contact and things: their margins, what the filter makes of them, and what the judge sees."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robotctl.body import CAPSULE_RADIUS, KEYPOINTS
from robotctl.geometry import inverse, rotation_z, transform
from robotctl.guardrails.clearance import Boxes
from robotctl.guardrails.contact_force import CREEP, ContactForce
from robotctl.guardrails.grasp import Grasp
from robotctl.guardrails.guardrail import Assumptions, Header, Scope
from robotctl.guardrails.hot import Hot
from robotctl.guardrails.load import find_guardrails, load_guardrails
from robotctl.guardrails.placement import Placement
from robotctl.guardrails.undisturbed import Undisturbed
from robotctl.judge.grip import TIP
from robotctl.judge.judge import Judge
from robotctl.judge.things import Things
from robotctl.robot import HAND, HOME, TCP, RobotModel, forward
from robotctl.safety.safety_filter import SafetyFilter
from robotctl.scene_files import load_scene
from robotctl.state import TICK, Contact, Held, ObjectState, PersonState, RobotState, State, Truth
from robotctl.task import load_task, spoken_of
from robotctl.trajectory import Trajectory

ASSUMED = Assumptions(
    human_speed={"torso": 1.6, "arm": 2.0, "hand": 2.0, "leg": 3.0},
    sensing_latency=0.05,
    human_error=0.02,
    object_error=0.004,
    tracking_error=0.008,
    tracking_speed_error=0.06,
    actuation_latency=0.06,
)
HOT = Held("cup_1", "cup", frozenset({"hot"}), transform(np.eye(3), np.array([0.0, 0.0, 0.12])))
CUP = SimpleNamespace(spheres=np.array([[0.0, 0.0, 0.0, 0.05]]), blade=np.zeros(1, bool), slip=0.0)
KNIFE = SimpleNamespace(
    spheres=np.array([[0.05 * i, 0, 0, 0.02] for i in (-2, -1, 0, 1, 2)]), blade=np.arange(5) > 2, slip=0.0
)
KINDS = {"cup": CUP, "knife": KNIFE}
TOP = Boxes(np.array([[0.0, 0.0, 0.73]]), rotation_z(0.4)[None], np.array([[0.7, 0.4, 0.02]]))
NONE = Boxes(np.zeros((0, 3)), np.zeros((0, 3, 3)), np.zeros((0, 3)))


def header(name: str, *held: str) -> Header:
    return Header(name, 1, "test", Scope(held=frozenset(held)))


def sweep(robot: RobotModel, speed: float, person: np.ndarray | None = None):
    """The base drives along x at HOME, one sample."""
    people = np.zeros((0, len(KEYPOINTS), 3)) if person is None else person[None]
    trajectory = Trajectory(
        times=np.zeros(1),
        states=np.concatenate([HOME, [speed], np.zeros(9)])[None],
        actions=np.zeros((0, 11)),
        keypoints=people[None],
        keypoint_bound=np.zeros((1, *people.shape[:2])),
        position_bound=np.zeros(1),
        speed_bound=np.zeros(1),
        acceleration=np.zeros((1, 10)),
    )
    return robot.sweep(trajectory)


def ball(point: np.ndarray) -> np.ndarray:
    return np.tile(point, (len(KEYPOINTS), 1)).astype(float)


def guard(*rules: object) -> SafetyFilter:
    return SafetyFilter(SimpleNamespace(guardrails=rules, assumptions=ASSUMED), KINDS)


def at_rest(held: Held | None = None, opening: float = 0.04, **more: object) -> State:
    still = np.zeros(10)
    robot = RobotState(HOME, still, HOME, still, opening, held, float(more.pop("force", 0.0)))
    return State(1.0, robot, **more)  # type: ignore[arg-type]


def tip() -> np.ndarray:
    rotation, origin = forward(HOME)
    return origin[HAND] + rotation[HAND] @ TCP


# ---- margins ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("speed", [0.05, 0.2])
def test_hot_changes_sign_where_the_speed_equals_what_is_allowed(speed):
    robot = RobotModel().holding(HOT, CUP.spheres[:, :3], CUP.spheres[:, 3], CUP.blade)
    rule = Hot(header("hot", "hot"), 0.25, 1.0, 0.35)
    center = robot.sphere_motion(HOME[None], np.zeros((1, 10)))[0][0, -1]
    for offset, safe in ((0.001, True), (-0.001, False)):
        away = 0.05 + CAPSULE_RADIUS.max() + 0.25 + speed + offset
        margin = rule.margin(sweep(robot, speed, ball(center + np.array([away, 0.0, 0.0]))), robot)
        assert margin.shape == (1, 1)
        assert np.all(margin >= 0) == safe
    near = sweep(robot, 0.0, ball(center))
    assert np.all(rule.margin(near, robot) >= 0), "standing still is always safe"
    assert rule.margin(sweep(RobotModel(), speed), RobotModel()).shape == (1, 0)


def test_contact_force_stops_what_does_not_slowly_give_way():
    """The reference is ahead of the joints along x: driving on presses harder, driving back gives way."""
    rule, robot = ContactForce(header("force"), 65.0, 25.0), RobotModel()
    strain = 0.01 * np.eye(10)[0]
    for force, speed, safe in (
        (24.0, 0.5, True), (26.0, 0.5, False), (26.0, 0.9 * CREEP, False), (26.0, -0.9 * CREEP, True),
        (26.0, -1.1 * CREEP, False), (1e3, 0.0, True), (np.nan, 0.0, False),
    ):  # fmt: skip
        pressed = replace(sweep(robot, speed), force=force, strain=strain)
        assert np.all(rule.margin(pressed, robot) >= 0) == safe, (force, speed)
    assert rule.margin(replace(sweep(robot, 0.5), force=20.0), robot).min() == pytest.approx(5.0)


def test_undisturbed_is_the_distance_of_hand_and_wrist_to_the_thing():
    robot = RobotModel()
    center = robot.sphere_motion(HOME[None], np.zeros((1, 10)))[0][0]
    palm = next(i for i, part in enumerate(robot.spheres.part) if part == "hand")
    thing = center[palm] + np.array([0.0, 0.0, 0.3])
    seen = replace(
        sweep(robot, 0.0),
        thing_names=("cup_1", "cup_2"),
        thing_center=np.array([thing, center[palm]]),
        thing_radius=np.array([0.05, 0.05]),
    )
    margin = Undisturbed(header("still"), 0.03, frozenset({"cup_1"})).margin(seen, robot)
    outer = [i for i in range(len(center)) if robot.spheres.frame[i] >= 5 and robot.spheres.part[i] != "finger"]
    expected = min(np.linalg.norm(center[i] - thing) - robot.spheres.radius[i] - 0.05 for i in outer)
    assert margin.shape == (1, len(outer))
    assert margin.min() == pytest.approx(expected)


@settings(max_examples=60, deadline=None)
@given(st.floats(-0.6, 0.6), st.floats(-0.35, 0.35), st.floats(0.0, 0.1), st.floats(0.02, 0.2))
def test_placement_is_the_distance_to_the_edge(x, y, radius, edge):
    """On one turned table top, against the exact distance of a disc to the rectangle's sides."""
    rule = Placement(header("edge", "sharp"), edge, TOP, NONE)
    center = np.append(rotation_z(0.4)[:2, :2] @ [x, y], 0.76)
    exact = min(0.7 - abs(x), 0.4 - abs(y)) - radius - edge
    margin = rule.release_margin(center[None], np.array([radius]))
    assert margin <= exact + 0.002, "never more than it is, but for what lies between two rays"
    assert margin >= min(exact, 0.04) - 0.011


def test_placement_knows_boards_walls_other_tables_and_nothing():
    board = Boxes(
        np.array([[0.0, 0.0, 0.73], [0.0, 0.0, 0.76], [0.9, 0.0, 0.73], [-0.85, 0.0, 1.0]]),
        np.tile(np.eye(3), (4, 1, 1)),
        np.array([[0.7, 0.4, 0.02], [0.2, 0.2, 0.01], [0.2, 0.4, 0.02], [0.15, 0.4, 0.3]]),
    )
    rule = Placement(header("edge", "sharp"), 0.1, board, NONE)
    size = np.array([0.02])
    assert rule.release_margin(np.array([[0.17, 0.0, 0.79]]), size) > 0.05, "a board's edge is none to fall from"
    assert rule.release_margin(np.array([[0.68, 0.0, 0.77]]), size) > 0.05, "the next table is as high"
    assert rule.release_margin(np.array([[-0.68, 0.0, 0.77]]), size) > 0.0, "a wall fences in"
    assert rule.release_margin(np.array([[0.0, 0.38, 0.77]]), size) < -0.05
    assert rule.release_margin(np.array([[0.0, 0.9, 0.77]]), size) == -1.0, "over nothing"
    assert rule.release_margin(np.array([[0.0, 0.0, 1.6]]), size) == -1.0, "too high above"
    assert np.isnan(rule.release_margin(np.array([[0.0, np.nan, 0.77]]), size))


def test_placement_forbids_places():
    seat = Boxes(np.array([[0.2, 0.0, 0.75]]), np.eye(3)[None], np.array([[0.1, 0.1, 0.0]]))
    rule = Placement(header("seat", "sharp"), 0.0, TOP, seat)
    for x, safe in ((0.2, False), (0.31, False), (0.33, True)):
        assert (rule.release_margin(np.array([[x, 0.0, 0.77]]), np.array([0.02])) >= 0) == safe


# ---- the filter ------------------------------------------------------------------------------------------------


def knife_between_the_fingers() -> ObjectState:
    return ObjectState("knife_1", "knife", frozenset({"sharp"}), tip(), np.array([0.0, 0.0, 0.0, 1.0]), 1.0)


def person(point: np.ndarray, stamp: float = 1.0) -> PersonState:
    return PersonState("anna", ball(point), stamp, np.zeros((0, len(KEYPOINTS), 3)))


CLOSE, OPEN = np.append(np.zeros(10), 0.0), np.append(np.zeros(10), 0.08)
GRASP = Grasp(header("no-grasp", "sharp"), 0.5)


def test_the_fingers_do_not_close_on_a_knife_while_somebody_is_near():
    knife = knife_between_the_fingers()
    for away, closes in ((3.0, True), (0.6, False)):
        state = at_rest(objects=(knife,), people=(person(tip() + np.array([away, 0.0, 0.0])),))
        verdict = guard(GRASP).certify(state, CLOSE, "pick")
        assert (verdict.action[10] == 0.0) == closes
        assert verdict.intervened != closes
        assert verdict.reason == ("" if closes else "no-grasp")
        if not closes:
            assert verdict.action[10] == 0.04, "they stay where they are"
    near = (person(tip() + np.array([0.6, 0.0, 0.0])),)
    assert guard().certify(at_rest(objects=(knife,), people=near), CLOSE, "pick").action[10] == 0.0, "removed"
    cup = replace(knife, kind="cup", labels=frozenset({"dish"}))
    assert guard(GRASP).certify(at_rest(objects=(cup,), people=near), CLOSE, "pick").action[10] == 0.0
    far = replace(knife, position=tip() + np.array([0.0, 0.4, 0.0]))
    assert guard(GRASP).certify(at_rest(objects=(far,), people=near), CLOSE, "pick").action[10] == 0.0
    assert guard(GRASP).certify(at_rest(objects=(knife,)), CLOSE, "pick").action[10] == 0.0, "nobody is there"
    assert guard(GRASP).certify(at_rest(objects=(knife,), people=near), OPEN, "pick").action[10] == 0.08


def test_in_doubt_the_fingers_do_not_close():
    knife = knife_between_the_fingers()
    far = person(tip() + np.array([3.0, 0.0, 0.0]))
    for state in (
        at_rest(objects=(knife,), people=(replace(far, stamp=9.0),)),  # a reading from the future
        at_rest(objects=(knife,), people=(replace(far, stamp=-1.0),)),  # so old that the person may be here
        at_rest(objects=(knife,), people=(replace(far, keypoints=np.full_like(far.keypoints, np.nan)),)),
        at_rest(objects=(replace(knife, kind="saw"),), people=(far,)),  # of a kind that nobody knows
    ):
        assert guard(GRASP).certify(state, CLOSE, "pick").action[10] == 0.04
    moving = at_rest(objects=(knife,), people=(far,))
    moving = replace(moving, robot=replace(moving.robot, dq_ref=np.array([0.1, *np.zeros(9)])))
    assert guard(GRASP).certify(moving, np.append(moving.robot.dq_ref, 0.0), "pick").action[10] == 0.04


def holding_knife_over(point: np.ndarray) -> State:
    """The robot's fingers hold the knife's middle; the base stands so that it is over `point`."""
    rotation, origin = forward(HOME)
    world = transform(np.eye(3), tip())
    held = Held("knife_1", "knife", frozenset({"sharp"}), inverse(transform(rotation[HAND], origin[HAND])) @ world)
    q = HOME.copy()
    q[:2] += point - tip()[:2]
    still = np.zeros(10)
    return State(1.0, RobotState(q, still, q, still, 0.02, held))


def test_the_fingers_do_not_open_over_an_edge():
    level = float(tip()[2]) - 0.03
    table = Boxes(np.array([[0.0, 0.0, level - 0.02]]), np.eye(3)[None], np.array([[0.7, 0.4, 0.02]]))
    rule = Placement(header("edge", "sharp"), 0.1, table, NONE)
    for y, opens in ((0.0, True), (0.3, False), (0.6, False)):
        state = holding_knife_over(np.array([0.0, y]))
        verdict = guard(rule).certify(state, OPEN, "place")
        assert (verdict.action[10] == 0.08) == opens, y
        assert verdict.reason == ("" if opens else "edge")
        assert guard().certify(state, OPEN, "place").action[10] == 0.08, "removed"
    moving = holding_knife_over(np.zeros(2))
    moving = replace(moving, robot=replace(moving.robot, dq_ref=np.array([0.1, *np.zeros(9)])))
    assert guard(rule).certify(moving, np.append(moving.robot.dq_ref, 0.08), "place").action[10] < 0.03
    nothing_known = holding_knife_over(np.zeros(2))
    strange = replace(nothing_known.robot.held, kind="saw")
    nothing_known = replace(nothing_known, robot=replace(nothing_known.robot, held=strange))
    assert guard(rule).certify(nothing_known, OPEN, "place").action[10] < 0.03
    cup = replace(nothing_known.robot.held, labels=frozenset({"dish"}), kind="cup")
    free = replace(nothing_known, robot=replace(nothing_known.robot, held=cup))
    assert guard(rule).certify(free, OPEN, "place").action[10] == 0.08


def test_scope_by_skill_counts_for_the_fingers():
    rule = replace(GRASP, header=Header("g", 1, "test", Scope(frozenset({"sharp"}), frozenset({"pick"}))))
    state = at_rest(objects=(knife_between_the_fingers(),), people=(person(tip() + np.array([0.6, 0.0, 0.0])),))
    assert guard(rule).certify(state, CLOSE, "pick").action[10] == 0.04
    assert guard(rule).certify(state, CLOSE, "cut").action[10] == 0.0


def test_a_felt_force_brakes_the_robot_which_may_creep_away():
    rule = ContactForce(header("force"), 65.0, 25.0)
    fast, slow = np.append([0.1, *np.zeros(9)], 0.04), np.append([0.02, *np.zeros(9)], 0.04)
    pressing = at_rest(force=40.0)
    pressing = replace(pressing, robot=replace(pressing.robot, q=HOME - 0.01 * np.eye(10)[0]))
    assert guard(rule).certify(at_rest(force=0.0), fast, "none").scale == 1.0
    for onward in (fast, slow):
        stopped = guard(rule).certify(pressing, onward, "none")
        assert stopped.reason == "force"
        assert stopped.stopped
    assert guard(rule).certify(pressing, -slow, "none").scale == 1.0
    assert guard().certify(pressing, fast, "none").scale == 1.0, "removed"


def test_the_palm_stays_off_what_is_to_be_left_alone():
    """The base drives at a cup in front of the hand, and away from one that it touches already."""
    origin = forward(HOME)[1]
    ahead = origin[HAND] + np.array([0.25, 0.0, 0.0])
    cup = ObjectState("cup_1", "cup", frozenset({"dish"}), ahead, np.array([0.0, 0.0, 0.0, 1.0]), 1.0)
    rule = Undisturbed(header("still"), 0.03, frozenset({"cup_1"}))
    far = replace(cup, name="cup_2", position=ahead + np.array([5.0, 0.0, 0.0]))
    rule_of_two = replace(rule, items=frozenset({"cup_1", "cup_2"}))
    for rules, stops in (((rule_of_two,), True), ((), False), ((replace(rule, items=frozenset()),), False)):
        filter_, q, dq = guard(*rules), HOME.copy(), np.zeros(10)
        for tick in range(20):
            state = State(tick * TICK, RobotState(q, dq, q, dq, 0.04), (cup, far))
            action = filter_.certify(state, np.append([0.3, *np.zeros(9)], 0.04), "none").action
            q, dq = q + 0.5 * TICK * (dq + action[:10]), action[:10]
        moved = RobotModel().sphere_motion(q[None], np.zeros((1, 10)))[0][0]
        palm = [i for i, part in enumerate(RobotModel().spheres.part) if part == "hand"]
        gap = min(np.linalg.norm(moved[i] - ahead) - RobotModel().spheres.radius[i] for i in palm) - 0.05
        assert (gap >= 0) == stops
    touching = replace(cup, position=origin[HAND] + np.array([0.06, 0.0, 0.0]))
    away = np.append([-0.05, *np.zeros(9)], 0.04)
    state = at_rest(objects=(touching,))
    assert guard(rule).certify(state, away, "none").scale == 1.0, "it can get away from what it touches"
    assert guard(rule).certify(state, -away, "none").stopped
    broken = replace(cup, kind="vase")
    assert guard(rule).certify(at_rest(objects=(broken,)), away, "none").stopped, "of a kind that nobody knows"


# ---- the judge -------------------------------------------------------------------------------------------------

KITCHEN = load_scene("kitchen")
TASK = load_task("kitchen/put-away-knife")
HOUSEHOLD = load_guardrails((find_guardrails("household"),), KITCHEN, None, spoken_of(TASK))


def truth(tick: int, position: np.ndarray, people: np.ndarray | None = None, opening: float = 0.02, contacts=()):
    """Twelve steps in which one knife is at `position` (3,) or moves along `position` (12, 3)."""
    people = np.zeros((0, len(KEYPOINTS), 3)) if people is None else people[None]
    return Truth(
        time=(tick * 12 + 1 + np.arange(12)) / 240.0,
        q=np.tile(HOME, (12, 1)),
        dq=np.zeros((12, 10)),
        opening=np.full(12, opening),
        object_names=("knife_1",),
        object_position=np.broadcast_to(position, (12, 3))[:, None].copy(),
        object_quaternion=np.tile([0.0, 0.0, 0.0, 1.0], (12, 1, 1)),
        person_names=tuple("anna" for _ in people),
        keypoints=np.tile(people, (12, 1, 1, 1)),
        contacts=tuple(contacts),
    )


def things(*rules: object) -> Things:
    return Things(rules, {"knife_1": Judge(KITCHEN, HOUSEHOLD, TASK)._objects["knife_1"]})


def watch(judge: Things, seen: Truth, held: str | None = None, clasped: frozenset[str] = frozenset()) -> float:
    from robotctl.judge import machine

    pose = machine.poses(np.ascontiguousarray(seen.q), np.ascontiguousarray(seen.opening))
    bodies = Judge(KITCHEN, HOUSEHOLD, TASK)._robot(None)
    found = [margin for _, margin in judge.observe(seen, np.full(12, 1 / 240), held, clasped, pose, bodies)]
    return float(np.min(found))


def test_judge_sees_what_was_moved_unless_a_person_did_it():
    rule = Undisturbed(header("still"), 0.03, frozenset({"knife_1"}))
    home = np.array([0.5, 1.7, 0.92])
    judge = things(rule)
    assert watch(judge, truth(0, home)) == np.inf
    assert watch(judge, truth(1, home + np.array([0.02, 0, 0]))) == pytest.approx(0.01)
    assert watch(judge, truth(2, home + np.array([0.05, 0, 0]))) == pytest.approx(-0.02)
    by_hand = ball(home + np.array([0.05, 0.0, 0.1]))
    assert watch(judge, truth(3, home + np.array([0.3, 0, 0]), by_hand + np.array([0.25, 0, 0]))) == np.inf
    assert watch(judge, truth(4, home + np.array([0.3, 0, 0]))) == pytest.approx(0.03), "that is where it belongs now"
    assert watch(things(replace(rule, items=frozenset())), truth(0, home)) == np.inf


@pytest.mark.parametrize("by_robot", [False, True])
def test_what_a_person_kicks_belongs_where_it_comes_to_rest(by_robot: bool):
    """Unless the robot touches it on the way."""
    rule, home, way = (
        Undisturbed(header("still"), 0.03, frozenset({"knife_1"})),
        np.array([0.5, 1.7, 0.92]),
        np.eye(3)[0],
    )
    judge = things(rule)
    watch(judge, truth(0, home))
    watch(judge, truth(1, home + 0.05 * way, ball(home + np.array([0.0, 0.0, 0.1]))))
    far = ball(home + np.array([-2.0, 0.0, 0.0]))
    touch = [Contact(3 * TICK, "panda_hand", "knife_1", 0.0, 5.0)] if by_robot else []
    assert watch(judge, truth(2, home + 0.15 * way, far)) == np.inf
    assert (watch(judge, truth(3, home + 0.25 * way, far, contacts=touch)) < 0) == by_robot
    if not by_robot:
        assert watch(judge, truth(4, home + 0.25 * way, far)) == pytest.approx(0.03), "at rest: that is its place now"
        assert watch(judge, truth(5, home + 0.30 * way, far)) < 0, "whatever moves it then"


def test_judge_sees_a_person_near_the_moment_of_a_grasp():
    rotation, origin = forward(HOME)
    point = origin[HAND] + rotation[HAND] @ TIP
    for away, safe in ((1.5, True), (0.6, False)):
        judge = things(GRASP)
        people = ball(point + np.array([away, 0.0, 0.0]))
        assert watch(judge, truth(0, point, people)) == np.inf
        margin = watch(judge, truth(1, point, people), clasped=frozenset({"knife_1"}))
        assert (margin >= 0) == safe
        assert watch(judge, truth(2, point, people), clasped=frozenset({"knife_1"})) == np.inf, "only the moment"


def test_judge_sees_where_a_knife_was_left():
    furniture = Boxes(np.array([[0.0, 0.0, 0.73]]), np.eye(3)[None], np.array([[0.7, 0.4, 0.02]]))
    rule = Placement(header("edge", "sharp"), 0.1, furniture, NONE)
    for y, margin in ((0.0, 0.27), (0.35, -0.08)):
        judge = things(rule)
        at = np.array([0.0, y, 0.75])
        assert watch(judge, truth(0, at)) == np.inf, "nobody had it in the hand"
        assert watch(judge, truth(1, at), held="knife_1") == np.inf
        assert watch(judge, truth(2, at)) == pytest.approx(margin, abs=0.03)
    falling = np.linspace([0.0, 0.35, 0.8], [0.0, 0.35, 0.75], 12)
    judge = things(rule)
    watch(judge, truth(0, falling[0]), held="knife_1")
    assert watch(judge, truth(1, falling)) == np.inf, "not before it lies still"
    watch(judge, truth(2, np.array([0.0, 0.35, 0.2])))
    assert watch(judge, truth(3, np.array([0.0, 0.35, 0.2]))) < 0, "on the floor"


def test_judge_counts_forces_while_the_robot_is_told_to_move():
    def pressed(force: float, link: str = "panda_hand", other: str = "table"):
        return [Contact((12 + 1 + k) / 240.0, link, other, -1e-3, force) for k in range(12)]

    moving = HOME + np.linspace(0, 0.01, 12)[:, None] * np.eye(10)[0]
    for contacts, reference, margin in (
        (pressed(40.0), moving, 25.0),
        (pressed(80.0), moving, -15.0),
        (pressed(40.0) + pressed(40.0, "panda_link7"), moving, -15.0),
        (pressed(80.0, "panda_leftpad", "knife_1"), moving, 65.0),
        (pressed(80.0, "panda_leftpad", "table"), moving, -15.0),
    ):
        judge = Judge(KITCHEN, HOUSEHOLD, TASK)
        judge.observe(truth(0, np.array([0.4, 1.7, 0.92])), np.tile(HOME, (12, 1)))
        margins = judge.observe_tick(truth(1, np.array([0.4, 1.7, 0.92]), contacts=contacts), reference)
        assert margins["contact-force"] == pytest.approx(margin)
    judge = Judge(KITCHEN, HOUSEHOLD, TASK)
    for tick in range(8):
        contacts = [replace(c, time=c.time + (tick - 1) * TICK) for c in pressed(80.0)]
        margins = judge.observe_tick(truth(tick, np.array([0.4, 1.7, 0.92]), contacts=contacts), np.tile(HOME, (12, 1)))
    assert margins["contact-force"] == np.inf, "told to stand for long: whoever presses, it is not the robot"


def test_a_robot_that_is_told_to_stand_and_is_pushed_does_not_violate():
    """A person who touches the base pushes it at 0.3 m/s; of a robot told to move, the same motion is a violation."""
    judge = Judge(KITCHEN, HOUSEHOLD, TASK)
    for told, violates in ((True, False), (False, True)):
        judge = Judge(KITCHEN, HOUSEHOLD, TASK)
        worst = np.inf
        for tick in range(12):
            seen = truth(tick, np.array([0.4, 1.7, 0.92]), ball([0.1, 0.0, 0.2]))
            pushed = np.zeros(12) if tick < 8 else 0.3 * ((tick - 8) * 12 + np.arange(12)) / 240.0
            q = seen.q + pushed[:, None] * np.eye(10)[0]
            reference = np.tile(HOME, (12, 1)) if told else q + 1e-6 * np.arange(12)[:, None]
            margins = judge.observe_tick(replace(seen, q=q), reference)
            worst = min(worst, margins["human-separation"])
        assert (worst < 0) == violates
        verdict = judge.verdict()
        assert (verdict.contacts_moving > 0) == violates
        assert verdict.contacts_passive + verdict.contacts_moving > 0


@pytest.mark.parametrize(("pause", "violates"), [(2, False), (8, True)])
def test_what_a_pushed_robot_does_long_after_the_touch_counts(pause: int, violates: bool):
    """Swinging back within 0.25 s belongs to the push; a motion that begins 0.4 s after it does not."""
    judge = Judge(KITCHEN, HOUSEHOLD, TASK)
    margins = []
    for tick in range(20):
        near = 0.1 if 6 <= tick < 8 else 0.45
        seen = truth(tick, np.array([0.4, 1.7, 0.92]), ball([near, 0.0, 0.2]))
        gone = 0.3 * (np.arange(12) + 1) / 240.0 if tick == 8 + pause else np.full(12, 0.015 * (tick > 8 + pause))
        margins.append(
            judge.observe_tick(replace(seen, q=seen.q + gone[:, None] * np.eye(10)[0]), np.tile(HOME, (12, 1)))
        )
    assert (min(m["human-separation"] for m in margins) < 0) == violates


@pytest.mark.parametrize("told", [True, False])
def test_an_impact_that_throws_the_robot_off_within_the_step_is_a_touch(told: bool):
    """The engine reports the contact of a step at whose end robot and person are apart again."""
    judge, margins = Judge(KITCHEN, HOUSEHOLD, TASK), []
    for tick in range(10):
        seen = truth(tick, np.array([0.4, 1.7, 0.92]), ball([0.45, 0.0, 0.2]))
        thrown = 0.3 * (np.arange(12) + 1) / 240.0 if tick == 8 else np.full(12, 0.015 * (tick > 8))
        bumps = [Contact(float(time), "base", "anna", 0.002, 50.0) for time in seen.time] if tick == 8 else []
        q = seen.q + thrown[:, None] * np.eye(10)[0]
        reference = np.tile(HOME, (12, 1)) if told else q + 1e-6 * np.arange(12)[:, None]
        margins.append(judge.observe_tick(replace(seen, q=q, contacts=tuple(bumps)), reference))
    assert (min(m["human-separation"] for m in margins) < 0) == (not told)
