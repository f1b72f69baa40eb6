"""This file turns a path with corners into a motion in time that keeps speed and acceleration limits.

Corners are rounded by parabolas (as in Kunz & Stilman 2012, "Time-optimal trajectory generation for path following with
bounded acceleration and velocity", with parabolas for their arcs), so that q(s) is piecewise quadratic. Along it the
fastest s(t) is found on a grid by a backward and a forward pass (Pham & Pham 2018, "TOPP-RA"). With x = (ds/dt)^2 and
u = d2s/dt2 constant on an interval, joint accelerations q' u + q'' x are linear in s there: keeping the limits at both
ends of every interval keeps them everywhere.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

RESERVE = 0.97  # of the limits that are used: what rounding and a checker's finite differences may take
PERIOD = 0.01  # of samples [s]
GRID = 0.02  # interval of the path parameter on straight parts [rad]
PIECES = 8  # least number of intervals of a straight part or a blend
STILL = 1e-9  # parts shorter than this are left out [rad]


class Curve(NamedTuple):
    """q(s) on m intervals, quadratic on each; s is the length along the straight parts [rad]."""

    begin: np.ndarray  # (m, J) q at an interval's begin
    first: np.ndarray  # (m, J) dq/ds there
    second: np.ndarray  # (m, J) d2q/ds2, constant on it
    length: np.ndarray  # (m,) of the interval [rad]
    stop: np.ndarray  # (m + 1,) 1 where the motion must stand still


def corners(path: np.ndarray) -> np.ndarray:
    """The path (n, J) without repeated points."""
    keep = np.ones(len(path), bool)
    keep[1:] = np.linalg.norm(np.diff(path, axis=0), axis=1) > STILL
    out = path[keep]
    if len(out) > 1:
        out[-1] = path[-1]
    return out


def blend_points(path: np.ndarray, corner: int, size: float, n: int = 13) -> np.ndarray:
    """Points (n, J) on the parabola that rounds a corner from `size` [rad] before it to `size` behind it."""
    before, here, after = path[corner - 1], path[corner], path[corner + 1]
    a = here + (before - here) * (size / np.linalg.norm(before - here))
    b = here + (after - here) * (size / np.linalg.norm(after - here))
    t = np.linspace(0.0, 1.0, n)[:, None]
    return (1 - t) ** 2 * a + 2 * t * (1 - t) * here + t**2 * b


def curve(path: np.ndarray, sizes: np.ndarray) -> Curve:
    """The path (n, J) with corner i rounded over sizes[i] [rad], (n,); 0 is a stop at the corner."""
    sizes = np.where(sizes > STILL, sizes, 0.0)
    begin, first, second, length, stop = [], [], [], [], [1]
    steps = np.diff(path, axis=0)
    lengths = np.linalg.norm(steps, axis=1)
    directions = steps / lengths[:, None]
    for i, (direction, whole) in enumerate(zip(directions, lengths, strict=True)):
        straight = whole - sizes[i] - sizes[i + 1]
        if straight > STILL:
            n = max(PIECES, int(np.ceil(straight / GRID)))
            s = np.linspace(0.0, straight, n + 1)[:-1]
            begin.append(path[i] + (sizes[i] + s)[:, None] * direction)
            first.append(np.tile(direction, (n, 1)))
            second.append(np.zeros((n, path.shape[1])))
            length.append(np.full(n, straight / n))
            stop += [0] * n
        if i + 1 < len(path) - 1 and sizes[i + 1] > 0.0:
            size, bend = sizes[i + 1], (directions[i + 1] - direction) / (2.0 * sizes[i + 1])
            n = max(PIECES, int(np.ceil(2.0 * size / GRID)))
            s = np.linspace(0.0, 2.0 * size, n + 1)[:-1, None]
            begin.append(path[i + 1] - size * direction + s * direction + 0.5 * s * s * bend)
            first.append(direction + s * bend)
            second.append(np.tile(bend, (n, 1)))
            length.append(np.full(n, 2.0 * size / n))
            stop += [0] * n
        else:
            stop[-1] = 1
    stop[-1] = 1
    return Curve(
        np.concatenate(begin), np.concatenate(first), np.concatenate(second), np.concatenate(length), np.array(stop)
    )


@njit(cache=True)
def _range(first, second, length, x, following, acceleration):
    """Interval of u [1/s^2] that keeps the limits on an interval entered with x and left with at most `following`."""
    low, high = -x / (2.0 * length), (following - x) / (2.0 * length)
    for j in range(len(first)):
        bend = second[j] * x
        for slope in (first[j], first[j] + 3.0 * length * second[j]):  # at the end q' is first + length * second
            if abs(slope) > 1e-12:
                a, b = (-acceleration[j] - bend) / slope, (acceleration[j] - bend) / slope
                low, high = max(low, min(a, b)), min(high, max(a, b))
            elif abs(bend) > acceleration[j]:
                return 1.0, -1.0
    return low, high


@njit(cache=True)
def profile(path, speed, acceleration):
    """x = (ds/dt)^2 (m + 1,) at the ends of a curve's intervals, as fast as the limits (J,) allow."""
    m = len(path.length)
    fastest = np.full(m + 1, 1e6)
    for i in range(m):
        for j in range(path.first.shape[1]):
            for end in range(2):
                slope = abs(path.first[i, j] + end * path.length[i] * path.second[i, j])
                if slope > 1e-9:
                    fastest[i + end] = min(fastest[i + end], (speed[j] / slope) ** 2)
    for i in range(m + 1):
        if path.stop[i]:
            fastest[i] = 0.0
    # Backward: the largest x from which the rest of the way can still be kept to.
    x = fastest.copy()
    for i in range(m - 1, -1, -1):
        below, above = 0.0, x[i]
        low, high = _range(path.first[i], path.second[i], path.length[i], above, x[i + 1], acceleration)
        if low <= high:
            continue
        for _ in range(40):
            middle = 0.5 * (below + above)
            low, high = _range(path.first[i], path.second[i], path.length[i], middle, x[i + 1], acceleration)
            if low <= high:
                below = middle
            else:
                above = middle
        x[i] = below
    # Forward: as much speed as possible.
    for i in range(m):
        low, high = _range(path.first[i], path.second[i], path.length[i], x[i], x[i + 1], acceleration)
        x[i + 1] = max(0.0, min(x[i + 1], x[i] + 2.0 * path.length[i] * max(high, low)))
    return x


def timed(path: Curve, end: np.ndarray, speed: np.ndarray, acceleration: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Times (n,) [s] and joints (n, J) of the fastest motion along a curve to `end` (J,), at rest at both ends.

    The first and the last sample are held for one period, so that finite differences see the rest, too.
    """
    x = profile(path, RESERVE * speed, RESERVE * acceleration)
    rate = np.sqrt(x)
    took = 2.0 * path.length / np.maximum(rate[:-1] + rate[1:], 1e-9)
    at = np.concatenate([[0.0], np.cumsum(took)])
    n = max(2, int(np.ceil(at[-1] / PERIOD)))
    period = at[-1] / n
    times = period * np.arange(n + 1)
    k = np.clip(np.searchsorted(at, times, side="right") - 1, 0, len(took) - 1)
    t = times - at[k]
    u = (x[k + 1] - x[k]) / (2.0 * path.length[k])
    s = np.clip(rate[k] * t + 0.5 * u * t * t, 0.0, path.length[k])[:, None]
    q = path.begin[k] + s * path.first[k] + 0.5 * s * s * path.second[k]
    q[0], q[-1] = path.begin[0], end
    joints = np.concatenate([q[:1], q, q[-1:]])
    return period * np.arange(n + 3), joints
