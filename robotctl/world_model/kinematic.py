"""The baseline: joints go where they are told, people stay where they were seen and may have moved at top speed."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from robotctl.body import KEYPOINT_PART, KEYPOINTS
from robotctl.state import PersonState, State
from robotctl.trajectory import Trajectory
from robotctl.world_model.world_model import HORIZON, MODEL_STEP, WorldModel


def integrate(
    q: np.ndarray, dq: np.ndarray, accelerations: np.ndarray, dt: float = MODEL_STEP
) -> tuple[np.ndarray, np.ndarray]:
    """Double integrator from q, dq (10,) under piecewise constant accelerations (H, 10): q, dq (H+1, 10)."""
    dq_all = np.concatenate([dq[None], dq + dt * np.cumsum(accelerations, axis=0)])
    step = 0.5 * dt * (dq_all[:-1] + dq_all[1:])
    return np.concatenate([q[None], q + np.cumsum(step, axis=0)]), dq_all


def held_bound(bound: np.ndarray, samples: int) -> np.ndarray:
    """The first `samples` entries of a bound over the horizon; beyond its end the last value holds."""
    return bound[np.minimum(np.arange(samples), len(bound) - 1)]


def worst_case_bound(
    person: PersonState, now: float, times: np.ndarray, keypoint_speed: np.ndarray, human_error: float
) -> np.ndarray:
    """Radius around the newest reading that holds every keypoint: error + speed * (t + age), (T, J) [m].

    keypoint_speed (4,) [m/s] in the order of robotctl.body.PARTS; `times` (T,) [s] from `now`.
    """
    elapsed = np.maximum(times + (now - person.stamp), 0.0)
    return human_error + elapsed[:, None] * keypoint_speed[KEYPOINT_PART]


def roll_out(model: WorldModel, state: State, accelerations: np.ndarray) -> Trajectory:
    """The trajectory of `accelerations` (H, 10): the exact reference, plus what `model` says of residual and people."""
    steps = len(accelerations)
    times = MODEL_STEP * np.arange(steps + 1)
    q, dq = integrate(state.robot.q_ref, state.robot.dq_ref, accelerations)
    ddq = np.concatenate([accelerations, accelerations[-1:]]) if steps else np.zeros((1, q.shape[1]))
    delta_q, delta_dq = model.residual(q, dq, ddq, state)
    keypoints, keypoint_bound = model.predict_people(state, times)
    return Trajectory(
        times=times,
        states=np.concatenate([q + delta_q, dq + delta_dq], axis=1),
        actions=np.concatenate([dq[1:], np.full((steps, 1), state.robot.opening)], axis=1),
        keypoints=keypoints,
        keypoint_bound=keypoint_bound,
        position_bound=held_bound(model.position_bound, steps + 1),
        speed_bound=np.full(steps + 1, model.speed_bound),
        acceleration=ddq,
    )


@dataclass(frozen=True)
class KinematicModel:
    """No learned part. The bounds are the safety case's assumptions, so it is cautious rather than accurate."""

    keypoint_speed: np.ndarray  # (4,) [m/s] assumed top speed, in the order of robotctl.body.PARTS
    human_error: float = 0.02  # [m] of a keypoint reading
    tracking_error: float = 0.008  # [m] how far a point of the robot may be from its reference
    speed_bound: float = 0.06  # [m/s] how much faster it may be
    position_bound: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "position_bound", np.full(HORIZON + 1, float(self.tracking_error)))

    def rollout(self, state: State, accelerations: np.ndarray) -> Trajectory:
        return roll_out(self, state, accelerations)

    def predict_people(self, state: State, times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        shape = (len(times), len(state.people), len(KEYPOINTS))
        keypoints, bound = np.zeros((*shape, 3)), np.zeros(shape)
        for i, person in enumerate(state.people):
            keypoints[:, i] = person.keypoints
            bound[:, i] = worst_case_bound(person, state.time, times, self.keypoint_speed, self.human_error)
        return keypoints, bound

    def residual(self, q: np.ndarray, dq: np.ndarray, ddq: np.ndarray, state: State) -> tuple[np.ndarray, np.ndarray]:
        return np.zeros_like(q), np.zeros_like(q)

    def residual_jacobians(
        self, q: np.ndarray, dq: np.ndarray, ddq: np.ndarray, state: State
    ) -> tuple[np.ndarray, np.ndarray]:
        samples, joints = q.shape
        return np.zeros((samples, joints, joints)), np.zeros((samples, joints, joints))
