"""People: they keep the assumed speeds, stand on the floor, reach their targets and repeat themselves exactly."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robotctl.body import CAPSULES, INDEX, KEYPOINT_PART, KEYPOINTS
from robotctl.errors import InvalidFileError
from robotctl.simulation.joint_names import keypoint_of
from robotctl.simulation.mocap import sole_height
from robotctl.simulation.motion_file import read_motion
from robotctl.simulation.people import Person
from robotctl.task import PersonPlan, Reach

LIMITS = np.array([1.6, 2.0, 2.0, 3.0])  # assumed by the household guardrails: torso, arm, hand, leg [m/s]
TARGET = np.array([0.3, -0.45, 0.85])


def plan(**changes: object) -> PersonPlan:
    """A person who walks past the south of the table and north along its east side."""
    path = np.array([[-1.5, -2.0], [0.3, -1.3], [2.0, -1.9], [2.0, 0.5]])
    values = dict(name="ann", clip="walk", path=path, speed=0.95, start=0.5, reach=(), jitter=0.0, loop=False)
    return PersonPlan(**{**values, **changes})


def reach(**changes: object) -> Reach:
    return Reach(**{**dict(at=1, target=TARGET, hold=1.0, hand="right"), **changes})


CASES = {
    "walk": plan(),
    "reach": plan(reach=(reach(),)),
    "left hand": plan(reach=(reach(hand="left"),)),
    "loop": plan(loop=True),
    "loop with reaches": plan(loop=True, reach=(reach(), reach(at=3, target=np.array([1.3, 0.5, 1.2])))),
    "stand and reach": plan(clip="stand", path=np.array([[0.3, -1.3], [0.3, 0.0]]), reach=(reach(at=0),)),
    "there and back": plan(path=np.array([[-1.0, -2.0], [2.0, -2.0]]), loop=True),
}


def motion(case: PersonPlan, seconds: float = 40.0, seed: int = 0) -> np.ndarray:
    person = Person(case, np.random.default_rng(seed))
    return np.array([person.keypoints(t) for t in np.arange(0.0, seconds, 1 / 240)])


@pytest.mark.parametrize("name", CASES)
def test_keeps_the_assumed_speeds_and_stands_on_the_floor(name: str) -> None:
    keypoints = motion(CASES[name])
    speed = np.linalg.norm(np.diff(keypoints, axis=0), axis=2).max(axis=0) * 240
    assert np.all(speed <= LIMITS[KEYPOINT_PART]), dict(zip(KEYPOINTS, speed.round(2), strict=True))
    sole = sole_height(keypoints)
    assert sole.min() > -0.01
    assert sole.max() < 0.02


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000), st.booleans())
def test_random_paths_keep_the_assumed_speeds(seed: int, loop: bool) -> None:
    rng = np.random.default_rng(seed)
    path = rng.uniform(-2.5, 2.5, size=(rng.integers(2, 6), 2))
    path = path[np.concatenate([[True], np.linalg.norm(np.diff(path, axis=0), axis=1) > 0.3])]
    case = plan(path=path, speed=rng.uniform(0.6, 0.95), loop=loop, jitter=0.1)
    speed = np.linalg.norm(np.diff(motion(case, 20.0, seed), axis=0), axis=2).max(axis=0) * 240
    assert np.all(speed <= LIMITS[KEYPOINT_PART]), dict(zip(KEYPOINTS, speed.round(2), strict=True))


@pytest.mark.parametrize("hand", ["right", "left"])
def test_the_reaching_hand_arrives_holds_and_returns(hand: str) -> None:
    keypoints = motion(plan(reach=(reach(hand=hand),)))
    error = np.linalg.norm(keypoints[:, INDEX[f"{hand}_hand"]] - TARGET, axis=1)
    assert error.min() < 0.005
    assert np.sum(error < 0.005) >= 240  # it holds for a second
    assert error[-1] > 0.5


def test_bones_keep_their_length() -> None:
    keypoints = motion(CASES["loop with reaches"])
    for capsule in CAPSULES:
        if capsule.name in ("torso", "head"):
            continue  # several joints lie between their ends
        length = np.linalg.norm(keypoints[:, INDEX[capsule.a]] - keypoints[:, INDEX[capsule.b]], axis=1)
        assert np.ptp(length) < 0.003, capsule.name  # the cubic between samples costs the rest


def test_a_lap_repeats() -> None:
    case = CASES["loop with reaches"]
    person = Person(case, np.random.default_rng(0))
    times = case.start + person._lap + np.arange(0.0, person._period, 0.05)
    first = np.array([person.keypoints(t) for t in times])
    again = np.array([person.keypoints(t + 3 * person._period) for t in times])
    np.testing.assert_allclose(first, again, atol=1e-9)


def test_waits_for_its_start_and_stays_at_the_end() -> None:
    person = Person(plan(start=2.0), np.random.default_rng(0))
    np.testing.assert_array_equal(person.keypoints(0.0), person.keypoints(2.0))
    np.testing.assert_allclose(person.keypoints(1000.0)[INDEX["pelvis"], :2], [2.0, 0.5], atol=0.03)


def test_same_seed_same_motion_other_seed_another() -> None:
    case = plan(jitter=0.2)
    one, two, other = (motion(case, 5.0, seed) for seed in (1000, 1000, 1001))
    assert one.tobytes() == two.tobytes()
    assert np.abs(one - other).max() > 0.01
    assert motion(plan(), 5.0, 1).tobytes() == motion(plan(), 5.0, 2).tobytes()  # no jitter, no chance


def save_motion(path: Path, names: list[str], time: np.ndarray, xyz: np.ndarray) -> Path:
    np.savez(path, time_s=time, joint_names=np.array(names), xyz_m=xyz)
    return path


def test_a_motion_file_plays_back(tmp_path: Path) -> None:
    time = np.arange(0.0, 5.0, 1 / 30)
    person = Person(plan(start=0.0), np.random.default_rng(0))
    xyz = np.array([person.keypoints(t) for t in time])
    path = save_motion(tmp_path / "m.npz", list(KEYPOINTS), time + 7.0, xyz)
    recorded = Person(plan(clip=str(path), path=np.zeros((0, 2)), start=1.0), np.random.default_rng(0))
    np.testing.assert_allclose(recorded.keypoints(1.0 + time[40]), xyz[40], atol=1e-6)
    np.testing.assert_allclose(recorded.keypoints(99.0), xyz[-1], atol=1e-6)
    moved = Person(plan(clip=str(path), path=np.array([[3.0, 1.0], [3.0, 2.0]]), start=0.0), np.random.default_rng(0))
    np.testing.assert_allclose(moved.keypoints(0.0)[INDEX["pelvis"], :2], [3.0, 1.0], atol=1e-6)
    hips = moved.keypoints(0.0)[INDEX["left_hip"]] - moved.keypoints(0.0)[INDEX["right_hip"]]
    assert hips[0] < -0.15  # faces north: the left hip is in the west
    back = Person(plan(clip=str(path), path=np.zeros((0, 2)), start=0.0, loop=True), np.random.default_rng(0))
    ends = 2 * (np.ceil(time[-1] * 120)) / 120
    np.testing.assert_allclose(back.keypoints(ends + 0.5), back.keypoints(0.5), atol=1e-6)
    np.testing.assert_allclose(back.keypoints(ends - 0.5), back.keypoints(0.5), atol=1e-6)


def test_other_recorders_names_are_understood() -> None:
    expected = {
        "RightForeArm": "right_elbow", "r_wrist": "right_wrist", "LAnkle": "left_ankle", "elbow.R": "right_elbow",
        "left_shoulder": "left_shoulder", "LeftUpLeg": "left_hip", "Hips": "pelvis", "head": "head", "banana": None,
    }  # fmt: skip
    assert {name: keypoint_of(name) for name in expected} == expected


def test_missing_points_are_derived(tmp_path: Path) -> None:
    person = Person(plan(start=0.0), np.random.default_rng(0))
    time = np.arange(0.0, 2.0, 1 / 30)
    xyz = np.array([person.keypoints(t) for t in time])
    kept = [n for n in KEYPOINTS if n.endswith(("shoulder", "elbow", "wrist", "hip", "knee", "ankle"))]
    path = save_motion(tmp_path / "m.npz", kept, time, xyz[:, [INDEX[n] for n in kept]])
    _, full = read_motion(path)
    assert np.linalg.norm(full - xyz, axis=2).max() < 0.15
    np.testing.assert_allclose(full[:, INDEX["right_hand"]], xyz[:, INDEX["right_hand"]], atol=0.01)


@pytest.mark.parametrize("fault", ["missing key", "shape", "nan", "time", "joint", "text", "truncated"])
def test_a_broken_motion_file_is_refused_in_one_line(tmp_path: Path, fault: str) -> None:
    time, names = np.arange(10.0), list(KEYPOINTS)
    xyz = np.zeros((10, len(names), 3))
    path = tmp_path / "m.npz"
    if fault == "nan":
        xyz[3, 3] = np.nan
    if fault == "time":
        time[5] = 0.0
    if fault == "joint":
        names[names.index("left_knee")] = "left_kneecap_x"
    save_motion(path, names, time, xyz[:, :-1] if fault == "shape" else xyz)
    if fault == "missing key":
        np.savez(path, time_s=time)
    if fault == "text":
        path.write_text("time,x,y,z\n")
    if fault == "truncated":
        path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(InvalidFileError) as error:
        Person(plan(clip=str(path)), np.random.default_rng(0))
    assert "m.npz" in str(error.value)
    assert "\n" not in str(error.value)
