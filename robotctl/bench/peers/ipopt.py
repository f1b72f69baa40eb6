"""CasADi and IPOPT with exact Hessians: direct multiple shooting, every shared row at every sample.

IPOPT: Waechter and Biegler 2006. Kinematics, residual network and distances are symbolic per sample and mapped over
the 60 samples, so that derivatives are built once. Building takes seconds per problem and is not in the time.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from robotctl.bench.peers.formulation import COST, FAR, PAD, Spec, specify
from robotctl.bench.peers.peer import Answer
from robotctl.bench.planner_problems import DT, KINDS, STEPS, PlanningProblem
from robotctl.planning.cost import EFFORT_WEIGHT, VELOCITY_WEIGHT
from robotctl.robot import ARM_OFFSETS, DDQ_MAX, DQ_MAX, HAND, T_LINK7_HAND, TCP
from robotctl.world_model.actuators import CONTEXT_LIMIT, SIGN

SMOOTH = 1e-6  # [m^2] under square roots


class Ipopt:
    """One start: the straight motion."""

    name = "ipopt"
    kinds = KINDS

    def solve(self, problem: PlanningProblem, time_limit: float) -> Answer:
        import casadi as ca

        spec = specify(problem)
        began = time.perf_counter()
        solver, start, bounds = _program(ca, spec, time_limit)
        built = time.perf_counter() - began
        begin = time.perf_counter()
        solution = solver(x0=start, **bounds)
        ms = 1e3 * (time.perf_counter() - begin)
        n = len(spec.free)
        x = np.asarray(solution["x"]).reshape(3, STEPS, n)  # columns after one another: q, v, u
        u = np.zeros((STEPS, 10))
        u[:, spec.free] = np.clip(x[2], -DDQ_MAX[spec.free], DDQ_MAX[spec.free])
        stats = solver.stats()
        note = f"{stats['return_status']}, {stats['iter_count']} iterations, built in {built:.1f} s"
        return Answer(ms, u if np.isfinite(u).all() else None, note=note)


def _program(ca: Any, spec: Spec, time_limit: float) -> tuple[Any, np.ndarray, dict[str, np.ndarray]]:
    """The solver, its start, and its bounds."""
    free, n = spec.free, len(spec.free)
    robot = spec.problem.state.robot
    Q, V, U = (ca.MX.sym(name, n, STEPS) for name in "QVU")
    q0, v0 = ca.DM(robot.q_ref[free]), ca.DM(robot.dq_ref[free])
    before_q, before_v = ca.horzcat(q0, Q[:, :-1]), ca.horzcat(v0, V[:, :-1])
    rows, cost = _sample(ca, spec)
    people = [spec.capsule_a.reshape(len(spec.bound), -1).T, spec.capsule_b.reshape(len(spec.bound), -1).T,
              spec.capsule_radius.T, spec.bound[None]]  # fmt: skip
    middle, end = [ca.DM(p[:, ::2]) for p in people], [ca.DM(p[:, 1::2]) for p in people]
    half_q, half_v = before_q + 0.5 * DT * before_v + 0.125 * DT * DT * U, before_v + 0.5 * DT * U
    mapped = rows.map(STEPS)
    g = [
        ca.vec(Q - before_q - DT * before_v - 0.5 * DT * DT * U),
        ca.vec(V - before_v - DT * U),
        ca.vec(mapped(half_q, half_v, U, *middle)),
        ca.vec(mapped(Q, V, U, *end)),
    ]
    objective = ca.sum2(cost.map(STEPS)(Q, V, U, ca.DM(spec.weight[None])))
    nlp = {"x": ca.vertcat(ca.vec(Q), ca.vec(V), ca.vec(U)), "f": objective, "g": ca.vertcat(*g)}
    options = {  # barrier strategy: with "monotone" it solved 1 instead of 8 of the ten problems of seed 0 in 20 s
        "print_time": False,
        "ipopt": {"print_level": 0, "sb": "yes", "max_wall_time": time_limit, "tol": 1e-4, "max_iter": 3000,
                  "mu_strategy": "adaptive"},
    }  # fmt: skip
    solver = ca.nlpsol("peer", "ipopt", nlp, options)
    equal, unequal = 2 * n * STEPS, int(nlp["g"].shape[0]) - 2 * n * STEPS
    guess = spec.guess[:, free]
    v = robot.dq_ref[free] + DT * np.cumsum(guess, axis=0)
    before = np.concatenate([robot.dq_ref[free][None], v[:-1]])
    q = robot.q_ref[free] + np.cumsum(0.5 * DT * (before + v), axis=0)
    start = np.concatenate([q.ravel(), v.ravel(), guess.ravel()])
    low = [spec.low[free], -spec.fastest[free], -DDQ_MAX[free]]
    high = [spec.high[free], spec.fastest[free], DDQ_MAX[free]]
    bounds = {
        "lbx": np.concatenate([np.tile(part, STEPS) for part in low]),
        "ubx": np.concatenate([np.tile(part, STEPS) for part in high]),
        "lbg": np.zeros(equal + unequal),
        "ubg": np.concatenate([np.zeros(equal), np.full(unequal, np.inf)]),
    }
    return solver, start, bounds


def _sample(ca: Any, spec: Spec) -> tuple[Any, Any]:
    """Rows at one sample and the cost at one knot, as functions of the free joints' q, v, u."""
    n, C = len(spec.free), spec.capsule_a.shape[1]
    q_free, v_free, u_free = (ca.SX.sym(name, n) for name in "qvu")
    q, v, u = ca.SX(spec.problem.state.robot.q_ref), ca.SX.zeros(10), ca.SX.zeros(10)
    for i, j in enumerate(spec.free):
        q[int(j)], v[int(j)], u[int(j)] = q_free[i], v_free[i], u_free[i]
    a, b = ca.SX.sym("a", 3 * C), ca.SX.sym("b", 3 * C)
    r, bound = ca.SX.sym("r", C), ca.SX.sym("bound")
    delta_q, delta_v = _residual(ca, spec, q, v, u)
    body = _Body(ca, spec, q + delta_q, v + delta_v)
    g = _rows(ca, spec, body, a, b, r, bound)
    rows = ca.Function("rows", [q_free, v_free, u_free, a, b, r, bound], [ca.cse(ca.vertcat(*g))])

    goal, weight = spec.problem.goal, ca.SX.sym("w")
    position, rotation, posture = COST
    R, o = body.frames[HAND]
    e = o + R @ TCP - goal.position
    turned = 0.5 * (3.0 - ca.sum1(ca.sum2(R * ca.DM(goal.rotation))))
    guided = 0.5 * ca.sum1((q - goal.q) ** 2 * posture)
    value = weight * (0.5 * position * ca.dot(e, e) + rotation * turned + guided)
    value += 0.5 * ca.sum1(v**2 * VELOCITY_WEIGHT) + 0.5 * ca.sum1(u**2 * EFFORT_WEIGHT)
    return rows, ca.Function("cost", [q_free, v_free, u_free, weight], [value])


