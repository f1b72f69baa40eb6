"""What every method of the planner bench is: something that answers a problem within a time limit."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from robotctl.bench.planner_problems import PlanningProblem
from robotctl.state import State


@dataclass(frozen=True)
class Answer:
    """One method's answer to one problem."""

    ms: float  # wall time of the answer, compiling and building left out [ms]
    u: np.ndarray | None = None  # (H, 10) accelerations; None: no motion found
    path: np.ndarray | None = None  # (n, 10) instead of u: a path without timing
    state: State | None = None  # where u starts, if not at the problem's start
    note: str = ""
    earlier: tuple[tuple[float, np.ndarray], ...] = ()  # when [ms] it would have answered what (H, 10), if stopped


class Peer(Protocol):
    """A method by its name. `solve` may be called in any order, each call from scratch."""

    @property
    def name(self) -> str: ...

    @property
    def kinds(self) -> tuple[str, ...]:
        """Kinds of problems it can express."""
        ...

    def solve(self, problem: PlanningProblem, time_limit: float) -> Answer: ...


def missing(*libraries: str) -> str:
    """A clear word when a library is absent, "" when all are there."""
    absent = [name for name in libraries if importlib.util.find_spec(name) is None]
    return f"needs {', '.join(absent)}: pip install 'robotctl[bench]'" if absent else ""
