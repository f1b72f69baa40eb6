"""This file turns pairs of episodes into prices: the seconds that each guardrail costs.

The same tasks and seeds run with one guardrail taken out at a time, all else as in arm `full`. Where both episodes of a
pair succeed, the difference of their times is what the guardrail cost there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from robotctl.bench.episodes import summarize
from robotctl.bench.statistics import bootstrap_median, median

PREFIX = "without-"  # an arm of this name runs without the guardrail that follows
REASON = "bench guardrails --price measures what this guardrail costs"


def options(task: str, full: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """By arm, the options of an episode of the task without one of its guardrails. full: those with all."""
    from robotctl.guardrails.load import load_guardrails
    from robotctl.task import load_task

    loaded = load_task(task)
    rules = load_guardrails(loaded.guardrail_files, loaded.scene)
    names = dict.fromkeys(rule.header.id for rule in rules.guardrails)
    return {f"{PREFIX}{name}": {**full, "relax": {name: REASON}} for name in names}


def prices(answers: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """A row for each guardrail that some episodes ran without."""
    full = {(a["task"], a["seed"]): a for a in answers if a["arm"] == "full"}
    without: dict[str, list[dict[str, Any]]] = {}
    for answer in answers:
        if answer["arm"].startswith(PREFIX) and (answer["task"], answer["seed"]) in full:
            without.setdefault(answer["arm"], []).append(answer)
    rows = []
    for arm, own in without.items():
        pairs = [(full[a["task"], a["seed"]], a) for a in own]
        tasks = dict.fromkeys(a["task"] for a in own)
        summary = summarize(own)
        rows.append(
            {
                "name": arm,
                "guardrail": arm.removeprefix(PREFIX),
                **_price(pairs),
                "by_task": [{"task": task, **_price([p for p in pairs if p[0]["task"] == task])} for task in tasks],
                "episodes": len(own),
                "failed": summary["failed"],
                "episodes_violating": summary["episodes_violating"],  # of the other guardrails
                "contacts_moving": summary["contacts_moving"],
            }
        )
    return rows


def _price(pairs: Sequence[tuple[dict[str, Any], dict[str, Any]]]) -> dict[str, Any]:
    """What a guardrail cost in pairs of answers with it and without it."""
    cost = [_seconds(a) - _seconds(b) for a, b in pairs if a["success"] and b["success"]]
    return {
        "pairs": len(cost),
        "seconds_median": median(cost),
        "seconds_ci95": bootstrap_median(cost, np.random.default_rng(0)),
        "seconds": [round(x, 3) for x in cost],
        "only_with": sum(a["success"] and not b["success"] for a, b in pairs),
        "only_without": sum(b["success"] and not a["success"] for a, b in pairs),
    }


def _seconds(answer: dict[str, Any]) -> float:
    return float(answer["time"]["simulated_s"])
