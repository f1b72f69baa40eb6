"""This file runs many independent jobs in worker processes, and survives the death of any of them.

Workers are spawned, not forked: each starts clean, so a job's result does not depend on what ran before it. A job
whose worker dies (a crash of the physics engine, the system's memory guard) is tried once more. An exception in a
job is a result like any other: it would happen again.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

from robotctl.errors import RobotctlError

ATTEMPTS = 2
GRACE = 20.0  # after an interruption workers may brake and close their logs this long [s]


@dataclass(frozen=True)
class Outcome:
    """What became of one job."""

    key: str
    value: Any = None
    error: str | None = None  # one line; None when there is a value
    exit_code: int = 0  # of the error
    details: str = ""  # its traceback


def sweep(function: Callable[[Any], Any], jobs: Sequence[tuple[str, Any]], workers: int) -> Iterator[Outcome]:
    """Outcomes of `function(payload)` for every (key, payload), as they come. `function` lives in a module.

    Closing the iterator or Ctrl-C ends the workers: each is interrupted once, so that a robot brakes and its log is
    closed, and what they still deliver is dropped.
    """
    with Crew(function, min(workers, len(jobs))) as crew:
        yield from crew.work(jobs)


class Crew:
    """Workers that stay for several rounds of jobs: a search chooses each round by what the last one told."""

    def __init__(self, function: Callable[[Any], Any], workers: int) -> None:
        self._team = [_Worker(function) for _ in range(workers)]

    def work(self, jobs: Sequence[tuple[str, Any]]) -> Iterator[Outcome]:
        """Outcomes of one round, as they come."""
        team = self._team
        waiting = deque((key, payload, 1) for key, payload in jobs)
        while waiting or any(worker.job for worker in team):
            for worker in team:
                if worker.job is None and waiting:
                    worker.give(waiting.popleft())
            for worker in _ready(team):
                key, payload, attempt = worker.job  # type: ignore[misc]
                outcome = worker.take()
                if outcome is None and attempt < ATTEMPTS:
                    waiting.appendleft((key, payload, attempt + 1))
                    continue
                yield outcome or Outcome(key, error=f"the worker died {ATTEMPTS} times ({worker.died})", exit_code=1)

    def __enter__(self) -> Crew:
        return self

    def __exit__(self, *_: object) -> None:
        _dismiss(self._team)


class _Worker:
    """One process, started again when it has died."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        self._function = function
        self.job: tuple[str, Any, int] | None = None
        self.died = ""
        self.process: BaseProcess
        self.pipe: Connection
        self._start()

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, self._function), daemon=True)
        self.process.start()
        theirs.close()

    def give(self, job: tuple[str, Any, int]) -> None:
        self.job = job
        with contextlib.suppress(OSError):  # died while idle: `take` notices
            self.pipe.send(job[:2])

    def take(self) -> Outcome | None:
        """The outcome of the job; None when the worker died over it."""
        self.job = None
        try:
            return self.pipe.recv()
        except (EOFError, OSError):
            self.process.join()
            code = self.process.exitcode or 0
            self.died = f"signal {-code}" if code < 0 else f"exit code {code}"
            self.pipe.close()
            self._start()
            return None


def _ready(team: Sequence[_Worker]) -> list[_Worker]:
    """Workers that delivered or died; waits for the first. A pipe whose other end died counts as ready."""
    busy = {worker.pipe: worker for worker in team if worker.job is not None}
    return [busy[pipe] for pipe in wait(list(busy)) if isinstance(pipe, Connection)]


def _dismiss(team: Sequence[_Worker]) -> None:
    """Lets idle workers go, interrupts busy ones, and ends whoever stays too long."""
    for worker in team:
        if worker.job is not None and worker.process.pid is not None and worker.process.is_alive():
            os.kill(worker.process.pid, signal.SIGINT)
        else:
            worker.pipe.close()
    deadline = time.monotonic() + GRACE
    for worker in team:
        while worker.job is not None and worker.process.is_alive() and time.monotonic() < deadline:
            if worker.pipe.poll(0.1):
                break  # it delivered: the log is closed
        worker.pipe.close()
        worker.process.join(1.0)
        if worker.process.is_alive():
            worker.process.terminate()
            worker.process.join()


def _serve(pipe: Connection, function: Callable[[Any], Any]) -> None:
    """The life of a worker. In a process group of its own, so that Ctrl-C reaches it through its parent only."""
    os.setpgrp()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs are started deaf to it
    try:
        while True:
            key, payload = pipe.recv()
            pipe.send(_attempt(key, payload, function))
    except (EOFError, OSError, KeyboardInterrupt):
        pass


def _attempt(key: str, payload: Any, function: Callable[[Any], Any]) -> Outcome:
    try:
        return Outcome(key, function(payload))
    except KeyboardInterrupt:
        return Outcome(key, error="interrupted", exit_code=130)
    except RobotctlError as error:
        return Outcome(key, error=str(error), exit_code=error.exit_code)
    except Exception as error:
        return Outcome(key, error=f"{type(error).__name__}: {error}", exit_code=1, details=traceback.format_exc())
