"""Turns a person's way points and stops into where the pelvis is, where it faces and how far it has walked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

GRID = 0.02  # of the smoothed path [m]
CORNER = 0.5  # corners are rounded by two moving averages of this length [m]
ACCELERATION = 1.0  # starting and stopping [m/s^2]
YAW_RATE = 1.6  # in a curve, and on average when turning on the spot [rad/s]
BREADTH = 0.2  # in a curve the outer side of the body keeps to the walking speed [m]
STILL = 1e-9  # a way no longer than this leads nowhere [m]
SHARP = np.deg2rad(100.0)  # beyond this a corner is a stop and a turn on the spot


@dataclass(frozen=True)
class Stop:
    """A halt at a way point: turn to `facing` (or stay as one came), stand for `pause` seconds, and walk on."""

    facing: float | None  # [rad]
    pause: float  # [s]


@dataclass(frozen=True)
class Walk:
    """The motion of the pelvis at increasing knot times; between knots everything is linear."""

    time: np.ndarray  # (n,) [s]
    position: np.ndarray  # (n, 2) [m]
    heading: np.ndarray  # (n,) unwrapped [rad]
    distance: np.ndarray  # (n,) walked so far [m]
    speed: np.ndarray  # (n,) [m/s]
    pauses: tuple[tuple[int, float], ...]  # (way point, start of its pause [s])
    marks: tuple[float, ...]  # time of passing or reaching each way point [s]


def minimum_jerk(u: np.ndarray) -> np.ndarray:
    """0 to 1 with zero speed and acceleration at both ends; Flash and Hogan 1985, eq. 3; peak slope 1.875."""
    u = np.clip(u, 0.0, 1.0)
    return u**3 * (10.0 - 15.0 * u + 6.0 * u * u)


def smooth(points: np.ndarray) -> np.ndarray:
    """The polyline through points (n, 2) on an even grid with rounded corners and the same ends, (m, 2)."""
    lengths = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))])
    count = 6 * max(int(np.ceil(lengths[-1] / GRID / 6)), 1)  # laps of a loop (three of them) share one grid
    grid = np.linspace(0.0, lengths[-1], count + 1)
    line = np.stack([np.interp(grid, lengths, points[:, i]) for i in (0, 1)], axis=1)
    half = min(round(CORNER / GRID / 2), count // 4)
    for _ in range(2):
        # Point reflection at the ends keeps them, and their direction, in place.
        before, after = 2 * line[0] - line[half:0:-1], 2 * line[-1] - line[-2 : -half - 2 : -1]
        padded = np.concatenate([before, line, after])
        sums = np.cumsum(np.concatenate([np.zeros((1, 2)), padded]), axis=0)
        width = 2 * half + 1
        line = (sums[width:] - sums[:-width]) / width
    return line


def wrapped(angle: float) -> float:
    """The same angle in (-pi, pi]."""
    return float(np.arctan2(np.sin(angle), np.cos(angle)))


class _Builder:
    """Appends knots while the person goes along."""

    def __init__(self, start: np.ndarray, heading: float) -> None:
        self.rows: list[np.ndarray] = [np.array([[0.0, *start, heading, 0.0, 0.0]])]  # t x y heading distance speed

    @property
    def last(self) -> np.ndarray:
        return self.rows[-1][-1]

    def stand(self, seconds: float) -> None:
        if seconds > 0.0:
            row = self.last.copy()
            row[0] += seconds
            self.rows.append(row[None])

    def turn(self, heading: float) -> None:
        change = wrapped(heading - self.last[3])
        if abs(change) < 1e-3:
            return
        duration = max(0.5, abs(change) / YAW_RATE * 1.2)
        u = np.linspace(0.0, 1.0, max(int(duration * 60), 2) + 1)[1:]
        rows = np.repeat(self.last[None], len(u), axis=0)
        rows[:, 0] += duration * u
        rows[:, 3] += change * minimum_jerk(u)
        self.rows.append(rows)

    def walk(self, line: np.ndarray, speed: float) -> np.ndarray:
        """Along the smoothed line (m, 2) from rest to rest; returns the times of its points (m,)."""
        step = np.diff(line, axis=0)
        length = np.linalg.norm(step, axis=1)
        heading = np.unwrap(np.arctan2(step[:, 1], step[:, 0]))
        heading = np.concatenate([heading[:1], 0.5 * (heading[1:] + heading[:-1]), heading[-1:]])
        heading += self.last[3] - heading[0] - wrapped(self.last[3] - heading[0])
        bend = np.abs(np.gradient(heading)) / np.maximum(np.mean(length), 1e-9)
        limit = np.minimum(speed / (1.0 + BREADTH * bend), YAW_RATE / np.maximum(bend, 1e-9))
        limit[0] = limit[-1] = 0.0
        for i in range(1, len(line)):
            limit[i] = min(limit[i], np.sqrt(limit[i - 1] ** 2 + 2 * ACCELERATION * length[i - 1]))
        for i in range(len(line) - 2, -1, -1):
            limit[i] = min(limit[i], np.sqrt(limit[i + 1] ** 2 + 2 * ACCELERATION * length[i]))
        duration = 2.0 * length / (limit[1:] + limit[:-1])
        time = self.last[0] + np.concatenate([[0.0], np.cumsum(duration)])
        distance = self.last[4] + np.concatenate([[0.0], np.cumsum(length)])
        self.rows.append(np.column_stack([time, line, heading, distance, limit])[1:])
        return time


def _directions(step: np.ndarray, length: np.ndarray) -> np.ndarray:
    """Headings (n - 1,) of the steps between way points; a step of no length goes on like the one before it."""
    direction = np.arctan2(step[:, 1], step[:, 0])
    long = np.flatnonzero(length > STILL)
    if len(long):
        last = np.maximum(np.searchsorted(long, np.arange(len(direction)), side="right") - 1, 0)
        direction = direction[long[last]]
    return direction


def walk_along(points: np.ndarray, stops: Mapping[int, Sequence[Stop]], speed: float) -> Walk:
    """The walk through the way points (n, 2) at `speed` [m/s], halting where `stops` (by way point) says so."""
    points = np.asarray(points, float)
    n = len(points)
    step = np.diff(points, axis=0)
    lengths = np.linalg.norm(step, axis=1)
    direction = _directions(step, lengths)
    facing = [s.facing for s in stops.get(0, ()) if s.facing is not None]
    builder = _Builder(points[0], direction[0] if n > 1 else (facing[0] if facing else 0.0))
    pauses: list[tuple[int, float]] = []
    marks = np.zeros(n)

    def halt(index: int) -> None:
        for stop in stops.get(index, ()):
            if stop.facing is not None:
                builder.turn(stop.facing)
            pauses.append((index, float(builder.last[0])))
            builder.stand(stop.pause)

    halt(0)
    begin = 0
    while begin < n - 1:
        end = begin + 1
        while end < n - 1 and end not in stops and abs(wrapped(direction[end] - direction[end - 1])) < SHARP:
            end += 1
        if not np.sum(lengths[begin:end]) > STILL:
            marks[begin + 1 : end + 1] = builder.last[0]
            halt(end)
            begin = end
            continue
        line = smooth(points[begin : end + 1])
        builder.turn(float(np.arctan2(*(line[1] - line[0])[::-1])))
        time = builder.walk(line, speed)
        for i in range(begin + 1, end + 1):
            share = np.sum(lengths[begin:i]) / np.sum(lengths[begin:end])
            marks[i] = time[round(share * (len(time) - 1))]
        halt(end)
        begin = end
    rows = np.concatenate(builder.rows)
    return Walk(rows[:, 0], rows[:, 1:3], rows[:, 3], rows[:, 4], rows[:, 5], tuple(pauses), tuple(marks))
