"""Measures how much less data curiosity needs than random play: `python tools/study_curiosity.py`.

Prints JSON: the contact model's error by how many pushes it learned from, for both, and how many pushes at random one
curious push is worth. Ctrl-C leaves whole files behind; started again with the same folder, it goes on.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from robotctl.errors import RobotctlError
from robotctl.jsontext import json_text
from robotctl.training.study_curiosity import Study, study


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--target", default="kitchen")
    parser.add_argument("--seed", type=int, default=1000)
    parser.add_argument("--sizes", default="10,20,40,80,160,320,640", help="pushes learned from")
    parser.add_argument("--aimed", type=int, default=400, help="pushes to test with")
    parser.add_argument("--steps", type=int, default=400, help="of every fit")
    parser.add_argument("--fits", type=int, default=3, help="of every size, with other seeds")
    parser.add_argument("--sets", type=int, default=1, help="of data, the others with the seeds that follow")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--data", type=Path, help="folder; default data/curiosity-SEED")
    options = parser.parse_args()
    sizes = tuple(int(word) for word in options.sizes.split(","))
    shown = ""

    def say(what: str, share: float) -> None:
        nonlocal shown
        line = f"{what} {100 * share:.0f} %"
        if line != shown:
            shown = line
            print(f"{time.strftime('%H:%M:%S')} {line}", file=sys.stderr, flush=True)

    plan = Study(options.target, options.seed, options.aimed, sizes, options.steps, options.fits, options.sets)
    folder = options.data or Path("data") / f"curiosity-{options.seed}"
    try:
        answer = study(plan, folder, options.workers, say)
    except RobotctlError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print(f"interrupted; started again with the same --data ({folder}) it goes on", file=sys.stderr)
        return 130
    text = json_text(answer, indent=1)
    (folder / "answer.json").write_text(text + "\n")
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
