"""This file turns free space into a path: RRT-Connect and shortcuts, in numba, for any chain of joints.

Kuffner & LaValle 2000, "RRT-Connect: an efficient approach to single-query path planning"; shortcuts after Geraerts &
Overmars 2007, "Creating high-quality paths for motion planning". Random numbers come in as arrays.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from robotctl.planning.motion.clearance import free, march, scratch

NODES = 20000  # capacity of each tree
LAG = 4  # a tree with this many times fewer nodes than the other lags behind
LOCAL = 0.1  # share of the joints' range in which such a tree tries something near
STEP = 0.4  # longest edge that a tree grows at once, weighted [rad]


class Trees(NamedTuple):
    """Two trees, 0 rooted at the start and 1 at the goals."""

    q: np.ndarray  # (2, NODES, J)
    parent: np.ndarray  # (2, NODES) -1 for a root
    filled: np.ndarray  # (2,) nodes in use


def plant(start: np.ndarray, goals: np.ndarray) -> Trees:
    """Trees of roots only: start (J,), goals (G, J)."""
    trees = Trees(
        np.empty((2, NODES, len(start))), np.full((2, NODES), -1, np.int64), np.array([1, len(goals)], np.int64)
    )
    trees.q[0, 0] = start
    trees.q[1, : len(goals)] = goals
    return trees


@njit(cache=True)
def _length(weight, a, b):
    """Weighted distance of two configurations (J,)."""
    total = 0.0
    for j in range(len(a)):
        d = weight[j] * (a[j] - b[j])
        total += d * d
    return np.sqrt(total)


@njit(cache=True)
def _closest(weight, q, count, target):
    """Index of the node of q (n, J) that is nearest to target (J,)."""
    best, at = 1e300, 0
    for i in range(count):
        total = 0.0
        for j in range(len(target)):
            d = weight[j] * (q[i, j] - target[j])
            total += d * d
            if total >= best:
                break
        if total < best:
            best, at = total, i
    return at


@njit(cache=True)
def _extend(robot, world, trees, side, at, target, longest, margin, mem):
    """Grow a tree by one step from node `at` towards target; the new node and whether it is the target, or -1."""
    weight, q = robot.weight, trees.q[side]
    length = _length(weight, q[at], target)
    whole = length <= longest
    new = target.copy() if whole else q[at] + (target - q[at]) * (longest / length)
    if trees.filled[side] >= q.shape[0] or not free(robot, world, new, margin, mem):
        return -1, False
    if march(robot, world, q[at], new, margin, mem) < 1.0:
        return -1, False
    n = trees.filled[side]
    q[n], trees.parent[side, n] = new, at
    trees.filled[side] = n + 1
    return n, whole


@njit(cache=True)
def grow(robot, world, trees, samples, longest, margin):
    """Grow both trees in turns towards samples (n, J + 1), the last column in [0, 1); the nodes (2,) where they met.

    -1, -1 if they did not. A tree that lags behind stands in a narrow place, where far samples only lead into walls:
    every other turn it tries something near one of its own nodes instead, chosen by the last column.
    """
    mem = scratch(robot)
    joints = len(robot.low)
    middle = 0.5 * (robot.low + robot.high)
    for i in range(len(samples)):
        side = i % 2
        target = samples[i, :joints].copy()
        filled = trees.filled[side]
        if LAG * filled < trees.filled[1 - side] and i % 4 < 2:
            near = min(int(samples[i, joints] * filled), filled - 1)
            for j in range(joints):
                wanted = trees.q[side, near, j] + LOCAL * (target[j] - middle[j])
                target[j] = min(max(wanted, robot.low[j]), robot.high[j])
        near = _closest(robot.weight, trees.q[side], filled, target)
        new, _ = _extend(robot, world, trees, side, near, target, longest, margin, mem)
        if new < 0:
            continue
        other, target = 1 - side, trees.q[side, new]
        at = _closest(robot.weight, trees.q[other], trees.filled[other], target)
        met = _length(robot.weight, trees.q[other, at], target) < 1e-9
        while not met:
            at, met = _extend(robot, world, trees, other, at, target, longest, margin, mem)
            if at < 0:
                break
        if met:
            return (new, at) if side == 0 else (at, new)
    return -1, -1


def way(trees: Trees, a: int, b: int) -> np.ndarray:
    """The path (n, J) from the start over node a of tree 0, which is node b of tree 1, to a goal."""
    forth, back = [], []
    while a >= 0:
        forth.append(trees.q[0, a])
        a = int(trees.parent[0, a])
    while b >= 0:
        back.append(trees.q[1, b])
        b = int(trees.parent[1, b])
    return np.array(forth[::-1] + back[1:])


@njit(cache=True)
def keeps(robot, world, path, margin, mem):
    """Whether the straight lines between the configurations of `path` (n, J) keep `margin` [m]."""
    for k in range(1, len(path)):  # noqa: SIM110 (numba compiles no generators)
        if march(robot, world, path[k - 1], path[k], margin, mem) < 1.0:
            return False
    return True


@njit(cache=True)
def shorten(robot, world, path, draws, margin, comfort, patience):
    """The path (n, J) with detours cut out: draws (m, 2) in [0, 1) say which two points of it to join, in turns.

    A stretch that keeps `comfort` [m] is given up only for one that does, too; `margin` [m] holds everywhere. After
    `patience` draws that changed nothing it is good enough.
    """
    mem = scratch(robot)
    n, joints = path.shape
    size = n + 2 * len(draws)
    way, other = np.empty((size, joints)), np.empty((size, joints))
    way[:n] = path
    along = np.zeros(size)
    last = 0  # draw that changed something
    for draw in range(len(draws)):
        if n < 3 or draw - last > patience:
            break
        for k in range(1, n):
            along[k] = along[k - 1] + _length(robot.weight, way[k - 1], way[k])
        u, v = min(draws[draw, 0], draws[draw, 1]) * along[n - 1], max(draws[draw, 0], draws[draw, 1]) * along[n - 1]
        i, k = 0, 0
        while i < n - 2 and along[i + 1] <= u:
            i += 1
        while k < n - 2 and along[k + 1] <= v:
            k += 1
        if k == i:
            continue
        # Near a corner, the corner itself: otherwise corners multiply.
        du, dv = along[i + 1] - along[i], along[k + 1] - along[k]
        a = way[i] + (way[i + 1] - way[i]) * ((u - along[i]) / du if du > 0.0 else 0.0)
        b = way[k] + (way[k + 1] - way[k]) * ((v - along[k]) / dv if dv > 0.0 else 0.0)
        old = (along[i + 1] - u) + (along[k] - along[i + 1]) + (v - along[k])
        if _length(robot.weight, a, b) > old - 1e-3:
            continue
        if march(robot, world, a, b, comfort, mem) < 1.0:
            if march(robot, world, a, b, margin, mem) < 1.0:
                continue
            other[0], other[k - i + 1] = a, b
            other[1 : k - i + 1] = way[i + 1 : k + 1]
            if keeps(robot, world, other[: k - i + 2], comfort, mem):
                continue
        m = 0
        for x in range(i + 1):
            other[m] = way[x]
            m += 1
        if _length(robot.weight, way[i], a) > 1e-6:
            other[m] = a
            m += 1
        if _length(robot.weight, b, way[k + 1]) > 1e-6:
            other[m] = b
            m += 1
        for x in range(k + 1, n):
            other[m] = way[x]
            m += 1
        way, other, n, last = other, way, m, draw
    return way[:n].copy()


@njit(cache=True)
def straighten(robot, world, path, margin, comfort):
    """The path (n, J) without the corners that can be left out one by one; `margin` and `comfort` as above."""
    mem = scratch(robot)
    out = path.copy()
    n, k = len(path), 1
    while k < n - 1:
        if march(robot, world, out[k - 1], out[k + 1], comfort, mem) >= 1.0 or (
            march(robot, world, out[k - 1], out[k + 1], margin, mem) >= 1.0
            and not keeps(robot, world, out[k - 1 : k + 2], comfort, mem)
        ):
            for x in range(k, n - 1):
                out[x] = out[x + 1]
            n, k = n - 1, max(k - 1, 1)
        else:
            k += 1
    return out[:n].copy()
