"""Watches simulated people through noisy sensors: half a second of readings, and where they went."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from robotctl.body import INDEX, KEYPOINTS
from robotctl.perception import PersonTrack
from robotctl.scene import Sensors
from robotctl.simulation.people import Person
from robotctl.simulation.sensing import in_ball
from robotctl.state import TICK, PersonReading
from robotctl.task import PersonPlan, Reach
from robotctl.world_model.human_motion import STEPS

ROOM = np.array([2.5, 2.0])  # half size of the floor people walk on [m]
SPEEDS = (0.6, 0.97)  # of walking [m/s]; the walk keeps the assumed leg speed of 3 m/s up to here
WATCHED = 30.0  # seconds of each person
EVERY = 0.2  # a window each so many seconds
MOVING = 0.15  # a keypoint that goes this far within a second makes the window a moving one [m]


@dataclass(frozen=True)
class Windows:
    """What was seen and what came of it, N windows of several people."""

    history: np.ndarray  # (N, T, J, 3) readings at 10 Hz [m]
    future: np.ndarray  # (N, K, J, 3) true keypoints at STEPS after the newest reading [m]
    person: np.ndarray  # (N,) whom it shows

    @property
    def moving(self) -> np.ndarray:
        """(N,) whether any keypoint goes somewhere within the first second."""
        second = int(np.searchsorted(STEPS, 1.0))
        away = np.linalg.norm(self.future[:, : second + 1] - self.history[:, -1:], axis=-1)
        return away.max(axis=(1, 2)) > MOVING

    def __len__(self) -> int:
        return len(self.history)

    def where(self, chosen: np.ndarray) -> Windows:
        """The windows chosen (N,) of these."""
        return Windows(self.history[chosen], self.future[chosen], self.person[chosen])


def random_plan(generator: np.random.Generator) -> PersonPlan:
    """Someone who walks about, stops, turns, and reaches for things."""
    count = int(generator.integers(2, 6))
    path = [generator.uniform(-ROOM, ROOM)]
    while len(path) < count:
        point = generator.uniform(-ROOM, ROOM)
        if np.linalg.norm(point - path[-1]) > 0.6:
            path.append(point)
    points = np.array(path)
    standing = generator.uniform() < 0.15
    reaches = []
    for at in range(count if not standing else 1):
        for _ in range(int(generator.integers(0, 3)) if generator.uniform() < 0.6 else 0):
            angle, distance = generator.uniform(-np.pi, np.pi), generator.uniform(0.35, 0.85)
            target = np.array([*(points[at] + distance * np.array([np.cos(angle), np.sin(angle)])), 0.0])
            target[2] = generator.uniform(0.7, 1.4)
            hand = "right" if generator.uniform() < 0.6 else "left"
            reaches.append(Reach(at, target, float(generator.uniform(0.2, 3.0)), hand))
    return PersonPlan(
        name="someone",
        clip="stand" if standing else "walk",
        path=points,
        speed=float(generator.uniform(*SPEEDS)),
        start=float(generator.uniform(0.0, 2.0)),
        reach=tuple(reaches),
        jitter=0.0,
        loop=bool(generator.uniform() < 0.7),
    )


class Watched(Protocol):
    """Someone whose keypoints are known at any time."""

    name: str

    def keypoints(self, time: float) -> np.ndarray: ...


def watch(person: Watched, sensors: Sensors, generator: np.random.Generator, seconds: float = WATCHED) -> Windows:
    """Windows of one person, through the sensors' latency, bounded noise and dropouts and the estimator's history."""
    track, history, stamps = PersonTrack(), [], []
    begin = generator.uniform(0.0, 10.0)  # the robot may look up at any time
    every, ticks = round(EVERY / TICK), round(seconds / TICK)
    seen = False
    for tick in range(ticks):
        now = begin + tick * TICK
        stamp = now - sensors.latency
        keypoints = person.keypoints(stamp) + in_ball(generator, (len(KEYPOINTS),), sensors.human_error)
        if generator.uniform() >= sensors.dropout:
            track.see(PersonReading(person.name, keypoints, stamp), now)
            seen = True
        if seen and tick % every == 0:
            state = track.state()
            history.append(state.history)
            stamps.append(state.stamp)
    future = np.array([[person.keypoints(stamp + step) for step in STEPS] for stamp in stamps])
    return Windows(np.array(history, np.float32), future.astype(np.float32), np.zeros(len(stamps), int))


def collect_people(
    sensors: Sensors, plans: Sequence[PersonPlan], people: int, generator: np.random.Generator
) -> Windows:
    """Windows of `people` people: half follow the given plans (if there are any), the others wander at random."""
    parts = []
    for i in range(people):
        plan = plans[int(generator.integers(len(plans)))] if plans and i % 2 else random_plan(generator)
        parts.append(watch(Person(plan, generator), sensors, generator))
    return together(parts)


def together(parts: Sequence[Windows]) -> Windows:
    """All windows of several sets as one; nobody in one set is taken for somebody in another."""
    persons, before = [], 0
    for part in parts:
        _, number = np.unique(part.person, return_inverse=True)
        persons.append(number + before)
        before += int(number.max(initial=-1)) + 1
    return Windows(
        np.concatenate([p.history for p in parts]), np.concatenate([p.future for p in parts]), np.concatenate(persons)
    )


def split(windows: Windows, shares: Sequence[float], generator: np.random.Generator) -> list[Windows]:
    """Disjoint sets of people in the given shares: nobody is in two of them."""
    people = generator.permutation(np.unique(windows.person))
    edges = np.round(np.cumsum([0.0, *shares]) / np.sum(shares) * len(people)).astype(int)
    out = []
    for low, high in itertools.pairwise(edges):
        out.append(windows.where(np.isin(windows.person, people[low:high])))
    return out


def wrist_error(future: np.ndarray, predicted: np.ndarray, step: float) -> np.ndarray:
    """Error of the right wrist at `step` seconds, (N,) [m]: the figure that published predictors report."""
    k = int(np.argmin(np.abs(STEPS - step)))
    return np.linalg.norm((future - predicted)[:, k, INDEX["right_wrist"]], axis=-1)
