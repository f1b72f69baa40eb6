"""`robotctl plan`: hulls, clearance, search, timing, files; paths are judged by PyBullet's own Panda."""

from __future__ import annotations

import itertools
import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pybullet_data
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import nnls
from typer.testing import CliRunner

from robotctl.bench import motion_families
from robotctl.cli.main import app
from robotctl.planning.motion import clearance, gjk, goals, rrt, timing
from robotctl.planning.motion.answer import answer, warm_up
from robotctl.planning.motion.chain import (
    ACCELERATION,
    APART,
    BODIES,
    SPEED,
    forward,
    hand_pose,
    hull_of,
    may_meet,
    panda,
)
from robotctl.planning.motion.clearance import MARGIN, free, march, scratch, world_of
from robotctl.planning.motion.planner import Status, plan
from robotctl.planning.motion.problem import Problem, load_problems
from robotctl.simulation.panda_checker import LIMIT_ACCELERATION, LIMIT_SPEED, PandaChecker, rates

ROOT = Path(__file__).parent.parent
LINKS = (-1, 0, 1, 2, 3, 4, 5, 6, 8, 9, 10)  # PyBullet's index of each of our bodies
READY = [0.0, -0.785, 0.0, -2.356, 0.0, 1.571, 0.785]
BOX = {"name": "crate", "type": "box", "size": [0.2, 0.2, 0.2], "position": [0.5, 0.4, 0.1], "quat_xyzw": [0, 0, 0, 1]}
ROW: dict[str, Any] = {"id": "a", "start_q": READY, "goal_q": [0.5, *READY[1:]], "obstacles": [BOX]}


def problem_of(row: dict[str, Any], folder: Path) -> Problem:
    file = folder / "problem.json"
    file.write_text(json.dumps(row))
    return load_problems(file)[0]


def planned(row: dict[str, Any], folder: Path, limit: float = 5.0, seed: int = 0) -> Any:
    return plan(problem_of(row, folder), limit, np.random.default_rng(seed))


# ---- the robot's shape -----------------------------------------------------------------------------------------


def test_hulls_contain_every_vertex_of_the_meshes_and_pybullets_margin() -> None:
    """Distance of a point from a hull by nonnegative least squares, with the weights' sum as a stiff equation."""
    folder = Path(pybullet_data.getDataPath()) / "franka_panda" / "meshes" / "collision"
    for name in (*(f"link{i}" for i in range(8)), "hand", "finger"):
        rows = [line.split()[1:4] for line in (folder / f"{name}.obj").read_text().splitlines() if line[:2] == "v "]
        hull, rounding = hull_of(name)
        assert rounding <= 0.0015
        stiff = 1e3
        kept = {tuple(np.round(vertex, 9)) for vertex in hull}
        for point in np.unique(np.array(rows, float), axis=0):
            if tuple(np.round(point, 9)) in kept:
                continue
            weights, _ = nnls(np.vstack([hull.T, np.full(len(hull), stiff)]), np.append(point, stiff))
            assert np.linalg.norm(weights @ hull / weights.sum() - point) + 0.001 <= rounding


def test_distance_is_never_more_than_pybullets_and_hardly_less() -> None:
    rng = np.random.default_rng(1)
    robot, mem = panda(0.02), scratch(panda(0.02))
    missing = []
    for kind in ("sphere", "box", "cylinder"):
        for trial in range(25):
            quaternion = rng.normal(size=4)
            row: dict[str, Any] = {
                "name": "it",
                "type": kind,
                "position": rng.uniform([-0.7, -0.7, -0.2], [0.7, 0.7, 1.1]).tolist(),
                "quat_xyzw": (quaternion / np.linalg.norm(quaternion)).tolist(),
            }
            size = rng.uniform(0.02, 0.4, 3).tolist()
            row |= {"size": size} if kind == "box" else {"radius": size[0]}
            row |= {"height": size[1]} if kind == "cylinder" else {}
            reader = _obstacle(row)
            world = world_of((reader,), (), np.zeros(3), 0.0)
            q = rng.uniform(robot.low, robot.high)
            with PandaChecker({"finger": 0.02, "obstacles": [row]}) as checker:
                checker.place(q)
                clearance._place(robot, q, mem)
                for body, link in enumerate(LINKS):
                    truth = checker.link_distance(link, "it", 1.0)
                    ours = clearance._to_obstacle(robot, world, body, 0, 1e9, mem)
                    if truth < 1.0:  # PyBullet looked no farther
                        assert ours <= max(truth, 0.0), (kind, trial, BODIES[body])
                    if 0.0 < truth < 1.0:
                        missing.append(truth - ours)
    assert len(missing) > 300
    assert max(missing) < 0.002
    assert np.mean(missing) < 0.001


