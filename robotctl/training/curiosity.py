"""Chooses what to try: of many pushes the one about whose outcome the ensemble disagrees most.

What the members disagree about is what the data so far leave open; a push that misses, or whose end is known, teaches
nothing (Pathak et al. 2019, "Self-supervised exploration via disagreement"; Sekar et al. 2020, "Planning to explore").
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

import numpy as np

from robotctl.scene import ObjectKind, Scene
from robotctl.skills.gripping import lift_load
from robotctl.training.push_data import PushTrace, aimed_push, random_push, try_push
from robotctl.world_model import storage
from robotctl.world_model.contact import QUASI_STATIC, ContactModel
from robotctl.world_model.push import Push
from robotctl.world_model.quasi_static import Pushed, Shapes

CANDIDATES = 32  # pushes imagined for one that is tried
LATE = 0.028  # the hand trails its reference by about this [s]


def pushable(scene: Scene) -> list[ObjectKind]:
    """Kinds that may be pushed about, by name.

    Nothing sharp, nothing that rolls or lies too low for the fingers, nothing too heavy to be lifted.
    """
    return [
        kind
        for _, kind in sorted(scene.kinds.items())
        if not kind.labels & {"sharp", "cutlery", "rolls"} and lift_load(kind, scene.actuators) < 1.0
    ]


def _ends(model: ContactModel, kind: ObjectKind, pushes: Sequence[Push]) -> np.ndarray:
    """Where the ensemble's members see each push end, from rest at the origin, (M, n, 3)."""
    thing = np.zeros(3)
    paths = [push.hands(thing, LATE) for push in pushes]
    longest = max(len(path) for path in paths)
    hands = np.array([np.concatenate([p, np.repeat(p[-1:], longest - len(p), axis=0)]) for p in paths])
    n = len(pushes)
    return model.rollout(Shapes.of([Pushed.of(kind)]), np.zeros(n, int), np.zeros((n, 3)), hands)[:, :, -1]


def disagreement(model: ContactModel, kind: ObjectKind, pushes: Sequence[Push]) -> np.ndarray:
    """Spread of the ensemble's members about where each push ends, (n,) [m]; turns count at the support radius."""
    ends = _ends(model, kind, pushes)
    off = (ends - ends.mean(axis=0)) * np.array([1.0, 1.0, Pushed.of(kind).shape.support])
    return np.asarray(np.sqrt(np.mean(np.sum(off**2, axis=-1), axis=0)))


def curious_push(model: ContactModel, kind: ObjectKind, generator: np.random.Generator) -> Push:
    """The most informative of CANDIDATES pushes; of those that miss the object nothing need be asked.

    Every fourth one is aimed, as those are of which the planner will ask.
    """
    pushes = [(random_push if i % 4 else aimed_push)(kind, generator) for i in range(CANDIDATES)]
    met = np.any(_ends(QUASI_STATIC, kind, pushes)[0] != 0.0, axis=1)
    meeting = [push for push, meets in zip(pushes, met, strict=True) if meets] or pushes
    return meeting[int(np.argmax(disagreement(model, kind, meeting)))]


def collect_pushes(
    scene: Scene,
    numbers: Iterable[int],
    seeds: Sequence[int],
    model: Path | None = None,
    aimed: bool = False,
    only: Collection[str] = (),
) -> list[PushTrace]:
    """Pushes by number, all kinds (or `only` those named) in turn; random without a model, curious with one.

    Same seeds, same pushes.
    """
    kinds = [kind for kind in pushable(scene) if not only or kind.name in only]
    contact = ContactModel.from_arrays(storage.load(model)[0]) if model is not None else None
    traces = []
    for number in numbers:
        kind = kinds[number % len(kinds)]
        for attempt in range(10):
            generator = np.random.default_rng([*seeds, number, attempt])
            if aimed:
                push = aimed_push(kind, generator)
            elif contact is None:
                push = random_push(kind, generator)
            else:
                push = curious_push(contact, kind, generator)
            trace = try_push(scene, kind, push, generator)
            if trace is not None:
                traces.append(trace)
                break
    return traces
