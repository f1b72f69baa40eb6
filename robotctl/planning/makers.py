"""Makes our own planners from a setting."""

from __future__ import annotations

from robotctl.planning.planner import Planner, Setting
from robotctl.planning.soft_penalty import SoftPenaltyPlanner
from robotctl.planning.trajectory_optimizer import TrajectoryOptimizer


def sqp(setting: Setting) -> Planner:
    """The trajectory optimizer: every guardrail is a constraint."""
    return TrajectoryOptimizer(setting.guardrails, setting.model, setting.assumptions, setting.boxes)


def soft_penalty(setting: Setting) -> Planner:
    """The same optimizer with the guardrails as weighted costs, to compare with."""
    return SoftPenaltyPlanner(setting.guardrails, setting.model, setting.assumptions, setting.boxes)
