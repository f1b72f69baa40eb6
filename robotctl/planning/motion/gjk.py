"""This file turns two convex solids into the distance between them (GJK), in numba.

Gilbert, Johnson & Keerthi 1988, "A fast procedure for computing the distance between complex objects". One solid is
the hull of vertices, the other a sphere, box, cylinder or hull. The origin's nearest point in a simplex follows
Ericson 2005, "Real-Time Collision Detection", sections 5.1.5 and 5.1.6.
"""

from __future__ import annotations

import numpy as np
from numba import njit

SPHERE, BOX, CYLINDER, HULL = 0, 1, 2, 3
ACCURACY = 2e-5  # the answer is at most this much too small [m]: far below any margin that is planned with
ITERATIONS = 40
TOUCHING = 1e-7  # cores nearer than this intersect [m]


@njit(cache=True)
def _segment(s, weight, i, j):
    """Weights of the point of s[i]-s[j] that is nearest to the origin."""
    e0, e1, e2 = s[j, 0] - s[i, 0], s[j, 1] - s[i, 1], s[j, 2] - s[i, 2]
    length2 = e0 * e0 + e1 * e1 + e2 * e2
    t = 0.0
    if length2 > 0.0:
        t = min(max(-(s[i, 0] * e0 + s[i, 1] * e1 + s[i, 2] * e2) / length2, 0.0), 1.0)
    weight[i], weight[j] = 1.0 - t, t


@njit(cache=True)
def _triangle(s, weight, i, j, k):
    """Weights of the point of the triangle s[i], s[j], s[k] that is nearest to the origin."""
    b0, b1, b2 = s[j, 0] - s[i, 0], s[j, 1] - s[i, 1], s[j, 2] - s[i, 2]
    c0, c1, c2 = s[k, 0] - s[i, 0], s[k, 1] - s[i, 1], s[k, 2] - s[i, 2]
    d1 = -(b0 * s[i, 0] + b1 * s[i, 1] + b2 * s[i, 2])
    d2 = -(c0 * s[i, 0] + c1 * s[i, 1] + c2 * s[i, 2])
    if d1 <= 0.0 and d2 <= 0.0:
        weight[i], weight[j], weight[k] = 1.0, 0.0, 0.0
        return
    d3 = -(b0 * s[j, 0] + b1 * s[j, 1] + b2 * s[j, 2])
    d4 = -(c0 * s[j, 0] + c1 * s[j, 1] + c2 * s[j, 2])
    if d3 >= 0.0 and d4 <= d3:
        weight[i], weight[j], weight[k] = 0.0, 1.0, 0.0
        return
    vc = d1 * d4 - d3 * d2
    if vc <= 0.0 and d1 >= 0.0 and d3 <= 0.0:
        weight[k] = 0.0
        _segment(s, weight, i, j)
        return
    d5 = -(b0 * s[k, 0] + b1 * s[k, 1] + b2 * s[k, 2])
    d6 = -(c0 * s[k, 0] + c1 * s[k, 1] + c2 * s[k, 2])
    if d6 >= 0.0 and d5 <= d6:
        weight[i], weight[j], weight[k] = 0.0, 0.0, 1.0
        return
    vb = d5 * d2 - d1 * d6
    if vb <= 0.0 and d2 >= 0.0 and d6 <= 0.0:
        weight[j] = 0.0
        _segment(s, weight, i, k)
        return
    va = d3 * d6 - d5 * d4
    if va <= 0.0 and d4 - d3 >= 0.0 and d5 - d6 >= 0.0:
        weight[i] = 0.0
        _segment(s, weight, j, k)
        return
    total = va + vb + vc
    weight[i], weight[j], weight[k] = va / total, vb / total, vc / total


@njit(cache=True)
def _outside(s, i, j, k, opposite):
    """Whether the origin and s[opposite] lie on different sides of the plane through the other three (or nearly)."""
    b0, b1, b2 = s[j, 0] - s[i, 0], s[j, 1] - s[i, 1], s[j, 2] - s[i, 2]
    c0, c1, c2 = s[k, 0] - s[i, 0], s[k, 1] - s[i, 1], s[k, 2] - s[i, 2]
    n0, n1, n2 = b1 * c2 - b2 * c1, b2 * c0 - b0 * c2, b0 * c1 - b1 * c0
    origin = -(n0 * s[i, 0] + n1 * s[i, 1] + n2 * s[i, 2])
    other = n0 * (s[opposite, 0] - s[i, 0]) + n1 * (s[opposite, 1] - s[i, 1]) + n2 * (s[opposite, 2] - s[i, 2])
    scale = np.sqrt(n0 * n0 + n1 * n1 + n2 * n2)
    return origin * other < 0.0 or abs(other) <= 1e-9 * scale  # a flat tetrahedron encloses nothing


