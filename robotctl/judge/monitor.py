"""Were the assumptions of the safety case true? Measured at every physics step, from the truth.

Human speed: each keypoint's displacement per step against the speed assumed for its part. Tracking: for each of a
few landmarks on the robot there must be a delay of at most `actuation_latency` with which it is within
`tracking_error` of where the reference put it, and at most `tracking_speed_error` faster. Slip: while both pads press
on what is held, no point of it moves faster than the hand would carry it by more than its kind's `slip`. Sensing: every
reading against the truth at its stamp (so a wrong stamp shows as an error), and whether the robot moves while somebody
in the room has never been read. A reading with a stamp from the future or with a number missing counts as none.
"""

from __future__ import annotations

from collections import deque

import numpy as np

from robotctl.body import KEYPOINT_PART, PARTS
from robotctl.guardrails.guardrail import Assumptions
from robotctl.judge.machine import poses
from robotctl.state import TICK, Observation, Truth

MEMORY = 2.0  # readings older than this are not compared any more [s]
TOLERANCE = 1.01  # measured speeds are differences of rounded positions
# Landmarks (body, point in its frame): rim of the base, elbow, wrist, hand's corners, finger tips.
LANDMARKS = (
    (0, (0.24, 0.0, 0.16)), (0, (-0.24, 0.0, 0.16)), (0, (0.0, 0.24, 0.16)), (2, (0.0, -0.15, 0.08)),
    (3, (0.0825, 0.0, 0.08)), (4, (-0.08, 0.11, 0.08)), (5, (0.0, 0.08, -0.1)), (6, (0.09, 0.0, 0.06)),
    (8, (0.0, 0.10, 0.0)), (8, (0.0, -0.10, 0.0)), (8, (0.03, 0.0, -0.02)), (8, (0.0, 0.0, 0.112)),
)  # fmt: skip
_BODY = np.array([body for body, _ in LANDMARKS])
_POINT = np.array([point for _, point in LANDMARKS])


def landmarks(pose: np.ndarray) -> np.ndarray:
    """World positions (K, L, 3) of the landmarks for body poses (K, B, 3, 4)."""
    at = pose[:, _BODY]
    return (at[..., :3] @ _POINT[:, :, None])[..., 0] + at[..., 3]


