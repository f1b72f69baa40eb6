"""`robotctl episodes list | info`: which episodes are there, and what is in one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from robotctl.episode.reader import EpisodeLog

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
app = typer.Typer(help="Recorded episodes: which there are, and what is in one.", no_args_is_help=True)


@app.command("list")
def episodes_list(
    folder: Annotated[Path, typer.Argument(help="Where to look, folders below included.")] = Path("episodes"),
    as_json: Json = False,
) -> None:
    """The episodes in a folder."""
    from robotctl.cli.output import console, print_json
    from robotctl.cli.report import safe
    from robotctl.episode.reader import read_episode
    from robotctl.errors import InvalidFileError, UsageError

    if not folder.is_dir():
        raise UsageError(f"{folder}: no such folder; `robotctl run` makes episodes/ where it is started")
    rows: list[dict[str, Any]] = []
    for path in sorted(folder.rglob("*.mcap")):
        try:
            rows.append(about(read_episode(path)))
        except InvalidFileError as error:
            rows.append({"path": path, "complete": False, "damage": str(error)})
    if as_json:
        print_json({"schema": "robotctl/episodes.v1", "episodes": rows})
        return
    terminal = console()
    for row in rows:
        task, seed, length = row.get("task", "?"), row.get("seed", "?"), row.get("duration_s", 0.0)
        terminal.print(f"{safe(row['path'])}  [dim]{safe(task)} seed {safe(seed)}, {length:.1f} s:[/] {outcome(row)}")
    if not rows:
        terminal.print(f"no episodes in {safe(folder)}")


@app.command("info")
def episodes_info(
    episode: Annotated[Path, typer.Argument(help="An episode file.", show_default=False)], as_json: Json = False
) -> None:
    """What is in an episode file: what was run, how it ended, whether the file is sound."""
    from robotctl.cli.output import console, print_json
    from robotctl.cli.report import safe
    from robotctl.episode.reader import read_episode

    log = read_episode(episode)
    answer = {
        **about(log),
        "metadata": log.metadata,
        "attachments": {name: len(data) for name, data in sorted(log.attachments.items())},
    }
    if as_json:
        print_json({"schema": "robotctl/episode-info.v1", **answer})
        return
    terminal = console()
    terminal.print(f"{safe(episode)}: {outcome(answer)}")
    for key in ("steps", "duration_s", "bytes", "digest"):
        terminal.print(f"  {key:<20} {answer[key]}")
    for key, value in log.metadata.items():
        terminal.print(f"  [dim]{safe(key):<20} {safe(value)}[/]")
    for name, size in answer["attachments"].items():
        terminal.print(f"  attached: {safe(name)}, {size} bytes")


@app.command("recover")
def episodes_recover(
    episode: Annotated[Path, typer.Argument(help="An episode that was cut short.", show_default=False)],
    out: Annotated[
        Path | None, typer.Option(help="The file to write.", show_default="beside it, NAME-recovered.mcap")
    ] = None,
    as_json: Json = False,
) -> None:
    """Writes what can be read of a broken episode to a sound file, for tools that need one. It stays incomplete.

    `robotctl replay` and `info` read broken episodes as they are; nothing has to be recovered for them.
    """
    from robotctl.cli.output import console, print_json
    from robotctl.cli.report import safe
    from robotctl.episode.reader import read_episode
    from robotctl.episode.recovery import recover

    log = read_episode(episode)
    out = out or episode.with_name(f"{episode.stem}-recovered.mcap")
    steps = recover(log, out)
    if as_json:
        answer = {"path": out, "steps": steps, "duration_s": log.duration, "damage": log.damage, "digest": log.digest}
        print_json({"schema": "robotctl/recovered.v1", **answer})
        return
    console().print(f"{safe(out)}: {steps} steps, {log.duration:.2f} s; incomplete: {safe(log.damage)}")


def about(log: EpisodeLog) -> dict[str, Any]:
    """The figures of one episode file."""
    summary = log.summary or {}
    return {
        "path": log.path,
        "task": log.metadata.get("task"),
        "seed": log.metadata.get("seed"),
        "started": log.metadata.get("started"),
        "complete": log.complete,
        "damage": log.damage,
        "success": summary.get("success"),
        "exit_code": summary.get("exit_code"),
        "violations": summary.get("guardrails", {}).get("violations"),
        "steps": log.count,
        "duration_s": log.duration,
        "bytes": log.path.stat().st_size,
        "digest": log.digest,
    }


def outcome(row: dict[str, Any]) -> str:
    """How it ended, in words."""
    from robotctl.cli.report import safe

    if not row.get("complete"):
        return f"[yellow]incomplete[/] ({safe(row.get('damage'))})"
    violations = row.get("violations")
    if violations:
        return f"[red]{violations} guardrail violations[/]"
    return "[green]done[/]" if row.get("success") else "[yellow]objective not reached[/]"
