"""Reads a recorded human motion: an `.npz` file with `time_s` (T,), `joint_names` (J,), `xyz_m` (T, J, 3), z up."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

import numpy as np

from robotctl.body import INDEX, KEYPOINTS
from robotctl.errors import InvalidFileError, nearest

LIMIT = 100.0  # a coordinate beyond this is not metres in a room [m]

# Other recorders' names for our keypoints, without case, separators and side.
_ALIASES = {
    "shoulder": "shoulder", "arm": "shoulder", "upperarm": "shoulder",
    "elbow": "elbow", "forearm": "elbow", "lowerarm": "elbow",
    "wrist": "wrist", "handwrist": "wrist", "hand": "hand", "fingertip": "hand", "handtip": "hand", "palm": "hand",
    "hip": "hip", "upleg": "hip", "thigh": "hip",
    "knee": "knee", "leg": "knee", "shin": "knee",
    "ankle": "ankle", "foot": "ankle",
    "toe": "toe", "toebase": "toe", "toes": "toe", "foottip": "toe",
}  # fmt: skip
_CENTRE = {
    "head": "head", "nose": "head", "neck": "neck", "chest": "chest", "spine": "chest", "spine1": "chest",
    "spine2": "chest", "torso": "chest", "thorax": "chest", "pelvis": "pelvis", "hips": "pelvis", "root": "pelvis",
    "midhip": "pelvis",
}  # fmt: skip


def keypoint_of(name: str) -> str | None:
    """Our keypoint for a recorder's joint name, or None: 'RightForeArm', 'r_elbow', 'elbow.R' -> 'right_elbow'."""
    words = re.sub(r"[^a-z0-9]+", " ", re.sub(r"([a-z])([A-Z])", r"\1 \2", name).lower()).split()
    side = ""
    for word, full in (("right", "right"), ("left", "left"), ("r", "right"), ("l", "left")):
        if not side and word in words:
            side = full
            words.remove(word)
    joined = "".join(words)
    if not side and joined in _CENTRE:
        return _CENTRE[joined]
    if not side and joined[:1] in ("r", "l") and joined[1:] in _ALIASES:  # RWrist, LAnkle
        side, joined = {"r": "right", "l": "left"}[joined[0]], joined[1:]
    return f"{side}_{_ALIASES[joined]}" if side and joined in _ALIASES else None


def read_motion(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Times from 0 (T,) [s] and keypoints (T, len(KEYPOINTS), 3) [m] of a motion file.

    Keypoints that the file does not have are derived from those it has (a hand from the forearm, a toe from the
    direction the hips face); shoulders, elbows, wrists, hips, knees and ankles must be there.
    """
    try:
        with np.load(path, allow_pickle=False) as data:
            missing = [key for key in ("time_s", "joint_names", "xyz_m") if key not in data]
            if missing:
                raise InvalidFileError(f"{path}: key '{missing[0]}' is missing; it has: {', '.join(sorted(data))}")
            time, names, xyz = data["time_s"], data["joint_names"], data["xyz_m"]
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, AttributeError) as error:
        raise InvalidFileError(f"{path}: not a readable .npz motion file ({error})") from error
    names = [name.decode() if isinstance(name, bytes) else str(name) for name in np.atleast_1d(names)]
    if not (np.issubdtype(time.dtype, np.number) and np.issubdtype(xyz.dtype, np.number)):
        raise InvalidFileError(f"{path}: time_s and xyz_m must be numbers")
    time, xyz = np.asarray(time, float), np.asarray(xyz, float)
    if time.ndim != 1 or len(time) < 2 or xyz.shape != (len(time), len(names), 3):
        raise InvalidFileError(
            f"{path}: xyz_m has shape {xyz.shape}, expected ({len(time)}, {len(names)}, 3) from time_s "
            "and joint_names, with at least two samples"
        )
    if not np.all(np.isfinite(time)) or np.any(np.diff(time) <= 0):
        raise InvalidFileError(f"{path}: time_s must increase and be finite")
    if not np.all(np.isfinite(xyz)) or np.any(np.abs(xyz) > LIMIT):
        raise InvalidFileError(f"{path}: xyz_m must be finite and within {LIMIT:.0f} m")
    found: dict[str, np.ndarray] = {}
    for i, name in enumerate(names):
        keypoint = keypoint_of(name)
        if keypoint is not None and keypoint not in found:
            found[keypoint] = xyz[:, i]
    return time - time[0], _complete(path, found, names)


def _complete(path: Path, found: dict[str, np.ndarray], names: list[str]) -> np.ndarray:
    """All keypoints (T, J, 3) from those the file has."""
    for side in ("right", "left"):
        if f"{side}_wrist" not in found and f"{side}_hand" in found:
            found[f"{side}_wrist"] = found[f"{side}_hand"]  # most recorders call the wrist 'hand'
        for joint in ("shoulder", "elbow", "wrist", "hip", "knee", "ankle"):
            if f"{side}_{joint}" not in found:
                raise InvalidFileError(f"{path}: no joint for '{side}_{joint}'{nearest(f'{side}_{joint}', names)}")
    hips = 0.5 * (found["right_hip"] + found["left_hip"])
    shoulders = 0.5 * (found["right_shoulder"] + found["left_shoulder"])
    up = np.array([0.0, 0.0, 1.0])
    forward = np.cross(found["left_hip"] - found["right_hip"], up)
    forward /= np.maximum(np.linalg.norm(forward, axis=1, keepdims=True), 1e-9)
    found.setdefault("pelvis", hips)
    found.setdefault("neck", shoulders)
    found.setdefault("chest", 0.5 * (hips + shoulders))
    found.setdefault("head", found["neck"] + 0.175 * up)
    for side in ("right", "left"):
        wrist, elbow = found[f"{side}_wrist"], found[f"{side}_elbow"]
        if f"{side}_hand" not in found or found[f"{side}_hand"] is wrist:
            along = wrist - elbow
            along = along / np.maximum(np.linalg.norm(along, axis=1, keepdims=True), 1e-9)
            found[f"{side}_hand"] = wrist + 0.09 * along
        found.setdefault(f"{side}_toe", found[f"{side}_ankle"] + 0.09 * forward)
    out = np.empty((len(hips), len(KEYPOINTS), 3))
    for name in KEYPOINTS:
        out[:, INDEX[name]] = found[name]
    return out
