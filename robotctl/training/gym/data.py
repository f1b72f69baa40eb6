"""Transitions of one round of collecting, and their Parquet file: there as a whole or not at all."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from robotctl.errors import InvalidFileError


@dataclass(frozen=True)
class Transitions:
    """N transitions; those of an episode follow each other.

    state, next_state (N, states); action (N, actions) in [-1, 1]; goal (N, goals), goals may be 0; reward (N,),
    terminated (N,) 0 or 1; episode, step (N,) int32. All others float32.
    """

    state: np.ndarray
    action: np.ndarray
    next_state: np.ndarray
    goal: np.ndarray
    reward: np.ndarray
    terminated: np.ndarray
    episode: np.ndarray
    step: np.ndarray

    def __len__(self) -> int:
        return len(self.reward)


VECTORS = ("state", "action", "next_state", "goal")
NOTES = b"robotctl"  # key of the notes in the file's metadata
NAMES = tuple(field.name for field in fields(Transitions))


def joined(rounds: list[Transitions]) -> Transitions:
    """All transitions of several rounds, their episodes numbered anew."""
    columns = {name: np.concatenate([getattr(r, name) for r in rounds]) for name in NAMES}
    begins = columns["step"] == 0
    columns["episode"] = (np.cumsum(begins) - 1).astype(np.int32)
    return Transitions(**columns)


def write(path: Path, data: Transitions, notes: dict[str, Any]) -> None:
    """Writes transitions and notes about them (JSON): under another name first, so that a kill leaves no half."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns: dict[str, pa.Array] = {}
    for name in NAMES:
        values = getattr(data, name)
        if name in VECTORS:
            flat = pa.array(np.ascontiguousarray(values, np.float32).reshape(-1))
            columns[name] = (
                pa.FixedSizeListArray.from_arrays(flat, values.shape[1])
                if values.shape[1]
                else pa.array([[]] * len(values), pa.list_(pa.float32()))
            )
        else:
            columns[name] = pa.array(values)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    table = pa.table(columns).replace_schema_metadata({NOTES: json.dumps(notes)})
    pq.write_table(table, partial, compression="zstd")
    partial.replace(path)


def read(path: Path) -> tuple[Transitions, dict[str, Any]]:
    """The counterpart of `write`; InvalidFileError says what is wrong with a file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
        columns: dict[str, np.ndarray] = {}
        for name in NAMES:
            column = table.column(name).combine_chunks()
            if name in VECTORS:
                flat = column.flatten().to_numpy(zero_copy_only=False)
                columns[name] = np.array(flat, np.float32).reshape(len(table), -1)
            else:
                columns[name] = np.array(column.to_numpy(zero_copy_only=False))
        notes = json.loads((table.schema.metadata or {})[NOTES])
    except (OSError, KeyError, ValueError, pa.ArrowException) as error:
        raise InvalidFileError(f"{path}: not a whole data file ({' '.join(str(error).split())[:120]})") from error
    return Transitions(**columns), notes
