"""Play: the robot tries skills on objects it finds, and remembers how each attempt ended. That is what the skill
outcome model learns from. The robot judges its attempts by its own senses."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from robotctl.controller import Controller
from robotctl.geometry import matrix_from_quaternion
from robotctl.guardrails.load import load_guardrails
from robotctl.robot import HOME
from robotctl.scene import Item, Place, Scene
from robotctl.scene_files import scenes_folder
from robotctl.simulation.bullet import BulletSimulator
from robotctl.skills.context import SkillContext
from robotctl.skills.executive import Executive
from robotctl.skills.pick import pick
from robotctl.skills.place import LOST, place
from robotctl.skills.skill import Outcome, Phase
from robotctl.state import TICK, State
from robotctl.task_planning.spots import free_spots
from robotctl.world_model.composite import LearnedWorldModel
from robotctl.world_model.skill_outcome import SkillAttempt

NEIGHBOURS = 2  # other objects left on the table beside the one played with
TIME_LIMIT = 40.0  # for a pick and a place together [s]
PLACED = 0.04  # an object this near its spot was put there [m]
OVERHANG = (-0.04, 0.09)  # how far a thing at the table's edge stands out over it [m]


@dataclass(frozen=True)
class RandomOutcomes:
    """Predicts by chance, so that every grasp is tried: the robot explores."""

    generator: np.random.Generator

    def success_probability(self, skill: str, kind: str, features: dict[str, float]) -> float:
        return float(self.generator.uniform(0.2, 1.0))

    def duration(self, skill: str, kind: str) -> float:
        return 8.0


class Exercise:
    """Pick one object, put it down somewhere; stands where a Mission would."""

    def __init__(self, name: str, context: SkillContext, generator: np.random.Generator) -> None:
        self.attempts: list[SkillAttempt] = []
        self.appraisal = None  # play is not appraised
        self.ended: str | None = None
        self.reason = ""
        self.skill = "none"
        self._name = name
        self._context = context
        self._generator = generator
        self._executive: Executive | None = None
        self._target: np.ndarray | None = None
        self._since = 0.0

    def phase(self, state: State, waiting: bool) -> Phase | None:
        if self.ended or all(item.name != self._name for item in state.objects):
            return None
        if self._executive is None:
            self._start("pick", state)
        assert self._executive is not None
        phase = self._executive.advance(state, waiting)
        if phase is not None:
            return phase
        self._finish(state)
        return None if self.ended else self.phase(state, waiting)

    def _start(self, skill: str, state: State) -> None:
        self.skill, self._since = skill, state.time
        if skill == "pick":
            self._executive = Executive(skill, pick(self._name, state, self._context))
            return
        kind = self._context.kind(state, self._name)
        taken = [(o.position, self._context.scene.kinds[o.kind].radius) for o in state.objects if o.name != self._name]
        places = [p for p in self._context.scene.places if p.labels & {"table", "counter"}]
        spots = [spot for p in places for spot in free_spots(p, kind, taken, self._context.boxes)]
        if not spots:
            self.ended, self.reason = "done", "no free spot"
            return
        near = sorted(spots, key=lambda spot: float(np.linalg.norm(spot.position[:2] - state.robot.q[:2])))
        spot = near[int(self._generator.integers(min(len(near), 30)))]
        self._target = spot.position
        self._executive = Executive(skill, place(spot, state, self._context))

    def _finish(self, state: State) -> None:
        assert self._executive is not None
        outcome = self._executive.outcome or Outcome(False, "no outcome")
        item = state.object(self._name)
        displacement = 0.0
        success = outcome.success
        if self.skill == "place" and self._target is not None:
            displacement = float(np.linalg.norm(item.position - self._target))
            upright = matrix_from_quaternion(item.quaternion)[2, 2] > 0.9
            success = success and displacement < PLACED and bool(upright)
        if self.skill == "place" and outcome.reason == LOST:
            # The grasp did not hold: that is to be learned of the pick, not of the place.
            self.attempts[-1] = replace(self.attempts[-1], success=False)
        elif outcome.tried:  # an attempt that found no posture teaches nothing about the skill
            duration = state.time - self._since
            self.attempts.append(SkillAttempt(self.skill, item.kind, outcome.features, success, duration, displacement))
        if self.skill == "pick" and outcome.success:
            self._start("place", state)
        else:
            self.ended, self.reason = "done", outcome.reason


def shuffled(scene: Scene, generator: np.random.Generator) -> tuple[Scene, str]:
    """The scene with a few graspable objects somewhere along the table's edge, and the name of one to play with."""
    table = next(p for p in scene.places if "table" in p.labels)
    graspable = [item for item in scene.items if scene.kinds[item.kind].grasps]
    kinds = sorted({item.kind for item in graspable})
    wanted = kinds[int(generator.integers(len(kinds)))]  # every kind as often, however many there are of it
    same = [item for item in graspable if item.kind == wanted]
    target = same[int(generator.integers(len(same)))]
    others = [item for item in graspable if item.name != target.name and "sharp" not in scene.kinds[item.kind].labels]
    chosen = [target, *(others[i] for i in generator.permutation(len(others))[:NEIGHBOURS])]
    items: list[Item] = []
    for item in chosen:
        for _ in range(100):
            moved = replace(item, position=_somewhere(table, scene, item, generator), yaw=generator.uniform(-3.1, 3.1))
            if all(_apart(moved, other, scene) for other in items):
                items.append(moved)
                break
    start = HOME.copy()
    start[:3] = generator.uniform([0.0, 0.25, -3.1], [0.6, 0.6, 3.1])
    return replace(scene, items=tuple(items), robot_start=start), target.name


def _somewhere(table: Place, scene: Scene, item: Item, generator: np.random.Generator) -> np.ndarray:
    """A position near the table's north edge; what has to be held by its edge may stand out over it."""
    kind = scene.kinds[item.kind]
    edge = table.center[1] + table.half[1]
    if all(grasp.kind == "edge" for grasp in kind.grasps):
        inset = kind.radius - generator.uniform(*OVERHANG)
    else:
        inset = kind.radius + generator.uniform(0.03, 0.25)
    x = table.center[0] + generator.uniform(-0.8, 0.8) * (table.half[0] - kind.radius)
    return np.array([x, edge - inset, table.center[2]])


def _apart(a: Item, b: Item, scene: Scene) -> bool:
    gap = float(np.linalg.norm(a.position - b.position))
    return gap > scene.kinds[a.kind].radius + scene.kinds[b.kind].radius + 0.06


def collect_attempts(
    scene: Scene, model: LearnedWorldModel, seed: int, episodes: int, progress: Callable[[int], None] | None = None
) -> Iterator[SkillAttempt]:
    """Plays `episodes` rounds; yields the attempts of each as it ends. Same seed, same attempts."""
    guardrails = load_guardrails((scenes_folder() / "guardrails" / "household.yaml",), scene)
    for episode in range(episodes):
        generator = np.random.default_rng([seed, episode])
        variant, name = shuffled(scene, generator)
        controller = Controller(variant, guardrails, model, seed)
        controller.context = replace(controller.context, outcomes=RandomOutcomes(generator))
        exercise = Exercise(name, controller.context, generator)
        controller.mission = exercise
        with BulletSimulator(variant, ()) as simulator:
            observation = simulator.reset(int(generator.integers(2**31)))
            for _ in range(int(TIME_LIMIT / TICK)):
                cycle = controller.act(observation)
                observation = simulator.step(cycle.verdict.action)
                if exercise.ended:
                    break
        yield from exercise.attempts
        if progress is not None:
            progress(episode + 1)
