"""This file turns a YAML file into validated values, or into one line that says where it is wrong.

Strict on purpose: only maps, lists, texts, numbers, true, false and null. No aliases, anchors, tags, duplicate
keys, several documents, depth over 32 or size over 1 MB. `on`, `yes` and dates are plain texts, as in YAML 1.2.
Every key and value keeps its line and column.
"""

from __future__ import annotations

import math
import re
import types
import typing
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, TypeVar

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    WithJsonSchema,
)

from robotctl.errors import InvalidFileError, nearest
from robotctl.units import parse_vector

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

MAX_BYTES = 1_000_000
MAX_DEPTH = 32
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_INT = re.compile(r"[-+]?\d{1,18}")
_FLOAT = re.compile(
    r"[-+]?(?:\d+\.\d*|\.\d+|\d+(?=[eE]))(?:[eE][-+]?\d{1,3})?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"
)
_CONSTANTS = {"": None, "~": None, "null": None, "true": True, "false": False}

Location = tuple[str | int, ...]
Model = TypeVar("Model", bound=BaseModel)


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
        return InvalidFileError(f"{show_path(self.path)}:{mark.line}:{mark.column}: {where}{one_line(message)}")

    def fail(self, location: Location, message: str, key: bool = False) -> NoReturn:
        raise self.error(location, message, key)


def dotted(location: Location) -> str:
    """`items[2].kind` for ("items", 2, "kind")."""
    text = ""
    for part in location:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def one_line(message: str) -> str:
    """The message without line breaks or control characters."""
    return " ".join("".join(c if c.isprintable() else " " for c in message).split())


def show_path(path: Path) -> str:
    """The path relative to the working directory when it lies below it."""
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except (ValueError, OSError):
        return str(path)


def read_text(path: Path, limit: int = MAX_BYTES) -> str:
    """UTF-8 text of a regular file of at most `limit` bytes."""
    name = show_path(path)
    try:
        if not path.is_file():
            raise InvalidFileError(f"{name}: no such file")
        with path.open("rb") as stream:
            raw = stream.read(limit + 1)
    except (OSError, ValueError) as error:
        raise InvalidFileError(f"{one_line(name)}: cannot be read: {one_line(str(error))}") from None
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
                self.fail(event.start_mark, f"'{text}' is not a finite number")
            return value
        return text


# ---- schemas ---------------------------------------------------------------------------------------------------


