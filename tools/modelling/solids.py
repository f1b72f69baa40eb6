"""Closed triangle meshes of simple solids, their mass properties."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

Color = tuple[float, float, float]
Surface = Color | str  # a colour, or the file name of a texture


@dataclass(frozen=True)
class Mesh:
    """A closed triangle mesh, optionally with texture coordinates for each corner of each face."""

    vertices: np.ndarray  # (V, 3) [m]
    faces: np.ndarray  # (F, 3)
    uv: np.ndarray | None = None  # (F, 3, 2)

    def moved(self, offset: Sequence[float], rotation: np.ndarray | None = None) -> Mesh:
        turned = self.vertices if rotation is None else self.vertices @ rotation.T
        return Mesh(turned + np.asarray(offset), self.faces, self.uv)


@dataclass(frozen=True)
class Solid:
    """One part of a body."""

    mesh: Mesh
    surface: Surface
    mass: float  # [kg]


def join(meshes: Sequence[Mesh]) -> Mesh:
    """Several meshes as one."""
    start = np.cumsum([0] + [len(m.vertices) for m in meshes])
    uv = None
    if all(m.uv is not None for m in meshes):
        uv = np.concatenate([m.uv for m in meshes if m.uv is not None])
    return Mesh(
        np.concatenate([m.vertices for m in meshes]),
        np.concatenate([m.faces + s for m, s in zip(meshes, start[:-1], strict=True)]),
        uv,
    )


def rotation(axis: str, degrees: float) -> np.ndarray:
    """Rotation about a coordinate axis, (3, 3)."""
    c, s = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    i, j = {"x": (1, 2), "y": (2, 0), "z": (0, 1)}[axis]
    out = np.eye(3)
    out[i, i] = out[j, j] = c
    out[i, j], out[j, i] = -s, s
    return out


def lathe(profile: Sequence[tuple[float, float]], segments: int = 48) -> Mesh:
    """Solid of revolution about z of a profile (radius, z) that runs from the axis to the axis, outside upwards."""
    points = np.array(profile, float)
    angle = 2 * np.pi * np.arange(segments) / segments
    vertices: list[np.ndarray] = []
    rings: list[np.ndarray] = []
    for r, z in points:
        first = len(vertices)
        if r < 1e-9:
            vertices.append(np.array([0.0, 0.0, z]))
            rings.append(np.full(segments, first))
        else:
            vertices.extend(np.column_stack([r * np.cos(angle), r * np.sin(angle), np.full(segments, z)]))
            rings.append(first + np.arange(segments))
    faces = []
    for below, above in pairwise(rings):
        for k in range(segments):
            a, b, c, d = below[k], below[(k + 1) % segments], above[(k + 1) % segments], above[k]
            if a != b:
                faces.append((a, b, c))
            if c != d:
                faces.append((a, c, d))
    return Mesh(np.array(vertices), np.array(faces))


def box(center: Sequence[float], size: Sequence[float], tile: float | None = None) -> Mesh:
    """A box; with `tile` [m] its texture repeats at that length, the grain along the longer side of each face."""
    half = np.asarray(size, float) / 2
    signs = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], float)
    quads = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    faces = np.array([f for a, b, c, d in quads for f in ((a, b, c), (a, c, d))])
    vertices = signs * half
    uv = None
    if tile is not None:
        planes = [(1, 2), (1, 2), (0, 2), (0, 2), (0, 1), (0, 1)]
        corners = []
        for (i, j), quad in zip(planes, quads, strict=True):
            u, v = (i, j) if half[i] >= half[j] else (j, i)
            flat = (vertices[list(quad)][:, [u, v]] + np.asarray(center)[[u, v]]) / tile
            corners += [flat[[0, 1, 2]], flat[[0, 2, 3]]]
        uv = np.array(corners)
    return Mesh(vertices + np.asarray(center), faces, uv)


def prism(outline: Sequence[tuple[float, float]], height: float) -> Mesh:
    """A convex outline (x, y), counter-clockwise, extruded from z = 0 to `height`."""
    flat = np.array(outline, float)
    n = len(flat)
    vertices = np.concatenate([np.column_stack([flat, np.full(n, z)]) for z in (0.0, height)])
    faces = [(0, k + 1, k) for k in range(1, n - 1)] + [(n, n + k, n + k + 1) for k in range(1, n - 1)]
    for k in range(n):
        a, b = k, (k + 1) % n
        faces += [(a, b, n + b), (a, n + b, n + a)]
    return Mesh(vertices, np.array(faces))


def rounded_bar(length: float, width: float, height: float, profile: Sequence[tuple[float, float]]) -> Mesh:
    """A bar along x whose elliptic section is scaled by `profile` [(x in 0..1, scale)], starting at x = 0."""
    bar = lathe([(0.0, 0.0), *((0.5 * s, x) for x, s in profile), (0.0, 1.0)], 24)
    out = bar.vertices[:, [2, 0, 1]] * np.array([length, width, height])
    return Mesh(out, bar.faces)


def inertia(mesh: Mesh, mass: float) -> tuple[np.ndarray, np.ndarray]:
    """Centre of mass (3,) and inertia about the origin (3, 3) of a uniform closed mesh.

    Sum over the tetrahedra between the origin and each face; Tonon 2004, "Explicit exact formulas for the 3-D
    tetrahedron inertia tensor in terms of its vertex coordinates".
    """
    a, b, c = (mesh.vertices[mesh.faces[:, i]] for i in range(3))
    volume = np.einsum("fi,fi->f", a, np.cross(b, c)) / 6
    total = float(volume.sum())
    if total <= 0:
        raise ValueError("a mesh is inside out or not closed")
    center = (volume[:, None] * (a + b + c) / 4).sum(0) / total
    corners = np.stack([a, b, c], axis=1)
    summed = corners.sum(1)
    second = np.einsum("f,fi,fj->ij", volume, summed, summed)
    second += np.einsum("f,fki,fkj->ij", volume, corners, corners)
    second *= mass / (20 * total)
    return center, np.trace(second) * np.eye(3) - second


def arc(center: tuple[float, float], radius: float, start: float, end: float, n: int = 6) -> list[tuple[float, float]]:
    """Points (r, z) on an arc, angles in degrees from the outward direction."""
    angles = np.deg2rad(np.linspace(start, end, n))
    return [(center[0] + radius * float(np.cos(t)), center[1] + radius * float(np.sin(t))) for t in angles]


def bent_strip(
    points: Sequence[tuple[float, float]], widths: Sequence[float], thickness: float, y: float = 0.0
) -> Mesh:
    """A strip along x that follows (x, z) of its middle line, with a width for each point."""
    vertices = []
    for (x, z), w in zip(points, widths, strict=True):
        for dy, dz in ((-1, -1), (1, -1), (1, 1), (-1, 1)):
            vertices.append((x, y + dy * w / 2, z + dz * thickness / 2))
    n = len(points)
    faces = [(0, 2, 1), (0, 3, 2)]
    for k in range(n - 1):
        for i in range(4):
            a, b = 4 * k + i, 4 * k + (i + 1) % 4
            faces += [(a, b, b + 4), (a, b + 4, a + 4)]
    last = 4 * (n - 1)
    faces += [(last, last + 1, last + 2), (last, last + 2, last + 3)]
    return Mesh(np.array(vertices, float), np.array(faces))
