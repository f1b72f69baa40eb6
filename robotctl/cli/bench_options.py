"""Options that several benches share, and what they mean together."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

Tasks = Annotated[str, typer.Option(help="Tasks by patterns over their names (commas between), or task files.")]
Episodes = Annotated[int, typer.Option(help="Episodes of each task in each arm.", min=1)]
Seeds = Annotated[
    str | None, typer.Option(help="Seeds A:B (without B).", show_default="as many as the bench runs, from 0 on")
]
Workers = Annotated[int, typer.Option(help="Processes.", min=1)]
Model = Annotated[
    Path | None, typer.Option(help="A world model made by `robotctl train`.", show_default="the packaged one")
]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with what lies in --out.")]
Keep = Annotated[bool, typer.Option("--keep", help="Keep the logs of uneventful episodes, too.")]
Out = Annotated[
    Path | None, typer.Option(help="Folder for answers, logs and pictures.", show_default="runs/bench-NAME-DATE")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


def answer_folder(bench: str, out: Path | None, resume: bool) -> Path:
    """Where the answers of a bench lie."""
    from robotctl.errors import UsageError

    if resume and out is None:
        raise UsageError("--resume needs the --out of the bench to go on with")
    return out or Path("runs") / f"bench-{bench}-{datetime.now():%Y%m%d-%H%M%S}"


@contextmanager
def told_how_to_go_on(folder: Path) -> Iterator[None]:
    """After Ctrl-C, says how to go on."""
    from robotctl.cli.output import note

    try:
        yield
    except KeyboardInterrupt:
        note(f"to go on: the same command with  --resume --out {folder}")
        raise


def existing_model(model: Path | None) -> Path | None:
    """The model file, refused before anything starts if it is not there."""
    from robotctl.errors import InvalidFileError

    if model is not None and not model.is_file():
        raise InvalidFileError(f"{model}: no such file")
    return model


def command_of(words: Sequence[str]) -> str:
    """The command line without what says where answers go and how fast they come: it stands in reports for others."""
    left_out = {"--out": 1, "--workers": 1, "--resume": 0, "--json": 0}  # words that follow
    kept, following = ["robotctl"], iter(words)
    for word in following:
        name, given, _ = word.partition("=")
        if name not in left_out:
            kept.append(word)
        elif left_out[name] and not given:
            next(following, None)
    return shlex.join(kept)


def part_of(shard: str | None) -> slice:
    """Every n-th trial from the i-th on, from `i/n`."""
    from robotctl.errors import UsageError

    if shard is None:
        return slice(None)
    i, slash, n = shard.partition("/")
    if not (slash and i.isdigit() and n.isdigit() and 1 <= int(i) <= int(n)):
        raise UsageError(f"--shard: expected i/n with 1 <= i <= n, as in 1/4, got '{shard[:20]}'")
    return slice(int(i) - 1, None, int(n))
