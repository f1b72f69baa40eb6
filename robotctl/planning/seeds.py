"""Where the optimizer starts: motions that the joints can follow exactly, from rough ideas of the way.

A seed is a path of joints over the horizon; `track` turns it into accelerations that respect every joint limit,
so that each seed is a feasible double integrator and only the guardrails are left to the optimizer.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numba import njit

from robotctl.robot import DDQ_MAX, HOME

ARM = slice(3, 10)
RATE = 4.0  # [1/s] of coming back to a plan that the robot was pushed off
DETOUR = 0.35  # sideways shift of the base on a detour [m]


@njit(cache=True)
def _bounded(wanted, q, v, speed, low, high, acceleration, dt):
    """The acceleration that comes closest to velocity `wanted` after dt, leaving room to stop before the end stops."""
    ahead = max(0.0, high - q - dt * max(v, 0.0))
    behind = max(0.0, q - low - dt * max(-v, 0.0))
    wanted = min(wanted, speed, np.sqrt(2.0 * 0.8 * acceleration * ahead))
    wanted = max(wanted, -speed, -np.sqrt(2.0 * 0.8 * acceleration * behind))
    return min(max((wanted - v) / dt, -acceleration), acceleration)


@njit(cache=True)
def track(q0, dq0, path, speed, low, high, acceleration, dt):
    """Accelerations (H, 10) that follow `path` (H+1, 10) from q0, dq0 as closely as the limits (10,) allow.

    Each joint heads for the next point of its path, no faster than it can still slow down to the path's speed.
    """
    horizon, joints = len(path) - 1, len(q0)
    u = np.zeros((horizon, joints))
    for j in range(joints):
        q, v, a = q0[j], dq0[j], acceleration[j]
        for k in range(horizon):
            following = (path[k + 1, j] - path[k, j]) / dt
            wanted = 2.0 * (path[k + 1, j] - q) / dt - v  # end the step on the path
            if abs(wanted - following) > 0.5 * a * dt:
                away = path[k + 1, j] - q - dt * following
                approach = min(np.sqrt(2.0 * 0.8 * a * abs(away)), abs(away) / dt)
                wanted = following + approach * (1.0 if away > 0.0 else -1.0)
            u[k, j] = _bounded(wanted, q, v, speed[j], low[j], high[j], a, dt)
            q += dt * v + 0.5 * dt * dt * u[k, j]
            v += dt * u[k, j]
    return u


@njit(cache=True)
def follow(q0, dq0, path, velocity, speed, low, high, acceleration, dt):
    """Accelerations (H, 10) that come back to a motion (H+1, 10) gently: critically damped, RATE times a second."""
    horizon, joints = len(path) - 1, len(q0)
    u = np.zeros((horizon, joints))
    for j in range(joints):
        q, v = q0[j], dq0[j]
        for k in range(horizon):
            planned = (velocity[k + 1, j] - velocity[k, j]) / dt
            a = planned + 2.0 * RATE * (velocity[k, j] - v) + RATE * RATE * (path[k, j] - q)
            u[k, j] = _bounded(v + dt * a, q, v, speed[j], low[j], high[j], acceleration[j], dt)
            q += dt * v + 0.5 * dt * dt * u[k, j]
            v += dt * u[k, j]
    return u


def brake(dq0: np.ndarray, acceleration: np.ndarray, horizon: int, dt: float) -> np.ndarray:
    """Accelerations (H, 10) that stop every joint as soon as its limit (10,) allows."""
    speed = np.abs(dq0)
    ends = np.maximum(speed - acceleration * dt * np.arange(horizon + 1)[:, None], 0.0)
    return np.diff(ends, axis=0) / dt * np.sign(dq0)


def duration(start: np.ndarray, end: np.ndarray, speed: np.ndarray, acceleration: np.ndarray) -> float:
    """Time of a minimum-jerk motion whose peaks stay within the limits of its joints [s].

    Flash and Hogan 1985: the peak speed is 1.875 d/T, the peak acceleration 5.774 d/T^2.
    """
    distance = np.abs(end - start)
    return float(max(np.max(1.875 * distance / speed), np.sqrt(np.max(5.774 * distance / acceleration)), 1e-3))


def minimum_jerk(start: np.ndarray, end: np.ndarray, start_time: float, length: float, times: np.ndarray) -> np.ndarray:
    """Path (n, d) from start to end between start_time and start_time + length."""
    s = np.clip((times - start_time) / length, 0.0, 1.0)
    return start + (s**3 * (10.0 - 15.0 * s + 6.0 * s * s))[:, None] * (end - start)


def slowed(path: np.ndarray, factor: float) -> np.ndarray:
    """The path (H+1, d) run through `factor` times as slowly; unchanged for factors up to 1."""
    if not factor > 1.0:
        return path
    at = np.arange(len(path)) / factor
    k = np.minimum(at.astype(int), len(path) - 2)
    share = (at - k)[:, None]
    return (1.0 - share) * path[k] + share * path[k + 1]


def rejoined(path: np.ndarray, velocity: np.ndarray, q: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The rest of a motion (H+1, d) from its point nearest to q (d,) on, within its first two steps; its end stays."""
    shares = np.linspace(0.0, 2.0, 21)
    k = np.minimum(shares.astype(int), 1)
    points = path[k] + (shares - k)[:, None] * (path[k + 1] - path[k])
    start = shares[np.argmin(((points - q) ** 2).sum(axis=1))]
    at = np.minimum(start + np.arange(len(path)), len(path) - 1)
    k = np.minimum(at.astype(int), len(path) - 2)
    share = (at - k)[:, None]
    return path[k] + share * (path[k + 1] - path[k]), velocity[k] + share * (velocity[k + 1] - velocity[k])


