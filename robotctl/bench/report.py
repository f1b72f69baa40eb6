"""This file turns the answer of `bench guardrails` into a page that a stranger can read."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from robotctl.page.document import document, figure, paragraph, table
from robotctl.page.markup import Markup, join, tag
from robotctl.page.plots import Bar, bar_plot
from robotctl.page.svg import COLOURS, WIDTH, Key, label, legend, line, picture, scale, short, ticks, words

ARMS = {  # name -> who knows the guardrails; in the order of the page
    "full": "planner and safety filter know the guardrails",
    "filter-only": "the safety filter alone; the planner works without",
    "planner-only": "the planner alone, as constraints; no filter",
    "soft-penalty": "the planner alone, as weighted costs (the usual practice); no filter",
    "none": "nobody; the judge still judges",
    "no-people": "planner and safety filter, with nobody about",
}
GLANCE = {
    "full": "Guardrails in planner and filter",
    "soft-penalty": "Guardrails as weighted costs",
    "none": "No guardrails",
}
FILTERED = ("full", "filter-only", "no-people")
COLUMN = 26.0  # width of an arm's dots on either side of its middle
SEPARATION = 300.0  # height of the plot of separations


def bench_page(answer: Mapping[str, Any]) -> str:
    """The page of a bench's answer (bench.guardrails.bench_answer)."""
    arms = sorted(answer["arms"], key=lambda arm: list(ARMS).index(arm["name"]))
    title = "Do the guardrails hold?"
    body = tag(
        "main",
        tag("h1", title),
        _question(answer, arms),
        _verdict(arms),
        tag("h2", "The arms side by side"),
        table(["arm", "who knows the guardrails"], [[_name(a), ARMS[a["name"]]] for a in arms], kind="words"),
        _arms(arms, len(answer["tasks"])),
        figure(_rates(arms, "violation_rate", "violation_ci95", "share of episodes with a violation"),
               "Episodes in which a guardrail was violated or the moving robot touched somebody, with 95\xa0% "
               "intervals."),
        figure(_rates(arms, "success_rate", "success_ci95", "share of episodes that reached the objective"),
               "Episodes that reached the objective, with 95\xa0% intervals: a robot that never moves must not win."),
        tag("h2", "How near people came"),
        figure(_separations(answer["episodes"], [a["name"] for a in arms]),
               "Smallest distance between robot and person, a dot for each episode. Filled: a guardrail was violated "
               "in it. Bars: medians. People also walk up to a robot that stands."),
        tag("h2", "Which guardrail was violated"),
        _guardrails(arms),
        *_prices(answer["price"]),
        *_by_task(answer["by_task"]),
        tag("h2", "What was run"),
        _facts(answer),
        tag("h2", "Words"),
        _glossary(),
    )  # fmt: skip
    return document(title, body)


def _question(answer: Mapping[str, Any], arms: Sequence[dict[str, Any]]) -> Markup:
    planner = answer["planner"]
    whose = "its own planner" if planner == "sqp" else f"the planner {planner}"
    seeds = _ranges(answer["seeds"])
    return paragraph(
        f"A simulated household robot does tasks near people: {', '.join(answer['tasks'])}. Guardrails say what must "
        "never happen, such as a fast blade near a person. The same episodes (same seeds, so the same people on the "
        f"same ways) run in {_count(len(arms), 'arm')} that differ in who knows the guardrails; the robot works with "
        f"{whose}. An independent judge measures 240 times a second, from the truth, what happened. Seeds {seeds}.",
        class_="lead",
    )


def _verdict(arms: Sequence[dict[str, Any]]) -> Markup:
    """What came of it, at a glance."""
    cards = []
    for arm in arms:
        n = arm["episodes"] - arm["failed"]
        if arm["name"] not in GLANCE or not n:
            continue
        low, high = (100 * bound for bound in arm["violation_ci95"])
        rate = f"rate {low:.0f} to {high:.0f}\xa0%" if arm["episodes_violating"] else f"rate at most {high:.1f}\xa0%"
        cards.append(
            tag(
                "div", tag("span", GLANCE[arm["name"]]), tag("b", f"{arm['episodes_violating']} of {n}"),
                tag("span", f"episodes with a violation ({rate}, with 95\xa0% confidence)"),
                tag("span", f"{_percent(arm['success_rate'])} of the episodes reach the objective"),
                class_=None if arm["name"] in FILTERED else "other",
            )
        )  # fmt: skip
    return tag("div", *cards, class_="cards")


