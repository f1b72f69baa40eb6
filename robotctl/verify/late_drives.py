"""Drives as bad as the assumptions allow: how late, and how far from its reference, the robot is at every step.

The true joints are reference(t - delay(t)) + offset(t). A delay that shrinks, and an offset that grows, make the robot
faster than its reference; both together stay within `tracking_speed_error` for every point, and within what the joint
limits reserve for joints. At rest the offset stays: a drive holds its place.
"""

from __future__ import annotations

import numpy as np

from robotctl.guardrails.guardrail import Assumptions
from robotctl.robot import DQ_MAX
from robotctl.safety.safety_filter import JOINT_ERROR, LIMIT_SHARE
from robotctl.state import TICK
from robotctl.verify.crowd import RATE, STEPS

STEP = 1.0 / RATE  # [s]
SHARE = 0.45  # of every allowance for delay and for offset each; the rest is for rounding
RESERVE = 1.0 - LIMIT_SHARE  # of its speed limit a joint may be faster than its reference


class Reference:
    """The exact reference of an episode: knots q, dq (T + 1, 10) at tick starts; at rest before and after."""

    def __init__(self, q: np.ndarray, dq: np.ndarray) -> None:
        self._q, self._dq = q, dq

    def at(self, times: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Position, velocity and acceleration (n, 10) at times (n,) [s]."""
        last = len(self._q) - 2
        tick = np.clip(np.floor(times / TICK + 1e-9).astype(int), 0, last)
        s = np.clip(times - tick * TICK, 0.0, TICK)[:, None]
        slope = (self._dq[tick + 1] - self._dq[tick]) / TICK
        outside = (times < 0) | (times > (last + 1) * TICK + 1e-9)
        slope[outside] = 0.0
        return self._q[tick] + s * (self._dq[tick] + 0.5 * s * slope), self._dq[tick] + s * slope, slope


def draw_errors(
    rng: np.random.Generator,
    assumed: Assumptions,
    reference: Reference,
    ticks: int,
    lever: np.ndarray,
    towards: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Delay (K,) [s] and offset (K, 10) [m, rad] at the ends of all physics steps.

    lever (S, 8) [m]: of every sphere about the turning joints. towards (ticks, 2): where the worst is, from the robot.
    """
    times = STEP * (np.arange(STEPS * ticks) + 1)
    _, dq, _ = reference.at(times)
    delay = _delays(rng, assumed, dq, lever)
    _, dq, _ = reference.at(times - delay)
    return delay, _offsets(rng, assumed, dq, lever, towards)


def point_speed(dq: np.ndarray, lever: np.ndarray) -> np.ndarray:
    """Bound (n,) [m/s] on how fast joint velocities (n, 10) move any point."""
    return np.asarray(np.hypot(dq[:, 0], dq[:, 1]) + (np.abs(dq[:, 2:]) @ lever.T).max(axis=1))


def _delays(rng: np.random.Generator, assumed: Assumptions, dq: np.ndarray, lever: np.ndarray) -> np.ndarray:
    longest, n = assumed.actuation_latency, len(dq)
    mode = rng.integers(0, 6)
    if mode < 4:
        return np.full(n, (longest, longest, 0.0, rng.uniform(0.0, longest))[mode])
    # Fastest point and fastest joint of the reference within the last `longest` seconds of each step.
    fastest, joint = point_speed(dq, lever), np.abs(dq / DQ_MAX).max(axis=1)
    for back in range(1, int(np.ceil(longest * RATE)) + 2):
        fastest[back:] = np.maximum(fastest[back:], fastest[:-back])
        joint[back:] = np.maximum(joint[back:], joint[:-back])
    shrink = STEP * SHARE * np.minimum(
        assumed.tracking_speed_error / np.maximum(fastest, 1e-3), RESERVE / np.maximum(joint, 1e-3)
    )  # fmt: skip
    wanted = np.repeat(rng.choice([0.0, longest, 0.5 * longest], n // 6 + 1), 6)[:n]
    delay, out = float(rng.uniform(0.0, longest)), np.empty(n)
    for k in range(n):
        delay = min(wanted[k], delay + STEP) if wanted[k] > delay else max(wanted[k], delay - float(shrink[k]))
        out[k] = delay
    return out


def _offsets(
    rng: np.random.Generator, assumed: Assumptions, dq: np.ndarray, lever: np.ndarray, towards: np.ndarray
) -> np.ndarray:
    n, mode = len(dq), rng.integers(0, 8)
    if mode == 0:
        return np.zeros((n, 10))
    goals = np.zeros((len(towards), 10))
    rate = SHARE * assumed.tracking_speed_error  # [m/s] for any point
    if mode < 6:  # the whole robot is displaced, towards the worst
        goals[:, :2] = 0.999 * assumed.tracking_error * towards
    else:  # the joints are off; turning, the arm is then a little faster somewhere
        pattern = rng.normal(size=10) * [0, 0, *np.ones(8)]
        turning = float(np.abs(dq[:, 2:]).sum(axis=1).max())
        size = min(0.999 * assumed.tracking_error, 0.5 * rate / max(turning, 1e-3))
        pattern *= min(size / point_speed(pattern[None], lever)[0], JOINT_ERROR / np.abs(pattern).max())
        goals[:] = pattern * rng.choice([-1.0, 1.0], (len(towards), 1))
        rate *= 0.5
    moving = np.any(dq != 0, axis=1).reshape(-1, STEPS)
    out, now = np.empty((len(towards), STEPS, 10)), goals[0]
    for tick, goal in enumerate(goals):
        way = goal - now
        needs = max(
            point_speed(way[None], lever)[0] / rate, float(np.max(np.abs(way) / (SHARE * RESERVE * DQ_MAX))), 1e-9
        )
        share = np.minimum(1.0, STEP * np.cumsum(moving[tick]) / needs)
        out[tick] = now + share[:, None] * way
        now = out[tick, -1]
    return out.reshape(n, 10)
