"""This file gives the bench a way to draw: matplotlib, which only the extra `bench` installs, without a screen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from robotctl.errors import MissingPartError


def pyplot() -> Any:
    """matplotlib.pyplot; MissingPartError where it is not installed."""
    try:
        import matplotlib
    except ImportError:
        raise MissingPartError("the picture needs matplotlib: pip install 'robotctl[bench]'") from None
    matplotlib.use("Agg")
    from matplotlib import pyplot

    return pyplot


def saved(figure: Any, folder: Path, name: str) -> Path:
    """Where the figure was written; it is closed."""
    figure.tight_layout()
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    figure.savefig(path, dpi=130)
    pyplot().close(figure)
    return path