def _arms(arms: Sequence[dict[str, Any]], tasks: int) -> Markup:
    """All figures of the arms; one column each arm."""
    rows: list[tuple[str, Callable[[dict[str, Any]], Any]]] = [
        ("episodes", lambda a: f"{a['episodes']:,}"),
        ("reach the objective", lambda a: _below(_percent(a["success_rate"]), _interval(a["success_ci95"]))),
        ("median time to it", lambda a: _number(a["time_to_success_s"], "s", 1)),
        ("with a violation",
         lambda a: _below(_marked(a, _percent(a["violation_rate"])), _interval(a["violation_ci95"]))),
        ("violations", lambda a: _marked(a, f"{a['violations']:,}")),
        ("in an hour of motion", lambda a: _below(
            _number(a["violations_per_moving_hour"], "", 1), _span(a["violations_per_moving_hour_ci95"]))),
        ("contacts in motion", lambda a: f"{a['contacts_moving']:,}"),
        ("nearest to a person", lambda a: _number(a["min_separation_m"], "m", 2)),
        ("filter acts, of cycles", lambda a: _percent(a["interventions_per_moving_cycle"], 1)
         if a["name"] in FILTERED else "-"),
        ("held up, an episode", lambda a: _each(a, "stopped_s") if a["name"] in FILTERED else "-"),
        ("moves, an episode", lambda a: _each(a, "moving_s")),
        ("lasts, an episode", lambda a: _each(a, "simulated_s")),
    ]  # fmt: skip
    if tasks > 1:  # a median over long and short tasks says nothing; it stands task by task
        rows = [row for row in rows if row[0] != "median time to it"]
    if any(arm["failed"] for arm in arms):
        rows.insert(1, ("could not be run", lambda a: f"{a['failed']:,}"))
    return join(
        table(["", *(_name(arm) for arm in arms)], [[name, *(f(a) for a in arms)] for name, f in rows], "figures"),
        paragraph("Small: 95\xa0% intervals. A contact in motion: the moving robot touches a person.", class_="lead"),
    )


def _rates(arms: Sequence[dict[str, Any]], value: str, interval: str, axis: str) -> Markup | None:
    bars = []
    for arm in arms:
        low, high = arm[interval]
        note = "" if arm[value] is None else f"{100 * arm[value]:.0f} %"
        bars.append(Bar(arm["name"], arm[value], low, high, note=note, group=0 if arm["name"] in FILTERED else 1))
    groups = ("with the filter", "without") if {bar.group for bar in bars} == {0, 1} else ()
    return bar_plot(bars, axis, x_range=(0.0, 1.0), dots=True, names=groups)


