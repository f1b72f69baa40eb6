"""A learned return-to-go: what a planner adds at the end of its horizon, because some rewards come later.

V is fitted on the collected transitions alone, by expectile regression of r + gamma V(s') (Kostrikov et al. 2022,
"Implicit Q-learning", equation 5, without the Q-function, as if environments were deterministic): the expectile
above one half makes V the return of the better of the continuations seen. With goals, r is minus the distance of
what was achieved to the goal, and goals are relabelled with what was achieved later (Andrychowicz et al. 2017,
"Hindsight experience replay", strategy "future") or elsewhere. Used as terminal value of a planner as in Lowrey et
al. 2019 ("Plan online, learn offline", equation 3).

With goals, a second return-to-go of the same kind is that of stirring: how far the achieved goal will move, wherever.
It leads exploring episodes to where the robot can change what it is judged by, which random actions seldom find.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any, NamedTuple

import robotctl.training.jax_fit  # noqa: F401  # sets what must be set before JAX starts
from robotctl.training.gym.dynamics import BATCH, CHUNK, CLIP, WIDTH, Moment, Network, Scale, Table, apply, begin, draw

import jax  # isort: skip
import jax.numpy as jnp  # isort: skip
import optax  # isort: skip

GAMMA = 0.97
EXPECTILE = 0.7
PART = 0.2  # of a batch drawn by how unusual the change is
HEADS = 2  # networks; their mean is used
TARGET = 0.05  # of the networks that the target networks take over in a step
RATE = 5e-4
STIRRED = 3.0  # standard deviations: beyond, further is no better
FUTURE, ELSEWHERE = 0.5, 0.25  # shares of goals relabelled; the rest keep their own


class Value(NamedTuple):
    """The networks, and the slowly following ones that targets are computed with."""

    network: Network
    target: Network


def fresh(seed: int, states: int, goals: int) -> Value:
    """Random weights."""
    network = begin(seed, (2 * states + 2 * goals, WIDTH, WIDTH, 1), HEADS)
    return Value(network, network)


def value(network: Network, scale: Scale, achieved: slice, now: Moment, goal: jax.Array) -> jax.Array:
    """Mean return-to-go of the heads in units of `stage`, moments (n, ...), goal (n, goals) -> (n,)."""
    parts = [(now.state - scale.mean) / scale.spread, now.change / scale.change]
    if goal.shape[-1]:
        here = now.state[..., achieved]
        parts += [(goal - scale.mean[achieved]) / scale.spread[achieved], (goal - here) / scale.distance]
    x = jnp.clip(jnp.concatenate(parts, axis=-1), -CLIP, CLIP)
    heads = jax.vmap(lambda layers: apply(layers, x)[..., 0])(network)
    return jnp.mean(heads, axis=0) / (1.0 - GAMMA)


def stage(scale: Scale, achieved: slice, then: Moment, goal: jax.Array, reward: jax.Array) -> jax.Array:
    """What a step is worth, (n,): minus the distance to the goal by its mean, or the reward by its spread."""
    if goal.shape[-1]:
        return -jnp.linalg.norm(then.state[..., achieved] - goal + 1e-9, axis=-1) / scale.distance
    return reward / scale.reward_spread


def stirred(scale: Scale, achieved: slice, then: Moment) -> jax.Array:
    """How far the achieved goal has moved in a step, (n,), in standard deviations, at most STIRRED."""
    moved = then.change[..., achieved] / scale.change[achieved]
    return jnp.minimum(jnp.sqrt(jnp.mean(moved**2, axis=-1)), STIRRED)


def fit(
    value: Value,
    scale: Scale,
    achieved: slice,
    table: Table,
    stir: bool,
    seed: int,
    steps: int,
    progress: Callable[[float], None] | None = None,
) -> Value:
    """Goes on from `value` for `steps` steps of Adam. stir: the return is that of moving the achieved goal."""
    optimizer = _optimizer(steps)
    state = optimizer.init(value.network)
    chunks = max(steps // CHUNK, 1)
    span = (achieved.start, achieved.stop)
    for i in range(chunks):
        key = jax.random.fold_in(jax.random.key(seed), i)
        value, state = _chunk(value, state, key, scale, table, span, stir, steps)
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


@partial(jax.jit, static_argnames=("span", "stir", "steps"))
def _chunk(
    start: Value, state: Any, key: jax.Array, scale: Scale, table: Table, span: tuple[int, int], stir: bool, steps: int
) -> Any:
    optimizer = _optimizer(steps)
    achieved = slice(*span)

    def one(carry: Any, key: jax.Array) -> Any:
        both, state = carry
        which, goals = jax.random.split(key)
        rows = draw(which, table, BATCH, rare=PART)
        goal = table.goal[rows, :0] if stir else table.goal[rows]
        if goal.shape[1]:
            goal = relabel(goals, table, rows, achieved)
        now = Moment(table.state[rows], table.change[rows], table.before[rows])
        then = Moment(table.next_state[rows], table.next_state[rows] - table.state[rows], table.action[rows])
        worth = stirred(scale, achieved, then) if stir else stage(scale, achieved, then, goal, table.reward[rows])
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
