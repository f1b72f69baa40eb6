"""What the fingers can hold by friction: Coulomb's law between two pads and what is between them."""

from __future__ import annotations

import numpy as np

from robotctl.geometry import matrix_from_quaternion
from robotctl.scene import Actuators, ObjectKind
from robotctl.skills.grasping import GraspPose
from robotctl.state import ObjectState

GRAVITY = 9.81  # [m/s^2]


def holds(kind: ObjectKind, actuators: Actuators) -> float:
    """Largest force along the pads that two fingers hold by friction: 2 mu F [N]."""
    return 2.0 * kind.friction * actuators.grip_force


def lift_load(kind: ObjectKind, actuators: Actuators) -> float:
    """Weight of an object over what the grip holds: above 1 it slips out of the hand."""
    return kind.mass * GRAVITY / holds(kind, actuators)


def pull_load(kind: ObjectKind, actuators: Actuators, along_closing: float) -> float:
    """Friction that an object has to be dragged against over what the grip gives in that direction.

    Across the closing direction the pads give 2 mu F, along it one finger pushes with F; between the two an ellipse.
    along_closing: cosine between the way and the closing direction.
    """
    c = abs(along_closing)
    across = np.sqrt(max(1.0 - c * c, 0.0)) / holds(kind, actuators)
    return float(kind.friction * kind.mass * GRAVITY * np.hypot(c / actuators.grip_force, across))


def pull_features(
    pose: GraspPose, item: ObjectState, kind: ObjectKind, way: np.ndarray, speed: float, actuators: Actuators
) -> dict[str, float]:
    """What the skill outcome model sees of a pull along `way` (2,) [m] at `speed` [m/s]: all in SI units.

    ahead, aside [m]: where the grasp is in front of the object's middle and beside it, seen along the way. tipping:
    moment of the drag about the object's foot over that of its weight; it topples from 1 on.
    """
    length = float(np.linalg.norm(way))
    along = np.array([*way, 0.0]) / max(length, 1e-9)
    lever = pose.position - item.position
    closing = float(abs(along @ pose.rotation[:, 1]))
    return {
        "way": length,
        "speed": speed,
        "along_closing": closing,
        "along_approach": float(along @ pose.rotation[:, 2]),
        "approach_down": float(-pose.rotation[2, 2]),
        "ahead": float(lever @ along),
        "aside": float(abs(along[0] * lever[1] - along[1] * lever[0])),
        "grip_height": float(lever[2]),
        "depth": pose.depth,
        "shift": abs(pose.shift),
        "opening": pose.grasp.opening,
        "upright": float(matrix_from_quaternion(item.quaternion)[2, 2]),
        "height": kind.height,
        "radius": kind.radius,
        "mass": kind.mass,
        "friction": kind.friction,
        "load": pull_load(kind, actuators, closing),
        "tipping": float(kind.friction * lever[2] / kind.radius),
    }
