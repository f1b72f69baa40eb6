"""Recorded people: rigid bodies that never jump, strangers to the packaged model, held out as whole clips."""

from __future__ import annotations

import numpy as np
import pytest

from robotctl.body import INDEX, KEYPOINT_PART, KEYPOINTS
from robotctl.scene import Sensors
from robotctl.training.fit_people import coverage, evaluate_people, evaluate_recordings
from robotctl.training.people_data import Windows, collect_people, together
from robotctl.training.recordings import CLIPS, MIRRORED, RecordedPerson, read_clip, slowest, watch_recordings
from robotctl.training.study_people import folds_of
from robotctl.world_model.composite import load_world_model
from robotctl.world_model.human_motion import STEPS, HumanMotionModel

SPEEDS = np.array([1.6, 2.0, 2.0, 3.0])  # assumed, by body part [m/s]
SENSORS = Sensors(0.033, 0.02, 0.004, 0.05, 2e-4)


class _Assumed:
    human_error = 0.02

    def keypoint_speed(self) -> np.ndarray:
        return SPEEDS


@pytest.fixture(scope="module")
def model() -> HumanMotionModel:
    return load_world_model(None, _Assumed()).people


@pytest.mark.parametrize("clip", CLIPS)
def test_a_slowed_recording_keeps_the_assumed_speeds_and_never_jumps(clip: str) -> None:
    person = RecordedPerson(clip, slowest(clip, SPEEDS))
    at = np.array([person.keypoints(t) for t in np.arange(0.0, 12.0, 0.02)])
    speed = np.linalg.norm(np.diff(at, axis=0), axis=-1) / 0.02
    assert np.all(np.quantile(speed, 0.99, axis=0) < 1.1 * SPEEDS[KEYPOINT_PART])
    assert np.all(speed.max(axis=0) < 2.0 * SPEEDS[KEYPOINT_PART])
    for a, b in (("right_elbow", "right_wrist"), ("left_hip", "left_knee")):
        length = np.linalg.norm(read_clip(clip).keypoints[:, INDEX[a]] - read_clip(clip).keypoints[:, INDEX[b]], axis=1)
        assert np.ptp(length) < 0.02  # bones are rigid


def test_mirroring_swaps_the_sides() -> None:
    assert KEYPOINTS[MIRRORED[INDEX["right_wrist"]]] == "left_wrist"
    assert KEYPOINTS[MIRRORED[INDEX["head"]]] == "head"
    np.testing.assert_array_equal(MIRRORED[MIRRORED], np.arange(len(KEYPOINTS)))
    one, other = (RecordedPerson("punch", 1.0, mirrored).keypoints(9.7) for mirrored in (False, True))
    np.testing.assert_allclose(other, one[MIRRORED] * [1.0, -1.0, 1.0], atol=1e-9)


def test_nobody_is_taken_for_somebody_else() -> None:
    one = Windows(np.zeros((3, 1, 1, 3)), np.zeros((3, 1, 1, 3)), np.array([0, 0, 7]))
    assert together([one, one]).person.tolist() == [0, 0, 1, 2, 2, 3]


def test_every_clip_is_left_out_once() -> None:
    folds = folds_of(CLIPS, 5)
    assert sorted(clip for fold in folds for clip in fold) == sorted(CLIPS)


def test_recordings_are_strangers_and_ordinary_people_are_not(model: HumanMotionModel) -> None:
    people = collect_people(SENSORS, (), 4, np.random.default_rng(1000))
    clips = watch_recordings(SENSORS, np.random.default_rng(1000), SPEEDS, subjects=1, seconds=6.0)
    answer = evaluate_recordings(model, people, clips)
    assert answer["flagged"] > 0.9
    assert answer["ordinary_flagged"] < 0.02
    assert answer["auroc"] > 0.95
    assert answer["right_wrist"]["as_used"]["1.0"] < answer["right_wrist"]["learned"]["1.0"]
    history = people.history.astype(float)
    np.testing.assert_array_equal(model.strangeness(history) <= 1.0, model.predict(history)[2])
    assert "held_out_clips" in evaluate_people(model, people, clips)


def test_coverage_is_told_apart_by_part_step_and_person() -> None:
    inside = np.ones((20, len(STEPS), len(KEYPOINTS)), bool)
    person = np.repeat([0, 1], 10)
    inside[person == 1] = False
    inside[:, 3, KEYPOINT_PART == 2] = False
    answer = coverage(inside, person)
    assert answer["by_person"]["min"] == 0.0 < answer["by_person"]["max"] < 1.0
    assert answer["moving_by_part_and_step"]["hand"][3] == 0.0
    assert answer["moving_by_part_and_step"]["torso"][3] == 0.5
    assert answer["standard_error"] > 0.4  # two people who disagree tell next to nothing
