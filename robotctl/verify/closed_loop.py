"""A small closed loop without physics: filter, drives that obey, one person, things, and the judge on what came of it.

Drives trail their reference by a delay and an offset of their own, the person does what the plot says, what is held
moves with the hand, and what is let go of lies on what is below it. All of it is made into ground truth for the judge.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

import numpy as np

from robotctl.body import KEYPOINT_PART, KEYPOINTS
from robotctl.geometry import quaternion_from_matrix, transform
from robotctl.guardrails.guardrail import Assumptions, Guardrail
from robotctl.judge import Judge
from robotctl.judge.verdict import JudgeVerdict
from robotctl.robot import HAND, HOME, forward
from robotctl.safety.safety_filter import SafetyFilter
from robotctl.scene import Item
from robotctl.simulation.actuators import FINGER_SPEED
from robotctl.state import N_JOINTS, TICK, Held, ObjectState, PersonState, RobotState, State, Truth
from robotctl.verify.room import Room

STEPS = 12  # physics steps per tick
RATE = STEPS / TICK
NO_HISTORY = np.zeros((0, len(KEYPOINTS), 3))


@dataclass(frozen=True, eq=False)
class Plot:
    """What the robot is driven into."""

    command: Callable[[int], np.ndarray]  # tick -> (11,) proposed
    q: np.ndarray = field(default_factory=lambda: HOME)  # (10,) at rest
    skill: str = "none"
    held: Held | None = None  # as it is believed to lie in the hand
    opening: float = 0.04  # [m]
    person: np.ndarray | None = None  # (J, 3) where the person stands at first
    charges: bool = False  # the person comes at the robot as fast as is assumed
    thing: ObjectState | None = None  # something that lies there
    ticks: int = 60


@dataclass(frozen=True)
class World:
    """How the world differs from what is perfect."""

    assumed: Assumptions  # true bounds: the person's speed and, on their bound, errors in the worst direction
    reading_age: float = 0.0  # [s]
    claimed_age: float | None = None  # what stamps say instead


@dataclass(frozen=True)
class Course:
    """What happened."""

    verdict: JudgeVerdict
    reasons: frozenset[str]  # why the filter stepped in

    def violations(self, name: str | None = None) -> int:
        """Of one guardrail; of all of them and moving contacts for None."""
        if name is None:
            return self.verdict.violations + self.verdict.contacts_moving
        return self.verdict.by_id[name].violations

    def worst(self, name: str) -> float | None:
        return self.verdict.by_id[name].worst_margin


def drive(
    room: Room,
    plot: Plot,
    world: World,
    rules: tuple[Guardrail, ...] | None = None,
    believed: Assumptions | None = None,
) -> Course:
    """Runs a plot under a filter with `rules` that believes `believed`; the judge knows all rules of the room."""
    judged, true = room.rules.guardrails, world.assumed
    guard = SafetyFilter(
        SimpleNamespace(guardrails=judged if rules is None else rules, assumptions=believed or true),
        room.task.scene.kinds,
    )
    loop = _Loop(room, plot, world)
    reasons = set()
    for tick in range(plot.ticks):
        verdict = guard.certify(loop.state(tick), plot.command(tick), plot.skill)
        reasons.add(verdict.reason)
        loop.step(tick, verdict.action)
    return Course(loop.judge.verdict(), frozenset(reasons))


class _Loop:
    """The world of one drive."""

    def __init__(self, room: Room, plot: Plot, world: World) -> None:
        self._plot, self._world, self._true = plot, world, world.assumed
        self._robot = room.robot(plot.held)
        self._q, self._dq = plot.q.copy(), np.zeros(N_JOINTS)
        self._opening = self._target = plot.opening
        self._delay = round(self._true.actuation_latency * RATE)
        self._past = [self._q] * (self._delay + 1)  # the reference at physics steps, newest last
        self._offset = np.zeros(N_JOINTS)
        if self._true.tracking_speed_error == 0.0:  # off from the start, and always by as much
            self._offset[:2] = self._true.tracking_error * self._worst_way(plot.person)
        start = np.zeros((0, len(KEYPOINTS), 3)) if plot.person is None else plot.person[None].astype(float)
        self._people = [start]  # at physics steps
        self._held = plot.held
        self._thing = plot.thing
        name = plot.held or plot.thing
        items: tuple[Item, ...] = ()
        if name is not None:
            items = (Item(name.name, name.kind, np.zeros(3), 0.0, 0.0, 0.0, name.labels),)
        scene = room.task.scene
        kinds: Mapping[str, Any] = {item.kind: scene.kinds[item.kind] for item in items}
        self._kinds, self._boxes = scene.kinds, scene.boxes()
        self.judge = Judge(replace(scene, items=items, kinds=dict(kinds), joins=()), room.rules, room.task)
        self._lying: np.ndarray | None = None if plot.thing is None else plot.thing.position
        self._turn = np.array([0.0, 0.0, 0.0, 1.0]) if plot.thing is None else plot.thing.quaternion
        self.judge.observe(self._truth([(0.0, self._q + self._offset, self._opening, self._people[-1])]))

    def state(self, tick: int) -> State:
        """What is believed at the start of a tick."""
        robot = RobotState(self._q, self._dq, self._q, self._dq, self._opening, self._held)
        things: tuple[ObjectState, ...] = ()
        if self._thing is not None and self._lying is not None:
            things = (replace(self._thing, position=self._lying, stamp=tick * TICK),)
        if self._plot.person is None:
            return State(tick * TICK, robot, things)
        late = round(self._world.reading_age * RATE)
        seen = self._people[max(0, len(self._people) - 1 - late)][0]
        away = seen - self._nearest(seen)
        away /= np.maximum(np.linalg.norm(away, axis=1, keepdims=True), 1e-9)
        claimed = self._world.reading_age if self._world.claimed_age is None else self._world.claimed_age
        reading = PersonState("person_1", seen + self._true.human_error * away, tick * TICK - claimed, NO_HISTORY)
        return State(tick * TICK, robot, things, (reading,))

    def step(self, tick: int, action: np.ndarray) -> None:
        """One tick of the world."""
        slope = (action[:N_JOINTS] - self._dq) / TICK
        self._target = float(action[N_JOINTS])
        rows = []
        for k in range(STEPS):
            s = (k + 1) / RATE
            self._past.append(self._q + s * (self._dq + 0.5 * s * slope))
            self._drift(bool(np.any(self._past[-1 - self._delay] != self._past[-2 - self._delay])))
            change = np.clip(self._target - self._opening, -FINGER_SPEED / RATE, FINGER_SPEED / RATE)
            self._opening += float(change)
            self._people.append(self._walked())
            true = self._past[-1 - self._delay] + self._offset
            rows.append((tick * TICK + s, true, self._opening, self._people[-1]))
        self._q, self._dq = self._past[-1], action[:N_JOINTS].copy()
        if self._held is not None and self._opening > self._plot.opening + 0.003:
            self._let_go(rows[-1][1])
        self.judge.observe(self._truth(rows))

    def _nearest(self, keypoints: np.ndarray) -> np.ndarray:
        """The centre of the robot's sphere nearest to each keypoint, (J, 3)."""
        center = self._robot.sphere_motion(self._q[None], np.zeros((1, N_JOINTS)))[0][0]
        apart = np.linalg.norm(keypoints[:, None] - center, axis=2)
        return np.asarray(center[np.argmin(apart, axis=1)])

    def _drift(self, moving: bool) -> None:
        """Drives that may be faster than told run ahead until they are off by all that is assumed, while they move."""
        if moving and self._true.tracking_speed_error > 0.0:
            goal = self._true.tracking_error * self._worst_way(self._people[-1][0] if self._people[-1].size else None)
            rest = goal - self._offset[:2]
            most = self._true.tracking_speed_error / RATE
            self._offset[:2] += rest * min(1.0, most / max(float(np.hypot(*rest)), 1e-12))

    def _worst_way(self, person: np.ndarray | None) -> np.ndarray:
        """On the floor, towards the person or else ahead, (2,) unit."""
        way = self._plot.command(0)[:2] if person is None else person.mean(axis=0)[:2] - self._q[:2]
        return np.asarray(way / max(float(np.hypot(*way)), 1e-9))

    def _walked(self) -> np.ndarray:
        now = self._people[-1]
        if not self._plot.charges:
            return now
        aim = self._nearest(now[0]) - now[0]
        length = np.linalg.norm(aim, axis=1, keepdims=True)
        speed = self._true.keypoint_speed()[KEYPOINT_PART][:, None]
        return (now[0] + aim / np.maximum(length, 1e-9) * np.minimum(speed / RATE, length))[None]

    def _let_go(self, q: np.ndarray) -> None:
        """What was held comes to lie on what is below it."""
        assert self._held is not None
        pose = self._in_hand(q)
        kind, position = self._kinds[self._held.kind], pose[:3, 3].copy()
        turned = kind.spheres[:, :3] @ pose[:3, :3].T
        tops = [b.center[2] + b.half[2] for b in self._boxes if np.all(np.abs(position - b.center)[:2] <= b.half[:2])]
        below = [top for top in tops if top <= position[2] + 0.05]
        position[2] = max(below, default=0.0) - min(0.0, float(turned[:, 2].min()))
        self._thing = ObjectState(
            self._held.name, self._held.kind, self._held.labels, position, quaternion_from_matrix(pose[:3, :3]), 0.0
        )
        self._held, self._lying, self._turn = None, position, self._thing.quaternion

    def _in_hand(self, q: np.ndarray) -> np.ndarray:
        """World from the held object, off by `object_error` along the first command, (4, 4)."""
        assert self._held is not None
        rotation, origin = forward(q)
        pose = np.asarray(transform(rotation[HAND], origin[HAND]) @ self._held.T_hand_object)
        way = np.append(self._plot.command(0)[:2], 0.0)
        pose[:3, 3] += self._true.object_error * way / max(float(np.linalg.norm(way)), 1e-9)
        return pose

    def _truth(self, rows: list[tuple[float, np.ndarray, float, np.ndarray]]) -> Truth:
        time, q, opening, people = (np.array(column) for column in zip(*rows, strict=True))
        names: tuple[str, ...] = ()
        position, quaternion = np.zeros((len(rows), 0, 3)), np.zeros((len(rows), 0, 4))
        if self._held is not None:
            names = (self._held.name,)
            poses = [self._in_hand(row) for row in q]
            position = np.array([[pose[:3, 3]] for pose in poses])
            quaternion = np.array([[quaternion_from_matrix(pose[:3, :3])] for pose in poses])
        elif self._lying is not None and self._thing is not None:
            names = (self._thing.name,)
            position = np.tile(self._lying, (len(rows), 1, 1))
            quaternion = np.tile(self._turn, (len(rows), 1, 1))
        people_names = ("person_1",) * people.shape[1]
        return Truth(time, q, np.zeros_like(q), opening, names, position, quaternion, people_names, people)