def _obstacle(row: dict[str, Any]) -> Any:
    from robotctl.planning.motion.problem import _Reader

    return _Reader("test", "problem").obstacle("obstacles[0]", row)


def test_forward_kinematics_are_pybullets() -> None:
    rng = np.random.default_rng(2)
    robot = panda()
    with PandaChecker({"obstacles": []}) as checker:
        for q in rng.uniform(robot.low, robot.high, (20, 7)):
            rotation, position = hand_pose(robot, q)
            place, quaternion = checker.hand_pose(q)
            assert np.allclose(position, place, atol=1e-6)
            assert np.allclose(np.abs(motion_families.quaternion_from_matrix(rotation) @ quaternion), 1.0, atol=1e-6)


def test_a_chain_may_slide() -> None:
    robot = panda()._replace(slides=np.array([1, 0, 0, 0, 0, 0, 0]))
    rotation, position = np.empty((8, 3, 3)), np.empty((8, 3))
    forward(robot, np.array([0.2, 0, 0, 0, 0, 0, 0.0]), rotation, position)
    assert np.allclose(position[1], [0, 0, 0.333 + 0.2])


def test_pairs_left_out_never_come_near() -> None:
    robot, mem = panda(), scratch(panda())
    rng = np.random.default_rng(3)
    for q in rng.uniform(robot.low, robot.high, (300, 7)):
        clearance._place(robot, q, mem)
        for a, b in APART:
            assert not may_meet(a, b)
            assert clearance._to_body(robot, a, b, 1.0, mem) > 0.02


def test_a_free_motion_is_free_at_every_point_of_it() -> None:
    """Continuous checking against dense sampling; and it does find ways that are blocked."""
    row = motion_families.problem("shelf", 3000)
    world = world_of([_obstacle(o) for o in row["obstacles"]], (), np.zeros(3), 0.0)
    robot, mem, rng = panda(), scratch(panda()), np.random.default_rng(4)
    ways = [0, 0]
    for _ in range(150):
        a = rng.uniform(robot.low, robot.high)
        b = np.clip(a + rng.normal(0.0, 0.3, 7), robot.low, robot.high)
        share = march(robot, world, a, b, MARGIN, mem)
        ways[share >= 1.0] += 1
        for t in np.linspace(0.0, share, 200) if share > 0.0 else ():
            assert free(robot, world, a + t * (b - a), 0.0, mem)
    assert min(ways) > 10


def test_a_way_that_keeps_its_distance_is_not_cut_short_at_the_price_of_it() -> None:
    """Round a post at a distance, the shortcut would pass it at 3 mm: taken only if no comfort is asked for."""
    robot = panda()
    a, b = np.array([-0.5, 0.3, 0.0, -1.8, 0.0, 2.1, 0.8]), np.array([0.5, 0.3, 0.0, -1.8, 0.0, 2.1, 0.8])
    over = np.array([0.0, -0.4, 0.0, -1.8, 0.0, 2.1, 0.8])
    way, mem = np.array([a, over, b]), scratch(robot)
    reach = float(np.linalg.norm(hand_pose(robot, np.array([0.0, *a[1:]]))[1][:2]))

    def post(away: float) -> Any:
        row = {"name": "post", "type": "sphere", "radius": 0.05, "position": [reach + away, 0.0, 0.0]}
        row["position"][2] = float(hand_pose(robot, np.array([0.0, *a[1:]]))[1][2])
        return world_of([_obstacle(row)], (), np.zeros(3), 0.0)

    gaps = {away: post(away) for away in np.arange(0.10, 0.30, 0.002)}
    away, world = next((d, w) for d, w in gaps.items() if rrt.keeps(robot, w, np.array([a, b]), MARGIN, mem))
    assert not rrt.keeps(robot, world, np.array([a, b]), 0.01, mem), away
    assert rrt.keeps(robot, world, way, 0.01, mem)
    assert len(rrt.straighten(robot, world, way, MARGIN, MARGIN)) == 2
    assert len(rrt.straighten(robot, world, way, MARGIN, 0.01)) == 3
    draws = np.random.default_rng(0).random((50, 2))
    assert rrt.keeps(robot, world, rrt.shorten(robot, world, way, draws, MARGIN, 0.01, 100), 0.01, mem)
    assert not rrt.keeps(robot, world, rrt.shorten(robot, world, way, draws, MARGIN, MARGIN, 100), 0.01, mem)


