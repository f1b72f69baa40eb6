"""Predicts where an object on a table goes when the closed hand pushes it, ten times a second.

Everything is seen from the hand, and shape enters as distances from the hand's outline to the object's: what is
learned on cups holds for a jar, in any direction, anywhere. An exact quasi-static push is the first guess; an ensemble
of networks learns what it misses: sticking and slipping, turning, sliding on after the push.
The same code rolls out in NumPy (planning) and in JAX (training through whole rollouts).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from robotctl.geometry import namespace
from robotctl.scene import ObjectKind
from robotctl.silhouette import CELL, CELLS, REACH, Silhouette, silhouette
from robotctl.world_model.ensemble import Ensemble

STEP = 0.1  # [s]
STEPS = 30  # steps that the bounds are known for: 3 s
SUBSTEPS = 4  # of the quasi-static guess in a step: a quick hand goes farther in a step than it is thick
OUTPUTS = 3
NEAR = 0.004  # a hand farther than this does not move a resting object [m]
CLOSE = 0.03  # distances above this no longer tell where a contact will be [m]
RESTS = 2e-4  # an object that moved less than this in a step rests [m, and rad x support radius]
SOFT = 0.0005  # over which distance several points of the hand count as touching at once [m]
LARGEST = 6.0  # outputs of the network are clamped to this many scales
UNSEEN = "*"  # stands for every kind that the fit has not seen
UNCALIBRATED = 0.05  # bound of a model that was not calibrated [m]
COVERAGE = 0.9  # how often the bounds hold a moving object
TIP = (0.009, 0.014)  # half sizes of the closed fingers' ends: along the push, and across [m]
FINGERS = (0.0095, 0.021)  # and of the fingers above them, which is what tall things meet [m]
TIP_BEYOND = 0.009  # the finger tips reach this far beyond the TCP [m]
TIP_LENGTH = 0.0168  # [m]
FINGER_FRICTION, TABLE_FRICTION = 1.0, 0.6  # times an object's own coefficient
OVERLAP = 0.028  # how far below an object's top the finger tips go; the fingers' thick roots stay above it [m]
ACCELERATION = 0.5  # of the hand at both ends of a push [m/s^2]
REST = 0.6  # what slides on comes to rest within [s]
LEAN = 0.9  # the pressure of the table moves ahead by at most this share of the support radius
FLOOR = 0.006  # the tips stay this far above the table [m]

# Points of the hand's outline, in units of its half sizes, denser in front, where it pushes; the fingers leave a gap.
_ACROSS = (-1.0, -0.69, -0.38, 0.38, 0.69, 1.0)
OUTLINE = np.array([*((1.0, y) for y in _ACROSS), (0, 1), (0, -1), (-1, 1), (-1, -1)], float)  # (10, 2)
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


@dataclass(frozen=True)
class Pushed:
    """What a push meets of one object kind."""

    shape: Silhouette  # of what of it is higher than the finger tips
    half: np.ndarray  # (2,) half sizes of what of the hand touches it [m]
    tip: float  # height of the finger tips above the table [m]
    grip: float  # Coulomb coefficient between the fingers and the object
    lean: float  # how far ahead of the centre of mass the table carries it while it is pushed [m]

    @classmethod
    def of(cls, kind: ObjectKind) -> Pushed:
        tip = max(kind.height - OVERLAP, FLOOR)
        shape = silhouette(kind.urdf, tip)
        tall = shape.top - tip > TIP_LENGTH
        half = FINGERS if tall else TIP
        # The push at this height and the friction at the foot tilt it forward; the table's pressure answers.
        height = 0.5 * (shape.top + tip + (TIP_LENGTH if tall else 0.0))
        lean = min(TABLE_FRICTION * kind.friction * height, LEAN * shape.support)
        return cls(shape, np.array(half), tip, FINGER_FRICTION * kind.friction, lean)


@dataclass(frozen=True)
class Shapes:
    """Several kinds, stacked, so that a batch may hold different ones."""

    corners: Any  # (K, (CELLS - 1)^2, 12) signed distance [m] and its gradient at the four corners of every cell
    sharp: Any  # (K, SHARP, 2)
    center: Any  # (K, 2) of mass
    feet: Any  # (K, FEET, 2) from the centre of mass
    load: Any  # (K, FEET)
    support: Any  # (K,)
    half: Any  # (K, 2)
    grip: Any  # (K,) Coulomb coefficient between the fingers and the object
    lean: Any  # (K,) how far ahead of the centre of mass the table carries it while it is pushed [m]

    @classmethod
    def of(cls, kinds: Sequence[Pushed]) -> Shapes:
        distance = np.array([k.shape.distance for k in kinds])
        d = np.stack([distance, *np.gradient(distance, CELL, axis=(1, 2))], axis=-1)
        corners = np.concatenate([d[:, :-1, :-1], d[:, 1:, :-1], d[:, :-1, 1:], d[:, 1:, 1:]], axis=-1)
        return cls(
            corners.reshape(len(kinds), -1, 12),
            np.array([k.shape.sharp for k in kinds]),
            np.array([k.shape.center for k in kinds]),
            np.array([k.shape.feet - k.shape.center for k in kinds]),
            np.array([k.shape.load for k in kinds]),
            np.array([k.shape.support for k in kinds]),
            np.array([k.half for k in kinds]),
            np.array([k.grip for k in kinds]),
            np.array([k.lean for k in kinds]),
        )


def hand_down(heading: float) -> np.ndarray:
    """World from hand for a hand that points down, its x axis at `heading`, (3, 3)."""
    c, s = np.cos(heading), np.sin(heading)
    return np.array([[c, s, 0.0], [s, -c, 0.0], [0.0, 0.0, -1.0]])


def turn(angle: Any, vector: Any) -> Any:
    """Vectors (..., 2) turned by angles (...)."""
    xp = namespace(vector)
    c, s = xp.cos(angle), xp.sin(angle)
    return xp.stack([c * vector[..., 0] - s * vector[..., 1], s * vector[..., 0] + c * vector[..., 1]], axis=-1)


def _look_up(corners: Any, which: Any, point: Any) -> tuple[Any, Any]:
    """Signed distance (n, m) and its gradient (n, m, 2) at points (n, m, 2) of the body frames of kinds (n,)."""
    xp = namespace(point)
    inside = xp.clip(point, -REACH, REACH - 1e-6)
    beyond = xp.sqrt(xp.sum((point - inside) ** 2, axis=-1) + 1e-18) - 1e-9
    at = (inside + REACH) / CELL
    low = xp.clip(xp.floor(at), 0, CELLS - 2).astype(int)
    u, v = (at - low)[..., :1], (at - low)[..., 1:]
    cell = corners[which[:, None], (CELLS - 1) * low[..., 0] + low[..., 1]]
    f00, f10, f01, f11 = (cell[..., 3 * i : 3 * i + 3] for i in range(4))
    both = (1 - u) * (1 - v) * f00 + u * (1 - v) * f10 + (1 - u) * v * f01 + u * v * f11
    return both[..., 0] + beyond, both[..., 1:]


@dataclass(frozen=True)
class Touch:
    """How a moving hand meets the object where it is now, n cases, in the hand's frame."""

    gap: Any  # (n, 10) distance that will be left to the points of the hand's outline, if the object stays [m]
    least: Any  # (n,) the smallest one, of these or of the object's corners from the hand [m]
    depth: Any  # (n,) how deep the hand would be in the object [m]
    normal: Any  # (n, 2) from the object towards the hand
    lever: Any  # (n, 2) from the object's centre of mass to the contact [m]
    feet: Any  # (n, FEET, 2) and to what it stands on [m]


