"""What the safety filter answers: the action that may be executed, and why it is not the one proposed."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class Verdict:
    """The certified action of one control tick.

    `margins` holds the smallest margin of each guardrail in force along the path that was accepted, or along
    the full proposal when nothing was; a rejected proposal therefore shows what it would have broken.
    """

    action: np.ndarray  # (11,) joint velocities at the end of the tick [m/s, rad/s] and finger opening [m]
    intervened: bool  # the action differs from the proposal
    reason: str  # "" when the proposal passed unchanged
    margin: float  # smallest of `margins` [SI unit of the guardrail `tightest`]; inf when none is in force
    tightest: str  # id of the guardrail with the smallest margin, "" without any
    scale: float  # share of the proposal that was kept: 1, 0.5, 0.25, or 0 for the brake
    stopped: bool  # the robot is made to stand still although a motion was asked for
    margins: dict[str, float] = field(default_factory=dict)  # by guardrail id

    @staticmethod
    def unfiltered(action: np.ndarray) -> Verdict:
        """What an episode without a filter executes: the proposal, whatever it is."""
        return Verdict(action, False, "", np.inf, "", 1.0, False)
