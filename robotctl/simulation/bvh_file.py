"""This file turns a BVH file (Biovision hierarchy: a skeleton and the rotations of its joints) into points in metres.

Conventions, where the format leaves them open:
- y is up in the file; points leave it with z up: (x, y, z) becomes (x, -z, y).
- A joint's rotation is the product of its rotation channels in the order in which the file lists them.
- Position channels stand in place of the joint's OFFSET, as recorders write them; but where those of an inner joint
  are nearer to 0 than to the OFFSET on average, they are added to it.
- The format has no unit. It is the one of `UNITS` in which the skeleton is as tall as a person.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, NoReturn

import numpy as np

from robotctl.errors import InvalidFileError, nearest
from robotctl.files import one_line, read_text, show_path
from robotctl.simulation.joint_names import joints_of_keypoints

MAX_BYTES = 64_000_000  # half an hour of 30 joints at 60 Hz
MAX_JOINTS = 300
MAX_DEPTH = 64
MAX_FRAMES = 500_000  # an hour at 120 Hz
MAX_NAME = 200  # characters
LARGEST = 1e6  # of any number
BLOCK = 1024  # frames at a time
# Sizes in metres. CMU's motions were recorded in inches at a scale of 0.45, and were published as BVH like that.
UNITS = {"m": 1.0, "cm": 0.01, "mm": 0.001, "inch": 0.0254, "CMU unit": 0.0254 / 0.45}
STATURE = (1.0, 2.2)  # of a person [m]; the raw heights that fit two units do not overlap
# Lengths over stature (Winter 2009, figure 4.1, after Drillis and Contini 1966). Bones keep theirs in any pose.
BONES = {("hip", "knee"): 0.245, ("knee", "ankle"): 0.246, ("shoulder", "elbow"): 0.186, ("elbow", "wrist"): 0.146}
_SIDES = ("right", "left")
_CHANNEL = re.compile(r"([XYZ])(position|rotation)", re.IGNORECASE)


class Recording(NamedTuple):
    """What was recorded, z up."""

    time: np.ndarray  # (T,) [s]
    names: list[str]  # of the joints that stand for keypoints
    xyz: np.ndarray  # (T, J, 3) [m]
    unit: str  # of the file, one of UNITS


@dataclass(eq=False)
class _Joint:
    name: str
    parent: int  # -1 for the root
    line: int
    offset: np.ndarray | None = None  # (3,)
    channels: list[tuple[str, int]] | None = None  # (position or rotation, axis) in the file's order
    column: int = 0  # of its first channel
    end: bool = False  # an End Site: the tip of a bone, with no channels


@dataclass
class _Skeleton:
    joints: list[_Joint] = field(default_factory=list)
    columns: int = 0


def read_bvh(path: Path) -> Recording:
    """The joints of a BVH file that stand for keypoints; InvalidFileError names the line of what is wrong."""
    reader = _Reader(path)
    skeleton = reader.hierarchy()
    step, values = reader.motion(skeleton.columns)
    joints = skeleton.joints
    where = joints_of_keypoints(joint.name for joint in joints)
    for side in _SIDES:
        where.setdefault(f"{side}_wrist", where.get(f"{side}_hand", -1))
    for keypoint in (f"{side}_{end}" for side in _SIDES for bone in BONES for end in bone):
        if where.get(keypoint, -1) < 0:
            reader.fail(joints[0].line, f"no joint for '{keypoint}'{nearest(keypoint, [j.name for j in joints[:50]])}")
    kept = sorted(set(where.values()))
    raw = _forward(joints, kept, values)
    column = {joint: i for i, joint in enumerate(kept)}
    points = {keypoint: raw[:, column[joint]] for keypoint, joint in where.items()}
    tall = _stature(points)
    unit = next((name for name, size in UNITS.items() if STATURE[0] <= tall * size <= STATURE[1]), None)
    if unit is None:
        low, high = STATURE
        reader.fail(
            joints[0].line,
            f"the skeleton is {tall:.4g} tall; in no known unit ({', '.join(UNITS)}) is that a person of {low:g} to "
            f"{high:g} m: scale it",
        )
    rest = {keypoint: _at_rest(joints, joint)[None] for keypoint, joint in where.items()}
    if _stands_along(points) == _stands_along(rest) == 2:
        reader.fail(joints[0].line, "the skeleton stands along z, but y is up in a BVH file: export it with y up")
    xyz = np.stack([raw[..., 0], -raw[..., 2], raw[..., 1]], axis=-1) * UNITS[unit]
    return Recording(step * np.arange(len(xyz)), [joints[i].name for i in kept], xyz, unit)


def _stature(points: Mapping[str, np.ndarray]) -> float:
    """How tall whoever has these bones stands, from keypoints (T, 3)."""
    length = 0.0
    for upper, lower in BONES:
        for side in _SIDES:
            bone = points[f"{side}_{lower}"] - points[f"{side}_{upper}"]
            length += 0.5 * float(np.median(np.linalg.norm(bone, axis=1)))
    return length / sum(BONES.values())


def _stands_along(points: Mapping[str, np.ndarray]) -> int | None:
    """The axis that points from the ankles to the shoulders, if it points up along it."""
    up = sum(points[f"{side}_shoulder"] - points[f"{side}_ankle"] for side in _SIDES)
    middle = np.median(up, axis=0)
    axis = int(np.argmax(np.abs(middle)))
    return axis if middle[axis] > 0.0 else None


def _at_rest(joints: Sequence[_Joint], joint: int) -> np.ndarray:
    """Where a joint is with every rotation 0, (3,)."""
    point = np.zeros(3)
    while joint >= 0:
        point = point + _offset(joints[joint])
        joint = joints[joint].parent
    return point


def _forward(joints: Sequence[_Joint], kept: Sequence[int], values: np.ndarray) -> np.ndarray:
    """Positions of the kept joints (T, len(kept), 3), in the file's frame and unit, from all channels (T, C)."""
    needed: set[int] = set()
    for joint in kept:
        while joint >= 0 and joint not in needed:
            needed.add(joint)
            joint = joints[joint].parent
    added = {j for j in needed if _is_added(joints[j], values)}
    out = np.empty((len(values), len(kept), 3))
    for start in range(0, len(values), BLOCK):
        block = values[start : start + BLOCK]
        turn: dict[int, np.ndarray] = {-1: np.broadcast_to(np.eye(3), (len(block), 3, 3))}
        point: dict[int, np.ndarray] = {-1: np.zeros((len(block), 3))}
        for j in sorted(needed):  # parents come first
            offset, rotation = _local(joints[j], block, j in added)
            parent = joints[j].parent
            point[j] = point[parent] + (turn[parent] @ offset[..., None])[..., 0]
            turn[j] = turn[parent] @ rotation
        for i, j in enumerate(kept):
            out[start : start + BLOCK, i] = point[j]
    return out


