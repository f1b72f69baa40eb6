"""Where an object can be grasped: its kind's grasps placed in the world, with the features that predict success."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from robotctl.geometry import matrix_from_quaternion, point_box_distance, rotation_z
from robotctl.guardrails.clearance import Boxes
from robotctl.scene import Grasp, ObjectKind
from robotctl.state import ObjectState

TURNS = 12  # a symmetric grasp is tried at this many angles about the object's axis
DEPTHS = (0.0, -0.006, -0.012, -0.018)  # how much farther along the approach the fingers close than suggested [m]
SHIFTS = {"handle": (0.0, -0.03, 0.03)}  # along the object's x axis [m]
PRE_GRASP = 0.10  # the hand comes from this far along the approach direction [m]


@dataclass(frozen=True)
class GraspPose:
    """A TCP pose at which to close the fingers."""

    grasp: Grasp
    position: np.ndarray  # (3,) TCP in the world [m]
    rotation: np.ndarray  # (3, 3) world from hand: z approaches, y closes
    depth: float = 0.0  # how much farther along the approach than the kind suggests [m]
    shift: float = 0.0  # along the object's x axis, from where the kind suggests [m]

    @property
    def before(self) -> np.ndarray:
        """TCP position from which the hand approaches, (3,)."""
        return self.position - PRE_GRASP * self.rotation[:, 2]


def hand_rotation(approach: np.ndarray, closing: np.ndarray) -> np.ndarray:
    """World from hand for an approach direction (hand z) and a closing direction (hand y), (3, 3)."""
    z = approach / np.linalg.norm(approach)
    y = closing - (closing @ z) * z
    y = y / np.linalg.norm(y)
    return np.column_stack([np.cross(y, z), y, z])


def grasp_poses(item: ObjectState, kind: ObjectKind) -> Iterator[GraspPose]:
    """Every way the kind's grasps apply to the object where it is: turned, shifted, deeper or not, either way round.

    Which of them hold is for the outcome model to know. What cuts is not shifted: nothing closes on its edge, and its
    handle is held where the lever to the edge is short. Nothing is taken nearer to its blade than suggested: pads that
    reach over the heel of a blade pinch it.
    """
    body = matrix_from_quaternion(item.quaternion)
    blade = kind.spheres[kind.blade, :3]

    def from_blade(point: np.ndarray) -> float:
        return float(np.linalg.norm(blade - point, axis=1).min(initial=np.inf))

    for grasp in kind.grasps:
        turns = 2 * np.pi * np.arange(TURNS) / TURNS if grasp.symmetric else np.zeros(1)
        shifts = SHIFTS.get(grasp.kind, (0.0,)) if kind.edge is None else (0.0,)
        for depth, shift in itertools.product(DEPTHS, shifts):
            local = grasp.position + depth * grasp.approach + np.array([shift, 0.0, 0.0])
            if shift and from_blade(local) < from_blade(grasp.position + depth * grasp.approach):
                continue
            for turn in turns:
                frame = body @ rotation_z(turn)
                for sense in (1.0, -1.0):
                    rotation = hand_rotation(frame @ grasp.approach, sense * (frame @ grasp.closing))
                    yield GraspPose(grasp, item.position + frame @ local, rotation, depth, shift)


def free_depth(point: np.ndarray, furniture: Boxes) -> float:
    """Distance of a point (3,) to the nearest furniture [m]: a flat plate's rim is reachable only off the edge."""
    return float(point_box_distance(point, furniture.center, furniture.rotation, furniture.half).min())


def features(
    pose: GraspPose, item: ObjectState, kind: ObjectKind, furniture: Boxes, others: Sequence[ObjectState]
) -> dict[str, float]:
    """What the skill outcome model sees of a pick: geometry only, all in SI units."""
    lower_finger = free_depth(pose.position - np.array([0.0, 0.0, 0.02]), furniture)
    neighbour = min((float(np.linalg.norm((o.position - pose.position)[:2])) for o in others), default=0.5)
    upright = float(matrix_from_quaternion(item.quaternion)[2, 2])
    return {
        "approach_down": float(-pose.rotation[2, 2]),
        "free_depth": float(np.clip(free_depth(pose.position, furniture), -0.05, 0.15)),
        "lower_finger_gap": float(np.clip(lower_finger, -0.05, 0.15)),
        "neighbour": min(neighbour, 0.5),
        "upright": upright,
        "depth": pose.depth,
        "shift": abs(pose.shift),
        "height": kind.height,
        "radius": kind.radius,
        "mass": kind.mass,
        "opening": pose.grasp.opening,
    }
