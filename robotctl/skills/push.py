"""Push: bring the closed hand behind an object, push it where the contact model says, leave, and look."""

from __future__ import annotations

import numpy as np

from robotctl.geometry import rotation_z
from robotctl.objectives.hand_path import HandPath
from robotctl.objectives.reach import ReachGoal
from robotctl.scene import Place, Scene
from robotctl.skills.context import SkillContext
from robotctl.skills.place import Spot
from robotctl.skills.pushing import PlannedPush, features, plan_push
from robotctl.skills.skill import Outcome, Phase, Story
from robotctl.state import ObjectState, State
from robotctl.world_model.push import hand_down
from robotctl.world_model.quasi_static import TIP_BEYOND, Pushed

ABOVE = 0.12  # the hand comes down to the start of the push from this height [m]
BACK = 0.03  # then it leaves the way it came, this far before it rises [m]
LOOK = 0.6  # how long the eyes need to see where the object came to rest [s]
SPEED_SHARE = 0.12  # of the joints' speed limits: about pushing.SPEED at the hand
SEEN = 0.01  # an error of sensing and of the hand beside the bound of the contact model [m]
LEVEL = 0.02  # an object this near a place's height stands on it [m]


def push(name: str, spot: Spot, state: State, context: SkillContext) -> Story:
    """Yields the phases of one push towards a spot; returns how it ended."""
    plan = foreseen(name, spot, state, context)
    if plan is None:
        return Outcome(False, "every push might do harm", tried=False)
    kind = context.kind(state, name)
    way = float(np.linalg.norm(plan.end[:2] - plan.start[:2]))
    seen = features(kind, plan.push.length, plan.doubt, plan.bound, way)
    height = spot.position[2] + Pushed.of(kind).tip + TIP_BEYOND
    hand, last = plan.push.hand(plan.start, 0.0), plan.push.hand(plan.start, plan.push.length)
    begin, end = np.array([*hand[:2], height]), np.array([*last[:2], height])
    along = (end - begin) / np.linalg.norm(end - begin)
    up, back = np.array([0.0, 0.0, ABOVE]), -BACK * along
    # The closed hand is the same from both sides.
    paths = [
        HandPath((begin + up, begin, end, end + back, end + back + up), hand_down(float(hand[2]) + flip))
        for flip in (0.0, np.pi)
    ]
    ignore = frozenset({name})
    postures = context.find_postures(paths, state, ignore)
    if not postures:
        return Outcome(False, "no push is in reach", tried=False)
    best = postures[0]
    path = paths[best.index]
    above, at, there, away, over = best.q
    down = np.array([0.0, 0.0, -1.0])

    reached = yield Phase(
        "approach", ReachGoal(path.positions[0], path.rotation, above), 0.0, 0.006, 0.06, passing=True, patience=20.0
    )
    if not reached.ok:
        context.postures.give_up(above)
        return Outcome(False, f"the approach was given up {reached.short()}", features=seen)
    shift = reached.state.object(name).position - state.object(name).position
    if np.linalg.norm(shift) > 0.03:
        return Outcome(False, "the object moved away", features=seen)
    shift = np.array([*shift[:2], 0.0])
    reached = yield Phase(
        "lower", ReachGoal(path.positions[1] + shift, path.rotation, at, down), 0.0, 0.004, 0.04, ignore=ignore
    )
    if not reached.ok:
        short = reached.short()
        rise = ReachGoal(path.positions[0], path.rotation, above)
        yield Phase("rise", rise, 0.0, 0.03, 0.2, passing=True, patience=4.0, frees=True, ignore=ignore)
        return Outcome(False, f"the start of the push was not reached, {short}", features=seen)
    goal = ReachGoal(path.positions[2] + shift, path.rotation, there, along, speed_scale=SPEED_SHARE)
    pushed = yield Phase("push", goal, 0.0, 0.003, 0.04, ignore=ignore)
    leave = ReachGoal(path.positions[3] + shift, path.rotation, away, along, speed_scale=0.5)
    yield Phase("leave", leave, 0.0, 0.01, 0.1, passing=True, patience=4.0, frees=True, ignore=ignore)
    rise = ReachGoal(path.positions[4] + shift, path.rotation, over)
    yield Phase("rise", rise, 0.0, 0.03, 0.2, passing=True, patience=4.0, ignore=ignore)
    looked = yield Phase("look", None, 0.0, hold=LOOK, ignore=ignore)
    if not pushed.ok:
        return Outcome(False, f"the push was given up {pushed.short()}", features=seen)
    return _judged(name, plan, shift, spot, looked.state, seen)


def _judged(
    name: str, plan: PlannedPush, shift: np.ndarray, spot: Spot, state: State, seen: dict[str, float]
) -> Outcome:
    """Whether the object stands, and is where it was expected."""
    item = state.object(name)
    upright = abs(item.position[2] - spot.position[2]) < LEVEL
    missed = float(np.linalg.norm(item.position[:2] - plan.end[:2] - shift[:2]))
    left = 1000 * float(np.linalg.norm(item.position[:2] - spot.position[:2]))
    if not upright:
        return Outcome(False, "it fell", features=seen)
    if missed > plan.bound + SEEN:
        return Outcome(False, f"it is {1000 * missed:.0f} mm from where it was expected", features=seen)
    return Outcome(True, f"pushed, {left:.0f} mm left", features=seen)


def foreseen(name: str, spot: Spot, state: State, context: SkillContext) -> PlannedPush | None:
    """The best push of an object towards a spot, by the contact model."""
    item, kind = state.object(name), context.kind(state, name)
    others = [(o, context.scene.kinds[o.kind]) for o in state.objects if o.name != name]
    others = [(o, k) for o, k in others if abs(o.position[2] - item.position[2]) < 0.1]
    overhang = kind.radius if spot.inward is not None else 0.0  # its middle stays over the table
    return plan_push(
        item, kind, spot.position[:2], surface_under(item, context.scene), others, context.contact, context.generator,
        context.late, overhang,
    )  # fmt: skip


def surface_under(item: ObjectState, scene: Scene) -> Place:
    """The largest place that an object stands on; one of its own size if it stands nowhere known."""
    under = [
        place
        for place in scene.places
        if abs(item.position[2] - place.center[2]) < LEVEL
        and np.all(np.abs(rotation_z(place.yaw).T @ (item.position - place.center))[:2] <= place.half)
    ]
    nowhere = Place("here", frozenset(), item.position, np.zeros(2), 0.0, None)
    return max(under, key=lambda place: float(np.prod(place.half)), default=nowhere)
