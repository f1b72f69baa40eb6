"""This file turns the answers of benches into tables for people. What it shows is also in the JSON."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from robotctl.cli.report import number, plural, safe

COLUMNS = (
    "n", "success (95 %)", "violating (95 %)", "violations", "contacts", "nearest", "filter acts", "stopped", "lasts",
    "speed",
)  # fmt: skip


def guardrails_table(answer: dict[str, Any]) -> Iterator[Any]:
    """The arms as a table, one row each; then where the files lie."""
    from rich.table import Table

    grid = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 1, 0, 0))
    widest = max((len(arm["name"]) for arm in answer["arms"]), default=0)
    grid.add_column("arm", no_wrap=True, min_width=widest)
    for title in COLUMNS:
        grid.add_column(title, justify="right")  # folds on a narrow terminal rather than losing figures
    for arm in answer["arms"]:
        n = max(1, arm["episodes"] - arm["failed"])
        violated = "red" if arm["episodes_violating"] else "green"
        share = arm["interventions_per_moving_cycle"]
        grid.add_row(
            f"[bold]{arm['name']}[/]",
            str(arm["episodes"]),
            f"{number(arm['success_rate'])} ({interval(arm['success_ci95'])})",
            f"[{violated}]{number(arm['violation_rate'])}[/] ({interval(arm['violation_ci95'])})",
            f"[{violated}]{arm['violations']}[/]",
            f"[{'red' if arm['contacts_moving'] else 'green'}]{arm['contacts_moving']}[/]",
            number(arm["min_separation_m"], 2, "m"),
            "-" if share is None else f"{100 * share:.1f} %",
            f"{arm['stopped_s'] / n:.1f} s",
            f"{arm['simulated_s'] / n:.1f} s",
            f"{number(arm['real_time_factor'], 1)}x",
        )
    yield grid
    for arm in answer["arms"]:
        broken = ", ".join(f"{safe(name)} {count}" for name, count in arm["violations_by_id"].items() if count)
        if broken:
            yield f"[dim]{arm['name']}:[/] {broken}"
        if arm["failed"]:
            yield f"[red]{arm['name']}: {plural(arm['failed'], 'episode')} could not be run[/]"
    for row in answer["price"]:
        for part in row["by_task"]:
            seconds, (low, high) = number(part["seconds_median"], 1, "s"), part["seconds_ci95"]
            span = "" if low is None else f" (95 %: {low:.1f} to {high:.1f} s)"
            what = f"{safe(row['guardrail'])}, {safe(part['task'])}"
            yield f"[dim]price of {what}:[/] {seconds}{span}, {plural(part['pairs'], 'pair')}"
        if row["episodes_violating"] or row["contacts_moving"]:
            yield f"[red]without {safe(row['guardrail'])} another guardrail was violated[/]"
    yield f"[dim]answers and logs of eventful episodes:[/] {safe(answer['out'])}"
    if answer.get("report"):
        yield f"[dim]report:[/] {safe(answer['report'])}"


def model_table(answer: dict[str, Any]) -> Any:
    """Tasks and arms as a table, one row each."""
    from rich.table import Table

    grid = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    grid.add_column("task", no_wrap=True)
    grid.add_column("model", no_wrap=True)
    for title in ("n", "success (95 %)", "time", "skills", "pushes", "violating"):
        grid.add_column(title, justify="right")
    for row in answer["closed_loop"]:
        grid.add_row(
            row["task"],
            f"[bold]{row['name']}[/]",
            str(row["episodes"]),
            f"{number(row['success_rate'])} ({interval(row['success_ci95'])})",
            number(row["time_s_median"], 1, "s"),
            number(row["skills_median"], 1),
            number(row["pushes_median"], 1),
            f"[{'red' if row['episodes_violating'] else 'green'}]{row['episodes_violating']}[/]",
        )
    return grid


def planner_table(answer: dict[str, Any]) -> Iterator[Any]:
    """The methods as a table, one row each."""
    from rich.table import Table

    grid = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 1, 0, 0))
    grid.add_column("method", no_wrap=True)
    for title in (
        "n",
        "solved",
        "feasible",
        "ms p50",
        "p95",
        "p99",
        "x ours",
        "cost/best",
        "in 5 %",
        "worst",
    ):
        grid.add_column(title, justify="right")
    for row in answer["methods"]:
        grid.add_row(
            f"[bold]{row['name']}[/]",
            str(row["n"]),
            str(row["solved"]),
            number(row["feasible_rate"]),
            number(row["ms_p50"], 1),
            number(row["ms_p95"], 1),
            number(row["ms_p99"], 1),
            number(answer["ratios"].get(row["name"]), 2),
            number(row["cost_ratio_to_best"], 3),
            number(row["within_5_percent"], 2),
            number(row["max_violation"], 4),
        )
    yield grid
    yield f"[dim]{answer['problems']} problems; {safe(answer['machine'])}[/]"
    yield f"[dim]answers:[/] {safe(answer['out'])}"


def interval(bounds: list[float]) -> str:
    """The ends of an interval, for reading."""
    return f"{bounds[0]:.2f}-{bounds[1]:.2f}"


def filter_table(answer: dict[str, Any]) -> Any:
    """All cycles and each quarter of them, one row each."""
    from rich.table import Table

    from robotctl.cli.report import number

    grid = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    grid.add_column("motion, people", no_wrap=True)
    for title in ("n", "ms p50", "p99", "max", "cpu ms p50", "p99", "rows", "accepted", "scaled", "braked", "moving"):
        grid.add_column(title, justify="right")
    for name, row in (("all", answer), *answer["by_quarter"].items()):
        shares = (row[f"{what}_share"] for what in ("accepted", "scaled", "braked", "moving"))
        times = (row[key] for key in ("ms_p50", "ms_p99", "ms_max", "cpu_ms_p50", "cpu_ms_p99"))
        grid.add_row(
            f"[bold]{name}[/]",
            str(row["cycles"]),
            *(number(ms, 2) for ms in times),
            f"{row['rows_median']}",
            *(f"{100 * share:.0f} %" for share in shares),
        )
    return grid
