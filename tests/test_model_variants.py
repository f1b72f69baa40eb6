"""What stands in for a learned model: files like any other, that know nothing or nonsense."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from robotctl.scene_files import load_scene
from robotctl.training.target import household
from robotctl.world_model import variants
from robotctl.world_model.composite import DEFAULT, load_world_model
from robotctl.world_model.contact import QUASI_STATIC

ASSUMED = household(load_scene("kitchen")).assumptions


def test_the_analytic_variant_claims_nothing_it_has_not_learned(tmp_path: Path) -> None:
    path = variants.analytic(variants.read(DEFAULT)).save(tmp_path / "a.safetensors", "analytic")
    model = load_world_model(path, ASSUMED)
    q = np.random.default_rng(0).normal(size=(4, 10))
    assert np.allclose(np.concatenate(model.actuators.predict(q, q, q, q[0])), 0.0, atol=1e-6)
    assert np.allclose(model.position_bound, variants.TRACKING_ERROR)
    assert model.success_probability("pick", "cup", {}) == 0.5
    assert model.contact is QUASI_STATIC
    history = np.random.default_rng(1).normal(size=(1, 6, 20, 3))
    assert not model.people.predict(history)[2][0]  # nobody looks usual: the worst case is assumed


def test_random_weights_are_random_and_repeatable(tmp_path: Path) -> None:
    learned = variants.read(DEFAULT)
    one, two, other = (variants.corrupted(learned, seed) for seed in (0, 0, 1))
    name = "actuators.network.w0"
    assert np.array_equal(one.arrays[name], two.arrays[name])
    assert not np.array_equal(one.arrays[name], other.arrays[name])
    assert not np.allclose(one.arrays[name], learned.arrays[name])
    assert np.array_equal(one.arrays["actuators.position_bound"], learned.arrays["actuators.position_bound"])
    load_world_model(one.save(tmp_path / "r.safetensors", "random"), ASSUMED)
