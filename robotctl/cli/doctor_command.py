"""`robotctl doctor`: is everything here that robotctl needs, and what is optional and absent?"""

from __future__ import annotations

import platform
import shutil
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import typer

NEEDED = (
    "typer", "rich", "numpy", "scipy", "pybullet", "numba", "safetensors", "pydantic", "pyyaml", "pint",
    "foxglove-sdk", "mcap", "protobuf", "zstandard",
)  # fmt: skip
VIEWERS = (
    ("viser", "`replay --web` and `--html` need", "web"),
    ("fast-simplification", "`replay --web` and `--html` need", "web"),
    ("av", "`replay --video` needs", "export"),
)
TRAINING = ("jax", "equinox", "optax")  # `robotctl train` needs them, a run does not
FREE_SPACE = 1_000_000_000  # an hour of episodes is 0.5 GB [bytes]
MISSING = 7


@dataclass(frozen=True)
class Check:
    """One finding. A needed part that is not ok makes `doctor` fail."""

    name: str
    ok: bool
    needed: bool
    found: str
    advice: str = ""


def doctor(as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False) -> None:
    """Checks platform, versions, optional parts, disk space and cache. Exit code 7 if something needed is missing."""
    import robotctl
    from robotctl.cli.output import console, print_json

    checks = examine()
    ok = all(check.ok for check in checks if check.needed)
    if as_json:
        answer = {"schema": "robotctl/doctor.v1", "version": robotctl.__version__, "ok": ok}
        print_json({**answer, "checks": [asdict(check) for check in checks]})
    else:
        terminal = console()
        terminal.print(f"robotctl {robotctl.__version__}")
        for check in checks:
            sign = "[green]ok[/]     " if check.ok else "[red]missing[/]" if check.needed else "[yellow]absent[/] "
            terminal.print(f"  {sign}  {check.name:<20} {check.found}")
            if not check.ok and check.advice:
                terminal.print(f"           [dim]{check.advice}[/]")
        terminal.print("ready: try  robotctl run kitchen/clear-table" if ok else "not ready: see the lines above")
    if not ok:
        raise typer.Exit(MISSING)


def examine() -> list[Check]:
    """Every check, the needed ones first."""
    checks = [_python(), _machine()]
    checks += [_package(name, True, f"pip install {name}") for name in NEEDED]
    checks += [_physics(), _scenes(), _space(Path.cwd()), _writable("numba cache", _numba_cache())]
    checks += [_package(name, False, f"only `robotctl train` needs it: pip install {name}") for name in TRAINING]
    checks += [
        _package(name, False, f"only {what} it: pip install 'robotctl[{extra}]'") for name, what, extra in VIEWERS
    ]
    return checks


def _python() -> Check:
    version = platform.python_version()
    return Check("python", sys.version_info[:2] == (3, 11), True, version, "Python 3.11 is needed (pybullet's wheels)")


def _machine() -> Check:
    import os

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    known = platform.system() in ("Linux", "Darwin") and sys.maxsize > 2**32
    found = f"{platform.system()} {platform.machine()}, {cores} cores"
    return Check("platform", known, True, found, "64-bit Linux or macOS is needed")


def _package(name: str, needed: bool, advice: str) -> Check:
    from importlib import metadata

    try:
        return Check(name, True, needed, metadata.version(name))
    except metadata.PackageNotFoundError:
        return Check(name, False, needed, "not installed", advice)


def _physics() -> Check:
    """The physics engine loads and its models are there."""
    try:
        from robotctl.simulation.bullet import BulletSimulator  # noqa: F401

        return Check("physics engine", True, True, "loads")
    except Exception as error:
        return Check("physics engine", False, True, str(error), "pip install pybullet")


def _scenes() -> Check:
    from robotctl.scene_paths import scene_names

    names = scene_names()
    return Check("scenes", bool(names), True, ", ".join(names) or "none", "the installation is incomplete: reinstall")


def _space(folder: Path) -> Check:
    free = shutil.disk_usage(folder).free
    return Check(
        "disk space", free > FREE_SPACE, True, f"{free / 1e9:.1f} GB free here", "an episode takes 10 MB a minute"
    )


def _numba_cache() -> Path:
    import robotctl

    return Path(robotctl.__file__).parent


def _writable(name: str, folder: Path) -> Check:
    try:
        with tempfile.TemporaryFile(dir=folder):
            return Check(name, True, False, "writable")
    except OSError as error:
        advice = "every start compiles for a while: set NUMBA_CACHE_DIR to a folder that is writable"
        return Check(name, False, False, f"{error.strerror}", advice)