def seed_paths(
    q0: np.ndarray, goal: np.ndarray, speed: np.ndarray, horizon: int, dt: float
) -> Iterator[tuple[str, np.ndarray]]:
    """Named ways from q0 to goal (10,), each a path (H+1, 10)."""

    def arm_duration(start: np.ndarray, end: np.ndarray) -> float:
        return duration(start[ARM], end[ARM], speed[ARM], DDQ_MAX[ARM])

    times = dt * np.arange(horizon + 1)
    length = duration(q0, goal, speed, DDQ_MAX)
    yield "straight", minimum_jerk(q0, goal, 0.0, length, times)

    base_time = duration(q0[:3], goal[:3], speed[:3], DDQ_MAX[:3]) if np.abs(goal[:3] - q0[:3]).max() > 0.02 else 0.0
    arm_time = arm_duration(q0, goal)
    if base_time > 0.0:
        path = np.empty((horizon + 1, len(q0)))
        path[:, :3] = minimum_jerk(q0[:3], goal[:3], 0.0, base_time, times)
        path[:, ARM] = minimum_jerk(q0[ARM], goal[ARM], 0.6 * base_time, arm_time, times)
        yield "base first", path
    tuck_time = arm_duration(q0, HOME)
    path = np.empty((horizon + 1, len(q0)))
    path[:, :3] = minimum_jerk(q0[:3], goal[:3], 0.5 * tuck_time, max(base_time, 1e-3), times)
    extend_at = max(tuck_time, 0.5 * tuck_time + 0.6 * base_time)
    tucked = times < extend_at
    path[tucked, ARM] = minimum_jerk(q0[ARM], HOME[ARM], 0.0, tuck_time, times[tucked])
    path[~tucked, ARM] = minimum_jerk(HOME[ARM], goal[ARM], extend_at, arm_duration(HOME, goal), times[~tucked])
    yield "tuck", path
    drive = goal[:2] - q0[:2]
    reach = float(np.linalg.norm(drive))
    if reach > 0.3:
        sideways = np.array([-drive[1], drive[0]]) / reach
        bump = np.sin(np.pi * np.clip(times / max(base_time, 1e-3), 0.0, 1.0))[:, None]
        for name, sign in (("detour left", 1.0), ("detour right", -1.0)):
            path = minimum_jerk(q0, goal, 0.0, 1.15 * length, times)
            path[:, :2] += sign * DETOUR * bump * sideways
            yield name, path
