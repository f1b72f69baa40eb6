"""This file turns an episode into what can be shown of it: bodies made of triangles, and where each is at every tick.

Everything that moves is shown where it truly was. What was planned, and the tube that the safety filter verified, are
drawn beside it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from robotctl.body import CAPSULE_A, CAPSULE_B, CAPSULES, capsule_poses
from robotctl.episode.bundle import ATTACHMENT, unbundled
from robotctl.episode.reader import EpisodeLog
from robotctl.errors import InvalidFileError, MissingPartError, UsageError
from robotctl.judge.surface import panda_mesh
from robotctl.replay.certified import Certified, Moment
from robotctl.replay.shapes import Figure, Mesh, box, joined, read_figure, read_mesh
from robotctl.robot import JOINT_NAMES
from robotctl.scene import Scene
from robotctl.scene_paths import scenes_folder
from robotctl.simulation.looks import garments
from robotctl.task import load_task

COARSE = 0.008  # the robot's meshes are drawn this coarse [m]
SMALL = 0.003  # and those of things
PLAIN = (0.72, 0.68, 0.62)  # furniture without a model


@dataclass(frozen=True)
class Body:
    """Something that moves in one piece."""

    name: str  # robot/panda_link3, things/cup_1, people/cook/head
    meshes: tuple[Mesh, ...]  # in its own frame


@dataclass(frozen=True)
class Stage:
    """An episode to look at."""

    fixed: tuple[Mesh, ...]  # the room and its furniture, in the world
    bodies: tuple[Body, ...]
    time: np.ndarray  # (T,) [s]
    position: np.ndarray  # (T, B, 3) of every body's frame [m]
    quaternion: np.ndarray  # (T, B, 4) xyzw
    plans: tuple[np.ndarray, ...]  # of every tick the planned way of the hand, (n, 3) [m]; (0, 3) without a plan
    certified: Certified  # draws what the filter verified in a tick
    steps: tuple[Moment, ...]  # what it needs for that
    middle: np.ndarray  # (3,) what to look at [m]
    extent: float  # how wide the scene is [m]
    labels: dict[str, str] = field(default_factory=dict)  # names of people, by the body to write them over

    def tube(self, tick: int) -> np.ndarray:
        """Spheres x y z r (n, 4) that hold hand and load from a tick on until they stand [m]; see certified.py."""
        return self.certified.tube(self.steps[tick])


def stage(log: EpisodeLog, start: float = 0.0, end: float = np.inf) -> Stage:
    """The stage of an episode from `start` to `end` [s]; its scene comes from the log."""
    if ATTACHMENT not in log.attachments:
        raise InvalidFileError(f"{log.path}: no attachment '{ATTACHMENT}': there is no scene to show")
    with unbundled(log.attachments[ATTACHMENT]) as files:
        scene = load_task(files.task).scene
        certified = Certified(log, scene, files)
        time, q, opening, position, quaternion, keypoints = [], [], [], [], [], []
        plans: list[np.ndarray] = []
        moments: list[Moment] = []
        people: tuple[str, ...] = ()
        for step in log.steps:
            if not start <= step.observation.time <= end:
                continue
            truth = step.truth
            people = truth.person_names
            time.append(step.observation.time)
            q.append(truth.q[0])
            opening.append(truth.opening[0])
            position.append(truth.object_position[0])
            quaternion.append(truth.object_quaternion[0])
            keypoints.append(truth.keypoints[0])
            made = step.plan is not None and step.plan.fresh
            held_over = plans[-1] if plans and step.plan is not None else np.zeros((0, 3))
            plans.append(step.plan.path if made and step.plan is not None else held_over)
            moments.append(Moment(step.state.time, step.state.robot, step.verdict.action))
        if not time:
            raise UsageError(f"{log.path}: nothing between {start:g} s and {end:g} s; it lasts {log.duration:.2f} s")
        robot, robot_position, robot_quaternion = _robot(np.array(q), np.array(opening))
        figures, figure_position, figure_quaternion = _people(people, np.array(keypoints))
        things = tuple(Body(f"things/{item.name}", _thing(scene, item.kind)) for item in scene.items)
        fixed = tuple(_furniture(scene))
    middle, extent = _middle(scene)
    return Stage(
        fixed=fixed,
        bodies=(*robot, *things, *figures),
        time=np.array(time),
        position=np.concatenate([robot_position, np.array(position), figure_position], axis=1),
        quaternion=np.concatenate([robot_quaternion, np.array(quaternion), figure_quaternion], axis=1),
        plans=tuple(plans),
        certified=certified,
        steps=tuple(moments),
        middle=middle,
        extent=extent,
        labels={f"people/{name}/head": name for name in people},
    )


def _robot(q: np.ndarray, opening: np.ndarray) -> tuple[list[Body], np.ndarray, np.ndarray]:
    """The robot's links that can be seen, and their poses: q (T, 10), opening (T,)."""
    figure = robot_figure()
    values = {name: q[:, i] for i, name in enumerate(JOINT_NAMES)}
    values |= {"panda_finger_joint1": opening / 2, "panda_finger_joint2": opening / 2}
    poses = figure.poses(values, len(q))
    links = [link for link, meshes in figure.meshes.items() if meshes]
    bodies = [Body(f"robot/{link}", tuple(joined(list(figure.meshes[link])))) for link in links]
    matrices = np.stack([poses[link] for link in links], axis=1)
    return bodies, matrices[..., :3, 3], _quaternions(matrices[..., :3, :3])


