"""This file turns comparisons of judge and oracle into a table in Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from oracle.compare import DEPTH, DISTANCE, TOLERANCE
from robotctl.bench.statistics import rate


def table(answers: Sequence[tuple[str, dict[str, Any]]]) -> str:
    """Agreement by kind, with Clopper-Pearson intervals, and every disagreement. Answers: (log, asdict(Comparison))."""
    rows = [(log, said) for log, answer in answers for said in answer["rules"]]
    out = [
        f"{len(answers)} logs, {sum(answer['ticks'] for _, answer in answers) / 20:.0f} s of simulated time",
        "",
        "| kind | rules | violated (judge) | same verdict | same number | largest difference of the worst margin |",
        "|---|---|---|---|---|---|",
    ]
    odd: list[str] = []
    for kind in (*TOLERANCE, "all"):
        mine = [(log, said) for log, said in rows if kind in (said["kind"], "all")]
        if not mine:
            continue
        verdict = [(said["judge_violations"] > 0) == (said["oracle_violations"] > 0) for _, said in mine]
        number = [said["judge_violations"] == said["oracle_violations"] for _, said in mine]
        apart = [_apart(said) for _, said in mine]
        violated = sum(said["judge_violations"] > 0 for _, said in mine)
        largest = f"{max(apart):.2g}" if kind != "all" else ""
        out.append(f"| {kind} | {len(mine)} | {violated} | {_share(verdict)} | {_share(number)} | {largest} |")
        if kind == "all":
            continue
        for (log, said), same, distance in zip(mine, number, apart, strict=True):
            if not same or distance > TOLERANCE[kind]:
                odd.append(
                    f"{log}: {said['rule']} ({said['where']}): worst {said['judge_worst']:.5f} / "
                    f"{said['oracle_worst']:.5f}, violations {said['judge_violations']} / {said['oracle_violations']} "
                    f"(within the tolerance {said['oracle_range']})"
                )
    contacts = [answer["contacts"][:2] == answer["contacts"][2:] for _, answer in answers]
    apart = [_difference(*answer["separation"]) for _, answer in answers]
    held = [answer["held_differs"] for _, answer in answers]
    carried = sum(answer["held_ticks"] for _, answer in answers)
    odd += [f"{log}: contacts {a['contacts']}" for (log, a), same in zip(answers, contacts, strict=True) if not same]
    odd += [
        f"{log}: separation {a['separation']}"
        for (log, a), distance in zip(answers, apart, strict=True)
        if distance > (DISTANCE if max(a["separation"]) > 0 else DEPTH)
    ]
    odd += [f"{log}: held differs in {n} ticks" for (log, _), n in zip(answers, held, strict=True) if n]
    counted = sum(a["contacts"][0] for _, a in answers), sum(a["contacts"][1] for _, a in answers)
    out += [
        "",
        f"contacts (moving {counted[0]}, passive {counted[1]}): same in {_share(contacts)} logs",
        f"smallest separation: at most {1e3 * max(apart):.2g} mm apart",
        f"held: {carried} ticks by the judge; {sum(held)} of {sum(a['ticks'] for _, a in answers)} ticks differ, "
        f"same in {_share([n == 0 for n in held])} logs",
        "",
        *(odd or ["no disagreement"]),
    ]
    return "\n".join(out)


def _difference(a: float, b: float) -> float:
    return 0.0 if a == b else abs(a - b)


def _apart(said: dict[str, Any]) -> float:
    return _difference(said["judge_worst"], said["oracle_worst"])


def _share(same: Sequence[bool]) -> str:
    low = rate(sum(same), len(same))[1][0]
    return f"{sum(same)}/{len(same)} (at least {100 * np.floor(1e4 * low) / 1e4:.2f} %)"
