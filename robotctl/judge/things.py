"""Judges the rules about things: what is left alone, where things are left, when sharp things are taken.

undisturbed  how far each thing to be left alone is from where it was at the start. What a person touches belongs where
             it is then, or comes to rest unless the robot touches it on the way: people may move things, and kick them.
grasp        at the tick in which the fingers first clasp a thing in scope: the distance of people to hand and thing.
placement    of a thing in scope that the robot has had in its hand and let go of, while it lies still: the distance of
             its surface to the nearest edge at its level, and to places where it must not be.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from robotctl.body import CAPSULE_A, CAPSULE_B, CAPSULE_RADIUS
from robotctl.guardrails.clearance import Boxes
from robotctl.guardrails.grasp import Grasp
from robotctl.guardrails.guardrail import Guardrail
from robotctl.guardrails.placement import Placement
from robotctl.guardrails.undisturbed import Undisturbed
from robotctl.judge import machine
from robotctl.judge.nearness import Bodies
from robotctl.judge.objects import Body, rotation_of
from robotctl.state import Truth

ABOUT_THINGS = Placement | Undisturbed | Grasp
TOUCHED = 0.02  # [m] a person this near a thing may have moved it
RESTING = 0.02  # [m/s]
CELL = 0.004  # [m] of the map in which edges are looked for
LEVEL = 0.05  # [m] a surface this little lower beside it is no edge to fall from
UNDER = 0.03  # [m] a thing's lowest point is this near the surface it lies on


class Things:
    """Follows the objects through the ticks of one episode."""

    def __init__(self, rules: Sequence[Guardrail], objects: Mapping[str, Body]) -> None:
        self._rules = [(i, rule) for i, rule in enumerate(rules) if isinstance(rule, ABOUT_THINGS)]
        self._objects = objects
        self._home: dict[str, np.ndarray] = {}  # where things to be left alone belong
        self._set_going: set[str] = set()  # by a person; not at rest since
        self._clasped: frozenset[str] | None = None  # None: not known yet; what is clasped at first was not taken now
        self._had: set[str] = set()  # what has been in the hand
        self._maps: dict[tuple[int, int], _Map] = {}
        self._before: np.ndarray | None = None

    def observe(
        self, truth: Truth, dt: np.ndarray, held: str | None, clasped: frozenset[str], pose: np.ndarray, bodies: Bodies
    ) -> Iterator[tuple[int, np.ndarray]]:
        """Margins (K,) of each rule that speaks in this tick, by its index; inf at steps where it is silent."""
        if held is not None:
            self._had.add(held)
        before = truth.object_position[0] if self._before is None else self._before
        for i, rule in self._rules:
            margin = np.full(len(dt), np.inf)
            if isinstance(rule, Undisturbed):
                margin = self._undisturbed(rule, truth, before, float(dt.sum()))
            elif isinstance(rule, Grasp):
                known = clasped if self._clasped is None else self._clasped
                taken = [n for n in clasped - known if self._objects[n].labels & rule.header.scope.held]
                if taken and truth.person_names:
                    margin[-1] = min(self._nearest(truth, name, pose, bodies) for name in taken) - rule.radius
            elif isinstance(rule, Placement):
                margin[-1] = self._placement(rule, truth, held, before, float(dt.sum()))
            yield i, margin
        self._clasped = clasped
        self._before = truth.object_position[-1].copy()

    def _undisturbed(self, rule: Undisturbed, truth: Truth, before: np.ndarray, duration: float) -> np.ndarray:
        margin = np.full(len(truth.time), np.inf)
        by_robot = {contact.other for contact in truth.contacts}
        a, b = (truth.keypoints[-1][:, ends].reshape(-1, 3) for ends in (CAPSULE_A, CAPSULE_B))
        radius = np.tile(CAPSULE_RADIUS, len(truth.person_names))
        for k, name in enumerate(truth.object_names):
            if name not in rule.items:
                continue
            path = truth.object_position[:, k]
            ball = self._objects[name].surface
            reach = ball.radius + float(np.linalg.norm(ball.center)) + TOUCHED
            touched = len(a) > 0 and _to_segments(path[-1:], a, b, radius)[0] <= reach
            rests = np.linalg.norm(path[-1] - before[k]) / duration < RESTING
            if touched:
                self._set_going.add(name)
            elif rests or name in by_robot:
                self._set_going.discard(name)
            if name not in self._home or name in self._set_going:
                self._home[name] = path[-1].copy()
            else:
                moved = np.linalg.norm(path - self._home[name], axis=1)
                margin = np.minimum(margin, rule.tolerance - moved)
        return margin

    def _nearest(self, truth: Truth, name: str, pose: np.ndarray, bodies: Bodies) -> float:
        """Distance of people to hand, fingers and the thing at the tick's last step [m]."""
        a, b = (truth.keypoints[-1][:, ends].reshape(-1, 3) for ends in (CAPSULE_A, CAPSULE_B))
        radius = np.tile(CAPSULE_RADIUS, len(truth.person_names))
        i = truth.object_names.index(name)
        turned = rotation_of(truth.object_quaternion[-1, i])
        points = [self._objects[name].surface.points @ turned.T + truth.object_position[-1, i]]
        for body in (machine.HAND, *machine.FINGERS):
            first, last = bodies.point_first[bodies.patch_first[[body, body + 1]]]
            points.append(bodies.points[first:last] @ pose[-1, body, :, :3].T + pose[-1, body, :, 3])
        return float(_to_segments(np.concatenate(points), a, b, radius).min())

    def _placement(self, rule: Placement, truth: Truth, held: str | None, before: np.ndarray, duration: float) -> float:
        margin = np.inf
        for k, name in enumerate(truth.object_names):
            body = self._objects[name]
            if name == held or name not in self._had or not body.labels & rule.header.scope.held:
                continue
            position = truth.object_position[-1, k]
            if np.linalg.norm(position - before[k]) / duration >= RESTING:
                continue
            world = body.surface.points @ rotation_of(truth.object_quaternion[-1, k]).T + position
            margin = min(margin, self._left(rule, world))
        return margin

    def _left(self, rule: Placement, world: np.ndarray) -> float:
        """Slack of a thing with this surface (N, 3) that lies where it is [m]."""
        lowest = float(world[:, 2].min())
        top = rule.furniture.center[:, 2] + rule.furniture.half[:, 2]
        levels = top[np.abs(top - lowest) <= UNDER]
        level = float(levels.max()) if len(levels) else lowest  # the floor, or something that lies there
        key = (id(rule), round(1000 * level))
        if key not in self._maps:
            self._maps[key] = _Map(rule.furniture, level)
        slack = self._maps[key].distance(world[:, :2]) - rule.edge
        for center, rotation, half in zip(
            rule.forbidden.center, rule.forbidden.rotation, rule.forbidden.half, strict=True
        ):
            if abs(center[2] - level) <= LEVEL:
                beyond = np.abs((world - center)[:, :2] @ rotation[:2, :2]) - half[:2]
                outside = np.linalg.norm(np.maximum(beyond, 0.0), axis=1) + np.minimum(beyond.max(axis=1), 0.0)
                slack = min(slack, float(outside.min()))
        return float(slack)


