"""This file turns a robot into tables for numba: a serial chain of joints, and convex bodies fixed to its frames.

Frame 0 is the base (the world), frame k lies behind joint k and turns about or slides along its own z axis. Any serial
robot fits; this file knows one, the Franka Panda with link `panda_link0` at the world's origin. Its bodies are the
convex hulls of its collision meshes, as PyBullet's loadURDF makes them: tools/fit_hulls.py wrote them.
"""

from __future__ import annotations

from functools import cache, lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numba import njit

from robotctl.geometry import rotation_z
from robotctl.robot import ARM_OFFSETS, DQ_MAX, MOUNT_HEIGHT, Q_MAX, Q_MIN, T_LINK7_HAND

HULLS = Path(__file__).with_name("panda_hulls.npz")
N_ARM = 7
LOW, HIGH = Q_MIN[3:].copy(), Q_MAX[3:].copy()  # [rad]
SPEED = DQ_MAX[3:].copy()  # [rad/s]
ACCELERATION = np.array([15.0, 7.5, 10.0, 12.5, 15.0, 20.0, 20.0])  # Franka's data sheet [rad/s^2]
WEIGHT = np.array([1.0, 1.0, 0.8, 0.7, 0.4, 0.35, 0.15])  # of joints in a distance: how far each moves the arm [m]
FINGER_FOOT = 0.0584  # finger joints' origin along the hand's z [m]
BODIES = (*(f"panda_link{i}" for i in range(8)), "panda_hand", "panda_leftfinger", "panda_rightfinger")
GRIPPER = 8  # bodies from here on are the hand and the fingers
# Pairs that no configuration within the limits brings together: nearer than 2 cm on no point of a grid so fine that
# nothing moves more than that between its points (0.05 rad for two joints, 0.06 for three).
APART = {(0, 2), (0, 3), (1, 3), (1, 4), (2, 4), (3, 5), (3, 6), (4, 6), (4, 7), (4, 8), (4, 9), (4, 10)}
WRIST = (5, 7)  # hulls that overlap with joint 6 near its ends, where the real links do not: see `panda`
_FRAME = (0, 1, 2, 3, 4, 5, 6, 7, 7, 7, 7)


class Robot(NamedTuple):
    """Tables of a chain with J joints and B bodies with V vertices in all."""

    slides: np.ndarray  # (J,) 1 for a joint that slides along z, 0 for one that turns about z
    offset_rotation: np.ndarray  # (J, 3, 3) frame k from joint k+1 at zero
    offset: np.ndarray  # (J, 3) [m]
    low: np.ndarray  # (J,) [rad or m]
    high: np.ndarray  # (J,)
    weight: np.ndarray  # (J,) of a joint in distances between configurations
    frame: np.ndarray  # (B,) frame that a body is fixed to
    first: np.ndarray  # (B + 1,) column of a body's first vertex
    vertices: np.ndarray  # (3, V) in the frame of their body [m]
    rounding: np.ndarray  # (B,) a body is its hull and everything within this distance [m]
    center: np.ndarray  # (B, 3) of a sphere around the body, in its frame [m]
    radius: np.ndarray  # (B,) of that sphere, rounding included [m]
    pair: np.ndarray  # (P, 2) bodies that could collide with each other, the one nearer to the base first
    gripper: int  # bodies from this index on may touch what a problem allows
    hand_offset: np.ndarray  # (3,) hand's origin in the last frame [m]


def hull_of(name: str) -> tuple[np.ndarray, float]:
    """Vertices (n, 3) [m] and rounding [m] of a collision mesh of the Panda: link0..link7, hand, finger."""
    vertices, rounding = _hulls()[name]
    return vertices, rounding


@cache
def _hulls() -> dict[str, tuple[np.ndarray, float]]:
    with np.load(HULLS, allow_pickle=False) as data:
        names = sorted(key for key in data.files if not key.endswith("_rounding"))
        return {name: (data[name].astype(float), float(data[f"{name}_rounding"])) for name in names}


