"""This file turns a YAML text into plain data whose every key and value knows its line and column.

Strict on purpose: only maps, lists, texts, numbers, true, false and null. No aliases, anchors, tags, duplicate
keys, several documents, depth over 32 or size over 1 MB. `on`, `yes` and dates are plain texts, as in YAML 1.2.
What is wrong is said in one line, `file:line:col: message` (InvalidFileError).
"""

from __future__ import annotations

import math
import re
import typing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import yaml

from robotctl.errors import InvalidFileError

MAX_BYTES = 1_000_000
MAX_DEPTH = 32
LONGEST = 60  # characters of a key that an error repeats
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_INT = re.compile(r"[-+]?\d{1,18}")
_FLOAT = re.compile(
    r"[-+]?(?:\d+\.\d*|\.\d+|\d+(?=[eE]))(?:[eE][-+]?\d{1,3})?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"
)
_CONSTANTS = {"": None, "~": None, "null": None, "true": True, "false": False}

Location = tuple[str | int, ...]


@dataclass(frozen=True)
class Mark:
    """A place in a file, counted from 1."""

    line: int
    column: int


@dataclass(frozen=True)
class Document:
    """A parsed YAML file: plain data and where each part of it stands."""

    path: Path
    text: str
    data: Any
    values: dict[Location, Mark] = field(repr=False)  # where the value at a location begins
    keys: dict[Location, Mark] = field(repr=False)  # where its key begins

    def mark(self, location: Location, key: bool = False) -> Mark:
        """Position of the value (or of its key) at `location`, or of the nearest thing around it."""
        table = self.keys if key else self.values
        if location in table:
            return table[location]
        while location and location not in self.values:
            location = location[:-1]
        return self.values.get(location, Mark(1, 1))

    def error(self, location: Location, message: str, key: bool = False) -> InvalidFileError:
        """`file:line:col: key 'x': message`."""
        mark = self.mark(location, key)
        where = f"key '{dotted(location)}': " if location else ""
        return InvalidFileError(f"{show_path(self.path)}:{mark.line}:{mark.column}: {one_line(where + message)}")

    def fail(self, location: Location, message: str, key: bool = False) -> NoReturn:
        raise self.error(location, message, key)


def dotted(location: Location) -> str:
    """`items[2].kind` for ("items", 2, "kind")."""
    text = ""
    for part in location:
        word = str(part) if len(str(part)) <= LONGEST else f"{str(part)[:LONGEST]}..."
        text += f"[{word}]" if isinstance(part, int) else f".{word}" if text else word
    return text


def one_line(message: str) -> str:
    """The message without line breaks or control characters."""
    return " ".join("".join(c if c.isprintable() else " " for c in message).split())


def show_path(path: Path) -> str:
    """The path relative to the working directory when it lies below it; characters that cannot be printed as `?`."""
    try:
        name = str(path.resolve().relative_to(Path.cwd()))
    except (ValueError, OSError):
        name = str(path)
    return "".join(c if c.isprintable() else "?" for c in name)


