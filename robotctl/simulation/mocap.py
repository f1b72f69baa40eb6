"""Turns joint rotations of the DeepMimic humanoid into body keypoints, and reads its recorded walk.

Source of the motion: DeepMimic (Peng et al. 2018), as shipped in `pybullet_data/data/motions`; source of the
bone lengths: `pybullet_data/humanoid/humanoid.urdf` at its usual scale of 0.25. There y is up, x forward and z
to the right; a keypoint leaves this file in the body's own frame with x forward, y left and z up.
"""

from __future__ import annotations

import importlib.util
import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from robotctl.body import INDEX, KEYPOINTS
from robotctl.errors import MissingPartError
from robotctl.geometry import matrix_from_quaternion

# Joint -> (parent, offset in the parent's frame [m]); the order is the order of the rotations everywhere below.
_BONES = {
    "pelvis": (None, (0.0, 0.0, 0.0)),
    "chest": ("pelvis", (0.0, 0.23615, 0.0)),
    "neck": ("chest", (0.0, 0.22389, 0.0)),
    "right_hip": ("pelvis", (0.0, 0.0, 0.08489)),
    "right_knee": ("right_hip", (0.0, -0.42155, 0.0)),
    "right_ankle": ("right_knee", (0.0, -0.40987, 0.0)),
    "right_shoulder": ("chest", (-0.02405, 0.2435, 0.18311)),
    "right_elbow": ("right_shoulder", (0.0, -0.27479, 0.0)),
    "left_hip": ("pelvis", (0.0, 0.0, -0.08489)),
    "left_knee": ("left_hip", (0.0, -0.42155, 0.0)),
    "left_ankle": ("left_knee", (0.0, -0.40987, 0.0)),
    "left_shoulder": ("chest", (-0.02405, 0.2435, -0.18311)),
    "left_elbow": ("left_shoulder", (0.0, -0.27479, 0.0)),
}
JOINTS = tuple(_BONES)
# Points that ride on a joint without moving themselves. The humanoid has no hands or toes: 9 cm of hand along the
# forearm, and the front of the foot's box.
_TIPS = {
    "head": ("neck", (0.0, 0.175, 0.0)),
    "right_wrist": ("right_elbow", (0.0, -0.25895, 0.0)),
    "right_hand": ("right_elbow", (0.0, -0.34895, 0.0)),
    "right_toe": ("right_ankle", (0.0893, -0.02, 0.0)),
    "left_wrist": ("left_elbow", (0.0, -0.25895, 0.0)),
    "left_hand": ("left_elbow", (0.0, -0.34895, 0.0)),
    "left_toe": ("left_ankle", (0.0893, -0.02, 0.0)),
}
UPPER_ARM = 0.27479  # shoulder to elbow [m]
FOREARM = 0.34895  # elbow to the hand keypoint [m]
SOLE = {"ankle": 0.036, "toe": 0.016}  # height of these keypoints above the sole of a flat foot [m]
SAMPLES = 256  # phases of the walk cycle
ARM_SWING = 0.5  # of the recorded one, whose hands (2.6 times the walking speed) break the assumed hand speed
EVENNESS = 0.7  # share of the swing's time that follows the distance covered
_UP = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]])  # x forward, y up -> x forward, z up
# Where each rotation sits in a frame of the file: quaternions wxyz take four numbers, hinges (about z) one.
_COLUMNS = {
    "pelvis": 4, "chest": 8, "neck": 12, "right_hip": 16, "right_knee": 20, "right_ankle": 21, "right_shoulder": 25,
    "right_elbow": 29, "left_hip": 30, "left_knee": 34, "left_ankle": 35, "left_shoulder": 39, "left_elbow": 43,
}  # fmt: skip


@dataclass(frozen=True)
class WalkCycle:
    """One cycle of a walk at SAMPLES even phases."""

    rotations: np.ndarray  # (SAMPLES, joints, 4) quaternions xyzw relative to the parent
    sway: np.ndarray  # (SAMPLES,) of the pelvis to the left of its path [m]
    stride: float  # forward motion of one cycle with the standing foot at rest [m]


def hinge(angle: np.ndarray) -> np.ndarray:
    """Quaternion xyzw of a turn about the lateral axis (z of the humanoid), (...) -> (..., 4)."""
    zero = np.zeros_like(angle)
    return np.stack([zero, zero, np.sin(angle / 2), np.cos(angle / 2)], axis=-1)


