"""This file turns the shared rows into JAX functions of the accelerations, for the peers that use JAX.

Everything that differs between problems is an argument, padded to one shape, so that each function is compiled once
for 7 and once for 10 joints.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from robotctl.bench.peers.formulation import COST, N_SELF, PAD, Spec
from robotctl.bench.planner_problems import DT, STEPS
from robotctl.geometry import norm, point_box_distance, point_segment_distance
from robotctl.planning.cost import EFFORT_WEIGHT, VELOCITY_WEIGHT
from robotctl.robot import DDQ_MAX, DQ_MAX, HAND, TCP, RobotModel, Spheres
from robotctl.world_model.actuators import CONTEXT_LIMIT, SIGN

jax.config.update("jax_enable_x64", True)  # a violation of 1 mm matters; single precision would do for sampling only
SPHERES = 48  # the robot's spheres are padded to this many
CAPSULES = 16
Data = dict[str, Any]


def as_data(spec: Spec) -> Data:
    """The problem as arrays of fixed shapes."""
    spheres, robot = spec.problem.robot.spheres, spec.problem.state.robot
    goal, actuators = spec.problem.goal, spec.problem.model.actuators
    n, c = SPHERES - len(spheres), CAPSULES - spec.capsule_a.shape[1]
    assert c >= 0, "one person at most"
    apart = np.tile([0, len(spheres) - 1], (max(0, N_SELF - len(spec.self_pair)), 1))
    return {
        "frame": np.pad(spheres.frame, (0, n)),
        "offset": np.pad(spheres.offset, ((0, n), (0, 0))),
        "radius": np.pad(spheres.radius, (0, n)),
        **{
            key: getattr(spec, key)
            for key in (
                "box_sphere", "box_center", "box_rotation", "box_half", "box_room", "ball_sphere", "ball",
                "people_pair", "people_rule", "speed_sphere", "speed_limit", "axis", "bound", "low", "high", "fastest",
                "weight",
            )
        },
        "self_pair": np.concatenate([spec.self_pair, apart]),
        "self_valid": np.arange(N_SELF) < len(spec.self_pair),
        "tilt": np.float64(spec.tilt),
        "speed_bound": np.float64(spec.speed_bound),
        "capsule_a": np.pad(spec.capsule_a, ((0, 0), (0, c), (0, 0)), constant_values=-50.0),
        "capsule_b": np.pad(spec.capsule_b, ((0, 0), (0, c), (0, 0)), constant_values=-50.0),
        "capsule_radius": np.pad(spec.capsule_radius, ((0, 0), (0, c))),
        "q0": robot.q_ref,
        "dq0": robot.dq_ref,
        "goal_position": goal.position,
        "goal_rotation": goal.rotation,
        "goal_q": goal.q,
        "latency": actuators.latency,
        "inertia": actuators.inertia,
        "center": actuators.center,
        "spread": actuators.spread,
        "scale": actuators.scale,
        "context": actuators.context(robot),
        "weights": actuators.network.weights,
        "biases": actuators.network.biases,
    }  # fmt: skip


def residual(q: Any, dq: Any, ddq: Any, data: Data) -> tuple[Any, Any]:
    """robotctl.world_model.actuators in JAX: delta_q and delta_dq (n, 10)."""
    context = jnp.broadcast_to(data["context"], q.shape)
    raw = jnp.concatenate([q[:, 4:], dq / DQ_MAX, ddq / DDQ_MAX, jnp.tanh(dq / SIGN), context], axis=1)
    x = (raw - data["center"]) / data["spread"]
    x = jnp.concatenate([x[:, :-10], jnp.clip(x[:, -10:], -CONTEXT_LIMIT, CONTEXT_LIMIT)], axis=1)
    layers = list(zip(data["weights"], data["biases"], strict=True))
    value = jnp.broadcast_to(x, (layers[0][0].shape[0], *x.shape))
    for i, (w, b) in enumerate(layers):
        value = jnp.einsum("mni,moi->mno", value, w) + b[:, None]
        value = jnp.tanh(value) if i < len(layers) - 1 else value
    out = value.mean(axis=0) * data["scale"]
    return data["inertia"] * ddq - data["latency"] * dq + out[:, :10], out[:, 10:] - data["latency"] * ddq


def rollout(u: Any, data: Data) -> tuple[Any, Any, Any, Any]:
    """Reference q, dq and real q, dq at the samples, (2 H, 10) each, for u (H, 10)."""
    dq = data["dq0"] + DT * jnp.cumsum(u, axis=0)
    before = jnp.concatenate([data["dq0"][None], dq[:-1]])
    q = data["q0"] + jnp.cumsum(0.5 * DT * (before + dq), axis=0)
    start = jnp.concatenate([data["q0"][None], q[:-1]])
    half_q, half_dq = start + 0.5 * DT * before + 0.125 * DT * DT * u, before + 0.5 * DT * u
    q = jnp.stack([half_q, q], axis=1).reshape(2 * STEPS, 10)
    dq = jnp.stack([half_dq, dq], axis=1).reshape(2 * STEPS, 10)
    delta_q, delta_dq = residual(q, dq, jnp.repeat(u, 2, axis=0), data)
    return q, dq, q + delta_q, dq + delta_dq


def margins(q: Any, dq: Any, q_real: Any, dq_real: Any, data: Data) -> dict[str, Any]:
    """Rows by group, (2 H, m) each, safe when >= 0."""
    robot = RobotModel(Spheres(data["frame"], data["offset"], data["radius"], ()))
    center, velocity, turning, hand = robot.sphere_motion(q_real, dq_real)
    radius = data["radius"]
    speed = norm(velocity, 1e-4) + turning * radius + data["speed_bound"] + PAD[1]
    bound = (data["bound"] + PAD[0])[:, None]
    s = data["box_sphere"]
    box = point_box_distance(center[:, s], data["box_center"], data["box_rotation"], data["box_half"])
    s_ball = data["ball_sphere"]
    ball = norm(center[:, s_ball] - data["ball"][:, :3], 1e-6) - data["ball"][:, 3] - radius[s_ball] - bound
    a, b = data["self_pair"][:, 0], data["self_pair"][:, 1]
    own = norm(center[:, a] - center[:, b], 1e-6) - radius[a] - radius[b] - PAD[0]
    s_person, c = data["people_pair"][:, 0], data["people_pair"][:, 1]
    gap = point_segment_distance(center[:, s_person], data["capsule_a"][:, c], data["capsule_b"][:, c])
    gap = gap - data["capsule_radius"][:, c] - radius[s_person] - bound
    allowed = data["people_rule"][:, 1] * (gap - data["people_rule"][:, 0])
    axis_z = hand[:, 2] @ data["axis"]
    return {
        "boxes": box - radius[s] - data["box_room"] - bound,
        "balls": ball,
        "self": jnp.where(data["self_valid"], own, 1.0),
        "people": jnp.maximum(allowed, 0.0) - speed[:, s_person],
        "speed": data["speed_limit"] - speed[:, data["speed_sphere"]],
        "tilt": (axis_z - data["tilt"] - PAD[0])[:, None],
        "joints": jnp.minimum(q - data["low"], data["high"] - q),
        "joint speed": data["fastest"] - jnp.abs(dq),
    }


def cost(u: Any, q: Any, dq: Any, q_real: Any, data: Data) -> Any:
    """The checker's cost, from the samples at the knots."""
    position, rotation, posture = COST
    q, dq, q_real = q[1::2], dq[1::2], q_real[1::2]
    R, o = RobotModel().forward(q_real)
    tip = o[:, HAND] + R[:, HAND] @ TCP
    turned = 0.5 * (3.0 - jnp.einsum("kij,ij->k", R[:, HAND], data["goal_rotation"]))
    pose = 0.5 * position * jnp.sum((tip - data["goal_position"]) ** 2, axis=1) + rotation * turned
    guided = 0.5 * (q - data["goal_q"]) ** 2 @ posture
    return (
        jnp.sum(data["weight"] * (pose + guided))
        + 0.5 * jnp.sum(dq**2 @ VELOCITY_WEIGHT)
        + 0.5 * jnp.sum(u**2 @ EFFORT_WEIGHT)
    )


PENALTY = {"people": 400.0, "speed": 400.0, "joint speed": 400.0}  # per m/s; of other rows 2000 per metre


def penalised(u: Any, data: Data) -> Any:
    """Cost plus an exact penalty on the worst row of each group at each sample: what sampling planners minimise."""
    q, dq, q_real, dq_real = rollout(u, data)
    groups = margins(q, dq, q_real, dq_real, data)
    broken = sum(PENALTY.get(name, 2000.0) * jnp.sum(jnp.maximum(0.0, -rows.min(axis=1)))
                 for name, rows in groups.items())  # fmt: skip
    return cost(u, q, dq, q_real, data) + 0.5 * broken


def full(u: Any, free: np.ndarray) -> Any:
    """Accelerations (H, n) of the free joints among all ten."""
    return jnp.zeros((STEPS, 10), u.dtype).at[:, free].set(u)


def on_device(data: Data) -> Data:
    """The arrays in JAX's present precision."""
    return jax.tree.map(jnp.asarray, data)
