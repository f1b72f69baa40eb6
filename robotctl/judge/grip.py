"""What the hand holds, decided from the true motion alone.

An object is gripped while a part of its surface between the finger pads fills the gap between them up to 2.5 mm; closed
fingers grip nothing, whatever they push. It is held from the tick on in which it is gripped and its material there
moves with the hand (at least 0.5 mm in the tick, off by at most half of the hand's own motion or 1 mm). It stays held
while it is gripped and does not move otherwise than the hand (by more than 2 mm in a tick). So a grasp counts once it
carries, and ends when the fingers let go.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from robotctl.judge.objects import rotation_of

TIP = np.array([0.0, 0.0, 0.1034])  # between the pads, in the hand frame [m]
PAD = np.array([0.011, 0.004, 0.0135])  # half width, play beside each pad, half height of the pads [m]
FREE = 0.0025  # [m] the pads may be farther apart than what is between them: while both touch, 1 mm at most was seen
EMPTY = 0.002  # pads nearer to each other than this have nothing between them [m]
CARRIED = 0.0005  # [m] per tick
PLAY = 0.001  # [m] per tick
SLIP = 0.002  # [m] per tick
NEARBY = 0.35  # objects whose origin is farther from the tip are not looked at [m]


class Grip:
    """Follows one hand through the ticks."""

    def __init__(self, points: Mapping[str, np.ndarray]) -> None:
        self._points = points  # (N, 3) of every object, in its body frame
        self.held: str | None = None
        self.clasped: frozenset[str] = frozenset()  # what fills the gap between the pads, carried or not

    def update(
        self,
        hand_before: np.ndarray,
        hand_now: np.ndarray,
        opening: float,
        names: tuple[str, ...],
        before: tuple[np.ndarray, np.ndarray],
        now: tuple[np.ndarray, np.ndarray],
    ) -> str | None:
        """Name of the held object after a tick; hand poses (3, 4), object positions (O, 3) and quaternions (O, 4)."""
        tip_before, tip_now = (hand[:, :3] @ TIP + hand[:, 3] for hand in (hand_before, hand_now))
        near = np.flatnonzero(np.linalg.norm(now[0] - tip_now, axis=1) < NEARBY)
        best: tuple[float, str] | None = None
        clasped = set()
        for i in near:
            name = names[i]
            turned = rotation_of(now[1][i])
            world = self._points[name] @ turned.T + now[0][i]
            if not _gripped((world - hand_now[:, 3]) @ hand_now[:, :3], opening):
                continue
            clasped.add(name)
            material = rotation_of(before[1][i]).T @ (tip_before - before[0][i])
            moved = turned @ material + now[0][i] - tip_before
            off = float(np.linalg.norm(moved - (tip_now - tip_before)))
            carried = np.linalg.norm(moved) >= CARRIED
            follows = off <= max(PLAY, 0.5 * float(np.linalg.norm(tip_now - tip_before)))
            kept = name == self.held and off <= SLIP
            if ((carried and follows) or kept) and (best is None or off < best[0]):
                best = (off, name)
        self.clasped = frozenset(clasped)
        self.held = best[1] if best else None
        return self.held


def _gripped(points: np.ndarray, opening: float) -> bool:
    """Whether the points (N, 3) of a surface, in the hand frame, that lie between the finger pads fill the gap."""
    if opening < EMPTY:
        return False
    beyond = np.abs(points - TIP) - PAD
    beyond[:, 1] -= 0.5 * opening
    across = points[np.all(beyond <= 0, axis=1), 1]
    return bool(len(across) > 0 and np.ptp(across) >= opening - FREE)
