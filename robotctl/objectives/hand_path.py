"""What a skill wants of the hand one after the other, and the joints that achieve it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class HandPath:
    """TCP poses that one base placement must reach in turn: before and at a grasp, above and at a place."""

    positions: tuple[np.ndarray, ...]  # each (3,) [m]
    rotation: np.ndarray  # (3, 3) world from hand


@dataclass(frozen=True)
class Posture:
    """Joints that reach a HandPath."""

    index: int  # which of the offered paths
    q: tuple[np.ndarray, ...]  # one (10,) for each position of the path
    cost: float  # travel from the present joints, about seconds
