"""Turns the name of a scene, or a path that a file names, into the file that is meant."""

from __future__ import annotations

import os
from pathlib import Path

from robotctl.assets import tree_root
from robotctl.errors import UsageError, nearest
from robotctl.files import Document, Location, is_file

PACKAGED = "robotctl:"  # a file reference that begins so is looked up in the packaged scenes folder


def scenes_folder() -> Path:
    """The folder of packaged scenes: `scenes/` of a checkout, a copy of it in an installed wheel."""
    return (Path(__file__).parent / "_scenes").resolve()


def scene_names() -> list[str]:
    """Names of the packaged scenes."""
    return sorted(path.parent.name for path in scenes_folder().glob("*/scene.yaml"))


def looks_like_path(text: str | os.PathLike[str]) -> bool:
    """Whether the user means a file, not the name of something packaged."""
    return isinstance(text, Path) or str(text).endswith((".yaml", ".yml")) or _exists(text)


def _exists(text: str | os.PathLike[str]) -> bool:
    try:
        return Path(text).exists()
    except (OSError, ValueError):  # no file can have this name
        return False


def find_scene(path_or_name: str | os.PathLike[str]) -> Path:
    """File of a scene given by its name ("kitchen"), its folder or its file."""
    if not looks_like_path(path_or_name):
        name = str(path_or_name)
        if name not in scene_names():
            raise UsageError(f"no scene '{name}'{nearest(name, scene_names())}")
        return scenes_folder() / name / "scene.yaml"
    path = Path(path_or_name)
    return path / "scene.yaml" if path.is_dir() else path


def referenced(document: Document, location: Location, text: str) -> Path:
    """File that a file names: relative to it, and inside its tree of scenes or the packaged one.

    The tree is the nearest folder named `scenes` around the file, else the file's own folder. Absolute paths and
    ways out of the tree (by `..` or by a link) are refused.
    """
    if text.startswith(PACKAGED):
        base = root = scenes_folder()
        text = text.removeprefix(PACKAGED)
    else:
        base = document.path.resolve().parent
        root = tree_root(document.path)
    if not text or "\\" in text or "\0" in text or text.startswith(("/", "~")) or ":" in text:
        document.fail(location, f"expected a path relative to this file, got '{text[:80]}'")
    path = (base / text).resolve()
    if not path.is_relative_to(root):
        document.fail(location, f"'{text[:80]}' leads out of {root.name}/")
    if not is_file(path):
        document.fail(location, f"no such file '{text[:80]}'")
    return path
