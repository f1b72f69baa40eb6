"""The safety filter: whatever is proposed, a moving robot breaks no guardrail while the assumptions hold."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from robotctl.body import KEYPOINTS
from robotctl.guardrails.blade_speed import BladeSpeed
from robotctl.guardrails.clearance import Boxes, Clearance
from robotctl.guardrails.guardrail import Assumptions, Header, Scope
from robotctl.guardrails.joint_limits import JointLimits
from robotctl.guardrails.keep_out import KeepOut
from robotctl.guardrails.separation import Separation
from robotctl.guardrails.speed import Speed
from robotctl.guardrails.upright import Upright
from robotctl.robot import HOME
from robotctl.safety.safety_filter import SafetyFilter
from robotctl.state import TICK, Held, PersonState, RobotState, State

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
KINDS = {"knife": SimpleNamespace(spheres=KNIFE_SPHERES, blade=np.arange(7) > 3)}


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
