"""This file turns a planned path into what PyBullet's own Panda says of it: distances, speeds and accelerations.

It shares no code with the planner: the robot is pybullet_data's `franka_panda/panda.urdf`, distances are
getClosestPoints between the convex hulls that loadURDF makes, rates are finite differences.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import pybullet as p
import pybullet_data

from robotctl.simulation.quiet import quiet

RESOLUTION = 0.02  # largest turn of any joint between two checked configurations [rad]
REACH = 0.3  # distances are looked for up to here [m]
LIMIT_LOW = np.array([-2.8973, -1.7628, -2.8973, -3.0718, -2.8973, -0.0175, -2.8973])  # Franka's data sheet [rad]
LIMIT_HIGH = np.array([2.8973, 1.7628, 2.8973, -0.0698, 2.8973, 3.7525, 2.8973])
LIMIT_SPEED = np.array([2.175, 2.175, 2.175, 2.175, 2.61, 2.61, 2.61])  # [rad/s]
LIMIT_ACCELERATION = np.array([15.0, 7.5, 10.0, 12.5, 15.0, 20.0, 20.0])  # [rad/s^2]
_ARM = tuple(range(7))
_FINGERS = (9, 10)
_HAND = 8
_GRIPPER = (8, 9, 10)
_BODIES = (-1, 0, 1, 2, 3, 4, 5, 6, 8, 9, 10)  # links with a collision shape, the base first
# Hulls that overlap in every configuration: neighbours, and what is fixed to the last link.
_ALWAYS = {(-1, 0), (0, 1), (1, 2), (2, 3), (3, 4), (4, 5), (5, 6), (6, 8), (8, 9), (8, 10), (6, 9), (6, 10), (9, 10)}
_OWN = [(a, b) for b in _BODIES for a in _BODIES if a < b and (a, b) not in _ALWAYS]


@dataclass(frozen=True)
class Verdict:
    """How a path does. Distances at RESOLUTION, by linear interpolation; ratios of largest value over limit."""

    obstacle: float  # smallest distance to an obstacle, REACH if none is nearer [m]
    self: float  # smallest distance of links that do not overlap by design [m]
    touched: str  # what is nearest, in words
    beyond: float  # how far a joint leaves its limits, 0 if none does [rad]
    speed: float
    acceleration: float

    @property
    def good(self) -> bool:
        return bool(
            self.obstacle >= 0.0 and self.self >= 0.0 and self.beyond <= 0.0 and max(self.speed, self.acceleration) <= 1
        )


class PandaChecker:
    """A Panda at the origin among the obstacles of one problem (a mapping as in the problem file)."""

    def __init__(self, problem: Mapping[str, Any]) -> None:
        self._client = p.connect(p.DIRECT)
        urdf = Path(pybullet_data.getDataPath()) / "franka_panda" / "panda.urdf"
        with quiet():
            self._robot = p.loadURDF(str(urdf), useFixedBase=True, physicsClientId=self._client)
        for joint in _FINGERS:
            p.resetJointState(self._robot, joint, problem.get("finger", 0.04), physicsClientId=self._client)
        self._obstacles = {row["name"]: self._add(row) for row in problem["obstacles"]}

    def __enter__(self) -> PandaChecker:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        p.disconnect(self._client)

    def _add(self, row: Mapping[str, Any]) -> int:
        client = {"physicsClientId": self._client}
        if row["type"] == "box":
            half = [0.5 * edge for edge in row["size"]]
            shape = p.createCollisionShape(p.GEOM_BOX, halfExtents=half, **client)
        elif row["type"] == "cylinder":
            shape = p.createCollisionShape(p.GEOM_CYLINDER, radius=row["radius"], height=row["height"], **client)
        else:
            shape = p.createCollisionShape(p.GEOM_SPHERE, radius=row["radius"], **client)
        return p.createMultiBody(0, shape, -1, row["position"], row.get("quat_xyzw", [0, 0, 0, 1]), **client)

    def place(self, q: Sequence[float] | np.ndarray) -> None:
        for joint in _ARM:
            p.resetJointState(self._robot, joint, q[joint], physicsClientId=self._client)

    def hand_pose(self, q: Sequence[float] | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Position (3,) [m] and quaternion xyzw (4,) of `panda_hand`."""
        self.place(q)
        state = p.getLinkState(self._robot, _HAND, computeForwardKinematics=True, physicsClientId=self._client)
        return np.array(state[4]), np.array(state[5])

    def link_distance(self, link: int, name: str, reach: float = REACH) -> float:
        """Distance [m] of one link (-1 the base) from an obstacle, as the robot stands; `reach` if farther."""
        points = p.getClosestPoints(
            self._robot, self._obstacles[name], reach, linkIndexA=link, physicsClientId=self._client
        )
        return min((point[8] for point in points), default=reach)

    def distances(
        self, q: Sequence[float] | np.ndarray, allowed: Sequence[str] = (), reach: float = REACH
    ) -> tuple[float, float, str]:
        """Distance to obstacles and to itself [m], and what is nearest; the gripper may touch what is `allowed`.

        The base link does not move, so it is not held against a motion.
        """
        self.place(q)
        obstacle, own, nearest, least = reach, reach, "", reach
        for name, body in self._obstacles.items():
            points = p.getClosestPoints(self._robot, body, reach, physicsClientId=self._client)
            for point in points:
                if point[3] == -1 or (name in allowed and point[3] in _GRIPPER):
                    continue
                obstacle = min(obstacle, point[8])
                if point[8] < least:
                    least, nearest = point[8], f"link {point[3]} and {name}"
        for a, b in _OWN:
            points = p.getClosestPoints(
                self._robot, self._robot, min(reach, max(own, 0.0)), linkIndexA=a, linkIndexB=b,
                physicsClientId=self._client,
            )  # fmt: skip
            for point in points:
                own = min(own, point[8])
                if point[8] < least:
                    least, nearest = point[8], f"links {a} and {b}"
        return obstacle, own, nearest

    def judge(
        self, path: Any, times: Any, allowed: Sequence[str] = (), near_goal: float = 0.12, reach: float = 0.05
    ) -> Verdict:
        """Checks a path (n, 7) over times (n,): `allowed` touches count only within `near_goal` [m] of the end."""
        path, times = np.asarray(path, float), np.asarray(times, float)
        goal, _ = self.hand_pose(path[-1])
        obstacle, own, touched, least = reach, reach, "", reach
        for q in interpolated(path):
            here = self.hand_pose(q)[0] if allowed else goal
            near = np.linalg.norm(here - goal) <= near_goal
            a, b, what = self.distances(q, allowed if near else (), reach)
            obstacle, own = min(obstacle, a), min(own, b)
            if min(a, b) < least:
                least, touched = min(a, b), what
        beyond = max(0.0, float((LIMIT_LOW - path).max()), float((path - LIMIT_HIGH).max()))
        speed, acceleration = rates(path, times)
        return Verdict(obstacle, own, touched, beyond, speed, acceleration)


def interpolated(path: np.ndarray) -> np.ndarray:
    """The path (n, 7) with points between, no joint turning more than RESOLUTION from one to the next."""
    out = [path[:1]]
    for a, b in pairwise(path):
        n = max(1, int(np.ceil(np.abs(b - a).max() / RESOLUTION)))
        out.append(a + (b - a) * np.arange(1, n + 1)[:, None] / n)
    return np.concatenate(out)


def rates(path: np.ndarray, times: np.ndarray) -> tuple[float, float]:
    """Largest speed and acceleration over their limits, by finite differences from rest to rest."""
    if len(path) < 2:
        return 0.0, 0.0
    step = np.diff(times)
    if not np.all(step > 0.0):
        return float("inf"), float("inf")
    speed = np.diff(path, axis=0) / step[:, None]
    rest = np.zeros((1, path.shape[1]))
    middle = np.concatenate([step[:1], 0.5 * (step[1:] + step[:-1]), step[-1:]])
    acceleration = np.diff(np.concatenate([rest, speed, rest]), axis=0) / middle[:, None]
    return (
        float((np.abs(speed) / LIMIT_SPEED).max()),
        float((np.abs(acceleration) / LIMIT_ACCELERATION).max()),
    )
