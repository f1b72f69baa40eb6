"""Finds a way for all joints through what stands about, where the straight one is blocked, and leads along it.

The optimizer looks 3 s ahead and would press against a table that is between it and its goal. A route is only a
guide for it: RRT-Connect over the same spheres and boxes as its rows (robotctl.planning.motion.rrt), without time,
speeds and people who walk. What may be done on the way is decided by the rows.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from robotctl.planning.motion import rrt
from robotctl.planning.motion.chain import Robot
from robotctl.planning.motion.clearance import BOX, MARGIN, MOST, SPHERE, World, march, rooms, scratch
from robotctl.planning.tables import Rules, sphere_centers
from robotctl.robot import ARM_OFFSETS, DQ_MAX, HAND, HOME, Q_MAX, Q_MIN, T_LINK7_HAND

ROOM = 1.0  # the base drives at most this far beyond what stands about [m]
WEIGHT = np.array([1.0, 1.0, 0.4, 0.4, 0.4, 0.3, 0.3, 0.15, 0.15, 0.05])  # of joints in a distance [m, m/rad]
POSTURE_NOISE = 0.35  # of the arm about the postures that samples are made of [rad]
BATCHES, BATCH = 24, 64  # samples in all
SHORTCUTS = 200
COMFORT = 0.03  # no detour that keeps this is cut short at the price of keeping less [m]
SPACING = 0.1  # [s] of the points of a route at full speed
EASY = 0.25  # speed that people who stand about should leave the robot [m/s]
PACE = 0.8  # share of the joints' speeds at which the guide runs ahead
DONE = 0.5  # [s] before its end a route has done its work
OFF = 3.0  # [s/m] a point so far off the route counts as so much farther from its end


class Route(NamedTuple):
    """A way to a goal in joint space, without time."""

    q: np.ndarray  # (n, 10), SPACING apart
    to_go: np.ndarray  # (n,) time from each point to the end at full speed [s]

    @classmethod
    def through(cls, path: np.ndarray) -> Route:
        """The route of a path (n, 10) with corners."""
        points = [path[:1]]
        for a, b in itertools.pairwise(path):
            n = max(1, int(np.ceil(np.max(np.abs(b - a) / DQ_MAX) / SPACING)))
            points.append(a + np.linspace(0.0, 1.0, n + 1)[1:, None] * (b - a))
        q = np.concatenate(points)
        steps = np.maximum(np.max(np.abs(np.diff(q, axis=0)) / DQ_MAX, axis=1), 1e-6)
        return cls(q, np.append(np.cumsum(steps[::-1])[::-1], 0.0))

    def rest(self, q: np.ndarray) -> Route | None:
        """What is left of it from q (10,) on; None if that needs no guide."""
        k = self._nearest(q)
        return None if self.to_go[k] < DONE else Route(self.q[k:], self.to_go[k:])

    def left(self, q: np.ndarray) -> float:
        """How far q (10,) is from the end [s]."""
        k = self._nearest(q)
        return float(self.to_go[k] + OFF * np.linalg.norm(WEIGHT * (self.q[k] - q)))

    def guide(self, knots: int, dt: float) -> Guide:
        """Where the knots could be, along the route from its begin on."""
        to_go = np.maximum(self.to_go[0] - PACE * dt * np.arange(knots), 0.0)
        at = np.searchsorted(-self.to_go, -to_go, side="right") - 1
        k = np.minimum(at, len(self.q) - 2)
        share = ((self.to_go[k] - to_go) / (self.to_go[k] - self.to_go[k + 1]))[:, None]
        return Guide(self, (1.0 - share) * self.q[k] + share * self.q[k + 1], to_go)

    def _nearest(self, q: np.ndarray) -> int:
        return int(np.argmin(np.linalg.norm(WEIGHT * (self.q - q), axis=1)))


class Guide(NamedTuple):
    """Where on a route the knots of a plan could be."""

    route: Route
    q: np.ndarray  # (H+1, 10)
    to_go: np.ndarray  # (H+1,) [s]


def find_route(
    rules: Rules,
    position_bound: float,
    start: np.ndarray,
    goal: np.ndarray,
    free: np.ndarray,
    attempt: int = 0,
    in_time: Callable[[], bool] = lambda: True,
) -> Route | None:
    """A way from start to goal (10,) for the joints `free`; None if the straight one is free, or none was found.

    position_bound: how far the robot may be from where it is planned [m]. attempt: each draws other random numbers,
    and from 1 on people count as if they stood where they are, if that leaves a way. in_time: asked now and then
    whether to go on.
    """
    generator = np.random.default_rng(attempt)
    for people in (True, False) if attempt else (False,):
        world = _world(rules, people)
        robot = _robot(rules, world, position_bound, start, goal, free) if 0 < len(world.kind) <= MOST else None
        if robot is None:
            continue  # it stands in something
        if march(robot, world, start, goal, MARGIN, scratch(robot)) >= 1.0:
            return None
        path = _search(robot, world, rules, start, goal, generator, in_time)
        if path is not None:
            return Route.through(path)
    return None


def _robot(
    rules: Rules, world: World, position_bound: float, start: np.ndarray, goal: np.ndarray, free: np.ndarray
) -> Robot | None:
    """The robot with its spheres grown by what they must keep; None if start or goal are in collision.

    Where start or goal come nearer than that to something, or to the robot itself, the way may, too.
    """
    required = rules.solids.required
    keep = np.where(np.isfinite(required), required, 0.0).max(axis=1, initial=0.0)
    grown = rules.body.radius + rules.body.slack + position_bound + keep
    robot = _chain(rules, grown, *_bounds(rules, start, goal, free))
    room = np.minimum(rooms(robot, world, start), rooms(robot, world, goal)) - 2.0 * MARGIN
    grown = grown + np.minimum(room, 0.0)
    if grown.min() <= 0.0:
        return None
    center = sphere_centers(rules.body.frame, rules.body.offset, np.stack([start, goal]))
    inner, outer = robot.pair.T
    between = np.linalg.norm(center[:, inner] - center[:, outer], axis=2).min(axis=0) - grown[inner] - grown[outer]
    return robot._replace(rounding=grown, radius=grown, pair=robot.pair[between > 2.0 * MARGIN])


def _world(rules: Rules, people: bool) -> World:
    """The boxes and spheres of the rows; people as spheres that leave the robot room to move at EASY."""
    s = rules.solids
    used = np.isfinite(s.required).any(axis=0)
    boxes = np.concatenate([s.center, s.half, s.rotation.reshape(-1, 9)], axis=1)[used]
    boxes = np.unique(boxes, axis=0)
    center, radius = rules.balls.center, rules.balls.radius
    if people:
        motion, body = rules.motion, rules.people
        away = (motion.radius + EASY / motion.slope)[motion.monitors & motion.concerns.any(axis=1)].max(initial=0.0)
        shares = np.linspace(0.0, 1.0, 3)[:, None, None]
        center = np.concatenate([center, (body.a[0] + shares * (body.b[0] - body.a[0])).reshape(-1, 3)])
        radius = np.concatenate([radius, np.tile(body.radius[0] + away, len(shares))])
    n = len(center)
    return World(
        kind=np.concatenate([np.full(len(boxes), BOX), np.full(n, SPHERE)]),
        size=np.concatenate([boxes[:, 3:6], np.tile(radius[:, None], (1, 3))]),
        rotation=np.concatenate([boxes[:, 6:].reshape(-1, 3, 3), np.tile(np.eye(3), (n, 1, 1))]),
        position=np.concatenate([boxes[:, :3], center]),
        allowed=np.zeros(len(boxes) + n, np.int64),
        goal=np.zeros(3),
        touch=0.0,
    )


def _bounds(rules: Rules, start: np.ndarray, goal: np.ndarray, free: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Joint positions (10,) that samples lie between."""
    corners = np.concatenate([rules.solids.center[:, :2], start[None, :2], goal[None, :2]])
    low, high = np.maximum(rules.low, Q_MIN), np.minimum(rules.high, Q_MAX)
    low[:2], high[:2] = corners.min(axis=0) - ROOM, corners.max(axis=0) + ROOM
    middle = 0.5 * (start[2] + goal[2])
    low[2], high[2] = middle - np.pi, middle + np.pi
    fixed = np.setdiff1d(np.arange(len(low)), free)
    low[fixed] = high[fixed] = start[fixed]
    return np.minimum(low, np.minimum(start, goal)), np.maximum(high, np.maximum(start, goal))


