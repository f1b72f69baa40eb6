"""Transitions on the device, what they are normalised with, and how batches are drawn of them."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

import robotctl.training.jax_fit  # noqa: F401  # sets what must be set before JAX starts
from robotctl.training.gym.data import Transitions
from robotctl.training.gym.relation import relation_of
from robotctl.training.gym.spaces import Layout

import jax  # isort: skip
import jax.numpy as jnp  # isort: skip

RARE = 0.5  # share of a batch drawn by how unusual the change is
WIDER = 0.05  # of the range of the data that a predicted state may leave it by
TURNED = 1  # angles that differences are turned with, at most
FOCUS = 3.0  # by which coordinates of the relation count more in the loss


class Scale(NamedTuple):
    """What the networks' inputs and outputs are normalised and clamped with, each (states,) but reward's numbers."""

    mean: jax.Array
    spread: jax.Array
    change: jax.Array  # standard deviation of the change in one step
    change_low: jax.Array  # of the change in one step
    change_high: jax.Array
    low: jax.Array
    high: jax.Array
    reward_mean: jax.Array  # ()
    reward_spread: jax.Array  # ()
    distance: jax.Array  # () mean distance of achieved and desired goal, 1 without goals
    near: jax.Array  # (k, states) differences of `relation`, with their middle and size (k,)
    near_middle: jax.Array
    near_size: jax.Array
    side: jax.Array  # (k, goals)
    turn: jax.Array  # (a, states) picks the cosines and sines that differences are turned with
    weight: jax.Array  # (states,) of a coordinate's error in the loss, 1 in the mean


def scale_of(data: Transitions, layout: Layout) -> Scale:
    """Normalisation from data."""
    achieved = layout.achieved
    change = data.next_state - data.state
    low, high = data.next_state.min(axis=0), data.next_state.max(axis=0)
    margin = WIDER * (high - low)
    step = 0.5 * (change.max(axis=0) - change.min(axis=0)) * WIDER
    distance = np.linalg.norm(data.state[:, achieved] - data.goal, axis=1).mean() if data.goal.shape[1] else 1.0
    related = relation_of(data, layout)
    angles = np.flatnonzero(layout.angles)[: 2 * TURNED]
    weight = 1.0 + FOCUS * (np.abs(related.rows).max(axis=0) > 0.0)
    values = (
        data.state.mean(axis=0),
        np.maximum(data.state.std(axis=0), 1e-6),
        np.maximum(change.std(axis=0), 1e-6),
        change.min(axis=0) - step,
        change.max(axis=0) + step,
        low - margin,
        high + margin,
        data.reward.mean(),
        max(data.reward.std(), 1e-6),
        max(distance, 1e-6),
        *related,
        np.eye(layout.states)[angles],
        weight / weight.mean(),
    )
    return Scale(*(jnp.asarray(v, jnp.float32) for v in values))


class Table(NamedTuple):
    """Transitions on the device, padded to a fixed capacity so that a growing data set is compiled for once."""

    state: jax.Array
    change: jax.Array  # the last change before each transition, zero at an episode's begin
    before: jax.Array  # the action before, zero at an episode's begin
    action: jax.Array
    next_state: jax.Array
    goal: jax.Array
    reward: jax.Array
    terminated: jax.Array
    episode: jax.Array
    last: jax.Array  # the row that ends the episode
    rare: jax.Array  # cumulative weights for drawing unusual transitions
    rows: jax.Array  # how many are no padding


def table_of(data: Transitions, scale: Scale, achieved: slice, capacity: int) -> Table:
    """The table of a data set of at most `capacity` rows."""
    n = len(data)
    begins = data.step == 0
    change = np.zeros_like(data.state)
    before = np.zeros_like(data.action)
    change[1:], before[1:] = data.state[1:] - data.state[:-1], data.action[:-1]
    change[begins], before[begins] = 0.0, 0.0
    ends = np.flatnonzero(np.append(begins[1:], True))
    last = ends[np.searchsorted(ends, np.arange(n))]
    # How unusual a change is: its largest coordinate in standard deviations, of what was achieved or of what rests
    # until it is touched if there is either. Contacts are rare, and are what matters.
    resting = np.flatnonzero((np.asarray(scale.near) < 0.0).any(axis=0))
    what = achieved if data.goal.shape[1] else resting if len(resting) else slice(None)
    moved = (data.next_state - data.state)[:, what]
    unusual = np.clip(np.abs(moved - moved.mean(axis=0)) / np.asarray(scale.change)[what], 0.0, 6.0).max(axis=1)
    weight = np.cumsum(unusual**2 + 1e-3)
    pad = max(capacity - n, 0)

    def rows(values: np.ndarray, kind: Any = jnp.float32) -> jax.Array:
        return jnp.asarray(np.pad(values, [(0, pad), *[(0, 0)] * (values.ndim - 1)], mode="edge"), kind)

    episode = np.pad(data.episode, (0, pad), constant_values=-1)
    return Table(
        rows(data.state), rows(change), rows(before), rows(data.action), rows(data.next_state), rows(data.goal),
        rows(data.reward), rows(data.terminated), jnp.asarray(episode), rows(last, jnp.int32),
        rows(weight / weight[-1]), jnp.asarray(n),
    )  # fmt: skip


def draw(key: jax.Array, table: Table, size: int, rare: float = RARE) -> jax.Array:
    """Rows of a batch (size,): a part uniformly, a part by how unusual they are."""
    one, two = jax.random.split(key)
    unusual = int(size * rare)
    plain = jax.random.randint(one, (size - unusual,), 0, table.rows)
    chosen = jnp.searchsorted(table.rare, jax.random.uniform(two, (unusual,)))
    return jnp.minimum(jnp.concatenate([plain, chosen]), table.rows - 1)
