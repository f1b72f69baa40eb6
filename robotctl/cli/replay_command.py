"""`robotctl replay EPISODE`: what happened when; judged again; run again."""

from __future__ import annotations

import math
import sys
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from robotctl.episode.reader import EpisodeLog
    from robotctl.replay.timeline import Timeline
    from robotctl.replay.verify import Verified

MISMATCH = 1


def replay(
    episode: Annotated[Path, typer.Argument(help="An episode file (.mcap).", show_default=False)],
    judge: Annotated[bool, typer.Option("--judge", help="Judge the recorded ground truth again.")] = False,
    verify: Annotated[bool, typer.Option("--verify", help="Run it again from seed and files; compare all.")] = False,
    model: Annotated[
        Path | None,
        typer.Option(help="For --verify: the world model it was run with.", show_default="as the episode says"),
    ] = None,
    web: Annotated[bool, typer.Option("--web", help="Show it in the browser, until Ctrl-C.")] = False,
    port: Annotated[int, typer.Option(help="For --web; the next free one if it is taken.", min=1, max=65535)] = 8080,
    host: Annotated[str, typer.Option(help="For --web: the address to listen on.")] = "127.0.0.1",
    expose: Annotated[bool, typer.Option("--expose", help="For --host: let other computers look, too.")] = False,
    html: Annotated[
        Path | None, typer.Option(help="Write one .html file that plays it offline.", show_default=False)
    ] = None,
    video: Annotated[
        Path | None, typer.Option(help="Write an .mp4 file: the scene, and its margins below.", show_default=False)
    ] = None,
    speed: Annotated[float, typer.Option(help="For --video: times real time.", min=0.05, max=100)] = 1.0,
    start: Annotated[float, typer.Option("--from", help="Begin here, in seconds.", min=0)] = 0.0,
    end: Annotated[
        float | None, typer.Option("--to", help="End here, in seconds.", min=0, show_default="the end")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Shows what happened when, and how honest the plans were; of an episode that was cut short, what there is.

    robotctl replay episodes/E.mcap --from 10 --to 20

    robotctl replay episodes/E.mcap --web

    robotctl replay episodes/E.mcap --video run.mp4 --speed 4

    --web and --html show the scene itself, with everything that happened one click away (they need the extra `web`).
    --judge recomputes the verdict from the recorded ground truth. --verify simulates everything again, from the seed
    and the files in the episode, and compares every number of every step. Exit code 1 if either finds a difference.
    """
    from robotctl.cli.output import console, print_json, stdout_for_answers
    from robotctl.cli.timeline_view import heading, judged, picture, verified
    from robotctl.episode.reader import read_episode
    from robotctl.errors import UsageError
    from robotctl.page.document import checked
    from robotctl.replay.rejudge import judge_again
    from robotctl.replay.timeline import timeline, timeline_dict

    if html is not None:
        checked(html, "--html")
    if video is not None and (video.suffix != ".mp4" or video.is_dir()):
        raise UsageError(f"--video {video}: a video ends in .mp4")
    last = math.inf if end is None else end
    with stdout_for_answers():
        log = read_episode(episode)
        line = timeline(log, start, last)
        again = judge_again(log) if judge else None
        rerun = _verify(log, model) if verify else None
        if html is not None:
            _html(log, line, html)
        if video is not None:
            _video(log, line, video, speed)
    summary = log.summary or {}
    if as_json:
        answer: dict[str, Any] = {
            "schema": "robotctl/replay.v1",
            "episode": episode,
            "task": log.metadata.get("task"),
            "seed": log.metadata.get("seed"),
            "complete": log.complete,
            "damage": log.damage,
            "success": summary.get("success"),
            "exit_code": summary.get("exit_code"),
            "digest": log.digest,
            "timeline": timeline_dict(line),
        }
        if again is not None:
            answer |= {
                "verdict": again.verdict,
                "guardrails": again.verdict["guardrails"],
                "matches_log": again.matches_log,
                "differences": again.differences,
            }
        if rerun is not None:
            answer |= rerun.to_dict()
        if html is not None:
            answer["html"] = html
        if video is not None:
            answer["video"] = video
        print_json(answer)
    else:
        terminal = console()
        for text in (*heading(log), *picture(line, min(terminal.width, 120)), *judged(again), *verified(rerun)):
            terminal.print(text)
    if web:
        _web(log, line, host, port, expose)
    if (again is not None and again.logged and not again.matches_log) or (rerun is not None and not rerun.identical):
        raise typer.Exit(MISMATCH)


def _web(log: EpisodeLog, line: Timeline, host: str, port: int, expose: bool) -> None:
    """Serves the page until Ctrl-C."""
    from robotctl.cli.timeline_view import plain_heading
    from robotctl.replay.stage import stage
    from robotctl.replay.web import serve

    def ready(url: str) -> None:
        typer.echo(f"look at it: {url}   (Ctrl-C ends it)", err=True)

    title, verdict = plain_heading(log)
    with suppress(KeyboardInterrupt):
        serve(title, verdict, stage(log, line.start, line.end), line, port, host, expose, ready)


def _html(log: EpisodeLog, line: Timeline, out: Path) -> None:
    """Writes the page that plays the episode offline."""
    from robotctl.cli.timeline_view import plain_heading
    from robotctl.cli.view import time_bar
    from robotctl.files import show_path
    from robotctl.page.document import write
    from robotctl.replay.film import film
    from robotctl.replay.stage import stage

    title, verdict = plain_heading(log)
    with time_bar(line.end, "drawing") if sys.stderr.isatty() else nullcontext(lambda time: None) as progress:
        page = film(title, verdict, stage(log, line.start, line.end), line, progress)
    write(out, page)
    typer.echo(f"wrote {show_path(out)} ({len(page.encode()) / 1e6:.1f} MB)", err=True)


def _video(log: EpisodeLog, line: Timeline, out: Path, speed: float) -> None:
    """Writes the video."""
    from robotctl.cli.view import time_bar
    from robotctl.files import show_path
    from robotctl.replay.stage import stage
    from robotctl.replay.video import video

    title = f"{log.metadata.get('task', '?')} seed {log.metadata.get('seed', '?')}"
    with time_bar(line.end, "drawing") if sys.stderr.isatty() else nullcontext(lambda time: None) as progress:
        video(out, title, stage(log, line.start, line.end), line, speed, progress)
    typer.echo(f"wrote {show_path(out)} ({out.stat().st_size / 1e6:.1f} MB)", err=True)


def _verify(log: EpisodeLog, model: Path | None) -> Verified:
    """Runs the episode again, with a bar for whoever waits."""
    from robotctl.cli.view import time_bar
    from robotctl.replay.verify import verify

    with time_bar(log.duration, "run again") if sys.stderr.isatty() else nullcontext() as observe:
        return verify(log, model, observe)
