"""Plots that need physics: a hand that sweeps at a cup, fingers that press on a table, in the real simulator."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from types import SimpleNamespace

import numpy as np

from robotctl.guardrails.contact_force import ContactForce
from robotctl.guardrails.guardrail import Guardrail
from robotctl.guardrails.undisturbed import Undisturbed
from robotctl.judge import Judge
from robotctl.objectives.hand_path import HandPath
from robotctl.perception import Estimator
from robotctl.planning.postures import PostureSearch
from robotctl.robot import RobotModel, tcp_jacobian
from robotctl.safety.safety_filter import SafetyFilter
from robotctl.scene import Place, Scene
from robotctl.simulation.bullet import BulletSimulator
from robotctl.state import N_JOINTS, TICK
from robotctl.verify.closed_loop import Course
from robotctl.verify.room import Room

NEEDS_PHYSICS = ContactForce | Undisturbed
SWEEP = 0.12  # [m/s] of the hand at a thing
PRESS = 0.02  # [m/s] of the fingers down on a surface
OVER = 0.08  # [m] the hand sweeps this high over the surface
SECONDS = 3.0
POINTING = {  # rotation of the hand: where its x, y and z axes point
    "down": np.array([[1.0, 0.0, 0.0], [0.0, -1.0, 0.0], [0.0, 0.0, -1.0]]),
    "forward": np.array([[0.0, 1.0, 0.0], [0.0, 0.0, -1.0], [-1.0, 0.0, 0.0]]),  # along -y, thin upwards
}
Command = Callable[[np.ndarray], np.ndarray]  # joint reference (10,) -> action (11,)


def press(room: Room, rule: Guardrail, rules: Sequence[Guardrail]) -> Course:
    """The plot for `rule` under a filter with `rules`; the judge knows all rules of the room."""
    scene = room.task.scene
    everything = frozenset(item.name for item in scene.items)

    def left_alone(one: Guardrail) -> Guardrail:
        return replace(one, items=everything) if one is rule and isinstance(one, Undisturbed) else one

    start, command = (_sweeping if isinstance(rule, Undisturbed) else _pressing)(scene)
    scene = replace(scene, robot_start=start)
    judged = SimpleNamespace(
        guardrails=tuple(left_alone(one) for one in room.rules.guardrails), assumptions=room.rules.assumptions
    )
    known = SimpleNamespace(guardrails=tuple(left_alone(one) for one in rules), assumptions=room.rules.assumptions)
    judge, guard, estimator = Judge(scene, judged, room.task), SafetyFilter(known, scene.kinds), Estimator(scene)
    reasons = set()
    with BulletSimulator(scene, ()) as simulator:
        seen = simulator.reset(0)
        for _ in range(round(SECONDS / TICK)):
            state = estimator.update(seen)
            verdict = guard.certify(state, command(state.robot.q_ref), "none")
            reasons.add(verdict.reason)
            before = seen
            seen = simulator.step(verdict.action)
            truth = simulator.truth()
            since = (truth.time - before.time)[:, None]
            slope = (verdict.action[:N_JOINTS] - before.commanded_velocity) / TICK
            judge.observe(truth, before.commanded_position + since * (before.commanded_velocity + 0.5 * since * slope))
    return Course(judge.verdict(), frozenset(reasons))


def _sweeping(scene: Scene) -> tuple[np.ndarray, Command]:
    """The hand, flat over the table, goes sideways at the nearest cup; base alone moves."""
    table = _table(scene)
    item = next(item for item in scene.items if "cup" in scene.labels_of(item))
    q = _posture(scene, np.array([item.position[0] - 0.28, item.position[1] + 0.02, table.center[2] + OVER]), "forward")
    return q, lambda _: np.append([SWEEP, *np.zeros(N_JOINTS - 1)], 0.0)


def _pressing(scene: Scene) -> tuple[np.ndarray, Command]:
    """Closed fingers go down on a free spot of the table."""
    table = _table(scene)
    spot = table.center + np.array([0.55 * table.half[0], 0.75 * table.half[1], 0.03])
    q = _posture(scene, spot, "down")

    def down(reference: np.ndarray) -> np.ndarray:
        jacobian = tcp_jacobian(reference)[:, 3:]
        velocity = np.linalg.lstsq(jacobian, np.array([0.0, 0.0, -PRESS, 0.0, 0.0, 0.0]), rcond=None)[0]
        return np.append(np.concatenate([np.zeros(3), velocity]), 0.0)

    return q, down


def _table(scene: Scene) -> Place:
    return next(place for place in scene.places if "table" in place.labels)


def _posture(scene: Scene, tip: np.ndarray, pointing: str) -> np.ndarray:
    """Joints (10,) with the point between the finger tips at `tip`, standing beside the table."""
    search = PostureSearch(scene.boxes(), np.random.default_rng(0))
    paths = [HandPath((tip,), POINTING[pointing])]
    found = search.find(paths, scene.robot_start, RobotModel(), np.zeros((0, 4)))
    if not found:
        raise ValueError(f"no posture with the hand at {tip}")
    return np.asarray(found[0].q[0])