def test_gjk_of_boxes() -> None:
    corners = np.array(list(itertools.product([-0.5, 0.5], repeat=3))).T.copy()
    eye, zero, work = np.eye(3), np.zeros(3), np.empty((7, 3))
    half = np.array([0.5, 0.5, 0.5])
    for shift, truth in (([2.0, 0, 0], 1.0), ([2.0, 2.0, 0], np.sqrt(2)), ([0.9, 0, 0], 0.0), ([0, 0, 0], 0.0)):
        d = gjk.distance(corners, 0, 8, zero, eye, np.array(shift, float), gjk.BOX, half, 0, 0, eye, zero, 9.0, work)
        assert d == pytest.approx(truth, abs=1e-4)


# ---- planning --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", sorted(motion_families.FAMILIES))
def test_families_are_solved_and_the_independent_checker_agrees(family: str, tmp_path: Path) -> None:
    warm_up()
    for seed in (2000, 2001, 2002, 2003):
        row = motion_families.problem(family, seed)
        motion = planned(row, tmp_path, 10.0)
        assert motion.solved, (row["id"], motion.reason)
        assert np.array_equal(motion.path[0], row["start_q"])
        with PandaChecker(row) as checker:
            verdict = checker.judge(motion.path, motion.times)
            assert verdict.good, (row["id"], verdict)
            assert verdict.obstacle > motion.min_clearance - 2e-4 or verdict.obstacle == 0.05
            if "goal_q" in row:
                assert np.array_equal(motion.path[-1], row["goal_q"])
            else:
                position, quaternion = checker.hand_pose(motion.path[-1])
                assert np.linalg.norm(position - row["goal_hand_pose"]["position"]) < 1e-3
                cosine = abs(float(quaternion @ row["goal_hand_pose"]["quat_xyzw"]))
                assert 2.0 * np.degrees(np.arccos(min(cosine, 1.0))) < 0.5
        assert np.array_equal(motion.path[0], motion.path[1])  # at rest at both ends
        assert np.array_equal(motion.path[-1], motion.path[-2])


