"""The guardrails as formulas of signal temporal logic, and the signals in them.

Every kind of guardrail has one entry in KINDS. Its formula speaks of one body (or joint) at one instant; the guardrail
is `always` the formula, for all of them. A number of the rule stands in it by its key in the YAML file. `slack` is what
the robustness should be by plain arithmetic: inf where the rule is silent, or where the body can neither come within
CLOSE of breaking it nor be the worst yet. The formula is evaluated where it is finite, and must give the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from oracle.files import Boxes, Rule, World
from oracle.geometry import points_to_boxes, to_boxes
from oracle.moment import Moment

Signals = dict[str, dict[str, np.ndarray]]  # body -> signal -> (K,)
REST = 0.02  # [m/s] a slower point is at rest
CLOSE = 0.02  # margins below this are always exact [unit of the rule]
FINGERS = ("panda_leftfinger", "panda_rightfinger")
BASE_LOW, BASE_HIGH, BASE_FASTEST = (-10.0, -10.0, -20.0), (10.0, 10.0, 20.0), (0.8, 0.8, 1.5)  # of the base's drives


@dataclass(frozen=True)
class Machine:
    """Limits of the ten joints, each (10,); the arm's are those of the URDF."""

    low: np.ndarray
    high: np.ndarray
    fastest: np.ndarray


@dataclass(frozen=True)
class Kind:
    """How a kind of guardrail is measured."""

    formula: str
    signals: Callable[[Moment, Rule, World, Machine, float], Signals]  # the last: the worst margin yet


def _near_people(moment: Moment, rule: Rule, worst: float, blade_only: bool, held_only: bool = False) -> Signals:
    """Speed and distance of each body's most critical moving point."""
    radius, slope, v_max = (rule.values[key] for key in ("radius", "slope", "v_max"))
    if moment.keypoints.shape[1] == 0:
        return {}
    out: Signals = {}
    for body, solid in moment.solids.items():
        if (blade_only and body not in moment.blades) or (held_only and body != moment.held):
            continue
        blade = in_balls(solid.points, moment.blades[body]) if blade_only else slice(None)
        fastest = moment.corner_speed(body)
        away = moment.at_least(body)
        signals = {"speed": fastest * 0, "distance": away * 0, "slack": np.full(len(fastest), np.inf)}
        promise = np.clip(slope * (away - radius), 0.0, v_max) - fastest
        for k in np.argsort(promise):
            if fastest[k] < REST or promise[k] >= max(CLOSE, worst):
                continue
            speed, gap = moment.near(body, k)
            speed, distance = speed[blade], gap.min(axis=1)[blade]
            slack = np.where(speed >= REST, np.clip(slope * (distance - radius), 0.0, v_max) - speed, np.inf)
            i = int(np.argmin(slack))
            if np.isfinite(slack[i]):
                for name, value in zip(signals, (speed[i], distance[i], slack[i]), strict=True):
                    signals[name][k] = value
                worst = min(worst, float(slack[i]))
        out[body] = signals
    return out


def in_balls(points: np.ndarray, balls: np.ndarray) -> np.ndarray:
    """Which points (N, 3) lie in any of the balls (n, 4)."""
    return np.any(np.linalg.norm(points[:, None] - balls[:, :3], axis=2) <= balls[:, 3], axis=1)


def _hot(moment: Moment, rule: Rule, world: World, machine: Machine, worst: float) -> Signals:
    return _near_people(moment, rule, worst, blade_only=False, held_only=True)


def _separation(moment: Moment, rule: Rule, world: World, machine: Machine, worst: float) -> Signals:
    return _near_people(moment, rule, worst, blade_only=False)


def _blade_speed(moment: Moment, rule: Rule, world: World, machine: Machine, worst: float) -> Signals:
    return _near_people(moment, rule, worst, blade_only=True)


def _to_boxes(moment: Moment, boxes: Boxes, bodies: list[str], distance: float, worst: float) -> Signals:
    """Gap between each body and the nearest box, where it could matter to a rule that wants a distance."""
    below = distance + max(CLOSE, worst)
    out: Signals = {}
    for body in bodies:
        solid = moment.solids[body]
        center, radius = moment.ball(body)
        gap = np.full(len(center), np.inf)
        near = points_to_boxes(center, boxes.center, boxes.half, boxes.yaw) - radius < below  # (K, B)
        for k in np.flatnonzero(near.any(axis=1)):
            some = boxes.center[near[k]], boxes.half[near[k]], boxes.yaw[near[k]]
            gap[k] = to_boxes(moment.now[body][k], solid.points, *some)
        out[body] = {"gap": gap, "slack": gap - distance}
    return out


def _clearance(moment: Moment, rule: Rule, world: World, machine: Machine, worst: float) -> Signals:
    bodies = [body for body in moment.solids if body not in (*FINGERS, moment.held)]
    return _to_boxes(moment, world.furniture, bodies, rule.values["distance"], worst)


def _keep_out(moment: Moment, rule: Rule, world: World, machine: Machine, worst: float) -> Signals:
    wanted = [
        boxes
        for name, (labels, boxes) in world.regions.items()
        if name == rule.values.get("region") or rule.values.get("label") in labels
    ]
    if not wanted:
        return {}
    joined = Boxes(*(np.concatenate([getattr(b, key) for b in wanted]) for key in ("center", "half", "yaw")))
    return _to_boxes(moment, joined, list(moment.solids), 0.0, worst)


def _upright(moment: Moment, rule: Rule, world: World, machine: Machine, worst: float) -> Signals:
    if moment.held is None:
        return {}
    cosine, least = moment.now[moment.held][:, 2, 2], np.cos(rule.values["max_tilt"])
    return {moment.held: {"cosine": cosine, "least": np.full(len(cosine), least), "slack": cosine - least}}


def _speed(moment: Moment, rule: Rule, world: World, machine: Machine, worst: float) -> Signals:
    speeds = {body: moment.corner_speed(body) for body in moment.solids}
    return {body: {"speed": speed, "slack": rule.values["v_max"] - speed} for body, speed in speeds.items()}


def _joint_limits(moment: Moment, rule: Rule, world: World, machine: Machine, worst: float) -> Signals:
    span = machine.high - machine.low
    above, below = (moment.q - machine.low) / span, (machine.high - moment.q) / span
    rate = np.abs(moment.q - moment.q_before) / moment.dt[:, None] / machine.fastest
    slack = np.minimum(np.minimum(above, below), rule.values["fraction"] - rate)
    signals = {"above": above, "below": below, "rate": rate, "slack": slack}
    return {f"joint {i}": {name: values[:, i] for name, values in signals.items()} for i in range(10)}


# min(v_max, max(0, slope (distance - radius))) - speed, in the words of the logic.
_ALLOWED = "(speed <= {v_max}) and ((speed <= {slope} * (distance - {radius})) or (speed <= 0))"

KINDS: Mapping[str, Kind] = {
    "separation": Kind(_ALLOWED, _separation),
    "blade_speed": Kind(_ALLOWED, _blade_speed),
    "hot": Kind(_ALLOWED, _hot),
    "clearance": Kind("gap >= {distance}", _clearance),
    "keep_out": Kind("gap >= 0", _keep_out),
    "upright": Kind("cosine >= least", _upright),
    "speed": Kind("speed <= {v_max}", _speed),
    "joint_limits": Kind("(above >= 0) and (below >= 0) and (rate <= {fraction})", _joint_limits),
}
