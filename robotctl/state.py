"""What is sensed, what is believed, what is true: the values that pass between the parts.

Frames: world, z up. Quaternions xyzw. Object poses are poses of the object's body frame
(its lowest point on the axis for vessels: see the object's description in the scene).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

N_JOINTS = 10  # base x, base y, base yaw, arm joints 1..7
N_ACTIONS = 11  # ten joint velocities at the end of the tick [m/s, rad/s] and the finger opening [m]
TICK = 0.05  # control period [s]


@dataclass(frozen=True)
class ObjectReading:
    """One object as a camera reported it, valid at `stamp`."""

    name: str
    position: np.ndarray  # (3,) [m]
    quaternion: np.ndarray  # (4,) xyzw
    stamp: float  # [s]


@dataclass(frozen=True)
class PersonReading:
    """Keypoints of one person (see robotctl.body.KEYPOINTS), valid at `stamp`."""

    name: str
    keypoints: np.ndarray  # (J, 3) [m]
    stamp: float  # [s]


@dataclass(frozen=True)
class Observation:
    """What the sensors deliver at one control tick. `objects` and `people` may be incomplete (dropouts)."""

    time: float  # controller clock [s]
    joint_position: np.ndarray  # (10,) encoders [m, rad]
    joint_velocity: np.ndarray  # (10,) [m/s, rad/s]
    commanded_position: np.ndarray  # (10,) reference the drives follow: the integral of the commands
    commanded_velocity: np.ndarray  # (10,)
    finger_opening: float  # distance between the fingers [m]
    objects: tuple[ObjectReading, ...] = ()
    people: tuple[PersonReading, ...] = ()
    contact_force: float = 0.0  # that the robot's skin feels, see simulation.sensing.Skin [N]


@dataclass(frozen=True)
class Held:
    """What the hand holds: the object's name, kind and labels, and its pose in the hand frame."""

    name: str
    kind: str
    labels: frozenset[str]
    T_hand_object: np.ndarray  # (4, 4)


@dataclass(frozen=True)
class RobotState:
    """Joint state as measured, and the reference the drives follow (known exactly)."""

    q: np.ndarray  # (10,) measured [m, rad]
    dq: np.ndarray  # (10,) measured [m/s, rad/s]
    q_ref: np.ndarray  # (10,)
    dq_ref: np.ndarray  # (10,)
    opening: float  # [m]
    held: Held | None = None
    force: float = 0.0  # that the robot feels itself press with [N]


@dataclass(frozen=True)
class ObjectState:
    """One movable object as believed."""

    name: str
    kind: str
    labels: frozenset[str]
    position: np.ndarray  # (3,)
    quaternion: np.ndarray  # (4,)
    stamp: float


@dataclass(frozen=True)
class PersonState:
    """One person as believed: the newest reading, and the readings before it for the predictor."""

    name: str
    keypoints: np.ndarray  # (J, 3), at `stamp`
    stamp: float
    history: np.ndarray  # (T, J, 3) at 10 Hz, oldest first, the last being `keypoints`


@dataclass(frozen=True)
class State:
    """The estimator's belief at `time`. Planner and safety filter see only this."""

    time: float
    robot: RobotState
    objects: tuple[ObjectState, ...] = ()
    people: tuple[PersonState, ...] = ()

    def object(self, name: str) -> ObjectState:
        for item in self.objects:
            if item.name == name:
                return item
        raise KeyError(name)


@dataclass(frozen=True)
class Contact:
    """One physical contact between the robot and something, as the simulator resolved it."""

    time: float
    link: str
    other: str  # name of a person, an object or a piece of furniture
    distance: float  # [m], <= 0 is touching
    force: float  # normal force [N]


@dataclass(frozen=True)
class Truth:
    """Ground truth of one control tick at the physics rate, K = 12 samples: for the judge and the log only."""

    time: np.ndarray  # (K,)
    q: np.ndarray  # (K, 10)
    dq: np.ndarray  # (K, 10)
    opening: np.ndarray  # (K,)
    object_names: tuple[str, ...]
    object_position: np.ndarray  # (K, O, 3)
    object_quaternion: np.ndarray  # (K, O, 4)
    person_names: tuple[str, ...]
    keypoints: np.ndarray  # (K, P, J, 3)
    contacts: tuple[Contact, ...] = field(default=())
