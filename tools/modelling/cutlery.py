"""Fork, knife and the cucumber that waits for it."""

from __future__ import annotations

import numpy as np

from modelling.solids import Solid, bent_strip, box, join, lathe, prism, rotation, rounded_bar
from modelling.writing import box_shape, write_object

STEEL, DARK_STEEL = (0.78, 0.79, 0.81), (0.45, 0.46, 0.48)
DARK_WOOD, BLACK = (0.36, 0.22, 0.13), (0.10, 0.10, 0.11)


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
