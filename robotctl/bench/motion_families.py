"""This file turns a family's name and a seed into a random motion problem for `robotctl plan`.

Start and goal are free of collisions for PyBullet's own Panda; hand and fingers have one or two centimetres to spare
where it is tight. Whether a way exists between them is not known.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from robotctl.geometry import quaternion_from_matrix, rotation_rpy, rotation_z
from robotctl.planning.motion.chain import panda
from robotctl.planning.motion.goals import reach
from robotctl.simulation.panda_checker import PandaChecker

READY = np.array([0.0, -np.pi / 4, 0.0, -3 * np.pi / 4, 0.0, np.pi / 2, np.pi / 4])
SPARE = 0.003  # least clearance of start and goal [m]
TRIES = 60  # scenes that are drawn until one has a start and a goal
POSE_SHARE = 0.7  # of the problems give the goal as a pose of the hand
TIP = 0.1034  # from the hand's origin to between the finger tips [m]
Pose = tuple[np.ndarray, np.ndarray]  # rotation (3, 3) and position (3,) of the hand
Rng = np.random.Generator


def problem(family: str, seed: int) -> dict[str, Any]:
    """The problem of a family and a seed, as in a problem file."""
    rng = np.random.default_rng([sorted(FAMILIES).index(family), seed])
    for _ in range(TRIES):
        obstacles, poses = FAMILIES[family](rng)
        row: dict[str, Any] = {"id": f"{family}-{seed}", "obstacles": obstacles}
        with PandaChecker(row) as checker:
            goal = _configuration(checker, poses[0], rng)
            start = _start(checker, poses[1], rng)
        if goal is None or start is None:
            continue
        row["start_q"] = start.tolist()
        if rng.random() < POSE_SHARE:
            rotation, position = poses[0]
            quaternion = quaternion_from_matrix(rotation)
            row["goal_hand_pose"] = {"position": position.tolist(), "quat_xyzw": quaternion.tolist()}
        else:
            row["goal_q"] = goal.tolist()
        return row
    raise RuntimeError(f"no problem of family {family} for seed {seed}")


def write(path: Path, families: Sequence[str], seeds: Sequence[int]) -> int:
    """Writes problems of families and seeds to a file; returns how many."""
    rows = [problem(family, seed) for family in families for seed in seeds]
    path.write_text(json.dumps(rows, indent=1))
    return len(rows)


def _configuration(checker: PandaChecker, pose: Pose, rng: Rng) -> np.ndarray | None:
    """A free configuration (7,) with the hand at a pose."""
    robot = panda()
    for q in reach(robot, *pose, rng.uniform(robot.low, robot.high, (80, 7))):
        if min(checker.distances(q, reach=0.05)[:2]) >= SPARE:
            return q
    return None


def _start(checker: PandaChecker, pose: Pose, rng: Rng) -> np.ndarray | None:
    """A free configuration: the usual one, one of any kind, or one with the hand at another tight place."""
    robot = panda()
    kind = rng.random()
    if kind < 0.4:
        drawn = READY + rng.uniform(-0.15, 0.15, (10, 7))
    elif kind < 0.6:
        drawn = rng.uniform(robot.low, robot.high, (40, 7))
    else:
        return _configuration(checker, pose, rng)
    for q in drawn:
        if min(checker.distances(q, reach=0.05)[:2]) >= SPARE:
            return q
    return None


class _Scene:
    """Obstacles in a frame of their own that is turned about z and moved."""

    def __init__(self, position: Sequence[float], yaw: float) -> None:
        self.origin, self.turn, self.yaw = np.array(position, float), rotation_z(yaw), yaw
        self.obstacles: list[dict[str, Any]] = []

    def _add(self, name: str, kind: str, center: Sequence[float], yaw: float, **size: Any) -> None:
        position = self.origin + self.turn @ np.array(center, float)
        row = {"name": name, "type": kind, **size, "position": position.tolist()}
        if kind == "box":
            row["quat_xyzw"] = quaternion_from_matrix(self.turn @ rotation_z(yaw)).tolist()
        self.obstacles.append(row)

    def box(self, name: str, size: Sequence[float], center: Sequence[float], yaw: float = 0.0) -> None:
        self._add(name, "box", center, yaw, size=[float(edge) for edge in size])

    def cylinder(self, name: str, radius: float, height: float, center: Sequence[float]) -> None:
        self._add(name, "cylinder", center, 0.0, radius=float(radius), height=float(height))

    def sphere(self, name: str, radius: float, center: Sequence[float]) -> None:
        self._add(name, "sphere", center, 0.0, radius=float(radius))

    def pose(self, tip: Sequence[float], rotation: np.ndarray) -> Pose:
        """The hand's pose with the point between the finger tips at `tip`; `rotation` scene from hand."""
        turned = self.turn @ rotation
        return turned, self.origin + self.turn @ np.array(tip, float) - TIP * turned[:, 2]