class _Map:
    """Where something carries at one level, as a raster with the distance to where nothing does."""

    def __init__(self, furniture: Boxes, level: float) -> None:
        from scipy.ndimage import distance_transform_edt

        top = furniture.center[:, 2] + furniture.half[:, 2]
        low = furniture.center[:, 2] - furniture.half[:, 2]
        carries = np.flatnonzero((top >= level - LEVEL) & (low <= level + 2 * LEVEL))
        reach = np.linalg.norm(furniture.half[:, :2], axis=1)
        self._origin = np.min(furniture.center[:, :2] - reach[:, None], axis=0, initial=0.0) - 0.1
        end = np.max(furniture.center[:, :2] + reach[:, None], axis=0, initial=0.0) + 0.1
        self._count = np.ceil((end - self._origin) / CELL).astype(int) + 1
        x, y = (self._origin[i] + CELL * np.arange(self._count[i]) for i in (0, 1))
        carried = np.zeros(self._count, bool)
        for i in carries:
            # Box from world by the transpose, one coordinate at a time over the whole raster.
            dx, dy = x[:, None] - furniture.center[i, 0], y[None] - furniture.center[i, 1]
            rotation, half = furniture.rotation[i], furniture.half[i]
            along = np.abs(rotation[0, 0] * dx + rotation[1, 0] * dy) <= half[0]
            across = np.abs(rotation[0, 1] * dx + rotation[1, 1] * dy) <= half[1]
            carried |= along & across
        self._distance = CELL * distance_transform_edt(carried)

    def distance(self, points: np.ndarray) -> float:
        """Smallest distance of points (N, 2) to where nothing carries, right to a cell [m]; 0 outside of the map."""
        cell = np.round((points - self._origin) / CELL).astype(int)
        inside = np.all((cell >= 0) & (cell < self._count), axis=1)
        return float(self._distance[cell[:, 0], cell[:, 1]].min()) if inside.all() else 0.0


def _to_segments(points: np.ndarray, a: np.ndarray, b: np.ndarray, radius: np.ndarray) -> np.ndarray:
    """Distance of points (N, 3) to the nearest capsule (C), (N,) [m]."""
    along = b - a
    share = np.einsum("ncj,cj->nc", points[:, None] - a, along) / np.maximum((along * along).sum(axis=1), 1e-12)
    nearest = a + np.clip(share, 0.0, 1.0)[..., None] * along
    return (np.linalg.norm(points[:, None] - nearest, axis=2) - radius).min(axis=1)
