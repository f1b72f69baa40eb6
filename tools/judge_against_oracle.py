"""Compares the judge with the oracle on recorded episodes: `python tools/judge_against_oracle.py FOLDER`.

Records the episodes that the folder does not have yet (seeds from 1000 on), lets both judge them, and prints the table
of agreement for docs/results.md. Started again, it goes on where it stopped.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import asdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from oracle.logs import FIRST_SEED, log_of, record


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--episodes", type=int, default=200)
    parser.add_argument("--record-only", action="store_true")
    parser.add_argument("--recorded-only", action="store_true", help="compare what is there, record nothing")
    options = parser.parse_args()
    paths = [options.folder / log_of(seed).name for seed in range(FIRST_SEED, FIRST_SEED + options.episodes)]
    if not options.recorded_only:
        for path in record(options.folder, options.episodes):
            print(f"{time.strftime('%H:%M:%S')} {path.name}", file=sys.stderr, flush=True)
    if options.record_only:
        return 0
    from oracle.compare import compare_log
    from oracle.table import table

    answers = []
    for path in paths:
        if not path.exists():
            continue
        answer = path.with_suffix(".json")
        if not answer.exists():
            comparison = compare_log(path, options.folder / "files")
            answer.write_text(json.dumps(asdict(comparison)))
            print(f"{time.strftime('%H:%M:%S')} compared {path.name}", file=sys.stderr, flush=True)
        answers.append((path.stem, json.loads(answer.read_text())))
    print(table(answers))
    return 0


if __name__ == "__main__":
    sys.exit(main())
