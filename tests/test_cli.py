"""The command line: what it prints where, exit codes, and the whole way from a run to its replay."""

from __future__ import annotations

import io
import json
import math
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from rich.segment import Segment
from typer.testing import CliRunner

from robotctl.cli import doctor_command
from robotctl.cli.main import app
from robotctl.cli.report import run_lines, safe, summary_lines
from robotctl.cli.sparkline import bar, resample, sparkline
from robotctl.cli.view import LiveView, Panel, progress_bar
from robotctl.control import Progress
from robotctl.episode.bundle import bundle, unbundled
from robotctl.episode.reader import read_episode
from robotctl.errors import InvalidFileError, RobotctlError
from robotctl.guardrails.load import load_guardrails
from robotctl.isolation import PATIENCE
from robotctl.replay.rejudge import differing, judge_again
from robotctl.replay.timeline import timeline
from robotctl.task import load_task

ROBOTCTL = [sys.executable, "-m", "robotctl"]
HEAVY = ("numpy", "pybullet", "jax", "scipy", "numba", "pydantic", "foxglove", "mcap", "matplotlib")
UNITS = {"human-separation": "m/s", "speed": "m/s", "upright-when-filled": "1"}


def invoke(*args: str, code: int | None = 0) -> Any:
    result = CliRunner().invoke(app, list(args))
    if code is not None:
        assert result.exit_code == code, (result.stdout, result.stderr, result.exception)
    return result


def error_line(*args: str, code: int) -> str:
    """The one line on stderr; nothing on stdout."""
    result = invoke(*args, code=code)
    assert result.stdout == ""
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1, lines
    assert lines[0].startswith("error: ")
    return lines[0]


# ---- help ------------------------------------------------------------------------------------------------------


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys\nfrom robotctl.cli.main import app\n"
        "try: app(['--help'])\nexcept SystemExit: pass\n"
        f"print([m for m in {HEAVY!r} if m in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"
    for word in ("run", "replay", "plan", "bench", "train", "episodes", "scenes", "tasks", "guardrails", "doctor"):
        assert re.search(rf"\b{word}\b", done.stdout)


@pytest.mark.parametrize(
    "command", ["run", "replay", "plan", "bench guardrails", "episodes list", "episodes info", "doctor", "train"]
)
def test_every_command_explains_itself(command: str) -> None:
    assert "Usage" in invoke(*command.split(), "--help").stdout


def test_every_command_and_option_is_documented() -> None:
    text = (Path(__file__).parent.parent / "docs" / "cli.md").read_text()
    for command in ("run", "replay", "plan", "bench guardrails"):
        for option in set(re.findall(r"--[a-z-]+", invoke(*command.split(), "--help").stdout)) - {"--help"}:
            assert option in text, f"{command} {option}"


# ---- errors ----------------------------------------------------------------------------------------------------


def test_what_does_not_exist_is_said_with_the_nearest_choice() -> None:
    assert "did you mean 'kitchen/clear-table'" in error_line("run", "kitchen/clear-tabel", code=2)
    assert "no planner 'rrt'" in error_line("run", "kitchen/clear-table", "--planner", "rrt", code=2)
    assert "no such file" in error_line("replay", "missing.mcap", code=3)
    assert "no such file" in error_line("run", "kitchen/clear-table", "--model", "missing.safetensors", code=3)
    assert "no such folder" in error_line("episodes", "list", "missing", code=2)
    assert "no task matches" in error_line("bench", "guardrails", "--tasks", "garage/*", code=2)
    assert "no arm 'ful'; did you mean 'full'?" in error_line("bench", "guardrails", "--arms", "ful", code=2)
    assert "--seeds" in error_line("bench", "guardrails", "--seeds", "5", code=2)
    assert "--shard" in error_line("bench", "guardrails", "--shard", "3/2", code=2)
    assert "--resume needs" in error_line("bench", "guardrails", "--resume", code=2)


def test_usage_errors_end_with_2() -> None:
    invoke("run", code=2)
    invoke("run", "kitchen/clear-table", "--seed", "-1", code=2)
    invoke("run", "kitchen/clear-table", "--sede", "1", code=2)
    invoke("fly", code=2)


