"""Every parser of a user's file takes broken ones calmly; and the fuzzer sees what it should see."""

from __future__ import annotations

import io
import json
import re
import struct
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from robotctl.assets import check_urdf
from robotctl.episode.bundle import unbundled
from robotctl.episode.reader import read_episode
from robotctl.errors import InvalidFileError, UsageError
from robotctl.guardrails.load import find_guardrails, load_guardrails
from robotctl.scene_files import load_scene
from robotctl.scene_paths import scenes_folder
from robotctl.simulation.motion_file import read_motion
from robotctl.simulation.people import Person
from robotctl.task import find_task, load_people
from robotctl.world_model.composite import DEFAULT, load_world_model

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tools"))

from fuzzing import containers, samples
from fuzzing.campaign import Child, Outcome, fuzz, make_input, workplace
from fuzzing.inputs import Source

PARSERS = (
    "scene", "task", "people", "guardrails", "kinds", "urdf", "obj", "npz", "bvh", "episode", "bundle", "model", "plan",
    "quantity",
)  # fmt: skip
INPUTS = 16  # for each parser; tools/fuzz.py reads more
SEED = 1000


@pytest.fixture(scope="module")
def place() -> Iterator[tuple[Path, dict[str, Source]]]:
    with workplace() as place:
        yield place


@pytest.fixture(scope="module")
def child(place: tuple[Path, dict[str, Source]]) -> Iterator[Child]:
    child = Child(place[0])
    yield child
    child.stop()


@pytest.mark.parametrize("parser", PARSERS)
def test_broken_files_are_accepted_or_refused_in_one_line(
    parser: str, place: tuple[Path, dict[str, Source]], child: Child
) -> None:
    result = fuzz(parser, place[1][parser], child, range(INPUTS), SEED)
    assert not result.findings, result.examples
    assert result.inputs == INPUTS
    assert result.refused > INPUTS // 4


@pytest.mark.parametrize("parser", PARSERS)
def test_the_files_that_are_broken_were_sound(parser: str, place: tuple[Path, dict[str, Source]], child: Child) -> None:
    source = place[1][parser]
    assert set(place[1]) == set(PARSERS)
    for seed in source.seeds[:3]:
        path = source.folder / f"input-sound{source.suffix}"
        path.write_bytes(seed)
        (outcome,) = child.read(parser, [path])
        path.unlink()
        # The bundle's task names a scene that is not in it.
        assert outcome.kind == ("refused" if parser == "bundle" else "accepted"), outcome


def test_an_input_depends_on_seed_and_index_alone(place: tuple[Path, dict[str, Source]]) -> None:
    for parser, source in place[1].items():
        assert make_input(source, parser, SEED, 7) == make_input(source, parser, SEED, 7)
        assert len({make_input(source, parser, SEED, i) for i in range(8)}) > 4


# ---- what fuzzing must see -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("word", "kind"),
    [
        ("accept", "accepted"),
        ("refuse", "refused"),
        ("raise", "KeyError"),
        ("lines", "message"),
        ("code", "exit code 1"),
        ("signal", "signal 6"),
        ("exit", "process ended with 0"),
        ("leave", "SystemExit"),
        ("hang", "time-out"),
        ("memory", "memory"),
        ("more memory", "MemoryError"),
        ("open", "opened a file outside"),
        ("warn", "RuntimeWarning"),
    ],
)
def test_every_fault_is_seen(word: str, kind: str, place: tuple[Path, dict[str, Source]], impatient: Child) -> None:
    kinds = [outcome.kind for outcome in misbehaved(impatient, place[0], word, "refuse", word)]
    assert kinds == [kind, "refused", kind]  # it goes on


@pytest.fixture(scope="module")
def impatient(place: tuple[Path, dict[str, Source]]) -> Iterator[Child]:
    child = Child(place[0], seconds=0.5, patience=200.0, megabytes=50, readers="fuzzing.faults")
    yield child
    child.stop()


def test_a_parser_that_waits_for_ever_is_seen(place: tuple[Path, dict[str, Source]]) -> None:
    child = Child(place[0], seconds=0.5, patience=1.0, readers="fuzzing.faults")
    assert misbehaved(child, place[0], "block") == [Outcome("time-out", text="no answer in 0.5 s")]
    child.stop()


def misbehaved(child: Child, folder: Path, *words: str) -> list[Outcome]:
    paths = [folder / f"input-{i}.txt" for i in range(len(words))]
    for path, word in zip(paths, words, strict=True):
        path.write_text(word)
    return child.read("misbehave", paths)


def test_a_finding_is_kept(place: tuple[Path, dict[str, Source]], impatient: Child, tmp_path: Path) -> None:
    source = Source(place[0], ".txt", [b"raise"], lambda rng, data: data)
    result = fuzz("misbehave", source, impatient, range(12), SEED, tmp_path / "out")
    assert sum(result.findings.values()) >= 1
    kept = sorted((tmp_path / "out").iterdir())
    assert len(kept) == sum(min(count, 3) for count in result.findings.values())
    said = {(folder / "input.txt").read_bytes(): (folder / "finding.txt").read_text() for folder in kept}
    assert "KeyError: 'x'" in said[b"raise"]


