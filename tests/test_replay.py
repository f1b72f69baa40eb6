"""Episodes that are used again: recovered, run again, shown. One short real episode serves most tests."""

from __future__ import annotations

import csv
import json
import socket
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from test_episode import make_step, write
from typer.testing import CliRunner

from robotctl.body import KEYPOINTS
from robotctl.cli.main import app
from robotctl.control import RunOptions, run_episode
from robotctl.episode.reader import EpisodeLog, read_episode
from robotctl.episode.recovery import recover
from robotctl.episode.writer import EpisodeWriter
from robotctl.errors import InvalidFileError, UsageError
from robotctl.replay import verify as verify_module
from robotctl.replay.events import events
from robotctl.replay.guarded import admitted, is_loopback
from robotctl.replay.predictions import Promises, Receipt, predictions
from robotctl.replay.stage import beads, stage
from robotctl.replay.timeline import timeline
from robotctl.replay.verify import first_difference, verify
from robotctl.robot import forward
from robotctl.task import load_task

TASK = "kitchen/put-away-knife"


@pytest.fixture(scope="module")
def episode(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six seconds of a real episode, in which a person comes near and the filter acts."""
    path = tmp_path_factory.mktemp("episode") / "e.mcap"
    run_episode(load_task(TASK), RunOptions(seed=1003, out=path, time_limit=6.0))
    return path


@pytest.fixture(scope="module")
def log(episode: Path) -> EpisodeLog:
    return read_episode(episode)


# ---- recovery ----------------------------------------------------------------------------------------------------


def short_log(path: Path) -> bytes:
    """Three steps in two chunks."""
    rng = np.random.default_rng(0)
    with EpisodeWriter(path, {"task.yaml": b"task: 1\n"}, {"seed": "0"}) as writer:
        for tick in (0, 20, 40):
            writer.append(make_step(tick, rng))
        writer.close({"success": True})
    return path.read_bytes()


@pytest.mark.parametrize("stride", [61, pytest.param(1, marks=pytest.mark.slow)])
def test_a_log_cut_at_any_byte_gives_its_whole_chunks(stride: int, tmp_path: Path) -> None:
    whole = short_log(tmp_path / "e.mcap")
    cut, seen = tmp_path / "cut.mcap", 0
    for size in range(0, len(whole), stride):
        cut.write_bytes(whole[:size])
        try:
            log = read_episode(cut)
        except InvalidFileError:
            assert seen == 0, f"readable with fewer bytes than {size}"
            continue
        assert not log.complete
        assert log.summary is None
        assert log.count >= seen
        assert len(list(log.steps)) == log.count
        seen = log.count
    assert seen == 3
    cut.write_bytes(whole)
    assert read_episode(cut).complete


def test_a_recovered_log_is_sound_and_stays_incomplete(tmp_path: Path) -> None:
    from mcap.reader import make_reader

    write(tmp_path / "e.mcap", 100)
    data = (tmp_path / "e.mcap").read_bytes()
    (tmp_path / "cut.mcap").write_bytes(data[: int(0.6 * len(data))])
    broken = read_episode(tmp_path / "cut.mcap")
    out = tmp_path / "out.mcap"
    assert recover(broken, out) == broken.count > 20
    mended = read_episode(out)
    assert (mended.digest, mended.count, mended.metadata) == (broken.digest, broken.count, broken.metadata)
    assert not mended.complete
    assert "ends early" in (mended.damage or "")
    with out.open("rb") as stream:
        summary = make_reader(stream).get_summary()
    assert summary is not None
    assert summary.statistics is not None
    assert summary.statistics.message_count > broken.count
    with pytest.raises(UsageError, match="exists already"):
        recover(broken, out)
    with pytest.raises(UsageError, match="complete"):
        recover(read_episode(tmp_path / "e.mcap"), tmp_path / "x.mcap")


def test_recover_says_what_it_saved(tmp_path: Path) -> None:
    write(tmp_path / "e.mcap", 60)
    data = (tmp_path / "e.mcap").read_bytes()
    (tmp_path / "cut.mcap").write_bytes(data[: int(0.7 * len(data))])
    done = CliRunner().invoke(app, ["episodes", "recover", str(tmp_path / "cut.mcap"), "--json"])
    answer = json.loads(done.stdout)
    assert done.exit_code == 0
    assert answer["steps"] == read_episode(tmp_path / "cut-recovered.mcap").count > 0


# ---- run again ---------------------------------------------------------------------------------------------------


def test_an_episode_run_again_is_the_same_in_every_bit(log: EpisodeLog) -> None:
    found = verify(log)
    assert found.first_difference is None
    assert found.steps == log.count


def test_an_episode_cut_short_is_compared_as_far_as_it_goes(episode: Path, tmp_path: Path) -> None:
    data = episode.read_bytes()
    cut = tmp_path / "cut.mcap"
    cut.write_bytes(data[: len(data) * 4 // 5])
    log = read_episode(cut)
    found = verify(log)
    assert found.identical
    assert found.steps == log.count > 20
    assert "ends early" in found.note


def test_an_interrupted_episode_is_the_same_again(tmp_path: Path) -> None:
    path = tmp_path / "e.mcap"
    result = run_episode(load_task(TASK), RunOptions(seed=1003, out=path, brake_at=2.0))
    assert result.ended == "interrupted"
    assert verify(read_episode(path)).identical


def test_a_log_of_another_world_is_found_out(log: EpisodeLog) -> None:
    """The check bites: with another seed the first thing to differ is named, with both values."""
    others = json.dumps({"numpy": "0.1", "python": json.loads(log.metadata["versions"])["python"]})
    found = verify(replace(log, metadata={**log.metadata, "seed": "1004", "versions": others}))
    difference = found.first_difference
    assert difference is not None
    assert difference.step == 0
    assert difference.where.startswith("/observation")
    assert difference.logged != difference.again
    assert found.note == f"recorded with numpy 0.1, now {np.__version__}"


def test_a_model_that_is_not_there_is_asked_for(log: EpisodeLog) -> None:
    with pytest.raises(UsageError, match="--model"):
        verify(replace(log, metadata={**log.metadata, "model_sha256": "0" * 64}))
    with pytest.raises(InvalidFileError, match="another version"):
        verify(replace(log, metadata={k: v for k, v in log.metadata.items() if k != "time_limit"}))


def test_every_compared_topic_is_told_apart() -> None:
    rng = np.random.default_rng(3)
    a, b = (verify_module.encode(make_step(tick, rng)) for tick in (2, 4))
    for topic in verify_module.COMPARED:
        where, one, other = first_difference(topic, a[topic], b[topic])
        assert a[topic] != b[topic], "two steps are the same in nothing"
        assert where.startswith(topic)
        assert one != other
    assert first_difference("/plan", None, a["/plan"])[1:] == ("nothing", "a message")


# ---- how honest plans were ---------------------------------------------------------------------------------------


def test_promises_are_scored_where_something_is_near() -> None:
    promises = Promises()
    promises.add(0.2, 0.25, "m")  # kept
    promises.add(0.2, 0.10, "m")  # broken
    promises.add(0.2, 0.1995, "m")  # within the planner's tolerance
    promises.add(0.2, np.inf, "m")  # kept: what happened was far
    promises.add(np.inf, 0.1, "m")  # no promise
    promises.add(0.9, np.inf, "m")  # far, and far it was
    promises.add(0.9, 0.3, "m")  # broken
    promises.add(0.1, np.nan, "m")  # NaN keeps nothing
    assert (promises.count, promises.kept) == (6, 3)


def test_a_promise_is_held_against_the_tick_it_speaks_of() -> None:
    def tick(soon: float | None, judged: float, intervened: bool = False) -> Receipt:
        return Receipt({} if soon is None else {"speed": (soon, soon, 0.0)}, {"speed": judged}, intervened)

    steps = [tick(0.2, 0.0), tick(None, 0.3), tick(0.2, 0.0), tick(None, 0.1), tick(0.2, 0.4, True), tick(None, 0.0)]
    soon = predictions(steps, {"speed": "m/s"})["speed"].soon
    assert (soon.count, soon.kept) == (2, 1)  # what the filter took over is nobody's promise


def test_replay_reports_how_honest_the_plans_were(episode: Path) -> None:
    done = CliRunner().invoke(app, ["replay", str(episode), "--json"])
    found = json.loads(done.stdout)["timeline"]["predictions"]
    assert found["furniture-clearance"]["soon"]["n"] > 10
    assert found["furniture-clearance"]["soon"]["coverage"] > 0.9
    assert found["furniture-clearance"]["unit"] == "m"
    assert "foreseen margins kept" in CliRunner().invoke(app, ["replay", str(episode)]).stdout


# ---- shown -------------------------------------------------------------------------------------------------------


def test_a_stage_holds_everything_where_it_was(log: EpisodeLog) -> None:
    found = stage(log)
    steps = list(log.steps)
    assert len(found.time) == log.count
    names = [body.name for body in found.placed.bodies]
    cup = names.index("things/cup_1")
    index = steps[50].truth.object_names.index("cup_1")
    assert np.array_equal(found.placed.position[50, cup], steps[50].truth.object_position[0, index])
    hand = names.index("robot/panda_hand")
    assert np.allclose(found.placed.position[50, hand], forward(steps[50].truth.q[0])[1][-1])
    moving = max(range(len(found.time)), key=lambda tick: float(np.abs(steps[tick].state.robot.dq_ref).max()))
    tube = found.tube(moving)
    gap = np.linalg.norm(tube[:, :3] - found.placed.position[moving, hand], axis=1) - tube[:, 3]
    assert gap.min() < 0.0, "the tube begins at the hand"
    assert len(found.tube(0)) == 0, "a robot that stands sweeps nothing"
    assert max(len(way) for way in found.plans) > 5


def test_a_way_is_a_string_of_beads() -> None:
    way = np.array([[0.0, 0.0, 0.0], [0.1, 0.0, 0.0], [0.1, 0.1, 0.0]])
    found = beads(way)
    gaps = np.linalg.norm(np.diff(found[:, :3], axis=0), axis=1)
    assert gaps.max() < 2.2 * found[0, 3]
    assert np.allclose(found[[0, -1], :3], way[[0, -1]])
    assert len(beads(50 * way)) == 60
    assert len(beads(np.zeros((0, 3)))) == len(beads(np.zeros((9, 3)))) == 0


def test_events_are_what_the_timeline_tells(log: EpisodeLog) -> None:
    line = timeline(log)
    found = events(line)
    assert [event.time for event in found] == sorted(event.time for event in found)
    assert sum(event.kind == "filter" for event in found) == len(line.interventions) > 0
    assert not any(event.kind == "violation" for event in found)
    margins = [0.2] * len(line.time)
    margins[10:14], margins[60] = [-0.1, -0.3, 0.1, -0.2], -0.05
    bad = [e for e in events(replace_judged(line, margins)) if e.kind == "violation"]
    assert [(e.time, e.text) for e in bad] == [
        (line.time[10], "speed by 0.300 m/s"),
        (line.time[60], "speed by 0.050 m/s"),
    ]


def replace_judged(line, margins):
    return replace(line, judged={"speed": margins})


# ---- who may look ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "origin", "answer"),
    [
        ("localhost:8080", None, True),
        ("127.0.0.1:8080", "http://127.0.0.1:8080", True),
        ("[::1]:8080", None, True),
        ("evil.example:8080", None, False),
        ("localhost.evil.example", None, False),
        (None, None, False),
        ("", None, False),
        ("localhost:8080", "http://evil.example", False),
        ("localhost:8080", "http://localhost:9999", False),
        ("localhost:8080", "null", False),
        ("[", None, False),
    ],
)
def test_only_this_computer_is_admitted(host: str | None, origin: str | None, answer: bool) -> None:
    assert admitted(host, origin) is answer


@pytest.mark.parametrize(
    ("host", "answer"),
    [("127.0.0.1", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("10.0.0.1", False), ("x", False)],
)
def test_loopback_is_told_apart(host: str, answer: bool) -> None:
    assert is_loopback(host) is answer


def test_a_page_for_others_must_be_asked_for(episode: Path) -> None:
    done = CliRunner().invoke(app, ["replay", str(episode), "--web", "--host", "0.0.0.0"])
    assert done.exit_code == 2
    assert "--expose" in done.output


def ask(port: int, request: str) -> str:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(request.encode())
        answer = b""
        while b"\r\n\r\n" not in answer:
            part = connection.recv(4096)
            if not part:
                break
            answer += part
    return answer.decode(errors="replace").split("\r\n")[0]


def test_the_server_refuses_strangers_and_paths_that_lead_out(log: EpisodeLog) -> None:
    pytest.importorskip("viser")
    from robotctl.replay.guarded import server

    upgrade = (
        "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
    )
    with server() as found:
        port = found.get_port()
        own = f"Host: localhost:{port}\r\n"
        assert " 200 " in ask(port, f"GET / HTTP/1.1\r\n{own}\r\n")
        assert " 403 " in ask(port, "GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n")
        assert " 200 " not in ask(port, "GET / HTTP/1.1\r\n\r\n")
        for path in (
            "/../../../../etc/passwd",
            "/..%2f..%2f..%2fetc/passwd",
            "/%2e%2e/%2e%2e/etc/passwd",
            "/..\\..\\etc",
        ):
            assert " 404 " in ask(port, f"GET {path} HTTP/1.1\r\n{own}\r\n"), path
        foreign = f"GET / HTTP/1.1\r\n{own}{upgrade}Origin: http://evil.example\r\n\r\n"
        assert " 403 " in ask(port, foreign)


# ---- in a browser ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def browser():
    """A real Chromium without a screen."""
    import shutil

    playwright = pytest.importorskip("playwright.sync_api", reason="no playwright: .ci/run installs it")
    chromium = next((found for name in ("chromium", "chromium-browser") if (found := shutil.which(name))), None)
    if chromium is None:
        pytest.skip("no chromium: .ci/run installs Debian's")
    flags = ["--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=chromium, args=flags)
        yield opened
        opened.close()


def strangers(requests: list[str], own: str) -> list[str]:
    return [url for url in requests if not url.startswith((own, "blob:", "data:"))]


def test_the_page_plays_and_jumps_to_what_happened(log: EpisodeLog, browser) -> None:
    from robotctl.replay.web import serve

    pytest.importorskip("viser")
    ready, stop, address = threading.Event(), threading.Event(), []

    def tell(url: str) -> None:
        address.append(url)
        ready.set()

    shown = stage(log), timeline(log)
    thread = threading.Thread(
        target=serve, args=("the title", "the verdict", *shown, 8080), kwargs={"ready": tell, "stop": stop}
    )
    thread.start()
    try:
        assert ready.wait(60)
        page = browser.new_page(viewport={"width": 640, "height": 400})
        requests: list[str] = []
        page.on("request", lambda request: requests.append(request.url))
        page.goto(address[0])
        page.get_by_text("nearest person").wait_for(timeout=60_000)
        page.get_by_text("the verdict").wait_for()
        acted = next(event for event in events(shown[1]) if event.kind == "filter")
        page.get_by_text(acted.text).first.click(timeout=60_000)
        page.get_by_text(f"{acted.time - 0.5:.2f} s").first.wait_for(timeout=60_000)
        page.get_by_text("Play", exact=True).click(timeout=60_000)
        page.get_by_text("Pause", exact=True).wait_for(timeout=60_000)
        page.get_by_text(f"{shown[0].time[-1]:.2f} s").first.wait_for(timeout=120_000)
        assert strangers(requests, address[0]) == []
        page.close()
    finally:
        stop.set()
        thread.join(30)


def test_the_film_plays_offline_and_asks_nobody(episode: Path, browser, tmp_path: Path) -> None:
    pytest.importorskip("viser")
    out = tmp_path / "film.html"
    done = CliRunner().invoke(app, ["replay", str(episode), "--html", str(out)])
    assert done.exit_code == 0, done.output
    assert out.stat().st_size < 4e6
    page = browser.new_page(viewport={"width": 640, "height": 400})
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    page.goto(out.as_uri())
    now = page.locator("#now")
    now.filter(has_text=" s").wait_for(timeout=60_000)
    button = page.locator("button.filter").first
    wanted = float(button.get_attribute("data-time") or 0.0)
    button.click()
    now.filter(has_text=f"{wanted:.1f}"[:-1]).wait_for(timeout=60_000)
    assert strangers(requests, out.as_uri()) == []
    page.close()


# ---- for other tools ---------------------------------------------------------------------------------------------


def export(*words: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["episodes", "export", *words])
    return done.exit_code, done.output


def test_csv_holds_every_tick_and_reads_back(episode: Path, log: EpisodeLog, tmp_path: Path) -> None:
    assert export(str(episode), "--to", "csv", "--out", str(tmp_path))[0] == 0
    with (tmp_path / "e.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    steps = list(log.steps)
    assert len(rows) == len(steps) == log.count
    for row, step in zip(rows[::17], steps[::17], strict=True):
        assert float(row["time"]) == pytest.approx(step.observation.time, abs=1e-3)
        assert float(row["state.panda_joint4.position"]) == step.observation.joint_position[6]
        assert float(row["action.base_x.velocity"]) == step.verdict.action[0]
        assert float(row["object.cup_1.x"]) == step.state.object("cup_1").position[0]
        near = step.judged.get("furniture-clearance")
        assert row["margin.furniture-clearance"] == ("" if near is None else repr(near))
        for person in step.state.people:
            assert float(row[f"person.{person.name}.head.z"]) == person.keypoints[KEYPOINTS.index("head"), 2]
    assert export(str(episode), "--to", "csv", "--out", str(tmp_path))[0] == 2, "files are not overwritten"


def test_a_lerobot_dataset_has_the_layout_that_its_loader_expects(
    episode: Path, log: EpisodeLog, tmp_path: Path
) -> None:
    """Paths, keys and types of LeRobotDataset v3.0; the data are those of the log."""
    import pyarrow.parquet as pq

    copy = tmp_path / "two" / "b.mcap"
    copy.parent.mkdir()
    copy.write_bytes(episode.read_bytes())
    (tmp_path / "two" / "a.mcap").write_bytes(episode.read_bytes())
    out = tmp_path / "dataset"
    code, said = export(str(copy.parent), "--to", "lerobot", "--out", str(out), "--json")
    assert code == 0, said
    assert json.loads(said)["rows"] == 2 * log.count
    info = json.loads((out / "meta/info.json").read_text())
    assert (info["codebase_version"], info["fps"], info["total_episodes"]) == ("v3.0", 20, 2)
    assert info["splits"] == {"train": "0:2"}
    data = pq.read_table(out / info["data_path"].format(chunk_index=0, file_index=0))
    assert set(data.column_names) == set(info["features"])
    kinds = {"float32": "float", "int64": "int64", "bool": "bool"}
    for name, feature in info["features"].items():
        (width,) = feature["shape"]
        kind = kinds[feature["dtype"]]
        told = str(data.schema.field(name).type)
        assert told == (kind if width == 1 else f"fixed_size_list<element: {kind}>[{width}]"), name
        assert feature["names"] is None or len(feature["names"]) == width
    assert data["index"].to_pylist() == list(range(2 * log.count))
    assert data["frame_index"].to_pylist() == [*range(log.count), *range(log.count)]
    assert data["timestamp"].to_pylist()[log.count + 3] == pytest.approx(0.15)
    done = np.flatnonzero(data["next.done"].to_numpy(zero_copy_only=False))
    assert done.tolist() == [log.count - 1, 2 * log.count - 1]
    assert max(data["next.reward"].to_pylist()) == 0.0, "six seconds are not enough to succeed"
    steps = list(log.steps)
    assert np.allclose(data["action"][log.count + 50].as_py(), steps[50].verdict.action)
    episodes = pq.read_table(out / "meta/episodes/chunk-000/file-000.parquet").to_pylist()
    assert [(e["dataset_from_index"], e["dataset_to_index"]) for e in episodes] == [
        (0, log.count),
        (log.count, 2 * log.count),
    ]
    assert episodes[0]["tasks"] == [TASK]
    assert len(episodes[0]["stats/action/mean"]) == 11
    tasks = pq.read_table(out / "meta/tasks.parquet")
    assert tasks.schema.pandas_metadata["index_columns"] == ["__index_level_0__"]
    assert tasks["__index_level_0__"].to_pylist() == [TASK]
    stats = json.loads((out / "meta/stats.json").read_text())
    assert stats["action"]["count"] == [2 * log.count]
    assert export(str(copy), "--to", "lerobot", "--out", str(out))[0] == 2, "a dataset is not overwritten"


def test_what_cannot_be_exported_is_said(episode: Path, tmp_path: Path) -> None:
    code, said = export(str(episode), "--to", "parquet", "--out", str(tmp_path / "x"))
    assert code == 2
    assert "no format 'parquet'" in said
    code, said = export(str(episode), "--to", "csv", "--out", str(tmp_path / "x"), "--only-successes")
    assert code == 2
    assert "nothing to export" in said


def test_a_video_has_every_picture(episode: Path, tmp_path: Path) -> None:
    av = pytest.importorskip("av")
    out = tmp_path / "v.mp4"
    words = ["replay", str(episode), "--video", str(out), "--from", "3", "--to", "5", "--speed", "4"]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    with av.open(str(out)) as container:
        pictures = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert len(pictures) == 11  # two seconds, four times as fast, twenty a second
    assert pictures[0].shape == (720, 960, 3)
    assert np.abs(pictures[0].astype(int) - pictures[-1]).max() > 50, "something moves"
    assert CliRunner().invoke(app, ["replay", str(episode), "--video", str(tmp_path / "v.avi")]).exit_code == 2


def test_rerun_opens_an_episode_with_its_entities(episode: Path, tmp_path: Path) -> None:
    """Unmodified: Rerun's own importer makes transforms, poses and text of what has a schema that it knows."""
    rerun = pytest.importorskip("rerun")
    from rerun.chunk import RrdReader

    out = tmp_path / "e.rrd"
    recording = rerun.RecordingStream("robotctl-test")
    recording.save(out)
    recording.log_file_from_path(episode)
    recording.flush()
    del recording
    columns = RrdReader(out).store().schema().component_columns()
    found = {(column.entity_path, column.component.split(":")[0]) for column in columns}
    assert {
        ("/tf", "Transform3D"),
        ("/people/cook", "InstancePoses3D"),
        ("/plan/path", "InstancePoses3D"),
        ("/log", "TextLog"),
    } <= found
    raw = {path for path, kind in found if kind == "McapSchema"}
    assert raw >= {"/scene", "/joint_states", "/truth", "/plan", "/status"}