@njit(cache=True)
def _nearest(s, n, weight, trial):
    """Weights (4,) of the simplex's point nearest to the origin; False if the origin is enclosed."""
    if n == 1:
        weight[0] = 1.0
    elif n == 2:
        _segment(s, weight, 0, 1)
    elif n == 3:
        _triangle(s, weight, 0, 1, 2)
    else:
        best, found = 1e300, False
        for opposite in range(4):
            i, j, k = (opposite + 1) % 4, (opposite + 2) % 4, (opposite + 3) % 4
            if not _outside(s, i, j, k, opposite):
                continue
            trial[opposite] = 0.0
            _triangle(s, trial, i, j, k)
            d = 0.0
            for axis in range(3):
                p = trial[0] * s[0, axis] + trial[1] * s[1, axis] + trial[2] * s[2, axis] + trial[3] * s[3, axis]
                d += p * p
            if d < best:
                best, found = d, True
                for m in range(4):
                    weight[m] = trial[m]
        return found
    return True


@njit(cache=True)
def _extreme(vertices, begin, end, d0, d1, d2):
    """Index of the vertex that lies farthest along d; vertices (3, V)."""
    best, at = -1e300, begin
    for i in range(begin, end):
        value = vertices[0, i] * d0 + vertices[1, i] * d1 + vertices[2, i] * d2
        if value > best:
            best, at = value, i
    return at


