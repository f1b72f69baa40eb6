"""The filter's brake, from the largest speeds of each joint and of all: when and where the robot is at rest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from robotctl.guardrails.guardrail import Assumptions
from robotctl.judge.judge import REST
from robotctl.judge.machine import poses
from robotctl.judge.monitor import landmarks
from robotctl.robot import BRAKE, DQ_MAX, Q_MAX, Q_MIN
from robotctl.state import N_JOINTS, TICK
from robotctl.verify.check import Check, at_most
from robotctl.verify.rig import Recording, Rig
from robotctl.verify.tracking import delay_steps

RUN_UP = 0.8  # at most, for the joints to get to their speed [s]
AFTER = 0.4  # the robot is looked at for this long after its reference has come to rest [s]


@dataclass(frozen=True)
class Brake:
    """One brake: run-up, brake and rest, and the rows where the brake begins and where the reference is at rest."""

    recording: Recording
    begin: int
    rest: int

    @property
    def run_up(self) -> Recording:
        """The rows before the brake."""
        return self.recording.part(0, self.begin)

    def from_brake(self, assumed: Assumptions) -> Recording:
        """The rows from the brake on, and as many before as a delay looks back."""
        return self.recording.part(max(0, self.begin - delay_steps(assumed, self.recording.dt) - 1))


def ways(count: int, generator: np.random.Generator) -> list[np.ndarray]:
    """Velocities (10,) as shares of the limits: each joint alone, then `count` times all joints, either way."""
    alone = [np.eye(N_JOINTS)[j] for j in range(N_JOINTS)]
    return alone + [generator.choice([-1.0, 1.0], N_JOINTS) for _ in range(count)]


def brake(rig: Rig, way: np.ndarray, opening: float) -> Brake:
    """Speeds up along `way`, each joint towards the farther end of its range, and brakes; the rig is at rest before."""
    start = rig.steps
    q = rig.state.robot.q_ref
    toward = np.where(np.arange(N_JOINTS) < 3, 1.0, np.where(q > 0.5 * (Q_MIN + Q_MAX), -1.0, 1.0))
    room = 0.5 * (Q_MAX - Q_MIN) - np.abs(q - 0.5 * (Q_MIN + Q_MAX))
    tight = room < DQ_MAX**2 / np.where(way == 0, np.inf, BRAKE)
    velocity = DQ_MAX * np.where(tight | (np.abs(way).sum() == 1), np.abs(way) * toward, way)
    proposal = np.append(velocity, opening)
    for _ in range(round(RUN_UP / TICK)):
        before = rig.state.robot.dq_ref.copy()
        rig.step(proposal)
        if np.allclose(rig.state.robot.dq_ref, before, atol=1e-9):
            break
    begin = rig.steps - start
    while rig.moving:
        rig.step(None)
    rest = rig.steps - start
    for _ in range(round(AFTER / TICK)):
        rig.step(np.append(np.zeros(N_JOINTS), opening))
    return Brake(rig.recording().part(start), begin, rest)


def braking_checks(condition: str, brakes: Sequence[Brake], assumed: Assumptions) -> list[Check]:
    """Whether the robot is at rest, and where, when its reference is."""
    late, still, beyond, way = [], [], [], []
    for one in brakes:
        recording = one.recording
        marks = landmarks(poses(np.ascontiguousarray(recording.q), np.zeros(len(recording))))
        final = landmarks(poses(np.ascontiguousarray(recording.reference[-1:]), np.zeros(1)))
        speed = np.linalg.norm(np.diff(marks, axis=0), axis=-1).max(axis=1) / recording.dt
        off = np.linalg.norm(marks - final, axis=-1).max(axis=1)
        grace = one.rest + int(np.floor(assumed.actuation_latency / recording.dt + 1e-6))
        beyond.append(off[grace:].max())
        way.append(off[one.rest - 1])
        late.append(_settled(speed, one.rest, assumed.tracking_speed_error) * recording.dt)
        still.append(_settled(speed, one.rest, REST) * recording.dt)
    n = len(brakes)

    def check(name: str, limit: float | None, values: Sequence[float], unit: str, note: str) -> Check:
        return at_most(name, condition, limit, 1e3 * np.array(values), unit, "brakes", n, note)

    slow, latency = assumed.tracking_speed_error, assumed.actuation_latency
    return [
        check("brake_late", 1e3 * latency, late, "ms", f"until all landmarks stay below {1e3 * slow:.0f} mm/s"),
        check("brake_still", None, still, "ms", f"until all landmarks stay below {1e3 * REST:.0f} mm/s"),
        check("brake_way", None, way, "mm", "from the rest of the reference, when the reference comes to rest"),
        check("brake_error", 1e3 * assumed.tracking_error, beyond, "mm", f"from it, {1e3 * latency:.0f} ms later"),
    ]  # fmt: skip


def _settled(speed: np.ndarray, rest: int, slow: float) -> int:
    """Steps after row `rest` until the speed (N-1,) between rows stays below `slow` [m/s]."""
    fast = np.flatnonzero(speed >= slow)
    return max(0, int(fast[-1]) + 2 - rest) if len(fast) else 0
