"""Plans actions through the learned model by the cross-entropy method, replanning at every step.

The method is iCEM (Pinneri et al. 2020, "Sample-efficient cross-entropy method for real-time planning"): coloured
noise (section 3.1), elites kept between iterations and shifted between steps (3.2), the mean among the last samples
(3.3), and the best sequence found is executed. A sequence is worth the mean of sum_t gamma^t r_t + gamma^H V(s_H) over
rollouts of all members of the ensemble (trajectory sampling "TS-infinity" of Chua et al. 2018, section 5).
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import robotctl.training.jax_fit  # noqa: F401  # sets what must be set before JAX starts
from robotctl.training.gym import dynamics, value
from robotctl.training.gym.dynamics import Model, Moment, Network
from robotctl.training.gym.noise import basis
from robotctl.training.gym.value import GAMMA

import jax  # isort: skip
import jax.numpy as jnp  # isort: skip

HORIZON = 12
SAMPLES = 91
ITERATIONS = 2
ELITES = 10
KEPT = 4  # elites that go into the next iteration
COLOUR = 2.0  # exponent of the noise's power spectrum, 1 / f^colour
SPREAD = 0.6  # initial standard deviation, actions in [-1, 1]
MOMENTUM = 0.1
LEAST = 0.03  # standard deviation that is kept while refining


class Warm(NamedTuple):
    """What a plan leaves for the next: mean (H, actions) and the best sequences (KEPT, H, actions)."""

    mean: jax.Array
    elites: jax.Array


class Terminal(NamedTuple):
    """The networks of the returns-to-go."""

    task: Network
    stir: Network  # no layers without goals


def start(episodes: int, actions: int) -> Warm:
    """Nothing known yet, for a number of episodes at once."""
    return Warm(
        jnp.zeros((episodes, HORIZON, actions), jnp.float32), jnp.zeros((episodes, KEPT, HORIZON, actions), jnp.float32)
    )


def worth(
    model: Model,
    networks: Terminal,
    achieved: slice,
    now: Moment,
    goal: jax.Array,
    actions: jax.Array,
    stir: jax.Array,
) -> jax.Array:
    """Worth (n,) of action sequences (n, H, actions) from one moment, in the mean of the members' rollouts.

    stir is 0 for the task, 1 for moving the achieved goal, wherever, as far as all members agree on it.
    """
    n, members = len(actions), len(model.dynamics[0][0])
    scale = model.scale
    begin = Moment(*(jnp.broadcast_to(x, (members, n, *x.shape)) for x in now))
    goals = jnp.broadcast_to(goal, (n, *goal.shape))

    def one(carry: Any, action: jax.Array) -> Any:
        moments, total, moved, factor = carry

        def member(network: Network, head: Network, moment: Moment) -> Any:
            then = dynamics.step(network, scale, moment, action)
            gained = jnp.zeros(n) if goal.shape[-1] else dynamics.reward(head, scale, moment, action, then)
            return then, value.stage(scale, achieved, then, goals, gained)

        then, worths = jax.vmap(member)(model.dynamics, model.reward, moments)
        stirs = jnp.min(value.stirred(scale, achieved, then), axis=0) if networks.stir else jnp.zeros(n)
        return (then, total + factor * jnp.mean(worths, axis=0), moved + factor * stirs, factor * GAMMA), None

    start = (begin, jnp.zeros(n), jnp.zeros(n), jnp.ones(()))
    (end, total, moved, factor), _ = jax.lax.scan(one, start, actions.swapaxes(0, 1))
    rest = jax.vmap(lambda moment: value.value(networks.task, scale, achieved, moment, goals))(end)
    task = total + factor * jnp.mean(rest, axis=0)
    if not networks.stir:
        return task
    rest = jax.vmap(lambda moment: value.value(networks.stir, scale, achieved, moment, goals[:, :0]))(end)
    return jnp.where(stir > 0.5, moved + factor * jnp.min(rest, axis=0), task)


@partial(jax.jit, static_argnames="span")
def plan(
    model: Model,
    networks: Terminal,
    span: tuple[int, int],
    now: Moment,
    goal: jax.Array,
    warm: Warm,
    key: jax.Array,
    numbers: jax.Array,
    stir: jax.Array,
) -> tuple[jax.Array, Warm]:
    """First actions (B, actions) for B moments and goals at once, and what the next plans start from.

    numbers (B, 2): of the episode and of its step; with the key they decide what is sampled. stir (B,): see `worth`.
    """
    achieved = slice(*span)
    keys = jax.vmap(lambda pair: jax.random.fold_in(jax.random.fold_in(key, pair[0]), pair[1]))(numbers)

    def single(now: Moment, goal: jax.Array, warm: Warm, key: jax.Array, stir: jax.Array) -> Any:
        rows = jnp.asarray(basis(HORIZON, COLOUR))
        width = warm.mean.shape[-1]

        def refined(carry: Any, key: jax.Array) -> Any:
            mean, spread, elites = carry
            noise = (jax.random.normal(key, (SAMPLES, width, len(rows))) @ rows).swapaxes(1, 2)
            tried = jnp.clip(jnp.concatenate([mean + spread * noise, elites, mean[None]]), -1.0, 1.0)
            worths = worth(model, networks, achieved, now, goal, tried, stir)
            best = tried[jnp.argsort(-worths)[:ELITES]]
            mean = MOMENTUM * mean + (1.0 - MOMENTUM) * best.mean(axis=0)
            spread = jnp.maximum(MOMENTUM * spread + (1.0 - MOMENTUM) * best.std(axis=0), LEAST)
            return (mean, spread, best[:KEPT]), best[0]

        first = (warm.mean, jnp.full(warm.mean.shape, SPREAD), warm.elites)
        (mean, _, elites), found = jax.lax.scan(refined, first, jax.random.split(key, ITERATIONS))
        shifted = jnp.concatenate([elites[:, 1:], elites[:, -1:]], axis=1)
        return found[-1, 0], Warm(jnp.concatenate([mean[1:], mean[-1:]]), shifted)

    return jax.vmap(single)(now, goal, warm, keys, stir)
