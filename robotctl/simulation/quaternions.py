"""Quaternions, xyzw, many at once."""

from __future__ import annotations

import numpy as np


def rotate(quaternion: np.ndarray, vector: np.ndarray) -> np.ndarray:
    """Vectors (..., 3) turned by quaternions (..., 4) xyzw, broadcast."""
    axis, w = quaternion[..., :3], quaternion[..., 3:]
    vector = np.broadcast_to(vector, axis.shape)
    twice = 2.0 * np.cross(axis, vector)
    return vector + w * twice + np.cross(axis, twice)


def multiply(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Quaternion product (..., 4) xyzw: first `b`, then `a`."""
    b = np.broadcast_to(b, a.shape)
    av, aw, bv, bw = a[..., :3], a[..., 3:], b[..., :3], b[..., 3:]
    return np.concatenate([aw * bv + bw * av + np.cross(av, bv), aw * bw - np.sum(av * bv, -1, keepdims=True)], axis=-1)