def _residual(ca: Any, spec: Spec, q: Any, v: Any, u: Any) -> tuple[Any, Any]:
    """robotctl.world_model.actuators, symbolic."""
    actuators, robot = spec.problem.model.actuators, spec.problem.state.robot
    context = actuators.context(robot)
    x = ca.vertcat(q[4:], v / DQ_MAX, u / DDQ_MAX, ca.tanh(v / SIGN), context)
    x = (x - actuators.center) / actuators.spread
    x[-10:] = np.clip((context - actuators.center[-10:]) / actuators.spread[-10:], -CONTEXT_LIMIT, CONTEXT_LIMIT)
    network, total = actuators.network, 0
    members = len(network.weights[0])
    for m in range(members):
        value = x
        for i, (w, b) in enumerate(zip(network.weights, network.biases, strict=True)):
            value = ca.mtimes(ca.DM(w[m].astype(float)), value) + b[m].astype(float)
            value = ca.tanh(value) if i < len(network.weights) - 1 else value
        total = total + value / members
    out = total * actuators.scale
    return actuators.inertia * u - actuators.latency * v + out[:10], out[10:] - actuators.latency * u


class _Body:
    """Frames, twists and spheres at symbolic joints."""

    def __init__(self, ca: Any, spec: Spec, q: Any, v: Any) -> None:
        self._ca, self._spheres = ca, spec.problem.robot.spheres
        self._centers: dict[int, Any] = {}
        self._speeds: dict[int, Any] = {}
        R, o = _about_z(ca, q[2]), ca.vertcat(q[0], q[1], 0)
        self.frames = [(R, o)]
        omega = R[:, 2] * v[2]
        linear = ca.vertcat(v[0], v[1], 0) + ca.cross(o, omega)  # velocity of the body's point at the world's origin
        self._twists = [(linear, omega)]
        for joint in range(7):
            offset = ARM_OFFSETS[joint]
            o = o + R @ offset[:3, 3]
            R = R @ offset[:3, :3] @ _about_z(ca, q[3 + joint])
            turn = R[:, 2] * v[3 + joint]
            omega, linear = omega + turn, linear + ca.cross(o, turn)
            self.frames.append((R, o))
            self._twists.append((linear, omega))
        self.frames.append((R @ T_LINK7_HAND[:3, :3], o + R @ T_LINK7_HAND[:3, 3]))
        self._twists.append(self._twists[-1])

    def center(self, s: int) -> Any:
        if s not in self._centers:
            R, o = self.frames[self._spheres.frame[s]]
            self._centers[s] = o + R @ self._spheres.offset[s]
        return self._centers[s]

    def speed(self, s: int) -> Any:
        """Of the sphere's fastest point."""
        if s not in self._speeds:
            linear, omega = self._twists[self._spheres.frame[s]]
            velocity = linear + self._ca.cross(omega, self.center(s))
            self._speeds[s] = self._length(velocity) + self._length(omega) * self._spheres.radius[s]
        return self._speeds[s]

    def _length(self, vector: Any) -> Any:
        return self._ca.sqrt(self._ca.dot(vector, vector) + SMOOTH)


