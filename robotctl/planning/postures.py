"""Whole-body postures: where to stand and how to bend the arm so that the hand reaches one pose after another.

Many seeds at once (base placements around the target, arm postures), each refined by damped least squares with a
null-space pull towards a comfortable arm, then kept if it clears furniture and objects.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from robotctl.geometry import point_box_distance, rotation_z
from robotctl.objectives.hand_path import HandPath, Posture
from robotctl.robot import HAND, MOUNT_HEIGHT, Q_MAX, Q_MIN, TCP, RobotModel, forward
from robotctl.scene import Box

SEEDS = 8  # base placements and arm postures tried for every hand path, and more when there are few paths
LANES = 128  # at least this many seeds in all
ITERATIONS = 30
DAMPING = 0.03
STEP = 0.6  # largest joint change of one iteration [rad, m]
REACHED = (0.002, 0.01)  # residual position [m] and angle [rad] of a solution
COMFORT = np.array([0.0, 0.0, 0.0, 0.0, 0.2, 0.0, -1.9, 0.0, 2.1, 0.785])  # elbow up, wrist free
PULL = np.array([0.0, 0.0, 0.0, 0.1, 0.1, 0.2, 0.1, 0.2, 0.1, 0.02])  # towards it, per iteration
MOBILITY = np.array([0.3, 0.3, 0.5, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0])  # the base moves reluctantly
LIMIT_MARGIN = 0.08  # kept from joint limits [rad]
CLEARANCE = 0.025  # kept from furniture [m]
OBJECT_GAP = 0.005  # kept from objects [m]
SPEED = np.array([0.6, 0.6, 1.1, 1.4, 1.4, 1.4, 1.4, 1.8, 1.8, 1.8])  # typical, to turn travel into seconds
PLACEMENTS = 8  # of the base that are drawn for each seed
BASE = (0.16, 0.28)  # height and radius of the sphere around the base [m]
DISTANCES = (0.45, 0.75)  # of the base from the hand's target [m]


def solve(
    position: np.ndarray, rotation: np.ndarray, q: np.ndarray, free: np.ndarray, iterations: int = ITERATIONS
) -> tuple[np.ndarray, np.ndarray]:
    """Damped least squares for B poses at once: joints (B, 10) and which of them reached, (B,) bool.

    position (B, 3), rotation (B, 3, 3) TCP goals; q (B, 10) start; free (10,) or (B, 10): 1 where a joint may move, 0 where not.
    Buss 2004, "Introduction to inverse kinematics ...", eq. 11, with the null-space term of eq. 13.
    """
    low, high = Q_MIN + LIMIT_MARGIN, Q_MAX - LIMIT_MARGIN
    weight = np.broadcast_to((MOBILITY * free) ** 2, q.shape)[:, None]
    q = q.copy()
    for _ in range(iterations):
        error, jacobian = _error_and_jacobian(q, position, rotation)
        pull = PULL * free * (COMFORT - q)
        weighted = jacobian * weight
        system = weighted @ np.swapaxes(jacobian, 1, 2) + DAMPING**2 * np.eye(6)
        rest = error - np.einsum("bij,bj->bi", jacobian, pull)
        step = pull + np.einsum("bji,bj->bi", weighted, np.linalg.solve(system, rest[..., None])[..., 0])
        q = np.clip(q + np.clip(step, -STEP, STEP), low, high)
    for _ in range(6):  # without the pull, so that it cannot hold the hand off its goal
        error, jacobian = _error_and_jacobian(q, position, rotation)
        weighted = jacobian * weight
        system = weighted @ np.swapaxes(jacobian, 1, 2) + 1e-5 * np.eye(6)
        step = np.einsum("bji,bj->bi", weighted, np.linalg.solve(system, error[..., None])[..., 0])
        q = np.clip(q + np.clip(step, -STEP, STEP), low, high)
    error, _ = _error_and_jacobian(q, position, rotation)
    reached = (np.linalg.norm(error[:, :3], axis=1) < REACHED[0]) & (np.linalg.norm(error[:, 3:], axis=1) < REACHED[1])
    return q, reached


def _error_and_jacobian(q: np.ndarray, position: np.ndarray, rotation: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pose error (B, 6), linear over angular in the world frame, and the TCP's Jacobian (B, 6, 10)."""
    frames, origins = forward(q)
    hand = frames[:, HAND]
    tip = origins[:, HAND] + hand @ TCP
    turn = rotation @ np.swapaxes(hand, 1, 2)
    # Rotation vector of the error: exact angle along the skew part's axis, also near 180 degrees.
    skew = 0.5 * np.stack(
        [turn[:, 2, 1] - turn[:, 1, 2], turn[:, 0, 2] - turn[:, 2, 0], turn[:, 1, 0] - turn[:, 0, 1]], axis=1
    )
    sine = np.linalg.norm(skew, axis=1)
    cosine = (np.trace(turn, axis1=1, axis2=2) - 1.0) / 2.0
    angle = np.arctan2(sine, cosine)
    error = np.concatenate([position - tip, skew * (angle / np.maximum(sine, 1e-9))[:, None]], axis=1)
    axes = np.concatenate([np.broadcast_to([0.0, 0.0, 1.0], (len(q), 1, 3)), frames[:, 1:8, :, 2]], axis=1)
    jacobian = np.zeros((len(q), 6, 10))
    jacobian[:, 0, 0] = jacobian[:, 1, 1] = 1.0
    jacobian[:, :3, 2:] = np.swapaxes(np.cross(axes, tip[:, None] - origins[:, :8]), 1, 2)
    jacobian[:, 3:, 2:] = np.swapaxes(axes, 1, 2)
    return error, jacobian


