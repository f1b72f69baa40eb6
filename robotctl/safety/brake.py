"""Braking: joint velocities, tick by tick, that bring every joint to rest at the same time.

All joints keep their ratio, so the path of the brake is a straight line in joint space. A control tick ends at
a commanded velocity and interpolates linearly, so the brake takes a whole number of ticks and its deceleration
is constant.
"""

from __future__ import annotations

import math

import numpy as np

from robotctl.state import TICK


def brake_velocities(velocity: np.ndarray, deceleration: np.ndarray) -> np.ndarray:
    """Velocity (n, 10) at the end of each tick from `velocity` (10,) to rest; the last row is 0, n = 0 at rest.

    `deceleration` (10,) [m/s^2, rad/s^2] is the most each joint may use.
    """
    if not velocity.any():
        return np.zeros((0, len(velocity)))
    ticks = float((np.abs(velocity) / (deceleration * TICK)).max())
    n = max(1, math.ceil(ticks * (1.0 - 1e-12)))  # an exact multiple must not cost one tick more
    return velocity * (np.arange(n - 1, -1, -1) / n)[:, None]


def reference_path(
    q: np.ndarray, dq: np.ndarray, velocities: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The reference through `velocities` (n, 10) at tick ends, sampled twice per tick.

    Times (2n+1,) [s], positions and velocities (2n+1, 10), and the acceleration of each tick's two halves
    (2n, 10). Exact: over a tick the velocity is linear and the position its integral.
    """
    half = 0.5 * TICK
    ends = np.concatenate([dq[None], velocities])
    samples = np.empty((2 * len(velocities) + 1, len(dq)))
    samples[::2] = ends
    samples[1::2] = 0.5 * (ends[:-1] + ends[1:])
    positions = np.empty_like(samples)
    positions[0] = q
    positions[1:] = q + np.cumsum((0.5 * half) * (samples[:-1] + samples[1:]), axis=0)
    return half * np.arange(len(samples)), positions, samples, (samples[1:] - samples[:-1]) / half