def _forward(rng: Rng, tilt: float = 0.1) -> np.ndarray:
    """Hand pointing along x, fingers opening sideways or upright, a little tilted (3, 3)."""
    roll = float(rng.choice([0.0, np.pi / 2])) + rng.uniform(-tilt, tilt)
    return rotation_rpy(0.0, np.pi / 2 + rng.uniform(-tilt, tilt), rng.uniform(-tilt, tilt)) @ rotation_z(roll)


def _down(rng: Rng, tilt: float = 0.1) -> np.ndarray:
    """Hand pointing down at any yaw, a little tilted (3, 3)."""
    lean = rotation_rpy(np.pi + rng.uniform(-tilt, tilt), rng.uniform(-tilt, tilt), 0.0)
    return rotation_z(rng.uniform(-np.pi, np.pi)) @ lean


def _shelf(rng: Rng) -> tuple[list[dict[str, Any]], list[Pose]]:
    """An open cabinet with two or three compartments and things in them; the hand goes into one."""
    width, depth, thick = rng.uniform(0.45, 0.7), rng.uniform(0.25, 0.35), 0.02
    levels = int(rng.integers(2, 4))
    gap = rng.uniform(0.23, 0.32)  # the hand is 0.205 m wide; upright it has 1 to 5 cm on each side
    scene = _Scene([0.0, 0.0, rng.uniform(0.0, 0.15)], rng.uniform(-0.6, 0.6))
    x = rng.uniform(0.5, 0.62)  # of the front edge
    for k in range(levels + 1):
        scene.box(f"board{k}", [depth, width, thick], [x + depth / 2, 0.0, k * (gap + thick)])
    height = levels * (gap + thick)
    for side in (-1, 1):
        y = side * (width / 2 + thick / 2)
        scene.box(f"side{side:+d}", [depth, thick, height + thick], [x + depth / 2, y, height / 2])
    scene.box("back", [thick, width, height + thick], [x + depth + thick / 2, 0.0, height / 2])
    poses = []
    for level in rng.permutation(levels)[:2]:
        floor = level * (gap + thick) + thick / 2
        y = rng.uniform(-width / 2 + 0.11, width / 2 - 0.11)
        tip = [x + rng.uniform(0.08, depth - 0.06), y, floor + gap / 2 + rng.uniform(-0.01, 0.01)]
        poses.append(scene.pose(tip, _forward(rng)))
        for k in range(2):
            there = rng.uniform(-width / 2 + 0.05, width / 2 - 0.05)
            tall, radius = rng.uniform(0.08, 0.8 * gap), rng.uniform(0.02, 0.04)
            if abs(there - y) > 0.14:
                center = [x + rng.uniform(0.05, depth - 0.05), there, floor + tall / 2 + 0.001]
                scene.cylinder(f"can{level}{k}", radius, tall, center)
    return scene.obstacles, poses


