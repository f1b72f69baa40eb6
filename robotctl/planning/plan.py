"""A plan: the motion chosen, how good it is, and how close it comes to every guardrail."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np

from robotctl.planning.route import Route
from robotctl.state import N_ACTIONS, TICK
from robotctl.trajectory import Trajectory

STILL = 5e-3  # joint speeds below this are commanded as exactly zero: the robot stands [m/s, rad/s]


class Status(StrEnum):
    """How the optimization ended."""

    SOLVED = "solved"  # every guardrail holds along the plan
    INFEASIBLE = "infeasible"  # some guardrail does not, and no iterate was found that satisfies it
    TIMEOUT = "timeout"  # iterations used up while still improving on an infeasible plan
    NONFINITE = "nonfinite"  # state or solver returned NaN or infinity: there is no plan
    FAILED = "failed"  # the planner raised an error or answered something that is no plan


@dataclass(frozen=True)
class Margin:
    """A guardrail's smallest margin along a plan, and how much of its tightening is prediction error."""

    value: float  # in the guardrail's unit, bounds included; >= 0 is safe
    bound: float  # share of `value` given up for the calibrated error of the model, same unit
    time: float  # when it is smallest [s into the plan]
    soon: float  # at the first knot, when the next plan is made; bounds included


@dataclass(frozen=True)
class Plan:
    """What the optimizer answers. `trajectory` is None only when the status is NONFINITE or FAILED."""

    status: Status
    trajectory: Trajectory | None
    q_ref: np.ndarray  # (H+1, 10) planned reference positions [m, rad]
    dq_ref: np.ndarray  # (H+1, 10) planned reference velocities
    ddq_ref: np.ndarray  # (H, 10) constant acceleration over each step
    dt: float  # step [s]
    cost: dict[str, float]  # by term: pose, posture, velocity, effort
    margins: dict[str, Margin]  # by guardrail id
    binding: str  # guardrail with the smallest margin, or the contact (tables.OWN) that is not avoided; "" without any
    violation: float  # worst violation of the tightened rows [m or m/s], 0 when they all hold
    iterations: int  # QPs solved
    seed: str  # where the optimization started: "shifted" or the name of a seed
    stalled: int = 0  # plans in a row that end no nearer to the goal than they start
    multipliers: np.ndarray = field(default_factory=lambda: np.zeros((0, 0)))  # of speed rows, for the next plan
    route: Route | None = None  # what is left of the way round what is between the robot and its goal

    def action(self, time: float) -> np.ndarray:
        """Joint velocities at the end of the tick that starts `time` [s] into the plan, finger opening 0, (11,)."""
        action = np.zeros(N_ACTIONS)
        at = (time + TICK) / self.dt
        last = len(self.ddq_ref)
        if at < last:
            k = int(at + 1e-9)
            share = at - k
            v = self.dq_ref[k] if share < 1e-9 else (1.0 - share) * self.dq_ref[k] + share * self.dq_ref[k + 1]
            if not np.abs(v).max() <= STILL:  # NaN is not stillness: the safety filter is to see it
                action[: len(v)] = v
        return action


def no_plan(dt: float, status: Status = Status.NONFINITE) -> Plan:
    """The answer to a question with NaN or infinity in it."""
    empty = np.zeros((0, 10))
    return Plan(status, None, empty, empty, empty, dt, {}, {}, "", np.inf, 0, "")
