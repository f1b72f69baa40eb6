"""The report of a bench says what the answers say, stands alone, and is made again from the files."""

from __future__ import annotations

import html.parser
import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from robotctl.bench import guardrails as bench
from robotctl.bench.price import PREFIX
from robotctl.bench.report import bench_page
from robotctl.bench.trials import filed_answers
from robotctl.cli.main import app
from robotctl.errors import InvalidFileError, UsageError
from robotctl.page.document import checked

EVIL = "</td><script>alert(1)</script>\"'&<img src=x onerror=alert(1)>"
ALLOWED = {
    "html", "head", "meta", "title", "style", "body", "main", "h1", "h2", "p", "div", "span", "b", "code", "table",
    "thead", "tbody", "tr", "th", "td", "figure", "figcaption", "svg", "line", "rect", "circle", "text",
}  # fmt: skip


def answer(
    arm: str, seed: int, task: str = "kitchen/clear-table", violations: int = 0, **changes: Any
) -> dict[str, Any]:
    rule = {
        "violations": violations, "worst_margin": -0.25 if violations else 0.1, "unit": "m/s", "duration_s": 0.4,
        "severity": 0.05, "tier": 0,
    }  # fmt: skip
    values = {
        "arm": arm, "planner": "sqp", "command": "robotctl bench guardrails --episodes 3", "version": "9.8.7",
        "task": task, "seed": seed, "success": True, "exit_code": 5 if violations else 0, "ended": "done",
        "guardrails": {"violations": violations, "by_id": {"human-separation": rule}},
        "contacts": {"moving": 0, "passive": 1},
        "filter": {"interventions": 2, "moving_cycles": 100, "stopped_s": 1.5},
        "time": {"simulated_s": 60.0 + seed, "wall_s": 20.0}, "min_separation_m": 0.3 + 0.01 * seed, "moving_s": 40.0,
    }  # fmt: skip
    return {**values, **changes}


def answers() -> list[dict[str, Any]]:
    tasks = ("kitchen/clear-table", "kitchen/put-away-knife")
    told = [answer(arm, seed, task) for arm in bench.ARMS for seed in range(3) for task in tasks]
    for one in told:
        if one["arm"] == "none":
            one["guardrails"] = answer("none", 0, violations=7)["guardrails"]
        if one["arm"] == "no-people":
            one["min_separation_m"] = None
    told += [
        answer(f"{PREFIX}human-separation", seed, time={"simulated_s": 47.5 + seed, "wall_s": 20.0})
        for seed in range(3)
    ]
    return [*told, {"arm": "full", "task": tasks[0], "seed": 3, "success": False, "exit_code": 1, "error": "died"}]


class Page(html.parser.HTMLParser):
    """Checks that elements are known and closed in order, and that nothing comes from elsewhere."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.words: list[str] = []
        self.shapes: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, name: str, attributes: list[tuple[str, str | None]]) -> None:
        assert name in ALLOWED
        assert not {key for key, _ in attributes} & {"src", "href", "srcset", "action"}
        assert not any(key.startswith("on") for key, _ in attributes)
        self.shapes.append((name, dict(attributes)))
        if name != "meta":
            self.open.append(name)

    def handle_endtag(self, name: str) -> None:
        assert self.open.pop() == name

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def words_of(page: str) -> str:
    return " ".join(" ".join(Page(page).words).split())


def test_the_page_says_what_the_answers_say() -> None:
    told = bench.bench_answer(answers(), Path("x"))
    page = bench_page(told)
    words = words_of(page)
    for said in (
        "kitchen/put-away-knife", "in 6 arms", "0 of 6", "6 of 6", "42 (6)", "human-separation", "0.25 m/s", "12.5 s",
        "3 pairs", "robotctl bench guardrails --episodes 3", "9.8.7", "0 to 3", "could not be run", "Clopper",
        "weighted costs",
    ):  # fmt: skip
        assert said in words, said
    dots = [shape for name, shape in Page(page).shapes if name == "circle" and shape.get("stroke")]
    assert len(dots) == 30  # an episode each: five arms with people, six episodes; prices are apart
    assert sum(dot["fill"] != "#fff" for dot in dots) == 6  # the violating ones
    style = page[page.index("<style>") : page.index("</style>")]
    assert "url(" not in style
    assert "://" not in page


def test_a_page_of_little_is_a_page() -> None:
    for few in (
        [answer("full", 0)],
        [answer("no-people", 0, min_separation_m=None)],
        [{"arm": "full", "task": "t", "seed": 3, "success": False, "exit_code": 1, "error": "died"}],
        [answer("full", 0), answer(f"{PREFIX}speed", 0, success=False)],
    ):
        words_of(bench_page(bench.bench_answer(few, Path("x"))))


def test_hostile_strings_stay_text() -> None:
    evil = [answer("full", 0, EVIL, command=EVIL, version=EVIL, planner=EVIL), answer("none", 0)]
    evil[0]["guardrails"]["by_id"] = {EVIL: evil[1]["guardrails"]["by_id"]["human-separation"]}
    page = bench_page(bench.bench_answer(evil, Path("x")))
    assert "<script" not in page
    assert EVIL in " ".join(Page(page).words)


def filed(folder: Path) -> None:
    for one in answers():
        kind = ".error.json" if "error" in one else ".json"
        path = folder / one["arm"] / one["task"].replace("/", "-") / f"seed{one['seed']}{kind}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({**one, "fingerprint": "x"}))


def test_a_report_of_a_finished_bench(tmp_path: Path) -> None:
    filed(tmp_path / "out")
    report = tmp_path / "report.html"
    command = ["bench", "guardrails", "--out", str(tmp_path / "out"), "--report", str(report)]
    result = CliRunner().invoke(app, [*command, "--json"])
    assert result.exit_code == 1  # an episode could not be run
    told = json.loads(result.stdout)
    assert told["report"] == str(report)
    assert told["commands"] == ["robotctl bench guardrails --episodes 3"]
    assert [arm["name"] for arm in told["arms"]] == list(bench.ARMS)
    assert told["price"][0]["seconds_median"] == 12.5
    assert bench_page(bench.bench_answer(filed_answers(tmp_path / "out"), tmp_path / "out")) == report.read_text()
    (tmp_path / "out" / "full" / "kitchen-clear-table" / "seed3.json").write_text(json.dumps(answer("full", 3)))
    assert not any("error" in one for one in filed_answers(tmp_path / "out"))  # run again since


def test_what_cannot_be_reported_is_said(tmp_path: Path) -> None:
    invoke = CliRunner().invoke
    assert invoke(app, ["bench", "guardrails", "--report", "x.html"]).exit_code == 2
    assert invoke(app, ["bench", "guardrails", "--report", "x.html", "--out", str(tmp_path)]).exit_code == 3
    assert invoke(app, ["bench", "guardrails", "--report", "x.pdf", "--out", str(tmp_path)]).exit_code == 2
    with pytest.raises(UsageError, match="--report"):
        checked(tmp_path, "--report")
    (tmp_path / "seed0.json").write_text("[]")
    with pytest.raises(InvalidFileError, match="not an answer"):
        filed_answers(tmp_path)
