"""Free spots on a place: where an object can be put down next to what already stands there."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from robotctl.geometry import point_box_distance, rotation_z
from robotctl.scene import Box, ObjectKind, Place
from robotctl.skills.place import Spot

GAP = 0.05  # between neighbours, room for the fingers [m]
EDGE = 0.03  # kept from a place's edge by what need not overhang it [m]
BOX_GAP = 0.01  # to furniture that rises from the place [m]
OVERHANG = 0.05  # an object held by its edge stands out this far over a free edge, as room for the lower finger [m]
STEP = 0.04  # grid of spots [m]


@dataclass(frozen=True)
class _Grid:
    """All spots of a kind on an empty place."""

    points: np.ndarray  # (n, 3) [m]
    depth: np.ndarray  # (n,) from the place's free edge [m]
    inward: np.ndarray | None  # (2,) the way the hand must come, or None


def needs_edge(kind: ObjectKind) -> bool:
    """Whether the kind is held from the side, so that a finger ends up below it."""
    return all(grasp.kind == "edge" for grasp in kind.grasps)


def free_spots(
    place: Place, kind: ObjectKind, taken: Iterable[tuple[np.ndarray, float]], boxes: tuple[Box, ...]
) -> list[Spot]:
    """Spots on `place` for an object of `kind`, given (position (3,), radius) of what stands around."""
    grid = _grid(place, kind, boxes)
    free = np.ones(len(grid.points), bool)
    for position, radius in taken:
        free &= np.linalg.norm(grid.points[:, :2] - position[:2], axis=1) > radius + kind.radius + GAP
    return [Spot(place.name, grid.points[i], float(grid.depth[i]), grid.inward) for i in np.flatnonzero(free)]


@lru_cache(maxsize=256)
def _grid(place: Place, kind: ObjectKind, boxes: tuple[Box, ...]) -> _Grid:
    turn = rotation_z(place.yaw)[:2, :2]
    edge, inward = place.overhang_edge, None
    if edge is not None and needs_edge(kind):
        along = np.array([-edge[1], edge[0]])
        reach = float(np.abs(turn.T @ edge) @ place.half)
        span = float(np.abs(turn.T @ along) @ place.half) - kind.radius
        flat = (reach - kind.radius + OVERHANG) * edge + np.arange(-span, span + 1e-9, STEP)[:, None] * along
        inward = -edge
    else:
        inset = np.maximum(place.half - min(kind.radius + EDGE, 0.9 * float(place.half.min())), 0.0)
        x, y = (np.linspace(-extent, extent, max(1, int(2 * extent / STEP) + 1)) for extent in inset)
        flat = np.stack(np.meshgrid(x, y, indexing="ij"), axis=-1).reshape(-1, 2) @ turn.T
    points = np.column_stack([place.center[:2] + flat, np.full(len(flat), place.center[2])])
    for box in boxes:
        if _rises_from(box, place):
            level = points * [1.0, 1.0, 0.0] + [0.0, 0.0, box.center[2]]
            gap = point_box_distance(level, box.center, rotation_z(box.yaw), box.half)
            points = points[gap > kind.radius + BOX_GAP]
    depth = np.zeros(len(points))
    if edge is not None:
        depth = float(np.abs(turn.T @ edge) @ place.half) - (points[:, :2] - place.center[:2]) @ edge
    return _Grid(points, depth, inward)


def _rises_from(box: Box, place: Place) -> bool:
    """Whether a piece of furniture stands up from the place's surface (a board on the counter)."""
    top, bottom = box.center[2] + box.half[2], box.center[2] - box.half[2]
    return bool(top > place.center[2] + 0.003 and bottom < place.center[2] + 0.05)
