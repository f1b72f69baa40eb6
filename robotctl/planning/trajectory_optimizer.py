"""Finds how the joints should accelerate over the next 3 s: sequential quadratic programming on the exact double
integrator, with every guardrail as an inequality at every knot.

    minimise    sum_k cost(q_k, dq_k, u_k)                                  (robotctl.planning.cost)
    over        u_0 .. u_{H-1}
    subject to  q_{k+1}  = q_k + dt dq_k + dt^2/2 u_k,   q_0 = q_ref        the reference the drives follow
                dq_{k+1} = dq_k + dt u_k,                dq_0 = dq_ref
                |u_k| <= min(DDQ_MAX, share BRAKE),  |dq_k| <= share DQ_MAX,  Q_MIN <= q_k <= Q_MAX
                g_i(q_k + delta_q, dq_k) >= 0                               (robotctl.planning.rows)

delta_q is the world model's residual: where the joints really are, minus the reference. Speeds are the
reference's, as in the safety filter: drives that trail reach them later, and what they overshoot is in the speed
bound.

With a guess, `plan` is one real-time iteration of robotctl.planning.sqp from the last plan, shifted (Diehl, Bock,
Schloeder 2005, "A real-time iteration scheme for nonlinear optimization in optimal feedback control"). Without one it
tries several seeds. Budgets count iterations, unless a time is given.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from robotctl.guardrails.guardrail import Assumptions, Guardrail, in_force
from robotctl.guardrails.joint_limits import JointLimits
from robotctl.objectives.reach import ReachGoal
from robotctl.planning import seeds
from robotctl.planning.cost import ReachCost
from robotctl.planning.kernels import forward_batch
from robotctl.planning.plan import Plan, no_plan
from robotctl.planning.report import report
from robotctl.planning.route import Route, find_route
from robotctl.planning.sqp import ACCEPTED, LIMIT_SHARE, Iterate, Limits, Sqp, Way
from robotctl.planning.tables import (
    WITHOUT_ROWS,
    Solid,
    Surroundings,
    Tightening,
    bare_tightening,
    boxes_of,
    build,
)
from robotctl.robot import BRAKE, DDQ_MAX, DQ_MAX, Q_MAX, Q_MIN, RobotModel
from robotctl.state import TICK, State
from robotctl.world_model.kinematic import held_bound, integrate
from robotctl.world_model.world_model import HORIZON, MODEL_STEP, WorldModel

TRUST = 0.8  # first bound on the change of a joint [m, rad]
REAL_TIME_ITERATIONS = 3
HEALED = 0.9  # a violation that an iteration leaves larger than this share of it is not tried again
FIRST_ITERATIONS = 6  # of the seed that looks best
PROBE_ITERATIONS = 2  # of each of the others, if that does not get there
FINISH_ITERATIONS = 8  # of the best seeds
FINALISTS = 2
POLISH_ITERATIONS = 8  # of the best one at last, with the weights that all ways have in common
JOINT_MARGIN = 0.03  # from the joints' end stops [m, rad]
NOT_STRAIGHT = 0.003  # [m] how far a sphere may leave the straight line between knots
RESERVE = 0.02  # [m/s] kept from every limit on speeds, so that the filter need not round it off
SPEED_USED = 0.96  # of an allowed speed: what a hand holds may run ahead of it
CURVES = 0.975  # the same without a filter: points go in curves between the knots
CREEP = 0.03  # [m/s] people who allow less than this allow no motion
SEED_SPEED = 0.8  # of the lowest ceiling on speeds that seeds aim at
LEAD = 0.03  # [s] as long as a brake towards furniture may still be off, half a tick and a little
HAND_EXTENT = 0.138  # [m] as in the filter's tube: two points so far apart bound the hand's rotation error
FILTER_REACH = 0.0125  # [s] half the spacing of the filter's samples
HEADWAY = 0.02  # a plan that ends less than this nearer to the goal than it starts makes none [m]
ARRIVED = 0.02  # [m]


class TrajectoryOptimizer:
    """Plans motions of the whole robot under the guardrails."""

    def __init__(
        self,
        guardrails: Sequence[Guardrail],
        model: WorldModel,
        assumptions: Assumptions,
        boxes: Sequence[Solid],
        horizon: int = HORIZON,
        dt: float = MODEL_STEP,
        joints: Sequence[int] = range(10),
        clock: Callable[[], float] = time.perf_counter,
        for_filter: bool = True,
        routes: bool = True,
        program: type[Sqp] = Sqp,
    ) -> None:
        """joints: those that may move; the others stay where they are (3..9: a bolted-down arm).

        for_filter: also keep the room that the safety filter will ask for (its brake, the age of what it sees of
        people), so that it need not step in. Without, a plan keeps the guardrails, and no more.

        routes: look for a way round where the straight one is blocked and no seed gets there.

        program: what becomes of the rows (robotctl.planning.soft_penalty makes costs of them, to compare with).
        """
        self._guardrails = tuple(g for g in guardrails if not isinstance(g, WITHOUT_ROWS))
        self._model = model
        self._assumptions = assumptions
        self._boxes = boxes_of(boxes)
        self._horizon, self._dt = horizon, dt
        self._free = np.array(joints)
        self._times = dt * np.arange(horizon + 1)
        self._clock, self._for_filter, self._routes = clock, for_filter, routes
        self._program = program

    def plan(
        self,
        state: State,
        guess: Plan | None,
        goal: ReachGoal,
        robot: RobotModel,
        skill: str,
        obstacles: np.ndarray | None = None,
        time_budget: float | None = None,
        attempt: int = 0,
    ) -> Plan:
        """The best motion found from the reference of `state` towards `goal`.

        guess: the last plan (one step of dt old); None: a full solve from several seeds.
        obstacles: spheres (n, 4) x y z r [m] of other objects that wrist, hand and what it holds must not touch.
        time_budget: [s] of a full solve, kept to within one QP, and used up for more seeds; None: iterations are
            counted instead, so that the same question has the same answer on every machine.
        attempt: how often plans to this goal have got stuck; each draws another route, round people who stand about.
        """
        deadline = None if time_budget is None else self._clock() + time_budget
        reference = np.concatenate([state.robot.q_ref, state.robot.dq_ref])
        obstacles = np.zeros((0, 4)) if obstacles is None else np.asarray(obstacles, float).reshape(-1, 4)
        if not (np.isfinite(reference).all() and np.isfinite(obstacles).all() and _is_finite(goal)):
            return no_plan(self._dt)
        keypoints, keypoint_bound = self._model.predict_people(state, self._times)
        if not (np.isfinite(keypoints).all() and np.isfinite(keypoint_bound).all()):
            return no_plan(self._dt)
        guardrails = in_force(self._guardrails, robot.held, skill)
        tight = self._tightening()
        limits = self._limits(guardrails, goal, state)
        # When the filter decides about a knot, its newest reading of people is this many steps old.
        age = TICK + self._assumptions.sensing_latency if self._for_filter else 0.0
        delay = int(np.ceil(age / self._dt - 1e-9))
        seen = np.maximum(np.arange(self._horizon + 1) - delay, 0)
        around = Surroundings(
            boxes=self._boxes,
            obstacles=obstacles,
            keypoints=keypoints[seen],
            keypoint_bound=keypoint_bound[seen],
            keypoint_speed=self._assumptions.reckoned_speed(),
            object_error=self._assumptions.object_error,
            low=limits.low,
            high=limits.high,
            position_bound=float(tight.position.max()),
        )
        if goal.q is not None and len(self._free) < len(state.robot.q_ref):
            guide = state.robot.q_ref.copy()
            guide[self._free] = np.asarray(goal.q, float)[self._free]
            goal = replace(goal, q=guide)
        at = [state.robot.q_ref] + ([] if goal.q is None else [np.asarray(goal.q, float)])
        rules = build(guardrails, robot, around, at)
        problem = self._program(self._model, state, rules, tight, self._cost(goal, None), limits, self._free, self._dt)
        route: Route | None = None
        if guess is None or guess.trajectory is None:
            problem, best, route = self._full(problem, goal, attempt, deadline)
        else:
            if guess.route is not None:
                route = guess.route.rest(problem.q0)
                problem = problem.towards(self._cost(goal, route))
            best = self._real_time(problem, guess)
        stalled = 0
        if goal.position is not None or goal.q is not None:
            present, final = problem.cost.error(best.it.q_real[0]), problem.cost.error(best.it.q_real[-1])
            if final > ARRIVED and present - final < HEADWAY:
                stalled = 1 + (guess.stalled if guess is not None else 0)
        people = keypoints, keypoint_bound, self._assumptions.reckoned_speed()
        return report(problem, best, guardrails, people, stalled, route)

    def warm_up(self) -> None:
        """Compiles (or loads from the cache) everything a plan needs, before the clock starts."""
        from robotctl.robot import HOME
        from robotctl.state import RobotState

        still = np.zeros(10)
        state = State(0.0, RobotState(HOME, still, HOME, still, 0.0))
        none, at_hand = RobotModel(), ReachGoal(np.array([0.5, 0.0, 0.8]), np.eye(3), HOME)
        first = self.plan(state, None, at_hand, none, "none")
        self.plan(state, first, ReachGoal(q=HOME), none, "none")
        if self._routes:
            far = HOME.copy()
            far[0] = 4.0
            self.plan(state, None, ReachGoal(q=far), none, "none", np.array([[2.0, 0.0, 0.7, 0.5]]))  # round a ball

    # -- where to start -------------------------------------------------------------------------------------

    def _track(self, problem: Sqp, path: np.ndarray) -> Iterate:
        limits = problem.limits
        u = seeds.track(
            problem.q0, problem.dq0, path, limits.speed, limits.low, limits.high, limits.acceleration, self._dt
        )
        return problem.evaluate(u)

    def _in_time(self, problem: Sqp, path: np.ndarray) -> np.ndarray:
        """The path, slowed down to the ceiling that guardrails put on any point's speed."""
        ceiling = problem.rules.motion.v_max
        if not len(ceiling):
            return path
        points = forward_batch(path)[1][:, [3, 4, 6, 8]]  # upper arm, elbow, wrist, hand
        fastest = np.linalg.norm(np.diff(points, axis=0), axis=2).max() / self._dt
        return seeds.slowed(path, fastest / (SEED_SPEED * float(ceiling.min())))

    def _real_time(self, problem: Sqp, guess: Plan) -> Way:
        """One iteration from the last plan, one step on; a few more while a guardrail is violated."""
        on_plan = (
            np.abs(problem.q0 - guess.q_ref[1]).max() < 1e-6 and np.abs(problem.dq0 - guess.dq_ref[1]).max() < 1e-6
        )
        if on_plan:
            last = np.clip(-guess.dq_ref[-1] / self._dt, -problem.limits.acceleration, problem.limits.acceleration)
            multipliers = problem.no_multipliers
            if guess.multipliers.shape == multipliers.shape:  # or else the hand has gripped or released something
                multipliers = np.concatenate([guess.multipliers[1:], guess.multipliers[-1:]])
            it = problem.evaluate(np.concatenate([guess.ddq_ref[1:], last[None]]), multipliers)
        else:
            limits = problem.limits
            following = seeds.rejoined(guess.q_ref, guess.dq_ref, problem.q0)
            it = problem.evaluate(
                seeds.follow(
                    problem.q0, problem.dq0, *following, limits.speed, limits.low, limits.high, limits.acceleration,
                    self._dt,
                )
            )  # fmt: skip
        trust, converged = TRUST, False
        for _ in range(REAL_TIME_ITERATIONS):
            left = REAL_TIME_ITERATIONS - problem.iterations if it.violation > ACCEPTED else 1
            before = it.violation
            it, trust, converged = problem.improve(it, trust, left)
            if converged or it.violation <= ACCEPTED or problem.iterations >= REAL_TIME_ITERATIONS:
                break  # a step to a motion that holds: the next call goes on from there
            if it.violation > HEALED * before:
                break  # what is violated is past mending, as where the robot is in the next tenth of a second
        seed = "shifted"
        if it.violation > ACCEPTED:
            still = problem.evaluate(problem.limits.brake_u)
            if self._score(problem, still) < self._score(problem, it):
                it, seed = still, "brake"
        return Way(it, seed, converged)

    def _full(
        self, problem: Sqp, goal: ReachGoal, attempt: int, deadline: float | None
    ) -> tuple[Sqp, Way, Route | None]:
        """The best motion from the seeds; if they do not get there, along a route round what is in the way.

        Answers the problem solved, too: a route changes its cost.
        """
        best: Way | None = None
        if not (self._routes and self._is_far(problem, goal)):
            best = self._cold(problem, goal, deadline)
            if not self._routes or goal.q is None or problem.cost.error(best.it.q_real[-1]) <= ARRIVED:
                return problem, best, None
        route = find_route(
            problem.rules, float(problem.tight.position.max()), problem.q0, np.asarray(goal.q, float), self._free,
            attempt, lambda: deadline is None or self._clock() < deadline,
        )  # fmt: skip
        if route is None:
            return problem, best or self._cold(problem, goal, deadline), None
        problem = problem.towards(self._cost(goal, route))
        return problem, self._along(problem, route, deadline), route

    def _is_far(self, problem: Sqp, goal: ReachGoal) -> bool:
        """Whether not even the straight way to the goal's posture fits into the horizon."""
        if goal.q is None:
            return False
        return seeds.duration(problem.q0, np.asarray(goal.q, float), problem.limits.speed, DDQ_MAX) > self._times[-1]

    def _cold(self, problem: Sqp, goal: ReachGoal, deadline: float | None) -> Way:
        """The most promising seed, if it gets there; else a few iterations from every seed, the best carried on.

        What is left of a time budget goes into the seeds that were given up.
        """
        starts = [Way(problem.evaluate(problem.limits.brake_u), "brake", False)]
        if goal.q is not None:
            ways = seeds.seed_paths(
                problem.q0, np.asarray(goal.q, float), problem.limits.speed, self._horizon, self._dt
            )
            starts += [Way(self._track(problem, self._in_time(problem, path)), name, False) for name, path in ways]

        def by_score(ways: list[Way]) -> list[Way]:
            return sorted(ways, key=lambda way: self._score(problem, way.it))

        def polished(way: Way) -> Way:
            return self._iterate(problem, way, POLISH_ITERATIONS, deadline, problem.cost.common_weights())

        first, *others = by_score(starts)
        first = self._iterate(problem, first, FIRST_ITERATIONS, deadline)
        if first.it.violation <= ACCEPTED and problem.cost.error(first.it.q_real[-1]) <= ARRIVED:
            best = polished(first)  # it gets there: no other way need be tried
        else:
            others = by_score([first] + [self._iterate(problem, way, PROBE_ITERATIONS, deadline) for way in others])
            finalists, others = others[:FINALISTS], others[FINALISTS:]
            best = by_score([self._iterate(problem, way, FINISH_ITERATIONS, deadline) for way in finalists])[0]
            best = polished(best)
        for way in others if deadline is not None else []:
            best = by_score([best, polished(self._iterate(problem, way, FINISH_ITERATIONS, deadline))])[0]
        return best

    def _cost(self, goal: ReachGoal, route: Route | None) -> ReachCost:
        return ReachCost(goal, self._horizon, None if route is None else route.guide(self._horizon + 1, self._dt))

    def _along(self, problem: Sqp, route: Route, deadline: float | None) -> Way:
        """The motion that follows the route's guide."""
        path = self._in_time(problem, route.guide(self._horizon + 1, self._dt).q)
        tracked, still = self._track(problem, path), problem.evaluate(problem.limits.brake_u)
        best = min(Way(tracked, "route", False), Way(still, "brake", False), key=lambda w: self._score(problem, w.it))
        return self._iterate(problem, best, FINISH_ITERATIONS, deadline)

    def _score(self, problem: Sqp, it: Iterate) -> float:
        """The merit with one set of weights for all, so that different seeds compare."""
        return problem.merit(it, problem.cost.common_weights())

    def _iterate(
        self,
        problem: Sqp,
        way: Way,
        budget: int,
        deadline: float | None,
        weights: tuple[np.ndarray, np.ndarray] | None = None,
    ) -> Way:
        """The way after at most `budget` QPs; one that has converged goes on only with other weights."""
        it, converged, trust = way.it, way.converged and weights is None, TRUST
        end = problem.iterations + budget
        while problem.iterations < end and not converged and (deadline is None or self._clock() < deadline):
            it, trust, converged = problem.improve(it, trust, end - problem.iterations, weights)
        return Way(it, way.seed, converged)

    # -- what holds -----------------------------------------------------------------------------------------

    def _tightening(self) -> Tightening:
        """As strict as the model's calibrated error asks, and as the safety filter will be."""
        a, model = self._assumptions, self._model
        position = np.maximum(held_bound(model.position_bound, self._horizon + 1), a.tracking_error)
        speed = np.full(self._horizon + 1, max(float(model.speed_bound), a.tracking_speed_error))
        if not self._for_filter:
            bare = bare_tightening(position + NOT_STRAIGHT, speed)
            turned = 2.0 * a.tracking_error / HAND_EXTENT
            return bare._replace(spread=0.5 * self._dt, rotation=turned, used=CURVES)
        return Tightening(
            position=position + NOT_STRAIGHT,
            speed=speed + RESERVE,
            spread=0.5 * self._dt,
            reach=FILTER_REACH,
            lead=LEAD,
            tick=TICK,
            brake=LIMIT_SHARE * BRAKE,
            rotation=2.0 * a.tracking_error / HAND_EXTENT,
            latency=a.sensing_latency + a.actuation_latency + FILTER_REACH + TICK,
            bend=(2.0 * FILTER_REACH) ** 2 / 8.0,
            creep=CREEP,
            used=SPEED_USED,
        )

    def _limits(self, guardrails: Sequence[Guardrail], goal: ReachGoal, state: State) -> Limits:
        share = min((g.fraction for g in guardrails if isinstance(g, JointLimits)), default=1.0)
        margin = JOINT_MARGIN + max((g.position_error for g in guardrails if isinstance(g, JointLimits)), default=0.0)
        acceleration = np.minimum(DDQ_MAX, LIMIT_SHARE * share * BRAKE)
        brake_u = seeds.brake(state.robot.dq_ref, acceleration, self._horizon, self._dt)
        brake_q, brake_dq = integrate(state.robot.q_ref, state.robot.dq_ref, brake_u, self._dt)
        return Limits(
            speed=DQ_MAX * LIMIT_SHARE * share * float(np.clip(goal.speed_scale, 0.02, 1.0)),
            acceleration=acceleration,
            low=Q_MIN + margin,
            high=Q_MAX - margin,
            brake_u=brake_u,
            brake_q=brake_q[1:],
            brake_dq=brake_dq[1:],
        )


def _is_finite(goal: ReachGoal) -> bool:
    return all(part is None or np.isfinite(part).all() for part in (goal.position, goal.rotation, goal.q))
