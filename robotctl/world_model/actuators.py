"""Where the joints really are when the reference is known: latency, friction and payload, learned from robot play.

    delta_q  = -L dq + G ddq + network(q, dq, ddq, sign dq, c)        c = (q - q_ref)_now + L dq_now
    delta_dq = -L ddq        + network(...)

L is the drives' latency as fitted for each joint; c is the part of the present tracking error that latency does not
explain, which tells the network about payload and friction. The sample `now` is not predicted but measured.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from robotctl.robot import DDQ_MAX, DQ_MAX
from robotctl.state import RobotState
from robotctl.world_model.ensemble import Ensemble

ARM = slice(4, 10)  # joints whose angle changes inertia and gravity: base pose and first arm joint do not
SIGN = 0.03  # joint speed over which friction changes its sign [m/s, rad/s]
COVERAGE = 0.95  # how often the bounds hold all points of a moving robot
INPUTS = 6 + 4 * 10
CONTEXT_LIMIT = 4.0  # the context counts at most this many standard deviations


@dataclass(frozen=True)
class ActuatorModel:
    """The learned tracking error of the ten joints."""

    latency: np.ndarray  # (10,) L [s]
    inertia: np.ndarray  # (10,) G [s^2]
    center: np.ndarray  # (INPUTS,) mean of the network's inputs
    spread: np.ndarray  # (INPUTS,) their standard deviation
    scale: np.ndarray  # (20,) of the network's outputs [rad, m], [rad/s, m/s]
    network: Ensemble  # INPUTS -> 20
    position_bound: np.ndarray  # (HORIZON+1,) radius that holds every point of the robot [m]
    speed_bound: float  # what a point may be faster than predicted [m/s]

    def context(self, robot: RobotState) -> np.ndarray:
        """c (10,): present tracking error that latency does not explain [m, rad]."""
        return robot.q - robot.q_ref + self.latency * robot.dq_ref

    def inputs(self, q: np.ndarray, dq: np.ndarray, ddq: np.ndarray, context: np.ndarray) -> np.ndarray:
        """Normalised network inputs, (n, 10) each -> (n, INPUTS); the context may be one for all, (10,)."""
        raw = np.empty((len(q), INPUTS))
        raw[:, :6] = q[:, ARM]
        raw[:, 6:16] = dq / DQ_MAX
        raw[:, 16:26] = ddq / DDQ_MAX
        raw[:, 26:36] = np.tanh(dq / SIGN)
        raw[:, 36:] = context
        x = (raw - self.center) / self.spread
        np.clip(x[:, 36:], -CONTEXT_LIMIT, CONTEXT_LIMIT, out=x[:, 36:])
        return x

    def predict(
        self, q: np.ndarray, dq: np.ndarray, ddq: np.ndarray, context: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """delta_q and delta_dq (n, 10) for reference samples (n, 10), ddq being the acceleration that led there.

        context: (n, 10), or (10,) for all of them.
        """
        out = self.network.mean(self.inputs(q, dq, ddq, context).astype(np.float32)) * self.scale
        return self.inertia * ddq - self.latency * dq + out[:, :10], out[:, 10:] - self.latency * ddq

    def residual(
        self, q: np.ndarray, dq: np.ndarray, ddq: np.ndarray, robot: RobotState
    ) -> tuple[np.ndarray, np.ndarray]:
        """See WorldModel.residual. The first sample is what the encoders say; ddq[k] leads from sample k to k + 1."""
        delta_q, delta_dq = np.empty_like(q), np.empty_like(q)
        delta_q[0], delta_dq[0] = robot.q - robot.q_ref, robot.dq - robot.dq_ref
        if len(q) > 1:
            delta_q[1:], delta_dq[1:] = self.predict(q[1:], dq[1:], ddq[:-1], self.context(robot))
        return delta_q, delta_dq

    def residual_jacobians(
        self, q: np.ndarray, dq: np.ndarray, ddq: np.ndarray, robot: RobotState
    ) -> tuple[np.ndarray, np.ndarray]:
        """See WorldModel.residual_jacobians; 0 at the first sample, which is measured."""
        samples, joints = q.shape
        by_q, by_dq = np.zeros((samples, joints, joints)), np.zeros((samples, joints, joints))
        if samples == 1:
            return by_q, by_dq
        x = self.inputs(q[1:], dq[1:], ddq[:-1], self.context(robot)).astype(np.float32)
        jacobian = self.network.mean_jacobian(x, 10) * self.scale[:10, None] / self.spread
        by_q[1:, :, ARM] = jacobian[..., :6]
        slope = (1.0 - np.tanh(dq[1:] / SIGN) ** 2) / SIGN
        by_dq[1:] = jacobian[..., 6:16] / DQ_MAX + jacobian[..., 26:36] * slope[:, None]
        by_dq[1:, range(joints), range(joints)] -= self.latency
        return by_q, by_dq
