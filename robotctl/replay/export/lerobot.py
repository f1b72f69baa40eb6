"""This file writes episodes as a LeRobotDataset, version 3.0, without lerobot itself (which asks for another Python).

The layout is that of lerobot's own documentation and loader ("LeRobotDataset v3.0", huggingface.co/docs/lerobot):

    meta/info.json                                  what there is: features, counts, rate, where files are
    meta/stats.json                                 minimum, maximum, mean, deviation of every feature
    meta/tasks.parquet                              tasks in words, by number
    meta/episodes/chunk-000/file-000.parquet        a row an episode: its rows in the data, its task, its statistics
    data/chunk-000/file-000.parquet                 a row a control tick

State is what the robot sensed of itself, environment_state where it believed things to be, action what the filter
let through; next.reward is 1 in the last row of an episode that met its objective without a violation.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from robotctl.episode.reader import EpisodeLog
from robotctl.errors import UsageError
from robotctl.files import show_path
from robotctl.replay.export.rows import RATE, Columns, Row, columns, rows

VERSION = "v3.0"
CHUNK, DATA_MB, VIDEO_MB = 1000, 100, 200  # as lerobot's own defaults
DATA = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
VIDEO = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
EPISODES = "meta/episodes/chunk-000/file-000.parquet"
VECTORS = ("observation.state", "observation.environment_state", "action")
QUANTILES = (0.01, 0.10, 0.50, 0.90, 0.99)


@dataclass(frozen=True)
class _Part:
    """One episode as columns, each (T, n)."""

    task: str
    values: dict[str, np.ndarray]

    def __len__(self) -> int:
        return len(self.values["timestamp"])


def write_dataset(
    logs: Sequence[EpisodeLog], out: Path, observe: Callable[[EpisodeLog], Any] = lambda log: None
) -> dict[str, Any]:
    """Writes the dataset to the new folder `out`; returns its info.

    UsageError when `out` exists, or the episodes do not have the same things in them. observe: told of every log done.
    """
    if out.exists():
        raise UsageError(f"{show_path(out)}: exists already; choose another --out")
    named = columns(logs[0])
    tasks: dict[str, int] = {}
    parts: list[_Part] = []
    for log in logs:
        own = columns(log)
        if own.objects != named.objects:
            raise UsageError(
                f"{show_path(log.path)}: not the same things as in {show_path(logs[0].path)}; "
                "episodes of one dataset share their columns: export them apart"
            )
        words = log.metadata.get("task", "unknown")
        first = sum(map(len, parts))
        parts.append(_part(log, named, len(parts), first, tasks.setdefault(words, len(tasks)), words))
        observe(log)
    info = _info(named, parts, len(tasks))
    partial = out.with_name(out.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    _write(partial, named, parts, tasks, info)
    partial.replace(out)
    return info


def _part(log: EpisodeLog, named: Columns, episode: int, first: int, task: int, words: str) -> _Part:
    found = list(rows(log, named))
    n = len(found)
    good = (log.summary or {}).get("exit_code") == 0 and log.complete
    end = np.array([[row.last] for row in found])

    def column(of: Callable[[Row], Any], dtype: Any = np.float32) -> np.ndarray:
        return np.array([of(row) for row in found], dtype).reshape(n, -1)

    return _Part(
        words,
        {
            "observation.state": column(lambda row: row.state),
            "observation.environment_state": column(lambda row: np.nan_to_num(row.objects)),
            "action": column(lambda row: row.action),
            "next.reward": (end & good).astype(np.float32),
            "next.done": end,
            "next.success": end & good,
            "safety.intervened": column(lambda row: row.intervened, bool),
            "timestamp": (np.arange(n, dtype=np.float32) / RATE)[:, None],
            "frame_index": np.arange(n)[:, None],
            "episode_index": np.full((n, 1), episode),
            "index": first + np.arange(n)[:, None],
            "task_index": np.full((n, 1), task),
        },
    )


def _info(named: Columns, parts: Sequence[_Part], tasks: int) -> dict[str, Any]:
    names = {
        "observation.state": list(named.state),
        "observation.environment_state": list(named.objects),
        "action": list(named.action),
    }
    kinds = {"f": "float32", "i": "int64", "b": "bool"}
    features = {
        key: {"dtype": kinds[value.dtype.kind], "shape": [value.shape[1]], "names": names.get(key)}
        for key, value in parts[0].values.items()
    }
    return {
        "codebase_version": VERSION,
        "robot_type": "mobile_panda",
        "total_episodes": len(parts),
        "total_frames": sum(map(len, parts)),
        "total_tasks": tasks,
        "chunks_size": CHUNK,
        "data_files_size_in_mb": DATA_MB,
        "video_files_size_in_mb": VIDEO_MB,
        "fps": RATE,
        "splits": {"train": f"0:{len(parts)}"},
        "data_path": DATA,
        "video_path": VIDEO,
        "features": features,
    }


def _write(out: Path, named: Columns, parts: Sequence[_Part], tasks: dict[str, int], info: dict[str, Any]) -> None:
    data = out / DATA.format(chunk_index=0, file_index=0)
    for folder in (data.parent, (out / EPISODES).parent):
        folder.mkdir(parents=True)
    (out / "meta" / "info.json").write_text(json.dumps(info, indent=4) + "\n")
    every = {key: np.concatenate([part.values[key] for part in parts]) for key in parts[0].values}
    stats = {key: _stats(value) for key, value in every.items()}
    (out / "meta" / "stats.json").write_text(json.dumps(stats, indent=4) + "\n")
    pq.write_table(pa.table({key: _column(value, key) for key, value in every.items()}), data)
    pq.write_table(_task_table(tasks), out / "meta" / "tasks.parquet")
    pq.write_table(_episode_table(parts), out / EPISODES)


def _column(values: np.ndarray, key: str) -> pa.Array:
    """A column of vectors of fixed length, or of numbers."""
    if key in VECTORS:
        return pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), values.shape[1])
    return pa.array(values[:, 0])


def _task_table(tasks: dict[str, int]) -> pa.Table:
    """The tasks' words as pandas' index, which is how lerobot looks them up."""
    words = "__index_level_0__"
    table = pa.table({"task_index": pa.array(list(tasks.values()), pa.int64()), words: pa.array(list(tasks))})

    def about(name: str | None, field: str, kind: str, numpy_kind: str) -> dict[str, Any]:
        return {"name": name, "field_name": field, "pandas_type": kind, "numpy_type": numpy_kind, "metadata": None}

    pandas = {
        "index_columns": [words],
        "column_indexes": [about(None, "None", "unicode", "object")],
        "columns": [about("task_index", "task_index", "int64", "int64"), about(None, words, "unicode", "object")],
        "creator": {"library": "pyarrow", "version": pa.__version__},
        "pandas_version": "2.2.0",
    }
    return table.replace_schema_metadata({b"pandas": json.dumps(pandas).encode()})


def _episode_table(parts: Sequence[_Part]) -> pa.Table:
    found: list[dict[str, Any]] = []
    first = 0
    for index, part in enumerate(parts):
        row: dict[str, Any] = {
            "episode_index": index,
            "data/chunk_index": 0,
            "data/file_index": 0,
            "dataset_from_index": first,
            "dataset_to_index": first + len(part),
            "tasks": [part.task],
            "length": len(part),
        }
        for key, value in part.values.items():
            row |= {f"stats/{key}/{name}": figures for name, figures in _stats(value).items()}
        row |= {"meta/episodes/chunk_index": 0, "meta/episodes/file_index": 0}
        found.append(row)
        first += len(part)
    return pa.Table.from_pylist(found)


def _stats(values: np.ndarray) -> dict[str, list[Any]]:
    """Figures of every component of (T, n) values."""
    numbers = values.astype(np.float64)
    out = {
        "min": numbers.min(axis=0).tolist(),
        "max": numbers.max(axis=0).tolist(),
        "mean": numbers.mean(axis=0).tolist(),
        "std": numbers.std(axis=0).tolist(),
        "count": [len(numbers)],
    }
    return out | {f"q{round(100 * q):02d}": np.quantile(numbers, q, axis=0).tolist() for q in QUANTILES}
