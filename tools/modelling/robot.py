"""The mobile Panda."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from modelling.solids import Solid, box, join, lathe, rotation
from modelling.writing import ASSETS, Link, box_shape, inertial, joint, mesh_visual, origin, sphere_shape, write_urdf

# Mass, centre, inertia about the centre (xx, yy, zz, xy, xz, yz) of the arm's links: Gaz, Cognetti, Oliva, Robuffo
# Giordano, De Luca 2019, "Dynamic identification of the Franka Emika Panda robot with retrieval of feasible
# parameters using penalty-based optimization", as published with Franka's own description of the arm.
ARM_INERTIA = (
    (0.629769, (-0.041018, -0.00014, 0.049974), (3.15e-3, 3.88e-3, 4.285e-3, 8.2904e-7, 1.5e-4, 8.2299e-6)),
    (4.970684, (3.875e-3, 2.081e-3, -0.04762), (0.70337, 0.70661, 9.117e-3, -1.39e-4, 6.772e-3, 0.019169)),
    (0.646926, (-3.141e-3, -0.02872, 3.495e-3), (7.962e-3, 0.02811, 0.025995, -3.925e-3, 0.010254, 7.04e-4)),
    (3.228604, (0.027518, 0.039252, -0.066502), (0.037242, 0.036155, 0.01083, -4.761e-3, -0.011396, -0.012805)),
    (3.587895, (-0.05317, 0.104419, 0.027454), (0.025853, 0.019552, 0.028323, 7.796e-3, -1.332e-3, 8.641e-3)),
    (1.225946, (-0.011953, 0.041065, -0.038437), (0.035549, 0.029474, 8.627e-3, -2.117e-3, -4.037e-3, 2.29e-4)),
    (1.666555, (0.060149, -0.014117, -0.010517), (1.964e-3, 4.354e-3, 5.433e-3, 1.09e-4, -1.158e-3, 3.41e-4)),
    (0.735522, (0.010517, -4.252e-3, 0.061597), (0.012516, 0.010027, 4.815e-3, -4.28e-4, -1.196e-3, -7.41e-4)),
)  # fmt: skip
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


# Parent-from-joint transforms of joints 1..7 (roll [rad], x, y, z [m]), position limits [rad], torque [N m] and speed
# [rad/s] limits: Franka Emika, "Robot and interface specifications" (Panda).
HALF_PI = np.pi / 2
ARM_JOINTS = (
    ((0, 0, 0, 0.333), (-2.8973, 2.8973), 87, 2.175),
    ((-HALF_PI, 0, 0, 0), (-1.7628, 1.7628), 87, 2.175),
    ((HALF_PI, 0, -0.316, 0), (-2.8973, 2.8973), 87, 2.175),
    ((HALF_PI, 0.0825, 0, 0), (-3.0718, -0.0698), 87, 2.175),
    ((-HALF_PI, -0.0825, 0.384, 0), (-2.8973, 2.8973), 12, 2.61),
    ((HALF_PI, 0, 0, 0), (-0.0175, 3.7525), 12, 2.61),
    ((HALF_PI, 0.088, 0, 0), (-2.8973, 2.8973), 12, 2.61),
)
# The finger's hull as three boxes (centre, size): the tip behind its pad, the sloping middle, the carriage.
FINGER_BOXES = (
    ((0.0, 0.008, 0.045), (0.0175, 0.012, 0.0176)),
    ((0.0, 0.0145, 0.027), (0.019, 0.013, 0.020)),
    ((0.0, 0.0145, 0.0095), (0.0208, 0.0238, 0.019)),
)
# A pad stands 2 mm out of the finger and ends 1.3 mm above its tip: what the finger comes down on meets something hard.
# It is 16.5 x 16 mm, and touches with four bumps in its corners. A box against a fork's handle, watched step by step,
# now and then lost contact points that carried a third of the load (probably as the engine keeps four of up to eight):
# the fork twisted into the gap and back at 0.2 m/s. A bump always has one contact.
PAD_CENTER = (0.0, 0.003, 0.0445)
BUMPS = [(x, 0.0015, z) for x in (-0.00675, 0.00675) for z in (0.038, 0.051)]
BUMP_RADIUS = 0.0015
RIGID = '    <contact><lateral_friction value="1.0"/><spinning_friction value="0.006"/></contact>'
# Rubber: held by the friction cone alone, a 0.2 kg cup slips from 2 N of grip (0.5 * 2 * 2 N < 0.2 kg * g) and is held
# by 4 N. It gives by 35 N / 120 kN/m = 0.3 mm. Between rigid pads the engine's contact points change places under full
# load, and what is held jumps by a millimetre in one step; its solver leaves a creep of 1 mm/s as well, against
# 0.1 mm/s between soft ones. PyBullet's friction anchors would take that out too, but once in hours one of them springs
# and throws what is held.
# A pad that gives lies against a curved wall with a patch, not with points, and withstands tilting: by at most the
# force times half the pad, 8 mm. "Rolling" friction stands for it: 15 mm times the other's friction of 0.5 to 0.6.
# Without it plates and cups rock between the bumps at up to 0.3 m/s.
RUBBER = (
    '    <contact><lateral_friction value="1.0"/><spinning_friction value="0.006"/>'
    '<rolling_friction value="0.015"/><stiffness value="30000"/><damping value="30"/></contact>'
)


def base() -> tuple[list[str], list[str]]:
    """Links and joints of the holonomic base: 50 kg, round, with a column that the arm stands on."""
    drum = [(0.0, 0.05), (0.20, 0.05), (0.235, 0.08), (0.24, 0.10), (0.24, 0.235), (0.225, 0.275), (0.19, 0.297)]
    column = [(0.0, 0.295), (0.13, 0.295), (0.105, 0.315), (0.10, 0.34), (0.10, 0.388), (0.094, 0.40), (0.0, 0.40)]
    skirt = lathe([(0.0, 0.02), (0.21, 0.02), (0.21, 0.052), (0.0, 0.052)], 48)
    light = lathe([(0.20, 0.118), (0.2415, 0.118), (0.2415, 0.132), (0.20, 0.132)], 64)
    wheels = [
        lathe([(0.0, -0.02), (0.05, -0.02), (0.05, 0.02), (0.0, 0.02)], 24).moved(
            (0.15 * np.cos(a), 0.15 * np.sin(a), 0.05), rotation("z", np.rad2deg(a)) @ rotation("y", 90.0)
        )
        for a in (np.pi / 4, 3 * np.pi / 4, 5 * np.pi / 4, 7 * np.pi / 4)
    ]
    body = Link(
        "base",
        [
            Solid(lathe([*drum, (0.0, 0.30)], 64), (0.88, 0.89, 0.90), 38.0),
            Solid(join([skirt, *wheels]), (0.16, 0.17, 0.19), 8.0),
            Solid(lathe(column, 40), (0.30, 0.32, 0.35), 4.0),
            Solid(light, (0.20, 0.72, 0.78), 0.0),
            Solid(box((0.232, 0.0, 0.205), (0.022, 0.12, 0.045)), (0.08, 0.09, 0.10), 0.0),
        ],
        [
            f'{origin((0, 0, 0.16))}<geometry><cylinder radius="0.24" length="0.28"/></geometry>',
            f'{origin((0, 0, 0.35))}<geometry><cylinder radius="0.10" length="0.10"/></geometry>',
        ],
    )
    slide = inertial(0.5, (0.0, 0.0, 0.1), 1e-3 * np.eye(3))
    links = [f'  <link name="{name}">\n{slide}\n  </link>' for name in ("floor_mount", "slide_x", "slide_y")]
    links.append(body.xml(ASSETS, "robot"))
    limit = '<limit effort="2000" lower="-20" upper="20" velocity="2"/>'
    joints = [
        joint("base_x", "prismatic", "floor_mount", "slide_x", origin((0, 0, 0)), "1 0 0", limit),
        joint("base_y", "prismatic", "slide_x", "slide_y", origin((0, 0, 0)), "0 1 0", limit),
        joint("base_yaw", "continuous", "slide_y", "base", origin((0, 0, 0)), "0 0 1"),
        joint("arm_foot", "fixed", "base", "panda_link0", origin((0, 0, 0.40))),
    ]
    return links, joints


def arm() -> tuple[list[str], list[str]]:
    """Links 0..7 of the Panda and the joints between them."""
    links, joints = [], []
    for k, inertia in enumerate(ARM_INERTIA):
        shapes = franka_shapes(f"link{k}", "visual" if 0 < k < 7 else "collision")
        links.append(arm_link(f"panda_link{k}", inertia, shapes))
    for k, ((roll, x, y, z), (low, high), effort, speed) in enumerate(ARM_JOINTS, 1):
        limit = f'<limit effort="{effort}" lower="{low}" upper="{high}" velocity="{speed}"/>'
        at = f'<origin xyz="{x} {y} {z}" rpy="{roll:.17g} 0 0"/>'
        joints.append(joint(f"panda_joint{k}", "revolute", f"panda_link{k - 1}", f"panda_link{k}", at, "0 0 1", limit))
    return links, joints


def hand() -> tuple[list[str], list[str]]:
    """The Panda's hand with two fingers that slide along its y axis."""
    links = [arm_link("panda_hand", HAND_INERTIA, franka_shapes("hand", "visual"))]
    at = f'<origin xyz="0 0 0.107" rpy="0 0 {-np.pi / 4:.17g}"/>'
    joints = [joint("panda_hand_joint", "fixed", "panda_link7", "panda_hand", at)]
    mass, (cx, cy, cz), tensor = FINGER_INERTIA
    limit = '<limit effort="100" lower="0" upper="0.04" velocity="0.2"/>'
    for number, (side, sign) in enumerate((("left", 1), ("right", -1)), 1):
        name = f"panda_{side}finger"
        turn = origin((0, 0, 0), (0.0, 0.0, 0.0 if sign > 0 else np.pi))
        visual = f'    <visual>{turn}<geometry><mesh filename="{FRANKA}/visual/finger.obj"/></geometry></visual>'
        shapes = [f"    <collision>{box_shape((x, sign * y, z), size)}</collision>" for (x, y, z), size in FINGER_BOXES]
        links.append(arm_link(name, (mass, (cx, sign * cy, cz), tensor), [RIGID, visual, *shapes]))
        x, y, z = PAD_CENTER
        bumps = [sphere_shape((u, sign * v, w), BUMP_RADIUS) for u, v, w in BUMPS]
        pad = [RUBBER, *(f"    <collision>{bump}</collision>" for bump in bumps)]
        links.append(arm_link(f"panda_{side}pad", (0.005, (x, sign * y, z), (1e-6, 1e-6, 1e-6, 0.0, 0.0, 0.0)), pad))
        joints.append(joint(f"panda_{side}pad_joint", "fixed", name, f"panda_{side}pad", origin((0, 0, 0))))
        at, axis = origin((0, 0, 0.0584)), f"0 {sign} 0"
        joints.append(joint(f"panda_finger_joint{number}", "prismatic", "panda_hand", name, at, axis, limit))
    return links, joints


def robot() -> None:
    """The whole robot; meshes of the arm are found in pybullet_data when it is loaded."""
    parts = (base(), arm(), hand())
    links = [link for some, _ in parts for link in some]
    joints = [joint for _, some in parts for joint in some]
    write_urdf(ASSETS / "robot.urdf", "mobile_panda", links, joints)
