"""Play: the robot tries skills on objects it finds, and remembers how each attempt ended. That is what the skill
outcome model learns from. The robot judges its attempts by its own senses."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from robotctl.controller import Controller
from robotctl.deliberation import Deliberation
from robotctl.geometry import matrix_from_quaternion, rotation_z, transform
from robotctl.guardrails.load import load_guardrails
from robotctl.robot import HOME
from robotctl.scene import Item, ObjectKind, Place, Scene
from robotctl.scene_paths import scenes_folder
from robotctl.simulation.bullet import BulletSimulator
from robotctl.skills.context import SkillContext
from robotctl.skills.executive import Executive
from robotctl.skills.pick import pick
from robotctl.skills.place import LOST, RELEASE_GAP, Spot, place
from robotctl.skills.placing import placing_features
from robotctl.skills.skill import Outcome, Phase
from robotctl.state import TICK, State
from robotctl.task_planning.spots import free_spots, needs_edge
from robotctl.world_model.composite import LearnedWorldModel
from robotctl.world_model.skill_outcome import SkillAttempt

NEIGHBOURS = 2  # other objects left on the table beside the one played with
TIME_LIMIT = 40.0  # for a pick and a place together [s]
PLACED = 0.04  # an object this near its spot was put there [m]
OVERHANG = (-0.04, 0.09)  # how far a thing at the table's edge stands out over it [m]
CAREFUL = 0.35  # share of the places that are done as a mission would
MARGIN = (-0.04, 0.04)  # of a thing's middle from the edge it is put down at [m]
SQUEEZE = (-0.01, 0.04)  # gap left to a neighbour [m]
DROP = (0.01, 0.25)  # height from which a thing is let go of [m]
LEAN = (0.05, 0.9)  # tilt at which it is [rad]
LEAN_FILLED = 0.26  # at most, of what may be filled: 15 degrees, the household allows 20 [rad]


@dataclass(frozen=True)
class RandomOutcomes:
    """Predicts by chance, so that every grasp is tried: the robot explores."""

    generator: np.random.Generator

    def success_probability(self, skill: str, kind: str, features: dict[str, float]) -> float:
        return float(self.generator.uniform(0.2, 1.0))

    def duration(self, skill: str, kind: str) -> float:
        return 8.0


@dataclass(frozen=True)
class Placement:
    """Where and how something is put down."""

    place: Place
    spot: Spot
    release_height: float = RELEASE_GAP  # of its lowest point when the fingers open [m]
    lean: float = 0.0  # its tilt then [rad]
    toward: float = 0.0  # direction in which it leans, in its own frame [rad]

    def raised(self, kind: ObjectKind) -> Spot:
        """What to tell the skill so that the lowest point of the leaning object is let go of at the release height."""
        height = self.release_height - RELEASE_GAP + kind.radius * np.sin(self.lean)
        return replace(self.spot, position=self.spot.position + np.array([0.0, 0.0, height]))

    def leaning(self, state: State) -> State:
        """The state with the held object believed to sit in the hand as it should lean when it is put down."""
        held = state.robot.held
        assert held is not None
        tilt = rotation_z(self.toward) @ _rotation_x(self.lean) @ rotation_z(-self.toward)
        believed = replace(held, T_hand_object=held.T_hand_object @ transform(tilt, np.zeros(3)))
        return replace(state, robot=replace(state.robot, held=believed))


def _rotation_x(angle: float) -> np.ndarray:
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[1.0, 0.0, 0.0], [0.0, c, -s], [0.0, s, c]])


def careful(spots: Sequence[tuple[Place, Spot]], state: State, generator: np.random.Generator) -> Placement | None:
    """A free spot near the robot, as a mission would use it; None if there is none."""
    near = sorted(spots, key=lambda entry: float(np.linalg.norm(entry[1].position[:2] - state.robot.q[:2])))
    return Placement(*near[int(generator.integers(min(len(near), 30)))]) if near else None


def daring(
    usual: Placement, kind: ObjectKind, taken: Sequence[tuple[np.ndarray, float]], generator: np.random.Generator
) -> Placement:
    """The placement made harder in one way or several: at the edge, beside a neighbour, from a height, leaning."""
    place, spot = usual.place, usual.spot
    position = spot.position.copy()
    where = generator.uniform()
    edge = place.overhang_edge
    if where < 0.6 and edge is not None:
        turn = rotation_z(place.yaw)[:2, :2]
        reach = float(np.abs(turn.T @ edge) @ place.half)
        margin = generator.uniform(*MARGIN) + (0.04 if needs_edge(kind) else 0.0)
        position[:2] += (reach - margin - (position[:2] - place.center[:2]) @ edge) * edge
    elif where < 0.85 and taken and not needs_edge(kind):
        other, radius = taken[int(generator.integers(len(taken)))]
        angle = generator.uniform(-np.pi, np.pi)
        distance = radius + kind.radius + generator.uniform(*SQUEEZE)
        position[:2] = other[:2] + distance * np.array([np.cos(angle), np.sin(angle)])
    most = LEAN_FILLED if "fillable" in kind.labels else LEAN[1]
    return replace(
        usual,
        spot=replace(spot, position=position),
        release_height=float(generator.uniform(*DROP)) if generator.uniform() < 0.5 else RELEASE_GAP,
        lean=float(generator.uniform(LEAN[0], most)) if generator.uniform() < 0.4 else 0.0,
        toward=float(generator.uniform(-np.pi, np.pi)),
    )


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
        self._known: dict[str, float] = {}  # of the placement, before it is tried
        self._dared = False
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
        held = state.robot.held
        taken = [(o.position, self._context.scene.kinds[o.kind].radius) for o in state.objects if o.name != self._name]
        places = [p for p in self._context.scene.places if p.labels & {"table", "counter"}]
        spots = [(p, spot) for p in places for spot in free_spots(p, kind, taken, self._context.boxes)]
        chosen = careful(spots, state, self._generator)
        if chosen is None or held is None:
            self.ended, self.reason = "done", "no free spot" if held is not None else LOST
            return
        if not self._dared and self._generator.uniform() > CAREFUL:
            chosen, self._dared = daring(chosen, kind, taken, self._generator), True
        self._target = chosen.spot.position
        self._known = placing_features(
            chosen.place, kind, self._target, held.T_hand_object, taken, chosen.release_height, chosen.lean
        )
        self._executive = Executive(skill, place(chosen.raised(kind), chosen.leaning(state), self._context))

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
            known = outcome.features | (self._known if self.skill == "place" else {})
            self.attempts.append(SkillAttempt(self.skill, item.kind, known, success, duration, displacement))
        if self.skill == "pick" and outcome.success:
            self._start("place", state)
        elif self.skill == "place" and not outcome.tried and self._dared and state.robot.held is not None:
            self._start("place", state)  # no posture for what was dared: at least put it down
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
        mind = Deliberation(variant, guardrails, model, seed)
        mind.context = replace(mind.context, outcomes=RandomOutcomes(generator))
        mind.errand = exercise = Exercise(name, mind.context, generator)
        controller = Controller(variant, guardrails, mind)
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
