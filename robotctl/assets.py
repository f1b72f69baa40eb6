"""This file checks a URDF and its meshes before the physics engine, which trusts its input, sees them.

A URDF may name meshes (OBJ only), materials and textures by paths relative to itself and inside its folder tree of
scenes. Masses, inertias, sizes and vertices must be finite numbers that make physical sense.
"""

from __future__ import annotations

import functools
import math
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn
from xml.parsers import expat

import numpy as np

from robotctl.errors import InvalidFileError
from robotctl.files import is_file, one_line, read_text, show_path

MAX_URDF_BYTES = 1_000_000
MAX_MESH_BYTES = 8_000_000
MAX_VERTICES = 100_000
MAX_ELEMENTS = 5_000
MAX_DEPTH = 32
FAR = 100.0  # no vertex, size or offset of a household thing is larger [m]
SCENES_FOLDERS = ("scenes", "_scenes")  # the second is the packaged one in an installed wheel
TEXTURES = (".png", ".jpg", ".jpeg")
_OBJ_WORDS = frozenset({"v", "vt", "vn", "f", "o", "g", "s", "usemtl", "mtllib"})


@dataclass(frozen=True)
class _Source:
    """A text file under check."""

    path: Path
    root: Path  # nothing outside this folder may be named

    def fail(self, line: int, message: str) -> NoReturn:
        raise InvalidFileError(f"{show_path(self.path)}:{line}:1: {one_line(message)}")

    def neighbour(self, line: int, name: str, endings: Iterable[str]) -> Path:
        """A file named by this one: relative, existing, inside the tree, of a known type."""
        if not name or name.startswith(("/", "~")) or re.search(r"[\\:\0]", name):
            self.fail(line, f"'{name[:80]}': expected a path relative to this file")
        path = (self.path.parent / name).resolve()
        if not path.is_relative_to(self.root):
            self.fail(line, f"'{name[:80]}' leads out of {self.root.name}/")
        if path.suffix.lower() not in endings:
            self.fail(line, f"'{name[:80]}': only {', '.join(endings)} files are read here")
        if not is_file(path):
            self.fail(line, f"no such file '{name[:80]}'")
        return path


def tree_root(path: Path) -> Path:
    """The nearest folder named `scenes` around a file, else the file's own folder."""
    folders = path.resolve().parents
    return next((folder for folder in folders if folder.name in SCENES_FOLDERS), folders[0])


def check_urdf(path: Path, movable: bool = True) -> float:
    """Checks a URDF and every mesh it names; total mass of its links [kg].

    Every link of something movable needs a mass: without one the engine would silently assume 1 kg.
    """
    path = path.resolve()
    return _check_urdf(path, movable, _stamp(path))


def _stamp(path: Path) -> tuple[int, int]:
    try:
        status = path.stat()
    except OSError:
        return 0, 0
    return status.st_mtime_ns, status.st_size


@functools.lru_cache(maxsize=64)
def _check_urdf(path: Path, movable: bool, _stamp: tuple[int, int]) -> float:
    source = _Source(path, tree_root(path))
    root, lines = _parse_xml(source, read_text(path, MAX_URDF_BYTES))
    if root.tag != "robot":
        source.fail(1, f"expected <robot>, got <{root.tag}>")
    links = [element for element in root if element.tag == "link"]
    if not links:
        source.fail(1, "a URDF needs at least one <link>")
    total = 0.0
    for link in links:
        if movable or link.find("inertial") is not None:
            total += _inertial(source, link, lines)
    names = [link.get("name", "") for link in links]
    if len(set(names)) != len(names):
        source.fail(1, "two links have the same name")
    for joint in (element for element in root if element.tag == "joint"):
        for role in ("parent", "child"):
            end = joint.find(role)
            if end is None or end.get("link") not in names:
                source.fail(lines[joint], f"joint '{joint.get('name')}': its {role} is not a link of this file")
    for element in root.iter():
        _numbers_of(source, element, lines[element])
        name = element.get("filename")
        if element.tag == "mesh":
            check_mesh(source.neighbour(lines[element], name or "", (".obj",)))
        elif name is not None:
            source.neighbour(lines[element], name, TEXTURES)
    return total


def _parse_xml(source: _Source, text: str) -> tuple[ElementTree.Element, dict[ElementTree.Element, int]]:
    """The tree and the line of each element. Document types (and with them entities) are refused."""
    parser = expat.ParserCreate()
    builder = ElementTree.TreeBuilder()
    lines: dict[ElementTree.Element, int] = {}
    depth = 0

    def start(tag: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        if depth > MAX_DEPTH or len(lines) >= MAX_ELEMENTS:
            source.fail(parser.CurrentLineNumber, "the model is too deep or too large")
        lines[builder.start(tag, attributes)] = parser.CurrentLineNumber

    def end(tag: str) -> None:
        nonlocal depth
        depth -= 1
        builder.end(tag)

    def refuse(*_: object) -> None:
        source.fail(parser.CurrentLineNumber, "document types and entities are not allowed")

    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.StartDoctypeDeclHandler = refuse
    try:
        parser.Parse(text, True)
    except expat.ExpatError as error:
        source.fail(error.lineno, f"not XML: {expat.ErrorString(error.code)}")
    return builder.close(), lines


def _inertial(source: _Source, link: ElementTree.Element, lines: dict[ElementTree.Element, int]) -> float:
    """Mass of a link [kg]."""
    name = link.get("name", "")
    mass, inertia = link.find("inertial/mass"), link.find("inertial/inertia")
    if mass is None or inertia is None:
        source.fail(lines[link], f"link '{name}': <inertial> with <mass> and <inertia> is missing")
    value = _floats(source, mass, lines[mass], "value", 1)[0]
    if not 0 < value < 1000:
        source.fail(lines[mass], f"link '{name}': the mass must be above 0 and below 1000 kg")
    xx, yy, zz = (_floats(source, inertia, lines[inertia], key, 1)[0] for key in ("ixx", "iyy", "izz"))
    xy, xz, yz = (_floats(source, inertia, lines[inertia], key, 1, "0")[0] for key in ("ixy", "ixz", "iyz"))
    moments = np.linalg.eigvalsh(np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]]))
    if not (moments[0] > 0 and moments[2] <= 1.01 * (moments[0] + moments[1])):
        source.fail(lines[inertia], f"link '{name}': no body has this inertia")
    return value


