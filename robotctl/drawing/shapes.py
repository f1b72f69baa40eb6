"""This file turns URDFs and their OBJ meshes into coloured triangles, and joint positions into poses of links.

It reads what the physics engine is given, after robotctl.assets has checked it: OBJ meshes, materials with a diffuse
colour or a texture, fixed, revolute and prismatic joints.
"""

from __future__ import annotations

import functools
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
from PIL import Image

GREY = (0.7, 0.7, 0.7)
Color = tuple[float, float, float]  # red, green, blue, 0 to 1
Look = tuple[Color, Path | None]
TEXTURE = 128  # textures are read at this size [pixels]


@dataclass(frozen=True)
class Mesh:
    """Triangles of one colour."""

    vertices: np.ndarray  # (V, 3) [m]
    faces: np.ndarray  # (F, 3) indices of vertices
    color: Color  # with a texture its mean
    opacity: float = 1.0
    texture: Path | None = None
    uv: np.ndarray | None = None  # (F, 3, 2) where in the texture each corner is, v upwards; it repeats

    def moved(self, pose: np.ndarray) -> Mesh:
        """The mesh in another frame: pose (4, 4)."""
        return replace(self, vertices=self.vertices @ pose[:3, :3].T + pose[:3, 3])


@dataclass(frozen=True)
class Joint:
    """How a link hangs on another."""

    name: str
    kind: str  # fixed, revolute, continuous, prismatic
    parent: str
    origin: np.ndarray  # (4, 4)
    axis: np.ndarray  # (3,)


@dataclass(frozen=True)
class Figure:
    """The visible meshes of a URDF by link, and the joints that move them."""

    meshes: dict[str, tuple[Mesh, ...]]
    joints: dict[str, Joint]  # by child link

    def poses(self, positions: Mapping[str, np.ndarray], count: int = 1) -> dict[str, np.ndarray]:
        """Pose (T, 4, 4) of every link; positions (T,) by joint, those that are not named stay at 0."""
        found: dict[str, np.ndarray] = {}

        def pose(link: str) -> np.ndarray:
            if link not in found:
                joint = self.joints.get(link)
                if joint is None:
                    found[link] = np.tile(np.eye(4), (count, 1, 1))
                else:
                    value = np.asarray(positions.get(joint.name, np.zeros(count)), float)
                    found[link] = pose(joint.parent) @ joint.origin @ _motion(joint, value)
            return found[link]

        return {link: pose(link) for link in self.meshes}


def _motion(joint: Joint, value: np.ndarray) -> np.ndarray:
    """What a joint at `value` (T,) adds to its origin, (T, 4, 4)."""
    out = np.tile(np.eye(4), (len(value), 1, 1))
    if joint.kind == "prismatic":
        out[:, :3, 3] = value[:, None] * joint.axis
    elif joint.kind in ("revolute", "continuous"):  # Rodrigues' formula
        x, y, z = joint.axis
        skew = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
        s, c = np.sin(value)[:, None, None], np.cos(value)[:, None, None]
        out[:, :3, :3] = np.eye(3) + s * skew + (1.0 - c) * (skew @ skew)
    return out


def read_figure(urdf: Path, find: Callable[[str], Path] | None = None, simplify: float = 0.0) -> Figure:
    """The figure of a URDF. find: the file behind a mesh's name; simplify: see `simplified` [m]."""
    root = ElementTree.parse(urdf).getroot()
    find = find or (lambda name: urdf.parent / name)
    meshes = {}
    for link in root.iter("link"):
        parts: list[Mesh] = []
        for visual in link.iter("visual"):
            rgba = visual.find("material/color")
            color = None if rgba is None else _floats(rgba.get("rgba"))[:3]
            origin = _pose(visual.find("origin"))
            for part in _geometry(visual, find, simplify):
                shown = part if color is None or part.texture else replace(part, color=_color(color))
                parts.append(shown.moved(origin))
        meshes[str(link.get("name"))] = tuple(parts)
    joints = {}
    for joint in root.iter("joint"):
        parent, child, axis = joint.find("parent"), joint.find("child"), joint.find("axis")
        if parent is None or child is None:
            continue
        direction = np.array([1.0, 0.0, 0.0]) if axis is None else np.array(_floats(axis.get("xyz")))
        name, kind, hangs_on = str(joint.get("name")), str(joint.get("type")), str(parent.get("link"))
        joints[str(child.get("link"))] = Joint(name, kind, hangs_on, _pose(joint.find("origin")), direction)
    return Figure(meshes, joints)


