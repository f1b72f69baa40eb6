"""What an episode comes to: the judge's verdict beside what filter, planner and model did, as one answer."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from robotctl.controller import Cycle
from robotctl.state import N_JOINTS, TICK

SCHEMA = "robotctl/run.v1"
DEADLINE_MS = 1000 * TICK  # a tick that computes longer would have been late on a real robot


@dataclass
class Tally:
    """Counts kept while an episode runs."""

    cycles: int = 0
    moving_cycles: int = 0
    interventions: int = 0
    stopped: int = 0
    late_ticks: int = 0
    filter_ms: list[float] = field(default_factory=list)
    plan_ms: list[float] = field(default_factory=list)
    statuses: Counter[str] = field(default_factory=Counter)
    least_margin: float = float("inf")  # smallest margin that any plan predicted
    attempts: list[dict[str, Any]] = field(default_factory=list)  # finished skills
    first_appraisal: tuple[str, float] | None = None  # what was foreseen before anything was done
    failures: list[str] = field(default_factory=list)  # of the planner's process

    def count(self, cycle: Cycle) -> None:
        """Adds one control cycle."""
        self.cycles += 1
        verdict, thought = cycle.verdict, cycle.thought
        self.moving_cycles += bool(np.any(verdict.action[:N_JOINTS]))
        self.interventions += verdict.intervened
        self.stopped += verdict.stopped
        self.filter_ms.append(cycle.filter_ms)
        self.late_ticks += thought.plan_ms + cycle.filter_ms > DEADLINE_MS
        self.attempts += thought.attempts
        self.first_appraisal = self.first_appraisal or thought.appraisal
        if thought.news and thought.failure:
            self.failures.append(thought.failure)
        if thought.plan is not None and thought.plan.fresh:
            self.plan_ms.append(thought.plan_ms)
            self.statuses[thought.plan.status] += 1
            self.least_margin = min([self.least_margin, *(margin.value for margin in thought.plan.margins.values())])

    def filter_dict(self) -> dict[str, Any]:
        return {
            "cycles": self.cycles,
            "moving_cycles": self.moving_cycles,
            "interventions": self.interventions,
            "stopped_s": round(self.stopped * TICK, 3),
            "ms_p50": percentile(self.filter_ms, 50),
            "ms_p99": percentile(self.filter_ms, 99),
        }

    def planning_dict(self) -> dict[str, Any]:
        return {
            "cycles": len(self.plan_ms),
            "ms_p50": percentile(self.plan_ms, 50),
            "ms_p95": percentile(self.plan_ms, 95),
            "ms_p99": percentile(self.plan_ms, 99),
            "status": dict(sorted(self.statuses.items())),
            "late_ticks": self.late_ticks,
            "failures": self.failures,
        }


def percentile(values: list[float], q: float) -> float | None:
    return round(float(np.percentile(values, q)), 3) if values else None


@dataclass(frozen=True)
class EpisodeResult:
    """The answer of `robotctl run`; keys as promised in docs/cli.md."""

    task: str
    seed: int
    ended: str  # done, refused, given up, stopped, out of time, interrupted
    reason: str
    verdict: dict[str, Any]  # the judge's, keys objective, guardrails, contacts, assumptions, ...
    simulated_s: float
    wall_s: float
    filter: dict[str, Any]
    planning: dict[str, Any]
    world_model: dict[str, Any]
    appraisal: dict[str, Any]
    skills: list[dict[str, Any]]
    episode: Path | None
    digest: str | None
    relaxed: dict[str, str]

    @property
    def success(self) -> bool:
        return self.ended != "interrupted" and not self.verdict["objective"]["unsatisfied"]

    @property
    def exit_code(self) -> int:
        """0 met, 5 a guardrail violated (beats 4), 6 refused or stopped, 130 interrupted, 4 not reached."""
        if self.verdict["guardrails"]["violations"] > 0 or self.verdict["contacts"]["moving"] > 0:
            return 5
        if self.ended == "interrupted":
            return 130
        if self.success:
            return 0
        return 6 if self.ended in ("refused", "stopped") else 4

    def to_dict(self) -> dict[str, Any]:
        return {
            "schema": SCHEMA,
            "task": self.task,
            "seed": self.seed,
            "success": self.success,
            "exit_code": self.exit_code,
            "ended": self.ended,
            "reason": self.reason,
            **self.verdict,
            "time": {
                "simulated_s": round(self.simulated_s, 3),
                "wall_s": round(self.wall_s, 3),
                "real_time_factor": round(self.simulated_s / self.wall_s, 3) if self.wall_s > 0 else None,
            },
            "filter": self.filter,
            "planning": self.planning,
            "world_model": self.world_model,
            "appraisal": self.appraisal,
            "skills": self.skills,
            "relaxed": self.relaxed,
            "episode": str(self.episode) if self.episode else None,
            "digest": self.digest,
        }
