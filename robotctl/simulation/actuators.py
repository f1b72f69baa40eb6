"""How the drives follow their reference: late, through a position loop of finite stiffness, without knowing payloads.

The reference is an exact double integrator: the commanded velocity is interpolated linearly over each tick, and the
position is its integral. The drives see it `latency` seconds late and apply a computed torque (Siciliano et al.,
"Robotics", 2009, eq. 8.57) with the robot's own model, so that friction and payload make the real robot trail and sag.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import numpy as np

from robotctl.robot import STROKE
from robotctl.scene import Actuators
from robotctl.state import TICK

FINGER_SPEED = 0.1  # largest rate of the commanded opening [m/s]

InverseDynamics = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]  # (q, dq, ddq), each (10,) -> (10,)


class Reference:
    """Joint positions that integrate linearly interpolated velocity commands; standing still before time 0."""

    def __init__(self, position: np.ndarray, memory: float) -> None:
        """position (10,) at time 0; `memory` [s]: how far back `at` can look."""
        self.position = np.array(position, float)  # at the end of the last tick
        self.velocity = np.zeros_like(self.position)
        self._ticks = 0
        rest = (self.position.copy(), np.zeros_like(self.position), np.zeros_like(self.position))
        self._knots = deque([rest], maxlen=int(memory / TICK) + 3)  # position, velocity, acceleration at tick starts

    def command(self, velocity: np.ndarray) -> None:
        """Adds a tick that ends with `velocity` (10,)."""
        acceleration = (velocity - self.velocity) / TICK
        self._knots.append((self.position, self.velocity, acceleration))
        self.position = self.position + 0.5 * TICK * (self.velocity + velocity)
        self.velocity = np.array(velocity, float)
        self._ticks += 1

    def at(self, time: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Position, velocity and acceleration of the reference at `time`, (10,) each."""
        tick = int(np.floor(time / TICK + 1e-9))
        back = self._ticks - 1 - tick
        if tick < 0 or back >= len(self._knots):
            position, _, _ = self._knots[0]
            return position, np.zeros_like(position), np.zeros_like(position)
        if back < 0:
            return self.position, self.velocity, np.zeros_like(self.position)
        position, velocity, acceleration = self._knots[len(self._knots) - 1 - back]
        s = time - tick * TICK
        return position + s * (velocity + 0.5 * s * acceleration), velocity + s * acceleration, acceleration


class Drives:
    """Torques of the ten joints and the target of the fingers."""

    def __init__(self, actuators: Actuators, position: np.ndarray, opening: float, dynamics: InverseDynamics) -> None:
        self.reference = Reference(position, actuators.latency)
        self.opening = opening  # commanded to the fingers now [m]
        self._wanted_opening = opening
        self._actuators = actuators
        self._dynamics = dynamics
        self._kp = actuators.stiffness**2
        self._kd = 2.0 * actuators.damping * actuators.stiffness

    def command(self, action: np.ndarray) -> None:
        """Takes the action (11,) of the tick that begins now."""
        self.reference.command(action[:10])
        self._wanted_opening = float(np.clip(action[10], 0.0, STROKE))

    def torque(self, time: float, q: np.ndarray, dq: np.ndarray) -> np.ndarray:
        """tau = ID(q, dq, ddq_ref + Kp (q_ref - q) + Kd (dq_ref - dq)), limited, (10,) [N, N m]."""
        q_ref, dq_ref, ddq_ref = self.reference.at(time - self._actuators.latency)
        wanted = ddq_ref + self._kp * (q_ref - q) + self._kd * (dq_ref - dq)
        limit = self._actuators.torque_limit
        return np.clip(self._dynamics(q, dq, wanted), -limit, limit)

    def finger_target(self, dt: float) -> float:
        """The opening the fingers are sent to, which follows its command at a limited rate [m]."""
        change = np.clip(self._wanted_opening - self.opening, -FINGER_SPEED * dt, FINGER_SPEED * dt)
        self.opening += float(change)
        return self.opening
