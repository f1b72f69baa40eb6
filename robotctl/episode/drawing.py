"""This file turns steps into Foxglove's own messages, so that any MCAP viewer shows the scene without our help."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from foxglove.messages import (
    Color,
    CubePrimitive,
    CylinderPrimitive,
    FrameTransform,
    FrameTransforms,
    JointState,
    JointStates,
    Log,
    LogLevel,
    Pose,
    PosesInFrame,
    Quaternion,
    SceneEntity,
    SceneUpdate,
    SpherePrimitive,
    Timestamp,
    Vector3,
)

from robotctl.episode.step import Step
from robotctl.geometry import quaternion_from_matrix
from robotctl.robot import ARM_OFFSETS, JOINT_NAMES, N_FRAMES, ROBOT_SPHERES, T_LINK7_HAND, TCP
from robotctl.scene import Scene

EVERY = 2  # ticks: ten pictures a second, as many as there are plans
REFRESH = 20  # what is at rest is sent again every so many ticks, so that a viewer may start anywhere
LINKS = ("base", *(f"link{i}" for i in range(1, N_FRAMES - 1)), "hand")
PARENTS = dict(pairwise(reversed(LINKS)))  # of links that hang on others
_MOUNTS = (np.eye(4), *ARM_OFFSETS, T_LINK7_HAND)  # of each in the one before while the joint between them is at 0
_MOUNT_AT = np.stack([mount[:3, 3] for mount in _MOUNTS])
_MOUNT_TURN = np.stack([quaternion_from_matrix(mount[:3, :3]) for mount in _MOUNTS])
_Z = np.array([[0, -1, 0, 0], [1, 0, 0, 0], [0, 0, 0, -1], [0, 0, 1, 0]], float)  # p @ _Z is p times z, xyzw
_UPRIGHT = Quaternion(x=0.0, y=0.0, z=0.0, w=1.0)
_ROBOT_COLOR = Color(r=0.85, g=0.86, b=0.9, a=1.0)
_PART_COLOR = {"base": Color(r=0.3, g=0.32, b=0.36, a=1.0), "finger": Color(r=0.25, g=0.25, b=0.25, a=1.0)}
_KIND_COLOR = {
    "sharp": Color(r=0.75, g=0.78, b=0.82, a=1.0),
    "cutlery": Color(r=0.75, g=0.78, b=0.82, a=1.0),
    "food": Color(r=0.35, g=0.6, b=0.25, a=1.0),
    "dish": Color(r=0.95, g=0.95, b=0.97, a=1.0),
}
_PLAIN = Color(r=0.7, g=0.6, b=0.5, a=1.0)

SCHEMAS: dict[str, Any] = {
    "/tf": FrameTransforms,
    "/joint_states": JointStates,
    "/scene": SceneUpdate,
    "/log": Log,
    "/plan/path": PosesInFrame,
}


def timestamp(time: float) -> Timestamp:
    """Simulated seconds since the start of the episode."""
    nanoseconds = round(time * 1e9)
    return Timestamp(nanoseconds // 1_000_000_000, nanoseconds % 1_000_000_000)


def _coarse(values: np.ndarray) -> Any:
    """As lists of numbers in single precision, which is finer than anybody sees and half as long when compressed."""
    return values.astype(np.float32).tolist()


def _vector(v: Sequence[float]) -> Vector3:
    x, y, z = v
    return Vector3(x=x, y=y, z=z)


def _pose(position: Sequence[float]) -> Pose:
    return Pose(position=_vector(position), orientation=_UPRIGHT)


class Drawing:
    """Draws one episode: knows the scene, and what was said already."""

    def __init__(self, scene: Scene | None) -> None:
        self._scene = scene
        self._tick = 0
        self._sent = np.zeros((0, 7), np.float32)
        self._skill = ""
        self._done = 0
        self._intervened = False

    def draw(self, step: Step) -> Iterator[tuple[str, bytes]]:
        """Topic and message of everything there is to show of this step."""
        at = timestamp(step.observation.time)
        if self._tick == 0:
            yield "/scene", room(self._scene, step, at)
        if self._tick % EVERY == 0:
            yield "/tf", self._transforms(step, at)
            yield "/joint_states", _joints(step, at)
            for name, keypoints in zip(step.truth.person_names, step.truth.keypoints[-1], strict=True):
                yield f"/people/{name}", _points(keypoints, at)
        if step.plan is not None and step.plan.fresh:
            yield "/plan/path", _points(step.plan.path, at)
        for level, text in self._events(step):
            yield "/log", Log(timestamp=at, level=level, message=text, name="robotctl").encode()
        self._tick += 1

    def _transforms(self, step: Step, at: Timestamp) -> bytes:
        truth = step.truth
        links = np.concatenate(link_transforms(truth.q[-1]), axis=1)
        things = np.concatenate([truth.object_position[-1], truth.object_quaternion[-1]], axis=1)
        poses = np.concatenate([links, things]).astype(np.float32)
        moved = np.ones(len(poses), bool) if self._tick % REFRESH == 0 else (poses != self._sent).any(axis=1)
        self._sent = poses
        names, rows = (*LINKS, *truth.object_names), poses.tolist()
        return FrameTransforms(
            transforms=[_transform(at, PARENTS.get(names[i], "world"), names[i], rows[i]) for i in moved.nonzero()[0]]
        ).encode()

    def _events(self, step: Step) -> Iterator[tuple[LogLevel, str]]:
        if step.skill != self._skill:
            self._skill = step.skill
            yield LogLevel.Info, step.skill
        if step.objective[0] != self._done:
            self._done = step.objective[0]
            yield LogLevel.Info, f"objective: {self._done} of {step.objective[1]}"
        if step.verdict.intervened and not self._intervened:
            yield LogLevel.Warning, f"filter: {step.verdict.reason or 'intervened'}"
        self._intervened = step.verdict.intervened
        if step.message:
            yield LogLevel.Info, step.message
        for contact in step.truth.contacts:
            if contact.other in step.truth.person_names and contact.distance <= 0:
                yield LogLevel.Error, f"contact of {contact.link} with {contact.other}"
                break


def link_transforms(q: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Translation (9, 3) [m] and quaternion xyzw (9, 4) of `LINKS` at q (10,), each in the one before, or the world.

    A joint only turns its link about the link's own z axis.
    """
    half = np.append(q[2:], 0.0)[:, None] / 2
    translation = _MOUNT_AT.copy()
    translation[0, :2] = q[:2]
    return translation, _MOUNT_TURN * np.cos(half) + _MOUNT_TURN @ _Z * np.sin(half)


