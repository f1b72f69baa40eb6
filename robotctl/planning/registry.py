"""Finds planners by name: our own, those that attack (for `bench guardrails`), and those that other packages bring.

Another package names its factory (robotctl.planning.planner.Factory) as an entry point of the group GROUP:

    [project.entry-points."robotctl.planners"]
    resolved-rate = "my_package.planner:make"
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from importlib.metadata import EntryPoint, entry_points

from robotctl.errors import MissingPartError, UsageError, nearest
from robotctl.planning.planner import Factory, Planner, Setting

GROUP = "robotctl.planners"
DEFAULT = "sqp"
OWN = {
    "sqp": "robotctl.planning.makers:sqp",
    "soft-penalty": "robotctl.planning.makers:soft_penalty",
}
# Names, not imports: they live on a floor above, and are loaded only when somebody asks for them.
HOSTILE = {
    name: f"robotctl.bench.adversaries:{name.replace('-', '_')}"
    for name in ("random", "nan", "hang", "attack-blade", "stale", "shapes")
}


def names() -> list[str]:
    """All planners that can be asked for by name."""
    return [*OWN, *HOSTILE, *(point.name for point in _plug_ins())]


def check(name: str) -> None:
    """Refuses a name that there is no planner for, and a plug-in that cannot be loaded."""
    if name not in OWN and name not in HOSTILE:
        find(name)


def find(name: str) -> Factory:
    """The factory of a planner."""
    reference = OWN.get(name) or HOSTILE.get(name)
    if reference is not None:
        module, _, attribute = reference.partition(":")
        factory: Factory = getattr(importlib.import_module(module), attribute)
        return factory
    points = [point for point in _plug_ins() if point.name == name]
    if not points:
        raise UsageError(f"--planner: no planner '{name}'{nearest(name, names())}")
    if len({point.value for point in points}) > 1:
        brought = " and ".join(sorted({_package(point) for point in points}))
        raise UsageError(f"--planner: {brought} both bring a planner '{name}'; uninstall one of them")
    try:
        loaded = points[0].load()
    except Exception as error:  # another package's code
        raise MissingPartError(f"planner '{name}' of {_package(points[0])} cannot be loaded: {_line(error)}") from None
    if not callable(loaded):
        raise MissingPartError(f"planner '{name}' of {_package(points[0])}: '{points[0].value}' is not a function")
    return loaded  # type: ignore[no-any-return]


def make(name: str, setting: Setting) -> Planner:
    """A planner for an episode."""
    factory = find(name)
    if name in OWN or name in HOSTILE:
        return factory(setting)
    try:
        planner = factory(setting)
    except Exception as error:  # another package's code
        raise MissingPartError(f"planner '{name}' cannot be made: {_line(error)}") from None
    if not callable(getattr(planner, "plan", None)):
        raise MissingPartError(f"planner '{name}' cannot be made: {type(planner).__name__} has no method 'plan'")
    return planner


def version(name: str) -> str:
    """Which code a planner is: its package and that package's version; empty for ours, which has robotctl's."""
    for point in _plug_ins():
        if point.name == name:
            return _package(point)
    return ""


def _plug_ins() -> Iterator[EntryPoint]:
    """What other packages bring. Our own names cannot be taken."""
    return (point for point in entry_points(group=GROUP) if point.name not in OWN and point.name not in HOSTILE)


def _package(point: EntryPoint) -> str:
    return f"{point.dist.name} {point.dist.version}" if point.dist is not None else f"'{point.value}'"


def _line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]
