"""The judge against the oracle (tests/oracle): logs whose answer is known, and recorded ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from oracle import stl
from oracle.compare import Comparison, Said, compare, compare_log
from oracle.files import World, read_world
from oracle.logs import TASKS, record, write_scene
from oracle.shapes import robot_solids

from robotctl.body import KEYPOINTS
from robotctl.guardrails.load import GuardrailSet, load_guardrails
from robotctl.judge import judge as judge_module
from robotctl.judge import machine
from robotctl.judge import record as judge_record
from robotctl.robot import HOME, tcp_pose
from robotctl.scene_paths import scenes_folder
from robotctl.state import Truth
from robotctl.task import Task, load_task

DT = 1.0 / 240.0
BALL = 0.17  # radius of a person who stands on one point: that of the thickest capsule [m]
DISC = 0.24  # radius of the robot's base [m]
FLOOR = np.array([0.3, 0.65])  # where the base stands in the kitchen, far enough from all furniture [m]


@dataclass(frozen=True)
class Stage:
    """What a synthetic log is judged by."""

    task: Task
    guardrails: GuardrailSet
    world: World

    def compare(self, seconds: float, **motion: Callable) -> Comparison:
        ticks = round(seconds * 20)
        return compare(self.task, self.guardrails, self.world, [truth(self.task, n, **motion) for n in range(ticks)])


@pytest.fixture(scope="module")
def stage(tmp_path_factory) -> Callable[..., Stage]:
    """A stage of the kitchen with the household guardrails, the strict ones, or both."""
    tasks = write_scene(tmp_path_factory.mktemp("oracle"))
    files = {"household": scenes_folder() / "guardrails" / "household.yaml", "strict": tasks / "strict.yaml"}
    task = load_task(tasks / "put-away-knife.yaml")

    def build(*names: str) -> Stage:
        chosen = [files["household"], *(files[name] for name in names)]
        return Stage(task, load_guardrails(chosen, task.scene), read_world(task.path, chosen))

    return build


def truth(
    task: Task,
    n: int,
    q: Callable,
    person: Callable | None = None,
    knife: Callable | None = None,
    opening: float = 0.08,
) -> Truth:
    """Ground truth of tick n: joints, a person who is one point, and the knife's pose, as functions of time."""
    time = (12 * n + 1 + np.arange(12)) * DT
    items = task.scene.items
    position = np.tile([item.position for item in items], (12, 1, 1))
    quaternion = np.tile([0.0, 0.0, 0.0, 1.0], (12, len(items), 1))
    if knife is not None:
        i = [item.name for item in items].index("knife_1")
        for k, t in enumerate(time):
            position[k, i], quaternion[k, i] = knife(t)
    keypoints = np.zeros((12, 0, len(KEYPOINTS), 3))
    if person is not None:
        keypoints = np.array([[np.tile(person(t), (len(KEYPOINTS), 1))] for t in time])
    return Truth(
        time=time, q=np.array([q(t) for t in time]), dq=np.zeros((12, 10)), opening=np.full(12, opening),
        object_names=tuple(item.name for item in items), object_position=position, object_quaternion=quaternion,
        person_names=("ann",) if person is not None else (), keypoints=keypoints,
    )  # fmt: skip


def drive(way: Callable[[float], float], axis: int = 0) -> Callable[[float], np.ndarray]:
    """The base moves along x or y, the arm stays tucked."""

    def q(t: float) -> np.ndarray:
        out = HOME.copy()
        out[:2] = FLOOR
        out[axis] += way(t)
        return out

    return q


def said(comparison: Comparison, rule: str) -> Said:
    (found,) = [s for s in comparison.rules if s.rule == rule]
    return found


def assert_agree(comparison: Comparison) -> None:
    for found in comparison.rules:
        assert found.same_verdict, found
        assert found.same_count, found
        assert found.same_worst, found
    assert comparison.contacts[:2] == comparison.contacts[2:]
    assert comparison.held_differs == 0
    judge, oracle = comparison.separation
    assert judge == oracle or abs(judge - oracle) <= 0.001


