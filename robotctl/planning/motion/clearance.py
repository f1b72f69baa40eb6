"""This file turns a configuration, or a straight motion of the joints, into its clearance from obstacles and itself.

A motion is checked continuously (conservative advancement, after Mirtich 1996 and Schwarzer, Saha & Latombe 2005): at
a configuration with clearance d nothing can collide before some point has travelled d, so the check leaps that far.
Points travel at most sum_k |dq_k| rho_k, rho_k the distance of joint k's axis from the farthest point of the body.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numba import njit

from robotctl.planning.motion.chain import BODIES, Robot, forward
from robotctl.planning.motion.gjk import BOX, CYLINDER, HULL, SPHERE, distance
from robotctl.planning.motion.problem import MOST, Obstacle

MARGIN = 1e-3  # least clearance of every configuration that is checked [m]
LEAP = 0.5  # joints turn at most this much in sum between two checks [rad]
TOUCH = 0.1  # allowed touches happen with the hand's origin at most this far from its goal [m]
FINE = 0.01  # [rad]
FAR = 10.0  # distances are not looked for beyond [m]
TOUCH_STEP = 0.02  # the gripper travels at most this far between two checks while it may touch something [m]
KINDS = {"sphere": SPHERE, "box": BOX, "cylinder": CYLINDER}


class World(NamedTuple):
    """Obstacles as tables, O of them, and where touching is allowed."""

    kind: np.ndarray  # (O,) SPHERE, BOX or CYLINDER
    size: np.ndarray  # (O, 3) as in gjk.distance [m]
    rotation: np.ndarray  # (O, 3, 3)
    position: np.ndarray  # (O, 3) [m]
    allowed: np.ndarray  # (O,) 1 where the gripper may touch near the goal
    goal: np.ndarray  # (3,) hand's origin at the goal [m]
    touch: float  # radius around it [m]


class Scratch(NamedTuple):
    """Memory that the kernels below write to."""

    rotation: np.ndarray  # (J+1, 3, 3) of frames
    position: np.ndarray  # (J+1, 3)
    center: np.ndarray  # (B, 3) of the bodies' spheres in the world
    rate: np.ndarray  # (B, J+1) bound on travel due to joints k and later, for one motion [m]
    turn: np.ndarray  # (J+2,) sum of |dq| of joints k and later
    work: np.ndarray  # (7, 3)
    gap: np.ndarray  # (B, MOST) lower bounds of distances from obstacles [m]


def world_of(obstacles: Sequence[Obstacle], allowed: Sequence[str], goal: np.ndarray, touch: float) -> World:
    """Tables of obstacles; those named in `allowed` may be touched within `touch` [m] of the hand's goal (3,)."""
    return World(
        kind=np.array([KINDS[o.type] for o in obstacles], np.int64),
        size=np.array([o.half for o in obstacles]).reshape(-1, 3),
        rotation=np.array([o.rotation for o in obstacles]).reshape(-1, 3, 3),
        position=np.array([o.position for o in obstacles]).reshape(-1, 3),
        allowed=np.array([o.name in allowed for o in obstacles], np.int64),
        goal=np.asarray(goal, float),
        touch=touch,
    )


@njit(cache=True)
def scratch(robot):
    """Memory for one thread."""
    joints, bodies = len(robot.low), len(robot.frame)
    return Scratch(
        np.empty((joints + 1, 3, 3)), np.empty((joints + 1, 3)), np.empty((bodies, 3)),
        np.zeros((bodies, joints + 1)), np.zeros(joints + 2), np.empty((7, 3)), np.empty((bodies, MOST)),
    )  # fmt: skip


@njit(cache=True)
def _place(robot, q, mem):
    """Frames and body centres at q."""
    forward(robot, q, mem.rotation, mem.position)
    for b in range(len(robot.frame)):
        f = robot.frame[b]
        for i in range(3):
            mem.center[b, i] = mem.position[f, i] + (
                mem.rotation[f, i, 0] * robot.center[b, 0]
                + mem.rotation[f, i, 1] * robot.center[b, 1]
                + mem.rotation[f, i, 2] * robot.center[b, 2]
            )


@njit(cache=True)
def _rates(robot, dq, mem):
    """Bounds on the travel of every body for the motion dq that starts where `_place` was called."""
    joints = len(dq)
    for k in range(joints - 1, -1, -1):
        mem.turn[k] = mem.turn[k + 1] + (0.0 if robot.slides[k] else abs(dq[k]))
    for b in range(len(robot.frame)):
        total = 0.0
        for k in range(robot.frame[b] - 1, -1, -1):
            if robot.slides[k]:
                total += abs(dq[k])
            elif dq[k] != 0.0:
                z0, z1, z2 = mem.rotation[k + 1, 0, 2], mem.rotation[k + 1, 1, 2], mem.rotation[k + 1, 2, 2]
                a0 = mem.center[b, 0] - mem.position[k + 1, 0]
                a1 = mem.center[b, 1] - mem.position[k + 1, 1]
                a2 = mem.center[b, 2] - mem.position[k + 1, 2]
                along = a0 * z0 + a1 * z1 + a2 * z2
                square = a0 * a0 + a1 * a1 + a2 * a2 - along * along
                total += abs(dq[k]) * (np.sqrt(max(square, 0.0)) + robot.radius[b])
            mem.rate[b, k] = total


