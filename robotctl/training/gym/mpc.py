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
LAST = 8.0  # steps for which the end of the horizon counts where no return-to-go is learned
SPREAD = 0.6  # initial standard deviation, actions in [-1, 1]
MOMENTUM = 0.1
LEAST = 0.03  # standard deviation that is kept while refining


class Warm(NamedTuple):
    """What a plan leaves for the next: mean (H, actions) and the best sequences (KEPT, H, actions)."""

    mean: jax.Array
    elites: jax.Array


class Aim(NamedTuple):
    """What exploring episodes are planned for: differences of the relation, in their sizes (..., k)."""

    near: jax.Array
    gentle: jax.Array  # (...,) what the square of one size in a step costs
    explores: jax.Array  # (...,) above one half: planned for this instead of the task


def start(episodes: int, actions: int) -> Warm:
    """Nothing known yet, for a number of episodes at once."""
    return Warm(
        jnp.zeros((episodes, HORIZON, actions), jnp.float32), jnp.zeros((episodes, KEPT, HORIZON, actions), jnp.float32)
    )


def worth(
    model: Model,
    rest: Network,
    achieved: slice,
    now: Moment,
    goal: jax.Array,
    actions: jax.Array,
    aim: Aim,
) -> jax.Array:
    """Worth (n,) of action sequences (n, H, actions) from one moment, in the mean of the members' rollouts."""
    n, members = len(actions), len(model.dynamics[0][0])
    scale = model.scale
    begin = Moment(*(jnp.broadcast_to(x, (members, n, *x.shape)) for x in now))
    goals = jnp.broadcast_to(goal, (n, *goal.shape))

    def one(carry: Any, action: jax.Array) -> Any:
        moments, total, off, factor = carry

        def member(network: Network, head: Network, moment: Moment) -> Any:
            then = dynamics.step(network, scale, moment, action)
            gained = jnp.zeros(n) if goal.shape[-1] else dynamics.reward(head, scale, moment, action, then)
            return then, value.stage(scale, achieved, then, goals, gained)

        then, worths = jax.vmap(member)(model.dynamics, model.reward, moments)
        close = dynamics.closeness(scale, then.state)
        away = jnp.linalg.norm(close - aim.near + 1e-9, axis=-1)
        hurry = jnp.sum((close - dynamics.closeness(scale, moments.state)) ** 2, axis=-1)
        gain = jnp.mean(worths, axis=0)
        return (then, total + factor * gain, off + jnp.mean(away + aim.gentle * hurry, axis=0), factor * GAMMA), gain

    start = (begin, jnp.zeros(n), jnp.zeros(n), jnp.ones(()))
    (end, total, off, factor), gains = jax.lax.scan(one, start, actions.swapaxes(0, 1))
    if rest:
        later = jnp.mean(jax.vmap(lambda moment: value.value(rest, scale, achieved, moment, goals))(end), axis=0)
    else:
        later = LAST * gains[-1]
    return jnp.where(aim.explores > 0.5, -off, total + factor * later)


@partial(jax.jit, static_argnames="span")
def plan(
    model: Model,
    rest: Network,
    span: tuple[int, int],
    now: Moment,
    goal: jax.Array,
    warm: Warm,
    key: jax.Array,
    numbers: jax.Array,
    aim: Aim,
) -> tuple[jax.Array, Warm]:
    """First actions (B, actions) for B moments and goals at once, and what the next plans start from.

    numbers (B, 2): of the episode and of its step; with the key they decide what is sampled. rest: the return-to-go, no
    layers where none is learned.
    """
    achieved = slice(*span)
    keys = jax.vmap(lambda pair: jax.random.fold_in(jax.random.fold_in(key, pair[0]), pair[1]))(numbers)

    def single(now: Moment, goal: jax.Array, warm: Warm, key: jax.Array, aim: Aim) -> Any:
        rows = jnp.asarray(basis(HORIZON, COLOUR))
        width = warm.mean.shape[-1]

        def refined(carry: Any, key: jax.Array) -> Any:
            mean, spread, elites = carry
            noise = (jax.random.normal(key, (SAMPLES, width, len(rows))) @ rows).swapaxes(1, 2)
            tried = jnp.clip(jnp.concatenate([mean + spread * noise, elites, mean[None]]), -1.0, 1.0)
            worths = worth(model, rest, achieved, now, goal, tried, aim)
            best = tried[jnp.argsort(-worths)[:ELITES]]
            mean = MOMENTUM * mean + (1.0 - MOMENTUM) * best.mean(axis=0)
            spread = jnp.maximum(MOMENTUM * spread + (1.0 - MOMENTUM) * best.std(axis=0), LEAST)
            return (mean, spread, best[:KEPT]), best[0]

        first = (warm.mean, jnp.full(warm.mean.shape, SPREAD), warm.elites)
        (mean, _, elites), found = jax.lax.scan(refined, first, jax.random.split(key, ITERATIONS))
        shifted = jnp.concatenate([elites[:, 1:], elites[:, -1:]], axis=1)
        return found[-1, 0], Warm(jnp.concatenate([mean[1:], mean[-1:]]), shifted)

    return jax.vmap(single)(now, goal, warm, keys, aim)
