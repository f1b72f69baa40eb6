"""The robot: a Franka Panda on a holonomic base, its kinematics, limits and covering spheres.

Ten joints: base x, base y, base yaw, arm 1..7. Nine frames carry spheres: 0 the base (with the arm's fixed
first link), 1..7 the arm's links, 8 the hand (with the fingers). Arm geometry and limits: Franka Emika,
"Robot and interface specifications" (Panda).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from robotctl.body import CAPSULE_A, CAPSULE_B, CAPSULE_RADIUS
from robotctl.geometry import namespace, norm, rotation_rpy, transform
from robotctl.state import Held
from robotctl.trajectory import Sweep, Trajectory

Array = Any

N_FRAMES = 9
HAND = 8  # frame index of the hand
MOUNT_HEIGHT = 0.40  # arm's foot above the floor [m]
TCP = np.array([0.0, 0.0, 0.1034])  # between the finger tips, in the hand frame [m]
STROKE = 0.08  # largest finger opening [m]

JOINT_NAMES = ("base_x", "base_y", "base_yaw", *(f"panda_joint{i}" for i in range(1, 8)))
Q_MIN = np.array([-10.0, -10.0, -20.0, -2.8973, -1.7628, -2.8973, -3.0718, -2.8973, -0.0175, -2.8973])
Q_MAX = np.array([10.0, 10.0, 20.0, 2.8973, 1.7628, 2.8973, -0.0698, 2.8973, 3.7525, 2.8973])
DQ_MAX = np.array([0.8, 0.8, 1.5, 2.175, 2.175, 2.175, 2.175, 2.61, 2.61, 2.61])
# Commands accelerate at most DDQ_MAX; what the safety filter lets through, brakes included, stays within BRAKE. Joint 2
# sets it: gravity takes up to 65 % of its torque, turning at full speed another quarter. With twice as much for the arm
# one in ten states at full speed asks for more than the drives have; with this, 3 in 1,000, and no brake does.
DDQ_MAX = np.array([1.5, 1.5, 3.0, 7.0, 5.0, 7.0, 7.0, 9.0, 12.0, 12.0])
BRAKE = np.array([2.5, 2.5, 5.0, 5.0, 3.75, 5.0, 5.0, 6.0, 7.5, 7.5])
HOME = np.array([0.0, 0.0, 0.0, 0.0, -0.6, 0.0, -2.3, 0.0, 1.7, 0.785])  # arm tucked over the base

# Parent-from-joint transforms at zero joint angle: (roll, x, y, z) of the Panda's joints 1..7.
_ARM = (
    (0.0, 0.0, 0.0, 0.333),
    (-np.pi / 2, 0.0, 0.0, 0.0),
    (np.pi / 2, 0.0, -0.316, 0.0),
    (np.pi / 2, 0.0825, 0.0, 0.0),
    (-np.pi / 2, -0.0825, 0.384, 0.0),
    (np.pi / 2, 0.0, 0.0, 0.0),
    (np.pi / 2, 0.088, 0.0, 0.0),
)
T_LINK7_HAND = transform(rotation_rpy(0.0, 0.0, -np.pi / 4), (0.0, 0.0, 0.107))
ARM_OFFSETS = np.stack([transform(rotation_rpy(r, 0.0, 0.0), (x, y, z)) for r, x, y, z in _ARM])
ARM_OFFSETS[0, 2, 3] += MOUNT_HEIGHT


@dataclass(frozen=True)
class Spheres:
    """Spheres fixed to the robot's frames that together cover its meshes."""

    frame: np.ndarray  # (S,) frame index
    offset: np.ndarray  # (S, 3) centre in the frame [m]
    radius: np.ndarray  # (S,) [m]
    part: tuple[str, ...]  # base, arm, hand, finger, held or blade, for each sphere

    def __len__(self) -> int:
        return len(self.radius)

    def __add__(self, other: Spheres) -> Spheres:
        return Spheres(
            np.concatenate([self.frame, other.frame]),
            np.concatenate([self.offset, other.offset]),
            np.concatenate([self.radius, other.radius]),
            self.part + other.part,
        )


