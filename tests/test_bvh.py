"""BVH files: points worked out on paper, round trips, units, hostile files, and one played in the simulator."""

from __future__ import annotations

import itertools
import re
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from robotctl.body import INDEX
from robotctl.episode.bundle import bundle, unbundled
from robotctl.errors import InvalidFileError
from robotctl.scene_paths import scenes_folder
from robotctl.simulation import bvh_file
from robotctl.simulation.bullet import BulletSimulator
from robotctl.simulation.bvh_file import read_bvh
from robotctl.simulation.joint_names import joints_of_keypoints, keypoint_of
from robotctl.simulation.motion_file import read_motion
from robotctl.simulation.people import Person
from robotctl.task import PersonPlan, load_people, load_task

# Name, parent, offset in centimetres: arms stretched out sideways, y up, the person looks along z.
BONES = (
    ("Hips", -1, (0, 0, 0)),
    ("LeftUpLeg", 0, (10, 0, 0)), ("LeftLeg", 1, (0, -42, 0)), ("LeftFoot", 2, (0, -42, 0)),
    ("RightUpLeg", 0, (-10, 0, 0)), ("RightLeg", 4, (0, -42, 0)), ("RightFoot", 5, (0, -42, 0)),
    ("Spine", 0, (0, 20, 0)),
    ("LeftShoulder", 7, (5, 30, 0)), ("LeftArm", 8, (15, 0, 0)), ("LeftForeArm", 9, (30, 0, 0)),
    ("LeftHand", 10, (25, 0, 0)),
    ("RightShoulder", 7, (-5, 30, 0)), ("RightArm", 12, (-15, 0, 0)), ("RightForeArm", 13, (-30, 0, 0)),
    ("RightHand", 14, (-25, 0, 0)),
    ("Head", 7, (0, 55, 0)),
)  # fmt: skip
NAMES = [name for name, _, _ in BONES]
STANDING = np.array([0.0, 90.0, 0.0])  # of the hips
TALL = (42 + 42 + 30 + 25) / 0.823  # 168.9 cm


@dataclass(frozen=True)
class Motion:
    """What a BVH file is written from."""

    offsets: np.ndarray  # (J, 3)
    rotations: Rotation  # (T * J) of every joint of every frame
    root: np.ndarray  # (T, 3)
    orders: tuple[str, ...]  # of each joint's rotation channels
    parents: tuple[int, ...] = tuple(parent for _, parent, _ in BONES)
    names: tuple[str, ...] = tuple(NAMES)
    step: float = 1 / 30
    positions: str = "root"  # who has position channels: root, all (absolute), zero (all, relative)


def still(frames: int = 2, **turned: tuple[str, float]) -> Motion:
    """The standing figure; joints may be turned: LeftArm=("Z", -90)."""
    angles = np.zeros((frames, len(NAMES), 3))
    for name, (axis, angle) in turned.items():
        angles[:, NAMES.index(name)] = Rotation.from_euler(axis, angle, degrees=True).as_euler("ZXY", degrees=True)
    return Motion(
        np.array([offset for _, _, offset in BONES], float),
        Rotation.from_euler("ZXY", angles.reshape(-1, 3), degrees=True),
        np.tile(STANDING, (frames, 1)),
        ("ZXY",) * len(NAMES),
    )


