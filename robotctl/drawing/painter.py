"""This file draws a scene with everything in it, again and again as it moves."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.spatial.transform import Rotation

from robotctl.drawing.bodies import Placed
from robotctl.drawing.camera import Camera
from robotctl.drawing.raster import Soup, Textures, moved, picture, soup, together
from robotctl.drawing.shapes import Color, Mesh, ball


class Painter:
    """Draws furniture and what moves among it; what a body looks like is worked out once."""

    def __init__(self, fixed: Sequence[Mesh], camera: Camera) -> None:
        self._camera = camera
        self._textures = Textures()
        self._fixed = soup(fixed, self._textures)
        self._bodies: dict[str, Soup] = {}

    def picture(self, placed: Placed, index: int, width: int, height: int, more: Sequence[Soup] = ()) -> np.ndarray:
        """The scene at one of the times of `placed`, with `more` in it, (height, width, 3) uint8."""
        rotation = Rotation.from_quat(placed.quaternion[index]).as_matrix()
        parts = []
        for i, body in enumerate(placed.bodies):
            if body.name not in self._bodies:
                self._bodies[body.name] = soup(body.meshes, self._textures)
            parts.append(moved(self._bodies[body.name], rotation[i], placed.position[index, i]))
        return picture(together([self._fixed, *parts, *more]), self._textures, self._camera, width, height)


def balls(spheres: np.ndarray, color: Color, opacity: float = 1.0) -> Soup:
    """Spheres x y z r (n, 4) [m]."""
    if len(spheres) == 0:
        return soup((), Textures())
    vertices, faces = ball()
    points = (spheres[:, None, 3:] * vertices + spheres[:, None, :3]).reshape(-1, 3)
    index = (faces[None] + len(vertices) * np.arange(len(spheres))[:, None, None]).reshape(-1, 3)
    return soup([Mesh(points, index.astype(np.int64), color, opacity)], Textures())
