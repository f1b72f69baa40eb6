"""`robotctl episodes list | info`: which episodes are there, and what is in one."""

from __future__ import annotations

import math
from collections.abc import Iterator
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
    """What happened in an episode and why, in ten lines; everything the file says of itself with --json."""
    from robotctl.cli.output import console, print_json
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
    for line in told(log):
        terminal.print(line)


@app.command("export")
def episodes_export(
    episodes: Annotated[list[Path], typer.Argument(help="Episode files, or folders of them.", show_default=False)],
    to: Annotated[str, typer.Option(help="lerobot (a LeRobotDataset v3 folder) or csv (a file an episode).")],
    out: Annotated[Path, typer.Option(help="The folder to write.", show_default=False)],
    only_successes: Annotated[
        bool, typer.Option("--only-successes", help="Leave out what did not succeed within the guardrails.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Writes episodes for other tools, one row a control tick. Incomplete ones are exported as far as they go.

    robotctl episodes export episodes/ --to lerobot --out dataset/
    """
    from robotctl.cli.output import console, print_json
    from robotctl.cli.report import plural, safe
    from robotctl.episode.reader import read_episode
    from robotctl.errors import UsageError, nearest

    formats = ("lerobot", "csv")
    if to not in formats:
        raise UsageError(f"--to: no format '{to[:40]}'{nearest(to, formats)}")
    paths = [path for given in episodes for path in (sorted(given.rglob("*.mcap")) if given.is_dir() else [given])]
    logs = [read_episode(path) for path in paths]
    logs = [log for log in logs if log.count and not (only_successes and (log.summary or {}).get("exit_code") != 0)]
    if not logs:
        raise UsageError("nothing to export: no episode with a step in it" + (" succeeded" if only_successes else ""))
    rows = _export_csv(logs, out) if to == "csv" else _export_lerobot(logs, out)
    if as_json:
        print_json({"schema": "robotctl/export.v1", "to": to, "out": out, "episodes": len(logs), "rows": rows})
    else:
        console().print(f"{safe(out)}: {plural(len(logs), 'episode')}, {rows:,} rows")


def _export_csv(logs: list[EpisodeLog], out: Path) -> int:
    from robotctl.errors import UsageError
    from robotctl.replay.export.csv_file import write_csv

    files = [out / f"{log.path.stem}.csv" for log in logs]
    for file in files:
        if file.exists() or files.count(file) > 1:
            raise UsageError(f"{file}: {'exists already' if file.exists() else 'two episodes have this name'}")
    return sum(write_csv(log, file) for log, file in zip(logs, files, strict=True))


def _export_lerobot(logs: list[EpisodeLog], out: Path) -> int:
    from robotctl.replay.export.lerobot import write_dataset

    return int(write_dataset(logs, out)["total_frames"])


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


def told(log: EpisodeLog) -> Iterator[str]:
    """What happened and why, in ten lines."""
    from robotctl.cli.report import plural, safe
    from robotctl.replay.timeline import timeline

    about_, summary = {key: safe(value) for key, value in log.metadata.items()}, log.summary or {}

    def row(name: str, text: str) -> str:
        return f"[dim]{name:<12}[/]{text}"

    yield row("episode", f"[bold]{safe(log.path)}[/]  {log.path.stat().st_size / 1e6:.1f} MB")
    how = f"arm {about_.get('arm', '?')}, planner {about_.get('planner', '?')}, people {about_.get('people', '?')}"
    yield row("run", f"{about_.get('task', '?')} seed {about_.get('seed', '?')}, {how}, {about_.get('started', '?')}")
    rules = f"{about_.get('guardrails', '?')} {about_.get('guardrails_sha256', '')[:12]}"
    relaxed = "" if about_.get("relaxed", "{}") == "{}" else f", [red]relaxed {about_['relaxed']}[/]"
    yield row("by", f"guardrails {rules}{relaxed}, model {about_.get('model_sha256', '')[:12]}")
    yield row("ended", outcome(about(log)) + (f": {safe(summary['reason'])}" if summary.get("reason") else ""))
    if log.count == 0:
        yield row("steps", "none")
        return
    line = timeline(log)
    tried = [
        f"{safe(a['skill'])} [{'green' if a['success'] else 'red'}]{safe(a['reason'])}[/]"
        for a in summary.get("skills", [])
    ]
    yield row(
        "objective",
        f"{line.objective[-1]} of {line.objective_total} believed met after {line.end:.1f} s, {log.count} steps",
    )
    yield row("did", "; ".join(tried) or "; ".join(span.what for span in line.skills))
    worst = {n: min(v) for n, v in line.judged.items()}
    tight = sorted((n for n in worst if line.units.get(n) in ("m", "m/s")), key=lambda n: worst[n])[:3]
    yield row(
        "guardrails",
        _violations(summary) + "; tightest " + ", ".join(f"{n} {worst[n]:.3f} {line.units[n]}" for n in tight),
    )
    acted = dict.fromkeys(span.what for span in line.interventions)
    yield row(
        "filter", f"acted {plural(len(line.interventions), 'time')}" + (f" ({safe(', '.join(acted))})" if acted else "")
    )
    near = min(line.distance)
    yield row(
        "people",
        f"nearest {near:.2f} m, {plural(len(line.contacts), 'contact')}" if math.isfinite(near) else "nobody near",
    )
    broken = summary.get("assumptions", {}).get("broken", {})
    yield row("assumptions", "[yellow]broken: " + safe(", ".join(broken)) + "[/]" if broken else "held")


def _violations(summary: dict[str, Any]) -> str:
    from robotctl.cli.report import plural

    if "guardrails" not in summary:
        return "no verdict"
    count = int(summary["guardrails"]["violations"])
    return f"[{'red' if count else 'green'}]{plural(count, 'violation')}[/]"


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
