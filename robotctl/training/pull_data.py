"""The robot pulls things about on a table: it takes hold, drags, lets go, and sees where they came to rest.

And it lifts what is too heavy to be played with otherwise: that lifting fails is learned by trying, too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from robotctl.geometry import matrix_from_quaternion, quaternion_from_matrix, rotation_z
from robotctl.guardrails.clearance import Boxes
from robotctl.robot import STROKE, tcp_pose
from robotctl.scene import Furniture, Item, ObjectKind, Scene
from robotctl.simulation.bullet import BulletSimulator
from robotctl.skills.grasping import PRE_GRASP, GraspPose, features, grasp_poses
from robotctl.skills.gripping import pull_features
from robotctl.skills.pick import LIFT
from robotctl.skills.place import OPEN_TIME, RETREAT
from robotctl.skills.pull import CLOSE_TIME, LEVEL, LONGEST, MISSED, SPEED, UPRIGHT
from robotctl.state import TICK, ObjectState
from robotctl.training.push_data import AROUND, POSTURES, TABLE, TOP, Simulate, follow, reach
from robotctl.world_model.skill_outcome import SkillAttempt

WAY = (0.04, LONGEST)  # of a pull [m]
PACE = (0.5, 2.0)  # times the skill's speed
ALONG = 0.5  # share of pulls along one of the grasp's own directions, as a planner would choose most of them
ROUGHNESS = (0.7, 2.5)  # times an object's friction: wet or dry, on a smooth table or a rough one
ERROR = 0.003  # of the hand at the grasp, standard deviation: of seeing and of moving [m]
DESCENT = 0.2  # speed of the hand before it is at the grasp and after it let go [m/s]
RAMP = 0.3  # a stretch begins and ends this gently [s]
WAIT = 0.2  # the hand waits before and after each stretch [s]
POSES = 12  # tries imagined before one in reach is drawn anew
LIFTED = 0.5  # a thing that came up this share of the way was lifted
PULL_TIME, LIFT_TIME = 3.0, 1.5  # what the skills take beside what is tried here: to come to the grasp, to look [s]


@dataclass(frozen=True)
class Try:
    """What the hand is to do with an object: take hold of it, bring it along, and let go of it or not."""

    pose: GraspPose
    drag: np.ndarray  # (3,) [m]
    speed: float  # [m/s]
    lets_go: bool

    def moved(self, offset: np.ndarray) -> Try:
        """The same elsewhere."""
        return replace(self, pose=replace(self.pose, position=self.pose.position + offset))


Draw = Callable[[ObjectKind, ObjectState, np.random.Generator], Try]


def random_pull(kind: ObjectKind, item: ObjectState, generator: np.random.Generator) -> Try:
    """Any grasp of an object, any way: most are what no planner would choose."""
    pose = _random_grasp(kind, item, generator)
    angle = generator.uniform(-np.pi, np.pi)
    if generator.uniform() < ALONG:
        axis = pose.rotation[:, int(generator.integers(2))]
        angle = np.arctan2(axis[1], axis[0]) + (np.pi if generator.uniform() < 0.5 else 0.0)
        angle += generator.normal(scale=0.15)
    length = generator.uniform(*WAY)
    speed = SPEED * np.exp(generator.uniform(*np.log(PACE)))
    return Try(pose, length * np.array([np.cos(angle), np.sin(angle), 0.0]), float(speed), True)


def random_lift(kind: ObjectKind, item: ObjectState, generator: np.random.Generator) -> Try:
    """Any grasp of an object, straight up."""
    return Try(_random_grasp(kind, item, generator), np.array([0.0, 0.0, LIFT]), SPEED, False)


def _random_grasp(kind: ObjectKind, item: ObjectState, generator: np.random.Generator) -> GraspPose:
    poses = list(grasp_poses(item, kind))
    return poses[int(generator.integers(len(poses)))]


def _stretch(start: np.ndarray, end: np.ndarray, speed: float) -> np.ndarray:
    """TCP positions at every tick from start to end, beginning and ending gently, without the start, (n, 3)."""
    length = float(np.linalg.norm(end - start))
    ticks = max(2, round((length / speed + RAMP) / TICK))
    time = np.arange(1, ticks + 1) / ticks
    ramp = min(0.5, RAMP / (ticks * TICK))
    # Integral of a trapezoid of speed with ramps of that share.
    rising, falling = time**2 / (2 * ramp), 1 - ramp - (1 - time) ** 2 / (2 * ramp)
    share = np.where(time < ramp, rising, np.where(time > 1 - ramp, falling, time - ramp / 2)) / (1 - ramp)
    return np.asarray(start + share[:, None] * (end - start))


def hand_path(tried: Try, off: np.ndarray, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray] | None:
    """Joint reference (T, 10) and finger opening (T,) at every tick; None if no base beside the slab reaches it.

    off: error (3,) of the hand at the grasp [m].
    """
    rotation, opening = tried.pose.rotation, tried.pose.grasp.opening
    at = tried.pose.position + off
    before, there = at - PRE_GRASP * rotation[:, 2], at + tried.drag
    away = there - RETREAT * rotation[:, 2]

    def still(position: np.ndarray, seconds: float) -> np.ndarray:
        return np.repeat(position[None], round(seconds / TICK), axis=0)

    parts = [
        (still(before, 2 * WAIT), opening),
        (_stretch(before, at, DESCENT), opening),
        (still(at, WAIT), opening),
        (still(at, CLOSE_TIME), 0.0),
        (_stretch(at, there, tried.speed), 0.0),
        (still(there, WAIT), 0.0),
    ]
    if tried.lets_go:
        parts += [
            (still(there, OPEN_TIME), STROKE),
            (_stretch(there, away, DESCENT), STROKE),
            (still(away, 2 * WAIT), STROKE),
        ]
    positions = np.concatenate([part for part, _ in parts])
    widths = np.concatenate([np.full(len(part), width) for part, width in parts])
    first = generator.uniform(-np.pi, np.pi)
    for k in range(8):
        angle = first + 2 * np.pi * k / 8
        base = np.array([AROUND * np.cos(angle), AROUND * np.sin(angle), angle + np.pi])
        for posture in POSTURES:
            q = reach(np.concatenate([base, posture]), before, rotation)
            if q is None or any(reach(q, goal, rotation) is None for goal in (at, there, positions[-1])):
                continue
            path = follow(q, positions, rotation)
            if path is not None:
                return path, widths
    return None


@dataclass(frozen=True)
class Tried:
    """How a try went."""

    tried: Try
    item: ObjectState  # as it stood
    change: np.ndarray  # (3,) of the object's place [m]
    up: float  # z component of its own z axis in the end
    away: float  # of the hand from it in the end [m]
    duration: float  # [s]


def play_out(
    scene: Scene,
    kind: ObjectKind,
    draw: Draw,
    generator: np.random.Generator,
    simulate: Simulate = BulletSimulator,
) -> Tried | None:
    """One try in the simulator; None if no arm posture reaches it. The scene gives actuators and sensors."""
    yaw = float(generator.uniform(-np.pi, np.pi))
    item = ObjectState("thing", kind.name, kind.labels, np.zeros(3), quaternion_from_matrix(rotation_z(yaw)), 0.0)
    for _ in range(POSES):
        tried = draw(kind, item, generator)
        # The way passes near the middle of the slab.
        at = np.array([*generator.uniform(-0.04, 0.04, 2) - tried.drag[:2] / 2, TOP])
        tried = tried.moved(at)
        found = hand_path(tried, generator.normal(scale=ERROR, size=3) * [1.0, 1.0, 0.5], generator)
        if found is not None:
            break
    else:
        return None
    path, opening = found
    slab = Furniture("slab", frozenset({"table"}), (TABLE,), None)
    stands = Item("thing", kind.name, at, yaw, 0.0, 0.0)
    room = replace(scene, furniture=(slab,), items=(stands,), robot_start=path[0], kinds={kind.name: kind})
    velocity = np.gradient(path, TICK, axis=0)
    with simulate(room) as simulator:
        observation = simulator.reset(int(generator.integers(2**31)))
        start = simulator.truth().object_position[-1, 0].copy()
        for tick in range(len(path) - 1):
            drift = (path[tick] - observation.commanded_position) / (4 * TICK)
            observation = simulator.step(np.append(velocity[tick + 1] + drift, opening[tick]))
        truth = simulator.truth()
    end = truth.object_position[-1, 0]
    up = float(matrix_from_quaternion(truth.object_quaternion[-1, 0])[2, 2])
    away = float(np.linalg.norm(tcp_pose(truth.q[-1])[0] - end))
    return Tried(tried, replace(item, position=at), end - start, up, away, len(path) * TICK)


def try_pull(scene: Scene, kind: ObjectKind, generator: np.random.Generator) -> SkillAttempt | None:
    """One pull; None if no arm posture reaches it. A success if the object stands where the hand meant to bring it."""
    kind = replace(kind, friction=kind.friction * float(np.exp(generator.uniform(*np.log(ROUGHNESS)))))
    went = play_out(scene, kind, random_pull, generator)
    if went is None:
        return None
    missed = float(np.linalg.norm((went.change - went.tried.drag)[:2]))
    good = missed <= MISSED and went.up >= UPRIGHT and abs(went.change[2]) < LEVEL
    tried = went.tried
    seen = pull_features(tried.pose, went.item, kind, tried.drag[:2], tried.speed, scene.actuators)
    return SkillAttempt("pull", kind.name, seen, bool(good), went.duration + PULL_TIME, missed)


def try_lift(scene: Scene, kind: ObjectKind, generator: np.random.Generator) -> SkillAttempt | None:
    """One pick; None if no arm posture reaches it. A success if the object came up with the hand."""
    went = play_out(scene, kind, random_lift, generator)
    if went is None:
        return None
    good = went.change[2] > LIFTED * LIFT and went.away < kind.radius + kind.height
    seen = features(went.tried.pose, went.item, kind, Boxes.of([TABLE]), [])
    return SkillAttempt("pick", kind.name, seen, bool(good), went.duration + LIFT_TIME, 0.0)


def collect_pulls(scene: Scene, numbers: Iterable[int], seeds: Sequence[int]) -> list[SkillAttempt]:
    """Pulls by number, all kinds of the scene with a grasp in turn, light and heavy. Same seeds, same pulls."""
    kinds = [kind for _, kind in sorted(scene.kinds.items()) if kind.grasps and "sharp" not in kind.labels]
    return _collect(scene, kinds, try_pull, numbers, seeds)


def collect_lifts(scene: Scene, numbers: Iterable[int], seeds: Sequence[int]) -> list[SkillAttempt]:
    """Picks by number of those kinds that `robotctl.play` never meets, as the scene has none of them standing about."""
    about = {item.kind for item in scene.items}
    kinds = [kind for name, kind in sorted(scene.kinds.items()) if kind.grasps and name not in about]
    return _collect(scene, kinds, try_lift, numbers, seeds)


def _collect(
    scene: Scene,
    kinds: Sequence[ObjectKind],
    attempt: Callable[[Scene, ObjectKind, np.random.Generator], SkillAttempt | None],
    numbers: Iterable[int],
    seeds: Sequence[int],
) -> list[SkillAttempt]:
    attempts = []
    for number in numbers if kinds else ():
        for again in range(10):
            tried = attempt(scene, kinds[number % len(kinds)], np.random.default_rng([*seeds, number, again]))
            if tried is not None:
                attempts.append(tried)
                break
    return attempts
