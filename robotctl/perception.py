"""Turns observations into the state that is believed: objects filtered, people as last seen, what the hand holds.

A reading has a bounded error and may be missing, late or broken. Nothing here makes a reading look newer or surer
than it is: a person who is no longer seen stays, and the age of the last reading tells the filter how far to stay away.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np

from robotctl.body import KEYPOINTS
from robotctl.geometry import inverse, matrix_from_quaternion, quaternion_from_matrix, transform
from robotctl.robot import HAND, TCP, forward
from robotctl.scene import Scene
from robotctl.state import (
    Held,
    ObjectReading,
    ObjectState,
    Observation,
    PersonReading,
    PersonState,
    RobotState,
    State,
)

HISTORY = 6  # samples of a person's history
HISTORY_STEP = 0.1  # between them [s]
MEMORY = 1.0  # readings and joint positions are kept this long [s]
MEAN_OF = 10  # an object at rest is the mean of about this many readings
MOVED = 2.5  # a reading this many times the object error off the mean means that the object moved
TURNED = 0.1  # the same for its orientation [rad]
CLOSED = 0.002  # an opening below this holds nothing [m]
CLOSING = 0.001  # fingers that came together by this much within RECENT are closing [m]
RECENT = 0.4  # [s]
STALLED = 0.0003  # fingers that move less than this over STALL_TICKS have met something [m]
STALL_TICKS = 3
BETWEEN = 0.015  # an object nearer than this to the point between the finger tips is between them [m]
OPENED = 0.003  # fingers that open by this much let go [m]
LOST = 0.05  # an object this far from where the hand would have it is no longer held [m]
LOST_READINGS = 3
GRIP_GAIN = 0.15  # how fast the pose in the hand follows the readings


@dataclass
class _Track:
    """What is believed of one object."""

    kind: str
    labels: frozenset[str]
    position: np.ndarray
    quaternion: np.ndarray
    stamp: float
    count: int = 1


@dataclass
class _Grip:
    """The object in the hand."""

    held: Held
    opening: float  # when it was taken [m]
    strays: int = 0  # readings in a row that see it elsewhere


class PersonTrack:
    """The readings of one person over the last second."""

    def __init__(self) -> None:
        self._readings: deque[PersonReading] = deque()

    def see(self, reading: PersonReading, now: float) -> None:
        """Takes a sound reading; one that is late or repeated changes nothing."""
        readings = self._readings
        if readings and reading.stamp <= readings[-1].stamp:
            return
        readings.append(reading)
        while readings[0].stamp < now - MEMORY and len(readings) > 1:
            readings.popleft()

    def state(self) -> PersonState:
        """The newest reading as it is, and the history at even steps before it, interpolated over dropouts."""
        readings = self._readings
        newest = readings[-1]
        history = np.empty((HISTORY, *newest.keypoints.shape))
        history[-1] = newest.keypoints
        k = len(readings) - 1
        for i in range(1, HISTORY):
            stamp = newest.stamp - i * HISTORY_STEP
            while k > 0 and readings[k].stamp > stamp:
                k -= 1
            before = readings[k]
            if before.stamp >= stamp or k == len(readings) - 1:
                history[-1 - i] = before.keypoints  # nothing older is known
            else:
                after = readings[k + 1]
                share = (stamp - before.stamp) / (after.stamp - before.stamp)
                history[-1 - i] = before.keypoints + share * (after.keypoints - before.keypoints)
        return PersonState(newest.name, newest.keypoints, newest.stamp, history)


class Estimator:
    """Keeps the belief of one episode; `update` is called once per control tick."""

    def __init__(self, scene: Scene) -> None:
        self._kinds = {item.name: scene.kinds[item.kind] for item in scene.items}
        self._labels = {item.name: scene.labels_of(item) for item in scene.items}
        self._moved = MOVED * max(scene.sensors.object_error, 1e-3)
        self._tracks: dict[str, _Track] = {}
        self._people: dict[str, PersonTrack] = {}
        self._joints: deque[tuple[float, np.ndarray, float]] = deque()  # time, q, opening
        self._grip: _Grip | None = None

    def update(self, observation: Observation) -> State:
        """The belief after this observation."""
        now = observation.time
        self._joints.append((now, observation.joint_position, observation.finger_opening))
        while self._joints[0][0] < now - MEMORY:
            self._joints.popleft()
        hand = self._hand(now)
        for reading in observation.objects:
            if reading.name in self._kinds and _sound(reading.stamp, now, reading.position, reading.quaternion):
                self._see_object(reading)
        for person in observation.people:
            if person.keypoints.shape == (len(KEYPOINTS), 3) and _sound(person.stamp, now, person.keypoints):
                self._people.setdefault(person.name, PersonTrack()).see(person, now)
        self._grasp(observation.finger_opening, hand)
        if self._grip is not None:
            self._carry(self._grip.held, hand, now)
        robot = RobotState(
            q=observation.joint_position,
            dq=observation.joint_velocity,
            q_ref=observation.commanded_position,
            dq_ref=observation.commanded_velocity,
            opening=observation.finger_opening,
            held=self._grip.held if self._grip else None,
            force=observation.contact_force,
        )
        objects = tuple(
            ObjectState(name, t.kind, t.labels, t.position, t.quaternion, t.stamp) for name, t in self._tracks.items()
        )
        return State(now, robot, objects, tuple(track.state() for track in self._people.values()))

    # ---- objects -----------------------------------------------------------------------------------------------

    def _see_object(self, reading: ObjectReading) -> None:
        kind = self._kinds[reading.name]
        quaternion = reading.quaternion / np.linalg.norm(reading.quaternion)
        track = self._tracks.get(reading.name)
        if track is None:
            labels = self._labels[reading.name]
            self._tracks[reading.name] = _Track(kind.name, labels, reading.position, quaternion, reading.stamp)
            return
        grip = self._grip
        if grip is not None and grip.held.name == reading.name:
            self._see_held(grip, track, reading.position, quaternion, reading.stamp)
            return
        if reading.stamp <= track.stamp:
            return
        if quaternion @ track.quaternion < 0.0:
            quaternion = -quaternion
        turned = 2.0 * np.arccos(min(1.0, float(quaternion @ track.quaternion)))
        if np.linalg.norm(reading.position - track.position) > self._moved or turned > TURNED:
            track.count = 0  # it moved: begin anew with this reading
        track.count = min(track.count + 1, MEAN_OF)
        gain = 1.0 / track.count
        track.position = track.position + gain * (reading.position - track.position)
        mixed = track.quaternion + gain * (quaternion - track.quaternion)
        track.quaternion = mixed / np.linalg.norm(mixed)
        track.stamp = reading.stamp

    def _see_held(self, grip: _Grip, track: _Track, position: np.ndarray, quaternion: np.ndarray, stamp: float) -> None:
        """Lets the pose in the hand follow the readings slowly; notices when the object stayed behind."""
        T_hand_object = inverse(self._hand(stamp)) @ transform(matrix_from_quaternion(quaternion), position)
        old = grip.held.T_hand_object
        if np.linalg.norm(T_hand_object[:3, 3] - old[:3, 3]) > LOST:
            grip.strays += 1
            if grip.strays >= LOST_READINGS:
                self._grip = None
                track.position, track.quaternion, track.stamp, track.count = position, quaternion, stamp, 1
            return
        grip.strays = 0
        # The mean of two near rotations, brought back to a rotation through its quaternion.
        mixed = quaternion_from_matrix(old[:3, :3] + GRIP_GAIN * (T_hand_object[:3, :3] - old[:3, :3]))
        moved = old[:3, 3] + GRIP_GAIN * (T_hand_object[:3, 3] - old[:3, 3])
        held = grip.held
        grip.held = Held(held.name, held.kind, held.labels, transform(matrix_from_quaternion(mixed), moved))

    # ---- the hand ----------------------------------------------------------------------------------------------

    def _hand(self, time: float) -> np.ndarray:
        """World from hand at `time`, from the measured joints interpolated at that time, (4, 4)."""
        samples = self._joints
        q = samples[-1][1]
        for i in range(len(samples) - 1, 0, -1):
            (t0, q0, _), (t1, q1, _) = samples[i - 1], samples[i]
            if time >= t1:
                q = q1
                break
            if time >= t0:
                q = q0 + (time - t0) / max(t1 - t0, 1e-9) * (q1 - q0)
                break
            q = q0
        rotation, origin = forward(q)
        return transform(rotation[HAND], origin[HAND])

    def _grasp(self, opening: float, hand: np.ndarray) -> None:
        """Notices that the fingers closed on an object, or let go of it."""
        grip = self._grip
        if grip is not None:
            grip.opening = min(grip.opening, opening)
            if opening > grip.opening + OPENED or opening < CLOSED:
                self._grip = None
            return
        now = self._joints[-1][0]
        recent = [width for time, _, width in self._joints if time >= now - RECENT]
        still = recent[-STALL_TICKS:]
        closing = max(recent) - opening > CLOSING and len(still) == STALL_TICKS
        if not closing or opening < CLOSED or max(still) - min(still) > STALLED:
            return
        name = self._between(hand[:3, 3] + hand[:3, :3] @ TCP)
        if name is None:
            return
        track = self._tracks[name]
        T_world_object = transform(matrix_from_quaternion(track.quaternion), track.position)
        self._grip = _Grip(Held(name, track.kind, track.labels, inverse(hand) @ T_world_object), opening)

    def _between(self, tip: np.ndarray) -> str | None:
        """The object nearest to the point between the finger tips, if one is there."""
        best, nearest = None, BETWEEN
        for name, track in self._tracks.items():
            kind = self._kinds[name]
            if np.linalg.norm(track.position - tip) > kind.radius + kind.height + 0.1:
                continue
            centers = track.position + kind.spheres[:, :3] @ matrix_from_quaternion(track.quaternion).T
            distance = float(np.min(np.linalg.norm(centers - tip, axis=1) - kind.spheres[:, 3]))
            if distance < nearest:
                best, nearest = name, distance
        return best

    def _carry(self, held: Held, hand: np.ndarray, now: float) -> None:
        """The held object moves with the hand."""
        T_world_object = hand @ held.T_hand_object
        track = self._tracks[held.name]
        track.position = T_world_object[:3, 3]
        track.quaternion = quaternion_from_matrix(T_world_object[:3, :3])
        track.stamp, track.count = now, 1


def _sound(stamp: float, now: float, *values: np.ndarray) -> bool:
    """Whether a reading can be used: finite, not all zero, and not from the future."""
    return bool(
        np.isfinite(stamp) and stamp <= now + 1e-9 and all(np.all(np.isfinite(v)) and np.any(v) for v in values)
    )
