"""Writes meshes, materials and URDF models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from modelling.solids import Color, Mesh, Solid, Surface, inertia, join

ASSETS = Path(__file__).resolve().parents[2] / "scenes" / "assets"
SURFACES: list[Surface] = []  # every surface that a written mesh uses


def write_palette(path: Path, surfaces: Sequence[Surface]) -> None:
    """The materials that all meshes share."""
    lines = ["# made by tools/make_assets.py"]
    for surface in sorted(set(surfaces), key=name_of):
        color = (1.0, 1.0, 1.0) if isinstance(surface, str) else surface
        lines += [f"newmtl {name_of(surface)}", f"Kd {numbers(color)}"]
        lines += [f"map_Kd {surface}"] if isinstance(surface, str) else []
    path.write_text("\n".join(lines) + "\n")


def name_of(surface: Surface) -> str:
    """A name for a colour or a texture."""
    if isinstance(surface, str):
        return Path(surface).stem
    return "c" + "".join(f"{round(255 * c):02x}" for c in surface)


def write_obj(path: Path, mesh: Mesh, material: str = "", crease: float = 40.0) -> None:
    """A Wavefront file with normals that are smooth across edges blunter than `crease` degrees.

    `material` is a name of the palette; without one the mesh takes the colour of whoever loads it.
    """
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
    lines += ["mtllib palette.mtl", f"usemtl {material}"] if material else []
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
        for k, surface in enumerate(dict.fromkeys(s.surface for s in self.solids)):
            name = f"{prefix}_{k}.obj" if prefix == self.name else f"{prefix}_{self.name}_{k}.obj"
            mesh = join([s.mesh for s in self.solids if s.surface == surface])
            write_obj(folder / "meshes" / name, mesh, name_of(surface))
            SURFACES.append(surface)
            parts.append(mesh_visual(f"meshes/{name}", (1.0, 1.0, 1.0) if isinstance(surface, str) else surface))
        parts += self.visuals
        parts += [f"    <collision>{shape}</collision>" for shape in self.collision]
        return "\n".join([*parts, "  </link>"])


def inertial(mass: float, center: Sequence[float] | np.ndarray, tensor: np.ndarray) -> str:
    entries = " ".join(
        f'i{"xyz"[i]}{"xyz"[j]}="{np.round(tensor[i, j], 12) + 0.0:.6g}"' for i in range(3) for j in range(i, 3)
    )
    return f'    <inertial><origin xyz="{numbers(center)}"/><mass value="{mass:.6g}"/><inertia {entries}/></inertial>'


def mesh_visual(path: str, color: Color | None = None) -> str:
    material = ""
    if color is not None:
        material = f'<material name="{name_of(color)}"><color rgba="{numbers([*color, 1.0])}"/></material>'
    return f'    <visual><geometry><mesh filename="{path}"/></geometry>{material}</visual>'


def origin(xyz: Sequence[float], rpy: Sequence[float] = (0.0, 0.0, 0.0)) -> str:
    return f'<origin xyz="{numbers(xyz)}" rpy="{numbers(rpy)}"/>'


def box_shape(center: Sequence[float], size: Sequence[float], rpy: Sequence[float] = (0.0, 0.0, 0.0)) -> str:
    return f'{origin(center, rpy)}<geometry><box size="{numbers(size)}"/></geometry>'


def sphere_shape(center: Sequence[float], radius: float) -> str:
    return f'{origin(center)}<geometry><sphere radius="{radius:g}"/></geometry>'


def hull_shape(name: str, vertices: np.ndarray) -> str:
    """A convex mesh for contact around vertices (n, 3); it goes to its own file."""
    from scipy.spatial import ConvexHull

    hull = ConvexHull(vertices)
    corners = vertices[hull.vertices]
    index = {int(v): i for i, v in enumerate(hull.vertices)}
    faces = []
    for simplex, plane in zip(hull.simplices, hull.equations, strict=True):
        a, b, c = vertices[simplex]
        outwards = np.cross(b - a, c - a) @ plane[:3] > 0
        faces.append([index[int(v)] for v in (simplex if outwards else simplex[::-1])])
    write_obj(ASSETS / "meshes" / f"{name}.obj", Mesh(corners, np.array(faces)))
    return f'<geometry><mesh filename="meshes/{name}.obj"/></geometry>'


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


def joint(name: str, kind: str, parent: str, child: str, at: str, axis: str = "", limit: str = "") -> str:
    axis = f'<axis xyz="{axis}"/>' if axis else ""
    ends = f'<parent link="{parent}"/><child link="{child}"/>'
    return f'  <joint name="{name}" type="{kind}">{ends}{at}{axis}{limit}</joint>'


def write_urdf(path: Path, name: str, links: Sequence[str], joints: Sequence[str] = ()) -> None:
    body = "\n".join(['<?xml version="1.0"?>', "<!-- made by tools/make_assets.py -->", f'<robot name="{name}">'])
    path.write_text("\n".join([body, *links, *joints, "</robot>"]) + "\n")


def write_object(name: str, solids: list[Solid], collision: list[str]) -> None:
    write_urdf(ASSETS / f"{name}.urdf", name, [Link(name, solids, collision).xml(ASSETS, name)])
