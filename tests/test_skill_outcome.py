"""Predicted skill outcomes: how reliable the probabilities are, and how far from its spot a thing ends."""

from __future__ import annotations

import json

import numpy as np
import pytest

from robotctl.training.fit_skills import evaluate_skills, fit_skills, pinball, quantile_regression
from robotctl.world_model.calibration import calibration_error_by_chance, expected_calibration_error
from robotctl.world_model.skill_outcome import SkillAttempt, skill_from_notes


def test_calibration_error_is_the_mean_gap_of_equally_full_bins() -> None:
    probability = np.repeat([0.2, 0.8], 10)
    outcome = np.repeat([0.0, 1.0, 0.0, 1.0], [7, 3, 2, 8])
    assert expected_calibration_error(probability, outcome, bins=2) == pytest.approx(0.05)
    assert expected_calibration_error(np.full(10, 0.9), np.zeros(10)) == pytest.approx(0.9)
    assert expected_calibration_error(np.array([1.0]), np.array([1.0])) == 0.0


def test_what_scatters_by_chance_is_told() -> None:
    assert calibration_error_by_chance(np.ones(50), 0) == 0.0
    few, many = (calibration_error_by_chance(np.full(n, 0.5), 0) for n in (50, 5000))
    assert many < 0.02 < few


def test_quantile_regression_finds_a_line_that_nine_of_ten_stay_below() -> None:
    rng = np.random.default_rng(1000)
    x = np.column_stack([rng.uniform(-1.0, 1.0, 2000), np.ones(2000)])
    y = 2.0 * x[:, 0] + rng.exponential(size=2000)
    weights = quantile_regression(x, y, 0.9, ridge=0.0)
    np.testing.assert_allclose(weights, [2.0, np.log(10.0)], atol=0.25)
    assert np.mean(y <= x @ weights) == pytest.approx(0.9, abs=0.02)
    assert pinball(np.array([1.0, -1.0]), 0.9).tolist() == pytest.approx([0.9, 0.1])


def places(n: int, slope: float) -> list[SkillAttempt]:
    """Mostly careful placements; dropped ones end `slope` times the height farther away; over the edge all fall."""
    rng = np.random.default_rng(1000)
    out = []
    for _ in range(n):
        height = rng.uniform(0.01, 0.2) if rng.uniform() < 0.4 else 0.004
        edge = rng.uniform(-0.06, 0.06)
        success = edge > 0.0 or rng.uniform() < 0.05
        away = 0.002 * rng.exponential() + slope * height
        out.append(SkillAttempt("place", "cup", {"release_height": height, "edge": edge}, success, 5.0, away))
    return out


def test_the_placement_error_grows_with_what_makes_it_grow() -> None:
    tried = places(200, 0.1)
    model = fit_skills(tried, 0)
    careful = model.displacement("place", "cup", {"release_height": 0.004, "edge": 0.05})
    dropped = model.displacement("place", "cup", {"release_height": 0.2, "edge": 0.05})
    assert dropped > 3.0 * careful
    assert model.displacement("place", "cup") < 1.5 * careful  # a caller who says nothing means a careful placement
    (part,) = evaluate_skills(tried, 0)
    told = part["displacement"]
    assert told["pinball_log"] < 0.8 * told["pinball_log_by_kind"]
    assert 0.84 < told["below"] < 0.97
    assert part["below_base_rate"] > 0.5
    assert part["calibration_error"] < part["calibration_error_by_chance"] + 0.05


def test_features_that_tell_nothing_of_the_error_are_left_out() -> None:
    skill = fit_skills(places(200, 0.0), 0).skills["place"]
    assert skill.displacement("cup", {"release_height": 0.2}) < 2.0 * skill.displacement("cup", {})


def test_a_skill_survives_its_notes_and_an_older_file_is_read() -> None:
    skill = fit_skills(places(100, 0.1), 0).skills["place"]
    notes = json.loads(json.dumps(skill.notes()))
    again = skill_from_notes(notes, skill.network)
    seen = {"release_height": 0.1, "edge": 0.03}
    assert again.displacement("cup", seen) == skill.displacement("cup", seen)
    assert again.probability("cup", seen) == skill.probability("cup", seen)
    older = {key: value for key, value in notes.items() if not key.startswith("displacement_")}
    assert skill_from_notes(older, skill.network).displacement("cup", seen) == skill.displacements["cup"]
    with pytest.raises(ValueError, match="displacement"):
        skill_from_notes(notes | {"displacement_weights": [1.0]}, skill.network)


def test_all_skills_are_scored_together() -> None:
    picks = [SkillAttempt("pick", "cup", {}, i % 5 > 0, 3.0, 0.0) for i in range(50)]
    parts = evaluate_skills(picks + places(60, 0.1), 0)
    assert [part["name"] for part in parts] == ["skill_outcome.pick", "skill_outcome.place", "skill_outcome.all"]
    assert parts[2]["n"] == 110
