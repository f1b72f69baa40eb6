"""Random motions that the safety filter lets through: to the joints' limits, with starts, stops and reversals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from robotctl.geometry import point_box_distance, rotation_z
from robotctl.guardrails.clearance import Clearance
from robotctl.guardrails.guardrail import Guardrail, Header
from robotctl.guardrails.joint_limits import JointLimits
from robotctl.guardrails.keep_out import KeepOut
from robotctl.robot import DQ_MAX, HOME, Q_MAX, Q_MIN, RobotModel
from robotctl.scene import Box
from robotctl.state import N_JOINTS, TICK
from robotctl.trajectory import Sweep

ROOM = 0.02  # kept from the floor and from stands [m]
FOOT, WRIST, FOREARM = 2, 6, 5  # frames: the foot up to its second link, the wrist from its first, the forearm's last
SHARE = 0.8  # of the joints' range that postures are drawn from
HOLDS = (0.10, 0.90)  # how long a random velocity is wanted [s]
WAYS = ("all", "full", "one", "arm", "base", "tremble", "stop", "brake")


@dataclass(frozen=True)
class Apart:
    """Slack of all spheres to the floor, to boxes and to the robot itself, (H+1, m) [m]."""

    boxes: tuple[Box, ...] = ()
    header: Header = field(default_factory=lambda: Header("apart", 2, "so that a motion touches nothing"))
    unit = "m"

    def margin(self, sweep: Sweep, robot: RobotModel) -> np.ndarray:
        center, radius = sweep.center, sweep.radius
        first, second = own_pairs(robot)
        between = np.linalg.norm(center[:, first] - center[:, second], axis=-1) - radius[:, first] - radius[:, second]
        gaps = [(center[..., 2] - radius)[:, robot.spheres.frame > FOOT] - ROOM, between]
        gaps += [
            point_box_distance(center, box.center, rotation_z(box.yaw), box.half) - radius - ROOM for box in self.boxes
        ]
        return np.concatenate(gaps, axis=1)


def own_pairs(robot: RobotModel) -> tuple[np.ndarray, np.ndarray]:
    """Spheres that must not meet: the wrist and the foot, what is held and the arm up to the forearm; (pairs,) each."""
    frame = robot.spheres.frame
    held = np.array([part in ("held", "blade") for part in robot.spheres.part])
    pairs = (frame[:, None] >= WRIST) & (frame <= FOOT) | held[:, None] & (frame <= FOREARM)
    first, second = np.nonzero(pairs)
    return first, second


def free_rules(guardrails: Sequence[Guardrail], boxes: Sequence[Box] = ()) -> tuple[Guardrail, ...]:
    """The file's rules but those on places, for a room that has none of its furniture; joint limits always."""
    kept: list[Guardrail] = [g for g in guardrails if not isinstance(g, Clearance | KeepOut)]
    if not any(isinstance(g, JointLimits) for g in kept):
        kept += limits_only()
    return (*kept, Apart(tuple(boxes)))


def limits_only() -> tuple[Guardrail, ...]:
    """The joints' limits and nothing else."""
    return (JointLimits(Header("joint-limits", 2, "the machine")),)


def random_posture(generator: np.random.Generator) -> np.ndarray:
    """Joints (10,) with the arm anywhere in its range and touching nothing; the base near the origin."""
    robot = RobotModel()
    for _ in range(1000):
        q = 0.5 * (Q_MIN + Q_MAX) + SHARE * (Q_MAX - Q_MIN) * generator.uniform(-0.5, 0.5, N_JOINTS)
        q[:3] = generator.uniform(-1.0, 1.0, 3) * [1.0, 1.0, np.pi]
        if clear(robot, q, 0.05):
            return q
    return HOME.copy()


def clear(robot: RobotModel, q: np.ndarray, room: float) -> bool:
    """Whether the arm in posture q (10,) stays `room` [m] from floor and foot."""
    center = robot.sphere_motion(q[None], np.zeros((1, N_JOINTS)))[0][0]
    radius = robot.spheres.radius
    first, second = own_pairs(robot)
    apart = np.linalg.norm(center[first] - center[second], axis=-1) - radius[first] - radius[second]
    arm = robot.spheres.frame > FOOT
    return bool(np.all(center[arm, 2] - radius[arm] >= room) and np.all(apart >= room))


class Restless:
    """Proposes velocities that change at random; what is too much the filter cuts to the limits."""

    def __init__(self, generator: np.random.Generator, opening: float) -> None:
        self._generator = generator
        self._opening = opening
        self._left = 0
        self._way = "stop"
        self._wanted = np.zeros(N_JOINTS)

    def propose(self) -> np.ndarray | None:
        """The next tick's proposal (11,), or None: brake."""
        generator = self._generator
        if self._left <= 0:
            self._left = max(1, round(generator.uniform(*HOLDS) / TICK))
            self._way = str(generator.choice(WAYS))
            self._wanted = self._draw()
        self._left -= 1
        if self._way == "brake":
            return None
        if self._way == "tremble":
            self._wanted = self._draw()
        return np.append(self._wanted, self._opening)

    def _draw(self) -> np.ndarray:
        generator = self._generator
        some = generator.uniform(-1, 1, N_JOINTS)
        if self._way == "full":
            some = np.sign(some)
        elif self._way == "one":
            some = np.sign(some) * (np.arange(N_JOINTS) == generator.integers(N_JOINTS))
        elif self._way == "arm":
            some[:3] = 0.0
        elif self._way == "base":
            some = np.where(np.arange(N_JOINTS) < 3, np.sign(some), 0.0)
        elif self._way == "stop":
            some = np.zeros(N_JOINTS)
        return some * DQ_MAX
