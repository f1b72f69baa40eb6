"""This file turns recorders' names of joints into our keypoints."""

from __future__ import annotations

import re
from collections.abc import Iterable

# Other recorders' names for our keypoints, without case, separators and side.
_ALIASES = {
    "shoulder": "shoulder", "arm": "shoulder", "upperarm": "shoulder", "uparm": "shoulder",
    "elbow": "elbow", "forearm": "elbow", "lowerarm": "elbow", "lowarm": "elbow",
    "wrist": "wrist", "handwrist": "wrist",
    "hand": "hand", "fingertip": "hand", "handtip": "hand", "palm": "hand",
    "hip": "hip", "upleg": "hip", "upperleg": "hip", "thigh": "hip",
    "knee": "knee", "leg": "knee", "lowerleg": "knee", "lowleg": "knee", "shin": "knee",
    "ankle": "ankle", "foot": "ankle",
    "toe": "toe", "toebase": "toe", "toes": "toe", "foottip": "toe",
}  # fmt: skip
_CENTRE = {
    "head": "head", "nose": "head", "neck": "neck", "chest": "chest", "spine": "chest", "spine1": "chest",
    "spine2": "chest", "torso": "chest", "thorax": "chest", "pelvis": "pelvis", "hips": "pelvis", "root": "pelvis",
    "midhip": "pelvis",
}  # fmt: skip
_COLLAR = "shoulder"  # whoever has an 'arm' as well means the collar bone by it (Mixamo, CMU, Xsens)
_LONGEST = 100  # characters of a name that is looked at


def keypoint_of(name: str) -> str | None:
    """Our keypoint for a recorder's joint name, or None: 'RightForeArm', 'r_elbow', 'elbow.R' -> 'right_elbow'."""
    return _read(name)[0]


def joints_of_keypoints(names: Iterable[str]) -> dict[str, int]:
    """Which of the joints stands for which keypoint; the first of several, but an arm before a collar bone."""
    found: dict[str, tuple[int, str]] = {}
    for i, name in enumerate(names):
        keypoint, word = _read(name)
        if keypoint is not None and (keypoint not in found or (found[keypoint][1] == _COLLAR != word)):
            found[keypoint] = i, word
    return {keypoint: i for keypoint, (i, _) in found.items()}


def _read(name: str) -> tuple[str | None, str]:
    """The keypoint, and the recorder's word for it without the side. 'mixamorig:LeftArm' is a 'LeftArm'."""
    name = name[-_LONGEST:].rpartition(":")[2]
    words = re.sub(r"[^a-z0-9]+", " ", re.sub(r"([a-z])([A-Z])", r"\1 \2", name).lower()).split()
    side = ""
    for word, full in (("right", "right"), ("left", "left"), ("r", "right"), ("l", "left")):
        if not side and word in words:
            side = full
            words.remove(word)
    joined = "".join(words)
    if not side and joined in _CENTRE:
        return _CENTRE[joined], joined
    if not side and joined[:1] in ("r", "l") and joined[1:] in _ALIASES:  # RWrist, LAnkle
        side, joined = {"r": "right", "l": "left"}[joined[0]], joined[1:]
    return (f"{side}_{_ALIASES[joined]}", joined) if side and joined in _ALIASES else (None, joined)
