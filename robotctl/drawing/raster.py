"""This file draws triangles: a z-buffer with smooth shading, one light and its shadow, on the processor alone.

The same picture on every machine, without a display or a driver; a few hundredths of a second each.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numba import njit

from robotctl.drawing.camera import Camera
from robotctl.drawing.shapes import TEXTURE, Mesh, read_texture

NEAR = 0.05  # nothing nearer to the eye is drawn [m]
AMBIENT, DIFFUSE = 0.62, 0.45  # how bright a surface is that the light does not reach, and what a full light adds
ROUND = 0.06  # tells surfaces that are turned away from the light from each other
SHADE = 0.72  # of the brightness in a shadow
SHADOW = 1024  # pixels of the shadow map, each way
BIAS = 0.02  # surfaces this near behind another are not in its shadow [m]
GRAZING = 0.08  # a surface that the light only grazes shows no shadows, which would be in stripes
CREASE = np.cos(np.deg2rad(40.0))  # faces that meet at a sharper edge are shaded apart
LIGHT = np.array([0.2, -0.55, 0.82])  # towards the light, a unit vector nearly
TOP, BOTTOM = (0.80, 0.86, 0.92), (0.96, 0.96, 0.95)  # of the background


class Soup(NamedTuple):
    """Triangles of many colours."""

    corners: np.ndarray  # (F, 3, 3) float32 [m]
    normals: np.ndarray  # (F, 3, 3) float32, of every corner
    colors: np.ndarray  # (F, 3) float32, 0 to 1
    opacity: np.ndarray  # (F,) float32
    uv: np.ndarray  # (F, 3, 2) float32, where in its texture each corner is
    texture: np.ndarray  # (F,) int64, its row in Textures; -1: none


class Textures:
    """The textures of one picture."""

    def __init__(self) -> None:
        self._rows: dict[Path, int] = {}

    def row(self, path: Path | None) -> int:
        """The number of a texture; -1 for none."""
        return -1 if path is None else self._rows.setdefault(path, len(self._rows))

    def stacked(self) -> np.ndarray:
        """All of them by number, (N, TEXTURE, TEXTURE, 3)."""
        none = np.zeros((0, TEXTURE, TEXTURE, 3), np.float32)
        return np.concatenate([none, *(read_texture(path)[None] for path in self._rows)])


def soup(meshes: Sequence[Mesh], textures: Textures) -> Soup:
    """The triangles of meshes, with smooth normals."""
    parts = [_soup(mesh, textures) for mesh in meshes if len(mesh.faces)]
    if parts:
        return together(parts)
    none = np.zeros((0, 3, 3), np.float32)
    few = np.zeros(0, np.float32)
    return Soup(none, none, np.zeros((0, 3), np.float32), few, np.zeros((0, 3, 2), np.float32), np.zeros(0, np.int64))


def _soup(mesh: Mesh, textures: Textures) -> Soup:
    count = len(mesh.faces)
    return Soup(
        corners=mesh.vertices[mesh.faces].astype(np.float32),
        normals=_normals(mesh.vertices, mesh.faces).astype(np.float32),
        colors=np.tile(np.array(mesh.color, np.float32), (count, 1)),
        opacity=np.full(count, mesh.opacity, np.float32),
        uv=(np.zeros((count, 3, 2)) if mesh.uv is None else mesh.uv).astype(np.float32),
        texture=np.full(count, textures.row(mesh.texture)),
    )


def moved(part: Soup, rotation: np.ndarray, position: np.ndarray) -> Soup:
    """The triangles in another frame."""
    turn = rotation.T.astype(np.float32)
    return part._replace(corners=part.corners @ turn + position.astype(np.float32), normals=part.normals @ turn)


def together(parts: Sequence[Soup]) -> Soup:
    """All triangles of several soups."""
    return Soup(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


def _normals(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Unit normals of every corner, (F, 3, 3): the mean of the faces at its vertex that are not beyond a crease."""
    a, b, c = (vertices[faces[:, i]] for i in range(3))
    area = np.cross(b - a, c - a)
    unit = area / np.maximum(np.linalg.norm(area, axis=1, keepdims=True), 1e-12)
    order = np.argsort(faces.ravel(), kind="stable")
    starts = np.searchsorted(faces.ravel()[order], np.arange(len(vertices) + 1))
    return np.asarray(_smoothed(faces, area, unit, order // 3, starts))


@njit(cache=True)
def _smoothed(faces, area, unit, at_vertex, starts):
    out = np.zeros((len(faces), 3, 3))
    for f in range(len(faces)):
        for k in range(3):
            x = y = z = 0.0
            for i in range(starts[faces[f, k]], starts[faces[f, k] + 1]):
                g = at_vertex[i]
                if unit[f, 0] * unit[g, 0] + unit[f, 1] * unit[g, 1] + unit[f, 2] * unit[g, 2] >= CREASE:
                    x += area[g, 0]
                    y += area[g, 1]
                    z += area[g, 2]
            length = max(np.sqrt(x * x + y * y + z * z), 1e-12)
            out[f, k, 0], out[f, k, 1], out[f, k, 2] = x / length, y / length, z / length
    return out


def lit(normals: np.ndarray) -> np.ndarray:
    """How bright surfaces with these normals (..., 3) are where there is no shadow, (...)."""
    tilt = normals @ (LIGHT / np.linalg.norm(LIGHT))
    return np.asarray(AMBIENT + DIFFUSE * np.maximum(tilt, 0.0) + ROUND * tilt)


def picture(parts: Soup, textures: Textures, camera: Camera, width: int, height: int, smooth: int = 2) -> np.ndarray:
    """What the camera sees, (height, width, 3) uint8; every pixel is the mean of smooth x smooth."""
    w, h = smooth * width, smooth * height
    axes = camera.axes()
    focal = 0.5 * h / np.tan(np.deg2rad(camera.field_of_view) / 2)
    light = LIGHT / np.linalg.norm(LIGHT)
    shadow, frame, scale = _shadow_map(parts, light)
    share = np.linspace(0.0, 1.0, h)[:, None, None]
    image = np.tile((1 - share) * np.array(TOP) + share * np.array(BOTTOM), (1, w, 1)).astype(np.float32)
    depth = np.full((h, w), np.inf, np.float32)
    solid, images = parts.opacity >= 1.0, textures.stacked()
    for which in (solid, ~solid):  # what one can see through comes last
        chosen = Soup(*(column[which] for column in parts))
        _draw(
            image, depth, chosen.corners, chosen.normals, chosen.colors, chosen.opacity, chosen.uv, chosen.texture,
            images, camera.eye.astype(np.float64), axes, focal, light, shadow, frame, scale,
        )  # fmt: skip
    mean = image.reshape(height, smooth, width, smooth, 3).mean((1, 3))
    return np.round(255 * np.clip(mean, 0.0, 1.0)).astype(np.uint8)


def _shadow_map(parts: Soup, light: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Distances along the light (SHADOW, SHADOW), the frame (4, 3) they are in, and pixels a metre."""
    side = np.cross(light, [0.0, 0.0, 1.0])
    side = side / np.linalg.norm(side)
    axes = np.stack([side, np.cross(light, side), -light])
    low, high = parts.corners.reshape(-1, 3).min(axis=0), parts.corners.reshape(-1, 3).max(axis=0)
    middle, size = (low + high) / 2, float(np.linalg.norm(high - low))
    scale = SHADOW / max(size, 1e-6)
    depth = np.full((SHADOW, SHADOW), np.inf, np.float32)
    solid = parts.corners[parts.opacity >= 1.0]
    _draw_shadow(depth, (solid - middle.astype(np.float32)) @ axes.T.astype(np.float32), scale)
    return depth, np.concatenate([axes, middle[None]]).astype(np.float64), scale


@njit(cache=True, fastmath=True)
def _draw_shadow(depth, corners, scale):
    n = depth.shape[0]
    half = 0.5 * n
    for f in range(len(corners)):
        x0, y0, z0 = corners[f, 0, 0] * scale + half, corners[f, 0, 1] * scale + half, corners[f, 0, 2]
        x1, y1, z1 = corners[f, 1, 0] * scale + half, corners[f, 1, 1] * scale + half, corners[f, 1, 2]
        x2, y2, z2 = corners[f, 2, 0] * scale + half, corners[f, 2, 1] * scale + half, corners[f, 2, 2]
        area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
        if area == 0.0:
            continue
        for v in range(max(0, int(np.floor(min(y0, y1, y2)))), min(n - 1, int(np.ceil(max(y0, y1, y2)))) + 1):
            for u in range(max(0, int(np.floor(min(x0, x1, x2)))), min(n - 1, int(np.ceil(max(x0, x1, x2)))) + 1):
                px, py = u + 0.5, v + 0.5
                b1 = ((px - x0) * (y2 - y0) - (x2 - x0) * (py - y0)) / area
                b2 = ((x1 - x0) * (py - y0) - (px - x0) * (y1 - y0)) / area
                if b1 < 0.0 or b2 < 0.0 or b1 + b2 > 1.0:
                    continue
                z = z0 + b1 * (z1 - z0) + b2 * (z2 - z0)
                if z < depth[v, u]:
                    depth[v, u] = z


@njit(cache=True, fastmath=True)
def _draw(
    image, depth, corners, normals, colors, opacity, uv, texture, images, eye, axes, focal, light, shadow, frame, scale
):
    height, width = depth.shape
    size = shadow.shape[0]
    world, view, normal, spot = np.empty((4, 3)), np.empty((4, 3)), np.empty((4, 3)), np.empty((4, 2))
    for f in range(len(corners)):
        count = 0  # corners of the triangle cut off at NEAR
        for k in range(3):
            j = (k + 1) % 3
            here = there = 0.0
            for d in range(3):
                here += (corners[f, k, d] - eye[d]) * axes[2, d]
                there += (corners[f, j, d] - eye[d]) * axes[2, d]
            if here >= NEAR:
                for d in range(3):
                    world[count, d], normal[count, d] = corners[f, k, d], normals[f, k, d]
                for d in range(2):
                    spot[count, d] = uv[f, k, d]
                count += 1
            if (here >= NEAR) != (there >= NEAR):
                t = (NEAR - here) / (there - here)
                for d in range(3):
                    world[count, d] = corners[f, k, d] + t * (corners[f, j, d] - corners[f, k, d])
                    normal[count, d] = normals[f, k, d] + t * (normals[f, j, d] - normals[f, k, d])
                for d in range(2):
                    spot[count, d] = uv[f, k, d] + t * (uv[f, j, d] - uv[f, k, d])
                count += 1
        for k in range(count):
            for i in range(3):
                view[k, i] = 0.0
                for d in range(3):
                    view[k, i] += (world[k, d] - eye[d]) * axes[i, d]
        for second in range(1, count - 1):
            _triangle(
                image, depth, world, view, normal, spot, second, colors[f], opacity[f], texture[f], images, eye, focal,
                light, shadow, frame, scale, width, height, size,
            )  # fmt: skip


@njit(cache=True, fastmath=True)
def _triangle(
    image, depth, world, view, normal, spot, second, color, opacity, texture, images, eye, focal, light, shadow, frame,
    scale, width, height, size,
):  # fmt: skip
    third = second + 1
    w0, w1, w2 = 1.0 / view[0, 2], 1.0 / view[second, 2], 1.0 / view[third, 2]
    x0, y0 = 0.5 * width + focal * view[0, 0] * w0, 0.5 * height - focal * view[0, 1] * w0
    x1, y1 = 0.5 * width + focal * view[second, 0] * w1, 0.5 * height - focal * view[second, 1] * w1
    x2, y2 = 0.5 * width + focal * view[third, 0] * w2, 0.5 * height - focal * view[third, 1] * w2
    area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
    if abs(area) < 1e-9:
        return
    left, right = max(0, int(np.floor(min(x0, x1, x2)))), min(width - 1, int(np.ceil(max(x0, x1, x2))))
    top, bottom = max(0, int(np.floor(min(y0, y1, y2)))), min(height - 1, int(np.ceil(max(y0, y1, y2))))
    for v in range(top, bottom + 1):
        for u in range(left, right + 1):
            px, py = u + 0.5, v + 0.5
            b1 = ((px - x0) * (y2 - y0) - (x2 - x0) * (py - y0)) / area
            b2 = ((x1 - x0) * (py - y0) - (px - x0) * (y1 - y0)) / area
            b0 = 1.0 - b1 - b2
            if b0 < 0.0 or b1 < 0.0 or b2 < 0.0:
                continue
            w = b0 * w0 + b1 * w1 + b2 * w2
            z = 1.0 / w
            if z >= depth[v, u]:
                continue
            c0, c1, c2 = b0 * w0 * z, b1 * w1 * z, b2 * w2 * z
            facing = tilt = length = 0.0
            for d in range(3):
                n = c0 * normal[0, d] + c1 * normal[second, d] + c2 * normal[third, d]
                p = c0 * world[0, d] + c1 * world[second, d] + c2 * world[third, d]
                length += n * n
                tilt += n * light[d]
                facing += n * (eye[d] - p)
            side = (1.0 if facing >= 0.0 else -1.0) / max(np.sqrt(length), 1e-9)  # backs are lit as fronts are
            tilt *= side
            sx = sy = sz = 0.0
            for d in range(3):
                n = c0 * normal[0, d] + c1 * normal[second, d] + c2 * normal[third, d]
                p = c0 * world[0, d] + c1 * world[second, d] + c2 * world[third, d] + BIAS * side * n - frame[3, d]
                sx += p * frame[0, d]
                sy += p * frame[1, d]
                sz += p * frame[2, d]
            bright = AMBIENT + DIFFUSE * max(tilt, 0.0) + ROUND * tilt
            if tilt > GRAZING:
                su, sv = int(sx * scale + 0.5 * size), int(sy * scale + 0.5 * size)
                hidden = 0
                for du in range(-1, 2):
                    for dv in range(-1, 2):
                        iu, iv = min(max(su + du, 0), size - 1), min(max(sv + dv, 0), size - 1)
                        if sz > shadow[iv, iu] + BIAS:
                            hidden += 1
                bright *= 1.0 - (1.0 - SHADE) * hidden / 9.0
            if opacity >= 1.0:
                depth[v, u] = z
            row = column = 0
            if texture >= 0:
                side_of = images.shape[1]
                s = c0 * spot[0, 0] + c1 * spot[second, 0] + c2 * spot[third, 0]
                t = c0 * spot[0, 1] + c1 * spot[second, 1] + c2 * spot[third, 1]
                column = int((s - np.floor(s)) * side_of) % side_of
                row = side_of - 1 - int((t - np.floor(t)) * side_of) % side_of
            for d in range(3):
                own = images[texture, row, column, d] if texture >= 0 else color[d]
                image[v, u, d] += opacity * (own * bright - image[v, u, d])
