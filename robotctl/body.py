"""The human body as keypoints joined by capsules; the assumed speeds are declared per part."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

KEYPOINTS = (
    "head", "neck", "chest", "pelvis",
    "right_shoulder", "right_elbow", "right_wrist", "right_hand",
    "left_shoulder", "left_elbow", "left_wrist", "left_hand",
    "right_hip", "right_knee", "right_ankle", "right_toe",
    "left_hip", "left_knee", "left_ankle", "left_toe",
)  # fmt: skip
INDEX = {name: i for i, name in enumerate(KEYPOINTS)}

PARTS = ("torso", "arm", "hand", "leg")  # classes with a declared speed; the head counts as torso


class Capsule(NamedTuple):
    """A body part: the segment between two keypoints, thickened by `radius`."""

    name: str
    a: str
    b: str
    radius: float  # [m], inflated so that the gaps between mocap segments are covered
    part: str  # one of PARTS


CAPSULES = (
    Capsule("head", "head", "neck", 0.12, "torso"),
    Capsule("torso", "neck", "pelvis", 0.17, "torso"),
    Capsule("chest", "right_shoulder", "left_shoulder", 0.11, "torso"),
    Capsule("hips", "right_hip", "left_hip", 0.13, "torso"),
    Capsule("right_upper_arm", "right_shoulder", "right_elbow", 0.065, "arm"),
    Capsule("right_forearm", "right_elbow", "right_wrist", 0.055, "hand"),
    Capsule("right_hand", "right_wrist", "right_hand", 0.055, "hand"),
    Capsule("left_upper_arm", "left_shoulder", "left_elbow", 0.065, "arm"),
    Capsule("left_forearm", "left_elbow", "left_wrist", 0.055, "hand"),
    Capsule("left_hand", "left_wrist", "left_hand", 0.055, "hand"),
    Capsule("right_thigh", "right_hip", "right_knee", 0.085, "leg"),
    Capsule("right_shin", "right_knee", "right_ankle", 0.065, "leg"),
    Capsule("right_foot", "right_ankle", "right_toe", 0.055, "leg"),
    Capsule("left_thigh", "left_hip", "left_knee", 0.085, "leg"),
    Capsule("left_shin", "left_knee", "left_ankle", 0.065, "leg"),
    Capsule("left_foot", "left_ankle", "left_toe", 0.055, "leg"),
)

CAPSULE_A = np.array([INDEX[c.a] for c in CAPSULES])
CAPSULE_B = np.array([INDEX[c.b] for c in CAPSULES])
CAPSULE_RADIUS = np.array([c.radius for c in CAPSULES])
CAPSULE_PART = np.array([PARTS.index(c.part) for c in CAPSULES])

_KEYPOINT_PART = {"head": "torso", "neck": "torso", "chest": "torso", "pelvis": "torso"}


def keypoint_part(name: str) -> str:
    """Speed class of a keypoint: the fastest class it can move with."""
    if name in _KEYPOINT_PART or name.endswith(("shoulder", "hip")):
        return "torso"
    if name.endswith("elbow"):
        return "arm"
    return "hand" if name.endswith(("wrist", "hand")) else "leg"


KEYPOINT_PART = np.array([PARTS.index(keypoint_part(name)) for name in KEYPOINTS])


def capsule_poses(keypoints: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Middle (N, 3) and orientation (N, 4) xyzw of the capsules of keypoints (..., J, 3), their axis along z.

    The shortest turn from z to the axis: q = (z x axis, 1 + z . axis) normalised; half a turn about x at -z.
    """
    a, b = keypoints[..., CAPSULE_A, :].reshape(-1, 3), keypoints[..., CAPSULE_B, :].reshape(-1, 3)
    axis = b - a
    axis /= np.maximum(np.sqrt(np.sum(axis * axis, axis=1, keepdims=True)), 1e-9)
    turn = np.stack([-axis[:, 1], axis[:, 0], np.zeros(len(axis)), 1.0 + axis[:, 2]], axis=1)
    turn[axis[:, 2] < -0.999999] = (1.0, 0.0, 0.0, 0.0)
    turn /= np.sqrt(np.sum(turn * turn, axis=1, keepdims=True))
    return 0.5 * (a + b), turn
