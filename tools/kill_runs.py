"""Kills runs at random moments (kill -9), reads what they left, and says how much was lost.

    python tools/kill_runs.py FOLDER --kills 50 --seed 1

Each run is `kitchen/put-away-knife` in a process of its own, which reports every tick that it has logged. Writes
FOLDER/kills.json; a folder that was begun is gone on with.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from robotctl.episode.reader import read_episode
from robotctl.errors import InvalidFileError

RUN = """
import sys
from pathlib import Path
from robotctl.control import RunOptions, run_episode
from robotctl.task import load_task
run_episode(load_task("kitchen/put-away-knife"), RunOptions(seed=int(sys.argv[1]), out=Path(sys.argv[2])),
            lambda progress: print(progress.time, flush=True))
print("over", flush=True)
"""
LONGEST = 12.0  # a run is killed within so many seconds after its first tick [s]


def kill_one(path: Path, seed: int, after: float) -> dict[str, Any] | None:
    """Starts a run, kills it `after` seconds of real time, and reads its log; None if it was over before."""
    process = subprocess.Popen([sys.executable, "-c", RUN, str(seed), str(path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    process.stdout.readline()
    time.sleep(after)
    os.kill(process.pid, signal.SIGKILL)
    words = process.stdout.read().split()
    process.wait()
    if "over" in words:
        return None
    told = [float(word) for word in words]
    last = told[-1] if told else 0.0
    try:
        log = read_episode(path)
    except InvalidFileError as error:
        return {"seed": seed, "after_s": after, "reached_s": last, "readable": False, "error": str(error)}
    steps = list(log.steps)
    kept = steps[-1].observation.time if steps else 0.0
    return {
        "seed": seed,
        "after_s": round(after, 3),
        "reached_s": last,
        "kept_s": kept,
        "lost_s": round(last - kept, 3),
        "readable": len(steps) == log.count,
        "complete": log.complete,
        "success": bool((log.summary or {}).get("success")),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    answer = options.folder / "kills.json"
    rows: list[dict[str, Any]] = json.loads(answer.read_text()) if answer.exists() else []
    moments = random.Random(options.seed)
    while len(rows) < options.kills:
        after = moments.uniform(0.0, LONGEST)
        path = options.folder / f"kill{len(rows)}.mcap"
        path.unlink(missing_ok=True)
        row = kill_one(path, 1000 + len(rows), after)
        if row is not None:
            rows.append(row)
            answer.write_text(json.dumps(rows, indent=1))
        print(row or f"over before {after:.1f} s: another moment", flush=True)
    lost = [row.get("lost_s", float("inf")) for row in rows]
    bad = [row for row in rows if not row["readable"] or row.get("success") or row.get("complete")]
    print(f"{len(rows)} kills: {len(bad)} not readable or taken for whole; lost at most {max(lost):.2f} s")
    return bool(bad) or max(lost) > 1.0


if __name__ == "__main__":
    sys.exit(main())
