"""An ensemble of networks that predicts the next state and the reward, fitted on rollouts of several steps.

A member predicts s' = s + sigma_d * f(x) with x made of the state, the last change of the state, the last action and
the action: the change of the state as in Chua et al. 2018 ("PETS", section 4), the last change and action because
many environments do not show their velocities. A second network predicts the reward of (s, a, s').

The output f is a size times a gate in (0, 1), so that what is not touched can stay where it is: a few tenths of a
millimetre in every step, in the mean of touched and untouched, would be a force that a planner makes use of. For the
same reason the loss is nearly the absolute error, whose best guess is the median. Differences of a `relation` are seen
at the scale of touching.

The loss is the error over a rollout of several of the model's own steps: a small error of one step does not keep a
rollout from drifting. Inputs, predicted changes and states are clamped to what the data has shown.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

import robotctl.training.jax_fit  # noqa: F401  # sets what must be set before JAX starts
from robotctl.training.gym.relation import width_of
from robotctl.training.gym.spaces import Layout
from robotctl.training.gym.table import TURNED, Scale, Table, draw

import jax  # isort: skip
import jax.numpy as jnp  # isort: skip
import optax  # isort: skip

WIDTH = 128
MEMBERS = 3
ROLLOUT = 4  # steps of the model's own that the loss spans
BATCH = 256
RATE = 1e-3
DECAY = 1e-5
CHUNK = 100  # steps between two reports
SHARP = 0.1  # standard deviations of a change: error at which the loss turns from quadratic to linear
CLIP = 8.0  # standard deviations: inputs beyond are unlike all data

Network = list[tuple[jax.Array, jax.Array]]  # layers (W (..., n_out, n_in), b (..., n_out))


class Model(NamedTuple):
    """The learned world model: M members each of two networks."""

    dynamics: Network
    reward: Network  # no layers where goals take its place
    scale: Scale

    @property
    def related(self) -> bool:
        """Whether data has shown a relation."""
        return bool(np.any(np.asarray(self.scale.near)))

    @property
    def guided(self) -> bool:
        """Whether the relation says from where the achieved goal is moved to its goal."""
        return self.related and self.scale.side.shape[1] > 0


class Moment(NamedTuple):
    """Where a rollout stands: the state, its last change (..., states) and the last action (..., actions)."""

    state: jax.Array
    change: jax.Array
    action: jax.Array


def begin(seed: int, sizes: tuple[int, ...], members: int) -> Network:
    """Weights of `members` networks, uniform within 1 / sqrt(inputs) as PyTorch and equinox draw them.

    Drawn by NumPy: JAX would compile a generator for every shape, which takes longer than the rest of a small fit.
    """
    generator = np.random.default_rng([seed, *sizes])
    layers = []
    for inputs, outputs in pairwise(sizes):
        edge = inputs**-0.5
        weight, bias = (generator.uniform(-edge, edge, (members, outputs, *n)) for n in ((inputs,), ()))
        layers.append((jnp.asarray(weight, jnp.float32), jnp.asarray(bias, jnp.float32)))
    return layers


def apply(network: Network, x: jax.Array) -> jax.Array:
    """One member's outputs, (n, n_in) -> (n, n_out); SiLU between the layers."""
    for weight, bias in network[:-1]:
        x = jax.nn.silu(x @ weight.T + bias)
    weight, bias = network[-1]
    return x @ weight.T + bias


def closeness(scale: Scale, state: jax.Array) -> jax.Array:
    """The differences of `relation` in their sizes, (..., states) -> (..., k)."""
    return (state @ scale.near.T - scale.near_middle) / scale.near_size


def closeups(scale: Scale, state: jax.Array) -> jax.Array:
    """What a network sees of the differences, (..., k + a k): themselves, and multiplied by cosines and sines.

    Sums of the products are the differences in a frame that turns with the angle.
    """
    near = closeness(scale, state)
    turned = (state @ scale.turn.T)[..., :, None] * near[..., None, :]
    return jnp.concatenate([near, turned.reshape(*near.shape[:-1], turned.shape[-2] * turned.shape[-1])], axis=-1)


def step(dynamics: Network, scale: Scale, now: Moment, action: jax.Array) -> Moment:
    """One member's next moments: (n, ...) -> (n, ...)."""
    x = jnp.concatenate(
        [
            (now.state - scale.mean) / scale.spread,
            now.change / scale.change,
            now.action,
            action,
            closeups(scale, now.state),
        ],
        axis=-1,
    )
    size, gate = jnp.split(apply(dynamics, jnp.clip(x, -CLIP, CLIP)), 2, axis=-1)
    change = scale.change * size * jax.nn.sigmoid(gate)
    change = jnp.clip(change, scale.change_low, scale.change_high)
    state = jnp.clip(now.state + change, scale.low, scale.high)
    return Moment(state, state - now.state, action)


