"""The page of a model card: readable, whole in itself, and safe and sound whatever the card contains."""

from __future__ import annotations

import html.parser
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from robotctl.cli.main import app
from robotctl.errors import UsageError
from robotctl.page.document import checked
from robotctl.page.markup import escaped, tag
from robotctl.page.plots import Bar, Series, bar_plot, line_plot
from robotctl.page.svg import ticks
from robotctl.training import train
from robotctl.training.page.card import Notes
from robotctl.training.page.page import model_page, write_page
from robotctl.training.recipe import Amount, Recipe
from robotctl.world_model.composite import DEFAULT
from robotctl.world_model.storage import card_path

EVIL = "\"><script>alert(1)</script><img src=https://evil.example/x onerror='alert(2)'>"
CARD: dict[str, Any] = {
    "schema": "robotctl/model-card.v1",
    "command": "robotctl train kitchen --seed 7 --quick",
    "recipe": {"target": "kitchen", "seed": 7, "amount": {"people": 20, "push_steps": 100}},
    "sha256": "0a1b",
    "data_sha256": "2c3d",
    "transitions": {"people": 1000, "pushes": 1234567},
    "versions": {"robotctl": "0.1.0", "jax": "1.2.3"},
    "evaluation": {
        "parts": [
            {
                "name": "human_motion", "unit": "m", "horizon_s": [0.5, 1.0, 3.0], "error": [0.05, 0.14, 0.5],
                "baselines": {"static": [0.2, 0.4, 0.9], "constant_velocity": [0.15, 0.37, 1.2]},
                "right_wrist": {"learned": {"0.5": 0.07, "1.0": 0.18}},
                "coverage": {
                    "nominal": 0.9, "moving": 0.9096, "standard_error": 0.01, "moving_by_step": [0.9, 0.91, 0.92],
                    "moving_by_part": {"torso": 0.9, "hand": 0.85},
                    "by_person": {"min": 0.8, "median": 0.9, "max": 0.97, "within": 0.5, "each": [0.8, 0.9, 0.97]},
                },
                "bound_mean": {"torso": [0.1, 0.3, 1.2], "hand": [0.2, 0.4, 1.3]},
                "held_out_clips": {
                    "flagged": 0.99, "ordinary_flagged": 0.0001, "right_wrist": {"learned": {"1.0": 0.9}}, "n": 90,
                    "clips": {"kick": {"flagged": 1.0, "right_wrist": {"static": {"1.0": 0.2}}, "n": 90}},
                },
                "n": 1234, "people": 16,
            },
            {
                "name": "actuator_residual", "unit": "mm", "horizon_s": [0.1, 1.0], "error": [1.1, 1.3],
                "baselines": {"pure_latency": [2.0, 2.1]}, "loaded": {"learned": [1.5, 1.8]},
                "empty": {"learned": [0.6, 0.7]}, "n": 10, "episodes": 6,
                "coverage": {"nominal": 0.95, "moving": 0.88, "moving_loaded": 0.79, "speed": 0.94},
            },
            {
                "name": "skill_outcome.pick", "unit": "Brier score", "error": 0.04, "n": 138, "success_rate": 0.9,
                "baselines": {"base_rate": 0.086, "rate_by_kind": 0.083}, "auroc": 0.95,
                "calibration_error": 0.016, "calibration_error_by_chance": 0.022,
                "reliability": [{"predicted": 0.2, "observed": 0.2, "n": 8}, {"predicted": 1, "observed": 1, "n": 130}],
                "success_by_kind": {"bowl": [29, 29], "knife": [24, 31]}, "displacement": None,
                "learning_curve": {
                    "of": "attempts", "unit": "Brier score", "n": [13, 26, 52, 103], "error": [0.09, 0.07, 0.05, 0.04],
                    "standard_error": [0.01, 0.01, 0.01, None], "baselines": {"base_rate": [0.09, 0.09, 0.09, 0.09]},
                },
            },
            {
                "name": "contact", "unit": "mm", "horizon_s": [1.0, 2.0], "error": [6.0, 13.0], "n": 69, "pushes": 100,
                "baselines": {"nothing_moves": [50.0, 95.0], "quasi_static": [7.0, 12.0]},
                "unseen_kinds": {"kinds": ["book"], "learned": [6.0, 12.0], "quasi_static": [7.0, 17.0], "n": 25},
                "by_kind": {
                    "cup": {"error_2s": 12, "standard_error_2s": 4, "quasi_static_2s": 25, "coverage": 0.85, "n": 12},
                    "book": {"error_2s": 17, "standard_error_2s": None, "quasi_static_2s": 15, "coverage": 1, "n": 1},
                },
                "coverage": {"nominal": 0.9, "moving": 0.94, "moving_unseen_kinds": 0.99},
                "bound_mm": {"*": [6, 18, 51], "cup": [1, 16, 27]},
                "learning_curve": {
                    "of": "pushes", "unit": "mm", "steps": 400, "n": [38, 77], "error": [25.7, 13.5],
                    "unseen_kinds": [27.5, 18.5], "baselines": {"quasi_static": [16.4, 16.4]},
                },
            },
        ]
    },
}  # fmt: skip


