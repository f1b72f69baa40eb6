"""One episode: perceive, predict and optimise, filter, act, log - twenty times a second until the task is over."""

from __future__ import annotations

import json
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from itertools import count
from pathlib import Path
from types import FrameType
from typing import Any, Protocol

import numpy as np

import robotctl
from robotctl.controller import STILL, Controller, Cycle
from robotctl.deliberation import Deliberation, Thought
from robotctl.episode.bundle import ATTACHMENT, bundle
from robotctl.episode.step import Step, Timing, VerdictSummary
from robotctl.episode.writer import EpisodeWriteError, EpisodeWriter
from robotctl.guardrails.load import GuardrailSet, load_guardrails, resolved_values
from robotctl.isolation import PATIENCE, IsolatedDeliberator
from robotctl.jsontext import json_text
from robotctl.judge.judge import Judge
from robotctl.planning.registry import DEFAULT
from robotctl.result import EpisodeResult, Tally
from robotctl.scene import Scene
from robotctl.simulation.bullet import BulletSimulator
from robotctl.simulation.faults import NO_FAULTS, Faults
from robotctl.state import N_JOINTS, Observation, Truth
from robotctl.task import Task, spoken_of
from robotctl.versions import versions
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
    planner: str = DEFAULT  # see robotctl.planning.registry
    arm: str = "full"  # which lines of defence are on, see ARMS
    out: Path | None = None  # the episode file
    patience: float = PATIENCE  # [s] of real time that a plan may take before the robot brakes without it
    brake_at: float = math.inf  # [s] from here on as after Ctrl-C
    faults: Faults = NO_FAULTS  # how the simulated world differs from the scene; the robot is not told


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


class Recorder(Protocol):
    """Takes in what happens; the episode's log, or what compares it with one."""

    def __enter__(self) -> Recorder: ...

    def __exit__(self, *error: Any) -> None: ...

    def append(self, step: Step) -> None: ...

    def close(self, summary: dict[str, Any]) -> str: ...


Recording = Callable[[Path, dict[str, bytes], dict[str, str], Scene], Recorder]  # as EpisodeWriter is made


def run_episode(
    task: Task,
    options: RunOptions,
    observe: Callable[[Progress], None] | None = None,
    record: Recording = EpisodeWriter,
) -> EpisodeResult:
    """Runs one episode and writes its log; the judge alone says how it went."""
    files = (*task.guardrail_files, *options.guardrail_files)
    guardrails = load_guardrails(files, task.scene, options.relax, spoken_of(task))
    model = load_world_model(options.model, guardrails.assumptions)
    judge = Judge(task.scene, guardrails, task)
    tally = Tally()
    path = options.out or default_path(task, options)

    def mind() -> Deliberation:
        made = Deliberation(task.scene, guardrails, model, options.seed, options.arm, options.planner)
        made.begin(task)
        made.warm_up()
        return made

    with (
        IsolatedDeliberator(mind, options.patience) as planner,
        BulletSimulator(
            task.scene, () if options.people == "none" else task.people, faults=options.faults
        ) as simulator,
        record(
            path, attachments(task, options, guardrails, model), metadata(task, options, guardrails, model), task.scene
        ) as writer,
        ctrl_c() as interrupted,
    ):
        controller = Controller(task.scene, guardrails, planner, options.arm)
        started = time.perf_counter()
        observation = simulator.reset(options.seed)
        ended = ""
        while not ended:
            braked = interrupted.is_set() or observation.time >= options.brake_at
            cycle = controller.act(observation, brake=braked)
            observation = simulator.step(cycle.verdict.action)
            step = log_step(cycle, simulator.truth(), braked)
            step = replace(step, judged=judge.observe_near(step.truth, step.reference))
            judge.sensed(step.observation)
            try:
                writer.append(step)
            except EpisodeWriteError:
                come_to_rest(controller, simulator, observation)
                raise
            tally.count(cycle)
            if observe is not None:
                observe(progress(step))
            ended = why_over(cycle, options.time_limit or task.within, braked)
        wall = time.perf_counter() - started
        result = conclude(task, options, model, judge, tally, cycle.thought, ended, observation.time, wall, path)
        digest = writer.close(result.to_dict())
    return replace(result, digest=digest)


def come_to_rest(controller: Controller, simulator: BulletSimulator, observation: Observation) -> None:
    """Brakes, whatever was going on: nothing moves that is not logged."""
    while True:
        cycle = controller.act(observation, brake=True)
        observation = simulator.step(cycle.verdict.action)
        if not np.any(cycle.verdict.action[:N_JOINTS]):
            return


