"""One episode of the induction: ticks in which anything is proposed and people do their worst, then a stop.

Every tick is one step of the filter's inductive proof: the brake stored before it was verified, the filter certifies
whatever is proposed, and its answer is checked against what was stored. `Inputs` is all that such an episode gives to
the filter and to the world, so that it can be run again; `Course` is what the filter made of it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from robotctl.guardrails.joint_limits import JointLimits
from robotctl.robot import BRAKE, DQ_MAX, RobotModel
from robotctl.safety.brake import brake_velocities
from robotctl.safety.safety_filter import LIMIT_SHARE, SafetyFilter
from robotctl.safety.tube import levers
from robotctl.safety.verdict import Verdict
from robotctl.state import TICK, Held, PersonState, RobotState, State
from robotctl.verify.crowd import Crowd, states
from robotctl.verify.late_drives import Reference, draw_errors
from robotctl.verify.proposals import Proposals, as_given
from robotctl.verify.room import Room, on_motion
from robotctl.verify.scenarios import Scenario, draw_scenario
from robotctl.verify.starts import draw_start, place_slacks

SKILLS = ("pick", "place", "push", "pull", "cut")
TAIL = int(np.ceil(np.max(DQ_MAX / (BRAKE * TICK)))) + 2  # ticks in which the last brake ends, the drives' delay too


@dataclass(frozen=True, eq=False)
class Inputs:
    """What happens around the filter in an episode of T = samples + TAIL ticks, at K = 12 T physics steps."""

    scenario: str
    seed: tuple[int, int]  # seed and number of the episode
    samples: int
    skill: str
    q: np.ndarray  # (10,) where the robot starts, at rest
    kind: str  # of object in the hand, "" for nothing
    T_hand_object: np.ndarray  # (4, 4) where it truly is
    believed: np.ndarray  # (T, 4, 4) where it is taken to be
    opening: float  # of the fingers [m]
    names: tuple[str, ...]  # of P people
    said: tuple[str, ...]  # (T,) kinds of proposals
    proposals: np.ndarray  # (T, 11)
    readings: np.ndarray  # (T, P, J, 3) newest reading of each person [m]
    stamps: np.ndarray  # (T, P) [s]
    keypoints: np.ndarray  # (K + 1, P, J, 3) where people truly are, from time 0 on [m]
    delay: np.ndarray  # (K,) of the drives at the end of each step [s]
    offset: np.ndarray  # (K, 10) of the joints from their delayed reference [m, rad]

    def held(self, room: Room, tick: int | None = None) -> Held | None:
        """What is in the hand, as believed in a tick or as it is."""
        if not self.kind:
            return None
        pose = self.T_hand_object if tick is None else self.believed[tick]
        labels = room.task.scene.kinds[self.kind].labels | ({"hot"} if self.scenario == "hot" else frozenset())
        return Held(f"{self.kind}_1", self.kind, labels, pose)


@dataclass(frozen=True)
class Fault:
    """Something that must not be: of one tick."""

    tick: int
    what: str  # id of a guardrail, or action, stored brake, no rest
    seen_by: str  # formula, judge, or filter for its answers
    margin: float | None = None


@dataclass(frozen=True, eq=False)
class Course:
    """What the filter answered."""

    q: np.ndarray  # (T + 1, 10) reference at tick starts
    dq: np.ndarray  # (T + 1, 10)
    scale: np.ndarray  # (T,) share of the proposal that passed; 0 for the stored brake
    recovering: tuple[frozenset[str], ...]  # (T,) rules on places that are broken already while this tick is executed
    faults: tuple[Fault, ...]  # in the filter's answers themselves


class World(Protocol):
    """What a tick gives to the filter, and takes from it."""

    def before(self, tick: int, q: np.ndarray) -> tuple[tuple[PersonState, ...], Held | None, np.ndarray | None]:
        """People as read, what is in the hand, and the proposal."""
        ...

    def after(self, tick: int, q: np.ndarray, moving: bool) -> None:
        """The filter has answered."""
        ...


MakeFilter = Callable[[Room], SafetyFilter]  # another filter than the room's


def draw_episode(
    room: Room, seed: tuple[int, int], samples: int, make: MakeFilter | None = None, scenario: Scenario | None = None
) -> tuple[Inputs, Course]:
    """A new episode, made while it runs: people and planner react to the robot. scenario: None for any."""
    live = _Live(room, seed, samples, scenario)
    course = _run(room, make(room) if make else room.filter(), live, live.start.q, samples, live.skill)
    return live.inputs(course), course


def repeat(room: Room, inputs: Inputs, make: MakeFilter | None = None) -> Course:
    """The filter's answers to the same inputs."""
    return _run(
        room, make(room) if make else room.filter(), _Recorded(room, inputs), inputs.q, inputs.samples, inputs.skill
    )


