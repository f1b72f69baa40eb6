"""Writes the Panda's collision hulls for `robotctl plan`: `python tools/fit_hulls.py`.

Each collision mesh of pybullet_data becomes a few of its own vertices and a rounding: the hull of the few, grown by the
rounding, contains the whole mesh grown by PyBullet's collision margin. Vertices are added, the worst covered first,
until none is farther than TOLERANCE from the hull of the chosen.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pybullet_data

from robotctl.planning.motion.chain import HULLS
from robotctl.planning.motion.gjk import SPHERE, distance

TOLERANCE = 4e-4  # of the distance between the whole hull and that of the chosen vertices [m]
MARGIN = 1e-3  # loadURDF grows every hull by its collision margin; measured with getClosestPoints [m]
MESHES = (*(f"link{i}" for i in range(8)), "hand", "finger")


def vertices_of(path: Path) -> np.ndarray:
    """Distinct vertices (n, 3) [m] of an OBJ file."""
    rows = [line.split()[1:4] for line in path.read_text().splitlines() if line.startswith("v ")]
    return np.unique(np.array(rows, float), axis=0)


def gap(points: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """Distance (n,) of points (n, 3) from the hull of the chosen (k, 3)."""
    columns, work = np.ascontiguousarray(chosen.T), np.empty((7, 3))
    still, none, size = np.eye(3), np.zeros(3), np.zeros(3)
    return np.array(
        [distance(columns, 0, len(chosen), none, still, none, SPHERE, size, 0, 0, still, p, 1e9, work) for p in points]
    )


def fit(points: np.ndarray) -> tuple[np.ndarray, float]:
    """Chosen vertices (k, 3) and the largest distance of any vertex from their hull [m]."""
    directions = np.concatenate([np.eye(3), -np.eye(3)])
    chosen = sorted({int(np.argmax(points @ d)) for d in directions})
    while True:
        away = gap(points, points[chosen])
        worst = int(np.argmax(away))
        if away[worst] <= TOLERANCE:
            return points[chosen], float(away[worst])
        chosen.append(worst)


def main() -> None:
    folder = Path(pybullet_data.getDataPath()) / "franka_panda" / "meshes" / "collision"
    tables: dict[str, np.ndarray] = {}
    for name in MESHES:
        points = vertices_of(folder / f"{name}.obj")
        chosen, error = fit(points)
        tables[name] = chosen
        tables[f"{name}_rounding"] = np.array(error + 5e-5 + MARGIN)  # 0.05 mm for what GJK leaves open
        print(f"{name:<7} {len(points):>4} vertices, {len(chosen):>3} kept, {1e3 * error:.2f} mm")
    np.savez_compressed(HULLS, **tables)
    print(f"{HULLS}: {HULLS.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