@pytest.mark.parametrize(("beyond", "violations"), [(0.002, 0), (-0.002, 1)])
def test_separation_grazed(stage, beyond, violations):
    """The base drives at 0.3 m/s at a person and stops when the gap allows 0.3 m/s +- 2 mm/s."""
    speed = 0.3
    gap = 0.12 + (speed + beyond) / 1.5  # where it stops
    start = gap + speed * 240 * DT  # and that at the end of a step
    person = np.array([FLOOR[0] + start + DISC + BALL, FLOOR[1], 0.16])
    result = stage().compare(1.2, q=drive(lambda t: min(speed * t, start - gap)), person=lambda t: person)
    assert_agree(result)
    assert said(result, "human-separation").oracle_violations == violations
    assert said(result, "human-separation").oracle_worst == pytest.approx(beyond, abs=5e-4)


@pytest.mark.parametrize(("quiet", "violations"), [(11, 1), (12, 3), (13, 3)])
def test_violations_50_ms_apart(stage, quiet, violations):
    """Three bursts of 3 steps above the speed limit, with quiet steps between them: 12 steps are 50 ms."""
    step = np.arange(240) - 20  # at rest at first
    fast = (step >= 0) & (step < 3 * (3 + quiet)) & (step % (3 + quiet) < 3)
    way = np.concatenate([[0.0], np.cumsum(np.where(step < 0, 0.0, np.where(fast, 0.7, 0.1))) * DT])
    result = stage("strict").compare(0.4, q=drive(lambda t: float(way[round(t / DT)])))
    assert said(result, "slow").oracle_violations == violations
    assert_agree(result)


@pytest.mark.parametrize(("speed", "moving"), [(0.048, 0), (0.052, 1)])
def test_moving_contact_by_speed(stage, speed, moving):
    person = np.array([FLOOR[0] + DISC + BALL + 0.005, FLOOR[1], 0.16])
    result = stage().compare(0.3, q=drive(lambda t: speed * t), person=lambda t: person)
    assert_agree(result)
    assert result.contacts[2:] == (moving, 1 - moving)


@pytest.mark.parametrize(("beyond", "violations"), [(0.0005, 0), (-0.0005, 1)])
def test_clearance_grazed(stage, beyond, violations):
    """The base rolls south towards the table's north-east leg (face at y = -0.23) and stops 5 +- 0.5 mm before it."""
    leg = 0.945
    way = -(FLOOR[1] - (-0.23 + DISC + 0.005 + beyond))

    def q(t: float) -> np.ndarray:
        out = drive(lambda t: max(way, -1.1 * t), axis=1)(t)
        out[0] = leg
        out[2] = 0.5 * np.pi  # the arm looks north
        return out

    result = stage("strict").compare(1.0, q=q)
    assert_agree(result)
    assert said(result, "furniture-clearance").oracle_violations == violations
    assert said(result, "furniture-clearance").oracle_worst == pytest.approx(beyond, abs=3e-4)


@pytest.mark.parametrize(("tilt", "violations"), [(2.99, 0), (3.01, 1)])
def test_carried_knife(stage, tilt, violations):
    """A knife between the fingers, tilted by almost 3 degrees, carried past a person: held, blade and tilt."""
    turn = np.array([np.sin(np.deg2rad(tilt) / 2), 0, 0, np.cos(np.deg2rad(tilt) / 2)])
    home = drive(lambda t: 0.0)(0.0)
    tip = tcp_pose(home)[0]

    def knife(t: float) -> tuple[np.ndarray, np.ndarray]:
        return tip - [-0.075, 0.0, 0.011] + [0.2 * t, 0.0, 0.0], turn

    result = stage("strict").compare(
        0.6, q=drive(lambda t: 0.2 * t), knife=knife, opening=0.0245, person=lambda t: tip + np.array([0.8, 0.1, 0.0])
    )
    assert_agree(result)
    assert result.held_ticks == 12
    assert said(result, "level").oracle_violations == violations
    assert said(result, "slow-blade").oracle_violations == 1
    assert said(result, "blade-near-human").oracle_worst < said(result, "human-separation").oracle_worst


def test_the_hand_in_a_region(stage):
    """The tucked arm reaches into the keep-out region above the plates when the base drives there."""
    result = stage("strict").compare(1.0, q=drive(lambda t: -0.5 * t, axis=1))
    assert_agree(result)
    assert not np.isinf(said(result, "no-go").oracle_worst)


