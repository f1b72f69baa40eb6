"""Pull: close the fingers on a grasp of an object, drag it over what it stands on, let go, and look.

What is too heavy to lift can be pulled: friction with the table is less than its weight. A grasp that holds against
the one need not hold against the other, so grasps are ranked by the predicted outcome of pulling with them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from robotctl.geometry import matrix_from_quaternion, point_box_distance, rotation_z
from robotctl.objectives.hand_path import HandPath, Posture
from robotctl.objectives.reach import ReachGoal
from robotctl.robot import STROKE, RobotModel, forward, tcp_pose
from robotctl.scene import Box, ObjectKind, Place
from robotctl.skills.context import SkillContext
from robotctl.skills.grasping import GraspPose, grasp_poses
from robotctl.skills.gripping import pull_features
from robotctl.skills.pick import ALIGNED, CANDIDATES
from robotctl.skills.place import LOST, OPEN_TIME, RELEASE_OPENING, RETREAT, Spot
from robotctl.skills.skill import Outcome, Phase, Story
from robotctl.state import ObjectState, State

LONGEST = 0.34  # one pull brings an object at most this far: from one place of the base, the arm reaches that [m]
CLEARANCE = 0.02  # of the driving robot from furniture [m]
STRIDE = 0.06  # the arm is led along the way, and the way is looked at, in steps of about this [m]
ON_THE_WAY = 0.03  # a stride is made when its end is this near [m]
SHORTEST = 0.01  # a pull shorter than this is not worth it [m]
CLOSE_TIME = 0.8  # the fingers close at about 0.1 m/s, and what they hold is felt before it is dragged [s]
SPEED = 0.10  # of the hand while it drags [m/s]
SPEED_SHARE = 0.12  # of the joints' speed limits: about SPEED at the hand
DRAGGED = 0.012  # the hand trails its goal by up to this against the drag, which does not end as it stands still [m]
SLACKEN_TIME = 0.4  # [s]
LOOK = 0.6  # how long the eyes need to see where the object came to rest [s]
MISSED = 0.02  # an object nearer than this to where it should be was pulled there [m]
UPRIGHT = 0.95  # z component of an upright thing's own z axis, at least
LEVEL = 0.02  # an object this near a place's height stands on it [m]
ROOM = 0.02  # kept from what stands beside the way [m]
SAMPLE = 0.01  # the way is looked at in steps of this [m]


def pull(name: str, spot: Spot, state: State, context: SkillContext) -> Story:
    """Yields the phases of one pull towards a spot; returns how it ended."""
    item, kind = state.object(name), context.kind(state, name)
    way = next_way(item.position, spot.position)
    if np.linalg.norm(way) < SHORTEST:
        return Outcome(False, "it is there already", tried=False)
    others = [(o, context.scene.kinds[o.kind]) for o in state.objects if o.name != name]
    if not is_clear(item.position, way, kind, others, context.scene.places, context.boxes):
        return Outcome(False, "something is in the way", tried=False)
    ranked = ranked_pulls(item, kind, way, context)[:CANDIDATES]
    found = _postures(name, [pose for _, pose, _ in ranked], way, state, context)
    if not found:
        return Outcome(False, "no grasp to pull at is in reach", tried=False)
    # As in picking: a second of travel is worth a percent of success.
    best = min(found, key=lambda posture: 0.01 * posture.cost - ranked[posture.index][0])
    _, pose, seen = ranked[best.index]
    before, at, *there, over = best.q
    ignore = frozenset({name})
    opening = pose.grasp.opening

    reached = yield Phase(
        "approach", ReachGoal(pose.before, pose.rotation, before), opening, ALIGNED, 0.06, passing=True, patience=20.0
    )
    if not reached.ok:
        context.postures.give_up(before)
        return Outcome(False, f"the approach was given up {reached.short()}", features=seen)
    moved = reached.state.object(name).position - item.position
    if np.linalg.norm(moved) > 0.05:
        return Outcome(False, "the object moved away", features=seen)
    hold = pose.position + moved
    reached = yield Phase(
        "descend", ReachGoal(hold, pose.rotation, at, pose.rotation[:, 2]), opening, 0.005, 0.06, ignore=ignore
    )
    if not reached.ok:
        short = reached.short()
        away = ReachGoal(pose.before + moved, pose.rotation, before)
        yield Phase("back off", away, opening, 0.03, 0.2, passing=True, patience=4.0, frees=True, ignore=ignore)
        return Outcome(False, f"the grasp was not reached, {short}", features=seen)
    reached = yield Phase("close", None, 0.0, hold=CLOSE_TIME, ignore=ignore)
    gripped = _holds(name, reached.state)
    intended = item.position[:2] + way
    # From where it sits in the hand now: closing has moved it.
    drag = np.array([*(intended - reached.state.object(name).position[:2]), 0.0])
    along = drag / np.linalg.norm(drag)
    begin, pulled = hold, reached
    for i, q in enumerate(there, 1):
        if not _holds(name, pulled.state) or not pulled.ok:
            break
        hold, last = begin + i / len(there) * drag, i == len(there)
        goal = ReachGoal(hold, pose.rotation, q, along, speed_scale=SPEED_SHARE)
        tolerance = DRAGGED if last else ON_THE_WAY
        pulled = yield Phase("pull", goal, 0.0, tolerance, 0.06, passing=not last, ignore=ignore)
    if _holds(name, pulled.state):
        # The arm is strained by the drag: let go of like this, it would snap forward.
        tip, _ = tcp_pose(pulled.state.robot.q)
        slack = ReachGoal(tip, pose.rotation, there[-1])
        yield Phase("slacken", slack, 0.0, DRAGGED, 0.06, hold=SLACKEN_TIME, patience=2.0, passing=True, ignore=ignore)
    wide = min(pulled.state.robot.opening + RELEASE_OPENING, STROKE)
    yield Phase("open", None, wide, hold=OPEN_TIME, ignore=ignore)
    leave = ReachGoal(hold - RETREAT * pose.rotation[:, 2], pose.rotation, over if hold is not begin else before)
    yield Phase("retreat", leave, wide, 0.03, 0.2, passing=True, patience=6.0, frees=True, ignore=ignore)
    looked = yield Phase("look", None, wide, hold=LOOK, ignore=ignore)
    if not gripped:
        return Outcome(False, "nothing is between the fingers", features=seen)
    if not pulled.ok:
        return Outcome(False, f"the pull was given up {pulled.short()}", features=seen)
    if not _holds(name, pulled.state):
        return Outcome(False, LOST, features=seen)
    return judged(looked.state.object(name), intended, item.position[2], seen)


def _postures(
    name: str, poses: Sequence[GraspPose], way: np.ndarray, state: State, context: SkillContext
) -> list[Posture]:
    """Joints before and at each grasp, along the way from there, and away from its end.

    If there is room the base drives and the arm stays as it is: nothing is straighter. If not, the base stays and the
    arm is led along in strides.
    """
    ignore = frozenset({name})
    taking = [HandPath((pose.before, pose.position), pose.rotation) for pose in poses]
    shift = np.array([*way, *np.zeros(8)])
    driving = [
        Posture(found.index, (*found.q, found.q[1] + shift, found.q[0] + shift), found.cost)
        for found in context.find_postures(taking, state, ignore)
        if _has_room(found.q[1], way, context.boxes)
    ]
    if driving:
        return driving
    drag = np.array([*way, 0.0])
    strides = np.linspace(0.0, 1.0, int(np.ceil(np.linalg.norm(way) / STRIDE)) + 1)[1:]
    paths = []
    for pose in poses:
        along = [pose.position + share * drag for share in strides]
        paths.append(HandPath((pose.before, pose.position, *along, pose.before + drag), pose.rotation))
    return context.find_postures(paths, state, ignore)


def _has_room(q: np.ndarray, way: np.ndarray, boxes: Sequence[Box]) -> bool:
    """Whether the robot can drive from joints q (10,) along `way` (2,) as it is, clear of the furniture."""
    robot = RobotModel().spheres
    rotation, origin = forward(q)
    centers = origin[robot.frame] + np.einsum("sij,sj->si", rotation[robot.frame], robot.offset)
    own = np.array([part != "finger" for part in robot.part])
    steps = np.linspace(0.0, 1.0, max(2, int(np.ceil(np.linalg.norm(way) / STRIDE)) + 1))
    points = centers[own] + steps[:, None, None] * np.array([*way, 0.0])
    return all(
        np.all(point_box_distance(points, box.center, rotation_z(box.yaw), box.half) > robot.radius[own] + CLEARANCE)
        for box in boxes
    )


def _holds(name: str, state: State) -> bool:
    """Whether the object is in the hand."""
    return state.robot.held is not None and state.robot.held.name == name


def judged(item: ObjectState, intended: np.ndarray, height: float, seen: dict[str, float]) -> Outcome:
    """Whether the object stands at `intended` (2,), as high as before."""
    if matrix_from_quaternion(item.quaternion)[2, 2] < UPRIGHT or abs(item.position[2] - height) > LEVEL:
        return Outcome(False, "it fell", features=seen)
    missed = float(np.linalg.norm(item.position[:2] - intended))
    short = f"{1000 * missed:.0f} mm from where it should be"
    return Outcome(missed <= MISSED, f"pulled, {short}" if missed <= MISSED else f"it is {short}", features=seen)


def next_way(position: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The next pull from a position towards a target, (2,) [m]: a long way is cut into equal pulls."""
    way = np.asarray(target)[:2] - np.asarray(position)[:2]
    return np.asarray(way / max(1, pulls_needed(position, target)))


