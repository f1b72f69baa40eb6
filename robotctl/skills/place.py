"""Place: carry what is held above a free spot, lower it, open the fingers, retreat."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from robotctl.geometry import inverse, rotation_z, transform
from robotctl.objectives.hand_path import HandPath
from robotctl.objectives.reach import ReachGoal
from robotctl.robot import STROKE, TCP
from robotctl.skills.context import SkillContext
from robotctl.skills.skill import Outcome, Phase, Story
from robotctl.state import State

LOST = "lost on the way"  # the reason given when the object slipped out of the hand
ABOVE = 0.08  # the object comes down on its spot from this height [m]
RELEASE_GAP = 0.004  # height above the surface at which the fingers open [m]
RETREAT = 0.10  # [m]
OPEN_TIME = 0.4  # [s]
OPENINGS = 3  # how often opening is tried
OPENED = 0.003  # fingers that came apart by less than this were kept closed [m]
DOWN = np.array([0.0, 0.0, -1.0])
HEADINGS = 2 * np.pi * np.arange(8) / 8  # at which a thing may be put down, where nothing speaks for one [rad]
RELEASE_OPENING = 0.056  # how much wider than the grip the fingers open [m]


@dataclass(frozen=True)
class Spot:
    """A free spot on a place."""

    place: str
    position: np.ndarray  # (3,) of the object's body frame [m]
    depth: float = 0.0  # distance from the place's free edge [m]
    inward: np.ndarray | None = None  # (2,) the hand must come this way, over a free edge; None: from anywhere above


def features(spot: Spot, held_kind_radius: float, mass: float, clearance: float) -> dict[str, float]:
    """What the skill outcome model sees of a place."""
    return {"radius": held_kind_radius, "mass": mass, "clearance": clearance, "height": float(spot.position[2])}


def hand_paths(spot: Spot, T_hand_object: np.ndarray, allowed: Callable[[float], bool]) -> list[HandPath]:
    """Hand motions that bring the held object straight down onto the spot, one for each heading that is allowed."""
    paths = []
    for yaw in filter(allowed, _headings(spot, T_hand_object)):
        T_world_object = transform(rotation_z(yaw), spot.position + np.array([0.0, 0.0, RELEASE_GAP]))
        T_world_hand = T_world_object @ inverse(T_hand_object)
        tcp = T_world_hand[:3, 3] + T_world_hand[:3, :3] @ TCP
        above = tcp + np.array([0.0, 0.0, ABOVE])
        away = tcp - RETREAT * T_world_hand[:3, 2]
        paths.append(HandPath((above, tcp, away), T_world_hand[:3, :3]))
    return paths


def _headings(spot: Spot, T_hand_object: np.ndarray) -> np.ndarray:
    """Headings of the object to try [rad]; with a way in given, the one that turns the hand that way."""
    if spot.inward is None:
        return HEADINGS
    approach = inverse(T_hand_object)[:3, 2]  # the hand's z axis in the object's frame
    return np.array([np.arctan2(spot.inward[1], spot.inward[0]) - np.arctan2(approach[1], approach[0])])


def place(spot: Spot, state: State, context: SkillContext) -> Story:
    """Yields the phases of one attempt; returns how it ended."""
    held = state.robot.held
    if held is None:
        return Outcome(False, "nothing is held", tried=False)
    kind = context.scene.kinds[held.kind]
    near = [o for o in state.objects if o.name != held.name]
    clearance = min((float(np.linalg.norm((o.position - spot.position)[:2])) for o in near), default=0.5)
    seen = features(spot, kind.radius, kind.mass, min(clearance, 0.5))
    item = state.object(held.name)
    paths = hand_paths(spot, held.T_hand_object, lambda yaw: context.leaving.allows(item, spot.position, yaw))
    ignore = frozenset({held.name})
    postures = context.find_postures(paths, state, ignore)
    if not postures:
        return Outcome(False, "the spot is out of reach", tried=False)
    best = postures[0]
    path = paths[best.index]
    above, at, away = best.q

    reached = yield Phase(
        "carry", ReachGoal(path.positions[0], path.rotation, above), 0.0, 0.015, 0.1, passing=True, patience=25.0,
        ignore=ignore,
    )  # fmt: skip
    if not reached.ok:
        context.postures.give_up(above)
        return Outcome(False, f"the carry was given up {reached.short()}", features=seen)
    if reached.state.robot.held is None:
        return Outcome(False, LOST, features=seen)
    down = ReachGoal(path.positions[1], path.rotation, at, DOWN)
    reached = yield Phase("lower", down, 0.0, 0.006, 0.06, ignore=ignore)
    if not reached.ok:
        short = reached.short()
        back = ReachGoal(path.positions[0], path.rotation, above)
        yield Phase("back off", back, 0.0, 0.03, 0.2, passing=True, patience=4.0, frees=True, ignore=ignore)
        return Outcome(False, f"the spot was not reached, {short}", features=seen)
    gripped = reached.state.robot.opening
    opening = min(gripped + RELEASE_OPENING, STROKE)
    for _ in range(OPENINGS):  # what the fingers were told to be narrower by than the object is takes time, too
        reached = yield Phase("open", None, opening, hold=OPEN_TIME, frees=True, ignore=ignore)
        if reached.state.robot.opening >= gripped + OPENED:
            break
    else:
        back = ReachGoal(path.positions[0], path.rotation, above)
        yield Phase("back off", back, 0.0, 0.03, 0.2, passing=True, patience=4.0, frees=True, ignore=ignore)
        return Outcome(False, "it must not be left there", tried=False, features=seen)
    reached = yield Phase(
        "retreat", ReachGoal(path.positions[2], path.rotation, away), opening, 0.03, 0.2, passing=True, ignore=ignore
    )
    return Outcome(reached.state.robot.held is None, "released", features=seen)
