"""Turns the guardrails in force, the furniture and the objects around into the optimizer's tables of rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
from numba import njit

from robotctl.body import CAPSULE_A, CAPSULE_B, CAPSULE_RADIUS, KEYPOINT_PART
from robotctl.errors import UsageError
from robotctl.geometry import rotation_z
from robotctl.guardrails.blade_speed import BladeSpeed
from robotctl.guardrails.clearance import Boxes, Clearance
from robotctl.guardrails.contact_force import ContactForce
from robotctl.guardrails.grasp import Grasp
from robotctl.guardrails.guardrail import Guardrail, parts
from robotctl.guardrails.hot import Hot
from robotctl.guardrails.joint_limits import JointLimits
from robotctl.guardrails.keep_out import KeepOut
from robotctl.guardrails.placement import Placement
from robotctl.guardrails.separation import Separation
from robotctl.guardrails.speed import Speed
from robotctl.guardrails.undisturbed import Undisturbed
from robotctl.guardrails.upright import Upright
from robotctl.planning.kernels import box_gap, forward_batch, place
from robotctl.robot import ARM_OFFSETS, T_LINK7_HAND, RobotModel

TOUCH_SOLID = 0.005  # what grasps or is held keeps this far from furniture on the way [m]
TOUCH_BALL = 0.007  # and everything beyond the elbow this far from other objects [m]
YIELD = 0.002  # where start or goal come nearer than that, the way may too, less this much [m]
OWN = ("contact:furniture", "contact:object", "contact:self")  # owners of rows that no guardrail asks for

# Placement and grasp rule moments, not motions; a contact is felt, not foreseen; what is to be left alone is among the
# obstacles already, which everything beyond the elbow keeps off (contact:object).
WITHOUT_ROWS = Placement | Grasp | ContactForce | Undisturbed

AHEAD = np.cumsum(  # length of the links, stretched out, from the first turning axis to each frame [m]
    [0.0, 0.0, *np.linalg.norm(ARM_OFFSETS[1:, :3, 3], axis=1), np.linalg.norm(T_LINK7_HAND[:3, 3])]
)

Array = np.ndarray


class Solid(Protocol):
    """A box of the scene (robotctl.scene.Box)."""

    @property
    def center(self) -> Array: ...  # (3,) [m]

    @property
    def half(self) -> Array: ...  # (3,) [m]

    @property
    def yaw(self) -> float: ...  # [rad]


class Body(NamedTuple):
    """The robot's spheres (S)."""

    frame: np.ndarray  # (S,) int
    offset: np.ndarray  # (S, 3) [m]
    radius: np.ndarray  # (S,) [m]
    slack: np.ndarray  # (S,) how far a sphere may be from where the hand holds it [m]
    slip: np.ndarray  # (S,) how much faster than the hand it may move [m/s]
    lever: np.ndarray  # (S, 8) longest lever of the sphere's farthest point about each turning joint [m]


class People(NamedTuple):
    """Human capsules (C) at the knots (T)."""

    a: np.ndarray  # (T, C, 3) [m]
    b: np.ndarray  # (T, C, 3) [m]
    radius: np.ndarray  # (T, C) body radius + bound of the prediction [m]
    speed: np.ndarray  # (C,) assumed top speed [m/s]


class Solids(NamedTuple):
    """Boxes (B) and the distance each sphere must keep from each."""

    center: np.ndarray  # (B, 3)
    rotation: np.ndarray  # (B, 3, 3) world from box
    half: np.ndarray  # (B, 3)
    required: np.ndarray  # (S, B) [m]; -inf: this pair does not matter
    owner: np.ndarray  # (B,) int, column of `worst`


class Balls(NamedTuple):
    """Spheres of other objects (n), and the distance each of the robot's spheres must keep."""

    center: np.ndarray  # (n, 3)
    radius: np.ndarray  # (n,)
    required: np.ndarray  # (S, n) [m]; -inf: does not matter
    owner: int