def _chain(rules: Rules, radius: np.ndarray, low: np.ndarray, high: np.ndarray) -> Robot:
    """The mobile robot as a chain of ten joints with the covering spheres, of these radii, as its bodies."""
    along_x = np.array([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])  # its z is the world's x
    along_y = along_x @ along_x
    rotation = np.concatenate([[along_x, along_x.T @ along_y, along_y.T], ARM_OFFSETS[:, :3, :3]])
    offset = np.concatenate([np.zeros((3, 3)), ARM_OFFSETS[:, :3, 3]])
    body = rules.body
    in_hand = body.frame == HAND
    center = np.where(in_hand[:, None], body.offset @ T_LINK7_HAND[:3, :3].T + T_LINK7_HAND[:3, 3], body.offset)
    n = len(radius)
    return Robot(
        slides=np.array([1, 1, *[0] * 8]),
        offset_rotation=np.ascontiguousarray(rotation),
        offset=np.ascontiguousarray(offset),
        low=low,
        high=high,
        weight=WEIGHT,
        frame=3 + np.minimum(body.frame, HAND - 1),
        first=np.arange(n + 1),
        vertices=np.ascontiguousarray(center.T),
        rounding=radius,
        center=np.ascontiguousarray(center),
        radius=radius,
        pair=np.stack([rules.pairs.second, rules.pairs.first], axis=1),
        gripper=n,
        hand_offset=np.zeros(3),
    )


def _search(
    robot: Robot,
    world: World,
    rules: Rules,
    start: np.ndarray,
    goal: np.ndarray,
    generator: np.random.Generator,
    in_time: Callable[[], bool],
) -> np.ndarray | None:
    """A free path (n, 10) with corners, or None."""
    postures = np.array([start[3:], goal[3:], HOME[3:]])
    noise = 0.0 if len(rules.tilt.cosine) else POSTURE_NOISE  # a cup stays upright in the postures themselves
    trees = rrt.plant(start, goal[None])
    for _ in range(BATCHES):
        if not in_time():
            break
        samples = generator.uniform([*robot.low, 0.0], [*robot.high, 1.0], (BATCH, len(start) + 1))
        arm = postures[generator.integers(len(postures), size=BATCH)] + generator.normal(0.0, noise, (BATCH, 7))
        samples[:, 3:10] = np.clip(arm, robot.low[3:], robot.high[3:])
        a, b = rrt.grow(robot, world, trees, samples, rrt.STEP, MARGIN)
        if a >= 0:
            path = rrt.way(trees, a, b)
            path = rrt.shorten(robot, world, path, generator.random((SHORTCUTS, 2)), MARGIN, COMFORT, SHORTCUTS)
            return np.asarray(rrt.straighten(robot, world, path, MARGIN, COMFORT))
    return None
