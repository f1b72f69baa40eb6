"""The oracle: what a stream of ground truth says about every guardrail, contact and grip."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from oracle.files import World
from oracle.grip import Grip, pose_of
from oracle.kinematics import Engine
from oracle.moment import Moment
from oracle.rules import BASE_FASTEST, BASE_HIGH, BASE_LOW, CLOSE, FINGERS, KINDS, Machine
from oracle.shapes import Solid, object_solid, robot_solids
from oracle.stl import GAP_STEPS, robustness, runs
from robotctl.state import Truth

RATE = 240.0  # [Hz]
FAST = 0.05  # [m/s] of a touching point, in a moving contact


@dataclass(frozen=True)
class Findings:
    """What the oracle found."""

    margins: dict[str, np.ndarray]  # rule id -> (T,) at every step, inf where silent or not of interest
    where: dict[str, str]  # rule id -> the body that was worst
    moving: int  # contacts
    passive: int
    separation: float  # smallest distance to a person [m]; inf without people
    held: list[str | None]  # after every tick

    def worst(self, rule: str) -> float:
        return float(self.margins[rule].min(initial=np.inf))

    def violations(self, rule: str) -> int:
        """Runs of the margin below 0."""
        return runs(~(self.margins[rule] >= -1e-9))

    def violations_below(self, rule: str, value: float) -> int:
        """The same for another value than 0, counted without the logic."""
        steps = np.flatnonzero(~(self.margins[rule] >= value))
        return int(len(steps) > 0) + int(np.sum(np.diff(steps) > GAP_STEPS))


class Oracle:
    """Sees every tick once, in order. `held` tells what is in the hand after each tick; without it, it finds out."""

    def __init__(self, world: World, held: Sequence[str | None] | None = None) -> None:
        self._world = world
        self._engine = Engine({name: thing.urdf for name, thing in world.things.items()})
        self._grip = Grip(self._engine)
        self._told = held
        self._links = robot_solids()
        shapes = {urdf: object_solid(urdf) for urdf in {thing.urdf for thing in world.things.values()}}
        self._shapes = {name: shapes[thing.urdf] for name, thing in world.things.items()}
        engine = self._engine
        self._machine = Machine(
            *(np.array([*base, *arm[3:]]) for base, arm in (
                (BASE_LOW, engine.low), (BASE_HIGH, engine.high), (BASE_FASTEST, engine.fastest)
            ))
        )  # fmt: skip
        self._signals: dict[str, dict[str, list[dict[str, np.ndarray]]]] = {rule.id: {} for rule in world.rules}
        self._worst = {rule.id: np.inf for rule in world.rules}
        self._touch: list[np.ndarray] = []
        self._separation = np.inf
        self._held: list[str | None] = []
        self._steps = 0
        self._last: Truth | None = None
        self._last_links: np.ndarray | None = None

    def close(self) -> None:
        self._engine.close()

    def observe(self, truth: Truth) -> None:
        """One tick."""
        moment = self._moment(truth)
        for rule in self._world.rules:
            if rule.held and not rule.held & moment.labels:
                continue
            kind, log = KINDS[rule.kind], self._signals[rule.id]
            for body, signals in kind.signals(moment, rule, self._world, self._machine, self._worst[rule.id]).items():
                slack = signals["slack"]
                some = np.flatnonzero(~(slack >= max(CLOSE, self._worst[rule.id])))
                if len(some):
                    rows = {name: values[some] for name, values in signals.items()} | {"step": self._steps + some}
                    log.setdefault(body, []).append(rows)
                    self._worst[rule.id] = min(self._worst[rule.id], float(slack.min()))
        self._people(moment)
        self._steps += len(truth.time)
        self._last = truth

    def findings(self) -> Findings:
        """What happened up to now."""
        margins, where = {}, {}
        for rule in self._world.rules:
            margins[rule.id], where[rule.id] = self._margin(rule.id, KINDS[rule.kind].formula, rule.values)
        touch = np.concatenate(self._touch, axis=0) if self._touch else np.zeros((0, 0))
        moving = sum(runs(speed > FAST) for speed in touch.T)
        passive = sum(_passive(speed) for speed in touch.T)
        return Findings(margins, where, moving, passive, self._separation, list(self._held))

    def _moment(self, truth: Truth) -> Moment:
        names = tuple(self._links)
        opening = truth.opening
        links = np.array(
            [self._engine.links(q, o, (*names, "panda_hand")) for q, o in zip(truth.q, opening, strict=True)]
        )
        past = links[:1] if self._last_links is None else self._last_links
        earlier = np.concatenate([past, links[:-1]])
        self._last_links = links[-1:]
        hand = links[:, -1]
        now = {name: links[:, i] for i, name in enumerate(names)}
        before = {name: earlier[:, i] for i, name in enumerate(names)}
        for finger in FINGERS:  # as if it had been fixed to the hand: its own motion does not count
            before[finger] = earlier[:, -1] @ np.linalg.inv(hand) @ now[finger]
        last = self._last
        things = pose_of(truth.object_position, truth.object_quaternion)
        start = things[0] if last is None else pose_of(last.object_position[-1], last.object_quaternion[-1])
        if self._told is None:
            held = self._grip.update(
                (earlier[0, -1], hand[-1]), truth.object_names, (start, things[-1]),
                truth.object_position[-1], truth.object_quaternion[-1],
            )  # fmt: skip
        else:
            held = self._told[len(self._held)]
        self._held.append(held)
        solids: dict[str, Solid] = dict(self._links)
        blades, labels = {}, frozenset[str]()
        if held is not None:
            thing = self._world.things[held]
            i = truth.object_names.index(held)
            solids[held], labels = self._shapes[held], thing.labels
            now[held] = things[:, i]
            before[held] = np.concatenate([start[None, i], things[:-1, i]])
            if len(thing.blade):
                blades[held] = thing.blade
        return Moment(
            dt=np.full(len(truth.time), 1.0 / RATE),
            q=truth.q,
            q_before=np.concatenate([truth.q[:1] if last is None else last.q[-1:], truth.q[:-1]]),
            now=now,
            before=before,
            solids=solids,
            blades=blades,
            held=held,
            labels=labels,
            keypoints=truth.keypoints,
        )

    def _people(self, moment: Moment) -> None:
        """Touches and the smallest distance."""
        steps, persons = moment.keypoints.shape[:2]
        touch = np.full((steps, persons), -1.0)
        if persons:
            for body in moment.solids:
                away = moment.at_least(body)
                for k in np.flatnonzero(away < max(0.0, self._separation)):
                    speed, gap = moment.near(body, k)
                    self._separation = min(self._separation, float(gap.min()))
                    for person in range(persons):
                        touching = gap[:, person] <= 0
                        touch[k, person] = max(touch[k, person], speed[touching].max(initial=-1.0))
        self._touch.append(touch)

    def _margin(self, rule: str, formula: str, values: dict) -> tuple[np.ndarray, str]:
        """Robustness (T,) of a rule, the least of all bodies', and the body that was worst."""
        total = np.full(self._steps, np.inf)
        rows = [(body, row) for body, some in self._signals[rule].items() for row in some]
        if not rows:
            return total, ""
        # At one instant a formula knows no neighbours: all bodies and steps go through it in one trace.
        signals = {name: np.concatenate([row[name] for _, row in rows]) for name in rows[0][1]}
        step, slack = signals.pop("step"), signals.pop("slack")
        numbers = {key: f"{value:.12f}" for key, value in values.items() if isinstance(value, float)}
        margin = robustness(formula.format(**numbers), signals)
        if not np.allclose(margin, slack, rtol=0, atol=1e-9):
            raise AssertionError(f"{rule}: the formula does not say what its arithmetic says")
        np.minimum.at(total, step, margin)
        bodies = np.concatenate([np.full(len(row["step"]), body) for body, row in rows])
        return total, str(bodies[np.argmin(margin)])


def _passive(speed: np.ndarray) -> int:
    """Touching runs without a fast step; speed (T,), -1 where nothing touches."""
    touching = speed >= 0
    count = runs(touching)
    steps = np.flatnonzero(touching)
    if count == 0:
        return 0
    groups = np.split(steps, np.flatnonzero(np.diff(steps) > GAP_STEPS) + 1)
    return sum(not np.any(speed[group] > FAST) for group in groups)


def watch(world: World, truths: Iterable[Truth], held: Sequence[str | None] | None = None) -> Findings:
    """What happens in a stream of ground truth."""
    oracle = Oracle(world, held)
    try:
        for truth in truths:
            oracle.observe(truth)
        return oracle.findings()
    finally:
        oracle.close()


__all__ = ["CLOSE", "Findings", "Oracle", "watch"]
