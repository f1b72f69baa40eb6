"""Runs one skill's story against the state: which phase is on, and when it is reached or given up."""

from __future__ import annotations

import numpy as np

from robotctl.robot import tcp_jacobian, tcp_pose
from robotctl.skills.skill import Outcome, Phase, Reached, Story
from robotctl.state import TICK, State

STILL = 0.02  # reference joint speed below which the robot counts as standing [m/s, rad/s]
STALL = 1.0  # standing this long near the goal ends a phase [s]
PUSHING = 0.25  # pushing this long ends a phase [s]
STRAIN = 0.015  # the hand this far off its reference is pushing against something [m]
LAG = 0.06  # the hand trails its reference by at most this [s]
NEAR = 3.0  # "near" is this many tolerances


def pushes(state: State) -> bool:
    """Whether something keeps the hand from where its reference is: better to give up than to push harder."""
    robot = state.robot
    strain = float(np.linalg.norm(tcp_pose(robot.q)[0] - tcp_pose(robot.q_ref)[0]))
    speed = float(np.linalg.norm(tcp_jacobian(robot.q_ref)[:3] @ robot.dq_ref))
    return strain > STRAIN + LAG * speed


class Executive:
    """Steps through a story: `advance` is called once per control tick."""

    def __init__(self, name: str, story: Story) -> None:
        self.name = name
        self.outcome: Outcome | None = None
        self._story = story
        self._phase: Phase | None = None
        self._moving = 0.0  # time spent moving in this phase [s]
        self._standing = 0.0  # time spent standing in this phase since it last moved [s]
        self._held = 0.0  # time spent within tolerance [s]
        self._pushing = 0.0  # time spent pushing against something [s]

    @property
    def phase(self) -> Phase | None:
        return self._phase

    def advance(self, state: State, waiting: bool) -> Phase | None:
        """The phase to work on now; None once the story has ended (see `outcome`).

        waiting: a guardrail keeps the robot still for now; that time does not count against the phase.
        """
        if self._phase is None and self.outcome is None:
            self._next(None)
        while self._phase is not None:
            verdict = self._judge(self._phase, state, waiting)
            if verdict is None:
                return self._phase
            self._next(Reached(state, verdict, *self._phase.error(state.robot.q)))
        return None

    def _judge(self, phase: Phase, state: State, waiting: bool) -> bool | None:
        """True when reached, False when given up, None while under way."""
        distance, angle = phase.error(state.robot.q)
        self._pushing = self._pushing + TICK if pushes(state) and not phase.frees else 0.0
        if self._pushing > PUSHING:
            return False
        standing = bool(np.all(np.abs(state.robot.dq_ref) < STILL))
        within = distance <= phase.position_tolerance and angle <= phase.angle_tolerance
        if within and (standing or phase.passing):
            self._held += TICK
            return True if self._held > phase.hold else None
        if waiting:
            return None
        self._moving += TICK
        self._standing = self._standing + TICK if standing else 0.0
        if self._standing > STALL:
            near = distance <= NEAR * phase.position_tolerance and angle <= NEAR * phase.angle_tolerance
            if near or self._standing > 4 * STALL:
                return near
        return False if self._moving > phase.patience else None

    def _next(self, reached: Reached | None) -> None:
        self._moving = self._standing = self._held = self._pushing = 0.0
        try:
            self._phase = next(self._story) if reached is None else self._story.send(reached)
        except StopIteration as end:
            self._phase, self.outcome = None, end.value
