"""What is learned of one environment, and its file: world model, reward and return-to-go as safetensors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import robotctl.training.jax_fit  # noqa: F401  # sets what must be set before JAX starts
from robotctl.errors import InvalidFileError
from robotctl.training.gym import dynamics, value
from robotctl.training.gym.data import Transitions
from robotctl.training.gym.dynamics import Model, Network
from robotctl.training.gym.relation import width_of
from robotctl.training.gym.spaces import Layout
from robotctl.training.gym.table import Scale, scale_of, table_of
from robotctl.training.gym.value import Value
from robotctl.world_model import storage

import jax.numpy as jnp  # isort: skip

KIND = "gym"
ROWS = 16_384  # a table's size is a multiple of it: a growing data set is compiled for a few times at most


@dataclass(frozen=True)
class Learned:
    """A world model with its return-to-go."""

    model: Model
    value: Value

    @property
    def rest(self) -> Network:
        """The return-to-go that a planner uses: no layers where the relation guides to a goal."""
        return [] if self.model.guided else self.value.network

    def arrays(self) -> dict[str, np.ndarray]:
        """Everything by name, for storage."""
        networks = {
            "dynamics": self.model.dynamics,
            "reward": self.model.reward,
            "value": self.value.network,
            "value_target": self.value.target,
        }
        arrays = {f"scale.{name}": np.atleast_1d(np.asarray(x)) for name, x in self.model.scale._asdict().items()}
        for name, layers in networks.items():
            for i, (weight, bias) in enumerate(layers):
                arrays[f"{name}.w{i}"], arrays[f"{name}.b{i}"] = np.asarray(weight), np.asarray(bias)
        return arrays


def load(path: Path, layout: Layout) -> Learned:
    """The counterpart of `arrays` in a model file; InvalidFileError says what is wrong with it."""
    arrays, notes, _ = storage.load(path)
    if notes.get("kind") != KIND:
        raise InvalidFileError(f"{path}: not a model of a Gymnasium environment")
    start = initial(0, layout, _unit_scale(layout))
    wanted = start.arrays()
    storage.expect(path, arrays, {name: array.shape for name, array in wanted.items()})

    def network(name: str, like: Network) -> Network:
        return [(jnp.asarray(arrays[f"{name}.w{i}"]), jnp.asarray(arrays[f"{name}.b{i}"])) for i in range(len(like))]

    numbers = {
        name: jnp.asarray(arrays[f"scale.{name}"].reshape(np.shape(x)))
        for name, x in start.model.scale._asdict().items()
    }
    model = Model(network("dynamics", start.model.dynamics), network("reward", start.model.reward), Scale(**numbers))
    return Learned(model, Value(network("value", start.value.network), network("value_target", start.value.target)))


def notes_of(environment: str, layout: Layout) -> dict[str, Any]:
    """What is needed to use the arrays."""
    return {
        "kind": KIND,
        "env": environment,
        "states": layout.states,
        "actions": layout.actions,
        "goals": layout.goals,
        "parts": [[part.key, part.size, list(part.angle)] for part in layout.parts],
        "action_low": layout.low.tolist(),
        "action_high": layout.high.tolist(),
    }


def initial(seed: int, layout: Layout, scale: Scale) -> Learned:
    """Random weights."""
    return Learned(dynamics.fresh(seed, layout, scale), value.fresh(seed + 1, layout))


def improved(
    before: Learned | None,
    data: Transitions,
    layout: Layout,
    seed: int,
    steps: int,
    progress: Callable[[float], None] | None = None,
) -> Learned:
    """Fitted on data for `steps` steps, going on from `before` if there is one."""
    say = progress or (lambda share: None)
    scale = scale_of(data, layout)
    table = table_of(data, scale, layout.achieved, -(-len(data) // ROWS) * ROWS)
    start = before or initial(seed, layout, scale)
    model = dynamics.fit(start.model._replace(scale=scale), table, seed, steps, lambda share: say(0.7 * share))
    if model.guided:  # nothing asks for the return-to-go
        return Learned(model, start.value)
    later = value.fit(start.value, scale, layout.achieved, table, seed, steps, lambda share: say(0.7 + 0.3 * share))
    return Learned(model, later)


def _unit_scale(layout: Layout) -> Scale:
    one, single, near = jnp.ones(layout.states), jnp.ones(()), jnp.ones(width_of(layout))
    rows, turn = jnp.ones((len(near), len(one))), jnp.ones((dynamics.seen(layout) // len(near) - 1, len(one)))
    side = jnp.ones((len(near), layout.goals))
    return Scale(one, one, one, one, one, one, one, single, single, single, rows, near, near, side, turn, one)