def touch(shapes: Shapes, which: Any, thing: Any, hand: Any, stroke: Any) -> Touch:
    """The contact of objects (n, 3) with hands (n, 3), poses x y yaw, about to go `stroke` (n, 2), in their frame.

    Distances are foreseen from where the hand is, as they change along the stroke: seen from inside the object, a
    corner that was hit from the front looks as if it had been hit from the side.
    """
    xp = namespace(thing)
    half = shapes.half[which][:, None]
    turned = hand[:, 2] - thing[:, 2]
    away = turn(-thing[:, 2], hand[:, :2] - thing[:, :2])
    outline = xp.asarray(OUTLINE) * half  # (n, 10, 2) in the hand's frame
    gap, gradient = _look_up(shapes.corners, which, away[:, None] + turn(turned[:, None], outline))
    # The other way round: the object's corners against the hand's rectangle.
    corner = turn(-turned[:, None], shapes.sharp[which] - away[:, None])
    gap_corner, gradient_corner = _rectangle(corner, half)
    normals = xp.concatenate([turn(-turned[:, None], gradient), -gradient_corner], axis=1)
    gaps = xp.concatenate([gap, gap_corner], axis=1)
    then = gaps + xp.sum(normals * stroke[:, None], axis=-1)
    least = xp.min(then, axis=1)
    weight = xp.exp(-(then - least[:, None]) / SOFT)
    weight = weight / xp.sum(weight, axis=1, keepdims=True)
    at = xp.concatenate([outline - xp.clip(gap, -CLOSE, CLOSE)[..., None] * normals[:, : len(OUTLINE)], corner], axis=1)
    normal = xp.sum(weight[..., None] * normals, axis=1)
    normal = normal / xp.sqrt(xp.sum(normal**2, axis=1, keepdims=True) + 1e-9)
    center = turn(-turned, shapes.center[which] - away)
    lever = xp.sum(weight[..., None] * at, axis=1) - center
    feet = turn(-turned[:, None], shapes.feet[which])
    return Touch(then[:, : len(OUTLINE)], least, xp.maximum(-least, 0.0), normal, lever, feet)


