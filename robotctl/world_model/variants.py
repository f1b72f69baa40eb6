"""Makes models that stand in for a learned one, to see what learning is worth: one that learned nothing, one gone mad.

Both are model files like any other, so that a run with one differs from a run with the learned one in nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from robotctl.world_model import storage
from robotctl.world_model.contact import MOST

TRACKING_ERROR = 0.008  # of the safety case: the bound of a model that knows nothing of the drives [m]
SPEED_ERROR = 0.06  # [m/s]
WILDNESS = 3.0  # random weights are this many times as large as the learned ones


@dataclass(frozen=True)
class Contents:
    """What a model file holds."""

    arrays: dict[str, np.ndarray]
    notes: dict[str, Any]

    def save(self, path: Path, what: str) -> Path:
        storage.save(path, self.arrays, self.notes, {"schema": "robotctl/model-card.v1", "variant": what})
        return path


def read(path: Path) -> Contents:
    """The contents of a model file."""
    arrays, notes, _ = storage.load(path)
    return Contents(arrays, notes)


def analytic(model: Contents) -> Contents:
    """What is known without learning, in the model's format.

    Joints follow their reference, within what the safety case assumes; nobody's readings look usual, so people may be
    anywhere their assumed speed allows; no skill was ever tried; pushes are quasi-static.
    """
    arrays = {name: value for name, value in model.arrays.items() if not name.startswith(("contact.", "skill."))}
    arrays = {
        name: np.zeros_like(value) if _learned(name) or name in ("actuators.latency", "actuators.inertia") else value
        for name, value in arrays.items()
    }
    arrays["people.unusual"] = np.full(2, -1.0, np.float32)
    arrays["actuators.position_bound"] = np.full_like(arrays["actuators.position_bound"], TRACKING_ERROR)
    arrays["actuators.speed_bound"] = np.full_like(arrays["actuators.speed_bound"], SPEED_ERROR)
    return Contents(arrays, {**model.notes, "skills": {}})


def corrupted(model: Contents, seed: int) -> Contents:
    """The model with random numbers for everything it learned; its bounds go on claiming what they claimed."""
    generator = np.random.default_rng(seed)
    arrays = dict(sorted(model.arrays.items()))
    for name, value in arrays.items():
        if _learned(name) or name in ("actuators.latency", "actuators.inertia"):
            spread = WILDNESS * max(float(np.std(value)), 1e-3)
            arrays[name] = generator.normal(scale=spread, size=value.shape).astype(np.float32)
        elif name == "contact.friction":
            arrays[name] = generator.uniform(0.0, MOST)
    return Contents(arrays, model.notes)


def _learned(name: str) -> bool:
    """Whether an array holds weights."""
    return ".network." in name or name.startswith("skill.") or name == "people.linear"
