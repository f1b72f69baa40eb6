"""Cup, bowl, plate and pot."""

from __future__ import annotations

import numpy as np

from modelling.solids import Solid, arc, box, lathe
from modelling.writing import box_shape, octagon, wall_ring, write_object

GLAZE, CLAY, CREAM, WHITE = (0.16, 0.42, 0.60), (0.80, 0.42, 0.24), (0.93, 0.90, 0.82), (0.93, 0.93, 0.91)
STEEL, BLACK, SOUP = (0.76, 0.77, 0.79), (0.09, 0.09, 0.10), (0.72, 0.47, 0.22)


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


def pot() -> None:
    """A steel pot of 4 litres, two thirds full of soup: 220 mm wide, 130 mm high, two handles, 4 kg.

    The soup has mass and looks, but no collision shape: fingers may dip into it. It moves with the pot.
    """
    outer, inner, height, level = 0.110, 0.106, 0.130, 0.082
    profile = [(0.0, 0.0), (0.100, 0.0), *arc((0.100, 0.010), 0.010, -90, 0, 5)[1:], (outer, height - 0.004)]
    profile += [*arc((0.1095, height - 0.002), 0.002, -60, 180, 7), (inner, height - 0.006)]
    profile += [(inner, 0.014), *arc((0.098, 0.014), 0.008, 0, -90, 4)[1:], (0.0, 0.006)]
    soup = [(0.0, 0.0065), (0.098, 0.0065), (0.1055, 0.014), (0.1055, level), (0.0, level)]
    handles, shapes = [], []
    for side in (-1.0, 1.0):
        parts = [((side * 0.1215, y, 0.084), (0.027, 0.012, 0.010)) for y in (-0.036, 0.036)]
        parts.append(((side * 0.1385, 0.0, 0.084), (0.011, 0.084, 0.012)))
        handles += [Solid(box(center, size), BLACK, 0.02) for center, size in parts]
        shapes += [box_shape(center, size) for center, size in parts]
    solids = [Solid(lathe(profile), STEEL, 1.28), Solid(lathe(soup), SOUP, 2.6), *handles]
    write_object("pot", solids, [*octagon(0.104, 0.0, 0.008), *wall_ring(outer, 0.004, 0.004, height), *shapes])
