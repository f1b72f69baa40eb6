"""This file turns joint angles into the poses of the robot's bodies, and knows their surfaces.

The judge's own table: the Panda's modified Denavit-Hartenberg parameters (Craig's convention) as published by
Franka Emika, on a base that slides in x and y and turns. The filter and the planner use another table and other
formulas; tests compare them.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numba import njit

from robotctl.judge.surface import (
    Surface,
    box_vertices,
    cylinder_points,
    hull_points,
    obj_vertices,
    panda_mesh,
    surface,
)

BODIES = ("base", "link1", "link2", "link3", "link4", "link5", "link6", "link7", "hand", "left_finger", "right_finger")
HAND = BODIES.index("hand")
FINGERS = (BODIES.index("left_finger"), BODIES.index("right_finger"))
PADS = ("panda_leftpad", "panda_rightpad")  # names of the links that press on what is held
FOOT = 0.40  # [m] height of the arm's foot
FLANGE = 0.107  # [m] from link 7 to the hand
FINGER = 0.0584  # [m] from the hand to the finger joint
A = np.array([0.0, 0.0, 0.0, 0.0825, -0.0825, 0.0, 0.088])  # [m] along the previous x
D = np.array([0.333 + FOOT, 0.0, 0.316, 0.0, 0.384, 0.0, 0.0])  # [m] along the own z
ALPHA = np.array([0.0, -1.0, 1.0, 1.0, -1.0, 1.0, 1.0]) * np.pi / 2  # about the previous x
LOW = np.array([-10, -10, -20, -2.8973, -1.7628, -2.8973, -3.0718, -2.8973, -0.0175, -2.8973])
HIGH = np.array([10, 10, 20, 2.8973, 1.7628, 2.8973, -0.0698, 2.8973, 3.7525, 2.8973])
# The shapes that a finger collides with, which stand out a little from its mesh: centre and size of boxes, and of the
# pad, in the frame of the left finger [m]. The right one is turned by half a turn.
FINGER_BOXES = (
    ((0.0, 0.0080, 0.0450), (0.0175, 0.0120, 0.0176)),
    ((0.0, 0.0145, 0.0270), (0.0190, 0.0130, 0.0200)),
    ((0.0, 0.0145, 0.0095), (0.0208, 0.0238, 0.0190)),
    ((0.0, 0.0030, 0.0445), (0.0165, 0.0060, 0.0160)),
)
FASTEST = np.array([0.8, 0.8, 1.5, 2.175, 2.175, 2.175, 2.175, 2.61, 2.61, 2.61])  # [m/s, rad/s]


@njit(cache=True)
def poses(q: np.ndarray, opening: np.ndarray) -> np.ndarray:
    """Poses (K, 11, 3, 4), rotation and origin, of all bodies for q (K, 10) and finger opening (K,)."""
    steps = q.shape[0]
    out = np.zeros((steps, 11, 3, 4))
    for k in range(steps):
        c, s = np.cos(q[k, 2]), np.sin(q[k, 2])
        T = np.array([[c, -s, 0.0, q[k, 0]], [s, c, 0.0, q[k, 1]], [0.0, 0.0, 1.0, 0.0], [0.0, 0.0, 0.0, 1.0]])
        out[k, 0] = T[:3]
        for i in range(7):
            ca, sa = np.cos(ALPHA[i]), np.sin(ALPHA[i])
            ct, st = np.cos(q[k, 3 + i]), np.sin(q[k, 3 + i])
            step = np.array(
                [
                    [ct, -st, 0.0, A[i]],
                    [st * ca, ct * ca, -sa, -sa * D[i]],
                    [st * sa, ct * sa, ca, ca * D[i]],
                    [0.0, 0.0, 0.0, 1.0],
                ]
            )
            T = T @ step
            out[k, 1 + i] = T[:3]
        r = np.sqrt(0.5)  # the hand is turned by -45 degrees on the flange
        flange = np.array([[r, r, 0.0, 0.0], [-r, r, 0.0, 0.0], [0.0, 0.0, 1.0, FLANGE], [0.0, 0.0, 0.0, 1.0]])
        T = T @ flange
        out[k, 8] = T[:3]
        for side in range(2):
            out[k, 9 + side] = T[:3]
            shift = 0.5 * opening[k] if side == 0 else -0.5 * opening[k]
            for i in range(3):
                out[k, 9 + side, i, 3] += T[i, 1] * shift + T[i, 2] * FINGER
    return out


@lru_cache(maxsize=1)
def surfaces() -> tuple[Surface, ...]:
    """Surface of every body, in the order of BODIES."""
    foot = hull_points(obj_vertices(panda_mesh("link0"))) + np.array([0.0, 0.0, FOOT])
    disc = cylinder_points(0.24, 0.28, 0.016) + np.array([0.0, 0.0, 0.16])
    column = cylinder_points(0.10, 0.10, 0.012) + np.array([0.0, 0.0, 0.35])
    arm = [hull_points(obj_vertices(panda_mesh(f"link{i}"))) for i in range(1, 8)]
    hand = hull_points(obj_vertices(panda_mesh("hand")))
    finger = np.concatenate([hull_points(box_vertices(np.array(size))) + center for center, size in FINGER_BOXES])
    clouds = [np.concatenate([disc, column, foot]), *arm, hand, finger, finger * [-1.0, -1.0, 1.0]]
    return tuple(surface(cloud) for cloud in clouds)