def _rectangle(point: Any, half: Any) -> tuple[Any, Any]:
    """Signed distance (n, m) and its gradient of points (n, m, 2) from a rectangle of half sizes (n, 1, 2)."""
    xp = namespace(point)
    beyond = xp.abs(point) - half
    outside = xp.maximum(beyond, 0.0)
    far = xp.sqrt(xp.sum(outside**2, axis=-1) + 1e-12)
    inside = xp.max(beyond, axis=-1)
    out = inside > 0.0
    nearest = (beyond >= inside[..., None]) * 1.0
    gradient = xp.where(out[..., None], outside / far[..., None], nearest) * xp.sign(point)
    return xp.where(out, far, inside), gradient


def quasi_static(shapes: Shapes, which: Any, met: Touch, stroke: Any) -> Any:
    """Motion of the centre of mass and turn (n, 3) that make way for a hand that goes `stroke` (n, 2), in its frame.

    Ellipsoidal limit surface (Goyal, Ruina, Papadopoulos 1991): the twist (v, w) is parallel to (f, r x f / c^2). While
    the contact sticks it moves with the hand (Lynch and Mason 1996, eq. 5-7); where that would need a force outside
    the friction cone, the force lies on the cone's edge and only the normal speeds agree. The limit surface is that
    about the centre of the table's pressure, which the moment of the push moves ahead of the centre of mass.
    """
    xp = namespace(met.depth)
    into, side = -met.normal, xp.stack([met.normal[:, 1], -met.normal[:, 0]], axis=1)
    forward = xp.maximum(xp.sum(stroke * into, axis=1), 1e-6)
    share = xp.minimum(met.depth / forward, 1.0)  # of the stroke, spent in contact
    wanted = into * met.depth[:, None] + side * (xp.sum(stroke * side, axis=1) * share)[:, None]
    center = into * shapes.lean[which][:, None]  # of the table's pressure, from the centre of mass
    c2 = (shapes.support[which] ** 2)[:, None]
    moved, turned = _make_room(shapes.grip[which], met.lever - center, c2, into, side, met.depth, wanted)
    motion = moved + turned * xp.stack([center[:, 1], -center[:, 0]], axis=1)
    return xp.where((met.depth > 0.0)[:, None], xp.concatenate([motion, turned], axis=1), 0.0)


