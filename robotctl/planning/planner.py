"""What a planner is, what it is made from, and how joint velocities become a plan.

A planner may come from another package (robotctl.planning.registry). Nothing that it answers is trusted: it is read by
robotctl.planning.guarded, and every action goes through the safety filter.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from robotctl.guardrails.guardrail import Assumptions, Guardrail
from robotctl.objectives.reach import ReachGoal
from robotctl.planning.plan import Plan, Status
from robotctl.planning.tables import Solid
from robotctl.robot import RobotModel
from robotctl.state import State
from robotctl.trajectory import Trajectory
from robotctl.world_model.world_model import MODEL_STEP, WorldModel


class Planner(Protocol):
    """Finds motions. It may also have `warm_up()`, which is called once before the episode's clock starts."""

    def plan(
        self,
        state: State,
        guess: Plan | None,
        goal: ReachGoal,
        robot: RobotModel,
        skill: str,
        obstacles: np.ndarray,
        *,
        attempt: int = 0,
    ) -> Plan:
        """A motion that begins at the reference (q_ref, dq_ref) of `state` and leads towards `goal`.

        Called ten times a second. guess: this planner's last plan, 0.1 s old, or None when it should start afresh.
        robot: with what it holds. skill: what is being done ("pick"; "none"). obstacles: spheres (n, 4) x y z r [m] of
        other objects to stay clear of. attempt: how often plans to this goal have got stuck.
        """
        ...


@dataclass(frozen=True)
class Setting:
    """What a planner is made from."""

    guardrails: Sequence[Guardrail]  # to keep; none where an episode has the planner work without
    model: WorldModel
    assumptions: Assumptions
    boxes: Sequence[Solid]  # the furniture
    seed: int  # of the episode, for planners that draw random numbers


Factory = Callable[[Setting], Planner]  # what an entry point of the group `robotctl.planners` names


def plan_of(state: State, dq: np.ndarray, seed: str, dt: float = MODEL_STEP) -> Plan:
    """A plan of joint velocities dq (H+1, 10) [m/s, rad/s], `dt` [s] apart; dq[0] is the present reference's.

    The plan claims to be solved and predicts nobody: for planners that know no guardrails. seed: a word for the log.
    """
    dq = np.asarray(dq, float)
    steps = 0.5 * dt * (dq[1:] + dq[:-1])
    q = state.robot.q_ref + np.concatenate([np.zeros((1, dq.shape[1])), np.cumsum(steps, axis=0)])
    ddq = np.diff(dq, axis=0) / dt
    knots = len(dq)
    trajectory = Trajectory(
        times=dt * np.arange(knots),
        states=np.concatenate([q, dq], axis=1),
        actions=np.concatenate([dq[1:], np.full((knots - 1, 1), state.robot.opening)], axis=1),
        keypoints=np.zeros((knots, 0, 0, 3)),
        keypoint_bound=np.zeros((knots, 0, 0)),
        position_bound=np.zeros(knots),
        speed_bound=np.zeros(knots),
        acceleration=np.concatenate([ddq, ddq[-1:]]),
    )
    return Plan(Status.SOLVED, trajectory, q, dq, ddq, dt, {}, {}, "", 0.0, 0, seed)
