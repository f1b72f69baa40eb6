"""What logging costs: writes the steps of recorded episodes again, with a clock, and says how long a minute's file is.

python tools/logging_cost.py EPISODE.mcap ...
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path

from robotctl.episode.bundle import ATTACHMENT, unbundled
from robotctl.episode.reader import read_episode
from robotctl.episode.writer import EpisodeWriter
from robotctl.task import load_task


def main() -> None:
    for path in map(Path, sys.argv[1:]):
        log = read_episode(path)
        steps = list(log.steps)
        with unbundled(log.attachments[ATTACHMENT]) as files, tempfile.TemporaryDirectory() as folder:
            out, cost = Path(folder) / "e.mcap", []
            with EpisodeWriter(out, log.attachments, log.metadata, load_task(files.task).scene) as writer:
                for step in steps:
                    started = time.perf_counter()
                    writer.append(step)
                    cost.append(1e3 * (time.perf_counter() - started))
                writer.close(log.summary or {})
            attached = sum(map(len, log.attachments.values()))
            minute = (out.stat().st_size - attached) * 60.0 / log.duration + attached
        cost.sort()
        people = max(len(step.truth.person_names) for step in steps)
        print(
            f"{path.name}: {len(steps)} cycles, {people} people: mean {statistics.mean(cost):.3f} ms, "
            f"p99 {cost[int(0.99 * len(cost))]:.3f} ms, longest {cost[-1]:.1f} ms; 60 s are {minute / 1e6:.2f} MB"
        )


if __name__ == "__main__":
    main()
