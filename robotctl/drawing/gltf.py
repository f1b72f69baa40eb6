"""This file writes what stands still as a glTF 2.0 binary with its light in the colours, which costs a viewer least."""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence

import numpy as np

from robotctl.drawing.raster import Textures, lit, soup
from robotctl.drawing.shapes import Mesh

_FLOAT, _BYTE, _INDEX = 5126, 5121, 5125  # glTF 2.0, table of accessor component types
_ARRAY, _ELEMENTS = 34962, 34963  # targets of buffer views


def baked(meshes: Sequence[Mesh]) -> bytes:
    """A .glb file (glTF 2.0, clause 4) of opaque meshes as bright as the light makes them, seen from their outer side.

    Its material is unlit (extension KHR_materials_unlit): colours are shown as they are.
    """
    parts = soup(meshes, Textures())
    count = 3 * len(parts.corners)
    colors = np.repeat(parts.colors[:, None], 3, axis=1) * lit(parts.normals)[..., None]
    packed = np.zeros((count, 4), np.uint8)
    packed[:, :3] = np.round(255 * _linear(np.clip(colors, 0.0, 1.0))).reshape(-1, 3)
    packed[:, 3] = 255
    corners = parts.corners.reshape(-1, 3).astype("<f4")
    rows, index = np.unique(np.column_stack([corners.view("<u4"), packed.view("<u4")]), axis=0, return_inverse=True)
    points, shades = np.ascontiguousarray(rows[:, :3]).view("<f4"), np.ascontiguousarray(rows[:, 3:]).view(np.uint8)
    arrays = [points.tobytes(), shades.tobytes(), index.reshape(-1).astype("<u4").tobytes()]
    starts = np.cumsum([0, *map(len, arrays)]).tolist()
    views = [
        {"buffer": 0, "byteOffset": start, "byteLength": len(array), "target": target}
        for start, array, target in zip(starts, arrays, (_ARRAY, _ARRAY, _ELEMENTS), strict=False)
    ]
    document = {
        "asset": {"version": "2.0"},
        "extensionsUsed": ["KHR_materials_unlit"],
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0}],
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0, "COLOR_0": 1}, "indices": 2, "material": 0}]}],
        "materials": [{"extensions": {"KHR_materials_unlit": {}}}],
        "accessors": [
            {
                "bufferView": 0, "componentType": _FLOAT, "count": len(points), "type": "VEC3",
                "min": points.min(axis=0).tolist(), "max": points.max(axis=0).tolist(),
            },
            {"bufferView": 1, "componentType": _BYTE, "normalized": True, "count": len(points), "type": "VEC4"},
            {"bufferView": 2, "componentType": _INDEX, "count": count, "type": "SCALAR"},
        ],
        "bufferViews": views,
        "buffers": [{"byteLength": starts[-1]}],
    }  # fmt: skip
    text = json.dumps(document, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 4)
    data = b"".join(arrays)
    chunks = struct.pack("<II", len(text), 0x4E4F534A) + text + struct.pack("<II", len(data), 0x004E4942) + data
    return struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks


def _linear(color: np.ndarray) -> np.ndarray:
    """Linear light of sRGB values, which is what glTF's vertex colours are in (IEC 61966-2-1)."""
    return np.where(color <= 0.04045, color / 12.92, ((color + 0.055) / 1.055) ** 2.4)
