"""What the hand holds, decided from the engine's closest points of pads and objects, and from poses in the hand."""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation

from oracle.kinematics import Engine

TIP = np.array([0.0, 0.0, 0.1034, 1.0])  # between the pads, in the hand frame [m]
TOUCH = 0.002  # [m] both pads are this near to what is gripped
SLIP = 0.002  # [m] per tick: it does not move otherwise than the hand by more
PLAY = 0.001  # [m] per tick, when it begins
CARRIED = 0.0005  # [m] per tick


def pose_of(position: np.ndarray, quaternion: np.ndarray) -> np.ndarray:
    """(..., 4, 4) of positions (..., 3) and quaternions xyzw (..., 4)."""
    out = np.zeros((*position.shape[:-1], 4, 4))
    turn = Rotation.from_quat(quaternion.reshape(-1, 4)).as_matrix()
    out[..., :3, :3] = turn.reshape(*position.shape[:-1], 3, 3)
    out[..., :3, 3] = position
    out[..., 3, 3] = 1.0
    return out


class Grip:
    """Follows one hand, tick by tick. `engine` must have the hand where it is at the end of the tick."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.held: str | None = None

    def update(
        self, hand: tuple[np.ndarray, np.ndarray], names: tuple[str, ...], objects: tuple[np.ndarray, np.ndarray],
        position: np.ndarray, quaternion: np.ndarray,
    ) -> str | None:  # fmt: skip
        """Name of what is held; poses before and after the tick: hand (4, 4), objects (O, 4, 4)."""
        tip = [pose @ TIP for pose in hand]
        travel = np.linalg.norm(tip[1] - tip[0])
        candidates = []
        for i, name in enumerate(names):
            before, after = objects[0][i], objects[1][i]
            carried = after @ np.linalg.solve(before, tip[0])  # where the material that was at the tip is now
            slip = np.linalg.norm(np.linalg.solve(hand[1], carried) - TIP)
            goes_along = slip <= max(PLAY, travel / 2) and np.linalg.norm(carried - tip[0]) >= CARRIED
            stays = name == self.held and slip <= SLIP
            nearby = np.linalg.norm(after[:3, 3] - tip[1][:3]) < 0.4
            if (goes_along or stays) and nearby and self._engine.pads_clasp(name, position[i], quaternion[i], TOUCH):
                candidates.append((slip, name))
        self.held = min(candidates)[1] if candidates else None
        return self.held
