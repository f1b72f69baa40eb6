"""Plots that make a guardrail bind: one for every kind, made for the rule's own numbers and the scene it holds in."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from robotctl.body import KEYPOINTS
from robotctl.geometry import quaternion_from_matrix, transform
from robotctl.guardrails.blade_speed import BladeSpeed
from robotctl.guardrails.clearance import Clearance
from robotctl.guardrails.grasp import Grasp
from robotctl.guardrails.guardrail import Guardrail
from robotctl.guardrails.hot import Hot
from robotctl.guardrails.joint_limits import JointLimits
from robotctl.guardrails.keep_out import KeepOut
from robotctl.guardrails.placement import Placement
from robotctl.guardrails.separation import Separation
from robotctl.guardrails.speed import Speed
from robotctl.guardrails.upright import Upright
from robotctl.objectives.hand_path import HandPath
from robotctl.planning.postures import PostureSearch
from robotctl.robot import HAND, HOME, TCP, forward
from robotctl.state import TICK, Held, ObjectState
from robotctl.verify.closed_loop import Plot
from robotctl.verify.crowd import FIGURE
from robotctl.verify.room import Room, finger_opening, held_in_grasp
from robotctl.verify.starts import place_slacks

FREE = np.array([-1.2, 0.55])  # where the base stands, with floor ahead along x [m]
AHEAD = 2.0  # where somebody stands, from there [m]
BESIDE = 0.35  # how far from a region the hand begins [m]
CARRIED = 0.04  # [m]
STRETCHED = np.array([-0.5, -2.8, 0.0, 0.0, 1.2, 0.0, -0.8, 0.0, 2.0, 0.8])  # the arm far out, along x


def joint(index: int, speed: float, opening: float = 0.04) -> np.ndarray:
    """A command (11,) that moves one joint."""
    out = np.zeros(11)
    out[index], out[10] = speed, opening
    return out


def always(command: np.ndarray) -> Callable[[int], np.ndarray]:
    return lambda tick: command


def standing(x: float, y: float) -> np.ndarray:
    """Somebody who stands there and looks along -x, (J, 3)."""
    return np.asarray(FIGURE * [-1.0, -1.0, 1.0] + [x, y, 0.0])


def at_home(base: np.ndarray = FREE, yaw: float = 0.0) -> np.ndarray:
    q = HOME.copy()
    q[:3] = *base, yaw
    return q


def in_hand(room: Room, rule: Guardrail) -> tuple[Held | None, float]:
    """Something the rule speaks of, held in one of its grasps, and how far the fingers are open on it."""
    labels = rule.header.scope.held
    if not labels:
        return None, 0.04
    kinds = [room.task.scene.kinds[name] for name in room.graspable()]
    kind = next((k for k in kinds if k.labels & labels), next(k for k in kinds if "cup" in k.labels))
    held = held_in_grasp(kind, kind.grasps[0])
    return replace(held, labels=kind.labels | labels), finger_opening(kind, kind.grasps[0], held)


def plots(room: Room, rule: Guardrail) -> Iterator[Plot]:
    """Plots in which the rule should bind, the likeliest first; none for rules that need physics (see proof)."""
    held, opening = in_hand(room, rule)
    skill = min(rule.header.scope.skill, default="none")
    plot = Plot(always(joint(0, 0.6, opening)), at_home(), skill, held, opening)
    match rule:
        case Separation() | BladeSpeed() | Hot():
            for away in (AHEAD, 1.4, 2.8):
                yield replace(plot, person=standing(FREE[0] + away, FREE[1]), ticks=80)
            for away in (AHEAD, 1.4):  # a held thing that sticks out sideways
                yield replace(plot, command=always(joint(1, 0.6, opening)), q=at_home(np.array([0.0, -3.0])),
                              person=standing(0.0, -3.0 + away), ticks=80)  # fmt: skip
        case Clearance():
            for box in room.task.scene.boxes():
                yield from free(room, towards(plot, np.asarray(box.center[:2])))
        case KeepOut():
            for center, half in zip(rule.boxes.center, rule.boxes.half, strict=True):
                yield from free(room, reaching(room, plot, center, half))
        case Upright():
            for index in (8, 9, 7, 4):
                for speed in (0.6, -0.6):
                    yield replace(plot, command=always(joint(index, speed, opening)))
        case Speed():
            turning = joint(1, 0.6, opening) + joint(2, 1.3, 0.0)  # sideways, the arm out ahead, and turning that way
            yield replace(plot, command=always(turning), q=STRETCHED, ticks=30)
        case JointLimits():
            for index, speed in ((9, 2.6), (8, 2.6), (7, 2.6), (3, 2.1)):
                yield replace(plot, command=always(joint(index, speed, opening)), ticks=50)
        case Placement():
            yield from _dropping(room, rule, plot)
        case Grasp():
            yield from _grasping(room, rule, plot)


def towards(plot: Plot, target: np.ndarray) -> Iterator[Plot]:
    """Driving at a point of the floor plan from around it, the arm tucked or stretched out ahead."""
    for ahead in (0.0, 0.7):
        for away in (1.3, 1.8):
            for angle in np.linspace(-np.pi, np.pi, 12, endpoint=False):
                way = np.array([np.cos(angle), np.sin(angle)])
                command = np.zeros(11)
                command[:2], command[10] = -0.5 * way, plot.opening
                q = at_home(target + away * way, angle + np.pi)
                q[[4, 6]] += np.array([1.0, 0.6]) * ahead
                yield replace(plot, command=always(command), q=q, ticks=70)


def reaching(room: Room, plot: Plot, center: np.ndarray, half: np.ndarray, down: bool = False) -> Iterator[Plot]:
    """The hand is held out beside a region, at its height, pointing ahead or down, and the base drives on into it."""
    search = PostureSearch(room.task.scene.boxes(), np.random.default_rng(0))
    for height in (0.0, -0.5, 0.5):
        for angle in np.linspace(-np.pi, np.pi, 8, endpoint=False):
            way = np.array([np.cos(angle), np.sin(angle), 0.0])
            reach = float(np.min(half[:2] / np.maximum(np.abs(way[:2]), 1e-9)))
            tip = center - (reach + BESIDE) * way + np.array([0.0, 0.0, height * half[2]])
            aside, axis = np.array([way[1], -way[0], 0.0]), np.array([0.0, 0.0, -1.0]) if down else way
            rotation = np.stack([np.cross(aside, axis), aside, axis], axis=1)
            found = search.find([HandPath((tip,), rotation)], HOME, room.robot(plot.held), np.zeros((0, 4)))
            if found:
                command = np.append(0.3 * way, np.zeros(8))
                command[10] = plot.opening
                yield replace(plot, command=always(command), q=np.asarray(found[0].q[0]), ticks=50)


def free(room: Room, candidates: Iterator[Plot]) -> Iterator[Plot]:
    """Those that begin with every rule on places fulfilled."""
    for plot in candidates:
        if np.all(place_slacks(room, room.robot(plot.held), plot.held, plot.skill, plot.q[None]) > 0.02):
            yield plot


def _dropping(room: Room, rule: Placement, plot: Plot) -> Iterator[Plot]:
    """Opening the hand where what it holds must not be left: over forbidden places, then along edges."""
    spots = [np.asarray(center) for center in rule.forbidden.center]
    if rule.edge > 0:
        spots += [
            p.center + np.array([*(p.half * side), 0.0]) for p in room.task.scene.places for side in ([0, 1], [0, -1])
        ]
    assert plot.held is not None
    kind = room.task.scene.kinds[plot.held.kind]
    for spot in spots:
        for yaw in np.linspace(-np.pi, np.pi, 8, endpoint=False):
            for drop in (0.0, 0.1, 0.2):
                q = at_home(np.zeros(2), yaw)
                q[4] += drop
                rotation, origin = forward(q)
                pose = transform(rotation[HAND], origin[HAND]) @ plot.held.T_hand_object
                low = float((pose[:3, 3] + kind.spheres[:, :3] @ pose[:3, :3].T)[:, 2].min())
                if not spot[2] + 0.02 <= low <= spot[2] + 0.25:
                    continue
                q[:2] = spot[:2] - pose[:2, 3] - [CARRIED, 0.0]
                yield replace(plot, command=_carry_and_open(plot.opening), q=q, ticks=30)


def _carry_and_open(opening: float) -> Callable[[int], np.ndarray]:
    """Carries for CARRIED along x, so that the judge sees what is held, stands, and opens the hand."""

    def command(tick: int) -> np.ndarray:
        speed = 0.1 if tick < CARRIED / (0.1 * TICK) else 0.0
        return joint(0, speed, opening if tick <= 16 else 0.08)

    return command


def _grasping(room: Room, rule: Grasp, plot: Plot) -> Iterator[Plot]:
    """Closing the fingers on something in scope, with somebody within reach."""
    assert plot.held is not None
    q = at_home()
    rotation, origin = forward(q)
    pose = transform(rotation[HAND], origin[HAND]) @ plot.held.T_hand_object
    thing = ObjectState(
        plot.held.name, plot.held.kind, plot.held.labels, pose[:3, 3], quaternion_from_matrix(pose[:3, :3]), 0.0
    )
    tip = origin[HAND] + rotation[HAND] @ TCP
    near = np.tile(tip + np.array([0.6 * rule.radius + 0.2, 0.0, 0.2]), (len(KEYPOINTS), 1))
    yield replace(plot, q=q, held=None, opening=0.07, thing=thing, person=near, command=always(np.zeros(11)), ticks=30)