class Elements(html.parser.HTMLParser):
    """Collects the elements of a page and checks that they are closed in order."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.open: list[str] = []
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, name: str, attributes: list[tuple[str, str | None]]) -> None:
        self.found.append((name, dict(attributes)))
        if name != "meta":
            self.open.append(name)

    def handle_endtag(self, name: str) -> None:
        assert self.open.pop() == name

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    def names(self) -> set[str]:
        return {name for name, _ in self.found}


def page_is_sound(card: Any) -> Elements:
    """A page stands alone, runs nothing, and its numbers can be drawn."""
    page = model_page(card)
    assert len(page) < 1_000_000
    elements = Elements(page)
    assert elements.names() <= {
        "html", "head", "meta", "title", "style", "body", "main", "section", "h1", "h2", "h3", "p", "div", "span", "a",
        "b", "code", "table", "thead", "tbody", "tr", "th", "td", "figure", "figcaption", "svg", "g", "line", "rect",
        "circle", "polyline", "text",
    }  # fmt: skip
    for name, attributes in elements.found:
        assert not {"src", "srcset", "action", "background"} & set(attributes), name
        assert not any(key.startswith("on") for key in attributes)
        assert attributes.get("href", "#").startswith("#")
        for key in ("x", "y", "x1", "x2", "y1", "y2", "cx", "cy", "r", "width", "height"):
            if name != "meta" and key in attributes:
                assert np.isfinite(float(attributes[key] or "nan"))
                assert key not in ("width", "height") or float(attributes[key] or "nan") >= 0.0
        assert "nan" not in (attributes.get("points") or "")
    style = page[page.index("<style>") : page.index("</style>")]
    assert "url(" not in style
    assert "@import" not in style
    assert "default-src 'none'" in page  # and a browser would not fetch anything if there were something to fetch
    return elements


def test_a_page_says_what_a_card_holds() -> None:
    words = " ".join(page_is_sound(CARD).words).replace("\xa0", " ")
    for said in (
        "World model of kitchen", "0a1b", "1,234,567 steps", "jax 1.2.3", "62 % less than the best guess", "kick",
        "88.0 %, fewer than declared", "24 of 31", "That is worse than the best guess", "No fit has seen: book",
        "1.6 % apart", "Learning curve", "47 % less than with 38", "From 80.0 % to 97.0 %",
    ):  # fmt: skip
        assert said in words, said
    assert len(re.findall("<svg", model_page(CARD))) >= 14
    assert model_page(CARD) == model_page(json.loads(json.dumps(CARD)))
    assert "collect 12 s" in model_page(CARD, {"collect": 12.3})


def test_the_packaged_card_has_a_page() -> None:
    card = json.loads(card_path(DEFAULT).read_text())
    words = " ".join(page_is_sound(card).words)
    assert card["sha256"] in words
    assert "Where people will be" in words


def everywhere(value: Any, put: Any, keys: bool = False) -> Any:
    """The card with something put in place of every leaf, and (keys) of every name that is free."""
    if isinstance(value, dict):
        fixed = set() if keys else set(value)
        known = (
            "evaluation",
            "parts",
            "name",
            "baselines",
            "coverage",
            "by_kind",
            "learning_curve",
            "recipe",
            "amount",
        )
        return {
            key if key in fixed or key in known else f"{put}{i}": everywhere(item, put, keys) if key != "name" else item
            for i, (key, item) in enumerate(value.items())
        }
    if isinstance(value, list):
        return [everywhere(item, put, keys) for item in value]
    return put


def test_hostile_strings_stay_text() -> None:
    for card in (everywhere(CARD, EVIL), everywhere(CARD, EVIL, keys=True)):
        page = model_page(card)
        assert "<script" not in page
        assert "<img" not in page
        page_is_sound(card)
    part = {**CARD["evaluation"]["parts"][3], "name": EVIL, "unit": EVIL, "by_kind": {EVIL: {"error_2s": 1.0}}}
    named = {"evaluation": {"parts": [part, {**part, "name": "contact"}, {**part, "name": f"skill_outcome.{EVIL}"}]}}
    elements = page_is_sound(named)
    assert EVIL[:60] in " ".join(elements.words)  # it is shown as what it is
    assert escaped("a\x00b\ud800") == "a\ufffdb\ufffd"
    assert tag("text", "x", class_='"') == '<text class="&quot;">x</text>'


@pytest.mark.parametrize(
    "odd",
    [
        None,
        float("nan"),
        float("inf"),
        -1e308,
        10**400,
        True,
        "12",
        [],
        [[1.0]],
        {},
        {"a": None},
        0,
        -3.5,
        [None] * 5000,
    ],
)
def test_odd_values_are_left_out(odd: Any) -> None:
    page_is_sound(everywhere(CARD, odd))
    page_is_sound({"evaluation": odd, "recipe": odd, "transitions": odd, "versions": odd, "sha256": odd})
    page_is_sound({"evaluation": {"parts": odd}})
    page_is_sound(odd)


def test_parts_that_are_not_there_are_not_missed() -> None:
    page_is_sound({})
    assert "train evaluate" in model_page({})
    parts = CARD["evaluation"]["parts"]
    for part in parts:
        page_is_sound({"evaluation": {"parts": [{"name": part["name"]}]}})
        for key in part:
            page_is_sound({"evaluation": {"parts": [{k: v for k, v in part.items() if k != key}]}})
    words = page_is_sound({"evaluation": {"parts": [{**parts[3], "name": "tea_making"}]}}).words
    assert "tea making" in words  # a part of the future is shown as far as it is understood
    wide = {"evaluation": {"parts": [{**parts[3], "name": f"part {i}"} for i in range(500)]}}
    page_is_sound(wide)


def test_plots_put_values_where_they_belong() -> None:
    plot = line_plot([Series("a", (0.0, 1.0, 2.0), (0.0, None, 10.0))], "x", "y")
    assert plot is not None
    (first, last) = re.findall(r'<circle cx="([\d.]+)" cy="([\d.]+)"', plot)
    assert float(first[0]) < float(last[0])
    assert float(first[1]) > float(last[1])  # upwards is less in a picture
    assert line_plot([Series("a", (1.0,), (None,))], "x", "y") is None
    assert bar_plot([Bar("a", None)], "x") is None
    bars = bar_plot([Bar("a", 1.0), Bar("b", 2.0)], "x")
    assert bars is not None
    one, two = (float(w) for w in re.findall(r'<rect x="[\d.]+" y="[\d.]+" width="([\d.]+)"', bars))
    assert two == pytest.approx(2.0 * one, abs=0.01)
    log = line_plot([Series("a", (10.0, 20.0, 40.0), (1.0, 1.0, 1.0))], "x", "y", log_x=True)
    assert log is not None
    a, b, c = (float(w) for w in re.findall(r'<circle cx="([\d.]+)"', log))
    assert b - a == pytest.approx(c - b, abs=0.2)
    for low, high in ((0.0, 1.0), (0.7, 1.0), (0.0, 1e-9), (-5.0, 3e6), (0.0, 0.0)):
        found = ticks(low, high)
        assert len(found) <= 9
        assert all(low - 1e-9 <= t <= high + 1e-9 * max(1.0, high) for t in found)


def test_a_page_is_written_whole_or_the_path_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "new" / "page.html"
    write_page(path, CARD)
    assert path.read_text(encoding="utf-8") == model_page(CARD)
    assert [p.name for p in path.parent.iterdir()] == ["page.html"]
    with pytest.raises(UsageError, match=r"ends in \.html"):
        checked(tmp_path / "page.pdf", "--page")
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot be written"):
        write_page(tmp_path / "file" / "page.html", CARD)
    assert Notes.of([1]).numbers("a") == []


def test_an_evaluation_on_other_data_is_put_in_place_of_the_cards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = Recipe("kitchen", 77, Amount(1, 1, 1, 1, 1, 1, 1, 1, 1, 1))
    monkeypatch.setattr(train, "evaluate", lambda *_: (CARD["evaluation"], {"people": 1}))
    page = tmp_path / "page.html"
    answer = train.evaluate_file(None, recipe, tmp_path, page=page)
    assert answer["page"] == str(page)
    words = " ".join(Elements(page.read_text()).words)
    assert "data of kitchen, seed 77" in words
    assert json.loads(card_path(DEFAULT).read_text())["sha256"] in words
    assert "24 of 31" in words
    assert "page" not in train.evaluate_file(None, recipe, tmp_path)


def test_the_command_refuses_a_page_before_it_evaluates(tmp_path: Path) -> None:
    (tmp_path / "recipe.json").write_text(
        json.dumps({"target": "kitchen", "seed": 1, "amount": dict.fromkeys(
            ("people", "play", "skills", "pushes", "aimed", "people_steps", "play_steps", "push_steps"), 1)})
    )  # fmt: skip
    result = CliRunner().invoke(app, ["train", "evaluate", str(tmp_path), "--page", "model.txt"])
    assert result.exit_code == 2
    assert "ends in .html" in result.output


def test_the_page_in_the_documents_is_of_the_packaged_model() -> None:
    page = (Path(__file__).parents[1] / "docs" / "packaged-model.html").read_text()
    assert json.loads(card_path(DEFAULT).read_text())["sha256"] in page