def test_joints_at_their_limits(stage):
    """A joint turns out of its range at 1.2 rad/s: a position and, for the strict rule, a speed."""

    def q(t: float) -> np.ndarray:
        out = drive(lambda t: 0.0)(t)
        out[7] = machine.HIGH[7] - 0.3 + 1.4 * t
        return out

    result = stage("strict").compare(0.5, q=q)
    assert_agree(result)
    assert said(result, "joint-limits").oracle_worst == pytest.approx((0.3 - 0.7) / (2 * machine.HIGH[7]), abs=1e-6)
    assert said(result, "gentle-joints").oracle_violations == 1


def _wide_gap(monkeypatch):
    monkeypatch.setattr(judge_record, "GAP", 0.2)


def _long_forearm(monkeypatch):
    monkeypatch.setattr(machine, "FLANGE", 0.09)
    monkeypatch.setattr(machine, "poses", machine.poses.py_func)


def _slim_people(monkeypatch):
    monkeypatch.setattr(judge_module, "CAPSULE_RADIUS", judge_module.CAPSULE_RADIUS - 0.02)


@pytest.mark.parametrize("break_it", [_wide_gap, _long_forearm, _slim_people])
def test_a_wrong_judge_is_found_out(stage, monkeypatch, break_it):
    """Each of these mistakes in the judge makes it disagree with the oracle."""
    tip = tcp_pose(drive(lambda t: 0.0)(0.0))[0]
    on = stage("strict")
    q = drive(lambda t: 0.05 * np.sin(16 * t))
    break_it(monkeypatch)
    with pytest.raises(AssertionError):
        assert_agree(on.compare(0.4, q=q, person=lambda t: tip + np.array([0.35, 0.1, 0.0])))


def test_a_right_judge_is_not(stage):
    """The motion of the test before, without a mistake."""
    tip = tcp_pose(drive(lambda t: 0.0)(0.0))[0]
    q = drive(lambda t: 0.05 * np.sin(16 * t))
    assert_agree(stage("strict").compare(0.4, q=q, person=lambda t: tip + np.array([0.35, 0.1, 0.0])))


def test_runs_are_counted_by_the_logic():
    bad = np.zeros(60, bool)
    bad[[3, 4, 10, 23, 38, 39, 40]] = True
    assert stl.runs(bad) == 3  # 12 steps from 10 to 23 and 14 from 23 to 38
    assert stl.runs(np.zeros(5, bool)) == 0


def test_an_episode_of_two_seconds(tmp_path):
    """What is recorded is compared as it is read back."""
    tasks = write_scene(tmp_path)
    from robotctl.bench.episodes import EpisodeJob, run_job

    run_job(
        EpisodeJob(
            str(tasks / "put-away-knife.yaml"), None,
            {"seed": 1000, "arm": "none", "time_limit": 1.5, "out": tmp_path / "e.mcap",
             "guardrail_files": (tasks / "strict.yaml",)},
        )
    )  # fmt: skip
    result = compare_log(tmp_path / "e.mcap", tmp_path / "files")
    assert result.ticks >= 30
    assert_agree(result)


@pytest.mark.slow
def test_recorded_episodes(tmp_path: Path):
    """The first of the episodes that tools/judge_against_oracle.py compares."""
    for path in record(tmp_path, 2 * len(TASKS)):
        result = compare_log(path, tmp_path / "files")
        for found in result.rules:
            assert found.judge_violations in found.oracle_range, (path.name, found)
            assert found.same_worst, (path.name, found)
        assert result.held_differs <= 2, path.name


def test_the_judge_knows_the_shapes_the_simulator_collides_with():
    """In every direction a body reaches as far for the judge as for the URDF's collision shapes, to 1 mm."""
    rng = np.random.default_rng(0)
    directions = rng.normal(size=(300, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    solids = robot_solids()
    foot = solids["panda_link0"].corners + np.array([0.0, 0.0, machine.FOOT])
    shapes = [np.concatenate([solids["base"].corners, foot])]
    shapes += [solids[f"panda_{name.replace('_', '')}"].corners for name in machine.BODIES[1:]]
    for name, surface, corners in zip(machine.BODIES, machine.surfaces(), shapes, strict=True):
        apart = (surface.points @ directions.T).max(axis=0) - (corners @ directions.T).max(axis=0)
        assert np.abs(apart).max() < 0.001, name
