"""What goes wrong in a world beyond what its scene file says: faults of the sensors, things and drives that differ.

The simulator alone is given these values; estimator, planner and filter are not told. Times are of the episode.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from robotctl.body import INDEX
from robotctl.scene import Scene
from robotctl.state import ObjectReading, PersonReading

Vector = tuple[float, float, float]
LOST_AS = ("nan", "zero", "away")  # how a lost keypoint arrives: not a number, as zeros, a metre from where it is
AWAY = 1.0  # [m]


@dataclass(frozen=True)
class LostPart:
    """Some keypoints of everybody do not arrive for a while."""

    keypoints: tuple[str, ...]
    start: float  # [s]
    end: float  # [s]
    how: str = "nan"  # one of LOST_AS


@dataclass(frozen=True)
class WrongStamp:
    """Readings of a while carry a stamp that is off: > 0 from the future, < 0 older than they are."""

    start: float  # [s]
    end: float  # [s]
    offset: float  # [s]


@dataclass(frozen=True)
class SensorFaults:
    """What is wrong with readings of people and objects."""

    delay: float = 0.0  # they are this much later than the scene says, and their stamps say so [s]
    hidden_delay: float = 0.0  # they are this much older than their stamps say [s]
    human_bias: Vector = (0.0, 0.0, 0.0)  # of every keypoint; the noise shrinks, so that the sum stays bounded [m]
    object_bias: Vector = (0.0, 0.0, 0.0)  # the same for objects [m]
    blackouts: tuple[tuple[float, float], ...] = ()  # from, to: nothing is read [s]
    unseen: tuple[tuple[float, float], ...] = ()  # from, to: nobody is read [s]
    frozen: tuple[tuple[float, float], ...] = ()  # from, to: the last reading before comes again and again [s]
    lost: tuple[LostPart, ...] = ()
    stamps: tuple[WrongStamp, ...] = ()


@dataclass(frozen=True)
class WorldFaults:
    """How things and drives differ from the scene; factors of 1 and times of 0 change nothing."""

    friction: float = 1.0  # of all objects
    mass: float = 1.0  # of all objects
    drive_delay: float = 0.0  # added to the drives' latency [s]
    drive_friction: float = 1.0
    drive_stiffness: float = 1.0

    def scene(self, scene: Scene) -> Scene:
        """The scene as it really is (masses apart: they are the engine's)."""
        drives = scene.actuators
        return replace(
            scene,
            kinds={name: replace(kind, friction=kind.friction * self.friction) for name, kind in scene.kinds.items()},
            actuators=replace(
                drives,
                latency=drives.latency + self.drive_delay,
                friction=drives.friction * self.drive_friction,
                stiffness=drives.stiffness * self.drive_stiffness,
            ),
        )


@dataclass(frozen=True)
class Faults:
    """Everything that is not as the scene says."""

    sensors: SensorFaults = SensorFaults()
    world: WorldFaults = WorldFaults()


NO_FAULTS = Faults()

Readings = tuple[tuple[ObjectReading, ...], tuple[PersonReading, ...]]


class FaultyReadings:
    """Spoils readings on their way to the robot."""

    def __init__(self, faults: SensorFaults) -> None:
        self._faults = faults
        self._last: Readings = ((), ())

    def spoil(self, time: float, readings: Readings) -> Readings:
        """What arrives at `time` of what was read."""
        faults = self._faults
        if _during(faults.blackouts, time):
            return (), ()
        if _during(faults.frozen, time):
            return self._last
        objects, people = self._last = readings
        if _during(faults.unseen, time):
            people = ()
        for lost in faults.lost:
            if lost.start <= time < lost.end:
                people = tuple(replace(person, keypoints=_without(person.keypoints, lost)) for person in people)
        for wrong in faults.stamps:
            if wrong.start <= time < wrong.end:
                objects = tuple(replace(item, stamp=item.stamp + wrong.offset) for item in objects)
                people = tuple(replace(person, stamp=person.stamp + wrong.offset) for person in people)
        return objects, people


def _during(spans: Sequence[tuple[float, float]], time: float) -> bool:
    return any(start <= time < end for start, end in spans)


def _without(keypoints: np.ndarray, lost: LostPart) -> np.ndarray:
    out = keypoints.copy()
    rows = [INDEX[name] for name in lost.keypoints]
    if lost.how == "away":
        out[rows, 0] += AWAY
    else:
        out[rows] = np.nan if lost.how == "nan" else 0.0
    return out
