"""Free spots on a place: where an object can be put down next to what already stands there."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from robotctl.geometry import point_box_distance, rotation_z
from robotctl.scene import Box, ObjectKind, Place
from robotctl.skills.place import Spot

GAP = 0.05  # between neighbours, room for the fingers [m]
BOX_GAP = 0.01  # to furniture that rises from the place [m]
OVERHANG = 0.05  # an object held by its edge stands out this far over a free edge, as room for the lower finger [m]
STEP = 0.04  # grid of spots [m]


def needs_edge(kind: ObjectKind) -> bool:
    """Whether the kind is held from the side, so that a finger ends up below it."""
    return all(grasp.kind == "edge" for grasp in kind.grasps)


def free_spots(
    place: Place, kind: ObjectKind, taken: Iterable[tuple[np.ndarray, float]], boxes: Iterable[Box]
) -> list[Spot]:
    """Spots on `place` for an object of `kind`, given (position (3,), radius) of what stands around."""
    turn = rotation_z(place.yaw)
    if needs_edge(kind) and place.overhang_edge is not None:
        edge = place.overhang_edge / np.linalg.norm(place.overhang_edge)
        along = np.array([-edge[1], edge[0]])
        local_edge = turn[:2, :2].T @ edge
        reach = float(np.abs(local_edge) @ place.half)
        span = float(np.abs(turn[:2, :2].T @ along) @ place.half) - kind.radius
        base = place.center[:2] + (reach - kind.radius + OVERHANG) * edge
        points = [base + t * along for t in np.arange(-span, span + 1e-9, STEP)]
        inward: np.ndarray | None = -edge
    else:
        inset = np.maximum(place.half - min(kind.radius, 0.9 * float(place.half.min())), 0.0)
        nx, ny = (max(1, int(2 * extent / STEP) + 1) for extent in inset)
        grid = [
            np.array([x, y]) for x in np.linspace(-inset[0], inset[0], nx) for y in np.linspace(-inset[1], inset[1], ny)
        ]
        points = [place.center[:2] + turn[:2, :2] @ p for p in grid]
        inward = None
    occupied = list(taken)
    raised = [box for box in boxes if _rises_from(box, place)]
    spots = []
    for point in points:
        spot = np.array([point[0], point[1], place.center[2]])
        if any(np.linalg.norm(point - other[:2]) <= radius + kind.radius + GAP for other, radius in occupied):
            continue
        if all(_gap(spot, box) > kind.radius + BOX_GAP for box in raised):
            spots.append(Spot(place.name, spot, _depth(spot, place), inward))
    return spots


def _depth(spot: np.ndarray, place: Place) -> float:
    """How far behind the place's free edge a spot is [m]; 0 where no edge is free."""
    if place.overhang_edge is None:
        return 0.0
    local_edge = rotation_z(place.yaw)[:2, :2].T @ place.overhang_edge
    return float(np.abs(local_edge) @ place.half - (spot[:2] - place.center[:2]) @ place.overhang_edge)


def _rises_from(box: Box, place: Place) -> bool:
    """Whether a piece of furniture stands up from the place's surface (a board on the counter)."""
    top, bottom = box.center[2] + box.half[2], box.center[2] - box.half[2]
    return bool(top > place.center[2] + 0.003 and bottom < place.center[2] + 0.05)


def _gap(spot: np.ndarray, box: Box) -> float:
    """Horizontal distance from a spot to a box [m]."""
    level = np.array([spot[0], spot[1], box.center[2]])
    return float(point_box_distance(level, box.center, rotation_z(box.yaw), box.half))
