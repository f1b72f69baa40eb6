"""Which weights a model goes back to: only models with a common start can be averaged, by what each learned since.

Networks that began differently compute the same thing with their units in another order; the mean of their weights
computes nothing (McMahan et al. 2017, figure 1).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from robotctl.errors import InvalidFileError
from robotctl.training.units import PUSHES


@dataclass(frozen=True)
class Ancestor:
    """Weights that a model has gone through."""

    name: str  # the sha256 of a model, or the seed of fresh weights
    pushes: int  # transitions of pushes that had been learned from until then


def fresh(seed: int) -> Ancestor:
    """The weights that a fit with this seed begins with."""
    return Ancestor(f"seed {seed}", 0)


def lineage(card: Mapping[str, Any], sha256: str) -> list[Ancestor]:
    """A model's ancestors by its card, the oldest first, the model itself last."""
    try:
        if "lineage" in card:
            before = [Ancestor(str(entry["name"]), int(entry["pushes"])) for entry in card["lineage"]]
        else:
            before = [fresh(int(card["recipe"]["seed"]))] if "recipe" in card else []
        return [*before, Ancestor(sha256, transitions(card).get(PUSHES, 0))]
    except (KeyError, TypeError, ValueError) as error:
        raise InvalidFileError(f"the card of model {sha256[:12]} does not say where it comes from ({error})") from error


def transitions(card: Mapping[str, Any]) -> dict[str, int]:
    """How much data every part of a model was made from, by its card."""
    counted = card.get("transitions")
    return {str(part): int(n) for part, n in counted.items()} if isinstance(counted, Mapping) else {}


def common_start(lineages: Sequence[Sequence[Ancestor]]) -> Ancestor | None:
    """The newest ancestor of all; None if there is none."""
    names = set.intersection(*({ancestor.name for ancestor in line} for line in lineages))
    return next((ancestor for ancestor in reversed(lineages[0]) if ancestor.name in names), None)


def until(line: Sequence[Ancestor], start: Ancestor) -> list[Ancestor]:
    """A lineage up to one of its ancestors, that one included."""
    return list(line[: [ancestor.name for ancestor in line].index(start.name) + 1])


def noted(line: Sequence[Ancestor]) -> list[dict[str, Any]]:
    """A lineage as it stands in a card."""
    return [{"name": ancestor.name, "pushes": ancestor.pushes} for ancestor in line]
