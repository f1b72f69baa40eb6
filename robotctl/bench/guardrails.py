"""This file turns tasks and seeds into evidence about guardrails: the same episodes with and without them.

Arms, by who knows the guardrails (the judge always does):

    full          planner and filter
    filter-only   the filter; the planner works without
    planner-only  the planner; there is no filter
    soft-penalty  the planner, as weighted costs (the usual practice); there is no filter
    none          nobody
    no-people     planner and filter, without people: what the guardrails cost when nobody is near
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from robotctl.bench import price
from robotctl.bench.episodes import summarize, violates
from robotctl.bench.statistics import median, per_hour, quotient, rate
from robotctl.bench.trials import Trial
from robotctl.errors import UsageError, nearest
from robotctl.planning.registry import DEFAULT

SCHEMA = "robotctl/bench-guardrails.v1"
ARMS: dict[str, dict[str, Any]] = {
    "full": {"arm": "full"},
    "filter-only": {"arm": "filter-only"},
    "planner-only": {"arm": "planner-only"},
    "soft-penalty": {"arm": "planner-only", "planner": "soft-penalty"},
    "none": {"arm": "none"},
    "no-people": {"arm": "full", "people": "none"},
}
UNFILTERED = frozenset(name for name, options in ARMS.items() if options["arm"] in ("planner-only", "none"))


def trials(
    tasks: Sequence[str],
    seeds: Sequence[int],
    arms: Sequence[str],
    folder: Path,
    model: Path | None = None,
    time_limit: float | None = None,
    keep: bool = False,
    planner: str = DEFAULT,
    prices: bool = False,
    command: str = "",
) -> list[Trial]:
    """All episodes to run, arms interleaved so that an early look compares like with like."""
    options = {arm: ARMS[arm] if planner == DEFAULT else {"planner": planner, **ARMS[arm]} for arm in arms}
    own = {task: options | (price.options(task, options["full"]) if prices else {}) for task in tasks}
    return [
        Trial(arm, task, seed, folder, model, time_limit, keep, told, command)
        for seed in seeds
        for task in tasks
        for arm, told in own[task].items()
    ]


def chosen_arms(text: str | None, planner: str = DEFAULT, prices: bool = False) -> list[str]:
    """Arms from `full,none,no-people`; None: all that the planner can be in."""
    fitting = [arm for arm in ARMS if planner == DEFAULT or "planner" not in ARMS[arm]]
    if text is None:
        return fitting
    arms = [arm.strip() for arm in text.split(",") if arm.strip()]
    for arm in arms:
        if arm not in ARMS:
            raise UsageError(f"--arms: no arm '{arm}'{nearest(arm, ARMS)}")
        if arm not in fitting:
            raise UsageError(f"--arms: '{arm}' is a planner of its own; it goes without --planner {planner}")
    if not arms:
        raise UsageError(f"--arms: name at least one of {', '.join(ARMS)}")
    return list(dict.fromkeys((["full"] if prices else []) + arms))  # prices are measured against `full`


def arm_figures(name: str, answers: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The row of one arm."""
    summary = summarize(answers)
    judged = [a for a in answers if "error" not in a]
    separations = [a["min_separation_m"] for a in judged if a.get("min_separation_m") is not None]
    moving = sum(a.get("moving_s", 0.0) for a in judged)
    hourly, hourly_ci = per_hour(summary["violations"], moving)
    return {
        "name": name,
        "episodes": summary["n"],
        "failed": summary["failed"],
        "success_rate": summary["success_rate"],
        "success_ci95": summary["success_ci95"],
        "time_to_success_s": median([a["time"]["simulated_s"] for a in judged if a["success"]]),
        "episodes_violating": summary["episodes_violating"],
        "violation_rate": rate(summary["episodes_violating"], len(judged))[0],
        "violation_ci95": summary["violation_ci95"],
        "violations": summary["violations"],
        "violations_per_episode": quotient([summary["violations"]], [len(judged)]),
        "violations_per_moving_hour": hourly,
        "violations_per_moving_hour_ci95": hourly_ci,
        "violations_by_id": {name: rule["violations"] for name, rule in _by_id(judged).items()},
        "by_id": _by_id(judged),
        "contacts_moving": summary["contacts_moving"],
        "contacts_passive": sum(a["contacts"]["passive"] for a in judged),
        "min_separation_m": min(separations, default=None),
        "min_separation_m_median": median(separations),
        "interventions_per_moving_cycle": quotient(
            (a["filter"]["interventions"] for a in judged), (a["filter"]["moving_cycles"] for a in judged)
        ),
        "stopped_s": round(sum(a["filter"]["stopped_s"] for a in judged), 3),
        "simulated_s": round(sum(a["time"]["simulated_s"] for a in judged), 3),
        "moving_s": round(moving, 3),
        "real_time_factor": summary["real_time_factor"],
    }


