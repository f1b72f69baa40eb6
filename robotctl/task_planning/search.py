"""Best-first search over skills: which object to pick next, and where to put it, until the objective is met.

Nothing here knows the task. Preconditions and effects are those of the skills (pick: empty hand; place: the thing
is held), costs are seconds plus the price of failing as the learned outcome model predicts it.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from robotctl.skills.context import SkillContext
from robotctl.skills.pick import ranked_grasps
from robotctl.skills.place import Spot
from robotctl.state import State
from robotctl.task_planning.goals import Goal, Pose, arrangement
from robotctl.task_planning.spots import free_spots

FAILURE_PRICE = 20.0  # seconds that a failed skill costs, about one more attempt [s]
TRAVEL = 2.0  # seconds per metre between one hand position and the next [s/m]
GREED = 2.0  # weight of the heuristic: the plan costs at most this times the best (weighted A*, Pohl 1970)
SPOTS = 3  # nearest free spots considered for one object
DEPTH_PRICE = 4.0  # a spot farther from the place's free edge is harder to reach: metres of way per metre of depth
SAME_SPOT = 0.06  # a spot nearer than this to one that failed is not tried again [m]
MAX_EXPANSIONS = 4000


@dataclass(frozen=True)
class SkillStep:
    """One step of a task plan."""

    skill: str  # pick or place
    object: str
    spot: Spot | None
    success_probability: float
    duration: float  # [s]

    def __str__(self) -> str:
        return f"{self.skill} {self.object}" + (f" on {self.spot.place}" if self.spot else "")


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
    """What was tried in vain: objects not to pick, spots not to put an object on."""

    picks: frozenset[str] = frozenset()
    spots: tuple[tuple[str, np.ndarray], ...] = ()  # object, position (3,) [m]

    def rules_out(self, name: str, spot: Spot) -> bool:
        return any(name == other and np.linalg.norm(spot.position - at) < SAME_SPOT for other, at in self.spots)


NOTHING_TRIED = Experience()


def plan_task(
    state: State, goals: Sequence[Goal], context: SkillContext, experience: Experience = NOTHING_TRIED
) -> TaskPlan:
    """Searches from the believed state for the cheapest sequence of skills that meets all goals."""
    chances = _pick_chances(state, goals, context)
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
    kind = state.object(goal.object).kind
    rest = context.outcomes.duration("place", kind)
    return rest if node.held == goal.object else rest + context.outcomes.duration("pick", kind)


def _pick_chances(state: State, goals: Sequence[Goal], context: SkillContext) -> dict[str, float]:
    """Predicted success of the best grasp of every object that a goal names."""
    chances = {}
    for name in {goal.object for goal in goals}:
        ranked = ranked_grasps(name, state, context)
        chances[name] = ranked[0][0] if ranked else 0.0
    return chances


def _successors(
    node: _Node,
    open_goals: Sequence[Goal],
    state: State,
    context: SkillContext,
    chances: Mapping[str, float],
    experience: Experience,
) -> list[tuple[SkillStep, _Node]]:
    out = []
    if node.held is None:
        for name in sorted({goal.object for goal in open_goals}):
            if name in experience.picks or name not in node.where:
                continue
            kind = state.object(name).kind
            step = SkillStep("pick", name, None, chances[name], context.outcomes.duration("pick", kind))
            out.append((step, _Node(node.where, name, node.where[name].position[:2], (*node.steps, step))))
        return out
    name = node.held
    held_kind = context.scene.kinds[state.object(name).kind]
    chance = context.outcomes.success_probability(
        "place", held_kind.name, {"radius": held_kind.radius, "mass": held_kind.mass}
    )
    taken = [
        (pose.position, context.scene.kinds[state.object(other).kind].radius)
        for other, pose in node.where.items()
        if other != name
    ]
    spots = _wanted_spots(name, open_goals, held_kind.name, taken, node.hand, context)
    for spot in [s for s in spots if not experience.rules_out(name, s)][:SPOTS]:
        step = SkillStep("place", name, spot, chance, context.outcomes.duration("place", held_kind.name))
        where = {**node.where, name: Pose(spot.position, 1.0)}
        out.append((step, _Node(where, None, spot.position[:2], (*node.steps, step))))
    return out


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
    for place in wanted.values():
        spots += free_spots(place, scene.kinds[kind], taken, context.boxes)
    spots.sort(key=lambda spot: float(np.linalg.norm(spot.position[:2] - hand)) + DEPTH_PRICE * spot.depth)
    return spots
