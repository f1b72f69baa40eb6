"""World model: the exact part is exact, the learned part beats its baselines, and every bound is a bound."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from robotctl.body import KEYPOINTS
from robotctl.robot import HOME
from robotctl.state import PersonState, RobotState, State
from robotctl.world_model.kinematic import KinematicModel, integrate
from robotctl.world_model.world_model import HORIZON, MODEL_STEP

SPEEDS = np.array([1.6, 2.0, 2.0, 3.0])


def state_with_person(age: float = 0.05) -> State:
    keypoints = np.random.default_rng(0).normal(size=(len(KEYPOINTS), 3))
    person = PersonState("ann", keypoints, 5.0 - age, np.repeat(keypoints[None], 6, axis=0))
    robot = RobotState(HOME, np.zeros(10), HOME, np.full(10, 0.1), 0.08)
    return State(5.0, robot, people=(person,))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, HORIZON))
def test_integrate_is_the_double_integrator_of_fine_steps(seed: int, steps: int) -> None:
    rng = np.random.default_rng(seed)
    q, dq, ddq = rng.normal(size=10), rng.normal(size=10), rng.normal(size=(steps, 10))
    q_all, dq_all = integrate(q, dq, ddq)
    fine = 10
    q_fine, dq_fine = integrate(q, dq, np.repeat(ddq, fine, axis=0), MODEL_STEP / fine)
    np.testing.assert_allclose(q_all, q_fine[::fine], atol=1e-9)
    np.testing.assert_allclose(dq_all, dq_fine[::fine], atol=1e-9)


def test_kinematic_rollout_keeps_the_reference_and_grows_the_people() -> None:
    model, state = KinematicModel(SPEEDS), state_with_person()
    trajectory = model.rollout(state, np.zeros((HORIZON, 10)))
    assert trajectory.states.shape == (HORIZON + 1, 20)
    np.testing.assert_allclose(trajectory.q[-1], HOME + 0.1 * HORIZON * MODEL_STEP)
    np.testing.assert_allclose(trajectory.keypoints[7, 0], state.people[0].keypoints)
    hand = KEYPOINTS.index("right_hand")
    np.testing.assert_allclose(trajectory.keypoint_bound[10, 0, hand], 0.02 + 2.0 * (1.0 + 0.05))
    assert np.all(np.diff(trajectory.keypoint_bound, axis=0) > 0)


def test_kinematic_rollout_without_people_and_without_steps() -> None:
    state = State(0.0, RobotState(HOME, np.zeros(10), HOME, np.zeros(10), 0.08))
    trajectory = KinematicModel(SPEEDS).rollout(state, np.zeros((0, 10)))
    assert trajectory.q.shape == (1, 10)
    assert trajectory.keypoints.shape == (1, 0, len(KEYPOINTS), 3)