# ---- what it found ---------------------------------------------------------------------------------------------


def refused(read: Callable[[], object]) -> str:
    """The one line of the refusal."""
    with pytest.raises(InvalidFileError) as caught:
        read()
    message = str(caught.value)
    assert message.isprintable()
    return message


def archive(path: Path, parts: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as stream:
        for name, data in parts.items():
            stream.writestr(name, data)
    return path


def npy(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def motion_parts(**changes: bytes) -> dict[str, bytes]:
    parts = {f"{name}.npy": npy(array) for name, array in samples.motion().items()}
    return parts | {f"{name}.npy": data for name, data in changes.items()}


def test_motion_files_with_broken_arrays(tmp_path: Path) -> None:
    path = tmp_path / "m.npz"
    read_motion(archive(path, motion_parts()))
    name = np.frombuffer(b"\xff\xff\xff\x7f" * 3, "<U3")  # no such characters
    for broken, said in (
        ({"time_s": b"no array"}, "not a readable .npz motion file"),
        ({"time_s": npy(np.arange(5.0)).replace(b"False", b"[[[[[")}, "not a readable .npz motion file"),
        ({"joint_names": npy(np.repeat(name, 20))}, "joint_names: not texts"),
        ({"joint_names": npy(np.array([b"\xff\xfe"] * 20))}, "not a readable .npz motion file"),
        ({"joint_names": npy(np.array(["a\nb"] * 20))}, "no joint for"),
        ({"joint_names": npy(np.array(["a" * 300] * 20))}, "at most 200 characters"),
        ({"joint_names": npy(np.array(["a"] * 1001))}, "at most 1000 texts"),
        ({"xyz_m": npy(np.zeros((5, 20, 3), complex))}, "must be numbers"),
        ({"time_s": npy(np.array(1.0))}, "expected (0, 20, 3)"),
    ):
        archive(path, motion_parts(**broken))
        assert said in refused(lambda: read_motion(path)), broken
    archive(path, motion_parts(), zipfile.ZIP_LZMA)
    assert "compressed in a way that NumPy does not write" in refused(lambda: read_motion(path))


def test_a_motion_file_that_unpacks_to_too_much(tmp_path: Path) -> None:
    path = archive(tmp_path / "m.npz", motion_parts())
    data = path.read_bytes()
    size = (5 * 20 * 3 * 8 + 128).to_bytes(4, "little")
    directory = data.index(b"PK\x01\x02")
    assert size in data[directory:]
    path.write_bytes(data[:directory] + data[directory:].replace(size, (500_000_000).to_bytes(4, "little")))
    assert "'xyz_m' unpacks to more than 400 MB" in refused(lambda: read_motion(path))


def test_bundles_with_broken_compression(tmp_path: Path) -> None:
    data = bytearray(samples.bundle())
    start = data.index(b"PK\x03\x04") + 30 + len("manifest.json")
    data[start : start + 20] = bytes(range(7, 27))

    def unpack(content: bytes) -> None:
        with unbundled(content):
            pass

    unpack(samples.bundle())
    assert "the files attached to the episode are broken: error: " in refused(lambda: unpack(bytes(data)))
    other = archive(tmp_path / "b.zip", {"manifest.json": b"{}"}, zipfile.ZIP_LZMA).read_bytes()
    assert "compressed otherwise than robotctl does" in refused(lambda: unpack(other))


ROUND = "[2 -2 m, 0.3 -1.5 m, 2 -2 m]"
HOLD = "{at: 2, target: 0.3 -0.9 1 m, hold: 1 s}"
HOLDS = ", ".join(["{at: 0, target: 2.3 -1.9 1.0 m, hold: 600 s}"] * 3)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (
            "path: [2 -2 m, 0.3 -1.5 m], speed: 1e-9 m/s",
            "key 'people[0].path': this takes 1772004515 s; at most 1200 s",
        ),
        ("path: [2 -2 m, 0.3 -1.5 m], speed: 4e-324 m/s", "this takes inf s; at most 1200 s"),
        ("path: [-50 -50 m, 50 50 m, -50 50 m], speed: 0.5 m/s, loop: true", "a lap takes 683 s; at most 400 s"),
        (f"clip: stand, path: [2 -2 m], reach: [{HOLDS}]", "this takes 1830 s; at most 1200 s"),
        ("path: [2 -2 m, 2 -2 m]", "key 'people[0].path': is shorter than 0.01 m; use 'clip: stand' for one place"),
        (f"path: {ROUND}, loop: true", ""),
        (f"path: {ROUND}", ""),
        ("path: [2 -2 m, 2 -2 m, 0.3 -1.5 m, 0.3 -1.5 m, 0.3 -1.5 m]", ""),
        (f"path: [2 -2 m, 2 -2 m, 0.3 -1.5 m, 0.3 -1.5 m], loop: true, reach: [{HOLD}]", ""),
        ("path: [2 -2 m, 0.3 -1.5 m], loop: true", ""),
        ("clip: stand, path: [2 -2 m, 2 -2 m], loop: true", ""),
    ],
)
def test_people_whose_way_has_no_end_or_no_direction(tmp_path: Path, body: str, said: str) -> None:
    """They would fill the memory, or be nowhere: a direction of no length is NaN."""
    path = tmp_path / "people.yaml"
    path.write_text(f"schema: robotctl/people.v1\npeople:\n  - {{name: a, {body}}}\n")
    scene = load_scene("kitchen")
    if said:
        assert said in refused(lambda: load_people(path, scene))
    else:
        person = Person(load_people(path, scene)[0], np.random.default_rng(0))
        points = np.array([person.keypoints(t) for t in np.arange(0.0, 30.0, 1 / 60)])
        assert np.linalg.norm(np.diff(points, axis=0), axis=-1).max() * 60 < 3.0  # and finite


