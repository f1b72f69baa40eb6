"""This file says what people wear."""

from __future__ import annotations

from robotctl.body import CAPSULES
from robotctl.drawing.shapes import Color

_SKIN = ((0.87, 0.67, 0.54), (0.55, 0.38, 0.27), (0.95, 0.78, 0.66), (0.72, 0.51, 0.37))
_HAIR = ((0.24, 0.16, 0.11), (0.09, 0.08, 0.08), (0.62, 0.44, 0.24), (0.30, 0.28, 0.27))
_SHIRT = ((0.78, 0.28, 0.24), (0.20, 0.45, 0.42), (0.93, 0.70, 0.25), (0.42, 0.36, 0.60))
_TROUSERS = ((0.22, 0.29, 0.44), (0.35, 0.30, 0.26), (0.24, 0.25, 0.28), (0.45, 0.47, 0.50))
_SHOES = (0.16, 0.14, 0.14)


def garments(person: int) -> list[list[tuple[str, Color]]]:
    """For each of a person's capsules: the meshes that show it (scenes/assets/meshes/person_*.obj), with colours."""
    k = person % len(_SKIN)
    parts = []
    for capsule in CAPSULES:
        mesh = capsule.name.removeprefix("right_").removeprefix("left_")
        color = {
            "head": _SKIN, "forearm": _SKIN, "hand": _SKIN, "hips": _TROUSERS, "thigh": _TROUSERS, "shin": _TROUSERS,
        }.get(mesh, _SHIRT)[k]  # fmt: skip
        if mesh == "foot":
            color = _SHOES
        shown = [(mesh, color)]
        if mesh == "head":
            shown.append(("hair", _HAIR[k]))
        parts.append(shown)
    return parts