class Pairs(NamedTuple):
    """Pairs of the robot's own spheres that must stay apart."""

    first: np.ndarray  # (m,) int
    second: np.ndarray  # (m,) int
    owner: int


class Motion(NamedTuple):
    """Speed limits that grow with the distance to people (M)."""

    radius: np.ndarray  # (M,) [m]
    slope: np.ndarray  # (M,) [1/s]
    v_max: np.ndarray  # (M,) [m/s]
    concerns: np.ndarray  # (M, S) bool
    monitors: np.ndarray  # (M,) bool: False for a plain ceiling that does not look at people
    owner: np.ndarray  # (M,) int


class Tilt(NamedTuple):
    """An axis of the held object (in the hand frame) whose world z must stay above each of `cosine` (n,)."""

    axis: np.ndarray  # (3,)
    cosine: np.ndarray  # (n,)
    owner: np.ndarray  # (n,) int


class Tightening(NamedTuple):
    """By how much the rows are stricter than the guardrails."""

    position: np.ndarray  # (T,) [m] how far a point may be from where it is predicted
    speed: np.ndarray  # (T,) [m/s] how much faster it may be
    spread: float  # [s] half the time between knots
    reach: float  # [s] the safety filter grows every sphere by its speed times this
    lead: float  # [s] delay before a brake takes hold
    tick: float  # [s] a brake takes whole control ticks: it may last this much longer
    brake: np.ndarray  # (10,) [m/s^2, rad/s^2]; inf: no brake is considered
    rotation: float  # [rad] how far the hand's true rotation may be off
    latency: float  # [s] age of what the filter will know of people when the robot is at the knot
    bend: float  # [s^2] an eighth of the squared spacing of the filter's samples, between which it bounds speeds
    creep: float  # [m/s] below this an allowed speed is as good as none
    used: float  # share of an allowed speed that is used


def bare_tightening(position: np.ndarray, speed: np.ndarray) -> Tightening:
    """No tightening but the bounds themselves: rows are the guardrails' margins."""
    return Tightening(position, speed, 0.0, 0.0, 0.0, 0.0, np.full(10, np.inf), 0.0, 0.0, 0.0, 0.0, 1.0)


class Rules(NamedTuple):
    """All tables of one planning problem."""

    body: Body
    people: People
    solids: Solids
    balls: Balls
    pairs: Pairs
    motion: Motion
    tilt: Tilt
    low: np.ndarray  # (10,) joint positions that a brake must not pass
    high: np.ndarray  # (10,)
    owners: int  # columns of `worst`


def boxes_of(solids: Sequence[Solid]) -> Boxes:
    """The scene's boxes as arrays."""
    return Boxes(
        np.array([s.center for s in solids], float).reshape(-1, 3),
        np.array([rotation_z(s.yaw) for s in solids], float).reshape(-1, 3, 3),
        np.array([s.half for s in solids], float).reshape(-1, 3),
    )


@dataclass(frozen=True)
class Surroundings:
    """What a plan must reckon with besides the guardrails."""

    boxes: Boxes  # furniture, for what the clearance guardrail leaves out
    obstacles: Array  # (n, 4) spheres of other objects x y z r [m]
    keypoints: Array  # (H+1, P, J, 3) people as they will have been seen when the robot is at each knot
    keypoint_bound: Array  # (H+1, P, J)
    keypoint_speed: Array  # (4,) assumed speed by body part [m/s]
    object_error: float  # [m]
    low: Array  # (10,) joint positions to stay between [m, rad]
    high: Array  # (10,)
    position_bound: float  # [m] largest tightening of positions along the horizon


