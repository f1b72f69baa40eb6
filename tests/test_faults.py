"""The fault matrix: every fault is made to happen, in whole episodes, and the robot does what docs/safety.md says.

Beside these: planners that raise, hang, die or take all memory (test_isolation.py), Ctrl-C (test_cli.py), kill -9, full
disks and damaged logs of the writer alone (test_episode.py), hostile and damaged files (test_files.py, test_fuzz.py).
"""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from robotctl import control
from robotctl.body import KEYPOINTS
from robotctl.control import RunOptions, run_episode
from robotctl.deliberation import Deliberation
from robotctl.episode.reader import EpisodeLog, read_episode
from robotctl.errors import InvalidFileError
from robotctl.simulation import bullet
from robotctl.simulation.sensing import Cameras
from robotctl.state import TICK
from robotctl.task import PersonPlan, Task, load_task

ROBOTCTL = [sys.executable, "-m", "robotctl"]
TASK = "kitchen/put-away-knife"
AT = 2.5  # [s] the fault begins: the robot drives


def run(task: Task, path: Path, **options: object) -> tuple[dict, EpisodeLog]:
    answer = run_episode(task, RunOptions(seed=1002, out=path, **options)).to_dict()  # type: ignore[arg-type]
    assert answer["guardrails"]["violations"] == 0
    assert answer["contacts"]["moving"] == 0
    return answer, read_episode(path)


def speeds(log: EpisodeLog) -> np.ndarray:
    """Largest joint speed told to the drives in every tick."""
    return np.array([np.abs(step.verdict.action[:10]).max() for step in log.steps])


class FailingAt(Deliberation):
    """Fails at AT in the way that is set."""

    how = staticmethod(lambda: None)

    def think(self, state, waiting, brake=False):
        thought = super().think(state, waiting, brake)
        if abs(state.time - AT) < 0.5 * TICK:
            answer = type(self).how()
            return thought if answer is None else replace(thought, action=answer)
        return thought


def hang():
    time.sleep(3600)


def crash():
    os.kill(os.getpid(), signal.SIGKILL)


def bug():
    raise ZeroDivisionError("of a planner")


def hoard():
    return np.ones(1 << 31)


@pytest.mark.parametrize(
    ("how", "said"),
    [(hang, "did not answer"), (crash, "died (SIGKILL)"), (bug, "ZeroDivisionError"), (hoard, "out of memory")],
    ids=["hangs", "dies", "raises", "memory"],
)
def test_a_planner_that_fails_costs_a_brake(tmp_path, monkeypatch, how, said):
    monkeypatch.setattr(FailingAt, "how", staticmethod(how))
    monkeypatch.setattr(control, "Deliberation", FailingAt)
    answer, log = run(load_task(TASK), tmp_path / "e.mcap", patience=2.0, time_limit=7.0)
    assert said in answer["planning"]["failures"][0]
    fast = speeds(log)
    before, after = int(AT / TICK) - 1, int((AT + 1.0) / TICK)
    assert fast[before] > 0.1
    assert fast[before:after].min() == 0.0, "it came to rest"
    assert fast[after:].max() > 0.1, "and went on with a new planner"
    assert any(said in step.message for step in read_episode(tmp_path / "e.mcap").steps), "the log says it"


@pytest.mark.parametrize("answer", [np.full(11, np.nan), np.zeros(3), "full speed ahead"], ids=["nan", "shape", "text"])
def test_a_planner_that_answers_nonsense_costs_a_brake(tmp_path, monkeypatch, answer):
    monkeypatch.setattr(FailingAt, "how", staticmethod(lambda: answer))
    monkeypatch.setattr(control, "Deliberation", FailingAt)
    _, log = run(load_task(TASK), tmp_path / "e.mcap", time_limit=4.0)
    verdict = list(log.steps)[round(AT / TICK)].verdict
    assert verdict.intervened
    assert verdict.scale == 0.0
    assert "the proposed action" in verdict.reason


def lost(readings, time):
    return ()


def stale(readings, time):
    return tuple(replace(r, stamp=AT) for r in readings)


def future(readings, time):
    return tuple(replace(r, stamp=time + 1.0) for r in readings)


def broken(readings, time):
    return tuple(replace(r, keypoints=np.full_like(r.keypoints, np.nan)) for r in readings)


@pytest.mark.parametrize("fault", [lost, stale, future, broken])
def test_a_person_no_longer_seen_keeps_growing_until_the_robot_stands(tmp_path, monkeypatch, fault):
    whole = Cameras.read

    def read(self, time):
        objects, people = whole(self, time)
        return objects, fault(people, time) if time >= AT else people

    monkeypatch.setattr(bullet.Cameras, "read", read)
    answer, log = run(load_task(TASK), tmp_path / "e.mcap", time_limit=8.0)
    fast = speeds(log)
    assert fast[: int(AT / TICK)].max() > 0.1
    assert not fast[-20:].any(), "nobody has been seen for seconds: the robot stands"
    assert answer["filter"]["interventions"] > 0
    assert max(step.state.people[0].stamp for step in log.steps) <= AT + TICK


def running(tmp_path: Path, speed: float, start: tuple[float, float] = (0.4, -3.5)) -> PersonPlan:
    """Somebody who runs through the robot, all keypoints at one speed."""
    body = np.array([[0.0, 0.0, 0.1 + 1.6 * k / len(KEYPOINTS)] for k in range(len(KEYPOINTS))])
    time = np.arange(0.0, 8.0, 1 / 60)
    path = np.stack([np.full_like(time, start[0]), start[1] + speed * np.maximum(time - AT, 0.0), 0 * time], axis=1)
    np.savez(tmp_path / "run.npz", time_s=time, joint_names=np.array(KEYPOINTS), xyz_m=path[:, None] + body)
    return PersonPlan("runner", str(tmp_path / "run.npz"), np.zeros((0, 2)), 1.0, 0.0, (), 0.0, False)


