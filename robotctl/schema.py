"""This file turns plain data into a validated model, or into one line that says where the file is wrong.

The formats are pydantic models; the types of values with a unit and of words from a closed vocabulary are here.
"""

from __future__ import annotations

import math
import re
import types
import typing
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError
from pydantic_core import core_schema

from robotctl.errors import nearest
from robotctl.files import Document, Location
from robotctl.units import parse_vector

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

Model = TypeVar("Model", bound=BaseModel)
Numbers = tuple[float, ...]
MISSING = "is missing"


class Strict(BaseModel):
    """A part of a file: unknown keys, wrong types and non-finite numbers are refused."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False, hide_input_in_errors=True)


Name = Annotated[str, StringConstraints(pattern=r"^[a-zA-Z][a-zA-Z0-9_.-]{0,63}$")]


@dataclass(frozen=True)
class Unit:
    """`count` numbers and one unit in a single text ("40 mm", "0.3 -0.6 0.75 m"), kept as floats in `unit`.

    Use: Annotated[float, Unit("m")] or Annotated[Numbers, Unit("m", 3)]. The bounds hold for every number.
    """

    unit: str
    count: int = 1
    minimum: float = -math.inf
    maximum: float = math.inf
    positive: bool = False

    def parse(self, text: object) -> float | Numbers:
        values = parse_vector(text, self.unit, self.count)
        each = "" if self.count == 1 else "every number "
        if min(values) < self.minimum:
            raise ValueError(f"{each}must be at least {self.minimum:g} {self.unit}")
        if max(values) > self.maximum:
            raise ValueError(f"{each}must be at most {self.maximum:g} {self.unit}")
        if self.positive and min(values) <= 0:
            raise ValueError(f"{each}must be above 0")
        return values[0] if self.count == 1 else values

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> core_schema.CoreSchema:
        return core_schema.no_info_plain_validator_function(self.parse)

    def __get_pydantic_json_schema__(self, schema: Any, handler: Any) -> dict[str, Any]:
        what = "number" if self.count == 1 else f"{self.count} numbers"
        return {"type": "string", "description": f"{what} and a unit [{self.unit}]"}


@dataclass(frozen=True)
class Word:
    """One word of a closed vocabulary. Use: Annotated[str, Word(LABELS, "label")]."""

    choices: frozenset[str]
    what: str

    def parse(self, text: object) -> str:
        if not isinstance(text, str):
            raise ValueError(f"expected a {self.what}{nearest('', self.choices)}")
        if text not in self.choices:
            raise ValueError(f"unknown {self.what} '{text[:40]}'{nearest(text[:40], self.choices)}")
        return text

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> core_schema.CoreSchema:
        return core_schema.no_info_plain_validator_function(self.parse)

    def __get_pydantic_json_schema__(self, schema: Any, handler: Any) -> dict[str, Any]:
        return {"type": "string", "enum": sorted(self.choices)}


def one_or_more(value: object) -> object:
    """A single word stands for a list of one."""
    return [value] if isinstance(value, str) else value


def unique(document: Document, section: str | Location, names: Iterable[str], key: str = "name") -> None:
    """Refuses a list of named things that uses a name (their `key`) twice."""
    seen: set[str] = set()
    prefix = (section,) if isinstance(section, str) else section
    for i, name in enumerate(names):
        if name in seen:
            document.fail((*prefix, i, key), f"'{name}' is used twice")
        seen.add(name)


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
    """The document as `model`; the first error in the file is raised with its position.

    A misspelt key is both unknown and missing: what is missing is said only if nothing else is wrong.
    """
    try:
        return model.model_validate(document.data)
    except ValidationError as error:
        found = [_explain(document, model, detail) for detail in error.errors(include_url=False)]
        location, message, key = min(found, key=lambda entry: _order(document, entry))
        raise document.error(location, message, key) from None


def _order(document: Document, entry: tuple[Location, str, bool]) -> tuple[bool, int, int]:
    mark = document.mark(entry[0], entry[2])
    return entry[1] == MISSING, mark.line, mark.column


def _explain(document: Document, model: type[BaseModel], detail: ErrorDetails) -> tuple[Location, str, bool]:
    """Location in the file, message, and whether the key itself is meant."""
    location, owner = _follow(document.data, model, detail["loc"])
    kind, context = detail["type"], detail.get("ctx", {})
    if kind == "extra_forbidden":
        return location, f"unknown key{nearest(str(location[-1]), owner)}", True
    if kind == "missing":
        return location, MISSING, False
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
        return (*location, str(context["discriminator"]).strip("'")), MISSING, False
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