def _about_z(ca: Any, angle: Any) -> Any:
    c, s = ca.cos(angle), ca.sin(angle)
    return ca.vertcat(ca.horzcat(c, -s, 0), ca.horzcat(s, c, 0), ca.horzcat(0, 0, 1))


def _rows(ca: Any, spec: Spec, body: _Body, a: Any, b: Any, r: Any, bound: Any) -> list[Any]:
    """The shared rows, padding left out; see jax_rows.margins."""
    radius = spec.problem.robot.spheres.radius
    room = bound + PAD[0]

    def length(vector: Any) -> Any:
        return ca.sqrt(ca.dot(vector, vector) + SMOOTH)

    g: list[Any] = []
    for s, center, R, half, asked in zip(
        spec.box_sphere, spec.box_center, spec.box_rotation, spec.box_half, spec.box_room, strict=True
    ):
        if asked > -FAR:
            outside = ca.fabs(ca.mtimes(R.T, body.center(s) - center)) - half
            gap = length(ca.fmax(outside, 0)) + ca.fmin(ca.mmax(outside), 0)
            g.append(gap - radius[s] - asked - room)
    for s, ball in zip(spec.ball_sphere, spec.ball, strict=True):
        if ball[3] > 0.0:
            g.append(length(body.center(s) - ball[:3]) - ball[3] - radius[s] - room)
    for s, other in spec.self_pair:
        g.append(length(body.center(s) - body.center(other)) - radius[s] - radius[other] - PAD[0])
    extra = spec.speed_bound + PAD[1]
    for (s, c), (keep, slope) in zip(spec.people_pair, spec.people_rule, strict=True):
        if keep > -FAR:
            start, end, point = a[3 * c : 3 * c + 3], b[3 * c : 3 * c + 3], body.center(s)
            along = end - start
            t = ca.fmin(ca.fmax(ca.dot(point - start, along) / (ca.dot(along, along) + 1e-9), 0), 1)
            gap = length(point - start - t * along) - r[c] - radius[s] - room
            g.append(slope * (gap - keep) - body.speed(s) - extra)
    for s, limit in zip(spec.speed_sphere, spec.speed_limit, strict=True):
        if limit < FAR:
            g.append(limit - body.speed(s) - extra)
    if spec.tilt > -1.0:
        g.append(ca.dot(body.frames[HAND][0][2, :].T, ca.DM(spec.axis)) - spec.tilt - PAD[0])
    return g
