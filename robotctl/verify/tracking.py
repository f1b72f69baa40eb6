"""How the robot follows its reference: what the assumptions on tracking would have to be for a recording to keep them.

As robotctl.judge.monitor has it: for each landmark and physics step, of all delays in [0, actuation_latency] the one
whose errors in place and speed are the smallest shares of what is assumed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from robotctl.guardrails.guardrail import Assumptions
from robotctl.judge.machine import FASTEST, poses
from robotctl.judge.monitor import landmarks
from robotctl.robot import JOINT_NAMES
from robotctl.safety.safety_filter import JOINT_ERROR
from robotctl.verify.check import Check, at_least, at_most
from robotctl.verify.rig import Recording


@dataclass(frozen=True)
class Tracking:
    """Of every physics step whose range of delays is known, the worst landmark's."""

    error: np.ndarray  # (M,) off its delayed reference [m]
    faster: np.ndarray  # (M,) than its delayed reference [m/s]
    delay: np.ndarray  # (M,) smallest delay with which all is as assumed; inf: none up to the one assumed [s]
    joint: np.ndarray  # (M, 10) each joint off its reference at the delay that serves it best [m, rad]


def tracking(recording: Recording, assumed: Assumptions) -> Tracking:
    """How well a recording keeps the assumptions."""
    robot = landmarks(poses(np.ascontiguousarray(recording.q), np.zeros(len(recording))))
    wanted = landmarks(poses(np.ascontiguousarray(recording.reference), np.zeros(len(recording))))
    dt = recording.dt
    speed = np.linalg.norm(np.diff(robot, axis=0), axis=-1) / dt
    wanted_speed = np.linalg.norm(np.diff(wanted, axis=0), axis=-1) / dt
    delays = delay_steps(assumed, dt)
    at = np.arange(delays + 1, len(robot))[:, None] - np.arange(delays + 1)  # (M, D)
    apart = np.linalg.norm(robot[delays + 1 :, None] - wanted[at], axis=-1)  # (M, D, L)
    excess = speed[delays:, None] - wanted_speed[at - 1]
    share = np.maximum(apart / assumed.tracking_error, excess / assumed.tracking_speed_error)
    best = np.argmin(share, axis=1)[:, None]
    ok = share <= 1.0
    delay = np.where(ok.any(axis=1), np.argmax(ok, axis=1) * dt, np.inf)  # (M, L)
    off = np.abs(recording.q[delays + 1 :, None] - recording.reference[at]).min(axis=1)
    return Tracking(
        np.take_along_axis(apart, best, 1)[:, 0].max(axis=1),
        np.take_along_axis(excess, best, 1)[:, 0].max(axis=1),
        delay.max(axis=1),
        off,
    )


def delay_steps(assumed: Assumptions, dt: float) -> int:
    """The largest delay in whole physics steps."""
    return int(np.floor(assumed.actuation_latency / dt + 1e-6))


def tracking_checks(
    condition: str, recordings: Sequence[Recording], assumed: Assumptions, torque_limit: np.ndarray, note: str = ""
) -> list[Check]:
    """The checks that recordings of one condition give."""
    found = [tracking(r, assumed) for r in recordings]
    motions = len(recordings)

    def joined(name: str) -> np.ndarray:
        return np.concatenate([getattr(t, name) for t in found]) if found else np.zeros(0)

    delay = joined("delay")
    served = delay[np.isfinite(delay)]
    unserved = f"none serves in {len(delay) - len(served)} steps" if len(served) < len(delay) else ""
    speed = [np.abs(np.diff(r.q, axis=0)) / r.dt / FASTEST for r in recordings]

    def check(name: str, limit: float, values: np.ndarray, unit: str, said: str = note) -> Check:
        return at_most(name, condition, limit, values, unit, "steps", motions, said)

    mm, fastest = 1e3, 100.0 * _rows(speed)
    joint = mm * _rows([t.joint for t in found])
    return [
        check("tracking_error", mm * assumed.tracking_error, mm * joined("error"), "mm"),
        check("tracking_speed_error", mm * assumed.tracking_speed_error, mm * joined("faster"), "mm/s"),
        check("actuation_latency", mm * assumed.actuation_latency, mm * served, "ms", unserved or note),
        check("joint_error", mm * JOINT_ERROR, joint.max(axis=1), "mm, mrad", worst_joint(joint, note)),
        check("joint_speed", 100.0, fastest.max(axis=1), "% of limit", worst_joint(fastest, note)),
        torque_check(condition, recordings, torque_limit, note),
    ]


def worst_joint(values: np.ndarray, note: str = "") -> str:
    """Which of the joints' values (M, 10) is the largest, in words."""
    said = f"worst joint {JOINT_NAMES[int(values.max(axis=0).argmax())]}" if len(values) else ""
    return "; ".join(filter(None, (said, note)))


def torque_check(condition: str, recordings: Sequence[Recording], limit: np.ndarray, note: str = "") -> Check:
    """The drives' reserve of torque, for information: at 0 a drive gives what it can, and tracking tells the rest."""
    reserve = 100.0 * (1.0 - np.abs(_rows([r.torque for r in recordings])) / limit)
    spent = int((reserve <= 0.0).any(axis=1).sum())
    said = "least of each joint: " + (
        ", ".join(f"{value:.0f}" for value in reserve.min(axis=0)) if len(reserve) else "-"
    )
    said += f"; spent in {spent} steps" if spent else ""
    values = reserve.min(axis=1) if len(reserve) else np.zeros(0)
    return at_least(
        "torque_reserve",
        condition,
        None,
        values,
        "% of limit",
        "steps",
        len(recordings),
        "; ".join(filter(None, (said, note))),
    )


def _rows(parts: Sequence[np.ndarray]) -> np.ndarray:
    return np.concatenate([np.zeros((0, 10)), *parts])