def test_the_checker_bites(tmp_path: Path) -> None:
    """The same path with an obstacle put into it, and run twice as fast, is refused."""
    motion = planned(ROW, tmp_path)
    x, _ = hand_pose(panda(), motion.path[len(motion.path) // 2])[::-1]
    row = {**ROW, "obstacles": [{"name": "new", "type": "sphere", "radius": 0.05, "position": x.tolist()}]}
    with PandaChecker(row) as checker:
        assert checker.judge(motion.path, motion.times).obstacle < 0.0
    with PandaChecker(ROW) as checker:
        assert checker.judge(motion.path, motion.times).good
        assert not checker.judge(motion.path, 0.5 * motion.times).good


def test_same_seed_same_path(tmp_path: Path) -> None:
    row = motion_families.problem("shelf", 2001)
    first, again = planned(row, tmp_path), planned(row, tmp_path)
    assert np.array_equal(first.path, again.path)
    assert np.array_equal(first.times, again.times)


def test_no_path_is_said_within_the_time_limit(tmp_path: Path) -> None:
    """Two radial walls and a lid: on its way the arm would have to fit into a column 24 cm wide and 80 cm high."""
    obstacles = [{"name": "lid", "type": "box", "size": [3.0, 3.0, 0.02], "position": [0.0, 0.0, 0.8]}]
    for side in (-1, 1):
        turn = [0.0, 0.0, side * np.sin(np.pi / 8), np.cos(np.pi / 8)]
        place = [1.12 * np.cos(np.pi / 4), side * 1.12 * np.sin(np.pi / 4), 0.5]
        wall = {"name": f"wall{side}", "type": "box", "size": [2.0, 0.02, 3.0], "position": place, "quat_xyzw": turn}
        obstacles.append(wall)
    start = [0.0, 0.4, 0.0, -2.2, 0.0, 2.6, 0.785]
    row = {**ROW, "start_q": start, "goal_q": [1.57, *start[1:]], "obstacles": obstacles}
    for limit in (0.3, 1.0):
        looks = itertools.count()  # every look at the clock takes 10 ms
        motion = plan(problem_of(row, tmp_path), limit, np.random.default_rng(0), lambda: 0.01 * next(looks))  # noqa: B023
        assert motion.status is Status.TIME_LIMIT
        assert "time limit" in motion.reason
        assert 0.8e3 * limit < motion.ms < 1e3 * limit


@pytest.mark.parametrize(
    ("change", "status", "word"),
    [
        ({"start_q": [0, 0, 0, -1.5, 0, 5.0, 0]}, Status.START_OUT_OF_LIMITS, "joint 6"),
        ({"goal_q": [0, 2.0, 0, -1.5, 0, 1.5, 0]}, Status.GOAL_OUT_OF_LIMITS, "joint 2"),
        ({"start_q": [0.72, 0.6, 0, -2.0, 0, 2.6, 0.785]}, Status.START_IN_COLLISION, "crate"),
        ({"goal_q": [0.72, 0.6, 0, -2.0, 0, 2.6, 0.785]}, Status.GOAL_IN_COLLISION, "crate"),
    ],
)
def test_what_cannot_be_planned_says_why(change: dict[str, Any], status: Status, word: str, tmp_path: Path) -> None:
    motion = planned({**ROW, **change}, tmp_path)
    assert motion.status is status
    assert word in motion.reason
    assert len(motion.path) == 0


def test_a_pose_out_of_reach_has_no_inverse_kinematics(tmp_path: Path) -> None:
    row = {key: value for key, value in ROW.items() if key != "goal_q"}
    row["goal_hand_pose"] = {"position": [2.0, 0.0, 0.5], "quat_xyzw": [1, 0, 0, 0]}
    assert planned(row, tmp_path).status is Status.NO_INVERSE_KINEMATICS


def test_allowed_touches_are_of_the_gripper_near_the_goal_only(tmp_path: Path) -> None:
    goal = [0.4, 0.3, 0.0, -2.0, 0.0, 2.3, 0.785]
    rotation, hand = hand_pose(panda(), np.array(goal))
    tip = hand + 0.1 * rotation[:, 2]
    ball = {"name": "ball", "type": "sphere", "radius": 0.045, "position": tip.tolist()}
    row = {**ROW, "goal_q": goal, "obstacles": [ball]}
    assert planned(row, tmp_path).status is Status.GOAL_IN_COLLISION
    motion = planned({**row, "goal_touch_allowed": ["ball"]}, tmp_path)
    assert motion.solved, motion.reason
    with PandaChecker(row) as checker:
        assert checker.judge(motion.path, motion.times, ["ball"], near_goal=0.12).good
        assert not checker.judge(motion.path, motion.times, []).good
    inside = {**ball, "radius": 0.16}  # reaches link 7, which may not touch
    blocked = planned({**row, "obstacles": [inside], "goal_touch_allowed": ["ball"]}, tmp_path)
    assert blocked.status is Status.GOAL_IN_COLLISION
    assert "link" in blocked.reason


def test_a_goal_that_needs_no_touch_is_reached_without(tmp_path: Path) -> None:
    row = {**motion_families.problem("table", 2004)}
    names = [obstacle["name"] for obstacle in row["obstacles"]]
    motion = planned({**row, "goal_touch_allowed": names}, tmp_path)
    assert motion.solved
    with PandaChecker(row) as checker:
        assert checker.judge(motion.path, motion.times).good


def test_a_start_that_is_the_goal_is_solved(tmp_path: Path) -> None:
    motion = planned({**ROW, "goal_q": READY}, tmp_path)
    assert motion.solved
    assert motion.length == 0.0


def test_inverse_kinematics_reach() -> None:
    rng, robot = np.random.default_rng(5), panda()
    rotation, position = hand_pose(robot, np.array(READY))
    found = goals.reach(robot, rotation, position, rng.uniform(robot.low, robot.high, (60, 7)))
    assert len(found) > 15
    for q in found:
        turn, place = hand_pose(robot, q)
        assert np.allclose(place, position, atol=1e-5)
        assert np.allclose(turn, rotation, atol=1e-5)


def test_warm_up_compiles_everything() -> None:
    warm_up()
    for kernel in (rrt.grow, rrt.shorten, rrt.straighten, timing.profile, clearance.path_clearance, goals._reach_all):
        before = len(kernel.signatures)
        assert before >= 1
    before = [len(kernel.signatures) for kernel in (rrt.grow, rrt.shorten, clearance.path_clearance)]
    row = motion_families.problem("shelf", 2002)
    from robotctl.planning.motion.problem import _Reader

    plan(_Reader("test", "").problem(row, 0), 5.0, np.random.default_rng(0))
    assert before == [len(kernel.signatures) for kernel in (rrt.grow, rrt.shorten, clearance.path_clearance)]


# ---- timing ----------------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 8), st.integers(0, 10**6), st.floats(1e-4, 2.0), st.floats(0.0, 1.0))
def test_timing_keeps_every_limit(n: int, seed: int, scale: float, rounding: float) -> None:
    """Whatever the corners and their rounding: speed, acceleration, both ends, rest; the limit is used, too."""
    rng = np.random.default_rng(seed)
    path = np.cumsum(rng.normal(0.0, scale, (n, 7)), axis=0)
    lengths = np.linalg.norm(np.diff(path, axis=0), axis=1)
    sizes = np.zeros(n)
    sizes[1:-1] = rounding * 0.5 * np.minimum(lengths[:-1], lengths[1:])
    times, joints = timing.timed(timing.curve(path, sizes), path[-1], SPEED, ACCELERATION)
    speed, acceleration = rates(joints, times)
    assert speed <= 1.0
    assert acceleration <= 1.0
    assert max(speed, acceleration) > 0.3 or scale < 0.05
    assert np.array_equal(joints[0], path[0])
    assert np.array_equal(joints[-1], path[-1])
    assert np.allclose(SPEED, LIMIT_SPEED)
    assert np.allclose(ACCELERATION, LIMIT_ACCELERATION)


def test_one_joint_moves_as_fast_as_it_can() -> None:
    """Rest to rest over d with speed v and acceleration a takes d / v + v / a."""
    path = np.zeros((2, 7))
    path[1, 0] = 2.0
    times, _ = timing.timed(timing.curve(path, np.zeros(2)), path[1], SPEED, ACCELERATION)
    v, a = timing.RESERVE * SPEED[0], timing.RESERVE * ACCELERATION[0]
    assert times[-1] == pytest.approx(2.0 / v + v / a, rel=0.03)


# ---- the command -----------------------------------------------------------------------------------------------


def invoke(*args: str, code: int) -> Any:
    result = CliRunner().invoke(app, ["plan", *args])
    assert result.exit_code == code, (result.stdout, result.stderr, result.exception)
    return result


def test_the_example_is_solved_and_written(tmp_path: Path) -> None:
    out = tmp_path / "paths.json"
    result = invoke(str(ROOT / "examples" / "plan-shelf.json"), "--out", str(out), "--json", code=0)
    found = json.loads(result.stdout)
    assert found["schema"] == "robotctl/plan.v1"
    keys = {"id", "solved", "status", "ms", "path", "times", "length", "min_clearance_m"}
    assert all(set(row) == keys for row in found["results"])
    assert json.loads(out.read_text()) == found
    assert all(len(row["path"]) == len(row["times"]) for row in found["results"])


def test_a_table_for_people_and_4_if_something_is_not_solved(tmp_path: Path) -> None:
    file = tmp_path / "two.json"
    far = {key: value for key, value in ROW.items() if key != "goal_q"}
    far |= {"id": "far", "goal_hand_pose": {"position": [3, 0, 0], "quat_xyzw": [0, 0, 0, 1]}}
    file.write_text(json.dumps([ROW, far]))
    result = invoke(str(file), code=4)
    assert "1 of 2 solved" in result.stdout
    assert "no_inverse_kinematics" in result.stdout
    found = json.loads(invoke(str(file), "--json", code=4).stdout)
    assert "inverse kinematics" in found["results"][1]["reason"]
    assert found["results"][1]["path"] == []


def _change(path: str, value: Any) -> dict[str, Any]:
    """ROW with the value at a dotted path replaced, or removed if it is `...`."""
    row = deepcopy(ROW)
    *way, last = [int(part) if part.isdigit() else part for part in path.split(".")]
    place: Any = row
    for part in way:
        place = place[part]
    if value is ...:
        del place[last]
    else:
        place[last] = value
    return row


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (_change("strat_q", []), ["problem 'a'", "key 'strat_q'", "did you mean 'start_q'"]),
        (_change("start_q", [0.0] * 6), ["key 'start_q'", "7 numbers, has 6"]),
        (_change("start_q.2", float("nan")), ["key 'start_q[2]'", "not a finite number"]),
        (_change("start_q.2", float("inf")), ["key 'start_q[2]'", "not a finite number"]),
        (_change("start_q.2", 10**400), ["key 'start_q[2]'", "too large"]),
        (_change("start_q.2", True), ["key 'start_q[2]'", "must be a number"]),
        (_change("start_q", ...), ["key 'start_q'", "is missing"]),
        (_change("goal_q", ...), ["exactly one of 'goal_q' and 'goal_hand_pose'"]),
        (_change("id", ...), ["problem [0]", "key 'id'", "is missing"]),
        (_change("obstacles", {}), ["key 'obstacles'", "must be a list"]),
        (_change("obstacles.0.type", "bux"), ["key 'obstacles[0].type'", "did you mean 'box'"]),
        (_change("obstacles.0.sise", [1, 1, 1]), ["key 'obstacles[0].sise'", "did you mean 'size'"]),
        (_change("obstacles.0.size", [0.1, -0.1, 0.1]), ["key 'obstacles[0].size'", "greater than 0"]),
        (_change("obstacles.0.quat_xyzw", [0, 0, 0, 1.1]), ["quat_xyzw'", "unit quaternion"]),
        (_change("finger", 0.05), ["key 'finger'", "0.04"]),
        (_change("goal_touch_allowed", ["crote"]), ["goal_touch_allowed", "did you mean 'crate'"]),
        ([ROW, ROW], ["problem [1]", "key 'id'"]),
        ([], ["list of problems is empty"]),
        ([3], ["problem [0]", "must be an object"]),
        ("nothing", ["problem [0]", "must be an object"]),
    ],
)
def test_a_broken_file_is_one_line(row: Any, words: list[str], tmp_path: Path) -> None:
    file = tmp_path / "broken.json"
    file.write_text(json.dumps(row))
    result = invoke(str(file), code=3)
    assert result.stdout == ""
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("error: ")
    for word in ["broken.json", *words]:
        assert word in lines[0]


