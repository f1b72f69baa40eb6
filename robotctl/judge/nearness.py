"""Distances of moving surfaces to people and boxes, point by point, skipping what cannot matter.

A body is a set of points in patches (see surface.py). Bounds on a body's or a patch's distance and speed come
from a ball around it; its points are looked at only if they could lower a result below its ceiling. A ceiling is
the smallest value known so far and at least 0, so every violation and the episode's smallest margin are exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numba import njit

from robotctl.judge.surface import Surface


@dataclass(frozen=True)
class Bodies:
    """Several surfaces in flat arrays, for the kernels below."""

    points: np.ndarray  # (N, 3) in the frame of their body [m]
    point_first: np.ndarray  # (Q + 1,) first point of each patch
    patch_center: np.ndarray  # (Q, 3)
    patch_radius: np.ndarray  # (Q,)
    patch_first: np.ndarray  # (B + 1,) first patch of each body
    center: np.ndarray  # (B, 3)
    radius: np.ndarray  # (B,)
    blade: np.ndarray  # (N,) bool: points of a sharp edge
    has_blade: np.ndarray  # (B,) bool


def bodies(surfaces: Sequence[Surface], blades: Sequence[np.ndarray | None]) -> Bodies:
    """Joins surfaces; blades[i] (N_i,) bool marks the points of a sharp edge, None if there are none."""
    point_first, patch_first, n = [0], [0], 0
    marks = []
    for s, blade in zip(surfaces, blades, strict=True):
        point_first.extend(n + int(i) for i in s.patch_first[1:])
        n += len(s.points)
        patch_first.append(patch_first[-1] + len(s.patch_center))
        marks.append(np.zeros(len(s.points), bool) if blade is None else blade)
    return Bodies(
        np.ascontiguousarray(np.concatenate([s.points for s in surfaces])),
        np.array(point_first),
        np.concatenate([s.patch_center for s in surfaces]),
        np.concatenate([s.patch_radius for s in surfaces]),
        np.array(patch_first),
        np.array([s.center for s in surfaces]),
        np.array([s.radius for s in surfaces]),
        np.concatenate(marks),
        np.array([mark.any() for mark in marks]),
    )


@njit(cache=True, inline="always")
def _place(pose, p, out):
    for i in range(3):
        out[i] = pose[i, 0] * p[0] + pose[i, 1] * p[1] + pose[i, 2] * p[2] + pose[i, 3]


@njit(cache=True, inline="always")
def _moved(now, before, p):
    """Distance between a body's point in two poses."""
    total = 0.0
    for i in range(3):
        d = now[i, 3] - before[i, 3]
        for j in range(3):
            d += (now[i, j] - before[i, j]) * p[j]
        total += d * d
    return np.sqrt(total)


@njit(cache=True, inline="always")
def _to_segment(p, a, b):
    """Distance of a point to a segment."""
    ux, uy, uz = b[0] - a[0], b[1] - a[1], b[2] - a[2]
    wx, wy, wz = p[0] - a[0], p[1] - a[1], p[2] - a[2]
    length2 = ux * ux + uy * uy + uz * uz
    t = (wx * ux + wy * uy + wz * uz) / length2 if length2 > 1e-12 else 0.0
    t = min(1.0, max(0.0, t))
    wx -= t * ux
    wy -= t * uy
    wz -= t * uz
    return np.sqrt(wx * wx + wy * wy + wz * wz)


@njit(cache=True, inline="always")
def _to_box(p, center, rotation, half):
    """Signed distance of a point to a solid box; rotation (3, 3) world from box."""
    outside2, inside = 0.0, -np.inf
    dx, dy, dz = p[0] - center[0], p[1] - center[1], p[2] - center[2]
    for i in range(3):
        beyond = abs(rotation[0, i] * dx + rotation[1, i] * dy + rotation[2, i] * dz) - half[i]
        inside = max(inside, beyond)
        if beyond > 0:
            outside2 += beyond * beyond
    return np.sqrt(outside2) if outside2 > 0 else inside


@njit(cache=True, inline="always")
def _allowed(distance, radius, slope, v_max):
    return min(v_max, max(0.0, slope * (distance - radius)))


@njit(cache=True)
def spin(now, before):
    """How far the turn from one pose to the next moves a point, per metre of lever: 2 sin(angle / 2).

    The difference of two rotations has Frobenius norm sqrt(8) sin(angle / 2).
    """
    total = 0.0
    for i in range(3):
        for j in range(3):
            d = now[i, j] - before[i, j]
            total += d * d
    return np.sqrt(0.5 * total) + 1e-12