def _is_added(joint: _Joint, values: np.ndarray) -> bool:
    """Whether an inner joint's position channels are to be added to its OFFSET."""
    if joint.parent < 0:
        return False
    mean, offset = np.zeros(3), np.zeros(3)
    for i, (kind, axis) in enumerate(joint.channels or ()):
        if kind == "position":
            mean[axis] = values[:, joint.column + i].mean()
            offset[axis] = _offset(joint)[axis]
    return bool(np.linalg.norm(mean) < np.linalg.norm(mean - offset))


def _local(joint: _Joint, values: np.ndarray, added: bool) -> tuple[np.ndarray, np.ndarray]:
    """Offset (T, 3) and rotation (T, 3, 3) of a joint in its parent's frame."""
    offset = np.tile(_offset(joint), (len(values), 1))
    rotation = np.broadcast_to(np.eye(3), (len(values), 3, 3))
    for i, (kind, axis) in enumerate(joint.channels or ()):
        value = values[:, joint.column + i]
        if kind == "position":
            offset[:, axis] = offset[:, axis] + value if added else value
        else:
            rotation = rotation @ _about(axis, np.radians(value))
    return offset, rotation


def _about(axis: int, angle: np.ndarray) -> np.ndarray:
    """Rotations (T, 3, 3) by angles (T,) [rad] about x, y or z."""
    out = np.zeros((len(angle), 3, 3))
    a, b = (axis + 1) % 3, (axis + 2) % 3
    out[:, axis, axis] = 1.0
    out[:, a, a] = out[:, b, b] = np.cos(angle)
    out[:, b, a] = np.sin(angle)
    out[:, a, b] = -out[:, b, a]
    return out


def _offset(joint: _Joint) -> np.ndarray:
    return joint.offset if joint.offset is not None else np.zeros(3)


