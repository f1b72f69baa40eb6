"""Training: whole files or none, the same recipe gives the same weights, and a wrong folder is told apart."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from robotctl.cli.main import app
from robotctl.errors import InvalidFileError, UsageError
from robotctl.scene_files import load_scene
from robotctl.training import records, train, units
from robotctl.training.fit_actuators import samples_of
from robotctl.training.play_data import play
from robotctl.training.push_data import PushTrace
from robotctl.training.recipe import Amount, Recipe, data_hash, recipe_of
from robotctl.training.tables import save_table
from robotctl.training.target import household, open_target
from robotctl.world_model.composite import load_world_model
from robotctl.world_model.skill_outcome import SkillAttempt
from robotctl.world_model.world_model import HORIZON

TINY = Recipe("kitchen", 1000, Amount(20, 12, 2, 10, 10, 75, 150, 200, 200, 200))


def test_play_is_repeatable_and_its_samples_are_undisturbed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("robotctl.training.play_data.SECONDS", 5.0)
    scene = load_scene("kitchen")
    kind = scene.kinds["cup"]
    one, two = (play(scene, kind, np.random.default_rng(1000)) for _ in range(2))
    assert one.q.tobytes() == two.q.tobytes()
    assert one.loaded.mean() > 0.5  # the cup is in the hand, by friction alone
    assert one.free[one.loaded].mean() > 0.3  # and what holds it does not count as a disturbance
    samples = samples_of([one])
    assert set(np.unique(samples.step)) <= set(range(1, HORIZON + 1))
    late = np.median(np.abs(samples.delta_q + 0.025 * samples.dq)[samples.moving], axis=0)
    assert np.all(late < 0.01)  # what the drives' latency leaves unexplained is milliradians


def test_a_unit_is_one_whole_file_and_says_when_it_is_not(tmp_path: Path) -> None:
    (job,) = units.units(units.PEOPLE, 1, 1000, "kitchen/clear-table", tmp_path)
    assert not units.readable(job)
    units.make(job)
    first = job.path.read_bytes()
    units.make(job)
    assert job.path.read_bytes() == first
    assert units.readable(job)
    job.path.write_bytes(first[: len(first) // 2])
    assert not units.readable(job)
    with pytest.raises(InvalidFileError, match="not a whole data file"):
        records.windows_from([job.path])


def test_what_was_collected_comes_back_as_it_was(tmp_path: Path) -> None:
    tried = [SkillAttempt("pick", "cup", {"gap": 0.1}, True, 3.0, float("nan")),
             SkillAttempt("place", "fork", {}, False, 4.5, 0.02)]  # fmt: skip
    path = tmp_path / "a.parquet"
    save_table(path, records.of_attempts(tried))
    (first, second) = records.attempts_from([path])
    assert (first.features, first.success, second) == ({"gap": 0.1}, True, tried[1])
    assert np.isnan(first.displacement)
    with pytest.raises(InvalidFileError, match="not data of this kind"):
        records.pushes_from([path])
    rows = np.arange(12.0).reshape(4, 3)
    pushes = [PushTrace("mug", rows, rows + 1, rows + 2, False), PushTrace("jar", rows[:2], rows[:2], rows[:2], True)]
    save_table(path, records.of_pushes(pushes))
    for one, two in zip(pushes, records.pushes_from([path]), strict=True):
        assert (one.kind, one.toppled) == (two.kind, two.toppled)
        assert all(np.array_equal(getattr(one, name), getattr(two, name)) for name in ("hand", "thing", "seen"))


def test_targets() -> None:
    scene, people = open_target("kitchen")
    assert scene.name == "kitchen"
    assert len(people) >= 2  # of all tasks of the scene
    assert len(open_target("kitchen/clear-table")[1]) == 1
    with pytest.raises(UsageError, match="did you mean 'kitchen'"):
        open_target("kitchn")


def test_a_foreign_folder_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("important")
    with pytest.raises(UsageError, match="choose another --data"):
        train.collect(TINY, tmp_path, 1, False)
    assert (tmp_path / "thesis.txt").read_text() == "important"
    with pytest.raises(UsageError, match="train collect"):
        recipe_of(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["train", "kitchn"], 2, "did you mean"),
        (["train", "kitchen", "--out", "model.bin"], 2, "safetensors"),
        (["train", "fit", "no-such-folder"], 2, "train collect"),
        (["train", "--help"], 0, "collect"),
    ],
)
def test_the_command_line_says_what_is_wrong(arguments: list[str], code: int, said: str) -> None:
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == code
    assert said in result.output


@pytest.mark.slow
def test_killed_while_collecting_it_goes_on_from_whole_files(tmp_path: Path) -> None:
    """kill -9 of the whole process group; what was written stays, what was not is made again, the same."""
    recipe = Recipe("kitchen", 1000, Amount(60, 0, 0, 0, 0, 0, 0, 1, 1, 1))
    program = (
        "from pathlib import Path; from robotctl.training import train; from robotctl.training.recipe import *\n"
        f"recipe = {recipe!r}\n"
        f"if __name__ == '__main__': train.collect(recipe, Path({str(tmp_path / 'a')!r}), 2, False, ('people',))\n"
    )
    script = tmp_path / "collect.py"
    script.write_text(program)
    process = subprocess.Popen([sys.executable, str(script)], start_new_session=True)
    jobs = recipe.jobs(units.PEOPLE, tmp_path / "a")
    while sum(map(units.readable, jobs)) < 2:
        assert process.poll() is None, "it ended before it could be killed"
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    whole = [job for job in jobs if units.readable(job)]
    assert 2 <= len(whole) < len(jobs)
    before = {job.path: job.path.stat().st_mtime_ns for job in whole}
    train.collect(recipe, tmp_path / "a", 2, True, (units.PEOPLE,))
    assert all(job.path.stat().st_mtime_ns == before[job.path] for job in whole)
    train.collect(recipe, tmp_path / "b", 2, False, (units.PEOPLE,))
    others = recipe.jobs(units.PEOPLE, tmp_path / "b")
    assert [job.path.read_bytes() for job in jobs] == [job.path.read_bytes() for job in others]


def test_a_failure_while_collecting_gives_up_the_fit_beside_it() -> None:
    told: list[str] = []

    def fit(tell: Callable[[str, float], None]) -> None:
        while True:
            tell("fit", 0.5)
            time.sleep(0.01)

    def collect() -> None:
        with train.beside(fit, lambda what, share: told.append(what)):
            while not told:
                time.sleep(0.01)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        collect()
    assert told

    def fails(tell: Callable[[str, float], None]) -> None:
        raise UsageError("too few pushes")

    with pytest.raises(UsageError, match="too few"), train.beside(fails, None):
        pass


def test_a_fit_ends_when_it_learns_by_heart() -> None:
    """Noise has nothing to teach: what is told of held-out rows gets no better, and soon worse."""
    from robotctl.training.jax_fit import fit_ensemble, held_out

    rng = np.random.default_rng(1000)
    group = np.repeat(np.arange(40), 3)
    x, y = rng.normal(size=(120, 4)).astype(np.float32), rng.normal(size=120).astype(np.float32)
    reports: list[float] = []

    def fit(watched: bool) -> float:
        reports.clear()
        network = fit_ensemble(
            0, x, (y,), _squares, 1, 32, members=2, steps=4000, batch=64, rate=1e-2,
            progress=lambda share, _: reports.append(share), group=group if watched else None,
        )  # fmt: skip
        left = held_out(group, 0)
        return float(np.mean((network.mean(x[left])[:, 0] - y[left]) ** 2))

    stopped = fit(True)
    assert reports[-1] == 1.0
    assert len(reports) < 20
    assert fit(False) < stopped < 2.0  # the others have seen those rows
    assert len(reports) == 21


def _squares(out: Any, target: Any) -> Any:
    return ((out[:, 0] - target) ** 2).mean()


def test_a_fit_is_the_same_whatever_the_process_asks_for() -> None:
    """JAX_ENABLE_X64 in the environment, or another library that wants double precision, changes nothing."""
    import jax
    import jax.numpy as jnp

    from robotctl.training.jax_fit import fit_ensemble

    def loss(y: jax.Array, t: jax.Array) -> jax.Array:
        return jnp.mean((y[:, 0] - t) ** 2)

    rng = np.random.default_rng(0)
    x, t = rng.normal(size=(300, 2)).astype(np.float32), rng.normal(size=300).astype(np.float32)
    weights = []
    for double in (False, True):
        with jax.enable_x64(double):
            found = fit_ensemble(1, x, (t,), loss, 1, 8, steps=200, members=2)
        weights.append(b"".join(layer.tobytes() for layer in (*found.weights, *found.biases)))
    assert weights[0] == weights[1]


def test_groups_are_held_out_whole() -> None:
    from robotctl.training.jax_fit import held_out

    group = np.random.default_rng(0).integers(0, 30, 500)
    held = held_out(group, 7)
    assert len(np.unique(group[held])) == 3
    assert not set(group[held]) & set(group[~held])
    assert not np.any(held_out(np.arange(500) % 9, 7))  # too few to spare one


@pytest.mark.slow
def test_the_whole_pipeline_twice_gives_the_same_model(tmp_path: Path) -> None:
    answers = []
    for name in ("a", "b"):
        folder = tmp_path / name
        answers.append(train.train(TINY, tmp_path / f"{name}.safetensors", folder, workers=2))
    assert answers[0]["sha256"] == answers[1]["sha256"]
    assert data_hash(TINY, tmp_path / "a") == data_hash(TINY, tmp_path / "b")
    card = json.loads((tmp_path / "a.json").read_text())
    assert card["sha256"] == answers[0]["sha256"]
    assert {part["name"] for part in card["evaluation"]["parts"]} >= {"human_motion", "actuator_residual"}
    page = (tmp_path / "a.html").read_text()
    assert card["sha256"] in page
    assert "collect " in page
    again = train.train(TINY, tmp_path / "c.safetensors", tmp_path / "a", resume=True)
    assert again["sha256"] == answers[0]["sha256"]
    assert again["collect_s"] < answers[0]["collect_s"]
    answer = train.evaluate_file(tmp_path / "a.safetensors", TINY, tmp_path / "a", page=tmp_path / "page.html")
    assert card["sha256"] in (tmp_path / "page.html").read_text()
    assert answer["evaluation"] == answers[0]["evaluation"]
    other = Recipe("kitchen", 1001, TINY.amount)
    with pytest.raises(UsageError, match="seed"):
        train.collect(other, tmp_path / "a", 1, True)
    load_world_model(tmp_path / "a.safetensors", household(load_scene("kitchen")).assumptions)
