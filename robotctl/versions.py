"""This file says what a run is made with: only where that is the same are two runs of one seed so in every bit."""

from __future__ import annotations

import platform
from importlib import metadata

LIBRARIES = ("numpy", "scipy", "numba", "llvmlite", "pybullet")  # that numbers of an episode come from


def versions() -> dict[str, str]:
    """Of the machine, Python, and the libraries that an episode's numbers come from."""
    machine = f"{platform.system()} {platform.machine()}"
    return {
        "machine": machine,
        "python": platform.python_version(),
        **{name: metadata.version(name) for name in LIBRARIES},
    }