def reward(network: Network, scale: Scale, now: Moment, action: jax.Array, then: Moment) -> jax.Array:
    """One member's rewards in the environment's units, (n,)."""
    x = jnp.concatenate(
        [
            (now.state - scale.mean) / scale.spread,
            action,
            (then.state - scale.mean) / scale.spread,
            then.change / scale.change,
        ],
        axis=-1,
    )
    return scale.reward_mean + scale.reward_spread * apply(network, jnp.clip(x, -CLIP, CLIP))[..., 0]


def rollout_loss(networks: tuple[Network, Network], scale: Scale, table: Table, rows: jax.Array) -> jax.Array:
    """Error of the changes over ROLLOUT steps in standard deviations of one step, later ones counting less; and of
    the reward of the first.

    The error of a coordinate is a pseudo-Huber loss: quadratic when very small, linear otherwise, so that the rare
    jumps of contacts do not drown everything else.
    """
    dynamics, head = networks
    now = Moment(table.state[rows], table.change[rows], table.before[rows])
    first = table.episode[rows]

    def one(now: Moment, k: jax.Array) -> Any:
        at = jnp.minimum(rows + k, len(table.reward) - 1)
        valid = (table.episode[at] == first) / (1.0 + 0.5 * k)
        then = step(dynamics, scale, now, table.action[at])
        error = (then.state - table.next_state[at]) / scale.change
        return then, (
            jnp.sum(valid * jnp.mean(scale.weight * (jnp.sqrt(SHARP**2 + error**2) - SHARP), axis=-1)),
            jnp.sum(valid),
        )

    _, (totals, weights) = jax.lax.scan(one, now, jnp.arange(ROLLOUT))
    total, weight = jnp.sum(totals), jnp.sum(weights)
    if not head:
        return total / weight
    here = Moment(table.state[rows], table.change[rows], table.before[rows])
    there = Moment(table.next_state[rows], table.next_state[rows] - table.state[rows], table.action[rows])
    error = (reward(head, scale, here, table.action[rows], there) - table.reward[rows]) / scale.reward_spread
    return total / weight + jnp.mean(jnp.sqrt(1.0 + error**2) - 1.0)


def seen(layout: Layout) -> int:
    """Number of `closeups`."""
    return width_of(layout) * (1 + min(int(layout.angles.sum()), 2 * TURNED))


def fresh(seed: int, layout: Layout, scale: Scale) -> Model:
    """A model of random weights. With goals nothing needs the reward, so it is not learned."""
    states, actions = layout.states, layout.actions
    dynamics = begin(seed, (2 * states + 2 * actions + seen(layout), WIDTH, WIDTH, 2 * states), MEMBERS)
    # The last layer starts small: an untrained model predicts that nothing changes.
    weight, bias = dynamics[-1]
    dynamics[-1] = (0.1 * weight, 0.1 * bias)
    head = [] if layout.goals else begin(seed, (3 * states + actions, WIDTH, WIDTH, 1), MEMBERS)
    return Model(dynamics, head, scale)


def fit(model: Model, table: Table, seed: int, steps: int, progress: Callable[[float], None] | None = None) -> Model:
    """Goes on from `model` for `steps` steps of AdamW; batches are drawn separately for every member."""
    optimizer = _optimizer(steps)
    networks = (model.dynamics, model.reward)
    state = jax.vmap(optimizer.init)(networks)
    chunks = max(steps // CHUNK, 1)
    for i in range(chunks):
        keys = jax.random.split(jax.random.fold_in(jax.random.key(seed), i), MEMBERS)
        networks, state, _ = _chunk(networks, state, keys, model.scale, table, steps)
        if progress is not None:
            progress((i + 1) / chunks)
    return Model(networks[0], networks[1], model.scale)


@lru_cache
def _optimizer(steps: int) -> optax.GradientTransformation:
    schedule = optax.warmup_cosine_decay_schedule(0.0, RATE, min(100, steps // 4), steps, 0.02 * RATE)
    return optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(schedule, weight_decay=DECAY))


@partial(jax.jit, static_argnames="steps")
def _chunk(networks: Any, states: Any, keys: jax.Array, scale: Scale, table: Table, steps: int) -> Any:
    optimizer = _optimizer(steps)

    def member(networks: Any, state: Any, key: jax.Array) -> Any:
        def one(carry: Any, key: jax.Array) -> Any:
            networks, state = carry
            value, gradient = jax.value_and_grad(rollout_loss)(networks, scale, table, draw(key, table, BATCH))
            update, state = optimizer.update(gradient, state, networks)
            return (optax.apply_updates(networks, update), state), value

        end, values = jax.lax.scan(one, (networks, state), jax.random.split(key, CHUNK))
        return (*end, jnp.mean(values))

    return jax.vmap(member)(networks, states, keys)


@jax.jit
def predict(model: Model, now: Moment, actions: jax.Array) -> jax.Array:
    """States of every member's own rollout, Moment of (n, ...), actions (H, n, actions) -> (M, H, n, states)."""

    def member(dynamics: Network) -> jax.Array:
        def one(now: Moment, action: jax.Array) -> Any:
            then = step(dynamics, model.scale, now, action)
            return then, then.state

        return jax.lax.scan(one, now, actions)[1]

    return jax.vmap(member)(model.dynamics)
