"""Makes one model of several that were adapted in different homes, and checks it on the data of each home.

Federated averaging (McMahan et al. 2017, "Communication-efficient learning of deep networks from decentralized data"):
weights are averaged by the amount of data that each was made from. Only the models travel, not the data.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from robotctl.errors import InvalidFileError, RefusedError, UsageError
from robotctl.training import lineage
from robotctl.training.homes import UNITS, Home, open_home
from robotctl.training.lineage import Ancestor
from robotctl.training.recipe import Progress
from robotctl.training.train import versions
from robotctl.training.units import PEOPLE, PLAY, PUSHES, SKILLS
from robotctl.world_model import composite, storage
from robotctl.world_model.actuators import ActuatorModel
from robotctl.world_model.contact import STEPS, ContactModel
from robotctl.world_model.ensemble import Ensemble
from robotctl.world_model.human_motion import HumanMotionModel
from robotctl.world_model.skill_outcome import SkillModel, SkillOutcomeModel

SAME, AVERAGED = "the same in all", "averaged"
_READ = ("input_mean", "input_basis", "output_mean", "output_basis")  # what a person's readings are expressed in


@dataclass(frozen=True)
class Part:
    """A model file, taken apart."""

    path: Path
    sha256: str
    card: dict[str, Any]
    people: HumanMotionModel
    actuators: ActuatorModel
    outcomes: SkillOutcomeModel
    contact: ContactModel

    @property
    def lineage(self) -> list[Ancestor]:
        return lineage.lineage(self.card, self.sha256)

    def amount(self, part: str) -> int:
        """How much data one part was made from."""
        return lineage.transitions(self.card).get(part, 0)


def open_part(path: Path) -> Part:
    arrays, notes, sha256 = storage.load(path)
    return Part(path, sha256, storage.load_card(path), *composite.parts_from(path, arrays, notes))


# ---- averaging -------------------------------------------------------------------------------------------------


def averaged(arrays: Sequence[np.ndarray], weights: Sequence[float]) -> np.ndarray:
    """Weighted mean of arrays of one shape; equal arrays stay exactly what they are."""
    if all(np.array_equal(array, arrays[0]) for array in arrays[1:]):
        return arrays[0]
    total = sum(w * np.asarray(a, float) for a, w in zip(arrays, weights, strict=True))
    return np.asarray(total / sum(weights), arrays[0].dtype)


def averaged_network(networks: Sequence[Ensemble], weights: Sequence[float]) -> Ensemble:
    """Layer by layer, member by member."""
    return Ensemble(
        tuple(averaged(layers, weights) for layers in zip(*(n.weights for n in networks), strict=True)),
        tuple(averaged(layers, weights) for layers in zip(*(n.biases for n in networks), strict=True)),
    )


def _sizes(network: Ensemble | None) -> list[tuple[int, ...]]:
    return [] if network is None else [w.shape for w in network.weights]


def _alike(parts: Sequence[Part], name: str, network: Callable[[Part], Ensemble | None]) -> None:
    """InvalidFileError unless the networks of all have one shape."""
    first = _sizes(network(parts[0]))
    for part in parts[1:]:
        if _sizes(network(part)) != first:
            raise InvalidFileError(
                f"{part.path}: its {name} networks {_shape(_sizes(network(part)))} do not fit those of "
                f"{parts[0].path} {_shape(first)}"
            )


def _shape(sizes: list[tuple[int, ...]]) -> str:
    """How a network's layers follow each other, for people."""
    return f"({'-'.join(str(n) for n in (sizes[0][2], *(s[1] for s in sizes)))}, {sizes[0][0]})" if sizes else "(none)"


def _shares(amounts: Sequence[int]) -> list[float]:
    """Weights that sum to one; equal ones where nothing is known of the amounts."""
    total = sum(amounts)
    return [amount / total for amount in amounts] if total else [1.0 / len(amounts)] * len(amounts)


