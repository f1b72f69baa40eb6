"""The judge: every guardrail, from ground truth, at every physics step, with its own formulas.

It shares no kinematics, distances or motion with planner, filter and world model: bodies are points on the
hulls that the simulator collides with, speeds are differences of those points between steps, and what is held is
seen from how things move. Only the numbers of the rules come from the guardrail file. The same calls serve a
running episode and a recorded one.

Definitions. A point slower than 0.02 m/s counts as at rest (a drive that holds its place trembles). The fingers'
own opening and closing is not counted as motion: gripping is limited by its force. Rules that are scoped to a
skill are judged always, because a skill is a belief of the robot and not a truth. A robot that has been told to stand
for 0.25 s and is pushed by a person who touches it does not move by itself, nor when it swings back in the 0.25 s
after: that is a passive contact.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np

from robotctl.body import CAPSULE_A, CAPSULE_B, CAPSULE_RADIUS
from robotctl.errors import RobotctlError
from robotctl.guardrails.blade_speed import BladeSpeed
from robotctl.guardrails.clearance import Clearance
from robotctl.guardrails.contact_force import ContactForce
from robotctl.guardrails.guardrail import Assumptions, Guardrail
from robotctl.guardrails.hot import Hot
from robotctl.guardrails.joint_limits import JointLimits
from robotctl.guardrails.keep_out import KeepOut
from robotctl.guardrails.separation import Separation
from robotctl.guardrails.speed import Speed
from robotctl.guardrails.upright import Upright
from robotctl.judge import machine
from robotctl.judge.grip import Grip
from robotctl.judge.monitor import Monitor, landmarks
from robotctl.judge.nearness import Bodies, against_boxes, against_people, bodies, compile_kernels, fastest_point
from robotctl.judge.objective import Arrangement, judge_objective
from robotctl.judge.objects import object_bodies, rotation_of
from robotctl.judge.record import Contacts, Record
from robotctl.judge.things import ABOUT_THINGS, Things
from robotctl.judge.verdict import JudgeVerdict, RuleVerdict
from robotctl.scene import Scene
from robotctl.state import Observation, Truth
from robotctl.task import Task

REST = 0.02  # [m/s]
SETTLED = 0.25  # [s] after its reference stopped, what moves the robot is not its drives; and after a push it stands
NEAR_PEOPLE = Separation | BladeSpeed | Hot  # rules on speed by distance
PRESSING = 1.0  # a pad that presses with less holds nothing [N]
NEAR = {"m": 0.5, "m/s": 0.5, "1": 0.5, "N": 100.0}  # margins worth telling of, by the guardrail's unit
STEP = 1.0 / 240.0  # [s] length of the first step, which has none before it


class Rules(Protocol):
    """What the judge needs of a guardrail file (guardrails.load.GuardrailSet)."""

    @property
    def guardrails(self) -> Sequence[Guardrail]: ...

    @property
    def assumptions(self) -> Assumptions: ...


class Judge:
    """Sees the truth of every tick; says in the end what happened."""

    def __init__(self, scene: Scene, guardrails: Rules, task: Task) -> None:
        self._task = task
        self._rules = tuple(guardrails.guardrails)
        self._records = [Record() for _ in self._rules]
        self._near = [NEAR[rule.unit] for rule in self._rules]
        self._objects = object_bodies(scene)
        self._grip = Grip({name: body.surface.points for name, body in self._objects.items()})
        self._things = Things(self._rules, self._objects)
        self._monitor = Monitor(guardrails.assumptions)
        self._held: str | None = None  # at the end of the last tick
        self._resting = 0.0  # [s] the reference has not moved
        self._untouched = np.inf  # [s] since a person touched the robot
        self._contacts: dict[str, Contacts] = {}
        self._bodies: dict[int, Bodies] = {}
        compile_kernels(self._robot(None))
        self._separation = np.inf
        self._steps = 0
        self._moving = 0.0
        self._last: Truth | None = None
        self._start: Arrangement | None = None
        self._end: Arrangement | None = None
        for rule in self._rules:
            if type(rule) not in _FORMULAS and not isinstance(rule, NEAR_PEOPLE | ABOUT_THINGS):
                raise RobotctlError(f"the judge has no formula for guardrail '{rule.header.id}'")

    def observe(self, truth: Truth, reference: np.ndarray | None = None) -> None:
        """Judges one tick of ground truth; `reference` (K, 10) are the joint references at its steps."""
        self._observe(truth, reference, [record.ceiling for record in self._records])

    def observe_near(self, truth: Truth, reference: np.ndarray | None = None) -> dict[str, float]:
        """Judges one tick like `observe`, and returns the smallest margins within it that are below NEAR.

        By guardrail id, in the guardrail's unit; NaN is unsafe. Costs a third more than `observe`.
        """
        ceilings = [max(near, record.ceiling) for near, record in zip(self._near, self._records, strict=True)]
        found = self._smallest(self._observe(truth, reference, ceilings))
        near = {rule.header.id: NEAR[rule.unit] for rule in self._rules}
        return {name: margin for name, margin in found.items() if not margin >= near[name]}

    def sensed(self, observation: Observation) -> None:
        """Compares what was sensed at the beginning of the tick that was observed last with the truth."""
        self._monitor.sensing(observation)

    def observe_tick(self, truth: Truth, reference: np.ndarray | None = None) -> dict[str, float]:
        """Judges one tick like `observe`, and returns the smallest margin of every guardrail within this tick.

        By guardrail id, in the guardrail's unit; inf where it was silent, NaN is unsafe. `observe` looks only at what
        could lower the episode's worst margin, which is three times cheaper; the verdict is the same.
        """
        return self._smallest(self._observe(truth, reference, [np.inf] * len(self._rules)))

    def _smallest(self, margins: Sequence[np.ndarray]) -> dict[str, float]:
        """The smallest of the margins (K,) of every rule, by guardrail id; several rules may share one."""
        out: dict[str, float] = {}
        for rule, margin in zip(self._rules, margins, strict=True):
            name = rule.header.id
            out[name] = float(np.minimum(out.get(name, np.inf), np.min(margin, initial=np.inf)))  # keeps NaN
        return out

    def objective(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The task's conditions in words: those satisfied now, and those not."""
        if self._start is None or self._end is None:
            return (), ()
        return judge_objective(self._task, self._objects, self._start, self._end)

    def _observe(self, truth: Truth, reference: np.ndarray | None, ceilings: Sequence[float]) -> list[np.ndarray]:
        """Judges one tick; returns the margins (K,) of every rule, exact where they are below the rule's ceiling."""
        tick = Tick(truth, self._last, reference, self._resting, self._objects, self._grip, self._robot)
        self._resting = tick.resting
        margins = [np.full(len(tick.dt), np.inf) for _ in self._rules]
        for i, rule in enumerate(self._rules):
            formula = _FORMULAS.get(type(rule))
            if formula is not None and tick.concerns(rule):
                margins[i] = formula(rule, tick, ceilings[i])
                self._records[i].add(truth.time, tick.dt, margins[i])
        for i, margin in self._things.observe(truth, tick.dt, tick.held, tick.clasped, tick.pose, tick.bodies):
            margins[i] = margin
            self._records[i].add(truth.time, tick.dt, margin)
        if truth.person_names:
            self._people(truth, tick, ceilings, margins)
        self._monitor.remember(truth)
        self._monitor.people(tick.dt, truth.keypoints)
        marks = landmarks(tick.pose)
        before = landmarks(tick.before)
        moved = np.sqrt(((marks - before) ** 2).sum(axis=-1)).max(axis=1) / tick.dt
        self._moving += float(tick.dt[moved >= REST].sum())
        if reference is not None:
            self._monitor.tracking(tick.dt, marks, reference)
        if tick.held is not None and tick.held == self._held:
            body = self._objects[tick.held]
            firmly = tick.pinched()
            moved, carried = tick.carried(body.landmarks)
            self._monitor.slip(body.kind, tick.dt[firmly], moved[firmly], carried[firmly], body.slip)
        self._held = tick.held
        self._steps += len(truth.time)
        self._last = truth
        self._end = tick.arrangement(self._objects)
        self._start = self._start or self._end
        return margins

    def verdict(self) -> JudgeVerdict:
        """What happened up to now."""
        satisfied, unsatisfied = self.objective()
        return JudgeVerdict(
            satisfied=satisfied,
            unsatisfied=unsatisfied,
            by_id=_joined(self._rules, self._records),
            steps_judged=self._steps,
            contacts_moving=sum(c.moving.count for c in self._contacts.values()),
            contacts_passive=sum(c.passive for c in self._contacts.values()),
            broken=self._monitor.broken(),
            min_separation_m=float(self._separation) if np.isfinite(self._separation) else None,
            moving_s=self._moving,
        )

    def _robot(self, held: str | None) -> Bodies:
        """The robot's bodies, with the held object's as the last one."""
        body = self._objects[held] if held is not None else None
        key = id(body)
        if key not in self._bodies:
            surfaces = list(machine.surfaces())
            blades: list[np.ndarray | None] = [None] * len(surfaces)
            if body is not None:
                surfaces.append(body.surface)
                blades.append(body.blade)
            self._bodies[key] = bodies(surfaces, blades)
        return self._bodies[key]

    def _people(self, truth: Truth, tick: Tick, ceilings: Sequence[float], margins: list[np.ndarray]) -> None:
        """Rules on speed near people, whose margins it fills in, the separation and touches, in one pass."""
        spoken = [i for i, rule in enumerate(self._rules) if isinstance(rule, NEAR_PEOPLE) and tick.concerns(rule)]
        rules = [self._rules[i] for i in spoken]
        numbers = np.array([[r.radius, r.slope, r.v_max] for r in rules]).reshape(-1, 3)  # type: ignore[attr-defined]
        blade = np.array([isinstance(r, BladeSpeed) for r in rules], dtype=bool)
        concerned = np.array([_bodies_of(r, tick.bodies) for r in rules], bool).reshape(
            len(rules), len(tick.bodies.radius)
        )
        ceiling = np.array([ceilings[i] for i in spoken])
        steps, people = truth.keypoints.shape[:2]
        b = tick.bodies
        margin, distance, touch = against_people(
            tick.pose, tick.before, tick.dt, REST, b.points, b.point_first, b.patch_center, b.patch_radius,
            b.patch_first, b.center, b.radius, b.blade, concerned,
            np.ascontiguousarray(truth.keypoints[:, :, CAPSULE_A].reshape(steps, -1, 3)),
            np.ascontiguousarray(truth.keypoints[:, :, CAPSULE_B].reshape(steps, -1, 3)),
            np.tile(CAPSULE_RADIUS, people), np.repeat(np.arange(people), len(CAPSULE_RADIUS)), people,
            numbers, blade, ceiling, self._separation,
        )  # fmt: skip
        touching = (touch >= 0).any(axis=1)
        for contact in truth.contacts:  # an impact throws the robot off within the step: apart again at its end
            if contact.other in truth.person_names:
                touching[np.argmin(np.abs(truth.time - contact.time))] = True
        pushed = tick.told_to_rest & self._just_touched(touching, tick.dt)
        margin[pushed], touch[pushed] = np.inf, np.minimum(touch[pushed], 0.0)
        for row, i in enumerate(spoken):
            margins[i] = margin[:, row]
            self._records[i].add(truth.time, tick.dt, margins[i])
        self._separation = min(self._separation, float(distance.min()))
        for p, name in enumerate(truth.person_names):
            self._contacts.setdefault(name, Contacts()).add(truth.time, tick.dt, touch[:, p])

    def _just_touched(self, touching: np.ndarray, dt: np.ndarray) -> np.ndarray:
        """At which steps (K,) a person touches the robot, or did within SETTLED before."""
        out = np.zeros(len(touching), bool)
        for k, step in enumerate(dt):
            self._untouched = 0.0 if touching[k] else self._untouched + float(step)
            out[k] = self._untouched <= SETTLED
        return out