def _geometry(visual: ElementTree.Element, find: Callable[[str], Path], simplify: float) -> Sequence[Mesh]:
    """The meshes of a visual, in its own frame."""
    shape = next(iter(visual.find("geometry") or ()), None)
    if shape is None:
        return ()
    if shape.tag == "mesh":
        scale = _floats(shape.get("scale") or "1 1 1")
        meshes = read_mesh(find(str(shape.get("filename"))), simplify)
        return meshes if scale == [1.0, 1.0, 1.0] else [replace(m, vertices=m.vertices * scale) for m in meshes]
    if shape.tag == "box":
        return (box(np.zeros(3), 0.5 * np.array(_floats(shape.get("size"))), 0.0, GREY),)
    radius = float(shape.get("radius") or 0.0)
    if shape.tag == "sphere":
        vertices, faces = ball()
        return (Mesh(radius * vertices.astype(float), faces.astype(np.int64), GREY),)
    return (cylinder(radius, float(shape.get("length") or 0.0), GREY),)


def cylinder(radius: float, length: float, color: Color, sides: int = 24) -> Mesh:
    """A cylinder about z, its middle at the origin."""
    angle = np.linspace(0.0, 2.0 * np.pi, sides, endpoint=False)
    ring = radius * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    ends = [np.column_stack([ring, np.full(sides, z)]) for z in (-0.5 * length, 0.5 * length)]
    vertices = np.concatenate([*ends, [[0.0, 0.0, -0.5 * length], [0.0, 0.0, 0.5 * length]]])
    a = np.arange(sides)
    b = (a + 1) % sides
    under, over = np.full(sides, 2 * sides), np.full(sides, 2 * sides + 1)
    faces = [(a, b, sides + b), (a, sides + b, sides + a), (under, b, a), (over, sides + a, sides + b)]
    return Mesh(vertices, np.concatenate([np.stack(face, axis=1) for face in faces]), color)


@functools.cache
def read_mesh(path: Path, simplify: float = 0.0) -> tuple[Mesh, ...]:
    """The triangles of an OBJ file, a mesh for each of its materials."""
    vertices: list[list[float]] = []
    places: list[list[float]] = []  # in the texture
    faces: dict[str, list[tuple[int, int, int]]] = {}
    painted: dict[str, list[tuple[int, int, int]]] = {}  # indices of places
    looks: dict[str, Look] = {}
    material = ""
    for line in path.read_text("utf-8", errors="replace").splitlines():
        word, _, rest = line.partition(" ")
        if word == "v":
            vertices.append([float(number) for number in rest.split()[:3]])
        elif word == "vt":
            places.append([float(number) for number in rest.split()[:2]])
        elif word == "f":
            words = [corner.split("/") for corner in rest.split()]
            corners = [_index(word[0], len(vertices)) for word in words]
            faces.setdefault(material, []).extend((corners[0], b, c) for b, c in pairwise(corners[1:]))
            spots = [_index(word[1], len(places)) if len(word) > 1 and word[1] else -1 for word in words]
            painted.setdefault(material, []).extend((spots[0], b, c) for b, c in pairwise(spots[1:]))
        elif word == "usemtl":
            material = rest.strip()
        elif word == "mtllib":
            looks |= _materials(path.parent / rest.strip())
    points = np.array(vertices, float).reshape(-1, 3)
    out = []
    for name, triangles in faces.items():
        color, texture = looks.get(name, (GREY, None))
        uv = None
        if texture is not None and min(map(min, painted[name])) >= 0:
            uv = np.array(places)[np.array(painted[name])]
        mesh = Mesh(points, np.array(triangles, np.int64), color, texture=texture if uv is not None else None, uv=uv)
        out.append(simplified(mesh, simplify))
    return tuple(out)


def simplified(mesh: Mesh, grid: float) -> Mesh:
    """The mesh with the vertices that share a cell of a grid [m] joined to one; unused ones and slivers left out.

    grid 0 joins only vertices that are the same.
    """
    cells = mesh.vertices if grid == 0.0 else np.round(mesh.vertices / grid)
    _, first, index = np.unique(cells, axis=0, return_index=True, return_inverse=True)
    faces = index.reshape(-1)[mesh.faces]
    whole = (faces[:, 0] != faces[:, 1]) & (faces[:, 1] != faces[:, 2]) & (faces[:, 2] != faces[:, 0])
    used, compact = np.unique(faces[whole], return_inverse=True)
    uv = None if mesh.uv is None else mesh.uv[whole]
    return replace(mesh, vertices=mesh.vertices[first][used], faces=compact.reshape(-1, 3), uv=uv)


