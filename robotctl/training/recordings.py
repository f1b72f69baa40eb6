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
from robotctl.scene import Sensors
from robotctl.simulation.mocap import JOINTS, blend, forward, hinge
from robotctl.simulation.walk_path import minimum_jerk
from robotctl.training.people_data import Windows, together, watch

# Every recording but the walk, which the people of the generator already share.
CLIPS = (
    "backflip", "cartwheel", "crawl", "dance_a", "dance_b", "getup_facedown", "getup_faceup", "jump", "kick", "punch",
    "roll", "run", "spin", "spinkick",
)  # fmt: skip
RATE = 60.0  # of the stored keypoints [Hz]
RETURN = 0.8  # time of the transition back to the first pose, at least [s]
RETURN_SPEED = 1.2  # of the fastest keypoint on the way, at most [m/s]
LAPS = 512  # of a clip that are laid out: ten minutes and more
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
    stamps = np.concatenate([[0.0], np.cumsum(frames[:-1, 0])])
    even = np.arange(0.0, stamps[-1] + 1e-9, 1.0 / RATE)
    # Between the frames the rotations are blended, not the keypoints: some clips have but 16 frames a second.
    at = np.clip(np.searchsorted(stamps, even, side="right") - 1, 0, len(stamps) - 2)
    share = (even - stamps[at]) / (stamps[at + 1] - stamps[at])
    joined = blend(rotations[at], rotations[at + 1], np.broadcast_to(share[:, None], (len(even), len(JOINTS))))
    keypoints = forward(joined) + (root[at] + share[:, None] * (root[at + 1] - root[at]))[:, None]
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
        lap, turn, shift = _lap(read_clip(clip), slower)
        if mirrored:
            lap = lap[:, MIRRORED] * [1.0, -1.0, 1.0]
            turn, shift = -turn, shift * [1.0, -1.0, 1.0]
        self._keypoints = lap
        self._rate = RATE / slower
        self._phase = phase * len(lap)
        # Every lap begins where and whichever way the last one ended.
        self._turns = np.stack([rotation_z(k * turn) for k in range(LAPS)])
        self._begins = np.concatenate([np.zeros((1, 3)), np.cumsum(self._turns @ shift, axis=0)])

    def keypoints(self, time: float) -> np.ndarray:
        """Every keypoint at `time` [s] of the episode, (J, 3) world [m]."""
        x = time * self._rate + self._phase
        sample = int(np.floor(x))
        return (1.0 - (x - sample)) * self._sample(sample) + (x - sample) * self._sample(sample + 1)

    def _sample(self, i: int) -> np.ndarray:
        lap, at = divmod(i, len(self._keypoints))
        return np.asarray(self._keypoints[at] @ self._turns[lap].T + self._begins[lap])


def _lap(clip: Clip, slower: float) -> tuple[np.ndarray, float, np.ndarray]:
    """Keypoints (n, J, 3) of one repetition, with the way back to its first pose, and the turn and shift it makes."""
    first, last = clip.keypoints[0], clip.keypoints[-1]
    turn = float(clip.heading[-1])
    shift = last[INDEX["pelvis"]] * [1.0, 1.0, 0.0]
    again = first @ rotation_z(turn).T + shift
    away = float(np.linalg.norm(again - last, axis=-1).max())
    if away < SEAM:
        return clip.keypoints[:-1], turn, shift
    time = max(RETURN, 1.875 * away / RETURN_SPEED)  # a minimum-jerk motion peaks at 1.875 times its mean speed
    samples = max(2, round(time * RATE / slower))  # the transition takes this time however the clip is stretched
    back = minimum_jerk(np.arange(1, samples) / samples)[:, None, None]
    return np.concatenate([clip.keypoints, last + back * (again - last)]), turn, shift


def slowest(clip: str, speeds: np.ndarray) -> float:
    """How much slower (>= 1) a clip has to be played to keep assumed top speeds (parts,) [m/s]."""
    return max(1.0, float(np.max(read_clip(clip).top_speed / speeds)))


def watch_recordings(
    sensors: Sensors,
    generator: np.random.Generator,
    speeds: np.ndarray | None = None,
    subjects: int = 2,
    seconds: float = 15.0,
) -> dict[str, Windows]:
    """Windows of `subjects` people for every clip, half of them mirrored.

    At the recorded speed, or, with `speeds` (parts,) [m/s] given, slowed down until no body part is faster than that,
    and by up to 30 % more.
    """
    out = {}
    for clip in CLIPS:
        parts = []
        for i in range(subjects):
            slower = 1.0 if speeds is None else slowest(clip, speeds) * float(generator.uniform(1.0, 1.3))
            person = RecordedPerson(clip, slower, bool(i % 2), float(generator.uniform()))
            parts.append(watch(person, sensors, generator, seconds))
        out[clip] = together(parts)
    return out
