"""The log gives back what was put in, bit for bit, and as much as can be saved when it was cut short."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import struct
import subprocess
import sys
import textwrap
import time
from dataclasses import fields, is_dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from mcap.reader import make_reader
from mcap_protobuf.decoder import DecoderFactory

from robotctl.body import KEYPOINTS
from robotctl.episode.drawing import link_transforms
from robotctl.episode.reader import episode_digest, logged, read_episode
from robotctl.episode.schema import pack, unpack
from robotctl.episode.step import Foreseen, PlanSummary, Step, Timing, VerdictSummary
from robotctl.episode.writer import EpisodeWriteError, EpisodeWriter
from robotctl.errors import InvalidFileError, UsageError
from robotctl.geometry import matrix_from_quaternion, transform
from robotctl.jsontext import json_text
from robotctl.robot import forward
from robotctl.scene_files import load_scene
from robotctl.state import (
    TICK,
    Contact,
    Held,
    ObjectReading,
    ObjectState,
    Observation,
    PersonReading,
    PersonState,
    RobotState,
    State,
    Truth,
)

OBJECTS = ("cup_1", "bowl_1", "knife_1")


def make_plan(rng: np.random.Generator) -> PlanSummary:
    margins = {"speed": Foreseen(0.2, 0.03, 1.4, 0.35), "separation": Foreseen(0.1, 0.0, 0.1, float("inf"))}
    return PlanSummary("SOLVED", {"pose": 1.25, "effort": 0.25}, 3, True, margins, rng.normal(size=(11, 3)))


def make_step(tick: int, rng: np.random.Generator, people: int = 1) -> Step:
    """A step with every field filled; not physical, but of the right shapes."""
    now, k, j = tick * TICK, 12, len(KEYPOINTS)
    names = tuple(f"person_{i}" for i in range(people))
    keypoints = rng.normal(size=(people, j, 3))
    held = Held("cup_1", "cup", frozenset({"dish", "cup"}), rng.normal(size=(4, 4))) if tick % 2 else None
    return Step(
        observation=Observation(
            time=now,
            joint_position=rng.normal(size=10),
            joint_velocity=rng.normal(size=10),
            commanded_position=rng.normal(size=10),
            commanded_velocity=rng.normal(size=10),
            finger_opening=0.04,
            objects=tuple(ObjectReading(n, rng.normal(size=3), rng.normal(size=4), now - 0.03) for n in OBJECTS),
            people=tuple(PersonReading(n, p, now - 0.03) for n, p in zip(names, keypoints, strict=True)),
        ),
        state=State(
            time=now,
            robot=RobotState(*(rng.normal(size=10) for _ in range(4)), 0.04, held),
            objects=tuple(
                ObjectState(n, n[:-2], frozenset({"dish"}), rng.normal(size=3), rng.normal(size=4), now)
                for n in OBJECTS
            ),
            people=tuple(PersonState(n, p, now, p[None]) for n, p in zip(names, keypoints, strict=True)),
        ),
        plan=make_plan(rng) if tick % 2 == 0 else None,
        verdict=VerdictSummary(rng.normal(size=11), True, "too near", -0.1, "speed", 0.5, False, {"speed": -0.1}),
        truth=Truth(
            time=now + np.arange(k) / 240,
            q=rng.normal(size=(k, 10)),
            dq=rng.normal(size=(k, 10)),
            opening=rng.normal(size=k),
            object_names=OBJECTS,
            object_position=rng.normal(size=(k, 3, 3)),
            object_quaternion=rng.normal(size=(k, 3, 4)),
            person_names=names,
            keypoints=rng.normal(size=(k, people, j, 3)),
            contacts=(Contact(now, "hand", "cup_1", -0.001, 3.5),),
        ),
        skill="pick cup_1",
        appraisal=("hopeful", 0.8) if tick else None,
        objective=(1, 6),
        margins={"speed": (0.3, -0.1), "separation": (float("inf"), 0.2)},
        judged={"speed": 0.25, "blade": -0.5},
        distance_to_people=0.7 if people else float("inf"),
        message="a person comes near" if tick == 3 else "",
        timing=Timing(12.0, 0.5),
    )


def write(path: Path, ticks: int = 45, seed: int = 0, people: int = 1, timing: Timing | None = None) -> str:
    rng = np.random.default_rng(seed)
    with EpisodeWriter(path, {"task.yaml": b"task: 1\n", "scene.yaml": b"x\n"}, {"seed": "0"}) as writer:
        for tick in range(ticks):
            step = make_step(tick, rng, people)
            writer.append(replace(step, timing=timing) if timing else step)
        return writer.close({"success": True, "worst": float("inf")})


def assert_same(a: object, b: object, where: str = "step") -> None:
    """Equal in type and every bit."""
    assert type(a) is type(b), where
    if is_dataclass(a):
        for field in fields(a):
            assert_same(getattr(a, field.name), getattr(b, field.name), f"{where}.{field.name}")
    elif isinstance(a, np.ndarray):
        assert isinstance(b, np.ndarray)
        assert a.shape == b.shape, where
        assert a.tobytes() == b.tobytes(), where
    elif isinstance(a, tuple):
        assert isinstance(b, tuple)
        assert len(a) == len(b), where
        for i, (x, y) in enumerate(zip(a, b, strict=True)):
            assert_same(x, y, f"{where}[{i}]")
    else:
        assert a == b, where


@pytest.mark.parametrize("people", [0, 1, 2])
def test_steps_come_back_bit_for_bit(tmp_path: Path, people: int) -> None:
    path = tmp_path / "e.mcap"
    digest = write(path, 45, people=people)
    log = read_episode(path)
    assert log.complete
    assert log.damage is None
    assert log.count == 45
    assert log.duration == pytest.approx(44 * TICK)
    assert log.attachments == {"task.yaml": b"task: 1\n", "scene.yaml": b"x\n"}
    assert log.metadata["seed"] == "0"
    assert log.summary == {"success": True, "worst": None, "digest": digest}
    assert log.digest == digest == episode_digest(path)
    rng = np.random.default_rng(0)
    steps = list(log.steps)
    assert len(steps) == 45
    for tick, step in enumerate(steps):
        assert_same(make_step(tick, rng, people), step)


@settings(max_examples=50, deadline=None)
@given(arrays(np.float64, array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=7), elements=st.floats(width=64)))
def test_packed_arrays_come_back_bit_for_bit(array: np.ndarray) -> None:
    assert unpack(pack(array), array.shape).tobytes() == array.tobytes()


def test_same_steps_same_digest_whatever_the_clock(tmp_path: Path) -> None:
    a = write(tmp_path / "a.mcap", timing=Timing(1.0, 2.0))
    b = write(tmp_path / "b.mcap", timing=Timing(9.0, 9.0))
    c = write(tmp_path / "c.mcap", seed=1)
    assert a == b
    assert a != c


def test_any_mcap_reader_decodes_it(tmp_path: Path) -> None:
    path = tmp_path / "e.mcap"
    write(path, 5)
    with path.open("rb") as stream:
        reader = make_reader(stream, decoder_factories=[DecoderFactory()])
        seen = {
            channel.topic: (schema.name, message)
            for schema, channel, _, message in reader.iter_decoded_messages()
            if schema is not None
        }
    assert seen["/tf"][0] == "foxglove.FrameTransforms"
    assert seen["/joint_states"][0] == "foxglove.JointStates"
    assert seen["/people/person_0"][0] == "foxglove.PosesInFrame"
    assert len(seen["/people/person_0"][1].poses) == len(KEYPOINTS)
    assert seen["/log"][0] == "foxglove.Log"
    assert seen["/truth"][1].samples == 12
    assert seen["/verdict"][1].reason == "too near"


def test_the_room_is_drawn(tmp_path: Path) -> None:
    scene = load_scene("kitchen")
    step = make_step(0, np.random.default_rng(0))
    with EpisodeWriter(tmp_path / "e.mcap", {}, {"seed": "0"}, scene) as writer:
        writer.append(step)
        writer.close({})
    ((_, data),) = list(logged(tmp_path / "e.mcap", "/scene"))
    for name in (scene.furniture[0].name, "cup_1", "robot/hand"):
        assert name.encode() in data


def test_link_transforms_are_those_of_the_kinematics() -> None:
    q = np.random.default_rng(1).normal(size=10)
    pose = np.eye(4)
    for *expected, offset, quaternion in zip(*forward(q), *link_transforms(q), strict=True):
        pose = pose @ transform(matrix_from_quaternion(quaternion), offset)
        np.testing.assert_allclose(pose, transform(*expected), atol=1e-12)


def test_a_path_belongs_to_one_episode(tmp_path: Path) -> None:
    path = tmp_path / "e.mcap"
    with EpisodeWriter(path, {}, {"seed": "0"}), pytest.raises(UsageError, match="never overwritten"):
        EpisodeWriter(path, {}, {"seed": "0"})
    before = path.read_bytes()
    with pytest.raises(UsageError, match="never overwritten"):
        EpisodeWriter(path, {}, {"seed": "0"})
    assert path.read_bytes() == before


def test_a_step_that_cannot_be_written_leaves_the_others_once(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    steps = [make_step(tick, rng) for tick in range(8)]
    steps[5] = replace(steps[5], skill=7)  # type: ignore[arg-type]

    def run() -> None:
        with EpisodeWriter(tmp_path / "e.mcap", {}, {"seed": "0"}) as writer:
            for step in steps:
                writer.append(step)
            writer.close({})

    with pytest.raises(TypeError):
        run()
    log = read_episode(tmp_path / "e.mcap")
    assert not log.complete
    assert [step.observation.time for step in log.steps] == [steps[i].observation.time for i in (0, 1, 2, 3, 4, 6, 7)]


def test_an_unwritable_folder_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(EpisodeWriteError):
        EpisodeWriter(tmp_path / "file" / "e.mcap", {}, {})


def test_an_episode_without_a_verdict_is_incomplete(tmp_path: Path) -> None:
    path = tmp_path / "e.mcap"

    def fall_over() -> None:
        with EpisodeWriter(path, {}, {"seed": "0"}) as writer:
            writer.append(make_step(0, np.random.default_rng(0)))
            raise RuntimeError("the planner fell over")

    with pytest.raises(RuntimeError, match="the planner"):
        fall_over()
    log = read_episode(path)
    assert not log.complete
    assert "the planner fell over" in (log.damage or "")
    assert len(list(log.steps)) == 1


def test_a_cut_file_gives_its_beginning(tmp_path: Path) -> None:
    path = tmp_path / "e.mcap"
    write(path, 100)
    whole = path.read_bytes()
    cut = tmp_path / "cut.mcap"
    for share in (0.9, 0.7, 0.55, 0.3):
        cut.write_bytes(whole[: int(share * len(whole))])
        log = read_episode(cut)
        assert not log.complete
        assert log.summary is None
        assert log.damage
        steps = list(log.steps)
        assert len(steps) == log.count
        assert log.count >= 100 * share - 22 * 1.5
        rng = np.random.default_rng(0)
        for tick, step in enumerate(steps):
            assert_same(make_step(tick, rng), step)


@settings(max_examples=60, deadline=None)
@given(position=st.floats(0, 1, exclude_max=True), value=st.integers(1, 255))
def test_a_flipped_byte_never_passes_for_the_episode(tmp_path_factory: pytest.TempPathFactory, position, value) -> None:
    """Wherever it is: an error, an incomplete episode, or, in parts nobody reads, the same steps."""
    folder = tmp_path_factory.mktemp("flip")
    path = folder / "e.mcap"
    digest = write(path, 6)
    data = bytearray(path.read_bytes())
    data[int(position * len(data))] ^= value
    path.write_bytes(bytes(data))
    try:
        log = read_episode(path)
    except InvalidFileError:
        return
    if log.complete:
        assert log.digest == digest
        assert log.summary == {"success": True, "worst": None, "digest": digest}
        assert log.metadata["seed"] == "0"
        assert len(list(log.steps)) == 6
    else:
        assert len(list(log.steps)) == log.count


@pytest.mark.parametrize("data", [b"", b"hello", b"\x89MCAP0\r\n", b"\x89MCAP0\r\n" + bytes(100)])
def test_what_is_no_episode_is_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "e.mcap"
    path.write_bytes(data)
    with pytest.raises(InvalidFileError):
        read_episode(path)
    with pytest.raises(InvalidFileError, match="no such file"):
        read_episode(tmp_path / "missing.mcap")
    with pytest.raises(InvalidFileError, match="folder"):
        read_episode(tmp_path)


def test_a_record_that_claims_to_be_huge_is_not_believed(tmp_path: Path) -> None:
    path = tmp_path / "e.mcap"
    path.write_bytes(b"\x89MCAP0\r\n" + struct.pack("<BQ", 6, 1 << 62) + bytes(50))
    with pytest.raises(InvalidFileError):
        read_episode(path)


WRITER = """
    import resource, signal, sys, time
    from pathlib import Path
    import numpy as np
    from test_episode import make_step
    from robotctl.episode.writer import EpisodeWriter
    from robotctl.errors import RobotctlError
    path, limit = Path(sys.argv[1]), int(sys.argv[2])
    if limit:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    rng = np.random.default_rng(0)
    try:
        with EpisodeWriter(path, {}, {"seed": "0"}) as writer:
            for tick in range(10_000):
                writer.append(make_step(tick, rng))
                print(tick, flush=True)
    except RobotctlError as error:
        print("error:", error, flush=True)
        sys.exit(error.exit_code)