_SPHERES = (  # frame, part, x, y, z, radius [m]: fitted to the convex hulls that the simulator collides with
    (0, "base", 0, 0, 0.16, 0.28),
    (0, "base", 0, 0, 0.35, 0.12),
    (0, "arm", 0.001, 0, 0.47, 0.11),
    (0, "arm", -0.075, 0, 0.418, 0.097),
    (1, "arm", 0.001, -0.046, -0.014, 0.089),
    (1, "arm", 0.0, 0.0, -0.125, 0.088),
    (1, "arm", 0.0, -0.063, -0.088, 0.051),
    (2, "arm", -0.001, -0.149, 0.004, 0.075),
    (2, "arm", 0.0, -0.005, 0.051, 0.08),
    (2, "arm", 0.0, -0.072, 0.031, 0.082),
    (3, "arm", 0.071, 0.041, -0.005, 0.08),
    (3, "arm", 0.055, 0.03, -0.061, 0.064),
    (3, "arm", 0.0, 0.002, -0.066, 0.081),
    (4, "arm", -0.024, 0.058, 0.031, 0.0642),
    (4, "arm", -0.011, 0.004, 0.041, 0.0792),
    (4, "arm", -0.081, 0.068, 0.004, 0.0832),
    (5, "arm", 0.001, 0.032, -0.005, 0.067),
    (5, "arm", 0.001, 0.048, -0.177, 0.057),
    (5, "arm", 0.001, 0.089, -0.02, 0.074),
    (5, "arm", 0.0, 0.032, -0.107, 0.083),
    (5, "arm", 0.0, 0.0, -0.211, 0.074),
    (6, "arm", 0.074, 0.037, -0.003, 0.063),
    (6, "arm", 0.01, 0.002, 0.01, 0.064),
    (6, "arm", 0.077, -0.02, 0.001, 0.065),
    (7, "arm", 0.031, 0.032, 0.077, 0.053),
    (7, "arm", -0.003, -0.003, 0.075, 0.052),
    (8, "hand", 0, -0.079, 0.022, 0.052),
    (8, "hand", 0, -0.0395, 0.022, 0.052),
    (8, "hand", 0, 0, 0.022, 0.052),
    (8, "hand", 0, 0.0395, 0.022, 0.052),
    (8, "hand", 0, 0.079, 0.022, 0.052),
    (8, "finger", 0, -0.04, 0.085, 0.032),
    (8, "finger", 0, -0.0133, 0.085, 0.032),
    (8, "finger", 0, 0.0133, 0.085, 0.032),
    (8, "finger", 0, 0.04, 0.085, 0.032),
)
ROBOT_SPHERES = Spheres(
    np.array([row[0] for row in _SPHERES]),
    np.array([row[2:5] for row in _SPHERES], float),
    np.array([row[5] for row in _SPHERES], float),
    tuple(row[1] for row in _SPHERES),
)


