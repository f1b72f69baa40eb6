"""Turns observations of Gymnasium spaces into flat vectors, and actions in [-1, 1] into an environment's own.

An observation is a vector (`Box`) or a flat dictionary of vectors; `desired_goal` is kept apart, because the robot
does not change it. A coordinate whose bounds are exactly one turn apart is an angle: it becomes its cosine and sine,
so that a whole turn is no jump.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from robotctl.errors import UsageError

ACHIEVED, DESIRED = "achieved_goal", "desired_goal"
SUPPORTED = "supported are vectors (Box with at most one axis) and flat dictionaries of them"


@dataclass(frozen=True)
class Part:
    """One vector of an observation and which of its coordinates are angles."""

    key: str | None  # in a dictionary; None: the observation itself
    size: int
    angle: tuple[bool, ...]

    @property
    def width(self) -> int:
        """Length of the encoded part."""
        return self.size + sum(self.angle)

    def encode(self, values: Any) -> np.ndarray:
        """(size,) in the environment's units -> (width,), angles last as cosines, then sines."""
        flat = np.asarray(values, np.float64).reshape(-1)
        angle = np.array(self.angle, bool)
        return np.concatenate([flat[~angle], np.cos(flat[angle]), np.sin(flat[angle])])


@dataclass(frozen=True)
class Layout:
    """How an environment's observations and actions map to vectors."""

    parts: tuple[Part, ...]  # of the state, in order
    goal: Part | None  # the desired goal; None: the environment is not goal-conditioned
    low: np.ndarray  # bounds of the actions (n_action,)
    high: np.ndarray

    @property
    def states(self) -> int:
        """Length of the state."""
        return sum(part.width for part in self.parts)

    @property
    def actions(self) -> int:
        """Length of the action."""
        return len(self.low)

    @property
    def goals(self) -> int:
        """Length of the goal; 0 without one."""
        return self.goal.width if self.goal is not None else 0

    @property
    def angles(self) -> np.ndarray:
        """Which coordinates of the state are cosines or sines, (states,) of bool."""
        return np.concatenate([np.arange(part.width) >= part.size - sum(part.angle) for part in self.parts])

    @property
    def achieved(self) -> slice:
        """Where the achieved goal stands in the state."""
        start = 0
        for part in self.parts:
            if part.key == ACHIEVED:
                return slice(start, start + part.width)
            start += part.width
        return slice(0, 0)

    def encode(self, observation: Any) -> tuple[np.ndarray, np.ndarray]:
        """State (states,) and goal (goals,), float32."""
        rows = [part.encode(observation if part.key is None else observation[part.key]) for part in self.parts]
        goal = self.goal.encode(observation[DESIRED]) if self.goal is not None else np.zeros(0)
        return np.concatenate(rows).astype(np.float32), goal.astype(np.float32)

    def decode_action(self, scaled: np.ndarray, dtype: Any) -> np.ndarray:
        """An action in [-1, 1] as the environment's."""
        share = (np.clip(scaled.astype(np.float64), -1.0, 1.0) + 1.0) / 2.0
        return (self.low + share * (self.high - self.low)).astype(dtype)

    def encode_action(self, action: np.ndarray) -> np.ndarray:
        """The counterpart of `decode_action`."""
        return (2.0 * (np.asarray(action, np.float64) - self.low) / (self.high - self.low) - 1.0).astype(np.float32)


def layout_of(name: str, observation: Any, action: Any) -> Layout:
    """The layout of an environment's two spaces; UsageError names the space that is not supported."""
    from gymnasium import spaces

    if not isinstance(action, spaces.Box) or len(action.shape) != 1 or not np.issubdtype(action.dtype, np.floating):
        raise UsageError(f"'{name}' has the action space {_short(action)}; supported is Box with one axis of reals")
    if not (np.all(np.isfinite(action.low)) and np.all(np.isfinite(action.high)) and np.all(action.high > action.low)):
        raise UsageError(f"'{name}' has the action space {_short(action)}; supported are finite bounds only")
    low, high = action.low.astype(np.float64), action.high.astype(np.float64)
    if isinstance(observation, spaces.Box):
        return Layout((_part(name, None, observation),), None, low, high)
    if not isinstance(observation, spaces.Dict):
        raise UsageError(f"'{name}' has the observation space {_short(observation)}; {SUPPORTED}")
    parts = {key: _part(name, key, space) for key, space in sorted(observation.spaces.items())}
    goal = parts.get(DESIRED)
    if goal is not None and (ACHIEVED not in parts or parts[ACHIEVED].width != goal.width):
        raise UsageError(f"'{name}' has a {DESIRED} in its observation without a matching {ACHIEVED}")
    return Layout(tuple(part for key, part in parts.items() if key != DESIRED), goal, low, high)


def _part(name: str, key: str | None, space: Any) -> Part:
    from gymnasium import spaces

    where = f"observation '{key}'" if key is not None else "observation"
    if not isinstance(space, spaces.Box) or len(space.shape) > 1:
        raise UsageError(f"'{name}' has the {where} space {_short(space)}; {SUPPORTED}")
    low, high = np.asarray(space.low, np.float64).reshape(-1), np.asarray(space.high, np.float64).reshape(-1)
    turn = np.abs(np.where(np.isfinite(high - low), high - low, 0.0) - 2.0 * np.pi) < 1e-3
    return Part(key, len(low), tuple(bool(t) for t in turn))


def _short(space: Any) -> str:
    """The space in a few words."""
    text = " ".join(str(space).split())
    return text if len(text) <= 80 else f"{type(space).__name__}{getattr(space, 'shape', None) or ''}"
