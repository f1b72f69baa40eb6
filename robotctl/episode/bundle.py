"""This file packs the files behind a task into an attachment, and unpacks them for judging or running it again.

The bundle is self-contained: a task of a user's own that refers to packaged scenes carries copies of them, and the
people who were there are written down, be they the task's own or others. It is the same bytes whenever the files and
the people are the same.
"""

from __future__ import annotations

import io
import json
import re
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from robotctl.assets import tree_root
from robotctl.errors import InvalidFileError
from robotctl.files import one_line, parse_yaml
from robotctl.scene import Scene
from robotctl.scene_paths import PACKAGED, referenced, scenes_folder
from robotctl.task import CLIPS, PersonPlan, Reach, Task

ATTACHMENT = "files.zip"
MANIFEST = "manifest.json"
MAX_FILES = 2_000
MAX_BYTES = 200_000_000
_BROKEN = (
    zipfile.BadZipFile, zlib.error, struct.error, ValueError, KeyError, IndexError, TypeError, AttributeError, OSError,
    EOFError, RuntimeError,
)  # fmt: skip
_NAMED = re.compile(
    r"""filename\s*=\s*["']([^"']+)["']
    | ^[ \t]*mtllib[ \t]+(\S+)
    | ^[ \t]*(?:map_\w+|bump|disp|decal|refl|norm)\b.*[ \t](\S+)""",
    re.MULTILINE | re.VERBOSE,
)


@dataclass(frozen=True)
class Unbundled:
    """The files of an episode, as they were when it ran."""

    task: Path
    guardrails: tuple[Path, ...]
    relaxed: dict[str, str]
    people: tuple[PersonPlan, ...]  # who was there; clips lead to the unpacked files


def bundle(task: Task, guardrail_files: Sequence[Path] = (), relaxed: Mapping[str, str] | None = None) -> bytes:
    """A zip of the task, its scene with all models, and every guardrail file in force.

    guardrail_files: those in addition to the task's own.
    """
    guardrails = (*task.guardrail_files, *guardrail_files)
    people = tuple(Path(person.clip) for person in task.people if person.clip not in CLIPS)
    names = _Names(task.path)
    files: dict[str, bytes] = {}
    for path in (task.path, *scene_files(task.scene), *guardrails, *people):
        data = path.read_bytes()
        if path.suffix in (".yaml", ".yml"):
            data = data.replace(PACKAGED.encode(), names.way_to_packaged(path).encode())
        files[names.of(path)] = data
    manifest = {
        "task": names.of(task.path),
        "guardrails": [names.of(path) for path in guardrails],
        "relaxed": dict(relaxed or {}),
        "people": [
            _person(plan, plan.clip if plan.clip in CLIPS else names.of(Path(plan.clip))) for plan in task.people
        ],
    }
    files[MANIFEST] = json.dumps(manifest, sort_keys=True).encode()
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name in sorted(files):
            entry = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))  # the same bytes at any date
            archive.writestr(entry, files[name], zipfile.ZIP_DEFLATED, compresslevel=6)
    return stream.getvalue()


@contextmanager
def unbundled(data: bytes) -> Iterator[Unbundled]:
    """The files of a bundle in a folder that lasts as long as the context."""
    with tempfile.TemporaryDirectory(prefix="robotctl-") as folder:
        root = Path(folder)
        try:
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                _extract(archive, root)
            manifest = json.loads((root / MANIFEST).read_bytes())
            files = Unbundled(
                root / _safe(manifest["task"]),
                tuple(root / _safe(name) for name in manifest["guardrails"]),
                {str(k): str(v) for k, v in manifest["relaxed"].items()},
                tuple(_person_from(values, root) for values in manifest["people"]),
            )
        except _BROKEN as error:
            reason = one_line(f"{type(error).__name__}: {error}")[:200]
            raise InvalidFileError(f"the files attached to the episode are broken: {reason}") from None
        yield files


