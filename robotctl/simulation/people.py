"""A person in the scene: where every keypoint of the body is at any time, from a plan and a seed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from robotctl.body import INDEX
from robotctl.errors import InvalidFileError
from robotctl.simulation.mocap import (
    FOREARM,
    JOINTS,
    UPPER_ARM,
    at_phase,
    blend,
    forward,
    hinge,
    multiply,
    sole_height,
    standing,
    walk_cycle,
)
from robotctl.simulation.motion_file import read_motion
from robotctl.simulation.walk_path import Stop, Walk, minimum_jerk, walk_along
from robotctl.task import LAPS, PersonPlan, Reach

RATE = 60  # samples per second of the stored walk; cubic interpolation between them [Hz]
FILE_RATE = 120  # of a stored recording [Hz]
WALKING = 0.5  # above this speed the walk is the recorded one, below it blends into standing [m/s]
REACH_SPEED = 1.4  # peak speed of a reaching hand along its path [m/s]: the household file assumes at most 2.0
LIFT = 0.18  # a reaching hand rises by this much on its way, over table edges [m]
STRETCH = 0.97  # share of the arm's length that a reach uses before the back bends
MAX_LEAN = 1.1  # [rad]
SETTLE = 1.0  # laid out after the last motion [s]


@dataclass(frozen=True)
class _ReachMotion:
    """One reach of the layout: the hand leaves at `start`, arrives after `duration`, holds, and comes back."""

    start: float  # [s]
    duration: float  # of one way [s]
    hold: float  # [s]
    target: np.ndarray  # (3,) [m]
    side: str
    lean: float  # forward bend of the body at the target [rad]

    def progress(self, time: np.ndarray) -> np.ndarray:
        """0 with the arm at rest, 1 with the hand at the target, (T,)."""
        out = minimum_jerk((time - self.start) / self.duration)
        return out - minimum_jerk((time - self.start - self.duration - self.hold) / self.duration)


class Person:
    """A deterministic function of (plan, generator): the same pair gives the same motion, bit for bit.

    `plan.jitter` > 0 shifts every way point and reach target within that radius and slows the walk by up to 7 %;
    with 0 the generator is not used.
    """

    def __init__(self, plan: PersonPlan, generator: np.random.Generator) -> None:
        self.name = plan.name
        self._start = float(plan.start)
        path = np.atleast_2d(np.asarray(plan.path, float)) if np.size(plan.path) else np.zeros((1, 2))
        speed = float(plan.speed)
        if plan.jitter > 0.0:
            path = path + _in_disc(generator, len(path), plan.jitter)
            shift = np.pad(_in_disc(generator, len(plan.reach), plan.jitter), ((0, 0), (0, 1)))
            reaches = tuple(replace(r, target=r.target + d) for r, d in zip(plan.reach, shift, strict=True))
            plan = replace(plan, reach=reaches)
            speed *= generator.uniform(0.93, 1.0)
        if plan.clip in ("walk", "stand"):
            table, self._lap, self._period = _layout(plan, path, speed)
            self._rate = RATE
        else:
            table, self._lap, self._period = _recording(plan, path if np.size(plan.path) else None)
            self._rate = FILE_RATE
        self._shape = table.shape[1:]
        self._table = np.ascontiguousarray(table.reshape(len(table), -1))

    @property
    def start(self) -> float:
        """When the person sets off [s]."""
        return self._start

    @property
    def duration(self) -> float:
        """From setting off until the person stands for good, or until a loop has come round [s]."""
        return self._lap + self._period if self._period > 0.0 else (len(self._table) - 1) / self._rate

    def keypoints(self, time: float) -> np.ndarray:
        """Every keypoint at `time` [s] of the episode, (J, 3) world [m]."""
        own = max(time - self._start, 0.0)
        if self._period > 0.0 and own > self._lap:
            own = self._lap + (own - self._lap) % self._period
        table = self._table
        last = len(table) - 1
        x = min(own * self._rate, float(last))
        i = min(int(x), last - 1)
        u = x - i
        # Catmull-Rom 1974: a cubic through the samples whose slope at each is that of its neighbours.
        a, b = 0.5 * (u - 1.0) ** 2 * u, 0.5 * u * u * (1.0 - u)
        rise = u * u * (3.0 - 2.0 * u)
        before, after = max(i - 1, 0), min(i + 2, last)
        row = (1.0 - rise + b) * table[i] + (rise + a) * table[i + 1] - a * table[before] - b * table[after]
        return row.reshape(self._shape)


def _in_disc(generator: np.random.Generator, count: int, radius: float) -> np.ndarray:
    """Points uniform in a disc, (count, 2) [m]."""
    angle = generator.uniform(0.0, 2 * np.pi, count)
    length = radius * np.sqrt(generator.uniform(0.0, 1.0, count))
    return np.stack([length * np.cos(angle), length * np.sin(angle)], axis=1)


def _layout(plan: PersonPlan, path: np.ndarray, speed: float) -> tuple[np.ndarray, float, float]:
    """Keypoints (n, J, 3) at RATE of a walking or standing person, and when its repeating lap begins and how long."""
    standing_still = plan.clip == "stand" or len(path) == 1
    loop = plan.loop and not standing_still
    if standing_still:
        facing = float(np.arctan2(*(path[1] - path[0])[::-1])) if len(path) > 1 else None
        points, here = path[:1], [Stop(facing, 0.0)]
    else:
        points, here = path, []
    n = len(points)
    reaches: dict[int, list[_ReachMotion]] = {}
    for reach in plan.reach:
        at = min(int(reach.at), n - 1)
        reaches.setdefault(at, []).append(_reach_motion(reach, points[at]))
    stops: dict[int, list[Stop]] = {}
    for at, motions in reaches.items():
        stops[at] = [
            Stop(float(np.arctan2(*(m.target[:2] - points[at])[::-1])), 2 * m.duration + m.hold) for m in motions
        ]
    if here:
        stops[0] = here + stops.get(0, [])
    if loop:
        points = np.concatenate([np.tile(points, (LAPS, 1)), points[:1]])
        stops = {i + lap * n: stop for i, stop in stops.items() for lap in range(LAPS)}
    walk = walk_along(points, stops, speed)
    motions = []
    taken: dict[int, int] = {}
    for at, start in walk.pauses:
        k = taken.get(at, -len(here) if at == 0 else 0)
        taken[at] = k + 1
        if k >= 0:
            motions.append(replace(reaches[at % n][k], start=start))
    stride = walk_cycle().stride
    begin = period = 0.0
    if loop:
        begin, period = walk.marks[n], walk.marks[2 * n] - walk.marks[n]
        lap = np.interp([begin, begin + period], walk.time, walk.distance)
        stride = (lap[1] - lap[0]) / max(int((lap[1] - lap[0]) / stride), 1)  # whole cycles in a lap: no seam
    return _animate(walk, motions, stride), begin, period


def _reach_motion(reach: Reach, point: np.ndarray) -> _ReachMotion:
    """How long the hand takes, and how far the body bends, to bring a hand from rest at `point` to the target."""
    target = np.asarray(reach.target, float)
    body = forward(standing()[None])[0]
    body[:, 2] -= sole_height(body)
    out = target[:2] - point
    goal = np.array([np.linalg.norm(out), 0.0, target[2]])  # in the frame of a person who faces the target
    pelvis, shoulder = body[INDEX["pelvis"]], body[INDEX[f"{reach.hand}_shoulder"]]
    lean = 0.0
    for lean in np.linspace(0.0, MAX_LEAN, 111).tolist():
        c, s = np.cos(lean), np.sin(lean)
        x, y, z = shoulder - pelvis
        bent = pelvis + np.array([c * x + s * z, y, c * z - s * x])
        if np.linalg.norm(goal - bent) <= STRETCH * (UPPER_ARM + FOREARM):
            break
    way = np.linalg.norm(goal - body[INDEX[f"{reach.hand}_hand"]]) + LIFT
    duration = max(0.8, float(1.875 * way / REACH_SPEED))
    return _ReachMotion(0.0, duration, float(reach.hold), target, reach.hand, lean)


def _animate(walk: Walk, motions: list[_ReachMotion], stride: float) -> np.ndarray:
    """Keypoints (n, J, 3) of the walk with its reaches, at RATE."""
    time = np.arange(int((walk.time[-1] + SETTLE) * RATE) + 2) / RATE
    distance, speed, heading = (np.interp(time, walk.time, v) for v in (walk.distance, walk.speed, walk.heading))
    position = np.stack([np.interp(time, walk.time, walk.position[:, i]) for i in (0, 1)], axis=1)
    cycle, rest = walk_cycle(), standing()
    share = np.clip(speed / WALKING, 0.0, 1.0)
    share = share * share * (3.0 - 2.0 * share)
    recorded = at_phase(cycle.rotations, distance / stride)
    rotations = blend(np.broadcast_to(rest, recorded.shape), recorded, np.repeat(share[:, None], len(JOINTS), 1))
    lean = sum((m.lean * m.progress(time) for m in motions), np.zeros(len(time)))
    bend, back = hinge(-lean), hinge(lean)
    for joint in ("right_hip", "left_hip", "right_shoulder", "left_shoulder"):  # legs stay, arms keep hanging
        i = JOINTS.index(joint)
        rotations[:, i] = multiply(back, rotations[:, i])
    rotations[:, 0] = multiply(bend, rotations[:, 0])
    body = forward(rotations)
    # The lower foot stands on the floor; a moving average over 0.15 s takes the jerk out of the change of foot.
    height = np.pad(-sole_height(body), 4, mode="edge")
    body[..., 2] += np.convolve(height, np.full(9, 1 / 9), mode="valid")[:, None]
    body[..., 1] += (share * at_phase(cycle.sway, distance / stride))[:, None]
    c, s = np.cos(heading)[:, None], np.sin(heading)[:, None]
    out = np.stack(
        [
            position[:, :1] + c * body[..., 0] - s * body[..., 1],
            position[:, 1:] + s * body[..., 0] + c * body[..., 1],
            body[..., 2],
        ],
        axis=-1,
    )
    for motion in motions:
        _reach(out, time, heading, motion)
    return out


def _reach(body: np.ndarray, time: np.ndarray, heading: np.ndarray, motion: _ReachMotion) -> None:
    """Moves one arm of `body` (n, J, 3) along the reach, in place: two-bone inverse kinematics in closed form."""
    progress = motion.progress(time)
    rows = np.flatnonzero(progress > 0.0)
    p = progress[rows, None]
    shoulder, elbow, wrist, hand = (INDEX[f"{motion.side}_{name}"] for name in ("shoulder", "elbow", "wrist", "hand"))
    root, natural, natural_elbow = body[rows, shoulder], body[rows, hand], body[rows, elbow]
    goal = natural + p * (motion.target - natural)
    goal[:, 2] += LIFT * 16.0 * (p[:, 0] * (1.0 - p[:, 0])) ** 2
    out = goal - root
    length = np.linalg.norm(out, axis=1, keepdims=True)
    direction = out / length
    length = np.clip(length, 0.12, 0.995 * (UPPER_ARM + FOREARM))
    # The elbow bends in the plane of a pole that goes from where the hanging elbow is to down and outwards.
    sign = -1.0 if motion.side == "right" else 1.0
    left = np.stack([-np.sin(heading[rows]), np.cos(heading[rows]), np.zeros(len(rows))], axis=1)
    pole = (1.0 - p) * (natural_elbow - root) / UPPER_ARM + p * (0.5 * sign * left - np.array([0.0, 0.0, 0.9]))
    pole -= np.sum(pole * direction, axis=1, keepdims=True) * direction
    pole /= np.maximum(np.linalg.norm(pole, axis=1, keepdims=True), 1e-9)
    along = (UPPER_ARM**2 - FOREARM**2 + length**2) / (2.0 * length)
    aside = np.sqrt(np.maximum(UPPER_ARM**2 - along**2, 0.0))
    body[rows, elbow] = root + along * direction + aside * pole
    body[rows, hand] = root + length * direction
    body[rows, wrist] = body[rows, elbow] + (0.25895 / FOREARM) * (body[rows, hand] - body[rows, elbow])


def _recording(plan: PersonPlan, path: np.ndarray | None) -> tuple[np.ndarray, float, float]:
    """A recorded motion at FILE_RATE, its pelvis starting at the first way point (as recorded without one).

    A second way point turns it to start facing that way. `loop` plays it forth and back, which has no seam.
    """
    time, xyz = read_motion(Path(plan.clip))
    if time[-1] > 3600.0:
        raise InvalidFileError(f"{plan.clip}: {time[-1]:.0f} s of motion; at most an hour is supported")
    if path is not None and np.size(plan.path):
        pelvis = xyz[0, INDEX["pelvis"], :2].copy()
        xyz = xyz.copy()
        xyz[..., :2] -= pelvis
        if len(path) > 1:
            hips = xyz[0, INDEX["left_hip"]] - xyz[0, INDEX["right_hip"]]
            turn = np.arctan2(*(path[1] - path[0])[::-1]) - np.arctan2(-hips[0], hips[1])
            c, s = np.cos(turn), np.sin(turn)
            xyz[..., :2] = xyz[..., :2] @ np.array([[c, s], [-s, c]])
        xyz[..., :2] += path[0]
    even = np.arange(int(np.ceil(time[-1] * FILE_RATE)) + 1) / FILE_RATE
    flat = xyz.reshape(len(xyz), -1)
    table = np.stack([np.interp(even, time, flat[:, i]) for i in range(flat.shape[1])], axis=1)
    if plan.loop:
        table = np.concatenate([table, table[-2::-1], table[1:3]])
        return table.reshape(-1, *xyz.shape[1:]), 0.0, 2 * (len(even) - 1) / FILE_RATE
    return table.reshape(-1, *xyz.shape[1:]), 0.0, 0.0