def bench_answer(answers: Sequence[dict[str, Any]], folder: Path) -> dict[str, Any]:
    """The answer of `bench guardrails --json`, from the answers of its episodes."""
    arms = {name: [a for a in answers if a["arm"] == name] for name in ARMS}
    tasks = list(dict.fromkeys(a["task"] for a in answers))
    planners = [a["planner"] for a in answers if a.get("planner") and "planner" not in ARMS.get(a["arm"], {})]
    return {
        "schema": SCHEMA,
        "version": ", ".join(dict.fromkeys(a["version"] for a in answers if a.get("version"))),
        "commands": list(dict.fromkeys(a["command"] for a in answers if a.get("command"))),
        "planner": ", ".join(dict.fromkeys(planners)) or DEFAULT,
        "tasks": tasks,
        "seeds": sorted({a["seed"] for a in answers}),
        "out": folder,
        "arms": [arm_figures(name, own) for name, own in arms.items() if own],
        "price": price.prices(answers),
        "by_task": [
            {"task": task, **arm_figures(name, chosen)}
            for task in tasks
            for name, own in arms.items()
            if (chosen := [a for a in own if a["task"] == task])
        ],
        "episodes": [_episode(a) for a in answers],
    }


def exit_code(answer: dict[str, Any]) -> int:
    """5 when an arm with a filter violated a guardrail in force, 1 when an episode could not be run, else 0."""
    rows = [*answer["arms"], *answer.get("price", [])]
    if any(row["episodes_violating"] or row["contacts_moving"] for row in rows if row["name"] not in UNFILTERED):
        return 5
    return 1 if any(row["failed"] for row in rows) else 0


def _episode(answer: dict[str, Any]) -> dict[str, Any]:
    """What a report says of one episode."""
    shown = {key: answer.get(key) for key in ("arm", "task", "seed", "success", "exit_code", "min_separation_m")}
    if "error" in answer:
        return {**shown, "error": answer["error"]}
    return {
        **shown,
        "violates": violates(answer),
        "violations": answer["guardrails"]["violations"],
        "contacts_moving": answer["contacts"]["moving"],
        "simulated_s": answer["time"]["simulated_s"],
        "moving_s": answer.get("moving_s"),
        "ended": answer.get("ended"),
    }


def _by_id(answers: Sequence[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Of each guardrail: how often it was violated, how badly, for how long, over all episodes."""
    found: dict[str, list[dict[str, Any]]] = {}
    for answer in answers:
        for name, rule in answer["guardrails"]["by_id"].items():
            found.setdefault(name, []).append(rule)
    rows: dict[str, dict[str, Any]] = {}
    for name, rules in found.items():
        violating = sum(int(rule["violations"]) > 0 for rule in rules)
        share, interval = rate(violating, len(rules))
        worst = min((m for rule in rules if (m := rule.get("worst_margin")) is not None), default=None)
        rows[name] = {
            "violations": sum(int(rule["violations"]) for rule in rules),
            "episodes_violating": violating,
            "violation_rate": share,
            "violation_ci95": interval,
            "severity": round(sum(rule.get("severity", 0.0) for rule in rules), 6),
            "duration_s": round(sum(rule.get("duration_s", 0.0) for rule in rules), 4),
            "depth": None if worst is None else round(max(0.0, -worst), 6),
            "unit": rules[0].get("unit", ""),
            "tier": rules[0].get("tier"),
        }
    return rows