@dataclass(frozen=True)
class RobotModel:
    """Kinematics with a set of covering spheres; `holding` returns the model with an object in the hand."""

    spheres: Spheres = field(default_factory=lambda: ROBOT_SPHERES)
    held: Held | None = None
    slip: float = 0.0  # how much faster than the hand the held object may move [m/s]

    @cached_property
    def _spread(self) -> np.ndarray:
        """Sphere offsets as a linear map from the frames' rotations, (9 * 9, S * 3)."""
        frame, offset = self.spheres.frame, self.spheres.offset
        out = np.zeros((N_FRAMES, 3, 3, len(frame), 3))  # frame, row and column of its rotation; sphere, coordinate
        for i in range(3):
            out[frame, i, :, np.arange(len(frame)), i] = offset
        return out.reshape(N_FRAMES * 9, -1)

    def holding(
        self, held: Held | None, local: np.ndarray, radius: np.ndarray, blade: np.ndarray, slip: float = 0.0
    ) -> RobotModel:
        """The robot with `held` in its hand, covered by spheres given in the object's frame.

        local (n, 3), radius (n,), blade (n,) bool: which spheres belong to a sharp edge; slip [m/s].
        """
        if held is None:
            return RobotModel()
        offset = local @ held.T_hand_object[:3, :3].T + held.T_hand_object[:3, 3]
        extra = Spheres(
            np.full(len(radius), HAND), offset, np.asarray(radius), tuple("blade" if b else "held" for b in blade)
        )
        return RobotModel(ROBOT_SPHERES + extra, held, slip)

    def forward(self, q: Array) -> tuple[Array, Array]:
        """Rotation (..., 9, 3, 3) and origin (..., 9, 3) of every frame in the world, for q (..., 10)."""
        return forward(q)

    def sphere_motion(self, q: Array, dq: Array) -> tuple[Array, Array, Array, Array]:
        """Of every sphere: centre and its velocity (n, S, 3), turning speed (n, S); the hand's rotation (n, 3, 3)."""
        xp = namespace(q)
        rotation, origin = forward(q)
        v0, omega = frame_twists(rotation, origin, dq)
        frame = self.spheres.frame
        if xp is np:  # every centre is linear in the nine rotations: one product for all, instead of one per sphere
            offset = (rotation.reshape(len(q), -1) @ self._spread).reshape(len(q), -1, 3)
        else:
            offset = (rotation[:, frame] @ xp.asarray(self.spheres.offset)[:, :, None])[..., 0]
        center = origin.take(frame, axis=1) + offset
        velocity = v0.take(frame, axis=1) + cross(omega.take(frame, axis=1), center)
        return center, velocity, norm(omega, _epsilon(xp)).take(frame, axis=1), rotation[:, HAND]

    def sweep(self, trajectory: Trajectory) -> Sweep:
        """Every sphere and every human capsule of the trajectory, grown by its bounds."""
        xp = namespace(trajectory.states)
        center, velocity, turning, hand_rotation = self.sphere_motion(trajectory.q, trajectory.dq)
        radius = xp.asarray(self.spheres.radius)
        speed = norm(velocity, _epsilon(xp)) + turning * radius + trajectory.speed_bound[:, None]
        keypoints, bound = trajectory.keypoints, trajectory.keypoint_bound
        steps = keypoints.shape[0]
        grown = xp.maximum(bound[:, :, CAPSULE_A], bound[:, :, CAPSULE_B]) + xp.asarray(CAPSULE_RADIUS)
        return Sweep(
            trajectory=trajectory,
            center=center,
            radius=radius + trajectory.position_bound[:, None],
            speed=speed,
            hand_rotation=hand_rotation,
            capsule_a=keypoints[:, :, CAPSULE_A].reshape(steps, -1, 3),
            capsule_b=keypoints[:, :, CAPSULE_B].reshape(steps, -1, 3),
            capsule_radius=grown.reshape(steps, -1),
        )


def _epsilon(xp: Any) -> float:
    """What keeps the gradient of a norm finite at 0 where one is taken; NumPy's rest is exactly 0."""
    return 0.0 if xp is np else 1e-9


def forward(q: Array) -> tuple[Array, Array]:
    """Rotation (..., 9, 3, 3) and origin (..., 9, 3) of every frame in the world, for q (..., 10)."""
    if isinstance(q, np.ndarray):
        return _forward_numpy(q)
    xp = namespace(q)
    zero, one = xp.zeros_like(q[..., 0]), xp.ones_like(q[..., 0])

    def about_z(angle: Array) -> Array:
        c, s = xp.cos(angle), xp.sin(angle)
        rows = [[c, -s, zero], [s, c, zero], [zero, zero, one]]
        return xp.stack([xp.stack(row, axis=-1) for row in rows], axis=-2)

    rotation = about_z(q[..., 2])
    origin = xp.stack([q[..., 0], q[..., 1], zero], axis=-1)
    rotations, origins = [rotation], [origin]
    for joint in range(7):
        offset = xp.asarray(ARM_OFFSETS[joint])
        origin = origin + rotation @ offset[:3, 3]
        rotation = rotation @ offset[:3, :3] @ about_z(q[..., 3 + joint])
        rotations.append(rotation)
        origins.append(origin)
    hand = xp.asarray(T_LINK7_HAND)
    rotations.append(rotation @ hand[:3, :3])
    origins.append(origin + rotation @ hand[:3, 3])
    return xp.stack(rotations, axis=-3), xp.stack(origins, axis=-2)


