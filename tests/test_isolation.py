"""A planner that raises, hangs, dies or eats the memory costs a brake; the filter goes on."""

from __future__ import annotations

import os
import signal
import time

import numpy as np
import pytest

from robotctl.controller import Controller
from robotctl.deliberation import Thought
from robotctl.episode.step import Foreseen, PlanSummary
from robotctl.guardrails.load import find_guardrails, load_guardrails
from robotctl.isolation import RESTARTS, IsolatedDeliberator, read_thought, thought_text
from robotctl.scene_files import load_scene
from robotctl.state import TICK, Observation, RobotState, State

PATIENCE = 1.0
START = np.array([0.3, 0.65, 0.0, 0.0, -0.6, 0.0, -2.3, 0.0, 1.7, 0.785])
FORTH = np.append(np.array([0.2, 0.0, 0.2, 0.2]), np.zeros(7))


def state(dq: np.ndarray | None = None) -> State:
    dq = np.zeros(10) if dq is None else dq
    return State(1.0, RobotState(START, dq, START, dq, 0.04))


class Mind:
    """Drives on, until it is told how to fail at the `at`-th thought."""

    def __init__(self, how: str = "", at: int = 3) -> None:
        self._how, self._at, self._count = how, at, 0

    def think(self, state: State, waiting: bool, brake: bool = False) -> Thought:
        self._count += 1
        if self._count < self._at or not self._how:
            return Thought(action=FORTH, doing="driving")
        return FAULTS[self._how]()


def spin():
    while True:
        pass


def raised():
    raise RuntimeError("two\nlines")


def hoard():
    return Thought(action=FORTH, doing=str(np.ones(1 << 31).sum()))


FAULTS = {
    "raises": raised,
    "hangs": lambda: time.sleep(3600),
    "spins": spin,
    "dies": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "exits": lambda: os._exit(3),
    "hoards": hoard,
    "floods": lambda: Thought(action=FORTH, doing="x" * (8 << 20)),
    "babbles": lambda: object(),
}
WORDS = {
    "raises": "the planner raised RuntimeError: two lines (test_isolation.py",
    "hangs": "the planner did not answer within 1 s",
    "spins": "the planner did not answer within 1 s",
    "dies": "the planner died (SIGKILL)",
    "exits": "the planner died (exit code 3)",
    "hoards": "the planner ran out of memory",
    "floods": "the planner broke off or answered far too much",
    "babbles": "the planner raised TypeError",
}


@pytest.mark.parametrize("how", FAULTS)
def test_a_failing_planner_is_a_thought_without_action_and_a_new_process(how):
    with IsolatedDeliberator(lambda: Mind(how), PATIENCE, memory=1 << 30) as mind:
        assert np.array_equal(mind.think(state(), False).action, FORTH)
        first = mind._pid
        mind.think(state(), False)
        failed = mind.think(state(), False)
        assert failed.action is None
        assert failed.failure.startswith(WORDS[how])
        assert "\n" not in failed.failure
        with pytest.raises(ProcessLookupError):
            os.kill(first, 0)
        moving = mind.think(state(np.full(10, 0.1)), False)
        assert moving.action is None
        assert moving.failure
        assert np.array_equal(mind.think(state(), False).action, FORTH), "a robot at rest gets a new planner"


def test_a_planner_that_keeps_failing_ends_the_episode():
    with IsolatedDeliberator(lambda: Mind("exits", at=1), PATIENCE) as mind:
        for _ in range(RESTARTS + 1):
            assert mind.think(state(), False).action is None
        last = mind.think(state(), False)
        assert last.ended == "stopped"
        assert "exit code 3" in last.reason
        assert len(mind.failures) == RESTARTS + 1


def test_a_planner_that_cannot_be_made_is_no_crash():
    def broken() -> Mind:
        raise ImportError("no such solver")

    with IsolatedDeliberator(broken, PATIENCE) as mind:
        for _ in range(RESTARTS + 1):
            thought = mind.think(state(), False)
        assert thought.ended == "stopped"
        assert "no such solver" in thought.reason


@pytest.mark.parametrize("how", ["raises", "hangs", "dies", "hoards"])
def test_the_robot_brakes_along_the_verified_brake_and_drives_on_afterwards(how):
    scene = load_scene("kitchen")
    rules = load_guardrails((find_guardrails("household"),), scene)
    q, dq, speeds = START.copy(), np.zeros(10), []
    with IsolatedDeliberator(lambda: Mind(how, at=6), PATIENCE, memory=1 << 30) as mind:
        controller = Controller(scene, rules, mind)
        for tick in range(16):
            seen = Observation(tick * TICK, q, dq, q, dq, 0.04)
            cycle = controller.act(seen)
            assert "unverified" not in cycle.verdict.reason
            q = q + 0.5 * TICK * (dq + cycle.verdict.action[:10])
            dq = cycle.verdict.action[:10]
            speeds.append(float(np.abs(dq).max()))
        assert len(mind.failures) >= 1
    assert speeds[4] > 0.1
    assert 0.0 in speeds[5:], "it came to rest"
    rest = 5 + speeds[5:].index(0.0)
    assert speeds[4 : rest + 1] == sorted(speeds[4 : rest + 1], reverse=True), "braking all the way"
    assert max(speeds[rest:]) > 0.1, "a new planner took over"


@pytest.mark.parametrize(
    "action",
    [None, np.arange(11.0), np.array([np.nan, np.inf, -np.inf]), "full speed", [1, "two"], [[1, 2], [3]], {"a": 1}],
    ids=["none", "numbers", "not finite", "text", "mixed", "ragged", "mapping"],
)
def test_thoughts_survive_the_pipe(action):
    margins = {"speed": Foreseen(-0.0, 0.1, 2.9, np.inf), "blade": Foreseen(np.inf, 0.0, 0.1, 1 / 3)}
    plan = PlanSummary("SOLVED", {"pose": 0.1 + 0.2}, 3, True, margins, np.arange(6.0).reshape(2, 3) / 7)
    thought = Thought(action, plan, "pick", "pick cup_1", ("hopeful", 0.7), (1, 2), "n", "done", "r", ({"skill": "x"},))
    back = read_thought(thought_text(thought).encode())
    if isinstance(action, np.ndarray):
        assert np.array_equal(back.action, action, equal_nan=True)
    else:
        assert type(back.action) is type(action)
    assert back.plan.margins == plan.margins
    assert np.array_equal(back.plan.path, plan.path)
    for name in ("skill", "doing", "appraisal", "progress", "news", "ended", "reason", "attempts"):
        assert getattr(back, name) == getattr(thought, name)


@pytest.mark.parametrize("text", [b"", b"[]", b"{}", b"nonsense", b'{"action": 1}', b"\xff\xfe", b'{"plan": 3}'])
def test_what_is_no_thought_is_refused(text):
    with pytest.raises(ValueError, match=r"."):
        read_thought(text)
