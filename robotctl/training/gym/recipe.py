"""What makes a model of a Gymnasium environment: the environment, a seed, and how much of everything."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from robotctl.training.gym import environments


@dataclass(frozen=True)
class Amount:
    """How much is collected, fitted and evaluated."""

    transitions: int
    rounds: int  # of planning, after the play
    steps: int  # of fitting a model: before every round, and at the end
    episodes: int  # of evaluation, for plans and for random actions

    @property
    def play(self) -> int:
        """Transitions of round 0."""
        return int(0.2 * self.transitions) if self.rounds else self.transitions

    @property
    def each(self) -> int:
        """Transitions of a later round."""
        return (self.transitions - self.play) // max(self.rounds, 1)


FULL = Amount(transitions=20_000, rounds=6, steps=2000, episodes=100)
QUICK = Amount(transitions=5_000, rounds=3, steps=800, episodes=20)


@dataclass(frozen=True)
class Recipe:
    """What makes a model: the same recipe gives the same weights."""

    environment: str
    seed: int
    amount: Amount

    def collecting(self) -> dict[str, Any]:
        """What the data depend on: everything but the evaluation."""
        amount = {key: value for key, value in asdict(self.amount).items() if key != "episodes"}
        return {"kind": "gym", "environment": self.environment, "seed": self.seed, **amount}


def recipe_of(target: str, seed: int, quick: bool, transitions: int | None, episodes: int | None) -> Recipe:
    """The recipe that a command line means."""
    amount = asdict(QUICK if quick else FULL)
    amount |= {"transitions": transitions or amount["transitions"], "episodes": episodes or amount["episodes"]}
    return Recipe(environments.environment_id(target), seed, Amount(**amount))
