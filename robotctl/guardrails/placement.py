"""Where things may be left: away from edges they could fall from, and not on places that are not for them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from robotctl.geometry import namespace
from robotctl.guardrails.clearance import Boxes
from robotctl.guardrails.guardrail import Array, Header
from robotctl.robot import RobotModel
from robotctl.trajectory import Sweep

BELOW = 0.30  # what is let go of comes to lie on the highest surface at most this far below its lowest point [m]
ABOVE = 0.10  # ... or this little above it: the spheres that cover something flat reach below it [m]
DROP = 0.05  # a surface this little lower beside it is no edge to fall from [m]
HEADROOM = 0.10  # a box that begins this far above a surface neither carries nor fences in [m]
STEP = 0.005  # of the search for an edge [m]
DIRECTIONS = 32


@dataclass(frozen=True)
class Placement:
    """A rule on the moment in which the fingers open. Motions do not concern it: `margin` has no columns."""

    header: Header
    edge: float  # [m] nothing in scope is left nearer than this to an edge
    furniture: Boxes  # everything that can carry something
    forbidden: Boxes  # places where nothing in scope is left: their half height is 0
    unit = "m"

    def margin(self, sweep: Sweep, robot: RobotModel) -> Array:
        return namespace(sweep.center).zeros((sweep.center.shape[0], 0))

    def release_margin(self, center: np.ndarray, radius: np.ndarray) -> float:
        """Slack of leaving an object, covered by spheres (S, 3), (S,), below where it is now [m]; NaN is unsafe.

        The distance of its outline to the nearest edge minus `edge`, and to forbidden places; -1 over nothing.
        """
        if not (np.isfinite(center).all() and np.isfinite(radius).all()):
            return float("nan")
        bottom = float((center[:, 2] - radius).min())
        middle = center[:, :2].mean(axis=0)
        level = self._level(middle, bottom)
        if level is None:
            return -1.0
        slack = self._to_edge(center[:, :2], radius, level) - self.edge
        local = _local(self.forbidden, center[:, :2])  # (B, S, 2)
        at_level = np.abs(self.forbidden.center[:, 2] - level) <= DROP
        if at_level.any():
            beyond = np.abs(local[at_level]) - self.forbidden.half[at_level, None, :2]
            outside = np.linalg.norm(np.maximum(beyond, 0.0), axis=2) + np.minimum(beyond.max(axis=2), 0.0)
            slack = min(slack, float((outside - radius).min()))
        return slack

    def _level(self, point: np.ndarray, bottom: float) -> float | None:
        """Height of the surface below a point (2,), None without one."""
        boxes = self.furniture
        top = boxes.center[:, 2] + boxes.half[:, 2]
        over = np.all(np.abs(_local(boxes, point[None])[:, 0]) <= boxes.half[:, :2], axis=1)
        fitting = top[over & (top <= bottom + ABOVE) & (top >= bottom - BELOW)]
        return float(fitting.max()) if len(fitting) else None

    def _to_edge(self, point: np.ndarray, radius: np.ndarray, level: float) -> float:
        """Smallest distance of discs around points (S, 2) to where nothing carries at this level [m]; 5 cm more than
        `edge` where there is no edge that near.

        Found on rays by steps: never more than it is, but for what lies between two rays (0.5 % of the distance).
        """
        boxes = self.furniture
        top, low = boxes.center[:, 2] + boxes.half[:, 2], boxes.center[:, 2] - boxes.half[:, 2]
        carries = np.flatnonzero((top >= level - DROP) & (low <= level + HEADROOM))
        carrying = Boxes(boxes.center[carries], boxes.rotation[carries], boxes.half[carries])
        reach = np.arange(0.0, self.edge + radius.max() + 0.05 + STEP, STEP)
        angle = 2 * np.pi * np.arange(DIRECTIONS) / DIRECTIONS
        ray = np.stack([np.cos(angle), np.sin(angle)], axis=1)
        probe = point[:, None, None] + reach[:, None] * ray[:, None]  # (S, D, n, 2)
        local = _local(carrying, probe.reshape(-1, 2))
        carried = np.any(np.all(np.abs(local) <= carrying.half[:, None, :2], axis=2), axis=0)
        first = np.where(carried.reshape(probe.shape[:3]), np.inf, reach - STEP).min(axis=(1, 2), initial=reach[-1])
        return float((np.maximum(first, 0.0) - radius).min())


def _local(boxes: Boxes, point: np.ndarray) -> np.ndarray:
    """Points (n, 2) in the frames of boxes that stand upright, (B, n, 2)."""
    away = point[None] - boxes.center[:, None, :2]
    return np.asarray(away @ boxes.rotation[:, :2, :2])