def _transform(at: Timestamp, parent: str, child: str, pose: Sequence[float]) -> FrameTransform:
    x, y, z, qx, qy, qz, qw = pose
    return FrameTransform(
        timestamp=at,
        parent_frame_id=parent,
        child_frame_id=child,
        translation=Vector3(x=x, y=y, z=z),
        rotation=Quaternion(x=qx, y=qy, z=qz, w=qw),
    )


def _joints(step: Step, at: Timestamp) -> bytes:
    q, dq = _coarse(step.truth.q[-1]), _coarse(step.truth.dq[-1])
    joints = [JointState(name=n, position=p, velocity=v) for n, p, v in zip(JOINT_NAMES, q, dq, strict=True)]
    joints.append(JointState(name="fingers", position=float(step.truth.opening[-1])))
    return JointStates(timestamp=at, joints=joints).encode()


def _points(points: np.ndarray, at: Timestamp) -> bytes:
    return PosesInFrame(timestamp=at, frame_id="world", poses=[_pose(p) for p in _coarse(points)]).encode()


def room(scene: Scene | None, step: Step, at: Timestamp) -> bytes:
    """Furniture, robot and objects as simple shapes that follow the transforms."""
    entities = [_robot_link(frame, at) for frame in range(N_FRAMES)]
    if scene is not None:
        for piece in scene.furniture:
            cubes = [_cube(box.center, box.half, box.yaw, box.color) for box in piece.boxes]
            entities.append(SceneEntity(timestamp=at, frame_id="world", id=piece.name, cubes=cubes))
        known = {item.name for item in scene.items}
        for name in step.truth.object_names:
            if name in known:
                entities.append(_object(scene, name, at))
    return SceneUpdate(entities=entities).encode()


def _cube(center: np.ndarray, half: np.ndarray, yaw: float, color: tuple[float, float, float, float]) -> CubePrimitive:
    turn = Quaternion(x=0.0, y=0.0, z=float(np.sin(yaw / 2)), w=float(np.cos(yaw / 2)))
    r, g, b, a = map(float, color)
    pose = Pose(position=_vector(_coarse(center)), orientation=turn)
    return CubePrimitive(pose=pose, size=_vector(_coarse(2 * half)), color=Color(r=r, g=g, b=b, a=a))


def _ball(center: np.ndarray, radius: float, color: Color) -> SpherePrimitive:
    size = Vector3(x=2 * radius, y=2 * radius, z=2 * radius)
    return SpherePrimitive(pose=_pose(_coarse(center)), size=size, color=color)


@functools.cache
def _spheres_of_frame(frame: int) -> tuple[int, ...]:
    return tuple(int(i) for i in np.flatnonzero(ROBOT_SPHERES.frame == frame))


def _robot_link(frame: int, at: Timestamp) -> SceneEntity:
    spheres = [
        _ball(
            ROBOT_SPHERES.offset[i],
            float(ROBOT_SPHERES.radius[i]),
            _PART_COLOR.get(ROBOT_SPHERES.part[i], _ROBOT_COLOR),
        )
        for i in _spheres_of_frame(frame)
    ]
    if LINKS[frame] == "hand":
        spheres.append(_ball(TCP, 0.01, Color(r=0.9, g=0.4, b=0.1, a=1.0)))
    return SceneEntity(
        timestamp=at, frame_id=LINKS[frame], id=f"robot/{LINKS[frame]}", frame_locked=True, spheres=spheres
    )


def _object(scene: Scene, name: str, at: Timestamp) -> SceneEntity:
    kind = scene.kind_of(name)
    color = next((c for label, c in _KIND_COLOR.items() if label in kind.labels), _PLAIN)
    if "cutlery" in kind.labels or "sharp" in kind.labels or "food" in kind.labels:  # long things that lie
        spheres = [_ball(sphere[:3], float(sphere[3]), color) for sphere in kind.spheres]
        return SceneEntity(timestamp=at, frame_id=name, id=name, frame_locked=True, spheres=spheres)
    body = CylinderPrimitive(
        pose=_pose((0.0, 0.0, kind.height / 2)),
        size=Vector3(x=2 * kind.radius, y=2 * kind.radius, z=kind.height),
        bottom_scale=0.8,
        top_scale=1.0,
        color=color,
    )
    return SceneEntity(timestamp=at, frame_id=name, id=name, frame_locked=True, cylinders=[body])
