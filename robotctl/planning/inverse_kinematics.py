"""Whole-body inverse kinematics: joints that bring the hand to a pose, clear of everything, near where they are.

Base placements are drawn around the target, and damped least squares with joint weights W and a comfortable
posture in the null space (Nakamura and Hanafusa 1986; Chiaverini 1997) pulls the hand to its pose:

    dq = W J' (J W J' + lambda I)^-1 e + (1 - J# J) k (q_comfort - q).

What collides, or ends near a joint limit, is dropped. A target may have several positions, which the arm reaches
one after the other from the same base placement.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numba import njit

from robotctl.guardrails.clearance import Boxes
from robotctl.guardrails.guardrail import parts
from robotctl.objectives.hand_path import HandPath, Posture
from robotctl.planning.kernels import cross, frames
from robotctl.planning.rows import evaluate
from robotctl.planning.tables import Balls, Body, Motion, Pairs, People, Rules, Solids, Tightening, Tilt, self_pairs
from robotctl.robot import DQ_MAX, HAND, N_FRAMES, Q_MAX, Q_MIN, TCP, RobotModel

COMFORT = np.array([0.0, 0.0, 0.0, 0.0, 0.0, 0.0, -1.9, 0.0, 2.0, 0.785])  # elbow bent, hand pointing down
LIMIT_MARGIN = 0.06  # from the joints' end stops [m, rad]
CLEARANCE = 0.02  # of base, arm and palm to furniture: guardrail, tracking error, bend and back-off of the planner [m]
CONTACT = -0.02  # of fingers: they reach to where things stand [m]; of what is held, sphere centres stay outside
OBJECT_CLEARANCE = -0.005  # of wrist, hand and what is held to other objects' spheres [m]
COMFORTABLE = 0.03  # room beyond CLEARANCE above which more is not better [m]
REACH = (0.35, 0.80)  # horizontal distance of a base placement to the target [m]
WEIGHT_TRAVEL, WEIGHT_FOLLOW = 0.05, 0.0  # mobility of the base in least squares, first and further positions
ITERATIONS, FOLLOW_ITERATIONS = 40, 25
POSITION_TOLERANCE, ANGLE_TOLERANCE = 5e-4, 3e-3  # [m], [rad]


@njit(cache=True)
def _solve6(a, b):
    """Solution of a symmetric positive definite 6 x 6 system in place (Cholesky); the solution is left in b."""
    for i in range(6):
        for j in range(i + 1):
            total = a[i, j]
            for k in range(j):
                total -= a[i, k] * a[j, k]
            if i == j:
                a[i, i] = np.sqrt(max(total, 1e-12))
            else:
                a[i, j] = total / a[j, j]
    for i in range(6):
        for k in range(i):
            b[i] -= a[i, k] * b[k]
        b[i] /= a[i, i]
    for i in range(5, -1, -1):
        for k in range(i + 1, 6):
            b[i] -= a[k, i] * b[k]
        b[i] /= a[i, i]


@njit(cache=True)
def descend(q, positions, rotations, mobility, comfort, gain, low, high, iterations):
    """Damped least squares from each start: moves q (n, 10) in place, returns which (n,) reached their pose.

    positions (n, 3), rotations (n, 3, 3), mobility (10,) = diagonal of W.
    """
    n = len(q)
    reached = np.zeros(n, np.bool_)
    R, o = np.empty((N_FRAMES, 3, 3)), np.empty((N_FRAMES, 3))
    J, A, b, e = np.zeros((6, 10)), np.empty((6, 6)), np.empty(6), np.empty(6)
    J[0, 0] = J[1, 1] = 1.0
    null, step = np.empty(10), np.empty(10)
    for s in range(n):
        for _ in range(iterations):
            frames(q[s], R, o)
            t0 = o[HAND, 0] + R[HAND, 0, 2] * TCP[2]
            t1 = o[HAND, 1] + R[HAND, 1, 2] * TCP[2]
            t2 = o[HAND, 2] + R[HAND, 2, 2] * TCP[2]
            e[0], e[1], e[2] = positions[s, 0] - t0, positions[s, 1] - t1, positions[s, 2] - t2
            e[3] = e[4] = e[5] = 0.0
            trace = 0.0
            for c in range(3):
                c0, c1, c2 = cross(
                    R[HAND, 0, c], R[HAND, 1, c], R[HAND, 2, c],
                    rotations[s, 0, c], rotations[s, 1, c], rotations[s, 2, c],
                )  # fmt: skip
                e[3] += 0.5 * c0
                e[4] += 0.5 * c1
                e[5] += 0.5 * c2
                for d in range(3):
                    trace += R[HAND, d, c] * rotations[s, d, c]
            away = np.sqrt(e[0] ** 2 + e[1] ** 2 + e[2] ** 2)
            sine = np.sqrt(e[3] ** 2 + e[4] ** 2 + e[5] ** 2)
            cosine = 0.5 * (trace - 1.0)
            angle = np.arctan2(sine, cosine)
            if away < POSITION_TOLERANCE and angle < ANGLE_TOLERANCE:
                reached[s] = True
                break
            stretch = angle / sine if sine > 1e-9 else 1.0
            limit = min(1.0, 0.3 / max(away, 1e-9))
            turn = stretch * min(1.0, 0.8 / max(angle, 1e-9))
            for d in range(3):
                e[d] *= limit
                e[3 + d] *= turn
            for i in range(8):
                z0, z1, z2 = R[i, 0, 2], R[i, 1, 2], R[i, 2, 2]
                J[0, 2 + i], J[1, 2 + i], J[2, 2 + i] = cross(z0, z1, z2, t0 - o[i, 0], t1 - o[i, 1], t2 - o[i, 2])
                J[3, 2 + i], J[4, 2 + i], J[5, 2 + i] = z0, z1, z2
            for j in range(10):
                null[j] = gain * mobility[j] * (comfort[j] - q[s, j]) if j > 2 else 0.0
            damping = 1e-4 + 0.01 * min(away + angle, 1.0)
            for i in range(6):
                for j in range(i + 1):
                    total = 0.0
                    for m in range(10):
                        total += J[i, m] * mobility[m] * J[j, m]
                    A[i, j] = total
                A[i, i] += damping
                b[i] = e[i]
                for m in range(10):
                    b[i] -= J[i, m] * null[m]
            _solve6(A, b)
            for j in range(10):
                total = null[j]
                for i in range(6):
                    total += mobility[j] * J[i, j] * b[i]
                step[j] = min(max(total, -0.5), 0.5)
                q[s, j] = min(max(q[s, j] + step[j], low[j]), high[j])
    return reached


class _Collision:
    """How far a configuration is from touching anything it should not."""

    def __init__(self, robot: RobotModel, boxes: Boxes, obstacles: np.ndarray) -> None:
        spheres = robot.spheres
        n = len(spheres)
        required = np.full((n, len(boxes.center)), CONTACT)
        required[parts(robot, "base", "arm", "hand")] = CLEARANCE
        load = parts(robot, "held", "blade")
        required[load] = -spheres.radius[load, None]
        near = np.full((n, len(obstacles)), -np.inf)
        near[spheres.frame >= 5] = OBJECT_CLEARANCE
        base = np.full((n, len(boxes.center)), -np.inf)
        base[parts(robot, "base")] = CLEARANCE
        none = np.zeros(0)
        body = Body(
            spheres.frame.astype(np.int64), spheres.offset, spheres.radius, np.zeros(n), np.zeros(n), np.zeros((n, 8))
        )
        people = People(np.zeros((1, 0, 3)), np.zeros((1, 0, 3)), np.zeros((1, 0)), none)
        solids = Solids(boxes.center, boxes.rotation, boxes.half, required, np.zeros(len(boxes.center), np.int64))
        balls = Balls(np.ascontiguousarray(obstacles[:, :3]), np.ascontiguousarray(obstacles[:, 3]), near, 1)
        motion = Motion(none, none, none, np.zeros((0, n), bool), np.zeros(0, bool), np.zeros(0, np.int64))
        tilt = Tilt(np.zeros(3), none, np.zeros(0, np.int64))
        self._all = Rules(body, people, solids, balls, Pairs(*self_pairs(robot), 2), motion, tilt, Q_MIN, Q_MAX, 3)
        nothing = np.zeros(0, np.int64)
        self._base = self._all._replace(
            solids=solids._replace(required=base), balls=balls._replace(required=near - np.inf),
            pairs=Pairs(nothing, nothing, 2),
        )  # fmt: skip

    def clearance(self, q: np.ndarray, base_only: bool = False) -> np.ndarray:
        """Distance (n,) to furniture beyond what is asked for, or to objects and itself if negative, for q (n, 10)."""
        rules = self._base if base_only else self._all
        knots = np.concatenate([q[:1], q])  # the rows leave out the first knot
        zero = np.zeros(len(knots))
        still = Tightening(zero, zero, 0.0, 0.0, 0.0, 0.0, np.full(10, np.inf), 0.0, 0.0, 0.0, 0.0, 1.0)
        people = rules.people._replace(a=np.zeros((len(knots), 0, 3)), b=np.zeros((len(knots), 0, 3)),
                                       radius=np.zeros((len(knots), 0)))  # fmt: skip
        worst = evaluate(knots, np.zeros_like(knots), rules._replace(people=people), still, 1).worst[1:]
        others = worst[:, 1:].min(axis=1)
        return np.where(others < 0.0, np.minimum(worst[:, 0], others), worst[:, 0])


def solve(
    robot: RobotModel,
    boxes: Boxes,
    targets: Sequence[HandPath],
    q_start: np.ndarray,
    generator: np.random.Generator,
    obstacles: np.ndarray | None = None,
    tries: int = 192,
) -> list[Posture]:
    """Ways to reach any of the targets, best first; empty if none was found.

    boxes: furniture; obstacles: spheres (n, 4) x y z r [m] of other objects; tries: starts over all targets.
    """
    if not targets:
        return []
    collision = _Collision(robot, boxes, np.zeros((0, 4)) if obstacles is None else np.asarray(obstacles, float))
    which, q = _starts(targets, q_start, generator, collision, tries)
    mobility = np.ones(10)
    mobility[:3] = WEIGHT_TRAVEL
    low, high = Q_MIN + LIMIT_MARGIN, Q_MAX - LIMIT_MARGIN
    first = np.array([t.positions[0] for t in targets], float)[which]
    rotations = np.array([t.rotation for t in targets], float)[which]
    reached = descend(q, first, rotations, mobility, COMFORT, 0.05, low, high, ITERATIONS)
    which, q, rotations = which[reached], q[reached], rotations[reached]
    if not len(q):
        return []
    gap = collision.clearance(q)
    clear = gap >= 0.0
    which, q, rotations, gap = which[clear], q[clear], rotations[clear], gap[clear]
    path, alive = [q], np.ones(len(q), bool)
    mobility[:3] = WEIGHT_FOLLOW
    for step in range(1, max(len(t.positions) for t in targets)):
        position = np.array([t.positions[min(step, len(t.positions) - 1)] for t in targets], float)[which]
        q = path[-1].copy()
        if len(q):
            alive &= descend(q, position, rotations, mobility, COMFORT, 0.0, low, high, FOLLOW_ITERATIONS)
            here = collision.clearance(q)
            alive &= (here >= 0.0) & (np.abs(q - path[-1]).max(axis=1) < 1.2)
            gap = np.minimum(gap, here)
        path.append(q)
    candidates = [
        Posture(
            int(which[i]),
            tuple(step[i].copy() for step in path[: len(targets[which[i]].positions)]),
            float(travel(q_start, path[0][i]) + discomfort(path[0][i], gap[i])),
        )
        for i in np.flatnonzero(alive)
    ]
    return sorted(candidates, key=lambda c: c.cost)


def travel(start: np.ndarray, end: np.ndarray) -> float:
    """About how long the joints take from start to end [s]: the slowest one, the others a little."""
    times = np.abs(end - start) / (0.75 * DQ_MAX)
    return float(times.max() + 0.1 * times.sum())


def discomfort(q: np.ndarray, gap: float) -> float:
    """What a posture costs by itself [s]: joints far from comfort, little room to furniture."""
    strain = (q[3:] - COMFORT[3:]) / (Q_MAX - Q_MIN)[3:]
    crowded = max(0.0, COMFORTABLE - gap) / COMFORTABLE
    return float(2.0 * strain[:6] @ strain[:6] + 0.5 * crowded)


def turned(rotation: np.ndarray, angles: np.ndarray) -> list[np.ndarray]:
    """The hand's rotation turned about its approach axis (hand z) by each angle: the axis is left free."""
    turns = []
    for angle in angles:
        c, s = np.cos(angle), np.sin(angle)
        turns.append(rotation @ np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]]))
    return turns


