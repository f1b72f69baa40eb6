"""What is seen of the kitchen's furniture, at the world coordinates of scenes/kitchen/scene.yaml.

The boxes in the scene file are what everything collides with; these models stay inside them. Only the dishwasher
brings collision shapes of its own: it has a door and a rack that move.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from modelling.solids import Color, Mesh, Solid, Surface, box, join, lathe, prism, rotation
from modelling.writing import ASSETS, Link, box_shape, joint, origin, write_urdf

SAGE, SAGE_DARK, PLINTH = (0.56, 0.65, 0.59), (0.44, 0.53, 0.48), (0.20, 0.21, 0.22)
STEEL, BRUSHED, BLACK, GLASS = (0.76, 0.77, 0.79), (0.62, 0.64, 0.66), (0.09, 0.09, 0.10), (0.16, 0.18, 0.21)
WALL, WHITE, SKY = (0.95, 0.93, 0.88), (0.96, 0.96, 0.95), (0.74, 0.87, 0.97)
GLAZE, CLAY, MUSTARD = (0.16, 0.42, 0.60), (0.80, 0.42, 0.24), (0.87, 0.66, 0.22)
LEAF, LINEN = (0.27, 0.50, 0.25), (0.86, 0.82, 0.74)
OAK, WALNUT, BEECH, PLANKS, TILES = "oak.png", "walnut.png", "beech.png", "planks.png", "tiles.png"


class Scenery:
    """Collects solids by surface: they have no mass, they are only seen."""

    def __init__(self) -> None:
        self.solids: list[Solid] = []

    def box(self, low: Sequence[float], high: Sequence[float], surface: Surface, tile: float = 0.8) -> None:
        """A box between two corners."""
        low, high = np.asarray(low, float), np.asarray(high, float)
        mesh = box((low + high) / 2, high - low, tile if isinstance(surface, str) else None)
        self.solids.append(Solid(mesh, surface, 0.0))

    def mesh(self, mesh: Mesh, color: Color, at: Sequence[float] = (0, 0, 0), turn: np.ndarray | None = None) -> None:
        self.solids.append(Solid(mesh.moved(at, turn), color, 0.0))

    def tube(self, a: Sequence[float], b: Sequence[float], radius: float, color: Color) -> None:
        """A round bar from `a` to `b`, along one axis of the world."""
        a, b = np.asarray(a, float), np.asarray(b, float)
        length = float(np.linalg.norm(b - a))
        axis = int(np.argmax(np.abs(b - a)))
        turn = (rotation("y", 90), rotation("x", -90), np.eye(3))[axis]
        low = np.minimum(a, b)
        self.mesh(lathe([(0, 0), (radius, 0), (radius, length), (0, length)], 16), color, low, turn)

    def write(self, name: str) -> None:
        write_urdf(ASSETS / f"{name}.urdf", name, [Link(name, self.solids).xml(ASSETS, name)])


# ---- the row along the north wall --------------------------------------------------------------------------------


def front(view: Scenery, x: tuple[float, float], z: tuple[float, float], color: Color, upright: bool = False) -> None:
    """A cabinet door or drawer with a recessed panel and a bar handle; its face lies at y = 1.515."""
    gap, frame = 0.004, 0.05
    (x0, x1), (z0, z1) = (x[0] + gap, x[1] - gap), (z[0] + gap, z[1] - gap)
    view.box((x0, 1.522, z0), (x1, 1.54, z1), color)
    for low, high in (
        ((x0, z0), (x1, z0 + frame)), ((x0, z1 - frame), (x1, z1)),
        ((x0, z0 + frame), (x0 + frame, z1 - frame)), ((x1 - frame, z0 + frame), (x1, z1 - frame)),
    ):  # fmt: skip
        view.box((low[0], 1.515, low[1]), (high[0], 1.522, high[1]), color)
    if upright:
        view.tube((x1 - 0.03, 1.506, z1 - 0.22), (x1 - 0.03, 1.506, z1 - 0.06), 0.006, STEEL)
    else:
        middle = (x0 + x1) / 2
        view.tube((middle - 0.08, 1.506, z1 - 0.03), (middle + 0.08, 1.506, z1 - 0.03), 0.006, STEEL)


def counter() -> None:
    """Worktop, cabinets, drawers, sink, cooktop and oven: x -1.6..1.6, y 1.5..2.1, top at 0.90."""
    view = Scenery()
    view.box((-1.6, 1.50, 0.862), (1.6, 2.10, 0.90), OAK, 1.1)
    for x0, x1 in ((-1.6, -1.2), (-0.6, 1.6)):
        view.box((x0, 1.54, 0.10), (x1, 2.10, 0.862), SAGE_DARK)
        view.box((x0, 1.58, 0.0), (x1, 2.10, 0.10), PLINTH)
    front(view, (-1.6, -1.2), (0.10, 0.86), SAGE, upright=True)
    for low, high in ((0.10, 0.38), (0.38, 0.64), (0.64, 0.86)):
        front(view, (-0.6, -0.05), (low, high), SAGE)
    for x0, x1 in ((-0.05, 0.475), (0.475, 1.0)):
        front(view, (x0, x1), (0.10, 0.68), SAGE, upright=True)
        front(view, (x0, x1), (0.68, 0.86), SAGE)
    # Oven.
    view.box((1.004, 1.518, 0.16), (1.596, 1.54, 0.70), BLACK)
    view.box((1.06, 1.514, 0.24), (1.54, 1.518, 0.60), GLASS)
    view.box((1.004, 1.515, 0.705), (1.596, 1.54, 0.856), BRUSHED)
    view.tube((1.08, 1.507, 0.655), (1.52, 1.507, 0.655), 0.007, STEEL)
    knob = lathe([(0, 0), (0.016, 0), (0.014, 0.014), (0, 0.014)], 20)
    for x in (1.10, 1.20, 1.40, 1.50):
        view.mesh(knob, BLACK, (x, 1.515, 0.78), rotation("x", 90))
    view.box((1.255, 1.5135, 0.755), (1.345, 1.515, 0.805), BLACK)
    # Cooktop, level with the worktop: a film of glass and four rings.
    view.box((1.03, 1.56, 0.8995), (1.57, 2.05, 0.902), BLACK)
    for x, y, r in ((1.17, 1.69, 0.085), (1.43, 1.69, 0.07), (1.17, 1.92, 0.07), (1.43, 1.92, 0.085)):
        ring = lathe([(r - 0.005, 0.902), (r, 0.902), (r, 0.9028), (r - 0.005, 0.9028)], 40)
        view.mesh(ring, (0.55, 0.20, 0.16), (x, y, 0.0))
    # Sink: a dark basin drawn on the worktop inside a steel rim.
    view.box((-1.54, 1.60, 0.8995), (-1.06, 2.0, 0.9025), STEEL)
    view.box((-1.52, 1.62, 0.9025), (-1.08, 1.98, 0.9030), (0.42, 0.44, 0.46))
    view.mesh(lathe([(0, 0.9030), (0.022, 0.9030), (0.022, 0.9038), (0, 0.9038)], 20), GLASS, (-1.30, 1.80, 0.0))
    view.write("counter")
    tap = Scenery()
    stem = [(0, 0.90), (0.028, 0.90), (0.026, 0.915), (0.013, 0.92), (0.012, 1.14), (0, 1.14)]
    tap.mesh(lathe(stem, 20), STEEL, (-1.30, 2.03, 0.0))
    tap.tube((-1.30, 1.86, 1.135), (-1.30, 2.04, 1.135), 0.011, STEEL)
    tap.tube((-1.30, 1.866, 1.09), (-1.30, 1.866, 1.14), 0.011, STEEL)
    tap.tube((-1.27, 2.03, 0.96), (-1.23, 2.03, 0.96), 0.006, STEEL)
    tap.write("tap")


def dishwasher() -> None:
    """A built-in dishwasher, x -1.2..-0.6, front at y = 1.5: a hinged door and a sliding rack with tines."""
    x0, x1, y0, y1, top = -1.197, -0.603, 1.525, 2.09, 0.858
    view = Scenery()
    wall = 0.02
    walls = [
        ((x0, y0, 0.10), (x0 + wall, y1, top)), ((x1 - wall, y0, 0.10), (x1, y1, top)),
        ((x0, y1 - wall, 0.10), (x1, y1, top)), ((x0, y0, 0.10), (x1, y1, 0.14)), ((x0, y0, 0.80), (x1, y1, top)),
    ]  # fmt: skip
    for low, high in walls:
        view.box(low, high, STEEL)
    view.box((x0, 1.58, 0.0), (x1, y1, 0.10), PLINTH)

    def shapes(boxes: Sequence[tuple[Sequence[float], Sequence[float]]]) -> list[str]:
        ends = [(np.asarray(low, float), np.asarray(high, float)) for low, high in boxes]
        return [box_shape((low + high) / 2, high - low) for low, high in ends]

    shell = Link("shell", [Solid(s.mesh, s.surface, 6.0) for s in view.solids], shapes(walls))
    # The door's frame: the hinge at its lower front edge, x along the hinge.
    face, inside = Scenery(), Scenery()
    face.box((-0.296, 0.0, 0.0), (0.296, 0.008, 0.64), BRUSHED)
    face.box((-0.296, 0.0, 0.645), (0.296, 0.008, 0.752), (0.30, 0.32, 0.34))
    face.tube((-0.20, -0.010, 0.60), (0.20, -0.010, 0.60), 0.007, STEEL)
    face.box((0.10, -0.0006, 0.685), (0.22, 0.0, 0.715), (0.10, 0.30, 0.34))
    inside.box((-0.29, 0.008, 0.0), (0.29, 0.018, 0.752), STEEL)
    solids = [Solid(s.mesh, s.surface, 5.0 / len(face.solids)) for s in face.solids]
    solids += [Solid(s.mesh, s.surface, 1.0) for s in inside.solids]
    door = Link("door", solids, shapes([((-0.296, 0.0, 0.0), (0.296, 0.018, 0.752))]))
    # The rack's frame: the middle of its bottom, closed.
    rack = Scenery()
    for x in np.linspace(-0.25, 0.25, 8):
        rack.tube((x, -0.25, 0.0), (x, 0.25, 0.0), 0.003, WHITE)
        for y in np.linspace(-0.18, 0.18, 5):
            rack.tube((x, y, 0.0), (x, y, 0.09), 0.0022, WHITE)
    for y in (-0.25, 0.25):
        rack.tube((-0.25, y, 0.0), (0.25, y, 0.0), 0.004, WHITE)
        rack.tube((-0.25, y, 0.10), (0.25, y, 0.10), 0.004, WHITE)
    for x in (-0.25, 0.25):
        rack.tube((x, -0.25, 0.10), (x, 0.25, 0.10), 0.004, WHITE)
    basket = Link(
        "rack",
        [Solid(join([s.mesh for s in rack.solids]), WHITE, 1.5)],
        shapes([((-0.25, -0.25, -0.003), (0.25, 0.25, 0.003))]),
    )
    middle = (x0 + x1) / 2
    hinge, slide = origin((middle, 1.505, 0.104)), origin((middle, 1.80, 0.19))
    swing = '<limit lower="0" upper="1.57" effort="50" velocity="3"/>'
    travel = '<limit lower="0" upper="0.45" effort="50" velocity="2"/>'
    joints = [
        joint("door_hinge", "revolute", "shell", "door", hinge, "1 0 0", swing),
        joint("rack_slide", "prismatic", "shell", "rack", slide, "0 -1 0", travel),
    ]
    links = [link.xml(ASSETS, "dishwasher") for link in (shell, door, basket)]
    write_urdf(ASSETS / "dishwasher.urdf", "dishwasher", links, joints)


def fridge() -> None:
    """A tall fridge at the east end of the row."""
    view = Scenery()
    body: Color = (0.90, 0.91, 0.91)
    view.box((1.66, 1.53, 0.06), (2.24, 2.10, 1.85), body)
    view.box((1.69, 1.56, 0.0), (2.21, 2.10, 0.06), PLINTH)
    for z0, z1 in ((0.065, 0.66), (0.67, 1.845)):
        view.box((1.662, 1.505, z0), (2.238, 1.53, z1), WHITE)
    for z0, z1 in ((0.42, 0.62), (0.72, 1.10)):
        view.box((1.70, 1.501, z0), (1.715, 1.505, z1), BRUSHED)
    view.write("fridge")


# ---- the room ------------------------------------------------------------------------------------------------------


def room() -> None:
    """Floor, two walls, tiles, a window, a rug, and a lamp above anyone's reach."""
    view = Scenery()
    for x in -2.5 + 0.59 * np.arange(10):  # small pieces: the renderer garbles the texture of one that it must clip
        for y in -3.2 + 0.53 * np.arange(10):
            view.box((x, y, -0.02), (x + 0.59, y + 0.53, 0.0), PLANKS, 1.2)
    view.box((-2.5, 2.1, 0.0), (3.4, 2.2, 2.5), WALL)
    view.box((-2.6, -3.2, 0.0), (-2.5, 2.2, 2.5), (0.90, 0.89, 0.84))
    view.box((-1.6, 2.094, 0.90), (1.66, 2.1, 1.46), TILES, 0.4)
    view.box((-2.5, 2.085, 0.0), (-1.6, 2.1, 0.09), WHITE)
    view.box((-2.5, -3.2, 0.0), (-2.487, 2.1, 0.09), WHITE)
    # Window in the north wall, above the sink.
    x0, x1, z0, z1 = -1.58, -0.78, 1.55, 2.30
    middle = (x0 + x1) / 2
    view.box((x0, 2.096, z0), (x1, 2.099, z1), SKY)
    view.box((x0, 2.0945, z0), (x1, 2.096, z0 + 0.22), (0.62, 0.76, 0.55))
    for low, high in (
        ((x0 - 0.05, z0 - 0.05), (x0, z1 + 0.05)), ((x1, z0 - 0.05), (x1 + 0.05, z1 + 0.05)),
        ((x0, z1), (x1, z1 + 0.05)), ((x0, z0 - 0.05), (x1, z0)), ((middle - 0.015, z0), (middle + 0.015, z1)),
    ):  # fmt: skip
        view.box((low[0], 2.075, low[1]), (high[0], 2.1, high[1]), WHITE)
    # A picture on the west wall.
    view.box((-2.5, -1.05, 1.25), (-2.48, -0.25, 1.85), (0.25, 0.22, 0.20))
    view.box((-2.48, -1.01, 1.29), (-2.478, -0.29, 1.81), (0.95, 0.93, 0.88))
    for y, z, r, color in ((-0.75, 1.50, 0.13, CLAY), (-0.55, 1.60, 0.10, GLAZE), (-0.60, 1.44, 0.07, MUSTARD)):
        view.mesh(lathe([(0, 0), (r, 0), (r, 0.002), (0, 0.002)], 32), color, (-2.479, y, z), rotation("y", 90))
    view.box((-0.75, -1.55, 0.0), (1.35, 0.10, 0.004), LINEN)
    view.box((-0.68, -1.48, 0.004), (1.28, 0.03, 0.005), (0.72, 0.46, 0.36))
    view.box((-0.64, -1.44, 0.005), (1.24, -0.01, 0.006), LINEN)
    view.write("room")


