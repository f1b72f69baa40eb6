"""Cut: hold the blade across food above one of its seams, press down to the board, push the pieces apart, look."""

from __future__ import annotations

import numpy as np

from robotctl.objectives.hand_path import HandPath
from robotctl.objectives.reach import ReachGoal
from robotctl.robot import TCP
from robotctl.scene import Edge, ObjectKind, Scene, Seam
from robotctl.skills.context import SkillContext
from robotctl.skills.cutting import PARTED, Cut, board_under, cuts, features, gap
from robotctl.skills.skill import Outcome, Phase, Story
from robotctl.state import State

HIGH = 0.07  # the blade comes to the food from this height above it [m]
ABOVE = 0.015  # and waits this far above it, to see what it holds and where the seam is [m]
LEFT = 0.003  # the edge stays this far above the board [m]
ASIDE = 0.018  # the smaller part is pushed away this far [m]
SETTLE = 0.5  # how long the eyes look before the blade goes down [s]
LOOK = 0.7  # and after it came up [s]
SPEED_SHARE = 0.025  # of the joints' speed limits, on the way down
SPEED = 0.04  # about that, at the edge [m/s]
LEVERS = 4  # places along the edge that are tried, nearest the heel first
DOWN = np.array([0.0, 0.0, -1.0])