def multiply(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Quaternion product a b, xyzw, (..., 4)."""
    av, aw, bv, bw = a[..., :3], a[..., 3:], b[..., :3], b[..., 3:]
    vector = aw * bv + bw * av + np.cross(av, bv)
    return np.concatenate([vector, aw * bw - np.sum(av * bv, axis=-1, keepdims=True)], axis=-1)


def blend(a: np.ndarray, b: np.ndarray, weight: np.ndarray | float) -> np.ndarray:
    """Normalised linear blend from quaternion a (weight 0) to b (weight 1), the shorter way round."""
    b = np.where(np.sum(a * b, axis=-1, keepdims=True) < 0.0, -b, b)
    mixed = a + np.asarray(weight)[..., None] * (b - a)
    return mixed / np.linalg.norm(mixed, axis=-1, keepdims=True)


def forward(rotations: np.ndarray) -> np.ndarray:
    """Keypoints relative to the pelvis of joint rotations (T, joints, 4): (T, J, 3), x forward, y left, z up."""
    local = matrix_from_quaternion(rotations)
    world: dict[str, np.ndarray] = {}
    origin: dict[str, np.ndarray] = {}
    for i, (joint, (parent, offset)) in enumerate(_BONES.items()):
        if parent is None:
            world[joint], origin[joint] = local[:, i], np.zeros((len(rotations), 3))
        else:
            origin[joint] = origin[parent] + world[parent] @ np.array(offset)
            world[joint] = world[parent] @ local[:, i]
    out = np.empty((len(rotations), len(KEYPOINTS), 3))
    for name in KEYPOINTS:
        if name in _TIPS:
            joint, offset = _TIPS[name]
            out[:, INDEX[name]] = origin[joint] + world[joint] @ np.array(offset)
        else:
            out[:, INDEX[name]] = origin[name]
    return out @ _UP.T


def standing() -> np.ndarray:
    """Joint rotations of a relaxed stand: upright, knees and elbows a little bent, (joints, 4)."""
    out = np.tile([0.0, 0.0, 0.0, 1.0], (len(JOINTS), 1))
    for side in ("right", "left"):
        out[JOINTS.index(f"{side}_hip")] = hinge(np.array(0.05))
        out[JOINTS.index(f"{side}_knee")] = hinge(np.array(-0.1))
        out[JOINTS.index(f"{side}_ankle")] = hinge(np.array(0.05))
        out[JOINTS.index(f"{side}_elbow")] = hinge(np.array(0.35))
    return out


def resample(periodic: np.ndarray, harmonics: int, samples: int = SAMPLES) -> np.ndarray:
    """A periodic signal (n, ...) low-passed to its first `harmonics` and sampled anew, (samples, ...)."""
    spectrum = np.fft.rfft(periodic, axis=0)[: harmonics + 1]
    padded = np.zeros((samples // 2 + 1, *periodic.shape[1:]), complex)
    padded[: len(spectrum)] = spectrum
    return np.fft.irfft(padded * (samples / len(periodic)), n=samples, axis=0)


def at_phase(cycle: np.ndarray, phase: np.ndarray) -> np.ndarray:
    """A cycle (n, ...) interpolated at phases in turns, (T, ...)."""
    x = np.mod(phase, 1.0) * len(cycle)
    low = x.astype(int) % len(cycle)
    weight = (x - np.floor(x)).reshape(-1, *[1] * (cycle.ndim - 1))
    return cycle[low] + weight * (cycle[(low + 1) % len(cycle)] - cycle[low])


def even_swing(foot: np.ndarray) -> np.ndarray:
    """Phases (n,) at which to read a leg so that its foot (n, 3, relative to the pelvis) swings at a more even speed.

    The recorded foot is thrown forward at 3.5 times the walking speed. Most of the swing's time is shared out by
    the distance covered, which keeps the steps where they are and lowers the peak below 3 times.
    """
    n = len(foot)
    speed = np.linalg.norm(np.roll(foot, -1, axis=0) - foot, axis=1)
    swing = np.roll(foot[:, 0], -1) > foot[:, 0]
    density = np.ones(n)
    density[swing] = EVENNESS * speed[swing] / speed[swing].mean() + (1.0 - EVENNESS)
    elapsed = np.concatenate([[0.0], np.cumsum(density)]) / n
    return np.interp(np.arange(n) / n, elapsed, np.arange(n + 1) / n)


def sole_height(keypoints: np.ndarray) -> np.ndarray:
    """Height of the lowest sole, (..., J, 3) -> (...)."""
    points = [f"{side}_{name}" for side in ("right", "left") for name in SOLE]
    soles = [keypoints[..., INDEX[p], 2] - SOLE[p.split("_")[1]] for p in points]
    return np.min(np.stack(soles), axis=0)


def _unit(quaternions: np.ndarray) -> np.ndarray:
    return quaternions / np.linalg.norm(quaternions, axis=-1, keepdims=True)


@cache
def walk_cycle() -> WalkCycle:
    """The recorded walk, smoothed, with both feet on the floor and an even swing."""
    spec = importlib.util.find_spec("pybullet_data")
    if spec is None or spec.origin is None:
        raise MissingPartError("people need the recorded walk of pybullet: pip install pybullet")
    path = Path(spec.origin).parent / "data" / "motions" / "humanoid3d_walk.txt"
    frames = np.array(json.loads(path.read_text())["Frames"])
    stride = float(frames[-1, 1] - frames[0, 1])
    frames = frames[:-1]  # the last frame is the first of the next cycle
    raw = np.empty((len(frames), len(JOINTS), 4))
    for i, joint in enumerate(JOINTS):
        column = _COLUMNS[joint]
        if joint.endswith(("knee", "elbow")):
            raw[:, i] = hinge(frames[:, column])
        else:
            raw[:, i] = frames[:, [column + 1, column + 2, column + 3, column]]
    # Three harmonics carry the trunk and arms, six the legs; the seam of the recording (20 cm/s) goes with the rest.
    rotations = _unit(resample(raw, 3))
    arms = np.array([joint.endswith(("shoulder", "elbow")) for joint in JOINTS])
    rotations[:, arms] = blend(
        np.broadcast_to(standing()[arms], rotations[:, arms].shape), rotations[:, arms], ARM_SWING
    )
    legs = np.array([joint.endswith(("hip", "knee", "ankle")) for joint in JOINTS])
    rotations[:, legs] = _unit(resample(raw[:, legs], 6))
    keypoints = forward(rotations)
    for side in ("right", "left"):
        leg = np.array([joint in (f"{side}_hip", f"{side}_knee", f"{side}_ankle") for joint in JOINTS])
        warped = at_phase(rotations[:, leg], even_swing(keypoints[:, INDEX[f"{side}_toe"]]))
        rotations[:, leg] = _unit(resample(warped, 8))
    sway = resample(frames[:, 3] - frames[:, 3].mean(), 3)  # recorded z points to the right
    return WalkCycle(rotations, -sway, stride)
