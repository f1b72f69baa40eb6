"""This file picks what is worth a mark on the time line of an episode: skills, interventions, violations, contacts."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from robotctl.replay.timeline import Timeline

Kind = Literal["skill", "filter", "violation", "contact", "message"]
LEAD = 0.5  # who goes to an event arrives this long before it [s]
APART = 0.5  # violations of one guardrail that are nearer in time are one event [s]


@dataclass(frozen=True)
class Event:
    """Something that happened."""

    time: float  # [s]
    kind: Kind
    text: str


def events(line: Timeline) -> list[Event]:
    """Everything worth a mark, in the order of time."""
    found = [Event(span.start, "skill", span.what) for span in line.skills]
    for spell in line.interventions:
        seconds = max(spell.end - spell.start, 0.05)
        found.append(Event(spell.start, "filter", f"{spell.what} ({seconds:.2f} s)"))
    for name, margins in line.judged.items():
        unit = line.units.get(name, "")
        for start, worst in _below_zero(line.time, margins):
            found.append(Event(start, "violation", f"{name} by {-worst:.3f} {'' if unit == '1' else unit}".rstrip()))
    found += [Event(time, "contact", f"{link} touches {person}") for time, link, person in line.contacts]
    found += [Event(time, "message", text) for time, text in line.messages]
    told = {round(time, 3) for time, _ in line.messages}  # a message says which skill begins, and how the last ended
    found = [event for event in found if event.kind != "skill" or round(event.time, 3) not in told]
    return sorted(found, key=lambda event: event.time)


def _below_zero(time: list[float], margins: list[float]) -> list[tuple[float, float]]:
    """When each run of violations starts, and its worst margin."""
    runs: list[tuple[float, float]] = []
    last = -math.inf
    for now, margin in zip(time, margins, strict=True):
        if margin >= 0:
            continue
        if now - last > APART:
            runs.append((now, margin))
        else:
            runs[-1] = (runs[-1][0], min(runs[-1][1], margin))
        last = now
    return runs
