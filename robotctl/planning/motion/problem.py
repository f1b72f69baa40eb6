"""This file turns a JSON text into motion problems, or into one line that says what is wrong with it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from robotctl.errors import InvalidFileError, nearest
from robotctl.files import one_line, read_text, show_path
from robotctl.geometry import matrix_from_quaternion

MAX_BYTES = 20_000_000
FINGER_MAX = 0.04  # stroke of each finger joint [m]
UNIT = 1e-3  # a quaternion this near to length 1 is normalised, another is an error
MOST = 1000  # obstacles in one problem
MAX_LENGTH = 100.0  # no obstacle is farther away or larger [m]
TYPES = ("box", "cylinder", "sphere")
_SIZE_KEYS = {"box": ("size",), "cylinder": ("radius", "height"), "sphere": ("radius",)}
_PROBLEM_KEYS = ("id", "start_q", "goal_q", "goal_hand_pose", "obstacles", "finger", "goal_touch_allowed")


@dataclass(frozen=True)
class Obstacle:
    """A solid that stands still, in the frame of the robot's base."""

    name: str
    type: str  # box, cylinder (axis: local z) or sphere
    half: np.ndarray  # (3,) box: half edges; cylinder: radius, half height; sphere: radius [m]
    position: np.ndarray  # (3,) of its centre [m]
    rotation: np.ndarray  # (3, 3) world from obstacle


@dataclass(frozen=True)
class Problem:
    """From a configuration to another, or to a pose of the link `panda_hand`."""

    id: str | int
    start_q: np.ndarray  # (7,) [rad]
    goal_q: np.ndarray | None  # (7,) [rad]
    goal_position: np.ndarray | None  # (3,) [m]
    goal_rotation: np.ndarray | None  # (3, 3) world from hand
    obstacles: tuple[Obstacle, ...]
    finger: float  # position of each finger joint [m]
    touch_allowed: tuple[str, ...]  # obstacles that hand and fingers may touch near the goal


def load_problems(path: Path) -> list[Problem]:
    """Reads a file with one problem or a list of them; InvalidFileError names file, problem, key and nearest word."""
    name = show_path(path)
    try:
        data = json.loads(read_text(path, MAX_BYTES), object_pairs_hook=_unique_keys)
    except json.JSONDecodeError as error:
        raise InvalidFileError(f"{name}:{error.lineno}:{error.colno}: not JSON: {error.msg}") from None
    except (RecursionError, ValueError) as error:
        reason = "nested too deep" if isinstance(error, RecursionError) else str(error)
        raise InvalidFileError(f"{name}: not JSON: {one_line(reason)}") from None
    rows = data if isinstance(data, list) else [data]
    if not rows:
        raise InvalidFileError(f"{name}: the list of problems is empty")
    problems = [_Reader(name, f"problem [{index}]").problem(row, index) for index, row in enumerate(rows)]
    seen: dict[str | int, int] = {}
    for index, problem in enumerate(problems):
        if problem.id in seen:
            raise InvalidFileError(
                f"{name}: problem [{index}]: key 'id': {problem.id!r} is also the id of problem [{seen[problem.id]}]"
            )
        seen[problem.id] = index
    return problems


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for key, value in pairs:
        if key in out:
            raise ValueError(f"key '{key}' is given twice")
        out[key] = value
    return out