def _forward_numpy(q: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """`forward` without small matrix products: every fixed rotation of the arm only permutes columns.

    With (x, y, z) the parent's columns, a roll of +-90 degrees gives (x, +-z, -+y), and a turn by t about the
    new z gives (c x + s y, c y - s x, z).
    """
    shape = q.shape[:-1]
    q = np.ascontiguousarray(q.reshape(-1, 10), dtype=float)
    n = len(q)
    rotation = np.zeros((n, N_FRAMES, 3, 3))
    origin = np.zeros((n, N_FRAMES, 3))
    cosine, sine = np.cos(q[:, 2:])[:, :, None], np.sin(q[:, 2:])[:, :, None]  # yaw, arm 1..7
    x, y, z = np.zeros((n, 3)), np.zeros((n, 3)), np.zeros((n, 3))
    x[:, :1], x[:, 1:2] = cosine[:, 0], sine[:, 0]
    y[:, :1], y[:, 1:2] = -sine[:, 0], cosine[:, 0]
    z[:, 2] = 1.0
    point = np.zeros((n, 3))
    point[:, :2] = q[:, :2]
    rotation[:, 0, :, 0], rotation[:, 0, :, 1], rotation[:, 0, :, 2] = x, y, z
    origin[:, 0] = point
    for frame in range(1, HAND):
        roll, ox, oy, oz = _ARM[frame - 1]
        if frame == 1:
            oz += MOUNT_HEIGHT
        if ox:
            point = point + ox * x
        if oy:
            point = point + oy * y
        if oz:
            point = point + oz * z
        if roll:
            y, z = (z, -y) if roll > 0 else (-z, y)
        c, s = cosine[:, frame], sine[:, frame]
        x, y = c * x + s * y, c * y - s * x
        rotation[:, frame, :, 0], rotation[:, frame, :, 1], rotation[:, frame, :, 2] = x, y, z
        origin[:, frame] = point
    rotation[:, HAND] = rotation[:, HAND - 1] @ T_LINK7_HAND[:3, :3]
    origin[:, HAND] = point + T_LINK7_HAND[2, 3] * z
    return rotation.reshape(*shape, N_FRAMES, 3, 3), origin.reshape(*shape, N_FRAMES, 3)


def cross(a: Array, b: Array) -> Array:
    """a x b over the last axis, broadcast; `np.cross` costs ten times as much on small arrays."""
    xp = namespace(a)
    x = a[..., 1] * b[..., 2] - a[..., 2] * b[..., 1]
    y = a[..., 2] * b[..., 0] - a[..., 0] * b[..., 2]
    z = a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]
    if xp is not np:
        return xp.stack([x, y, z], axis=-1)
    out = np.empty((*x.shape, 3))
    out[..., 0], out[..., 1], out[..., 2] = x, y, z
    return out


def frame_twists(rotation: Array, origin: Array, dq: Array) -> tuple[Array, Array]:
    """Twist of every frame about the world's origin: v0 (..., 9, 3) and omega (..., 9, 3), world frame.

    A point p of frame f moves with v0_f + omega_f x p. A joint k with axis z_k through o_k turns everything
    behind it: omega_f = sum_{k <= f} z_k dq_k and v0_f = base + sum_{k <= f} o_k x z_k dq_k.
    """
    xp = namespace(dq)
    axis = rotation[..., :HAND, :, 2] * dq[..., 2:, None]  # base yaw and arm 1..7 turn frames 0..7
    omega = xp.cumsum(axis, axis=-2)
    v0 = xp.cumsum(cross(origin[..., :HAND, :], axis), axis=-2)
    zero = xp.zeros_like(dq[..., 0])
    v0 = v0 + xp.concatenate([dq[..., :2], zero[..., None]], axis=-1)[..., None, :]
    hand = slice(HAND - 1, HAND)  # the hand is fixed to link 7
    return xp.concatenate([v0, v0[..., hand, :]], axis=-2), xp.concatenate([omega, omega[..., hand, :]], axis=-2)


def frame_velocities(rotation: Array, origin: Array, dq: Array) -> tuple[Array, Array]:
    """Linear (..., 9, 3) and angular (..., 9, 3) velocity of every frame's origin, world frame."""
    v0, omega = frame_twists(rotation, origin, dq)
    return v0 + cross(omega, origin), omega


def tcp_pose(q: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Position (3,) of the point between the finger tips and rotation (3, 3) of the hand, for q (10,)."""
    rotation, origin = forward(q)
    return origin[HAND] + rotation[HAND] @ TCP, rotation[HAND]


def tcp_jacobian(q: np.ndarray) -> np.ndarray:
    """Geometric Jacobian of the TCP, linear over angular velocity, (6, 10) world frame."""
    rotation, origin = forward(q)
    tip = origin[HAND] + rotation[HAND] @ TCP
    jacobian = np.zeros((6, 10))
    jacobian[0, 0] = jacobian[1, 1] = 1.0
    axes = np.concatenate([[[0.0, 0.0, 1.0]], rotation[1:8, :, 2]])
    jacobian[:3, 2:] = cross(axes, tip - origin[:8]).T
    jacobian[3:, 2:] = axes.T
    return jacobian
