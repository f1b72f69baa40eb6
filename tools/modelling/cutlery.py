"""Fork, knives and the cucumbers that wait for them."""

from __future__ import annotations

import numpy as np

from modelling.solids import Mesh, Solid, bent_strip, box, join, lathe, prism, rotation, rounded_bar
from modelling.writing import box_shape, hull_shape, write_object

STEEL, DARK_STEEL = (0.78, 0.79, 0.81), (0.45, 0.46, 0.48)
DARK_WOOD, BLACK = (0.36, 0.22, 0.13), (0.10, 0.10, 0.11)
RIND, FLESH = (0.22, 0.45, 0.16), (0.80, 0.88, 0.62)
MARGIN = 0.001  # the engine collides this far outside a convex mesh [m]


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


def kitchen_knife() -> None:
    """A knife that stands on the flat of its broad handle, 250 mm long, its edge 1 mm above what it stands on."""
    low, high = [(0.0, -0.013), (0.110, -0.013), (0.115, -0.010)], [(0.115, 0.010), (0.110, 0.013), (0.0, 0.013)]
    handle = prism([*low, *high], 0.028).moved((-0.135, 0.0, 0.0))
    outline = [(-0.020, 0.001), (0.085, 0.001), (0.105, 0.008), (0.115, 0.018), (0.100, 0.030), (0.070, 0.036)]
    upright = rotation("x", 90.0)
    blade = prism([*outline, (-0.020, 0.036)], 0.0024).moved((0.0, 0.0012, 0.0), upright)
    rivets = [
        lathe([(0.0, 0.0), (0.0035, 0.0), (0.0035, 0.0264), (0.0, 0.0264)], 16).moved((x, 0.0132, 0.014), upright)
        for x in (-0.115, -0.083, -0.051)
    ]
    bolster = box((-0.0215, 0.0, 0.0155), (0.007, 0.022, 0.027))
    solids = [
        Solid(handle, BLACK, 0.150),
        Solid(join([blade, bolster]), STEEL, 0.070),
        Solid(join(rivets), DARK_STEEL, 0.0),
    ]
    # A wedge: 0.2 mm at the edge and 1 mm at the back, and the engine's margin around it.
    edge = [(-0.017, 0.001 + MARGIN), (0.085, 0.001 + MARGIN), (0.112, 0.018)]
    back = [(0.112, 0.020), (0.070, 0.035), (-0.017, 0.035)]
    rims = [(x, side * half, z) for rim, half in ((edge, 1e-4), (back, 5e-4)) for x, z in rim for side in (-1, 1)]
    collision = [
        box_shape((-0.0775, 0.0, 0.014), (0.115, 0.026, 0.028)),
        hull_shape("kitchen_knife_blade", np.array(rims)),
    ]
    write_object("kitchen_knife", solids, collision)


def cucumber_pieces() -> None:
    """The end and the middle of a cucumber along x, 44 mm thick, each 80 mm long; an end's cut face looks along x."""
    tip = [(0.02, 0.30), (0.08, 0.62), (0.20, 0.86), (0.40, 0.98), (0.55, 1.0), (1.0, 1.0)]
    for name, profile, faces in (
        ("cucumber_end", tip, (1,)),
        ("cucumber_middle", [(0.0, 1.0), (1.0, 1.0)], (-1, 1)),
    ):
        body = rounded_bar(0.080, 0.044, 0.044, profile).moved((-0.040, 0.0, 0.022))
        solids = [Solid(body, RIND, 0.12), Solid(join([_slice(side) for side in faces]), FLESH, 0.0)]
        write_object(name, solids, [hull_shape(f"{name}_hull", _piece_hull(faces))])


def _slice(side: int) -> Mesh:
    """What a cut face shows: flesh within the rind."""
    disc = lathe([(0.0, 0.0), (0.0200, 0.0), (0.0200, 0.0003), (0.0, 0.0003)], 32)
    return disc.moved((side * 0.040 - 0.00015, 0.0, 0.022), rotation("y", 90.0))


def _piece_hull(faces: tuple[int, ...]) -> np.ndarray:
    """Vertices of an eight-sided piece: towards a cut face it narrows, so that a blade beside a seam sinks into it."""
    out = []
    for side in (-1, 1):
        rings = ((0.033, 0.022), (0.040 - MARGIN, 0.014)) if side in faces else ((0.012, 0.022), (0.036, 0.012))
        for x, half in rings:
            corner = (half - MARGIN) / np.cos(np.pi / 8)
            for angle in (np.arange(8) + 0.5) * np.pi / 4:
                out.append((side * x, corner * np.cos(angle), 0.022 + corner * np.sin(angle)))
    return np.array(out)
