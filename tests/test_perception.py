"""Perception: bounded errors shrink, lost people stay and age, broken readings are refused, a grasp is noticed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from robotctl.body import KEYPOINTS
from robotctl.geometry import matrix_from_quaternion, quaternion_from_matrix, rotation_z
from robotctl.perception import Estimator
from robotctl.robot import HOME, tcp_pose
from robotctl.scene import Actuators, Item, ObjectKind, Scene, Sensors
from robotctl.state import ObjectReading, Observation, PersonReading, State

ERROR = 0.004
CUP = ObjectKind(
    "cup", frozenset({"cup", "dish"}), Path("cup.urdf"), 0.2, 0.6, 0.1, 0.04,
    np.array([[0.0, 0.0, 0.03, 0.045], [0.0, 0.0, 0.07, 0.045]]), np.zeros(2, bool), (),
)  # fmt: skip
IDENTITY = np.array([0.0, 0.0, 0.0, 1.0])


def scene() -> Scene:
    items = tuple(Item(name, "cup", np.zeros(3), 0.0, 0.0, 0.0) for name in ("cup_1", "cup_2"))
    actuators = Actuators(0.025, 20.0, 1.0, np.zeros(10), np.full(10, 100.0), 35.0)
    sensors = Sensors(0.033, 0.02, ERROR, 0.05, 1e-4)
    return Scene("tiny", Path("tiny"), (), (), (), {"cup": CUP}, items, HOME, actuators, sensors, "")


def observe(
    time: float,
    objects: tuple[ObjectReading, ...] = (),
    people: tuple[PersonReading, ...] = (),
    opening: float = 0.08,
    q: np.ndarray = HOME,
) -> Observation:
    return Observation(time, q, np.zeros(10), q, np.zeros(10), opening, objects, people)


def in_ball(rng: np.random.Generator, radius: float) -> np.ndarray:
    direction = rng.normal(size=3)
    return radius * rng.uniform() ** (1 / 3) * direction / np.linalg.norm(direction)


def test_an_object_at_rest_is_averaged_and_one_that_moved_is_not() -> None:
    rng, estimator = np.random.default_rng(1000), Estimator(scene())
    true = np.array([0.5, 0.2, 0.75])
    errors = []
    for k in range(100):
        if k == 60:
            true = true + np.array([0.05, 0.0, 0.0])
        reading = ObjectReading("cup_1", true + in_ball(rng, ERROR), IDENTITY, 0.05 * k - 0.033)
        state = estimator.update(observe(0.05 * k, (reading,)))
        errors.append(np.linalg.norm(state.object("cup_1").position - true))
    assert max(errors) <= ERROR + 1e-9
    assert np.mean(errors[20:60]) < 0.0015
    assert np.mean(errors[80:]) < 0.0015
    assert state.object("cup_1").kind == "cup"
    assert "dish" in state.object("cup_1").labels


def test_a_missing_object_stays_where_it_was_last_seen() -> None:
    estimator = Estimator(scene())
    assert estimator.update(observe(0.0)).objects == ()
    estimator.update(observe(0.05, (ObjectReading("cup_1", np.ones(3), IDENTITY, 0.02),)))
    state = estimator.update(observe(3.0))
    np.testing.assert_allclose(state.object("cup_1").position, np.ones(3))
    assert state.object("cup_1").stamp == 0.02


def person(time: float, stamp: float | None = None, speed: float = 1.0) -> PersonReading:
    stamp = time if stamp is None else stamp
    keypoints = np.tile([1.0 + speed * stamp, 2.0, 1.0], (len(KEYPOINTS), 1))
    return PersonReading("ann", keypoints, stamp)


def test_history_is_even_across_dropouts_and_filled_at_first() -> None:
    estimator = Estimator(scene())
    state = estimator.update(observe(0.0, people=(person(0.0),)))
    np.testing.assert_array_equal(state.people[0].history, np.repeat(state.people[0].keypoints[None], 6, axis=0))
    for k in range(1, 30):
        seen = () if k in (20, 21, 25) else (person(0.05 * k),)
        state = estimator.update(observe(0.05 * k + 0.001, people=seen))
    history = state.people[0].history
    np.testing.assert_allclose(history[:, 0, 0], 1.0 + 29 * 0.05 - 0.1 * np.arange(5, -1, -1), atol=1e-9)
    np.testing.assert_array_equal(history[-1], state.people[0].keypoints)


def test_a_lost_person_stays_and_ages() -> None:
    estimator = Estimator(scene())
    estimator.update(observe(1.0, people=(person(0.95),)))
    state = estimator.update(observe(9.0))
    assert state.people[0].stamp == 0.95
    assert state.time - state.people[0].stamp > 8.0


@pytest.mark.parametrize("fault", ["future", "nan stamp", "nan", "shape", "late"])
def test_a_broken_reading_of_a_person_is_refused(fault: str) -> None:
    estimator = Estimator(scene())
    estimator.update(observe(1.0, people=(person(0.95),)))
    good = person(1.0)
    keypoints = good.keypoints.copy()
    keypoints[3] = np.nan
    bad = {
        "future": PersonReading("ann", good.keypoints, 1.5),
        "nan stamp": PersonReading("ann", good.keypoints, np.nan),
        "nan": PersonReading("ann", keypoints, 1.0),
        "shape": PersonReading("ann", good.keypoints[:5], 1.0),
        "late": PersonReading("ann", good.keypoints, 0.5),
    }[fault]
    state = estimator.update(observe(1.05, people=(bad,)))
    assert state.people[0].stamp == 0.95
    assert np.all(np.isfinite(state.people[0].history))


def test_broken_and_foreign_readings_of_objects_are_refused() -> None:
    estimator = Estimator(scene())
    bad = (
        ObjectReading("cup_1", np.array([np.nan, 0.0, 0.0]), IDENTITY, 0.0),
        ObjectReading("cup_1", np.ones(3), np.zeros(4), 0.0),
        ObjectReading("cup_2", np.ones(3), IDENTITY, 7.0),
        ObjectReading("ghost", np.ones(3), IDENTITY, 0.0),
    )
    assert estimator.update(observe(0.05, bad)).objects == ()


class Hand:
    """A hand that holds a cup's side: what the simulator would report, with bounded errors on the cup."""

    def __init__(self) -> None:
        self.rng, self.estimator, self.time, self.q = np.random.default_rng(1001), Estimator(scene()), 0.0, HOME.copy()
        self.tip, self.rotation = tcp_pose(self.q)
        self.cup = self.tip - [0.0, 0.0, 0.05]  # the cup's wall is at the finger tips

    def tick(self, opening: float, carried: bool = False) -> State:
        self.time += 0.05
        if carried:
            self.cup = tcp_pose(self.q)[0] - [0.0, 0.0, 0.05]
        reading = ObjectReading("cup_1", self.cup + in_ball(self.rng, ERROR), IDENTITY, self.time)
        return self.estimator.update(observe(self.time, (reading,), opening=opening, q=self.q))


