"""The pictures of the README, from episodes that it runs: `python tools/make_pictures.py FOLDER` (a few minutes).

FOLDER keeps the episodes; those that are there already are not run again.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from robotctl.control import RunOptions, run_episode
from robotctl.drawing.camera import Camera
from robotctl.drawing.painter import Painter
from robotctl.episode.reader import read_episode
from robotctl.replay.stage import Stage, stage
from robotctl.replay.timeline import timeline
from robotctl.replay.video import frames
from robotctl.task import load_task

PICTURES = Path(__file__).parent.parent / "docs" / "pictures"
SIZE = (960, 540)


@dataclass(frozen=True)
class Shot:
    """One picture: of a task, at the moment that `when` picks, from `eye` (relative to the target)."""

    name: str
    task: str
    seed: int
    when: str  # start, nearest (a person), or a skill's name: the middle of it
    target: tuple[float, float, float]
    away: tuple[float, float, float]


SHOTS = (
    Shot("kitchen", "kitchen/clear-table", 1001, "start", (-0.1, 0.35, 0.75), (-1.9, -4.6, 3.1)),
    Shot("reach-over-table", "kitchen/clear-table", 1001, "nearest", (0.0, -0.2, 0.8), (-1.6, -2.4, 1.6)),
    Shot("reach-over-counter", "kitchen/put-away-knife", 1003, "nearest", (0.1, 1.1, 0.95), (-1.5, -2.2, 1.3)),
    Shot("cutting", "kitchen/slice-cucumber", 1002, "cut", (0.35, 1.35, 0.95), (-0.9, -1.3, 0.75)),
    Shot("pot", "kitchen/pull-pot", 1002, "pull", (0.0, -0.2, 0.8), (-2.0, -0.9, 1.2)),
)


def episode(folder: Path, task: str, seed: int) -> Path:
    """The episode's file; run if it is not there."""
    path = folder / f"{task.replace('/', '-')}-{seed}.mcap"
    if not path.exists():
        print(f"running {task} seed {seed}", flush=True)
        run_episode(load_task(task), RunOptions(seed=seed, out=path))
    return path


def moment(path: Path, shown: Stage, when: str) -> int:
    line = timeline(read_episode(path))
    if when == "start":
        return 0
    if when == "nearest":
        return int(np.argmin(line.distance))
    span = next(span for span in line.skills if span.what.startswith(when))
    return int(np.searchsorted(shown.time, 0.5 * (span.start + span.end)))


def main() -> None:
    folder = Path(sys.argv[1])
    for shot in SHOTS:
        path = episode(folder, shot.task, shot.seed)
        shown = stage(read_episode(path))
        tick = moment(path, shown, shot.when)
        target = np.array(shot.target)
        painter = Painter(shown.fixed, Camera(target + np.array(shot.away), target))
        Image.fromarray(painter.picture(shown.placed, tick, *SIZE)).save(PICTURES / f"{shot.name}.png", optimize=True)
        print(shot.name, f"{shown.time[tick]:.2f} s", flush=True)
    log = read_episode(episode(folder, "kitchen/clear-table", 1001))
    shown, line = stage(log), timeline(log)
    moving = [
        Image.fromarray(image).resize((720, 540), Image.Resampling.LANCZOS)
        for i, image in enumerate(frames("kitchen/clear-table", shown, line, 10.0, lambda time: None))
        if i % 2 == 0
    ]
    moving[0].save(
        PICTURES / "clear-table.webp",
        save_all=True,
        append_images=moving[1:],
        duration=100,
        loop=0,
        quality=55,
        method=4,
    )


if __name__ == "__main__":
    main()