def merged_contact(parts: Sequence[Part], weights: Sequence[float]) -> ContactModel:
    """Networks averaged; of the bounds the widest, by kind and step.

    A model that does not know a kind counts with its bound of unseen kinds.
    """
    _alike(parts, "contact", lambda part: part.contact.network)
    models = [part.contact for part in parts]
    for part in parts[1:]:
        if not np.array_equal(part.contact.scale, models[0].scale):
            raise InvalidFileError(f"{part.path}: its contact outputs are scaled otherwise than {parts[0].path}'s")
        if part.contact.friction != models[0].friction:
            raise InvalidFileError(f"{part.path}: its table's friction is another than {parts[0].path}'s")
    kinds = sorted({kind for model in models for kind in model.bound})
    bound = {kind: np.max([model.error(kind, STEPS) for model in models], axis=0) for kind in kinds}
    networks = [model.network for model in models if model.network is not None]
    return replace(models[0], network=averaged_network(networks, weights) if networks else None, bound=bound)


def _kin(parts: Sequence[Part]) -> bool:
    """Whether the networks of people and actuators began from the same fresh weights: fits with one seed."""
    recipes = [part.card.get("recipe") for part in parts]
    seeds = {recipe.get("seed") if isinstance(recipe, dict) else None for recipe in recipes}
    return len(seeds) == 1 and None not in seeds


def _equal(networks: Sequence[Ensemble]) -> bool:
    """Whether all weights of all are the same."""
    first = [*networks[0].weights, *networks[0].biases]
    return all(np.array_equal(a, b) for n in networks[1:] for a, b in zip((*n.weights, *n.biases), first, strict=True))


def merged_people(parts: Sequence[Part], weights: Sequence[float]) -> tuple[HumanMotionModel, str]:
    """Averaged where readings are expressed in the same components; otherwise the one of most data, whole.

    Components of other people are turned and mirrored at will: weights on them cannot be averaged.
    """
    _alike(parts, "people", lambda part: part.people.network)
    models = [part.people for part in parts]
    same = _equal([m.network for m in models])
    if any(not np.array_equal(getattr(m, name), getattr(models[0], name)) for m in models for name in _READ) or not (
        same or _kin(parts)
    ):
        return _largest(parts, weights, models)
    network = averaged_network([m.network for m in models], weights)
    linear = averaged([m.linear for m in models], weights)
    factor = np.max([m.factor for m in models], axis=0)
    unusual = np.min([m.unusual for m in models], axis=0)  # trusts only what all of them trust
    return replace(
        models[0], network=network, linear=linear, factor=factor, unusual=unusual
    ), SAME if same else AVERAGED


def merged_actuators(parts: Sequence[Part], weights: Sequence[float]) -> tuple[ActuatorModel, str]:
    """Averaged, the networks after each is put exactly into the mean normalisation; of the bounds the widest.

    Where the networks did not begin alike: the one of most data, whole.
    """
    _alike(parts, "actuator", lambda part: part.actuators.network)
    models = [part.actuators for part in parts]
    same = _equal([m.network for m in models])
    if not (same or _kin(parts)):
        return _largest(parts, weights, models)
    mean = {
        name: averaged([getattr(m, name) for m in models], weights)
        for name in ("latency", "inertia", "center", "spread", "scale")
    }
    networks = [_normalised(m, mean["center"], mean["spread"], mean["scale"]) for m in models]
    network = averaged_network(networks, weights)
    return ActuatorModel(
        **mean,
        network=network,
        position_bound=np.max([m.position_bound for m in models], axis=0),
        speed_bound=max(m.speed_bound for m in models),
    ), SAME if same else AVERAGED


def _normalised(model: ActuatorModel, center: np.ndarray, spread: np.ndarray, scale: np.ndarray) -> Ensemble:
    """The same function of the raw inputs, with another normalisation of inputs and outputs."""
    weights, biases = ([np.asarray(a, float) for a in arrays] for arrays in vars(model.network).values())
    biases[0] = biases[0] + weights[0] @ ((center - model.center) / model.spread)
    weights[0] = weights[0] * (spread / model.spread)
    ratio = model.scale / scale
    weights[-1], biases[-1] = weights[-1] * ratio[:, None], biases[-1] * ratio
    return Ensemble(tuple(w.astype(np.float32) for w in weights), tuple(b.astype(np.float32) for b in biases))


