"""This file turns an episode into the true margin of every guardrail at 240 Hz, and into what must not have been.

Twice: by the guardrails' own formulas on what the robot truly swept, with the drives' errors at their bound for every
point at once; and by the judge, from a truth in which drives and objects are off by one particular amount.
Rules on motion are counted while the reference moves, rules on places always. Where a rule on places was broken before
(a recovery), a distance may not shrink by more than the filter's account of recovery says.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from robotctl.guardrails.guardrail import Guardrail, in_force
from robotctl.judge.record import ROUNDING
from robotctl.robot import HAND, forward
from robotctl.safety.safety_filter import RECOVERY_SPEED
from robotctl.safety.tube import REACH
from robotctl.state import TICK, Held, Truth
from robotctl.verify.crowd import RATE, STEPS
from robotctl.verify.induction import Course, Fault, Inputs, robot_of
from robotctl.verify.late_drives import Reference
from robotctl.verify.room import Room, on_motion
from robotctl.verify.starts import as_assumed, lowest, sweep_at

TOGETHER = 4  # ticks that the judge is shown at once: it is quicker
BLOCK = 32  # steps at a time: the arrays of all pairs stay in the processor's cache
RECEDES = RECOVERY_SPEED * REACH + 1e-6  # a broken distance may shrink by this between the filter's samples [m]


@dataclass(frozen=True, eq=False)
class Margins:
    """What became of an episode."""

    formula: dict[str, float]  # smallest margin of each guardrail that spoke, outside recovery [its unit]
    judge: dict[str, float]
    moving: np.ndarray  # (samples,) bool: the reference moves in that tick
    faults: tuple[Fault, ...]


class Motion:
    """The true motion of an episode at its physics steps."""

    def __init__(self, inputs: Inputs, course: Course) -> None:
        self.time = (np.arange(len(inputs.delay)) + 1) / RATE
        self.meant = self.time - inputs.delay  # where in time the drives are [s]
        self.q, self.dq, self.ddq = Reference(course.q, course.dq).at(self.meant)
        self.true_q = self.q + inputs.offset
        self.moving = np.any(self.dq != 0, axis=1)
        last = len(course.scale) - 1
        tick = np.clip(np.floor(self.meant / TICK - 1e-9).astype(int), 0, last)
        self._tick, self._course = tick, course

    def recovering(self, name: str) -> np.ndarray:
        """Steps (K,) bool in which the robot executes a motion that a broken rule let pass as a recovery."""
        return np.array([name in broken for broken in self._course.recovering])[self._tick]


def judge_episode(room: Room, inputs: Inputs, course: Course) -> Margins:
    """All true margins of an episode, and all faults."""
    motion = Motion(inputs, course)
    faults = list(course.faults)
    formula: dict[str, float] = {}
    allowed: dict[str, np.ndarray] = {}  # by guardrail: what its margin may be at each step
    for rule, margin in _by_formula(room, inputs, motion):
        name = rule.header.id
        floor = np.zeros(len(margin))
        if not on_motion(rule):
            worse = RECEDES if rule.unit == "m" else np.inf
            floor[motion.recovering(name)] = min(0.0, margin[0]) - worse
        allowed[name] = np.maximum(allowed[name], floor) if name in allowed else floor
        faults += _below(name, margin, floor, "formula")
        outside = margin[floor == 0]
        formula[name] = min(float(np.min(outside, initial=np.inf)), formula.get(name, np.inf))
    judge: dict[str, float] = {}
    if motion.moving.any():
        judge, seen = _by_judge(room, inputs, motion, allowed)
        faults += seen
    moves = np.any(course.dq[1:] != 0, axis=1) | np.any(course.dq[:-1] != 0, axis=1)
    return Margins(
        {name: m for name, m in formula.items() if np.isfinite(m)},
        {name: m for name, m in judge.items() if np.isfinite(m)},
        moves[: inputs.samples],
        tuple(Fault(min(f.tick, inputs.samples - 1), f.what, f.seen_by, f.margin) for f in faults),
    )


def _below(name: str, margin: np.ndarray, floor: np.ndarray, seen_by: str) -> list[Fault]:
    """The first step of every tick in which a margin (K,) is below what it may be; NaN is."""
    bad = ~(margin >= floor - ROUNDING)
    if not bad.any():
        return []
    out = []
    for tick in np.unique(np.flatnonzero(bad) // STEPS):
        own = slice(STEPS * tick, STEPS * (tick + 1))
        out.append(Fault(int(tick), name, seen_by, float(np.min(margin[own][bad[own]]))))
    return out


def _by_formula(room: Room, inputs: Inputs, motion: Motion) -> list[tuple[Guardrail, np.ndarray]]:
    """Smallest entry (K,) of every guardrail in force at every step; inf where a rule on motion need not hold."""
    robot = robot_of(room, inputs)
    rules = in_force(room.rules.guardrails, inputs.held(room), inputs.skill)
    out = [(rule, np.full(len(motion.time), np.inf)) for rule in rules]
    counted = motion.moving.copy()
    counted[1:] |= motion.moving[:-1]  # and where it came to rest
    counted[0] = True
    steps = np.flatnonzero(counted)
    for first in range(0, len(steps), BLOCK):
        rows = steps[first : first + BLOCK]
        people = inputs.keypoints[rows + 1]
        sweep = sweep_at(robot, room.rules.assumptions, motion.q[rows], motion.dq[rows], motion.ddq[rows], people)
        moving = motion.moving[rows]
        for rule, margin in out:
            if not on_motion(rule):
                margin[rows] = lowest(as_assumed(rule).margin(sweep, robot))
            elif moving.any():
                margin[rows[moving]] = lowest(rule.margin(sweep, robot))[moving]
    for rule, margin in out:  # a robot at rest is where it came to rest
        if not on_motion(rule):
            latest = np.maximum.accumulate(np.where(counted, np.arange(len(margin)), 0))
            margin[:] = margin[latest]
    return out


def _by_judge(
    room: Room, inputs: Inputs, motion: Motion, allowed: dict[str, np.ndarray]
) -> tuple[dict[str, float], list[Fault]]:
    """Smallest margin of each guardrail by the judge outside recovery, and what it finds wrong."""
    held = inputs.held(room)
    parts = truths(room, inputs, motion, held)
    judge = room.judge(held)
    judge.observe(parts[0])
    for first in range(1, len(parts), TOGETHER):
        judge.observe(joined(parts[first : first + TOGETHER]))
    verdict = judge.verdict()
    exempt = {name for name, floor in allowed.items() if (floor < 0).any()}
    worst = {name: rule.worst_margin for name, rule in verdict.by_id.items() if rule.worst_margin is not None}
    if all(margin >= -ROUNDING for margin in worst.values()) and verdict.contacts_moving == 0:
        return {name: margin for name, margin in worst.items() if name not in exempt}, []
    # Something is wrong somewhere, or recovers: tick by tick, with every margin exact.
    judge, faults, worst = room.judge(held), [], {}
    judge.observe(parts[0])
    touched = 0
    for tick, part in enumerate(parts[1:]):
        own = slice(STEPS * tick, STEPS * (tick + 1))
        for name, margin in judge.observe_tick(part).items():
            floor = float(np.min(allowed[name][own])) if name in allowed else 0.0
            if not margin >= floor - ROUNDING:
                faults.append(Fault(tick, name, "judge", margin))
            if floor == 0:
                worst[name] = min(margin, worst.get(name, np.inf))
        moving = judge.verdict().contacts_moving
        if moving > touched:
            faults.append(Fault(tick, "moving contact", "judge"))
            touched = moving
    return worst, faults


def truths(room: Room, inputs: Inputs, motion: Motion, held: Held | None) -> list[Truth]:
    """The start, and then every tick until the robot rests for good, as the judge is shown them."""
    ticks = int(np.flatnonzero(motion.moving)[-1]) // STEPS + 1 if motion.moving.any() else 1
    q = np.concatenate([motion.true_q[:1], motion.true_q[: STEPS * ticks]])
    time = np.concatenate([[0.0], motion.time[: STEPS * ticks]])
    dq = np.concatenate([np.zeros((1, 10)), np.diff(q, axis=0) * RATE])
    n = len(q)
    names: tuple[str, ...] = ()
    position, quaternion = np.zeros((n, 0, 3)), np.zeros((n, 0, 4))
    if held is not None:
        names = (held.name,)
        rotation, origin = forward(q)
        turned = rotation[:, HAND] @ held.T_hand_object[:3, :3]
        position = (rotation[:, HAND] @ held.T_hand_object[:3, 3] + origin[:, HAND])[:, None]
        quaternion = _quaternions(turned)[:, None]
    out = []
    for own in (slice(0, 1), *(slice(1 + i, 1 + i + STEPS) for i in range(0, n - 1, STEPS))):
        steps = own.stop - own.start
        out.append(
            Truth(
                time[own], q[own], dq[own], np.full(steps, inputs.opening), names, position[own], quaternion[own],
                inputs.names, inputs.keypoints[own],
            )
        )  # fmt: skip
    return out


def _quaternions(rotation: np.ndarray) -> np.ndarray:
    """Quaternions xyzw (n, 4) of rotations (n, 3, 3): Bar-Itzhack 2000, eq. 15, the dominant eigenvector."""
    r, k = rotation, np.empty((len(rotation), 4, 4))
    for i in range(3):
        for j in range(3):
            k[:, i, j] = r[:, i, j] + r[:, j, i]
        k[:, i, i] = 2.0 * r[:, i, i] - np.trace(r, axis1=1, axis2=2)
        a, b = (i + 1) % 3, (i + 2) % 3
        k[:, i, 3] = k[:, 3, i] = r[:, b, a] - r[:, a, b]
    k[:, 3, 3] = np.trace(r, axis1=1, axis2=2)
    return np.asarray(np.linalg.eigh(k)[1][:, :, -1])


def joined(parts: list[Truth]) -> Truth:
    """Ticks one after the other, as one."""
    arrays = ("time", "q", "dq", "opening", "object_position", "object_quaternion", "keypoints")
    both: dict[str, Any] = {name: np.concatenate([getattr(part, name) for part in parts]) for name in arrays}
    return Truth(**both, object_names=parts[0].object_names, person_names=parts[0].person_names)