def why_over(cycle: Cycle, limit: float, interrupted: bool) -> str:
    """Why the episode ends after this cycle; empty while it goes on. Only a robot at rest ends its episode early."""
    standing = bool(np.all(np.abs(cycle.state.robot.dq_ref) < STILL))
    if interrupted:
        return "interrupted" if standing else ""
    if cycle.thought.ended and standing:
        return cycle.thought.ended
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


def log_step(cycle: Cycle, truth: Truth, braked: bool) -> Step:
    """What one cycle leaves in the log."""
    thought, verdict = cycle.thought, cycle.verdict
    foreseen = thought.plan.margins if thought.plan is not None else {}
    predicted = {name: margin.value for name, margin in foreseen.items()}
    return Step(
        observation=cycle.observation,
        state=cycle.state,
        plan=thought.plan,
        verdict=VerdictSummary(**{name: getattr(verdict, name) for name in VerdictSummary.__dataclass_fields__}),
        truth=truth,
        skill=thought.doing,
        appraisal=thought.appraisal,
        objective=thought.progress,
        margins={name: (value, predicted.get(name, value)) for name, value in verdict.margins.items()},
        distance_to_people=cycle.distance_to_people,
        message=thought.news,
        timing=Timing(thought.plan_ms, cycle.filter_ms),
        braked=braked,
    )


def progress(step: Step) -> Progress:
    """What the live view shows of a logged step."""
    timing = step.timing or Timing(0.0, 0.0)
    return Progress(
        time=step.observation.time,
        skill=step.skill,
        objective_done=step.objective[0],
        objective_total=step.objective[1],
        cost=step.plan.total_cost if step.plan else 0.0,
        margins=step.margins,
        distance_to_people=step.distance_to_people,
        intervened=step.verdict.intervened,
        stopped=step.verdict.stopped,
        appraisal=step.appraisal or ("", 1.0),
        plan_ms=timing.plan_ms,
        filter_ms=timing.filter_ms,
        status=step.plan.status if step.plan else "",
        message=step.message,
    )


def conclude(
    task: Task,
    options: RunOptions,
    model: LearnedWorldModel,
    judge: Judge,
    tally: Tally,
    last: Thought,
    ended: str,
    simulated: float,
    wall: float,
    path: Path,
) -> EpisodeResult:
    """The episode's answer."""
    word, chance = tally.first_appraisal or (None, None)
    return EpisodeResult(
        task=task.name,
        seed=options.seed,
        ended=ended,
        reason=last.reason,
        verdict=judge.verdict().to_dict(),
        simulated_s=simulated,
        wall_s=wall,
        filter=tally.filter_dict(),
        planning=tally.planning_dict(),
        world_model={"path": model.path, "sha256": model.sha256, "used_for": list(model.used_for)},
        appraisal={
            "success_probability": None if chance is None else round(chance, 4),
            "min_margin": tally.least_margin,
            "word": word,
        },
        skills=tally.attempts,
        episode=path,
        digest=None,
        relaxed=dict(options.relax),
    )


def attachments(
    task: Task, options: RunOptions, guardrails: GuardrailSet, model: LearnedWorldModel
) -> dict[str, bytes]:
    """The files that an episode needs to be judged again."""
    return {
        ATTACHMENT: bundle(task, options.guardrail_files, options.relax),
        "scene.yaml": task.scene.text.encode(),
        "task.yaml": task.text.encode(),
        "guardrails.json": json_text(resolved_values(guardrails), indent=None).encode(),
        "model_card.json": json.dumps(model.card, sort_keys=True).encode(),
    }


def metadata(task: Task, options: RunOptions, guardrails: GuardrailSet, model: LearnedWorldModel) -> dict[str, str]:
    """What was run, in words."""
    return {
        "robotctl": robotctl.__version__,
        "versions": json.dumps(versions(), sort_keys=True),
        "task": task.name,
        "seed": str(options.seed),
        "arm": options.arm,
        "planner": options.planner,
        "people": options.people,
        "time_limit": str(options.time_limit or task.within),
        "guardrails": guardrails.name,
        "guardrails_sha256": guardrails.sha256,
        "assumptions": json.dumps(asdict(guardrails.assumptions), sort_keys=True),
        "relaxed": json.dumps(options.relax, sort_keys=True),
        "faults": json.dumps(asdict(options.faults), sort_keys=True),
        "model": model.path,
        "model_sha256": model.sha256,
    }
