"""What every simulator is: a world that is reset with a seed and answers each action with an observation."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from robotctl.state import Observation, Truth


class Simulator(Protocol):
    """A world. `truth` is for the judge and the log only: planner and filter see observations."""

    def reset(self, seed: int) -> Observation:
        """Builds the world anew at time 0; the same seed and actions give the same episode bit for bit."""
        ...

    def step(self, action: np.ndarray) -> Observation:
        """Plays one tick: `action` (11,) is the joint velocity at its end [m/s, rad/s] and the finger opening [m]."""
        ...

    def truth(self) -> Truth:
        """What really happened during the last tick, at the physics rate."""
        ...
