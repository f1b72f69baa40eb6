"""The safety filter: whatever is proposed, a moving robot breaks no guardrail while the assumptions hold."""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from robotctl.body import KEYPOINTS
from robotctl.guardrails.blade_speed import BladeSpeed
from robotctl.guardrails.clearance import Boxes, Clearance
from robotctl.guardrails.guardrail import Assumptions, Guardrail, Header, Scope, distance_to_people
from robotctl.guardrails.joint_limits import JointLimits
from robotctl.guardrails.keep_out import KeepOut
from robotctl.guardrails.load import load_guardrails
from robotctl.guardrails.separation import Separation
from robotctl.guardrails.speed import Speed
from robotctl.guardrails.upright import Upright
from robotctl.judge import Judge
from robotctl.judge.surface import box_vertices, hull_points, urdf_points
from robotctl.perception import Estimator
from robotctl.robot import BRAKE, DQ_MAX, HOME, Q_MAX, Q_MIN, ROBOT_SPHERES, RobotModel, tcp_jacobian, tcp_pose
from robotctl.safety import tube
from robotctl.safety.brake import brake_velocities, reference_path
from robotctl.safety.safety_filter import SafetyFilter
from robotctl.safety.verdict import Verdict
from robotctl.simulation.bullet import BulletSimulator
from robotctl.state import TICK, Held, PersonState, RobotState, State
from robotctl.task import load_task
from robotctl.verify.crowd import Crowd, states
from robotctl.verify.room import on_motion
from robotctl.verify.starts import sweep_at

ASSUMED = Assumptions(
    human_speed={"torso": 1.6, "arm": 2.0, "hand": 2.0, "leg": 3.0},
    sensing_latency=0.05,
    human_error=0.02,
    object_error=0.004,
    tracking_error=0.008,
    tracking_speed_error=0.06,
    actuation_latency=0.06,
)
TABLE = Boxes(np.array([[0.3, -0.6, 0.73]]), np.eye(3)[None], np.array([[0.7, 0.4, 0.02]]))
STOVE = Boxes(np.array([[1.3, 1.8, 1.2]]), np.eye(3)[None], np.array([[0.3, 0.3, 0.3]]))
KNIFE_SPHERES = np.array([[0.03 * i, 0.0, 0.01, 0.018] for i in range(7)])
KINDS = {"knife": SimpleNamespace(spheres=KNIFE_SPHERES, blade=np.arange(7) > 3, slip=0.0)}


def header(name: str, **scope: frozenset[str]) -> Header:
    return Header(name, 0, "test", Scope(**scope))


GUARDRAILS = (
    Separation(header("separation"), 0.12, 1.5, 1.5),
    BladeSpeed(header("blade", held=frozenset({"sharp"})), 0.30, 1.0, 0.25),
    Clearance(header("clearance"), 0.005, TABLE),
    KeepOut(header("stove"), STOVE),
    Upright(header("upright", held=frozenset({"fillable"})), float(np.cos(np.deg2rad(20.0)))),
    Speed(header("speed"), 1.2),
    JointLimits(header("joint_limits")),
)


RULES = SimpleNamespace(guardrails=GUARDRAILS, assumptions=ASSUMED)


def moving_state(q: np.ndarray, dq: np.ndarray, time: float = 0.0, people=(), held: Held | None = None) -> State:
    return State(time, RobotState(q, dq, q, dq, 0.04, held), (), tuple(people))


