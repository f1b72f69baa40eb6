"""Fuzzes every parser that reads a user's file: `python tools/fuzz.py --inputs 20000 --seed 1 [--parser NAME]`.

Valid files are broken in many ways, and read in a process of their own. Allowed is success, or an error of robotctl in
one line with exit code 2, 3 or 7. Anything else is a finding and is kept with its seed: another exception, a warning, a
signal, more than 5 s of processor time, more than 700 MB of memory, a file opened outside of the input's tree.

Exit code 1 if something was found. `--first N` begins with another input than 0: `--first 137 --inputs 1` repeats one.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[1]), str(Path(__file__).resolve().parent)]

from fuzzing.campaign import Child, Result, fuzz, workplace  # noqa: E402

EVERY = 5.0  # between two lines of progress [s]


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--inputs", type=int, default=1000, help="for each parser")
    arguments.add_argument("--first", type=int, default=0, help="index of the first input")
    arguments.add_argument("--seed", type=int, default=1)
    arguments.add_argument("--parser", action="append", help="only this one; may be repeated")
    arguments.add_argument("--out", type=Path, default=Path("fuzz-findings"), help="folder for what was found")
    arguments.add_argument("--json", action="store_true", help="print one JSON object")
    given = arguments.parse_args()
    results: list[Result] = []
    with workplace() as (scratch, sources):
        unknown = set(given.parser or ()) - set(sources)
        if unknown:
            arguments.error(f"no parser '{sorted(unknown)[0]}'; one of: {', '.join(sources)}")
        child = Child(scratch)
        try:
            for parser in given.parser or sources:
                started = shown = time.monotonic()

                def progress(result: Result, started: float = started) -> None:
                    nonlocal shown
                    now = time.monotonic()
                    if now - shown > EVERY:
                        shown = now
                        rate, found = result.inputs / (now - started), sum(result.findings.values())
                        print(
                            f"{result.parser}: {result.inputs} of {given.inputs}, {rate:.0f}/s, {found} found",
                            file=sys.stderr,
                        )

                indices = range(given.first, given.first + given.inputs)
                results.append(fuzz(parser, sources[parser], child, indices, given.seed, given.out, progress))
                print(_row(results[-1]), file=sys.stderr, flush=True)
        finally:
            child.stop()
    found = any(result.findings for result in results)
    if given.json:
        answer = {"schema": "robotctl/fuzz.v1", "seed": given.seed, "first": given.first, "restarts": child.starts - 1}
        print(json.dumps({**answer, "parsers": [_dict(result) for result in results]}, indent=2))
    else:
        print(f"{'parser':<12}{'inputs':>8}{'accepted':>10}{'refused':>9}{'findings':>10}")
        for result in results:
            print(_row(result))
            for name, count in result.findings.most_common():
                print(f"    {count} x {name}: {result.examples[name][:200]!r}")
    raise SystemExit(1 if found else 0)


def _row(result: Result) -> str:
    found = sum(result.findings.values())
    return f"{result.parser:<12}{result.inputs:>8}{result.accepted:>10}{result.refused:>9}{found:>10}"


def _dict(result: Result) -> dict[str, object]:
    return {
        "name": result.parser,
        "inputs": result.inputs,
        "accepted": result.accepted,
        "refused": result.refused,
        "findings": [
            {"what": name, "count": n, "example": result.examples[name]} for name, n in result.findings.items()
        ],
    }


if __name__ == "__main__":
    main()