def test_names_that_no_file_can_have(tmp_path: Path) -> None:
    path = tmp_path / "people.yaml"
    path.write_text(f"schema: robotctl/people.v1\npeople:\n  - {{name: a, clip: {'x' * 300}.npz}}\n")
    scene = load_scene("kitchen")
    assert "no such file 'xxx" in refused(lambda: load_people(path, scene))
    model = tmp_path / "a.urdf"
    mesh = f'<visual><geometry><mesh filename="{"x" * 300}.obj"/></geometry></visual>'
    model.write_text(f'<robot name="a"><link name="a">{mesh}</link></robot>')
    assert "no such file 'xxx" in refused(lambda: check_urdf(model, movable=False))
    with pytest.raises(UsageError, match="no task 'xxx"):
        find_task("x" * 300)


def test_an_episode_with_a_record_longer_than_memory(tmp_path: Path) -> None:
    data = samples.episode(tmp_path / "a.mcap", ticks=5)
    records = containers._records(data[8:])
    i = next(i for i, (op, _) in enumerate(records) if op == 6)
    start_and_end = records[i][1][:16]
    inner = b"\x15" + b"\xff" * 8  # an unknown record of 2^64 - 1 bytes
    chunk = (
        start_and_end + struct.pack("<QI", len(inner), 0) + struct.pack("<I", 0) + struct.pack("<Q", len(inner)) + inner
    )
    records[i] = 6, chunk
    path = tmp_path / "b.mcap"
    path.write_bytes(data[:8] + containers._joined(records))
    log = read_episode(path)
    assert log.damage is not None
    assert log.damage.startswith("damaged: ")
    assert list(log.steps) == []


def model(path: Path, change: Callable[[dict[str, Any], dict[str, Any]], None]) -> Path:
    """The packaged model with another header or other notes."""
    data = DEFAULT.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    about = json.loads(header["__metadata__"]["robotctl"])
    change(header, about["notes"])
    header["__metadata__"]["robotctl"] = json.dumps(about)
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data[8 + length :])
    return path


def test_models_with_odd_notes(tmp_path: Path) -> None:
    assumptions = load_guardrails([find_guardrails("household")], load_scene("kitchen")).assumptions
    path = model(tmp_path / "m.safetensors", lambda header, notes: None)
    load_world_model(path, assumptions)
    for counts in ({"cup": []}, {"cup": [1e400, 1]}, {"cup": ["a\nb", 1]}, {"cup": None}, [], 3):
        model(path, lambda header, notes, counts=counts: notes["skills"]["pick"].update(counts=counts))  # type: ignore[misc]
        refused(lambda: load_world_model(path, assumptions))
    for key in ("durations", "displacements"):
        for value in (float("nan"), float("inf"), -1.0):
            model(path, lambda header, notes, k=key, v=value: notes["skills"]["pick"][k].update(cup=v))  # type: ignore[misc]
            assert "must be finite and not negative" in refused(lambda: load_world_model(path, assumptions))
    model(path, lambda header, notes: notes.update(skills={"a\nb": {"network": True}}))
    refused(lambda: load_world_model(path, assumptions))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("edge", ["[0, 1e308]", "[1e200, 1e200]", "[0, 0]", "[1e-300, 0]"])
def test_a_direction_without_a_sound_length(tmp_path: Path, edge: str) -> None:
    scene = scenes_folder() / "kitchen" / "scene.yaml"
    changed, found = re.subn(r"overhang_edge: \[[^\]]*\]", f"overhang_edge: {edge}", scene.read_text())
    assert found
    path = tmp_path / "scene.yaml"
    path.write_text(changed.replace("../assets/", "robotctl:assets/"))
    assert "a direction must have a length" in refused(lambda: load_scene(path))
