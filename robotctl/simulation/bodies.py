"""A movable body: where its body frame is in the engine's frame of its centre of mass."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from robotctl.geometry import matrix_from_quaternion


@dataclass(frozen=True)
class Body:
    """A movable object in the engine: its id and its body frame in its centre-of-mass frame."""

    id: int
    offset: np.ndarray  # (3,)
    turn: np.ndarray  # (4,) xyzw

    def in_center_of_mass(self, point: np.ndarray) -> np.ndarray:
        """A point of the body frame (3,) in the frame of the centre of mass, (3,)."""
        return np.asarray(matrix_from_quaternion(self.turn) @ point + self.offset)
