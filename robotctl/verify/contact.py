"""The robot in contact: it pushes and drags things, presses on a board, cuts, scrapes with what it holds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise

import numpy as np

from robotctl.geometry import rotation_z
from robotctl.guardrails.guardrail import Assumptions
from robotctl.robot import tcp_pose
from robotctl.scene import Furniture, ObjectKind, Scene
from robotctl.skills.cutting import END
from robotctl.skills.gripping import lift_load
from robotctl.state import TICK
from robotctl.training.cut_data import CutPlan, blades, cut_room, cuttable, try_cut
from robotctl.training.pull_data import play_out, random_pull
from robotctl.training.push_data import AROUND, CLOSED, POSTURES, TABLE, TOP, aimed_push, follow, reach, try_push
from robotctl.verify.gripping import THING, empty_room, follow_path, liftable, plan_lift, rig_for, take
from robotctl.verify.motions import limits_only
from robotctl.verify.rig import Recording, Rig
from robotctl.world_model.push import hand_down
from robotctl.world_model.quasi_static import TIP_BEYOND

PRESS_SPEED, SLIDE_SPEED = 0.05, 0.10  # of the hand towards a surface and along it [m/s]
SLIDE = 0.08  # how far it slides [m]
PRESS = 0.5  # how long it presses [s]
TRIES = 10


@dataclass(frozen=True)
class Touching:
    """A recording in contact, under the name of its condition; `kind`: what is in the hand."""

    condition: str
    recording: Recording
    kind: ObjectKind | None = None
    note: str = ""


def pushes(scene: Scene, assumed: Assumptions, count: int, generator: np.random.Generator) -> Iterator[Touching]:
    """Aimed pushes of the scene's heaviest kinds that cannot be lifted or have no grasp."""
    kinds = sorted((k for k in scene.kinds.values() if not k.grasps), key=lambda k: (-k.mass, k.name))
    for n in range(count if kinds else 0):
        kind = kinds[n % len(kinds)]
        rigs: list[Rig] = []
        for _ in range(TRIES):
            if try_push(scene, kind, aimed_push(kind, generator), generator, partial(_rig, rigs, assumed, None)):
                yield Touching("pushing things on a table", rigs[-1].recording())
                break


def drags(scene: Scene, assumed: Assumptions, count: int, generator: np.random.Generator) -> Iterator[Touching]:
    """Pulls of what is too heavy to lift."""
    kinds = [kind for kind in liftable(scene) if lift_load(kind, scene.actuators) >= 1.0]
    for n in range(count if kinds else 0):
        rigs: list[Rig] = []
        if play_out(scene, kinds[n % len(kinds)], random_pull, generator, partial(_rig, rigs, assumed, THING)):
            yield Touching("dragging what is too heavy to lift", rigs[-1].recording())


def cuts(scene: Scene, assumed: Assumptions, count: int, generator: np.random.Generator) -> Iterator[Touching]:
    """Cuts down to the board, aimed as the skill aims."""
    foods, knives = cuttable(scene), blades(scene)
    for n in range(count if foods and knives else 0):
        food, blade = foods[n % len(foods)], knives[n % len(knives)]
        assert blade.edge is not None
        nearest, farthest = 0.5 * food.height + END, blade.edge.length - 0.5 * food.height - END
        for _ in range(TRIES):
            plan = CutPlan(float(generator.uniform(nearest, nearest + 0.4 * (farthest - nearest))))
            room = cut_room(scene, food, blade, plan, generator)
            if room is not None:
                rigs: list[Rig] = []
                try_cut(room, generator, partial(_rig, rigs, assumed, "knife"))
                yield Touching("cutting on a board", rigs[-1].recording(), blade)
                break


def presses(scene: Scene, assumed: Assumptions, count: int, generator: np.random.Generator) -> Iterator[Touching]:
    """The closed fingers press on a board, the reference as far below it as a sensed height may be off, and slide."""
    depth = assumed.object_error
    for _ in range(count):
        for _ in range(TRIES):
            path = _press_path(depth, generator)
            if path is not None:
                break
        else:
            continue
        board = Furniture("board", frozenset({"board"}), (TABLE,), None)
        room = replace(empty_room(scene), furniture=(board,), robot_start=path[0])
        with Rig(room, assumed, limits_only()) as rig:
            rig.reset(0)
            follow_path(rig, path, np.full(len(path), CLOSED))
            yield Touching("pressing on a board", rig.recording(), None, f"reference {1e3 * depth:.0f} mm below it")


def scrapes(
    scene: Scene, assumed: Assumptions, kind: ObjectKind, count: int, generator: np.random.Generator
) -> Iterator[Touching]:
    """What is held comes down on furniture, the reference as far below it as a sensed height may be off, and slides."""
    depth = assumed.object_error
    for _ in range(count):
        lift = plan_lift(scene, kind, generator)
        if lift is None:
            continue
        with rig_for(lift, assumed) as rig:
            if not take(rig, lift, 0):
                continue
            q = rig.state.robot.q_ref
            tip, rotation = tcp_pose(q)
            down = lift.pose.position - [0.0, 0.0, depth]
            side = generator.choice([-1.0, 1.0]) * np.cross([0.0, 0.0, 1.0], lift.pose.position - [*q[:2], 0.0])
            side = np.array([side[0], side[1], 0.0]) / np.hypot(side[0], side[1])
            path = _path(q, [tip, down, down, down + SLIDE * side, tip], rotation)
            if path is None:
                continue
            start = rig.steps
            follow_path(rig, path, np.zeros(len(path)))
            note = f"{kind.name}, reference {1e3 * depth:.0f} mm below it"
            yield Touching("scraping over furniture with what is held", rig.recording().part(start), kind, note)


def _rig(rigs: list[Rig], assumed: Assumptions, thing: str | None, room: Scene) -> Rig:
    rigs.append(Rig(room, assumed, limits_only(), thing))
    return rigs[-1]


def _press_path(depth: float, generator: np.random.Generator) -> np.ndarray | None:
    """Joints at ticks (T, 10) from above the board into it, along it, and up."""
    angle, heading = generator.uniform(-np.pi, np.pi, 2)
    base = np.array([AROUND * np.cos(angle), AROUND * np.sin(angle), angle + np.pi])
    at = np.array([*generator.uniform(-0.05, 0.05, 2), TOP + TIP_BEYOND - depth])
    above = at + np.array([0.0, 0.0, 0.03 + depth])
    along = at + SLIDE * rotation_z(heading)[:, 0]
    rotation = hand_down(heading)
    for posture in POSTURES:
        q = reach(np.concatenate([base, posture]), above, rotation)
        if q is not None:
            return _path(q, [above, at, at, along, above], rotation)
    return None


def _path(q: np.ndarray, stops: list[np.ndarray], rotation: np.ndarray) -> np.ndarray | None:
    """Joints at ticks along straight ways of the hand between stops, down and up slowly; None where out of reach."""
    rows = [stops[0]]
    for start, end in pairwise(stops):
        length = float(np.linalg.norm(end - start))
        speed = PRESS_SPEED if abs(end[2] - start[2]) > 1e-6 else SLIDE_SPEED
        ticks = max(round(length / speed / TICK), round(PRESS / TICK))
        share = np.arange(1, ticks + 1) / ticks
        rows += list(start + (3 * share**2 - 2 * share**3)[:, None] * (end - start))
    return follow(q, np.array(rows), rotation)