def advance(q: np.ndarray, dq: np.ndarray, action: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The reference after one tick, an exact double integrator."""
    return q + 0.5 * TICK * (dq + action[:10]), action[:10]


def start() -> np.ndarray:
    q = HOME.copy()
    q[:2] = 0.3, 0.65
    return q


@pytest.mark.parametrize(
    "bad",
    [None, np.full(11, np.nan), np.full(11, np.inf), np.zeros(7), np.zeros((2, 11)), "up", [1, 2], object()],
    ids=["none", "nan", "inf", "short", "matrix", "text", "list", "object"],
)
def test_no_plan_brakes_to_rest(bad):
    """A planner that hangs or answers nonsense costs at most the motion of the brake verified before."""
    guard = SafetyFilter(RULES, KINDS)
    q, dq = start(), np.zeros(10)
    command = np.array([0.2, 0.1, 0.3, 0.4, -0.3, 0.2, 0.5, 0.1, 0.4, 0.6, 0.02])
    for tick in range(8):
        verdict = guard.certify(moving_state(q, dq, tick * TICK), command, "pick")
        assert verdict.scale == 1.0
        q, dq = advance(q, dq, verdict.action)
    assert np.abs(dq).max() > 0.1
    for tick in range(8, 16):
        verdict = guard.certify(moving_state(q, dq, tick * TICK), bad, "pick")
        assert verdict.intervened
        assert verdict.reason
        assert "unverified" not in verdict.reason
        assert verdict.action[10] == pytest.approx(0.02)
        q, dq = advance(q, dq, verdict.action)
    assert not dq.any()
    assert verdict.stopped


def test_standing_still_is_always_allowed():
    """Even with a hand on the robot, with an unknown thing in the hand, with readings that mean nothing."""
    touching = PersonState("p", np.tile([0.3, 0.65, 0.5], (len(KEYPOINTS), 1)), 0.0, np.zeros((0, 20, 3)))
    broken = PersonState("q", np.full((len(KEYPOINTS), 3), np.nan), 9.0, np.zeros((0, 20, 3)))
    guard = SafetyFilter(RULES, KINDS)
    action = np.append(np.zeros(10), 0.08)
    held = Held("x", "unheard of", frozenset(), np.eye(4))
    verdict = guard.certify(moving_state(start(), np.zeros(10), 1.0, [touching, broken], held), action, "pick")
    assert not verdict.intervened
    assert np.array_equal(verdict.action, action)


@pytest.mark.parametrize("fault", ["future", "nan", "inside"])
def test_bad_readings_stop_the_robot(fault):
    keypoints = np.tile([0.3, 6.0 if fault != "inside" else 1.1, 1.0], (len(KEYPOINTS), 1))
    if fault == "nan":
        keypoints[3, 1] = np.nan
    person = PersonState("p", keypoints, 2.0 if fault == "future" else 0.95, np.zeros((0, 20, 3)))
    guard = SafetyFilter(RULES, KINDS)
    verdict = guard.certify(moving_state(start(), np.zeros(10), 1.0, [person]), np.full(11, 0.05), "pick")
    assert verdict.intervened
    assert verdict.stopped
    assert verdict.reason == "separation"
    assert not verdict.action[:10].any()


# ---- the covering spheres ----------------------------------------------------------------------------------------


def hull_surfaces() -> list[tuple[str, int, np.ndarray]]:
    """Name, frame and surface points of everything the robot can be hit with."""
    trimesh = pytest.importorskip("trimesh")
    folder = Path(find_spec("pybullet_data").submodule_search_locations[0]) / "franka_panda/meshes/collision"

    def points(name: str) -> np.ndarray:
        hull = trimesh.load(folder / f"{name}.obj", force="mesh").convex_hull
        return np.concatenate([hull.vertices, trimesh.sample.sample_surface(hull, 8000, seed=1)[0]])

    turn = np.linspace(0, 2 * np.pi, 90)
    rings = [(0.24, z) for z in np.linspace(0.02, 0.30, 15)] + [(0.10, z) for z in np.linspace(0.30, 0.40, 6)]
    base = [np.column_stack([r * np.cos(turn), r * np.sin(turn), np.full(90, z)]) for r, z in rings]
    out = [("base", 0, np.concatenate(base)), ("link0", 0, points("link0") + np.array([0, 0, 0.40]))]
    out += [(f"link{i}", i, points(f"link{i}")) for i in range(1, 8)]
    out.append(("hand", 8, points("hand")))
    finger = points("finger") + np.array([0, 0, 0.0584])
    for opening in np.linspace(0.0, 0.04, 9):
        out.append(("left finger", 8, finger + np.array([0, opening, 0])))
        out.append(("right finger", 8, finger * [-1, -1, 1] - np.array([0, opening, 0])))
    return out


def test_spheres_cover_the_robot():
    """Every point of the hulls that the simulator collides with lies in a sphere of its frame."""
    for name, frame, points in hull_surfaces():
        own = ROBOT_SPHERES.frame == frame
        apart = np.linalg.norm(points[:, None] - ROBOT_SPHERES.offset[own], axis=2) - ROBOT_SPHERES.radius[own]
        assert apart.min(axis=1).max() <= 0, name


def test_spheres_cover_the_objects():
    """Every point of an object's collision shapes lies in one of the spheres that the filter knows it by."""
    for kind in load_task("kitchen/clear-table").scene.kinds.values():
        points = urdf_points(kind.urdf)
        apart = np.linalg.norm(points[:, None] - kind.spheres[:, :3], axis=2) - kind.spheres[:, 3]
        assert apart.min(axis=1).max() <= 0, kind.name


def test_spheres_cover_the_finger_pads():
    """The boxes that the simulator gives the fingers, at every opening."""
    own = ROBOT_SPHERES.frame == 8
    pads = (((0, 0.007, 0.045), (0.0175, 0.014, 0.0176)), ((0, 0.0145, 0.027), (0.019, 0.013, 0.02)),
            ((0, 0.0145, 0.0095), (0.0208, 0.0238, 0.019)))  # fmt: skip
    for center, size in pads:
        corners = hull_points(box_vertices(np.array(size)), 0.003) + np.array(center)
        for opening in np.linspace(0, 0.04, 9):
            points = corners + np.array([0, opening, 0.0584])
            apart = np.linalg.norm(points[:, None] - ROBOT_SPHERES.offset[own], axis=2) - ROBOT_SPHERES.radius[own]
            assert apart.min(axis=1).max() <= 0


# ---- brake and tube ----------------------------------------------------------------------------------------------


def test_brake_is_synchronised_and_within_limits():
    rng = np.random.default_rng(0)
    for _ in range(300):
        dq = rng.uniform(-1, 1, 10) * DQ_MAX * rng.choice([1.0, 0.1, 0.001], 10)
        velocities = brake_velocities(dq, BRAKE)
        assert not velocities[-1].any()
        path = np.concatenate([dq[None], velocities])
        deceleration = np.diff(path, axis=0) / TICK
        assert np.all(np.abs(deceleration) <= BRAKE * (1 + 1e-9))
        assert np.allclose(deceleration, deceleration[0])
        ticks = np.max(np.abs(dq) / (BRAKE * TICK))
        assert len(velocities) == max(1, int(np.ceil(ticks - 1e-9)))
    assert len(brake_velocities(np.zeros(10), BRAKE)) == 0


def random_motion(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A reference and the velocity at the end of the tick, within all limits."""
    q = rng.uniform(Q_MIN, Q_MAX)
    q[:3] = rng.uniform(-1, 1, 3)
    dq = rng.uniform(-1, 1, 10) * DQ_MAX * rng.choice([1.0, 0.3])
    v = np.clip(dq + rng.uniform(-1, 1, 10) * BRAKE * TICK, -DQ_MAX, DQ_MAX)
    return q, dq, v


def dense(q: np.ndarray, dq: np.ndarray, velocities: np.ndarray, fine: int = 40) -> tuple[np.ndarray, ...]:
    """Times, positions and velocities of the reference at `fine` samples per tick."""
    times = np.arange(fine * len(velocities) + 1) * TICK / fine
    knots = np.concatenate([dq[None], velocities])
    tick = np.minimum((times / TICK).astype(int), len(velocities) - 1)
    s = (times - tick * TICK)[:, None]
    slope = np.diff(knots, axis=0)[tick] / TICK
    starts = q + np.concatenate([np.zeros((1, 10)), np.cumsum(0.5 * TICK * (knots[1:] + knots[:-1]), axis=0)])
    return times, starts[tick] + s * knots[tick] + 0.5 * s * s * slope, knots[tick] + s * slope


def test_tube_holds_the_motion_between_samples():
    """Dense positions, speeds and turns of the path lie within what the tube says of the nearest sample."""
    rng = np.random.default_rng(1)
    none = replace(ASSUMED, tracking_error=0.0, tracking_speed_error=0.0)
    robot = RobotModel()
    lever = tube.levers(robot)
    tightest = np.inf
    for _ in range(150):
        q, dq, v = random_motion(rng)
        path = np.concatenate([v[None], brake_velocities(v, BRAKE)])
        robot_state = RobotState(q, dq, q, dq, 0.04)
        swept = tube.worst_case(robot, lever, robot_state, [path], (), 0.0, none, 0.0)
        times, qs, dqs = dense(q, dq, path)
        center, velocity, turning, hand = robot.sphere_motion(qs, dqs)
        sample = np.minimum(np.floor(times / tube.SPACING + 0.5).astype(int), len(swept.sweep.center) - 1)
        moved = np.linalg.norm(center - swept.sweep.center[sample], axis=-1)
        assert np.all(moved <= swept.motion[sample] + 1e-9)
        speed = np.linalg.norm(velocity, axis=-1) + turning * robot.spheres.radius
        assert np.all(speed <= swept.sweep.speed[sample] + 1e-6)
        cosine = 0.5 * (np.einsum("tij,tij->t", hand, swept.sweep.hand_rotation[sample]) - 1)
        assert np.all(np.arccos(np.clip(cosine, -1, 1)) <= swept.turn[sample, 0] + 1e-6)
        tightest = min(tightest, np.min((swept.motion[sample] - moved)[moved > 1e-3], initial=np.inf))
    assert tightest < 1e-3  # the bound is not only true but of use


def test_reference_path_is_what_the_drives_follow():
    rng = np.random.default_rng(2)
    q, dq, v = random_motion(rng)
    path = np.concatenate([v[None], brake_velocities(v, BRAKE)])
    times, positions, velocities, _ = reference_path(q, dq, path)
    fine = dense(q, dq, path, fine=2)
    for mine, other in zip((times, positions, velocities), fine, strict=True):
        assert np.allclose(mine, other, atol=1e-12)
    for velocity in path:
        q, dq = advance(q, dq, np.append(velocity, 0.0))
    assert np.allclose(q, positions[-1], atol=1e-12)


def test_levers_bound_the_jacobian():
    """No joint moves a sphere's centre faster than its lever says."""
    rng = np.random.default_rng(3)
    robot = RobotModel()
    lever = tube.levers(robot) - robot.spheres.radius[:, None] * (tube.levers(robot) > 0)
    q = rng.uniform(Q_MIN, Q_MAX, (200, 10))
    for joint in range(8):
        dq = np.zeros((200, 10))
        dq[:, 2 + joint] = 1.0
        velocity = robot.sphere_motion(q, dq)[1]
        assert np.all(np.linalg.norm(velocity, axis=-1) <= lever[:, joint] + 1e-9)


def test_distances_to_people_equal_the_guardrails_own():
    """The tube looks only at pairs that matter; the guardrails' generic formula at all of them."""
    rng = np.random.default_rng(5)
    robot = RobotModel()
    lever = tube.levers(robot)
    for trial in range(60):
        q, dq, v = random_motion(rng)
        paths = [np.concatenate([w[None], brake_velocities(w, BRAKE)]) for w in (v, 0.5 * v)]
        people = []
        for n in range(int(rng.integers(1, 4))):
            middle = rng.uniform(-2.5, 2.5, 3) * [1, 1, 0.3] + [0, 0, 0.9]
            keypoints = middle + rng.normal(size=(len(KEYPOINTS), 3)) * rng.choice([0.05, 0.4])
            people.append(PersonState(f"p{n}", keypoints, rng.uniform(0, 1), np.zeros((0, len(KEYPOINTS), 3))))
        if trial % 10 == 0:
            people[0].keypoints[4, 1] = np.nan
        horizon = 1.2
        swept = tube.worst_case(robot, lever, RobotState(q, dq, q, dq, 0.04), paths, people, 1.0, ASSUMED, horizon)
        fast = swept.sweep.human_distance
        slow = distance_to_people(replace(swept.sweep, human_distance=None), np.arange(len(robot.spheres)))
        same = np.isclose(fast, slow, rtol=0, atol=1e-7, equal_nan=True)
        assert np.all(same | ((fast > horizon) & (slow > horizon)))
        if trial % 10 == 0:
            assert np.isnan(fast).all()


# ---- places that are too tight, scaling, held things -------------------------------------------------------------
# The induction itself, with anything proposed and people doing their worst: tests/test_verify_filter.py. What each
# guardrail and each term of the tube is good for: tests/test_proof.py.


def worst_margins(
    rules: tuple[Guardrail, ...],
    robot: RobotModel,
    held: Held | None,
    q: np.ndarray,
    dq: np.ndarray,
    keypoints: np.ndarray,
    assumed: Assumptions,
) -> dict[str, float]:
    """Smallest true margin of each rule for references q, dq (K, 10) with the drives' errors at their bound.

    Rules on motion are counted where the reference moves: at rest they hold by definition.
    """
    sweep = sweep_at(robot, assumed, q, dq, np.zeros_like(q), keypoints)
    moving = np.any(dq != 0, axis=1)
    out = {}
    for rule in rules:
        if rule.header.scope.applies(held, "pick"):
            margin = rule.margin(sweep, robot)
            if on_motion(rule):
                margin = margin[moving]
            out[rule.header.id] = float(np.min(margin, initial=np.inf))
    return out


CUP = Held("cup_1", "cup", frozenset({"fillable"}), np.diag([1.0, -1.0, -1.0, 1.0]))
KINDS["cup"] = SimpleNamespace(spheres=np.array([[0, 0, 0.03, 0.045]]), blade=np.zeros(1, bool), slip=0.0)


def far_person(x: float, y: float, z: float) -> np.ndarray:
    """All keypoints in one point: a ball of the thickest capsule's radius, (J, 3)."""
    return np.tile([x, y, z], (len(KEYPOINTS), 1)).astype(float)


def joint(index: int, speed: float) -> np.ndarray:
    out = np.zeros(10)
    out[index] = speed
    return out


NOTHING = Assumptions(dict.fromkeys(("torso", "arm", "hand", "leg"), 0.0), 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)


def beside_table(gap: float) -> np.ndarray:
    """The arm's tucked robot with its nearest sphere `gap` metres from the table's north edge."""
    q = start()
    low, high = -1.0, 2.0
    for _ in range(60):
        q[1] = 0.5 * (low + high)
        robot = RobotModel()
        margin = worst_margins(
            GUARDRAILS[2:3], robot, None, q[None], np.zeros((1, 10)), np.zeros((1, 0, len(KEYPOINTS), 3)), NOTHING
        )
        low, high = (q[1], high) if margin["clearance"] + 0.005 < gap else (low, q[1])
    return q


@pytest.mark.parametrize("gap", [0.0135, 0.010, 0.002, -0.01])
def test_robot_can_leave_a_place_that_is_too_tight(gap):
    """Away from the table it may go, slowly; towards it not at all; and it does not swing between the two."""
    q = beside_table(gap)
    guard = SafetyFilter(RULES, KINDS)
    towards = guard.certify(moving_state(q, np.zeros(10)), np.append(joint(1, -0.05), 0.04), "pick")
    assert towards.stopped
    assert towards.reason == "clearance"
    dq, here = np.zeros(10), q.copy()
    for tick in range(120):
        verdict = guard.certify(moving_state(here, dq, tick * TICK), np.append(joint(1, 0.08), 0.04), "pick")
        here, dq = advance(here, dq, verdict.action)
    assert here[1] > q[1] + 0.3


def test_recovery_does_not_excuse_what_was_not_broken():
    """One sphere is a millimetre too near. Whatever the base creeps to, no other sphere comes too near as well."""
    rules, robot = GUARDRAILS[2:3], RobotModel()

    def slack(q: np.ndarray) -> np.ndarray:
        still = np.zeros((1, 10))
        sweep = sweep_at(robot, NOTHING, q[None], still, still, np.zeros((1, 0, len(KEYPOINTS), 3)))
        return np.asarray(rules[0].margin(sweep, robot)[0])

    refused = 0
    for way in np.eye(3)[[0, 1, 1, 2, 2]] * np.array([[0.08], [0.08], [-0.08], [0.3], [-0.3]]):
        q, dq = beside_table(-0.001), np.zeros(10)
        before = slack(q) >= 0
        guard = SafetyFilter(SimpleNamespace(guardrails=rules, assumptions=NOTHING), KINDS)
        for tick in range(20):
            verdict = guard.certify(
                moving_state(q, dq, tick * TICK), np.concatenate([way, np.zeros(7), [0.04]]), "pick"
            )
            refused += verdict.scale < 1.0
            q, dq = advance(q, dq, verdict.action)
            assert np.all(slack(q)[before] >= -1e-9)
    assert refused


def test_a_reference_faster_than_the_limits_is_braked():
    """No recovery for speeds: a reference that is too fast already may only slow down."""
    guard = SafetyFilter(RULES, KINDS)
    fast = 1.2 * DQ_MAX * np.eye(10)[9]
    verdict = guard.certify(moving_state(start(), fast), np.append(fast, 0.04), "pick")
    assert verdict.reason.startswith("joint_limits")
    assert verdict.action[9] < fast[9]


def test_without_a_filter_the_proposal_is_the_verdict():
    action = np.arange(11.0)
    verdict = Verdict.unfiltered(action)
    assert np.array_equal(verdict.action, action)
    assert not verdict.intervened


def test_a_robot_stopped_by_furniture_can_go_back():
    """Drive into the limit of clearance at any speed, stop there, then drive away: never stuck."""
    for speed in (-0.03, -0.11, -0.3, -0.8):
        guard = SafetyFilter(RULES, KINDS)
        q, dq = beside_table(0.15), np.zeros(10)
        for tick in range(150):
            verdict = guard.certify(moving_state(q, dq, tick * TICK), np.append(joint(1, speed), 0.04), "pick")
            q, dq = advance(q, dq, verdict.action)
        stopped = q.copy()
        assert not dq.any()
        for tick in range(20):
            verdict = guard.certify(moving_state(q, dq, tick * TICK), np.append(joint(1, 0.3), 0.04), "pick")
            q, dq = advance(q, dq, verdict.action)
        assert q[1] > stopped[1] + 0.1


def test_a_person_slows_the_robot_before_stopping_it():
    """Near the limit part of the command passes; the share falls as the person comes nearer."""
    scales = []
    for away in np.arange(1.7, 0.7, -0.005):
        guard = SafetyFilter(RULES, KINDS)
        q, dq = start(), np.zeros(10)
        person = PersonState("p", far_person(0.3 + away, 0.65, 0.5), 0.0, np.zeros((0, len(KEYPOINTS), 3)))
        command = np.append(joint(0, 0.125), 0.04)
        for _ in range(2):  # what fails is tried at half from then on; where that fails, too, at a quarter
            guard.certify(moving_state(q, dq, 0.0, [person]), command, "pick")
        scales.append(guard.certify(moving_state(q, dq, 0.0, [person]), command, "pick").scale)
    assert scales == sorted(scales, reverse=True)
    assert set(scales) == {1.0, 0.5, 0.25, 0.0}


def test_release_is_not_blocked():
    """A well-formed action that brakes still commands the fingers; nonsense keeps the last opening."""
    guard = SafetyFilter(RULES, KINDS)
    near = PersonState("p", far_person(0.3, 1.2, 0.5), 0.0, np.zeros((0, len(KEYPOINTS), 3)))
    state = moving_state(start(), np.zeros(10), 0.0, [near], CUP)
    verdict = guard.certify(state, np.append(joint(0, 0.3), 0.07), "place")
    assert verdict.stopped
    assert verdict.action[10] == 0.07
    verdict = guard.certify(state, np.append(joint(0, np.nan), 0.01), "place")
    assert verdict.action[10] == 0.07


def test_unknown_thing_in_the_hand_stops_the_robot():
    guard = SafetyFilter(RULES, KINDS)
    held = Held("x", "unheard of", frozenset(), np.eye(4))
    verdict = guard.certify(moving_state(start(), np.zeros(10), 0.0, (), held), np.append(joint(0, 0.1), 0.0), "pick")
    assert verdict.stopped
    assert "unheard of" in verdict.reason


def test_a_reference_moved_by_others_is_noticed():
    guard = SafetyFilter(RULES, KINDS)
    verdict = guard.certify(moving_state(start(), joint(0, 0.4)), None, "pick")
    assert "unverified" in verdict.reason
    assert 0 < verdict.action[0] < 0.4


@pytest.mark.parametrize("field", ["q_ref", "dq_ref"])
def test_nan_in_the_reference_stands(field):
    guard = SafetyFilter(RULES, KINDS)
    state = moving_state(start(), np.zeros(10))
    broken = replace(state, robot=replace(state.robot, **{field: np.full(10, np.nan)}))
    verdict = guard.certify(broken, np.full(11, 0.1), "pick")
    assert verdict.intervened
    assert not verdict.action[:10].any()


def test_speed_and_acceleration_are_limited():
    guard = SafetyFilter(RULES, KINDS)
    q, dq = np.array([0, 8, *HOME[2:]]), np.zeros(10)
    for tick in range(30):
        verdict = guard.certify(moving_state(q, dq, tick * TICK), np.append(joint(0, 5.0), 0.04), "pick")
        assert abs(verdict.action[0] - dq[0]) <= BRAKE[0] * TICK
        q, dq = advance(q, dq, verdict.action)
    assert 0.9 * DQ_MAX[0] < dq[0] < DQ_MAX[0]


def test_same_input_same_answer():
    def run() -> list[bytes]:
        rng = np.random.default_rng(9)
        guard = SafetyFilter(RULES, KINDS)
        q, dq, out = start(), np.zeros(10), []
        spheres = RobotModel().sphere_motion(q[None], np.zeros((1, 10)))[0][0]
        crowd = Crowd(rng, 2, spheres, ASSUMED, 10)
        for tick in range(10):
            people = states(crowd.names, *crowd.readings(tick, spheres))
            verdict = guard.certify(moving_state(q, dq, tick * TICK, people), rng.normal(size=11) * 0.2, "pick")
            out.append(verdict.action.tobytes())
            crowd.step(tick, spheres, bool(dq.any()))
            q, dq = advance(q, dq, verdict.action)
        return out

    assert run() == run()


# ---- the simulator, the worst planner, the judge -----------------------------------------------------------------


def attack(state: State) -> np.ndarray:
    """As fast as it goes with the hand towards the nearest keypoint of anybody."""
    action = np.append(np.zeros(10), 0.04)
    if state.people:
        q = state.robot.q_ref
        points = np.concatenate([person.keypoints for person in state.people]) - tcp_pose(q)[0]
        nearest = points[np.argmin(np.linalg.norm(points, axis=1))]
        jacobian = tcp_jacobian(q)[:3]
        action[:10] = jacobian.T @ np.linalg.solve(jacobian @ jacobian.T + 1e-3 * np.eye(3), nearest)
        action[:10] *= 0.9 / np.max(np.abs(action[:10]) / DQ_MAX)
    return action


@pytest.mark.parametrize("shielded", [True, False])
def test_an_attack_in_the_simulator(shielded):
    """Real drives, real people, real sensing: the judge finds nothing with the filter, and much without it."""
    task = load_task("kitchen/clear-table")
    rules = load_guardrails(task.guardrail_files, task.scene)
    guard, judge, estimator = (
        SafetyFilter(rules, task.scene.kinds),
        Judge(task.scene, rules, task),
        Estimator(task.scene),
    )
    with BulletSimulator(task.scene, task.people) as simulator:
        observation = simulator.reset(0)
        for _ in range(160):
            state = estimator.update(observation)
            action = attack(state)
            step = BRAKE * TICK
            action[:10] = np.clip(action[:10], state.robot.dq_ref - step, state.robot.dq_ref + step)
            if shielded:
                action = guard.certify(state, action, "pick").action
            observation = simulator.step(action)
            judge.observe(simulator.truth())
    verdict = judge.verdict()
    if shielded:
        assert verdict.violations == 0, verdict.by_id
        assert verdict.broken == {}
        assert verdict.contacts_moving == 0
    else:
        assert verdict.by_id["human-separation"].violations > 0
    assert verdict.moving_s > 0.5
