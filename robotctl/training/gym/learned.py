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
from robotctl.training.gym.dynamics import Model, Network, Scale
from robotctl.training.gym.mpc import Terminal
from robotctl.training.gym.spaces import Layout
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
    stir: Value  # no layers without goals

    @property
    def terminal(self) -> Terminal:
        """What a planner needs of the returns-to-go."""
        return Terminal(self.value.network, self.stir.network)

    def arrays(self) -> dict[str, np.ndarray]:
        """Everything by name, for storage."""
        networks = {
            "dynamics": self.model.dynamics,
            "reward": self.model.reward,
            "value": self.value.network,
            "value_target": self.value.target,
            "stir": self.stir.network,
            "stir_target": self.stir.target,
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
    task = Value(network("value", start.value.network), network("value_target", start.value.target))
    stir = Value(network("stir", start.stir.network), network("stir_target", start.stir.target))
    return Learned(model, task, stir)


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
    return Learned(
        dynamics.fresh(seed, layout.states, layout.actions, layout.goals, scale),
        value.fresh(seed + 1, layout.states, layout.goals),
        value.fresh(seed + 2, layout.states, 0) if layout.goals else Value([], []),
    )


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
    scale = dynamics.scale_of(data, layout.achieved)
    table = dynamics.table_of(data, scale, layout.achieved, -(-len(data) // ROWS) * ROWS)
    start = before or initial(seed, layout, scale)
    model = dynamics.fit(start.model._replace(scale=scale), table, seed, steps, lambda share: say(0.6 * share))

    def returns(old: Value, stir: bool, done: float) -> Value:
        if not old.network:
            return old
        return value.fit(old, scale, layout.achieved, table, stir, seed, steps, lambda share: say(done + 0.2 * share))

    task, stir = returns(start.value, False, 0.6), returns(start.stir, True, 0.8)
    return Learned(model, task, stir)


def _unit_scale(layout: Layout) -> Scale:
    one, single = jnp.ones(layout.states), jnp.ones(())
    return Scale(one, one, one, one, one, one, one, single, single, single)