class _Reader:
    """Goes through the file once, and knows the line of an error."""

    def __init__(self, path: Path) -> None:
        self._name = show_path(path)
        self._lines = read_text(path, MAX_BYTES).split("\n")
        self._next = 0  # line to be read next, from 0

    def fail(self, line: int, message: str) -> NoReturn:
        raise InvalidFileError(f"{self._name}:{line}:1: {one_line(message)}")

    def _pieces(self) -> Iterator[tuple[int, str]]:
        """Statements and braces with their lines."""
        while self._next < len(self._lines):
            self._next += 1
            for piece in re.split(r"([{}])", self._lines[self._next - 1]):
                if words := piece.split():
                    yield self._next, " ".join(words)

    def hierarchy(self) -> _Skeleton:
        """The skeleton, up to the line MOTION."""
        found = _Skeleton()
        pieces = self._pieces()
        if next(pieces, (1, ""))[1].upper() != "HIERARCHY":
            self.fail(max(self._next, 1), "not a BVH file: expected HIERARCHY")
        stack: list[_Joint] = []  # open joints and end sites, outermost first
        for line, piece in pieces:
            word, _, rest = piece.partition(" ")
            word = word.upper()
            inner = stack[-1] if stack else None
            if word == "MOTION":
                if inner is not None or not found.joints:
                    missing = "a ROOT" if inner is None else f"the '}}' of line {inner.line}"
                    self.fail(line, f"MOTION before the skeleton is complete: {missing} is missing")
                return found
            if word in ("ROOT", "JOINT", "END"):
                self._may_begin(line, word, inner, found)
                if len(stack) >= MAX_DEPTH:
                    self.fail(line, f"nested deeper than {MAX_DEPTH}")
                if word != "END" and not 0 < len(rest) <= MAX_NAME:
                    self.fail(line, f"{word} needs a name of at most {MAX_NAME} characters")
                parent = found.joints.index(inner) if inner is not None else -1
                joint = _Joint(rest, parent, line, end=word == "END")
                if not joint.end:
                    found.joints.append(joint)
                if next(pieces, (line, ""))[1] != "{":
                    self.fail(self._next, f"expected '{{' after {word}")
                stack.append(joint)
            elif inner is None:
                self.fail(line, f"expected ROOT or MOTION, got '{piece[:40]}'")
            elif word == "OFFSET" and inner.offset is None:
                inner.offset = np.array(self._numbers(line, rest.split(), 3, "OFFSET"))
            elif word == "CHANNELS" and inner.channels is None and not inner.end:
                inner.channels = self._channels(line, rest.split())
                inner.column = found.columns
                found.columns += len(inner.channels)
            elif word == "}" and not rest:
                if inner.offset is None or (inner.channels is None and not inner.end):
                    what = "OFFSET" if inner.offset is None else "CHANNELS"
                    self.fail(line, f"'{'End Site' if inner.end else inner.name[:40]}' has no {what}")
                stack.pop()
            else:
                self.fail(line, f"'{piece[:40]}' is not expected here")
        self.fail(self._next, "the file ends before MOTION")

    def _may_begin(self, line: int, word: str, inner: _Joint | None, found: _Skeleton) -> None:
        if word == "ROOT" and found.joints:
            self.fail(line, "a second ROOT: only one person is read from a file")
        if (word == "ROOT") != (inner is None) or (inner is not None and inner.end):
            self.fail(line, f"{word} is not expected here")
        if len(found.joints) >= MAX_JOINTS:
            self.fail(line, f"more than {MAX_JOINTS} joints")

    def _channels(self, line: int, words: list[str]) -> list[tuple[str, int]]:
        names = [_CHANNEL.fullmatch(word) for word in words[1:]]
        channels = [(name[2].lower(), "XYZ".index(name[1].upper())) for name in names if name is not None]
        if words[:1] not in (["3"], ["6"]) or len(channels) != int(words[0]) or len(set(channels)) != len(names):
            self.fail(line, "CHANNELS: expected 3 or 6, and as many different ones of Xposition ... Zrotation")
        return channels

    def _numbers(self, line: int, words: list[str], count: int, what: str) -> list[float]:
        if len(words) != count:
            self.fail(line, f"{what}: expected {count} numbers, got {len(words)}")
        try:
            values = [float(word) for word in words]
        except ValueError:
            values = []
        if not values or not all(abs(value) <= LARGEST for value in values):  # NaN is not
            self.fail(line, f"{what}: expected finite numbers of at most {LARGEST:g}")
        return values

    def _filled(self) -> Iterator[tuple[int, str]]:
        """Lines that are not blank."""
        while self._next < len(self._lines):
            self._next += 1
            if text := self._lines[self._next - 1].strip():
                yield self._next, text

    def motion(self, columns: int) -> tuple[float, np.ndarray]:
        """Time between frames [s], and the channels of every frame (T, columns), degrees and lengths of the file."""
        rows = self._filled()
        line, text = next(rows, (self._next, ""))
        count = re.fullmatch(r"Frames\s*:\s*(\d{1,9})", text, re.IGNORECASE | re.ASCII)
        if count is None:
            self.fail(line, "expected 'Frames: N'")
        frames = int(count[1])
        if not 2 <= frames <= MAX_FRAMES:
            self.fail(line, f"Frames: from 2 to {MAX_FRAMES} are possible")
        line, text = next(rows, (self._next, ""))
        given = re.fullmatch(r"Frame\s+Time\s*:\s*(\S+)", text, re.IGNORECASE)
        if given is None:
            self.fail(line, "expected 'Frame Time: SECONDS'")
        step = self._numbers(line, [given[1]], 1, "Frame Time")[0]
        if not (1e-6 <= step <= 60.0 and math.isfinite(step)):
            self.fail(line, "Frame Time: expected seconds between two frames, from 1e-6 to 60")
        if 2 * frames * columns > sum(len(text) + 1 for text in self._lines[self._next :]) + 1:
            self.fail(line, f"the file is too short for {frames} frames of {columns} numbers")
        values = np.empty((frames, columns))
        read = 0
        for line, text in rows:
            if read == frames:
                self.fail(line, f"more than the {frames} frames that were announced")
            values[read] = self._numbers(line, text.split(), columns, f"frame {read + 1}")
            read += 1
        if read < frames:
            self.fail(self._next, f"the file ends after {read} of {frames} frames")
        return step, values