def shelf() -> None:
    """A wall shelf with dishes, jars and a plant: x -0.55..0.75, below it the tiles."""
    view = Scenery()
    view.box((-0.55, 1.90, 1.52), (0.75, 2.10, 1.55), WALNUT, 0.7)
    for x in (-0.42, 0.62):
        view.box((x - 0.01, 1.95, 1.47), (x + 0.01, 2.095, 1.52), BLACK)
    cup = lathe([(0, 0), (0.034, 0), (0.040, 0.02), (0.040, 0.09), (0.036, 0.09), (0.034, 0.012), (0, 0.012)], 32)
    for x, color in ((-0.46, GLAZE), (-0.36, CLAY), (-0.26, MUSTARD)):
        view.mesh(cup, color, (x, 2.0, 1.55))
    plate = lathe([(0, 0), (0.06, 0), (0.095, 0.010), (0.093, 0.014), (0.06, 0.006), (0, 0.006)], 40)
    for k in range(5):
        view.mesh(plate, WHITE if k % 2 else (0.80, 0.86, 0.88), (-0.09, 2.0, 1.55 + 0.009 * k))
    bowl = lathe([(0, 0), (0.03, 0), (0.06, 0.03), (0.07, 0.055), (0.066, 0.055), (0.03, 0.01), (0, 0.01)], 40)
    for k in range(3):
        view.mesh(bowl, CLAY if k != 1 else LINEN, (0.12, 2.0, 1.55 + 0.016 * k))
    jar = lathe([(0, 0), (0.045, 0), (0.045, 0.12), (0.038, 0.135), (0, 0.135)], 32)
    lid = lathe([(0, 0.135), (0.040, 0.135), (0.040, 0.16), (0, 0.16)], 32)
    for x, color in ((0.30, (0.86, 0.78, 0.60)), (0.41, (0.55, 0.32, 0.20)), (0.52, (0.82, 0.83, 0.80))):
        view.mesh(jar, color, (x, 2.0, 1.55))
        view.mesh(lid, (0.55, 0.40, 0.26), (x, 2.0, 1.55))
    pot = lathe([(0, 0), (0.04, 0), (0.055, 0.09), (0.05, 0.09), (0.045, 0.08), (0, 0.08)], 32)
    view.mesh(pot, (0.93, 0.92, 0.90), (0.66, 2.0, 1.55))
    generator = np.random.default_rng(3)
    leaf = prism([(-0.014, 0.02), (0.0, 0.0), (0.014, 0.02), (0.012, 0.06), (0.0, 0.10), (-0.012, 0.06)], 0.002)
    for k in range(11):
        turn = rotation("z", 360 * k / 11 + generator.uniform(-15, 15)) @ rotation("x", generator.uniform(25, 80))
        view.mesh(leaf, LEAF, (0.66, 2.0, 1.64), turn)
    view.write("shelf")


