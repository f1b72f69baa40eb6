"""A scene: furniture, places, regions, object kinds and items, and how the robot's machine behaves there.

Values only; robotctl.scene_files and robotctl.kind_files read them. World frame: z up, metres, radians. Object poses
are poses of the body frame: origin at the centre of the lowest face, z up as it stands in use.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np


@dataclass(frozen=True, eq=False)
class Box:
    """A solid box turned about z."""

    name: str
    center: np.ndarray  # (3,) [m]
    half: np.ndarray  # (3,) half extents [m]
    yaw: float  # [rad]
    color: tuple[float, float, float, float]  # red, green, blue, alpha in 0..1


@dataclass(frozen=True, eq=False)
class Furniture:
    """Something that stays where it is. Its boxes are the collision truth for planning and judging."""

    name: str
    labels: frozenset[str]
    boxes: tuple[Box, ...]
    urdf: Path | None  # optional nicer or articulated model for the simulator, placed at the world origin


@dataclass(frozen=True, eq=False)
class Place:
    """A horizontal rectangle things can stand on."""

    name: str
    labels: frozenset[str]
    center: np.ndarray  # (3,) its z is the height of the surface [m]
    half: np.ndarray  # (2,) half extents [m]
    yaw: float  # [rad]
    overhang_edge: np.ndarray | None  # (2,) outward unit normal of a free edge, world frame


@dataclass(frozen=True, eq=False)
class Region:
    """A volume in the air, for keep-out rules."""

    name: str
    labels: frozenset[str]
    box: Box


@dataclass(frozen=True, eq=False)
class Grasp:
    """A way to take an object, in its body frame."""

    name: str
    kind: str  # rim, handle or edge
    position: np.ndarray  # (3,) TCP [m]
    approach: np.ndarray  # (3,) direction of the hand's z axis, unit
    closing: np.ndarray  # (3,) direction of the hand's y axis, unit
    opening: float  # of the fingers before closing [m]
    symmetric: bool  # may be turned by any angle about the object's z axis


@dataclass(frozen=True, eq=False)
class Edge:
    """The straight part of a blade's cutting edge, in the object's body frame."""

    heel: np.ndarray  # (3,) its end next to the handle [m]
    tip: np.ndarray  # (3,) [m]
    facing: np.ndarray  # (3,) unit, the way it cuts: square to the edge, in the blade's plane

    @property
    def along(self) -> np.ndarray:
        """From heel to tip, (3,) unit."""
        way = self.tip - self.heel
        return np.asarray(way / np.linalg.norm(way))

    @property
    def length(self) -> float:
        return float(np.linalg.norm(self.tip - self.heel))


@dataclass(frozen=True, eq=False)
class ObjectKind:
    """What all objects of a kind share."""

    name: str
    labels: frozenset[str]
    urdf: Path
    mass: float  # [kg]
    friction: float  # Coulomb coefficient
    height: float  # [m]
    radius: float  # of the footprint [m]
    spheres: np.ndarray  # (n, 4) x y z r in the body frame, together they cover the object [m]
    blade: np.ndarray  # (n,) bool: which spheres belong to a sharp edge
    grasps: tuple[Grasp, ...]
    edge: Edge | None = None  # what it cuts with
    cut_force: float = 0.0  # with which a blade opens a seam between pieces of this kind [N]; 0: it cannot be cut
    cut_faces: tuple[float, ...] = ()  # where along the body's x axis its cut faces are [m]
    slip: float = (
        0.15  # how much faster than the hand that holds it a point of it may move, sticking and slipping [m/s]
    )

    def face(self, x: float) -> np.ndarray:
        """Middle of the cut face at x, (3,) in the body frame [m]."""
        return np.array([x, 0.0, 0.5 * self.height])


@dataclass(frozen=True, eq=False)
class Item:
    """An object at the start of an episode."""

    name: str
    kind: str
    position: np.ndarray  # (3,) of the body frame [m]
    yaw: float  # [rad]
    jitter: float  # radius of the disc the start is drawn from [m]
    turn: float  # the start's yaw is drawn from +- this [rad]
    labels: frozenset[str] = frozenset()  # its own, beside its kind's: what is in a cup may be hot


@dataclass(frozen=True, eq=False)
class Seam:
    """Where two neighbouring pieces of joined food meet: a blade can part them there."""

    food: str  # name of the joined food
    first: str  # the two pieces, items
    second: str
    first_face: np.ndarray  # (3,) middle of the cut face, in the first piece's body frame [m]
    second_face: np.ndarray  # (3,) the same in the second's

    def __str__(self) -> str:
        return f"{self.first}/{self.second}"


@dataclass(frozen=True, eq=False)
class Join:
    """Food of one piece at the start, that can be cut: items in a row, each joined to the next."""

    name: str
    items: tuple[str, ...]
    seams: tuple[Seam, ...]


@dataclass(frozen=True, eq=False)
class Actuators:
    """How the drives follow their reference."""

    latency: float  # [s]
    stiffness: float  # natural frequency of the position loop [rad/s]
    damping: float  # damping ratio
    friction: np.ndarray  # (10,) joint friction [N, N m]
    torque_limit: np.ndarray  # (10,) [N, N m]
    grip_force: float  # [N]


@dataclass(frozen=True, eq=False)
class Sensors:
    """How well the robot sees."""

    latency: float  # of people and objects [s]
    human_error: float  # largest error of a keypoint [m]
    object_error: float  # largest error of an object's position [m]
    dropout: float  # probability that a reading is missing
    encoder_noise: float  # standard deviation [rad, m]


@dataclass(frozen=True, eq=False)
class Scene:
    """A room with everything in it, as its file describes it."""

    name: str
    path: Path
    furniture: tuple[Furniture, ...]
    places: tuple[Place, ...]
    regions: tuple[Region, ...]
    kinds: dict[str, ObjectKind]
    items: tuple[Item, ...]
    robot_start: np.ndarray  # (10,) [m, rad]
    actuators: Actuators
    sensors: Sensors
    text: str  # the file's source
    description: str = ""
    joins: tuple[Join, ...] = ()

    def seams(self) -> tuple[Seam, ...]:
        """All seams whose two pieces are there."""
        present = {item.name for item in self.items}
        return tuple(s for join in self.joins for s in join.seams if {s.first, s.second} <= present)

    def boxes(self) -> tuple[Box, ...]:
        """All boxes of all furniture."""
        return tuple(box for piece in self.furniture for box in piece.boxes)

    def place(self, name: str) -> Place:
        for place in self.places:
            if place.name == name:
                return place
        raise KeyError(name)

    def labels_of(self, item: Item) -> frozenset[str]:
        """The item's labels and its kind's."""
        return item.labels | self.kinds[item.kind].labels

    def kind_of(self, item_name: str) -> ObjectKind:
        for item in self.items:
            if item.name == item_name:
                return self.kinds[item.kind]
        raise KeyError(item_name)
