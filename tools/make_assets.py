"""Generates every mesh and model under scenes/assets/: `python tools/make_assets.py`.

A body is a list of closed solids, each with a density and a colour. From the solids come the visual meshes (one
OBJ for each colour), the mass, the centre of mass and the true inertia (integrated over the solids); collision
shapes are boxes and cylinders, so that a vessel is hollow and every contact is between convex shapes.
Body frame of an object: origin at the centre of its lowest face, z up as it is used.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

ASSETS = Path(__file__).resolve().parent.parent / "scenes" / "assets"
Color = tuple[float, float, float]

STEEL, DARK_STEEL = (0.78, 0.79, 0.81), (0.45, 0.46, 0.48)
WOOD, DARK_WOOD, BLACK = (0.66, 0.45, 0.26), (0.36, 0.22, 0.13), (0.10, 0.10, 0.11)
WHITE, CREAM = (0.93, 0.93, 0.91), (0.95, 0.91, 0.82)


# ---- solids ----------------------------------------------------------------------------------------------------


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
    color: Color
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
    for below, above in zip(rings[:-1], rings[1:], strict=True):
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


# ---- writing ---------------------------------------------------------------------------------------------------


def write_obj(path: Path, mesh: Mesh, texture: str | None = None, crease: float = 40.0) -> None:
    """A Wavefront file with normals that are smooth across edges blunter than `crease` degrees."""
    corner = mesh.vertices[mesh.faces]
    normal = np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0])
    area = np.linalg.norm(normal, axis=1)
    keep = area > 1e-14
    faces, normal, area = mesh.faces[keep], normal[keep], area[keep]
    unit = normal / area[:, None]
    _, welded = np.unique(np.round(mesh.vertices, 7), axis=0, return_inverse=True)
    around: dict[int, list[int]] = {}
    for f, face in enumerate(faces):
        for v in face:
            around.setdefault(int(welded[v]), []).append(f)
    normals: dict[tuple[float, ...], int] = {}
    lines = ["# made by tools/make_assets.py"]
    if texture is not None:
        lines += [f"mtllib {path.stem}.mtl", "usemtl surface"]
        path.with_suffix(".mtl").write_text(f"newmtl surface\nKd 1 1 1\nmap_Kd {texture}\n")
    lines += ["v " + " ".join(f"{x:.5f}".rstrip("0").rstrip(".") for x in v) for v in mesh.vertices]
    uv_lines, face_lines = [], []
    uvs: dict[tuple[float, float], int] = {}
    uv = np.zeros((len(faces), 3, 2)) if mesh.uv is None else mesh.uv[keep]
    for f, face in enumerate(faces):
        words = []
        for k, v in enumerate(face):
            near = [g for g in around[int(welded[v])] if unit[f] @ unit[g] > np.cos(np.deg2rad(crease))]
            n = normal[near].sum(0)
            key = tuple(np.round(n / np.linalg.norm(n), 3) + 0.0)
            index = normals.setdefault(key, len(normals) + 1)
            t = (round(float(uv[f, k, 0]), 4), round(float(uv[f, k, 1]), 4))
            words.append(f"{v + 1}/{uvs.setdefault(t, len(uvs) + 1)}/{index}")
        face_lines.append("f " + " ".join(words))
    uv_lines = [f"vt {u:g} {v:g}" for u, v in uvs]
    lines += uv_lines + ["vn " + " ".join(f"{x:g}" for x in n) for n in normals] + face_lines
    path.write_text("\n".join(lines) + "\n")


def write_png(path: Path, image: np.ndarray) -> None:
    """An RGB image (h, w, 3) uint8 as PNG."""
    height, width, _ = image.shape
    raw = b"".join(b"\0" + row.tobytes() for row in image)

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(raw, 9)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)


def numbers(values: Sequence[float] | np.ndarray) -> str:
    return " ".join(f"{v:.6g}" for v in np.round(np.asarray(values, float), 9) + 0.0)


@dataclass
class Link:
    """A rigid link of a model."""

    name: str
    solids: list[Solid] = field(default_factory=list)
    collision: list[str] = field(default_factory=list)
    visuals: list[str] = field(default_factory=list)  # further visuals, as XML

    def xml(self, folder: Path, prefix: str) -> str:
        """The <link>; meshes go to `folder`."""
        parts = [f'  <link name="{self.name}">']
        mass = sum(s.mass for s in self.solids)
        if mass > 0:
            center, about_origin = np.zeros(3), np.zeros((3, 3))
            for solid in self.solids:
                if solid.mass > 0:
                    c, i = inertia(solid.mesh, solid.mass)
                    center, about_origin = center + solid.mass * c, about_origin + i
            center = center / mass
            tensor = about_origin - mass * (center @ center * np.eye(3) - np.outer(center, center))
            parts.append(inertial(mass, center, tensor))
        for k, color in enumerate(dict.fromkeys(s.color for s in self.solids)):
            name = f"{prefix}_{k}.obj" if prefix == self.name else f"{prefix}_{self.name}_{k}.obj"
            write_obj(folder / "meshes" / name, join([s.mesh for s in self.solids if s.color == color]))
            parts.append(mesh_visual(f"meshes/{name}", color))
        parts += self.visuals
        parts += [f"    <collision>{shape}</collision>" for shape in self.collision]
        return "\n".join([*parts, "  </link>"])


def inertial(mass: float, center: Sequence[float] | np.ndarray, tensor: np.ndarray) -> str:
    entries = " ".join(
        f'i{"xyz"[i]}{"xyz"[j]}="{np.round(tensor[i, j], 12) + 0.0:.6g}"' for i in range(3) for j in range(i, 3)
    )
    return f'    <inertial><origin xyz="{numbers(center)}"/><mass value="{mass:.6g}"/><inertia {entries}/></inertial>'


def mesh_visual(path: str, color: Sequence[float] | None = None) -> str:
    material = ""
    if color is not None:
        name = "c" + "".join(f"{round(255 * c):02x}" for c in color)
        material = f'<material name="{name}"><color rgba="{numbers([*color, 1.0])}"/></material>'
    return f'    <visual><geometry><mesh filename="{path}"/></geometry>{material}</visual>'


def origin(xyz: Sequence[float], rpy: Sequence[float] = (0.0, 0.0, 0.0)) -> str:
    return f'<origin xyz="{numbers(xyz)}" rpy="{numbers(rpy)}"/>'


def box_shape(center: Sequence[float], size: Sequence[float], rpy: Sequence[float] = (0.0, 0.0, 0.0)) -> str:
    return f'{origin(center, rpy)}<geometry><box size="{numbers(size)}"/></geometry>'


def wall_ring(
    radius: float, thickness: float, low: float, high: float, slope: float = 0.0, pieces: int = 24
) -> list[str]:
    """Boxes along a circular wall whose outer faces touch `radius` at half height; `slope` [rad] leans it outwards."""
    length = (high - low) / np.cos(slope)
    width = 2 * radius * np.tan(np.pi / pieces)
    middle = radius - thickness / 2 / np.cos(slope)
    out = []
    for k in range(pieces):
        a = 2 * np.pi * k / pieces
        center = (middle * np.cos(a), middle * np.sin(a), (low + high) / 2)
        out.append(box_shape(center, (thickness, width, length), (0.0, slope, a)))
    return out


def octagon(radius: float, low: float, high: float) -> list[str]:
    """A flat disc as two square boxes: four steady contact points each, where a cylinder has one that wanders."""
    side = 2 * radius / np.sqrt(2)
    center = (0.0, 0.0, (low + high) / 2)
    return [box_shape(center, (side, side, high - low), (0.0, 0.0, a)) for a in (0.0, np.pi / 4)]


def write_urdf(path: Path, name: str, links: Sequence[str], joints: Sequence[str] = ()) -> None:
    body = "\n".join(['<?xml version="1.0"?>', "<!-- made by tools/make_assets.py -->", f'<robot name="{name}">'])
    path.write_text("\n".join([body, *links, *joints, "</robot>"]) + "\n")


def write_object(name: str, solids: list[Solid], collision: list[str]) -> None:
    write_urdf(ASSETS / f"{name}.urdf", name, [Link(name, solids, collision).xml(ASSETS, name)])


# ---- dishes ----------------------------------------------------------------------------------------------------


def arc(center: tuple[float, float], radius: float, start: float, end: float, n: int = 6) -> list[tuple[float, float]]:
    """Points (r, z) on an arc, angles in degrees from the outward direction."""
    angles = np.deg2rad(np.linspace(start, end, n))
    return [(center[0] + radius * float(np.cos(t)), center[1] + radius * float(np.sin(t))) for t in angles]


def cup() -> None:
    """A tumbler: 80 mm outside, 95 mm high, wall 4 mm, 0.2 kg, with a glazed band below the rim."""
    outer, inner, height = 0.040, 0.036, 0.095
    profile = [(0.0, 0.0), (0.033, 0.0), *arc((0.033, 0.007), 0.007, -90, 0, 5)]
    profile += [(outer, 0.02), (outer, height - 0.002), *arc((0.038, height - 0.002), 0.002, 0, 180, 7)]
    profile += [(inner, 0.012), *arc((0.030, 0.012), 0.006, 0, -90, 4)[1:], (0.0, 0.006)]
    ring = lathe([(outer - 1e-3, 0.05), (outer + 4e-4, 0.05), (outer + 4e-4, 0.078), (outer - 1e-3, 0.078)], 48)
    wall = wall_ring(outer, 0.004, 0.004, height)
    write_object(
        "cup",
        [Solid(lathe(profile), (0.16, 0.42, 0.60), 0.2), Solid(ring, (0.93, 0.90, 0.82), 0.0)],
        [*octagon(0.037, 0.0, 0.006), *wall],
    )


def bowl() -> None:
    """A bowl: 150 mm across, 60 mm high, its upper wall nearly upright so that fingers close flat on it."""
    outside = [(0.0, 0.0), (0.040, 0.0), (0.042, 0.004), *arc((0.043, 0.034), 0.030, -80, -12, 8), (0.075, 0.0585)]
    inside = [*arc((0.073, 0.058), 0.002, 10, 170, 5), *reversed(arc((0.041, 0.035), 0.0265, -80, -12, 8))]
    profile = [*outside, *inside, (0.0, 0.0085)]
    collision = [
        *octagon(0.046, 0.0, 0.009),
        *wall_ring(0.0615, 0.006, 0.004, 0.026, slope=0.85),
        *wall_ring(0.0744, 0.005, 0.022, 0.060, slope=0.02),
    ]
    write_object("bowl", [Solid(lathe(profile), (0.80, 0.42, 0.24), 0.3)], collision)


def plate() -> None:
    """A dinner plate: 220 mm across, foot 130 mm, its rim 5 mm thick and rising at 10 degrees to 16 mm."""
    outside = [(0.0, 0.0), (0.064, 0.0), (0.066, 0.003), (0.075, 0.0055), (0.1075, 0.0112)]
    inside = [(0.106, 0.0155), (0.077, 0.0104), (0.066, 0.0075), (0.0, 0.0070)]
    profile = [*outside, *arc((0.1075, 0.0135), 0.0023, -60, 95, 6), *inside]
    slope = float(np.deg2rad(10.0))
    pieces, middle, length = 16, 0.087, 0.046
    width = 2 * 0.110 * np.tan(np.pi / pieces)
    collision = octagon(0.070, 0.0, 0.0072)
    for k in range(pieces):
        a = 2 * np.pi * k / pieces
        center = (middle * np.cos(a), middle * np.sin(a), 0.0099)
        collision.append(box_shape(center, (length, width, 0.0048), (0.0, -slope, a)))
    rim = lathe([(0.1040, 0.0150), (0.1085, 0.0158), (0.1085, 0.0161), (0.1040, 0.0153)], 48)
    write_object(
        "plate",
        [Solid(lathe(profile, 64), WHITE, 0.4), Solid(rim, (0.16, 0.42, 0.60), 0.0)],
        collision,
    )


# ---- cutlery ---------------------------------------------------------------------------------------------------


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


def fork() -> None:
    """A chunky serving fork, 210 mm long: it rests on its pommel and its head, the handle 5 mm above the table."""
    handle = rounded_bar(0.115, 0.015, 0.014, [(0.0, 0.75), (0.05, 1.0), (0.5, 1.0), (0.95, 0.9), (1.0, 0.7)])
    pommel = lathe([(0.0, 0.0), (0.010, 0.0), (0.012, 0.003), (0.012, 0.009), (0.010, 0.012), (0.0, 0.012)], 24)
    along_x = rotation("y", 90.0)
    line = [(0.008, 0.012), (0.030, 0.011), (0.045, 0.0065), (0.055, 0.0035), (0.068, 0.0025)]
    head = bent_strip(line, [0.008, 0.006, 0.012, 0.026, 0.028], 0.003)
    tines = [
        bent_strip([(0.067, 0.0025), (0.085, 0.0035), (0.105, 0.007)], [0.0045, 0.004, 0.002], 0.003, y)
        for y in (-0.0117, -0.0039, 0.0039, 0.0117)
    ]
    solids = [
        Solid(handle.moved((-0.100, 0.0, 0.012)), DARK_WOOD, 0.045),
        Solid(pommel.moved((-0.105, 0.0, 0.012), along_x), STEEL, 0.025),
        Solid(join([head, *tines]), STEEL, 0.050),
    ]
    collision = [
        box_shape((-0.0425, 0.0, 0.012), (0.115, 0.0145, 0.0135)),
        box_shape((-0.099, 0.0, 0.012), (0.012, 0.017, 0.024)),
        box_shape((0.030, 0.0, 0.010), (0.035, 0.008, 0.005)),
        box_shape((0.064, 0.0, 0.0025), (0.034, 0.028, 0.005)),
        box_shape((0.093, 0.0, 0.0045), (0.026, 0.027, 0.004), (0.0, -0.12, 0.0)),
    ]
    write_object("fork", solids, collision)


def knife() -> None:
    """A chef's knife, 260 mm long: handle 110 x 22 mm, blade 150 x 36 x 2 mm; it lies on the flat of its handle."""
    outline = [(0.0, -0.011), (0.0, 0.011), (0.003, 0.0135), (0.105, 0.0135), (0.110, 0.010), (0.110, -0.010)]
    handle = prism(
        [(x, y) for x, y in reversed([*outline, (0.105, -0.0125), (0.050, -0.0105), (0.003, -0.0125)])], 0.022
    )
    edge = [(0.0, -0.026), (0.060, -0.026), (0.110, -0.0215), (0.138, -0.010), (0.150, 0.004)]
    back = [(0.140, 0.0075), (0.110, 0.0105), (0.0, 0.0115)]
    blade = prism([*edge, *back], 0.0022)
    rivets = [
        lathe([(0.0, 0.0), (0.0035, 0.0), (0.0035, 0.0224), (0.0, 0.0224)], 16).moved((x, 0.0, -0.0002))
        for x in (-0.108, -0.076, -0.044)
    ]
    bolster = box((-0.0175, 0.0005, 0.011), (0.009, 0.026, 0.020))
    solids = [
        Solid(handle.moved((-0.130, 0.0, 0.0)), BLACK, 0.120),
        Solid(join([blade.moved((-0.014, 0.0, 0.0099)), bolster]), STEEL, 0.080),
        Solid(join(rivets), DARK_STEEL, 0.0),
    ]
    collision = [
        box_shape((-0.075, 0.0005, 0.011), (0.110, 0.024, 0.022)),
        box_shape((0.045, -0.0075, 0.011), (0.122, 0.036, 0.0025)),
        box_shape((0.118, -0.002, 0.011), (0.036, 0.018, 0.0025)),
    ]
    write_object("knife", solids, collision)