def _cage(rng: Rng) -> tuple[list[dict[str, Any]], list[Pose]]:
    """A cage of bars on a table; the hand reaches through its open top or between its bars."""
    scene = _Scene([0.0, 0.0, 0.0], rng.uniform(-0.7, 0.7))
    x, low = rng.uniform(0.45, 0.6), rng.uniform(0.0, 0.15)
    half, height = rng.uniform(0.13, 0.19), rng.uniform(0.3, 0.42)
    scene.box("table", [0.6, 0.8, 0.04], [x + 0.05, 0.0, low - 0.02])
    for i, (sx, sy) in enumerate(((-1, -1), (-1, 1), (1, -1), (1, 1))):
        scene.cylinder(f"post{i}", 0.012, height, [x + sx * half, sy * half, low + height / 2 + 0.001])
    bar = 0.02
    for level, share in enumerate((0.15, 1.0)):
        z = low + share * height
        for side in (-1, 1):
            scene.box(f"bar{level}x{side:+d}", [2 * half, bar, bar], [x, side * half, z])
            scene.box(f"bar{level}y{side:+d}", [bar, 2 * half, bar], [x + side * half, 0.0, z])
    spot = [x + rng.uniform(-0.04, 0.04), rng.uniform(-0.04, 0.04)]
    radius = rng.uniform(0.02, 0.03)
    scene.cylinder("can", radius, 0.08, [*spot, low + 0.041])
    poses = []
    for _ in range(2):
        if rng.random() < 0.5:
            poses.append(scene.pose([*spot, low + rng.uniform(0.09, 0.13)], _down(rng)))
        else:
            tip = [spot[0] - rng.uniform(0.02, 0.05), spot[1], low + rng.uniform(0.4, 0.6) * height]
            poses.append(scene.pose(tip, _forward(rng)))
    return scene.obstacles, poses


def _box(rng: Rng) -> tuple[list[dict[str, Any]], list[Pose]]:
    """One or two deep boxes, open on top; the hand goes down into one."""
    scene = _Scene([0.0, 0.0, 0.0], rng.uniform(-0.7, 0.7))
    poses = []
    low = rng.uniform(-0.05, 0.1)
    scene.box("table", [0.6, 1.3, 0.04], [0.55, 0.0, low - 0.02])
    for k, side in enumerate((-1, 1)):
        inner = np.array([rng.uniform(0.24, 0.32), rng.uniform(0.24, 0.36)])
        height, wall = rng.uniform(0.2, 0.32), 0.015
        cx, cy = rng.uniform(0.42, 0.55), side * rng.uniform(0.22, 0.3)
        for sign in (-1, 1):
            across = [wall, inner[1] + 2 * wall, height]
            scene.box(f"box{k}x{sign:+d}", across, [cx + sign * (inner[0] + wall) / 2, cy, low + height / 2 + 0.001])
            along = [inner[0], wall, height]
            scene.box(f"box{k}y{sign:+d}", along, [cx, cy + sign * (inner[1] + wall) / 2, low + height / 2 + 0.001])
        spot = [cx + rng.uniform(-0.03, 0.03), cy + rng.uniform(-0.03, 0.03)]
        poses.append(scene.pose([*spot, low + rng.uniform(0.02, 0.1)], _down(rng, 0.06)))
    return scene.obstacles, poses