@njit(cache=True)
def distance(
    vertices, begin, end, center, rotation, position, kind, size, begin_b, end_b, rotation_b, position_b, cap, work
):
    """Distance [m] between a hull and a solid, 0 if they intersect; never more than the truth.

    vertices (3, V) [m] with the hull's in columns begin to end, around center (3,), at pose rotation (3, 3), position
    (3,). The solid at its own pose is a SPHERE, BOX or CYLINDER of size (3,): radius; half edges; radius and half
    height; or the HULL of columns begin_b to end_b around size (3,). Once the distance is known to exceed `cap` that
    lower bound is returned. work (7, 3) is scratch.
    """
    # Everything happens in the solid's frame: x_solid = r x_hull + t.
    s = work[:4]
    weight, trial = work[4:6].ravel()[:4], work[5:7].ravel()[1:5]
    r00 = rotation_b[0, 0] * rotation[0, 0] + rotation_b[1, 0] * rotation[1, 0] + rotation_b[2, 0] * rotation[2, 0]
    r01 = rotation_b[0, 0] * rotation[0, 1] + rotation_b[1, 0] * rotation[1, 1] + rotation_b[2, 0] * rotation[2, 1]
    r02 = rotation_b[0, 0] * rotation[0, 2] + rotation_b[1, 0] * rotation[1, 2] + rotation_b[2, 0] * rotation[2, 2]
    r10 = rotation_b[0, 1] * rotation[0, 0] + rotation_b[1, 1] * rotation[1, 0] + rotation_b[2, 1] * rotation[2, 0]
    r11 = rotation_b[0, 1] * rotation[0, 1] + rotation_b[1, 1] * rotation[1, 1] + rotation_b[2, 1] * rotation[2, 1]
    r12 = rotation_b[0, 1] * rotation[0, 2] + rotation_b[1, 1] * rotation[1, 2] + rotation_b[2, 1] * rotation[2, 2]
    r20 = rotation_b[0, 2] * rotation[0, 0] + rotation_b[1, 2] * rotation[1, 0] + rotation_b[2, 2] * rotation[2, 0]
    r21 = rotation_b[0, 2] * rotation[0, 1] + rotation_b[1, 2] * rotation[1, 1] + rotation_b[2, 2] * rotation[2, 1]
    r22 = rotation_b[0, 2] * rotation[0, 2] + rotation_b[1, 2] * rotation[1, 2] + rotation_b[2, 2] * rotation[2, 2]
    g0, g1, g2 = position[0] - position_b[0], position[1] - position_b[1], position[2] - position_b[2]
    t0 = rotation_b[0, 0] * g0 + rotation_b[1, 0] * g1 + rotation_b[2, 0] * g2
    t1 = rotation_b[0, 1] * g0 + rotation_b[1, 1] * g1 + rotation_b[2, 1] * g2
    t2 = rotation_b[0, 2] * g0 + rotation_b[1, 2] * g1 + rotation_b[2, 2] * g2
    less = size[0] if kind == SPHERE else 0.0
    cap += less
    # First direction: from the solid's point nearest to the hull's centre, often the one that separates them.
    v0 = r00 * center[0] + r01 * center[1] + r02 * center[2] + t0
    v1 = r10 * center[0] + r11 * center[1] + r12 * center[2] + t1
    v2 = r20 * center[0] + r21 * center[1] + r22 * center[2] + t2
    if kind == HULL:
        v0, v1, v2 = v0 - size[0], v1 - size[1], v2 - size[2]
    elif kind == BOX and (abs(v0) > size[0] or abs(v1) > size[1] or abs(v2) > size[2]):
        v0 -= min(max(v0, -size[0]), size[0])
        v1 -= min(max(v1, -size[1]), size[1])
        v2 -= min(max(v2, -size[2]), size[2])
    elif kind == CYLINDER:
        across, up = np.sqrt(v0 * v0 + v1 * v1), v2 - min(max(v2, -size[1]), size[1])
        if across > size[0] or up != 0.0:
            share = max(across - size[0], 0.0) / max(across, 1e-12)
            v0, v1, v2 = share * v0, share * v1, up
    length = np.sqrt(v0 * v0 + v1 * v1 + v2 * v2)
    if length < TOUCHING:
        v0, length = 1.0, 1.0
    lower, n = 0.0, 0
    for iteration in range(ITERATIONS):
        # Supports: the hull's vertex farthest along -v, the solid's point farthest along v.
        a = _extreme(
            vertices, begin, end,
            -(r00 * v0 + r10 * v1 + r20 * v2), -(r01 * v0 + r11 * v1 + r21 * v2), -(r02 * v0 + r12 * v1 + r22 * v2),
        )  # fmt: skip
        x, y, z = vertices[0, a], vertices[1, a], vertices[2, a]
        w0 = r00 * x + r01 * y + r02 * z + t0
        w1 = r10 * x + r11 * y + r12 * z + t1
        w2 = r20 * x + r21 * y + r22 * z + t2
        if kind == BOX:
            w0 -= size[0] if v0 > 0.0 else -size[0]
            w1 -= size[1] if v1 > 0.0 else -size[1]
            w2 -= size[2] if v2 > 0.0 else -size[2]
        elif kind == CYLINDER:
            across = np.sqrt(v0 * v0 + v1 * v1)
            if across > 1e-12:
                w0 -= size[0] * v0 / across
                w1 -= size[0] * v1 / across
            w2 -= size[1] if v2 > 0.0 else -size[1]
        elif kind == HULL:
            b = _extreme(vertices, begin_b, end_b, v0, v1, v2)
            w0, w1, w2 = w0 - vertices[0, b], w1 - vertices[1, b], w2 - vertices[2, b]
        lower = max(lower, (v0 * w0 + v1 * w1 + v2 * w2) / length)
        if lower > cap or (iteration > 0 and length - lower < ACCURACY):
            break
        s[n, 0], s[n, 1], s[n, 2] = w0, w1, w2
        n += 1
        if not _nearest(s, n, weight, trial):
            return 0.0
        kept = 0
        v0, v1, v2 = 0.0, 0.0, 0.0
        for m in range(n):
            if weight[m] > 0.0:
                v0, v1, v2 = v0 + weight[m] * s[m, 0], v1 + weight[m] * s[m, 1], v2 + weight[m] * s[m, 2]
                s[kept, 0], s[kept, 1], s[kept, 2] = s[m, 0], s[m, 1], s[m, 2]
                kept += 1
        n = kept
        before, length = length, np.sqrt(v0 * v0 + v1 * v1 + v2 * v2)
        if length < TOUCHING or n == 4:
            return 0.0
        if iteration > 1 and before - length < 1e-12:  # as near as rounding allows
            break
    return max(lower - less, 0.0)
