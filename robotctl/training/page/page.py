"""Turns a model card into one HTML page that a stranger can read: it stands alone and asks nothing of the network."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from robotctl.errors import UsageError
from robotctl.training.page.card import Notes, at
from robotctl.training.page.markup import Markup, join, tag
from robotctl.training.page.parts import Section, count, paragraph, section_of, table

COUNTED = {
    "people": ("people watched", "windows"),
    "play": ("play with the joints", "samples"),
    "skills": ("skills tried", "attempts"),
    "pushes": ("things pushed", "steps"),
}
MOST_PARTS = 40
POLICY = "default-src 'none'; style-src 'unsafe-inline'"  # a browser fetches nothing, whatever a card contains
STYLE = """
:root { color-scheme: light; }
body { margin: 0; background: #fff; color: #1b1b1b; font: 16px/1.55 system-ui, "DejaVu Sans", sans-serif; }
main { max-width: 800px; margin: 0 auto; padding: 32px 20px 80px; }
h1 { font-size: 28px; line-height: 1.2; margin: 0 0 6px; overflow-wrap: anywhere; }
h2 { font-size: 22px; margin: 56px 0 4px; padding-top: 20px; border-top: 1px solid #ddd; overflow-wrap: anywhere; }
h3 { font-size: 17px; margin: 32px 0 4px; }
p { margin: 10px 0; overflow-wrap: anywhere; }
.scroll { overflow-x: auto; margin: 12px 0 20px; }
table { border-collapse: collapse; font-size: 14px; font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: 4px 12px 4px 0; border-bottom: 1px solid #eee; vertical-align: top; }
th:first-child, .words td, .words th { text-align: left; font-weight: normal; }
thead th { color: #555; font-weight: normal; }
.words td { overflow-wrap: anywhere; }
.overview td { white-space: nowrap; }
.bad { color: #b03a00; font-weight: bold; }
.lead { color: #555; font-size: 14px; }
code { font-size: 13px; overflow-wrap: anywhere; }
figure { margin: 28px 0 20px; }
figcaption { font-size: 14px; color: #333; margin-bottom: 8px; }
svg.plot { width: 100%; height: auto; display: block; font: 12px system-ui, "DejaVu Sans", sans-serif; }
svg .grid { stroke: #e6e6e6; }
svg .axis { stroke: #888; }
svg .level { stroke: #111; stroke-dasharray: 3 3; }
svg .band { fill: #dcefe2; }
svg .tick { fill: #333; }
svg .title { fill: #333; font-size: 13px; }
svg .note { fill: #666; font-size: 11px; }
@media print { h2 { break-after: avoid; } figure { break-inside: avoid; } }
"""


def model_page(card: Mapping[str, Any], seconds: Mapping[str, float] | None = None) -> str:
    """The page of a card, whatever it contains. seconds: how long collecting and fitting took."""
    notes = Notes.of(card)
    sections = [section_of(part) for part in notes["evaluation"].objects("parts")[:MOST_PARTS]]
    target = notes["recipe"].text("target")
    title = f"World model of {target}" if target else "World model"
    body = tag(
        "main",
        tag("h1", title),
        paragraph("What this robot has learned to foresee, and how well it does on people, episodes and pushes that no "
                  "fit has seen. Less error is better; a part is worth having if it beats the guess without learning."),
        _overview(sections),
        tag("h2", "What this model is"),
        _facts(notes, seconds or {}),
        *(_shown(i, section) for i, section in enumerate(sections)),
        tag("h2", "Words"),
        _glossary(),
    )  # fmt: skip
    head = join(
        Markup('<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'),
        Markup(f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'),
        tag("title", title),
        tag("style", Markup(STYLE)),
    )
    return f"<!DOCTYPE html>\n{tag('html', tag('head', head), tag('body', body), lang='en')}\n"


def page_path(model: Path) -> Path:
    """The page that belongs to a model file."""
    return model.with_suffix(".html")


def checked(path: Path) -> Path:
    """A path that a page can be written to; UsageError otherwise."""
    if path.suffix not in (".html", ".htm"):
        raise UsageError(f"--page {path}: a page ends in .html")
    if path.is_dir():
        raise UsageError(f"--page {path}: is a folder")
    return path


def write_page(path: Path, card: Mapping[str, Any], seconds: Mapping[str, float] | None = None) -> None:
    """Writes the page of a card, as a whole or not at all."""
    partial = path.with_name(path.name + ".partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(model_page(card, seconds), encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        raise UsageError(f"{path}: the page cannot be written: {error.strerror or error}") from error


def _overview(sections: list[Section]) -> Markup | None:
    """All parts at a glance."""
    if not sections:
        return paragraph("This card holds no evaluation; `robotctl train evaluate DATA --model FILE --page FILE.html` "
                         "makes one.")  # fmt: skip
    rows = []
    for i, section in enumerate(sections):
        link = tag("a", section.title, href=f"#part-{i}")
        baseline = tag("span", section.baseline, class_="bad") if section.better is False else section.baseline
        rows.append([link, section.error, baseline, section.bounds])
    remark = paragraph("Coloured: what is better without learning, or bounds that hold less often than declared.",
                       class_="lead")  # fmt: skip
    shown = table(["", "mean error", "best guess without learning", "bounds held (declared)"], rows)
    return tag("div", shown, remark, class_="overview")


def _shown(index: int, section: Section) -> Markup:
    lead = paragraph(f"Predicts {section.predicts}.") if section.predicts else None
    return tag("section", tag("h2", section.title), lead, section.body, id=f"part-{index}")


def _facts(card: Notes, seconds: Mapping[str, float]) -> Markup:
    """Where the model comes from."""
    recipe, transitions = card["recipe"], card["transitions"]
    counts = []
    for key, (what, unit) in COUNTED.items():
        if transitions.number(key) is not None:
            counts.append(f"{what}: {count(transitions.number(key))} {unit}")
    amounts = [f"{key.replace('_', ' ')} {count(at(values, 0))}" for key, values in recipe["amount"].series().items()]
    versions = [f"{name} {card['versions'].text(name)}" for name in list(card["versions"].content)[:20]]
    evaluated = card["evaluated_on"]
    times = [f"{what} {float(value):,.0f} s" for what, value in seconds.items()]
    rows: list[tuple[str, Any]] = [
        ("made by", card.text("command") and tag("code", card.text("command"))),
        ("target, seed", ", ".join(filter(None, (recipe.text("target"), recipe.text("seed"))))),
        ("data", "; ".join(counts)),
        ("recipe", ", ".join(amounts)),
        ("time", ", ".join(times)),
        ("sha256 of the weights", card.text("sha256") and tag("code", card.text("sha256"))),
        ("sha256 of the data", card.text("data_sha256") and tag("code", card.text("data_sha256"))),
        ("versions", ", ".join(versions)),
        ("evaluated on", f"data of {evaluated.text('target')}, seed {evaluated.text('seed')}" if evaluated else ""),
    ]
    body = [tag("tr", tag("th", name, scope="row"), tag("td", value)) for name, value in rows if value]
    return tag("div", tag("table", tag("tbody", *body), class_="words"), class_="scroll")


def _glossary() -> Markup:
    meanings = [
        ("bound", "a distance around a prediction that holds the truth in a declared share of cases, calibrated on "
                  "cases that the fit did not see (conformal prediction)"),
        ("wanted range", "a bound that holds less often than declared is too bold; one that holds far more often keeps "
                         "the robot away from room that it could use. Wanted is 2 points below to 3 above"),
        ("stays put, nothing moves", "a guess without learning: everything remains where it was last seen"),
        ("goes on as before", "a guess without learning: the velocity last seen continues"),
        ("follows exactly, 25 ms late", "guesses without learning: the joints are where they were told to be; they are "
                                        "where they were told to be 25 ms ago"),
        ("pushed disc, quasi-static push", "guesses without learning: the object is a disc that makes way; it moves as "
                                           "friction and geometry say while nothing slides on"),
        ("rate of all attempts, of its kind", "guesses without learning: the share of attempts that succeeded so far"),
        ("Brier score", "mean squared difference between the predicted probability and what happened (0 or 1)"),
    ]  # fmt: skip
    rows = [tag("tr", tag("th", word, scope="row"), tag("td", meaning)) for word, meaning in meanings]
    return tag("div", tag("table", tag("tbody", *rows), class_="words"), class_="scroll")
