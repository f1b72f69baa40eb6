"""The robot pulls things about on a table: it takes hold of a grasp, drags, lets go, and sees where they came to rest."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from robotctl.geometry import matrix_from_quaternion, quaternion_from_matrix, rotation_z
from robotctl.robot import STROKE, tcp_pose
from robotctl.scene import Furniture, Item, ObjectKind, Scene
from robotctl.simulation.bullet import BulletSimulator
from robotctl.skills.grasping import PRE_GRASP, GraspPose, grasp_poses
from robotctl.skills.gripping import pull_features
from robotctl.skills.place import OPEN_TIME, RETREAT
from robotctl.skills.pull import CLOSE_TIME, LEVEL, LONGEST, MISSED, SPEED, UPRIGHT
from robotctl.state import TICK, ObjectState
from robotctl.training.push_data import AROUND, POSTURES, TABLE, TOP, follow, reach
from robotctl.world_model.skill_outcome import SkillAttempt

WAY = (0.04, LONGEST)  # of a pull [m]
PACE = (0.5, 2.0)  # times the skill's speed
ALONG = 0.5  # share of pulls along one of the grasp's own directions, as a planner would choose most of them
ERROR = 0.003  # of the hand at the grasp, standard deviation: of seeing and of moving [m]
DESCENT = 0.2  # speed of the hand before it is at the grasp and after it let go [m/s]
RAMP = 0.3  # a stretch begins and ends this gently [s]
WAIT = 0.2  # the hand waits before and after each stretch [s]
POSES = 12  # hands tried for reachability before a try is drawn anew
APPROACH_TIME = 3.0  # what the skill takes to come to a grasp and to look in the end, beside what is tried here [s]


@dataclass(frozen=True)
class Pull:
    """A pull to be tried."""

    pose: GraspPose  # of the hand, for an object standing at the origin
    way: np.ndarray  # (2,) [m]
    speed: float  # [m/s]


def random_pull(kind: ObjectKind, item: ObjectState, generator: np.random.Generator) -> Pull:
    """Any grasp of an object, any way: most are what no planner would choose."""
    poses = list(grasp_poses(item, kind))
    pose = poses[int(generator.integers(len(poses)))]
    angle = generator.uniform(-np.pi, np.pi)
    if generator.uniform() < ALONG:
        axis = pose.rotation[:, int(generator.integers(2))]
        angle = np.arctan2(axis[1], axis[0]) + (np.pi if generator.uniform() < 0.5 else 0.0)
        angle += generator.normal(scale=0.15)
    length = generator.uniform(*WAY)
    speed = SPEED * np.exp(generator.uniform(*np.log(PACE)))
    return Pull(pose, length * np.array([np.cos(angle), np.sin(angle)]), float(speed))


def _stretch(start: np.ndarray, end: np.ndarray, speed: float) -> np.ndarray:
    """TCP positions at every tick from start to end, beginning and ending gently, without the start, (n, 3)."""
    length = float(np.linalg.norm(end - start))
    ticks = max(2, round((length / speed + RAMP) / TICK))
    time = np.arange(1, ticks + 1) / ticks
    ramp = min(0.5, RAMP / (ticks * TICK))
    # Integral of a trapezoid of speed with ramps of that share.
    share = np.where(
        time < ramp,
        time**2 / (2 * ramp),
        np.where(time > 1 - ramp, 1 - ramp - (1 - time) ** 2 / (2 * ramp), time - ramp / 2),
    ) / (1 - ramp)
    return start + share[:, None] * (end - start)


def _arm_path(pull: Pull, off: np.ndarray, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray] | None:
    """Joint reference (T, 10) and finger opening (T,) at every tick; None if no base beside the slab reaches it."""
    pose, rotation = pull.pose, pull.pose.rotation
    at = pose.position + off
    before = at - PRE_GRASP * rotation[:, 2]
    there = at + np.array([*pull.way, 0.0])
    away = there - RETREAT * rotation[:, 2]
    wide = STROKE

    def still(position: np.ndarray, seconds: float) -> np.ndarray:
        return np.repeat(position[None], round(seconds / TICK), axis=0)

    parts = [
        (still(before, 2 * WAIT), pose.grasp.opening),
        (_stretch(before, at, DESCENT), pose.grasp.opening),
        (still(at, WAIT), pose.grasp.opening),
        (still(at, CLOSE_TIME), 0.0),
        (_stretch(at, there, pull.speed), 0.0),
        (still(there, WAIT), 0.0),
        (still(there, OPEN_TIME), wide),
        (_stretch(there, away, DESCENT), wide),
        (still(away, 2 * WAIT), wide),
    ]
    positions = np.concatenate([part for part, _ in parts])
    opening = np.concatenate([np.full(len(part), width) for part, width in parts])
    first = generator.uniform(-np.pi, np.pi)
    for k in range(8):
        angle = first + 2 * np.pi * k / 8
        base = np.array([AROUND * np.cos(angle), AROUND * np.sin(angle), angle + np.pi])
        for posture in POSTURES:
            q = reach(np.concatenate([base, posture]), before, rotation)
            if q is None or any(reach(q, goal, rotation) is None for goal in (at, there, away)):
                continue
            path = follow(q, positions, rotation)
            if path is not None:
                return path, opening
    return None


def try_pull(scene: Scene, kind: ObjectKind, generator: np.random.Generator) -> SkillAttempt | None:
    """One pull in the simulator; None if no arm posture reaches it. The scene gives actuators and sensors."""
    yaw = float(generator.uniform(-np.pi, np.pi))
    believed = ObjectState("thing", kind.name, kind.labels, np.zeros(3), quaternion_from_matrix(rotation_z(yaw)), 0.0)
    for _ in range(POSES):
        pull = random_pull(kind, believed, generator)
        # The way passes near the middle of the slab.
        at = np.array([*generator.uniform(-0.04, 0.04, 2) - pull.way / 2, TOP])
        pull = replace(pull, pose=replace(pull.pose, position=pull.pose.position + at))
        found = _arm_path(pull, generator.normal(scale=ERROR, size=3) * [1.0, 1.0, 0.5], generator)
        if found is not None:
            break
    else:
        return None
    path, opening = found
    slab = Furniture("slab", frozenset({"table"}), (TABLE,), None)
    item = Item("thing", kind.name, at, yaw, 0.0, 0.0)
    room = replace(scene, furniture=(slab,), items=(item,), robot_start=path[0], kinds={kind.name: kind})
    velocity = np.gradient(path, TICK, axis=0)
    with BulletSimulator(room) as simulator:
        observation = simulator.reset(int(generator.integers(2**31)))
        start = simulator.truth().object_position[-1, 0].copy()
        for tick in range(len(path) - 1):
            drift = (path[tick] - observation.commanded_position) / (4 * TICK)
            observation = simulator.step(np.append(velocity[tick + 1] + drift, opening[tick]))
        truth = simulator.truth()
    end, up = truth.object_position[-1, 0], matrix_from_quaternion(truth.object_quaternion[-1, 0])[2, 2]
    missed = float(np.linalg.norm(end[:2] - start[:2] - pull.way))
    good = missed <= MISSED and up >= UPRIGHT and abs(end[2] - start[2]) < LEVEL
    there = replace(believed, position=at)
    seen = pull_features(pull.pose, there, kind, pull.way, pull.speed, scene.actuators)
    return SkillAttempt("pull", kind.name, seen, bool(good), len(path) * TICK + APPROACH_TIME, missed)


def collect_pulls(scene: Scene, numbers: Iterable[int], seeds: Sequence[int]) -> list[SkillAttempt]:
    """Pulls by number, all kinds of the scene that can be grasped in turn, light and heavy. Same seeds, same pulls."""
    kinds = [kind for _, kind in sorted(scene.kinds.items()) if kind.grasps and "sharp" not in kind.labels]
    attempts = []
    for number in numbers:
        for attempt in range(10):
            tried = try_pull(scene, kinds[number % len(kinds)], np.random.default_rng([*seeds, number, attempt]))
            if tried is not None:
                attempts.append(tried)
                break
    return attempts