class _Live:
    """A world that is being made up."""

    def __init__(self, room: Room, seed: tuple[int, int], samples: int, scenario: Scenario | None) -> None:
        rng = np.random.default_rng(seed)
        self._room, self._rng, self._seed, self._samples = room, rng, seed, samples
        assumed = room.rules.assumptions
        self._scenario = draw_scenario(rng) if scenario is None else scenario
        self.skill = str(rng.choice(SKILLS))
        self.start = draw_start(rng, room, self._scenario, self.skill)
        self._ticks = samples + TAIL
        held = self.start.held
        self._believed: list[Held | None] = [None] * self._ticks
        if held is not None:
            self._believed = _beliefs(rng, held, assumed.object_error, self._ticks)
        self._robot = room.robot(held)
        spheres = self._spheres(self.start.q)
        count = int(rng.choice(len(self._scenario.people), p=self._scenario.people))
        self._crowd = Crowd(rng, count, spheres, assumed, self._ticks)
        at_people = self._scenario.aims == "people"
        self._planner = Proposals(rng, self._robot, middles(room, self._scenario.near), at_people)
        self._seen: list[np.ndarray] = [spheres]
        self._read: list[tuple[np.ndarray, np.ndarray]] = []
        self._said: list[tuple[str, np.ndarray]] = []

    def _spheres(self, q: np.ndarray) -> np.ndarray:
        return np.asarray(self._robot.sphere_motion(q[None], np.zeros((1, 10)))[0][0])

    def before(self, tick: int, q: np.ndarray) -> tuple[tuple[PersonState, ...], Held | None, np.ndarray | None]:
        self._read.append(self._crowd.readings(tick, self._seen[-1]))
        if tick < self._samples:
            self._said.append(self._planner.propose(q, self._crowd.truth[12 * tick]))
        else:
            self._said.append(("none", np.zeros(11)))
        return states(self._crowd.names, *self._read[-1]), self._believed[tick], as_given(*self._said[-1])

    def after(self, tick: int, q: np.ndarray, moving: bool) -> None:
        self._crowd.step(tick, self._seen[-1], moving)
        self._seen.append(self._spheres(q))

    def inputs(self, course: Course) -> Inputs:
        held = self.start.held
        towards = np.array([self._worst(tick) for tick in range(self._ticks)])
        delay, offset = draw_errors(
            self._rng,
            self._room.rules.assumptions,
            Reference(course.q, course.dq),
            self._ticks,
            levers(self._robot),
            towards,
        )
        pose = np.eye(4) if held is None else held.T_hand_object
        return Inputs(
            scenario=self._scenario.name,
            seed=self._seed,
            samples=self._samples,
            skill=self.skill,
            q=self.start.q,
            kind="" if held is None else held.kind,
            T_hand_object=pose,
            believed=np.array([pose if b is None else b.T_hand_object for b in self._believed]),
            opening=self.start.opening,
            names=self._crowd.names,
            said=tuple(kind for kind, _ in self._said),
            proposals=np.array([values for _, values in self._said]),
            readings=np.array([keypoints for keypoints, _ in self._read]),
            stamps=np.array([stamps for _, stamps in self._read]),
            keypoints=self._crowd.truth,
            delay=delay,
            offset=offset,
        )

    def _worst(self, tick: int) -> np.ndarray:
        """Unit vector (2,) on the floor from the robot's nearest sphere to the nearest person, or anywhere."""
        people = self._crowd.truth[12 * tick].reshape(-1, 3)
        if len(people):
            way = people[:, None] - self._seen[tick]
            at = np.unravel_index(int((way * way).sum(axis=-1).argmin()), way.shape[:2])
            flat = way[at][:2]
        else:
            flat = self._rng.normal(size=2)
        return np.asarray(flat / max(float(np.hypot(*flat)), 1e-9))