class Strict(BaseModel):
    """A part of a file: unknown keys, wrong types and non-finite numbers are refused."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False, hide_input_in_errors=True)


Name = Annotated[str, StringConstraints(pattern=r"^[a-zA-Z][a-zA-Z0-9_.-]{0,63}$")]


def quantity(
    unit: str, minimum: float = -math.inf, maximum: float = math.inf, positive: bool = False
) -> Any:  # a type for pydantic
    """Type of one number with a unit, kept as a float in `unit`."""

    def parse(text: object) -> float:
        value = parse_vector(text, unit, 1)[0]
        if value < minimum:
            raise ValueError(f"must be at least {minimum:g} {unit}")
        if value > maximum:
            raise ValueError(f"must be at most {maximum:g} {unit}")
        if positive and value <= 0:
            raise ValueError("must be above 0")
        return value

    return Annotated[
        float, BeforeValidator(parse), WithJsonSchema({"type": "string", "description": f"number [{unit}]"})
    ]


def vector(unit: str, count: int, positive: bool = False, bound: float = 1000.0) -> Any:
    """Type of `count` numbers and one unit in a single text, kept as a tuple of floats in `unit`."""

    def parse(text: object) -> tuple[float, ...]:
        values = parse_vector(text, unit, count)
        if positive and min(values) <= 0:
            raise ValueError("every number must be above 0")
        if max(abs(value) for value in values) > bound:
            raise ValueError(f"every number must be within {bound:g} {unit}")
        return values

    description = f"{count} numbers [{unit}]"
    return Annotated[
        tuple[float, ...], BeforeValidator(parse), WithJsonSchema({"type": "string", "description": description})
    ]


def word(choices: Iterable[str], what: str) -> Any:
    """Type of one word of a closed vocabulary."""
    options = tuple(sorted(choices))

    def known(text: str) -> str:
        if text not in options:
            raise ValueError(f"unknown {what} '{text[:40]}'{nearest(text[:40], options)}")
        return text

    return Annotated[str, AfterValidator(known), WithJsonSchema({"type": "string", "enum": list(options)})]


def plain(count: int, minimum: float = -math.inf, maximum: float = math.inf) -> Any:
    """Type of a list of `count` numbers without a unit: a direction or a colour."""
    number = Annotated[float, Field(ge=minimum, le=maximum)] if math.isfinite(minimum) else float
    return Annotated[list[number], Field(min_length=count, max_length=count)]  # type: ignore[valid-type]


def header(document: Document, schema: str) -> None:
    """The file says what it is, before anything else is looked at."""
    if not isinstance(document.data, dict):
        document.fail((), f"expected a map that begins with 'schema: {schema}'")
    given = document.data.get("schema")
    if given != schema:
        if given is None:
            document.fail((), f"key 'schema' is missing: write 'schema: {schema}'")
        document.fail(("schema",), f"expected '{schema}'")


def validate(document: Document, model: type[Model]) -> Model:
    """The document as `model`; the first error in the file is raised with its position."""
    try:
        return model.model_validate(document.data)
    except ValidationError as error:
        found = [_explain(document, model, detail) for detail in error.errors(include_url=False)]
        location, message, key = min(found, key=lambda entry: _order(document, entry))
        raise document.error(location, message, key) from None


def _order(document: Document, entry: tuple[Location, str, bool]) -> tuple[int, int]:
    mark = document.mark(entry[0], entry[2])
    return mark.line, mark.column


def _explain(document: Document, model: type[BaseModel], detail: ErrorDetails) -> tuple[Location, str, bool]:
    """Location in the file, message, and whether the key itself is meant."""
    location, owner = _follow(document.data, model, detail["loc"])
    kind, context = detail["type"], detail.get("ctx", {})
    if kind == "extra_forbidden":
        return location, f"unknown key{nearest(str(location[-1]), owner)}", True
    if kind == "missing":
        return location, "is missing", False
    if kind == "value_error":
        return location, str(context["error"]), False
    if kind in ("union_tag_invalid", "literal_error"):
        choices = re.findall(r"'([^']*)'", str(context.get("expected_tags", context.get("expected", ""))))
        tag = str(context.get("discriminator", "")).strip("'")
        if tag:
            location = (*location, tag)
        given = _at(document.data, location)
        return location, f"unknown word '{str(given)[:40]}'{nearest(str(given)[:40], choices)}", False
    if kind == "union_tag_not_found":
        return (*location, str(context["discriminator"]).strip("'")), "is missing", False
    if kind in ("model_type", "dict_type", "model_attributes_type"):
        return location, "expected a map of keys and values", False
    if kind == "string_pattern_mismatch":
        return location, "expected a name: letters, digits, '_', '-' and '.', beginning with a letter", False
    message = re.sub(r"^(Input|Tuple|List|Value) should (be|have)", r"should \2", detail["msg"])
    return location, message.replace("a valid string", "a text"), False


def _at(data: Any, location: Location) -> Any:
    for part in location:
        try:
            data = data[part]
        except (KeyError, IndexError, TypeError):
            return None
    return data


def _follow(data: Any, annotation: Any, loc: Sequence[str | int]) -> tuple[Location, list[str]]:
    """Pydantic's `loc` without the tags of unions, and the keys that the innermost map may have."""
    location: list[str | int] = []
    keys: list[str] = []
    for part in loc:
        members = [_bare(member) for member in _members(annotation)]
        tagged = [m for m in members if isinstance(part, str) and len(members) > 1 and part in _tags(m)]
        if tagged:
            annotation = tagged[0]
            continue
        if isinstance(part, int) != isinstance(data, list):
            continue  # one word that stands for a list of one
        location.append(part)
        fields = [m for m in members if isinstance(m, type) and issubclass(m, BaseModel)]
        keys = [f.alias or n for m in fields for n, f in m.model_fields.items()]
        annotation = next(
            (f.annotation for m in fields for n, f in m.model_fields.items() if part in (n, f.alias)),
            _element(members),
        )
        data = _at(data, (part,))
    return tuple(location), keys


def _members(annotation: Any) -> list[Any]:
    bare = _bare(annotation)
    if typing.get_origin(bare) in (typing.Union, types.UnionType):
        return [m for m in typing.get_args(bare) if m is not type(None)]
    return [bare]


def _bare(annotation: Any) -> Any:
    while typing.get_origin(annotation) is Annotated:
        annotation = typing.get_args(annotation)[0]
    return annotation


def _tags(member: Any) -> tuple[str, ...]:
    """Values of a model's `kind` field, by which a union is told apart."""
    if isinstance(member, type) and issubclass(member, BaseModel) and "kind" in member.model_fields:
        return tuple(str(a) for a in typing.get_args(member.model_fields["kind"].annotation))
    return ()


def _element(members: list[Any]) -> Any:
    """What a list or map holds."""
    for member in members:
        if typing.get_origin(member) in (list, tuple):
            return typing.get_args(member)[0]
        if typing.get_origin(member) is dict:
            return typing.get_args(member)[1]
    return None


def json_schema(model: type[BaseModel], title: str) -> dict[str, Any]:
    """JSON schema of a file format, for editors (YAML language servers)."""
    schema = model.model_json_schema(by_alias=True)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": title}