def pulls_needed(position: np.ndarray, target: np.ndarray) -> int:
    """How many pulls it takes from a position to a target."""
    return int(np.ceil(np.linalg.norm(np.asarray(target)[:2] - np.asarray(position)[:2]) / LONGEST))


def ranked_pulls(
    item: ObjectState, kind: ObjectKind, way: np.ndarray, context: SkillContext
) -> list[tuple[float, GraspPose, dict[str, float]]]:
    """Grasps of an object by the predicted outcome of pulling it along `way` (2,) with them, best first."""
    ranked = []
    for pose in grasp_poses(item, kind):
        seen = pull_features(pose, item, kind, way, SPEED, context.scene.actuators)
        ranked.append((context.outcomes.success_probability("pull", kind.name, seen), pose, seen))
    ranked.sort(key=lambda entry: -entry[0])
    return ranked


def is_clear(
    position: np.ndarray,
    way: np.ndarray,
    kind: ObjectKind,
    others: Sequence[tuple[ObjectState, ObjectKind]],
    places: Sequence[Place],
    boxes: Sequence[Box],
) -> bool:
    """Whether an object stays on the place it stands on and clear of everything while it is pulled along `way`."""
    steps = max(2, int(np.ceil(np.linalg.norm(way) / SAMPLE)) + 1)
    points = position + np.linspace(0.0, 1.0, steps)[:, None] * np.array([*way, 0.0])
    if not any(
        np.all(np.abs((points - place.center) @ rotation_z(place.yaw))[:, :2] <= place.half)
        and abs(position[2] - place.center[2]) < LEVEL
        for place in places
    ):
        return False
    for other, its in others:
        if abs(other.position[2] - position[2]) < kind.height:
            gap = np.linalg.norm(points[:, :2] - other.position[:2], axis=1) - kind.radius - its.radius
            if np.min(gap) < min(ROOM, gap[0]):  # what stands beside it already may be left behind
                return False
    for box in boxes:
        top, bottom = box.center[2] + box.half[2], box.center[2] - box.half[2]
        if top > position[2] + 0.003 and bottom < position[2] + kind.height:
            level = points * [1.0, 1.0, 0.0] + [0.0, 0.0, box.center[2]]
            gap = np.asarray(point_box_distance(level, box.center, rotation_z(box.yaw), box.half))
            if np.min(gap) < min(kind.radius, gap[0]):
                return False
    return True
