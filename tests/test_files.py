"""Files are read strictly: what is right loads, what is wrong is one line with its position, whatever it is."""

from __future__ import annotations

import json
import math
import re
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from robotctl.assets import check_mesh, check_urdf
from robotctl.cli.files_commands import guardrails_app, scenes_app, tasks_app
from robotctl.drawing.camera import overview
from robotctl.errors import InvalidFileError, RobotctlError, UsageError
from robotctl.files import load_yaml, parse_yaml
from robotctl.guardrails.blade_speed import BladeSpeed
from robotctl.guardrails.guardrail import in_force
from robotctl.guardrails.load import canonical, find_guardrails, load_guardrails
from robotctl.guardrails.separation import Separation
from robotctl.remarks import scene_remarks, task_remarks
from robotctl.robot import RobotModel
from robotctl.scene_files import load_scene
from robotctl.scene_paths import scene_names, scenes_folder
from robotctl.state import Held
from robotctl.task import load_people, load_task, places_named, starting, task_names
from robotctl.units import parse_vector

FUZZ = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)

CUP = """<robot name="cup"><link name="cup">
<inertial><mass value="0.25"/><inertia ixx="1e-3" iyy="1e-3" izz="1e-3" ixy="0" ixz="0" iyz="0"/></inertial>
<visual><geometry><mesh filename="meshes/cup.obj"/></geometry></visual>
<collision><geometry><cylinder radius="0.04" length="0.09"/></geometry></collision>
</link></robot>
"""
MESH = "v 0 0 0\nv 1 0 0\nv 0 1 0\nvn 0 0 1\nf 1//1 2//1 3//1\n"
KINDS = """schema: robotctl/kinds.v1
kinds:
  - name: cup
    labels: [dish, cup, fillable]
    urdf: cup.urdf
    mass: 250 g
    friction: 0.6
    height: 95 mm
    radius: 42 mm
    spheres: [0 0 30 52 mm, 0 0 65 52 mm]
    grasps:
      - name: rim
        kind: rim
        position: 40 0 85 mm
        approach: [0, 0, -2]
        closing: [1, 0, 0]
        opening: 60 mm
        symmetric: true
"""
SCENE = """schema: robotctl/scene.v1
name: room
robot_start: {base: 0.3 0.65 m, yaw: 90 deg}
actuators:
  latency: 25 ms
  stiffness: 25 rad/s
  damping: 1
  friction: {base: 15 N, base_yaw: 2 N m, arm: 0.6 0.6 0.6 0.6 0.3 0.3 0.3 N m}
  torque_limit: {base: 400 N, base_yaw: 120 N m, arm: 87 87 87 87 12 12 12 N m}
  grip_force: 35 N
sensors: {latency: 33 ms, human_error: 15 mm, object_error: 3 mm, dropout: 0.02, encoder_noise: 0.01 deg}
kinds: [../assets/kinds.yaml]
furniture:
  - name: table
    labels: [table]
    boxes:
      - {name: top, center: 0.3 -0.6 0.73 m, size: 1.4 0.8 0.04 m, color: [0.7, 0.5, 0.3]}
places:
  - {name: table, labels: [table], center: 0.3 -0.6 0.75 m, size: 1.4 0.8 m, overhang_edge: [0, 1]}
  - {name: floor, labels: [floor], center: 0 2 0 m, size: 1 1 m}
regions:
  - {name: hob, labels: [stove], center: 1 2 1 m, size: 0.5 0.5 0.5 m}
items:
  - {name: cup_1, kind: cup, position: 0.3 -0.3 0.75 m, jitter: 2 cm, turn: 180 deg}
  - {name: cup_2, kind: cup, position: 0 2 0 m}
"""
TASK = """schema: robotctl/task.v1
scene: ../scene.yaml
people:
  - name: guest
    path: [2 -2 m, 0.3 -1.5 m]
    reach: [{at: 1, target: 0.3 -0.9 0.98 m, hold: 3 s}]
objective:
  all:
    - {forall: {label: dish, on: table}, is: on, place: floor}
    - {not: {upright: cup_1}}
within: 3 min
guardrails: [../../guardrails/rules.yaml]
"""
RULES = """schema: robotctl/guardrails.v1
name: rules
assumptions:
  human_speed: {torso: 1.6 m/s, arm: 2 m/s, hand: 2 m/s, leg: 3 m/s}
  sensing_latency: 50 ms
  human_error: 20 mm
  object_error: 4 mm
  tracking_error: 8 mm
  tracking_speed_error: 0.06 m/s
  actuation_latency: 60 ms
  source: measured
guardrails:
  - id: blade
    kind: blade_speed
    scope: {held: sharp}
    radius: 0.3 m
    slope: 1.0 1/s
    v_max: 0.25 m/s
    tier: 1
    source: project
  - {id: hob, kind: keep_out, region: hob, tier: 2, source: project}
"""
FILES = {
    "scenes/room/scene.yaml": SCENE,
    "scenes/room/tasks/tidy.yaml": TASK,
    "scenes/assets/kinds.yaml": KINDS,
    "scenes/assets/cup.urdf": CUP,
    "scenes/assets/meshes/cup.obj": MESH,
    "scenes/guardrails/rules.yaml": RULES,
}
NAMES = {
    "scene": "scenes/room/scene.yaml",
    "task": "scenes/room/tasks/tidy.yaml",
    "kinds": "scenes/assets/kinds.yaml",
    "urdf": "scenes/assets/cup.urdf",
    "mesh": "scenes/assets/meshes/cup.obj",
    "rules": "scenes/guardrails/rules.yaml",
}


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small valid tree of files, and the working directory in it."""
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def load_all(house: Path) -> None:
    task = load_task(house / NAMES["task"])
    load_guardrails(task.guardrail_files, task.scene)


def refusal(action: Callable[[], object]) -> str | None:
    """What an action says when it refuses a file, in one line; None if it does not. Nothing else may be raised."""
    try:
        action()
    except InvalidFileError as error:
        return str(error)
    return None


def error_of(house: Path, file: str, old: str, new: str) -> str:
    """The line that loading says once `old` is replaced in one file."""
    path = house / NAMES[file]
    text = path.read_text()
    assert text.count(old) >= 1, old
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(InvalidFileError) as caught:
        load_all(house)
    assert caught.value.exit_code == 3
    return str(caught.value)


# ---- what is right ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", scene_names())
def test_packaged_scenes_load_without_remarks(name: str) -> None:
    scene = load_scene(name)
    assert scene.name == name
    assert scene_remarks(scene) == []


@pytest.mark.parametrize("name", task_names())
def test_packaged_tasks_load_without_remarks(name: str) -> None:
    task = load_task(name)
    assert task.name == name
    rules = load_guardrails(task.guardrail_files, task.scene)
    assert task_remarks(task, rules.assumptions) == []


def test_values_are_si_and_positions_are_kept(house: Path) -> None:
    task = load_task(house / NAMES["task"])
    scene = task.scene
    kind = scene.kind_of("cup_1")
    assert kind.mass == pytest.approx(0.25)
    assert kind.spheres[1] == pytest.approx([0, 0, 0.065, 0.052])
    assert kind.grasps[0].approach == pytest.approx([0, 0, -1])  # made a unit vector
    assert scene.robot_start[:3] == pytest.approx([0.3, 0.65, math.pi / 2])
    assert scene.robot_start.shape == scene.actuators.friction.shape == scene.actuators.torque_limit.shape == (10,)
    assert scene.items[0].turn == pytest.approx(math.pi)
    assert scene.boxes()[0].half == pytest.approx([0.7, 0.4, 0.02])
    assert task.within == 180
    assert task.name == "room/tidy"
    dish, upright = task.objective
    assert (dish.is_, dish.place, dish.forall, dish.origin, dish.negate) == ("on", "floor", {"dish"}, "table", False)
    assert (upright.is_, upright.object, upright.negate) == ("upright", "cup_1", True)
    assert starting(scene, dish.forall, dish.origin) == ("cup_1",)
    assert starting(scene, dish.forall, None) == ("cup_1", "cup_2")
    assert [p.name for p in places_named(scene, "table")] == ["table"]


def test_clear_table_names_what_begins_on_the_table() -> None:
    task = load_task("kitchen/clear-table")
    names = {n for p in task.objective for n in starting(task.scene, p.forall, p.origin)}
    assert names == {"cup_1", "cup_2", "bowl_1", "bowl_2", "plate_1", "fork_1"}


def test_people_files_stand_alone(house: Path) -> None:
    path = house / "scenes/room/crowd.yaml"
    path.write_text("schema: robotctl/people.v1\npeople: [{name: a, clip: stand, path: [2 -2 m]}]\n")
    (person,) = load_people(path, load_scene(house / NAMES["scene"]))
    assert person.clip == "stand"
    assert person.path.shape == (1, 2)


def test_words_of_yaml_1_1_stay_words() -> None:
    document = parse_yaml("{on: yes, off: 1e3, no: 010, date: 2024-01-01, base: 1:30, none: ~}", Path("x.yaml"))
    assert document.data == {"on": "yes", "off": 1000.0, "no": 10, "date": "2024-01-01", "base": "1:30", "none": None}


# ---- what is wrong: the exact line -----------------------------------------------------------------------------

# file, what is replaced, by what, what is said after the file's name
TYPOS = [
    ("scene", "dropout:", "droput:",
     "11:67: key 'sensors.droput': unknown key; did you mean 'dropout'?"),
    ("scene", "15 mm", "15 mmm",
     "11:40: key 'sensors.human_error': unknown unit 'mmm'; did you mean 'mm'?"),
    ("scene", "15 mm", "15",
     "11:40: key 'sensors.human_error': '15' has no unit; write it like '40 mm'"),
    ("scene", "15 mm", "15 ms",
     "11:40: key 'sensors.human_error': 'ms' does not measure what is asked for here: give it in m"),
    ("scene", "35 N\n", ".nan\n",
     "10:15: key 'grip_force': '.nan' is not a finite number"),
    ("scene", "35 N\n", "1e999 N\n",
     "10:15: key 'actuators.grip_force': numbers must be finite"),
    ("scene", "damping: 1", "damping: .inf",
     "7:12: key 'damping': '.inf' is not a finite number"),
    ("scene", "damping: 1", "damping: true",
     "7:12: key 'actuators.damping': should be a valid number"),
    ("scene", "labels: [table]\n", "labels: [tabel]\n",
     "15:14: key 'furniture[0].labels[0]': unknown label 'tabel'; did you mean 'table'?"),
    ("scene", "kind: cup,", "kind: cpu,",
     "24:25: key 'items[0].kind': unknown object kind 'cpu'; did you mean 'cup'?"),
    ("scene", "name: cup_2", "name: cup_1",
     "25:12: key 'items[1].name': 'cup_1' is used twice"),
    ("scene", "name: room", "name: &a room",
     "2:7: anchors (&name) are not allowed"),
    ("scene", "name: room", "name: room\nname: hall",
     "3:1: key 'name': given twice"),
    ("scene", "name: room\n", "",
     "1:1: key 'name': is missing"),
    ("scene", "scene.v1", "scene.v2",
     "1:9: key 'schema': expected 'robotctl/scene.v1'"),
    ("scene", "1.4 0.8 0.04 m", "1.4 0.8 m",
     "17:52: key 'furniture[0].boxes[0].size': expected 3 numbers with a unit such as '0.5 0.5 0.5 m', got 2"),
    ("scene", "1.4 0.8 0.04 m", "1.4 0 0.04 m",
     "17:52: key 'furniture[0].boxes[0].size': every number must be above 0"),
    ("scene", "[0, 1]", "[1, 1]",
     "19:93: key 'places[0].overhang_edge': must be square to one side of the place"),
    ("scene", "../assets/kinds.yaml", "../../../kinds.yaml",
     "12:9: key 'kinds[0]': '../../../kinds.yaml' leads out of scenes/"),
    ("scene", "../assets/kinds.yaml", "/etc/passwd",
     "12:9: key 'kinds[0]': expected a path relative to this file, got '/etc/passwd'"),
    ("scene", "../assets/kinds.yaml", "../assets/kind.yaml",
     "12:9: key 'kinds[0]': no such file '../assets/kind.yaml'"),
    ("kinds", "mass: 250 g", "mass: 350 g",
     "6:11: key 'kinds[0].mass': 0.35 kg, but cup.urdf weighs 0.25 kg"),
    ("kinds", "kind: rim", "kind: rin",
     "13:15: key 'kinds[0].grasps[0].kind': unknown word 'rin'; did you mean 'rim'?"),
    ("kinds", "fillable]", "sharp]",
     "4:13: key 'kinds[0].labels': the label 'sharp' and 'blade_spheres' go together"),
    ("kinds", "closing: [1, 0, 0]", "closing: [0, 0, 1]",
     "16:18: key 'kinds[0].grasps[0].closing': must be square to 'approach'"),
    ("task", "label: dish", "label: dishes",
     "9:24: key 'objective.all[0].forall.label': unknown label 'dishes'; did you mean 'dish'?"),
    ("task", "on: table}, is: on", "on: tabel}, is: on",
     "9:34: key 'objective.all[0].forall.on': no place 'tabel' in scene room; did you mean 'table'?"),
    ("task", "is: on", "is: over",
     "9:46: key 'objective.all[0].is': unknown predicate 'over'; did you mean 'open'?"),
    ("task", "is: on", "is: next_to",
     "9:46: key 'objective.all[0].is': 'next_to' is not supported yet by this version; "
     "supported: at, inside, on, sliced, upright"),
    ("task", "upright: cup_1", "open: cup_1",
     "10:20: key 'objective.all[1].not.open': 'open' is not supported yet by this version; "
     "supported: at, inside, on, sliced, upright"),
    ("task", "upright: cup_1", "upright: cup_3",
     "10:23: key 'objective.all[1].not.upright': no object 'cup_3' in scene room; did you mean 'cup_2'?"),
    ("task", "on: table}", "on: floor, and: table}",
     "9:41: key 'objective.all[0].forall.and': unknown key; one of: label, on"),
    ("task", ", place: floor", "",
     "9:7: key 'objective.all[0].place': is missing"),
    ("task", "name: guest", "name: guest\n    clip: wlak",
     "5:11: key 'people[0].clip': unknown clip 'wlak'; did you mean 'walk'? (or an .npz or .bvh file)"),
    ("task", "at: 1", "at: 2",
     "6:18: key 'people[0].reach[0].at': the path has only 2 points (counted from 0)"),
    ("task", "0.3 -0.9 0.98 m", "0.3 0.9 0.98 m",
     "6:29: key 'people[0].reach[0].target': out of reach: 2.40 m from where the person stands"),
    ("task", "0.3 -1.5 m", "0.3 -0.9 m",
     "5:20: key 'people[0].path[1]': the person would stand in furniture 'top'"),
    ("task", "within: 3 min", "within: 3",
     "11:9: key 'within': '3' has no unit; write it like '50 ms'"),
    ("task", "rules.yaml", "rule.yaml",
     "12:14: key 'guardrails[0]': no such file '../../guardrails/rule.yaml'"),
    ("rules", "    source: project\n", "",
     "13:5: key 'guardrails[0].source': is missing"),
    ("rules", "kind: blade_speed", "kind: blade_sped",
     "14:11: key 'guardrails[0].kind': unknown word 'blade_sped'; did you mean 'blade_speed'?"),
    ("rules", "kind: blade_speed", "kind: undisturbd",
     "14:11: key 'guardrails[0].kind': unknown word 'undisturbd'; did you mean 'undisturbed'?"),
    ("rules", "    kind: blade_speed\n", "",
     "13:5: key 'guardrails[0].kind': is missing"),
    ("rules", "    radius: 0.3 m", "    radios: 0.3 m",
     "16:5: key 'guardrails[0].radios': unknown key; did you mean 'radius'?"),
    ("rules", "    radius: 0.3 m", "    radius: 0.3 m\n    radios: 0.3 m",
     "17:5: key 'guardrails[0].radios': unknown key; did you mean 'radius'?"),
    ("rules", "1.0 1/s", "1.0 /s",
     "17:12: key 'guardrails[0].slope': '/s' is not a unit; did you mean 's'?"),
    ("rules", "held: sharp", "held: shrap",
     "15:19: key 'guardrails[0].scope.held': unknown label 'shrap'; did you mean 'sharp'?"),
    ("rules", "region: hob", "region: hop",
     "21:39: key 'guardrails[1].region': no region 'hop'; did you mean 'hob'?"),
    ("rules", "id: hob", "id: blade",
     "21:10: key 'guardrails[1].id': 'blade' is used twice"),
    ("rules", "hand: 2 m/s, ", "",
     " key 'assumptions.human_speed.hand': is missing"),
    ("mesh", "f 1//1 2//1 3//1", "f 1//1 2//1 4//1",
     "5:1: face index 4 is out of range: 3 'v' lines before it"),
    ("mesh", "v 0 1 0", "v 0 nan 0",
     "3:1: 'v': expected finite numbers"),
    ("mesh", "vn 0 0 1", "call other.obj",
     "4:1: 'call' is not a statement of a plain OBJ file"),
    ("mesh", "vn 0 0 1", "mtllib ../../../x.mtl",
     "4:1: '../../../x.mtl' leads out of scenes/"),
    ("urdf", "meshes/cup.obj", "/tmp/cup.obj",
     "3:1: '/tmp/cup.obj': expected a path relative to this file"),
    ("urdf", "meshes/cup.obj", "package://cup.obj",
     "3:1: 'package://cup.obj': expected a path relative to this file"),
    ("urdf", "meshes/cup.obj", "meshes/cup.stl",
     "3:1: 'meshes/cup.stl': only .obj files are read here"),
    ("urdf", 'mass value="0.25"', 'mass value="-1"',
     "2:1: link 'cup': the mass must be above 0 and below 1000 kg"),
    ("urdf", 'mass value="0.25"', 'mass value="nan"',
     "2:1: <mass value>: expected 1 finite number"),
    ("urdf", 'izz="1e-3"', 'izz="1"',
     "2:1: link 'cup': no body has this inertia"),
    ("urdf", 'radius="0.04"', 'radius="0"',
     "4:1: <cylinder radius>: must be above 0 and below 100"),
    ("urdf", "</robot>", "",
     "6:1: not XML: no element found"),
    ("urdf", "<robot", "<!DOCTYPE a [<!ENTITY b 'c'>]><robot",
     "1:1: document types and entities are not allowed"),
]  # fmt: skip


@pytest.mark.parametrize(("file", "old", "new", "line"), TYPOS)
def test_a_mistake_is_one_line(house: Path, file: str, old: str, new: str, line: str) -> None:
    assert error_of(house, file, old, new) == f"{NAMES[file]}:{line}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: &x [1]\nb: *x\n", "x.yaml:1:4: anchors (&name) are not allowed"),
        ("b: *x\n", "x.yaml:1:4: aliases (*name) are not allowed"),
        ("a: !!python/object:os.system x\n", "x.yaml:1:4: tags (!name) are not allowed"),
        ("<<: {a: 1}\nb: 1\n", None),
        ("a: 1\n---\nb: 2\n", "x.yaml:2:1: only one YAML document is allowed"),
        ("", "x.yaml:1:1: the file is empty"),
        ("[" * 40 + "]" * 40, "x.yaml:1:33: nested deeper than 32"),
        ("[" * 400_000, "x.yaml:1:33: nested deeper than 32"),
        ("? [a]\n: 1\n", "x.yaml:1:3: a key must be a plain word"),
        ("a: 1\n" * 300_000, "x.yaml: larger than 1000 kB"),
        ("a: \x00", None),
        ("a: [1\n", None),
        ("\ud800: 1", None),
    ],
)
def test_hostile_yaml(text: str, message: str | None) -> None:
    said = refusal(lambda: parse_yaml(text, Path("x.yaml")))
    assert said == message or message is None
    assert "\n" not in (said or "")


def test_a_yaml_bomb_is_refused_at_its_first_anchor(house: Path) -> None:
    bomb = "a: &a [x, x, x, x]\n" + "".join(
        f"{c}: &{c} [*{p}, *{p}, *{p}]\n" for p, c in zip("abcdefgh", "bcdefghi", strict=True)
    )
    assert error_of(house, "scene", SCENE, bomb).endswith(":1:4: anchors (&name) are not allowed")


def test_files_that_are_none(house: Path) -> None:
    path = house / "scenes/room/other.yaml"
    cases: list[tuple[Callable[[], object], str]] = [
        (path.mkdir, "other.yaml: no such file"),
        (lambda: (path.rmdir(), path.write_bytes(b"\xff\xfe\x00")), "other.yaml:1:1: not UTF-8 text"),
        (lambda: path.write_text("- 1\n"), "expected a map"),
        (lambda: path.write_bytes(b"x" * 2_000_000), "larger than 1000 kB"),
    ]
    for prepare, message in cases:
        prepare()
        with pytest.raises(InvalidFileError, match=re.escape(message)):
            load_task(path)


def test_a_name_is_shown_without_control_characters(tmp_path: Path) -> None:
    with pytest.raises(InvalidFileError, match=re.escape("t??sks.yaml: no such file")):
        load_yaml(tmp_path / "t\x7f\x1bsks.yaml")


def test_a_link_out_of_the_tree_is_refused(house: Path) -> None:
    outside = house / "outside.yaml"
    outside.write_text(KINDS)
    target = house / NAMES["kinds"]
    target.unlink()
    target.symlink_to(outside)
    with pytest.raises(InvalidFileError, match="leads out of scenes/"):
        load_scene(house / NAMES["scene"])


def test_large_meshes_are_refused(house: Path) -> None:
    mesh = house / NAMES["mesh"]
    mesh.write_text("v 0 0 0\n" * 100_001 + "f 1 2 3\n")
    with pytest.raises(InvalidFileError, match="more than 100000 vertices"):
        check_mesh(mesh)
    mesh.write_text("#" * 9_000_000)
    with pytest.raises(InvalidFileError, match="larger than 8000 kB"):
        check_mesh(mesh)


def test_unknown_names_are_usage_errors_with_the_nearest_name() -> None:
    for load, wrong, right in (
        (load_scene, "kitchn", "kitchen"),
        (load_task, "kitchen/clear-tabel", "kitchen/clear-table"),
        (find_guardrails, "houshold", "household"),
    ):
        with pytest.raises(UsageError, match=f"did you mean '{right}'") as caught:
            load(wrong)
        assert caught.value.exit_code == 2


# ---- fuzzing: only InvalidFileError ever escapes ---------------------------------------------------------------


@FUZZ
@given(st.text(max_size=300) | st.text(alphabet="ab:-[]{}&*!#'\"|>%@?, \n\t~.01", max_size=200))
def test_any_text_parses_or_is_refused(text: str) -> None:
    said = refusal(lambda: parse_yaml(text, Path("x.yaml")))
    assert said is None or re.fullmatch(r"x\.yaml(:\d+:\d+)?: .+", said)


@pytest.mark.parametrize("key", ["\n", "a\nb", "\x1b[31m", "\u2028", "x" * 1000])
def test_an_error_repeats_no_key_that_breaks_its_line(key: str) -> None:
    document = parse_yaml(json.dumps({"robot": {key: 1}}), Path("x.yaml"))
    said = str(document.error(("robot", key), "unknown key", key=True))
    assert re.fullmatch(r"x\.yaml:1:\d+: key 'robot\.[^']*': unknown key", said)
    assert said.isprintable()
    assert len(said) < 200


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)


@FUZZ
@given(file=st.sampled_from(["scene", "task", "kinds", "rules"]), data=st.data())
def test_a_value_replaced_by_anything_loads_or_is_refused(house: Path, file: str, data: st.DataObject) -> None:
    """Any one value of a valid file, at any depth, becomes any other value: no other exception than ours."""
    text = FILES[NAMES[file]]
    content = parse_yaml(text, Path("x.yaml"))
    location = data.draw(st.sampled_from([where for where in content.values if where]))
    container = content.data
    for part in location[:-1]:
        container = container[part]
    container[location[-1]] = data.draw(VALUES)
    path = house / NAMES[file]
    path.write_text(json.dumps(content.data))  # JSON is YAML
    said = refusal(lambda: load_all(house))
    path.write_text(text)
    assert said is None or re.fullmatch(r"scenes/[\w./-]+(:\d+:\d+)?: .+", said)


@FUZZ
@given(
    file=st.sampled_from(sorted(NAMES)),
    where=st.floats(0, 1),
    length=st.integers(0, 12),
    put=st.text(max_size=6) | st.sampled_from(["../", "-", "nan", "1e400", "0", "\n", "  ", ": ", "[", "}", "&", "*"]),
)
def test_a_damaged_file_loads_or_is_refused(house: Path, file: str, where: float, length: int, put: str) -> None:
    text = FILES[NAMES[file]]
    at = int(where * len(text))
    path = house / NAMES[file]
    path.write_bytes((text[:at] + put + text[at + length :]).encode("utf-8", "surrogatepass"))
    said = refusal(lambda: load_all(house))
    path.write_text(text)
    assert said is None or re.fullmatch(r"scenes/[\w./-]+(:\d+:\d+)?: .+", said)


@FUZZ
@given(st.text(alphabet="0123456789eE+-. mskgradegN/*^()n", max_size=20), st.sampled_from(["m", "1/s", "N m"]))
def test_any_quantity_is_finite_or_refused(text: str, unit: str) -> None:
    try:
        (value,) = parse_vector(text, unit, 1)
    except ValueError:
        return
    assert math.isfinite(value)


@given(st.floats(-1e6, 1e6))
def test_units_convert(value: float) -> None:
    assert parse_vector(f"{value!r} mm", "m", 1)[0] == pytest.approx(value / 1000, rel=1e-12)
    assert parse_vector(f"{value!r} deg", "rad", 1)[0] == pytest.approx(math.radians(value), rel=1e-12)
    assert parse_vector(f"{value!r} 1/min", "1/s", 1)[0] == pytest.approx(value / 60, rel=1e-12)
    assert parse_vector(f"{value!r} m/s", "m/s", 1)[0] == value


# ---- guardrails ------------------------------------------------------------------------------------------------


def held(label: str) -> Held:
    return Held("x", "x", frozenset({label}), np.eye(4))


def test_household_applies_by_what_is_held() -> None:
    rules = load_guardrails([find_guardrails("household")], load_scene("kitchen"))
    always = {rule.header.id for rule in in_force(rules.guardrails, None, "none")}
    assert always == {
        "human-separation", "furniture-clearance", "stove-keep-out", "speed", "joint-limits", "contact-force",
        "undisturbed",
    }  # fmt: skip
    sharp = {r.header.id for r in in_force(rules.guardrails, held("sharp"), "pick")} - always
    assert sharp == {"blade-near-human", "sharp-grasp", "sharp-placement"}
    hot = {r.header.id for r in in_force(rules.guardrails, held("hot"), "pick")} - always
    assert hot == {"hot-near-human"}
    assert {r.header.id for r in in_force(rules.guardrails, held("fillable"), "place")} - always == {
        "upright-when-filled"
    }
    assert all(rule.header.source for rule in rules.guardrails)
    assert rules.assumptions.keypoint_speed() == pytest.approx([1.6, 2.0, 2.0, 3.0])


def test_files_compose_by_conjunction(house: Path) -> None:
    scene = load_scene(house / NAMES["scene"])
    first = house / NAMES["rules"]
    second = house / "scenes/guardrails/more.yaml"
    second.write_text(
        RULES.replace("name: rules", "name: more")
        .replace("radius: 0.3 m", "radius: 0.5 m")
        .replace("human_error: 20 mm", "human_error: 10 mm")
        .replace("sensing_latency: 50 ms", "sensing_latency: 90 ms")
    )
    one, both = load_guardrails([first], scene), load_guardrails([first, second], scene)
    assert both.name == "rules+more"
    assert {canonical(rule) for rule in one.guardrails} < {canonical(rule) for rule in both.guardrails}
    blades = [rule for rule in both.guardrails if isinstance(rule, BladeSpeed)]
    assert [rule.radius for rule in blades] == [0.3, 0.5]  # the same id twice: both hold
    assert len(both.guardrails) == 3  # the keep_out is the same in both and counts once
    assert (both.assumptions.human_error, both.assumptions.sensing_latency) == (0.02, 0.09)  # the more cautious
    assert both.sha256 == load_guardrails([second, first], scene).sha256 != one.sha256


def test_relaxing_needs_a_known_id_and_a_reason_and_is_recorded(house: Path) -> None:
    scene = load_scene(house / NAMES["scene"])
    paths = [house / NAMES["rules"]]
    full = load_guardrails(paths, scene)
    relaxed = load_guardrails(paths, scene, {"blade": "the knife is blunt"})
    assert relaxed.relaxed == {"blade": "the knife is blunt"}
    assert [rule.header.id for rule in relaxed.guardrails] == ["hob"]
    assert relaxed.sha256 != full.sha256 != load_guardrails(paths, scene, {"blade": "other"}).sha256
    for relax in ({"balde": "why not"}, {"blade": " "}):
        with pytest.raises(UsageError):
            load_guardrails(paths, scene, relax)


def test_hash_follows_meaning_not_writing(house: Path) -> None:
    scene = load_scene(house / NAMES["scene"])
    path = house / NAMES["rules"]
    before = load_guardrails([path], scene).sha256
    path.write_text("# a remark\n" + RULES.replace("radius: 0.3 m", "radius: 300 mm"))
    assert load_guardrails([path], scene).sha256 == before
    path.write_text(RULES.replace("radius: 0.3 m", "radius: 301 mm"))
    assert load_guardrails([path], scene).sha256 != before


def test_a_label_without_regions_forbids_nothing_and_says_nothing_wrong(house: Path) -> None:
    path = house / NAMES["rules"]
    path.write_text(RULES.replace("region: hob", "label: sink"))
    (rule,) = [
        r for r in load_guardrails([path], load_scene(house / NAMES["scene"])).guardrails if r.header.id == "hob"
    ]
    assert rule.boxes.center.shape == (0, 3)


def test_rules_over_the_kitchen_have_margins() -> None:
    """The loaded objects really are guardrails: each gives finite margins for a robot that stands still."""
    from robotctl.trajectory import Trajectory

    scene = load_scene("kitchen")
    rules = load_guardrails([find_guardrails("household")], scene)
    states = np.tile(np.concatenate([scene.robot_start, np.zeros(10)]), (3, 1))
    zero = np.zeros(3)
    still = Trajectory(
        zero, states, np.zeros((2, 11)), np.zeros((3, 0, 20, 3)), np.zeros((3, 0, 20)), zero, zero, np.zeros((3, 10))
    )
    robot = RobotModel()
    for rule in rules.guardrails:
        margin = rule.margin(robot.sweep(still), robot)
        assert np.all(margin >= 0), rule.header.id
    assert any(isinstance(rule, Separation) for rule in rules.guardrails)


# ---- remarks ---------------------------------------------------------------------------------------------------


def remarks_of(house: Path, file: str, old: str, new: str) -> list[str]:
    path = house / NAMES[file]
    path.write_text(path.read_text().replace(old, new, 1))
    task = load_task(house / NAMES["task"])
    return task_remarks(task, load_guardrails(task.guardrail_files, task.scene).assumptions)


@pytest.mark.parametrize(
    ("file", "old", "new", "said"),
    [
        ("scene", "0.3 -0.3 0.75 m", "0.3 -0.3 0.75 m", []),
        ("scene", "position: 0 2 0 m", "position: 0 2 0.4 m", ["item 'cup_2' rests on nothing: it will fall"]),
        ("scene", "position: 0 2 0 m", "position: 0.3 -0.6 0.72 m", ["item 'cup_2' is inside furniture 'top'"]),
        ("scene", "human_error: 15 mm", "human_error: 30 mm",
         ["sensors: human_error 0.03 m, the guardrails assume at most 0.02 m"]),
        ("task", "2 -2 m", "0.3 1 m", ["person 'guest' walks through furniture 'top'"]),
        ("kinds", KINDS[KINDS.index("    grasps") :], "",
         ["object 'cup_1' cannot be picked up: its kind 'cup' has no grasps"]),
    ],
)  # fmt: skip
def test_remarks(house: Path, file: str, old: str, new: str, said: list[str]) -> None:
    assert remarks_of(house, file, old, new) == said


def test_a_person_faster_than_assumed_is_remarked(house: Path) -> None:
    remarks = remarks_of(house, "rules", "torso: 1.6 m/s", "torso: 0.5 m/s")
    assert [remark for remark in remarks if "torso" in remark and "assume at most 0.5 m/s" in remark]


# ---- commands --------------------------------------------------------------------------------------------------

RUNNER = CliRunner()


def test_commands_list_show_and_check() -> None:
    assert "kitchen" in RUNNER.invoke(scenes_app, ["list"]).stdout
    assert "cup_1" in RUNNER.invoke(scenes_app, ["show", "kitchen"]).stdout
    assert RUNNER.invoke(scenes_app, ["check", "kitchen"]).stdout.startswith("ok: scene kitchen")
    assert "kitchen/clear-table" in RUNNER.invoke(tasks_app, ["list"]).stdout
    assert "on counter" in RUNNER.invoke(tasks_app, ["show", "kitchen/clear-table"]).stdout
    assert RUNNER.invoke(tasks_app, ["check", "kitchen/put-away-knife"]).stdout.startswith("ok: task")
    assert "household" in RUNNER.invoke(guardrails_app, ["list"]).stdout
    shown = RUNNER.invoke(guardrails_app, ["show", "household"]).stdout
    for text in ("ISO/TS 15066", "radius 0.3 m, slope 1 1/s, v_max 0.25 m/s;", "limit 65 N", "latency      0.06 s"):
        assert text in shown
    assert RUNNER.invoke(guardrails_app, ["check", "household"]).stdout.startswith("ok: 12 guardrails")


@pytest.mark.parametrize(
    ("app", "arguments"),
    [
        (scenes_app, ["list"]), (scenes_app, ["show", "kitchen"]), (scenes_app, ["check", "kitchen"]),
        (tasks_app, ["list"]), (tasks_app, ["show", "kitchen/clear-table"]),
        (tasks_app, ["check", "kitchen/clear-table"]),
        (guardrails_app, ["list"]), (guardrails_app, ["show", "household"]), (guardrails_app, ["check", "household"]),
    ],
)  # fmt: skip
def test_json_answers_are_one_object_with_a_schema(app: object, arguments: list[str]) -> None:
    result = RUNNER.invoke(app, [*arguments, "--json"])  # type: ignore[arg-type]
    assert result.exit_code == 0, result.exception
    assert json.loads(result.stdout)["schema"].startswith("robotctl/")


def test_schemas_describe_the_packaged_files() -> None:
    for app, options in (
        (scenes_app, []),
        (scenes_app, ["--kinds"]),
        (tasks_app, []),
        (tasks_app, ["--people"]),
        (guardrails_app, []),
    ):
        schema = json.loads(RUNNER.invoke(app, ["schema", *options]).stdout)
        assert schema["type"] == "object"
        assert schema["additionalProperties"] is False
        assert "schema" in schema["required"]


@pytest.mark.parametrize(
    ("app", "name"),
    [(scenes_app, "scene"), (tasks_app, "task"), (guardrails_app, "guardrails")],
    ids=["scene", "task", "guardrails"],
)
def test_published_schemas_are_the_present_ones(app: object, name: str) -> None:
    """If this fails: `robotctl guardrails schema > docs/schemas/guardrails.v1.json`, and so for the others."""
    published = Path(__file__).parent.parent / "docs" / "schemas" / f"{name}.v1.json"
    assert json.loads(published.read_text()) == json.loads(RUNNER.invoke(app, ["schema"]).stdout)


def test_a_guardrail_file_without_assumptions_is_checked_with_the_household_ones(house: Path) -> None:
    path = house / "scenes/guardrails/mine.yaml"
    path.write_text(
        "schema: robotctl/guardrails.v1\nname: mine\nguardrails:\n"
        "  - {id: slow, kind: speed, v_max: 0.2 m/s, tier: 3, source: my wish}\n"
    )
    result = RUNNER.invoke(guardrails_app, ["check", str(path)])
    assert result.exit_code == 0, result.exception
    assert "ok: 13 guardrails" in result.stdout
    assert "together with those of household" in result.stderr


def test_a_broken_file_is_our_error(house: Path) -> None:
    (house / NAMES["scene"]).write_text(SCENE.replace("droput", "").replace("dropout", "droput"))
    result = RUNNER.invoke(scenes_app, ["check", NAMES["scene"]])
    assert isinstance(result.exception, RobotctlError)
    assert result.exception.exit_code == 3


# ---- pictures and packaging ------------------------------------------------------------------------------------


def test_camera_puts_its_target_in_the_middle_and_up_is_up() -> None:
    camera = overview(load_scene("kitchen"))
    right, up, forward = camera.axes()
    assert np.allclose(camera.axes() @ camera.axes().T, np.eye(3))
    assert np.allclose(np.cross(right, up), -forward)
    assert up[2] > 0.5
    assert right[2] == pytest.approx(0.0, abs=1e-12)
    assert np.allclose(camera.eye + np.linalg.norm(camera.target - camera.eye) * forward, camera.target)


def test_the_packaged_scenes_hold_data_only() -> None:
    allowed = {".yaml", ".urdf", ".obj", ".mtl", ".png", ".jpg", ".npz", ".md", ".txt", ".safetensors", ".json"}
    files = [path for path in scenes_folder().rglob("*") if path.is_file()]
    assert {path.suffix for path in files} <= allowed
    for path in files:
        if path.suffix == ".obj":
            check_mesh(path)


def test_a_copied_scene_loads_outside_the_package(tmp_path: Path) -> None:
    """How a user begins a scene of his own: copy, change, point at the packaged object kinds."""
    text = load_scene("kitchen").text.replace("../assets/", "robotctl:assets/")
    (tmp_path / "mine.yaml").write_text(text)
    assert len(load_scene(tmp_path / "mine.yaml").items) == len(load_scene("kitchen").items)


def test_urdf_of_furniture_may_have_no_mass(house: Path) -> None:
    path = house / "scenes/assets/shelf.urdf"
    path.write_text(
        '<robot name="s"><link name="s"><visual><geometry><box size="1 1 1"/></geometry></visual></link></robot>'
    )
    assert check_urdf(path, movable=False) == 0
    with pytest.raises(InvalidFileError, match="<inertial> with <mass> and <inertia> is missing"):
        check_urdf(path)
    shutil.copy(path, house / "scenes/assets/again.urdf")
    (house / "scenes/assets/again.urdf").write_text(path.read_text().replace("1 1 1", "1 1"))
    with pytest.raises(InvalidFileError, match="expected 3 finite numbers"):
        check_urdf(house / "scenes/assets/again.urdf", movable=False)


def test_a_wheels_folder_of_scenes_is_a_tree_too(house: Path) -> None:
    (house / "scenes").rename(house / "_scenes")
    assert load_task(house / "_scenes/room/tasks/tidy.yaml").name == "room/tidy"


def test_render_writes_a_picture(tmp_path: Path) -> None:
    """In a process of its own: a broken graphics driver must not take the tests with it."""
    out = tmp_path / "kitchen.png"
    code = "from robotctl.cli.files_commands import tasks_app; tasks_app()"
    words = ["render", "kitchen/clear-table", str(out), "--size", "160x90", "--at", "0.1"]
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    data = out.read_bytes()
    assert struct.unpack(">II", data[16:24]) == (160, 90)
    assert len(data) > 2000  # not one colour


@pytest.mark.parametrize("words", [["a.png", "b.png"], ["kitchen"], ["kitchen", "other", "a.png"]])
def test_render_wants_one_picture(words: list[str]) -> None:
    assert isinstance(RUNNER.invoke(scenes_app, ["render", *words]).exception, UsageError)
