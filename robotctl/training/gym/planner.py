"""The policy that plans: model-predictive control in all lanes, for the task, or to touch things all over."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

import robotctl.training.jax_fit  # noqa: F401  # sets what must be set before JAX starts
from robotctl.training.gym import mpc
from robotctl.training.gym.collect import LONGEST, Episode
from robotctl.training.gym.dynamics import Model, Moment, Network
from robotctl.training.gym.noise import coloured
from robotctl.training.gym.spaces import Layout

import jax  # isort: skip
import jax.numpy as jnp  # isort: skip

GREEDY, NOISY, EXPLORING = "greedy", "noisy", "exploring"  # for the task; with noise; to be where movement begins
COLOUR = 1.0
AROUND = 1.5  # sizes of the relation: standard deviation of the places that are explored
GENTLE = (0.1, 10.0)  # cost of a size in a step squared: what is only ever hit hard is never learned to be pushed
STAY = 6  # steps for which a place is explored
NOISE = 0.6  # largest standard deviation of a noisy episode's noise, actions in [-1, 1]


class Planner:
    """MPC with a learned model. `manner` says for an episode's number how it is planned."""

    def __init__(
        self,
        model: Model,
        rest: Network,
        layout: Layout,
        seed: int,
        lanes: int,
        manner: Callable[[int], str] = lambda number: GREEDY,
    ) -> None:
        self._model, self._rest, self._layout = model, rest, layout
        self._seed, self._key = seed, jax.random.key(seed)
        self._noise: dict[int, np.ndarray] = {}
        self._manner = manner
        self._warm = mpc.start(lanes, layout.actions)

    def __call__(self, lanes: list[Episode | None], fresh: np.ndarray) -> np.ndarray:
        layout = self._layout
        count = len(lanes)
        state = np.zeros((count, layout.states), np.float32)
        change = np.zeros((count, layout.states), np.float32)
        before = np.zeros((count, layout.actions), np.float32)
        goal = np.zeros((count, layout.goals), np.float32)
        numbers = np.zeros((count, 2), np.int32)
        explores = np.zeros(count, np.float32)
        near = np.zeros((count, len(self._model.scale.near)), np.float32)
        gentle = np.zeros(count, np.float32)
        noise = np.zeros((count, layout.actions), np.float32)
        for lane, episode in enumerate(lanes):
            if episode is None:
                continue
            state[lane], goal[lane] = episode.states[-1], episode.goal
            if episode.actions:
                change[lane], before[lane] = episode.states[-1] - episode.states[-2], episode.actions[-1]
            numbers[lane] = episode.number, len(episode.actions)
            manner = self._manner(episode.number)
            if manner == EXPLORING and self._model.related:
                explores[lane], near[lane] = 1.0, self._place(episode.number, len(episode.actions) // STAY)
                gentle[lane] = self._gentle(episode.number)
            if manner == NOISY:
                if fresh[lane]:
                    self._noise[lane] = self._draw(episode.number)
                noise[lane] = self._noise[lane][len(episode.actions)]
        kept = jnp.asarray(~fresh)[:, None, None]
        warm = mpc.Warm(self._warm.mean * kept, self._warm.elites * kept[..., None])
        span = (layout.achieved.start, layout.achieved.stop)
        moments = Moment(jnp.asarray(state), jnp.asarray(change), jnp.asarray(before))
        actions, self._warm = mpc.plan(
            self._model, self._rest, span, moments, jnp.asarray(goal), warm, self._key, jnp.asarray(numbers),
            mpc.Aim(jnp.asarray(near), jnp.asarray(gentle), jnp.asarray(explores)),
        )  # fmt: skip
        return np.clip(np.asarray(actions) + noise, -1.0, 1.0)

    def _place(self, number: int, visit: int) -> np.ndarray:
        """Differences (k,) to be at, in their sizes."""
        generator = np.random.default_rng([self._seed, 4, number, visit])
        return AROUND * generator.standard_normal(len(self._model.scale.near))

    def _gentle(self, number: int) -> float:
        """How much hurry costs in an episode."""
        low, high = np.log(GENTLE)
        return float(np.exp(np.random.default_rng([self._seed, 5, number]).uniform(low, high)))

    def _draw(self, number: int) -> np.ndarray:
        generator = np.random.default_rng([self._seed, 3, number])
        return coloured(generator, LONGEST, self._layout.actions, COLOUR) * generator.uniform(0.0, NOISE)