def is_file(path: Path) -> bool:
    """Whether there is such a file; a name that no file can have is none."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def read_text(path: Path, limit: int = MAX_BYTES) -> str:
    """UTF-8 text of a regular file of at most `limit` bytes."""
    name = show_path(path)
    try:
        if not path.is_file():
            raise InvalidFileError(f"{name}: no such file")
        with path.open("rb") as stream:
            raw = stream.read(limit + 1)
    except (OSError, ValueError) as error:
        raise InvalidFileError(f"{name}: cannot be read: {one_line(str(error))}") from None
    if len(raw) > limit:
        raise InvalidFileError(f"{name}: larger than {limit // 1000} kB")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise InvalidFileError(f"{name}:{line}:1: not UTF-8 text") from None


def load_yaml(path: Path) -> Document:
    """Reads a YAML file strictly."""
    return parse_yaml(read_text(path), path)


def parse_yaml(text: str, path: Path) -> Document:
    """Parses strict YAML; every way of being wrong is an InvalidFileError with its position."""
    builder = _Builder(path)
    if len(text.encode("utf-8", "replace")) > MAX_BYTES:
        raise InvalidFileError(f"{show_path(path)}: larger than {MAX_BYTES // 1000} kB")
    try:
        for event in yaml.parse(text, Loader=_LOADER):
            builder.take(event)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        builder.fail(mark, f"not YAML: {error.problem or error.context or 'syntax error'}")
    except (yaml.YAMLError, UnicodeError) as error:
        builder.fail(None, f"not YAML: {str(error).splitlines()[0]}")
    if builder.documents != 1:
        builder.fail(None, "the file is empty")
    return Document(path, text, builder.root, builder.values, builder.keys)


class _Builder:
    """Builds plain data from YAML events with a stack of its own, so that no nesting exhausts Python's."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.root: Any = None
        self.documents = 0
        self.values: dict[Location, Mark] = {}
        self.keys: dict[Location, Mark] = {}
        self._stack: list[Any] = []  # open maps and lists, outermost first
        self._location: list[str | int] = []  # of the innermost open one, without its next child
        self._key: list[str | None] = []  # for each open one: the key read, waiting for its value

    def fail(self, mark: Any, message: str) -> NoReturn:
        line, column = (mark.line + 1, mark.column + 1) if mark is not None else (1, 1)
        raise InvalidFileError(f"{show_path(self.path)}:{line}:{column}: {one_line(message)}")

    def take(self, event: yaml.Event) -> None:
        if isinstance(event, yaml.DocumentStartEvent):
            self.documents += 1
            if self.documents > 1:
                self.fail(event.start_mark, "only one YAML document is allowed")
        elif isinstance(event, yaml.AliasEvent):
            self.fail(event.start_mark, "aliases (*name) are not allowed")
        elif isinstance(event, yaml.NodeEvent):
            if event.anchor is not None:
                self.fail(event.start_mark, "anchors (&name) are not allowed")
            if getattr(event, "tag", None) is not None:
                self.fail(event.start_mark, "tags (!name) are not allowed")
            self._node(event)
        elif isinstance(event, yaml.CollectionEndEvent):
            self._stack.pop()
            self._key.pop()
            if self._stack:
                self._location.pop()

    def _node(self, event: Any) -> None:
        scalar = isinstance(event, yaml.ScalarEvent)
        parent = self._stack[-1] if self._stack else None
        if isinstance(parent, dict) and self._key[-1] is None:
            self._take_key(event, parent)
            return
        if scalar:
            value = event.value if event.style else self._plain(event)
        else:
            if len(self._stack) >= MAX_DEPTH:
                self.fail(event.start_mark, f"nested deeper than {MAX_DEPTH}")
            value = {} if isinstance(event, yaml.MappingStartEvent) else []
        place: list[str | int] = []
        if isinstance(parent, dict):
            key = typing.cast(str, self._key[-1])
            parent[key], self._key[-1] = value, None
            place = [key]
        elif isinstance(parent, list):
            place = [len(parent)]
            parent.append(value)
        else:
            self.root = value
        self.values[(*self._location, *place)] = Mark(event.start_mark.line + 1, event.start_mark.column + 1)
        if not scalar:
            self._location += place
            self._stack.append(value)
            self._key.append(None)

    def _take_key(self, event: Any, parent: dict[str, Any]) -> None:
        if not isinstance(event, yaml.ScalarEvent):
            self.fail(event.start_mark, "a key must be a plain word")
        if event.value in parent:
            self.fail(event.start_mark, f"key '{event.value}': given twice")
        self._key[-1] = event.value
        self.keys[(*self._location, event.value)] = Mark(event.start_mark.line + 1, event.start_mark.column + 1)

    def _plain(self, event: Any) -> Any:
        """A plain scalar by the core schema of YAML 1.2, without octal and hexadecimal numbers."""
        text: str = event.value
        if text in _CONSTANTS:
            return _CONSTANTS[text]
        if _INT.fullmatch(text):
            return int(text)
        if _FLOAT.fullmatch(text):
            value = float(text.replace(".inf", "inf").replace(".nan", "nan"))
            if not math.isfinite(value):
                key = next((f"key '{key}': " for key in reversed(self._key) if key), "")
                self.fail(event.start_mark, f"{key}'{text}' is not a finite number")
            return value
        return text