def build(guardrails: Sequence[Guardrail], robot: RobotModel, around: Surroundings, at: Sequence[Array]) -> Rules:
    """The rows of `guardrails` for the robot; column i of `worst` belongs to guardrails[i], the last three are OWN.

    at: joints (10,) of start and goal; contact rows never ask for more than these allow.
    """
    n = len(guardrails)
    spheres = robot.spheres
    grips = parts(robot, "finger", "held", "blade")
    slack = np.zeros(len(spheres))
    slack[parts(robot, "held", "blade")] = around.object_error
    slip = np.zeros(len(spheres))
    slip[parts(robot, "held", "blade")] = robot.slip
    body = Body(spheres.frame.astype(np.int64), spheres.offset, spheres.radius, slack, slip, levers(robot))
    reference = sphere_centers(spheres.frame, spheres.offset, np.array(at, float).reshape(-1, 10))
    taken = spheres.radius + slack + around.position_bound + YIELD

    solids: list[tuple[Boxes, Array, int]] = []
    motion: list[tuple[float, float, float, Array, bool, int]] = []
    tilts: list[tuple[float, int]] = []
    covered = np.zeros(len(spheres), bool)
    everything = np.ones(len(spheres), bool)
    for owner, guardrail in enumerate(guardrails):
        if isinstance(guardrail, Clearance):
            concerned = parts(robot, "base", "arm", "hand")
            covered[concerned] = True
            solids.append((guardrail.boxes, _required(spheres, guardrail.boxes, concerned, guardrail.distance), owner))
        elif isinstance(guardrail, KeepOut):
            solids.append((guardrail.boxes, _required(spheres, guardrail.boxes, everything, 0.0), owner))
        elif isinstance(guardrail, Separation):
            motion.append((guardrail.radius, guardrail.slope, guardrail.v_max, everything, True, owner))
        elif isinstance(guardrail, BladeSpeed):
            blade = np.zeros(len(spheres), bool)
            blade[parts(robot, "blade")] = True
            motion.append((guardrail.radius, guardrail.slope, guardrail.v_max, blade, True, owner))
        elif isinstance(guardrail, Hot):
            held = np.zeros(len(spheres), bool)
            held[parts(robot, "held", "blade")] = True
            motion.append((guardrail.radius, guardrail.slope, guardrail.v_max, held, True, owner))
        elif isinstance(guardrail, Speed):
            motion.append((0.0, 1.0, guardrail.v_max, everything, False, owner))
        elif isinstance(guardrail, Upright):
            if robot.held is not None:
                tilts.append((guardrail.cos_max_tilt, owner))
        elif not isinstance(guardrail, JointLimits):  # joint limits are bounds of the QP
            raise UsageError(
                f"the planner has no rows for guardrail '{guardrail.header.id}' ({type(guardrail).__name__})"
            )
    contact = np.union1d(grips, np.flatnonzero(~covered))
    required = _required(spheres, around.boxes, contact, TOUCH_SOLID)
    gap = _box_gaps(reference, around.boxes.center, around.boxes.rotation, around.boxes.half) - taken[:, None]
    required = np.where(np.isfinite(required), np.minimum(required, gap), -np.inf)
    solids.append((around.boxes, required, n))

    return Rules(
        body,
        people_rows(around.keypoints, around.keypoint_bound, around.keypoint_speed),
        Solids(
            np.concatenate([b.center for b, _, _ in solids]),
            np.concatenate([b.rotation for b, _, _ in solids]),
            np.concatenate([b.half for b, _, _ in solids]),
            np.concatenate([r for _, r, _ in solids], axis=1),
            np.concatenate([np.full(len(b.center), owner) for b, _, owner in solids]),
        ),
        _balls(robot, around, taken, reference, n + 1),
        Pairs(*self_pairs(robot), n + 2),
        Motion(
            np.array([m[0] for m in motion], float),
            np.array([m[1] for m in motion], float),
            np.array([m[2] for m in motion], float),
            np.array([m[3] for m in motion], bool).reshape(-1, len(spheres)),
            np.array([m[4] for m in motion], bool),
            np.array([m[5] for m in motion], np.int64),
        ),
        Tilt(
            np.zeros(3) if robot.held is None else robot.held.T_hand_object[:3, 2].copy(),
            np.array([t[0] for t in tilts], float),
            np.array([t[1] for t in tilts], np.int64),
        ),
        around.low,
        around.high,
        n + len(OWN),
    )


