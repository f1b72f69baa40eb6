"""How the robot expects its plan to turn out: a probability, a time, a smallest margin, and one word.

The machine counterpart of hope and fear: what is foreseen is judged before it is done, and a plan whose outcome
looks bad is not started.
"""

from __future__ import annotations

from dataclasses import dataclass

from robotctl.task_planning.search import TaskPlan

WORDS = ((0.9, "confident"), (0.7, "hopeful"), (0.4, "doubtful"), (0.0, "afraid"))
ACCEPTABLE = 0.05  # a plan less likely to succeed than this is not started


@dataclass(frozen=True)
class Appraisal:
    """What is foreseen of the present plan."""

    success_probability: float
    duration: float  # [s]
    min_margin: float  # smallest predicted guardrail margin of the present motion, in its own unit
    guardrail: str  # whose margin that is

    @property
    def word(self) -> str:
        return next(word for least, word in WORDS if self.success_probability >= least)

    @property
    def acceptable(self) -> bool:
        return self.success_probability >= ACCEPTABLE


def appraise(plan: TaskPlan, attempts: int, min_margin: float = float("inf"), guardrail: str = "") -> Appraisal:
    """Foreseen outcome of a task plan when every skill may be tried `attempts` times in all."""
    chance = 1.0
    for step in plan.steps:
        chance *= 1.0 - (1.0 - step.success_probability) ** attempts
    return Appraisal(chance if plan.complete else 0.0, plan.duration, min_margin, guardrail)
