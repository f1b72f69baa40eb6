"""The 200 short episodes on which judge and oracle are compared: a wide mix, drawn from the seed alone.

Tasks of every skill, all four arms, no people, the task's own, or people who walk into the robot; with the household
guardrails, and with stricter ones that are often broken. The kitchen gets two more keep-out regions, where the
robot works.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from robotctl.bench.episodes import EpisodeJob, run_job
from robotctl.control import ARMS
from robotctl.scene_paths import scenes_folder

FIRST_SEED = 1000
TASKS = ("clear-table", "put-away-knife", "slice-cucumber", "pull-pot", "push-mug")
SITES = ((0.3, 0.65), (0.3, 0.25), (0.3, 1.1), (-0.3, 1.1), (0.0, 0.3))  # where the robot stands and works [m]
DOORS = ((2.4, -1.8), (2.0, 0.6), (1.6, 0.2), (-1.3, 0.2), (-1.4, 0.9), (-1.2, -1.6))  # where walkers come from [m]

STRICT = """\
schema: robotctl/guardrails.v1
name: strict
description: Rules that an ordinary episode breaks, or comes near to.
guardrails:
  - {id: far-from-people, kind: separation, radius: 0.40 m, slope: 0.8 1/s, v_max: 0.9 m/s, tier: 0, source: a test}
  - {id: slow-blade, kind: blade_speed, scope: {held: sharp}, radius: 0.5 m, slope: 0.5 1/s, v_max: 0.12 m/s, tier: 1,
     source: a test}
  - {id: room-to-spare, kind: clearance, distance: 35 mm, tier: 2, source: a test}
  - {id: no-go, kind: keep_out, label: people_only, tier: 2, source: a test}
  - {id: level, kind: upright, scope: {held: [fillable, sharp]}, max_tilt: 3 deg, tier: 3, source: a test}
  - {id: slow, kind: speed, v_max: 0.6 m/s, tier: 2, source: a test}
  - {id: gentle-joints, kind: joint_limits, fraction: 0.5, tier: 2, source: a test}
"""
REGIONS = """\
regions:
  - {name: above_plates, labels: [people_only], center: 0.30 -0.45 0.95 m, size: 0.50 0.50 0.30 m}
  - {name: above_tray, labels: [people_only], center: -0.10 1.70 1.15 m, size: 0.50 0.30 0.30 m}
"""


@dataclass(frozen=True)
class Log:
    """One episode of the mix."""

    seed: int
    task: str
    arm: str
    people: str  # none, default or walkers
    strict: bool
    time_limit: float  # [s]

    @property
    def name(self) -> str:
        return f"{self.seed}-{self.task}-{self.arm}-{self.people}{'-strict' if self.strict else ''}.mcap"


def log_of(seed: int) -> Log:
    """What the episode with this seed is."""
    generator = np.random.default_rng([seed, 70])
    return Log(
        seed=seed,
        task=TASKS[seed % len(TASKS)],
        arm=str(generator.choice(ARMS, p=(0.25, 0.3, 0.25, 0.2))),
        people=str(generator.choice(("none", "default", "walkers"), p=(0.15, 0.2, 0.65))),
        strict=bool(generator.random() < 0.6),
        time_limit=float(generator.choice((4, 5, 6, 7, 9, 12, 15), p=(0.3, 0.25, 0.2, 0.15, 0.05, 0.03, 0.02))),
    )


def record(folder: Path, count: int, first: int = FIRST_SEED) -> Iterator[Path]:
    """Runs the episodes that `folder` does not have yet; the paths of all, one after the other."""
    tasks = write_scene(folder)
    for log in map(log_of, range(first, first + count)):
        path = folder / log.name
        if not path.exists():
            people = _write_walkers(folder, log.seed) if log.people == "walkers" else None
            options = {
                "seed": log.seed,
                "arm": log.arm,
                "people": "none" if log.people == "none" else "default",
                "time_limit": log.time_limit,
                "guardrail_files": (tasks / "strict.yaml",) if log.strict else (),
                "out": path.with_suffix(".part.mcap"),
            }
            path.with_suffix(".part.mcap").unlink(missing_ok=True)
            run_job(EpisodeJob(str(tasks / f"{log.task}.yaml"), people, options))
            path.with_suffix(".part.mcap").rename(path)
        yield path


def write_scene(folder: Path) -> Path:
    """The kitchen with more regions, its tasks and the strict guardrails; the folder of the tasks."""
    packaged = scenes_folder() / "kitchen"
    tasks = folder / "scenes" / "kitchen" / "tasks"
    tasks.mkdir(parents=True, exist_ok=True)
    scene = (packaged / "scene.yaml").read_text().replace("../assets/", "robotctl:assets/")
    (tasks.parent / "scene.yaml").write_text(scene.replace("regions:\n", REGIONS))
    for name in TASKS:
        text = (packaged / "tasks" / f"{name}.yaml").read_text()
        (tasks / f"{name}.yaml").write_text(text.replace("../../guardrails/", "robotctl:guardrails/"))
    (tasks / "strict.yaml").write_text(STRICT)
    return tasks


def _write_walkers(folder: Path, seed: int) -> Path:
    """One or two people who walk through where the robot works, and through the robot."""
    generator = np.random.default_rng([seed, 71])
    lines = ["schema: robotctl/people.v1", "people:"]
    for i in range(1 + (generator.random() < 0.3)):
        sites = generator.permutation(len(SITES))[:3]
        way = [np.array(DOORS[generator.integers(len(DOORS))])]
        way += [np.array(SITES[k]) + generator.uniform(-0.12, 0.12, 2) for k in sites]
        points = ", ".join(f"{x:.3f} {y:.3f} m" for x, y in way)
        speed, start = generator.uniform(0.4, 1.6), generator.uniform(0, 2.5)
        lines.append(
            f"  - {{name: walker_{i}, path: [{points}], speed: {speed:.2f} m/s, start: {start:.2f} s, loop: true}}"
        )
    path = folder / f"{seed}-walkers.yaml"
    path.write_text("\n".join(lines) + "\n")
    return path
