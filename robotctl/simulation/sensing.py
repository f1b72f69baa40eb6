"""Turns what is true into what the sensors deliver: late, noisy within declared bounds, sometimes missing.

The error of people and objects is uniform in a ball and so BOUNDED: the safety case assumes the radius.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from robotctl.scene import Sensors
from robotctl.simulation.faults import FaultyReadings, SensorFaults
from robotctl.state import Contact, ObjectReading, PersonReading

TURN_ERROR = np.deg2rad(1.0)  # largest error of an object's orientation [rad]
SKIN_NOISE = 2.0  # largest error of a felt force [N]
VELOCITY_NOISE = 20.0  # noise of a measured joint velocity for each unit of encoder noise: one tick's difference [1/s]


@dataclass(frozen=True)
class Snapshot:
    """Poses of everything a camera can see at one physics step."""

    time: float  # [s]
    position: np.ndarray  # (O, 3) [m]
    quaternion: np.ndarray  # (O, 4) xyzw
    keypoints: np.ndarray  # (P, J, 3) [m]


def in_ball(generator: np.random.Generator, shape: tuple[int, ...], radius: float) -> np.ndarray:
    """Points uniform in a ball, (*shape, 3) [m]."""
    direction = generator.normal(size=(*shape, 3))
    length = np.sqrt(np.sum(direction * direction, axis=-1, keepdims=True))
    return radius * generator.uniform(size=(*shape, 1)) ** (1 / 3) * direction / np.maximum(length, 1e-12)


def turned(quaternion: np.ndarray, rotation: np.ndarray) -> np.ndarray:
    """Quaternions (n, 4) xyzw turned by small rotation vectors (n, 3) in the world frame, (n, 4)."""
    angle = np.sqrt(np.sum(rotation * rotation, axis=-1, keepdims=True))
    v = 0.5 * np.sinc(angle / (2 * np.pi)) * rotation
    w = np.cos(angle / 2)
    qv, qw = quaternion[:, :3], quaternion[:, 3:]
    return np.concatenate([w * qv + qw * v + np.cross(v, qv), w * qw - np.sum(v * qv, axis=-1, keepdims=True)], axis=-1)


class Cameras:
    """Readings of objects and people, refreshed every tick, `latency` old."""

    def __init__(
        self,
        sensors: Sensors,
        objects: Sequence[str],
        people: Sequence[str],
        generator: np.random.Generator,
        faults: SensorFaults | None = None,
    ) -> None:
        self._sensors = sensors
        self._faults = faults or SensorFaults()
        self._spoiler = FaultyReadings(self._faults) if faults not in (None, SensorFaults()) else None
        self._objects = tuple(objects)
        self._people = tuple(people)
        self._generator = generator
        self._recent: deque[Snapshot] = deque()

    def record(self, snapshot: Snapshot) -> None:
        """Remembers what there was to see at one physics step."""
        self._recent.append(snapshot)

    def read(self, time: float) -> tuple[tuple[ObjectReading, ...], tuple[PersonReading, ...]]:
        """What is known at `time`: the newest snapshot that is at least `latency` old (the oldest, at the start)."""
        faults = self._faults
        latency = self._sensors.latency + faults.delay
        late = latency + faults.hidden_delay
        while len(self._recent) > 1 and self._recent[1].time <= time - late + 1e-9:
            self._recent.popleft()
        seen, sensors, generator = self._recent[0], self._sensors, self._generator
        stamp = (
            min(seen.time + faults.hidden_delay, max(time - latency, seen.time)) if faults.hidden_delay else seen.time
        )
        n, m = len(self._objects), len(self._people)
        object_error = _left(sensors.object_error, faults.object_bias)
        position = seen.position + in_ball(generator, (n,), object_error) + np.array(faults.object_bias)
        turn = TURN_ERROR if sensors.object_error > 0.0 else 0.0
        quaternion = turned(seen.quaternion, in_ball(generator, (n,), turn))
        human_error = _left(sensors.human_error, faults.human_bias)
        keypoints = seen.keypoints + in_ball(generator, (m, seen.keypoints.shape[1]), human_error)
        keypoints = keypoints + np.array(faults.human_bias)
        shown = generator.uniform(size=n + m) >= sensors.dropout
        readings = (
            tuple(
                ObjectReading(name, position[i], quaternion[i], stamp)
                for i, name in enumerate(self._objects)
                if shown[i]
            ),
            tuple(PersonReading(name, keypoints[i], stamp) for i, name in enumerate(self._people) if shown[n + i]),
        )
        return self._spoiler.spoil(time, readings) if self._spoiler is not None else readings


def _left(error: float, bias: Sequence[float]) -> float:
    """Radius that is left for noise, so that bias and noise together stay within the scene's error [m]."""
    return max(error - float(np.linalg.norm(bias)), 0.0)


class Encoders:
    """Measured joint positions and velocities."""

    def __init__(self, sensors: Sensors, generator: np.random.Generator) -> None:
        self._noise = sensors.encoder_noise
        self._generator = generator

    def read(self, q: np.ndarray, dq: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Position (10,) and velocity (10,) with Gaussian noise."""
        noise = self._noise * self._generator.normal(size=(2, len(q)))
        return q + noise[0], dq + VELOCITY_NOISE * noise[1]


class Skin:
    """What the robot feels itself press with: on furniture, on people and, but for the fingers, on objects.

    The largest sum of normal forces at one physics step of the last tick, one tick of filtering and SKIN_NOISE off.
    """

    def __init__(self, objects: Sequence[str], generator: np.random.Generator) -> None:
        self._objects = frozenset(objects)
        self._generator = generator

    def read(self, contacts: Sequence[Contact]) -> float:
        """The force felt after a tick with these contacts [N]."""
        pressed: dict[float, float] = {}
        for contact in contacts:
            if not (contact.link.endswith(("finger", "pad")) and contact.other in self._objects):
                pressed[contact.time] = pressed.get(contact.time, 0.0) + contact.force
        noise = SKIN_NOISE * float(self._generator.uniform(-1.0, 1.0))
        return max(0.0, max(pressed.values(), default=0.0) + noise)