def _make_room(limit: Any, lever: Any, c2: Any, into: Any, side: Any, depth: Any, wanted: Any) -> tuple[Any, Any]:
    """Motion of the centre of pressure (n, 2) and turn (n, 1) under a push at `lever` (n, 2) from there."""
    xp = namespace(depth)
    across = xp.stack([-lever[:, 1], lever[:, 0]], axis=1)  # z x lever
    sticks = wanted - across * (
        xp.sum(across * wanted, axis=1, keepdims=True) / (c2 + xp.sum(across**2, 1, keepdims=True))
    )
    normal_force, friction = xp.sum(sticks * into, axis=1), xp.sum(sticks * side, axis=1)
    edge = into + side * (xp.sign(friction) * limit)[:, None]
    spin = xp.sum(across * edge, axis=1, keepdims=True)
    gain = xp.sum(edge * into, axis=1, keepdims=True) + spin * xp.sum(across * into, axis=1, keepdims=True) / c2
    slips = edge * (depth[:, None] / xp.maximum(gain, 0.3))
    motion = xp.where((xp.abs(friction) <= limit * normal_force)[:, None], sticks, slips)
    return motion, xp.sum(across * motion, axis=1, keepdims=True) / c2


def _moved(shapes: Shapes, which: Any, thing: Any, change: Any) -> Any:
    """Objects (n, 3) whose centre of mass moved and whose body turned about it by `change` (n, 3), in the world."""
    lever = turn(thing[:, 2], shapes.center[which])
    xp = namespace(thing)
    return thing + xp.concatenate([change[:, :2] + lever - turn(change[:, 2], lever), change[:, 2:]], axis=1)


def _make_way(shapes: Shapes, which: Any, thing: Any, now: Any, then: Any) -> tuple[Any, Any]:
    """Where a quasi-static push from `now` to `then` (n, 3) leaves the objects (n, 3), and the last touch on the way.

    Of that, `least` is the smallest on the whole way.
    """
    xp = namespace(thing)
    way = (then - now) / SUBSTEPS
    least = []
    for i in range(SUBSTEPS):
        hand = now + way * xp.asarray([i, i, i + 1.0])  # turned first
        stroke = turn(-hand[:, 2], way[:, :2])
        met = touch(shapes, which, thing, hand, stroke)
        least.append(met.least)
        motion = quasi_static(shapes, which, met, stroke)
        thing = _moved(shapes, which, thing, xp.concatenate([turn(hand[:, 2], motion[:, :2]), motion[:, 2:]], axis=1))
    return thing, replace(met, least=xp.min(xp.stack(least), axis=0))