def write(path: Path, motion: Motion, decimals: int = 9) -> Path:
    """A BVH file in the layout that recorders write."""
    children = {i: [k for k, parent in enumerate(motion.parents) if parent == i] for i in range(len(motion.names))}
    lines, order = ["HIERARCHY"], []

    def joint(i: int, pad: str) -> None:
        order.append(i)
        lines.append(f"{pad}{'ROOT' if motion.parents[i] < 0 else 'JOINT'} {motion.names[i]}")
        lines.append(pad + "{")
        lines.append(f"{pad}\tOFFSET {' '.join(repr(float(x)) for x in motion.offsets[i])}")
        turns = " ".join(f"{axis}rotation" for axis in motion.orders[i])
        moves = motion.positions != "root" or motion.parents[i] < 0
        lines.append(f"{pad}\tCHANNELS {'6 Xposition Yposition Zposition' if moves else '3'} {turns}")
        for child in children[i]:
            joint(child, pad + "\t")
        if not children[i]:
            lines.extend([f"{pad}\tEnd Site", pad + "\t{", f"{pad}\t\tOFFSET 0 -5 0", pad + "\t}"])
        lines.append(pad + "}")

    joint(0, "")
    frames = len(motion.root)
    lines += ["MOTION", f"Frames: {frames}", f"Frame Time: {motion.step:.9f}"]
    grid = np.arange(frames * len(motion.names)).reshape(frames, -1)
    for t in range(frames):
        row: list[float] = []
        for i in order:
            if motion.parents[i] < 0:
                row += motion.root[t].tolist()
            elif motion.positions == "all":
                row += motion.offsets[i].tolist()
            elif motion.positions == "zero":
                row += [0.0, 0.0, 0.0]
            row += motion.rotations[int(grid[t, i])].as_euler(motion.orders[i], degrees=True).tolist()
        lines.append(" ".join(f"{value:.{decimals}f}" for value in row))
    path.write_text("\n".join(lines) + "\n")
    return path


def forward(motion: Motion, size: float) -> dict[str, np.ndarray]:
    """Positions (T, 3) [m] of the joints by name, z up, one joint and frame at a time."""
    frames, joints = len(motion.root), len(motion.names)
    out = {name: np.empty((frames, 3)) for name in motion.names}
    for t in range(frames):
        turn: list[Rotation] = []
        point: list[np.ndarray] = []
        for i in range(joints):
            parent, own = motion.parents[i], motion.rotations[t * joints + i]
            turn.append(own if parent < 0 else turn[parent] * own)
            at = motion.root[t] if parent < 0 else point[parent] + turn[parent].apply(motion.offsets[i])
            point.append(at)
            x, y, z = at * size
            out[motion.names[i]][t] = x, -z, y
    return out


# ---- on paper --------------------------------------------------------------------------------------------------


def at(keypoints: np.ndarray, name: str) -> np.ndarray:
    return keypoints[0, INDEX[name]]


def test_a_standing_figure(tmp_path: Path) -> None:
    time, keypoints = read_motion(write(tmp_path / "m.bvh", still()))
    np.testing.assert_allclose(time, [0.0, 1 / 30], atol=1e-8)
    expected = {
        "pelvis": (0, 0, 0.9), "left_hip": (0.1, 0, 0.9), "left_knee": (0.1, 0, 0.48), "left_ankle": (0.1, 0, 0.06),
        "left_shoulder": (0.2, 0, 1.4), "left_elbow": (0.5, 0, 1.4), "left_wrist": (0.75, 0, 1.4),
        "left_hand": (0.84, 0, 1.4), "right_hand": (-0.84, 0, 1.4), "head": (0, 0, 1.65), "chest": (0, 0, 1.1),
        "neck": (0, 0, 1.4), "left_toe": (0.1, -0.09, 0.06),  # derived; looks along z of the file: -y
    }  # fmt: skip
    for name, point in expected.items():
        np.testing.assert_allclose(at(keypoints, name), point, atol=1e-9, err_msg=name)


def test_a_turned_root_turns_everything(tmp_path: Path) -> None:
    moved = replace(still(Hips=("Y", 90.0)), root=np.tile([100.0, 90.0, 200.0], (2, 1)))
    _, keypoints = read_motion(write(tmp_path / "m.bvh", moved))
    np.testing.assert_allclose(at(keypoints, "left_wrist"), (1.0, -2.0 + 0.75, 1.4), atol=1e-9)


def test_a_hanging_arm(tmp_path: Path) -> None:
    _, keypoints = read_motion(write(tmp_path / "m.bvh", still(LeftArm=("Z", -90.0))))
    np.testing.assert_allclose(at(keypoints, "left_wrist"), (0.2, 0, 1.4 - 0.55), atol=1e-9)
    np.testing.assert_allclose(at(keypoints, "left_hand"), (0.2, 0, 1.4 - 0.64), atol=1e-9)


