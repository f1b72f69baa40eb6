"""Failures of the filter as files: everything an episode gave to it, so that it can be run again."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np

from robotctl.body import KEYPOINTS
from robotctl.errors import InvalidFileError
from robotctl.verify.crowd import STEPS
from robotctl.verify.induction import TAIL, Fault, Inputs
from robotctl.verify.room import Room

SCHEMA = "robotctl/verify-filter-case.v1"
LARGEST = 64 << 20  # [bytes]
_WORDS = ("scenario", "seed", "samples", "skill", "kind", "opening", "names", "said")


def save_case(path: Path, room: Room, inputs: Inputs, faults: Sequence[Fault]) -> None:
    """Writes an episode and what was wrong with it."""
    words = {name: getattr(inputs, name) for name in _WORDS}
    header = {
        "schema": SCHEMA,
        "guardrails": room.files,
        "guardrails_sha256": room.rules.sha256,
        **words,
        "faults": [asdict(fault) for fault in faults],
    }
    arrays = {f.name: getattr(inputs, f.name) for f in fields(inputs) if f.name not in _WORDS}
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        np.savez_compressed(file, header=np.array(json.dumps(header)), **arrays)


def load_case(path: Path) -> tuple[Inputs, tuple[str, ...]]:
    """An episode, and the guardrail files it was run with."""
    if not path.is_file():
        raise InvalidFileError(f"{path}: no such file")
    try:
        if path.stat().st_size > LARGEST:
            raise ValueError("it is too large")
        with np.load(path, allow_pickle=False) as file:
            header = json.loads(str(file["header"]))
            if not isinstance(header, dict) or header.get("schema") != SCHEMA:
                raise ValueError(f"its schema is not {SCHEMA}")
            arrays = {f.name: file[f.name] for f in fields(Inputs) if f.name not in _WORDS}
        words: dict[str, Any] = {name: header[name] for name in _WORDS}
        for name in ("names", "said", "seed"):
            words[name] = tuple(words[name])
        inputs = Inputs(**words, **arrays)
        _check(inputs)
        return inputs, tuple(str(name) for name in header["guardrails"])
    except (ValueError, KeyError, TypeError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise InvalidFileError(f"{path}: not a case of `robotctl verify filter`: {str(error)[:120]}") from None


def _check(inputs: Inputs) -> None:
    """Shapes that belong together, and numbers where there must be some."""
    ticks, people, joints = inputs.samples + TAIL, len(inputs.names), len(KEYPOINTS)
    shapes = {
        "q": (10,),
        "T_hand_object": (4, 4),
        "believed": (ticks, 4, 4),
        "proposals": (ticks, 11),
        "readings": (ticks, people, joints, 3),
        "stamps": (ticks, people),
        "keypoints": (STEPS * ticks + 1, people, joints, 3),
        "delay": (STEPS * ticks,),
        "offset": (STEPS * ticks, 10),
    }
    for name, shape in shapes.items():
        value = getattr(inputs, name)
        if value.shape != shape or value.dtype.kind != "f":
            raise ValueError(f"'{name}' has shape {value.shape}, not {shape}")
        if name not in ("readings", "stamps") and not np.isfinite(value).all():
            raise ValueError(f"'{name}' is not finite")
    if len(inputs.said) != ticks:
        raise ValueError(f"'said' has {len(inputs.said)} entries, not {ticks}")
