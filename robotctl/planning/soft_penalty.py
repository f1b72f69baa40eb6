"""The usual practice, to compare with: guardrails as weighted costs in the objective instead of constraints.

    minimise    sum_k cost(q_k, dq_k, u_k)  +  sum_i w_i max(0, -g_i(q_k, dq_k))^2
    subject to  the dynamics, the joints' limits, and the contacts that no guardrail speaks of

The rows g_i are those of robotctl.planning.rows, with the same predictions of people and the bounds of the world
model, but without the room that a safety filter would ask for: there is none. Motions are compared by their total cost,
and a plan is carried out whatever it violates.

A quadratic penalty is the common choice because it is smooth (Nocedal and Wright 2006, ch. 17.1); its weight is tuned
by hand until tasks go well. WEIGHT is such a compromise: a row that is 1 cm too deep or 0.1 m/s too fast costs at a
knot as much as a hand 26 cm away from its goal, and tasks succeed in 60 % of the time that constraints and a filter
take. What the weight w of motion rows does, on `kitchen/put-away-knife` without a filter, seeds 1000 to 1002 (all
succeed; no guardrails at all: 7.9 s, 2.03 m/s too fast at worst):

    w               2       20      200     2000
    median time     8.5 s   9.7 s   13.8 s  18.9 s
    violate         3 of 3  3 of 3  1 of 3  1 of 3
    deepest [m/s]   0.75    0.24    0.11    0.05
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from robotctl.guardrails.guardrail import Assumptions, Guardrail
from robotctl.objectives.reach import ReachGoal
from robotctl.planning.cost import Expansion
from robotctl.planning.plan import Plan, Status
from robotctl.planning.rows import ALLOWED, BOX, DEAD, STOP, TILT, Evaluation, evaluate
from robotctl.planning.sqp import KEEP, Iterate, Sqp
from robotctl.planning.tables import OWN, Rules, Solid
from robotctl.planning.trajectory_optimizer import TrajectoryOptimizer
from robotctl.robot import RobotModel
from robotctl.state import State
from robotctl.world_model.kinematic import integrate
from robotctl.world_model.world_model import WorldModel

WEIGHT = np.array([2e4, 200.0])  # w per m^2 of a place row, per (m/s)^2 of a motion row
ROWS = 2 * KEEP  # of each group and knot that count: costs must not crowd out what is still a constraint


@dataclass(frozen=True)
class SoftIterate(Iterate):
    """A candidate motion and what its violations of guardrails cost."""

    toll: float = 0.0


class SoftSqp(Sqp):
    """The same program with the guardrails' rows in the objective."""

    def evaluate(self, u: np.ndarray, multipliers: np.ndarray | None = None) -> SoftIterate:
        """Everything along the motion of u. Its `violation` is of the rows that are still constraints."""
        q, dq = integrate(self.q0, self.dq0, u, self.dt)
        delta_q, delta_dq = self.model.residual(q, dq, np.concatenate([u, u[-1:]]), self.state)
        rows = evaluate(q + delta_q, dq, self.rules, self.tight, ROWS)
        soft = _soft(rows, self.rules)
        toll = float((WEIGHT[:, None] * np.minimum(np.where(soft, rows.value, 0.0), 0.0) ** 2).sum())
        hard = np.where(soft | (rows.row[..., 0] < 0), np.inf, rows.value).min(axis=2)
        rows = rows._replace(
            violation=np.where(np.isfinite(rows.violation), np.maximum(-hard - DEAD, 0.0), rows.violation),
            stop_time=np.full_like(rows.stop_time, np.inf),  # people do not bound the joints' speed
        )
        multipliers = self.no_multipliers if multipliers is None else multipliers
        return SoftIterate(u, q, dq, delta_q, delta_dq, rows, multipliers, toll)

    def merit(self, it: Iterate, weights: tuple[np.ndarray, np.ndarray]) -> float:
        assert isinstance(it, SoftIterate)
        return super().merit(it, weights) + it.toll

    def _constrains(self, rows: Evaluation) -> np.ndarray:
        return super()._constrains(rows) & ~_soft(rows, self.rules)[1:]

    def _expansion(
        self,
        it: Iterate,
        rows: np.ndarray,
        residual: tuple[np.ndarray, np.ndarray],
        weights: tuple[np.ndarray, np.ndarray],
    ) -> Expansion:
        """With the Gauss-Newton terms of the penalty: gradient 2 w g g', Hessian 2 w g' g'^T where g < 0."""
        expansion = super()._expansion(it, rows, residual, weights)
        value = np.where(_soft(it.rows, self.rules), np.minimum(it.rows.value, 0.0), 0.0)[1:]
        by_q, by_dq = residual
        slope = rows[..., :10]  # by where the joints really are: q + residual(q, dq)
        slope = np.concatenate(
            [
                slope + np.einsum("hgki,hij->hgkj", slope, by_q),
                rows[..., 10:] + np.einsum("hgki,hij->hgkj", slope, by_dq),
            ],
            axis=-1,
        )
        slope = np.where((value < 0.0)[..., None], slope, 0.0)
        gradient = np.einsum("g,hgk,hgki->hi", 2.0 * WEIGHT, value, slope)
        hessian = np.einsum("g,hgki,hgkj->hij", 2.0 * WEIGHT, slope, slope, optimize=True)
        return Expansion(expansion.gradient + gradient, expansion.hessian + hessian)


class SoftPenaltyPlanner:
    """Our optimizer with the guardrails as costs."""

    def __init__(
        self, guardrails: Sequence[Guardrail], model: WorldModel, assumptions: Assumptions, boxes: Sequence[Solid]
    ) -> None:
        self._optimizer = TrajectoryOptimizer(guardrails, model, assumptions, boxes, for_filter=False, program=SoftSqp)

    def plan(
        self,
        state: State,
        guess: Plan | None,
        goal: ReachGoal,
        robot: RobotModel,
        skill: str,
        obstacles: np.ndarray,
        *,
        attempt: int = 0,
    ) -> Plan:
        """The motion of least total cost: solved, whatever it violates."""
        plan = self._optimizer.plan(state, guess, goal, robot, skill, obstacles, attempt=attempt)
        return plan if plan.trajectory is None else replace(plan, status=Status.SOLVED)

    def warm_up(self) -> None:
        self._optimizer.warm_up()


def _soft(rows: Evaluation, rules: Rules) -> np.ndarray:
    """Which rows speak for a guardrail, (H+1, 2, K) bool; end stops are bounds of the joints anyway."""
    kind, second = rows.row[..., 0], rows.row[..., 2]
    of_guardrail = np.append(rules.solids.owner < rules.owners - len(OWN), False)
    box = (kind == BOX) & of_guardrail[np.where(kind == BOX, second, -1)]
    return box | (kind == ALLOWED) | (kind == STOP) | (kind == TILT)