def test_a_grasp_is_noticed_carried_and_released() -> None:
    hand = Hand()
    for _ in range(10):
        assert hand.tick(0.04).robot.held is None  # open around the cup is not a grasp
    for opening in (0.03, 0.02, 0.01):
        assert hand.tick(opening).robot.held is None
    for _ in range(5):
        state = hand.tick(0.006)
    assert state.robot.held is not None
    assert state.robot.held.name == "cup_1"
    for _ in range(60):
        hand.q[0] += 0.02
        state = hand.tick(0.006, carried=True)
        assert state.robot.held is not None
    np.testing.assert_allclose(state.object("cup_1").position, hand.cup, atol=ERROR)
    assert state.object("cup_1").stamp == state.time
    _, rotation = tcp_pose(hand.q)
    T = state.robot.held.T_hand_object
    np.testing.assert_allclose(rotation @ T[:3, :3], matrix_from_quaternion(IDENTITY), atol=0.02)
    assert hand.tick(0.02).robot.held is None


def test_closing_on_nothing_is_no_grasp() -> None:
    hand = Hand()
    hand.cup = hand.cup + np.array([0.3, 0.0, 0.0])
    for opening in (0.04, 0.03, 0.02, 0.01, 0.006, 0.006, 0.006, 0.006):
        assert hand.tick(opening).robot.held is None
    hand = Hand()
    for opening in (0.04, 0.02, 0.001, 0.0005, 0.0005, 0.0005, 0.0005):
        assert hand.tick(opening).robot.held is None


def test_an_object_that_stays_behind_is_no_longer_held() -> None:
    hand = Hand()
    for opening in (0.04, 0.03, 0.02, 0.01, 0.006, 0.006, 0.006, 0.006):
        state = hand.tick(opening)
    assert state.robot.held is not None
    for _ in range(8):
        hand.q[0] += 0.03
        state = hand.tick(0.006)
    assert state.robot.held is None
    np.testing.assert_allclose(state.object("cup_1").position, hand.cup, atol=ERROR)


def test_a_turned_object_is_believed_at_once() -> None:
    estimator = Estimator(scene())
    turned = quaternion_from_matrix(rotation_z(0.5))
    for k in range(20):
        estimator.update(observe(0.05 * k, (ObjectReading("cup_1", np.ones(3), IDENTITY, 0.05 * k),)))
    state = estimator.update(observe(1.0, (ObjectReading("cup_1", np.ones(3), -turned, 1.0),)))
    assert abs(abs(state.object("cup_1").quaternion @ turned) - 1.0) < 1e-9
