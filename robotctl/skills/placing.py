"""What can be known of a placement before it is tried, and so predicts how it ends: geometry only, all in SI units.

A thing let go of topples when the vertical through its centre of mass misses what it stands on, bounces the more the
farther it falls, and is pushed by what stands in the fingers' way. The features say how near each of these is.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from robotctl.geometry import rotation_z
from robotctl.scene import ObjectKind, Place
from robotctl.skills.place import RELEASE_GAP

FAR = 0.06  # an edge or a neighbour farther away than this makes no difference [m]


def edge_distance(place: Place, position: np.ndarray) -> float:
    """Distance of a point (3,) from the nearest edge of the place, seen from above; negative beyond it [m]."""
    local = rotation_z(place.yaw)[:2, :2].T @ (np.asarray(position)[:2] - place.center[:2])
    return float(np.min(place.half - np.abs(local)))


def spot_features(
    place: Place, kind: ObjectKind, position: np.ndarray, others: Sequence[tuple[np.ndarray, float]]
) -> dict[str, float]:
    """What of a placement is known before the object is in the hand: an upright one, let go of as low as always.

    position: (3,) of the object's origin on `place`. others: (position (3,), radius) of what stands around [m].
    """
    gaps = [float(np.linalg.norm((p - position)[:2])) - radius - kind.radius for p, radius in others]
    return {
        "edge": float(np.clip(edge_distance(place, position), -FAR, FAR)),
        "neighbour_gap": float(np.clip(min(gaps, default=FAR), -FAR, FAR)),
        "release_height": RELEASE_GAP,
        "lean": 0.0,
    }


def placing_features(
    place: Place,
    kind: ObjectKind,
    position: np.ndarray,
    T_hand_object: np.ndarray,
    others: Sequence[tuple[np.ndarray, float]],
    release_height: float = RELEASE_GAP,
    lean: float = 0.0,
) -> dict[str, float]:
    """Features of putting an object of `kind` down with its origin at `position` (3,) on `place`.

    T_hand_object (4, 4): how it sits in the hand. others: as in `spot_features`.
    release_height [m]: of its lowest point above the place when the fingers open. lean [rad]: its tilt then.
    """
    lever = T_hand_object[:3, 3]
    return {
        **spot_features(place, kind, position, others),
        "release_height": release_height,
        "lean": lean,
        "hand_tilt": float(np.arccos(np.clip(-T_hand_object[2, 2], -1.0, 1.0))),  # hand z against the object's down
        "grip_depth": float(lever[2]),  # of the object's origin beyond the hand's, along the fingers [m]
        "grip_offset": float(np.linalg.norm(lever[:2])),  # of the object's origin from the hand's axis [m]
    }
