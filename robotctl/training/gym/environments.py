"""Finds and makes the Gymnasium environment that a target names, and says in one line why it cannot."""

from __future__ import annotations

import importlib
import importlib.util
import warnings
from typing import Any

from robotctl.errors import MissingPartError, UsageError, nearest
from robotctl.simulation.quiet import quiet

PREFIX = "gym:"
EXTRA = "pip install 'robotctl[gym]'"
PLUGINS = ("panda_gym", "gym_pusht")  # packages of the extra; importing one registers its environments


def environment_id(target: str) -> str:
    """`PandaReach-v3` for `gym:PandaReach-v3`, after the package that registers it has been imported.

    A package is named as Gymnasium does it, `gym:package:Env-v0`, or by the namespace in `gym:package/Env-v0`.
    """
    gymnasium = _gymnasium()
    name = target.removeprefix(PREFIX)
    package, _, name = name.rpartition(":")
    namespace = name.rpartition("/")[0]
    if package:
        _register(package, required=True)
    elif name not in gymnasium.registry and namespace:
        _register(namespace, required=False)
    if name not in gymnasium.registry and not package:
        for plugin in PLUGINS:
            _register(plugin, required=False)
    if name not in gymnasium.registry:
        absent = [p for p in PLUGINS if importlib.util.find_spec(p) is None]
        hint = f" (not installed: {', '.join(absent)}; {EXTRA})" if absent else ""
        raise UsageError(f"no Gymnasium environment '{name}'{nearest(name, _similar(name))}{hint}")
    return name


def make(name: str) -> Any:
    """A new environment of a registered id."""
    gymnasium = _gymnasium()
    try:
        with warnings.catch_warnings(), quiet():  # simulators greet whenever they start
            warnings.simplefilter("ignore")
            return gymnasium.make(name)
    except gymnasium.error.DependencyNotInstalled as error:
        raise MissingPartError(f"'{name}' needs another package: {_one_line(error)}") from error
    except Exception as error:  # an environment's own code may raise anything
        raise UsageError(f"'{name}' cannot be made: {type(error).__name__}: {_one_line(error)}") from error


def _gymnasium() -> Any:
    try:
        import gymnasium
    except ModuleNotFoundError as error:
        raise MissingPartError(f"training on Gymnasium environments needs gymnasium: {EXTRA}") from error
    return gymnasium


def _register(package: str, required: bool) -> None:
    try:
        with warnings.catch_warnings(), quiet():
            warnings.simplefilter("ignore")
            importlib.import_module(package)
    except ModuleNotFoundError as error:
        # A namespace need not be a module, but a module that cannot find what it needs must say so.
        missing = str(error.name)
        if required or missing.split(".")[0] != package.split(".")[0]:
            how = EXTRA if package in PLUGINS else f"pip install {missing}"
            raise MissingPartError(f"package '{missing}' is not installed: {how}") from error
    except (ImportError, ValueError, TypeError) as error:
        if required:
            raise UsageError(f"package '{package}' cannot be imported: {_one_line(error)}") from error


def _similar(name: str) -> list[str]:
    """Registered ids to suggest: all of them are too many to list when none is close."""
    import difflib

    return difflib.get_close_matches(name, list(_gymnasium().registry), n=5, cutoff=0.5)


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200]