def test_how_long_to_wait_for_the_planner_can_be_said(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def capture(job: Any, *_: Any) -> None:
        asked.append(job.options.get("patience"))
        raise RobotctlError("enough")

    monkeypatch.setattr("robotctl.bench.episodes.run_job", capture)
    invoke("run", "kitchen/clear-table", "--no-live", "--planner-timeout", "0.5", code=1)
    invoke("run", "kitchen/clear-table", "--no-live", code=1)
    invoke("run", "kitchen/clear-table", "--planner-timeout", "0", code=2)
    assert asked == [0.5, None]
    assert f"[default: ({PATIENCE:g})]" in invoke("run", "--help").stdout


def test_relaxing_needs_a_reason() -> None:
    assert "--reason" in error_line("run", "kitchen/clear-table", "--relax", "speed", code=2)
    assert "no guardrail 'sped'; did you mean 'speed'?" in error_line(
        "run", "kitchen/clear-table", "--relax", "sped", "--reason", "x", code=2
    )
    result = invoke("run", "kitchen/clear-table", "--relax", "speed", "--reason", "test", "--dry-run", "--json")
    answer = json.loads(result.stdout)
    assert answer["relaxed"] == {"speed": "test"}
    assert "speed" not in answer["guardrails"]
    assert "relaxed: speed (test)" in result.stderr


def test_a_broken_task_file_ends_with_3(tmp_path: Path) -> None:
    file = tmp_path / "task.yaml"
    file.write_text("schema: robotctl/task.v1\nscene: [\n")
    assert str(file.name) in error_line("run", str(file), code=3)


def test_an_unexpected_error_is_one_line_and_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise ZeroDivisionError("no such luck")

    monkeypatch.setattr(doctor_command, "examine", broken)
    line = error_line("doctor", code=1)
    assert "ZeroDivisionError: no such luck" in line
    details = Path(line.split("details in ")[1])
    assert "Traceback" in details.read_text()
    details.unlink()
    monkeypatch.setenv("ROBOTCTL_DEBUG", "1")
    assert isinstance(invoke("doctor", code=None).exception, ZeroDivisionError)


def test_a_closed_pipe_is_no_internal_error() -> None:
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run([*ROBOTCTL, "tasks", "list", "--json"], stdout=write, stderr=subprocess.PIPE, text=True)
    os.close(write)
    assert "internal" not in done.stderr
    assert "Traceback" not in done.stderr


# ---- doctor ----------------------------------------------------------------------------------------------------


def test_doctor_finds_this_machine_fit() -> None:
    answer = json.loads(invoke("doctor", "--json").stdout)
    assert answer["ok"] is True
    assert {"python", "platform", "pybullet", "disk space"} <= {c["name"] for c in answer["checks"]}
    assert "ready" in invoke("doctor").stdout


def test_doctor_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor_command, "NEEDED", ("no-such-package",))
    result = invoke("doctor", code=7)
    assert "pip install no-such-package" in result.stdout


# ---- a run and its replay --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path, str]:
    """A short real episode: answer, episode, what was said on stderr."""
    folder = tmp_path_factory.mktemp("run")
    command = ["run", "kitchen/clear-table", "--seed", "7", "--time-limit", "2.5", "--out", str(folder), "--json"]
    done = subprocess.run([*ROBOTCTL, *command], capture_output=True, text=True, timeout=900)
    assert done.returncode in (4, 5), done.stderr
    return json.loads(done.stdout), folder / "kitchen-clear-table-seed7.mcap", done.stderr


def test_run_keeps_its_promises(ran: tuple[dict[str, Any], Path, str]) -> None:
    answer, episode, stderr = ran
    promised = {
        "": "schema task seed success exit_code objective time guardrails contacts assumptions filter planning "
        "world_model appraisal episode digest",
        "objective": "satisfied unsatisfied",
        "time": "simulated_s wall_s real_time_factor",
        "guardrails": "violations by_id steps_judged",
        "contacts": "moving passive",
        "assumptions": "broken",
        "filter": "cycles moving_cycles interventions stopped_s ms_p50 ms_p99",
        "planning": "cycles ms_p50 ms_p95 ms_p99 status",
        "world_model": "path sha256 used_for",
        "appraisal": "success_probability min_margin word",
    }
    for part, keys in promised.items():
        assert set(keys.split()) <= set(answer[part] if part else answer), part
    for rule in answer["guardrails"]["by_id"].values():
        assert {"violations", "worst_margin", "unit", "duration_s"} <= set(rule)
    assert answer["seed"] == 7
    assert answer["time"]["simulated_s"] == pytest.approx(2.5, abs=0.1)
    assert Path(answer["episode"]) == episode
    assert stderr == ""  # no live view, no chatter of the physics engine