@pytest.mark.parametrize(("order", "elbow"), [("ZXY", (0.2, 0.0, 1.7)), ("XZY", (0.2, -0.3, 1.4))])
def test_rotations_multiply_in_the_order_of_their_channels(tmp_path: Path, order: str, elbow: tuple[float]) -> None:
    """90 deg about z and about x: (30, 0, 0) becomes (0, 30, 0) with z on the left, and (0, 0, 30) with x there."""
    text = write(tmp_path / "m.bvh", still()).read_text()
    arm = re.compile(r"(JOINT LeftArm\n\t+\{\n\t+OFFSET [^\n]*\n\t+CHANNELS 3) Zrotation Xrotation Yrotation")
    text, found = arm.subn(r"\1 " + " ".join(f"{axis}rotation" for axis in order), text)
    assert found == 1
    *rest, first, second = text.strip().split("\n")
    numbers = first.split()
    column = 3 + 3 * NAMES.index("LeftArm")
    numbers[column : column + 3] = ["90", "90", "0"]
    (tmp_path / "m.bvh").write_text("\n".join([*rest, " ".join(numbers), second]))
    _, keypoints = read_motion(tmp_path / "m.bvh")
    np.testing.assert_allclose(at(keypoints, "left_elbow"), elbow, atol=1e-9)


# ---- round trips -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("positions", ["root", "all", "zero"])
@pytest.mark.parametrize("seed", range(1000, 1004))
def test_known_rotations_come_back(tmp_path: Path, seed: int, positions: str) -> None:
    rng = np.random.default_rng(seed)
    unit = list(bvh_file.UNITS)[seed % 4]
    size = bvh_file.UNITS[unit]
    frames, joints = 5, len(NAMES)
    offsets = (still().offsets + rng.normal(0, 1, (joints, 3))) * 0.01 / size
    motion = Motion(
        offsets,
        Rotation.random(frames * joints, random_state=seed),
        rng.uniform(-300, 300, (frames, 3)) * 0.01 / size,
        tuple("".join(rng.permutation(list("XYZ"))) for _ in NAMES),
        positions=positions,
    )
    recording = read_bvh(write(tmp_path / "m.bvh", motion))
    assert recording.unit == unit
    expected = forward(motion, size)
    assert len(recording.names) == len(joints_of_keypoints(NAMES)) == 15
    for i, name in enumerate(recording.names):
        np.testing.assert_allclose(recording.xyz[:, i], expected[name], atol=1e-6, err_msg=name)


def test_many_frames_are_read_in_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    motion = replace(still(7), root=np.linspace([0.0, 90.0, 0.0], [60.0, 90.0, 0.0], 7))
    write(tmp_path / "m.bvh", motion)
    whole = read_bvh(tmp_path / "m.bvh")
    monkeypatch.setattr(bvh_file, "BLOCK", 3)
    np.testing.assert_array_equal(read_bvh(tmp_path / "m.bvh").xyz, whole.xyz)
    np.testing.assert_allclose(whole.xyz[:, 0, 0], np.linspace(0, 0.6, 7), atol=1e-9)


# ---- units and names -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("unit", bvh_file.UNITS)
@pytest.mark.parametrize("tall", [1.02, 1.7, 2.18])
def test_the_unit_follows_from_the_height(tmp_path: Path, unit: str, tall: float) -> None:
    scale = tall / bvh_file.UNITS[unit] / TALL
    figure = still()
    figure = replace(figure, offsets=figure.offsets * scale, root=figure.root * scale)
    recording = read_bvh(write(tmp_path / "m.bvh", figure))
    assert recording.unit == unit
    spine = recording.xyz[0, recording.names.index("Head")] - recording.xyz[0, recording.names.index("Hips")]
    np.testing.assert_allclose(spine, [0, 0, 0.75 * tall / (0.01 * TALL)], rtol=1e-6, atol=1e-9)


