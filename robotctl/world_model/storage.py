"""Writes and reads a model file: arrays as safetensors, with a JSON card beside it for people to read.

Nothing is ever unpickled. Whatever is wrong with a file is told in one line.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

from robotctl.errors import InvalidFileError
from robotctl.files import one_line
from robotctl.jsontext import json_text

FORMAT = "robotctl/world-model.v1"
MAX_BYTES = 100_000_000


def save(path: Path, arrays: dict[str, np.ndarray], notes: dict[str, Any], card: dict[str, Any]) -> str:
    """Writes `path` and `path.json` (each complete or not at all); returns the weights' sha256.

    notes: what is needed to use the arrays (JSON); card: where they come from and how good they are.
    """
    from safetensors.numpy import save as to_bytes

    # One entry only: safetensors writes several in an arbitrary order, and the same model must have the same hash.
    metadata = {"robotctl": json.dumps({"format": FORMAT, "notes": notes}, sort_keys=True)}
    data = to_bytes({name: np.ascontiguousarray(a) for name, a in sorted(arrays.items())}, metadata)
    digest = hashlib.sha256(data).hexdigest()
    path.parent.mkdir(parents=True, exist_ok=True)
    _replace(path, data)
    _replace(card_path(path), (json_text({**card, "sha256": digest}, indent=1) + "\n").encode())
    return digest


def card_path(path: Path) -> Path:
    """The card that belongs to a model file."""
    return path.with_suffix(".json")


def _replace(path: Path, data: bytes) -> None:
    """Writes a file so that it is there as a whole or not at all, even if interrupted."""
    partial = path.with_name(path.name + ".partial")
    partial.write_bytes(data)
    partial.replace(path)


def load(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any], str]:
    """Arrays by name, notes, and the sha256 of a model file; InvalidFileError says what is wrong with it."""
    from safetensors import SafetensorError
    from safetensors.numpy import load as from_bytes

    try:
        if path.stat().st_size > MAX_BYTES:
            raise InvalidFileError(f"{path}: larger than {MAX_BYTES // 1_000_000} MB, not a world model")
        data = path.read_bytes()
    except OSError as error:
        raise InvalidFileError(f"{path}: cannot be read: {error.strerror or error}") from error
    try:
        length = int.from_bytes(data[:8], "little")
        header = json.loads(data[8 : 8 + length])
        metadata = json.loads((header.get("__metadata__") or {}).get("robotctl", "{}"))
        arrays = from_bytes(data)
        file_format, notes = metadata.get("format"), metadata.get("notes")
    except (SafetensorError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InvalidFileError(f"{path}: not a complete safetensors file ({_one_line(error)})") from error
    if file_format != FORMAT or not isinstance(notes, dict):
        raise InvalidFileError(f"{path}: not a {FORMAT} file; `robotctl train` makes one")
    for name, array in arrays.items():
        if not np.issubdtype(array.dtype, np.floating):
            shown = one_line(name[:80])
            raise InvalidFileError(f"{path}: array '{shown}' holds {array.dtype}, expected floating point numbers")
        if not np.all(np.isfinite(array)):
            raise InvalidFileError(f"{path}: array '{one_line(name[:80])}' holds numbers that are not finite")
    return arrays, notes, hashlib.sha256(data).hexdigest()


def load_card(path: Path) -> dict[str, Any]:
    """The card beside a model file; empty when there is none."""
    try:
        card = json.loads(card_path(path).read_text())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        raise InvalidFileError(f"{card_path(path)}: not a JSON card ({_one_line(error)})") from error
    if not isinstance(card, dict):
        raise InvalidFileError(f"{card_path(path)}: not a JSON card")
    return card


def expect(path: Path, arrays: dict[str, np.ndarray], shapes: dict[str, tuple[int | None, ...]]) -> None:
    """Checks that arrays are there with these shapes; None in a shape is any positive size."""
    for name, shape in shapes.items():
        if name not in arrays:
            raise InvalidFileError(f"{path}: array '{name}' is missing")
        actual = arrays[name].shape
        fits = len(actual) == len(shape) and all(
            a > 0 if s is None else a == s for a, s in zip(actual, shape, strict=True)
        )
        if not fits:
            wanted = ", ".join("any" if s is None else str(s) for s in shape)
            raise InvalidFileError(f"{path}: array '{name}' has shape {actual}, expected ({wanted})")


def _one_line(error: BaseException) -> str:
    return one_line(str(error))[:200] or type(error).__name__
