"""This file measures what a cycle of the safety filter takes: the mobile Panda, a knife, two people, the kitchen.

Four quarters: slow and fast motion, people far off and near. The robot goes from posture to posture between counter and
table as the filter lets it, people walk as they do in the simulator. Times are those of `certify` alone.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator
from dataclasses import dataclass, fields
from types import SimpleNamespace
from typing import Any

import numpy as np

from robotctl.geometry import inverse, transform
from robotctl.guardrails.guardrail import Guardrail
from robotctl.guardrails.load import find_guardrails, load_guardrails
from robotctl.robot import DQ_MAX, HOME, TCP, RobotModel
from robotctl.safety.safety_filter import SafetyFilter
from robotctl.safety.verdict import Verdict
from robotctl.scene import Scene
from robotctl.simulation.people import Person
from robotctl.skills.grasping import hand_rotation
from robotctl.state import TICK, Held, PersonState, RobotState, State
from robotctl.task import PersonPlan, load_task

SCHEMA = "robotctl/bench-filter.v1"
TASK, GUARDRAILS, KIND = "kitchen/put-away-knife", "household", "knife"
WARM_UP = 200  # cycles
AGE = 0.033  # of the readings of people [s]
CHANGE = 30  # ticks to the next posture
# Where the base goes (x, y, yaw), and where two people walk [m].
SPOTS = np.array([[0.3, 0.6, 1.57], [-0.7, 0.7, 1.2], [0.3, 0.5, -1.57], [-1.3, 0.0, 0.3], [1.6, 0.3, 2.6]])
NEAR = (((-1.2, -0.1), (0.2, 0.1), (1.6, -0.0), (1.7, 0.9)), ((1.9, -1.8), (1.6, 0.2), (0.4, 0.0), (-1.2, 0.9)))
FAR = (((-1.5, -3.6), (1.5, -3.6)), ((2.5, -3.9), (-0.5, -4.2)))


@dataclass(frozen=True)
class Quarter:
    """One kind of motion among one kind of people."""

    name: str
    speed: float  # of the fastest point of robot and knife, as asked for [m/s]; the edge may do 0.25
    paths: tuple[tuple[tuple[float, float], ...], ...]


QUARTERS = (
    Quarter("slow, far", 0.06, FAR),
    Quarter("fast, far", 0.20, FAR),
    Quarter("slow, near", 0.06, NEAR),
    Quarter("fast, near", 0.20, NEAR),
)


@dataclass
class Cycle:
    """One call of the filter."""

    quarter: str
    scale: float
    moving: bool
    wall: float = 0.0  # [s]
    cpu: float = 0.0  # [s]
    rows: int = 0  # entries of margins


def measure(cycles: int, seed: int = 0) -> dict[str, Any]:
    """The answer of `robotctl bench filter`."""
    began = time.perf_counter()
    scene = load_task(TASK).scene
    rules = load_guardrails([find_guardrails(GUARDRAILS)], scene)
    each = -(-cycles // len(QUARTERS))
    for quarter in QUARTERS:
        _drive(scene, rules, quarter, WARM_UP // len(QUARTERS), seed)
    timed = [cycle for quarter in QUARTERS for cycle in _drive(scene, rules, quarter, each, seed)]
    count = [0]
    counted = SimpleNamespace(
        guardrails=[_counting(rule, count) for rule in rules.guardrails], assumptions=rules.assumptions
    )
    again = [cycle for quarter in QUARTERS for cycle in _drive(scene, counted, quarter, each, seed, count)]
    for cycle, same in zip(timed, again, strict=True):
        cycle.rows = same.rows
    return {
        "schema": SCHEMA,
        "seed": seed,
        **_figures(timed),
        "by_quarter": {q.name: _figures([cycle for cycle in timed if cycle.quarter == q.name]) for q in QUARTERS},
        "wall_s": round(time.perf_counter() - began, 1),
    }


def situations(scene: Scene, quarter: Quarter, cycles: int, seed: int, verdicts: list[Verdict]) -> Iterator[Any]:
    """States and proposals of a quarter; `verdicts` receives the answer to each before the next is asked for."""
    rng = np.random.default_rng((seed, QUARTERS.index(quarter)))
    held, kind = _knife(scene), scene.kinds[KIND]
    robot = RobotModel().holding(held, kind.spheres[:, :3], kind.spheres[:, 3], kind.blade, kind.slip)
    plans = [PersonPlan(f"p{i}", "walk", np.array(p), 1.0, 0.0, (), 0.0, True) for i, p in enumerate(quarter.paths)]
    people = [Person(plan, rng) for plan in plans]
    q, dq = HOME.copy(), np.zeros(10)
    q[:3] = SPOTS[0]
    goal = q
    for tick in range(cycles):
        now = 10.0 + tick * TICK
        if tick % CHANGE == 0:
            goal = HOME + rng.normal(size=10) * [0, 0, 0, 0.8, 0.4, 0.3, 0.5, 0.3, 0.3, 0.8]
            goal[:3] = SPOTS[int(rng.integers(0, len(SPOTS)))]
        wish = np.clip(2.0 * (goal - q), -DQ_MAX, DQ_MAX)
        wish *= min(1.0, quarter.speed / max(_fastest(robot, q, wish), 1e-9))
        seen = tuple(_read(person, now, rng) for person in people)
        yield State(now, RobotState(q, dq, q, dq, 0.0, held), (), seen), np.append(wish, 0.0)
        velocity = verdicts[-1].action[:10]
        q, dq = q + 0.5 * TICK * (dq + velocity), velocity


def _drive(
    scene: Scene, rules: Any, quarter: Quarter, cycles: int, seed: int, count: list[int] | None = None
) -> list[Cycle]:
    guard = SafetyFilter(rules, scene.kinds)
    verdicts: list[Verdict] = []
    out = []
    gc.collect()
    gc.disable()
    try:
        for state, proposal in situations(scene, quarter, cycles, seed, verdicts):
            before = count[0] if count else 0
            wall, cpu = time.perf_counter(), time.thread_time()
            verdict = guard.certify(state, proposal, "place")
            wall, cpu = time.perf_counter() - wall, time.thread_time() - cpu
            verdicts.append(verdict)
            rows = count[0] - before if count else 0
            moving = bool(verdict.action[:10].any() or state.robot.dq_ref.any())
            out.append(Cycle(quarter.name, verdict.scale, moving, wall, cpu, rows))
    finally:
        gc.enable()
    return out


def _figures(cycles: list[Cycle]) -> dict[str, Any]:
    n = max(len(cycles), 1)
    wall, cpu = (1e3 * np.array([getattr(cycle, name) for cycle in cycles]) for name in ("wall", "cpu"))
    rows = np.array([cycle.rows for cycle in cycles])
    return {
        "cycles": len(cycles),
        "ms_p50": round(float(np.median(wall)), 3),
        "ms_p99": round(float(np.percentile(wall, 99)), 3),
        "ms_max": round(float(wall.max()), 3),
        "cpu_ms_p50": round(float(np.median(cpu)), 3),
        "cpu_ms_p99": round(float(np.percentile(cpu, 99)), 3),
        "cpu_ms_max": round(float(cpu.max()), 3),
        "rows_median": int(np.median(rows)),
        "rows_max": int(rows.max()),
        "accepted_share": round(sum(cycle.scale == 1 for cycle in cycles) / n, 4),
        "scaled_share": round(sum(0 < cycle.scale < 1 for cycle in cycles) / n, 4),
        "braked_share": round(sum(cycle.scale == 0 for cycle in cycles) / n, 4),
        "moving_share": round(sum(cycle.moving for cycle in cycles) / n, 4),
    }


def _counting(rule: Guardrail, count: list[int]) -> Guardrail:
    """The same rule, which adds the size of every margin that it works out to `count`."""
    kind: Any = type(rule)

    def margin(self: Any, *arguments: Any) -> Any:
        out = kind.margin(self, *arguments)
        count[0] += out.size
        return out

    counted = type(kind.__name__, (kind,), {"margin": margin})
    out: Guardrail = counted(**{f.name: getattr(rule, f.name) for f in fields(kind)})
    return out


def _fastest(robot: RobotModel, q: np.ndarray, dq: np.ndarray) -> float:
    """Speed of the fastest point of the robot's spheres [m/s]."""
    _, velocity, turning, _ = robot.sphere_motion(q[None], dq[None])
    return float((np.linalg.norm(velocity, axis=-1) + turning * robot.spheres.radius).max())


def _read(person: Person, now: float, rng: np.random.Generator) -> PersonState:
    keypoints = person.keypoints(now - AGE) + rng.uniform(-0.01, 0.01, (20, 3))
    return PersonState(person.name, keypoints, now - AGE, np.zeros((0, 20, 3)))


def _knife(scene: Scene) -> Held:
    kind = scene.kinds[KIND]
    grasp = kind.grasps[0]
    rotation = hand_rotation(grasp.approach, grasp.closing)
    T_object_hand = transform(rotation, grasp.position - rotation @ TCP)
    return Held(f"{KIND}_1", KIND, kind.labels, inverse(T_object_hand))