class Tick:
    """One tick of truth, prepared: poses of all bodies now and one step earlier, and what is held."""

    def __init__(
        self,
        truth: Truth,
        last: Truth | None,
        reference: np.ndarray | None,
        resting: float,
        objects: dict,
        grip: Grip,
        robot: Callable[[str | None], Bodies],
    ) -> None:
        self.truth = truth
        past = truth if last is None else last

        def earlier(values: str) -> np.ndarray:
            """The same quantity one step before each step; the first step of an episode has none before it."""
            now = getattr(truth, values)
            return np.concatenate([getattr(past, values)[:1] if last is None else getattr(past, values)[-1:], now[:-1]])

        self.dt = np.maximum(truth.time - earlier("time"), STEP)
        self.q_before = earlier("q")
        self.told_to_rest, self.resting = _told_to_rest(reference, self.dt, resting)
        opening = np.ascontiguousarray(truth.opening)
        self.pose = machine.poses(np.ascontiguousarray(truth.q), opening)
        self.before = machine.poses(np.ascontiguousarray(self.q_before), opening)
        self._started = earlier("object_position")[0], earlier("object_quaternion")[0]
        self.held = grip.update(
            machine.poses(np.ascontiguousarray(earlier("q")[:1]), opening[:1])[0, machine.HAND],
            self.pose[-1, machine.HAND],
            float(opening[-1]),
            truth.object_names,
            self._started,
            (truth.object_position[-1], truth.object_quaternion[-1]),
        )
        self.clasped = grip.clasped
        self.labels: frozenset[str] = frozenset()
        self.bodies = robot(self.held)
        if self.held is not None:
            self.labels = objects[self.held].labels
            i = truth.object_names.index(self.held)
            now = _poses(truth.object_position[:, i], truth.object_quaternion[:, i])
            self.tilt_axis = now[:, 2, 2]
            self.pose = np.concatenate([self.pose, now[:, None]], axis=1)
            then = _poses(earlier("object_position")[:, i], earlier("object_quaternion")[:, i])
            self.before = np.concatenate([self.before, then[:, None]], axis=1)

    def concerns(self, rule: Guardrail) -> bool:
        """Whether a rule's scope applies to what is held."""
        held = rule.header.scope.held
        return not held or bool(held & self.labels)

    def carried(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """How points (L, 3) of what is held moved in each step, and would have with the hand alone, (K, L, 3) each."""
        turn, place = self.pose[:, -1, :, :3], self.pose[:, -1, :, 3]
        turned, placed = self.before[:, -1, :, :3], self.before[:, -1, :, 3]
        now = points @ turn.transpose(0, 2, 1) + place[:, None]
        then = points @ turned.transpose(0, 2, 1) + placed[:, None]
        hand, hand_before = self.pose[:, machine.HAND], self.before[:, machine.HAND]
        local = (then - hand_before[:, None, :, 3]) @ hand_before[:, :, :3]
        taken = local @ hand[:, :, :3].transpose(0, 2, 1) + hand[:, None, :, 3]
        return now - then, taken - then

    def pinched(self) -> np.ndarray:
        """At which steps (K,) both pads press on what is held; what falls out of opening fingers is let go."""
        truth = self.truth
        pressed = np.zeros((len(truth.time), len(machine.PADS)), bool)
        for contact in truth.contacts:
            if contact.other == self.held and contact.link in machine.PADS and contact.force >= PRESSING:
                pressed[np.argmin(np.abs(truth.time - contact.time)), machine.PADS.index(contact.link)] = True
        return np.asarray(pressed.all(axis=1))

    def arrangement(self, objects: dict) -> Arrangement:
        """Where every object is at the end of the tick, and how fast it moved over the tick."""
        truth = self.truth
        duration = float(self.dt.sum())
        position, quaternion, speed = {}, {}, {}
        shift = np.linalg.norm(truth.object_position[-1] - self._started[0], axis=1)
        dot = np.abs((truth.object_quaternion[-1] * self._started[1]).sum(axis=1))
        turn = 2.0 * np.arccos(np.minimum(dot, 1.0))
        for i, name in enumerate(truth.object_names):
            if name not in objects:
                continue
            position[name], quaternion[name] = truth.object_position[-1, i], truth.object_quaternion[-1, i]
            reach = objects[name].surface.radius + np.linalg.norm(objects[name].surface.center)
            speed[name] = float(shift[i] + turn[i] * reach) / duration
        return Arrangement(position, quaternion, speed, self.held)


def _poses(position: np.ndarray, quaternion: np.ndarray) -> np.ndarray:
    """Poses (K, 3, 4) of positions (K, 3) and quaternions (K, 4)."""
    return np.concatenate([rotation_of(quaternion), position[:, :, None]], axis=2)


def _clearance(rule: Clearance, tick: Tick, ceiling: float) -> np.ndarray:
    """Base, arm and palm to furniture; the fingers may touch, and what they hold."""
    concerned = np.zeros(tick.pose.shape[1], bool)
    concerned[: machine.HAND + 1] = True
    return _box_margin(rule, tick, concerned, rule.distance, ceiling)


def _keep_out(rule: KeepOut, tick: Tick, ceiling: float) -> np.ndarray:
    return _box_margin(rule, tick, np.ones(tick.pose.shape[1], bool), 0.0, ceiling)


def _box_margin(
    rule: Clearance | KeepOut, tick: Tick, concerned: np.ndarray, distance: float, ceiling: float
) -> np.ndarray:
    b, boxes = tick.bodies, rule.boxes
    gap = against_boxes(
        tick.pose, b.points, b.point_first, b.patch_center, b.patch_radius, b.patch_first, b.center, b.radius,
        concerned, boxes.center, boxes.rotation, boxes.half, ceiling + distance,
    )  # fmt: skip
    return gap - distance


def _upright(rule: Upright, tick: Tick, ceiling: float) -> np.ndarray:
    """cos(tilt) of the held object minus the smallest allowed."""
    if tick.held is None:
        return np.full(len(tick.dt), np.inf)
    return tick.tilt_axis - rule.cos_max_tilt


def _speed(rule: Speed, tick: Tick, ceiling: float) -> np.ndarray:
    b = tick.bodies
    floor = min(rule.v_max, rule.v_max - ceiling) if np.isfinite(ceiling) else 0.0
    fastest = fastest_point(
        tick.pose, tick.before, tick.dt, b.points, b.point_first, b.patch_center, b.patch_radius, b.patch_first,
        b.center, b.radius, floor,
    )  # fmt: skip
    return rule.v_max - fastest


def _contact_force(rule: ContactForce, tick: Tick, ceiling: float) -> np.ndarray:
    """The limit minus what the robot presses with while it is told to move, fingers on objects left out."""
    pressed = np.zeros(len(tick.dt))
    for contact in tick.truth.contacts:
        if contact.link.endswith(("finger", "pad")) and contact.other in tick.truth.object_names:
            continue
        pressed[np.argmin(np.abs(tick.truth.time - contact.time))] += contact.force
    return np.where(tick.told_to_rest, np.inf, rule.limit - pressed)


def _told_to_rest(reference: np.ndarray | None, dt: np.ndarray, before: float) -> tuple[np.ndarray, float]:
    """At which steps (K,) the reference has stood for SETTLED, and for how long it has stood at the last [s].

    Without a reference the robot counts as told to move, always.
    """
    if reference is None or len(reference) != len(dt):
        return np.zeros(len(dt), bool), 0.0
    still = np.concatenate([[True], np.all(np.abs(np.diff(reference, axis=0)) < 1e-9, axis=1)])
    since, out = before, np.zeros(len(dt), bool)
    for k, step in enumerate(dt):
        since = since + float(step) if still[k] else 0.0
        out[k] = since >= SETTLED
    return out, since


def _bodies_of(rule: Guardrail, b: Bodies) -> np.ndarray:
    """Which of the bodies (B,) a rule on motion near people speaks of."""
    if isinstance(rule, BladeSpeed):
        return b.has_blade
    held = np.arange(len(b.radius)) >= len(machine.BODIES)
    return held if isinstance(rule, Hot) else np.ones(len(b.radius), bool)


def _joint_limits(rule: JointLimits, tick: Tick, ceiling: float) -> np.ndarray:
    """Positions and measured speeds, each as a share of its range. Accelerations are limits of the command."""
    q = tick.truth.q
    speed = np.abs(q - tick.q_before) / tick.dt[:, None]
    span = machine.HIGH - machine.LOW
    slack = np.minimum(np.minimum(q - machine.LOW, machine.HIGH - q) / span, rule.fraction - speed / machine.FASTEST)
    return slack.min(axis=1)


_FORMULAS: dict[type, Callable[..., np.ndarray]] = {
    Clearance: _clearance,
    KeepOut: _keep_out,
    Upright: _upright,
    Speed: _speed,
    JointLimits: _joint_limits,
    ContactForce: _contact_force,
}


def _joined(rules: Sequence[Guardrail], records: Sequence[Record]) -> dict[str, RuleVerdict]:
    """One verdict per guardrail id; rules that share an id (several files) add up."""
    out: dict[str, RuleVerdict] = {}
    for rule, record in zip(rules, records, strict=True):
        name = rule.header.id
        worst = None if np.isposinf(record.worst) else float(record.worst)
        violations, duration, severity = record.runs.count, record.runs.duration, record.severity
        if name in out:
            old = out[name]
            known = [w for w in (old.worst_margin, worst) if w is not None]
            worst = min(known) if known else None
            violations += old.violations
            duration += old.duration_s
            severity += old.severity
        out[name] = RuleVerdict(violations, worst, rule.unit, duration, severity, rule.header.tier)
    return out
