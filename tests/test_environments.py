"""Our tasks as Gymnasium environments: the contract, the senses, the cost, the shield."""

from __future__ import annotations

import subprocess
import sys
import warnings
from pathlib import Path

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from robotctl.environments import drives, environment_id, environment_ids, register, spaces
from robotctl.environments.task_env import TaskEnv
from robotctl.errors import UsageError
from robotctl.judge import Judge
from robotctl.robot import BRAKE, DQ_MAX, Q_MAX, Q_MIN, STROKE
from robotctl.state import RobotState, State
from robotctl.task import load_task, task_names

KNIFE = "robotctl/KitchenPutAwayKnife-v0"
HURRY = np.array([0.0, 0.0, 1.0, 1.0, 1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0], np.float32)  # the hand passes 1.2 m/s


@pytest.fixture
def make():
    """Makes environments and closes them."""
    made = []

    def one(name: str = KNIFE, **options) -> TaskEnv:
        made.append(gymnasium.make(name, **options))
        return made[-1]

    yield one
    for env in made:
        env.close()


def test_every_packaged_task_is_registered_once():
    assert environment_id("kitchen/push-mug") == "robotctl/KitchenPushMug-v0"
    assert set(environment_ids()) == set(task_names())
    before = dict(gymnasium.registry)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        register()
    assert gymnasium.registry == before
    for task, name in environment_ids().items():
        assert gymnasium.spec(name).kwargs == {"task": task}


@pytest.mark.parametrize(("name", "shield"), [*((name, True) for name in environment_ids().values()), (KNIFE, False)])
def test_gymnasiums_own_checker_is_content(name, shield, make):
    with warnings.catch_warnings():
        warnings.filterwarnings("error")
        warnings.filterwarnings("ignore", message=".*Box observation space m.*infinity")
        check_env(make(name, shield=shield).unwrapped, skip_render_check=True)


def test_the_same_seed_senses_the_same(make):
    def course(seed: int, steps: int = 20) -> list[bytes]:
        env = make()
        env.action_space.seed(7)
        seen = [env.reset(seed=seed)[0]]
        seen += [env.step(env.action_space.sample())[0] for _ in range(steps)]
        return [b"".join(value.tobytes() for value in one.values()) for one in seen]

    first = course(5)
    assert first == course(5)
    assert first[0] != course(6, 0)[0]


def test_the_shield_keeps_the_cost_at_zero_where_the_raw_machine_pays(make):
    """The same actions with and without; the cost is the judge's, so this shows that it can see a violation."""
    costs = {}
    for shield in (True, False):
        env = make(shield=shield, people="none")
        env.reset(seed=3)
        infos = [env.step(HURRY)[-1] for _ in range(25)]
        costs[shield] = sum(info["cost"] for info in infos)
        for info in infos:
            assert info["cost"] == sum(not margin >= -1e-9 for margin in info["margins"].values())
        low = {name: min(info["margins"][name] for info in infos) for name in infos[0]["margins"]}
        assert (low["speed"] < 0) is not shield
        assert any(info["intervened"] for info in infos) is shield
        assert (sum(rule.violations for rule in env.unwrapped.verdict().by_id.values()) > 0) is not shield
    assert costs[True] == 0 < costs[False]