def hood() -> None:
    """An extractor hood over the cooktop."""
    view = Scenery()
    view.box((1.02, 1.72, 1.62), (1.58, 2.10, 1.67), STEEL)
    low, high = (
        np.array([[1.03, 1.73], [1.57, 1.73], [1.57, 2.1], [1.03, 2.1]]),
        np.array([[1.19, 1.88], [1.41, 1.88], [1.41, 2.1], [1.19, 2.1]]),
    )
    vertices = np.concatenate([np.column_stack([low, np.full(4, 1.67)]), np.column_stack([high, np.full(4, 1.85)])])
    faces = [(0, 2, 1), (0, 3, 2), (4, 5, 6), (4, 6, 7)]
    for k in range(4):
        a, b = k, (k + 1) % 4
        faces += [(a, b, b + 4), (a, b + 4, a + 4)]
    view.mesh(Mesh(vertices, np.array(faces)), BRUSHED)
    view.box((1.19, 1.88, 1.85), (1.41, 2.10, 2.5), STEEL)
    view.write("hood")


# ---- table, chairs, bin, board, tray -------------------------------------------------------------------------------


def table() -> None:
    """Top 1.4 x 0.8 m at 0.75 m, centred at (0.3, -0.6), on four tapered legs."""
    view = Scenery()
    view.box((-0.40, -1.0, 0.715), (1.0, -0.2, 0.75), WALNUT, 0.9)
    view.box((-0.39, -0.99, 0.71), (0.99, -0.21, 0.715), WALNUT, 0.9)
    for x in (-0.345, 0.945):
        for y in (-0.255, -0.945):
            outline = [(-1, -1), (1, -1), (1, 1), (-1, 1)]
            foot = np.column_stack([0.015 * np.array(outline), np.zeros(4)])
            head = np.column_stack([0.025 * np.array(outline), np.full(4, 0.71)])
            faces = [(0, 2, 1), (0, 3, 2), (4, 5, 6), (4, 6, 7)]
            for k in range(4):
                a, b = k, (k + 1) % 4
                faces += [(a, b, b + 4), (a, b + 4, a + 4)]
            view.mesh(Mesh(np.concatenate([foot, head]), np.array(faces)), (0.40, 0.26, 0.16), (x, y, 0.0))
    coaster = lathe([(0.0, 0.0), (0.060, 0.0), (0.060, 0.0008), (0.0, 0.0008)])  # to be seen only, too thin to be met
    view.mesh(coaster, (0.85, 0.76, 0.58), (0.34, -0.40, 0.75))
    view.write("table")


