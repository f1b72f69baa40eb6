"""Sequential quadratic programming on the exact double integrator: from one motion to a better one.

Each iteration evaluates all rows at all knots, linearises the K most critical of each group (constraint
generation), and solves the QP of robotctl.planning.qp for du. The Hessian is the cost's Gauss-Newton one plus the
curvature of the active speed rows (their multipliers come from the QP before). A step is taken if it decreases
the merit phi = cost + mu' max violation per knot and group (l1 over knots, exact for large mu), else shortened;
a full step that does not is given one more QP before (watchdog): Nocedal and Wright 2006, ch. 18.3 to 18.6. The
iterates satisfy the dynamics exactly. A trust region bounds the change of joints and joint speeds.

Two things keep the QP feasible whatever happens: the rows are elastic, and all bounds are widened just enough to
contain the motion that brakes every joint as soon as possible. People may leave no time to move at all: then the
speed bounds of those knots shrink with the time that is left for a brake ("stop time"), down to zero.
"""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from robotctl.planning.cost import EFFORT_WEIGHT, Expansion, ReachCost
from robotctl.planning.qp import solve_qp
from robotctl.planning.row_gradients import linearise, speed_curvature
from robotctl.planning.rows import ALLOWED, MOTION, Evaluation, evaluate
from robotctl.planning.tables import Rules, Tightening
from robotctl.robot import BRAKE, DQ_MAX
from robotctl.state import State
from robotctl.world_model.kinematic import integrate
from robotctl.world_model.world_model import WorldModel

ACCEPTED = 3e-3  # violation of a tightened row that is worth no more iterations [m, m/s]
KEEP = 8  # rows of each group and knot that enter the QP
BACKOFF = np.array([0.002, 0.01])  # the QP keeps this more [m, m/s]: room for curvature, so that full steps are taken
# mu per metre of a place row, per m/s of a motion row. A penalty is exact only above the multipliers: with 400 for
# motions one QP in ten on the way of a hot cup had greater ones, and the cup was planned too fast wherever that paid.
PENALTY = np.array([2000.0, 4000.0])
SPEED_TRUST = 0.8  # bound on the change of a joint speed, as a share of its limit, per unit of trust
TRUST_RANGE = (0.02, 1.5)
STEPS = (0.5, 0.25, 0.1, 0.03)
WATCHDOG = 1.0  # violation [m, m/s] beyond which a full step is not worth a second look
ARMIJO = 1e-3
CONVERGED = (1e-4, 3e-3)  # predicted decrease of the merit, absolute and relative
LIMIT_SHARE = 0.91  # of speed and braking limits: the filter allows 0.92


@dataclass(frozen=True)
class Iterate:
    """One candidate motion with everything evaluated along it."""

    u: np.ndarray  # (H, 10)
    q: np.ndarray  # (H+1, 10) reference
    dq: np.ndarray  # (H+1, 10)
    delta_q: np.ndarray  # (H+1, 10) residual
    delta_dq: np.ndarray  # (H+1, 10)
    rows: Evaluation
    multipliers: np.ndarray  # (H+1, S) of the speed rows, from the QP that led here

    @property
    def q_real(self) -> np.ndarray:
        return self.q + self.delta_q

    @property
    def dq_real(self) -> np.ndarray:
        return self.dq + self.delta_dq

    @property
    def penalty(self) -> float:
        return float((self.rows.violation @ PENALTY).sum())

    @property
    def violation(self) -> float:
        return float(self.rows.violation.max())


class Way(NamedTuple):
    """A motion on the way to the best one."""

    it: Iterate
    seed: str  # where it came from
    converged: bool


@dataclass(frozen=True)
class Limits:
    """Bounds of joints and controls at knots 1..H, widened to contain the quickest brake."""

    speed: np.ndarray  # (10,)
    acceleration: np.ndarray  # (10,)
    low: np.ndarray  # (10,)
    high: np.ndarray  # (10,)
    brake_u: np.ndarray  # (H, 10)
    brake_q: np.ndarray  # (H, 10)
    brake_dq: np.ndarray  # (H, 10)


