"""One episode: perceive, predict and optimise, filter, act, log - twenty times a second until the task is over."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

import numpy as np

from robotctl.controller import STILL, Controller, Cycle, nearest_person
from robotctl.episode.step import PlanSummary, Step, VerdictSummary
from robotctl.episode.writer import EpisodeWriter
from robotctl.guardrails.load import GuardrailSet, load_guardrails
from robotctl.judge import Judge
from robotctl.result import DEADLINE_MS, EpisodeResult, Tally
from robotctl.simulation.bullet import BulletSimulator
from robotctl.task import Task
from robotctl.world_model.composite import LearnedWorldModel, load_world_model

ARMS = ("full", "none", "filter-only", "planner-only")


@dataclass(frozen=True)
class RunOptions:
    """What `robotctl run` may be told."""

    seed: int = 0
    guardrail_files: tuple[Path, ...] = ()  # in addition to the task's
    relax: dict[str, str] = field(default_factory=dict)  # guardrail id -> reason
    model: Path | None = None
    people: str = "default"  # default or none
    time_limit: float | None = None  # [s]
    arm: str = "full"  # which lines of defence are on, see ARMS
    out: Path | None = None  # the episode file


@dataclass(frozen=True)
class Progress:
    """What the live view shows of one tick."""

    time: float
    skill: str
    objective_done: int
    objective_total: int
    cost: float
    margins: dict[str, tuple[float, float]]  # id -> (present, smallest predicted)
    distance_to_people: float
    intervened: bool
    stopped: bool
    appraisal: tuple[str, float]
    plan_ms: float
    filter_ms: float
    status: str
    message: str


def run_episode(task: Task, options: RunOptions, observe: Callable[[Progress], None] | None = None) -> EpisodeResult:
    """Runs one episode and writes its log; the judge alone says how it went."""
    guardrails = load_guardrails((*task.guardrail_files, *options.guardrail_files), task.scene, options.relax)
    model = load_world_model(options.model, guardrails.assumptions)
    controller = Controller(task.scene, guardrails, model, options.seed, options.arm)
    controller.begin(task)
    judge = Judge(task.scene, guardrails, task)
    tally = Tally()
    path = options.out or default_path(task, options)

    with (
        BulletSimulator(task.scene, () if options.people == "none" else task.people) as simulator,
        EpisodeWriter(path, attachments(task, guardrails, model), metadata(task, options, guardrails, model)) as writer,
        ctrl_c() as interrupted,
    ):
        controller.warm_up()
        started = time.perf_counter()
        observation = simulator.reset(options.seed)
        ended = ""
        while not ended:
            cycle = controller.act(observation, brake=interrupted.is_set())
            observation = simulator.step(cycle.verdict.action)
            truth, reference = simulator.truth(), simulator.reference()
            judge.observe(truth, reference)
            writer.append(log_step(controller, cycle, truth, reference))
            tally.count(cycle)
            if observe is not None:
                observe(progress(controller, cycle))
            ended = why_over(controller, cycle, options.time_limit or task.within, interrupted.is_set())
        wall = time.perf_counter() - started
        result = conclude(task, options, controller, model, judge, tally, ended, observation.time, wall, path)
        digest = writer.close(result.to_dict())
    return replace(result, digest=digest)


def why_over(controller: Controller, cycle: Cycle, limit: float, interrupted: bool) -> str:
    """Why the episode ends after this cycle; empty while it goes on. Only a robot at rest ends its episode early."""
    standing = bool(np.all(np.abs(cycle.state.robot.dq_ref) < STILL))
    if interrupted:
        return "interrupted" if standing else ""
    mission = controller.mission
    if mission is not None and mission.ended and standing:
        return mission.ended
    return "out of time" if cycle.state.time >= limit else ""


@contextmanager
def ctrl_c() -> Iterator[threading.Event]:
    """Turns the first Ctrl-C into a flag, so that the robot brakes before anything else; a second one is immediate."""
    pressed = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield pressed
        return

    def handle(signum: int, frame: FrameType | None) -> None:
        if pressed.is_set():
            raise KeyboardInterrupt
        pressed.set()

    previous = signal.signal(signal.SIGINT, handle)
    try:
        yield pressed
    finally:
        signal.signal(signal.SIGINT, previous)


def default_path(task: Task, options: RunOptions) -> Path:
    """episodes/<task>-seed<N>-<k>.mcap, the first k that is free."""
    stem = f"{task.name.replace('/', '-')}-seed{options.seed}"
    for k in count():
        path = Path("episodes") / f"{stem}-{k:03d}.mcap"
        if not path.exists():
            return path
    raise AssertionError
