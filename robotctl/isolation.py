"""Keeps a deliberator in a process of its own, where a hang, a crash or a lack of memory cannot stop the filter.

States go down a pipe; thoughts come back as JSON text and are read strictly, so that nothing which a planner sends
is executed here. A thought that does not come in time, or a process that dies, is a thought without an action: the
filter brakes. Then a new process is started from this one, which looks and plans anew; after RESTARTS of them the
robot stays where it is.

The simulated clock waits for the planner, up to `patience` seconds of real time. On a robot that is the tick.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import resource
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Callable
from dataclasses import asdict, replace
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from robotctl.deliberation import Deliberator, Thought
from robotctl.episode.step import Foreseen, PlanSummary
from robotctl.state import State

PATIENCE = 30.0  # [s] of real time for one thought; cold plans on a crowded machine take a few
FIRST_PATIENCE = 300.0  # [s] for the first one of a process, which may compile kernels
FAREWELL = 1.0  # [s] that a process which broke the pipe may take to die
RESTARTS = 3  # in one episode
MEMORY = 4 << 30  # a planner may take this much more memory than the robot has without it [bytes]
LARGEST = 4 << 20  # [bytes] of a thought
THOUGHT, FAILED = b"T", b"F"  # how an answer begins
STOPPED = "stopped"  # how an episode ends whose planner failed too often
_PR_SET_PDEATHSIG = 1


class IsolatedDeliberator:
    """Thinks in another process; `think` always returns, and always a Thought."""

    def __init__(self, make: Callable[[], Deliberator], patience: float = PATIENCE, memory: int = MEMORY) -> None:
        """make: builds the deliberator; called in the new process."""
        self._make, self._patience, self._memory = make, patience, memory
        self._pid = 0
        self._pipe: Connection | None = None
        self.failures: list[str] = []
        self._start()

    def think(self, state: State, waiting: bool, brake: bool = False) -> Thought:
        """See Deliberator."""
        if self._pipe is None:
            if len(self.failures) > RESTARTS:
                return Thought(doing="standing", ended=STOPPED, reason=f"the planner failed: {self.failures[-1]}")
            if np.any(state.robot.dq_ref):  # first come to rest: a new process takes time to start
                return Thought(doing="braking", failure=self.failures[-1])
            self._start()
            if self._pipe is None:
                return Thought(doing="standing", failure=self.failures[-1])
        try:
            self._pipe.send((state, waiting, brake))
            if not self._pipe.poll(self._patience):
                return self._fail(f"the planner did not answer within {self._patience:g} s")
            answer = self._pipe.recv_bytes(LARGEST)
        except (EOFError, OSError):
            return self._fail(self._ended())
        if answer[:1] != THOUGHT:
            return self._fail(answer[1:].decode(errors="replace"))
        try:
            return read_thought(answer[1:])
        except ValueError as error:
            return self._fail(f"the planner's answer cannot be read: {error}")

    def close(self) -> None:
        """Ends the process."""
        if self._pipe is not None:
            self._pipe.close()
            self._pipe = None
        if self._pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(self._pid, 0)
            self._pid = 0

    def __enter__(self) -> IsolatedDeliberator:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _start(self) -> None:
        """A copy of this process, which has everything loaded already; returns once it is ready to think."""
        ours, theirs = Pipe()
        parent = os.getpid()
        sys.stdout.flush()
        sys.stderr.flush()
        with warnings.catch_warnings():  # JAX, where it is loaded, warns of forks: no planner runs it
            warnings.filterwarnings("ignore", message=r"os.fork\(\) was called", category=RuntimeWarning)
            self._pid = os.fork()
        if self._pid == 0:
            ours.close()
            _live(theirs, self._make, self._memory, parent)
        theirs.close()
        self._pipe = ours
        try:
            word = f"the planner did not start within {FIRST_PATIENCE:g} s"
            if ours.poll(FIRST_PATIENCE):
                word = ours.recv_bytes(LARGEST)[1:].decode(errors="replace")
        except (EOFError, OSError):
            word = self._ended()
        if word:
            self._fail(word)

    def _fail(self, failure: str) -> Thought:
        """Ends a process that cannot be relied on. The thought that stands for its answer."""
        self.close()
        self.failures.append(failure)
        return Thought(doing="braking", failure=failure, news=failure)

    def _ended(self) -> str:
        """How the process died that broke the pipe; one that lives on after that is ended by `close`."""
        deadline = time.monotonic() + FAREWELL
        while time.monotonic() < deadline:
            pid, status = os.waitpid(self._pid, os.WNOHANG)
            if pid:
                self._pid = 0
                code = os.waitstatus_to_exitcode(status)
                return f"the planner died ({signal.Signals(-code).name if code < 0 else f'exit code {code}'})"
            time.sleep(0.01)
        return "the planner broke off or answered far too much"


def _live(pipe: Connection, make: Callable[[], Deliberator], memory: int, parent: int) -> None:
    """The life of the other process. Never returns."""
    code = 1
    try:
        _die_with(parent)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the robot, which brakes first
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        _limit_memory(memory)
        try:
            mind = make()
        except Exception as error:
            pipe.send_bytes(FAILED + f"the planner could not be made: {_line(error)}".encode())
            raise
        pipe.send_bytes(THOUGHT)
        while True:
            state, waiting, brake = pipe.recv()
            try:
                answer = THOUGHT + thought_text(mind.think(state, waiting, brake)).encode()
            except MemoryError:
                answer = FAILED + b"the planner ran out of memory"
            except Exception as error:
                answer = FAILED + f"the planner raised {_line(error)}".encode()
            pipe.send_bytes(answer)
    except (EOFError, OSError):
        code = 0  # the robot's side has closed the pipe
    except BaseException:
        pass
    finally:
        os._exit(code)


def _line(error: BaseException) -> str:
    """What was raised and where, in one line."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f" ({os.path.basename(frames[-1].filename)}, line {frames[-1].lineno})" if frames else ""
    return " ".join(f"{type(error).__name__}: {error}".split())[:300] + where