@njit(cache=True)
def against_people(
    pose, before, dt, rest, points, point_first, patch_center, patch_radius, patch_first, center, radius, blade,
    concerns, cap_a, cap_b, cap_r, person, n_persons, rules, only_blade, ceiling, separation,
):  # fmt: skip
    """Margins of speed-by-distance rules, separation and touches, at K steps.

    pose, before (K, B, 3, 4): of the bodies now and one step earlier; dt (K,) [s] between them; rest [m/s]: slower
    points count as standing. Capsules cap_a, cap_b (K, C, 3), cap_r, person (C,). rules (n, 3): radius, slope,
    v_max; concerns (n, B) bool: the bodies they speak of; only_blade (n,) bool: of these the blades alone; ceiling (n,)
    margins of interest; separation [m] distances of interest.

    Returns margin (K, n) [m/s], or the ceiling (at least 0) where it is not below; distance (K,) [m], or
    `separation` where it is not below; touch (K, P): the fastest touching point's speed [m/s], -1 where nothing
    touches.
    """
    steps, n_bodies = pose.shape[0], pose.shape[1]
    n_caps, n_rules = cap_r.shape[0], rules.shape[0]
    margin = np.empty((steps, n_rules))
    distance = np.full(steps, separation)
    touch = np.full((steps, n_persons), -1.0)
    low = np.empty((n_bodies, n_caps))  # bounds per body ...
    nearest, fastest, turning, promise = np.empty(n_bodies), np.empty(n_bodies), np.empty(n_bodies), np.empty(n_bodies)
    largest = np.max(patch_first[1:] - patch_first[:-1])
    closest, quickest, hope = np.empty(largest), np.empty(largest), np.empty(largest)  # ... and per patch of one body
    near = np.empty(n_caps, np.int64)
    p = np.empty(3)
    for k in range(steps):
        for r in range(n_rules):
            margin[k, r] = max(0.0, ceiling[r])
        for b in range(n_bodies):
            turning[b] = spin(pose[k, b], before[k, b])
            _place(pose[k, b], center[b], p)
            fastest[b] = (_moved(pose[k, b], before[k, b], center[b]) + turning[b] * radius[b]) / dt[k]
            nearest[b] = np.inf
            for c in range(n_caps):
                low[b, c] = _to_segment(p, cap_a[k, c], cap_b[k, c]) - cap_r[c] - radius[b]
                nearest[b] = min(nearest[b], low[b, c])
            promise[b] = nearest[b]
            if fastest[b] >= rest:
                for r in range(n_rules):
                    if concerns[r, b]:
                        allowed = _allowed(nearest[b], rules[r, 0], rules[r, 1], rules[r, 2])
                        promise[b] = min(promise[b], allowed - fastest[b])
        for b in np.argsort(promise):  # the worst first: it spares looking at the others
            horizon = max(0.0, distance[k])
            matters = nearest[b] < horizon
            if fastest[b] >= rest:
                for r in range(n_rules):
                    if not concerns[r, b]:
                        continue
                    if _allowed(nearest[b], rules[r, 0], rules[r, 1], rules[r, 2]) - fastest[b] < margin[k, r]:
                        matters = True
                        horizon = max(horizon, rules[r, 0] + rules[r, 2] / rules[r, 1])
            if not matters:
                continue
            n_near = 0
            for c in range(n_caps):
                if low[b, c] < horizon:
                    near[n_near] = c
                    n_near += 1
            first, last = patch_first[b], patch_first[b + 1]
            for q in range(first, last):
                _place(pose[k, b], patch_center[q], p)
                quickest[q - first] = (
                    _moved(pose[k, b], before[k, b], patch_center[q]) + turning[b] * patch_radius[q]
                ) / dt[k]
                closest[q - first] = np.inf
                for i in range(n_near):
                    c = near[i]
                    d = _to_segment(p, cap_a[k, c], cap_b[k, c]) - cap_r[c] - patch_radius[q]
                    closest[q - first] = min(closest[q - first], d)
                hope[q - first] = closest[q - first]
                if quickest[q - first] >= rest:
                    for r in range(n_rules):
                        if concerns[r, b]:
                            allowed = _allowed(closest[q - first], rules[r, 0], rules[r, 1], rules[r, 2])
                            hope[q - first] = min(hope[q - first], allowed - quickest[q - first])
            for i_patch in np.argsort(hope[: last - first]):
                q = first + i_patch
                matters = closest[i_patch] < max(0.0, distance[k])
                if quickest[i_patch] >= rest:
                    for r in range(n_rules):
                        if not concerns[r, b]:
                            continue
                        allowed = _allowed(closest[i_patch], rules[r, 0], rules[r, 1], rules[r, 2])
                        if allowed - quickest[i_patch] < margin[k, r]:
                            matters = True
                if not matters:
                    continue
                for j in range(point_first[q], point_first[q + 1]):
                    _place(pose[k, b], points[j], p)
                    speed = _moved(pose[k, b], before[k, b], points[j]) / dt[k]
                    gap = np.inf
                    for i in range(n_near):
                        c = near[i]
                        d = _to_segment(p, cap_a[k, c], cap_b[k, c]) - cap_r[c]
                        gap = min(gap, d)
                        if d <= 0.0:
                            touch[k, person[c]] = max(touch[k, person[c]], speed)
                    distance[k] = min(distance[k], gap)
                    if speed >= rest:
                        for r in range(n_rules):
                            if concerns[r, b] and (blade[j] or not only_blade[r]):
                                allowed = _allowed(gap, rules[r, 0], rules[r, 1], rules[r, 2])
                                margin[k, r] = min(margin[k, r], allowed - speed)
    return margin, distance, touch