def cucumber() -> None:
    """A cucumber along x, 240 mm long, 44 mm thick; eight-sided for contact, so that it does not roll away."""
    profile = [
        (0.02, 0.35),
        (0.06, 0.66),
        (0.13, 0.9),
        (0.25, 1.0),
        (0.75, 1.0),
        (0.88, 0.9),
        (0.95, 0.62),
        (0.985, 0.3),
    ]
    body = rounded_bar(0.240, 0.044, 0.044, profile)
    side = 2 * 0.022 * np.tan(np.pi / 8)
    collision = []
    for long, wide in ((0.19, 0.044), (0.225, 0.036)):
        s = side * wide / 0.044
        for a in (0.0, np.pi / 4, np.pi / 2, 3 * np.pi / 4):
            collision.append(box_shape((0.0, 0.0, 0.022), (long, wide, s), (a, 0.0, 0.0)))
    write_object("cucumber", [Solid(body.moved((-0.120, 0.0, 0.022)), (0.22, 0.45, 0.16), 0.35)], collision)


# ---- robot -----------------------------------------------------------------------------------------------------

# Mass, centre, inertia about the centre (xx, yy, zz, xy, xz, yz) of the arm's links: Gaz, Cognetti, Oliva, Robuffo
# Giordano, De Luca 2019, "Dynamic identification of the Franka Emika Panda robot with retrieval of feasible
# parameters using penalty-based optimization", as published with Franka's own description of the arm.
ARM_INERTIA = {
    "panda_link0": (0.629769, (-0.041018, -0.00014, 0.049974), (3.15e-3, 3.88e-3, 4.285e-3, 8.2904e-7, 1.5e-4, 8.2299e-6)),
    "panda_link1": (4.970684, (3.875e-3, 2.081e-3, -0.04762), (0.70337, 0.70661, 9.117e-3, -1.39e-4, 6.772e-3, 0.019169)),
    "panda_link2": (0.646926, (-3.141e-3, -0.02872, 3.495e-3), (7.962e-3, 0.02811, 0.025995, -3.925e-3, 0.010254, 7.04e-4)),
    "panda_link3": (3.228604, (0.027518, 0.039252, -0.066502), (0.037242, 0.036155, 0.01083, -4.761e-3, -0.011396, -0.012805)),
    "panda_link4": (3.587895, (-0.05317, 0.104419, 0.027454), (0.025853, 0.019552, 0.028323, 7.796e-3, -1.332e-3, 8.641e-3)),
    "panda_link5": (1.225946, (-0.011953, 0.041065, -0.038437), (0.035549, 0.029474, 8.627e-3, -2.117e-3, -4.037e-3, 2.29e-4)),
    "panda_link6": (1.666555, (0.060149, -0.014117, -0.010517), (1.964e-3, 4.354e-3, 5.433e-3, 1.09e-4, -1.158e-3, 3.41e-4)),
    "panda_link7": (0.735522, (0.010517, -4.252e-3, 0.061597), (0.012516, 0.010027, 4.815e-3, -4.28e-4, -1.196e-3, -7.41e-4)),
}  # fmt: skip
# Franka's description gives the hand 0.73 kg. Here each finger carries 0.1 kg of that, for the reflected inertia of its
# drive train: a finger of its bare 15 g cannot pass the drive's force on in the solver's 50 iterations.
HAND_INERTIA = (0.53, (-0.01, 0.0, 0.02), (8e-4, 2.2e-3, 1.6e-3, 0.0, 0.0, 0.0))
FINGER_INERTIA = (0.10, (0.0, 0.012, 0.027), (2.4e-5, 3.0e-5, 1.4e-5, 0.0, 0.0, 0.0))  # a block of 20 x 14 x 54 mm
FRANKA = "franka:meshes"  # replaced at load time by the folder that pybullet_data brings


