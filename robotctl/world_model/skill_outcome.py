"""Predicts how a skill will end before it is tried: probability of success, time it takes, how exactly it places.

What is learned from is one `SkillAttempt` for each skill that the robot tried. Until a skill has been tried, the
prediction is the mean of a Beta(1, 1) prior: one half. On a kind of object that the skill was never tried on, mechanics
has a say beside: a feature `load`, what is asked of the grip over what its friction gives, must stay below 1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import erf, log, sqrt
from typing import Any

import numpy as np

from robotctl.world_model.ensemble import Ensemble

PRIOR = (1.0, 1.0)  # successes and failures counted before any were seen
PRIOR_DURATION = 8.0  # of a skill that was never tried [s]
PRIOR_DISPLACEMENT = 0.02  # of a placement that was never tried [m]
LOAD_DOUBT = 0.15  # standard deviation of the logarithm of a load: mass, friction and grip force as they are known
LEAST_DISPLACEMENT = 5e-4  # below this the camera tells no difference [m]


@dataclass(frozen=True)
class SkillAttempt:
    """One try of a skill."""

    skill: str  # pick, place, ...
    kind: str  # of the object
    features: dict[str, float]  # geometry that could be known before
    success: bool
    duration: float  # [s]
    displacement: float  # distance of the object from where it should have ended up [m]; nan if unknown


@dataclass(frozen=True)
class SkillModel:
    """What is known of one skill."""

    names: tuple[str, ...]  # features, then `kind=<name>` for every kind seen
    center: np.ndarray  # (F,) of the features
    spread: np.ndarray  # (F,)
    network: Ensemble | None  # F -> 1 logit; None while too little was tried
    temperature: float  # logits are divided by it: calibrated on attempts that were left out
    counts: dict[str, tuple[int, int]]  # kind -> successes, failures
    durations: dict[str, float]  # kind -> mean time of a successful attempt [s]
    displacements: dict[str, float]  # kind -> 90th percentile of the placement error [m]
    weights: np.ndarray | None = None  # (F + 1,) linear logit, the constant last; None: the network's, or counted only
    # (F + 1,) linear 90th percentile of the error's logarithm, the constant last, and its range (2,); None while the
    # features do not tell more of it than the kind does
    displacement_weights: np.ndarray | None = None
    displacement_range: tuple[float, float] = (LEAST_DISPLACEMENT, PRIOR_DISPLACEMENT)  # of those seen [m]

    def displacement(self, kind: str, features: Mapping[str, float]) -> float:
        """Placement error that nine of ten successful attempts stay below [m]."""
        if self.displacement_weights is None:
            return _known(self.displacements, kind, PRIOR_DISPLACEMENT)
        x = np.clip((self.vector(kind, features) - self.center) / self.spread, -4.0, 4.0)
        value = np.exp(x @ self.displacement_weights[:-1] + self.displacement_weights[-1])
        return float(np.clip(value, *self.displacement_range))

    def probability(self, kind: str, features: Mapping[str, float]) -> float:
        """Of success, never 0 or 1."""
        good, bad = self.counts.get(kind, (0, 0))
        if not good + bad:
            good, bad = sum(c[0] for c in self.counts.values()), sum(c[1] for c in self.counts.values())
        rate = (good + PRIOR[0]) / (good + bad + sum(PRIOR))
        x = np.clip((self.vector(kind, features) - self.center) / self.spread, -4.0, 4.0)
        if self.weights is not None:
            logit = np.atleast_1d(x @ self.weights[:-1] + self.weights[-1])
        elif self.network is not None:
            logit = self.network(x[None].astype(np.float32))[:, 0, 0]
        else:
            return rate
        logit = logit / self.temperature
        predicted = float(np.mean(1.0 / (1.0 + np.exp(-logit))))
        n = sum(sum(c) for c in self.counts.values())
        return (n * predicted + sum(PRIOR) * rate) / (n + sum(PRIOR))

    def vector(self, kind: str, features: Mapping[str, float]) -> np.ndarray:
        """Features in the order of `names`, (F,); one that is not given counts as average."""
        out = self.center.copy()
        for i, name in enumerate(self.names):
            if name.startswith("kind="):
                out[i] = float(name == f"kind={kind}")
            elif name in features and np.isfinite(features[name]):
                out[i] = features[name]
        return out

    def notes(self) -> dict[str, Any]:
        """Everything but the network, for storage as JSON."""
        return {
            "names": list(self.names),
            "center": [float(v) for v in self.center],
            "spread": [float(v) for v in self.spread],
            "temperature": self.temperature,
            "counts": {kind: list(c) for kind, c in self.counts.items()},
            "durations": self.durations,
            "displacements": self.displacements,
            "weights": _listed(self.weights),
            "displacement_weights": _listed(self.displacement_weights),
            "displacement_range": list(self.displacement_range),
            "network": self.network is not None,
        }


@dataclass(frozen=True)
class SkillOutcomeModel:
    """Outcomes of all skills."""

    skills: dict[str, SkillModel] = field(default_factory=dict)

    def success_probability(self, skill: str, kind: str, features: Mapping[str, float]) -> float:
        """Predicted probability that the attempt succeeds."""
        model = self.skills.get(skill)
        chance = PRIOR[0] / sum(PRIOR) if model is None else model.probability(kind, features)
        tried = model is not None and sum(model.counts.get(kind, (0, 0))) > 0
        return chance if tried or "load" not in features else chance * holding_probability(features["load"])

    def duration(self, skill: str, kind: str) -> float:
        """Expected time of a successful attempt [s]."""
        model = self.skills.get(skill)
        return PRIOR_DURATION if model is None else _known(model.durations, kind, PRIOR_DURATION)

    def displacement(self, skill: str, kind: str, features: Mapping[str, float] | None = None) -> float:
        """Placement error that nine of ten attempts stay below [m]; without features, that of a usual attempt."""
        model = self.skills.get(skill)
        return PRIOR_DISPLACEMENT if model is None else model.displacement(kind, features or {})


def holding_probability(load: float) -> float:
    """That the grip holds, given the force asked of it over what it gives: one half at 1, its logarithm normal."""
    return 1.0 if load <= 0.0 else 0.5 * (1.0 - erf(log(load) / (LOAD_DOUBT * sqrt(2.0))))


def _known(values: dict[str, float], kind: str, otherwise: float) -> float:
    """The kind's value, else the mean over kinds, else `otherwise`."""
    if kind in values:
        return values[kind]
    return float(np.mean(list(values.values()))) if values else otherwise