def joined(meshes: list[Mesh]) -> list[Mesh]:
    """The meshes with those that look alike made one."""
    groups: dict[tuple[Color, float, Path | None], list[Mesh]] = {}
    for mesh in meshes:
        groups.setdefault((mesh.color, mesh.opacity, mesh.texture), []).append(mesh)
    out = []
    for parts in groups.values():
        starts = np.cumsum([0, *(len(part.vertices) for part in parts)])
        faces = np.concatenate([part.faces + start for part, start in zip(parts, starts[:-1], strict=True)])
        places = [part.uv for part in parts if part.uv is not None]
        uv = np.concatenate(places) if places else None
        out.append(replace(parts[0], vertices=np.concatenate([p.vertices for p in parts]), faces=faces, uv=uv))
    return out


def box(center: np.ndarray, half: np.ndarray, yaw: float, color: Color) -> Mesh:
    """A box that is turned about the vertical."""
    corners = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], float) * half
    c, s = np.cos(yaw), np.sin(yaw)
    turn = np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])
    faces = np.array(
        [
            [0, 1, 3], [0, 3, 2], [4, 6, 7], [4, 7, 5], [0, 4, 5], [0, 5, 1],
            [2, 3, 7], [2, 7, 6], [0, 2, 6], [0, 6, 4], [1, 5, 7], [1, 7, 3],
        ]
    )  # fmt: skip
    return Mesh(corners @ turn.T + center, faces, color)


def ball() -> tuple[np.ndarray, np.ndarray]:
    """A unit sphere of few triangles: an octahedron, divided once."""
    corners = [[1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1]]
    vertices = [np.array(corner, float) for corner in corners]
    faces = []
    for x in (0, 1):
        for y in (2, 3):
            for z in (4, 5):
                corner = [x, y, z] if (x + y + z) % 2 == 0 else [y, x, z]
                middles = []
                for a, b in ((0, 1), (1, 2), (2, 0)):
                    point = vertices[corner[a]] + vertices[corner[b]]
                    vertices.append(point / np.linalg.norm(point))
                    middles.append(len(vertices) - 1)
                ab, bc, ca = middles
                a, b, c = corner
                faces += [[a, ab, ca], [ab, b, bc], [ca, bc, c], [ab, bc, ca]]
    return np.array(vertices, np.float32), np.array(faces, np.uint32)


def _index(word: str, count: int) -> int:
    """An OBJ index as one from 0: they count from 1, or backwards from the last."""
    number = int(word)
    return number - 1 if number > 0 else count + number


def _materials(path: Path) -> dict[str, Look]:
    """Diffuse colours of an MTL file by material, and textures; the colour is the texture's mean then."""
    looks: dict[str, Look] = {}
    name = ""
    if not path.is_file():
        return looks
    for line in path.read_text("utf-8", errors="replace").splitlines():
        word, _, rest = line.strip().partition(" ")
        if word == "newmtl":
            name = rest.strip()
        elif word == "Kd":
            looks[name] = _color(_floats(rest)), None
        elif word == "map_Kd":
            texture = path.parent / rest.strip()
            looks[name] = _color(read_texture(texture).reshape(-1, 3).mean(axis=0)), texture
    return looks


@functools.cache
def read_texture(path: Path) -> np.ndarray:
    """A texture, (TEXTURE, TEXTURE, 3) float32, 0 to 1; grey where it cannot be read."""
    try:
        with Image.open(path) as image:
            small = image.convert("RGB").resize((TEXTURE, TEXTURE), Image.Resampling.BOX)
            return np.asarray(small, np.float32) / np.float32(255.0)
    except OSError:
        return np.full((TEXTURE, TEXTURE, 3), GREY, np.float32)


def _pose(origin: ElementTree.Element | None) -> np.ndarray:
    """Pose (4, 4) of a URDF origin: rotations about the fixed axes x, y, z, in this order."""
    out = np.eye(4)
    if origin is None:
        return out
    out[:3, 3] = _floats(origin.get("xyz") or "0 0 0")
    roll, pitch, yaw = _floats(origin.get("rpy") or "0 0 0")
    (sr, cr), (sp, cp), (sy, cy) = ((np.sin(a), np.cos(a)) for a in (roll, pitch, yaw))
    out[:3, :3] = [
        [cy * cp, cy * sp * sr - sy * cr, cy * sp * cr + sy * sr],
        [sy * cp, sy * sp * sr + cy * cr, sy * sp * cr - cy * sr],
        [-sp, cp * sr, cp * cr],
    ]
    return out


def _floats(text: str | None) -> list[float]:
    return [float(number) for number in (text or "").split()]


def _color(values: np.ndarray | list[float]) -> Color:
    red, green, blue = (min(1.0, max(0.0, float(value))) for value in values[:3])
    return red, green, blue
