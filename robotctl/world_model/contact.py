"""Predicts where an object on a table goes when the closed hand pushes it, ten times a second.

Everything is seen from the hand, so that what is learned on cups holds for a jar, in any direction, anywhere. An exact
quasi-static push is the first guess; an ensemble of networks learns what it misses: sticking and slipping, turning,
sliding on after the push. The same code rolls out in NumPy (planning) and in JAX (training through whole rollouts).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from robotctl.geometry import namespace
from robotctl.world_model.ensemble import Ensemble
from robotctl.world_model.push import turn
from robotctl.world_model.quasi_static import OUTLINE, TEXTBOOK, Friction, Shapes, make_way, moved_by

STEPS = 30  # steps that the bounds are known for: 3 s
OUTPUTS = 3
NEAR = 0.004  # a hand farther than this does not move a resting object [m]
RESTS = 2e-4  # an object that moved less than this in a step rests [m, and rad x support radius]
LARGEST = 6.0  # outputs of the network are clamped to this many scales
UNSEEN = "*"  # stands for every kind that the fit has not seen
UNCALIBRATED = 0.05  # bound of a model that was not calibrated [m]
MOST = Friction(uneven=4.0, spin=0.02)  # of the table's friction
COVERAGE = 0.9  # how often the bounds hold a moving object

# What the network sees beside the gaps at these points, in the order of `advance`, and how it looks in a mirror.
FEATURES = {
    "depth": (1,), "normal": (1, -1), "arm": (-1,), "center": (1, -1), "stroke": (1, -1), "sliding": (1, -1),
    "turning": (-1,), "support": (1,), "guess": (1, -1), "guessed turn": (-1,), "lean": (1,), "grip": (1,),
    "lever": (1, -1), "spread of the feet": (1, -1, 1),
}  # fmt: skip
INPUTS = len(OUTLINE) + sum(map(len, FEATURES.values()))
MIRROR_SIGN = np.array([*[1] * len(OUTLINE), *(sign for signs in FEATURES.values() for sign in signs)], float)
MIRROR_INDEX = np.array(
    [*(int(np.argmin(np.linalg.norm(OUTLINE - p * [1, -1], axis=1))) for p in OUTLINE), *range(len(OUTLINE), INPUTS)]
)
MIRRORED = np.array([1.0, -1.0, -1.0])


def advance(
    network: Callable[[Any], Any],
    scale: Any,
    friction: Friction,
    shapes: Shapes,
    which: Any,
    start: Any,
    moved: Any,
    now: Any,
    then: Any,
    hold: Callable[[Any], Any] = lambda x: x,
) -> tuple[Any, Any]:
    """One step: the objects' poses and displacements (n, 3) after the hands went from `now` to `then` (n, 3).

    start: (n, 3) poses. moved: (n, 3) what they did in the step before [m, m, rad]. network: (n, INPUTS) -> (n,
    OUTPUTS). friction: the table's. hold: applied to what the geometry of contact is seen
    from; training stops gradients there.
    """
    thing, moved = hold(start), hold(moved)
    xp = namespace(thing)
    # The hand is the same turned by half a turn: it is looked at with the object in front of it.
    behind = turn(-then[:, 2], thing[:, :2] - then[:, :2])[:, 0] < 0.0
    half_turn = xp.stack([behind * 0.0, behind * 0.0, behind * np.pi], axis=1)
    now, then = now + half_turn, then + half_turn
    pushed, met = make_way(shapes, which, thing, now, then, friction)
    support = shapes.support[which][:, None]
    lever = turn(thing[:, 2], shapes.center[which])
    turned = pushed[:, 2:] - thing[:, 2:]
    guess = pushed[:, :2] - thing[:, :2] - lever + turn(turned[:, 0], lever)  # of the centre of mass
    spread = xp.sum(shapes.load[which][:, :, None, None] * met.feet[..., None] * met.feet[:, :, None], axis=1)
    arm = met.lever[:, 1] * met.normal[:, 0] - met.lever[:, 0] * met.normal[:, 1]  # of a push along -normal
    inputs = xp.concatenate(
        [
            xp.clip(met.gap / 0.02, -1.0, 1.5),
            (met.depth / 0.01)[:, None],
            met.normal,
            arm[:, None] / support,
            turn(-then[:, 2], thing[:, :2] + lever + guess - then[:, :2]) / 0.1,
            turn(-then[:, 2], then[:, :2] - now[:, :2]) / 0.02,
            turn(-then[:, 2], moved[:, :2]) / 0.02,
            moved[:, 2:] * support / 0.02,
            support / 0.05,
            turn(-then[:, 2], guess) / 0.02,
            turned * support / 0.02,
            shapes.lean[which][:, None] / support,
            shapes.grip[which][:, None],
            met.lever / support,
            xp.stack([spread[:, 0, 0], spread[:, 0, 1], spread[:, 1, 1]], axis=1) / support**2,
        ],
        axis=1,
    )
    inputs = xp.clip(inputs, -4.0, 4.0)
    # It is the same in a mirror, too: what the network says of the mirrored case is the mirrored answer.
    both = network(xp.concatenate([inputs, inputs[:, MIRROR_INDEX] * xp.asarray(MIRROR_SIGN, inputs.dtype)]))
    n = len(thing)
    out = 0.5 * (both[:n] + both[n:] * xp.asarray(MIRRORED, inputs.dtype))
    out = xp.clip(out, -LARGEST, LARGEST) * scale
    going = xp.sum(moved[:, :2] ** 2, axis=1) + (moved[:, 2] * support[:, 0]) ** 2 > RESTS**2
    out = xp.where(((met.least < NEAR) | going)[:, None], out, 0.0)
    change = xp.concatenate([guess + turn(then[:, 2], out[:, :2]), turned + out[:, 2:] / support], axis=1)
    step = moved_by(shapes, which, thing, change) - thing
    return start + step, step


@dataclass(frozen=True)
class ContactModel:
    """The learned motion of pushed objects."""

    scale: np.ndarray  # (3,) of the network's outputs [m, m, m: rad x support radius]
    network: Ensemble | None  # INPUTS -> OUTPUTS; None: the quasi-static guess alone
    bound: dict[str, np.ndarray] = field(default_factory=dict)  # kind -> (STEPS+1,) radius that holds the object [m]
    friction: Friction = TEXTBOOK  # the table's, as far as pushes tell

    def error(self, kind: str, steps: int) -> np.ndarray:
        """Radius that holds a moving object as often as COVERAGE says after 0..steps steps, (steps+1,) [m].

        Of a kind that was never pushed: the bound of UNSEEN kinds, calibrated on kinds left out of the fit.
        """
        bound = self.bound.get(kind, self.bound.get(UNSEEN, np.full(1, UNCALIBRATED)))
        return bound[np.minimum(np.arange(steps + 1), len(bound) - 1)]

    def arrays(self) -> dict[str, np.ndarray]:
        """Everything by name, for storage."""
        out = {"contact.scale": self.scale, "contact.friction": np.array(self.friction)}
        out |= {f"contact.bound.{kind}": bound for kind, bound in self.bound.items()}
        return out if self.network is None else {**out, **self.network.arrays("contact.network")}

    @classmethod
    def from_arrays(cls, arrays: dict[str, np.ndarray]) -> ContactModel:
        """The counterpart of `arrays`; without any, the quasi-static guess alone. ValueError when shapes do not fit."""
        if "contact.scale" not in arrays:
            return QUASI_STATIC
        bound = {
            name.removeprefix("contact.bound."): np.asarray(value, float)
            for name, value in arrays.items()
            if name.startswith("contact.bound.")
        }
        scale = np.asarray(arrays["contact.scale"], float)
        if "contact.friction" not in arrays:
            raise ValueError(
                "'contact.friction' is missing: made by an earlier version on other statics; train it again"
            )
        friction = np.asarray(arrays["contact.friction"], float)
        if scale.shape != (OUTPUTS,) or any(b.shape != (STEPS + 1,) or np.any(b < 0.0) for b in bound.values()):
            raise ValueError("the scale or a bound of 'contact' has the wrong shape or is negative")
        if friction.shape != np.shape(MOST) or not np.all((friction >= 0.0) & (friction <= MOST)):
            raise ValueError(f"'contact.friction' must be numbers from 0 to {', '.join(f'{most:g}' for most in MOST)}")
        network = None
        if any(name.startswith("contact.network.") for name in arrays):
            network = Ensemble.from_arrays(arrays, "contact.network")
            if network.weights[0].shape[2] != INPUTS or network.weights[-1].shape[1] != OUTPUTS:
                raise ValueError(f"'contact.network' must map {INPUTS} to {OUTPUTS} numbers")
        return cls(scale, network, bound, Friction(*map(float, friction)))

    def rollout(
        self, shapes: Shapes, which: np.ndarray, start: np.ndarray, hands: np.ndarray, before: np.ndarray | None = None
    ) -> np.ndarray:
        """Poses (M, n, T+1, 3) of objects from `start` (n, 3) under hand paths (n, T+1, 3), by each of M members.

        which: (n,) kind of each in `shapes`. before: (n, 3) what they did in the step before; None: they rest.
        """
        members = 1 if self.network is None else len(self.network.weights[0])

        def network(inputs: np.ndarray) -> np.ndarray:
            """Every member's answer to its own cases, which are given twice (see `advance`)."""
            if self.network is None:
                return np.zeros((len(inputs), OUTPUTS))
            return self.network(inputs.astype(np.float32).reshape(2, members, -1, INPUTS)).reshape(-1, OUTPUTS)

        which, thing, hands = np.tile(which, members), np.tile(start, (members, 1)), np.tile(hands, (members, 1, 1))
        moved = np.zeros_like(thing) if before is None else np.tile(before, (members, 1))
        path = [thing]
        for k in range(hands.shape[1] - 1):
            now, then = hands[:, k], hands[:, k + 1]
            thing, moved = advance(network, self.scale, self.friction, shapes, which, thing, moved, now, then)
            path.append(thing)
        return np.stack(path, axis=1).reshape(members, len(start), -1, 3)


QUASI_STATIC = ContactModel(np.ones(OUTPUTS), None)  # what is known without learning