@pytest.mark.parametrize("text", ["", "{", "[1,", "[" * 100000, '{"id": 1, "id": 2}', "\x00", "1" * 5000])
def test_what_is_not_json_is_one_line(text: str, tmp_path: Path) -> None:
    file = tmp_path / "broken.json"
    file.write_text(text)
    lines = invoke(str(file), code=3).stderr.strip().splitlines()
    assert len(lines) == 1
    assert "broken.json" in lines[0]


def test_nearly_unit_quaternions_are_normalised(tmp_path: Path) -> None:
    problem = problem_of(_change("obstacles.0.quat_xyzw", [0, 0, 0, 1.0005]), tmp_path)
    assert np.allclose(problem.obstacles[0].rotation, np.eye(3), atol=1e-12)


def test_usage_errors_end_with_2(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    file.write_text(json.dumps(ROW))
    invoke(code=2)
    invoke(str(file), "--time-limit", "0", code=2)
    invoke(str(file), "--sede", "1", code=2)
    assert "cannot be written" in invoke(str(file), "--out", str(tmp_path / "no" / "b.json"), code=2).stderr
    assert "no such file" in invoke(str(tmp_path / "missing.json"), code=3).stderr


def test_a_path_does_not_depend_on_its_neighbours(tmp_path: Path) -> None:
    rows = [motion_families.problem("table", seed) for seed in (2000, 2001)]
    file = tmp_path / "two.json"
    file.write_text(json.dumps(rows))
    problems = load_problems(file)
    both, alone = answer(problems, 5.0, 7), answer(problems[1:], 5.0, 7)
    assert both["results"][1]["path"] == alone["results"][0]["path"]
