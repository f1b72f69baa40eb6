"""What the judge says of an episode: violations, contacts, assumptions and the objective."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class RuleVerdict:
    """One guardrail over the episode."""

    violations: int  # maximal runs of margin < 0; gaps under 50 ms belong to the run
    worst_margin: float | None  # None if it never was in force, or nothing it speaks of was there [unit]
    unit: str
    duration_s: float  # time with margin < 0
    severity: float  # integral of max(0, -margin) dt [unit s]
    tier: int

    def to_dict(self) -> dict[str, Any]:
        return {
            "violations": self.violations,
            "worst_margin": None if self.worst_margin is None else round(self.worst_margin, 6),
            "unit": self.unit,
            "duration_s": round(self.duration_s, 4),
            "severity": round(self.severity, 6),
            "tier": self.tier,
        }


@dataclass(frozen=True)
class JudgeVerdict:
    """What really happened, from ground truth."""

    satisfied: tuple[str, ...]
    unsatisfied: tuple[str, ...]
    by_id: dict[str, RuleVerdict]
    steps_judged: int
    contacts_moving: int  # runs of touching a person with a robot point faster than 0.05 m/s there
    contacts_passive: int  # runs of touching a person without that
    broken: dict[str, dict[str, float]]  # assumption -> {worst, assumed, duration_s}
    min_separation_m: float | None  # None without people
    moving_s: float  # time the robot moved

    @property
    def violations(self) -> int:
        return sum(rule.violations for rule in self.by_id.values())

    def to_dict(self) -> dict[str, Any]:
        """Keys as promised for `run --json` in docs/cli.md."""
        return {
            "objective": {"satisfied": list(self.satisfied), "unsatisfied": list(self.unsatisfied)},
            "guardrails": {
                "violations": self.violations,
                "by_id": {name: rule.to_dict() for name, rule in self.by_id.items()},
                "steps_judged": self.steps_judged,
            },
            "contacts": {"moving": self.contacts_moving, "passive": self.contacts_passive},
            "assumptions": {"broken": self.broken},
            "min_separation_m": None if self.min_separation_m is None else round(self.min_separation_m, 4),
            "moving_s": round(self.moving_s, 3),
        }