def robot_figure() -> Figure:
    """The robot as PyBullet shows it, with coarser meshes."""
    urdf = scenes_folder() / "assets" / "robot.urdf"
    try:
        franka = panda_mesh("hand").parent.parent
    except FileNotFoundError as error:
        raise MissingPartError(str(error)) from None

    def find(name: str) -> Path:
        return franka / name.removeprefix("franka:meshes/") if name.startswith("franka:") else urdf.parent / name

    return read_figure(urdf, find, COARSE)


def _people(names: Iterable[str], keypoints: np.ndarray) -> tuple[list[Body], np.ndarray, np.ndarray]:
    """A body for every capsule of every person, dressed, and their poses: keypoints (T, P, J, 3)."""
    folder = scenes_folder() / "assets" / "meshes"
    bodies = []
    for person, name in enumerate(names):
        points = keypoints[0, person]
        length = np.linalg.norm(points[CAPSULE_B] - points[CAPSULE_A], axis=1)
        for capsule, extent, shown in zip(CAPSULES, length, garments(person), strict=True):
            meshes = []
            for mesh, color in shown:
                for part in read_mesh(folder / f"person_{mesh}.obj"):
                    red, green, blue = color[:3]
                    meshes.append(Mesh(part.vertices * [1.0, 1.0, extent], part.faces, (red, green, blue)))
            bodies.append(Body(f"people/{name}/{capsule.name}", tuple(meshes)))
    middle, turn = capsule_poses(keypoints)
    ticks = len(keypoints)
    return bodies, middle.reshape(ticks, -1, 3), turn.reshape(ticks, -1, 4)


def _thing(scene: Scene, kind: str) -> tuple[Mesh, ...]:
    figure = read_figure(scene.kinds[kind].urdf, simplify=SMALL)
    poses = figure.poses({})
    return tuple(joined([m.moved(poses[link][0]) for link, meshes in figure.meshes.items() for m in meshes]))


def _furniture(scene: Scene) -> list[Mesh]:
    meshes: list[Mesh] = []
    for piece in scene.furniture:
        if piece.urdf is not None:
            figure = read_figure(piece.urdf)
            poses = figure.poses({})
            meshes += [m.moved(poses[link][0]) for link, parts in figure.meshes.items() for m in parts]
        else:
            for part in piece.boxes:
                red, green, blue = part.color[:3] if part.color is not None else PLAIN
                meshes.append(box(part.center, part.half, part.yaw, (red, green, blue)))
    return joined(meshes)


def _middle(scene: Scene) -> tuple[np.ndarray, float]:
    points = [scene.robot_start[:2]] + [item.position[:2] for item in scene.items]
    points += [part.center[:2] for piece in scene.furniture if "wall" not in piece.labels for part in piece.boxes]
    low, high = np.min(points, axis=0), np.max(points, axis=0)
    return np.array([*(low + high) / 2, 0.75]), float(np.linalg.norm(high - low))


def _quaternions(rotation: np.ndarray) -> np.ndarray:
    """Unit quaternions xyzw (..., 4) of rotations (..., 3, 3)."""
    from scipy.spatial.transform import Rotation

    flat = Rotation.from_matrix(rotation.reshape(-1, 3, 3)).as_quat()
    return np.asarray(flat).reshape(*rotation.shape[:-2], 4)