def advance(
    network: Callable[[Any], Any],
    scale: Any,
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
    OUTPUTS). hold: applied to what the geometry of contact is seen from; training stops gradients there.
    """
    thing, moved = hold(start), hold(moved)
    xp = namespace(thing)
    # The hand is the same turned by half a turn: it is looked at with the object in front of it.
    behind = turn(-then[:, 2], thing[:, :2] - then[:, :2])[:, 0] < 0.0
    half_turn = xp.stack([behind * 0.0, behind * 0.0, behind * np.pi], axis=1)
    now, then = now + half_turn, then + half_turn
    pushed, met = _make_way(shapes, which, thing, now, then)
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
    step = _moved(shapes, which, thing, change) - thing
    return start + step, step


@dataclass(frozen=True)
class Push:
    """A straight push of an object, in the frame of its pose: where the hand starts, which way it goes and how far."""

    start: np.ndarray  # (2,) of the hand [m]
    direction: float  # of the motion [rad]
    heading: float  # of the hand's x axis [rad]
    length: float  # [m]
    speed: float  # [m/s]

    @property
    def duration(self) -> float:
        """Time from rest to rest [s]."""
        top = self._top
        return self.length / top + top / ACCELERATION

    @property
    def _top(self) -> float:
        return min(self.speed, float(np.sqrt(self.length * ACCELERATION)))

    def travel(self, time: np.ndarray) -> np.ndarray:
        """Way made at times (n,) [s]: a trapezoid of speed, a triangle where the push is short, (n,) [m]."""
        top = self._top
        ramp, total = top / ACCELERATION, self.duration
        t = np.clip(time, 0.0, total)
        down = np.maximum(t - (total - ramp), 0.0)
        even = top * np.clip(t - ramp, 0.0, None)
        return 0.5 * ACCELERATION * np.minimum(t, ramp) ** 2 + even - 0.5 * ACCELERATION * down**2

    def hand(self, thing: np.ndarray, way: float | np.ndarray) -> np.ndarray:
        """Pose x y yaw of the hand after some of its way, (..., 3), the object having been at `thing` (3,)."""
        along = thing[2] + self.direction
        start = thing[:2] + turn(np.array(thing[2]), self.start)
        position = start + np.asarray(way)[..., None] * np.array([np.cos(along), np.sin(along)])
        heading = np.full((*position.shape[:-1], 1), thing[2] + self.heading)
        return np.concatenate([position, heading], axis=-1)

    def hands(self, thing: np.ndarray, late: float = 0.0, rest: float = REST) -> np.ndarray:
        """Poses of the hand every STEP, (T+1, 3), a little `late` on its reference as arms are [s]."""
        steps = int(np.ceil((self.duration + rest) / STEP))
        return self.hand(thing, self.travel(STEP * np.arange(steps + 1) - late))


@dataclass(frozen=True)
class ContactModel:
    """The learned motion of pushed objects."""

    scale: np.ndarray  # (3,) of the network's outputs [m, m, m: rad x support radius]
    network: Ensemble | None  # INPUTS -> OUTPUTS; None: the quasi-static guess alone
    bound: dict[str, np.ndarray] = field(default_factory=dict)  # kind -> (STEPS+1,) radius that holds the object [m]

    def error(self, kind: str, steps: int) -> np.ndarray:
        """Radius that holds a moving object as often as COVERAGE says after 0..steps steps, (steps+1,) [m].

        Of a kind that was never pushed: the bound of UNSEEN kinds, calibrated on kinds left out of the fit.
        """
        bound = self.bound.get(kind, self.bound.get(UNSEEN, np.full(1, UNCALIBRATED)))
        return bound[np.minimum(np.arange(steps + 1), len(bound) - 1)]

    def arrays(self) -> dict[str, np.ndarray]:
        """Everything by name, for storage."""
        out = {"contact.scale": self.scale, **{f"contact.bound.{kind}": bound for kind, bound in self.bound.items()}}
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
        if scale.shape != (OUTPUTS,) or any(b.shape != (STEPS + 1,) or np.any(b < 0.0) for b in bound.values()):
            raise ValueError("the scale or a bound of 'contact' has the wrong shape or is negative")
        network = None
        if any(name.startswith("contact.network.") for name in arrays):
            network = Ensemble.from_arrays(arrays, "contact.network")
            if network.weights[0].shape[2] != INPUTS or network.weights[-1].shape[1] != OUTPUTS:
                raise ValueError(f"'contact.network' must map {INPUTS} to {OUTPUTS} numbers")
        return cls(scale, network, bound)

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
            thing, moved = advance(network, self.scale, shapes, which, thing, moved, hands[:, k], hands[:, k + 1])
            path.append(thing)
        return np.stack(path, axis=1).reshape(members, len(start), -1, 3)


QUASI_STATIC = ContactModel(np.ones(OUTPUTS), None)  # what is known without learning
