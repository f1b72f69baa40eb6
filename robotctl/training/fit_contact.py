"""Fits, calibrates and judges the contact model on pushes, through whole rollouts: one good step is not enough."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from robotctl.scene import ObjectKind
from robotctl.training.push_data import PushTrace
from robotctl.world_model.contact import INPUTS, OUTPUTS, ContactModel, Pushed, Shapes, advance

HORIZON = 20  # steps of the rollouts in the loss: 2 s
LENGTH = 50  # rows that every trace is brought to; after its end everything rests
WIDTH, DEPTH, MEMBERS = 64, 2, 4
BATCH = 96
RATE = 3e-3
DECAY = 1e-3
SCALE = np.array([0.004, 0.004, 0.004])  # of the network's outputs [m]
ROBUST = 0.002  # errors below this count quadratically [m]
MOVED = 0.01  # an object that went this far in the window moved [m]


@dataclass(frozen=True)
class Pushes:
    """N pushes of K kinds, all LENGTH rows long."""

    kinds: tuple[str, ...]  # (K,) names
    shapes: Shapes
    which: np.ndarray  # (N,) index into kinds
    hand: np.ndarray  # (N, LENGTH, 3)
    thing: np.ndarray  # (N, LENGTH, 3)
    seen: np.ndarray  # (N, LENGTH, 3)
    length: np.ndarray  # (N,) rows that were watched

    def __len__(self) -> int:
        return len(self.which)

    def where(self, chosen: np.ndarray) -> Pushes:
        rows = (getattr(self, name)[chosen] for name in ("which", "hand", "thing", "seen", "length"))
        return Pushes(self.kinds, self.shapes, *rows)


def pushes_of(traces: Sequence[PushTrace], kinds: Mapping[str, ObjectKind]) -> Pushes:
    """Traces as arrays, without those in which the object fell."""
    names = tuple(sorted({trace.kind for trace in traces}))
    upright = [trace for trace in traces if not trace.toppled]

    def filled(rows: np.ndarray) -> np.ndarray:
        return np.concatenate([rows[:LENGTH], np.repeat(rows[-1:], max(LENGTH - len(rows), 0), axis=0)])

    hand, thing, seen = (np.array([filled(getattr(t, name)) for t in upright]) for name in ("hand", "thing", "seen"))
    which = np.array([names.index(t.kind) for t in upright])
    length = np.array([min(len(t.hand), LENGTH) for t in upright])
    return Pushes(names, Shapes.of([Pushed.of(kinds[name]) for name in names]), which, hand, thing, seen, length)


def windows(pushes: Pushes) -> tuple[np.ndarray, np.ndarray]:
    """Trace and first row of every window in which the object moves or the hand goes by, (W,) each."""
    trace, first = [], []
    for i in range(len(pushes)):
        last = int(pushes.length[i])
        for k in range(0, last - 4):
            end = min(k + HORIZON, LENGTH - 1)
            if np.abs(pushes.thing[i, end] - pushes.thing[i, k]).max() > 5e-4:
                trace.append(i)
                first.append(k)
    return np.array(trace, int), np.array(first, int)


def fit_contact(
    train: Pushes,
    seed: int,
    steps: int,
    start: ContactModel | None = None,
    progress: Callable[[float, float], None] | None = None,
) -> ContactModel:
    """The model of the training pushes, without bounds. start: go on from this model."""
    import jax
    import jax.numpy as jnp

    from robotctl.training.jax_fit import fit_objective

    trace, first = windows(train)
    rows = first[:, None] + np.arange(HORIZON + 1)
    rows = np.minimum(rows, LENGTH - 1)
    hand, thing = train.hand[trace[:, None], rows], train.thing[trace[:, None], rows]
    before = np.where((first > 0)[:, None], train.thing[trace, first] - train.thing[trace, np.maximum(first - 1, 0)], 0)
    # Centred, for the sake of single precision.
    middle = thing[:, :1, :2].copy()
    hand, thing = hand.copy(), thing.copy()
    hand[..., :2] -= middle
    thing[..., :2] -= middle
    shapes = Shapes(*(jnp.asarray(value, jnp.float32) for value in vars(train.shapes).values()))
    scale = jnp.asarray(SCALE, jnp.float32)

    def objective(network: Any, which: Any, hand: Any, thing: Any, before: Any) -> Any:
        """Mean distance of the rolled out object from the true one, its turn counted at its support radius."""
        support = shapes.support[which]

        def step(carry: Any, hands: Any) -> Any:
            pose, moved, now = carry
            pose, moved = advance(network, scale, shapes, which, pose, moved, now, hands)
            return (pose, moved, hands), pose

        _, path = jax.lax.scan(step, (thing[:, 0], before, hand[:, 0]), jnp.swapaxes(hand[:, 1:], 0, 1))
        error = path - jnp.swapaxes(thing[:, 1:], 0, 1)
        size = jnp.sum(error[..., :2] ** 2, axis=-1) + (error[..., 2] * support) ** 2
        return 1e3 * jnp.mean(jnp.sqrt(size + ROBUST**2) - ROBUST)

    network = fit_objective(
        seed, (train.which[trace], hand, thing, before), objective, (INPUTS, OUTPUTS, WIDTH, DEPTH), MEMBERS, steps,
        BATCH, RATE, DECAY, start.network if start else None, progress,
    )  # fmt: skip
    return ContactModel(SCALE, network)


def rolled_out(model: ContactModel, pushes: Pushes, steps: int, seen: bool = False) -> np.ndarray:
    """Mean predicted poses (N, steps+1, 3) from the start of every push.

    seen: from where the robot believed the object to be, in place of where it was.
    """
    rows = np.minimum(np.arange(steps + 1), LENGTH - 1)
    start = (pushes.seen if seen else pushes.thing)[:, 0]
    return model.rollout(pushes.shapes, pushes.which, start, pushes.hand[:, rows]).mean(axis=0)
