"""This file says what the robot, people, things and furniture of a scene look like, and where their parts are."""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from robotctl.body import CAPSULE_A, CAPSULE_B, CAPSULES, capsule_poses
from robotctl.drawing.looks import garments
from robotctl.drawing.shapes import Figure, Mesh, box, joined, read_figure, read_mesh
from robotctl.errors import MissingPartError
from robotctl.robot import JOINT_NAMES
from robotctl.scene import Scene
from robotctl.scene_paths import scenes_folder

COARSE = 0.008  # the robot's meshes are drawn this coarse [m]
SMALL = 0.003  # and those of things
WHITE = (0.94, 0.94, 0.94)  # the Panda's shells


@dataclass(frozen=True)
class Body:
    """Something that moves in one piece."""

    name: str  # robot/panda_link3, things/cup_1, people/cook/head
    meshes: tuple[Mesh, ...]  # in its own frame


@dataclass(frozen=True)
class Placed:
    """Bodies, and where they are at several times."""

    bodies: tuple[Body, ...]
    position: np.ndarray  # (T, B, 3) of every body's frame [m]
    quaternion: np.ndarray  # (T, B, 4) xyzw

    def __add__(self, other: Placed) -> Placed:
        return Placed(
            (*self.bodies, *other.bodies),
            np.concatenate([self.position, other.position], axis=1),
            np.concatenate([self.quaternion, other.quaternion], axis=1),
        )


def robot_at(q: np.ndarray, opening: np.ndarray) -> Placed:
    """The robot's links that can be seen: q (T, 10), opening (T,)."""
    figure = robot_figure()
    values = {name: q[:, i] for i, name in enumerate(JOINT_NAMES)}
    values |= {"panda_finger_joint1": opening / 2, "panda_finger_joint2": opening / 2}
    poses = figure.poses(values, len(q))
    bodies = tuple(Body(f"robot/{link}", meshes) for link, meshes in figure.meshes.items() if meshes)
    matrices = np.stack([poses[link] for link, meshes in figure.meshes.items() if meshes], axis=1)
    return Placed(bodies, matrices[..., :3, 3], _quaternions(matrices[..., :3, :3]))


@functools.cache
def robot_figure() -> Figure:
    """The robot as PyBullet shows it, with coarser meshes."""
    urdf = scenes_folder() / "assets" / "robot.urdf"
    found = importlib.util.find_spec("pybullet_data")
    if found is None or not found.submodule_search_locations:
        raise MissingPartError("pybullet_data, which carries the Panda's meshes, is missing: install pybullet")
    franka = Path(found.submodule_search_locations[0]) / "franka_panda" / "meshes"

    def find(name: str) -> Path:
        return franka / name.removeprefix("franka:meshes/") if name.startswith("franka:") else urdf.parent / name

    figure = read_figure(urdf, find, COARSE)
    plain = {  # coarse meshes have no use for textures
        link: tuple(joined([replace(m, texture=None, uv=None, color=WHITE if m.texture else m.color) for m in meshes]))
        for link, meshes in figure.meshes.items()
    }
    return replace(figure, meshes=plain)


def people_at(names: Iterable[str], keypoints: np.ndarray) -> Placed:
    """A body for every capsule of every person, dressed: keypoints (T, P, J, 3)."""
    folder = scenes_folder() / "assets" / "meshes"
    bodies = []
    for person, name in enumerate(names):
        points = keypoints[0, person]
        length = np.linalg.norm(points[CAPSULE_B] - points[CAPSULE_A], axis=1)
        for capsule, extent, shown in zip(CAPSULES, length, garments(person), strict=True):
            meshes = []
            for mesh, color in shown:
                for part in read_mesh(folder / f"person_{mesh}.obj"):
                    meshes.append(Mesh(part.vertices * [1.0, 1.0, extent], part.faces, color))
            bodies.append(Body(f"people/{name}/{capsule.name}", tuple(meshes)))
    middle, turn = capsule_poses(keypoints)
    ticks = len(keypoints)
    return Placed(tuple(bodies), middle.reshape(ticks, -1, 3), turn.reshape(ticks, -1, 4))


def things_at(scene: Scene, position: np.ndarray, quaternion: np.ndarray) -> Placed:
    """The scene's items, at poses (T, O, 3) and (T, O, 4) in their order."""
    bodies = tuple(Body(f"things/{item.name}", _thing(scene.kinds[item.kind].urdf)) for item in scene.items)
    return Placed(bodies, position, quaternion)


@functools.cache
def _thing(urdf: Path) -> tuple[Mesh, ...]:
    figure = read_figure(urdf, simplify=SMALL)
    poses = figure.poses({})
    return tuple(joined([m.moved(poses[link][0]) for link, meshes in figure.meshes.items() for m in meshes]))


def furniture(scene: Scene) -> tuple[Mesh, ...]:
    """Everything that stays where it is, in the world."""
    meshes: list[Mesh] = []
    for piece in scene.furniture:
        if piece.urdf is not None:
            figure = read_figure(piece.urdf)
            poses = figure.poses({})
            meshes += [m.moved(poses[link][0]) for link, parts in figure.meshes.items() for m in parts]
        else:
            for part in piece.boxes:
                red, green, blue = part.color[:3]
                meshes.append(box(part.center, part.half, part.yaw, (red, green, blue)))
    return tuple(joined(meshes))


def _quaternions(rotation: np.ndarray) -> np.ndarray:
    """Unit quaternions xyzw (..., 4) of rotations (..., 3, 3)."""
    flat = Rotation.from_matrix(rotation.reshape(-1, 3, 3)).as_quat()
    return np.asarray(flat).reshape(*rotation.shape[:-2], 4)