class _Reader:
    """Reads one problem and knows how to name the place of an error."""

    def __init__(self, file: str, where: str) -> None:
        self.file = file
        self.where = where

    def fail(self, key: str, message: str) -> NoReturn:
        place = f"key '{key}': " if key else ""
        raise InvalidFileError(one_line(f"{self.file}: {self.where}: {place}{message}"))

    def problem(self, row: Any, index: int) -> Problem:
        if isinstance(row, dict) and _short(row.get("id")):
            self.where = f"problem {row['id']!r}"
        self.keys("", row, _PROBLEM_KEYS, ("id", "start_q", "obstacles"))
        if not _short(row["id"]):
            self.fail("id", "must be a text of 1 to 200 characters or a whole number")
        if ("goal_q" in row) == ("goal_hand_pose" in row):
            self.fail("goal_q", "exactly one of 'goal_q' and 'goal_hand_pose' must be given")
        position = rotation = None
        if "goal_hand_pose" in row:
            pose = row["goal_hand_pose"]
            self.keys("goal_hand_pose", pose, ("position", "quat_xyzw"), ("position", "quat_xyzw"))
            position = self.vector("goal_hand_pose.position", pose["position"], 3)
            rotation = self.rotation("goal_hand_pose.quat_xyzw", pose["quat_xyzw"])
        if not isinstance(row["obstacles"], list):
            self.fail("obstacles", f"must be a list, not {_kind(row['obstacles'])}")
        if len(row["obstacles"]) > MOST:
            self.fail("obstacles", f"at most {MOST} are possible, there are {len(row['obstacles'])}")
        obstacles = tuple(self.obstacle(f"obstacles[{i}]", item) for i, item in enumerate(row["obstacles"]))
        names = [obstacle.name for obstacle in obstacles]
        for i, name in enumerate(names):
            if name in names[:i]:
                self.fail(f"obstacles[{i}].name", f"{name!r} is also the name of obstacles[{names.index(name)}]")
        finger = self.number("finger", row.get("finger", FINGER_MAX))
        if not 0.0 <= finger <= FINGER_MAX:
            self.fail("finger", f"must be from 0 to {FINGER_MAX} m, is {finger:g}")
        allowed = row.get("goal_touch_allowed", [])
        if not isinstance(allowed, list) or not all(isinstance(name, str) for name in allowed):
            self.fail("goal_touch_allowed", "must be a list of names of obstacles")
        for name in allowed:
            if name not in names:
                self.fail("goal_touch_allowed", f"no obstacle is called '{name}'{nearest(name, names)}")
        return Problem(
            id=row["id"],
            start_q=self.vector("start_q", row["start_q"], 7),
            goal_q=self.vector("goal_q", row["goal_q"], 7) if "goal_q" in row else None,
            goal_position=position,
            goal_rotation=rotation,
            obstacles=obstacles,
            finger=finger,
            touch_allowed=tuple(allowed),
        )

    def obstacle(self, key: str, row: Any) -> Obstacle:
        if not isinstance(row, dict):
            self.fail(key, f"must be an object, not {_kind(row)}")
        kind = row.get("type")
        if "type" in row and kind not in TYPES:
            hint = nearest(kind, TYPES) if isinstance(kind, str) else f"; one of: {', '.join(TYPES)}"
            self.fail(f"{key}.type", f"no type '{kind}'{hint}")
        sizes = _SIZE_KEYS[kind] if kind else ()
        self.keys(key, row, ("name", "type", *sizes, "position", "quat_xyzw"), ("name", "type", *sizes, "position"))
        if not isinstance(row["name"], str) or not 0 < len(row["name"]) <= 200:
            self.fail(f"{key}.name", "must be a text of 1 to 200 characters")
        if kind == "box":
            half = 0.5 * self.vector(f"{key}.size", row["size"], 3)
            smallest, wrong = float(half.min()), f"{key}.size"
        else:
            values = [self.number(f"{key}.{name}", row[name]) for name in sizes]
            half = np.array([values[0], 0.5 * values[-1], 0.0])
            smallest, wrong = min(values), f"{key}.{sizes[int(np.argmin(values))]}"
        if smallest <= 0.0:
            self.fail(wrong, "must be greater than 0 m")
        rotation = self.rotation(f"{key}.quat_xyzw", row["quat_xyzw"]) if "quat_xyzw" in row else np.eye(3)
        return Obstacle(row["name"], str(kind), half, self.vector(f"{key}.position", row["position"], 3), rotation)

    def keys(self, key: str, row: Any, known: tuple[str, ...], needed: tuple[str, ...]) -> None:
        """Fails unless `row` is an object with the needed and only known keys."""
        if not isinstance(row, Mapping):
            self.fail(key, f"must be an object, not {_kind(row)}")
        prefix = f"{key}." if key else ""
        for word in row:
            if word not in known:
                self.fail(f"{prefix}{word}", f"no such key{nearest(word, known)}")
        for word in needed:
            if word not in row:
                self.fail(f"{prefix}{word}", "is missing")

    def number(self, key: str, value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            self.fail(key, f"must be a number, not {_kind(value)}")
        if not abs(value) <= MAX_LENGTH:
            self.fail(key, "is too large (at most 100)" if _finite(value) else "is not a finite number")
        return float(value)

    def vector(self, key: str, value: Any, length: int) -> np.ndarray:
        if not isinstance(value, list):
            self.fail(key, f"must be a list of {length} numbers, not {_kind(value)}")
        if len(value) != length:
            self.fail(key, f"must be a list of {length} numbers, has {len(value)}")
        return np.array([self.number(f"{key}[{i}]", item) for i, item in enumerate(value)])

    def rotation(self, key: str, value: Any) -> np.ndarray:
        """(3, 3) of a quaternion xyzw, normalised if it is nearly of length 1."""
        quaternion = self.vector(key, value, 4)
        length = float(np.linalg.norm(quaternion))
        if not abs(length - 1.0) <= UNIT:
            self.fail(key, f"must be a unit quaternion (x, y, z, w), its length is {length:.4g}")
        return matrix_from_quaternion(quaternion / length)


def _finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number beyond any float: large, not infinite
        return True


def _short(value: Any) -> bool:
    """Whether a value can be an id."""
    if isinstance(value, str):
        return 0 < len(value) <= 200
    return isinstance(value, int) and not isinstance(value, bool)


def _kind(value: Any) -> str:
    """What a JSON value is, in words."""
    if value is None:
        return "null"
    names = {
        bool: "true or false",
        str: "a text",
        list: "a list",
        dict: "an object",
        int: "a number",
        float: "a number",
    }
    return names.get(type(value), type(value).__name__)