@pytest.mark.parametrize("speed", [1.8, *(pytest.param(v, marks=pytest.mark.slow) for v in (3.0, 6.0))])
def test_a_person_faster_than_assumed_is_flagged(tmp_path, speed):
    task = replace(load_task(TASK), people=(running(tmp_path, speed),))
    answer = run_episode(task, RunOptions(seed=1002, out=tmp_path / "e.mcap", time_limit=5.0)).to_dict()
    flag = answer["assumptions"]["broken"]["human_speed.torso"]
    assert flag["worst"] == pytest.approx(speed, rel=0.15)
    assert flag["assumed"] == 1.6
    assert flag["duration_s"] > 0.2
    honest = replace(load_task(TASK), people=(running(tmp_path, 1.3),))
    answer = run_episode(honest, RunOptions(seed=1002, out=tmp_path / "f.mcap", time_limit=5.0)).to_dict()
    assert "human_speed.torso" not in answer["assumptions"]["broken"]


def test_a_person_who_appears_inside_the_margin_stops_the_robot(tmp_path):
    """Nobody assumes that people appear from nowhere: the robot brakes at once, and the episode says what broke."""
    time = np.array([0.0, AT, AT + 1 / 240, 8.0])
    body = np.array([[0.0, 0.0, 0.1 + 1.6 * k / len(KEYPOINTS)] for k in range(len(KEYPOINTS))])
    xyz = np.array([[0.0, -6.0, 0.0], [0.0, -6.0, 0.0], [0.8, 1.15, 0.0], [0.8, 1.15, 0.0]])[:, None] + body
    np.savez(tmp_path / "jump.npz", time_s=time, joint_names=np.array(KEYPOINTS), xyz_m=xyz)
    plan = PersonPlan("ghost", str(tmp_path / "jump.npz"), np.zeros((0, 2)), 1.0, 0.0, (), 0.0, False)
    task = replace(load_task(TASK), people=(plan,))
    answer = run_episode(task, RunOptions(seed=1002, out=tmp_path / "e.mcap", time_limit=5.0)).to_dict()
    assert 0.0 < answer["min_separation_m"] < 0.1, "a ghost in the robot would step back again"
    fast = speeds(read_episode(tmp_path / "e.mcap"))
    assert fast[int(AT / TICK) - 1] > 0.1
    assert not fast[int((AT + 0.6) / TICK) :].any()
    assert answer["assumptions"]["broken"]["human_speed.torso"]["worst"] > 100


# ---- the process and its disk ----------------------------------------------------------------------------------


def test_kill_9_loses_at_most_a_second_and_leaves_no_planner_behind(tmp_path):
    path = tmp_path / "e.mcap"
    process = subprocess.Popen([*ROBOTCTL, "run", TASK, "--seed", "1002", "--out", str(path), "--no-live"])
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and steps_of(path) < 40:
        time.sleep(0.1)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    assert children, "the planner has a process of its own"
    process.send_signal(signal.SIGKILL)
    process.wait()
    killed = time.time()
    log = read_episode(path)
    assert not log.complete
    assert log.count >= 40
    assert killed - path.stat().st_mtime < 3.0, "flushed every second, simulated or wall"
    time.sleep(0.5)
    assert not any(alive(int(child)) for child in children)
    found = subprocess.run([*ROBOTCTL, "replay", str(path), "--judge", "--json"], capture_output=True, text=True)
    assert found.returncode != 0 or '"complete": false' in found.stdout, "an incomplete log never passes"
    assert "Traceback" not in found.stderr


def steps_of(path: Path) -> int:
    try:
        return read_episode(path).count
    except InvalidFileError:  # just being created
        return 0


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except FileNotFoundError:
        return False


def test_a_full_disk_brakes_the_robot_and_says_so(tmp_path, monkeypatch):
    """The whole command under a quota; then, in this process, that the robot really comes to rest."""
    path = tmp_path / "e.mcap"
    limit = 900_000
    done = subprocess.run(
        [*ROBOTCTL, "run", TASK, "--seed", "1002", "--out", str(path), "--no-live"],
        capture_output=True, text=True, timeout=200,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    (line,) = done.stderr.splitlines()
    assert f"{path}: the episode cannot be written" in line
    log = read_episode(path)
    assert not log.complete
    assert log.count > 20

    commands: list[np.ndarray] = []
    step = bullet.BulletSimulator.step

    def recorded(self, action):
        commands.append(np.array(action))
        return step(self, action)

    def full(self, step):
        if step.observation.time >= AT:
            raise control.EpisodeWriteError("no space left on device")

    monkeypatch.setattr(bullet.BulletSimulator, "step", recorded)
    monkeypatch.setattr(control.EpisodeWriter, "append", full)
    with pytest.raises(control.EpisodeWriteError):
        run_episode(load_task(TASK), RunOptions(seed=1002, out=tmp_path / "f.mcap"))
    fast = np.array([np.abs(command[:10]).max() for command in commands])
    assert fast[round(AT / TICK)] > 0.1
    assert fast[-1] == 0.0
    assert len(fast) < (AT + 1.0) / TICK


def test_two_runs_on_one_path(tmp_path):
    path = tmp_path / "e.mcap"
    command = [*ROBOTCTL, "run", TASK, "--out", str(path), "--no-live"]
    first = subprocess.Popen([*command, "--time-limit", "4"], stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and not path.exists():
        time.sleep(0.02)
    second = subprocess.run(command, capture_output=True, text=True)
    assert second.returncode == 2
    assert "never overwritten" in second.stderr
    assert first.wait() in (0, 4)
    assert read_episode(path).complete
