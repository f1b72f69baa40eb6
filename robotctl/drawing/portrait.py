"""This file draws moments of a scene while it is simulated."""

from __future__ import annotations

import numpy as np

from robotctl.drawing.bodies import furniture, people_at, robot_at, things_at
from robotctl.drawing.camera import Camera
from robotctl.drawing.painter import Painter
from robotctl.scene import Scene
from robotctl.state import Truth


class Portraitist:
    """Draws one scene from one point of view."""

    def __init__(self, scene: Scene, camera: Camera) -> None:
        self._scene = scene
        self._painter = Painter(furniture(scene), camera)

    def picture(self, truth: Truth, width: int, height: int) -> np.ndarray:
        """The end of a tick, (height, width, 3) uint8."""
        placed = robot_at(truth.q[-1:], truth.opening[-1:])
        placed += things_at(self._scene, truth.object_position[-1:], truth.object_quaternion[-1:])
        placed += people_at(truth.person_names, truth.keypoints[-1:])
        return self._painter.picture(placed, 0, width, height)
