"""This file turns an episode into what can be shown of it: bodies made of triangles, and where each is at every tick.

Everything that moves is shown where it truly was. What was planned, and the tube that the safety filter verified, are
drawn beside it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from robotctl.drawing.bodies import Placed, furniture, people_at, robot_at, things_at
from robotctl.drawing.camera import middle_of
from robotctl.drawing.shapes import Mesh
from robotctl.episode.bundle import ATTACHMENT, unbundled
from robotctl.episode.reader import EpisodeLog
from robotctl.errors import InvalidFileError, UsageError
from robotctl.replay.certified import Certified, Moment
from robotctl.task import load_task


@dataclass(frozen=True)
class Stage:
    """An episode to look at."""

    fixed: tuple[Mesh, ...]  # the room and its furniture, in the world
    placed: Placed  # everything that moves
    time: np.ndarray  # (T,) [s]
    plans: tuple[np.ndarray, ...]  # of every tick the planned way of the hand, (n, 3) [m]; (0, 3) without a plan
    certified: Certified  # draws what the filter verified in a tick
    steps: tuple[Moment, ...]  # what it needs for that
    middle: np.ndarray  # (3,) what to look at [m]
    extent: float  # how wide the scene is [m]
    labels: dict[str, str] = field(default_factory=dict)  # names of people, by the body to write them over

    def tube(self, tick: int) -> np.ndarray:
        """Spheres x y z r (n, 4) that hold hand and load from a tick on until they stand [m]; see certified.py."""
        return self.certified.tube(self.steps[tick])


BEAD = 0.01  # [m]
BEADS = 60  # at most


def beads(way: np.ndarray) -> np.ndarray:
    """A way (n, 3) as a string of spheres x y z r (m, 4) [m]; (0, 4) if it leads nowhere."""
    far = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(way, axis=0), axis=1))]) if len(way) else np.zeros(1)
    if far[-1] < BEAD:
        return np.zeros((0, 4))
    at = np.linspace(0.0, far[-1], min(BEADS, 2 + int(far[-1] / (2 * BEAD))))
    return np.column_stack([*(np.interp(at, far, way[:, d]) for d in range(3)), np.full(len(at), BEAD)])


def stage(log: EpisodeLog, start: float = 0.0, end: float = np.inf) -> Stage:
    """The stage of an episode from `start` to `end` [s]; its scene comes from the log."""
    if ATTACHMENT not in log.attachments:
        raise InvalidFileError(f"{log.path}: no attachment '{ATTACHMENT}': there is no scene to show")
    with unbundled(log.attachments[ATTACHMENT]) as files:
        scene = load_task(files.task).scene
        certified = Certified(log, scene, files)
        time, q, opening, position, quaternion, keypoints = [], [], [], [], [], []
        plans: list[np.ndarray] = []
        moments: list[Moment] = []
        people: tuple[str, ...] = ()
        for step in log.steps:
            if not start <= step.observation.time <= end:
                continue
            truth = step.truth
            people = truth.person_names
            time.append(step.observation.time)
            q.append(truth.q[0])
            opening.append(truth.opening[0])
            position.append(truth.object_position[0])
            quaternion.append(truth.object_quaternion[0])
            keypoints.append(truth.keypoints[0])
            made = step.plan is not None and step.plan.fresh
            held_over = plans[-1] if plans and step.plan is not None else np.zeros((0, 3))
            plans.append(step.plan.path if made and step.plan is not None else held_over)
            moments.append(Moment(step.state.time, step.state.robot, step.verdict.action))
        if not time:
            raise UsageError(f"{log.path}: nothing between {start:g} s and {end:g} s; it lasts {log.duration:.2f} s")
        placed = (
            robot_at(np.array(q), np.array(opening))
            + things_at(scene, np.array(position), np.array(quaternion))
            + people_at(people, np.array(keypoints))
        )
        fixed = furniture(scene)
    middle, extent = middle_of(scene)
    return Stage(
        fixed=fixed,
        placed=placed,
        time=np.array(time),
        plans=tuple(plans),
        certified=certified,
        steps=tuple(moments),
        middle=middle,
        extent=extent,
        labels={f"people/{name}/head": name for name in people},
    )