class _Recorded:
    """A world that was recorded."""

    def __init__(self, room: Room, inputs: Inputs) -> None:
        self._inputs = inputs
        self._held = [inputs.held(room, tick) for tick in range(len(inputs.said))]
        for tick in range(1, len(self._held)):  # the same object while the belief stays the same
            if np.array_equal(inputs.believed[tick], inputs.believed[tick - 1]):
                self._held[tick] = self._held[tick - 1]

    def before(self, tick: int, q: np.ndarray) -> tuple[tuple[PersonState, ...], Held | None, np.ndarray | None]:
        inputs = self._inputs
        people = states(inputs.names, inputs.readings[tick], inputs.stamps[tick])
        return people, self._held[tick], as_given(inputs.said[tick], inputs.proposals[tick])

    def after(self, tick: int, q: np.ndarray, moving: bool) -> None:
        pass


def _run(room: Room, guard: SafetyFilter, world: World, q: np.ndarray, samples: int, skill: str) -> Course:
    """The closed loop; the filter's answers are compared with the brake that it must have stored."""
    dq, limit = np.zeros(10), _deceleration(room)
    places = {rule.header.id for rule in room.rules.guardrails if not on_motion(rule)}
    knots, speeds, scales, recovering, faults = [q], [dq], [], [], []
    brake = np.zeros((0, 10))
    broken: frozenset[str] | None = None
    for tick in range(samples + TAIL):
        people, held, proposal = world.before(tick, q)
        if broken is None:
            broken = frozenset(places if _begins_broken(room, held, skill, q) else ())
        verdict = guard.certify(State(tick * TICK, RobotState(q, dq, q, dq, 0.0, held), (), people), proposal, skill)
        velocity = np.asarray(verdict.action[:10], float)
        if not np.isfinite(verdict.action).all():
            faults.append(Fault(tick, "action", "filter"))
            velocity = np.nan_to_num(velocity, nan=0.0, posinf=0.0, neginf=0.0)
        elif verdict.scale > 0:
            brake = brake_velocities(velocity, limit)
            if verdict.margins:
                broken = _broken(verdict, places)
        else:
            expected = brake[0] if len(brake) else np.zeros(10)
            brake = brake[1:]
            if np.abs(velocity - expected).max() > 1e-9:
                faults.append(Fault(tick, "stored brake", "filter"))
                brake = brake_velocities(velocity, limit)
        q, dq = q + 0.5 * TICK * (dq + velocity), velocity
        knots.append(q)
        speeds.append(dq)
        scales.append(verdict.scale)
        recovering.append(broken)
        world.after(tick, q, bool(dq.any()))
    if dq.any():
        faults.append(Fault(samples - 1, "no rest", "filter"))
    return Course(np.array(knots), np.array(speeds), np.array(scales), tuple(recovering), tuple(faults))


def _deceleration(room: Room) -> np.ndarray:
    """What the filter's brake may use of each joint, (10,)."""
    fractions = [rule.fraction for rule in room.rules.guardrails if isinstance(rule, JointLimits)]
    return np.asarray(BRAKE * min([LIMIT_SHARE * f for f in fractions], default=LIMIT_SHARE) * (1.0 - 1e-9))


def _begins_broken(room: Room, held: Held | None, skill: str, q: np.ndarray) -> bool:
    return bool((place_slacks(room, room.robot(held), held, skill, q[None]) < 0).any())


def _broken(verdict: Verdict, places: set[str]) -> frozenset[str]:
    """Rules on places that the accepted path does not fulfil: it passed as a recovery."""
    return frozenset(name for name, margin in verdict.margins.items() if name in places and not margin >= 0)


def _beliefs(rng: np.random.Generator, held: Held, error: float, ticks: int) -> list[Held | None]:
    """What the estimator takes the object's pose for: off by all of `error`, the same way or another in each tick."""

    def shifted() -> Held:
        pose = held.T_hand_object.copy()
        way = rng.normal(size=3)
        pose[:3, 3] += error * way / np.linalg.norm(way)
        return replace(held, T_hand_object=pose)

    if rng.uniform() < 0.2:
        return [shifted() for _ in range(ticks)]
    return [shifted()] * ticks


def middles(room: Room, near: str) -> np.ndarray:
    """Middles of the furniture and regions with that label, of all for "", (T, 3)."""
    return np.array([box.center for box in room.boxes(near)]).reshape(-1, 3)


def robot_of(room: Room, inputs: Inputs) -> RobotModel:
    """The true robot of an episode."""
    return room.robot(inputs.held(room))