def _floats(
    source: _Source, element: ElementTree.Element, line: int, key: str, count: int, default: str | None = None
) -> list[float]:
    text = element.get(key, default)
    try:
        values = [float(word) for word in (text or "").split()]
    except ValueError:
        values = []
    if len(values) != count or not all(math.isfinite(v) and abs(v) < 1e6 for v in values):
        source.fail(line, f"<{element.tag} {key}>: expected {count} finite number{'s' * (count > 1)}")
    return values


def _numbers_of(source: _Source, element: ElementTree.Element, line: int) -> None:
    """Offsets are finite and near, sizes positive."""
    for key, count in (("xyz", 3), ("rpy", 3), ("rgba", 4)):
        if element.get(key) is not None and max(map(abs, _floats(source, element, line, key, count))) > FAR:
            source.fail(line, f"<{element.tag} {key}>: larger than {FAR:g}")
    sizes = {"box": (("size", 3),), "sphere": (("radius", 1),), "cylinder": (("radius", 1), ("length", 1))}
    sizes["capsule"] = sizes["cylinder"]
    required = sizes.get(element.tag, ())
    optional = (("scale", 3),) if element.tag == "mesh" and element.get("scale") is not None else ()
    for key, count in (*required, *optional):
        if not all(0 < value < FAR for value in _floats(source, element, line, key, count)):
            source.fail(line, f"<{element.tag} {key}>: must be above 0 and below {FAR:g}")


def check_mesh(path: Path) -> None:
    """Checks an OBJ file: known statements, finite vertices, indices in range, materials inside the tree."""
    source = _Source(path, tree_root(path))
    counts = {"v": 0, "vt": 0, "vn": 0}
    faces = 0
    for number, text in enumerate(read_text(path, MAX_MESH_BYTES).split("\n"), 1):
        words = text.split("#", 1)[0].split()
        if not words:
            continue
        statement, values = words[0], words[1:]
        if statement not in _OBJ_WORDS:
            source.fail(number, f"'{statement[:20]}' is not a statement of a plain OBJ file")
        if statement in counts:
            counts[statement] += 1
            _vertex(source, number, statement, values)
            if counts[statement] > MAX_VERTICES:
                source.fail(number, f"more than {MAX_VERTICES} vertices")
        elif statement == "f":
            faces += 1
            _face(source, number, values, counts)
        elif statement == "mtllib":
            _check_material(source.neighbour(number, " ".join(values), (".mtl",)))
    if counts["v"] < 3 or not faces:
        source.fail(1, "the mesh has no faces")


def _vertex(source: _Source, line: int, statement: str, values: list[str]) -> None:
    wanted = {"v": (3, 4, 6, 7), "vt": (1, 2, 3), "vn": (3,)}[statement]
    try:
        numbers = [float(value) for value in values]
    except ValueError:
        numbers = []
    if len(numbers) not in wanted or not all(math.isfinite(n) and abs(n) <= 1e6 for n in numbers):
        source.fail(line, f"'{statement}': expected finite numbers")


def _face(source: _Source, line: int, corners: list[str], counts: dict[str, int]) -> None:
    if not 3 <= len(corners) <= 64:
        source.fail(line, "a face needs at least three corners (and at most 64)")
    for corner in corners:
        indices = corner.split("/")
        if len(indices) > 3 or not indices[0]:
            source.fail(line, f"face corner '{corner[:20]}' is not v, v/vt, v//vn or v/vt/vn")
        for statement, index in zip(("v", "vt", "vn"), indices, strict=False):
            if not index:
                continue
            if not re.fullmatch(r"-?\d{1,9}", index):
                source.fail(line, f"face corner '{corner[:20]}' is not v, v/vt, v//vn or v/vt/vn")
            value, count = int(index), counts[statement]
            if not (1 <= value <= count or -count <= value <= -1):
                source.fail(line, f"face index {index} is out of range: {count} '{statement}' lines before it")


def _check_material(path: Path) -> None:
    """A material may name textures; they obey the rules of every named file."""
    source = _Source(path, tree_root(path))
    for number, text in enumerate(read_text(path).split("\n"), 1):
        words = text.split("#", 1)[0].split()
        if words and words[0].lower().startswith(("map_", "bump", "disp", "decal", "refl", "norm")):
            source.neighbour(number, words[-1], TEXTURES)