class PostureSearch:
    """Fulfils `skills.context.Postures` for one scene."""

    def __init__(self, boxes: Sequence[Box], generator: np.random.Generator) -> None:
        self._center = np.array([box.center for box in boxes])
        self._half = np.array([box.half for box in boxes])
        self._rotation = np.array([rotation_z(box.yaw) for box in boxes])
        self._generator = generator

    def find(self, paths: Sequence[HandPath], q: np.ndarray, robot: RobotModel, obstacles: np.ndarray) -> list[Posture]:
        """Postures for the reachable paths from joints q (10,), best first: the cheapest of each path."""
        if not paths:
            return []
        seeds = max(SEEDS, LANES // len(paths))
        owner = np.repeat(np.arange(len(paths)), seeds)
        rotation = np.array([paths[i].rotation for i in owner])
        lowest = np.array([paths[i].positions[1] for i in owner])
        free = np.ones((len(owner), 10))
        free[np.arange(len(owner)) % seeds > 1 + seeds // 3, :2] = 0.0  # most keep the place they were given
        middle, alive = solve(lowest, rotation, self._seeds(lowest, rotation, q, seeds), free)
        arm_only = np.array([0.0] * 3 + [1.0] * 7)
        stations = [middle]
        for station in (0, 2):
            goal = np.array([paths[i].positions[station] for i in owner])
            other, reached = solve(goal, rotation, middle, arm_only, iterations=8)
            alive &= reached & (np.abs(other - middle).max(axis=1) < 1.2)  # the same branch, no flip of the elbow
            stations.insert(station, other)
        for station in stations:
            alive[alive] &= self._clear(station[alive], robot, obstacles)
        travel = self._travel(stations[0], q)
        cost = travel + 2.0 * _strain(stations[1])
        found = []
        for index in range(len(paths)):
            mine = np.flatnonzero((owner == index) & alive)
            if len(mine):
                best = mine[np.argmin(cost[mine])]
                found.append(Posture(index, tuple(station[best] for station in stations), float(cost[best])))
        return sorted(found, key=lambda posture: posture.cost)

    def _seeds(self, target: np.ndarray, rotation: np.ndarray, now: np.ndarray, seeds: int) -> np.ndarray:
        """Base placements around the targets, looking at them, and arms near comfort; the first is the present one."""
        count = len(target)
        draw = self._generator.uniform(size=(count, PLACEMENTS, 2))
        # Mostly from the side on which the robot stands or from which the hand comes.
        side = now[:2] - target[:, :2] - 0.5 * rotation[:, :2, 2]
        bearings = np.arctan2(side[:, 1], side[:, 0])[:, None] + (draw[:, :, 0] - 0.5) * np.pi
        distances = DISTANCES[0] + (DISTANCES[1] - DISTANCES[0]) * draw[:, :, 1]
        offsets = distances[..., None] * np.stack([np.cos(bearings), np.sin(bearings)], axis=-1)
        free = self._stands_free(target[:, None, :2] + offsets)
        chosen = np.arange(count), np.argmax(free, axis=1)  # the first that stands free
        bearing, distance = bearings[chosen], distances[chosen]
        q = np.tile(COMFORT, (count, 1))
        q[:, 0] = target[:, 0] + distance * np.cos(bearing)
        q[:, 1] = target[:, 1] + distance * np.sin(bearing)
        offset = self._generator.uniform(-0.8, 0.8, size=count)
        heading = bearing + np.pi - offset
        q[:, 2] = now[2] + (heading - now[2] + np.pi) % (2 * np.pi) - np.pi  # the shorter way round
        q[:, 3] = offset
        first = np.arange(count) % seeds == 0
        q[first] = now
        # Turn the wrist so that the closing direction starts near the goal's.
        frames, _ = forward(q)
        hand = frames[:, HAND]
        x, y = hand[:, :, 0], hand[:, :, 1]
        goal = rotation[:, :, 1]
        turn = np.arctan2(-np.einsum("bi,bi->b", goal, x), np.einsum("bi,bi->b", goal, y))
        wrist = q[:, 9] + np.where(first, 0.0, turn)
        q[:, 9] = np.where(wrist > Q_MAX[9], wrist - 2 * np.pi, np.where(wrist < Q_MIN[9], wrist + 2 * np.pi, wrist))
        return np.clip(q, Q_MIN + LIMIT_MARGIN, Q_MAX - LIMIT_MARGIN)

    def _stands_free(self, places: np.ndarray) -> np.ndarray:
        """Whether the base at places (..., 2) is clear of furniture, (...) bool."""
        point = np.concatenate([places, np.full((*places.shape[:-1], 1), BASE[0])], axis=-1)
        gap = point_box_distance(point[..., None, :], self._center, self._rotation, self._half)
        return gap.min(axis=-1) > BASE[1] + CLEARANCE

    def _clear(self, q: np.ndarray, robot: RobotModel, obstacles: np.ndarray) -> np.ndarray:
        """Which postures (B,) keep clear of furniture (fingers and load excepted), objects and the robot itself."""
        if len(q) == 0:
            return np.zeros(0, bool)
        frames, origins = forward(q)
        spheres = robot.spheres
        center = origins[:, spheres.frame] + np.einsum("bsij,sj->bsi", frames[:, spheres.frame], spheres.offset)
        body = np.array([part in ("base", "arm", "hand") for part in spheres.part])
        gap = point_box_distance(center[:, body, None], self._center, self._rotation, self._half)
        clear = (gap - spheres.radius[body, None]).min(axis=(1, 2)) > CLEARANCE
        if len(obstacles):
            apart = np.linalg.norm(center[:, :, None] - obstacles[:, :3], axis=-1) - obstacles[:, 3]
            solid = np.array([part != "finger" for part in spheres.part])
            clear &= (apart - spheres.radius[:, None])[:, solid].min(axis=(1, 2)) > OBJECT_GAP
        # The forearm and hand stay above and beside the robot's own base.
        moving = spheres.frame >= 5
        low = center[:, moving, 2] < MOUNT_HEIGHT
        beside = np.linalg.norm(center[:, moving, :2] - q[:, None, :2], axis=-1) > 0.34 + spheres.radius[moving]
        return clear & np.all(~low | beside, axis=1)

    def _travel(self, q: np.ndarray, now: np.ndarray) -> np.ndarray:
        """Seconds that the slowest joint needs from `now`, plus a little for all the others, (B,)."""
        seconds = np.abs(q - now) / SPEED
        return seconds.max(axis=1) + 0.1 * seconds.sum(axis=1)


def _strain(q: np.ndarray) -> np.ndarray:
    """How close the worst joint is to its limit, 0 in the middle third, 1 at the limit, (B,)."""
    middle, half = (Q_MAX + Q_MIN)[3:] / 2, (Q_MAX - Q_MIN)[3:] / 2
    return np.clip((np.abs(q[:, 3:] - middle) / half - 0.67) / 0.33, 0.0, 1.0).max(axis=1)
