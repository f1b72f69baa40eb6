"""This file is a parser with every fault that fuzzing must see, by the word in its input."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from robotctl.errors import InvalidFileError


def misbehave(path: Path) -> None:
    """A parser with every fault that fuzzing must see, by the word in its file."""
    match path.read_text():
        case "raise":
            raise KeyError("x")
        case "lines":
            raise InvalidFileError("two\nlines")
        case "code":
            error = InvalidFileError("the code of an internal error")
            error.exit_code = 1  # type: ignore[misc]
            raise error
        case "signal":
            os.abort()
        case "exit":
            os._exit(0)
        case "leave":
            sys.exit(0)
        case "hang":
            while True:
                pass
        case "block":
            time.sleep(1e6)
        case "memory":
            np.ones(12_000_000)
        case "more memory":
            np.ones(10_000_000_000)
        case "open":
            Path("/etc/hostname").read_text()
        case "warn":
            np.float64(1e308) * np.array([1e308])  # type: ignore[unused-ignore]
        case "refuse":
            raise InvalidFileError("as it should be")


READERS: dict[str, Callable[[Path], None]] = {"misbehave": misbehave}