class Sqp:
    """The program of one planning problem: rows, limits and cost, and the steps from one motion to a better one."""

    def __init__(
        self,
        model: WorldModel,
        state: State,
        rules: Rules,
        tight: Tightening,
        cost: ReachCost,
        limits: Limits,
        free: np.ndarray,
        dt: float,
    ) -> None:
        self.model, self.state, self.rules, self.tight = model, state, rules, tight
        self.cost, self.limits, self.free, self.dt = cost, limits, free, dt
        self.q0, self.dq0 = state.robot.q_ref, state.robot.dq_ref
        self.iterations = 0
        self.no_multipliers = np.zeros((len(tight.position), len(rules.body.radius)))

    def towards(self, cost: ReachCost) -> Sqp:
        """The same program with another cost."""
        other = copy(self)
        other.cost = cost
        return other

    def evaluate(self, u: np.ndarray, multipliers: np.ndarray | None = None) -> Iterate:
        """Everything along the motion of u."""
        q, dq = integrate(self.q0, self.dq0, u, self.dt)
        delta_q, delta_dq = self.model.residual(q, dq, np.concatenate([u, u[-1:]]), self.state)
        rows = evaluate(q + delta_q, dq, self.rules, self.tight, KEEP)
        return Iterate(u, q, dq, delta_q, delta_dq, rows, self.no_multipliers if multipliers is None else multipliers)

    def merit(self, it: Iterate, weights: tuple[np.ndarray, np.ndarray]) -> float:
        return sum(self.cost.terms(it.q, it.dq, it.q_real, it.u, weights).values()) + it.penalty

    def improve(
        self, it: Iterate, trust: float, budget: int, weights: tuple[np.ndarray, np.ndarray] | None = None
    ) -> tuple[Iterate, float, bool]:
        """SQP steps from `it`, at most `budget` QPs: the next iterate, the next trust radius, whether it converged.

        weights: of pose and posture; None: those for where `it` is.

        Usually one QP and its full step. A full step that increases the merit (speeds are norms: from rest the
        rows do not see them) is kept for one more QP from there, and dropped if that does not pay: the watchdog
        technique, Nocedal and Wright 2006, ch. 18.6.
        """
        weights = self.cost.weights(it.q_real) if weights is None else weights
        merit = self.merit(it, weights)
        step = self._direction(it, trust, weights)
        if step is None:
            return it, max(0.3 * trust, TRUST_RANGE[0]), False
        du, multipliers, predicted = step
        done = predicted < CONVERGED[0] + CONVERGED[1] * merit
        full = self._trial(it, du, 1.0, multipliers)
        full_merit = self.merit(full, weights)
        if full_merit <= merit - ARMIJO * max(predicted, 0.0):
            return full, float(np.clip(1.5 * trust, *TRUST_RANGE)), done
        if done:
            return it, trust, True
        if budget > 1 and full.violation < WATCHDOG:
            second = self._direction(full, trust, weights)
            if second is not None:
                corrected = self._trial(full, second[0], 1.0, second[1])
                if self.merit(corrected, weights) <= merit - ARMIJO * predicted:
                    return corrected, trust, False
        for share in STEPS:
            trial = self._trial(it, du, share, multipliers)
            if self.merit(trial, weights) <= merit - ARMIJO * share * predicted:
                return trial, float(np.clip(trust if share >= 0.5 else 0.5 * trust, *TRUST_RANGE)), False
        return it, max(0.2 * trust, TRUST_RANGE[0]), trust <= TRUST_RANGE[0]

    def _direction(
        self, it: Iterate, trust: float, weights: tuple[np.ndarray, np.ndarray]
    ) -> tuple[np.ndarray, np.ndarray, float] | None:
        """The QP's step du (H, 10), multipliers, and the decrease of the merit it promises; None if it failed."""
        self.iterations += 1
        ddq = np.concatenate([it.u, it.u[-1:]])
        by_q, by_dq = self.model.residual_jacobians(it.q, it.dq, ddq, self.state)
        residual = by_q[1:], by_dq[1:]
        rows = linearise(it.q_real, it.dq, self.rules, self.tight, it.rows)[1:]
        expansion = self._expansion(it, rows, residual, weights)
        values = np.where(self._constrains(it.rows), it.rows.value[1:] - BACKOFF[:, None], np.inf)
        step = solve_qp(
            self.dt, self.free, expansion.hessian, expansion.gradient, EFFORT_WEIGHT, it.u, rows, values, residual,
            self._control_bounds(it), self._state_bounds(it, trust), PENALTY,
        )  # fmt: skip
        if step is None:
            return None
        du = np.zeros_like(it.u)
        du[:, self.free] = step.du
        multipliers = np.zeros_like(it.multipliers)
        kind, sphere = it.rows.row[1:, MOTION, :, 0], it.rows.row[1:, MOTION, :, 1]
        knot, i = np.nonzero((kind == ALLOWED) & (step.multipliers[:, MOTION] > 1e-3))
        np.add.at(multipliers, (knot + 1, sphere[knot, i]), step.multipliers[knot, MOTION, i])
        left = np.maximum(step.slack - BACKOFF, 0.0)
        return du, multipliers, it.penalty - float((left @ PENALTY).sum()) + step.decrease

    def _expansion(
        self,
        it: Iterate,
        rows: np.ndarray,
        residual: tuple[np.ndarray, np.ndarray],
        weights: tuple[np.ndarray, np.ndarray],
    ) -> Expansion:
        """The objective about `it`, at knots 1..H; rows (H, 2, K, 20) are its linearised rows."""
        expansion = self.cost.expand(it.q, it.dq, it.q_real, residual, weights)
        expansion.hessian[:, 10:, 10:] += speed_curvature(it.q_real, it.dq, self.rules.body, it.multipliers)[1:]
        return expansion

    def _constrains(self, rows: Evaluation) -> np.ndarray:
        """Which of the rows at knots 1..H are constraints of the QP, (H, 2, K) bool."""
        return rows.row[1:, :, :, 0] >= 0

    def _trial(self, it: Iterate, du: np.ndarray, step: float, multipliers: np.ndarray) -> Iterate:
        u = np.clip(it.u + step * du, -self.limits.acceleration, self.limits.acceleration)
        return self.evaluate(u, multipliers)

    def _control_bounds(self, it: Iterate) -> tuple[np.ndarray, np.ndarray]:
        u, most = it.u[:, self.free], self.limits.acceleration[self.free]
        return -most - u, most - u

    def _state_bounds(self, it: Iterate, trust: float) -> tuple[np.ndarray, np.ndarray]:
        """Bounds on the change of q and dq at knots 1..H; the quickest brake is always within."""
        limits, tiny = self.limits, 1e-4
        q, dq = it.q[1:], it.dq[1:]
        low = np.minimum(np.maximum(limits.low, q - trust), limits.brake_q)
        high = np.maximum(np.minimum(limits.high, q + trust), limits.brake_q)
        time_left = np.minimum(it.rows.stop_time[1:, None], 1e3)
        speed = np.minimum(limits.speed, LIMIT_SHARE * BRAKE * time_left)
        change = SPEED_TRUST * trust * DQ_MAX
        slow = np.minimum(np.maximum(-speed, dq - change), limits.brake_dq)
        fast = np.maximum(np.minimum(speed, dq + change), limits.brake_dq)
        free = self.free
        return (
            np.concatenate([(low - q)[:, free], (slow - dq)[:, free]], axis=1) - tiny,
            np.concatenate([(high - q)[:, free], (fast - dq)[:, free]], axis=1) + tiny,
        )
