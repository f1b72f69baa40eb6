"""The seams of joined food in the engine: what holds its pieces together, until a blade parts them.

A seam is a fixed constraint between two neighbouring pieces: the material of the food. It stands in for fracture. A
seam breaks for good once the edge of a blade has pressed on the food beside it with the kind's `cut_force` for HOLD
physics steps in a row. Only the edge cuts: the flat and the back of a blade, fingers and anything else do not.
What the model leaves out: food can be parted at its seams only, a blade that slices along needs no less force than one
that presses, and the flesh gives way only in that a piece's collision shape narrows towards its cut faces.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from robotctl.geometry import matrix_from_quaternion, quaternion_from_matrix
from robotctl.scene import Edge, Seam
from robotctl.simulation.bodies import Body
from robotctl.simulation.quiet import quiet

with quiet():
    import pybullet as p

HOLD = 3  # physics steps in a row
BESIDE = 0.009  # from the seam's plane: as far as the pieces narrow [m]
EDGE = 0.003  # a contact this near the line of the edge is one of the edge [m]
PRESSING = 0.5  # cosine between the force and the way the edge faces, at least: 60 degrees
PLAY = 0.01  # beyond both ends of the edge [m]


@dataclass
class _Joint:
    """One seam that holds."""

    seam: Seam
    first: Body
    second: Body
    force: float  # [N]
    constraint: int
    pressed: int = 0  # steps in a row


class Seams:
    """All seams of a scene that still hold; `step` is called after every physics step."""

    def __init__(
        self,
        client: int,
        seams: Sequence[tuple[Seam, Body, Body, float]],
        blades: Sequence[tuple[Body, Edge]],
    ) -> None:
        self._client = client
        self._blades = tuple(blades)
        self._joints = [_Joint(*entry, constraint=self._fix(*entry[:3])) for entry in seams]

    @property
    def whole(self) -> tuple[Seam, ...]:
        """The seams that hold."""
        return tuple(joint.seam for joint in self._joints)

    def step(self) -> None:
        """Breaks what the last physics step's contacts have cut."""
        for joint in [j for j in self._joints if self._cut(j)]:
            p.removeConstraint(joint.constraint, physicsClientId=self._client)
            self._collide(joint.first, joint.second, True)
            self._joints.remove(joint)

    def _pose(self, body: Body) -> tuple[np.ndarray, np.ndarray]:
        """Position (3,) and rotation (3, 3) of the body frame in the world."""
        position, quaternion = p.getBasePositionAndOrientation(body.id, physicsClientId=self._client)
        rotation = matrix_from_quaternion(np.array(quaternion))
        return np.array(position) + rotation @ body.offset, rotation @ matrix_from_quaternion(body.turn)

    def _fix(self, seam: Seam, first: Body, second: Body) -> int:
        one, other = (self._pose(body)[1] @ matrix_from_quaternion(body.turn).T for body in (first, second))
        turn = quaternion_from_matrix(other.T @ one).tolist()  # between the frames of the centres of mass
        constraint = p.createConstraint(
            first.id, -1, second.id, -1, p.JOINT_FIXED, [0, 0, 0],
            first.in_center_of_mass(seam.first_face).tolist(), second.in_center_of_mass(seam.second_face).tolist(),
            [0, 0, 0, 1], turn, physicsClientId=self._client,
        )  # fmt: skip
        self._collide(first, second, False)
        return int(constraint)

    def _collide(self, first: Body, second: Body, meet: bool) -> None:
        """Joined pieces lie on each other at their faces, which is no contact."""
        p.setCollisionFilterPair(first.id, second.id, -1, -1, int(meet), physicsClientId=self._client)

    def _cut(self, joint: _Joint) -> bool:
        force = max((self._pressing(joint, blade, edge) for blade, edge in self._blades), default=0.0)
        joint.pressed = joint.pressed + 1 if force >= joint.force else 0
        return joint.pressed >= HOLD

    def _pressing(self, joint: _Joint, blade: Body, edge: Edge) -> float:
        """Force of the edge on the food beside the seam, the way the edge faces [N]."""
        points = [
            point
            for piece in (joint.first, joint.second)
            for point in p.getContactPoints(bodyA=piece.id, bodyB=blade.id, physicsClientId=self._client)
        ]
        if not points:
            return 0.0
        position, rotation = self._pose(blade)
        heel, along, facing = position + rotation @ edge.heel, rotation @ edge.along, rotation @ edge.facing
        origin, turned = self._pose(joint.first)
        middle = origin + turned @ joint.seam.first_face
        across = turned[:, 0]
        total = 0.0
        for point in points:
            at, normal, force = np.array(point[6]), np.array(point[7]), point[9]  # the normal points to the food
            way = float((at - heel) @ along)
            off = float(np.linalg.norm(at - heel - way * along))
            beside = abs(float((at - middle) @ across))
            press = float(normal @ facing)
            if off <= EDGE and -PLAY <= way <= edge.length + PLAY and beside <= BESIDE and press >= PRESSING:
                total += force * press
        return total
