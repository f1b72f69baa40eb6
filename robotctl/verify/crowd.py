"""People as bad as the assumptions allow, and what is read of them.

Every keypoint moves at most at the speed assumed for its part, in a direction of its own. Readings are off by
`human_error`, come late with true stamps, or not at all; each person has been read once.
"""

from __future__ import annotations

import numpy as np

from robotctl.body import INDEX, KEYPOINT_PART, KEYPOINTS
from robotctl.guardrails.guardrail import Assumptions
from robotctl.state import TICK, PersonState

STEPS = 12  # physics steps per tick
RATE = STEPS / TICK  # [1/s] of the ground truth
BEHAVIOURS = ("charge", "ambush", "hidden", "walk", "random", "stand")
WEIGHTS = np.array([0.35, 0.20, 0.10, 0.20, 0.05, 0.10])
LATE = (0, 1, 8, 12, 24, 60, 240, 600)  # ages of readings [physics steps], and how often each
LATE_WEIGHTS = np.array([0.20, 0.17, 0.22, 0.22, 0.11, 0.04, 0.02, 0.02])
NO_HISTORY = np.zeros((0, len(KEYPOINTS), 3))

_FIGURE = {  # a standing person's keypoints: (forward, left, up) [m]; the other side mirrors them
    "head": (0.05, 0.0, 1.68), "neck": (0.0, 0.0, 1.48), "chest": (0.0, 0.0, 1.25), "pelvis": (0.0, 0.0, 0.95),
    "left_shoulder": (0.0, 0.19, 1.42), "left_elbow": (0.05, 0.24, 1.13), "left_wrist": (0.20, 0.22, 0.98),
    "left_hand": (0.28, 0.21, 0.96), "left_hip": (0.0, 0.10, 0.92), "left_knee": (0.03, 0.11, 0.50),
    "left_ankle": (0.0, 0.11, 0.09), "left_toe": (0.16, 0.12, 0.04),
}  # fmt: skip


def _figure() -> np.ndarray:
    out = np.zeros((len(KEYPOINTS), 3))
    for name, point in _FIGURE.items():
        out[INDEX[name]] = point
        if name.startswith("left"):
            out[INDEX[name.replace("left", "right")]] = np.multiply(point, [1.0, -1.0, 1.0])
    return out


FIGURE = _figure()


