"""How people are dressed in pictures."""

from __future__ import annotations

from robotctl.body import CAPSULES

SKIN_DEPTH = 0.012  # pictures show the body this much thinner than its inflated capsules [m]

_SKIN = ((0.87, 0.67, 0.54), (0.55, 0.38, 0.27), (0.95, 0.78, 0.66), (0.72, 0.51, 0.37))
_SHIRT = ((0.78, 0.28, 0.24), (0.20, 0.45, 0.42), (0.93, 0.70, 0.25), (0.42, 0.36, 0.60))
_TROUSERS = ((0.20, 0.27, 0.42), (0.35, 0.30, 0.26), (0.24, 0.25, 0.28), (0.45, 0.47, 0.50))
_SHOES = (0.16, 0.14, 0.14)


def clothing(person: int) -> list[list[float]]:
    """Colour of each of a person's capsules, red, green, blue, alpha."""
    k = person % len(_SKIN)
    colors = []
    for capsule in CAPSULES:
        if capsule.name in ("head",) or "forearm" in capsule.name or "hand" in capsule.name:
            color = _SKIN[k]
        elif "thigh" in capsule.name or "shin" in capsule.name or capsule.name == "hips":
            color = _TROUSERS[k]
        elif "foot" in capsule.name:
            color = _SHOES
        else:
            color = _SHIRT[k]
        colors.append([*color, 1.0])
    return colors