def test_raw_heights_fit_one_unit_at_most() -> None:
    ranges = sorted((bvh_file.STATURE[0] / size, bvh_file.STATURE[1] / size) for size in bvh_file.UNITS.values())
    assert all(high < low for (_, high), (low, _) in itertools.pairwise(ranges))


@pytest.mark.parametrize("scale", [1e-9, 0.05, 20.0, 100.0, 0.0])
def test_what_fits_no_unit_is_refused(tmp_path: Path, scale: float) -> None:
    figure = still()
    path = write(tmp_path / "m.bvh", replace(figure, offsets=figure.offsets * scale))
    with pytest.raises(InvalidFileError, match=r"m\.bvh:2:1: the skeleton is .* tall; in no known unit .* scale it"):
        read_motion(path)


def test_z_up_is_refused(tmp_path: Path) -> None:
    figure = still()
    up = Rotation.from_euler("X", 90, degrees=True)
    wrong = replace(figure, offsets=up.apply(figure.offsets), root=up.apply(figure.root))
    with pytest.raises(InvalidFileError, match="y is up"):
        read_motion(write(tmp_path / "m.bvh", wrong))
    lying = still(Hips=("X", 89.0))  # somebody on the floor is none of that
    read_motion(write(tmp_path / "m.bvh", lying))


def test_an_arm_begins_after_the_collar_bone() -> None:
    names = ["LeftShoulder", "LeftArm", "RightArm", "RightShoulder", "mixamorig:LeftHand", "LeftHand", "Root"]
    assert joints_of_keypoints(names) == {"left_shoulder": 1, "right_shoulder": 2, "left_hand": 4, "pelvis": 6}
    assert joints_of_keypoints(["LeftShoulder", "Left Shoulder"]) == {"left_shoulder": 0}
    biovision = ["LeftCollar", "LeftUpArm", "LeftLowArm", "LeftUpLeg", "LeftLowLeg", "RightUpperLeg", "RightLowerLeg"]
    expected = [None, "left_shoulder", "left_elbow", "left_hip", "left_knee", "right_hip", "right_knee"]
    assert [keypoint_of(name) for name in biovision] == expected


def test_a_missing_joint_is_named(tmp_path: Path) -> None:
    names = tuple("LeftFlipper" if name == "LeftFoot" else name for name in NAMES)
    path = write(tmp_path / "m.bvh", replace(still(), names=names))
    with pytest.raises(InvalidFileError, match=r"m\.bvh:2:1: no joint for 'left_ankle'"):
        read_motion(path)


# ---- hostile files ---------------------------------------------------------------------------------------------


def text_of(tmp_path: Path) -> str:
    return write(tmp_path / "m.bvh", still(), decimals=1).read_text()


