"""Recorded people: motions that are not our generator's, as subjects to be watched like any other person.

Source: DeepMimic (Peng et al. 2018, "DeepMimic: Example-guided deep reinforcement learning of physics-based character
skills"), as shipped in `pybullet_data/data/motions`. A clip lasts one to four seconds; a subject repeats it, going on
from where and whichever way it ended. Where a clip does not end in the pose it began with, a minimum-jerk transition
leads back.
"""

from __future__ import annotations

import importlib.util
import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from robotctl.body import INDEX, KEYPOINT_PART, KEYPOINTS
from robotctl.errors import MissingPartError
from robotctl.geometry import rotation_z
from robotctl.simulation.mocap import JOINTS, forward, hinge
from robotctl.simulation.walk_path import minimum_jerk

# Every recording but the walk, which the people of the generator already share.
CLIPS = (
    "backflip", "cartwheel", "crawl", "dance_a", "dance_b", "getup_facedown", "getup_faceup", "jump", "kick", "punch",
    "roll", "run", "spin", "spinkick",
)  # fmt: skip
UPRIGHT = ("dance_a", "dance_b", "jump", "kick", "punch", "run", "spin")  # what someone in a kitchen might do, slowly
RATE = 60.0  # of the stored keypoints [Hz]
RETURN = 0.8  # time of the transition back to the first pose [s]
SEAM = 0.05  # a clip whose end is this near to its beginning needs no transition [m]
_OTHER_SIDE = {"right": "left", "left": "right"}


def _mirrored(name: str) -> str:
    side, _, joint = name.partition("_")
    return f"{_OTHER_SIDE[side]}_{joint}" if side in _OTHER_SIDE else name


MIRRORED = np.array([INDEX[_mirrored(name)] for name in KEYPOINTS])  # the keypoint on the other side of the body


@dataclass(frozen=True)
class Clip:
    """One recording at its natural speed."""

    keypoints: np.ndarray  # (n, J, 3) at RATE, the pelvis beginning above the origin and facing x [m]
    heading: np.ndarray  # (n,) where the hips and shoulders face, continuous, 0 at first [rad]
    top_speed: np.ndarray  # (parts,) 99.5th percentile of the fastest keypoint of each body part [m/s]


def _folder() -> Path:
    spec = importlib.util.find_spec("pybullet_data")
    if spec is None or spec.origin is None:
        raise MissingPartError("recorded people need the motions of pybullet: pip install pybullet")
    return Path(spec.origin).parent / "data" / "motions"


def facing(keypoints: np.ndarray) -> np.ndarray:
    """Heading (n,) [rad] of the hips and shoulders of keypoints (n, J, 3), without jumps."""
    left = sum(
        keypoints[:, INDEX[f"left_{joint}"]] - keypoints[:, INDEX[f"right_{joint}"]] for joint in ("hip", "shoulder")
    )
    return np.unwrap(np.arctan2(-left[:, 0], left[:, 1]))


@cache
def read_clip(name: str) -> Clip:
    """The recording `name`, one of CLIPS."""
    frames = np.array(json.loads((_folder() / f"humanoid3d_{name}.txt").read_text())["Frames"])
    rotations = np.empty((len(frames), len(JOINTS), 4))
    column = 4  # after the duration and the root's position; then the joints in order, wxyz or one angle
    for i, joint in enumerate(JOINTS):
        if joint.endswith(("knee", "elbow")):
            rotations[:, i] = hinge(frames[:, column])
            column += 1
        else:
            rotations[:, i] = frames[:, [column + 1, column + 2, column + 3, column]]
            column += 4
    rotations /= np.linalg.norm(rotations, axis=-1, keepdims=True)
    root = frames[:, 1:4] @ np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, -1.0, 0.0]])  # y up -> z up
    raw = forward(rotations) + root[:, None]
    stamps = np.concatenate([[0.0], np.cumsum(frames[:-1, 0])])
    even = np.arange(0.0, stamps[-1] + 1e-9, 1.0 / RATE)
    flat = raw.reshape(len(raw), -1)
    keypoints = np.stack([np.interp(even, stamps, column) for column in flat.T], axis=1).reshape(len(even), -1, 3)
    heading = facing(keypoints)
    keypoints = (keypoints - [*keypoints[0, INDEX["pelvis"], :2], 0.0]) @ rotation_z(heading[0])
    speed = np.linalg.norm(np.diff(keypoints, axis=0), axis=-1) * RATE
    top = np.array([np.quantile(speed[:, g == KEYPOINT_PART].max(axis=1), 0.995) for g in range(4)])
    return Clip(keypoints, heading - heading[0], top)


class RecordedPerson:
    """Someone who repeats one recording; stands where a `robotctl.simulation.people.Person` would.

    slower >= 1 stretches the clip's time, mirrored swaps left and right, phase in [0, 1) is where it is joined.
    """

    def __init__(self, clip: str, slower: float, mirrored: bool = False, phase: float = 0.0) -> None:
        self.name = "someone"
        recording = read_clip(clip)
        lap, self._turn, self._shift = _lap(recording, slower)
        if mirrored:
            lap = lap[:, MIRRORED] * [1.0, -1.0, 1.0]
            self._turn, self._shift = -self._turn, self._shift * [1.0, -1.0, 1.0]
        self._keypoints = lap
        self._rate = RATE / slower
        self._phase = phase * len(lap)

    def keypoints(self, time: float) -> np.ndarray:
        """Every keypoint at `time` [s] of the episode, (J, 3) world [m]."""
        x = time * self._rate + self._phase
        sample = int(np.floor(x))
        return (1.0 - (x - sample)) * self._sample(sample) + (x - sample) * self._sample(sample + 1)

    def _sample(self, i: int) -> np.ndarray:
        """Sample i of the endless repetition: every lap begins where and whichever way the last one ended."""
        lap, at = divmod(i, len(self._keypoints))
        begin = np.zeros(3)
        for k in range(lap):
            begin = begin + rotation_z(k * self._turn) @ self._shift
        return self._keypoints[at] @ rotation_z(lap * self._turn).T + begin


def _lap(clip: Clip, slower: float) -> tuple[np.ndarray, float, np.ndarray]:
    """Keypoints (n, J, 3) of one repetition, with the way back to its first pose, and the turn and shift it makes."""
    first, last = clip.keypoints[0], clip.keypoints[-1]
    turn = float(clip.heading[-1])
    shift = last[INDEX["pelvis"]] * [1.0, 1.0, 0.0]
    again = first @ rotation_z(turn).T + shift
    if np.linalg.norm(again - last, axis=-1).max() < SEAM:
        return clip.keypoints[:-1], turn, shift
    # As long as the rest: a stretched clip has the same transition, in its own time.
    back = minimum_jerk(np.arange(1, round(RETURN * RATE / slower)) / (RETURN * RATE / slower))[:, None, None]
    return np.concatenate([clip.keypoints, last + back * (again - last)]), turn, shift


def slowest(clip: str, speeds: np.ndarray) -> float:
    """How much slower (>= 1) a clip has to be played to keep assumed top speeds (parts,) [m/s]."""
    return max(1.0, float(np.max(read_clip(clip).top_speed / speeds)))