def test_the_log_holds_the_answer(ran: tuple[dict[str, Any], Path, str]) -> None:
    answer, episode, _ = ran
    log = read_episode(episode)
    assert log.complete
    assert log.summary == answer
    assert log.digest == answer["digest"]
    assert log.count == pytest.approx(2.5 / 0.05, abs=2)
    attached = sum(map(len, log.attachments.values()))
    assert log.path.stat().st_size < log.duration / 60 * 12e6 + attached + 0.1e6


def test_replay_judges_the_same(ran: tuple[dict[str, Any], Path, str]) -> None:
    answer, episode, _ = ran
    replayed = json.loads(invoke("replay", str(episode), "--judge", "--json").stdout)
    assert replayed["matches_log"] is True
    assert replayed["differences"] == []
    assert replayed["guardrails"] == answer["guardrails"]
    assert replayed["verdict"]["objective"] == answer["objective"]
    assert replayed["timeline"]["steps"] == read_episode(episode).count


def test_replay_notices_another_verdict(ran: tuple[dict[str, Any], Path, str]) -> None:
    from dataclasses import replace

    log = read_episode(ran[1])
    assert log.summary is not None
    forged = {**log.summary, "contacts": {"moving": 99, "passive": 0}}
    again = judge_again(replace(log, summary=forged))
    assert not again.matches_log
    assert any("contacts.moving" in text for text in again.differences)


def test_the_timeline_can_be_looked_at(ran: tuple[dict[str, Any], Path, str]) -> None:
    episode = str(ran[1])
    text = invoke("replay", episode).stdout
    for word in ("kitchen/clear-table", "objective", "people", "filter", "human-separation", "0 s"):
        assert word in text
    part = json.loads(invoke("replay", episode, "--from", "1", "--to", "2", "--json").stdout)["timeline"]
    assert part["from_s"] >= 1.0
    assert part["to_s"] <= 2.0
    assert "nothing between" in error_line("replay", episode, "--from", "99", code=2)


def test_a_cut_episode_is_shown_and_called_incomplete(ran: tuple[dict[str, Any], Path, str], tmp_path: Path) -> None:
    whole = ran[1].read_bytes()
    cut = tmp_path / "cut.mcap"
    cut.write_bytes(whole[: int(0.6 * len(whole))])
    assert "incomplete" in invoke("replay", str(cut)).stdout
    answer = json.loads(invoke("replay", str(cut), "--judge", "--json").stdout)
    assert answer["complete"] is False
    assert answer["matches_log"] is False
    listed = json.loads(invoke("episodes", "list", str(tmp_path), "--json").stdout)["episodes"]
    assert [row["complete"] for row in listed] == [False]


def test_episodes_are_listed_and_described(ran: tuple[dict[str, Any], Path, str]) -> None:
    answer, episode, _ = ran
    (row,) = json.loads(invoke("episodes", "list", str(episode.parent), "--json").stdout)["episodes"]
    assert row["task"] == "kitchen/clear-table"
    assert row["exit_code"] == answer["exit_code"]
    info = json.loads(invoke("episodes", "info", str(episode), "--json").stdout)
    assert info["digest"] == answer["digest"]
    assert "files.zip" in info["attachments"]
    assert "not reached" in invoke("episodes", "list", str(episode.parent)).stdout
    said = invoke("episodes", "info", str(episode)).stdout
    assert len(said.splitlines()) == 10
    for word in (
        "kitchen/clear-table seed 7",
        "objective not reached",
        "0 violations",
        "nearest",
        "guardrails household",
    ):
        assert word in said, said


def test_an_episode_is_never_overwritten(ran: tuple[dict[str, Any], Path, str]) -> None:
    arguments = ("run", "kitchen/clear-table", "--seed", "7", "--out", str(ran[1].parent))
    assert "never overwritten" in error_line(*arguments, code=2)


