"""This file scores what the plans of an episode foresaw of every guardrail against what the judge saw happen.

A plan promises two margins, each with the world model's bounds taken off: at its first knot, 0.1 s ahead, when the next
plan is made; and the smallest along its 3 s. The first is kept or broken by the motion that was planned. By the end of
the second the robot has planned thirty times anew, so that it says how good a forecast is rather than how good a
bound. Margins above `judge.NEAR` are not in the log: a promise counts where it or what happened is below. It is kept if
what happened is no worse by more than the planner's own tolerance (planning.report.TOLERANCE).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from robotctl.episode.reader import EpisodeLog
from robotctl.episode.step import Step
from robotctl.errors import InvalidFileError
from robotctl.judge.judge import NEAR
from robotctl.planning.report import TOLERANCE
from robotctl.state import TICK
from robotctl.world_model.world_model import MODEL_STEP

SOON = round(MODEL_STEP / TICK)  # ticks to a plan's first knot
AHEAD = round(3.0 / TICK)  # ticks of a plan


@dataclass
class Promises:
    """What was promised of one guardrail, and what came of it."""

    count: int = 0
    kept: int = 0
    slack: list[float] = field(default_factory=list)  # what happened minus what was promised, where both are known

    @property
    def coverage(self) -> float | None:
        """Share of the promises that were kept."""
        return self.kept / self.count if self.count else None

    def add(self, promised: float, happened: float, unit: str) -> None:
        """promised: inf where the planner saw nothing near, which is no promise; happened: inf where it was far."""
        if not (np.isfinite(promised) and min(promised, happened) < NEAR[unit]):
            return
        self.count += 1
        self.kept += happened >= promised - TOLERANCE.get(unit, 0.0)
        if np.isfinite(happened):
            self.slack.append(happened - promised)

    def to_dict(self) -> dict[str, Any]:
        return {
            "n": self.count,
            "kept": self.kept,
            "coverage": None if self.coverage is None else round(self.coverage, 4),
            "slack_p50": round(float(np.median(self.slack)), 4) if self.slack else None,
            "slack_min": round(min(self.slack), 4) if self.slack else None,
        }


@dataclass
class Honesty:
    """How honest the plans were about one guardrail; margins in its unit."""

    unit: str
    soon: Promises = field(default_factory=Promises)
    ahead: Promises = field(default_factory=Promises)
    bounds: list[float] = field(default_factory=list)  # what the world model's bounds took off

    def to_dict(self) -> dict[str, Any]:
        return {
            "unit": self.unit,
            "soon": self.soon.to_dict(),
            "ahead": self.ahead.to_dict(),
            "bound_p50": round(float(np.median(self.bounds)), 4) if self.bounds else None,
        }


def predictions(steps: Sequence[Receipt], units: dict[str, str]) -> dict[str, Honesty]:
    """How honest the plans of an episode were, by guardrail id. units: of every guardrail in force."""
    out: dict[str, Honesty] = {}
    for i, step in enumerate(steps):
        for name, foreseen in step.foreseen.items():
            if name not in units:
                continue
            honesty = out.setdefault(name, Honesty(units[name]))
            followed = steps[i : i + SOON]
            if len(followed) == SOON and not any(tick.intervened for tick in followed):
                honesty.soon.add(foreseen[1], followed[-1].judged.get(name, np.inf), units[name])
            later = steps[i : i + AHEAD]
            if len(later) == AHEAD:
                honesty.ahead.add(foreseen[0], min(tick.judged.get(name, np.inf) for tick in later), units[name])
                honesty.bounds.append(foreseen[2])
    return dict(sorted(out.items()))


def units_of(log: EpisodeLog) -> dict[str, str]:
    """The unit of every guardrail's margin, from the guardrails attached to an episode; none where none are."""
    if "guardrails.json" not in log.attachments:
        return {}
    try:
        rules = json.loads(log.attachments["guardrails.json"])["guardrails"]
        return {str(rule["header"]["id"]): str(rule["unit"]) for rule in rules if rule["unit"] in NEAR}
    except (KeyError, TypeError, ValueError):
        raise InvalidFileError(f"{log.path}: the attached guardrails cannot be read") from None


@dataclass(frozen=True)
class Receipt:
    """What is kept of a step for this: little, so that a long episode fits into memory."""

    foreseen: dict[str, tuple[float, float, float]]  # smallest, soon, bound; empty where no plan was made
    judged: dict[str, float]
    intervened: bool


def receipt(step: Step) -> Receipt:
    """The part of a step that predictions are scored by."""
    plan = step.plan
    made = {name: (m.value, m.soon, m.bound) for name, m in plan.margins.items()} if plan and plan.fresh else {}
    return Receipt(made, step.judged, step.verdict.intervened)
