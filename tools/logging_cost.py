"""What logging costs in the control cycle: runs episodes with a clock around the log; and how long their files are.

python tools/logging_cost.py kitchen/clear-table --seeds 0:5
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from robotctl.control import RunOptions, run_episode
from robotctl.episode.step import Step
from robotctl.episode.writer import EpisodeWriter
from robotctl.task import load_task


class Clocked(EpisodeWriter):
    """An open log that times every tick it is given."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.cost: list[float] = []  # [ms]
        self.people = 0

    def append(self, step: Step) -> None:
        started = time.perf_counter()
        super().append(step)
        self.cost.append(1e3 * (time.perf_counter() - started))
        self.people = len(step.truth.person_names)

    def close(self, summary: dict[str, Any]) -> str:
        started = time.perf_counter()
        self._flush()  # what the last second left belongs to its ticks
        self.cost[-1] += 1e3 * (time.perf_counter() - started)
        return super().close(summary)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task")
    parser.add_argument("--seeds", default="1000:1003", metavar="A:B")
    options = parser.parse_args()
    first, end = map(int, options.seeds.split(":"))
    every: list[float] = []
    for seed in range(first, end):
        made: list[Clocked] = []

        def record(*given: Any, made: list[Clocked] = made) -> Clocked:
            made.append(Clocked(*given))
            return made[0]

        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / "e.mcap"
            run_episode(load_task(options.task), RunOptions(seed=seed, out=out), record=record)
            size = out.stat().st_size
        cost = sorted(made[0].cost)
        every += cost
        lasted = len(cost) / 20.0
        print(
            f"{options.task} seed {seed}: {len(cost)} cycles, {made[0].people} people: mean "
            f"{statistics.mean(cost):.3f} ms, median {statistics.median(cost):.3f} ms, longest {cost[-1]:.1f} ms; "
            f"{size / 1e6:.2f} MB, {size / 1e6 * 60.0 / lasted:.2f} MB a minute",
            flush=True,
        )
    print(f"all: {len(every)} cycles, mean {statistics.mean(every):.3f} ms")


if __name__ == "__main__":
    main()