def _person(plan: PersonPlan, clip: str) -> dict[str, Any]:
    """A plan as JSON values, with another name for its clip."""
    reach = [{**vars(reach), "target": reach.target.tolist()} for reach in plan.reach]
    return {**vars(plan), "clip": clip, "path": plan.path.tolist(), "reach": reach}


def _person_from(values: Mapping[str, Any], root: Path) -> PersonPlan:
    """The plan that `_person` was given; ValueError, TypeError or KeyError for anything else."""
    plan = PersonPlan(**values)
    reach = (Reach(**each) for each in values["reach"])
    return replace(
        plan,
        clip=plan.clip if plan.clip in CLIPS else str(root / _safe(plan.clip)),
        path=_finite(plan.path).reshape(-1, 2),
        speed=float(plan.speed),
        start=float(plan.start),
        reach=tuple(replace(each, target=_finite(each.target).reshape(3)) for each in reach),
        jitter=float(plan.jitter),
    )


def _finite(numbers: Any) -> np.ndarray:
    array = np.asarray(numbers, float)
    if not np.isfinite(array).all():
        raise ValueError("a place that is not finite")
    return array


def scene_files(scene: Scene) -> tuple[Path, ...]:
    """Every file a scene is made of: its own, object kinds, models, meshes, materials."""
    document = parse_yaml(scene.text, scene.path)
    kinds = [referenced(document, ("kinds", i), text) for i, text in enumerate(document.data["kinds"])]
    models = [kind.urdf for kind in scene.kinds.values()]
    models += [piece.urdf for piece in scene.furniture if piece.urdf is not None]
    found = dict.fromkeys((scene.path, *kinds))
    waiting = [path.resolve() for path in models]
    while waiting:
        path = waiting.pop()
        if path in found:
            continue
        found[path] = None
        if path.suffix.lower() in (".urdf", ".obj", ".mtl"):
            names = [next(filter(None, groups)) for groups in _NAMED.findall(path.read_text("utf-8"))]
            waiting += [(path.parent / name).resolve() for name in names]
    return tuple(found)


class _Names:
    """Names in the bundle. All lie below one folder `scenes`, so that files may refer to each other as before."""

    def __init__(self, task: Path) -> None:
        self._packaged = scenes_folder().resolve()
        self._tree = tree_root(task)
        self._other: dict[Path, str] = {}

    def of(self, path: Path) -> str:
        path = path.resolve()
        if path.is_relative_to(self._packaged):
            return f"scenes/packaged/{path.relative_to(self._packaged).as_posix()}"
        if path.is_relative_to(self._tree):
            return f"scenes/user/{path.relative_to(self._tree).as_posix()}"
        return self._other.setdefault(path, f"scenes/other/{len(self._other)}/{path.name}")

    def way_to_packaged(self, path: Path) -> str:
        """What `robotctl:` stands for in a copy of this file."""
        return "../" * (len(PurePosixPath(self.of(path)).parts) - 2) + "packaged/"


def _extract(archive: zipfile.ZipFile, root: Path) -> None:
    entries = archive.infolist()
    if len(entries) > MAX_FILES or sum(entry.file_size for entry in entries) > MAX_BYTES:
        raise ValueError("too many or too large files")
    if any(entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) for entry in entries):
        raise ValueError("compressed otherwise than robotctl does")
    for entry in entries:
        target = root / _safe(entry.filename)
        target.parent.mkdir(parents=True, exist_ok=True)
        with archive.open(entry) as source:
            content = source.read(entry.file_size + 1)
        if len(content) != entry.file_size:
            raise ValueError(f"{entry.filename} is not as long as it says")
        target.write_bytes(content)


def _safe(name: str) -> str:
    parts = PurePosixPath(name).parts
    if not parts or name.startswith("/") or ".." in parts or re.search(r"[\\:\0]", name):
        raise ValueError(f"'{name[:80]}' leads out of the bundle")
    return name