def _starts(
    targets: Sequence[HandPath], q_start: np.ndarray, generator: np.random.Generator, collision: _Collision, tries: int
) -> tuple[np.ndarray, np.ndarray]:
    """Which target (n,) and starting joints (n, 10): a third from the present base, the rest placed around."""
    which = np.arange(tries) % len(targets)
    generator.shuffle(which)
    position = np.array([t.positions[0] for t in targets], float)[which]
    q = np.tile(COMFORT, (tries, 1))
    q[:, 3:] += generator.normal(0.0, 0.35, (tries, 7))
    q[:, 9] = generator.uniform(Q_MIN[9], Q_MAX[9], tries)
    q[: tries // 12, 3:] = q_start[3:]
    stay = tries // 3
    q[:stay, :3] = q_start[:3]
    q[stay // 2 : stay, :3] += generator.normal(0.0, 0.15, (stay - stay // 2, 3))
    todo = np.arange(stay, tries)
    for _ in range(4):  # draw again where the base would stand in something
        angle = generator.uniform(-np.pi, np.pi, len(todo))
        reach = generator.uniform(*REACH, len(todo))
        q[todo, 0] = position[todo, 0] + reach * np.cos(angle)
        q[todo, 1] = position[todo, 1] + reach * np.sin(angle)
        q[todo, 2] = angle + np.pi + generator.normal(0.0, 0.5, len(todo))
        todo = todo[collision.clearance(q[todo], base_only=True) < 0.0]
        if not len(todo):
            break
    full = 2.0 * np.pi
    q[:, 2] = q_start[2] + np.remainder(q[:, 2] - q_start[2] + np.pi, full) - np.pi
    q[:, 3:] = np.clip(q[:, 3:], (Q_MIN + LIMIT_MARGIN)[3:], (Q_MAX - LIMIT_MARGIN)[3:])
    return which, q