@lru_cache(maxsize=8)
def panda(finger: float = 0.04, wrist: bool = True) -> Robot:
    """The Panda with each finger joint at `finger` [m]; without `wrist` links 5 and 7 may overlap.

    Bodies that are neighbours or behind the same joint always overlap, as hulls, and are no pair.
    """
    meshes = [f"link{i}" for i in range(8)]
    bodies = [hull_of(name) for name in meshes]
    hand, hand_rounding = hull_of("hand")
    left, finger_rounding = hull_of("finger")
    right = left * np.array([-1.0, -1.0, 1.0])  # the same mesh, turned by half a turn about z
    turn, shift = T_LINK7_HAND[:3, :3], T_LINK7_HAND[:3, 3]
    bodies.append((hand @ turn.T + shift, hand_rounding))
    for mesh, side in ((left, 1.0), (right, -1.0)):
        in_hand = mesh + np.array([0.0, side * finger, FINGER_FOOT])
        bodies.append((in_hand @ turn.T + shift, finger_rounding))
    center = np.array([_enclosing_center(vertices) for vertices, _ in bodies])
    radius = [np.linalg.norm(v - c, axis=1).max() + rounding for (v, rounding), c in zip(bodies, center, strict=True)]
    offsets = ARM_OFFSETS.copy()
    offsets[0, 2, 3] -= MOUNT_HEIGHT  # here the arm stands on the ground, not on the mobile base
    return Robot(
        slides=np.zeros(N_ARM, np.int64),
        offset_rotation=np.ascontiguousarray(offsets[:, :3, :3]),
        offset=np.ascontiguousarray(offsets[:, :3, 3]),
        low=LOW,
        high=HIGH,
        weight=WEIGHT,
        frame=np.array(_FRAME),
        first=np.cumsum([0, *(len(vertices) for vertices, _ in bodies)]),
        vertices=np.ascontiguousarray(np.concatenate([vertices for vertices, _ in bodies]).T),
        rounding=np.array([rounding for _, rounding in bodies]),
        center=center,
        radius=np.array(radius),
        pair=np.array(
            [(a, b) for b in range(len(_FRAME)) for a in range(b) if may_meet(a, b) and (wrist or (a, b) != WRIST)]
        ),
        gripper=GRIPPER,
        hand_offset=shift.copy(),
    )


def may_meet(a: int, b: int) -> bool:
    """Whether bodies a < b could collide although they are joined as they are."""
    return _FRAME[b] - _FRAME[a] >= 2 and (a, b) not in APART


def _enclosing_center(points: np.ndarray) -> np.ndarray:
    """Centre (3,) of a sphere around points (n, 3) that is nearly the smallest (Badoiu & Clarkson 2003)."""
    center = 0.5 * (points.min(axis=0) + points.max(axis=0))
    for step in range(2, 200):
        away = points - center
        center = center + away[np.argmax(np.einsum("ij,ij->i", away, away))] / step
    return center


@njit(cache=True)
def forward(robot, q, rotation, position):
    """Fill rotation (J+1, 3, 3) and position (J+1, 3) of every frame in the world, for q (J,)."""
    rotation[0] = np.eye(3)
    position[0] = 0.0
    for k in range(len(q)):
        turn, shift = robot.offset_rotation[k], robot.offset[k]
        c, s = (1.0, 0.0) if robot.slides[k] else (np.cos(q[k]), np.sin(q[k]))
        for i in range(3):
            a, b, d = rotation[k, i, 0], rotation[k, i, 1], rotation[k, i, 2]
            x = a * turn[0, 0] + b * turn[1, 0] + d * turn[2, 0]
            y = a * turn[0, 1] + b * turn[1, 1] + d * turn[2, 1]
            z = a * turn[0, 2] + b * turn[1, 2] + d * turn[2, 2]
            rotation[k + 1, i, 0], rotation[k + 1, i, 1], rotation[k + 1, i, 2] = c * x + s * y, c * y - s * x, z
            position[k + 1, i] = position[k, i] + a * shift[0] + b * shift[1] + d * shift[2]
            if robot.slides[k]:
                position[k + 1, i] += q[k] * z


def hand_pose(robot: Robot, q: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rotation (3, 3) and position (3,) [m] of the link `panda_hand` in the world, for q (7,)."""
    rotation, position = np.empty((len(q) + 1, 3, 3)), np.empty((len(q) + 1, 3))
    forward(robot, np.asarray(q, float), rotation, position)
    return rotation[-1] @ rotation_z(-np.pi / 4), position[-1] + rotation[-1] @ robot.hand_offset
