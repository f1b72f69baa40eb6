"""Fits an ensemble of multilayer perceptrons with JAX, equinox and optax; the same key gives the same weights."""

from __future__ import annotations

import os
from collections.abc import Callable

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

Loss = Callable[..., jax.Array]  # (network outputs (b, n_out), *targets of the batch) -> scalar


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
    progress: Callable[[float, float], None] | None = None,
) -> Ensemble:
    """Minimises `loss` over batches drawn separately for every member.

    inputs (N, n_in) and targets (N, ...) float32. progress is called with the share done and the last loss.
    """
    x = jnp.asarray(inputs, jnp.float32)
    y = tuple(jnp.asarray(t, jnp.float32) for t in targets)
    schedule = optax.cosine_decay_schedule(rate, steps)
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(schedule, weight_decay=decay))

    def make(key: jax.Array) -> eqx.nn.MLP:
        return eqx.nn.MLP(x.shape[1], outputs, width, depth, activation=jnp.tanh, key=key)

    keys = jax.random.split(jax.random.key(seed), members)
    networks = eqx.filter_vmap(make)(keys)
    parameters, static = eqx.partition(networks, eqx.is_array)
    states = jax.vmap(optimizer.init)(parameters)

    def batch_loss(parameter: eqx.nn.MLP, rows: jax.Array) -> jax.Array:
        network = eqx.combine(parameter, static)
        return loss(jax.vmap(network)(x[rows]), *(t[rows] for t in y))

    def step(carry: tuple, key: jax.Array) -> tuple:
        parameter, state = carry
        rows = jax.random.randint(key, (batch,), 0, len(x))
        value, gradient = jax.value_and_grad(batch_loss)(parameter, rows)
        update, state = optimizer.update(gradient, state, parameter)
        return (optax.apply_updates(parameter, update), state), value

    @jax.jit
    def chunk(parameter: eqx.nn.MLP, state: optax.OptState, key: jax.Array) -> tuple:
        (parameter, state), values = jax.lax.scan(step, (parameter, state), jax.random.split(key, CHUNK))
        return parameter, state, values.mean()

    chunks = max(steps // CHUNK, 1)
    for i in range(chunks):
        key = jax.random.fold_in(jax.random.key(seed + 1), i)
        parameters, states, value = jax.vmap(chunk)(parameters, states, jax.random.split(key, members))
        if progress is not None:
            progress((i + 1) / chunks, float(value.mean()))
    layers = parameters.layers
    return Ensemble(
        tuple(np.asarray(layer.weight, np.float32) for layer in layers),
        tuple(np.asarray(layer.bias, np.float32) for layer in layers),
    )
