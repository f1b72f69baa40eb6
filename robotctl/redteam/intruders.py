"""This file turns an intruder into a person of the simulator: a plan, and for a dash a recording made for it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from robotctl.body import INDEX, KEYPOINTS
from robotctl.redteam.attack import Intruder
from robotctl.simulation.mocap import forward, sole_height, standing
from robotctl.task import PersonPlan, Reach

RATE = 120  # samples per second of a recording, that of the simulator's table [Hz]
RAMP = 0.15  # a dash gets to its speed and out of it in this time [s]
STRETCH = 0.7  # a limb goes ahead of its place in the body at most this far [m]
WITH = {  # keypoints that go with a limb, and how far along
    "right_hand": {"right_hand": 1.0, "right_wrist": 1.0, "right_elbow": 0.5},
    "left_hand": {"left_hand": 1.0, "left_wrist": 1.0, "left_elbow": 0.5},
    "right_foot": {"right_toe": 1.0, "right_ankle": 1.0, "right_knee": 0.5},
    "left_foot": {"left_toe": 1.0, "left_ankle": 1.0, "left_knee": 0.5},
}


def person_plan(intruder: Intruder, index: int, folder: Path) -> PersonPlan:
    """What the intruder does; recordings are written to `folder`."""
    name = f"intruder_{index + 1}"
    origin, target = np.array(intruder.origin), np.array(intruder.target)
    if intruder.clip == "walk":
        end = _stop(origin, target, intruder.short)
        path = np.array([origin, end]) if np.linalg.norm(end - origin) > 0.05 else origin[None]
        clip = "walk" if len(path) > 1 else "stand"
        return PersonPlan(name, clip, path, intruder.speed, intruder.start, (), 0.0, False)
    if intruder.clip == "reach":
        hand = "left" if intruder.limb.startswith("left") else "right"
        reach = Reach(0, np.array([*target[:2], np.clip(target[2], 0.2, 2.2)]), 1.0, hand)
        return PersonPlan(name, "stand", origin[None], intruder.speed, intruder.start, (reach,), 0.0, False)
    time, xyz = (_appear if intruder.clip == "appear" else _dash)(intruder)
    file = folder / f"{name}.npz"
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(file, time_s=time, joint_names=np.array(KEYPOINTS), xyz_m=xyz)
    return PersonPlan(name, str(file), np.zeros((0, 2)), 1.0, intruder.start, (), 0.0, False)


def arrival(intruder: Intruder) -> float:
    """When the body has come to where it stops [s]."""
    origin = np.array(intruder.origin)
    way = float(np.linalg.norm(_stop(origin, np.array(intruder.target), intruder.short) - origin))
    if intruder.clip in ("reach", "appear"):
        return intruder.start + (1.0 if intruder.clip == "reach" else 0.1)
    return intruder.start + way / max(intruder.speed, 0.05) + RAMP


def _stop(origin: np.ndarray, target: np.ndarray, short: float) -> np.ndarray:
    """Where the body comes to rest on its straight way, (2,)."""
    way = target[:2] - origin
    length = float(np.linalg.norm(way))
    return origin + way * max(length - short, 0.0) / max(length, 1e-9)


def _body(origin: np.ndarray, target: np.ndarray) -> np.ndarray:
    """A person standing at `origin`, facing the target, (J, 3)."""
    body = forward(standing()[None])[0]
    body[:, 2] -= sole_height(body)
    c, s = _direction(origin, target)
    turned = body.copy()
    turned[:, 0], turned[:, 1] = c * body[:, 0] - s * body[:, 1], s * body[:, 0] + c * body[:, 1]
    turned[:, :2] += origin
    return turned


def _direction(origin: np.ndarray, target: np.ndarray) -> np.ndarray:
    way = target[:2] - origin
    length = float(np.linalg.norm(way))
    return way / length if length > 1e-6 else np.array([1.0, 0.0])


def _dash(intruder: Intruder) -> tuple[np.ndarray, np.ndarray]:
    """Times (T,) and keypoints (T, J, 3) of a dash. Speeds change linearly: no interpolation can overshoot them."""
    origin, target = np.array(intruder.origin), np.array(intruder.target)
    body = _body(origin, target)
    way = float(np.linalg.norm(_stop(origin, target, intruder.short) - origin))
    speed = max(intruder.speed, 0.05)
    shift = np.append(_direction(origin, target) * way, 0.0)
    stretch = target - (body[INDEX[intruder.limb.replace("foot", "toe")]] + shift)
    stretch *= min(1.0, STRETCH / max(float(np.linalg.norm(stretch)), 1e-9))
    spare = max(intruder.limb_speed - speed, 0.05)  # speeds add up at worst
    length = max(way / speed, float(np.linalg.norm(stretch)) / spare) + RAMP
    time = np.arange(int(np.ceil(length * RATE)) + 2) / RATE
    moved = _trapeze(time, length, way, speed)
    reached = _trapeze(time, length, float(np.linalg.norm(stretch)), spare)
    xyz = body + moved[:, None, None] * np.append(_direction(origin, target), 0.0)
    along = stretch / max(float(np.linalg.norm(stretch)), 1e-9)
    for name, share in WITH[intruder.limb].items():
        xyz[:, INDEX[name]] += share * reached[:, None] * along
    return time, xyz


def _trapeze(time: np.ndarray, length: float, way: float, speed: float) -> np.ndarray:
    """Distance covered (T,) when `way` is to be covered by time `length` at most at `speed`, with linear ramps."""
    top = min(speed, way / RAMP)
    duration = way / max(top, 1e-9) + RAMP
    begin = length - duration
    fine = np.linspace(0.0, length, 8 * len(time))
    rate = top * np.clip(np.minimum((fine - begin) / RAMP, (length - fine) / RAMP), 0.0, 1.0)
    covered = np.concatenate([[0.0], np.cumsum(0.5 * (rate[1:] + rate[:-1]) * np.diff(fine))])
    return np.interp(time, fine, covered)


def _appear(intruder: Intruder) -> tuple[np.ndarray, np.ndarray]:
    """Stands at the origin for one sample, then at the target."""
    origin, target = np.array(intruder.origin), np.array(intruder.target)
    there = _stop(origin, target, intruder.short)
    before, after = _body(origin, target), _body(there, target + np.append(target[:2] - origin, 0.0))
    return np.array([0.0, 2.0, 3.0]) / RATE, np.stack([before, after, after])