@njit(cache=True)
def _gaps(kind, size, rotation, position, center, radius, gap):
    """Fill gap (B, O): distance [m] of each body's sphere from each obstacle, negative where they may meet.

    All in one call on plain arrays: called pair by pair this was half of the time of a check.
    """
    for o in range(len(kind)):
        k, s0, s1, s2 = kind[o], size[o, 0], size[o, 1], size[o, 2]
        r00, r01, r02 = rotation[o, 0, 0], rotation[o, 0, 1], rotation[o, 0, 2]
        r10, r11, r12 = rotation[o, 1, 0], rotation[o, 1, 1], rotation[o, 1, 2]
        r20, r21, r22 = rotation[o, 2, 0], rotation[o, 2, 1], rotation[o, 2, 2]
        for b in range(len(radius)):
            g0, g1, g2 = center[b, 0] - position[o, 0], center[b, 1] - position[o, 1], center[b, 2] - position[o, 2]
            x, y, z = r00 * g0 + r10 * g1 + r20 * g2, r01 * g0 + r11 * g1 + r21 * g2, r02 * g0 + r12 * g1 + r22 * g2
            if k == SPHERE:
                d = np.sqrt(x * x + y * y + z * z) - s0
            elif k == BOX:
                x, y, z = max(abs(x) - s0, 0.0), max(abs(y) - s1, 0.0), max(abs(z) - s2, 0.0)
                d = np.sqrt(x * x + y * y + z * z)
            else:
                x, z = max(np.sqrt(x * x + y * y) - s0, 0.0), max(abs(z) - s1, 0.0)
                d = np.sqrt(x * x + z * z)
            gap[b, o] = d - radius[b]


@njit(cache=True)
def _to_obstacle(robot, world, b, o, cap, mem):
    """Distance [m] of body b, placed, from obstacle o; a lower bound once it exceeds `cap`."""
    f = robot.frame[b]
    return distance(
        robot.vertices, robot.first[b], robot.first[b + 1], robot.center[b], mem.rotation[f], mem.position[f],
        world.kind[o], world.size[o], 0, 0, world.rotation[o], world.position[o], cap + robot.rounding[b], mem.work,
    ) - robot.rounding[b]  # fmt: skip


@njit(cache=True)
def _to_body(robot, a, b, cap, mem):
    """Distance [m] of bodies a and b, placed; a lower bound once it exceeds `cap`."""
    f, g = robot.frame[b], robot.frame[a]
    rounding = robot.rounding[a] + robot.rounding[b]
    return distance(
        robot.vertices, robot.first[b], robot.first[b + 1], robot.center[b], mem.rotation[f], mem.position[f],
        HULL, robot.center[a], robot.first[a], robot.first[a + 1], mem.rotation[g], mem.position[g],
        cap + rounding, mem.work,
    ) - rounding  # fmt: skip


@njit(cache=True)
def _at_goal(robot, world, mem):
    """Whether the hand, placed, is where allowed touches may happen."""
    last = len(robot.low)
    square = 0.0
    for i in range(3):
        hand = mem.position[last, i]
        for j in range(3):
            hand += mem.rotation[last, i, j] * robot.hand_offset[j]
        square += (hand - world.goal[i]) ** 2
    return square <= world.touch * world.touch


@njit(cache=True)
def leap(robot, world, q, dq, longest, margin, mem):
    """Share of the motion dq from q, at most `longest`, that is free; -1 if q itself has less clearance than margin.

    Travel over the share s grows as m' <= A + B m, A the rate at q and B the sum of |dq|, so s = d / (A + B d) is
    safe. `margin` counts twice, here and at the other end, which will be checked, too: each covers half of the way.
    """
    _place(robot, q, mem)
    _rates(robot, dq, mem)
    best = longest
    gap = mem.gap[:, : len(world.kind)]
    _gaps(world.kind, world.size, world.rotation, world.position, mem.center, robot.radius, gap)
    touching = world.touch > 0.0 and _at_goal(robot, world, mem)
    for b in range(len(robot.frame) - 1, -1, -1):
        rate, turn = mem.rate[b, 0], mem.turn[0]
        if robot.frame[b] == 0:
            continue  # the base does not move: what stands near it is no obstacle to any motion
        for o in range(gap.shape[1]):
            wanted = max(margin, best * rate / (1.0 - best * turn) - 0.9 * margin)
            if gap[b, o] > wanted:
                continue
            if touching and world.allowed[o] and b >= robot.gripper:
                if rate > 0.0:  # the hand may leave the place of touches before the next check: not far
                    best = min(best, TOUCH_STEP / (rate + turn * TOUCH_STEP))
                continue
            d = _to_obstacle(robot, world, b, o, wanted, mem)
            if not d >= margin:
                return -1.0
            d += 0.9 * margin
            if rate > 0.0:
                best = min(best, d / (rate + turn * d))
    for k in range(len(robot.pair)):
        a, b = robot.pair[k, 0], robot.pair[k, 1]
        rate, turn = mem.rate[b, robot.frame[a]], mem.turn[robot.frame[a]]
        wanted = max(margin, best * rate / (1.0 - best * turn) - 0.9 * margin)
        reach = wanted + robot.radius[a] + robot.radius[b]
        x, y, z = mem.center[a, 0] - mem.center[b, 0], mem.center[a, 1] - mem.center[b, 1], 0.0
        z = mem.center[a, 2] - mem.center[b, 2]
        if x * x + y * y + z * z > reach * reach:
            continue
        d = _to_body(robot, a, b, wanted, mem)
        if not d >= margin:
            return -1.0
        d += 0.9 * margin
        if rate > 0.0:
            best = min(best, d / (rate + turn * d))
    return best


