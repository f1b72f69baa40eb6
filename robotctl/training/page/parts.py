"""Says of each learned part what it predicts and how well: sentences, plots and tables from its entry of a card."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from robotctl.page.document import figure, paragraph, table
from robotctl.page.markup import Markup, join, tag
from robotctl.page.plots import Bar, Series, bar_plot, line_plot
from robotctl.training.page.card import Notes, at
from robotctl.training.page.figures import (
    cell,
    coverage_plot,
    errors_by_horizon,
    learning_curve,
    levels,
    wilson,
)
from robotctl.training.page.sentences import (
    Value,
    best_of,
    better,
    bounds,
    compared,
    count,
    guess,
    horizon,
    kept,
    percent,
    said,
    words,
)


@dataclass(frozen=True)
class Section:
    """One part on the page."""

    title: str
    predicts: str
    error: str
    baseline: str  # the best guess without learning
    bounds: Any  # words or markup
    better: bool | None  # than that guess; None if not known
    body: Markup


def section_of(part: Notes) -> Section:
    """The section of a part; of one that is not known, what its entry says of errors."""
    name = part.text("name")
    if name.startswith("skill_outcome"):
        return _skill(part, name.removeprefix("skill_outcome").strip("."))
    return _KNOWN.get(name, _other)(part)


def _people(part: Notes) -> Section:
    index, ahead = horizon(part, 1.0)
    unit, baselines = part.text("unit"), part["baselines"].series()
    error, (name, best) = at(part.numbers("error"), index), best_of(baselines, index)
    held, nominal = part["coverage"].number("moving"), part["coverage"].number("nominal")
    curves = {"learned": part.numbers("error"), **baselines}
    people, windows = count(part.number("people")), count(part.number("n"))
    wrist = [
        [words(who), *(said(row.number(step), "m") for step in ("0.5", "1.0"))]
        for who, row in part["right_wrist"].items()
    ]
    tested = f"Tested on {people} people that no fit has seen: {windows} windows in which they move."
    body = join(
        paragraph(
            f"{ahead}, a keypoint of the body (20 of them, such as a wrist) is on average {said(error, unit)} from "
            "where it was predicted. ",
            compared(error, name, best, unit) + " ",
            tested,
        ),
        errors_by_horizon(part, curves, "How far predictions are off, by how far they look ahead; people who move."),
        wrist and join(paragraph("The right wrist alone, mean error:"), table(["", "0.5 s", "1 s"], wrist)),
        paragraph(
            f"Around every predicted keypoint lies a bound that is declared to hold it in {percent(nominal, 0)} of the "
            f"cases in which a person moves. It held {kept(held, nominal)}."
        ),
        _people_coverage(part, nominal),
        figure(
            line_plot(
                [Series(name, part.numbers("horizon_s"), v) for name, v in part["bound_mean"].series().items()],
                "seconds ahead", f"mean radius [{unit}]", height=240.0,
            ),
            "How large the bounds are, by body part. The planner keeps the robot out of them.",
        ),
        _clips(part["held_out_clips"]),
    )  # fmt: skip
    return Section(
        "Where people will be",
        "the keypoints of a person up to 3 s ahead, from half a second of readings",
        f"{said(error, unit)}, {ahead}", guess(name, best, unit), bounds(held, nominal),
        better(error, best), body,
    )  # fmt: skip


def _people_coverage(part: Notes, nominal: Value) -> Markup:
    """Coverage by body part, step and person."""
    coverage = part["coverage"]
    error = coverage.number("standard_error")
    moving = coverage.number("moving")
    ends = (None, None) if error is None or moving is None else (moving - 1.96 * error, moving + 1.96 * error)
    bars = [Bar("all", moving, *ends)]
    bars += [Bar(name, at(v, 0)) for name, v in coverage["moving_by_part"].series().items()]
    by_step = line_plot(
        [Series("held", part.numbers("horizon_s"), coverage.numbers("moving_by_step"))], "seconds ahead",
        "share held", y_range=(0.7, 1.0), levels=levels(nominal), height=220.0,
    )  # fmt: skip
    person = coverage["by_person"]
    each = person.numbers("each")
    order = sorted(v for v in each if v is not None)
    rank = [float(i + 1) for i in range(len(order))]
    by_person = line_plot(
        [Series("a person", rank, order, joined=False)], "people, the worst predicted first", "share held",
        y_range=(min([0.7, *order]), 1.0), levels=levels(nominal), height=220.0,
    )  # fmt: skip
    spread = ""
    if person.number("min") is not None:
        spread = (
            f" From {percent(person.number('min'))} to {percent(person.number('max'))}, the median is "
            f"{percent(person.number('median'))}; {percent(person.number('within'), 0)} of the people are in the "
            "wanted range."
        )
    return join(
        coverage_plot(
            bars, nominal, "How often the bounds held, all together and by body part. The line is a 95\xa0% interval."
        ),
        figure(by_step, "How often the bounds held, by how far they look ahead."),
        figure(by_person, f"How often the bounds held, person by person.{spread}"),
    )


def _clips(clips: Notes) -> Markup | None:
    """What becomes of recorded motions that nobody was trained on."""
    if not clips:
        return None

    def row(name: str, entry: Notes) -> list[str]:
        wrist = [entry["right_wrist"][who].number("1.0") for who in ("learned", "as_used", "static")]
        held = entry.number("coverage_trusted")
        return [name, percent(entry.number("flagged"), 0), *(said(w, "m") for w in wrist),
                "-" if held is None else percent(held), count(entry.number("n"))]  # fmt: skip

    rows = [row("all clips", clips), *(row(name, entry) for name, entry in clips["clips"].items())]
    head = [
        "",
        "flagged as strange",
        "wrist at 1 s: learned",
        "as used",
        "stays put",
        "bounds held, if not flagged",
        "n",
    ]
    return join(
        tag("h3", "People unlike those it learned from"),
        paragraph(
            "Recorded motions (dance, kick, roll, …), slowed down to the speeds that the safety case assumes; no fit "
            "has seen any of them. What the model flags as strange is not predicted at run time: the person stays "
            "where last seen, within the worst-case bound (“as used”). A good model flags what it predicts badly, and "
            f"seldom flags ordinary people (here {percent(clips.number('ordinary_flagged'), 2)} of the readings).",
        ),
        table(head, rows),
    )


def _drives(part: Notes) -> Section:
    index, ahead = horizon(part, 1.0)
    unit, baselines = part.text("unit"), part["baselines"].series()
    error, (name, best) = at(part.numbers("error"), index), best_of(baselines, index)
    coverage = part["coverage"]
    held, nominal = coverage.number("moving"), coverage.number("nominal")
    loads = {f"{load} hand": part[load].series().get("learned", []) for load in ("loaded", "empty")}
    curves = {"learned": part.numbers("error"), **baselines}
    bars = [
        Bar("position, all", held),
        Bar("position, loaded hand", coverage.number("moving_loaded")),
        Bar("speed", coverage.number("speed")),
    ]
    body = join(
        paragraph(
            f"{ahead}, the hand is on average {said(error, unit)} from where it was predicted. ",
            compared(error, name, best, unit) + " ",
            f"Tested on {count(part.number('episodes'))} episodes of play that no fit has seen, while the robot moves.",
        ),
        errors_by_horizon(part, curves, "How far the hand is from where it was predicted; the robot moves."),
        figure(
            line_plot([Series(n, part.numbers("horizon_s"), v) for n, v in loads.items()], "seconds ahead",
                      f"mean error [{unit}]", height=220.0),
            "The learned error with something in the hand, and without.",
        ),
        paragraph(
            f"The bound is declared to hold every part of the moving robot in {percent(nominal, 0)} of the cases. "
            f"It held {kept(held, nominal)}."
        ),
        coverage_plot(bars, nominal, "How often the bounds held."),
    )  # fmt: skip
    return Section(
        "Where the joints really are",
        "how far the drives are from what they were told, up to 3 s ahead",
        f"{said(error, unit)}, {ahead}", guess(name, best, unit), bounds(held, nominal),
        better(error, best), body,
    )  # fmt: skip


def _skill(part: Notes, name: str) -> Section:
    error, baselines = part.number("error"), part["baselines"].series()
    best_name, best = best_of(baselines, 0)
    rate, n = part.number("success_rate"), part.number("n")
    gap, chance = part.number("calibration_error"), part.number("calibration_error_by_chance")
    auroc = part.number("auroc")
    sentences = [
        f"{count(n)} attempts, of which {percent(rate, 0)} succeeded, each predicted by a fit that left it out. The "
        f"Brier score (mean squared error of the predicted probability; 0 is perfect) is {said(error, '')}. ",
        compared(error, best_name, best, ""),
    ]
    if auroc is not None:
        sentences.append(
            f" Of a success and a failure, the success had the higher predicted probability in {percent(auroc, 0)} of "
            "the pairs (50\xa0% is guessing)."
        )
    if gap is not None and chance is not None:
        verdict = "no more than" if gap <= chance else "more than"
        sentences.append(
            f" Predicted and measured frequencies are {percent(gap)} apart on average, {verdict} the {percent(chance)} "
            "that chance alone gives so few attempts."
        )
    bars = [Bar("learned", error), *(Bar(words(k), at(v, 0), group=1) for k, v in baselines.items())]
    kinds = []
    for kind, pair in part["success_by_kind"].series().items():
        good, tried = at(pair, 0), at(pair, 1)
        share = good / tried if good is not None and tried else None
        kinds.append(Bar(kind, share, *wilson(share, tried), note=f"{count(good)} of {count(tried)}"))
    body = join(
        paragraph(*sentences),
        _reliability(part),
        figure(bar_plot(bars, "Brier score (less is better)"), "Error beside guesses without learning."),
        figure(
            bar_plot(kinds, "share of attempts that succeeded", x_range=(0.0, 1.0), dots=True),
            "What was tried, by kind of object, with 95\xa0% intervals.",
        ),
        _displacement(part["displacement"]),
        learning_curve(part, "the Brier score of predictions"),
    )  # fmt: skip
    title = "All skills together" if name == "all" else f"Whether “{name}” will succeed"
    return Section(
        title, "the probability that an attempt succeeds, before it is made" if name != "all" else "the same, pooled",
        f"{said(error, '')} (Brier score)", guess(best_name, best, ""), "-", better(error, best), body,
    )  # fmt: skip


def _reliability(part: Notes) -> Markup | None:
    """Predicted against measured frequencies of success."""
    bins = part.objects("reliability")
    predicted, observed, n = ([b.number(key) for b in bins] for key in ("predicted", "observed", "n"))
    ends = [wilson(o, m) for o, m in zip(observed, n, strict=True)]
    series = Series(
        "share that succeeded", predicted, observed, [e[0] for e in ends], [e[1] for e in ends],
        [f"n = {count(m)}" for m in n], joined=False,
    )  # fmt: skip
    plot = line_plot(
        [series], "predicted probability of success", "share that succeeded", x_range=(0.0, 1.0), y_range=(0.0, 1.0),
        diagonal=True, right_margin=280.0, keyed=False, height=400.0,
    )  # fmt: skip
    caption = (
        "Are the probabilities honest? Attempts with similar predictions are taken together: of those given 0.8, eight "
        "of ten should succeed, and the point lie on the diagonal. Lines are 95\xa0% intervals; few attempts scatter."
    )
    return figure(plot, caption)


def _displacement(told: Notes) -> Markup | None:
    if not told:
        return None
    return paragraph(
        f"The model also says how far from its spot a thing may end. {percent(told.number('nominal'), 0)} of the "
        f"successes should stay below that; {percent(told.number('below'))} of {count(told.number('n'))} did. On "
        f"average it says {said(told.number('mean_mm'), 'mm')}; {said(told.number('mean_mm_by_kind'), 'mm')} if it "
        "knows the kind of object alone."
    )


def _pushes(part: Notes) -> Section:
    index, ahead = horizon(part, 2.0)
    unit, baselines = part.text("unit"), part["baselines"].series()
    error, (name, best) = at(part.numbers("error"), index), best_of(baselines, index)
    coverage = part["coverage"]
    held, nominal = coverage.number("moving"), coverage.number("nominal")
    unseen = part["unseen_kinds"]
    new = {str(kind) for kind in unseen.content.get("kinds", []) if isinstance(kind, str)} if unseen else set()
    strange = {key: v for key, v in unseen.series().items() if key not in ("kinds", "n")}
    kinds = [(kind, row, int(kind in new)) for kind, row in part["by_kind"].items()]
    kinds.sort(key=lambda entry: (entry[2], entry[0]))
    errors, covered = [], []
    for kind, row, group in kinds:
        value, spread, note = row.number("error_2s"), row.number("standard_error_2s"), f"n = {count(row.number('n'))}"
        ends = (
            (None, None) if value is None or spread is None else (max(value - 1.96 * spread, 0), value + 1.96 * spread)
        )
        errors.append(Bar(kind, value, ends[0], ends[1], row.number("quasi_static_2s"), note, group))
        covered.append(Bar(kind, row.number("coverage"), note=note, group=group))
    names = ["learned from", "never seen"] if new else []
    reference = "quasi-static push" if any(bar.reference is not None for bar in errors) else ""
    new_error, (new_name, new_best) = at(unseen.numbers("learned"), index), best_of(
        {k: v for k, v in strange.items() if k != "learned"}, index
    )  # fmt: skip
    body = join(
        paragraph(
            f"{ahead}, a pushed object is on average {said(error, unit)} from where it was predicted. ",
            compared(error, name, best, unit) + " ",
            f"Tested on {count(part.number('n'))} pushes that moved something, of {count(part.number('pushes'))} made; "
            "they aim at the object, as the planner's do.",
        ),
        errors_by_horizon(part, {"learned": part.numbers("error"), **baselines},
                "How far predictions are off, by how far they look ahead; kinds that were learned from."),
        tag("h3", "Kinds of objects that were never pushed before") if strange else None,
        paragraph(
            f"No fit has seen: {', '.join(sorted(new)) or 'not known'}. {ahead}, the error is {said(new_error, unit)} "
            f"({count(unseen.number('n'))} pushes). ", compared(new_error, new_name, new_best, unit),
        ) if strange else None,
        errors_by_horizon(part, strange, "The same for kinds that no fit has seen.") if strange else None,
        figure(
            bar_plot(errors, f"mean error at 2 s [{unit}]", names=names, reference=reference),
            "Error 2 s ahead by kind of object, with 95\xa0% intervals.",
        ),
        paragraph(
            f"Bounds are declared to hold a moving object in {percent(nominal, 0)} of the cases. Of kinds that were "
            f"learned from they held {kept(held, nominal)}. Of kinds never seen they held "
            f"{kept(coverage.number('moving_unseen_kinds'), nominal)}."
        ),
        coverage_plot(
            covered, nominal, "How often the bounds held, by kind of object. Few pushes of a kind (n) scatter.", names
        ),
        _radii(part),
        learning_curve(part, "the error 2 s ahead"),
    )  # fmt: skip
    return Section(
        "Where a pushed object goes", "the pose of an object that the closed hand pushes, up to 3 s ahead",
        f"{said(error, unit)}, {ahead}", guess(name, best, unit), bounds(held, nominal),
        better(error, best), body,
    )  # fmt: skip


def _radii(part: Notes) -> Markup | None:
    """The bounds themselves."""
    horizon = [0.0, *(h for h in part.numbers("horizon_s") if h is not None)]
    rows = [
        ["any kind never seen" if kind == "*" else kind, *(cell(at(values, i)) for i in range(len(horizon)))]
        for kind, values in part["bound_mm"].series().items()
    ]
    shown = table(["bound [mm]", *(f"{h:g} s" for h in horizon)], rows)
    return shown and join(paragraph("How large the bounds are, by kind:"), shown)


def _other(part: Notes) -> Section:
    """A part that this page does not know."""
    index, ahead = horizon(part, 1.0)
    unit, baselines = part.text("unit"), part["baselines"].series()
    values = part.numbers("error") or [part.number("error")]
    error, (name, best) = at(values, index or 0), best_of(baselines, index or 0)
    body = join(
        paragraph(f"Mean error {ahead}: {said(error, unit)}. ", compared(error, name, best, unit)),
        errors_by_horizon(part, {"learned": values, **baselines}, "Error by horizon."),
        learning_curve(part, "the error"),
    )
    shown = part.text("name").replace("_", " ") or "a part without a name"
    return Section(
        shown, "", said(error, unit), guess(name, best, unit),
        bounds(part["coverage"].number("moving"), part["coverage"].number("nominal")), better(error, best), body,
    )  # fmt: skip


_KNOWN: dict[str, Callable[[Notes], Section]] = {
    "human_motion": _people,
    "actuator_residual": _drives,
    "contact": _pushes,
}