def chair(name: str, x: float, y: float, heading: float) -> None:
    """A chair whose seat centre is at (x, y); `heading` [deg] is where a sitter looks, 0 or 180."""
    view, turn, at = Scenery(), rotation("z", heading), np.array([x, y, 0.0])

    def part(low: Sequence[float], high: Sequence[float], surface: Surface) -> None:
        corners = np.array([low, high]) @ turn.T + at
        view.box(corners.min(0), corners.max(0), surface, 0.6)

    part((-0.20, -0.20, 0.435), (0.20, 0.20, 0.455), BEECH)
    part((-0.17, -0.17, 0.455), (0.19, 0.17, 0.46), SAGE)
    for i in (-0.175, 0.175):
        for j in (-0.175, 0.175):
            part((i - 0.016, j - 0.016, 0.0), (i + 0.016, j + 0.016, 0.435), BEECH)
    for j in (-0.175, 0.175):
        part((-0.195, j - 0.014, 0.455), (-0.165, j + 0.014, 0.86), BEECH)
    for z in (0.60, 0.68, 0.76):
        part((-0.19, -0.165, z), (-0.17, 0.165, z + 0.05), BEECH)
    view.write(name)


def bin_() -> None:
    """A pedal bin without its lid, hollow, 32 cm square and 54 cm high."""
    view = Scenery()
    x, y = -1.9, 0.6
    steel: Color = (0.70, 0.72, 0.73)
    view.box((x - 0.16, y - 0.16, 0.0), (x + 0.16, y + 0.16, 0.04), BLACK)
    for sign in (-1, 1):
        view.box((x - 0.16, y + sign * 0.15 - 0.008, 0.04), (x + 0.16, y + sign * 0.15 + 0.008, 0.52), steel)
        view.box((x + sign * 0.15 - 0.008, y - 0.14, 0.04), (x + sign * 0.15 + 0.008, y + 0.14, 0.52), steel)
        view.box((x - 0.16, y + sign * 0.15 - 0.01, 0.52), (x + 0.16, y + sign * 0.15 + 0.01, 0.54), BLACK)
        view.box((x + sign * 0.15 - 0.01, y - 0.14, 0.52), (x + sign * 0.15 + 0.01, y + 0.14, 0.54), BLACK)
    view.write("bin")


