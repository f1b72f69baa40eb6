"""Stories, the executive that steps through them, and the grasps they choose from."""

from __future__ import annotations

import numpy as np
import pytest

from robotctl.guardrails.clearance import Boxes
from robotctl.objectives.hand_path import HandPath
from robotctl.objectives.reach import ReachGoal
from robotctl.planning.postures import ALIKE, LAST_RESORT, PostureSearch
from robotctl.robot import HOME, RobotModel, tcp_pose
from robotctl.scene_files import load_scene
from robotctl.skills.executive import STALL, Executive
from robotctl.skills.grasping import DEPTHS, TURNS, features, grasp_poses
from robotctl.skills.place import Spot, hand_paths
from robotctl.skills.skill import Outcome, Phase
from robotctl.state import TICK, ObjectState, RobotState, State

POSITION, ROTATION = tcp_pose(HOME)


def at(q=HOME, dq=0.0, time=0.0):
    velocity = np.full(10, dq)
    return State(time, RobotState(q, velocity, q, velocity, 0.08))


def story(phase, seen):
    reached = yield phase
    seen.append(reached)
    return Outcome(reached.ok, "ended")


def test_a_phase_within_tolerance_is_reached_when_the_robot_stands():
    seen: list = []
    executive = Executive("test", story(Phase("there", ReachGoal(POSITION, ROTATION), 0.0), seen))
    assert executive.advance(at(dq=0.5), False) is not None, "moving through is not arriving"
    assert executive.advance(at(), False) is None
    assert executive.outcome is not None
    assert executive.outcome.success


def test_a_phase_is_given_up_after_its_patience_but_waiting_for_people_does_not_count():
    seen: list = []
    phase = Phase("far", ReachGoal(POSITION + np.array([0.5, 0, 0]), ROTATION), 0.0, patience=1.0)
    executive = Executive("test", story(phase, seen))
    for _ in range(200):
        assert executive.advance(at(dq=0.3), True) is phase
    for _ in range(int(1.0 / TICK) + 2):
        executive.advance(at(dq=0.3), False)
    assert executive.outcome is not None
    assert not executive.outcome.success
    assert seen[0].distance == pytest.approx(0.5, abs=1e-9)
    assert "500 mm" in seen[0].short()


def test_standing_just_short_of_the_goal_is_good_enough():
    seen: list = []
    phase = Phase("near", ReachGoal(POSITION + np.array([0.012, 0, 0]), ROTATION), 0.0, position_tolerance=0.006)
    executive = Executive("test", story(phase, seen))
    for _ in range(int(STALL / TICK) + 3):
        executive.advance(at(), False)
    assert executive.outcome is not None
    assert executive.outcome.success


def test_a_hold_lasts():
    seen: list = []
    executive = Executive("test", story(Phase("close", None, 0.0, hold=0.5), seen))
    ticks = 0
    while executive.advance(at(), False) is not None:
        ticks += 1
    assert ticks == pytest.approx(0.5 / TICK, abs=1)


@pytest.fixture(scope="module")
def scene():
    return load_scene("kitchen")


def test_grasps_are_offered_as_the_kind_suggests_first(scene):
    kind = scene.kinds["cup"]
    item = ObjectState("cup_1", "cup", kind.labels, np.array([0.0, -0.4, 0.75]), np.array([0, 0, 0, 1.0]), 0.0)
    poses = list(grasp_poses(item, kind))
    assert len(poses) == 2 * TURNS * len(DEPTHS)
    assert poses[0].depth == 0.0
    for pose in poses:
        assert np.allclose(pose.rotation.T @ pose.rotation, np.eye(3), atol=1e-9)
        assert np.linalg.det(pose.rotation) == pytest.approx(1.0)
        assert pose.rotation[2, 2] < -0.99, "a cup is taken from above"


def test_a_knife_is_not_taken_nearer_to_its_blade_than_suggested(scene):
    """30 mm farther on the pads reach over the heel of the blade: 36 mm wide, and what is pinched so turns."""

    def shifts(name):
        kind = scene.kinds[name]
        item = ObjectState(name, name, kind.labels, np.zeros(3), np.array([0.0, 0.0, 0.0, 1.0]), 0.0)
        return {pose.shift for pose in grasp_poses(item, kind)}

    assert shifts("knife") == {0.0, -0.03}
    assert shifts("fork") == {0.0, -0.03, 0.03}


def test_the_overhang_of_a_plate_is_a_feature(scene):
    kind = scene.kinds["plate"]

    def gap(y):
        item = ObjectState(
            "plate_1", "plate", kind.labels, np.array([0.3, y, 0.75]), np.array([0, 0, -0.7071, 0.7071]), 0
        )
        return max(
            features(p, item, kind, Boxes.of(scene.boxes()), [])["lower_finger_gap"] for p in grasp_poses(item, kind)
        )

    assert gap(-0.24) > 0.0 > gap(-0.50), "a finger fits below the rim only where it stands out over the edge"


def test_a_plate_goes_down_with_its_held_edge_outwards():
    """The hand must come over the free edge, whatever way it holds the plate."""
    for turn in np.linspace(-3, 3, 7):
        hold = np.eye(4)
        hold[:3, :3] = np.array([[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]])
        tip_over = np.array([[0, 1, 0], [0, 0, 1], [1, 0, 0]], float)  # hand z lies in the plate's plane
        hold[:3, :3] = tip_over @ hold[:3, :3]
        (path,) = hand_paths(
            Spot("counter", np.array([0.0, 1.6, 0.9]), inward=np.array([0.0, 1.0])), hold, lambda _: True
        )
        assert np.allclose(path.rotation[:, 2], [0.0, 1.0, 0.0], atol=1e-9)


def test_a_posture_that_was_not_reached_is_the_last_resort():
    """Without it the same grasp with the same arm was tried three times over, until the time was up."""
    position, rotation = tcp_pose(HOME)
    other_way = rotation @ np.diag([-1.0, -1.0, 1.0])  # the same grasp, the hand turned round
    paths = [HandPath((position,), rotation), HandPath((position,), other_way)]
    search = PostureSearch((), np.random.default_rng(1000))

    def find():
        return search.find(paths, HOME, RobotModel(), np.zeros((0, 4)))

    first = find()[0]
    assert first.cost < LAST_RESORT
    search.give_up(first.q[0])
    again = find()
    assert np.abs(again[0].q[0][3:] - first.q[0][3:]).max() > ALIKE
    search.give_up(again[0].q[0])
    for one in find():
        search.give_up(one.q[0])
    assert find(), "nothing is ruled out for good"
