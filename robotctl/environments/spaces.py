"""What the robot may do and what it senses, as Gymnasium spaces. Nothing here is ground truth.

Frames: world, z up. Quaternions xyzw, w >= 0. Numbers are SI units as float32.
"""

from __future__ import annotations

import numpy as np
from gymnasium.spaces import Box, Dict

from robotctl.body import KEYPOINTS
from robotctl.errors import UsageError
from robotctl.robot import DQ_MAX, STROKE
from robotctl.state import N_ACTIONS, N_JOINTS, State
from robotctl.task import Task

NEVER = 1000.0  # age of what was not seen yet; no age is larger [s]


def action_space() -> Box:
    """(11,) in [-1, 1]: ten joint velocities as a share of DQ_MAX, and the finger opening, -1 closed to 1 open."""
    return Box(-1.0, 1.0, (N_ACTIONS,), np.float32)


def physical(action: np.ndarray) -> np.ndarray:
    """Joint velocities at the end of the tick [m/s, rad/s] and finger opening [m], (11,), of a normalised action.

    Values outside [-1, 1] count as the nearest end; what is not finite stays so.
    """
    share = np.clip(action, -1.0, 1.0, where=np.isfinite(action), out=np.array(action, float))
    return np.append(share[:N_JOINTS] * DQ_MAX, 0.5 * (share[N_JOINTS] + 1.0) * STROKE)


def normalised(action: np.ndarray) -> np.ndarray:
    """The inverse of `physical`: an action (11,) in units as one of the action space."""
    return np.append(action[:N_JOINTS] / DQ_MAX, 2.0 * action[N_JOINTS] / STROKE - 1.0)


def read_action(action: object) -> np.ndarray:
    """The action as an array (11,) of numbers, finite or not; UsageError for anything else."""
    try:
        values = np.array(action, float)
    except (TypeError, ValueError):
        raise UsageError(f"an action is an array of {N_ACTIONS} numbers, got {type(action).__name__}") from None
    if values.shape != (N_ACTIONS,):
        raise UsageError(f"an action has shape ({N_ACTIONS},), got {values.shape}")
    return values


def observation_space(task: Task) -> Dict:
    """The same entries for every episode of a task, whoever is there; an entry of size zero is left out."""
    objects, people, joints = len(task.scene.items), len(task.people), (N_JOINTS,)
    pose = np.broadcast_to(np.array([np.inf] * 3 + [1.0] * 4, np.float32), (objects, 7))
    entries = {
        "joint_position": Box(-np.inf, np.inf, joints, np.float32),
        "joint_velocity": Box(-np.inf, np.inf, joints, np.float32),
        "commanded_position": Box(-np.inf, np.inf, joints, np.float32),
        "commanded_velocity": Box(-np.inf, np.inf, joints, np.float32),
        "finger_opening": Box(0.0, STROKE, (1,), np.float32),
        "objects": Box(-pose, pose, (objects, 7), np.float32),
        "object_age": Box(0.0, NEVER, (objects,), np.float32),
        "held": Box(0.0, 1.0, (objects,), np.float32),
        "people": Box(-np.inf, np.inf, (people, len(KEYPOINTS), 3), np.float32),
        "person_age": Box(0.0, NEVER, (people,), np.float32),
        "time_left": Box(0.0, task.within, (1,), np.float32),
    }
    return Dict({name: space for name, space in entries.items() if 0 not in space.shape})


def observe(task: Task, state: State) -> dict[str, np.ndarray]:
    """The belief `state` as a member of the observation space, in memory of its own.

    Objects stand in the order of the scene's items, people in that of the task's. What was not seen yet is all
    zeros, with the age NEVER.
    """
    robot, scene = state.robot, task.scene
    objects, people = len(scene.items), len(task.people)
    pose, object_age, held = np.zeros((objects, 7)), np.full(objects, NEVER), np.zeros(objects)
    known = {item.name: item for item in state.objects}
    for i, item in enumerate(scene.items):
        if item.name in known:
            seen = known[item.name]
            turn = seen.quaternion if seen.quaternion[3] >= 0.0 else -seen.quaternion
            pose[i] = [*seen.position, *np.clip(turn, -1.0, 1.0)]
            object_age[i] = state.time - seen.stamp
        held[i] = robot.held is not None and robot.held.name == item.name
    keypoints, person_age = np.zeros((people, len(KEYPOINTS), 3)), np.full(people, NEVER)
    there = {person.name: person for person in state.people}
    for i, plan in enumerate(task.people):
        if plan.name in there:
            keypoints[i] = there[plan.name].keypoints
            person_age[i] = state.time - there[plan.name].stamp
    values = {
        "joint_position": robot.q,
        "joint_velocity": robot.dq,
        "commanded_position": robot.q_ref,
        "commanded_velocity": robot.dq_ref,
        "finger_opening": np.clip([robot.opening], 0.0, STROKE),
        "objects": pose,
        "object_age": np.clip(object_age, 0.0, NEVER),
        "held": held,
        "people": keypoints,
        "person_age": np.clip(person_age, 0.0, NEVER),
        "time_left": np.clip([task.within - state.time], 0.0, task.within),
    }
    return {name: np.array(value, np.float32) for name, value in values.items() if np.size(value)}
