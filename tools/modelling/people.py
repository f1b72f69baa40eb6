"""How people look: solids of revolution about each body part's axis, one unit long, that fit inside its capsule."""

from __future__ import annotations

import numpy as np

from modelling.solids import Mesh, lathe
from modelling.writing import ASSETS, SURFACES, write_obj


def limb(start: float, end: float, length: float, bulge: float = 0.0) -> Mesh:
    """A tapered limb with round ends; radii and usual length in metres, z from -0.5 to 0.5 between the joints."""
    angle = np.deg2rad(np.linspace(-90, -15, 5))
    profile = [(start * np.cos(a), start * np.sin(a) / length) for a in angle]
    for u in (0.2, 0.4, 0.6, 0.8):
        profile.append((start + u * (end - start) + bulge * np.sin(np.pi * u), u))
    profile += [(end * np.cos(a), 1 + end * np.sin(a) / length) for a in -angle[::-1]]
    profile[0], profile[-1] = (0.0, profile[0][1]), (0.0, profile[-1][1])
    return lathe([(float(r), float(z) - 0.5) for r, z in profile], 20)


def head() -> tuple[Mesh, Mesh]:
    """Head with neck, and hair; the axis runs from the middle of the head (-0.5) to the base of the neck (0.5)."""
    angle = np.deg2rad(np.linspace(0, 140, 12))
    skull = [(0.078 * np.sin(a), -0.64 * np.cos(a)) for a in angle]
    skull += [(0.047, 0.62), (0.050, 0.95), (0.062, 1.08), (0.0, 1.1)]
    top = np.deg2rad(np.linspace(0, 82, 8))
    hair = [(0.086 * np.sin(a), -0.70 * np.cos(a)) for a in top] + [(0.078, -0.05), (0.0, -0.05)]
    return tuple(lathe([(float(r), float(z) - 0.5) for r, z in shape], 24) for shape in (skull, hair))  # type: ignore[return-value]


def torso() -> Mesh:
    """Neck to pelvis."""
    shape = [(0.0, -0.03), (0.062, -0.015), (0.112, 0.05), (0.140, 0.16), (0.142, 0.36), (0.126, 0.62), (0.128, 0.80),
             (0.140, 0.98), (0.141, 1.06), (0.0, 1.07)]  # fmt: skip
    return lathe([(r, z - 0.5) for r, z in shape], 28)


def people() -> None:
    SURFACES.append((1.0, 1.0, 1.0))  # the simulator gives each person colours of their own
    skull, hair = head()
    meshes = {
        "head": skull,
        "hair": hair,
        "torso": torso(),
        "chest": limb(0.064, 0.064, 0.366, 0.020),
        "hips": limb(0.088, 0.088, 0.17, 0.012),
        "upper_arm": limb(0.060, 0.044, 0.275),
        "forearm": limb(0.043, 0.032, 0.26, 0.004),
        "hand": limb(0.034, 0.036, 0.09, 0.004),
        "thigh": limb(0.082, 0.062, 0.42),
        "shin": limb(0.058, 0.042, 0.41, 0.008),
        "foot": limb(0.045, 0.042, 0.09),
    }
    for name, mesh in meshes.items():
        write_obj(ASSETS / "meshes" / f"person_{name}.obj", mesh, "cffffff")