@njit(cache=True)
def sphere_centers(frame, offset, q):
    """Sphere centres (n, S, 3) at joints q (n, 10)."""
    rotation, origin = forward_batch(q)
    out = np.empty((len(q), len(frame), 3))
    for i in range(len(q)):
        for s in range(len(frame)):
            out[i, s, 0], out[i, s, 1], out[i, s, 2] = place(rotation[i], origin[i], frame[s], offset, s)
    return out


@njit(cache=True)
def _box_gaps(center, box_center, box_rotation, box_half):
    """Least distance (S, B) of centres (n, S, 3) to boxes."""
    out = np.full((center.shape[1], len(box_center)), np.inf)
    for i in range(len(center)):
        for s in range(center.shape[1]):
            x, y, z = center[i, s]
            for b in range(len(box_center)):
                out[s, b] = min(out[s, b], box_gap(x, y, z, box_center, box_rotation, box_half, b, np.inf)[0])
    return out


def _required(spheres: object, boxes: Boxes, concerned: Array, distance: float) -> Array:
    """Distance (S, B) that the concerned spheres keep from every box, -inf for the others."""
    required = np.full((len(spheres), len(boxes.center)), -np.inf)  # type: ignore[arg-type]
    required[concerned] = distance
    return required


def levers(robot: RobotModel) -> Array:
    """Longest lever of every sphere's farthest point about the yaw and arm 1..7, (S, 8) [m].

    The links behind the joint, stretched out, and the sphere at their end; 0 where the joint does not move it.
    """
    frame = robot.spheres.frame
    own = np.linalg.norm(robot.spheres.offset, axis=1) + robot.spheres.radius
    reach = AHEAD[frame][:, None] - AHEAD[:8] + own[:, None]
    return np.where(frame[:, None] >= np.arange(8), reach, 0.0)


def people_rows(keypoints: Array, bound: Array, speed: Array) -> People:
    """Human capsules from keypoints (T, P, J, 3) and the radius (T, P, J) that holds each; speed (4,) by body part."""
    samples, people = keypoints.shape[:2]
    grown = np.maximum(bound.take(CAPSULE_A, 2), bound.take(CAPSULE_B, 2)) + CAPSULE_RADIUS
    by_keypoint = speed[KEYPOINT_PART]
    return People(
        keypoints.take(CAPSULE_A, 2).reshape(samples, -1, 3),
        keypoints.take(CAPSULE_B, 2).reshape(samples, -1, 3),
        grown.reshape(samples, -1),
        np.concatenate([np.maximum(by_keypoint[CAPSULE_A], by_keypoint[CAPSULE_B])] * people or [np.empty(0)]),
    )


def _balls(robot: RobotModel, around: Surroundings, taken: Array, reference: Array, owner: int) -> Balls:
    center, radius = np.ascontiguousarray(around.obstacles[:, :3]), np.ascontiguousarray(around.obstacles[:, 3])
    gap = np.linalg.norm(reference[:, :, None] - center, axis=-1).min(axis=0, initial=np.inf) - radius - taken[:, None]
    required = np.where(robot.spheres.frame[:, None] >= 5, np.minimum(TOUCH_BALL, gap), -np.inf)
    return Balls(center, radius, required, owner)


def self_pairs(robot: RobotModel) -> tuple[Array, Array]:
    """Wrist, hand and what it holds against base, column and shoulder."""
    spheres = robot.spheres
    outer = np.flatnonzero(spheres.frame >= 5)
    inner = np.flatnonzero(spheres.frame <= 1)
    first, second = np.meshgrid(outer, inner, indexing="ij")
    return first.ravel().astype(np.int64), second.ravel().astype(np.int64)
