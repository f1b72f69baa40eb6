"""Keeps collected data as Parquet files: columns of arrays and words, each file there as a whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from robotctl.errors import InvalidFileError

SHAPES = b"robotctl.shapes"  # key of the metadata that holds the shape of one row of every column


def save_table(path: Path, columns: Mapping[str, np.ndarray]) -> None:
    """Writes columns (N, ...) of numbers or words; a row of more than one number becomes a list of fixed length."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    arrays, shapes = [], {}
    for name, values in columns.items():
        values = np.asarray(values)
        shapes[name] = list(values.shape[1:])
        if values.dtype.kind in "UO":
            arrays.append(pa.array(values.tolist(), pa.string()))
        elif values.ndim == 1:
            arrays.append(pa.array(values))
        else:
            flat = pa.array(np.ascontiguousarray(values).reshape(-1))
            arrays.append(pa.FixedSizeListArray.from_arrays(flat, int(np.prod(values.shape[1:]))))
    table = pa.Table.from_arrays(arrays, names=list(columns))
    table = table.replace_schema_metadata({SHAPES: json.dumps(shapes).encode()})
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    pq.write_table(table, partial, compression="zstd")
    partial.replace(path)


def load_table(path: Path) -> dict[str, np.ndarray]:
    """The columns that `save_table` wrote; InvalidFileError says what is wrong with the file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path, memory_map=False)
        shapes = json.loads((table.schema.metadata or {}).get(SHAPES, b""))
        return {name: _column(table.column(name), shapes[name]) for name in table.column_names}
    except FileNotFoundError as error:
        raise InvalidFileError(f"{path}: no such file") from error
    except (OSError, pa.ArrowException, ValueError, KeyError, TypeError) as error:
        raise InvalidFileError(
            f"{path}: not a whole data file ({type(error).__name__}); remove it and --resume"
        ) from error


def _column(column: Any, shape: list[int]) -> np.ndarray:
    import pyarrow as pa

    whole = column.combine_chunks()
    if pa.types.is_string(whole.type):
        return np.array(whole.to_pylist(), dtype=str)
    if not shape:
        return np.asarray(whole.to_numpy(zero_copy_only=False))
    return np.asarray(whole.flatten().to_numpy(zero_copy_only=False)).reshape(-1, *shape)
