"""How the human motion model would do with other data: fewer people, and recorded clips left out one after another.

What is held out is a clip: none of its frames, neither mirrored nor at another speed, is fitted or calibrated on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from robotctl.training.fit_people import baselines, evaluate_recordings, fit_people, wrist_errors
from robotctl.training.people_data import Windows, together


def first_people(windows: Windows, count: int) -> Windows:
    """The windows of `count` people."""
    return windows.where(np.isin(windows.person, np.unique(windows.person)[:count]))


def learning_curve(
    train: Windows, calibration: Windows, test: Windows, seed: int, steps: int, counts: Sequence[int]
) -> list[dict[str, Any]]:
    """Errors of the right wrist of moving test people, by how many people are fitted on."""
    shown = test.where(test.moving)
    history = shown.history.astype(float)
    still, constant = baselines(history)
    out = []
    for count in counts:
        model = fit_people(first_people(train, count), calibration, seed, steps)
        guesses = {"learned": model.predict(history)[0], "static": still, "constant_velocity": constant}
        out.append({"people": count, "right_wrist": wrist_errors(shown, guesses)})
    return out


def folds_of(clips: Sequence[str], count: int) -> list[tuple[str, ...]]:
    """The clips in `count` folds: each is left out once."""
    return [tuple(clips[i::count]) for i in range(count)]


def leave_clips_out(
    people: tuple[Windows, Windows, Windows],
    fitted: Mapping[str, Windows],
    judged: Mapping[str, Mapping[str, Windows]],
    seed: int,
    steps: int,
    folds: int,
) -> dict[str, Any]:
    """Every clip predicted by a model of ordinary people and of all clips but those of its fold.

    people: ordinary ones to fit, calibrate and test with. fitted: windows to fit with, by clip. judged: windows to
    judge by, by clip, for each of several ways (speeds) to play them. Errors are means over clips.
    """
    rows: dict[str, dict[str, Any]] = {way: {} for way in judged}
    for held in folds_of(sorted(fitted), folds):
        seen = [windows for clip, windows in fitted.items() if clip not in held]
        model = fit_people(together([people[0], *seen]), people[1], seed, steps)
        for way, clips in judged.items():
            answer = evaluate_recordings(model, people[2], {clip: clips[clip] for clip in held})
            rows[way] |= answer["clips"]
    return {way: {"right_wrist": _mean(found), "clips": found} for way, found in rows.items()}


def _mean(clips: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """Mean over clips of their mean errors [m]."""
    rows = [row["right_wrist"] for row in clips.values()]
    return {
        name: {step: round(float(np.mean([row[name][step] for row in rows])), 4) for step in rows[0][name]}
        for name in rows[0]
    }