def _largest(parts: Sequence[Part], weights: Sequence[float], models: Sequence[Any]) -> tuple[Any, str]:
    """The model of most data, and from which file."""
    best = int(np.argmax(weights))
    return models[best], f"of {parts[best].path}"


def merged_skills(parts: Sequence[Part]) -> tuple[SkillOutcomeModel, str]:
    """Skill by skill: linear logits of the same features are averaged, counts added; else the one of most attempts."""
    models = [part.outcomes for part in parts]
    if all(_same_skills(model, models[0]) for model in models[1:]):
        return models[0], SAME
    names = sorted({name for model in models for name in model.skills})
    merged = {name: _merged_skill([m.skills[name] for m in models if name in m.skills]) for name in names}
    return SkillOutcomeModel(merged), AVERAGED


def _same_skills(one: SkillOutcomeModel, other: SkillOutcomeModel) -> bool:
    if {name: skill.notes() for name, skill in one.skills.items()} != {
        name: skill.notes() for name, skill in other.skills.items()
    }:
        return False
    pairs = [(skill.network, other.skills[name].network) for name, skill in one.skills.items()]
    return all(a is None or b is None or (_sizes(a) == _sizes(b) and _equal([a, b])) for a, b in pairs)


def _merged_skill(skills: Sequence[SkillModel]) -> SkillModel:
    amounts = [sum(map(sum, skill.counts.values())) for skill in skills]
    best = skills[int(np.argmax(amounts))]
    if any(skill.names != best.names or skill.weights is None for skill in skills):
        return best
    shares = _shares(amounts)
    center = averaged([skill.center for skill in skills], shares)
    spread = averaged([skill.spread for skill in skills], shares)
    logits = [_logit(skill, center, spread) for skill in skills]
    kinds = sorted({kind for skill in skills for kind in skill.counts})
    counts = {k: tuple(int(sum(s.counts.get(k, (0, 0))[i] for s in skills)) for i in range(2)) for k in kinds}
    return replace(
        best,
        center=center,
        spread=spread,
        weights=averaged(logits, shares),
        temperature=1.0,
        counts={kind: (good, bad) for kind, (good, bad) in counts.items()},
        durations=_by_kind(skills, "durations", np.mean),
        displacements=_by_kind(skills, "displacements", np.max),
        displacement_weights=None,  # of the features; the widest of the kind stands in
    )


def _logit(skill: SkillModel, center: np.ndarray, spread: np.ndarray) -> np.ndarray:
    """Linear logit (F + 1,) at temperature 1 of features with another normalisation."""
    assert skill.weights is not None
    slope = skill.weights[:-1] / skill.temperature
    constant = skill.weights[-1] / skill.temperature + slope @ ((center - skill.center) / skill.spread)
    return np.append(slope * spread / skill.spread, constant)


def _by_kind(skills: Sequence[SkillModel], name: str, of: Callable[[list[float]], Any]) -> dict[str, float]:
    kinds = sorted({kind for skill in skills for kind in getattr(skill, name)})
    return {k: float(of([getattr(s, name)[k] for s in skills if k in getattr(s, name)])) for k in kinds}


# ---- the whole -------------------------------------------------------------------------------------------------


