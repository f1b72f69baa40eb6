"""Runs episodes of an environment in a few lanes side by side, with random actions, play, or plans.

Lanes exist because one plan for eight states at once costs less than eight plans. An episode's actions depend on its
number and seed only, and environments are made anew for every call, so a call that is repeated gives the same data.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from robotctl.training.gym import environments
from robotctl.training.gym.data import Transitions
from robotctl.training.gym.noise import coloured
from robotctl.training.gym.spaces import Layout

LANES = 8
LONGEST = 1000  # steps after which an episode without an end of its own is ended
COLOURS = (0.0, 1.0, 2.0)  # of the noise that is played with: from jitter to long sweeps
SEED_SPAN = 1_000_000  # episodes of a seed that differ


@dataclass
class Episode:
    """What happened in one episode. Grows while it runs."""

    number: int
    states: list[np.ndarray] = field(default_factory=list)  # T + 1
    actions: list[np.ndarray] = field(default_factory=list)  # T, in [-1, 1]
    rewards: list[float] = field(default_factory=list)
    goal: np.ndarray = field(default_factory=lambda: np.zeros(0, np.float32))
    terminated: bool = False
    last: dict[str, float] = field(default_factory=dict)  # every scalar of `info` at the end
    most: dict[str, float] = field(default_factory=dict)  # and its largest value

    @property
    def total(self) -> float:
        """Sum of rewards."""
        return float(np.sum(self.rewards))

    @property
    def success(self) -> bool | None:
        """What the environment says at the end; None: it does not say."""
        return bool(self.last["is_success"]) if "is_success" in self.last else None

    def note(self, info: dict[str, Any]) -> None:
        """Takes over the scalars of an `info`."""
        for key, value in info.items():
            if isinstance(value, bool | int | float | np.bool_ | np.number):
                self.last[key] = float(value)
                self.most[key] = max(self.most.get(key, -np.inf), float(value))


class Policy(Protocol):
    """Chooses actions for all lanes at once."""

    def __call__(self, lanes: list[Episode | None], fresh: np.ndarray) -> np.ndarray:
        """Actions (lanes, actions) in [-1, 1] for the running episodes; fresh (lanes,): it begins with this step."""


def episodes(
    name: str,
    layout: Layout,
    policy: Policy,
    seed: int,
    more: Callable[[int, int], bool],
    lanes: int = LANES,
    progress: Callable[[int, int], None] | None = None,
) -> list[Episode]:
    """Runs episodes as long as `more` (episodes begun, transitions so far) says so; all are run to their end.

    Episode i is reset with the seed `seed * SEED_SPAN + i`, so that different policies can be given the same tasks.
    """
    done: list[Episode] = []
    begun, steps = 0, 0
    with _environments(name, lanes) as worlds:
        running: list[Episode | None] = [None] * lanes
        dtype = worlds[0].action_space.dtype
        while True:
            fresh = np.zeros(lanes, bool)
            for lane, world in enumerate(worlds):
                if running[lane] is None and more(begun, steps):
                    running[lane], fresh[lane] = _begin(world, layout, begun, seed), True
                    begun += 1
            if all(episode is None for episode in running):
                return sorted(done, key=lambda episode: episode.number)
            actions = policy(running, fresh)
            for lane, world in enumerate(worlds):
                episode = running[lane]
                if episode is None:
                    continue
                ended = _step(world, layout, episode, actions[lane], dtype)
                steps += 1
                if ended:
                    done.append(episode)
                    running[lane] = None
            if progress is not None:
                progress(len(done), steps)


@contextmanager
def _environments(name: str, count: int) -> Iterator[list[Any]]:
    worlds: list[Any] = []
    try:
        worlds += [environments.make(name) for _ in range(count)]
        yield worlds
    finally:
        for world in worlds:
            world.close()


def _begin(world: Any, layout: Layout, number: int, seed: int) -> Episode:
    observation, _ = world.reset(seed=seed * SEED_SPAN + number)
    state, goal = layout.encode(observation)
    return Episode(number, [state], goal=goal)


def _step(world: Any, layout: Layout, episode: Episode, action: np.ndarray, dtype: Any) -> bool:
    """One step of one lane; whether the episode has ended."""
    observation, reward, terminated, truncated, info = world.step(layout.decode_action(action, dtype))
    state, _ = layout.encode(observation)
    episode.states.append(state)
    episode.actions.append(np.asarray(action, np.float32))
    episode.rewards.append(float(reward))
    episode.note(info)
    episode.terminated = bool(terminated)
    return bool(terminated or truncated) or len(episode.actions) >= LONGEST


def transitions_of(many: list[Episode]) -> Transitions:
    """The transitions of finished episodes, one after the other."""
    lengths = [len(episode.actions) for episode in many]
    ended = [np.arange(n) == n - 1 for n in lengths]
    return Transitions(
        np.concatenate([np.stack(episode.states[:-1]) for episode in many]),
        np.concatenate([np.stack(episode.actions) for episode in many]),
        np.concatenate([np.stack(episode.states[1:]) for episode in many]),
        np.concatenate([np.tile(episode.goal, (n, 1)) for episode, n in zip(many, lengths, strict=True)]),
        np.concatenate([np.array(episode.rewards, np.float32) for episode in many]),
        np.concatenate([np.float32(e.terminated) * at for e, at in zip(many, ended, strict=True)]).astype(np.float32),
        np.repeat(np.arange(len(many), dtype=np.int32), lengths),
        np.concatenate([np.arange(n, dtype=np.int32) for n in lengths]),
    )


class _Drawn(ABC):
    """Actions drawn for a whole episode when it begins."""

    def __init__(self, seed: int, actions: int) -> None:
        self._seed, self._width = seed, actions
        self._ahead: dict[int, np.ndarray] = {}

    def __call__(self, lanes: list[Episode | None], fresh: np.ndarray) -> np.ndarray:
        chosen = np.zeros((len(lanes), self._width), np.float32)
        for lane, episode in enumerate(lanes):
            if episode is None:
                continue
            if fresh[lane]:
                self._ahead[lane] = self.draw(episode.number)
            chosen[lane] = self._ahead[lane][len(episode.actions)]
        return chosen

    @abstractmethod
    def draw(self, number: int) -> np.ndarray:
        """Actions (LONGEST, actions) of the episode of a number."""


class RandomActions(_Drawn):
    """What everything is measured against: every action drawn uniformly from the action space."""

    def draw(self, number: int) -> np.ndarray:
        return np.random.default_rng([self._seed, 1, number]).uniform(-1.0, 1.0, (LONGEST, self._width))


class Play(_Drawn):
    """Explores without a model: coloured noise, a colour and a size drawn for every episode."""

    def draw(self, number: int) -> np.ndarray:
        generator = np.random.default_rng([self._seed, 2, number])
        noise = coloured(generator, LONGEST, self._width, COLOURS[number % len(COLOURS)])
        return np.clip(noise * generator.uniform(0.5, 1.5), -1.0, 1.0)
