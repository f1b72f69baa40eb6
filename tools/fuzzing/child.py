"""This process reads one input after the other and says how each ended; see `campaign.py`, which starts it.

A line of JSON comes in on stdin for every input, a line goes out on the descriptor that was stdout. Processor time is
limited by a timer that kills the process, memory by the address space and by what the process really used.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import signal
import sys
import sysconfig
import traceback
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any

REFUSALS = (2, 3, 7)  # exit codes of an error that the user can act on
MEGABYTE = 1 << 20


class Watch:
    """Which files are opened while an input is read."""

    def __init__(self, scratch: Path) -> None:
        self.armed = False
        self.strayed = ""
        here = Path(__file__).resolve().parents[2]
        own = (
            scratch,
            here,
            *(Path(p) for p in sysconfig.get_paths().values()),
            Path(sys.base_prefix),
            Path(sys.prefix),
        )
        self._roots = tuple(os.path.realpath(root) for root in own)
        sys.addaudithook(self.notice)

    def notice(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event != "open" or not self.armed or not isinstance(arguments[0], (str, bytes)):
            return
        path = os.path.realpath(os.fsdecode(arguments[0]))
        if not any(path == root or path.startswith(root + os.sep) for root in self._roots):
            self.strayed = path


def main() -> None:
    scratch, seconds, megabytes = Path(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    readers = importlib.import_module(sys.argv[4]).READERS
    warnings.simplefilter("error", RuntimeWarning)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    limit = _pages()[0] + 4 * megabytes * MEGABYTE
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    watch = Watch(scratch)
    print("ready", file=answers)
    for line in sys.stdin:
        request = json.loads(line)
        _reset_peak()
        before = _peak()
        watch.strayed, watch.armed = "", True
        signal.setitimer(signal.ITIMER_PROF, seconds)
        outcome = _outcome(readers[request["parser"]], Path(request["path"]))
        signal.setitimer(signal.ITIMER_PROF, 0)
        watch.armed = False
        used = (_peak() - before) // MEGABYTE
        if watch.strayed:
            outcome = {"outcome": "opened a file outside", "where": "", "text": watch.strayed}
        elif used > megabytes:
            outcome = {"outcome": "memory", "where": "", "text": f"{used} MB"}
        print(json.dumps(outcome), file=answers)


def _outcome(read: Any, path: Path) -> dict[str, str]:
    from robotctl.errors import RobotctlError

    try:
        read(path)
    except RobotctlError as error:
        message = str(error)
        if error.exit_code not in REFUSALS:
            return {"outcome": f"exit code {error.exit_code}", "where": _where(error), "text": message}
        if not message or not message.isprintable():
            return {"outcome": "message", "where": _where(error), "text": repr(message)}
        return {"outcome": "refused", "where": "", "text": message}
    except BaseException as error:
        text = "".join(traceback.format_exception(error, limit=-12))
        return {"outcome": type(error).__name__, "where": _where(error), "text": text[-6000:]}
    return {"outcome": "accepted", "where": "", "text": ""}


def _where(error: BaseException) -> str:
    """The innermost line of robotctl that the error came through."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if f"{os.sep}robotctl{os.sep}" in f.filename]
    return f"{frames[-1].filename.rpartition(os.sep + 'robotctl' + os.sep)[2]}:{frames[-1].lineno}" if frames else ""


def _pages() -> tuple[int, int]:
    """Address space and resident memory [bytes]."""
    size, resident = Path("/proc/self/statm").read_text().split()[:2]
    return int(size) * resource.getpagesize(), int(resident) * resource.getpagesize()


def _reset_peak() -> None:
    with suppress(OSError):  # without it the peak is that of the whole life, and only a new one counts
        Path("/proc/self/clear_refs").write_text("5")


def _peak() -> int:
    """Largest resident memory since the last reset [bytes]."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0


if __name__ == "__main__":
    main()
