"""Errors a user can act on: what is wrong, where, and the nearest valid choice."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class RobotctlError(Exception):
    """Base of every error shown to a user as one line; `exit_code` follows the table in docs/cli.md."""

    exit_code = 1


class UsageError(RobotctlError):
    """The command line asks for something that does not exist or does not fit together."""

    exit_code = 2


class InvalidFileError(RobotctlError):
    """A scene, task, guardrail, model or episode file is broken."""

    exit_code = 3


class RefusedError(RobotctlError):
    """What was made does not hold what was asked of it, and is not kept."""

    exit_code = 6


class MissingPartError(RobotctlError):
    """An optional part or the platform is missing; the message says what to install."""

    exit_code = 7


def nearest(word: str, choices: Iterable[str]) -> str:
    """`; did you mean 'x'?` for the closest of `choices`, else the list of them."""
    options = sorted(choices)
    close = difflib.get_close_matches(word, options, n=1, cutoff=0.5)
    if close:
        return f"; did you mean '{close[0]}'?"
    return f"; one of: {', '.join(options)}" if options else ""
