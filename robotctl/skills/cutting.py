"""Where a seam of joined food is, how wide it gapes, and how a blade has to be held to press on it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from robotctl.geometry import inverse, matrix_from_quaternion, point_box_distance, rotation_z, transform
from robotctl.robot import TCP
from robotctl.scene import Box, Edge, ObjectKind, Seam

PARTED = 0.008  # a seam that gapes this far is open, with readings of 4 mm error [m]
END = 0.004  # of the edge that stays beyond the food on either side [m]
STEP = 0.005  # between the places of the edge that are tried [m]
BESIDE = 0.004  # the heel stays this far beside the board: the handle reaches lower than the edge [m]
NEAR_TOP = 0.02  # food this far off a box's top stands on it [m]


class Posed(Protocol):
    """Something with a pose."""

    @property
    def position(self) -> np.ndarray: ...  # (3,) [m]

    @property
    def quaternion(self) -> np.ndarray: ...  # (4,) xyzw


@dataclass(frozen=True)
class Cut:
    """A blade held across the food above a seam."""

    point: np.ndarray  # (3,) on the seam, in the middle of the food [m]
    heading: np.ndarray  # (3,) unit, level: from the edge's heel to its tip
    at: float  # where along the edge, from its heel, the middle of the food is met [m]

    def blade(self, edge: Edge, height: float) -> np.ndarray:
        """World from the blade's body frame with the edge level at a height [m], facing down, (4, 4)."""
        down = np.array([0.0, 0.0, -1.0])
        own = np.column_stack([edge.along, edge.facing, np.cross(edge.along, edge.facing)])
        rotation = np.column_stack([self.heading, down, np.cross(self.heading, down)]) @ own.T
        met = np.array([*self.point[:2], height])
        return transform(rotation, met - rotation @ (edge.heel + self.at * edge.along))

    def hand(self, edge: Edge, height: float, T_hand_blade: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """TCP position (3,) and rotation (3, 3) of the hand that holds the blade so."""
        T_world_hand = self.blade(edge, height) @ inverse(T_hand_blade)
        return T_world_hand[:3, 3] + T_world_hand[:3, :3] @ TCP, T_world_hand[:3, :3]


def faces(seam: Seam, first: Posed, second: Posed) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Middles of the seam's two cut faces in the world, (3,) and (3,), and the way from first to second, (3,) unit."""
    one, other = matrix_from_quaternion(first.quaternion), matrix_from_quaternion(second.quaternion)
    way = one[:, 0] * np.sign(seam.first_face[0]) - other[:, 0] * np.sign(seam.second_face[0])
    length = float(np.linalg.norm(way))
    way = way / length if length > 1e-6 else one[:, 0] * np.sign(seam.first_face[0])
    return first.position + one @ seam.first_face, second.position + other @ seam.second_face, way


def gap(seam: Seam, first: Posed, second: Posed) -> float:
    """Distance of the two cut faces' middles [m]: about 0 while the seam holds."""
    one, other, _ = faces(seam, first, second)
    return float(np.linalg.norm(one - other))


def board_under(point: np.ndarray, boxes: Sequence[Box], bottom: float) -> Box | None:
    """The box on whose top the food stands: below the point (3,), its top at about the height `bottom` [m]."""
    under = []
    for box in boxes:
        local = rotation_z(box.yaw).T @ (point - box.center)
        if np.all(np.abs(local[:2]) <= box.half[:2]) and abs(box.center[2] + box.half[2] - bottom) <= NEAR_TOP:
            under.append(box)
    return max(under, key=lambda box: float(box.center[2] + box.half[2]), default=None)


def cuts(seam: Seam, first: Posed, second: Posed, food: ObjectKind, edge: Edge, board: Box) -> Iterator[Cut]:
    """Ways to hold the edge across the food, the shortest lever first: square to it, the whole of it under the edge,
    and the handle beside the board, since it may reach lower than the edge."""
    one, other, way = faces(seam, first, second)
    point = 0.5 * (one + other)
    level = np.array([way[0], way[1], 0.0]) / max(float(np.hypot(way[0], way[1])), 1e-6)
    half = 0.5 * food.height
    for at in np.arange(half + END, edge.length - half - END, STEP):
        for side in (1.0, -1.0):
            heading = side * np.array([-level[1], level[0], 0.0])
            heel = point - (at - BESIDE) * heading
            heel[2] = board.center[2]
            if point_box_distance(heel, board.center, rotation_z(board.yaw), board.half) >= 0.0:
                yield Cut(point, heading, float(at))


def features(
    food: ObjectKind, lever: float, offset: float = 0.0, angle: float = 0.0, depth: float = 0.0, speed: float = 0.0
) -> dict[str, float]:
    """What the skill outcome model sees of a cut, all in SI units.

    lever: from the grip to where the edge meets the food; offset: of the edge from the seam; angle: between the two;
    depth: how far below the food's top the edge is to go; speed: of the edge on its way down.
    """
    return {
        "lever": lever,
        "offset": abs(offset),
        "angle": abs(angle),
        "depth": depth,
        "speed": speed,
        "height": food.height,
        "force": food.cut_force,
    }
