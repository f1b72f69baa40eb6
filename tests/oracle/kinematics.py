"""This file turns joint angles into link poses, and tells what the pads touch, with PyBullet's own kinematics."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pybullet as p

from oracle.shapes import ROBOT

JOINTS = ("base_x", "base_y", "base_yaw", *(f"panda_joint{i}" for i in range(1, 8)))
FINGERS = ("panda_finger_joint1", "panda_finger_joint2")
PADS = ("panda_leftpad", "panda_rightpad")
AWAY = [0.0, 0.0, -50.0]  # where objects are kept that are not asked for [m]


class Engine:
    """A robot and objects that only ever stand where they are put."""

    def __init__(self, objects: Mapping[str, Path]) -> None:
        self._client = {"physicsClientId": p.connect(p.DIRECT)}
        text = ROBOT.read_text()  # the finger's boxes are wanted, no mesh is
        text = re.sub(r"<visual>.*?</visual>|<collision>(<origin[^>]*>)?<geometry><mesh.*?</collision>", "", text)
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "robot.urdf").write_text(text)
            self._robot = p.loadURDF(f"{folder}/robot.urdf", useFixedBase=True, **self._client)
        info = [
            p.getJointInfo(self._robot, i, **self._client) for i in range(p.getNumJoints(self._robot, **self._client))
        ]
        joint = {row[1].decode(): i for i, row in enumerate(info)}
        self._link = {row[12].decode(): i for i, row in enumerate(info)}
        self._joints = [joint[name] for name in (*JOINTS, *FINGERS)]
        self.low, self.high, self.fastest = (np.array([info[i][k] for i in self._joints[:10]]) for k in (8, 9, 11))
        flags = p.URDF_IGNORE_VISUAL_SHAPES
        self._objects = {
            name: p.loadURDF(str(urdf), AWAY, flags=flags, **self._client) for name, urdf in objects.items()
        }
        self._frame = {  # of the centre of mass in the body frame, which the engine's poses are those of
            name: p.getDynamicsInfo(body, -1, **self._client)[3:5] for name, body in self._objects.items()
        }

    def close(self) -> None:
        p.disconnect(**self._client)

    def links(self, q: np.ndarray, opening: float, names: tuple[str, ...]) -> np.ndarray:
        """Poses (L, 4, 4) of the links for q (10,) and a finger opening [m]."""
        for joint, value in zip(self._joints, (*q, opening / 2, opening / 2), strict=True):
            p.resetJointState(self._robot, joint, value, **self._client)
        states = p.getLinkStates(
            self._robot, [self._link[name] for name in names], computeForwardKinematics=True, **self._client
        )
        out = np.tile(np.eye(4), (len(names), 1, 1))
        for pose, state in zip(out, states, strict=True):
            pose[:3, :3] = np.reshape(p.getMatrixFromQuaternion(state[5]), (3, 3))
            pose[:3, 3] = state[4]
        return out

    def pads_clasp(self, name: str, position: np.ndarray, quaternion: np.ndarray, within: float) -> bool:
        """Whether an object is between the pads, where the links were put last, and both are `within` [m] of it.

        Between: the directions from its surface to the two pads are opposed. Closed fingers that push it touch it from
        one side.
        """
        body = self._objects[name]
        center, turn = p.multiplyTransforms(position.tolist(), quaternion.tolist(), *self._frame[name])
        p.resetBasePositionAndOrientation(body, center, turn, **self._client)
        found = [
            p.getClosestPoints(self._robot, body, within, linkIndexA=self._link[pad], **self._client) for pad in PADS
        ]
        p.resetBasePositionAndOrientation(body, AWAY, [0, 0, 0, 1], **self._client)
        if not all(found):
            return False
        left, right = (np.array(min(points, key=lambda point: point[8])[7]) for points in found)
        return bool(left @ right < 0)
