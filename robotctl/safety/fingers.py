"""Which finger openings may be commanded: what may be taken hold of, and where things may be let go of.

Two guardrails speak of such moments. `grasp`: the fingers do not close on what is in scope while a person is, or may
come by the next decision, within its radius of the hand or the thing. `placement`: they do not open around what is in
scope where it must not be left. Both ask the robot to stand, so that where hand and thing are is known. A refusal
holds the fingers where they are, which is always possible; in doubt (NaN, an unknown kind) it is refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np

from robotctl.geometry import matrix_from_quaternion
from robotctl.guardrails.grasp import Grasp
from robotctl.guardrails.guardrail import Assumptions, Guardrail, parts
from robotctl.guardrails.placement import Placement
from robotctl.robot import STROKE, TCP, RobotModel
from robotctl.safety.tube import grown_people, to_axis
from robotctl.state import TICK, ObjectState, State

PLAY = 0.001  # [m] the fingers are asked to move if the command is this far from where they are
WITHIN = 0.06  # [m] a thing this near the point between the finger tips may be taken hold of
STILL = 1e-3  # [m/s, rad/s] joint speeds of a robot that stands


class Kind(Protocol):
    """What the filter needs to know of an object kind (scene.ObjectKind)."""

    @property
    def spheres(self) -> np.ndarray: ...  # (n, 4) x y z r in the body frame [m]

    @property
    def blade(self) -> np.ndarray: ...  # (n,) bool

    @property
    def slip(self) -> float: ...  # how much faster than the hand it may move in it [m/s]


def permitted_opening(
    rules: Sequence[Guardrail],
    kinds: Mapping[str, Kind],
    assumptions: Assumptions,
    state: State,
    robot: RobotModel | None,
    skill: str,
    wanted: float,
    last: float,
) -> tuple[float, str]:
    """The opening to command [m] and the id of the guardrail that refused `wanted`, "" if none did.

    robot: with what it holds; None if that is of an unknown kind. last: what is commanded now [m].
    """
    rules = [rule for rule in rules if rule.header.scope.during(skill)]
    now, held = state.robot.opening, state.robot.held
    if held is None and not wanted >= now - PLAY:
        for rule in rules:
            if isinstance(rule, Grasp) and not _closing_margin(rule, kinds, assumptions, state) >= 0:
                return float(np.clip(np.nan_to_num(now, nan=last), 0.0, STROKE)), rule.header.id
    if held is not None and not wanted <= now + PLAY:
        for rule in rules:
            if not isinstance(rule, Placement) or not rule.header.scope.concerns(held):
                continue
            if not _release_margin(rule, assumptions, state, robot) >= 0:
                return min(last, wanted), rule.header.id
    return wanted, ""


def _closing_margin(rule: Grasp, kinds: Mapping[str, Kind], assumptions: Assumptions, state: State) -> float:
    """Distance of people to the hand and what it may take hold of, minus the rule's radius [m]; inf for nothing."""
    bare = RobotModel()
    center, _, _, hand = bare.sphere_motion(state.robot.q_ref[None], np.zeros((1, 10)))
    own = parts(bare, "hand", "finger")
    middle = bare.forward(state.robot.q_ref)[1][-1] + hand[0] @ TCP
    points, radii = [center[0, own]], [bare.spheres.radius[own] + assumptions.tracking_error]
    concerned = False
    for thing in state.objects:
        if not thing.labels & rule.header.scope.held:
            continue
        spheres = _spheres(thing, kinds, assumptions)
        if spheres is None:
            return np.nan
        at, size = spheres
        if not np.min(np.linalg.norm(at - middle, axis=1) - size) > WITHIN:
            concerned = True
            points.append(at)
            radii.append(size)
    if not concerned or not state.people:
        return np.inf
    if not np.all(np.abs(state.robot.dq_ref) <= STILL):
        return np.nan
    a, b, grown, _ = grown_people(state.people, state.time, np.array([TICK]), assumptions)
    point, segment = np.concatenate(points).T[:, :, None], (b - a).T[:, None]
    length2 = np.maximum((segment * segment).sum(axis=0), 1e-12)
    gap = to_axis(point, a.T[:, None], segment, length2) - grown - np.concatenate(radii)[:, None]
    return float(gap.min()) - rule.radius


def _release_margin(rule: Placement, assumptions: Assumptions, state: State, robot: RobotModel | None) -> float:
    """Slack of letting go of what is held where it is [m]."""
    if robot is None or not np.all(np.abs(state.robot.dq_ref) <= STILL):
        return np.nan
    center = robot.sphere_motion(state.robot.q_ref[None], np.zeros((1, 10)))[0][0]
    held = parts(robot, "held", "blade")
    error = assumptions.tracking_error + assumptions.object_error
    return rule.release_margin(center[held], robot.spheres.radius[held] + error)


def _is_beyond(
    thing: ObjectState, kinds: Mapping[str, Kind], assumptions: Assumptions, low: np.ndarray, high: np.ndarray
) -> bool:
    """Whether a thing stays out of a box, however it is turned."""
    kind = kinds.get(thing.kind)
    if kind is None:
        return False
    reach = float((np.sqrt((kind.spheres[:, :3] ** 2).sum(axis=1)) + kind.spheres[:, 3]).max())
    gap = np.maximum(low - thing.position, thing.position - high).max()
    return bool(gap > reach + assumptions.object_error)


def _spheres(
    thing: ObjectState, kinds: Mapping[str, Kind], assumptions: Assumptions
) -> tuple[np.ndarray, np.ndarray] | None:
    """Centres (n, 3) and radii (n,) that hold a thing wherever it may be; None if its kind is not known."""
    kind = kinds.get(thing.kind)
    if kind is None:
        return None
    at = thing.position + kind.spheres[:, :3] @ matrix_from_quaternion(thing.quaternion).T
    return at, kind.spheres[:, 3] + assumptions.object_error


def things_around(
    names: frozenset[str],
    kinds: Mapping[str, Kind],
    assumptions: Assumptions,
    state: State,
    low: np.ndarray,
    high: np.ndarray,
) -> tuple[tuple[str, ...], np.ndarray, np.ndarray]:
    """Names (B), centres (B, 3) and radii (B,) of the spheres that cover the things with these names.

    Things that cannot reach into the box between low and high (3,) are left out; in doubt they are not.
    """
    found: list[str] = []
    centers, radii = [np.zeros((0, 3))], [np.zeros(0)]
    for thing in state.objects:
        if thing.name in names and not _is_beyond(thing, kinds, assumptions, low, high):
            center, radius = _spheres(thing, kinds, assumptions) or (np.full((1, 3), np.nan), np.ones(1))
            found += [thing.name] * len(radius)
            centers.append(center)
            radii.append(radius)
    return tuple(found), np.concatenate(centers), np.concatenate(radii)
