"""Best-first search over skills: which object to pick next, and where to put it, until the objective is met.

Nothing here knows the task. Preconditions and effects are those of the skills (pick: empty hand; place: the thing
is held; push and pull: empty hand, the thing stands on the place; cut: a blade is held, the seam gapes then), costs are
seconds plus the price of failing as the learned outcome model predicts it. So a plate that lies flat is first pushed to
the table's edge: a pick there is foreseen to succeed, a pick where it is is not. And a pot that is too heavy to lift is
pulled.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from robotctl.scene import ObjectKind, Seam
from robotctl.skills.context import SkillContext
from robotctl.skills.cut import ASIDE, foreseen_features, smaller_side
from robotctl.skills.cutting import faces
from robotctl.skills.pick import ranked_grasps
from robotctl.skills.place import HEADINGS, Spot
from robotctl.skills.placing import spot_features
from robotctl.skills.pull import SHORTEST, is_clear, next_way, pulls_needed, ranked_pulls
from robotctl.state import ObjectState, State
from robotctl.task_planning.goals import Goal, Pose, arrangement, stands_on
from robotctl.task_planning.spots import free_spots, needs_edge

FAILURE_PRICE = 20.0  # seconds that a failed skill costs, about one more attempt [s]
TRAVEL = 2.0  # seconds per metre between one hand position and the next [s/m]
GREED = 2.0  # weight of the heuristic: the plan costs at most this times the best (weighted A*, Pohl 1970)
PUSH_LENGTH = 0.22  # one push brings an object about this far [m]
LEVEL = 0.02  # an object this near a place's height stands on it [m]
SPOTS = 3  # nearest free spots considered for one object
DEPTH_PRICE = 4.0  # a spot farther from the place's free edge is harder to reach: metres of way per metre of depth
SAME_SPOT = 0.06  # a spot nearer than this to one that failed is not tried again [m]
MAX_EXPANSIONS = 4000


@dataclass(frozen=True)
class SkillStep:
    """One step of a task plan."""

    skill: str  # pick, place, push, pull or cut
    object: str
    spot: Spot | None
    success_probability: float
    duration: float  # [s]
    seam: Seam | None = None  # of a cut

    def __str__(self) -> str:
        if self.seam is not None:
            return f"{self.skill} {self.object} at {self.seam}"
        way = "towards" if self.skill in ("push", "pull") else "on"
        return f"{self.skill} {self.object}" + (f" {way} {self.spot.place}" if self.spot else "")


@dataclass(frozen=True)
class TaskPlan:
    """The cheapest sequence found that meets the objective, or (`complete` False) as many of its goals as possible."""

    steps: tuple[SkillStep, ...]
    complete: bool
    reason: str = ""

    @property
    def success_probability(self) -> float:
        return float(np.prod([step.success_probability for step in self.steps])) if self.steps else 1.0

    @property
    def duration(self) -> float:
        return float(sum(step.duration for step in self.steps))


@dataclass(frozen=True)
class _Node:
    where: Mapping[str, Pose]
    held: str | None
    hand: np.ndarray  # (2,) where the hand ended
    steps: tuple[SkillStep, ...]


@dataclass(frozen=True)
class Experience:
    """What was tried in vain: objects not to pick, or not where they are now, not to push or pull, spots not to use."""

    picks: frozenset[str] = frozenset()
    stuck: frozenset[str] = frozenset()
    pushes: frozenset[str] = frozenset()
    spots: tuple[tuple[str, np.ndarray], ...] = ()  # object, position (3,) [m]
    pulls: frozenset[str] = frozenset()
    cuts: frozenset[str] = frozenset()  # seams not to cut

    def rules_out(self, name: str, spot: Spot) -> bool:
        return any(name == other and np.linalg.norm(spot.position - at) < SAME_SPOT for other, at in self.spots)


NOTHING_TRIED = Experience()


def plan_task(
    state: State, goals: Sequence[Goal], context: SkillContext, experience: Experience = NOTHING_TRIED
) -> TaskPlan:
    """Searches from the believed state for the cheapest sequence of skills that meets all goals."""
    chances = _Chances(state, context)
    held = state.robot.held.name if state.robot.held else None
    hand = state.robot.q[:2] if held is None else state.object(held).position[:2]
    start = _Node(arrangement(state), held, hand, ())
    order = itertools.count()
    frontier = [(0.0, next(order), 0.0, start)]
    settled: dict[tuple[object, ...], float] = {}
    best, fewest = start, len(goals) + 1
    for _ in range(MAX_EXPANSIONS):
        if not frontier:
            break
        _, _, cost, node = heapq.heappop(frontier)
        open_goals = [goal for goal in goals if not _met(goal, node)]
        if not open_goals and node.held is None:
            return TaskPlan(node.steps, True)
        key = (frozenset(str(g) for g in open_goals), node.held, tuple(np.round(node.hand, 1)))
        if settled.get(key, np.inf) <= cost:
            continue
        settled[key] = cost
        if node.held is None and len(open_goals) < fewest:
            best, fewest = node, len(open_goals)
        for step, successor in _successors(node, open_goals, state, context, chances, experience):
            travel = TRAVEL * float(np.linalg.norm(successor.hand - node.hand))
            price = step.duration + travel - FAILURE_PRICE * np.log(max(step.success_probability, 1e-3))
            total = cost + price
            heuristic = sum(_remaining(goal, successor, context, state) for goal in goals)
            heapq.heappush(frontier, (total + GREED * heuristic, next(order), total, successor))
    missing = ", ".join(str(goal) for goal in goals if not _met(goal, best))
    return TaskPlan(best.steps, False, f"no sequence of skills reaches: {missing}")


def _met(goal: Goal, node: _Node) -> bool:
    """A goal on an object still in the hand is not met, wherever the hand is."""
    return goal.object != node.held and goal.met(node.where)


def _remaining(goal: Goal, node: _Node, context: SkillContext, state: State) -> float:
    """Seconds of skills that the goal still needs at least: a lower bound, so that the search keeps its bound."""
    if _met(goal, node):
        return 0.0
    if goal.relation == "sliced":
        return 0.0 if goal.negate else context.outcomes.duration("cut", context.scene.kind_of(goal.seams[0].first).name)
    kind = state.object(goal.object).kind
    rest = context.outcomes.duration("place", kind)
    carried = rest if node.held == goal.object else rest + context.outcomes.duration("pick", kind)
    if goal.relation != "at":
        return carried
    moved = [context.outcomes.duration(skill, kind) for skill in ("push", "pull")]
    return min(carried, *(moved if context.scene.kinds[kind].grasps else moved[:1]))


class _Chances:
    """Predicted success of the best grasp of an object, to pick or to pull, where it is or would be after a push."""

    def __init__(self, state: State, context: SkillContext) -> None:
        self._state = state
        self._context = context
        self._known: dict[tuple[str, bytes], float] = {}
        self._pulls: dict[tuple[str, bytes, bytes], float] = {}

    def pick(self, name: str, position: np.ndarray) -> float:
        key = name, np.round(position, 3).tobytes()
        if key not in self._known:
            objects = tuple(replace(o, position=position) if o.name == name else o for o in self._state.objects)
            ranked = ranked_grasps(name, replace(self._state, objects=objects), self._context)
            self._known[key] = ranked[0][0] if ranked else 0.0
        return self._known[key]

    def pull(self, name: str, position: np.ndarray, spot: Spot) -> float:
        """Of all the pulls that it takes from a position to a spot."""
        key = name, np.round(position, 3).tobytes(), np.round(spot.position, 3).tobytes()
        if key not in self._pulls:
            item = replace(self._state.object(name), position=position)
            way = next_way(position, spot.position)
            ranked = ranked_pulls(item, self._context.scene.kinds[item.kind], way, self._context)
            self._pulls[key] = ranked[0][0] ** pulls_needed(position, spot.position)
        return self._pulls[key]


def _successors(
    node: _Node,
    open_goals: Sequence[Goal],
    state: State,
    context: SkillContext,
    chances: _Chances,
    experience: Experience,
) -> list[tuple[SkillStep, _Node]]:
    out = []
    if node.held is None:
        for name in sorted({goal.object for goal in open_goals} | _blades(open_goals, state, context)):
            if name not in node.where:
                continue
            kind = context.scene.kinds[state.object(name).kind]
            position = node.where[name].position
            moved = any(step.object == name for step in node.steps)
            if kind.grasps and name not in experience.picks and (moved or name not in experience.stuck):
                chance = chances.pick(name, position)
                step = SkillStep("pick", name, None, chance, context.outcomes.duration("pick", kind.name))
                out.append((step, _Node(node.where, name, position[:2], (*node.steps, step))))
            if name not in experience.pushes and node.where[name].up > 0.9 and "sharp" not in kind.labels:
                spots = _push_spots(name, kind, node, open_goals, state, context)
                for spot in [s for s in spots if not experience.rules_out(name, s)][:SPOTS]:
                    pushes = np.ceil(np.linalg.norm(spot.position - position) / PUSH_LENGTH)
                    chance = context.outcomes.success_probability("push", kind.name, {})
                    taking = float(pushes) * context.outcomes.duration("push", kind.name)
                    step = SkillStep("push", name, spot, chance, taking)
                    where = {**node.where, name: Pose(spot.position, 1.0)}
                    out.append((step, _Node(where, None, spot.position[:2], (*node.steps, step))))
            if name not in experience.pulls and node.where[name].up > 0.9:
                for spot in _pull_spots(name, kind, node, open_goals, state, context):
                    taking = pulls_needed(position, spot.position) * context.outcomes.duration("pull", kind.name)
                    step = SkillStep("pull", name, spot, chances.pull(name, position, spot), taking)
                    where = {**node.where, name: Pose(spot.position, 1.0)}
                    out.append((step, _Node(where, None, spot.position[:2], (*node.steps, step))))
        return out
    name = node.held
    held_kind = context.scene.kinds[state.object(name).kind]
    place_named = {place.name: place for place in context.scene.places}
    out += _cuts(node, open_goals, state, context, experience)
    taken = _taken(name, node, state, context)
    spots = _wanted_spots(name, open_goals, held_kind.name, taken, node.hand, context)
    item = state.object(name)
    allowed = (s for s in spots if not experience.rules_out(name, s) and _may_be_left(item, s, context))
    for spot in itertools.islice(allowed, SPOTS):
        seen = spot_features(place_named[spot.place], held_kind, spot.position, taken)
        chance = context.outcomes.success_probability("place", held_kind.name, seen)
        step = SkillStep("place", name, spot, chance, context.outcomes.duration("place", held_kind.name))
        where = {**node.where, name: Pose(spot.position, 1.0)}
        out.append((step, _Node(where, None, spot.position[:2], (*node.steps, step))))
    return out


def _may_be_left(item: ObjectState, spot: Spot, context: SkillContext) -> bool:
    """Whether the rules on placement allow the spot for some heading."""
    return any(context.leaving.allows(item, spot.position, yaw) for yaw in HEADINGS)


def _blades(open_goals: Sequence[Goal], state: State, context: SkillContext) -> set[str]:
    """What could be taken to cut with, if something is to be cut."""
    if not any(goal.relation == "sliced" and not goal.negate for goal in open_goals):
        return set()
    return {item.name for item in state.objects if context.scene.kinds[item.kind].edge is not None}


def _cuts(
    node: _Node, open_goals: Sequence[Goal], state: State, context: SkillContext, experience: Experience
) -> list[tuple[SkillStep, _Node]]:
    """Seams that the held blade can open: the smaller part of the food lies a little aside then."""
    assert node.held is not None
    if context.scene.kinds[state.object(node.held).kind].edge is None:
        return []
    out = []
    for goal in open_goals:
        if goal.relation != "sliced" or goal.negate or str(goal.seams[0]) in experience.cuts:
            continue
        (seam,) = goal.seams
        pieces = next(join.items for join in context.scene.joins if join.name == seam.food)
        if not node.where.keys() >= set(pieces):
            continue  # not all of it has been seen
        kind = context.scene.kind_of(seam.first)
        chance = context.outcomes.success_probability("cut", kind.name, foreseen_features(kind))
        duration = context.outcomes.duration("cut", kind.name)
        step = SkillStep("cut", goal.object, None, chance, duration, seam)
        one, other, way = faces(seam, node.where[seam.first], node.where[seam.second])
        side = smaller_side(seam, context.scene)
        middle = pieces.index(seam.second)
        shift = side * ASIDE * way
        moved = {
            name: replace(node.where[name], position=node.where[name].position + shift)
            for name in (pieces[middle:] if side > 0 else pieces[:middle])
        }
        hand = 0.5 * (one + other)[:2]
        out.append((step, _Node({**node.where, **moved}, node.held, hand, (*node.steps, step))))
    return out


def _taken(name: str, node: _Node, state: State, context: SkillContext) -> list[tuple[np.ndarray, float]]:
    """Where the other objects are, and how wide."""
    return [
        (pose.position, context.scene.kinds[state.object(other).kind].radius)
        for other, pose in node.where.items()
        if other != name
    ]


def _push_spots(
    name: str, kind: ObjectKind, node: _Node, open_goals: Sequence[Goal], state: State, context: SkillContext
) -> list[Spot]:
    """Where pushing the object might help: the middle of a place it should be at; else, if it can only be taken over
    an edge, the nearest edge of the place it stands on."""
    position = node.where[name].position
    under = [p for p in context.scene.places if stands_on(Pose(position, 1.0), p)]
    wanted = [g for g in open_goals if g.object == name and g.relation == "at" and not g.negate]
    spots = [Spot(p.name, p.center) for g in wanted for p in g.places if abs(p.center[2] - position[2]) < LEVEL]
    if spots or not needs_edge(kind):
        return spots
    for place in under:
        if place.overhang_edge is not None:
            spots += free_spots(place, kind, _taken(name, node, state, context), context.boxes)
    return sorted(spots, key=lambda spot: float(np.linalg.norm(spot.position - position)))


def _pull_spots(
    name: str, kind: ObjectKind, node: _Node, open_goals: Sequence[Goal], state: State, context: SkillContext
) -> list[Spot]:
    """Where a goal wants the object and it can be pulled to: over the surface it stands on, past what stands there."""
    if not kind.grasps or "sharp" in kind.labels:
        return []
    position = node.where[name].position
    others = [
        (replace(other, position=node.where[other.name].position), context.scene.kinds[other.kind])
        for other in state.objects
        if other.name != name and other.name in node.where
    ]
    wanted = [g for g in open_goals if g.object == name and g.relation == "at" and not g.negate]
    spots = [Spot(p.name, p.center) for g in wanted for p in g.places if abs(p.center[2] - position[2]) < LEVEL]
    return [
        spot
        for spot in spots
        if np.linalg.norm(spot.position[:2] - position[:2]) >= SHORTEST
        and is_clear(position, (spot.position - position)[:2], kind, others, context.scene.places, context.boxes)
    ]


def _wanted_spots(
    name: str,
    open_goals: Sequence[Goal],
    kind: str,
    taken: Sequence[tuple[np.ndarray, float]],
    hand: np.ndarray,
    context: SkillContext,
) -> list[Spot]:
    """Free spots, near and easy to reach first, where a goal wants the object (for `not on`: anywhere else)."""
    spots: list[Spot] = []
    scene = context.scene
    mine = [goal for goal in open_goals if goal.object == name and goal.places]
    wanted = {place.name: place for goal in mine if not goal.negate for place in goal.places}
    if not wanted:
        barred = {place.name for goal in mine for place in goal.places}
        wanted = {place.name: place for place in scene.places if place.name not in barred}
    exact = {place.name for goal in mine if goal.relation == "at" and not goal.negate for place in goal.places}
    for place in wanted.values():
        if place.name in exact:
            spots.append(Spot(place.name, place.center))
            continue
        spots += free_spots(place, scene.kinds[kind], taken, context.boxes)
    spots.sort(key=lambda spot: float(np.linalg.norm(spot.position[:2] - hand)) + DEPTH_PRICE * spot.depth)
    return spots