def _table(rng: Rng) -> tuple[list[dict[str, Any]], list[Pose]]:
    """A table full of things; the hand comes down between them."""
    scene = _Scene([0.0, 0.0, 0.0], rng.uniform(-0.5, 0.5))
    low = rng.uniform(-0.05, 0.15)
    scene.box("table", [0.7, 1.2, 0.04], [0.6, 0.0, low - 0.02])
    poses, spots = [], []
    for _ in range(2):
        spot = np.array([rng.uniform(0.4, 0.65), rng.uniform(-0.35, 0.35)])
        spots.append(spot)
        poses.append(scene.pose([*spot, low + rng.uniform(0.02, 0.08)], _down(rng, 0.2)))
    for k in range(int(rng.integers(6, 13))):
        at = np.array([rng.uniform(0.32, 0.85), rng.uniform(-0.5, 0.5)])
        if min(np.linalg.norm(at - spot) for spot in spots) < 0.11:
            continue
        tall = rng.uniform(0.08, 0.3)
        center = [*at, low + tall / 2 + 0.001]
        kind = rng.integers(0, 3)
        if kind == 0:
            scene.cylinder(f"can{k}", rng.uniform(0.025, 0.05), tall, center)
        elif kind == 1:
            size = [rng.uniform(0.04, 0.12), rng.uniform(0.04, 0.12), tall]
            scene.box(f"carton{k}", size, center, rng.uniform(-np.pi, np.pi))
        else:
            radius = rng.uniform(0.03, 0.07)
            scene.sphere(f"ball{k}", radius, [*at, low + radius + 0.001])
    return scene.obstacles, poses


def _under_table(rng: Rng) -> tuple[list[dict[str, Any]], list[Pose]]:
    """A table top with legs, over a floor; the hand goes under it, or comes from there."""
    scene = _Scene([0.0, 0.0, 0.0], rng.uniform(-0.5, 0.5))
    x, depth, width = rng.uniform(0.35, 0.45), rng.uniform(0.4, 0.6), rng.uniform(0.7, 1.0)
    top, floor = rng.uniform(0.3, 0.45), rng.uniform(-0.08, 0.0)
    scene.box("floor", [1.6, 1.6, 0.04], [0.4 + x, 0.0, floor - 0.02])
    scene.box("top", [depth, width, 0.03], [x + depth / 2, 0.0, top])
    for i, (sx, sy) in enumerate(((0, -1), (0, 1), (1, -1), (1, 1))):
        center = [x + 0.03 + sx * (depth - 0.06), sy * (width / 2 - 0.03), (top - 0.015 + floor) / 2]
        scene.box(f"leg{i}", [0.04, 0.04, top - 0.017 - floor], center)
    under = [x + rng.uniform(0.08, 0.25), rng.uniform(-0.25, 0.25), rng.uniform(floor + 0.13, top - 0.14)]
    over = [x + rng.uniform(0.05, 0.25), rng.uniform(-0.25, 0.25), top + rng.uniform(0.04, 0.1)]
    return scene.obstacles, [scene.pose(under, _forward(rng, 0.2)), scene.pose(over, _down(rng, 0.2))]


def _passage(rng: Rng) -> tuple[list[dict[str, Any]], list[Pose]]:
    """A wall with a window; the hand reaches through."""
    scene = _Scene([0.0, 0.0, 0.0], rng.uniform(-0.5, 0.5))
    x, thick = rng.uniform(0.42, 0.5), 0.03
    z, wide, tall = rng.uniform(0.3, 0.5), rng.uniform(0.25, 0.32), rng.uniform(0.25, 0.32)
    scene.box("below", [thick, 1.2, z - tall / 2 + 0.1], [x, 0.0, (z - tall / 2 - 0.1) / 2])
    scene.box("above", [thick, 1.2, 0.5], [x, 0.0, z + tall / 2 + 0.25])
    for side in (-1, 1):
        beside = 0.6 - wide / 2
        scene.box(f"beside{side:+d}", [thick, beside, tall], [x, side * (wide / 2 + beside / 2), z])
    tip = [x + rng.uniform(0.1, 0.2), rng.uniform(-0.02, 0.02), z + rng.uniform(-0.02, 0.02)]
    other = [x - rng.uniform(0.05, 0.12), rng.uniform(-0.3, 0.3), rng.uniform(0.2, 0.6)]
    return scene.obstacles, [scene.pose(tip, _forward(rng)), scene.pose(other, _down(rng, 0.4))]


FAMILIES: dict[str, Callable[[Rng], tuple[list[dict[str, Any]], list[Pose]]]] = {
    "box": _box,
    "cage": _cage,
    "passage": _passage,
    "shelf": _shelf,
    "table": _table,
    "under_table": _under_table,
}