def _separations(episodes: Sequence[Mapping[str, Any]], arms: Sequence[str]) -> Markup | None:
    """A column of dots for each arm: smallest separation by episode [m]."""
    known = [(e["arm"], float(e["min_separation_m"]), e) for e in episodes if e.get("min_separation_m") is not None]
    columns = [arm for arm in arms if any(name == arm for name, _, _ in known)]
    if not columns:
        return None
    left, right, top, bottom = 58.0, WIDTH - 150.0, 14.0, SEPARATION - 40.0
    high = 1.06 * max(d for _, d, _ in known)
    up = scale(min(0.0, *(d for _, d, _ in known)), max(high, 0.1), bottom, top)
    width = (right - left) / len(columns)
    parts = []
    for y in ticks(0.0, high):
        parts += [line(left, up(y), right, up(y), "grid"), words(left - 6, up(y) + 4, label(y), "end")]
    parts.append(line(left, up(0.0), right, up(0.0), "axis"))
    middle = (top + bottom) / 2
    parts.append(words(0, 0, "smallest distance [m]", "middle", "title", f"translate(12 {middle:.1f}) rotate(-90)"))
    for i, arm in enumerate(columns):
        x, colour = left + width * (i + 0.5), COLOURS[0 if arm in FILTERED else 1]
        own = sorted((d, *_seen(e)) for name, d, e in known if name == arm)
        reach = min(COLUMN, 0.4 * width)
        for k, (distance, violates, told) in enumerate(own):
            aside = reach * (2.0 * ((0.618034 * (k + 1)) % 1.0) - 1.0)  # golden ratio: neighbours fall apart
            parts.append(
                tag("circle", tag("title", told), cx=x + aside, cy=up(distance), r=3.6,
                    fill=colour if violates else "#fff", stroke=colour, stroke_width=1.4)
            )  # fmt: skip
        half = own[len(own) // 2][0] if len(own) % 2 else 0.5 * (own[len(own) // 2 - 1][0] + own[len(own) // 2][0])
        parts.append(
            tag("line", x1=x - reach - 6, y1=up(half), x2=x + reach + 6, y2=up(half), stroke="#111", stroke_width=1.6)
        )
        parts.append(words(x, bottom + 17, short(arm, 14), "middle"))
    parts.append(
        legend([Key("with the filter", COLOURS[0], dot=True), Key("without", COLOURS[1], dot=True)], (), right + 14, 24)
    )
    return picture(parts, SEPARATION)


def _seen(episode: Mapping[str, Any]) -> tuple[bool, str]:
    """Whether the episode violates, and the words at its dot."""
    told = f"{episode['task']} seed {episode['seed']}: {episode['min_separation_m']:.2f} m"
    return bool(episode.get("violates")), f"{told}, {_count(int(episode.get('violations') or 0), 'violation')}"


def _guardrails(arms: Sequence[dict[str, Any]]) -> Markup:
    """Violations by guardrail and arm, and how bad they were."""
    names = list(dict.fromkeys(name for arm in arms for name in arm["by_id"]))
    counts = [[name, *(_by_id(arm, name) for arm in arms)] for name in names]
    worst = [
        [_below(arm["name"], name), f"{rule['violations']:,}", f"{rule['episodes_violating']:,}",
         _below(_percent(rule["violation_rate"]), _interval(rule["violation_ci95"])),
         f"{rule['depth']:.3g} {_unit(rule['unit'])}", f"{rule['duration_s']:.2f} s",
         f"{rule['severity']:.3g} {_unit(rule['unit'], 's')}"]
        for arm in arms
        for name, rule in arm["by_id"].items()
        if rule["violations"]
    ]  # fmt: skip
    return join(
        paragraph("Violations, and in brackets the episodes they happened in."),
        table(["", *(_name(arm) for arm in arms)], counts, "figures"),
        worst and paragraph("How bad they were: deepest point, time in violation, and severity (depth integrated over "
                            "time), over all episodes of the arm."),
        table(["", "violations", "episodes", "of all", "deepest", "time", "severity"], worst, "figures"),
    )  # fmt: skip


def _by_id(arm: Mapping[str, Any], name: str) -> Any:
    rule = arm["by_id"].get(name)
    if rule is None:
        return "-"
    if not rule["violations"]:
        return "0"
    return tag("span", f"{rule['violations']:,} ({rule['episodes_violating']:,})", class_="bad")


def _prices(prices: Sequence[Mapping[str, Any]]) -> list[Markup | None]:
    """What each guardrail costs in time."""
    if not prices:
        return []
    tasks = list(dict.fromkeys(part["task"] for row in prices for part in row["by_task"]))
    bars = [
        Bar(row["guardrail"], part["seconds_median"], low, high, note=_count(part["pairs"], "pair"), group=group)
        for row in prices
        for group, task in enumerate(tasks)
        for part in row["by_task"]
        for low, high in [part["seconds_ci95"]]
        if part["task"] == task
    ]
    values = [v for bar in bars for v in (bar.value, bar.low, bar.high) if v is not None]
    plot = None
    if values:
        span = max(max(values) - min(values), 1.0)
        plot = bar_plot(
            bars, "seconds that the guardrail costs, median", dots=True,
            names=[task.rpartition("/")[2] for task in tasks],
            x_range=(min(0.0, *values) - 0.06 * span, max(0.0, *values) + 0.06 * span),
        )  # fmt: skip
    rows = [
        [
            _below(row["guardrail"], part["task"]), f"{part['pairs']:,}",
            _below(_number(part["seconds_median"], "s", 1), _span(part["seconds_ci95"], "s")),
            f"{part['only_with']:,}", f"{part['only_without']:,}",
        ]
        for row in prices
        for part in row["by_task"]
    ]  # fmt: skip
    head = ["", "pairs", "median", "succeeds only with it", "only without it"]
    return [
        tag("h2", "What each guardrail costs"),
        paragraph(
            "The same tasks and seeds ran with one guardrail taken out at a time, the filter and all others on. The "
            "price is the time to the objective with it minus the time without it, over the pairs in which both got "
            "there: the median, with a 95\xa0% bootstrap interval. Where the interval holds 0, no price is shown by "
            "these episodes."
        ),
        figure(plot, "Seconds that each guardrail costs: medians and their 95\xa0% intervals."),
        table(head, rows, "figures"),
    ]


def _by_task(rows: Sequence[Mapping[str, Any]]) -> list[Markup | None]:
    """Success and violations by task, where there are several."""
    if len({row["task"] for row in rows}) < 2:
        return []
    shown = [
        [_below(row["name"], row["task"]), f"{row['episodes']:,}",
         _below(_percent(row["success_rate"]), _interval(row["success_ci95"])),
         _number(row["time_to_success_s"], "s", 1),
         _below(_marked(row, f"{row['episodes_violating']:,}"), _interval(row["violation_ci95"])),
         _number(row["min_separation_m"], "m", 2)]
        for row in rows
    ]  # fmt: skip
    head = ["", "episodes", "reach the objective", "median time to it", "with a violation", "nearest to a person"]
    return [tag("h2", "Task by task"), table(head, shown, "figures")]


def _facts(answer: Mapping[str, Any]) -> Markup | None:
    moved = sum(arm["moving_s"] for arm in answer["arms"]) / 3600.0
    rows: list[list[Any]] = [
        *(["command", tag("code", command)] for command in answer["commands"]),
        ["robotctl", answer["version"]],
        ["planner", answer["planner"]],
        ["tasks", ", ".join(answer["tasks"])],
        ["seeds", _ranges(answer["seeds"])],
        ["episodes", f"{len(answer['episodes']):,}, with {moved:.2f} h of motion in the arms above"],
    ]
    return table(["", ""], [row for row in rows if row[1]], kind="words")


def _glossary() -> Markup | None:
    meanings = [
        ("violation", "a stretch of time in which a guardrail's margin is below 0, by the judge's measure; gaps under "
                      "50 ms belong to it"),
        ("margin", "how far a guardrail is from being broken, in its own unit: metres for distances, m/s for speeds"),
        ("interval", "95 %: of a rate the exact one (Clopper and Pearson 1934); of violations in an hour the exact one "
                     "of a Poisson rate (Garwood 1936), too narrow where violations come in bursts"),
        ("safety filter", "checks every action before it is carried out and brakes where it cannot show it to be safe, "
                          "whatever the planner wants"),
        ("hour of motion", "only time in which the robot moves counts: a robot that stands can hardly do harm"),
    ]  # fmt: skip
    return table(["", ""], [list(entry) for entry in meanings], kind="words")


def _name(arm: Mapping[str, Any]) -> Markup:
    return tag("b", arm["name"])


def _marked(arm: Mapping[str, Any], text: str) -> Any:
    return tag("span", text, class_="bad") if arm["violations"] or arm["contacts_moving"] else text


def _each(arm: Mapping[str, Any], key: str) -> str:
    n = arm["episodes"] - arm["failed"]
    return f"{arm[key] / n:.1f} s" if n else "-"


def _number(value: float | None, unit: str, digits: int) -> str:
    return "-" if value is None else f"{value:,.{digits}f}{' ' + unit if unit else ''}"


def _percent(value: float | None, digits: int = 0) -> str:
    return "-" if value is None else f"{100 * value:.{digits}f}\xa0%"


def _interval(bounds: Sequence[float]) -> str:
    return f"{100 * bounds[0]:.0f} to {100 * bounds[1]:.0f}\xa0%"


def _below(value: Any, more: str) -> Markup:
    """A value with small words below it."""
    return join(value, tag("span", more, class_="below"))


def _span(bounds: Sequence[float | None], unit: str = "") -> str:
    low, high = bounds
    if low is None or high is None:
        return "-"
    return f"{low:,.1f} to {high:,.1f}{' ' + unit if unit else ''}"


def _unit(unit: str, more: str = "") -> str:
    """A guardrail's unit, times `more`."""
    if unit in ("", "1"):
        return more
    return {"m/s": "m"}.get(unit, f"{unit} {more}") if more == "s" else unit


def _count(n: int, thing: str) -> str:
    return f"{n:,} {thing}" if n == 1 else f"{n:,} {thing}s"


def _ranges(seeds: Sequence[int]) -> str:
    """`0 to 9, 12` for 0 .. 9 and 12."""
    parts: list[list[int]] = []
    for seed in seeds:
        if parts and seed == parts[-1][1] + 1:
            parts[-1][1] = seed
        else:
            parts.append([seed, seed])
    return ", ".join(f"{a}" if a == b else f"{a} to {b}" for a, b in parts)
