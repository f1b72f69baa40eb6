"""Finds from data which coordinates must come close to which others before those move.

Things that rest until they are touched are what manipulation is about, and touches are rare and sharp: a network that
sees positions at the scale of the whole room is blind to them. So the differences between what always moves (the
robot) and what rests (an object) are offered to the networks at the scale at which movement begins, and exploring
episodes bring them there.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from robotctl.training.gym.data import Transitions
from robotctl.training.gym.spaces import Layout

STILL = 0.005  # of a coordinate's root mean square change: below, it rests
MOVES = 0.5  # of the same: beyond, it moves
RESTS = 0.3  # share of steps: a coordinate that rests so often is an object's
RESTLESS = 0.2  # share of steps: one that rests less often is the robot's
WIDEST = 3  # differences, where no goal says how many belong together
ENOUGH = 5  # beginnings of movement that a relation is judged by
TOUCH = 2.0  # sizes in every coordinate: further away, what moves is not being touched
RIDGE = 0.05  # of the regression, mean squares
FIRST = 0.2  # of the differences' range: the size until there are enough of them


class Relation(NamedTuple):
    """Differences as rows of a matrix (k, states), where they are when movement begins and how widely (k,).

    Rows are zero where no relation was found.
    """

    rows: np.ndarray
    middle: np.ndarray
    size: np.ndarray
    side: np.ndarray  # (k, goals) sizes beside the middle, by the unit vector in which the achieved goal moves


def width_of(layout: Layout) -> int:
    """Number of differences k."""
    return layout.goals or min(WIDEST, layout.states)


def relation_of(data: Transitions, layout: Layout) -> Relation:
    """The relation in which movement is most concentrated, among blocks of coordinates that follow each other."""
    k = width_of(layout)
    none = Relation(np.zeros((k, layout.states)), np.zeros(k), np.ones(k), np.zeros((k, layout.goals)))
    change = data.next_state - data.state
    size = np.sqrt(np.mean(change.astype(np.float64) ** 2, axis=0))
    resting = np.mean(np.abs(change) <= STILL * size, axis=0)
    plain = ~layout.angles
    things = _things(resting, plain, layout)
    movers = plain & (resting < RESTLESS)
    n = len(things)
    blocks = [np.arange(i, i + n) for i in range(layout.states - n + 1) if movers[i : i + n].all()]
    if not n or not blocks:
        return none
    moving = (np.abs(change[:, things]) > MOVES * size[things]).any(axis=1)
    begins = moving & ~np.append(False, moving[:-1] & (data.episode[1:] == data.episode[:-1]))
    known = begins.sum() >= ENOUGH
    _, block = min(
        (_concentration(data.state[:, b] - data.state[:, things], begins) if known else float(i), i)
        for i, b in enumerate(blocks)
    )
    differences = data.state[:, blocks[block]] - data.state[:, things]
    seen = differences[begins] if known else differences
    none.rows[np.arange(n), blocks[block]] = 1.0
    none.rows[np.arange(n), things] = -1.0
    none.middle[:n] = np.median(seen, axis=0) if known else 0.0
    none.size[:n] = np.maximum((1.0 if known else FIRST) * _range(seen), 1e-6)
    if layout.goals:
        none.side[:] = _side((differences - none.middle) / none.size, change[:, things], moving)
    return none


def _side(near: np.ndarray, change: np.ndarray, moving: np.ndarray) -> np.ndarray:
    """On which side the differences are when a thing moves one way, (k, n): slopes of a linear regression."""
    used = moving & (np.linalg.norm(near, axis=1) < TOUCH * np.sqrt(near.shape[1]))
    if used.sum() < 10 * ENOUGH:
        return np.zeros((near.shape[1], change.shape[1]))
    way = change[used] / np.linalg.norm(change[used], axis=1, keepdims=True)
    square = way.T @ way + RIDGE * len(way) * np.eye(way.shape[1])
    return np.linalg.solve(square, way.T @ near[used]).T


def _things(resting: np.ndarray, plain: np.ndarray, layout: Layout) -> np.ndarray:
    """Coordinates of what rests: the achieved goal, or the first that follow each other."""
    if layout.goals:
        found = np.arange(layout.states)[layout.achieved]
        return found if (resting[found] > RESTS).all() and plain[found].all() else found[:0]
    found = np.flatnonzero(plain & (resting > RESTS))
    return found[found - np.arange(len(found)) == found[0]][:WIDEST] if len(found) else found


def _concentration(differences: np.ndarray, begins: np.ndarray) -> float:
    """How narrow differences are where movement begins, beside everywhere: the sum of logarithms of ratios."""
    ratio = np.maximum(_range(differences[begins]), 1e-9) / np.maximum(_range(differences), 1e-9)
    return float(np.log(ratio).sum())


def _range(values: np.ndarray) -> np.ndarray:
    """A standard deviation that outliers do not widen: of the quartiles' distance in a normal distribution."""
    return (np.percentile(values, 75, axis=0) - np.percentile(values, 25, axis=0)) / 1.349
