"""What one control tick leaves behind in the log: sensed, believed, planned, decided, and what really happened."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from robotctl.state import N_JOINTS, Observation, State, Truth
from robotctl.trajectory import along_tick


@dataclass(frozen=True)
class Foreseen:
    """What a plan says of one guardrail, in the guardrail's unit; the bounds of the world model are taken off."""

    value: float  # smallest margin along the plan
    bound: float  # what the world model's bounds took off it there
    at: float  # when it is smallest [s into the plan]
    soon: float  # the margin at the first knot of the plan, 0.1 s ahead; inf: far away


@dataclass(frozen=True)
class PlanSummary:
    """The receipt of a plan: what the trajectory optimizer foresaw, without its matrices."""

    status: str  # SOLVED, INFEASIBLE, ...
    cost: dict[str, float]  # by term
    iterations: int
    fresh: bool  # made in this tick; otherwise the previous plan is still being followed
    margins: dict[str, Foreseen] = field(default_factory=dict)  # by guardrail id; far guardrails are left out
    path: np.ndarray = field(default_factory=lambda: np.zeros((0, 3)))  # (n, 3) predicted TCP positions [m], world

    @property
    def total_cost(self) -> float:
        """The cost of all terms."""
        return float(sum(self.cost.values()))


@dataclass(frozen=True)
class VerdictSummary:
    """What the safety filter decided; the fields are those of `robotctl.safety.verdict.Verdict`."""

    action: np.ndarray  # (11,) joint velocities at the end of the tick [m/s, rad/s] and finger opening [m]
    intervened: bool
    reason: str
    margin: float
    tightest: str
    scale: float
    stopped: bool
    margins: dict[str, float] = field(default_factory=dict)  # smallest along the certified path, by guardrail id


@dataclass(frozen=True)
class Timing:
    """Wall times of one tick. They differ from run to run and are kept out of the episode's digest."""

    plan_ms: float
    filter_ms: float


@dataclass(frozen=True)
class Step:
    """One control tick."""

    observation: Observation
    state: State
    plan: PlanSummary | None
    verdict: VerdictSummary
    truth: Truth
    skill: str  # what is being done, for people to read: "pick cup_1", "resting"
    appraisal: tuple[str, float] | None  # word and success probability
    objective: tuple[int, int] = (0, 0)  # goals met in the belief, goals in all
    margins: dict[str, tuple[float, float]] = field(default_factory=dict)  # id -> (present, smallest predicted)
    distance_to_people: float = float("inf")  # nearest point of the robot to a believed keypoint [m]
    message: str = ""  # something worth a line in the timeline; empty on most ticks
    timing: Timing | None = None
    judged: dict[str, float] = field(default_factory=dict)  # true margins within the tick, where small (judge.NEAR)
    braked: bool = False  # somebody pressed Ctrl-C: the robot comes to rest, whatever the mission wants

    @property
    def reference(self) -> np.ndarray:
        """What the drives were told to follow at every sample of the truth, (K, 10) [m, rad].

        Not stored: it goes on from the believed reference as the verdict's action says.
        """
        robot, since = self.state.robot, self.truth.time - self.observation.time
        return along_tick(robot.q_ref, robot.dq_ref, self.verdict.action[:N_JOINTS], since)
