"""Reads what a planner answers so that nothing it does can end the episode: no plan takes the place of what is none.

Whether the numbers of a plan make sense is not looked at: NaN and blades swung at people are the safety filter's.
"""

from __future__ import annotations

import numpy as np

from robotctl.objectives.reach import ReachGoal
from robotctl.planning.plan import Margin, Plan, Status, no_plan
from robotctl.planning.planner import Planner
from robotctl.robot import RobotModel
from robotctl.state import N_JOINTS, State
from robotctl.trajectory import Trajectory
from robotctl.world_model.world_model import MODEL_STEP


class GuardedPlanner:
    """A planner that always answers a plan that can be read, whatever the planner inside does."""

    def __init__(self, planner: Planner) -> None:
        self._planner = planner

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
        """The planner's plan. If it raises or answers none: the plan without a trajectory, and the robot brakes."""
        try:
            answer = self._planner.plan(state, guess, goal, robot, skill, obstacles, attempt=attempt)
        except Exception:  # another package's code: whatever it raises, the robot goes on living
            return no_plan(MODEL_STEP, Status.FAILED)
        return answer if is_readable(answer) else no_plan(MODEL_STEP, Status.FAILED)

    def warm_up(self) -> None:
        """Lets the planner get ready, if it has something to do for that."""
        warm_up = getattr(self._planner, "warm_up", None)
        if warm_up is not None:
            warm_up()


def is_readable(answer: object) -> bool:
    """Whether an answer is a plan, with everything of the type and shape that its readers count on."""
    if type(answer) is not Plan or not isinstance(answer.status, Status):
        return False
    numbers = (answer.dt, answer.violation, answer.iterations, answer.stalled)
    if not all(isinstance(x, int | float) for x in numbers) or not (answer.dt > 0 and np.isfinite(answer.dt)):
        return False
    if not isinstance(answer.cost, dict) or not all(isinstance(x, int | float) for x in answer.cost.values()):
        return False
    if not isinstance(answer.margins, dict) or not all(map(_is_margin, answer.margins.items())):
        return False
    steps = len(answer.ddq_ref) if isinstance(answer.ddq_ref, np.ndarray) else -1
    if answer.trajectory is None:
        return True
    return (
        steps >= 1
        and _is_array(answer.ddq_ref, (steps, N_JOINTS))
        and _is_array(answer.q_ref, (steps + 1, N_JOINTS))
        and _is_array(answer.dq_ref, (steps + 1, N_JOINTS))
        and type(answer.trajectory) is Trajectory
        and _is_array(answer.trajectory.states, (steps + 1, 2 * N_JOINTS))
    )


def _is_array(value: object, shape: tuple[int, ...]) -> bool:
    return isinstance(value, np.ndarray) and value.shape == shape and np.issubdtype(value.dtype, np.floating)


def _is_margin(entry: tuple[object, object]) -> bool:
    name, margin = entry
    return isinstance(name, str) and type(margin) is Margin and isinstance(margin.value, int | float)
