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


def _ends(model: ContactModel, kinds: Sequence[ObjectKind], pushes: Sequence[Push]) -> np.ndarray:
    """Where the ensemble's members see each push of an object of its kind end, from rest at the origin, (M, n, 3)."""
    paths = [push.hands(np.zeros(3), LATE) for push in pushes]
    longest = max(len(path) for path in paths)
    hands = np.array([np.concatenate([p, np.repeat(p[-1:], longest - len(p), axis=0)]) for p in paths])
    names = sorted({kind.name: kind for kind in kinds}.items())
    which = np.searchsorted([name for name, _ in names], [kind.name for kind in kinds])
    shapes = Shapes.of([Pushed.of(kind) for _, kind in names])
    rolled = model.rollout(shapes, which, np.zeros((len(pushes), 3)), hands)
    return rolled[:, np.arange(len(pushes)), [len(path) - 1 for path in paths]]


def disagreement(model: ContactModel, kinds: Sequence[ObjectKind], pushes: Sequence[Push]) -> np.ndarray:
    """Spread of the ensemble's members about where each push ends, (n,) [m]; turns count at the support radius."""
    ends = _ends(model, kinds, pushes)
    off = ends - ends.mean(axis=0)
    off[..., 2] *= [Pushed.of(kind).shape.support for kind in kinds]
    return np.asarray(np.sqrt(np.mean(np.sum(off**2, axis=-1), axis=0)))


def curious_pushes(
    model: ContactModel, kinds: Sequence[ObjectKind], generators: Sequence[np.random.Generator]
) -> list[Push]:
    """For each kind the most informative of CANDIDATES pushes; of those that miss the object nothing need be asked.

    Every fourth candidate is aimed, as those are of which the planner will ask.
    """
    drawn = [
        (random_push if i % 4 else aimed_push)(kind, generator)
        for kind, generator in zip(kinds, generators, strict=True)
        for i in range(CANDIDATES)
    ]
    owner = np.repeat(np.arange(len(kinds)), CANDIDATES)
    of_kind = [kind for kind in kinds for _ in range(CANDIDATES)]
    met = np.any(_ends(QUASI_STATIC, of_kind, drawn)[0] != 0.0, axis=1)
    met |= ~np.array([np.any(met[owner == i]) for i in range(len(kinds))])[owner]  # nothing meets: any may be tried
    asked = np.flatnonzero(met)
    spread = np.full(len(drawn), -1.0)
    spread[asked] = disagreement(model, [of_kind[i] for i in asked], [drawn[i] for i in asked])
    return [drawn[CANDIDATES * i + int(np.argmax(spread[owner == i]))] for i in range(len(kinds))]


def collect_pushes(
    scene: Scene,
    numbers: Iterable[int],
    seeds: Sequence[int],
    model: Path | None = None,
    aimed: bool = False,
    only: Collection[str] = (),
) -> list[PushTrace]:
    """Pushes by number, all kinds (or `only` those named) in turn; random without a model, curious with one.

    Same seeds, same pushes. All are chosen at once, as many at a time cost the model little more than one.
    """
    kinds = [kind for kind in pushable(scene) if not only or kind.name in only]
    contact = ContactModel.from_arrays(storage.load(model)[0]) if model is not None else None
    traces: dict[int, PushTrace] = {}
    missing = list(numbers)
    for attempt in range(10):  # a push may be out of the arm's reach
        of_kind = [kinds[number % len(kinds)] for number in missing]
        generators = [np.random.default_rng([*seeds, number, attempt]) for number in missing]
        if aimed or contact is None:
            pushes = list(map(aimed_push if aimed else random_push, of_kind, generators))
        else:
            pushes = curious_pushes(contact, of_kind, generators)
        for number, kind, push, generator in zip(missing, of_kind, pushes, generators, strict=True):
            trace = try_push(scene, kind, push, generator)
            if trace is not None:
                traces[number] = trace
        missing = [number for number in missing if number not in traces]
        if not missing:
            break
    return [traces[number] for number in sorted(traces)]
