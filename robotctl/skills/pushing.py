"""Finds the push that brings an object nearest to where it should be, by asking the contact model of many.

The cross-entropy method (Rubinstein 1999; Botev et al. 2013, algorithm 2.2) over straight pushes: direction, lateral
offset, skew of the hand and length. What the object would do on the way is foreseen with its bound: a push that might
knock something over or send the object off its table is not offered at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from robotctl.geometry import matrix_from_quaternion, rotation_z
from robotctl.scene import ObjectKind, Place
from robotctl.silhouette import signed_distance
from robotctl.state import ObjectState
from robotctl.world_model.push import Push, turn
from robotctl.world_model.quasi_static import OUTLINE, Pushed, Shapes

ROUNDS = 4
SAMPLES = 96
ELITE = 12
SPREAD = np.array([0.35, 0.010, 0.15, 0.015])  # of the first round: direction [rad], offset [m], skew [rad], length [m]
LEAST = np.array([0.01, 0.0005, 0.005, 0.001])  # a round's spread does not fall below this
SKEW = 0.35  # of the hand's x axis off the push, as far as the contact model was trained [rad]
FARTHEST = 0.28  # a push as long as the contact model was trained with [m]
APPROACH = 0.025  # gap between hand and object where a push begins [m]
SPEED = 0.12  # of the hand [m/s]
DOUBT = 0.5  # metres that a metre of disagreement between the ensemble's members counts
ROOM = 0.01  # kept from other objects and from the table's edge beside the bound [m]
OUT = 10.0  # what a push costs that must not be done, plus how wrong it is [m]


class Contact(Protocol):
    """Predicts pushed objects."""

    def rollout(self, shapes: Shapes, which: np.ndarray, start: np.ndarray, hands: np.ndarray) -> np.ndarray: ...

    def error(self, kind: str, steps: int) -> np.ndarray:
        """Radius that holds the object after 0..steps steps, (steps+1,) [m]."""
        ...


@dataclass(frozen=True)
class PlannedPush:
    """A push, and what is foreseen of it."""

    push: Push
    start: np.ndarray  # (3,) pose x y yaw of the object [m, rad]
    end: np.ndarray  # (3,) where it should come to rest
    distance: float  # from there to the target [m]
    doubt: float  # disagreement of the ensemble's members about it [m]
    bound: float  # radius around `end` that holds the object as often as declared [m]


def features(kind: ObjectKind, length: float, doubt: float, bound: float, offset: float) -> dict[str, float]:
    """What the skill outcome model sees of a push, all in SI units.

    length: of the hand's way. offset: of the object's, as foreseen, with the members' `doubt` and its `bound`.
    """
    slenderness = kind.height / kind.radius
    return {"length": length, "doubt": doubt, "bound": bound, "slenderness": slenderness, "offset": offset}


def flat_pose(item: ObjectState) -> np.ndarray:
    """x, y, yaw of an upright object, (3,)."""
    body = matrix_from_quaternion(item.quaternion)
    return np.array([*item.position[:2], np.arctan2(body[1, 0], body[0, 0])])


def plan_push(
    item: ObjectState,
    kind: ObjectKind,
    target: np.ndarray,
    place: Place,
    others: Sequence[tuple[ObjectState, ObjectKind]],
    contact: Contact,
    generator: np.random.Generator,
    late: float,
    overhang: float = 0.0,
) -> PlannedPush | None:
    """The best push towards `target` (2,) [m] on `place`; None if every push would do harm.

    late: how far the hand trails its reference [s]. overhang: how far the object may stand out over the place's free
    edge [m].
    """
    pushed = Pushed.of(kind)
    start = flat_pose(item)
    way = target - start[:2]
    far = min(float(np.linalg.norm(way)), FARTHEST - APPROACH - 0.02)
    # Parameters in the object's frame, so that the frame of Push is met.
    mean = np.array([np.arctan2(way[1], way[0]) - start[2], 0.0, 0.0, far])
    spread = SPREAD.copy()
    best: tuple[float, PlannedPush] | None = None
    for _ in range(ROUNDS):
        drawn = mean + spread * generator.normal(size=(SAMPLES, 4))
        drawn[0] = mean
        drawn[:, 2] = np.clip(drawn[:, 2], -SKEW, SKEW)
        drawn[:, 3] = np.clip(drawn[:, 3], 0.01, FARTHEST - APPROACH)
        pushes = [_push(row, kind, pushed) for row in drawn]
        cost, planned = _foresee(pushes, start, target, kind, pushed, place, others, contact, late, overhang)
        order = np.argsort(cost)[:ELITE]
        mean, spread = drawn[order].mean(axis=0), np.maximum(drawn[order].std(axis=0), LEAST)
        if best is None or cost[order[0]] < best[0]:
            best = float(cost[order[0]]), planned[order[0]]
    assert best is not None
    return best[1] if best[0] < OUT else None


def _push(row: np.ndarray, kind: ObjectKind, pushed: Pushed) -> Push:
    """The push of (direction, offset, skew, way after the touch), begun APPROACH before the hand touches."""
    direction, offset, skew, way = row
    shape = pushed.shape
    heading = direction + skew
    outline = turn(np.array(heading), OUTLINE * pushed.half)
    aside = shape.center + offset * np.array([-np.sin(direction), np.cos(direction)])
    along = np.array([np.cos(direction), np.sin(direction)])
    low, high = 0.0, kind.radius + 0.1  # behind the centroid; farther away the gap only grows
    for _ in range(12):
        middle = 0.5 * (low + high)
        gap = signed_distance(shape.polygon, aside - middle * along + outline).min()
        low, high = (middle, high) if gap < 0.0 else (low, middle)
    return Push(aside - (high + APPROACH) * along, float(direction), float(heading), float(APPROACH + way), SPEED)


def _foresee(
    pushes: Sequence[Push],
    start: np.ndarray,
    target: np.ndarray,
    kind: ObjectKind,
    pushed: Pushed,
    place: Place,
    others: Sequence[tuple[ObjectState, ObjectKind]],
    contact: Contact,
    late: float,
    overhang: float,
) -> tuple[np.ndarray, list[PlannedPush]]:
    """What every push costs, (n,) [m], and what it is expected to do."""
    paths = [push.hands(start, late) for push in pushes]
    steps = max(len(path) for path in paths) - 1
    hands = np.array([np.concatenate([p, np.repeat(p[-1:], steps + 1 - len(p), axis=0)]) for p in paths])
    n = len(pushes)
    members = contact.rollout(Shapes.of([pushed]), np.zeros(n, int), np.tile(start, (n, 1)), hands)
    path = members.mean(axis=0)
    ends = members[:, :, -1, :2]
    doubt = np.sqrt(np.mean(np.sum((ends - ends.mean(axis=0)) ** 2, axis=-1), axis=0))
    away = np.linalg.norm(ends - target, axis=-1).mean(axis=0)
    bound = contact.error(kind.name, steps)
    gap = np.minimum(_room(path, place, kind, overhang), _clear(path, hands, kind, others)).min(axis=1)
    short = np.maximum(bound[-1] + ROOM - gap, 0.0)
    cost = away + DOUBT * doubt + np.where(short > 0.0, OUT + short, 0.0)
    planned = [
        PlannedPush(pushes[i], start, path[i, -1], float(away[i]), float(doubt[i]), float(bound[-1])) for i in range(n)
    ]
    return cost, planned


def _room(path: np.ndarray, place: Place, kind: ObjectKind, overhang: float) -> np.ndarray:
    """How far the object stays inside its place, (n, T+1) [m]; at the free edge it may stand out by `overhang`."""
    local = (path[..., :2] - place.center[:2]) @ rotation_z(place.yaw)[:2, :2]
    inside = place.half - np.abs(local) - kind.radius
    if place.overhang_edge is None or overhang <= 0.0:
        return np.asarray(inside.min(axis=-1))
    reach = float(np.abs(rotation_z(place.yaw)[:2, :2].T @ place.overhang_edge) @ place.half)
    beyond = reach + overhang - kind.radius - (path[..., :2] - place.center[:2]) @ place.overhang_edge
    along = np.argmax(np.abs(rotation_z(place.yaw)[:2, :2].T @ place.overhang_edge))
    other = inside[..., 1 - along]
    back = place.half[along] - kind.radius + (path[..., :2] - place.center[:2]) @ place.overhang_edge
    return np.minimum(np.minimum(beyond, other), back)


def _clear(
    path: np.ndarray, hands: np.ndarray, kind: ObjectKind, others: Sequence[tuple[ObjectState, ObjectKind]]
) -> np.ndarray:
    """Distance of the object and of the fingers from other objects' footprints, (n, T+1) [m]."""
    gap = np.full(path.shape[:2], np.inf)
    for item, other in others:
        for moving, radius in ((path, kind.radius), (hands, 0.03)):
            away = np.linalg.norm(moving[..., :2] - item.position[:2], axis=-1)
            gap = np.minimum(gap, away - radius - other.radius)
    return gap
