"""Training on Gymnasium environments: nothing known of them beforehand, whole files, the same seed the same model."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from robotctl.cli.main import app
from robotctl.errors import InvalidFileError, MissingPartError, UsageError
from robotctl.training.gym import collect, data, dynamics, environments, mpc, noise, relation, report, train, value
from robotctl.training.gym.learned import load
from robotctl.training.gym.recipe import Amount, Recipe
from robotctl.training.gym.spaces import layout_of

gymnasium = pytest.importorskip("gymnasium")
spaces = gymnasium.spaces
SHORT = "robotctl-tests/ShortPendulum-v0"
gymnasium.register(SHORT, "gymnasium.envs.classic_control.pendulum:PendulumEnv", max_episode_steps=20)
TINY = Recipe(SHORT, 1000, Amount(transitions=1000, rounds=1, steps=200, episodes=4))
UNIT = spaces.Box(-1.0, 1.0, (2,), np.float32)


@pytest.fixture(scope="module", autouse=True)
def _small() -> Iterator[None]:
    """Small networks and few samples: what is tested here does not depend on how good the model is.

    Single precision, as a run has it: tests of gradients in the same process may have asked for double.
    """
    import jax

    with pytest.MonkeyPatch.context() as patch, jax.enable_x64(False):
        for module in (dynamics, value):
            patch.setattr(module, "WIDTH", 32)
            patch.setattr(module, "BATCH", 64)
        patch.setattr(mpc, "SAMPLES", 16)
        patch.setattr(mpc, "HORIZON", 6)
        yield


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("gym")
    return folder, train.train(TINY, folder / "a.safetensors", folder / "a")


def test_the_report_has_both_sides(trained: tuple[Path, dict[str, Any]]) -> None:
    folder, answer = trained
    found = answer["evaluation"]
    assert found["objective"] == {"kind": "learned reward"}
    assert found["learned"]["episodes"] == found["random"]["episodes"] == 4
    assert [point["transitions"] for point in found["learning_curve"]] == [
        320
    ]  # whole episodes of 20 steps in eight lanes
    loop = found["open_loop"]["random"]
    assert loop["learned"][0] < 0.7 * loop["nothing_moves"][0]
    card = json.loads((folder / "a.json").read_text())
    assert card["sha256"] == answer["sha256"]
    assert any("random actions" in line for line in report.text(answer))


def test_same_seed_same_weights_and_resume_goes_on_from_the_last_round(
    trained: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    import jax

    _, answer = trained
    with jax.enable_x64(True):  # as JAX_ENABLE_X64 does: nothing to do with the seed
        again = train.train(TINY, tmp_path / "b.safetensors", tmp_path / "b")
    assert again["sha256"] == answer["sha256"]
    before = (tmp_path / "b" / "round-00.parquet").stat().st_mtime_ns
    for name in ("round-01.parquet", "model-02.safetensors"):
        (tmp_path / "b" / name).unlink()
    (tmp_path / "b" / "round-01.parquet.partial").write_bytes(b"killed here")
    resumed = train.train(TINY, tmp_path / "b.safetensors", tmp_path / "b", resume=True)
    assert resumed["sha256"] == answer["sha256"]
    assert (tmp_path / "b" / "round-00.parquet").stat().st_mtime_ns == before
    more = replace(TINY, amount=replace(TINY.amount, transitions=2000))
    with pytest.raises(UsageError, match="transitions differs"):
        train.train(more, tmp_path / "c.safetensors", tmp_path / "b", resume=True)


def test_files_tell_what_is_wrong(trained: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    folder, _ = trained
    layout = train.layout_of_environment(SHORT)
    load(folder / "a.safetensors", layout)
    with pytest.raises(InvalidFileError, match="shape"):
        load(folder / "a.safetensors", replace(layout, low=np.zeros(2), high=np.ones(2)))
    whole = (folder / "a" / "round-00.parquet").read_bytes()
    (tmp_path / "half.parquet").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InvalidFileError, match="not a whole data file"):
        data.read(tmp_path / "half.parquet")


def test_a_dictionary_is_flattened_and_a_turn_is_no_jump() -> None:
    turn = spaces.Box(np.array([0.0, -9.0]), np.array([2 * np.pi, 9.0]), (2,), np.float64)
    goal = spaces.Box(-1.0, 1.0, (3,), np.float32)
    layout = layout_of("X", spaces.Dict(observation=turn, achieved_goal=goal, desired_goal=goal), UNIT)
    assert (layout.states, layout.goals, layout.achieved) == (6, 3, slice(0, 3))
    seen = {"observation": np.array([0.001, 2.0]), "achieved_goal": np.zeros(3), "desired_goal": np.ones(3)}
    state, aim = layout.encode(seen)
    seen["observation"][0] += 2 * np.pi - 0.002
    assert np.abs(layout.encode(seen)[0] - state).max() < 0.003
    assert aim.tolist() == [1.0, 1.0, 1.0]
    wide = layout_of("X", goal, spaces.Box(0.0, 512.0, (2,), np.float32))
    assert wide.decode_action(np.array([-1.0, 0.5]), np.float32).tolist() == [0.0, 384.0]


@pytest.mark.parametrize(
    ("observation", "action", "said"),
    [
        (spaces.Discrete(3), UNIT, r"observation space Discrete\(3\); supported are vectors"),
        (spaces.Box(0, 255, (8, 8, 3), np.uint8), UNIT, "observation space"),
        (UNIT, spaces.Discrete(2), r"action space Discrete\(2\); supported is Box"),
        (UNIT, spaces.Box(-np.inf, np.inf, (2,), np.float32), "finite bounds"),
        (spaces.Dict(a=UNIT, b=spaces.Discrete(2)), UNIT, "observation 'b' space"),
        (spaces.Dict(desired_goal=UNIT), UNIT, "without a matching achieved_goal"),
    ],
)
def test_unsupported_spaces_are_named(observation: Any, action: Any, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        layout_of("X", observation, action)


@pytest.mark.parametrize("colour", [0.0, 1.0, 2.0])
def test_noise_has_unit_variance_and_its_colour(colour: float) -> None:
    drawn = noise.coloured(np.random.default_rng(1000), 64, 4000, colour)
    assert drawn.shape == (64, 4000)
    assert drawn.std() == pytest.approx(1.0, abs=0.05)
    power = (np.abs(np.fft.rfft(drawn, axis=0)) ** 2).mean(axis=1)
    assert power[16] / power[4] == pytest.approx(4.0**-colour, rel=0.15)


def test_random_actions_do_not_depend_on_lanes() -> None:
    layout = train.layout_of_environment("Pendulum-v1")
    runs = [
        collect.episodes("Pendulum-v1", layout, collect.RandomActions(1, 1), 1, lambda begun, _: begun < 3, lanes)
        for lanes in (1, 3)
    ]
    assert [e.total for e in runs[0]] == [e.total for e in runs[1]]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["train", "gym:Pendulm-v1"], 2, "did you mean 'Pendulum-v1'"),
        (["train", "gym:no_such_package:Env-v0"], 7, "no_such_package"),
        (["train", "gym:CartPole-v1"], 2, "action space Discrete(2)"),
        (["train", "gym:Pendulum-v1", "--out", "model.bin"], 2, "safetensors"),
        (["train", "collect", "gym:Pendulum-v1"], 2, "no single steps"),
        (["train", "kitchen", "--episodes", "3"], 2, "gym:ENV_ID only"),
    ],
)
def test_the_command_line_says_what_is_wrong(
    arguments: list[str], code: int, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == code
    assert said in result.output


def test_a_missing_extra_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "gymnasium", None)
    with pytest.raises(MissingPartError, match=r"pip install 'robotctl\[gym\]'"):
        environments.environment_id("gym:Pendulum-v1")


@pytest.mark.parametrize(
    ("package", "target"),
    [
        ("panda_gym", "gym:PandaReach-v3"),
        ("panda_gym", "gym:panda_gym:PandaPush-v3"),
        ("gym_pusht", "gym:gym_pusht/PushT-v0"),
    ],
)
def test_environments_of_packages_are_found_and_taken_as_they_are(package: str, target: str) -> None:
    pytest.importorskip(package)
    name = environments.environment_id(target)
    layout = train.layout_of_environment(name)
    policy = collect.RandomActions(1000, layout.actions)
    (episode,) = collect.episodes(name, layout, policy, 1000, lambda begun, _: begun < 1, lanes=1)
    assert episode.success is not None
    assert np.isfinite(collect.transitions_of([episode]).state).all()


def _pushed(seed: int) -> tuple[data.Transitions, Any]:
    """A point in the plane that pushes another one which it comes within 0.1 of; velocities before the positions."""
    generator = np.random.default_rng(seed)
    box = spaces.Box(-10.0, 10.0, (2,), np.float32)
    layout = layout_of(
        "X", spaces.Dict(observation=spaces.Box(-10.0, 10.0, (4,)), achieved_goal=box, desired_goal=box), UNIT
    )
    states, actions, steps = [], [], []
    for _ in range(60):
        hand, thing = generator.uniform(-1.0, 1.0, (2, 2))
        for step in range(40):
            action = generator.uniform(-1.0, 1.0, 2) + 0.5 * np.sign(thing - hand)
            before = np.concatenate([thing, action, hand])
            hand = hand + 0.1 * action
            if np.linalg.norm(hand - thing) < 0.1:
                thing = hand + 0.1 * action / np.linalg.norm(action)
            states.append((before, np.concatenate([thing, generator.uniform(-1.0, 1.0, 2), hand])))
            actions.append(action)
            steps.append(step)
    n, both = len(states), np.array(states, np.float32)
    zero, goal = np.zeros(n, np.float32), np.zeros((n, 2), np.float32)
    episode, step_of = np.repeat(np.arange(60, dtype=np.int32), 40), np.array(steps, np.int32)
    moved = data.Transitions(both[:, 0], np.array(actions, np.float32), both[:, 1], goal, zero, zero, episode, step_of)
    return moved, layout


def test_a_relation_is_found_between_what_moves_and_what_is_moved() -> None:
    moved, layout = _pushed(1000)
    found = relation.relation_of(moved, layout)
    assert found.rows.tolist() == [[-1, 0, 0, 0, 1, 0], [0, -1, 0, 0, 0, 1]]  # positions, not velocities
    assert (found.size < 0.3).all()
    # What moves a thing one way is on its other side.
    assert found.side[0, 0] < -0.3
    assert found.side[1, 1] < -0.3
    assert np.abs([found.side[0, 1], found.side[1, 0]]).max() < 0.2


def test_no_relation_where_nothing_rests() -> None:
    moved, layout = _pushed(1000)
    drift = np.linspace(0.0, 1.0, len(moved), dtype=np.float32)[:, None]
    found = relation.relation_of(replace(moved, next_state=moved.next_state + 0.1 + drift), layout)
    assert not found.rows.any()
    assert not found.side.any()
