"""What planners of any quality may propose, one proposal a tick."""

from __future__ import annotations

import numpy as np

from robotctl.robot import DQ_MAX, HAND, RobotModel, cross, forward
from robotctl.state import N_ACTIONS, N_JOINTS

FAILING = ("none", "nan", "shape")  # for one tick
FAILS = 0.08  # share of ticks
KINDS = ("random", "full", "aimed", "stale", "alternating", "steady", "creeping", "stop")
WEIGHTS = np.array([0.06, 0.09, 0.35, 0.09, 0.08, 0.20, 0.11, 0.02])
CREEP = 1.03  # a creeping planner asks for so much more each tick: it comes to every limit slowly
AIMED_AT_THINGS = 2.0  # furniture stands still: so much more often a planner has to steer at it
KEPT = 0.9  # share of ticks in which a planner stays with its kind
OPENING = 0.0  # the hand stays closed: what it holds stays in it [m]


class Proposals:
    """A planner with a mind of its own."""

    def __init__(self, rng: np.random.Generator, robot: RobotModel, targets: np.ndarray, at_people: bool) -> None:
        """targets (T, 3): points that it may steer at [m]; at_people: it rather steers at people."""
        self._rng = rng
        blade = [i for i, part in enumerate(robot.spheres.part) if part == "blade"]
        held = [i for i, part in enumerate(robot.spheres.part) if part in ("held", "blade")]
        self._robot, self._tips = robot, blade or held or [len(robot.spheres) - 1]
        self._targets, self._at_people = targets, at_people
        weights = WEIGHTS * np.where(np.array(KINDS) == "aimed", 1.0 if at_people else AIMED_AT_THINGS, 1.0)
        self._weights = weights / weights.sum()
        self._kind = self._draw()
        self._said: list[np.ndarray] = []
        self._slowest = -2.0 if at_people else -1.0  # near people only slow motions pass
        self._size = 10.0 ** rng.uniform(self._slowest, 0.0)
        self._wish = self._velocity()

    def _draw(self) -> str:
        return str(self._rng.choice(KINDS, p=self._weights))

    def _velocity(self) -> np.ndarray:
        """A velocity (10,) that the joints can have; most joints rest in some."""
        rng = self._rng
        wish = rng.uniform(-1, 1, N_JOINTS) * DQ_MAX * self._size
        return wish * (rng.uniform(size=N_JOINTS) < rng.choice([0.3, 0.6, 1.0]))

    def propose(self, q: np.ndarray, people: np.ndarray) -> tuple[str, np.ndarray]:
        """Kind and values (11,) for a reference q (10,) and true keypoints (P, J, 3); see `as_given`."""
        rng = self._rng
        if rng.uniform() > KEPT:
            self._kind = self._draw()
            self._size = 10.0 ** rng.uniform(self._slowest, 0.0)
            self._wish = self._velocity()
        kind = str(rng.choice(FAILING)) if rng.uniform() < FAILS else self._kind
        if kind == "aimed":
            velocity = self._aim(q, people)
        elif kind == "random":
            velocity = rng.normal(size=N_JOINTS) * 3.0
        elif kind == "full":
            velocity = np.sign(self._wish) * DQ_MAX
        elif kind == "stale" and self._said:
            velocity = self._said[max(0, len(self._said) - int(rng.integers(3, 10)))][:N_JOINTS]
        elif kind == "alternating":
            self._wish = -self._wish
            velocity = self._wish
        elif kind == "creeping":
            self._wish = CREEP * self._wish
            velocity = self._wish
        elif kind == "stop":
            velocity = np.zeros(N_JOINTS)
        else:
            velocity = self._wish
        values = np.append(velocity, OPENING)
        self._said.append(values)
        return kind, values

    def _aim(self, q: np.ndarray, people: np.ndarray) -> np.ndarray:
        """Moves a tip of what is held straight at the nearest point of anybody, or at a target."""
        rng = self._rng
        tip = self._tips[int(rng.integers(0, len(self._tips)))]
        rotation, origin = forward(q)
        at = origin[HAND] + rotation[HAND] @ self._robot.spheres.offset[tip]
        points = people.reshape(-1, 3) if people.size and self._at_people else self._targets
        if len(points) == 0:
            return self._wish
        points = points - at
        nearest = points[np.argmin((points * points).sum(axis=1))]
        jacobian = np.zeros((3, N_JOINTS))
        jacobian[0, 0] = jacobian[1, 1] = 1.0
        axes = np.concatenate([[[0.0, 0.0, 1.0]], rotation[1:HAND, :, 2]])
        jacobian[:, 2:] = cross(axes, at - origin[:HAND]).T
        way = jacobian.T @ np.linalg.solve(jacobian @ jacobian.T + 1e-3 * np.eye(3), nearest)
        return np.asarray(way * (self._size / max(float(np.max(np.abs(way) / DQ_MAX)), 1e-9)))


def as_given(kind: str, values: np.ndarray) -> np.ndarray | None:
    """What the filter is handed."""
    if kind == "none":
        return None
    if kind == "nan":
        broken = values.copy()
        broken[int(abs(values[0]) * 1e6) % N_ACTIONS] = np.nan
        return broken
    return values[:7] if kind == "shape" else values
