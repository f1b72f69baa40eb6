"""Proves guardrails and terms of the margin by taking them away: `robotctl guardrails prove`.

A guardrail is proved if there is a plot in which it *binds* (the filter stops because of it, and the judge sees no
violation of it), and in which, when it alone is removed from the filter, the judge sees it violated. A term of the
margin is proved in a world where what it accounts for is far larger than usual and everything else is perfect:
believed, no violation; ignored, a violation. What survives being taken away has proved nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from types import SimpleNamespace
from typing import Any

import numpy as np

from robotctl.geometry import transform
from robotctl.guardrails.blade_speed import BladeSpeed
from robotctl.guardrails.clearance import Boxes
from robotctl.guardrails.guardrail import Assumptions, Guardrail, Header
from robotctl.guardrails.keep_out import KeepOut
from robotctl.guardrails.placement import Placement
from robotctl.robot import HAND, forward
from robotctl.safety import tube
from robotctl.safety.safety_filter import SafetyFilter
from robotctl.scene import ObjectKind
from robotctl.state import N_JOINTS, TICK, RobotState, State
from robotctl.verify.closed_loop import RATE, STEPS, Course, Plot, World, drive
from robotctl.verify.plots import AHEAD, FREE, always, at_home, free, joint, plots, reaching, standing
from robotctl.verify.pressing import NEEDS_PHYSICS, press
from robotctl.verify.room import Room, finger_opening, held_in_grasp, load_room
from robotctl.verify.starts import NOBODY, sweep_at

SCHEMA = "robotctl/guardrails-prove.v1"
TURNS = np.linspace(-2.8, 2.8, 57)  # of the hand on the wrist [rad]
PARTS = ("torso", "arm", "hand", "leg")


@dataclass(frozen=True)
class Proof:
    """What became of one guardrail or term."""

    name: str
    what: str  # guardrail or term
    proved: bool
    binds: bool  # the filter stepped in because of it
    violations_with: int
    violations_without: int
    worst_without: float | None  # [unit]
    unit: str
    note: str = ""
    wall_s: float = 0.0


def prove(files: Sequence[str], advance: Callable[[Proof], None] | None = None) -> list[Proof]:
    """Every guardrail of the files, and every term of the margin."""
    room = load_room(tuple(files))
    out = []
    for one in (*_guardrails(room), *_terms(room)):
        started = time.perf_counter()
        proof = replace(one(), wall_s=round(time.perf_counter() - started, 2))
        out.append(proof)
        if advance is not None:
            advance(proof)
    return out


def count(files: Sequence[str]) -> int:
    """How many proofs there will be."""
    room = load_room(tuple(files))
    return len([*_guardrails(room), *_terms(room)])


def answer(proofs: Sequence[Proof], files: Sequence[str]) -> dict[str, object]:
    """The answer of `robotctl guardrails prove --json`."""
    said = [proof for proof in proofs if not proof.note]
    return {
        "schema": SCHEMA,
        "files": list(files),
        "proved": sum(proof.proved for proof in said),
        "survivors": [proof.name for proof in said if not proof.proved],
        "silent": [proof.name for proof in proofs if proof.note],
        "proofs": [vars(proof) for proof in proofs],
        "wall_s": round(sum(proof.wall_s for proof in proofs), 1),
    }


# ---- guardrails --------------------------------------------------------------------------------------------------


def _guardrails(room: Room) -> Iterator[Callable[[], Proof]]:
    for rule in room.rules.guardrails:
        yield partial(prove_guardrail, room, rule)


def prove_guardrail(room: Room, rule: Guardrail) -> Proof:
    """Searches for a plot in which the rule binds and is missed."""
    name = rule.header.id
    if isinstance(rule, KeepOut) and len(rule.boxes.center) == 0:
        return Proof(name, "guardrail", False, False, 0, 0, None, rule.unit, "speaks of nothing in this scene")
    if isinstance(rule, Placement) and rule.edge == 0 and len(rule.forbidden.center) == 0:
        return Proof(name, "guardrail", False, False, 0, 0, None, rule.unit, "speaks of nothing in this scene")
    others = tuple(r for r in room.rules.guardrails if r is not rule)
    best = Proof(name, "guardrail", False, False, 0, 0, None, rule.unit)
    for with_it, without in _pairs(room, rule, others):
        kept = with_it()
        if name not in kept.reasons or kept.violations(name):
            best = replace(best, violations_with=kept.violations(name))
            continue
        removed = without()
        found = Proof(
            name, "guardrail", False, True, kept.violations(name), removed.violations(name), removed.worst(name),
            rule.unit,
        )  # fmt: skip
        if found.violations_without:
            return replace(found, proved=True)
        best = found
    return best


def _pairs(
    room: Room, rule: Guardrail, others: tuple[Guardrail, ...]
) -> Iterator[tuple[Callable[[], Course], Callable[[], Course]]]:
    """The same plot with the rule and without it."""
    if isinstance(rule, NEEDS_PHYSICS):
        yield partial(press, room, rule, room.rules.guardrails), partial(press, room, rule, others)
        return
    world, assumed = World(NOTHING), room.rules.assumptions
    for plot in plots(room, rule):
        yield (
            partial(drive, room, plot, world, believed=assumed),
            partial(drive, room, plot, world, others, believed=assumed),
        )


# ---- terms -------------------------------------------------------------------------------------------------------

NOTHING = Assumptions(dict.fromkeys(PARTS, 0.0), 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
FAST = dict.fromkeys(PARTS, 2.0)


def _terms(room: Room) -> Iterator[Callable[[], Proof]]:
    near = Plot(always(joint(0, 0.6)), at_home(), person=standing(FREE[0] + AHEAD, FREE[1]), ticks=80)
    nearer = [replace(near, command=always(joint(0, 0.5)), person=standing(FREE[0] + d, FREE[1])) for d in (1.4, 1.8)]
    charged = replace(near, person=standing(FREE[0] + 3.2, FREE[1]), charges=True)
    worlds: tuple[tuple[str, Assumptions, Any, list[Plot]], ...] = (
        ("human_speed", replace(NOTHING, human_speed=FAST), NOTHING.human_speed, [charged]),
        ("human_error", replace(NOTHING, human_error=0.25), 0.0, [near]),
        ("actuation_latency", replace(NOTHING, human_speed=FAST, actuation_latency=0.3), 0.0, [charged]),
        ("tracking_error", replace(NOTHING, tracking_error=0.2), 0.0, [near]),
        ("tracking_speed_error", replace(NOTHING, tracking_error=0.4, tracking_speed_error=0.3), 0.0, nearer),
        ("object_error", replace(NOTHING, object_error=0.07), 0.0, [_carried_ahead(room)]),
    )
    for name, true, ignored, tried in worlds:
        into = partial(drive, room, world=World(true))
        blind = replace(true, **{name: ignored})
        yield partial(_term, name, [(partial(into, p, believed=true), partial(into, p, believed=blind)) for p in tried])
    late = World(replace(NOTHING, human_speed=FAST), reading_age=0.4)
    fresh = replace(late, claimed_age=0.0)
    aged = partial(drive, room, charged, late), partial(drive, room, charged, fresh)
    yield partial(_term, "age of readings", [aged])
    yield partial(_between_samples, room)


def _term(name: str, tried: Sequence[tuple[Callable[[], Course], Callable[[], Course]]]) -> Proof:
    """The first proof among plots, each with the term believed and ignored; or what came of the last."""
    for believed, ignored in tried:
        proof = _of_term(name, believed(), ignored())
        if proof.proved:
            break
    return proof


def _of_term(name: str, kept: Course, broken: Course) -> Proof:
    worst = [rule.worst_margin for rule in broken.verdict.by_id.values() if rule.violations]
    return Proof(
        name, "term", kept.violations() == 0 and broken.violations() > 0, bool(kept.reasons - {""}),
        kept.violations(), broken.violations(), min((w for w in worst if w is not None), default=None), "",
    )  # fmt: skip


def _carried_ahead(room: Room) -> Plot:
    """A knife, pointing ahead, is carried at a region or a person, and the filter stops it because of the knife."""
    kind = next(kind for kind in room.task.scene.kinds.values() if "sharp" in kind.labels and kind.grasps)
    held = held_in_grasp(kind, kind.grasps[0])
    plot = Plot(always(np.zeros(11)), at_home(), held=held, opening=finger_opening(kind, kind.grasps[0], held))
    for rule in sorted(room.rules.guardrails, key=lambda rule: not isinstance(rule, KeepOut)):
        beside: Iterator[Plot] = iter(())
        if isinstance(rule, KeepOut):
            boxes = zip(rule.boxes.center, rule.boxes.half, strict=True)
            beside = chain.from_iterable(reaching(room, plot, center, half, down=True) for center, half in boxes)
        elif isinstance(rule, BladeSpeed):
            beside = plots(room, rule)
        for found in free(room, (_pointing(one, kind) for one in beside)):
            course = drive(room, found, World(NOTHING))
            if rule.header.id in course.reasons and not course.violations():
                return found
    return plot


def _pointing(plot: Plot, kind: ObjectKind) -> Plot:
    """The plot with the hand turned so that what it holds reaches ahead as far as it can."""
    way = plot.command(0)[:2]
    turned = [replace(plot, q=_turned(plot.q, turn)) for turn in TURNS]
    return max(turned, key=lambda one: float(np.max(_held_centers(one, kind)[:, :2] @ way)))


def _between_samples(room: Room) -> Proof:
    """A knife is carried past a thin post at full speed: posts that it passes between two samples of the tube.

    Distances are those of the covering spheres: the knife itself is thinner.
    """
    kind = next(room.task.scene.kinds[name] for name in room.graspable())
    held = held_in_grasp(kind, kind.grasps[0])
    start = Plot(
        always(joint(0, 0.75)), at_home(np.array([-2.0, 0.55])), held=held,
        opening=finger_opening(kind, kind.grasps[0], held), ticks=70,
    )  # fmt: skip
    across = [_held_centers(replace(start, q=_turned(start.q, turn)), kind) for turn in TURNS]
    start = replace(start, q=_turned(start.q, TURNS[int(np.argmin([np.ptp(c[:, 0]) for c in across]))]))
    center = _held_centers(start, kind)
    outermost = int(np.argmax(center[:, 1] + kind.spheres[:, 3]))
    side, height = float(center[outermost, 1] + kind.spheres[outermost, 3]), float(center[outermost, 2])
    half = np.array([[1e-5, 1e-5, 0.05]])
    posts = [
        KeepOut(Header("post", 2, "proof"), Boxes(np.array([[x, side - inside, height]]), np.eye(3)[None], half))
        for x in np.linspace(0.0, 0.035, 8)
        for inside in (1e-5, 3e-5, 1e-4)
    ]

    def smallest() -> float:
        return min(_passing(room, start, post) for post in posts)

    kept = smallest()
    with _only_at_samples():
        broken = smallest()
    return Proof(
        "motion between samples", "term", kept >= 0 > broken, True, int(kept < 0), int(broken < 0), broken, "m"
    )


def _turned(q: np.ndarray, turn: float) -> np.ndarray:
    """The hand turned on the wrist."""
    return np.append(q[:9], turn)


def _held_centers(plot: Plot, kind: ObjectKind) -> np.ndarray:
    """Centres of the spheres that cover what is held, (n, 3) [m]."""
    assert plot.held is not None
    rotation, origin = forward(plot.q)
    pose = transform(rotation[HAND], origin[HAND]) @ plot.held.T_hand_object
    return np.asarray(kind.spheres[:, :3] @ pose[:3, :3].T + pose[:3, 3])


def _passing(room: Room, plot: Plot, post: KeepOut) -> float:
    """Smallest distance at 240 Hz of the covering spheres to the post, while driving past it [m]."""
    robot = room.robot(plot.held)
    guard = SafetyFilter(SimpleNamespace(guardrails=(post,), assumptions=NOTHING), room.task.scene.kinds)
    now, dq, path = plot.q, np.zeros(N_JOINTS), []
    for tick in range(plot.ticks):
        state = State(tick * TICK, RobotState(now, dq, now, dq, plot.opening, plot.held))
        action = guard.certify(state, plot.command(tick), "none").action[:N_JOINTS]
        s = (np.arange(STEPS) + 1)[:, None] / RATE
        path.append(now + s * (dq + 0.5 * s * (action - dq) / TICK))
        now, dq = path[-1][-1], action
    steps = np.concatenate(path)
    still = np.zeros_like(steps)
    sweep = sweep_at(robot, NOTHING, steps, still, still, NOBODY.repeat(len(steps), 0))
    return float(post.margin(sweep, robot).min())


@contextmanager
def _only_at_samples() -> Iterator[None]:
    """A filter that looks at the samples of its tube alone."""
    reach = tube.REACH
    tube.REACH = 0.0
    try:
        yield
    finally:
        tube.REACH = reach
