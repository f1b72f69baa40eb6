"""A learned return-to-go: what a planner adds at the end of its horizon, because some rewards come later.

V is fitted on the collected transitions alone, by expectile regression of r + gamma V(s') (Kostrikov et al. 2022,
"Implicit Q-learning", equation 5, without the Q-function, as if environments were deterministic): the expectile
above one half makes V the return of the better of the continuations seen. With goals, r is minus the distance of
what was achieved to the goal, and goals are relabelled with what was achieved later (Andrychowicz et al. 2017,
"Hindsight experience replay", strategy "future") or elsewhere. Used as terminal value of a planner as in Lowrey et
al. 2019 ("Plan online, learn offline", equation 3).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any, NamedTuple

import robotctl.training.jax_fit  # noqa: F401  # sets what must be set before JAX starts
from robotctl.training.gym.dynamics import (
    BATCH,
    CHUNK,
    CLIP,
    WIDTH,
    Moment,
    Network,
    apply,
    begin,
    closeness,
    closeups,
    seen,
)
from robotctl.training.gym.spaces import Layout
from robotctl.training.gym.table import Scale, Table, draw

import jax  # isort: skip
import jax.numpy as jnp  # isort: skip
import optax  # isort: skip

GAMMA = 0.97
EXPECTILE = 0.7
PART = 0.2  # of a batch drawn by how unusual the change is
HEADS = 2  # networks; their mean is used
TARGET = 0.05  # of the networks that the target networks take over in a step
RATE = 5e-4
GUIDE = 0.05  # what one size of the relation astray costs in a step
AT = 1.5  # sizes of the relation: within, things may move
FUTURE, ELSEWHERE = 0.5, 0.25  # shares of goals relabelled; the rest keep their own


class Value(NamedTuple):
    """The networks, and the slowly following ones that targets are computed with."""

    network: Network
    target: Network


def fresh(seed: int, layout: Layout) -> Value:
    """Random weights."""
    inputs = 2 * layout.states + 2 * layout.goals + seen(layout) + (3 if layout.goals else 0)
    network = begin(seed, (inputs, WIDTH, WIDTH, 1), HEADS)
    return Value(network, network)


def value(network: Network, scale: Scale, achieved: slice, now: Moment, goal: jax.Array) -> jax.Array:
    """Mean return-to-go of the heads in units of `stage`, moments (n, ...), goal (n, goals) -> (n,)."""
    parts = [(now.state - scale.mean) / scale.spread, now.change / scale.change, closeups(scale, now.state)]
    if goal.shape[-1]:
        here = now.state[..., achieved]
        parts += [(goal - scale.mean[achieved]) / scale.spread[achieved], (goal - here) / scale.distance]
        parts.append(_toward(scale, now.state, goal - here))
    x = jnp.clip(jnp.concatenate(parts, axis=-1), -CLIP, CLIP)
    heads = jax.vmap(lambda layers: apply(layers, x)[..., 0])(network)
    return jnp.mean(heads, axis=0) / (1.0 - GAMMA)


def _toward(scale: Scale, state: jax.Array, way: jax.Array) -> jax.Array:
    """The relation seen in the direction of the goal (..., 3): along it, across it, and how far the goal is."""
    far = jnp.linalg.norm(way + 1e-9, axis=-1, keepdims=True)
    near = (state @ scale.near.T) / jnp.max(scale.near_size)
    along = jnp.sum(near * way / far, axis=-1, keepdims=True)
    across = jnp.linalg.norm(near - along * way / far + 1e-9, axis=-1, keepdims=True)
    return jnp.concatenate([along, across, far / scale.distance], axis=-1)


def stage(scale: Scale, achieved: slice, then: Moment, goal: jax.Array, reward: jax.Array) -> jax.Array:
    """What a step is worth, (n,): minus the distance to the goal by its mean, or the reward by its spread; and less
    where the relation is astray."""
    guide = GUIDE * astray(scale, achieved, then, goal)
    if goal.shape[-1]:
        return -jnp.linalg.norm(then.state[..., achieved] - goal + 1e-9, axis=-1) / scale.distance - guide
    return reward / scale.reward_spread - guide


def astray(scale: Scale, achieved: slice, then: Moment, goal: jax.Array) -> jax.Array:
    """How far the relation is from where things are when they move toward the goal, (n,), in sizes; without goals,
    from where they move at all. Zero without a relation."""
    near = closeness(scale, then.state)
    if not goal.shape[-1]:
        return jnp.maximum(jnp.linalg.norm(near + 1e-9, axis=-1) - AT, 0.0)
    way = goal - then.state[..., achieved]
    unit = way / jnp.linalg.norm(way + 1e-9, axis=-1, keepdims=True)
    return jnp.linalg.norm(near - unit @ scale.side.T + 1e-9, axis=-1)


def fit(
    value: Value,
    scale: Scale,
    achieved: slice,
    table: Table,
    seed: int,
    steps: int,
    progress: Callable[[float], None] | None = None,
) -> Value:
    """Goes on from `value` for `steps` steps of Adam."""
    optimizer = _optimizer(steps)
    state = optimizer.init(value.network)
    chunks = max(steps // CHUNK, 1)
    span = (achieved.start, achieved.stop)
    for i in range(chunks):
        key = jax.random.fold_in(jax.random.key(seed), i)
        value, state = _chunk(value, state, key, scale, table, span, steps)
        if progress is not None:
            progress((i + 1) / chunks)
    return value


@lru_cache
def _optimizer(steps: int) -> optax.GradientTransformation:
    schedule = optax.cosine_decay_schedule(RATE, steps, 0.1)
    return optax.chain(optax.clip_by_global_norm(1.0), optax.adam(schedule))


def relabel(key: jax.Array, table: Table, rows: jax.Array, achieved: slice) -> jax.Array:
    """Goals (n, goals) of a batch: achieved later in the episode, achieved elsewhere, or its own."""
    which, when, where = jax.random.split(key, 3)
    share = jax.random.uniform(when, rows.shape)
    later = rows + jnp.floor(share * (table.last[rows] - rows + 1)).astype(jnp.int32)
    future = table.next_state[later, achieved]
    elsewhere = table.next_state[jax.random.randint(where, rows.shape, 0, table.rows), achieved]
    chosen = jax.random.uniform(which, (len(rows), 1))
    own = table.goal[rows]
    return jnp.where(chosen < FUTURE, future, jnp.where(chosen < FUTURE + ELSEWHERE, elsewhere, own))


@partial(jax.jit, static_argnames=("span", "steps"))
def _chunk(
    start: Value, state: Any, key: jax.Array, scale: Scale, table: Table, span: tuple[int, int], steps: int
) -> Any:
    optimizer = _optimizer(steps)
    achieved = slice(*span)

    def one(carry: Any, key: jax.Array) -> Any:
        both, state = carry
        which, goals = jax.random.split(key)
        rows = draw(which, table, BATCH, rare=PART)
        goal = table.goal[rows]
        if goal.shape[1]:
            goal = relabel(goals, table, rows, achieved)
        now = Moment(table.state[rows], table.change[rows], table.before[rows])
        then = Moment(table.next_state[rows], table.next_state[rows] - table.state[rows], table.action[rows])
        worth = stage(scale, achieved, then, goal, table.reward[rows])
        # An episode that ends at its goal is no end of the world: only without goals does an end cut the return.
        goes_on = 1.0 if table.goal.shape[1] else 1.0 - table.terminated[rows]
        aim = worth + GAMMA * goes_on * value(both.target, scale, achieved, then, goal)

        def loss(network: Network) -> jax.Array:
            def head(layers: Network) -> jax.Array:
                only = [(w[None], b[None]) for w, b in layers]
                error = (aim - value(only, scale, achieved, now, goal)) * (1.0 - GAMMA)
                return jnp.mean(jnp.where(error > 0.0, EXPECTILE, 1.0 - EXPECTILE) * error**2)

            return jnp.sum(jax.vmap(head)(network))

        update, state = optimizer.update(jax.grad(loss)(both.network), state, both.network)
        network = optax.apply_updates(both.network, update)
        target = jax.tree.map(lambda old, new: old + TARGET * (new - old), both.target, network)
        return (Value(network, target), state), None

    return jax.lax.scan(one, (start, state), jax.random.split(key, CHUNK))[0]