@njit(cache=True)
def free(robot, world, q, margin, mem):
    """Whether q keeps `margin` [m] to obstacles and itself."""
    return leap(robot, world, q, np.zeros(len(q)), 1.0, margin, mem) >= 0.0


@njit(cache=True)
def rooms(robot, world, q):
    """Distance (B,) [m] of each body's sphere at q from the nearest obstacle, negative where they may meet."""
    mem = scratch(robot)
    _place(robot, q, mem)
    gap = mem.gap[:, : len(world.kind)]
    _gaps(world.kind, world.size, world.rotation, world.position, mem.center, robot.radius, gap)
    room = np.full(len(robot.frame), np.inf)
    for b in range(len(room)):
        for o in range(gap.shape[1]):
            room[b] = min(room[b], gap[b, o])
    return room


@njit(cache=True)
def march(robot, world, start, end, margin, mem):
    """Share of the straight motion from start to end that is free, 1 if all of it is, -1 if not even the start."""
    dq = end - start
    total = np.abs(dq).sum()
    longest = LEAP / total if total > LEAP else 1.0
    at, reached = 0.0, -1.0
    q = start.copy()
    while True:
        for j in range(len(q)):
            q[j] = end[j] if at >= 1.0 else start[j] + at * dq[j]
        step = leap(robot, world, q, dq, min(longest, max(1.0 - at, 0.0)), margin, mem)
        if step < 0.0:
            return reached
        reached = at
        if at >= 1.0:
            return 1.0
        at = min(at + step, 1.0)
        if at > 1.0 - 1e-9:
            at = 1.0


@njit(cache=True)
def nearest_obstacle(robot, world, q, cap, mem):
    """Smallest distance [m] to an obstacle that may not be touched, at most `cap`, with its body and the obstacle.

    Allowed obstacles count only away from the goal; -1, -1 if nothing is nearer than `cap`.
    """
    _place(robot, q, mem)
    touching = world.touch > 0.0 and _at_goal(robot, world, mem)
    gap = mem.gap[:, : len(world.kind)]
    _gaps(world.kind, world.size, world.rotation, world.position, mem.center, robot.radius, gap)
    out, body, obstacle = cap, -1, -1
    for b in range(len(robot.frame)):
        for o in range(len(world.kind)):
            if (touching and world.allowed[o] and b >= robot.gripper) or robot.frame[b] == 0:
                continue
            if gap[b, o] > out:
                continue
            d = _to_obstacle(robot, world, b, o, out, mem)
            if d < out:
                out, body, obstacle = d, b, o
    return out, body, obstacle


@njit(cache=True)
def nearest_pair(robot, q, mem):
    """Smallest distance [m] between two bodies of the robot that may meet, and which."""
    _place(robot, q, mem)
    own, first, second = 10.0, -1, -1
    for k in range(len(robot.pair)):
        d = _to_body(robot, robot.pair[k, 0], robot.pair[k, 1], own, mem)
        if d < own:
            own, first, second = d, robot.pair[k, 0], robot.pair[k, 1]
    return own, first, second


@njit(cache=True)
def path_clearance(robot, world, path, margin, mem):
    """Whether every straight step of path (n, J) is free, and the smallest distance [m] to an obstacle along it.

    The distance is that of points no more than FINE apart in any joint.
    """
    least, _, _ = nearest_obstacle(robot, world, path[0], FAR, mem)
    for k in range(1, len(path)):
        dq = path[k] - path[k - 1]
        n = max(1, int(np.ceil(np.abs(dq).max() / FINE)))
        for i in range(1, n + 1):
            least, _, _ = nearest_obstacle(robot, world, path[k - 1] + dq * (i / n), least, mem)
        if march(robot, world, path[k - 1], path[k], margin, mem) < 1.0:
            return False, least
    return True, least


def obstruction(robot: Robot, world: World, names: Sequence[str], q: np.ndarray) -> str:
    """What a configuration (J,) is in collision with, in words; empty if it keeps MARGIN."""
    mem = scratch(robot)
    if free(robot, world, q, MARGIN, mem):
        return ""
    out, body, obstacle = nearest_obstacle(robot, world, q, FAR, mem)
    own, first, second = nearest_pair(robot, q, mem)
    if out < MARGIN and out <= own:
        return f"{names[obstacle]} ({BODIES[body]})"
    return f"itself ({BODIES[first]} and {BODIES[second]})"
