"""The robot pushes things about on a table: how its hand moved, and where they went."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from robotctl.geometry import matrix_from_quaternion
from robotctl.perception import Estimator
from robotctl.robot import Q_MAX, Q_MIN, cross, tcp_jacobian, tcp_pose
from robotctl.scene import Box, Furniture, Item, ObjectKind, Scene
from robotctl.silhouette import signed_distance
from robotctl.simulation.bullet import BulletSimulator
from robotctl.state import TICK
from robotctl.world_model.push import REST, STEP, Push, hand_down, turn
from robotctl.world_model.quasi_static import OUTLINE, TIP_BEYOND, Pushed

TABLE = Box("slab", np.array([0.0, 0.0, 0.73]), np.array([0.30, 0.30, 0.02]), 0.0, (0.5, 0.4, 0.3, 1.0))
TOP = 0.75  # height of the slab's surface [m]
AROUND = 0.56  # of the robot's base from the slab's centre [m]
CLOSED = 0.0  # finger opening [m]
START = 0.07  # a push begins up to this far from the object [m]
LENGTH = (0.05, 0.28)  # of a push [m]
SPEED = (0.06, 0.20)  # [m/s]
AIM = 0.5  # an aimed push passes up to this far beside the middle [rad]
SKEW = 0.35  # a push goes up to this far off the hand's own x axis [rad]
EVERY = round(STEP / TICK)  # ticks in a step
EXACT = 5e-5  # the arm's path is this near the push's [m, rad]
TOPPLED = 0.95  # z component of an upright thing's own z axis, at least
POSTURES = (np.array([0.0, 0.45, 0.0, -2.0, 0.0, 2.45, 0.785]), np.array([0.0, 0.1, 0.0, -2.4, 0.0, 2.5, 0.785]))

Simulate = Callable[[Scene], Any]  # makes a BulletSimulator of a scene, or what stands for one


@dataclass(frozen=True)
class PushTrace:
    """One push as it went, a row every STEP from the moment before the hand moves."""

    kind: str
    hand: np.ndarray  # (T+1, 3) x y yaw of the hand, from the encoders [m, rad]
    thing: np.ndarray  # (T+1, 3) x y yaw of the object, true
    seen: np.ndarray  # (T+1, 3) the same as the robot believed it
    toppled: bool  # it fell over or off the table: what it did then is not learned

    @property
    def moved(self) -> float:
        """How far the object went [m]."""
        return float(np.linalg.norm(self.thing[-1, :2] - self.thing[0, :2]))


def random_push(kind: ObjectKind, generator: np.random.Generator) -> Push:
    """A push from anywhere around the object in any direction: most of them miss it."""
    pushed = Pushed.of(kind)
    while True:
        angle, heading = generator.uniform(-np.pi, np.pi, 2)
        away = generator.uniform(0.02, kind.radius + START + float(pushed.half.max()))
        start = away * np.array([np.cos(angle), np.sin(angle)])
        outline = start + turn(np.array(heading), OUTLINE * pushed.half)
        gap = float(signed_distance(pushed.shape.polygon, outline).min())
        if 0.004 < gap < START:
            break
    direction = heading + generator.uniform(-SKEW, SKEW) + (np.pi if generator.uniform() < 0.5 else 0.0)
    return Push(
        start, float(direction), float(heading), float(generator.uniform(*LENGTH)), float(generator.uniform(*SPEED))
    )


def aimed_push(kind: ObjectKind, generator: np.random.Generator) -> Push:
    """A push from anywhere around the object towards it, as a planner would want it."""
    while True:
        push = random_push(kind, generator)
        direction = np.arctan2(-push.start[1], -push.start[0]) + generator.uniform(-AIM, AIM)
        heading = direction + generator.uniform(-SKEW, SKEW)
        pushed = Pushed.of(kind)
        outline = push.start + turn(np.array(heading), OUTLINE * pushed.half)
        if signed_distance(pushed.shape.polygon, outline).min() > 0.004:
            return replace(push, direction=float(direction), heading=float(heading))


def arm_path(push: Push, thing: np.ndarray, tip: float, generator: np.random.Generator) -> np.ndarray | None:
    """Joint reference of a push at every tick, (T+1, 10), from some base beside the slab; None if none is found."""
    ticks = round((push.duration + REST) / TICK)
    hands = push.hand(thing, push.travel(TICK * np.arange(ticks + 1)))
    positions = np.column_stack([hands[:, :2], np.full(len(hands), TOP + tip + TIP_BEYOND)])
    heading = float(hands[0, 2])
    offset = generator.uniform(-np.pi, np.pi)
    for k in range(8):
        angle = offset + 2 * np.pi * k / 8
        base = np.array([AROUND * np.cos(angle), AROUND * np.sin(angle), angle + np.pi])
        for flipped in (0.0, np.pi):
            rotation = hand_down(heading + flipped)
            for posture in POSTURES:
                q = reach(np.concatenate([base, posture]), positions[0], rotation)
                if q is not None and reach(q, positions[-1], rotation) is not None:
                    path = follow(q, positions, rotation)
                    if path is not None:
                        return path
    return None


def reach(q: np.ndarray, position: np.ndarray, rotation: np.ndarray) -> np.ndarray | None:
    """Arm joints with the TCP at a pose, by damped least squares from q (10,); None if not found."""
    q = q.copy()
    for _ in range(60):
        tip, hand = tcp_pose(q)
        error = np.concatenate([position - tip, 0.5 * np.sum(cross(hand.T, rotation.T), axis=0)])
        if np.linalg.norm(error) < 1e-4 and np.trace(hand.T @ rotation) > 2.99:
            return q if np.all((q > Q_MIN + 0.05) & (q < Q_MAX - 0.05)) else None
        jacobian = tcp_jacobian(q)[:, 3:]
        change = jacobian.T @ np.linalg.solve(jacobian @ jacobian.T + 1e-3 * np.eye(6), error)
        q[3:] = np.clip(q[3:] + np.clip(change, -0.3, 0.3), Q_MIN[3:] + 0.02, Q_MAX[3:] - 0.02)
    return None


def follow(q: np.ndarray, positions: np.ndarray, rotation: np.ndarray) -> np.ndarray | None:
    """Joints along TCP positions (n, 3); None where the arm cannot follow."""
    path: list[np.ndarray] = []
    for position in positions:
        for _ in range(3):
            tip, hand = tcp_pose(q)
            error = np.concatenate([position - tip, 0.5 * np.sum(cross(hand.T, rotation.T), axis=0)])
            if np.linalg.norm(error) < EXACT:
                break
            jacobian = tcp_jacobian(q)[:, 3:]
            q = q.copy()
            q[3:] += jacobian.T @ np.linalg.solve(jacobian @ jacobian.T + 1e-6 * np.eye(6), error)
        if np.linalg.norm(error) > 1e-3 or np.any((q < Q_MIN + 0.02) | (q > Q_MAX - 0.02)):
            return None
        if path and np.abs(q - path[-1]).max() > 1.5 * TICK:
            return None
        path.append(q)
    return np.array(path)


def try_push(
    scene: Scene,
    kind: ObjectKind,
    push: Push,
    generator: np.random.Generator,
    simulate: Simulate = BulletSimulator,
) -> PushTrace | None:
    """One push in the simulator; None if no arm posture reaches it. The scene gives actuators and sensors."""
    thing = np.array([*generator.uniform(-0.04, 0.04, 2), generator.uniform(-np.pi, np.pi)])
    path = arm_path(push, thing, Pushed.of(kind).tip, generator)
    if path is None:
        return None
    slab = Furniture("slab", frozenset({"table"}), (TABLE,), None)
    item = Item("thing", kind.name, np.array([*thing[:2], TOP]), float(thing[2]), 0.0, 0.0)
    room = replace(scene, furniture=(slab,), items=(item,), robot_start=path[0], kinds={kind.name: kind})
    # The reference integrates velocities that change linearly over a tick; least squares keeps them smooth.
    velocity = np.gradient(path, TICK, axis=0)
    rows = []
    with simulate(room) as simulator:
        observation = simulator.reset(int(generator.integers(2**31)))
        eyes = Estimator(room)
        toppled = False
        for _ in range(8):  # the hand waits, the eyes settle
            observation = simulator.step(np.append(np.zeros(10), CLOSED))
            state = eyes.update(observation)
        for tick in range(len(path)):
            truth = simulator.truth()
            position, body = truth.object_position[-1, 0], matrix_from_quaternion(truth.object_quaternion[-1, 0])
            toppled |= bool(body[2, 2] < TOPPLED or abs(position[2] - TOP) > 0.01)
            if tick % EVERY == 0:
                believed = state.objects[0]
                tip, hand = tcp_pose(observation.joint_position)
                seen = matrix_from_quaternion(believed.quaternion)
                rows.append(
                    (
                        [tip[0], tip[1], np.arctan2(hand[1, 0], hand[0, 0])],
                        [position[0], position[1], np.arctan2(body[1, 0], body[0, 0])],
                        [believed.position[0], believed.position[1], np.arctan2(seen[1, 0], seen[0, 0])],
                    )
                )
            if tick + 1 < len(path):
                drift = (path[tick] - observation.commanded_position) / (4 * TICK)
                observation = simulator.step(np.append(velocity[tick + 1] + drift, CLOSED))
                state = eyes.update(observation)
    hand_path, thing_path, seen_path = (
        np.column_stack([column[:, :2], np.unwrap(column[:, 2])]) for column in np.array(rows).transpose(1, 0, 2)
    )
    return PushTrace(kind.name, hand_path, thing_path, seen_path, toppled)
