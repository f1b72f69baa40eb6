"""Things that the fingers cannot take from above, and so push: mug, jar, tin, butter dish, book, loaf."""

from __future__ import annotations

import numpy as np

from modelling.solids import Solid, arc, box, lathe, prism
from modelling.writing import box_shape, octagon, wall_ring, write_object

RED, DARK, GLASS, LABEL = (0.72, 0.20, 0.18), (0.22, 0.22, 0.24), (0.78, 0.52, 0.22), (0.95, 0.93, 0.86)
TIN, TEAL, CREAM, WOOD = (0.74, 0.75, 0.77), (0.16, 0.46, 0.48), (0.93, 0.90, 0.82), (0.62, 0.44, 0.28)
COVER, PAPER, CRUST = (0.24, 0.30, 0.52), (0.94, 0.92, 0.86), (0.72, 0.47, 0.22)


def pantry() -> None:
    for make in (mug, jar, tin, butter_dish, book, loaf):
        make()


def mug() -> None:
    """A travel mug with its lid on: 86 mm wide, 6 mm more than the hand opens, with a handle that stands out 33 mm."""
    radius, height = 0.043, 0.092
    body = [(0.0, 0.0), (0.036, 0.0), *arc((0.036, 0.007), 0.007, -90, 0, 5)[1:], (radius, 0.03), (radius, 0.082)]
    lid = [(0.0, 0.082), (radius, 0.082), (radius, 0.088), *arc((0.039, 0.088), 0.004, 0, 90, 5)[1:], (0.0, height)]
    handle = [box((0.0545, 0, z), (0.027, 0.012, 0.010)) for z in (0.024, 0.066)]
    handle.append(box((0.071, 0, 0.045), (0.010, 0.012, 0.052)))
    solids = [Solid(lathe(body), RED, 0.28), Solid(lathe(lid), DARK, 0.04)]
    solids += [Solid(mesh, RED, mass) for mesh, mass in zip(handle, (0.008, 0.008, 0.014), strict=True)]
    collision = [*octagon(0.040, 0.0, 0.006), *wall_ring(radius, 0.02, 0.004, height)]
    collision += [box_shape((0.0545, 0, z), (0.027, 0.012, 0.010)) for z in (0.024, 0.066)]
    collision.append(box_shape((0.071, 0, 0.045), (0.010, 0.012, 0.052)))
    write_object("mug", solids, collision)


def jar() -> None:
    """A full jar of honey: 100 mm wide, 110 mm high, 0.7 kg."""
    radius = 0.050
    glass = [(0.0, 0.0), (0.044, 0.0), *arc((0.044, 0.006), 0.006, -90, 0, 5)[1:], (radius, 0.082)]
    glass += [*arc((0.042, 0.082), 0.008, 0, 80, 4)[1:], (0.040, 0.092), (0.0, 0.092)]
    cap = [(0.0, 0.0925), (0.044, 0.0925), (0.044, 0.108), (0.042, 0.110), (0.0, 0.110)]
    band = lathe([(radius - 1e-3, 0.022), (radius + 4e-4, 0.022), (radius + 4e-4, 0.066), (radius - 1e-3, 0.066)])
    solids = [Solid(lathe(glass), GLASS, 0.66), Solid(lathe(cap), DARK, 0.04), Solid(band, LABEL, 0.0)]
    write_object("jar", solids, [*octagon(0.046, 0.0, 0.006), *wall_ring(radius, 0.025, 0.004, 0.086)])


def tin() -> None:
    """A six-sided tea tin: 104 mm across its corners, 80 mm high, light."""
    corners = [(0.052 * float(np.cos(a)), 0.052 * float(np.sin(a))) for a in np.deg2rad(60.0 * np.arange(6))]
    lid = [(1.02 * x, 1.02 * y) for x, y in corners]
    solids = [
        Solid(prism(corners, 0.066), TEAL, 0.15),
        Solid(prism(lid, 0.014).moved((0, 0, 0.066)), TIN, 0.05),
    ]
    size = (2 * 0.052 * float(np.cos(np.pi / 6)), 0.052, 0.080)  # three crossed boxes make a hexagon's prism
    collision = [box_shape((0, 0, 0.040), size, (0.0, 0.0, a)) for a in np.deg2rad([30.0, 90.0, 150.0])]
    write_object("tin", solids, collision)


def butter_dish() -> None:
    """A butter dish: a board of 180 x 100 mm with a cover, 55 mm high."""
    solids = [
        Solid(box((0, 0, 0.007), (0.180, 0.100, 0.014)), WOOD, 0.20),
        Solid(box((0, 0, 0.033), (0.150, 0.082, 0.038)), CREAM, 0.25),
        Solid(box((0, 0, 0.0535), (0.040, 0.020, 0.003)), CREAM, 0.01),
    ]
    collision = [
        box_shape((0, 0, 0.007), (0.180, 0.100, 0.014)),
        box_shape((0, 0, 0.0345), (0.150, 0.082, 0.041)),
    ]
    write_object("butter_dish", solids, collision)


def book() -> None:
    """A cookbook of 210 x 148 x 26 mm, lying flat."""
    solids = [
        Solid(box((0.003, 0, 0.013), (0.200, 0.140, 0.020)), PAPER, 0.45),
        Solid(box((0, 0, 0.0015), (0.210, 0.148, 0.003)), COVER, 0.06),
        Solid(box((0, 0, 0.0245), (0.210, 0.148, 0.003)), COVER, 0.06),
        Solid(box((-0.1035, 0, 0.013), (0.003, 0.148, 0.020)), COVER, 0.03),
    ]
    write_object("book", solids, [box_shape((0, 0, 0.013), (0.210, 0.148, 0.026))])


def loaf() -> None:
    """A loaf of bread, baked in a tin: 150 x 76 mm, 70 mm high at its rounded top."""
    side = [(0.038, 0.0), (0.038, 0.052), *arc((0.0, 0.040), 0.030, 20, 160, 9), (-0.038, 0.052), (-0.038, 0.0)]
    crust = prism(side, 0.150)
    along_x = np.array([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    solids = [Solid(crust.moved((-0.075, 0.0, 0.0), along_x), CRUST, 0.42)]
    write_object("loaf", solids, [box_shape((0, 0, 0.029), (0.150, 0.076, 0.058))])
