"""What is held: where it is in the hand against what the filter takes it to be, and how much faster than the hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from robotctl.geometry import matrix_from_quaternion
from robotctl.guardrails.guardrail import Assumptions
from robotctl.judge.machine import HAND, poses
from robotctl.judge.surface import urdf_points
from robotctl.scene import ObjectKind
from robotctl.verify.check import Check, at_most
from robotctl.verify.rig import Recording
from robotctl.verify.tracking import delay_steps

POINTS = 16  # of an object's surface, spread over it, whose motion is looked at
FINE = 0.006  # spacing of the surface points that must lie in the believed spheres [m]


@dataclass(frozen=True)
class Holding:
    """At every step in which the object is held; NaN in the first rows of those that need a past."""

    off: np.ndarray  # (M,) farthest that a point of it is from where the filter takes it to be in the hand [m]
    moved: np.ndarray  # (M,) farthest that a point moved in the hand since the first step [m]
    outside: np.ndarray  # (M,) farthest that its surface reaches out of the believed spheres [m]
    jump: np.ndarray  # (M,) fastest point over what the hand would move it with [m/s]
    error: np.ndarray  # (M,) worst point off where the delayed reference would carry it [m]
    faster: np.ndarray  # (M,) worst point faster than the delayed reference would carry it [m/s]


def holding(recording: Recording, kind: ObjectKind, assumed: Assumptions) -> Holding:
    """How what is held follows the hand and the reference."""
    hand = poses(np.ascontiguousarray(recording.q), np.ascontiguousarray(recording.opening))[:, HAND]
    reference = poses(np.ascontiguousarray(recording.reference), np.zeros(len(recording)))[:, HAND]
    rotation = matrix_from_quaternion(recording.quaternion)
    surface = urdf_points(kind.urdf, FINE)
    points = spread(surface)
    world = points @ rotation.transpose(0, 2, 1) + recording.position[:, None]  # (N, P, 3)
    R, t = hand[:, :, :3], hand[:, :, 3]
    local = (world - t[:, None]) @ R  # in the hand frame
    believed = points @ recording.believed[:, :3, :3].transpose(0, 2, 1) + recording.believed[:, None, :3, 3]
    off = np.linalg.norm(local - believed, axis=-1).max(axis=1)
    moved = np.linalg.norm(local - local[:1], axis=-1).max(axis=1)

    # The pose in the hand, and the surface in the frame of the believed object: out of which spheres does it reach?
    in_hand = R.transpose(0, 2, 1) @ rotation
    origin = ((recording.position - t)[:, None] @ R)[:, 0]
    turn = recording.believed[:, :3, :3].transpose(0, 2, 1)
    relative, shift = turn @ in_hand, (turn @ (origin - recording.believed[:, :3, 3])[..., None])[..., 0]
    outside = np.full(len(recording), np.nan)
    for k in range(0, len(recording), 6):  # a pose in the hand changes slowly
        if np.isfinite(shift[k]).all():
            at = surface @ relative[k].T + shift[k]
            gap = np.linalg.norm(at[:, None] - kind.spheres[:, :3], axis=-1) - kind.spheres[:, 3]
            outside[k] = gap.min(axis=1).max()

    # Carried: what this step's motion of the hand alone would do to the points where they were.
    dt = recording.dt
    carried = local[:-1] @ R[1:].transpose(0, 2, 1) + t[1:, None]
    true_speed = np.linalg.norm(np.diff(world, axis=0), axis=-1) / dt
    jump = np.full(len(recording), np.nan)
    jump[1:] = (true_speed - np.linalg.norm(carried - world[:-1], axis=-1) / dt).max(axis=1)

    error, faster = np.full(len(recording), np.nan), np.full(len(recording), np.nan)
    delays = delay_steps(assumed, dt)
    share = np.full((len(recording), len(points)), np.inf)
    apart_best, excess_best = np.zeros_like(share), np.zeros_like(share)
    near = assumed.tracking_error + assumed.object_error
    for d in range(delays + 1):
        rows = np.arange(delays + 1, len(recording))
        then, before = reference[rows - d], reference[rows - d - 1]
        place = believed[rows] @ then[:, :, :3].transpose(0, 2, 1) + then[:, None, :, 3]
        moved_by = local[rows] @ (then - before)[:, :, :3].transpose(0, 2, 1) + (then - before)[:, None, :, 3]
        apart = np.linalg.norm(world[rows] - place, axis=-1)
        excess = true_speed[rows - 1] - np.linalg.norm(moved_by, axis=-1) / dt
        cost = np.maximum(apart / near, excess / assumed.tracking_speed_error)
        better = cost < share[rows]
        share[rows] = np.where(better, cost, share[rows])
        apart_best[rows] = np.where(better, apart, apart_best[rows])
        excess_best[rows] = np.where(better, excess, excess_best[rows])
    error[delays + 1 :] = apart_best[delays + 1 :].max(axis=1)
    faster[delays + 1 :] = excess_best[delays + 1 :].max(axis=1)
    rows = recording.gripped
    return Holding(off[rows], moved[rows], outside[rows], jump[rows], error[rows], faster[rows])


def spread(points: np.ndarray, count: int = POINTS) -> np.ndarray:
    """Points (count, 3) of a cloud (N, 3), each the farthest from those before."""
    chosen = [int(np.argmax(np.linalg.norm(points - points.mean(axis=0), axis=1)))]
    gap = np.linalg.norm(points - points[chosen[0]], axis=1)
    while len(chosen) < min(count, len(points)):
        chosen.append(int(gap.argmax()))
        gap = np.minimum(gap, np.linalg.norm(points - points[chosen[-1]], axis=1))
    return points[chosen]


def holding_checks(
    condition: str, recordings: Sequence[tuple[Recording, ObjectKind]], assumed: Assumptions
) -> list[Check]:
    """The checks that recordings of one condition give, each of an object in the hand."""
    found = [(_beyond_slip(holding(recording, kind, assumed), kind), kind.name) for recording, kind in recordings]
    motions = len(found)
    mm = 1e3

    def check(name: str, limit: float | None, field: str, unit: str) -> Check:
        values = np.concatenate([np.zeros(0), *(getattr(h, field)[np.isfinite(getattr(h, field))] for h, _ in found)])
        return at_most(name, condition, limit, mm * values, unit, "steps", motions, worst_kinds(found, field, unit))

    return [
        check("object_error", mm * assumed.object_error, "off", "mm"),
        check("object_moved_in_hand", None, "moved", "mm"),
        check("object_outside_spheres", mm * assumed.object_error, "outside", "mm"),
        check("object_faster_than_slip", 0.0, "jump", "mm/s"),
        check("object_tracking_error", mm * (assumed.tracking_error + assumed.object_error), "error", "mm"),
        check("object_tracking_speed_error", mm * assumed.tracking_speed_error, "faster", "mm/s"),
    ]


def _beyond_slip(held: Holding, kind: ObjectKind) -> Holding:
    """Speeds without what the kind's `slip` allows."""
    return replace(held, jump=held.jump - kind.slip, faster=held.faster - kind.slip)


def worst_kinds(found: Sequence[tuple[Holding, str]], field: str, unit: str) -> str:
    """The worst of each kind, in words."""
    worst: dict[str, float] = {}
    for held, kind in found:
        values = getattr(held, field)
        values = values[np.isfinite(values)]
        if len(values):
            worst[kind] = max(worst.get(kind, -np.inf), 1e3 * float(values.max()))
    return ", ".join(f"{kind} {value:.1f}" for kind, value in sorted(worst.items(), key=_largest_first))


def _largest_first(entry: tuple[str, float]) -> float:
    return -entry[1]
