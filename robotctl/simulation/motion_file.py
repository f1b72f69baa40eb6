"""This file turns a recorded human motion into times and keypoints.

Two formats: `.npz` with `time_s` (T,), `joint_names` (J,) and `xyz_m` (T, J, 3), z up; and `.bvh` (see bvh_file.py).
"""

from __future__ import annotations

import struct
import sys
import tokenize
import zipfile
import zlib
from pathlib import Path

import numpy as np

from robotctl.body import INDEX, KEYPOINTS
from robotctl.errors import InvalidFileError, nearest
from robotctl.files import is_file, one_line, show_path
from robotctl.simulation.bvh_file import read_bvh
from robotctl.simulation.joint_names import joints_of_keypoints

LIMIT = 100.0  # a coordinate beyond this is not metres in a room [m]
MAX_BYTES = 400_000_000  # unpacked, and as doubles: half an hour of 75 joints at 120 Hz
MAX_JOINTS = 1000
MAX_NAME = 200  # characters

_KEYS = ("time_s", "joint_names", "xyz_m")
_UNREADABLE = (
    OSError, ValueError, EOFError, KeyError, AttributeError, TypeError, SyntaxError, RuntimeError, RecursionError,
    MemoryError, struct.error, zlib.error, zipfile.BadZipFile, tokenize.TokenError,
)  # fmt: skip


def read_motion(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Times from 0 (T,) [s] and keypoints (T, len(KEYPOINTS), 3) [m] of a motion file.

    Keypoints that the file does not have are derived from those it has (a hand from the forearm, a toe from the
    direction the hips face); shoulders, elbows, wrists, hips, knees and ankles must be there.
    """
    file = show_path(path)
    if path.suffix.lower() == ".bvh":
        time, names, xyz, _ = read_bvh(path)
    else:
        time, names, xyz = _read_npz(path, file)
    if xyz.size and not (xyz.min() >= -LIMIT and xyz.max() <= LIMIT):  # NaN is not
        raise InvalidFileError(f"{file}: points must be finite and within {LIMIT:.0f} m")
    found = {keypoint: xyz[:, joint] for keypoint, joint in joints_of_keypoints(names).items()}
    return time - time[0], _complete(file, found, names)


def _read_npz(path: Path, file: str) -> tuple[np.ndarray, list[str], np.ndarray]:
    """Times (T,) [s], names (J,) and points (T, J, 3) [m]."""
    if not is_file(path):
        raise InvalidFileError(f"{file}: no such file")
    try:
        with zipfile.ZipFile(path) as archive:
            time, given, xyz = (_member(archive, key) for key in _KEYS)
        names = _texts(given)
    except _UNREADABLE as error:
        reason = one_line(str(error))[:200] or type(error).__name__
        raise InvalidFileError(f"{file}: not a readable .npz motion file ({reason})") from error
    if not all(array.dtype.kind in "fiu" for array in (time, xyz)):
        raise InvalidFileError(f"{file}: time_s and xyz_m must be numbers")
    if max(time.size, xyz.size) * 8 > MAX_BYTES:
        raise InvalidFileError(f"{file}: more than {MAX_BYTES // 8} numbers")
    time, xyz = np.asarray(time, float), np.asarray(xyz, float)
    if time.ndim != 1 or len(time) < 2 or xyz.shape != (len(time), len(names), 3):
        raise InvalidFileError(
            f"{file}: xyz_m has shape {xyz.shape}, expected ({len(time) if time.ndim else 0}, {len(names)}, 3) from "
            "time_s and joint_names, with at least two samples"
        )
    if not np.all(np.isfinite(time)) or np.any(np.diff(time) <= 0):
        raise InvalidFileError(f"{file}: time_s must increase and be finite")
    return time, names, xyz


def _member(archive: zipfile.ZipFile, key: str) -> np.ndarray:
    """One array of the archive; its size is checked before anything is unpacked, and nothing is unpickled."""
    names = archive.namelist()
    if f"{key}.npy" not in names:
        raise ValueError(f"'{key}' is missing; it has: {', '.join(sorted(names))[:100]}")
    entry = archive.getinfo(f"{key}.npy")
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError(f"'{key}' is compressed in a way that NumPy does not write")
    if entry.file_size > MAX_BYTES:
        raise ValueError(f"'{key}' unpacks to more than {MAX_BYTES // 1_000_000} MB")
    with archive.open(entry) as stream:
        return np.asarray(np.lib.format.read_array(stream, allow_pickle=False))


def _texts(array: np.ndarray) -> list[str]:
    """The names in an array of texts; NumPy does not check that its characters exist."""
    if array.dtype.kind not in "US" or array.size > MAX_JOINTS or array.dtype.itemsize > 4 * MAX_NAME:
        raise ValueError(f"joint_names: expected at most {MAX_JOINTS} texts of at most {MAX_NAME} characters")
    if array.dtype.kind == "U":
        codes = np.frombuffer(array.tobytes(), np.dtype(np.uint32).newbyteorder(array.dtype.byteorder))
        if codes.size and codes.max() > sys.maxunicode:
            raise ValueError("joint_names: not texts")
        return [str(name) for name in array.flat]
    return [bytes(name).decode() for name in array.flat]


def _complete(file: str, found: dict[str, np.ndarray], names: list[str]) -> np.ndarray:
    """All keypoints (T, J, 3) from those the file has."""
    for side in ("right", "left"):
        if f"{side}_wrist" not in found and f"{side}_hand" in found:
            found[f"{side}_wrist"] = found[f"{side}_hand"]  # most recorders call the wrist 'hand'
        for joint in ("shoulder", "elbow", "wrist", "hip", "knee", "ankle"):
            if f"{side}_{joint}" not in found:
                wanted = f"{side}_{joint}"
                near = one_line(nearest(wanted, (name[:60] for name in names[:50])))
                raise InvalidFileError(f"{file}: no joint for '{wanted}'{near}")
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
