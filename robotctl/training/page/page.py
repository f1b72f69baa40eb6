"""Turns a model card into one HTML page that a stranger can read: it stands alone and asks nothing of the network."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from robotctl.page.document import document, paragraph, table, write
from robotctl.page.markup import Markup, tag
from robotctl.training.page.card import Notes, at
from robotctl.training.page.parts import Section, count, section_of

COUNTED = {
    "people": ("people watched", "windows"),
    "play": ("play with the joints", "samples"),
    "skills": ("skills tried", "attempts"),
    "pushes": ("things pushed", "steps"),
}
MOST_PARTS = 40


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
    return document(title, body)


def page_path(model: Path) -> Path:
    """The page that belongs to a model file."""
    return model.with_suffix(".html")


def write_page(path: Path, card: Mapping[str, Any], seconds: Mapping[str, float] | None = None) -> None:
    """Writes the page of a card, as a whole or not at all."""
    write(path, model_page(card, seconds))


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
