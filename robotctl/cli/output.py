"""How commands speak: data on stdout, everything else on stderr, errors as one line with an exit code."""

from __future__ import annotations

import errno
import os
import sys
import tempfile
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import typer

from robotctl.errors import RobotctlError

if TYPE_CHECKING:
    from rich.console import Console

COMPILING = "getting ready; the very first start compiles for a minute"
INTERRUPTED = 130
INTERNAL = 1


def print_json(answer: dict[str, Any]) -> None:
    """Exactly one JSON object on stdout."""
    from robotctl.jsontext import json_text

    typer.echo(json_text(answer))


def console(stderr: bool = False) -> Console:
    """A terminal for people. Rich honours NO_COLOR and leaves colours out when the output is no terminal."""
    from rich.console import Console

    terminal = Console(stderr=stderr, highlight=False)
    if not terminal.is_terminal:
        terminal = Console(stderr=stderr, highlight=False, width=_columns(), soft_wrap=True)
    return terminal


def _columns() -> int:
    columns = os.environ.get("COLUMNS", "")
    return max(60, int(columns)) if columns.isdigit() else 100


def note(text: str) -> None:
    """A remark on stderr."""
    typer.echo(text, err=True)


@contextmanager
def noted_if_slow(text: str, seconds: float = 2.0) -> Iterator[None]:
    """Says `text` on stderr if what is done meanwhile takes longer than that."""
    timer = threading.Timer(seconds, note, [text])
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


@contextmanager
def stdout_for_answers() -> Iterator[None]:
    """Meanwhile whatever prints to stdout, C libraries included, goes to stderr, so that answers stay clean."""
    try:
        sys.stdout.flush()
        saved = os.dup(1)
        os.dup2(2, 1)
    except OSError:  # no stdout at all
        yield
        return
    try:
        yield
    finally:
        sys.stdout.flush()
        os.dup2(saved, 1)
        os.close(saved)


@contextmanager
def errors_as_lines() -> Iterator[None]:
    """Turns errors into one line on stderr and an exit code. ROBOTCTL_DEBUG=1 shows where they come from."""
    try:
        yield
    except RobotctlError as error:
        if debugging():
            raise
        note(f"error: {error}")
        raise typer.Exit(error.exit_code) from None
    except KeyboardInterrupt:
        note("interrupted")
        raise typer.Exit(INTERRUPTED) from None
    except (typer.Exit, typer.Abort):
        raise
    except Exception as error:
        if debugging() or isinstance(error, _usage_error()) or getattr(error, "errno", None) == errno.EPIPE:
            raise
        note(f"error: internal: {type(error).__name__}: {error}; details in {save_details(error)}")
        raise typer.Exit(INTERNAL) from None


def debugging() -> bool:
    return os.environ.get("ROBOTCTL_DEBUG", "") not in ("", "0")


def save_details(error: BaseException) -> str:
    """Writes the traceback of an unexpected error to a file; returns its path."""
    lines = [f"robotctl {' '.join(sys.argv[1:])}\n\n", *traceback.format_exception(error)]
    try:
        with tempfile.NamedTemporaryFile("w", prefix="robotctl-error-", suffix=".txt", delete=False) as file:
            file.writelines(lines)
        return file.name
    except OSError:
        typer.echo("".join(lines), err=True)
        return "the lines above"


def _usage_error() -> type[BaseException]:
    """What the command line parser raises and shows by itself, with exit code 2."""
    return next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")