"""


def start_writer(path: Path, limit: int) -> subprocess.Popen[str]:
    code = textwrap.dedent(WRITER)
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    return subprocess.Popen(
        [sys.executable, "-c", code, str(path), str(limit)], stdout=subprocess.PIPE, text=True, env=env
    )


def test_a_full_disk_stops_the_episode_and_keeps_what_was_written(tmp_path: Path) -> None:
    path = tmp_path / "e.mcap"
    process = start_writer(path, 1_500_000)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "cannot be written: File too large" in out.splitlines()[-1]
    log = read_episode(path)
    assert not log.complete
    assert log.count >= int(out.splitlines()[-2]) - 21


def test_a_killed_run_loses_at_most_a_second(tmp_path: Path) -> None:
    path = tmp_path / "e.mcap"
    process = start_writer(path, 0)
    assert process.stdout is not None
    ticks = 0
    while ticks < 150:
        ticks = int(process.stdout.readline())
    process.send_signal(signal.SIGKILL)
    rest = process.stdout.read().split()
    process.wait()
    last = int(rest[-1]) if rest else ticks
    log = read_episode(path)
    assert not log.complete
    assert "killed" in (log.damage or "")
    assert log.count >= last - 20


def test_logging_is_cheap(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    steps = [make_step(tick, rng) for tick in range(200)]
    with EpisodeWriter(tmp_path / "e.mcap", {}, {"seed": "0"}) as writer:
        started = time.process_time()
        for step in steps:
            writer.append(step)
        cost = (time.process_time() - started) / len(steps)
        writer.close({})
    assert cost < 2e-3  # on an idle machine 0.5 ms or less; room for a busy one


def test_writers_in_one_process_do_not_mix(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    step = make_step(0, rng)
    with (
        EpisodeWriter(tmp_path / "a.mcap", {}, {"seed": "1"}) as a,
        EpisodeWriter(tmp_path / "b.mcap", {}, {"seed": "2"}) as b,
    ):
        a.append(step)
        a.append(make_step(1, rng))
        b.append(step)
        a.close({})
        b.close({})
    assert read_episode(tmp_path / "a.mcap").count == 2
    assert read_episode(tmp_path / "b.mcap").count == 1


def test_results_are_strict_json() -> None:
    value = {"a": np.float64("inf"), "b": np.arange(2), "c": {1: float("nan")}, "d": Path("x"), "e": np.bool_(True)}
    assert json.loads(json_text(value)) == {"a": None, "b": [0, 1], "c": {"1": None}, "d": "x", "e": True}


def test_import_is_safe_in_a_spawned_process() -> None:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(json_text, ({},)) == "{}"