def _die_with(parent: int) -> None:
    """No planner outlives its robot, not even one that hangs when the robot's process is killed."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(0)


def _limit_memory(more: int) -> None:
    """At most `more` bytes of private memory beyond what is mapped now."""
    if sys.platform == "linux":
        with open("/proc/self/statm", "rb") as counts:
            data = int(counts.read().split()[5]) * resource.getpagesize()
        soft, hard = data + more, resource.getrlimit(resource.RLIMIT_DATA)[1]
        resource.setrlimit(resource.RLIMIT_DATA, (soft if hard == resource.RLIM_INFINITY else min(soft, hard), hard))


# ---- thoughts as text --------------------------------------------------------------------------------------------


def thought_text(thought: Thought) -> str:
    """A thought as JSON. What is no number in a proposal stays what it is, for the filter to refuse."""
    return json.dumps(asdict(thought), default=_plain)


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    return repr(value)[:100]


def read_thought(data: bytes) -> Thought:
    """The thought in a text; ValueError when it is none."""
    value = json.loads(data)
    if not isinstance(value, dict):
        raise ValueError("not an object")
    try:
        plan = value.pop("plan")
        if plan is not None:
            plan = PlanSummary(**plan)
            path = np.asarray(plan.path, float).reshape(-1, 3)
            plan = replace(
                plan,
                status=str(plan.status),
                cost={str(term): float(value) for term, value in plan.cost.items()},
                iterations=int(plan.iterations),
                fresh=bool(plan.fresh),
                margins={str(name): _foreseen(margin) for name, margin in plan.margins.items()},
                path=path,
            )
        appraisal = value.pop("appraisal")
        action = value.pop("action")
        met, total = value.pop("progress")
        attempts = tuple({str(key): item for key, item in attempt.items()} for attempt in value.pop("attempts"))
        plan_ms = float(value.pop("plan_ms"))
        return Thought(
            action=action if action is None else _array(action),
            plan=plan,
            appraisal=None if appraisal is None else (str(appraisal[0]), float(appraisal[1])),
            progress=(int(met), int(total)),
            attempts=attempts,
            plan_ms=plan_ms,
            **{key: str(text) for key, text in value.items()},
        )
    except (TypeError, KeyError, AttributeError, IndexError) as error:
        raise ValueError(f"not a thought ({_line(error)})") from None


def _foreseen(margin: Any) -> Foreseen:
    return Foreseen(**{str(name): float(value) for name, value in margin.items()})


def _array(action: Any) -> Any:
    """The proposal as an array where it is one; otherwise as it came."""
    try:
        return np.asarray(action, float)
    except (TypeError, ValueError):
        return action
