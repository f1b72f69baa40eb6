"""How pictures look: what people wear, where the light comes from, and the last touch on every picture."""

from __future__ import annotations

import numpy as np

from robotctl.body import CAPSULES

LIGHT = [1.5, -4.0, 6.0]  # direction towards the light
NOTHING = 0.999999  # depth beyond which a pixel shows the background
_SKY = np.array([[0.80, 0.86, 0.92], [0.96, 0.96, 0.95]])  # top and bottom of the background

_SKIN = ((0.87, 0.67, 0.54), (0.55, 0.38, 0.27), (0.95, 0.78, 0.66), (0.72, 0.51, 0.37))
_HAIR = ((0.24, 0.16, 0.11), (0.09, 0.08, 0.08), (0.62, 0.44, 0.24), (0.30, 0.28, 0.27))
_SHIRT = ((0.78, 0.28, 0.24), (0.20, 0.45, 0.42), (0.93, 0.70, 0.25), (0.42, 0.36, 0.60))
_TROUSERS = ((0.22, 0.29, 0.44), (0.35, 0.30, 0.26), (0.24, 0.25, 0.28), (0.45, 0.47, 0.50))
_SHOES = (0.16, 0.14, 0.14)


def garments(person: int) -> list[list[tuple[str, list[float]]]]:
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
        shown = [(mesh, [*color, 1.0])]
        if mesh == "head":
            shown.append(("hair", [*_HAIR[k], 1.0]))
        parts.append(shown)
    return parts


def finish(color: np.ndarray, depth: np.ndarray) -> np.ndarray:
    """A background where there is nothing, and two by two pixels averaged to one.

    color (2h, 2w, 3) uint8, depth (2h, 2w) between 0 and 1 -> (h, w, 3) uint8.
    """
    height, width = depth.shape
    image = color / 255.0
    share = np.linspace(0.0, 1.0, height)[:, None]
    background = (1 - share) * _SKY[0] + share * _SKY[1]
    image = np.where((depth > NOTHING)[:, :, None], background[:, None, :], image)
    image = image.reshape(height // 2, 2, width // 2, 2, 3).mean((1, 3))
    return np.round(255 * np.clip(image, 0.0, 1.0)).astype(np.uint8)
