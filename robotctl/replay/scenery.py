"""This file puts a stage into a viser scene, and shows any tick of it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from robotctl.drawing.gltf import baked
from robotctl.drawing.shapes import Mesh, ball
from robotctl.replay.stage import Stage, beads

if TYPE_CHECKING:
    import viser

PLAN = (30, 110, 220)  # colours, red green blue
TUBE = (245, 170, 30)
TUBE_OPACITY = 0.16
FEW = 150  # triangles that a mesh may always have
MOST = 80  # spheres of a tube that are drawn


class Scenery:
    """A stage in a scene of viser."""

    def __init__(self, scene: viser.SceneApi, stage: Stage) -> None:
        self._stage = stage
        scene.set_up_direction("+z")
        scene.configure_default_lights(enabled=False)  # they cast shadows, which takes most of a second without a GPU
        scene.configure_environment_map(None)
        scene.add_light_hemisphere("/sky", sky_color=(255, 255, 255), ground_color=(170, 165, 160), intensity=1.4)
        scene.add_light_directional("/sun", color=(255, 250, 240), intensity=1.6, position=(1.5, -4.0, 6.0))
        scene.add_glb(
            "/room", baked([_coarser(mesh, 0.4) for mesh in stage.fixed]), cast_shadow=False, receive_shadow=False
        )
        self._frames = []
        for body in stage.placed.bodies:
            frame = scene.add_frame(f"/{body.name}", show_axes=False)
            for i, mesh in enumerate(body.meshes):
                _add(scene, f"/{body.name}/{i}", mesh)
            if body.name in stage.labels:
                scene.add_label(f"/{body.name}/name", stage.labels[body.name], position=(0.0, 0.0, 0.25))
            self._frames.append(frame)
        self._plan = _balls(scene, "/plan", PLAN, None)
        self._tube = _balls(scene, "/tube", TUBE, TUBE_OPACITY)
        self._shown: tuple[np.ndarray, np.ndarray] | None = None
        self._way: np.ndarray | None = None

    def show(self, tick: int, plan: bool = True, tube: bool = True) -> None:
        """Everything as it was in a tick; only what has changed since the last call is sent."""
        stage = self._stage
        position, quaternion = stage.placed.position[tick], stage.placed.quaternion[tick][:, [3, 0, 1, 2]]
        for i, frame in enumerate(self._frames):
            if self._shown is None or not np.array_equal(position[i], self._shown[0][i]):
                frame.position = position[i]
            if self._shown is None or not np.array_equal(quaternion[i], self._shown[1][i]):
                frame.wxyz = quaternion[i]
        self._shown = position, quaternion
        self._show_plan(stage.plans[tick] if plan else np.zeros((0, 3)))
        spheres = stage.tube(tick) if tube else np.zeros((0, 4))
        _put(self._tube, spheres[:: max(1, -(-len(spheres) // MOST))])

    def _show_plan(self, way: np.ndarray) -> None:
        if self._way is not None and np.array_equal(way, self._way):
            return
        self._way = way
        _put(self._plan, beads(way))


def _balls(scene: viser.SceneApi, name: str, color: tuple[int, int, int], opacity: float | None) -> Any:
    """Room for spheres of one colour; see `_put`."""
    vertices, faces = ball()
    return scene.add_batched_meshes_simple(
        name,
        vertices,
        faces,
        batched_wxyzs=np.array([[1.0, 0.0, 0.0, 0.0]]),
        batched_positions=np.zeros((1, 3)),
        batched_scales=np.zeros(1),
        batched_colors=color,
        opacity=opacity,
        lod="off",
        material="toon3",
        cast_shadow=False,
        receive_shadow=False,
        visible=False,
    )


def _put(balls: Any, spheres: np.ndarray) -> None:
    """Shows spheres x y z r (n, 4) [m]."""
    balls.visible = len(spheres) > 0
    if len(spheres):
        balls.batched_positions = spheres[:, :3].astype(np.float32)
        balls.batched_scales = spheres[:, 3].astype(np.float32)
        balls.batched_wxyzs = np.tile(np.array([1.0, 0.0, 0.0, 0.0], np.float32), (len(spheres), 1))


def point_of_view(server: viser.ViserServer, stage: Stage) -> None:
    """Lets visitors begin with the whole scene in view."""
    away = (0.9 + 0.60 * stage.extent) * np.array([-0.33, -0.86, 0.62])
    server.initial_camera.position = tuple(stage.middle + away)
    server.initial_camera.look_at = tuple(stage.middle)
    server.initial_camera.up = (0.0, 0.0, 1.0)
    server.initial_camera.fov = float(np.deg2rad(45.0))


def _coarser(mesh: Mesh, share: float) -> Mesh:
    """The mesh with a share of its triangles, by quadric error metrics (Garland and Heckbert 1997).

    Without a graphics card every thousand triangles take a millisecond of every picture.
    """
    import fast_simplification

    count = max(FEW, int(share * len(mesh.faces)))
    if count >= len(mesh.faces):
        return mesh
    vertices, faces = fast_simplification.simplify(
        mesh.vertices.astype(np.float32), mesh.faces.astype(np.int32), target_count=count
    )
    return replace(mesh, vertices=vertices, faces=faces, uv=None, texture=None)


def _add(scene: viser.SceneApi, name: str, mesh: Mesh) -> Any:
    mesh = _coarser(mesh, 0.3)
    red, green, blue = (round(255 * value) for value in mesh.color)
    return scene.add_mesh_simple(
        name,
        mesh.vertices.astype(np.float32),
        mesh.faces.astype(np.uint32),
        color=(red, green, blue),
        opacity=None if mesh.opacity >= 1.0 else mesh.opacity,
        flat_shading=False,
        side="front",
        material="toon5",
    )
