"""Turns the motion that was found into a plan: its smallest margins, what binds it, and whether it is a solution."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from robotctl.guardrails.guardrail import Guardrail
from robotctl.guardrails.joint_limits import JointLimits
from robotctl.planning.plan import STILL, Margin, Plan, Status, no_plan
from robotctl.planning.route import Route
from robotctl.planning.rows import evaluate
from robotctl.planning.sqp import ACCEPTED, Iterate, Sqp, Way
from robotctl.planning.tables import OWN, bare_tightening, people_rows
from robotctl.robot import RobotModel
from robotctl.trajectory import Sweep, Trajectory
from robotctl.world_model.kinematic import held_bound

TOLERANCE = {"m": 1e-3, "m/s": 1e-2, "1": 2e-3}  # a guardrail counts as kept down to minus this

People = tuple[np.ndarray, np.ndarray, np.ndarray]  # keypoints (H+1, P, J, 3), their bounds, assumed speeds (4,)


def report(
    problem: Sqp, way: Way, guardrails: Sequence[Guardrail], people: People, stalled: int, route: Route | None
) -> Plan:
    """The plan of a motion; `guardrails` are those that the problem's rules were made of."""
    it, seed, converged = way
    if not all(np.isfinite(part).all() for part in (it.u, it.q_real, it.dq_real)):
        return no_plan(problem.dt)
    model, knots = problem.model, len(it.q)
    standing = np.abs(it.dq).max(axis=1) < STILL
    trajectory = Trajectory(
        times=problem.dt * np.arange(knots),
        states=np.concatenate([it.q_real, it.dq_real], axis=1),
        actions=np.concatenate([it.dq[1:], np.full((knots - 1, 1), problem.state.robot.opening)], axis=1),
        keypoints=people[0],
        keypoint_bound=people[1],
        position_bound=held_bound(model.position_bound, knots),
        speed_bound=np.where(standing, 0.0, float(model.speed_bound)),
        acceleration=np.concatenate([it.u, it.u[-1:]]),
    )
    margins = _margins(problem, it, trajectory, guardrails, people[2])
    tolerance = {g.header.id: TOLERANCE[g.unit] for g in guardrails}
    binding = min(margins, key=lambda name: margins[name].value / tolerance[name], default="")
    kept = all(margin.value >= -tolerance[name] for name, margin in margins.items())
    contact = it.rows.worst[1:, len(guardrails) :].min(axis=0)
    if kept and contact.min() < -ACCEPTED:
        binding = OWN[int(np.argmin(contact))]
    return Plan(
        status=Status.SOLVED if kept else (Status.INFEASIBLE if converged or seed == "brake" else Status.TIMEOUT),
        trajectory=trajectory,
        q_ref=it.q,
        dq_ref=it.dq,
        ddq_ref=it.u,
        dt=problem.dt,
        cost=problem.cost.terms(it.q, it.dq, it.q_real, it.u, problem.cost.weights(it.q_real)),
        margins=margins,
        binding=binding,
        violation=it.violation,
        iterations=problem.iterations,
        seed=seed,
        stalled=stalled,
        multipliers=it.multipliers,
        route=route,
    )


def _margins(
    problem: Sqp, it: Iterate, trajectory: Trajectory, guardrails: Sequence[Guardrail], speed: np.ndarray
) -> dict[str, Margin]:
    """Smallest margin of every guardrail, with the model's bounds and without."""
    keypoints, bound = trajectory.keypoints, trajectory.keypoint_bound
    rules = problem.rules._replace(people=people_rows(keypoints, bound, speed))
    tight = bare_tightening(trajectory.position_bound, trajectory.speed_bound)
    worst = evaluate(it.q_real, it.dq_real, rules, tight, 1).worst
    for column, guardrail in enumerate(guardrails):
        if isinstance(guardrail, JointLimits):
            worst[:, column] = guardrail.margin(_joints_only(trajectory), RobotModel()).min(axis=1)
    at = 1 + np.argmin(worst[1:, : len(guardrails)], axis=0)
    # Without the bounds, only where the margins are smallest; the kernel does not look at its first knot.
    k = np.concatenate([[0], np.unique(at)])
    zero = np.zeros(len(k))
    rules = problem.rules._replace(people=people_rows(keypoints[k], 0.0 * bound[k], speed))
    free = evaluate(it.q_real[k], it.dq_real[k], rules, bare_tightening(zero, zero), 1).worst
    margins: dict[str, Margin] = {}
    for column, guardrail in enumerate(guardrails):
        value = float(worst[at[column], column])
        if not np.isfinite(value):
            continue  # nothing of it is near
        without = float(free[np.searchsorted(k, at[column]), column])
        gained = 0.0 if isinstance(guardrail, JointLimits) else without - value
        found = Margin(value, gained, float(trajectory.times[at[column]]), float(worst[1, column]))
        name = guardrail.header.id
        if name not in margins or found.value < margins[name].value:
            margins[name] = found
    return margins


def _joints_only(trajectory: Trajectory) -> Sweep:
    """A sweep without spheres, for guardrails that look at the joints."""
    n = len(trajectory.times)
    none, nowhere = np.zeros((n, 0)), np.zeros((n, 0, 3))
    return Sweep(trajectory, nowhere, none, none, np.zeros((n, 3, 3)), nowhere, nowhere, none)