class Monitor:
    """Keeps the worst of every assumption and how long it was broken."""

    def __init__(self, assumptions: Assumptions) -> None:
        self._assumed = assumptions
        self._human = assumptions.keypoint_speed()
        self._keypoints: np.ndarray | None = None  # (P, J, 3) at the end of the last tick
        self._reference = np.zeros((0, len(_BODY), 3))  # landmarks of the reference, oldest first
        self._robot = np.zeros((0, len(_BODY), 3))  # true landmark at the end of the last tick
        self._past: deque[Truth] = deque()
        self._read: set[str] = set()  # who has been read at least once
        self.worst: dict[str, dict[str, float]] = {}

    def remember(self, truth: Truth) -> None:
        """Keeps the truth of a tick, for readings that will tell of it."""
        self._past.append(truth)
        while self._past[0].time[-1] < truth.time[-1] - MEMORY:
            self._past.popleft()

    def sensing(self, observation: Observation) -> None:
        """Compares what the sensors delivered at the beginning of a tick with the truth; call it after `remember`."""
        now, dt = observation.time, np.array([TICK])
        for person in observation.people:
            if person.stamp > now + 1e-9 or not np.all(np.isfinite(person.keypoints)):
                continue
            self._read.add(person.name)
            truth = self._at(person.stamp)
            if truth is not None and person.name in truth[0].person_names:
                true = truth[0].keypoints[truth[1], truth[0].person_names.index(person.name)]
                off = np.linalg.norm(person.keypoints - true, axis=1).max()
                self._note("human_error", dt, np.array([off]), self._assumed.human_error)
        for item in observation.objects:
            truth = None if item.stamp > now + 1e-9 else self._at(item.stamp)
            if truth is not None and item.name in truth[0].object_names and np.all(np.isfinite(item.position)):
                true = truth[0].object_position[truth[1], truth[0].object_names.index(item.name)]
                off = np.linalg.norm(item.position - true)
                self._note("object_error", dt, np.array([off]), self._assumed.object_error)
        if self._past and np.any(observation.commanded_velocity):
            unseen = sum(name not in self._read for name in self._past[-1].person_names)
            self._note("unseen_people", dt, np.array([float(unseen)]), 0.0)

    def _at(self, stamp: float) -> tuple[Truth, int] | None:
        """The tick that holds the physics step at `stamp`, and which of its steps that is; None when unknown."""
        for truth in reversed(self._past):
            if truth.time[0] - 1e-6 <= stamp <= truth.time[-1] + 1e-6:
                return truth, int(np.argmin(np.abs(truth.time - stamp)))
        return None

    def people(self, dt: np.ndarray, keypoints: np.ndarray) -> None:
        """keypoints (K, P, J, 3) at the ends of K steps of length dt (K,)."""
        before = keypoints[:1] if self._keypoints is None else self._keypoints[None]
        self._keypoints = keypoints[-1]
        if keypoints.shape[1] == 0:
            return
        moved = np.diff(np.concatenate([before, keypoints]), axis=0)
        speed = np.sqrt((moved * moved).sum(axis=-1)).max(axis=1) / dt[:, None]  # (K, J)
        for part, assumed in enumerate(self._human):
            self._note(f"human_speed.{PARTS[part]}", dt, speed[:, part == KEYPOINT_PART].max(axis=1), float(assumed))

    def tracking(self, dt: np.ndarray, robot: np.ndarray, reference: np.ndarray) -> None:
        """Landmarks of the robot (K, L, 3) at the ends of K steps, and the joint reference (K, 10) then."""
        steps = len(dt)
        delays = int(np.floor(self._assumed.actuation_latency / float(dt[-1]) + 1e-6))
        wanted = landmarks(poses(np.ascontiguousarray(reference), np.zeros(steps)))
        wanted = np.concatenate([self._reference, wanted])
        self._reference = wanted[-(delays + 2) :]
        before = self._robot if len(self._robot) else robot[:1]
        speed = np.linalg.norm(np.diff(np.concatenate([before, robot]), axis=0), axis=-1) / dt[:, None]  # (K, L)
        self._robot = robot[-1:]
        wanted_speed = np.linalg.norm(np.diff(wanted, axis=0), axis=-1) / dt[-1]
        wanted = wanted[1:]
        known = min(steps, len(wanted) - delays)  # steps whose whole range of delays has been seen
        if known <= 0:
            return
        dt, robot, speed = dt[-known:], robot[-known:], speed[-known:]
        at = len(wanted) - known + np.arange(known)[:, None] - np.arange(delays + 1)  # (K, D)
        apart = np.linalg.norm(robot[:, None] - wanted[at], axis=-1)  # (K, D, L)
        excess = speed[:, None] - wanted_speed[at]
        error, faster = self._assumed.tracking_error, self._assumed.tracking_speed_error
        # The delay that serves a landmark best: the one with the smallest of its two errors' larger share.
        best = np.argmin(np.maximum(apart / error, excess / faster), axis=1)[:, None]
        self._note("tracking_error", dt, np.take_along_axis(apart, best, 1)[:, 0].max(axis=1), error)
        self._note("tracking_speed_error", dt, np.take_along_axis(excess, best, 1)[:, 0].max(axis=1), faster)

    def slip(self, kind: str, dt: np.ndarray, moved: np.ndarray, carried: np.ndarray, assumed: float) -> None:
        """How points of a held thing moved in K steps, and would have with the hand alone, (K, L, 3) each."""
        if len(dt) == 0:
            return
        excess = np.linalg.norm(moved, axis=-1) - np.linalg.norm(carried, axis=-1)
        self._note(f"slip.{kind}", dt, excess.max(axis=1) / dt, assumed)

    def _note(self, name: str, dt: np.ndarray, value: np.ndarray, assumed: float) -> None:
        entry = self.worst.setdefault(name, {"worst": -np.inf, "assumed": assumed, "duration_s": 0.0})
        entry["worst"] = max(entry["worst"], float(value.max()))
        entry["duration_s"] += float(dt[~(value <= assumed * TOLERANCE)].sum())

    def broken(self) -> dict[str, dict[str, float]]:
        """The assumptions that did not hold."""
        return {
            name: {key: round(x, 4) for key, x in entry.items()}
            for name, entry in self.worst.items()
            if entry["duration_s"] > 0
        }