JOINT = "JOINT b\n{\nOFFSET 0 0 0\nCHANNELS 3 Xrotation Yrotation Zrotation\n}\n"
BROKEN = {
    "empty": (lambda t: "", "1:1: not a BVH file"),
    "binary": (lambda t: "\0\1\2", "1:1: not a BVH file"),
    "no motion": (lambda t: t[: t.index("MOTION")], "the file ends before MOTION"),
    "cut in the middle": (lambda t: t[: len(t) // 3], "the file ends before MOTION"),
    "brace missing": (lambda t: t.replace("}\nMOTION", "MOTION"), "the '}' of line 2 is missing"),
    "brace too many": (lambda t: t.replace("}\nMOTION", "}\n}\nMOTION"), "expected ROOT or MOTION, got '}'"),
    "two people": (lambda t: t.replace("MOTION", "ROOT B\n{\n}\nMOTION"), "a second ROOT"),
    "no root": (lambda t: "HIERARCHY\nMOTION\n", "2:1: MOTION before the skeleton"),
    "joint at the top": (lambda t: t.replace("ROOT", "JOINT"), "2:1: JOINT is not expected here"),
    "nameless": (lambda t: t.replace("ROOT Hips", "ROOT"), "2:1: ROOT needs a name"),
    "joint in an end site": (lambda t: t.replace("OFFSET 0 -5 0", "JOINT x\n{\n}", 1), "JOINT is not expected here"),
    "offset nan": (lambda t: t.replace("OFFSET 0.0 -42.0 0.0", "OFFSET 0 nan 0", 1), "OFFSET: expected finite"),
    "offset huge": (lambda t: t.replace("OFFSET 0.0 -42.0 0.0", "OFFSET 0 1e300 0", 1), "OFFSET: expected finite"),
    "offset short": (lambda t: t.replace("OFFSET 0.0 -42.0 0.0", "OFFSET 0 1", 1), "expected 3 numbers, got 2"),
    "two offsets": (lambda t: t.replace("OFFSET 0 -5 0", "OFFSET 0 0 0\nOFFSET 0 0 0", 1), "'OFFSET 0 0 0' is not"),
    "no offset": (lambda t: t.replace("OFFSET 0 -5 0", "", 1), "'End Site' has no OFFSET"),
    "no channels": (lambda t: t.replace("CHANNELS 3 Z", "OFFSET 3 Z", 1), "is not expected here"),
    "four channels": (lambda t: t.replace("CHANNELS 3", "CHANNELS 4", 1), "CHANNELS: expected 3 or 6"),
    "twice z": (lambda t: t.replace("Zrotation Xrotation", "Zrotation Zrotation", 1), "CHANNELS: expected 3 or 6"),
    "w rotation": (lambda t: t.replace("Zrotation", "Wrotation", 1), "CHANNELS: expected 3 or 6"),
    "no frames": (lambda t: re.sub("Frames: .*", "", t), "expected 'Frames: N'"),
    "frames negative": (lambda t: t.replace("Frames: 2", "Frames: -2"), "expected 'Frames: N'"),
    "one frame": (lambda t: t.replace("Frames: 2", "Frames: 1"), "Frames: from 2 to"),
    "frames huge": (lambda t: t.replace("Frames: 2", "Frames: 999999999"), "Frames: from 2 to"),
    "frames without data": (lambda t: t.replace("Frames: 2", "Frames: 499999"), "too short for 499999 frames"),
    "frames more": (lambda t: t.replace("Frames: 2", "Frames: 3"), "the file ends after 2 of 3 frames"),
    "frames fewer": (lambda t: t + t.rstrip().rsplit("\n", 1)[1], "more than the 2 frames"),
    "time zero": (lambda t: re.sub("Time: .*", "Time: 0", t), "Frame Time: expected seconds"),
    "time nan": (lambda t: re.sub("Time: .*", "Time: nan", t), "Frame Time: expected finite"),
    "time text": (lambda t: re.sub("Time: .*", "Time: often", t), "Frame Time: expected finite"),
    "row short": (lambda t: t.rstrip().rsplit(" ", 1)[0], "frame 2: expected 54 numbers, got 53"),
    "row with inf": (lambda t: t.rstrip().rsplit(" ", 1)[0] + " inf", "frame 2: expected finite"),
    "deep": (lambda t: "HIERARCHY\nROOT a\n{\n" + "JOINT b\n{\n" * 100, "nested deeper than 64"),
    "wide": (lambda t: "HIERARCHY\nROOT a\n{\n" + JOINT * 400, "more than 300 joints"),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_is_one_line_with_its_place(tmp_path: Path, name: str) -> None:
    change, expected = BROKEN[name]
    good = text_of(tmp_path)
    broken = change(good)
    assert broken != good
    path = tmp_path / "bad.bvh"
    path.write_text(broken)
    with pytest.raises(InvalidFileError) as caught:
        read_motion(path)
    message = str(caught.value)
    assert expected in message
    assert re.match(r"\S*bad\.bvh:\d+:1: [^\n]+$", message)


def test_a_large_file_is_refused_before_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "m.bvh", still())
    monkeypatch.setattr(bvh_file, "MAX_BYTES", 1000)
    with pytest.raises(InvalidFileError, match="larger than 1 kB"):
        read_motion(path)


@pytest.mark.parametrize("form", ["crlf", "spaces", "one line braces", "lower case"])
def test_other_writers_habits_are_understood(tmp_path: Path, form: str) -> None:
    text = text_of(tmp_path)
    _, expected = read_motion(tmp_path / "m.bvh")
    changed = {
        "crlf": text.replace("\n", "\r\n"),
        "spaces": text.replace("\t", "    ").replace("Frames: ", "Frames:\t") + "\n\n",
        "one line braces": re.sub(r"\n\s*\{", " {", text),
        "lower case": text.replace("rotation", "ROTATION").replace("HIERARCHY", "hierarchy"),
    }[form]
    assert changed != text
    (tmp_path / "m.bvh").write_bytes(changed.encode())
    np.testing.assert_array_equal(read_motion(tmp_path / "m.bvh")[1], expected)


# ---- in a task -------------------------------------------------------------------------------------------------


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of the packaged scenes with a task whose person plays `motions/Guest.BVH`."""
    root = tmp_path / "scenes"
    shutil.copytree(scenes_folder(), root)
    (root / "motions").mkdir()
    steps = 20
    walking = replace(still(steps), root=np.linspace([0.0, 90.0, 0.0], [0.0, 90.0, 60.0], steps))
    write(root / "motions" / "Guest.BVH", walking)
    (root / "kitchen" / "tasks" / "guest.yaml").write_text(
        """schema: robotctl/task.v1
scene: ../scene.yaml
people:
  - {name: guest, clip: ../../motions/Guest.BVH, path: [-1.5 -2.0 m, 0.0 -2.0 m], start: 100 ms}
objective: {all: [{upright: cup_1}]}
within: 30 s
guardrails: [../../guardrails/household.yaml]
"""
    )
    return root


def test_a_task_plays_it_in_the_simulator(tree: Path) -> None:
    task = load_task(tree / "kitchen" / "tasks" / "guest.yaml")
    person = Person(task.people[0], np.random.default_rng(0))
    with BulletSimulator(replace(task.scene, items=()), task.people) as simulator:
        simulator.reset(1000)
        for _ in range(8):
            simulator.step(np.array([0.0] * 10 + [0.04]))
        truth = simulator.truth()
    np.testing.assert_allclose(truth.keypoints[-1, 0], person.keypoints(float(truth.time[-1])), atol=1e-12)
    # At 0.4 s it has walked 0.3 s of its 19/30 s: east along its path, 60 cm in all.
    pelvis = truth.keypoints[-1, 0, INDEX["pelvis"]]
    np.testing.assert_allclose(pelvis, [-1.5 + 0.6 * 0.3 / (19 / 30), -2.0, 0.9], atol=2e-3)


def test_an_episode_carries_it(tree: Path) -> None:
    task = load_task(tree / "kitchen" / "tasks" / "guest.yaml")
    shown = Person(task.people[0], np.random.default_rng(0)).keypoints(0.3)
    with unbundled(bundle(task)) as files:
        again = load_task(files.task)
        np.testing.assert_array_equal(Person(again.people[0], np.random.default_rng(0)).keypoints(0.3), shown)


@pytest.mark.parametrize("clip", ["/etc/m.bvh", "../../../m.bvh", "~/m.bvh", "robotctl:../m.bvh", "c:m.bvh"])
def test_a_clip_cannot_leave_the_tree(tree: Path, clip: str) -> None:
    write(tree.parent / "m.bvh", still())
    people = tree / "kitchen" / "people.yaml"
    people.write_text(f"schema: robotctl/people.v1\npeople:\n  - {{name: a, clip: '{clip}'}}\n")
    scene = load_task("kitchen/clear-table").scene
    with pytest.raises(InvalidFileError, match=r"people\.yaml:3:.*clip.*(relative to this file|leads out of)"):
        load_people(people, scene)
    people.write_text("schema: robotctl/people.v1\npeople:\n  - {name: a, clip: ../motions/Guest.BVH}\n")
    assert isinstance(load_people(people, scene)[0], PersonPlan)
