"""Resolved-rate control (Whitney 1969): the hand goes straight to its goal, the joints by damped least squares.

    dq = dq_0 + W J' (J W J' + damping)^-1 (v - J dq_0)
    v = gain (goal - hand),   dq_0 = gain (q* - q),   W = diag(DQ_MAX^2)

It knows nothing of people, furniture and guardrails. That it hurts nobody all the same is the safety filter's doing.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from robotctl.objectives.reach import ReachGoal
from robotctl.planning.plan import Plan
from robotctl.planning.planner import Setting, plan_of
from robotctl.robot import DDQ_MAX, DQ_MAX, RobotModel, tcp_jacobian, tcp_pose
from robotctl.state import State

HORIZON, DT = 30, 0.1  # knots, and seconds between them
GAIN = 2.0  # [1/s]
DAMPING = 0.01
NEAR = 0.4  # [m] farther away the joints go to the goal's posture; the hand's straight way may lead through a table
FASTEST = np.array([0.4, 0.4, 0.4, 1.0, 1.0, 1.0])  # of the hand [m/s, rad/s]


class ResolvedRate:
    """A planner: `plan` is all that it needs."""

    def plan(
        self, state: State, guess: Plan | None, goal: ReachGoal, robot: RobotModel, skill: str, obstacles: np.ndarray,
        *, attempt: int = 0,
    ) -> Plan:  # fmt: skip
        """The motion that the control law would make of the next three seconds."""
        q, dq = state.robot.q_ref.copy(), [state.robot.dq_ref]
        for _ in range(HORIZON):
            wanted = self._velocity(q, goal)
            wanted *= min(1.0, 0.9 / max(np.abs(wanted / DQ_MAX).max(), 1e-9))
            dq.append(dq[-1] + np.clip(wanted - dq[-1], -DT * DDQ_MAX, DT * DDQ_MAX))
            q += 0.5 * DT * (dq[-2] + dq[-1])
        return plan_of(state, np.array(dq), "resolved rate", DT)

    def _velocity(self, q: np.ndarray, goal: ReachGoal) -> np.ndarray:
        """Joint velocities (10,) that the control law wants at joints q (10,)."""
        to_posture = np.zeros(10) if goal.q is None else GAIN * (goal.q - q)
        position, rotation = tcp_pose(q)
        error, known = np.zeros(6), np.zeros(6, bool)
        if goal.position is not None:
            error[:3], known[:3] = goal.position - position, True
        if goal.rotation is not None:  # axis of the turn from hand to goal, times its sine
            error[3:] = 0.5 * np.cross(rotation.T, goal.rotation.T).sum(axis=0)
            known[3:] = True
        if not known.any() or (goal.q is not None and np.linalg.norm(error[:3]) > NEAR):
            return to_posture
        jacobian = tcp_jacobian(q)[known]
        missing = np.clip(GAIN * error, -FASTEST, FASTEST)[known] - jacobian @ to_posture
        weighted = jacobian * DQ_MAX**2
        return to_posture + weighted.T @ np.linalg.solve(
            weighted @ jacobian.T + DAMPING * np.eye(len(missing)), missing
        )


def make(setting: Setting) -> Any:
    """What the entry point names: makes the planner of an episode."""
    return ResolvedRate()
