"""Fits, calibrates and judges the contact model on pushes, through whole rollouts: one good step is not enough."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from robotctl.errors import UsageError
from robotctl.scene import ObjectKind
from robotctl.silhouette import Silhouette
from robotctl.training.push_data import PushTrace
from robotctl.world_model.calibration import conformal_quantile
from robotctl.world_model.contact import COVERAGE, INPUTS, OUTPUTS, QUASI_STATIC, STEPS, UNSEEN, ContactModel, advance
from robotctl.world_model.push import STEP
from robotctl.world_model.quasi_static import Friction, Pushed, Shapes

# What the friction of the table is tried to be like.
UNEVEN = (0.0, 0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0)
SPIN = (0.0, 0.0005, 0.001, 0.0015, 0.002, 0.003)
HORIZON = 20  # steps of the rollouts in the loss: 2 s
LENGTH = 50  # rows that every trace is brought to; after its end everything rests
WIDTH, DEPTH, MEMBERS = 64, 2, 4
BATCH = 64
RATE = 3e-3
DECAY = 1e-3
SCALE = np.array([0.004, 0.004, 0.004])  # of the network's outputs [m]
ROBUST = 0.002  # errors below this count quadratically [m]
HALVINGS = 60
MOVED = 0.01  # an object that went this far in the window moved [m]


@dataclass(frozen=True)
class Pushes:
    """N pushes of K kinds, all LENGTH rows long."""

    kinds: tuple[str, ...]  # (K,) names
    silhouettes: tuple[Silhouette, ...]  # (K,)
    shapes: Shapes
    which: np.ndarray  # (N,) index into kinds
    hand: np.ndarray  # (N, LENGTH, 3)
    thing: np.ndarray  # (N, LENGTH, 3)
    seen: np.ndarray  # (N, LENGTH, 3)
    length: np.ndarray  # (N,) rows that were watched

    def __len__(self) -> int:
        return len(self.which)

    def without(self, kinds: frozenset[str]) -> Pushes:
        """Those of other kinds."""
        return self.where(~np.isin(np.array(self.kinds)[self.which], list(kinds)))

    def where(self, chosen: np.ndarray) -> Pushes:
        rows = (getattr(self, name)[chosen] for name in ("which", "hand", "thing", "seen", "length"))
        return Pushes(self.kinds, self.silhouettes, self.shapes, *rows)


def pushes_of(traces: Sequence[PushTrace], kinds: Mapping[str, ObjectKind]) -> Pushes:
    """Traces as arrays, without those in which the object fell."""
    names = tuple(sorted({trace.kind for trace in traces}))
    upright = [trace for trace in traces if not trace.toppled]

    def filled(rows: np.ndarray) -> np.ndarray:
        return np.concatenate([rows[:LENGTH], np.repeat(rows[-1:], max(LENGTH - len(rows), 0), axis=0)])

    hand, thing, seen = (np.array([filled(getattr(t, name)) for t in upright]) for name in ("hand", "thing", "seen"))
    which = np.array([names.index(t.kind) for t in upright])
    length = np.array([min(len(t.hand), LENGTH) for t in upright])
    met = [Pushed.of(kinds[name]) for name in names]
    return Pushes(names, tuple(m.shape for m in met), Shapes.of(met), which, hand, thing, seen, length)


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

    friction = start.friction if start else table_friction(train)
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
            pose, moved = advance(
                network, scale, friction, shapes, which, pose, moved, now, hands, jax.lax.stop_gradient
            )
            return (pose, moved, hands), pose

        _, path = jax.lax.scan(step, (thing[:, 0], before, hand[:, 0]), jnp.swapaxes(hand[:, 1:], 0, 1))
        error = path - jnp.swapaxes(thing[:, 1:], 0, 1)
        size = jnp.sum(error[..., :2] ** 2, axis=-1) + (error[..., 2] * support) ** 2
        return 1e3 * jnp.mean(jnp.sqrt(size + ROBUST**2) - ROBUST)

    network = fit_objective(
        seed, (train.which[trace], hand, thing, before), objective, (INPUTS, OUTPUTS, WIDTH, DEPTH), MEMBERS, steps,
        BATCH, RATE, DECAY, start.network if start else None, progress, None if start else trace,
    )  # fmt: skip
    return ContactModel(SCALE, network, friction=friction)


def table_friction(pushes: Pushes) -> Friction:
    """How the table's friction differs from the textbook's: so that statics foresee the pushes best.

    One of its numbers after the other is searched for, the first one twice.
    """
    found = QUASI_STATIC.friction
    if not len(pushes):
        return found
    rows = np.minimum(np.arange(HORIZON + 1), LENGTH - 1)
    true = pushes.thing[:, rows, :2]

    def error(friction: Friction) -> float:
        path = rolled_out(replace(QUASI_STATIC, friction=friction), pushes, HORIZON)
        return float(np.linalg.norm(path[..., :2] - true, axis=-1).mean())

    for name, values in (("uneven", UNEVEN), ("spin", SPIN), ("uneven", UNEVEN)):
        found = min((found._replace(**{name: value}) for value in values), key=error)
    return found


def rolled_out(model: ContactModel, pushes: Pushes, steps: int, seen: bool = False) -> np.ndarray:
    """Mean predicted poses (N, steps+1, 3) from the start of every push.

    seen: from where the robot believed the object to be, in place of where it was.
    """
    rows = np.minimum(np.arange(steps + 1), LENGTH - 1)
    start = (pushes.seen if seen else pushes.thing)[:, 0]
    return model.rollout(pushes.shapes, pushes.which, start, pushes.hand[:, rows]).mean(axis=0)


def _errors(model: ContactModel, pushes: Pushes) -> tuple[np.ndarray, np.ndarray]:
    """Distance of the object from where it was foreseen, from where it was believed at first, (N, STEPS+1) [m].

    Also whether it went anywhere within those steps, (N,).
    """
    path = rolled_out(model, pushes, STEPS, seen=True)
    true = pushes.thing[:, np.minimum(np.arange(STEPS + 1), LENGTH - 1)]
    moved = np.linalg.norm(true[:, -1, :2] - true[:, 0, :2], axis=-1) > MOVED
    return np.linalg.norm(path[..., :2] - true[..., :2], axis=-1), moved


def errors_ahead(model: ContactModel, pushes: Pushes, seconds: float) -> np.ndarray:
    """Distance of every object that moves from where it was foreseen so many seconds ahead, (n,) [m]."""
    if not len(pushes):
        return np.empty(0)
    true = pushes.thing[:, np.minimum(np.arange(STEPS + 1), LENGTH - 1), :2]
    away = np.linalg.norm(rolled_out(model, pushes, STEPS)[..., :2] - true, axis=-1)
    return np.asarray(away[np.linalg.norm(true[:, -1] - true[:, 0], axis=-1) > MOVED, round(seconds / STEP)])


def calibrate(model: ContactModel, pushes: Pushes, strangers: frozenset[str]) -> ContactModel:
    """Bounds that hold an object that moves, by kind and step; all kinds that no fit has seen share one.

    Split conformal prediction for each kind by itself (Mondrian; Vovk et al. 2005, section 4.5). A kind with too few
    pushes for that has no bound of its own, and gets the one of unseen kinds.
    """
    error, moved = _errors(model, pushes)
    kind = np.array(pushes.kinds)[pushes.which]
    bound = _bounds(error[moved], np.where(np.isin(kind, list(strangers)), UNSEEN, kind)[moved])
    if not bound:
        raise UsageError("too few pushes of any kind to calibrate the contact model; collect more")
    if UNSEEN not in bound:
        bound[UNSEEN] = np.max(list(bound.values()), axis=0)
    return replace(model, bound=bound)


def _bounds(error: np.ndarray, group: np.ndarray) -> dict[str, np.ndarray]:
    """Bounds (STEPS+1,) by group of errors (n, STEPS+1), made to grow with the horizon; none for groups too small."""
    found = {str(name): conformal_quantile(error[group == name], COVERAGE) for name in np.unique(group)}
    return {name: np.maximum.accumulate(bound) for name, bound in found.items() if np.all(np.isfinite(bound))}


def coverage_of_halvings(
    model: ContactModel, parts: Sequence[Pushes], strangers: frozenset[str], seed: int
) -> dict[str, float]:
    """How often bounds calibrated on a random half of pushes hold those of the other half, by kind, over HALVINGS.

    That is what calibrating in this way is worth for each kind; how often one set of bounds holds a few dozen pushes
    says little about a kind.
    """
    errors, kinds = [], []
    for part in parts:
        error, moved = _errors(model, part)
        errors.append(error[moved])
        kinds.append(np.array(part.kinds)[part.which][moved])
    error, kind = np.concatenate(errors), np.concatenate(kinds)
    group = np.where(np.isin(kind, list(strangers)), UNSEEN, kind)
    generator = np.random.default_rng([seed, 12])
    held: dict[str, list[float]] = {str(name): [] for name in np.unique(kind)}
    for _ in range(HALVINGS):
        half = generator.permutation(len(error)) < len(error) // 2
        bound = _bounds(error[half], group[half])
        for name, shares in held.items():
            rows, mine = error[~half & (kind == name)], bound.get(UNSEEN if name in strangers else name)
            if mine is not None and len(rows):
                shares.append(float(np.mean(rows[:, 1:] <= mine[1:])))
    return {name: round(float(np.mean(shares)), 4) for name, shares in held.items() if shares}


def evaluate_contact(model: ContactModel, test: Pushes, strangers: frozenset[str]) -> dict[str, Any]:
    """Errors by horizon against what needs no learning, and coverage of the bounds, on pushes that moved something."""
    true = test.thing[:, np.minimum(np.arange(STEPS + 1), LENGTH - 1)]
    moved = np.linalg.norm(true[:, -1, :2] - true[:, 0, :2], axis=-1) > MOVED
    kind = np.array(test.kinds)[test.which]
    new = np.isin(kind, list(strangers))
    statics = rolled_out(replace(QUASI_STATIC, friction=model.friction), test, STEPS)
    paths = {"learned": rolled_out(model, test, STEPS), **baselines(test), "quasi_static_found": statics}
    errors = {name: np.linalg.norm(path[..., :2] - true[..., :2], axis=-1) for name, path in paths.items()}
    seen, _ = _errors(model, test)
    held = np.array([seen[i] <= model.error(str(kind[i]), STEPS) for i in range(len(test))])
    steps = [1, 5, 10, 20, 30]
    two = round(2.0 / STEP)

    def millimetres(values: np.ndarray, chosen: np.ndarray) -> list[float | None]:
        return [round(float(1e3 * values[chosen, k].mean()), 2) if np.any(chosen) else None for k in steps]

    def standard_error(values: np.ndarray) -> float | None:
        return round(float(1e3 * values.std(ddof=1) / np.sqrt(len(values))), 2) if len(values) > 1 else None

    def share(chosen: np.ndarray) -> float | None:
        return round(float(held[chosen][:, 1:].mean()), 4) if np.any(chosen) else None

    old = moved & ~new
    return {
        "name": "contact",
        "unit": "mm",
        "horizon_s": [k * STEP for k in steps],
        "error": millimetres(errors["learned"], old),
        "baselines": {name: millimetres(errors[name], old) for name in errors if name != "learned"},
        "median_2s": round(float(1e3 * np.median(errors["learned"][old, two])), 2) if np.any(old) else None,
        "unseen_kinds": {
            "kinds": sorted(strangers),
            **{name: millimetres(values, moved & new) for name, values in errors.items()},
            "n": int(np.sum(moved & new)),
        },
        "by_kind": {
            str(name): {
                "error_2s": round(float(1e3 * errors["learned"][moved & (kind == name), two].mean()), 2),
                "standard_error_2s": standard_error(errors["learned"][moved & (kind == name), two]),
                "quasi_static_2s": round(float(1e3 * errors["quasi_static"][moved & (kind == name), two].mean()), 2),
                "coverage": share(moved & (kind == name)),
                "n": int(np.sum(moved & (kind == name))),
            }
            for name in np.unique(kind[moved])
        },
        "coverage": {
            "nominal": COVERAGE,
            "measured": share(np.ones(len(test), bool)),
            "moving": share(old),
            "moving_2s": round(float(held[old, two].mean()), 4) if np.any(old) else None,
            "moving_unseen_kinds": share(moved & new),
        },
        "bound_mm": {
            name: [round(float(1e3 * bound[k]), 2) for k in (0, *steps)] for name, bound in sorted(model.bound.items())
        },
        "friction": model.friction._asdict(),
        "n": int(np.sum(old)),
        "pushes": len(test),
    }


def baselines(pushes: Pushes) -> dict[str, np.ndarray]:
    """Predicted poses (N, STEPS+1, 3) without learning, by name.

    constant_velocity: the object keeps the velocity of its first step in motion, once it moves. disc: a disc of the
    object's mean radius makes way along the line from the hand's middle. quasi_static: see world_model.contact.
    """
    rows = np.minimum(np.arange(STEPS + 1), LENGTH - 1)
    start, hand = pushes.thing[:, 0], pushes.hand[:, rows]
    still = np.repeat(start[:, None], STEPS + 1, axis=1)
    step = np.diff(pushes.thing[:, rows], axis=1)
    going = np.linalg.norm(step[..., :2], axis=-1) > 1e-3
    first = np.where(np.any(going, axis=1), np.argmax(going, axis=1), STEPS - 1)
    since = np.maximum(np.arange(STEPS + 1) - first[:, None], 0)
    constant = start[:, None] + since[..., None] * step[np.arange(len(pushes)), first][:, None]
    radius = np.array([np.linalg.norm(shape.polygon, axis=1).mean() for shape in pushes.silhouettes])[pushes.which]
    reach = radius + pushes.shapes.half[pushes.which].mean(axis=1)
    disc, at = [start], start.copy()
    for k in range(1, STEPS + 1):
        away = at[:, :2] - hand[:, k, :2]
        far = np.maximum(np.linalg.norm(away, axis=1), 1e-6)
        at = at.copy()
        at[:, :2] += away / far[:, None] * np.maximum(reach - far, 0.0)[:, None]
        disc.append(at)
    return {
        "nothing_moves": still,
        "constant_velocity": constant,
        "disc": np.stack(disc, axis=1),
        "quasi_static": rolled_out(QUASI_STATIC, pushes, STEPS),
    }
