"""Distances from points to capsules and boxes, and the speeds of points: plain formulas, no culling."""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True)
def near_people(now, before, dt, points, a, b, radius, person, persons):  # type: ignore[no-untyped-def]
    """Speeds (N,) [m/s] of a body's points and their distances (N, P) [m] to every person.

    now, before (4, 4): poses of the body; a, b (C, 3): ends of the capsules; radius, person (C,).
    """
    n = len(points)
    speed, gap = np.empty(n), np.full((n, persons), np.inf)
    for i in range(n):
        x, y = _placed(now, points[i]), _placed(before, points[i])
        speed[i] = np.sqrt((x[0] - y[0]) ** 2 + (x[1] - y[1]) ** 2 + (x[2] - y[2]) ** 2) / dt
        for c in range(len(radius)):
            gap[i, person[c]] = min(gap[i, person[c]], _segment(x, a[c], b[c]) - radius[c])
    return speed, gap


@njit(cache=True, inline="always")
def _placed(pose, r):  # type: ignore[no-untyped-def]
    """Where the point r of a body is in the world."""
    return (
        pose[0, 0] * r[0] + pose[0, 1] * r[1] + pose[0, 2] * r[2] + pose[0, 3],
        pose[1, 0] * r[0] + pose[1, 1] * r[1] + pose[1, 2] * r[2] + pose[1, 3],
        pose[2, 0] * r[0] + pose[2, 1] * r[1] + pose[2, 2] * r[2] + pose[2, 3],
    )


@njit(cache=True)
def _segment(x, a, b):  # type: ignore[no-untyped-def]
    """Distance of x to the segment: to an end where x lies beyond it, else |u x w| / |u|."""
    ux, uy, uz = b[0] - a[0], b[1] - a[1], b[2] - a[2]
    wx, wy, wz = x[0] - a[0], x[1] - a[1], x[2] - a[2]
    vx, vy, vz = x[0] - b[0], x[1] - b[1], x[2] - b[2]
    if ux * wx + uy * wy + uz * wz <= 0.0:
        return np.sqrt(wx * wx + wy * wy + wz * wz)
    if ux * vx + uy * vy + uz * vz >= 0.0:
        return np.sqrt(vx * vx + vy * vy + vz * vz)
    cx, cy, cz = uy * wz - uz * wy, uz * wx - ux * wz, ux * wy - uy * wx
    return np.sqrt((cx * cx + cy * cy + cz * cz) / (ux * ux + uy * uy + uz * uz))


@njit(cache=True)
def to_boxes(now, points, center, half, yaw):  # type: ignore[no-untyped-def]
    """Smallest signed distance [m] of a body's points to boxes turned about z, negative inside."""
    least = np.inf
    for i in range(len(points)):
        x = _placed(now, points[i])
        for k in range(len(yaw)):
            least = min(least, _box(x, center[k], half[k], yaw[k]))
    return least


@njit(cache=True)
def points_to_boxes(points, center, half, yaw):  # type: ignore[no-untyped-def]
    """Signed distances (N, B) [m] of points in the world to boxes."""
    out = np.empty((len(points), len(yaw)))
    for i in range(len(points)):
        for k in range(len(yaw)):
            out[i, k] = _box(points[i], center[k], half[k], yaw[k])
    return out


@njit(cache=True)
def _box(x, center, half, yaw):  # type: ignore[no-untyped-def]
    c, s = np.cos(yaw), np.sin(yaw)
    dx, dy, dz = x[0] - center[0], x[1] - center[1], x[2] - center[2]
    ex, ey, ez = abs(c * dx + s * dy) - half[0], abs(c * dy - s * dx) - half[1], abs(dz) - half[2]
    deepest = max(ex, ey, ez)
    if deepest <= 0.0:
        return deepest
    ex, ey, ez = max(ex, 0.0), max(ey, 0.0), max(ez, 0.0)
    return np.sqrt(ex * ex + ey * ey + ez * ez)
