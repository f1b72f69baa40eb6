"""Judge and oracle on the same truth: what each says, and whether they agree."""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from oracle.files import World, read_bundle
from oracle.watch import Findings, watch
from robotctl.episode.bundle import ATTACHMENT, MANIFEST
from robotctl.episode.reader import read_episode
from robotctl.guardrails.load import load_guardrails
from robotctl.judge import Judge, JudgeVerdict
from robotctl.state import Truth
from robotctl.task import Task, load_task

# How far two samplings of the same surfaces may be apart, and why; in the unit of the rule's margin.
# Distances: points h apart miss the nearest point of an edge by up to h / 2 sideways: h^2 / (8 (d + r)) to a capsule of
# radius r, and to a box as much as the surface there is curved: 1 mm covers the judge's 10 and 16 mm. Speeds: a missed
# corner, 7 mm from the next point, at the arm's fastest turn of a few rad/s.
TOLERANCE = {
    "separation": 0.010,  # [m/s]
    "blade_speed": 0.010,  # [m/s]
    "hot": 0.010,  # [m/s]
    "clearance": 0.001,  # [m]
    "keep_out": 0.001,  # [m]
    "upright": 1e-6,
    "speed": 0.010,  # [m/s]
    "joint_limits": 1e-6,
}
DISTANCE = 0.001  # [m] of the smallest separation
DEPTH = 0.005  # [m] of a smallest separation below 0: near a capsule's axis, half of the spacing shows in full


@dataclass(frozen=True)
class Said:
    """One rule in one log."""

    rule: str
    kind: str
    judge_worst: float  # inf where the rule never spoke
    oracle_worst: float
    judge_violations: int
    oracle_violations: int
    oracle_range: tuple[int, ...]  # violations if every margin were off by up to the tolerance
    where: str  # the oracle's worst body

    @property
    def same_verdict(self) -> bool:
        return (self.judge_violations > 0) == (self.oracle_violations > 0)

    @property
    def same_count(self) -> bool:
        return self.judge_violations == self.oracle_violations

    @property
    def same_worst(self) -> bool:
        """Within the tolerance; and where one saw nothing, neither did the other."""
        if np.isinf(self.judge_worst) or np.isinf(self.oracle_worst):
            return self.judge_worst == self.oracle_worst
        return abs(self.judge_worst - self.oracle_worst) <= TOLERANCE[self.kind]


@dataclass(frozen=True)
class Comparison:
    """One log."""

    ticks: int
    rules: tuple[Said, ...]
    contacts: tuple[int, int, int, int]  # moving and passive by the judge, moving and passive by the oracle
    separation: tuple[float, float]  # smallest distance to people, by the judge and by the oracle [m]; inf without
    held_differs: int  # ticks
    held_ticks: int  # by the judge


def judged(task: Task, guardrails: object, truths: Iterable[Truth]) -> tuple[JudgeVerdict, list[str | None]]:
    """The judge's verdict and what it took for held after every tick."""
    judge = Judge(task.scene, guardrails, task)  # type: ignore[arg-type]
    held = []
    for truth in truths:
        judge.observe(truth)
        held.append(judge._grip.held)
    return judge.verdict(), held


def compare(task: Task, guardrails: object, world: World, truths: list[Truth]) -> Comparison:
    """What both say of a stream of truth."""
    verdict, held = judged(task, guardrails, truths)
    found = watch(world, truths)
    return compared(world, verdict, held, found)


def compared(world: World, verdict: JudgeVerdict, held: list[str | None], found: Findings) -> Comparison:
    said = []
    for rule in world.rules:
        theirs, tolerance = verdict.by_id[rule.id], TOLERANCE[rule.kind]
        counts = {found.violations_below(rule.id, value) for value in np.linspace(-tolerance, tolerance, 9)}
        said.append(
            Said(
                rule.id, rule.kind,
                np.inf if theirs.worst_margin is None else theirs.worst_margin, found.worst(rule.id),
                theirs.violations, found.violations(rule.id), tuple(sorted(counts)), found.where[rule.id],
            )
        )  # fmt: skip
    nearest = np.inf if verdict.min_separation_m is None else verdict.min_separation_m
    return Comparison(
        ticks=len(held),
        rules=tuple(said),
        contacts=(verdict.contacts_moving, verdict.contacts_passive, found.moving, found.passive),
        separation=(nearest, found.separation),
        held_differs=sum(a != b for a, b in zip(held, found.held, strict=True)),
        held_ticks=sum(name is not None for name in held),
    )


def compare_log(path: Path, folder: Path) -> Comparison:
    """Judge and oracle on an episode file; its attached files are unpacked into `folder`, once for each kind of run."""
    log = read_episode(path)
    data = log.attachments[ATTACHMENT]
    files = folder / hashlib.sha256(data).hexdigest()[:16]
    if not (files / MANIFEST).exists():
        zipfile.ZipFile(io.BytesIO(data)).extractall(files)
    world, manifest = read_bundle(files)
    task = load_task(files / manifest["task"])
    guardrails = load_guardrails([files / name for name in manifest["guardrails"]], task.scene, manifest["relaxed"])
    return compare(task, guardrails, world, [step.truth for step in log.steps])
