"""What the planner knows of a world model: one rollout, and the parts of it that the optimizer differentiates."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from robotctl.state import State
from robotctl.trajectory import Trajectory

MODEL_STEP = 0.1  # [s] between the samples of a predicted trajectory
HORIZON = 30  # steps of the planner's horizon: 3 s


class WorldModel(Protocol):
    """Predicts the robot's true motion and the people around it, with bounds on how wrong that may be."""

    @property
    def position_bound(self) -> np.ndarray:
        """Radius that holds the robot's true points at every sample of the horizon, (HORIZON+1,) [m]."""
        ...

    @property
    def speed_bound(self) -> float:
        """What a point may be faster than predicted [m/s]."""
        ...

    def rollout(self, state: State, accelerations: np.ndarray) -> Trajectory:
        """The motion that `accelerations` (H, 10) [m/s^2, rad/s^2] cause, H steps of MODEL_STEP from the reference.

        Joint accelerations are constant over a step, so the reference is an exact double integrator.
        """
        ...

    def predict_people(self, state: State, times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Keypoints (T, P, J, 3) [m] and the radius (T, P, J) [m] that holds each, at `times` (T,) [s] from now."""
        ...

    def residual(self, q: np.ndarray, dq: np.ndarray, ddq: np.ndarray, state: State) -> tuple[np.ndarray, np.ndarray]:
        """Where the joints really are minus the reference q, dq, ddq (H+1, 10), the first sample being now.

        Returns delta_q and delta_dq (H+1, 10). Sample k depends on sample k of the reference (and on `state`) only.
        """
        ...

    def residual_jacobians(
        self, q: np.ndarray, dq: np.ndarray, ddq: np.ndarray, state: State
    ) -> tuple[np.ndarray, np.ndarray]:
        """Jacobians of delta_q with respect to q and to dq, (H+1, 10, 10) each."""
        ...
