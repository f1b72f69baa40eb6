"""The robot tries to cut: badly on purpose as well as carefully, and remembers whether the pieces came apart.

Each try has a small room of its own: a board, food of two or three joined pieces near its edge, and a knife that stands
on a stand between the fingers. The fingers close on it, by friction alone; the hand carries it beside the food, over
the seam, down, aside and up again, as the skill `cut` does. What the aim knows of knife and food is as wrong as the
eyes are.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from robotctl.geometry import inverse, matrix_from_quaternion, rotation_z, transform
from robotctl.robot import HAND, STROKE, forward, tcp_pose
from robotctl.scene import Box, Furniture, Item, Join, ObjectKind, Scene, Seam
from robotctl.simulation.bullet import BulletSimulator
from robotctl.simulation.sensing import in_ball
from robotctl.skills.cut import ABOVE, ASIDE, LEFT, SPEED, lever
from robotctl.skills.cutting import BESIDE, END, PARTED, Cut, faces, features, gap
from robotctl.state import TICK, ObjectState, Observation
from robotctl.training.push_data import POSTURES, Simulate, follow, reach
from robotctl.world_model.skill_outcome import SkillAttempt

TOP = 0.92  # height of the board [m]
BOARD = (0.42, 0.28, 0.02)  # its size; its near edge is at y = 0 [m]
STAND_AT = 0.17  # of the stand from the seam, along the food [m]
STAND_ABOVE = 0.03  # of the knife on its stand above the food's top [m]
BASE = ((0.0, -0.55), (0.12, -0.52), (-0.12, -0.52))  # of the robot from the hand's place over the seam [m]
CLOSE = 0.55  # the fingers close [s]
STILL = 0.2  # the pieces come to rest [s]
FAST = 0.35  # of the hand where nothing is to be touched [m/s]
RAMP = 1.5  # its acceleration [m/s^2]
STRAIN = 0.02  # the hand this far off its reference goes no deeper [m]
CAREFUL = 0.45  # share of the tries that are aimed as the skill aims
SEEN = 0.3  # of the sensors' error is left in the mean of ten readings
LOST = 0.03  # a knife that moved this far in the hand slipped [m]
OFFSET, ANGLE, SPEEDS = 0.018, 0.6, (0.04, 0.25)  # of the others: at most, at most, between [m, rad, m/s]
SLIP_IN_HAND = 0.004  # the fingers take the handle this far beside the suggested grasp, at most [m]


@dataclass(frozen=True)
class CutPlan:
    """How a try is meant to be."""

    at: float  # where along the edge, from its heel, the food's middle is met [m]
    offset: float = 0.0  # of the edge from the seam, along the food [m]
    angle: float = 0.0  # of the edge to the seam [rad]
    left: float = LEFT  # height of the edge above the board where it turns back [m]
    speed: float = SPEED  # on its way down [m/s]


def random_cut(food: ObjectKind, blade: ObjectKind, generator: np.random.Generator) -> CutPlan:
    """A careful cut, or one that is made harder in one way or several."""
    assert blade.edge is not None
    nearest, farthest = 0.5 * food.height + END, blade.edge.length - 0.5 * food.height - END
    careful = CutPlan(float(generator.uniform(nearest, nearest + 0.4 * (farthest - nearest))))
    if generator.uniform() < CAREFUL:
        return careful
    at, offset, angle, left, speed = generator.uniform(size=5) < 0.4
    return CutPlan(
        float(generator.uniform(nearest, farthest)) if at else careful.at,
        float(generator.uniform(-OFFSET, OFFSET)) if offset else 0.0,
        float(generator.uniform(-ANGLE, ANGLE)) if angle else 0.0,
        float(generator.uniform(LEFT, 1.1 * food.height)) if left else LEFT,
        float(generator.uniform(*SPEEDS)) if speed else SPEED,
    )


@dataclass(frozen=True)
class CutRoom:
    """A room for one try, its seam, and how the knife is to be held over it."""

    scene: Scene
    seam: Seam
    blade: ObjectKind
    plan: CutPlan
    rotation: np.ndarray  # (3, 3) world from hand at the start


def cut_room(
    scene: Scene, food: ObjectKind, blade: ObjectKind, plan: CutPlan, generator: np.random.Generator
) -> CutRoom | None:
    """A board with food to cut and a knife on a stand; None if the arm does not reach it."""
    assert blade.edge is not None
    turn = float(generator.uniform(-0.15, 0.15))  # of the food on the board
    middle = np.array([0.0, plan.at - BESIDE + generator.uniform(0.003, 0.01), TOP])
    items, join = _food(scene, food, middle, turn, generator)
    heading = rotation_z(turn)[:, 1]
    way = rotation_z(turn)[:, 0]
    grasp = blade.grasps[0]
    start = Cut(middle - STAND_AT * way, heading, plan.at).blade(blade.edge, TOP + food.height + STAND_ABOVE)
    y = grasp.closing / np.linalg.norm(grasp.closing)
    local = np.column_stack([np.cross(y, grasp.approach), y, grasp.approach])
    rotation = start[:3, :3] @ local
    hand = start[:3, 3] + start[:3, :3] @ grasp.position
    posture = _posture(hand, rotation, way)
    if posture is None:
        return None
    lowest = start[2, 3]
    stand_half = np.array([0.5 * abs(blade.spheres[0, 0] - blade.edge.heel[0]), 0.03, lowest / 2])
    own_yaw = float(np.arctan2(start[1, 0], start[0, 0]))
    center = start[:3, 3] + start[:3, :3] @ np.array([0.5 * (blade.spheres[0, 0] + blade.edge.heel[0]), 0.0, 0.0])
    stand = Box("stand", np.array([*center[:2], lowest / 2]), stand_half, own_yaw, (0.5, 0.5, 0.5, 1.0))
    size = np.array(BOARD)
    board = Box("board", np.array([0.0, size[1] / 2, TOP - size[2] / 2]), size / 2, 0.0, (0.9, 0.7, 0.5, 1.0))
    furniture = tuple(Furniture(box.name, frozenset({"board"}), (box,), None) for box in (board, stand))
    slip = generator.uniform(-SLIP_IN_HAND, SLIP_IN_HAND) * start[:3, 0]
    slip_yaw = float(generator.uniform(-0.02, 0.02))
    knife = Item("knife", blade.name, np.array([*(start[:3, 3] + slip)[:2], lowest]), own_yaw + slip_yaw, 0.0, 0.0)
    kinds = {name: scene.kinds[name] for name in {food.name, blade.name, *(item.kind for item in items)}}
    room = replace(
        scene, furniture=furniture, items=(knife, *items), joins=(join,), robot_start=posture, kinds=kinds
    )  # fmt: skip
    return CutRoom(room, join.seams[0], blade, plan, rotation)


def _food(
    scene: Scene, food: ObjectKind, middle: np.ndarray, turn: float, generator: np.random.Generator
) -> tuple[tuple[Item, ...], Join]:
    """A piece of `food` and others joined to it in a row, the first seam at `middle` (3,), the row turned by `turn`."""
    others = sorted((k for k in scene.kinds.values() if k.cut_faces and k.height == food.height), key=lambda k: k.name)
    x = food.cut_faces[-1]
    yaw = turn if x > 0 else turn + np.pi
    items = [Item("piece_0", food.name, middle - rotation_z(yaw) @ [x, 0.0, 0.0], yaw, 0.0, 0.0)]
    seams, end, before = [], middle, food.face(x)
    for k in range(1, 3):
        kind = others[int(generator.integers(len(others)))]
        near = kind.cut_faces[0]
        yaw = turn if near < 0 else turn + np.pi
        position = end - rotation_z(yaw) @ [near, 0.0, 0.0]
        items.append(Item(f"piece_{k}", kind.name, position, yaw, 0.0, 0.0))
        seams.append(Seam("food", f"piece_{k - 1}", f"piece_{k}", before, kind.face(near)))
        if len(kind.cut_faces) == 1:
            break
        end, before = position + rotation_z(yaw) @ [kind.cut_faces[1], 0.0, 0.0], kind.face(kind.cut_faces[1])
    return tuple(items), Join("food", tuple(item.name for item in items), tuple(seams))


def _posture(hand: np.ndarray, rotation: np.ndarray, way: np.ndarray) -> np.ndarray | None:
    """Joints (10,) with the TCP at its start, that also reach over the seam; None if none are found."""
    over = hand + STAND_AT * way
    for aside, back in BASE:
        base = np.array([over[0] - 0.5 * STAND_AT + aside, over[1] + back, 0.5 * np.pi])
        for arm in POSTURES:
            q = reach(np.concatenate([base, arm]), hand, rotation)
            below = None if q is None else reach(q, over - [0.0, 0.0, 0.09], rotation)
            if q is not None and below is not None and np.abs(below - q).max() < 1.0:
                return q
    return None


class Arm:
    """The arm in the simulator, moved along straight lines of the hand."""

    def __init__(self, simulator: BulletSimulator, seed: int) -> None:
        self._simulator = simulator
        self._observation: Observation = simulator.reset(seed)

    def rest(self, time: float, opening: float = 0.0) -> None:
        for _ in range(round(time / TICK)):
            self._drive(np.zeros(10), opening)

    def move(self, goal: np.ndarray, rotation: np.ndarray, speed: float) -> bool:
        """Brings the TCP to `goal` (3,); False if it cannot get there, or meets something that it cannot part."""
        q = self._observation.commanded_position
        start = tcp_pose(q)[0]
        length = float(np.linalg.norm(goal - start))
        top = max(min(speed, np.sqrt(RAMP * length)), 1e-3)
        times = np.arange(1, int(np.ceil((length / top + top / RAMP) / TICK)) + 1) * TICK
        path = follow(q, start + np.outer(_trapezoid(times, length, top), goal - start) / max(length, 1e-9), rotation)
        if path is None:
            return False
        path = np.concatenate([q[None], path])
        velocity = np.gradient(path, TICK, axis=0)
        for row in range(1, len(path)):
            drift = (path[row - 1] - self._observation.commanded_position) / (4 * TICK)
            self._drive(velocity[row] + drift, 0.0)
            if speed < FAST and self.strain() > STRAIN:
                return False
        return True

    def strain(self) -> float:
        """How far the hand is from its reference [m]."""
        seen = self._observation
        return float(np.linalg.norm(tcp_pose(seen.joint_position)[0] - tcp_pose(seen.commanded_position)[0]))

    def in_hand(self) -> np.ndarray:
        """True pose of the knife in the hand frame, (4, 4)."""
        truth = self._simulator.truth()
        rotation, origin = forward(truth.q[-1])
        knife = transform(matrix_from_quaternion(truth.object_quaternion[-1, 0]), truth.object_position[-1, 0])
        return np.asarray(inverse(transform(rotation[HAND], origin[HAND])) @ knife)

    def _drive(self, velocity: np.ndarray, opening: float) -> None:
        self._observation = self._simulator.step(np.append(velocity, opening))


def _trapezoid(times: np.ndarray, length: float, top: float) -> np.ndarray:
    """Way made at times (n,) from rest to rest, (n,) [m]."""
    ramp = top / RAMP
    total = length / top + ramp
    t = np.minimum(times, total)
    up, down = np.minimum(t, ramp), np.maximum(t - (total - ramp), 0.0)
    return np.asarray(0.5 * RAMP * up**2 + top * np.maximum(t - ramp, 0.0) - 0.5 * RAMP * down**2)


def try_cut(room: CutRoom, generator: np.random.Generator, simulate: Simulate = BulletSimulator) -> SkillAttempt:
    """One cut in the simulator: whether the pieces are apart and the knife is still in the hand."""
    scene, seam, plan, edge = room.scene, room.seam, room.plan, room.blade.edge
    assert edge is not None
    food = scene.kind_of(seam.first)
    with simulate(scene) as simulator:
        arm = Arm(simulator, int(generator.integers(2**31)))
        arm.rest(TICK, room.blade.grasps[0].opening if room.blade.grasps else STROKE)
        arm.rest(CLOSE)
        held = arm.in_hand()
        error = SEEN * scene.sensors.object_error
        believed = transform(held[:3, :3], held[:3, 3] + in_ball(generator, (), error))
        one, other, way = faces(seam, *_pieces(simulator, seam, generator, error))
        way = np.array([way[0], way[1], 0.0]) / np.hypot(way[0], way[1])
        aim = rotation_z(plan.angle) @ np.array([-way[1], way[0], 0.0])
        cut = Cut(0.5 * (one + other) + plan.offset * way, aim, plan.at)
        seen = features(food, lever(cut, edge, held), plan.offset, plan.angle, food.height - plan.left, plan.speed)

        def go(height: float, aside: float, speed: float) -> bool:
            position, rotation = cut.hand(edge, TOP + height, believed)
            return arm.move(position + aside * way, rotation, speed)

        arrived = go(food.height + STAND_ABOVE + 0.01, -STAND_AT, FAST)
        arrived = arrived and go(food.height + STAND_ABOVE + 0.01, 0.0, FAST)
        arrived = arrived and go(food.height + ABOVE, 0.0, FAST)
        if arrived and go(plan.left, 0.0, plan.speed):
            go(plan.left, ASIDE, 0.2)
            go(food.height + ABOVE, ASIDE, FAST)
        else:
            go(food.height + ABOVE, 0.0, FAST)
        arm.rest(STILL)
        apart = gap(seam, *_pieces(simulator, seam, generator, 0.0)) >= PARTED
        kept = float(np.linalg.norm(arm.in_hand()[:3, 3] - held[:3, 3])) < LOST
    return SkillAttempt("cut", food.name, seen, bool(apart and kept), float("nan"), float("nan"))


def _pieces(
    simulator: BulletSimulator, seam: Seam, generator: np.random.Generator, error: float
) -> tuple[ObjectState, ObjectState]:
    """The seam's two pieces as they are, off by at most `error` [m]."""
    truth = simulator.truth()
    out = []
    for name in (seam.first, seam.second):
        i = truth.object_names.index(name)
        position = truth.object_position[-1, i] + in_ball(generator, (), error)
        out.append(ObjectState(name, "", frozenset(), position, truth.object_quaternion[-1, i], 0.0))
    return out[0], out[1]


def cuttable(scene: Scene) -> list[ObjectKind]:
    """Kinds of food that can be cut."""
    return [kind for _, kind in sorted(scene.kinds.items()) if kind.cut_force]


def blades(scene: Scene) -> list[ObjectKind]:
    """Kinds that can be held and cut."""
    return [kind for _, kind in sorted(scene.kinds.items()) if kind.edge is not None and kind.grasps]


def collect_cuts(scene: Scene, numbers: Iterable[int], seeds: Sequence[int]) -> list[SkillAttempt]:
    """Tries by number, every kind of food as often. The scene gives object kinds, actuators and sensors."""
    foods, knives = cuttable(scene), blades(scene)
    out: list[SkillAttempt] = []
    for i in numbers if foods and knives else ():
        generator = np.random.default_rng([*seeds, i])
        food, blade = foods[i % len(foods)], knives[i // len(foods) % len(knives)]
        room = cut_room(scene, food, blade, random_cut(food, blade, generator), generator)
        if room is not None:
            out.append(try_cut(room, generator))
    return out
