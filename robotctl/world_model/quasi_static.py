"""How a closed hand meets an object on a table and what a quasi-static push does to it, exact in shape and friction.

Shape enters as signed distances between the hand's outline and the object's: the same holds for any kind, in any
direction, anywhere. The same code runs in NumPy (planning) and in JAX (training through whole rollouts).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from robotctl.geometry import namespace
from robotctl.scene import ObjectKind
from robotctl.silhouette import CELL, CELLS, REACH, Silhouette, silhouette
from robotctl.world_model.push import turn

SUBSTEPS = 4  # of a push in a step of the model: a quick hand goes farther in a step than it is thick
CLOSE = 0.03  # distances above this no longer tell where a contact will be [m]
SOFT = 0.0005  # over which distance several points of the hand count as touching at once [m]
TIP = (0.009, 0.014)  # half sizes of the closed fingers' ends: along the push, and across [m]
FINGERS = (0.0095, 0.021)  # and of the fingers above them, which is what tall things meet [m]
TIP_BEYOND = 0.009  # the finger tips reach this far beyond the TCP [m]
TIP_LENGTH = 0.0168  # [m]
FINGER_FRICTION, TABLE_FRICTION = 1.0, 0.6  # times an object's own coefficient
OVERLAP = 0.028  # how far below an object's top the finger tips go; the fingers' thick roots stay above it [m]
LEAN = 0.9  # the pressure of the table moves ahead by at most this share of the support radius
TILT = 0.15  # up to this share as the feet in front carry more; beyond, the feet are taken to be farther ahead
FLOOR = 0.006  # the tips stay this far above the table [m]

# Points of the hand's outline, in units of its half sizes, denser in front, where it pushes; the fingers leave a gap.
_ACROSS = (-1.0, -0.69, -0.38, 0.38, 0.69, 1.0)
OUTLINE = np.array([*((1.0, y) for y in _ACROSS), (0, 1), (0, -1), (-1, 1), (-1, -1)], float)  # (10, 2)


class Friction(NamedTuple):
    """How the table's friction differs from the textbook's."""

    uneven: float = 0.0  # how much it depends on the direction; see `quasi_static`
    spin: float = 0.0  # lever of the torque against turning on the spot, times the object's own coefficient [m]


TEXTBOOK = Friction()


@dataclass(frozen=True)
class Pushed:
    """What a push meets of one object kind."""

    shape: Silhouette  # of what of it is higher than the finger tips
    half: np.ndarray  # (2,) half sizes of what of the hand touches it [m]
    tip: float  # height of the finger tips above the table [m]
    grip: float  # Coulomb coefficient between the fingers and the object
    lean: float  # how far ahead of the centre of mass the table carries it while it is pushed [m]
    gyration: float  # how far from the centre of mass a foot gives way twice as easily, the object turning [m]

    @classmethod
    def of(cls, kind: ObjectKind) -> Pushed:
        tip = max(kind.height - OVERLAP, FLOOR)
        shape = silhouette(kind.urdf, tip)
        tall = shape.top - tip > TIP_LENGTH
        half = FINGERS if tall else TIP
        # The push at this height and the friction at the foot tilt it forward; the table's pressure answers.
        height = 0.5 * (shape.top + tip + (TIP_LENGTH if tall else 0.0))
        lean = min(TABLE_FRICTION * kind.friction * height, LEAN * shape.support)
        return cls(shape, np.array(half), tip, FINGER_FRICTION * kind.friction, lean, shape.gyration)


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
    gyration: Any  # (K,) how far from the centre of mass a foot gives way twice as easily [m]

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
            np.array([k.gyration for k in kinds]),
        )


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


def quasi_static(
    shapes: Shapes, which: Any, met: Touch, stroke: Any, heading: Any, friction: Friction = TEXTBOOK
) -> Any:
    """Motion of the centre of mass and turn (n, 3) that make way for a hand that goes `stroke` (n, 2), in its frame.

    Quadratic limit surface: the push's wrench is A times the twist, A the friction of the feet, each in proportion to
    its speed; on a ring of feet this is the ellipsoid of Goyal, Ruina and Papadopoulos (1991), A = diag(1, 1, c^2).
    While the contact sticks it moves with the hand (Lynch and Mason 1996, eq. 5-7); where that would need a force
    outside the friction cone, the force lies on the cone's edge and only the normal speeds agree. The moment of the
    push moves the centre of the table's pressure ahead of the centre of mass.

    heading: (n,) of the hand [rad]. friction: with `uneven` a foot resists less along that of the world's axes x and y
    along which it gives way more easily, by the object's turning: the friction of contact solvers that treat the two
    axes one after the other, and have not converged. With `spin` the table also resists a turn on the spot, with a
    torque of its own: a push that passes the centre of pressure by less than that lever does not turn the object.
    """
    xp = namespace(met.depth)
    into, side = -met.normal, xp.stack([met.normal[:, 1], -met.normal[:, 0]], axis=1)
    forward = xp.maximum(xp.sum(stroke * into, axis=1), 1e-6)
    share = xp.minimum(met.depth / forward, 1.0)  # of the stroke, spent in contact
    across = xp.sum(stroke * side, axis=1) * share
    load, ahead = _leaning(shapes, which, met.feet, into)
    center = into * ahead[:, None]  # of the feet, from the centre of mass
    wanted = into * met.depth[:, None] + side * across[:, None]
    give = _inverse(_friction(load, shapes.gyration[which], met.feet, wanted, heading, friction.uneven))
    lever = met.lever - center
    along, beside = (_at(lever, way) for way in (into, side))  # (n, 3)
    limit = shapes.grip[which]
    # Without a turn the force points where the object goes, or to the cone's edge: as much of its moment is braked.
    push = into * met.depth[:, None] + side * xp.clip(across, -limit * met.depth, limit * met.depth)[:, None]
    push = push / xp.sqrt(xp.sum(push**2, axis=1, keepdims=True) + 1e-18)
    pressure = into * shapes.lean[which][:, None]  # its centre, from the centre of mass
    most = friction.spin / shapes.grip[which]  # the hand's coefficient is the object's own
    braked = xp.clip(_at(met.lever - pressure, push)[:, 2], -most, most)
    felt = lever - braked[:, None] * xp.stack([push[:, 1], -push[:, 0]], axis=1)
    gives = [xp.sum(give * _at(felt, way)[:, None], axis=-1) for way in (into, side)]  # twists of unit forces
    nn, ns, sn, ss = (xp.sum(way * twist, axis=1) for way in (along, beside) for twist in gives)
    force, rubbing = ss * met.depth - ns * across, nn * across - sn * met.depth  # times a determinant > 0
    slips = xp.abs(rubbing) > limit * force
    edge = xp.sign(rubbing) * limit
    determinant = nn * ss - ns * sn
    force = xp.where(slips, met.depth / xp.maximum(nn + edge * ns, 0.3), force / determinant)
    rubbing = xp.where(slips, edge * force, rubbing / determinant)
    twist = force[:, None] * gives[0] + rubbing[:, None] * gives[1]  # of the feet
    motion = twist + twist[:, 2:] * xp.stack([center[:, 1], -center[:, 0], 0.0 * center[:, 0]], axis=1)
    return xp.where((met.depth > 0.0)[:, None], motion, 0.0)


def _leaning(shapes: Shapes, which: Any, feet: Any, into: Any) -> tuple[Any, Any]:
    """Loads (n, FEET) of the feet of objects that lean towards `into` (n, 2), and how far ahead the feet are, (n,) [m].

    The centre of pressure is `lean` ahead of the centre of mass. As far as TILT the loads tell so, linear in the
    distance as on an elastic bed; a thing that leans farther stands on the edge of its foot, wherever that is.
    """
    xp = namespace(feet)
    load, lean = shapes.load[which], shapes.lean[which]
    tilted = xp.minimum(lean, TILT * shapes.support[which])
    x = xp.sum(feet * into[:, None], axis=-1)
    spread = xp.sum(load * x**2, axis=1)
    return load * (1.0 + (tilted / spread)[:, None] * x), lean - tilted


def _at(lever: Any, direction: Any) -> Any:
    """Wrenches (n, 3) of unit forces in directions (n, 2) at levers (n, 2)."""
    xp = namespace(lever)
    moment = lever[:, 0] * direction[:, 1] - lever[:, 1] * direction[:, 0]
    return xp.concatenate([direction, moment[:, None]], axis=1)


def _friction(load: Any, gyration: Any, feet: Any, going: Any, heading: Any, uneven: float) -> Any:
    """Wrenches of friction per twist (n, 6): the upper triangle of symmetric matrices, row by row.

    Every foot resists by its load (n, FEET) if it goes `going` (n, 2), in whichever direction.
    """
    xp = namespace(feet)
    c, s = xp.cos(heading)[:, None], xp.sin(heading)[:, None]
    axes = ((c, -s), (s, c))  # the world's, seen from the hand
    arms = [feet[..., 0] * y - feet[..., 1] * x for x, y in axes]
    shares = [1.0 / (1.0 + uneven * (arm / gyration[:, None]) ** 2) for arm in arms]
    speeds = [going[:, :1] * x + going[:, 1:] * y for x, y in axes]
    speed = xp.sqrt(xp.sum(going**2, axis=1, keepdims=True) + 1e-18)
    pull = xp.sqrt(sum((share * v) ** 2 for share, v in zip(shares, speeds, strict=True)) + 1e-18)
    load = load * speed / pull
    rows = []
    for (x, y), arm, share in zip(axes, arms, shares, strict=True):
        weight = load * share
        whole, first = xp.sum(weight, axis=1), xp.sum(weight * arm, axis=1)
        second = xp.sum(weight * arm**2, axis=1)
        x, y = x[:, 0], y[:, 0]
        rows.append([whole * x * x, whole * x * y, first * x, whole * y * y, first * y, second])
    return xp.stack([a + b for a, b in zip(*rows, strict=True)], axis=1)


def _inverse(upper: Any) -> Any:
    """Inverses (n, 3, 3) of symmetric matrices given by their upper triangles (n, 6), row by row."""
    xp = namespace(upper)
    a, b, c, d, e, f = (upper[:, i] for i in range(6))
    p, q, r = d * f - e * e, c * e - b * f, b * e - c * d
    rows = [[p, q, r], [q, a * f - c * c, b * c - a * e], [r, b * c - a * e, a * d - b * b]]
    scale = 1.0 / (a * p + b * q + c * r)
    return xp.stack([xp.stack([scale * value for value in row], axis=1) for row in rows], axis=1)


def moved_by(shapes: Shapes, which: Any, thing: Any, change: Any) -> Any:
    """Objects (n, 3) whose centre of mass moved and whose body turned about it by `change` (n, 3), in the world."""
    lever = turn(thing[:, 2], shapes.center[which])
    xp = namespace(thing)
    return thing + xp.concatenate([change[:, :2] + lever - turn(change[:, 2], lever), change[:, 2:]], axis=1)


def make_way(
    shapes: Shapes, which: Any, thing: Any, now: Any, then: Any, friction: Friction = TEXTBOOK
) -> tuple[Any, Touch]:
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
        motion = quasi_static(shapes, which, met, stroke, hand[:, 2], friction)
        thing = moved_by(shapes, which, thing, xp.concatenate([turn(hand[:, 2], motion[:, :2]), motion[:, 2:]], axis=1))
    return thing, replace(met, least=xp.min(xp.stack(least), axis=0))
