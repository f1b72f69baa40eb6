"""Fits an ensemble of multilayer perceptrons with JAX, equinox and optax; the same key gives the same weights."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import lru_cache, partial, wraps
from typing import Any, NamedTuple, ParamSpec, TypeVar

import numpy as np

# One thread, so that sums are taken in one order and a seed has one result. Must be set before JAX starts.
os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1")
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import equinox as eqx
import jax
import jax.numpy as jnp
import optax

from robotctl.world_model.ensemble import Ensemble

CHUNK = 200  # steps between two reports
PATIENCE = 5  # reports without progress on held-out rows after which a fit ends
GAIN = 1e-3  # what counts as progress, as a share of the loss
HELD_OUT = 0.1  # share of people, episodes or pushes that a fit is watched on
WATCHED = 1024  # rows of them, at most
PAD = 256

Loss = Callable[..., jax.Array]  # (network outputs (b, n_out), *targets of the batch) -> scalar
Objective = Callable[..., jax.Array]  # (network: (b, n_in) -> (b, n_out), *data of the batch) -> scalar
Report = Callable[[float, float], None]  # share done, last loss
Given = ParamSpec("Given")
Result = TypeVar("Result")


def fit_ensemble(
    seed: int,
    inputs: np.ndarray,
    targets: tuple[np.ndarray, ...],
    loss: Loss,
    outputs: int,
    width: int,
    depth: int = 2,
    members: int = 3,
    steps: int = 2000,
    batch: int = 256,
    rate: float = 2e-3,
    decay: float = 1e-4,
    progress: Report | None = None,
    group: np.ndarray | None = None,
) -> Ensemble:
    """Minimises `loss` over batches drawn separately for every member.

    inputs (N, n_in) and targets (N, ...) float32. progress is called with the share done and the last loss. Calls
    with the same loss function and sizes are compiled once. group: see `fit_objective`.
    """
    return fit_objective(
        seed, (inputs, *targets), _of_outputs(loss), (inputs.shape[1], outputs, width, depth), members, steps, batch,
        rate, decay, progress=progress, group=group,
    )  # fmt: skip


@lru_cache(maxsize=32)
def _of_outputs(loss: Loss) -> Objective:
    """A loss of outputs and targets as an objective of the network, inputs and targets."""

    def objective(network: Any, x: jax.Array, *targets: jax.Array) -> jax.Array:
        return loss(network(x), *targets)

    return objective


def in_single_precision(function: Callable[Given, Result]) -> Callable[Given, Result]:
    """The function, with JAX's numbers 32 bits long, whatever the rest of the process or JAX_ENABLE_X64 asks for."""

    @wraps(function)
    def inside(*given: Given.args, **named: Given.kwargs) -> Result:
        with jax.enable_x64(False):
            return function(*given, **named)

    return inside