def skill_from_notes(notes: Mapping[str, Any], network: Ensemble | None) -> SkillModel:
    """The counterpart of SkillModel.notes; ValueError, KeyError or TypeError when something is missing or odd."""
    names = tuple(str(name) for name in notes["names"])
    center, spread = np.array(notes["center"], float), np.array(notes["spread"], float)
    if center.shape != (len(names),) or spread.shape != (len(names),) or not np.all(spread > 0.0):
        raise ValueError("the features' names, centers and spreads do not fit")
    temperature = float(notes["temperature"])
    if not (np.isfinite(temperature) and temperature > 0.0 and np.all(np.isfinite(center))):
        raise ValueError("numbers of a skill are not finite")
    if network is not None and (network.weights[0].shape[2] != len(names) or network.weights[-1].shape[1] != 1):
        raise ValueError("the network does not fit the features")
    counts = {str(k): (int(c[0]), int(c[1])) for k, c in notes["counts"].items()}
    durations = {str(k): float(v) for k, v in notes["durations"].items()}
    displacements = {str(k): float(v) for k, v in notes["displacements"].items()}
    logit, slopes = (_weights(notes, name, len(names) + 1) for name in ("weights", "displacement_weights"))
    least, most = (float(v) for v in notes.get("displacement_range", (LEAST_DISPLACEMENT, PRIOR_DISPLACEMENT)))
    amounts = [
        *durations.values(),
        *displacements.values(),
        least,
        most,
        *(n for pair in counts.values() for n in pair),
    ]
    if not all(0.0 <= amount < np.inf for amount in amounts):
        raise ValueError("times, distances and counts of a skill must be finite and not negative")
    return SkillModel(
        names, center, spread, network, temperature, counts, durations, displacements, logit, slopes, (least, most)
    )


def _listed(values: np.ndarray | None) -> list[float] | None:
    return None if values is None else [float(v) for v in values]


def _weights(notes: Mapping[str, Any], name: str, count: int) -> np.ndarray | None:
    """Weights (count,) of the notes, or None where there are none (an older file)."""
    values = notes.get(name)
    if values is None:
        return None
    out = np.array(values, float)
    if out.shape != (count,) or not np.all(np.isfinite(out)):
        raise ValueError(f"'{name}' of a skill does not fit its features")
    return out


def of_skill(attempts: Sequence[SkillAttempt], skill: str) -> list[SkillAttempt]:
    """The attempts of one skill."""
    return [a for a in attempts if a.skill == skill]