def arm_link(name: str, values: tuple[float, tuple[float, ...], tuple[float, ...]], shapes: Sequence[str]) -> str:
    mass, center, (xx, yy, zz, xy, xz, yz) = values
    tensor = np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])
    return "\n".join([f'  <link name="{name}">', inertial(mass, center, tensor), *shapes, "  </link>"])


def franka_shapes(name: str, visual: str) -> list[str]:
    collision = f'    <collision><geometry><mesh filename="{FRANKA}/collision/{name}.obj"/></geometry></collision>'
    return [mesh_visual(f"{FRANKA}/{visual}/{name}.obj", (0.94, 0.94, 0.94)), collision]


def joint(name: str, kind: str, parent: str, child: str, at: str, axis: str = "", limit: str = "") -> str:
    axis = f'<axis xyz="{axis}"/>' if axis else ""
    return f'  <joint name="{name}" type="{kind}"><parent link="{parent}"/><child link="{child}"/>{at}{axis}{limit}</joint>'


def robot() -> None:
    """The Panda on a holonomic base of 50 kg; meshes of the arm are found in pybullet_data when it is loaded."""
    drum = lathe([(0.0, 0.05), (0.20, 0.05), (0.235, 0.08), (0.24, 0.10), (0.24, 0.235), (0.225, 0.275), (0.19, 0.297),
                  (0.0, 0.30)], 64)  # fmt: skip
    skirt = lathe([(0.0, 0.02), (0.21, 0.02), (0.21, 0.052), (0.0, 0.052)], 48)
    column = lathe(
        [(0.0, 0.295), (0.13, 0.295), (0.105, 0.315), (0.10, 0.34), (0.10, 0.388), (0.094, 0.40), (0.0, 0.40)], 40
    )
    light = lathe([(0.20, 0.118), (0.2415, 0.118), (0.2415, 0.132), (0.20, 0.132)], 64)
    wheels = [
        lathe([(0.0, -0.02), (0.05, -0.02), (0.05, 0.02), (0.0, 0.02)], 24).moved(
            (0.15 * np.cos(a), 0.15 * np.sin(a), 0.05), rotation("z", np.rad2deg(a)) @ rotation("y", 90.0)
        )
        for a in (np.pi / 4, 3 * np.pi / 4, 5 * np.pi / 4, 7 * np.pi / 4)
    ]
    panel = box((0.232, 0.0, 0.205), (0.022, 0.12, 0.045))
    body = Link(
        "base",
        [
            Solid(drum, (0.88, 0.89, 0.90), 38.0),
            Solid(join([skirt, *wheels]), (0.16, 0.17, 0.19), 8.0),
            Solid(column, (0.30, 0.32, 0.35), 4.0),
            Solid(light, (0.20, 0.72, 0.78), 0.0),
            Solid(panel, (0.08, 0.09, 0.10), 0.0),
        ],
        [
            f'{origin((0, 0, 0.16))}<geometry><cylinder radius="0.24" length="0.28"/></geometry>',
            f'{origin((0, 0, 0.35))}<geometry><cylinder radius="0.10" length="0.10"/></geometry>',
        ],
    )
    slide = inertial(0.5, (0.0, 0.0, 0.1), 1e-3 * np.eye(3))
    links = [f'  <link name="{name}">\n{slide}\n  </link>' for name in ("floor_mount", "slide_x", "slide_y")]
    links.append(body.xml(ASSETS, "robot"))
    force = '<limit effort="2000" lower="-20" upper="20" velocity="2"/>'
    joints = [
        joint("base_x", "prismatic", "floor_mount", "slide_x", origin((0, 0, 0)), "1 0 0", force),
        joint("base_y", "prismatic", "slide_x", "slide_y", origin((0, 0, 0)), "0 1 0", force),
        joint("base_yaw", "continuous", "slide_y", "base", origin((0, 0, 0)), "0 0 1"),
        joint("arm_foot", "fixed", "base", "panda_link0", origin((0, 0, 0.40))),
    ]
    turns = [(0, 0, 0, 0.333), (-90, 0, 0, 0), (90, 0, -0.316, 0), (90, 0.0825, 0, 0), (-90, -0.0825, 0.384, 0), (90, 0, 0, 0), (90, 0.088, 0, 0)]  # fmt: skip
    limits = [(-2.8973, 2.8973), (-1.7628, 1.7628), (-2.8973, 2.8973), (-3.0718, -0.0698), (-2.8973, 2.8973), (-0.0175, 3.7525), (-2.8973, 2.8973)]  # fmt: skip
    for k in range(8):
        shapes = franka_shapes(f"link{k}", "visual" if 0 < k < 7 else "collision")
        links.append(arm_link(f"panda_link{k}", ARM_INERTIA[f"panda_link{k}"], shapes))
    for k in range(7):
        roll, x, y, z = turns[k]
        effort, speed = (87, 2.175) if k < 4 else (12, 2.61)
        limit = f'<limit effort="{effort}" lower="{limits[k][0]}" upper="{limits[k][1]}" velocity="{speed}"/>'
        place = f'<origin xyz="{x} {y} {z}" rpy="{np.deg2rad(roll):.17g} 0 0"/>'
        joints.append(joint(f"panda_joint{k + 1}", "revolute", f"panda_link{k}", f"panda_link{k + 1}", place, "0 0 1", limit))  # fmt: skip
    links.append(arm_link("panda_hand", HAND_INERTIA, franka_shapes("hand", "visual")))
    turn = f'<origin xyz="0 0 0.107" rpy="0 0 {-np.pi / 4:.17g}"/>'
    joints.append(joint("panda_hand_joint", "fixed", "panda_link7", "panda_hand", turn))
    # The finger's hull as three boxes: the flat pad that grips, the sloping middle, the carriage.
    pad = [
        ((0.0, 0.007, 0.045), (0.0175, 0.014, 0.0176)),
        ((0.0, 0.0145, 0.027), (0.019, 0.013, 0.020)),
        ((0.0, 0.0145, 0.0095), (0.0208, 0.0238, 0.019)),
    ]
    # Rubber pads. The anchor takes out the solver's creep at rest; the friction cone stays what it is: a 0.2 kg cup slips
    # from a grip of 2 N (0.5 * 2 * 2 N < 0.2 kg * g) and is held by 4 N.
    grip = '    <contact><lateral_friction value="1.0"/><spinning_friction value="0.006"/><friction_anchor/></contact>'
    for side, sign in (("left", 1), ("right", -1)):
        turned = (0.0, 0.0, 0.0 if sign > 0 else np.pi)
        visual = f'    <visual>{origin((0, 0, 0), turned)}<geometry><mesh filename="{FRANKA}/visual/finger.obj"/></geometry></visual>'
        shapes = [f"    <collision>{box_shape((x, sign * y, z), size)}</collision>" for (x, y, z), size in pad]
        mass, (cx, cy, cz), tensor = FINGER_INERTIA
        links.append(arm_link(f"panda_{side}finger", (mass, (cx, sign * cy, cz), tensor), [grip, visual, *shapes]))
        limit = '<limit effort="100" lower="0" upper="0.04" velocity="0.2"/>'
        name = f"panda_finger_joint{1 if sign > 0 else 2}"
        joints.append(joint(name, "prismatic", "panda_hand", f"panda_{side}finger", origin((0, 0, 0.0584)), f"0 {sign} 0", limit))  # fmt: skip
    write_urdf(ASSETS / "robot.urdf", "mobile_panda", links, joints)


def main() -> None:
    (ASSETS / "meshes").mkdir(parents=True, exist_ok=True)
    for old in [*ASSETS.glob("*.urdf"), *(ASSETS / "meshes").iterdir()]:
        old.unlink()
    for make in (cup, bowl, plate, fork, knife, cucumber, robot):
        make()
    sizes = sorted((path.stat().st_size, path.name) for path in (ASSETS / "meshes").iterdir())
    print(
        f"{len(sizes)} meshes, {sum(s for s, _ in sizes) / 1e6:.2f} MB, largest {sizes[-1][1]} {sizes[-1][0] / 1e3:.0f} kB"
    )


if __name__ == "__main__":
    main()