@in_single_precision
def fit_objective(
    seed: int,
    data: tuple[np.ndarray, ...],
    objective: Objective,
    shape: tuple[int, int, int, int],
    members: int,
    steps: int,
    batch: int,
    rate: float,
    decay: float,
    start: Ensemble | None = None,
    progress: Report | None = None,
    group: np.ndarray | None = None,
) -> Ensemble:
    """Minimises `objective` over batches of `data` (N, ...), drawn separately for every member.

    shape: inputs, outputs, width and depth of the networks. start: go on from these weights, in place of fresh ones.
    group: (N,) whose rows belong together; some groups are held out then, the fit ends early when the loss on them no
    longer falls, and the weights are those with which it was least (early stopping; Prechelt 1998).
    """
    watched: tuple[jax.Array, ...] | None = None
    if group is not None and steps > PATIENCE * CHUNK:
        held = held_out(group, seed)
        if np.any(held):
            rows = np.flatnonzero(held)[:: -(-int(held.sum()) // WATCHED)]
            watched = tuple(_column(column[rows]) for column in data)
        data = tuple(column[~held] for column in data)
    count = len(data[0])
    padded = tuple(_padded(rows) for rows in data)
    trainer = _trainer(objective, shape, steps, batch, rate, decay)
    parameters = trainer.start(jax.random.split(jax.random.key(seed), members))
    if start is not None:
        parameters = _with_weights(parameters, start)
    states = jax.vmap(trainer.optimizer.init)(parameters)
    chunks = max(steps // CHUNK, 1)
    best, least, progressed, at = parameters, np.inf, np.inf, 0
    for i in range(chunks):
        keys = jax.random.split(jax.random.fold_in(jax.random.key(seed + 1), i), members)
        parameters, states, value = trainer.chunk(parameters, states, keys, count, padded)
        if watched is not None:
            loss = float(trainer.watch(parameters, watched).mean())
            if loss < least:
                best, least = parameters, loss
            if loss < progressed - GAIN * abs(progressed) or not np.isfinite(progressed):
                progressed, at = loss, i
        if progress is not None:
            progress((i + 1) / chunks, float(value.mean()))
        if watched is not None and i - at >= PATIENCE:
            break
    if progress is not None:
        progress(1.0, float(value.mean()))
    parameters = best if watched is not None else parameters
    return Ensemble(
        tuple(np.asarray(layer.weight, np.float32) for layer in parameters.layers),
        tuple(np.asarray(layer.bias, np.float32) for layer in parameters.layers),
    )


def held_out(group: np.ndarray, seed: int) -> np.ndarray:
    """Which rows (N,) a fit is watched on: all of some groups, none where the groups are few."""
    names = np.unique(group)
    chosen = np.random.default_rng([seed, 11]).permutation(names)[: int(HELD_OUT * len(names))]
    return np.isin(group, chosen)


def _with_weights(parameters: Any, weights: Ensemble) -> Any:
    """The parameters of all members, with the values of an ensemble of the same shape."""
    for i, (w, b) in enumerate(zip(weights.weights, weights.biases, strict=True)):
        parameters = eqx.tree_at(partial(_layer, i), parameters, (jnp.asarray(w), jnp.asarray(b)))
    return parameters


def _layer(index: int, parameters: Any) -> tuple[Any, Any]:
    return parameters.layers[index].weight, parameters.layers[index].bias


def _padded(rows: np.ndarray) -> jax.Array:
    """Filled up with zeros to a multiple of PAD rows, so that data of about the same size share a compilation."""
    missing = -len(rows) % PAD
    return _column(np.pad(rows, [(0, missing), *[(0, 0)] * (rows.ndim - 1)]))


def _column(rows: np.ndarray) -> jax.Array:
    return jnp.asarray(rows, jnp.int32 if np.issubdtype(rows.dtype, np.integer) else jnp.float32)


class _Trainer(NamedTuple):
    start: Callable[[jax.Array], Any]  # keys (members,) -> parameters of all members
    optimizer: optax.GradientTransformation
    chunk: Callable[..., Any]  # CHUNK steps of all members
    watch: Callable[..., jax.Array]  # parameters, data -> loss of every member, (members,)


@lru_cache(maxsize=8)
def _trainer(
    objective: Objective, shape: tuple[int, int, int, int], steps: int, batch: int, rate: float, decay: float
) -> _Trainer:
    schedule = optax.cosine_decay_schedule(rate, steps)
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(schedule, weight_decay=decay))

    def make(key: jax.Array) -> eqx.nn.MLP:
        return eqx.nn.MLP(*shape, activation=jnp.tanh, key=key)

    static = eqx.filter(make(jax.random.key(0)), eqx.is_array, inverse=True)

    def batch_loss(parameter: Any, rows: jax.Array, data: tuple[jax.Array, ...]) -> jax.Array:
        network = eqx.combine(parameter, static)
        return objective(jax.vmap(network), *(column[rows] for column in data))

    def member(
        parameter: Any, state: Any, key: jax.Array, count: jax.Array, data: tuple[jax.Array, ...]
    ) -> tuple[Any, Any, jax.Array]:
        def step(carry: tuple[Any, Any], key: jax.Array) -> tuple[tuple[Any, Any], jax.Array]:
            parameter, state = carry
            rows = jax.random.randint(key, (batch,), 0, count)
            value, gradient = jax.value_and_grad(batch_loss)(parameter, rows, data)
            update, state = optimizer.update(gradient, state, parameter)
            return (optax.apply_updates(parameter, update), state), value

        end, values = jax.lax.scan(step, (parameter, state), jax.random.split(key, CHUNK))
        return (*end, jnp.mean(values))

    chunk = jax.jit(jax.vmap(member, in_axes=(0, 0, 0, None, None)))

    def whole(parameter: Any, data: tuple[jax.Array, ...]) -> jax.Array:
        return objective(jax.vmap(eqx.combine(parameter, static)), *data)

    watch = jax.jit(jax.vmap(whole, in_axes=(0, None)))
    return _Trainer(lambda keys: eqx.filter(eqx.filter_vmap(make)(keys), eqx.is_array), optimizer, chunk, watch)