def cut(seam: Seam, state: State, context: SkillContext) -> Story:
    """Yields the phases of one cut through a seam; returns how it ended."""
    held = state.robot.held
    edge = context.scene.kinds[held.kind].edge if held is not None else None
    if held is None or edge is None:
        return Outcome(False, "nothing that cuts is held", tried=False)
    food = context.kind(state, seam.first)
    board, found = ways(seam, state, context, edge)
    if board is None or not found:
        return Outcome(False, "the knife's handle finds no room beside what the food lies on", tried=False)
    aside = ASIDE * smaller_side(seam, context.scene)

    def tcp(plan: Cut, height: float, away: float, T_hand_blade: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        position, rotation = plan.hand(edge, board + height, T_hand_blade)
        return position + away * np.cross(plan.heading, DOWN), rotation

    def heights(plan: Cut) -> tuple[tuple[float, float], ...]:
        """Of the edge above the board, and how far aside, in every phase."""
        way = aside * float(np.sign(np.cross(plan.heading, DOWN) @ across(seam, state)))
        top = food.height
        return ((top + HIGH, 0.0), (top + ABOVE, 0.0), (LEFT, 0.0), (LEFT, way), (top + HIGH, way))

    paths = []
    for plan in found[:LEVERS]:
        poses = [tcp(plan, *entry, held.T_hand_object) for entry in heights(plan)]
        paths.append(HandPath(tuple(pose[0] for pose in poses), poses[0][1]))
    pieces = frozenset(name for join in context.scene.joins if join.name == seam.food for name in join.items)
    postures = context.find_postures(paths, state, pieces)
    if not postures:
        return Outcome(False, "the seam is out of reach", tried=False)
    # A longer lever turns the knife in the hand: half a second of travel for each millimetre.
    best = min(postures, key=lambda posture: posture.cost + 500.0 * found[posture.index].at)
    plan, path = found[best.index], paths[best.index]
    high, above, low, beside, over = best.q
    seen = features(food, lever(plan, edge, held.T_hand_object), 0.0, 0.0, food.height - LEFT, SPEED)

    reached = yield Phase(
        "carry", ReachGoal(path.positions[0], path.rotation, high), 0.0, 0.015, 0.1, passing=True, patience=25.0
    )
    if not reached.ok:
        context.postures.give_up(high)
        return Outcome(False, f"the carry was given up {reached.short()}", features=seen)
    reached = yield Phase(
        "aim", ReachGoal(path.positions[1], path.rotation, above, DOWN), 0.0, 0.005, 0.05, hold=SETTLE, ignore=pieces
    )
    held = reached.state.robot.held
    if held is None:
        return Outcome(False, "the knife was lost on the way", features=seen)
    # Look again: where the seam is, and how the knife sits in the hand.
    _, again = ways(seam, reached.state, context, edge)
    near = min(again, key=lambda c: float(abs(c.at - plan.at) - c.heading @ plan.heading), default=None)
    if not reached.ok or near is None or np.linalg.norm(near.point - plan.point) > 0.03:
        rise = ReachGoal(path.positions[0], path.rotation, high)
        yield Phase("rise", rise, 0.0, 0.03, 0.2, passing=True, patience=6.0, frees=True, ignore=pieces)
        reason = "the food moved away" if reached.ok else f"the aim was given up {reached.short()}"
        return Outcome(False, reason, features=seen)
    plan = near
    poses = [tcp(plan, *entry, held.T_hand_object) for entry in heights(plan)]
    goals = [
        ReachGoal(position, rotation, q, line, scale)
        for (position, rotation), q, line, scale in zip(
            poses, (high, above, low, beside, over), (None, DOWN, DOWN, None, None), (1.0, 0.5, SPEED_SHARE, 0.3, 0.5),
            strict=True,
        )
    ]  # fmt: skip
    yield Phase("aim", goals[1], 0.0, 0.0025, 0.03, ignore=pieces, patience=4.0)
    down = yield Phase("cut", goals[2], 0.0, 0.004, 0.05, ignore=pieces)
    if down.ok:
        yield Phase("part", goals[3], 0.0, 0.005, 0.06, patience=5.0, ignore=pieces)
    up = goals[4] if down.ok else goals[0]
    yield Phase("rise", up, 0.0, 0.02, 0.2, passing=True, patience=8.0, frees=True, ignore=pieces)
    looked = yield Phase("look", None, 0.0, hold=LOOK, ignore=pieces)
    if looked.state.robot.held is None:
        return Outcome(False, "the knife slipped out of the hand", features=seen)
    open_by = gap(seam, looked.state.object(seam.first), looked.state.object(seam.second))
    if open_by < PARTED:
        why = "" if down.ok else f", {down.short()}"
        return Outcome(False, f"the pieces still hold together{why}", features=seen)
    return Outcome(True, f"cut, {1000 * open_by:.0f} mm apart", features=seen)


def foreseen_features(food: ObjectKind) -> dict[str, float]:
    """Those of a cut that is not aimed yet; what depends on the aim counts as usual."""
    known = features(food, 0.0, depth=food.height - LEFT, speed=SPEED)
    del known["lever"]
    return known


def ways(seam: Seam, state: State, context: SkillContext, edge: Edge) -> tuple[float | None, list[Cut]]:
    """Height of the board [m], and the ways to hold the edge above the seam; None and [] without a board."""
    first, second = state.object(seam.first), state.object(seam.second)
    middle = 0.5 * (first.position + second.position)
    board = board_under(middle, context.boxes, float(middle[2]))
    if board is None:
        return None, []
    top = float(board.center[2] + board.half[2])
    return top, list(cuts(seam, first, second, context.kind(state, seam.first), edge, board))


def smaller_side(seam: Seam, scene: Scene) -> float:
    """+1 if fewer pieces lie beyond the seam's second piece than beyond its first, else -1."""
    join = next(join for join in scene.joins if join.name == seam.food)
    before = join.items.index(seam.first) + 1
    return 1.0 if len(join.items) - before <= before else -1.0


def across(seam: Seam, state: State) -> np.ndarray:
    """The way from the seam's first piece to its second, (3,)."""
    return np.asarray(state.object(seam.second).position - state.object(seam.first).position)


def lever(plan: Cut, edge: Edge, T_hand_blade: np.ndarray) -> float:
    """From between the finger tips to where the edge meets the food, along the edge [m]."""
    met = T_hand_blade[:3, 3] + T_hand_blade[:3, :3] @ (edge.heel + plan.at * edge.along)
    return float(abs((met - TCP) @ (T_hand_blade[:3, :3] @ edge.along)))