def cutting_board() -> None:
    """420 x 280 x 20 mm on the counter at (0.45, 1.75), with a juice groove and a hole."""
    view = Scenery()
    view.box((0.24, 1.61, 0.90), (0.66, 1.89, 0.92), BEECH, 0.5)
    for low, high in (
        ((0.26, 1.63), (0.64, 1.634)), ((0.26, 1.866), (0.64, 1.87)),
        ((0.26, 1.63), (0.264, 1.87)), ((0.636, 1.63), (0.64, 1.87)),
    ):  # fmt: skip
        view.box((low[0], low[1], 0.9195), (high[0], high[1], 0.9203), (0.62, 0.47, 0.31))
    view.write("cutting_board")


def knife_tray() -> None:
    """A flat tray 400 x 200 mm on the counter at (-0.35, 1.75)."""
    view = Scenery()
    view.box((-0.55, 1.65, 0.90), (-0.15, 1.85, 0.908), BRUSHED)
    view.box((-0.54, 1.66, 0.908), (-0.16, 1.84, 0.910), (0.25, 0.32, 0.36))
    view.write("knife_tray")


def kitchen() -> None:
    for make in (counter, dishwasher, fridge, room, shelf, hood, table, bin_, cutting_board, knife_tray):
        make()
    chair("chair_west", -0.62, -0.60, 0.0)
    chair("chair_east", 1.22, -0.60, 180.0)
