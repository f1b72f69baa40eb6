"""Takes hold of a thing for real: it stands on a stand, the fingers close on it, and friction holds it or does not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from robotctl.geometry import quaternion_from_matrix, rotation_z
from robotctl.guardrails.guardrail import Assumptions
from robotctl.robot import DQ_MAX
from robotctl.scene import Box, Furniture, Item, ObjectKind, Scene
from robotctl.skills.grasping import GraspPose, grasp_poses
from robotctl.skills.pick import LIFT
from robotctl.state import N_JOINTS, TICK, ObjectState
from robotctl.training.pull_data import Try, hand_path
from robotctl.training.push_data import TABLE, TOP
from robotctl.verify.motions import limits_only
from robotctl.verify.rig import Rig

NARROW = 0.05  # half width of the stand for what is taken at an edge that stands out [m]
AWAY = 1.0  # how far the base backs off with what it holds [m]
TRIES = 40  # grasps and turns imagined before one in reach is found
LIFT_SPEED = 0.25  # [m/s]
THING = "thing"
QUIET = 0.3  # at rest before a motion begins [s]


@dataclass(frozen=True)
class Lift:
    """A room with a thing on a stand, and how the arm is to take and lift it."""

    room: Scene
    stand: Box
    path: np.ndarray  # (T, 10) joint references at ticks
    opening: np.ndarray  # (T,) of the fingers [m]
    pose: GraspPose


def empty_room(scene: Scene) -> Scene:
    """The scene's robot, drives and sensors, and nothing else."""
    return replace(scene, furniture=(), places=(), regions=(), items=(), joins=())


def plan_lift(scene: Scene, kind: ObjectKind, generator: np.random.Generator) -> Lift | None:
    """A lift at one of the grasps that the kind suggests; None if it is out of reach."""
    edge = any(grasp.kind == "edge" for grasp in kind.grasps)
    half = np.array([NARROW, NARROW, TABLE.half[2]]) if edge else TABLE.half
    stand = replace(TABLE, half=half)
    for _ in range(TRIES):
        yaw = float(generator.uniform(-np.pi, np.pi))
        item = ObjectState(
            THING, kind.name, kind.labels, np.array([0.0, 0.0, TOP]), quaternion_from_matrix(rotation_z(yaw)), 0.0
        )
        usual = [pose for pose in grasp_poses(item, kind) if pose.depth == pose.shift == 0.0]
        pose = usual[int(generator.integers(len(usual)))]
        tried = Try(pose, np.array([0.0, 0.0, LIFT]), LIFT_SPEED, lets_go=False)
        found = hand_path(tried, np.zeros(3), generator)
        if found is not None:
            slab = Furniture("slab", frozenset({"table"}), (stand,), None)
            stands = Item(THING, kind.name, item.position, yaw, 0.0, 0.0)
            room = replace(
                empty_room(scene), furniture=(slab,), items=(stands,), robot_start=found[0][0], kinds={kind.name: kind}
            )
            return Lift(room, stand, found[0], found[1], pose)
    return None


def take(rig: Rig, lift: Lift, seed: int) -> bool:
    """Plays the lift; whether the judge sees the thing held in the end."""
    rig.reset(seed)
    follow_path(rig, lift.path, lift.opening)
    return rig.held


def follow_path(rig: Rig, path: np.ndarray, opening: np.ndarray) -> None:
    """Drives the reference along joints (T, 10) at ticks, with finger openings (T,)."""
    velocity = np.gradient(path, TICK, axis=0)
    for tick in range(len(path) - 1):
        drift = (path[tick] - rig.state.robot.q_ref) / (4 * TICK)
        rig.step(np.append(velocity[tick + 1] + drift, opening[tick]))


def back_off(rig: Rig) -> None:
    """The base drives straight away from the stand, and stops."""
    q = rig.state.robot.q_ref
    way = q[:2] / max(float(np.linalg.norm(q[:2])), 1e-6)
    proposal = np.zeros(N_JOINTS + 1)
    proposal[:2] = DQ_MAX[0] * way
    start = q[:2].copy()
    while np.linalg.norm(rig.state.robot.q_ref[:2] - start) < AWAY:
        rig.step(proposal)
    stop(rig)


def stop(rig: Rig, seconds: float = QUIET) -> None:
    """Brakes, and stands for a while."""
    while rig.moving:
        rig.step(None)
    for _ in range(round(seconds / TICK)):
        rig.step(np.append(np.zeros(N_JOINTS), 0.0))


def rig_for(lift: Lift, assumed: Assumptions) -> Rig:
    """A rig for the lift's room, in which only the joints' limits rule: the hand must come near the stand."""
    return Rig(lift.room, assumed, limits_only(), THING)


def liftable(scene: Scene) -> list[ObjectKind]:
    """Kinds with a grasp, by name."""
    return [kind for _, kind in sorted(scene.kinds.items()) if kind.grasps]


def heaviest(kinds: Sequence[ObjectKind]) -> ObjectKind:
    return max(kinds, key=lambda kind: (kind.mass, kind.name))
