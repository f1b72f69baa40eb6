"""Keeps the physics engine's chatter off the terminal."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet() -> Iterator[None]:
    """Sends everything that C code prints meanwhile to nowhere; Python's own output before and after stays."""
    try:
        libc: ctypes.CDLL | None = ctypes.CDLL(None)
    except (OSError, TypeError):  # no C library to ask, as on Windows: the chatter stays
        libc = None
    if libc is None:
        yield
        return
    sys.stdout.flush()
    sys.stderr.flush()
    libc.fflush(None)
    saved = [os.dup(fd) for fd in (1, 2)]
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        for fd in (1, 2):
            os.dup2(nowhere, fd)
        yield
    finally:
        libc.fflush(None)
        for fd, old in zip((1, 2), saved, strict=True):
            os.dup2(old, fd)
            os.close(old)
        os.close(nowhere)