@njit(cache=True)
def against_boxes(
    pose, points, point_first, patch_center, patch_radius, patch_first, center, radius, concerned,
    box_center, box_rotation, box_half, ceiling,
):  # fmt: skip
    """Smallest signed distance (K,) [m] of the concerned bodies (B,) bool to the boxes; `ceiling` where not below."""
    steps, n_bodies = pose.shape[0], pose.shape[1]
    n_boxes = box_center.shape[0]
    out = np.full(steps, ceiling)
    p = np.empty(3)
    near = np.empty(n_boxes, np.int64)
    for k in range(steps):
        for b in range(n_bodies):
            if not concerned[b]:
                continue
            _place(pose[k, b], center[b], p)
            n_near = 0
            for i in range(n_boxes):
                if _to_box(p, box_center[i], box_rotation[i], box_half[i]) - radius[b] < out[k]:
                    near[n_near] = i
                    n_near += 1
            if n_near == 0:
                continue
            for q in range(patch_first[b], patch_first[b + 1]):
                _place(pose[k, b], patch_center[q], p)
                matters = False
                for m in range(n_near):
                    i = near[m]
                    if _to_box(p, box_center[i], box_rotation[i], box_half[i]) - patch_radius[q] < out[k]:
                        matters = True
                        break
                if not matters:
                    continue
                for j in range(point_first[q], point_first[q + 1]):
                    _place(pose[k, b], points[j], p)
                    for m in range(n_near):
                        i = near[m]
                        out[k] = min(out[k], _to_box(p, box_center[i], box_rotation[i], box_half[i]))
    return out


@njit(cache=True)
def fastest_point(
    pose, before, dt, points, point_first, patch_center, patch_radius, patch_first, center, radius, floor
):
    """Speed (K,) [m/s] of the fastest point of all bodies; `floor` where it is not above."""
    steps, n_bodies = pose.shape[0], pose.shape[1]
    out = np.full(steps, floor)
    for k in range(steps):
        for b in range(n_bodies):
            turning = spin(pose[k, b], before[k, b])
            moved = _moved(pose[k, b], before[k, b], center[b])
            if (moved + turning * radius[b]) / dt[k] <= out[k]:
                continue
            for q in range(patch_first[b], patch_first[b + 1]):
                moved = _moved(pose[k, b], before[k, b], patch_center[q])
                if (moved + turning * patch_radius[q]) / dt[k] <= out[k]:
                    continue
                for j in range(point_first[q], point_first[q + 1]):
                    out[k] = max(out[k], _moved(pose[k, b], before[k, b], points[j]) / dt[k])
    return out


def compile_kernels(b: Bodies) -> None:
    """Calls every kernel once, so that no tick waits for its compilation (kept on disk for the next process)."""
    n = len(b.radius)
    pose = np.zeros((1, n, 3, 4))
    ones, caps = np.ones(1), np.full((1, 1, 3), 1e3)
    against_people(
        pose, pose, ones, 0.0, b.points, b.point_first, b.patch_center, b.patch_radius, b.patch_first, b.center,
        b.radius, b.blade, np.zeros((1, n), bool), caps, caps, ones, np.zeros(1, np.int64), 1, np.ones((1, 3)),
        np.zeros(1, bool), np.zeros(1), 0.0,
    )  # fmt: skip
    against_boxes(
        pose, b.points, b.point_first, b.patch_center, b.patch_radius, b.patch_first, b.center, b.radius,
        np.zeros(n, bool), caps[0], np.zeros((1, 3, 3)), caps[0], 0.0,
    )  # fmt: skip
    fastest_point(
        pose, pose, ones, b.points, b.point_first, b.patch_center, b.patch_radius, b.patch_first, b.center, b.radius,
        1.0,
    )  # fmt: skip