def test_ctrl_c_brakes_and_closes_the_log(tmp_path: Path) -> None:
    episode = tmp_path / "e.mcap"
    command = [*ROBOTCTL, "run", "kitchen/clear-table", "--out", str(episode)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and not (episode.exists() and read_count(episode) >= 20):
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "interrupted" in out
    assert err == ""
    log = read_episode(episode)
    assert log.complete
    steps = list(log.steps)
    assert abs(steps[-1].state.robot.dq_ref).max() < 1e-3


# Where tests run as a shell's background job, SIGINT is ignored, and children inherit that.
DEFAULT_SIGINT = (
    "import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_DFL); os.execv(sys.argv[1], sys.argv[1:])"
)
LISTENING = [sys.executable, "-c", DEFAULT_SIGINT]


def test_ctrl_c_keeps_what_is_done(tmp_path: Path) -> None:
    command = [*ROBOTCTL, "run", "kitchen/put-away-knife", "--episodes", "40", "--time-limit", "0.5", "--workers", "1"]
    process = subprocess.Popen(
        [*LISTENING, *command, "--out", str(tmp_path), "--json"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and not (tmp_path / "kitchen-put-away-knife-seed1.mcap").exists():
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    answer = json.loads(out)
    assert answer["interrupted"] is True
    assert answer["summary"]["n"] == len(answer["episodes"]) >= 1


def read_count(path: Path) -> int:
    try:
        return read_episode(path).count
    except InvalidFileError:  # just being created
        return 0


# ---- bundles ---------------------------------------------------------------------------------------------------


def test_a_bundle_rebuilds_task_and_guardrails(tmp_path: Path) -> None:
    own = tmp_path / "mine"
    own.mkdir()
    text = load_task("kitchen/clear-table").text
    text = text.replace("../scene.yaml", "robotctl:kitchen/scene.yaml")
    text = text.replace("../../guardrails/", "robotctl:guardrails/")
    (own / "task.yaml").write_text(text)
    extra = tmp_path / "extra.yaml"
    extra.write_text(
        "schema: robotctl/guardrails.v1\nname: extra\nguardrails:\n"
        "  - {id: slow, kind: speed, v_max: 0.5 m/s, tier: 2, source: this test}\n"
    )
    task = load_task(own / "task.yaml")
    data = bundle(task, [extra], {"speed": "test"})
    assert bundle(task, [extra], {"speed": "test"}) == data
    rules = load_guardrails((*task.guardrail_files, extra), task.scene, {"speed": "test"})
    with unbundled(data) as files:
        assert tmp_path not in files.task.parents
        again = load_task(files.task)
        assert again.scene.text == task.scene.text
        assert load_guardrails(files.guardrails, again.scene, files.relaxed).sha256 == rules.sha256


@pytest.mark.parametrize("name", ["../evil.yaml", "/tmp/evil.yaml", "a/../../evil.yaml", "a\\b"])
def test_a_bundle_cannot_write_elsewhere(name: str) -> None:
    import zipfile

    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr(name, "x")
    with pytest.raises(InvalidFileError), unbundled(stream.getvalue()):
        pass
    with pytest.raises(InvalidFileError), unbundled(b"no zip"):
        pass


# ---- what is shown ---------------------------------------------------------------------------------------------


def progress(tick: int, **changes: Any) -> Progress:
    values: dict[str, Any] = {
        "time": tick * 0.05,
        "skill": "pick cup_1",
        "objective_done": 2,
        "objective_total": 6,
        "cost": 12.3,
        "margins": {"human-separation": (0.4, 0.2), "speed": (0.5, -0.1)},
        "distance_to_people": 0.8,
        "intervened": False,
        "stopped": False,
        "appraisal": ("hopeful", 0.81),
        "plan_ms": 14.0,
        "filter_ms": 0.6,
        "status": "SOLVED",
        "message": "",
    }
    return Progress(**{**values, **changes})


def picture(panel: Panel, width: int = 92) -> str:
    lines: list[list[Segment]] = list(panel.lines(width))
    return "\n".join("".join(segment.text for segment in line) for line in lines)


def test_the_live_view_shows_what_is_promised() -> None:
    panel = Panel("kitchen/clear-table", 3, 180.0, UNITS)
    assert "getting ready" in picture(panel)
    panel.take(progress(0, intervened=True, message="starts to pick cup_1"))
    panel.take(progress(1))
    text = picture(panel)
    for word in ("pick cup_1", "2 of 6", "hopeful 0.81", "12.3", "0.400", "-0.100", "0.80 m away", "1 interventions",
                 "14.0 ms", "0.6 ms", "starts to pick cup_1", "seed 3"):  # fmt: skip
        assert word in text, word
    assert "not in force" in text  # upright-when-filled
    panel.take(progress(2, margins={}))
    text = picture(panel)
    assert "at rest" in text  # every guardrail is in force, but nothing moves
    assert "not in force" not in text


@pytest.mark.parametrize("width", [40, 60, 92, 200])
@pytest.mark.parametrize("value", [0.0, -1.0, 1e9, math.inf, -math.inf, math.nan])
def test_the_live_view_bears_any_number(width: int, value: float) -> None:
    panel = Panel("kitchen/clear-table", 3, 180.0, UNITS)
    for tick in range(3):
        margins = {"speed": (value, value), "human-separation": (value, 0.1)}
        panel.take(progress(tick, margins=margins, distance_to_people=value, cost=value, objective_total=0))
    out = io.StringIO()
    Console(file=out, width=width, force_terminal=True, color_system=None).print(panel)
    lines = out.getvalue().splitlines()
    assert len(lines) > 8
    assert max(len(line) for line in lines) <= width


def test_the_live_view_leaves_the_terminal_as_it_was() -> None:
    out = io.StringIO()
    terminal = Console(file=out, force_terminal=True, width=100, height=40)
    with LiveView("kitchen/clear-table", 0, 180.0, UNITS, terminal) as view:
        view.observe(progress(0))
        time.sleep(0.3)
    text = out.getvalue()
    assert "pick cup_1" in text
    assert text.endswith("\x1b[?25h")  # the cursor is back
    drawn = text.rsplit("pick cup_1", 1)[1].split("\x1b[2K")
    assert len(drawn) - 1 >= 10  # and the picture's lines are wiped


def test_the_progress_bar_counts(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bar(3, "episodes") as bar_:
        bar_.advance(met=True, violating=False)
        bar_.advance(met=False, violating=True)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "1 done, 1 violating" in captured.err


numbers = st.floats(allow_nan=True, allow_infinity=True)


@given(st.lists(numbers, max_size=200), st.integers(1, 80), st.none() | st.floats(-5, 5), st.none() | st.floats(6, 9))
def test_sparklines_fit(values: list[float], width: int, low: float | None, high: float | None) -> None:
    line = sparkline(values, width, low, high)
    assert len(line) == min(width, len(values))
    assert len(line) == len(resample(values, width))


@given(st.lists(st.floats(0, 1), min_size=1, max_size=300), st.integers(1, 50))
def test_a_short_dip_is_never_lost(values: list[float], width: int) -> None:
    assert min(resample(values, width)) == min(values)
    assert max(resample(values, width, "max")) == max(values)


@given(numbers, st.integers(1, 60))
def test_bars_fit(share: float, width: int) -> None:
    assert len(bar(share, width)) <= width
    assert bar(1.0, width) == "█" * width
    assert bar(0.0, width) == ""


def test_texts_from_files_cannot_command_the_terminal() -> None:
    assert safe("a\x1b[31mb\nc") == "a \\[31mb c" or "\x1b" not in safe("a\x1b[31mb\nc")
    answer: dict[str, Any] = {"task": "[/red]\x1b[2J", "seed": 0, "exit_code": 1, "error": "[bold]x[/nonsense]"}
    out = io.StringIO()
    for line in run_lines(answer):
        Console(file=out).print(line)
    assert "\x1b" not in out.getvalue()
    assert "[/nonsense]" in out.getvalue()


def test_differences_are_named() -> None:
    assert list(differing({"a": {"b": 1}}, {"a": {"b": 2}})) == ["a.b: 1 instead of 2"]
    assert list(differing({"a": [1]}, {"a": [1]})) == []
    assert list(differing({"a": 1}, {})) == ["a: 1 instead of None"]


def test_the_summary_of_many_episodes_is_said() -> None:
    summary = {
        "n": 20, "success_rate": 0.95, "success_ci95": [0.75, 0.99], "violations": 0, "contacts_moving": 0,
        "episodes_violating": 0, "violation_ci95": [0.0, 0.17], "failed": 1, "real_time_factor": 2.1,
    }  # fmt: skip
    text = "\n".join(summary_lines(summary))
    assert "20 episodes" in text
    assert "0.75 to 0.99" in text
    assert "could not be run" in text


def test_the_timeline_of_a_run(ran: tuple[dict[str, Any], Path, str]) -> None:
    line = timeline(read_episode(ran[1]))
    spans: Iterator[Any] = iter(line.skills)
    first = next(spans)
    assert first.start == line.start
    assert line.skills[-1].end == line.end
    for before, after in zip(line.skills[:-1], line.skills[1:], strict=True):
        assert before.end == after.start
    assert {len(values) for values in line.margins.values()} <= {len(line.time)}


def test_no_help_loses_what_it_has_in_brackets() -> None:
    """The help's library takes [word] for markup, and shows nothing."""

    def texts(command: click.Command) -> Iterator[str]:
        yield command.help or ""
        yield from (getattr(parameter, "help", None) or "" for parameter in command.params)
        for inner in getattr(command, "commands", {}).values():
            yield from texts(inner)

    found = [text for text in texts(typer.main.get_command(app)) if re.search(r"(?<!\\)\[[a-z]+\]", text)]
    assert found == []