def test_margins_of_ticks_agree_with_the_verdict_on_the_episode(make):
    env = make(shield=False).unwrapped
    env.reset(seed=3)
    whole = Judge(env.task.scene, env.guardrails, env.task)
    whole.observe(env._simulator.truth())
    ticks = Judge(env.task.scene, env.guardrails, env.task)
    low = ticks.observe_tick(env._simulator.truth())
    for i in range(40):
        env.step(HURRY * (-1.0) ** (i // 10))
        whole.observe(env._simulator.truth())
        low = {name: min(low[name], m) for name, m in ticks.observe_tick(env._simulator.truth()).items()}
    assert ticks.verdict().to_dict() == whole.verdict().to_dict()
    for name, rule in whole.verdict().by_id.items():
        assert low[name] == pytest.approx(np.inf if rule.worst_margin is None else rule.worst_margin, abs=1e-12)


def test_an_action_that_is_not_finite_brakes_the_shielded_robot(make):
    env = make(people="none")
    env.reset(seed=1)
    go = np.zeros(11, np.float32)
    go[3] = 0.3
    for _ in range(10):
        seen = env.step(go)[0]
    assert np.abs(seen["commanded_velocity"]).max() > 0.2
    broken = go.copy()
    broken[5] = np.nan
    for _ in range(10):
        seen, _, _, _, info = env.step(broken)
        assert info["intervened"]
        assert "not finite" in info["reason"]
    assert not seen["commanded_velocity"].any()


def test_wrong_words_and_actions_get_one_clear_line(make):
    with pytest.raises(UsageError, match=r"people: 'defualt'.*did you mean 'default'"):
        TaskEnv(people="defualt")
    with pytest.raises(UsageError, match="did you mean 'household'"):
        TaskEnv(guardrails="houshold")
    with pytest.raises(UsageError, match="did you mean 'rgb_array'"):
        TaskEnv(render_mode="rgb")
    with pytest.raises(UsageError, match="reset first"):
        TaskEnv().step(HURRY)
    env = make(shield=False, people="none").unwrapped
    with pytest.raises(UsageError, match="takes no options, got 'speed'"):
        env.reset(options={"speed": 1})
    env.reset(seed=1)
    with pytest.raises(UsageError, match=r"shape \(11,\), got \(3,\)"):
        env.step(np.zeros(3))
    with pytest.raises(UsageError, match="array of 11 numbers, got str"):
        env.step("go")
    with pytest.raises(UsageError, match=r"action\[2\] is nan"):
        env.step(np.array([0.0, 0.0, np.nan] + [0.0] * 8))


def test_nobody_there_and_nothing_seen_look_the_same(make):
    task = load_task("kitchen/put-away-knife")
    seen = make(people="none").reset(seed=1)[0]
    assert not seen["people"].any()
    assert (seen["person_age"] == spaces.NEVER).all()
    robot = RobotState(np.zeros(10), np.zeros(10), np.zeros(10), np.zeros(10), 0.0)
    blind = spaces.observe(task, State(0.0, robot))
    assert blind in spaces.observation_space(task)
    assert not blind["objects"].any()
    assert (blind["object_age"] == spaces.NEVER).all()


def test_what_is_sensed_is_not_the_truth(make):
    env = make().unwrapped
    seen, _ = env.reset(seed=1)
    truth = env._simulator.truth()
    error = np.linalg.norm(seen["objects"][:, :3] - truth.object_position[-1], axis=1)
    error = error[seen["object_age"] < spaces.NEVER]
    assert 1e-5 < error.max() < 0.01
    far = np.linalg.norm(seen["people"] - truth.keypoints[-1], axis=-1)
    assert 1e-4 < far.max() < 0.1


def test_actions_to_units_and_back():
    action = np.linspace(-1.0, 1.0, 11)
    assert spaces.physical(np.ones(11)) == pytest.approx([*DQ_MAX, STROKE])
    assert spaces.physical(np.full(11, -9.0)) == pytest.approx([*-DQ_MAX, 0.0])
    assert spaces.normalised(spaces.physical(action)) == pytest.approx(action)


def test_the_drives_accept_nothing_that_leaves_the_travel():
    generator = np.random.default_rng(2)
    q, dq = (Q_MIN + Q_MAX) / 2, np.zeros(10)
    for _ in range(2000):
        wild = np.append(generator.choice([-2.0, 1.0, 5.0], 10) * DQ_MAX, 0.0)
        new = drives.accepted(wild, RobotState(q, dq, q, dq, 0.0))[:10]
        assert np.all(np.abs(new) <= DQ_MAX + 1e-12)
        assert np.all(np.abs(new - dq) <= BRAKE * 0.05 + 1e-12)
        q, dq = q + 0.025 * (dq + new), new
        assert np.all((q >= Q_MIN - 1e-9) & (q <= Q_MAX + 1e-9))
    held_back = RobotState(np.zeros(10), np.zeros(10), 0.2 * DQ_MAX, np.zeros(10), 0.0)
    assert not drives.accepted(np.append(DQ_MAX, 0.0), held_back)[:3].any()


def test_success_ends_an_episode(tmp_path):
    text = load_task("kitchen/put-away-knife").text.replace("is: on, place: knife_tray", "is: upright")
    text = text.replace("{object: knife_1, is: upright}", "{upright: knife_1}").replace(
        "../scene", "robotctl:kitchen/scene"
    )
    text = text.replace("../../guardrails/", "robotctl:guardrails/")
    (tmp_path / "lies.yaml").write_text(text)
    env = TaskEnv(tmp_path / "lies.yaml", people="none")
    env.reset(seed=1)
    go = np.zeros(11)
    go[3] = 0.2
    assert not env.step(go)[2]  # met, but the robot moves
    for _ in range(40):
        _, reward, terminated, truncated, info = env.step(np.zeros(11))
        if terminated:
            break
    assert terminated
    assert not truncated
    assert info["is_success"] is True
    assert reward == 0.0  # it was so from the start
    env.close()


def test_time_is_up(make):
    env = make(people="none").unwrapped
    env.task = load_task("kitchen/put-away-knife")
    object.__setattr__(env.task, "within", 0.2)
    env.reset(seed=1)
    ends = [env.step(np.zeros(11))[3] for _ in range(4)]
    assert ends == [False, False, False, True]


def test_a_picture_of_the_scene():
    env = TaskEnv("kitchen/put-away-knife", people="none", render_mode="rgb_array", width=64, height=48)
    env.reset(seed=1)
    picture = env.render()
    assert picture.shape == (48, 64, 3)
    assert picture.dtype == np.uint8
    assert picture.std() > 10
    env.close()


def test_without_gymnasium_it_says_what_to_install():
    code = "import sys; sys.modules['gymnasium'] = None\nimport robotctl.environments"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=Path(__file__).parent)
    assert "MissingPartError" in done.stderr
    assert "pip install 'robotctl[gym]'" in done.stderr


@pytest.mark.slow
def test_the_projects_own_controller_succeeds(make):
    from robotctl.controller import Controller
    from robotctl.deliberation import Deliberation
    from robotctl.world_model.composite import load_world_model

    env = make(shield=True).unwrapped
    env.reset(seed=1002)
    model = load_world_model(None, env.guardrails.assumptions)
    mind = Deliberation(env.task.scene, env.guardrails, model, 1002, "planner-only")
    mind.begin(env.task)
    controller = Controller(env.task.scene, env.guardrails, mind, "planner-only")
    total = cost = 0.0
    terminated = truncated = False
    while not (terminated or truncated):
        action = controller.act(env.sensed).verdict.action
        _, reward, terminated, truncated, info = env.step(spaces.normalised(action))
        total, cost = total + reward, cost + info["cost"]
    assert terminated
    assert info["is_success"]
    assert (total, cost) == (1.0, 0.0)
