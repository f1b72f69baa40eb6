"""What more data are worth: learning curves, and curiosity against random play."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from robotctl.errors import UsageError
from robotctl.training import study_curiosity, units
from robotctl.training.fit_skills import evaluate_skills
from robotctl.training.learning_curves import of_attempts, sizes
from robotctl.training.study_curiosity import Fit, Study, at_equal_error, needed, ratio, study
from robotctl.training.units import Unit
from robotctl.world_model.skill_outcome import SkillAttempt

SIZES = np.array([10.0, 20.0, 40.0, 80.0])


def test_the_last_point_of_a_skills_curve_is_what_its_evaluation_says() -> None:
    lucky = np.random.default_rng(0).uniform(size=36) < 0.2 + 0.3 * (np.arange(36) % 3)
    tried = [SkillAttempt("pick", ("fork", "cup")[i % 2], {"gap": 0.1}, bool(lucky[i]), 3.0, 0.01) for i in range(36)]
    curve = of_attempts(tried, 3)
    (part,) = evaluate_skills(tried, 3)
    assert curve["n"] == [3, 7, 14, 27]
    assert curve["error"][-1] == pytest.approx(part["error"], abs=1e-4)
    assert curve["baselines"]["base_rate"][-1] == pytest.approx(part["baselines"]["base_rate"], abs=1e-4)
    assert sizes(3) == [1, 2, 3]
    assert of_attempts(tried[:1], 3)["n"] == []


def test_pushes_needed_for_an_error() -> None:
    error = 10.0 / SIZES  # halves whenever the pushes double
    assert needed(SIZES, error, 0.25) == pytest.approx(40.0)
    assert needed(SIZES, error, 1.0) == 10.0
    assert needed(SIZES, error, 10.0 / 27.0) == pytest.approx(27.0)
    assert needed(SIZES, error, 0.01) is None
    assert needed(SIZES, np.array([4.0, 2.0, 3.0, 1.0]), 2.0) == pytest.approx(20.0)  # it rises again: no matter
    assert needed(SIZES, np.ones(4), 1.0) == 10.0


def test_what_learns_from_half_the_pushes_is_worth_two() -> None:
    random, curious = 10.0 / SIZES, 5.0 / SIZES
    assert at_equal_error(SIZES, random, curious) == pytest.approx(2.0)
    assert at_equal_error(SIZES, curious, random) == pytest.approx(0.5)
    generator = np.random.default_rng(1)
    both = [
        [
            curve[None, :, None] * generator.lognormal(0.0, 0.05, (3, 1, 1)) * generator.lognormal(0.0, 0.3, (1, 1, 60))
            for _ in range(2)
        ]
        for curve in (random, curious)
    ]
    found = ratio(Study("kitchen", 1, 60, tuple(int(n) for n in SIZES), 1, 3, 2), *both)
    low, high = found["ci95"]
    assert low <= found["value"] <= high
    assert low > 1.0
    assert found["worth"][-1]["curious"] < 80.0


def test_a_study_compares_its_fits_and_keeps_what_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = Study("kitchen", 1, 25, (10, 20), 200, 2, 3)
    collected: list[Unit] = []
    monkeypatch.setattr(units, "make_all", lambda jobs, *_: collected.extend(jobs))
    monkeypatch.setattr(study_curiosity, "_fit_chooser", lambda *_: None)

    def fitted(work: object, jobs: list[Fit], workers: int) -> Iterator[None]:
        for fit in jobs:
            fit.folder.mkdir(parents=True, exist_ok=True)
            known = [0.1 * (fit.seed + 2) / fit.size / (2.0 if fit.arm == "curious" else 1.0)] * 30
            answer = {"steps": 200, "aimed": 25, "moved": 0.5, "known": known, "unseen": []}
            fit.path.write_text(json.dumps(answer))
            yield

    monkeypatch.setattr(units, "in_processes", fitted)
    found = study(plan, tmp_path / "study")
    assert found["known_kinds"]["random"] == [40.0, 20.0]
    assert found["known_kinds"]["curious"] == [20.0, 10.0]
    assert found["known_kinds"]["data_ratio"]["value"] == pytest.approx(2.0)
    assert found["known_kinds"]["test_pushes"] == 90
    assert found["known_kinds"]["data_ratio"]["worth"][0] == {"random": 10, "curious": 10.0}
    assert "unseen_kinds" not in found  # none of them was pushed
    places = {(job.path.parent.name, job.number, job.model is not None, job.aimed) for job in collected}
    assert ("random", 0, False, False) in places
    assert ("aimed", 5000, False, True) in places
    assert not any(arm == "curious" and (number == 0 or not chosen) for arm, number, chosen, _ in places)

    def refused(work: object, jobs: list[Fit], workers: int) -> Iterator[None]:
        raise AssertionError("nothing is fitted twice")

    monkeypatch.setattr(units, "in_processes", refused)
    assert study(plan, tmp_path / "study") == found


def test_a_foreign_folder_or_odd_sizes_are_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("important")
    with pytest.raises(UsageError, match="choose another folder"):
        study(Study("kitchen", 1, 25, (5, 10), 1, 1), tmp_path)
    with pytest.raises(UsageError, match="ascend"):
        study(Study("kitchen", 1, 25, (10, 5), 1, 1), tmp_path / "new")
