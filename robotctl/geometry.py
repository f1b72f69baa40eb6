"""Rotations and signed distances, written once for NumPy and for JAX.

Every function takes arrays of either library and returns the same kind, so that a guardrail's margin
can be evaluated by the filter (NumPy) and differentiated by a test (JAX) from one definition.
Quaternions are xyzw, lengths metres, angles radians.
"""

from __future__ import annotations

from typing import Any

Array = Any  # numpy.ndarray or jax.Array


def namespace(x: Array) -> Any:
    """The array library that `x` belongs to (numpy or jax.numpy)."""
    return x.__array_namespace__()


def norm(x: Array, epsilon: float = 0.0) -> Array:
    """Euclidean norm over the last axis, (..., n) -> (...); `epsilon` keeps the gradient finite at 0."""
    xp = namespace(x)
    return xp.sqrt(xp.einsum("...i,...i->...", x, x) + epsilon * epsilon)


def matrix_from_quaternion(q: Array) -> Array:
    """Rotation matrix of a unit quaternion xyzw, (..., 4) -> (..., 3, 3)."""
    xp = namespace(q)
    x, y, z, w = q[..., 0], q[..., 1], q[..., 2], q[..., 3]
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    return xp.stack([xp.stack(row, axis=-1) for row in rows], axis=-2)


def quaternion_from_matrix(rotation: Array) -> Array:
    """Unit quaternion xyzw with w >= 0 of a rotation matrix, (3, 3) -> (4,). NumPy only."""
    import numpy as np

    r = np.asarray(rotation, float)
    # Bar-Itzhack 2000, "New method for extracting the quaternion from a rotation matrix", eq. 15:
    # the dominant eigenvector is the quaternion; it needs no case distinction.
    k = np.array(
        [
            [r[0, 0] - r[1, 1] - r[2, 2], r[1, 0] + r[0, 1], r[2, 0] + r[0, 2], r[2, 1] - r[1, 2]],
            [r[1, 0] + r[0, 1], r[1, 1] - r[0, 0] - r[2, 2], r[2, 1] + r[1, 2], r[0, 2] - r[2, 0]],
            [r[2, 0] + r[0, 2], r[2, 1] + r[1, 2], r[2, 2] - r[0, 0] - r[1, 1], r[1, 0] - r[0, 1]],
            [r[2, 1] - r[1, 2], r[0, 2] - r[2, 0], r[1, 0] - r[0, 1], r[0, 0] + r[1, 1] + r[2, 2]],
        ]
    )
    q = np.linalg.eigh(k)[1][:, -1]
    return q if q[3] >= 0 else -q


def rotation_z(angle: float) -> Array:
    """Rotation about z, (3, 3)."""
    import numpy as np

    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])


def rotation_rpy(roll: float, pitch: float, yaw: float) -> Array:
    """Rotation of URDF roll-pitch-yaw angles, R = Rz(yaw) Ry(pitch) Rx(roll), (3, 3)."""
    import numpy as np

    cr, sr, cp, sp = np.cos(roll), np.sin(roll), np.cos(pitch), np.sin(pitch)
    rx = np.array([[1.0, 0.0, 0.0], [0.0, cr, -sr], [0.0, sr, cr]])
    ry = np.array([[cp, 0.0, sp], [0.0, 1.0, 0.0], [-sp, 0.0, cp]])
    return rotation_z(yaw) @ ry @ rx


def transform(rotation: Array, position: Array) -> Array:
    """Homogeneous transform from a rotation (3, 3) and a position (3,), (4, 4)."""
    import numpy as np

    out = np.eye(4)
    out[:3, :3] = rotation
    out[:3, 3] = position
    return out


def inverse(matrix: Array) -> Array:
    """Inverse of a homogeneous transform, (4, 4)."""
    import numpy as np

    out = np.eye(4)
    out[:3, :3] = matrix[:3, :3].T
    out[:3, 3] = -matrix[:3, :3].T @ matrix[:3, 3]
    return out


def point_segment_distance(point: Array, a: Array, b: Array) -> Array:
    """Distance from points to segments a-b, (..., 3) each, broadcast -> (...)."""
    xp = namespace(point)
    ab = b - a
    length2 = xp.sum(ab * ab, axis=-1)
    t = xp.sum((point - a) * ab, axis=-1) / xp.where(length2 > 1e-12, length2, 1.0)
    t = xp.clip(t, 0.0, 1.0)
    return norm(point - a - t[..., None] * ab, 1e-9)


def point_box_distance(point: Array, center: Array, rotation: Array, half: Array) -> Array:
    """Signed distance from points to solid boxes (negative inside), broadcast -> (...).

    point (..., 3); center (..., 3); rotation (..., 3, 3) world from box; half (..., 3) half extents.
    The usual exact box distance: length of the outside part plus the deepest inside coordinate.
    """
    xp = namespace(point)
    local = xp.sum((point - center)[..., :, None] * rotation, axis=-2)  # R^T (p - c)
    outside = xp.abs(local) - half
    return norm(xp.maximum(outside, 0.0), 1e-9) + xp.minimum(xp.max(outside, axis=-1), 0.0)
