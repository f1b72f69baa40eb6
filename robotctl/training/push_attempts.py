"""What the skill `push` would have said of the pushes that were aimed at objects: whether they ended as foreseen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from robotctl.scene import ObjectKind
from robotctl.skills.push import SEEN
from robotctl.skills.pushing import features
from robotctl.training.push_data import PushTrace
from robotctl.world_model.contact import ContactModel
from robotctl.world_model.quasi_static import Pushed, Shapes
from robotctl.world_model.skill_outcome import SkillAttempt


def attempts_of(
    model: ContactModel, traces: Sequence[PushTrace], kinds: Mapping[str, ObjectKind]
) -> list[SkillAttempt]:
    """An attempt for every push: a success if the object stands, no farther from where it was foreseen than allowed.

    They tell nothing of the time that the skill takes, as the hand was there already: durations are nan.
    """
    return [
        attempt
        for name in sorted({trace.kind for trace in traces})
        for attempt in _of_kind(model, [trace for trace in traces if trace.kind == name], kinds[name])
    ]


def _of_kind(model: ContactModel, traces: Sequence[PushTrace], kind: ObjectKind) -> list[SkillAttempt]:
    rows = max(len(trace.hand) for trace in traces)
    hands = np.array([np.pad(trace.hand, ((0, rows - len(trace.hand)), (0, 0)), mode="edge") for trace in traces])
    start = np.array([trace.seen[0] for trace in traces])
    ends = model.rollout(Shapes.of([Pushed.of(kind)]), np.zeros(len(traces), int), start, hands)[:, :, -1, :2]
    foreseen = ends.mean(axis=0)
    doubt = np.sqrt(np.mean(np.sum((ends - foreseen) ** 2, axis=-1), axis=0))
    out = []
    for i, trace in enumerate(traces):
        bound = float(model.error(kind.name, len(trace.hand) - 1)[-1])
        missed = float(np.linalg.norm(foreseen[i] - trace.thing[-1, :2]))
        seen = features(
            kind,
            length=float(np.linalg.norm(trace.hand[-1, :2] - trace.hand[0, :2])),
            doubt=float(doubt[i]),
            bound=bound,
            offset=float(np.linalg.norm(foreseen[i] - start[i, :2])),
        )
        good = not trace.toppled and missed <= bound + SEEN
        out.append(SkillAttempt("push", kind.name, seen, good, float("nan"), float("nan")))
    return out