def merge(
    paths: Sequence[Path], folders: Sequence[Path], out: Path, force: bool = False, progress: Progress | None = None
) -> dict[str, Any]:
    """Averages models, checks the result in every home and saves it; the answer of `robotctl train merge --json`.

    RefusedError, and no file, if in some home some part of it is worse than the worst of the models; `force` writes it
    all the same and its card says so.
    """
    if len(paths) < 2:
        raise UsageError("nothing to merge: name two or more models")
    if not folders:
        raise UsageError("no --home: a merged model is kept only if it holds in every home; name their data folders")
    parts = [open_part(path) for path in paths]
    homes = [open_home(folder) for folder in folders]
    start = lineage.common_start([part.lineage for part in parts])
    if start is None:
        raise UsageError(
            f"{', '.join(str(p) for p in paths)} do not go back to the same weights, their mean would mean nothing; "
            "continue them from one model with `robotctl train adapt`"
        )
    learned = [max(part.lineage[-1].pushes - _at(part, start), 0) for part in parts]
    weights = {PUSHES: _shares(learned)}
    weights |= {part: _shares([p.amount(part) for p in parts]) for part in (PEOPLE, PLAY, SKILLS)}
    contact = merged_contact(parts, weights[PUSHES])
    people, people_how = merged_people(parts, weights[PEOPLE])
    actuators, actuators_how = merged_actuators(parts, weights[PLAY])
    outcomes, skills_how = merged_skills(parts)
    made = {PUSHES: AVERAGED, PEOPLE: people_how, PLAY: actuators_how, SKILLS: skills_how}
    if all(part.sha256 == parts[0].sha256 for part in parts):
        made = dict.fromkeys(made, SAME)
    merged = replace(parts[0], people=people, actuators=actuators, outcomes=outcomes, contact=contact)
    rows = check(parts, merged, homes, progress)
    bad = [row for row in rows if not row["holds"]]
    if bad and not force:
        raise RefusedError("; ".join(map(_complaint, bad)) + "; not written (--force writes it all the same)")
    amounts = {part: [p.amount(part) for p in parts] for part in made}
    counted = {part: sum(amounts[part]) if how == AVERAGED else max(amounts[part]) for part, how in made.items()}
    counted[PUSHES] = start.pushes + sum(learned)
    report = {
        "models": [
            {"model": str(p.path), "sha256": p.sha256, "transitions_since": n, "weight": round(w, 6)}
            for p, n, w in zip(parts, learned, weights[PUSHES], strict=True)
        ],
        "start": start.name,
        "parts": made,
        "check": rows,
        "holds": not bad,
    }
    card = {
        "schema": "robotctl/model-card.v1",
        "command": "robotctl train merge "
        + " ".join(str(path) for path in paths)
        + "".join(f" --home {folder}" for folder in folders)
        + (" --force" if force else ""),
        "merged": report,
        **({"recipe": parts[0].card["recipe"]} if _kin(parts) else {}),
        "lineage": lineage.noted(lineage.until(parts[0].lineage, start)),
        "transitions": counted,
        "evaluation": {"parts": []},
        "versions": versions(),
    }
    sha256 = composite.save_world_model(out, people, actuators, outcomes, contact, card)
    return {"schema": "robotctl/train-merge.v1", "model": str(out), "sha256": sha256, **report}


def _at(part: Part, start: Ancestor) -> int:
    """Transitions of pushes that the start had been made from."""
    return next(ancestor.pushes for ancestor in part.lineage if ancestor.name == start.name)


def check(
    parts: Sequence[Part], merged: Part, homes: Sequence[Home], progress: Progress | None = None
) -> list[dict[str, Any]]:
    """The error of every model and of the merged one, by home and part; it holds if it is not the worst."""
    rows = []
    for i, home in enumerate(homes):
        if progress is not None:
            progress("check", i / len(homes))
        errors = {str(p.path): home.errors(p.people, p.actuators, p.contact) for p in parts}
        own = home.errors(merged.people, merged.actuators, merged.contact)
        for part, value in own.items():
            models = {name: error[part] for name, error in errors.items()}
            worst = max(models.values())
            rows.append(
                {
                    "home": home.name,
                    "part": part,
                    "unit": UNITS[part],
                    "models": models,
                    "merged": value,
                    "worst": worst,
                    "holds": value <= worst,
                }
            )
    if progress is not None:
        progress("check", 1.0)
    return rows


def _complaint(row: dict[str, Any]) -> str:
    return (
        f"{row['home']}: the merged model's {row['part']} are off by {row['merged']:g} {row['unit']}, "
        f"more than the worst of its parts ({row['worst']:g})"
    )
