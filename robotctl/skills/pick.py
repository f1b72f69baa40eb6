"""Pick: bring the hand to a grasp of an object, close the fingers, lift."""

from __future__ import annotations

import numpy as np

from robotctl.guardrails.clearance import Boxes
from robotctl.objectives.hand_path import HandPath
from robotctl.objectives.reach import ReachGoal
from robotctl.skills.context import SkillContext
from robotctl.skills.grasping import GraspPose, features, grasp_poses
from robotctl.skills.gripping import lift_load
from robotctl.skills.skill import Outcome, Phase, Story
from robotctl.state import State

LIFT = 0.12  # [m]
CLOSE_TIME = 0.5  # the fingers close at about 0.1 m/s and the grip settles [s]
CLOSED = 0.002  # fingers that came together by less than this did not close [m]
REFUSALS = 40  # how often closing is tried, CLOSE_TIME each
SUGGESTED = 0.1  # another grasp than the kind suggests must be likelier to succeed by this much
ALIGNED = 0.006  # the hand is this well above the grasp before it descends: the fingers must straddle a wall [m]
CANDIDATES = 24  # how many of the likeliest grasps are tried for reachability


def ranked_grasps(name: str, state: State, context: SkillContext) -> list[tuple[float, GraspPose, dict[str, float]]]:
    """Grasps of an object by predicted probability of success, best first."""
    item, kind = state.object(name), context.kind(state, name)
    others = [o for o in state.objects if o.name != name]
    furniture, load = Boxes.of(context.boxes), lift_load(kind, context.scene.actuators)
    ranked = []
    for pose in grasp_poses(item, kind):
        seen = features(pose, item, kind, furniture, others)
        chance = context.outcomes.success_probability("pick", kind.name, {**seen, "load": load})
        ranked.append((chance, pose, seen))
    ranked.sort(key=lambda entry: -worth(entry[0], entry[1]))
    return ranked


def worth(probability: float, pose: GraspPose) -> float:
    """What a grasp is chosen by: its chance, and a bonus if it is the one that the kind suggests."""
    return probability + (SUGGESTED if pose.depth == pose.shift == 0.0 else 0.0)


def pick(name: str, state: State, context: SkillContext) -> Story:
    """Yields the phases of one attempt; returns how it ended."""
    ranked = ranked_grasps(name, state, context)[:CANDIDATES]
    lift = np.array([0.0, 0.0, LIFT])
    paths = [HandPath((pose.before, pose.position, pose.position + lift), pose.rotation) for _, pose, _ in ranked]
    ignore = frozenset({name})
    postures = context.find_postures(paths, state, ignore)
    if not postures:
        return Outcome(False, "no grasp is in reach", tried=False)
    # A second of travel is worth a percent of success: failing costs far more than driving.
    best = min(postures, key=lambda posture: 0.01 * posture.cost - worth(*ranked[posture.index][:2]))
    _, pose, seen = ranked[best.index]
    before, at, after = best.q
    opening = pose.grasp.opening

    reached = yield Phase(
        "approach", ReachGoal(pose.before, pose.rotation, before), opening, ALIGNED, 0.06, passing=True, patience=20.0
    )
    if not reached.ok:
        context.postures.give_up(before)
        return Outcome(False, f"the approach was given up {reached.short()}", features=seen)
    # Look again: the object may have been read better, or moved, while the robot came near.
    moved = reached.state.object(name).position - state.object(name).position
    if np.linalg.norm(moved) > 0.05:
        return Outcome(False, "the object moved away", features=seen)
    reached = yield Phase(
        "descend", ReachGoal(pose.position + moved, pose.rotation, at, pose.rotation[:, 2]), opening, 0.005, 0.06,
        ignore=ignore,
    )  # fmt: skip
    if not reached.ok:
        short = reached.short()
        away = ReachGoal(pose.before + moved, pose.rotation, before)
        yield Phase("back off", away, opening, 0.03, 0.2, passing=True, patience=4.0, frees=True, ignore=ignore)
        return Outcome(False, f"the grasp was not reached, {short}", features=seen)
    for _ in range(REFUSALS):  # while a person is near, the fingers may be kept from closing: wait
        before_closing = reached.state.robot.opening
        reached = yield Phase("close", None, 0.0, hold=CLOSE_TIME, frees=True, ignore=ignore)
        if reached.state.robot.opening < before_closing - CLOSED:
            break
    else:
        away = ReachGoal(pose.before + moved, pose.rotation, before)
        yield Phase("back off", away, opening, 0.03, 0.2, passing=True, patience=4.0, frees=True, ignore=ignore)
        return Outcome(False, "the fingers were kept from closing", features=seen)
    raised = ReachGoal(pose.position + moved + lift, pose.rotation, after)
    reached = yield Phase("lift", raised, 0.0, 0.03, 0.2, passing=True, ignore=ignore)
    held = reached.state.robot.held
    if held is None or held.name != name:
        return Outcome(False, "nothing is between the fingers", features=seen)
    return Outcome(True, "lifted", features=seen)
