"""The robot plays with its own joints, with an empty hand and with things in it: reference against what came of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from robotctl.geometry import norm
from robotctl.robot import DDQ_MAX, DQ_MAX, HOME, Q_MAX, Q_MIN, tcp_jacobian, tcp_pose
from robotctl.scene import Box, Furniture, Grasp, Item, ObjectKind, Scene
from robotctl.simulation.bullet import BulletSimulator
from robotctl.skills.gripping import lift_load
from robotctl.state import TICK

SECONDS = 24.0  # of play in an episode, after the grasp
CLOSE = 0.7  # the fingers close [s]
LIFT = 0.8  # then the object is lifted off its stand [s]
AWAY = 1.6  # and the robot drives back from it [s]
AT = np.array([0.55, 0.0, 0.85])  # where the hand takes the object, in front of the base [m]
AT_LIMIT = 0.06  # a joint this near its limit is at it [rad, m]
# Arm joints stay here while playing: clear of the floor and of the robot's own column [rad].
LOW = np.array([-2.0, -1.0, -1.2, -2.6, -1.5, 1.0, -2.0])
HIGH = np.array([2.0, 0.5, 1.2, -1.2, 1.5, 3.0, 2.5])


@dataclass(frozen=True)
class Trace:
    """One episode, a row for every tick: the reference at its end, the joints as they are and as they are measured."""

    q_ref: np.ndarray  # (T, 10)
    dq_ref: np.ndarray  # (T, 10)
    q: np.ndarray  # (T, 10) true
    dq: np.ndarray  # (T, 10) true
    q_seen: np.ndarray  # (T, 10) encoders
    dq_seen: np.ndarray  # (T, 10)
    free: np.ndarray  # (T,) whether nothing pushed: no contact but in the hand, no joint at its limit
    loaded: np.ndarray  # (T,) whether something is in the hand


def hand_posture(position: np.ndarray, rotation: np.ndarray, generator: np.random.Generator) -> np.ndarray | None:
    """Joints (10,) with the TCP at a pose, by damped least squares from random starts; None if not found."""
    for _ in range(30):
        q = HOME.copy()
        q[3:] = generator.uniform(LOW, HIGH)
        for _ in range(100):
            tip, hand = tcp_pose(q)
            turn = 0.5 * np.sum(np.cross(hand.T, rotation.T), axis=0)  # rotation vector of a small error
            error = np.concatenate([position - tip, turn])
            if np.linalg.norm(error) < 1e-3:
                return q
            jacobian = tcp_jacobian(q)[:, 3:]
            step = jacobian.T @ np.linalg.solve(jacobian @ jacobian.T + 1e-3 * np.eye(6), error)
            q[3:] = np.clip(q[3:] + np.clip(step, -0.3, 0.3), Q_MIN[3:] + 0.05, Q_MAX[3:] - 0.05)
    return None


def play_scene(scene: Scene, kind: ObjectKind | None, generator: np.random.Generator) -> tuple[Scene, float]:
    """An empty room with the robot and, on a narrow stand, an object between its fingers; and the finger opening."""
    if kind is None or not kind.grasps:
        start = HOME.copy()
        start[3:] = generator.uniform(LOW, HIGH)
        return replace(scene, furniture=(), items=(), robot_start=start), 0.04
    grasp: Grasp = kind.grasps[int(generator.integers(len(kind.grasps)))]
    z = grasp.approach / np.linalg.norm(grasp.approach)
    y = grasp.closing - (grasp.closing @ z) * z
    y /= np.linalg.norm(y)
    rotation = np.column_stack([np.cross(y, z), y, z])
    posture = hand_posture(AT, rotation, generator)
    if posture is None:
        rotation = np.column_stack([-rotation[:, 0], -rotation[:, 1], rotation[:, 2]])
        posture = hand_posture(AT, rotation, generator)
    if posture is None:
        return play_scene(scene, None, generator)
    foot = AT - grasp.position
    half = np.array([0.6 * kind.radius, 0.6 * kind.radius, foot[2] / 2])
    stand = Box("stand", np.array([foot[0], foot[1], foot[2] / 2]), half, 0.0, (0.5, 0.5, 0.5, 1.0))
    piece = Furniture("stand", frozenset(), (stand,), None)
    item = Item("thing", kind.name, foot, 0.0, 0.0, 0.0)
    return replace(scene, furniture=(piece,), items=(item,), robot_start=posture), grasp.opening


def play(scene: Scene, kind: ObjectKind | None, generator: np.random.Generator) -> Trace:
    """One episode. The scene gives actuators, sensors and object kinds; `kind` is what to hold, if anything."""
    room, opening = play_scene(scene, kind, generator)
    holding = bool(room.items)
    rows: list[tuple[Any, ...]] = []
    with BulletSimulator(room) as simulator:
        observation = simulator.reset(int(generator.integers(2**31)))
        player = _Player(observation.commanded_position, generator)
        before = round((CLOSE + LIFT + AWAY) / TICK) if holding else 0
        for tick in range(before + round(SECONDS / TICK)):
            time = tick * TICK
            q, dq = observation.commanded_position, observation.commanded_velocity
            target = player.velocity(q, dq) if tick >= before else _lift(q, dq, time)
            grip = opening if holding and tick == 0 else 0.0 if holding else 0.04
            observation = simulator.step(np.append(target, grip))
            truth = simulator.truth()
            free = all(c.other == "thing" and c.link.endswith(("finger", "pad", "hand")) for c in truth.contacts)
            free &= bool(np.all((truth.q[-1] > Q_MIN + AT_LIMIT) & (truth.q[-1] < Q_MAX - AT_LIMIT)))
            loaded = False
            if kind is not None and holding:
                thing = truth.object_position[-1, 0]
                loaded = bool(norm(thing - tcp_pose(truth.q[-1])[0]) < kind.radius + kind.height)
                free &= not loaded or _clear(thing, room, kind)
            rows.append(
                (
                    observation.commanded_position, observation.commanded_velocity, truth.q[-1], truth.dq[-1],
                    observation.joint_position, observation.joint_velocity, free, loaded,
                )
            )  # fmt: skip
    return Trace(*(np.array(column) for column in zip(*rows, strict=True)))


def _clear(thing: np.ndarray, room: Scene, kind: ObjectKind) -> bool:
    """Whether what is held at `thing` (3,) touches neither the floor nor its stand."""
    reach = kind.radius + kind.height
    stand = room.furniture[0].boxes[0]
    beside = bool(np.any(np.abs(thing[:2] - stand.center[:2]) > stand.half[:2] + reach))
    return bool(thing[2] > reach and (beside or thing[2] > 2 * stand.half[2] + reach))


def _lift(q: np.ndarray, dq: np.ndarray, time: float) -> np.ndarray:
    """Velocity (10,) of the scripted beginning: close, lift 8 cm, drive back."""
    wanted = np.zeros(10)
    if CLOSE <= time < CLOSE + LIFT:
        up = 0.1 * np.array([0.0, 0.0, 1.0, 0.0, 0.0, 0.0])
        jacobian = tcp_jacobian(q)[:, 3:]
        wanted[3:] = jacobian.T @ np.linalg.solve(jacobian @ jacobian.T + 1e-3 * np.eye(6), up)
    elif CLOSE + LIFT <= time < CLOSE + LIFT + AWAY - 0.4:
        wanted[0] = -0.6
    return dq + np.clip(wanted - dq, -0.6 * DDQ_MAX * TICK, 0.6 * DDQ_MAX * TICK)


class _Player:
    """Random smooth motion: piecewise constant accelerations as the planner's, rests, and a speed for each stretch."""

    def __init__(self, start: np.ndarray, generator: np.random.Generator) -> None:
        self._generator = generator
        self._middle = np.concatenate([start[:3], 0.5 * (LOW + HIGH)])
        self._half = np.concatenate([[1.0, 1.0, 1.5], 0.5 * (HIGH - LOW)])
        self._left = 0
        self._goal = start.copy()
        self._pace = 0.5

    def velocity(self, q: np.ndarray, dq: np.ndarray) -> np.ndarray:
        """Velocity at the end of the tick: towards a goal posture, changed before it is always reached."""
        if self._left == 0:
            generator = self._generator
            self._left = int(generator.integers(10, 60))
            self._pace = float(generator.uniform(0.1, 0.8))
            move = generator.uniform(size=10) < generator.uniform(0.2, 1.0)  # often only some joints
            away = self._middle + self._half * generator.uniform(-1.0, 1.0, 10)
            self._goal = np.where(move, away, q)
        self._left -= 1
        gap = self._goal - q
        limit = self._pace * DQ_MAX
        brake = 0.5 * self._pace * DDQ_MAX
        wanted = np.sign(gap) * np.minimum(limit, np.sqrt(2.0 * brake * np.abs(gap)))
        wanted = np.where(np.abs(gap) < 0.01, gap / (4 * TICK), wanted)
        change = self._pace * DDQ_MAX * TICK
        return dq + np.clip(wanted - dq, -change, change)


def collect_play(scene: Scene, episodes: Iterable[int], seeds: Sequence[int]) -> list[Trace]:
    """Play episodes by number; every third with an empty hand, the others with a kind in it that the grip holds."""
    kinds = [k for _, k in sorted(scene.kinds.items()) if k.grasps and lift_load(k, scene.actuators) < 1.0]
    traces = []
    for i in episodes:
        generator = np.random.default_rng([*seeds, i])
        kind = None if i % 3 == 0 or not kinds else kinds[(i // 3 * 2 + i % 3 - 1) % len(kinds)]
        traces.append(play(scene, kind, generator))
    return traces
