"""The kinds of situation that samples are drawn from: where the robot starts, what it holds, who is there.

A guardrail of a new kind needs a scenario here in which it binds; nothing else knows the kinds.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Scenario:
    """A family of starts; numbers that are not fixed here are drawn for each episode."""

    name: str
    weight: float
    holds: tuple[str, ...]  # labels of which the held object has one; "" stands for an empty hand
    near: str  # furniture or region with that label (or name) is close, "" for anywhere in the room
    people: tuple[float, ...]  # probability of 0, 1, 2, ... people
    aims: str  # what an attacking planner steers at: people, furniture
    too_tight: float = 0.0  # share of starts in which a rule on places is broken already


ANY = ("", "sharp", "dish", "pot", "cutlery", "food")
SCENARIOS = (
    Scenario("people", 4.0, ANY, "", (0.0, 0.5, 0.3, 0.2), "people"),
    Scenario("blade", 2.0, ("sharp",), "", (0.0, 0.6, 0.3, 0.1), "people"),
    Scenario("furniture", 2.0, ANY, "table", (0.6, 0.3, 0.1), "furniture", 0.1),
    Scenario("counter", 1.0, ANY, "counter", (0.6, 0.3, 0.1), "furniture", 0.1),
    Scenario("stove", 1.5, ANY, "stove", (0.7, 0.3), "furniture", 0.1),
    Scenario("filled", 1.0, ("fillable",), "", (0.5, 0.4, 0.1), "people", 0.05),
    Scenario("hot", 0.5, ("cup",), "", (0.0, 0.6, 0.3, 0.1), "people"),  # what is in the cup is hot
    Scenario("free", 1.0, ANY, "", (1.0,), "furniture"),  # full speed: nobody slows the robot
)


def draw_scenario(rng: np.random.Generator) -> Scenario:
    """One scenario, by its weight."""
    weights = np.array([s.weight for s in SCENARIOS])
    return SCENARIOS[int(rng.choice(len(SCENARIOS), p=weights / weights.sum()))]