class Crowd:
    """Up to a few people over one episode of `ticks` ticks."""

    def __init__(
        self, rng: np.random.Generator, count: int, spheres: np.ndarray, assumed: Assumptions, ticks: int
    ) -> None:
        """spheres (S, 3): centres of the robot's spheres at the start [m]."""
        self._rng, self._assumed = rng, assumed
        self._speed = assumed.keypoint_speed()[KEYPOINT_PART]  # (J,) [m/s]
        self.names = tuple(f"person_{i + 1}" for i in range(count))
        self.behaviour = [str(b) for b in rng.choice(BEHAVIOURS, count, p=WEIGHTS)]
        self._late = [int(n) for n in rng.choice(LATE, count, p=LATE_WEIGHTS)]
        self._seen = rng.choice([0.5, 0.9, 1.0], count)  # share of ticks in which a reading comes
        self._starts = rng.integers(0, 14, count)  # tick in which charge and ambush begin
        self._course = rng.normal(size=(count, 3)) * [1.0, 1.0, 0.0]
        self.truth = np.zeros((STEPS * ticks + 1, count, len(KEYPOINTS), 3))  # at physics steps, from time 0 on
        for p in range(count):
            self.truth[0, p] = self._body(p, spheres)
        self._stamps = np.zeros(count)
        self._read = np.zeros((count, len(KEYPOINTS), 3))
        for p in range(count):
            self._first_reading(p, spheres)

    def _body(self, person: int, spheres: np.ndarray) -> np.ndarray:
        """Where a person stands at first: keypoints (J, 3)."""
        rng = self._rng
        near = {"ambush": (0.7, 2.0), "hidden": (0.8, 4.0), "charge": (1.2, 4.5)}.get(
            self.behaviour[person], (0.8, 4.0)
        )
        target = spheres[rng.integers(0, len(spheres))]
        angle = rng.uniform(0, 2 * np.pi)
        out = np.array([np.cos(angle), np.sin(angle), 0.0])
        middle = target * [1, 1, 0] + rng.uniform(*near) * out
        shape = rng.integers(0, 5)
        if shape == 0:  # a hand, a head: anything small, anywhere
            return middle + [0, 0, rng.uniform(0.1, 1.6)] + 0.03 * rng.normal(size=(len(KEYPOINTS), 3))
        if shape == 1:
            return middle + [0, 0, 0.9] + rng.normal(size=(len(KEYPOINTS), 3)) * [0.15, 0.15, 0.4]
        turn = angle + np.pi + rng.normal() * 0.6  # faces the robot, more or less
        c, s = np.cos(turn), np.sin(turn)
        body = FIGURE * rng.uniform(0.85, 1.1) + 0.03 * rng.normal(size=FIGURE.shape)
        return middle + body @ np.array([[c, s, 0.0], [-s, c, 0.0], [0.0, 0.0, 1.0]])

    def _first_reading(self, person: int, spheres: np.ndarray) -> None:
        """The reading from before time 0: up to seconds old, and the person may have come nearer since."""
        rng, now = self._rng, self.truth[0, person]
        age = self._late[person] / RATE
        if self.behaviour[person] == "hidden":
            age = rng.choice([rng.uniform(0.1, 0.4), rng.uniform(0.1, 2.5)])
        away = _away(now, spheres)
        if rng.uniform() < 0.3:
            away = _unit(rng.normal(size=now.shape))
        then = now + away * (self._speed * age * rng.choice([0.0, 0.5, 1.0]))[:, None]
        self._read[person] = then + self._error(then, spheres)
        self._stamps[person] = -age

    def _error(self, keypoints: np.ndarray, spheres: np.ndarray) -> np.ndarray:
        """Of a reading, on the bound: away from the robot or anywhere, (J, 3) [m]."""
        away = _away(keypoints, spheres)
        if self._rng.uniform() < 0.4:
            away = _unit(self._rng.normal(size=keypoints.shape))
        return self._assumed.human_error * away

    def readings(self, tick: int, spheres: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Newest reading of everybody at the start of a tick: keypoints (P, J, 3) and stamps (P,)."""
        rng = self._rng
        for p in range(len(self.names)):
            if self.behaviour[p] == "hidden" and tick < self._starts[p]:
                continue
            step = STEPS * tick - self._late[p]
            if step < 0 or rng.uniform() > self._seen[p] or step / RATE <= self._stamps[p]:
                continue
            self._read[p] = self.truth[step, p] + self._error(self.truth[step, p], spheres)
            self._stamps[p] = step / RATE
        keypoints, stamps = self._read.copy(), self._stamps.copy()
        if len(stamps) and rng.uniform() < 0.005:  # nonsense for one tick
            p = int(rng.integers(0, len(stamps)))
            if rng.uniform() < 0.5:
                stamps[p] = tick * TICK + 1.0
            else:
                keypoints[p, rng.integers(0, len(KEYPOINTS))] = np.nan
        return keypoints, stamps

    def step(self, tick: int, spheres: np.ndarray, moving: bool) -> None:
        """Everybody moves for one tick; spheres (S, 3) are the robot's."""
        if not self.names:
            return
        here = self.truth[STEPS * tick]
        way, distance = np.zeros_like(here), np.full(here.shape[:2], np.inf)
        rng = self._rng
        for p, behaviour in enumerate(self.behaviour):
            if behaviour == "ambush" and moving and tick >= self._starts[p]:
                self.behaviour[p] = behaviour = "lunge"
            if behaviour == "hidden" and tick >= self._starts[p]:
                self.behaviour[p] = behaviour = "lunge"
            if behaviour == "lunge" or (behaviour in ("charge", "hidden") and tick >= self._starts[p] - 6):
                offset = spheres - here[p][:, None]
                apart = np.sqrt((offset * offset).sum(axis=-1))
                nearest = apart.argmin(axis=1)
                distance[p] = apart[np.arange(len(nearest)), nearest]
                way[p] = offset[np.arange(len(nearest)), nearest] / np.maximum(distance[p], 1e-9)[:, None]
                if distance[p].min() < 0.05 and rng.uniform() < 0.3:
                    self.behaviour[p] = "walk"  # and goes on its way
            elif behaviour == "walk":
                way[p] = self._course[p] / np.linalg.norm(self._course[p]) * (self._speed.min() / self._speed)[:, None]
            elif behaviour == "random":
                way[p] = _unit(rng.normal(size=here[p].shape))
        since = (np.arange(STEPS) + 1)[:, None, None] / RATE
        moved = np.minimum(self._speed * since, distance)  # (12, P, J)
        self.truth[STEPS * tick + 1 : STEPS * (tick + 1) + 1] = here + way * moved[..., None]


def states(names: tuple[str, ...], keypoints: np.ndarray, stamps: np.ndarray) -> tuple[PersonState, ...]:
    """Readings as the estimator hands them on."""
    return tuple(
        PersonState(name, k, float(s), NO_HISTORY) for name, k, s in zip(names, keypoints, stamps, strict=True)
    )


def _away(keypoints: np.ndarray, spheres: np.ndarray) -> np.ndarray:
    """Unit vectors (J, 3) from the nearest sphere centre to each keypoint."""
    offset = keypoints[:, None] - spheres
    nearest = (offset * offset).sum(axis=-1).argmin(axis=1)
    return _unit(offset[np.arange(len(nearest)), nearest])


def _unit(vectors: np.ndarray) -> np.ndarray:
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-9))
