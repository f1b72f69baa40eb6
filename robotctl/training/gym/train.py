"""The whole of `robotctl train gym:ENV_ID` on one page: play, then rounds of fit and plan, then evaluate and save.

Round 0 plays with coloured noise. Every later round fits the model on all transitions so far and plans with it: half
of its episodes for the task (they are the learning curve), a quarter with noise, a quarter to be where things begin to
move; the first two rounds are mostly of the last kind. A round's transitions are one Parquet file, its model one
safetensors file; `--resume` goes on after the last one.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import robotctl
from robotctl.errors import InvalidFileError, UsageError
from robotctl.training.gym import collect, data, environments, report
from robotctl.training.gym.collect import LANES, Episode, Play, Policy, RandomActions
from robotctl.training.gym.data import Transitions
from robotctl.training.gym.learned import Learned, improved, load, notes_of
from robotctl.training.gym.planner import EXPLORING, GREEDY, NOISY, Planner
from robotctl.training.gym.recipe import Recipe
from robotctl.training.gym.spaces import Layout, layout_of
from robotctl.training.jax_fit import in_single_precision
from robotctl.world_model import storage

Progress = Callable[[str, float], None]
EARLY = 2  # rounds that mostly explore
EVALUATION = 500  # added to the seed of what is evaluated: never the tasks of a round


@in_single_precision
def train(
    recipe: Recipe, out: Path, folder: Path, resume: bool = False, progress: Progress | None = None
) -> dict[str, Any]:
    """Collects, fits, evaluates and saves; returns the answer of `robotctl train gym:... --json`."""
    run = _Run(recipe, layout_of_environment(recipe.environment), folder, progress or (lambda what, share: None))
    _claim(recipe, folder, resume)
    for number in range(recipe.amount.rounds + 1):
        if number:
            run.fit(number)
        run.collect(number)
    run.fit(recipe.amount.rounds + 1)
    evaluation = run.evaluate()
    total = sum(map(len, run.rounds))
    card = {
        "schema": "robotctl/model-card.v1",
        "command": f"robotctl train {environments.PREFIX}{recipe.environment} --seed {recipe.seed}",
        "recipe": asdict(recipe),
        "data_sha256": _data_hash(folder, recipe.amount.rounds + 1),
        "transitions": total,
        "evaluation": evaluation,
        "versions": versions(),
    }
    assert run.learned is not None  # the last fit has made it
    sha256 = storage.save(out, run.learned.arrays(), notes_of(recipe.environment, run.layout), card)
    return {
        "schema": "robotctl/train-gym.v1",
        "environment": recipe.environment,
        "seed": recipe.seed,
        "model": str(out),
        "sha256": sha256,
        "transitions": total,
        "evaluation": evaluation,
        **{f"{what}_s": round(seconds, 1) for what, seconds in run.clock.items()},
    }


class _Run:
    """One training as it goes on: what has been collected and learned so far."""

    def __init__(self, recipe: Recipe, layout: Layout, folder: Path, say: Progress) -> None:
        self.recipe, self.layout, self.folder, self.say = recipe, layout, folder, say
        self.rounds: list[Transitions] = []
        self.curve: list[dict[str, Any]] = []
        self.learned: Learned | None = None
        self.clock = {"collect": 0.0, "fit": 0.0, "evaluate": 0.0}

    def fit(self, number: int) -> None:
        """The model before round `number`, from its file if there is one: fitted on all rounds before."""
        started = time.perf_counter()
        path = _model_file(self.folder, number)
        if path.exists():
            self.learned = load(path, self.layout)
        else:
            what = f"fit {number}"
            self.learned = improved(
                self.learned, data.joined(self.rounds), self.layout, self.recipe.seed * 1000 + number,
                self.recipe.amount.steps,
                lambda share: self.say(what, share),
            )  # fmt: skip
            notes = notes_of(self.recipe.environment, self.layout)
            storage.save(path, self.learned.arrays(), notes, {"before_round": number})
        self.clock["fit"] += time.perf_counter() - started

    def collect(self, number: int) -> None:
        """The transitions of round `number`, from its file if there is one."""
        started = time.perf_counter()
        path = _round_file(self.folder, number)
        if not path.exists():
            episodes = self._episodes(number)
            greedy = [e for e in episodes if number and manner(number, e.number) == GREEDY]
            data.write(path, collect.transitions_of(episodes), report.scores(greedy) if greedy else {})
        transitions, notes = data.read(path)
        if number:
            self.curve.append({"round": number, "transitions": sum(map(len, self.rounds)), **notes})
        self.rounds.append(transitions)
        self.clock["collect"] += time.perf_counter() - started

    def _episodes(self, number: int) -> list[Episode]:
        amount, layout, seed = self.recipe.amount, self.layout, self.recipe.seed * 1000 + number
        wanted = amount.each if number else amount.play
        what = f"plan {number}" if number else "play"
        policy: Policy = Play(seed, layout.actions)
        if number:
            assert self.learned is not None  # every round is fitted before it plans
            policy = Planner(
                self.learned.model, self.learned.rest, layout, seed, LANES, lambda episode: manner(number, episode)
            )
        return collect.episodes(
            self.recipe.environment, layout, policy, seed, lambda begun, steps: steps < wanted,
            progress=lambda done, steps: self.say(what, min(steps / wanted, 1.0)),
        )  # fmt: skip

    def evaluate(self) -> dict[str, Any]:
        """Plans and random actions on the same new tasks, and how far the model's rollouts stay true."""
        started = time.perf_counter()
        assert self.learned is not None  # the last fit has made it
        recipe, layout = self.recipe, self.layout
        seed, count = recipe.seed * 1000 + EVALUATION, recipe.amount.episodes
        policies: dict[str, Policy] = {
            "random": RandomActions(seed, layout.actions),
            "learned": Planner(self.learned.model, self.learned.rest, layout, seed, LANES),
        }
        runs = {name: self._attempts(name, policy, seed, count) for name, policy in policies.items()}
        self.clock["evaluate"] += time.perf_counter() - started
        return report.evaluation(recipe.environment, layout, self.learned.model, runs, self.curve)

    def _attempts(self, name: str, policy: Policy, seed: int, count: int) -> list[Episode]:
        def advance(done: int, steps: int) -> None:
            self.say(f"evaluate {name}", done / count)

        return collect.episodes(
            self.recipe.environment, self.layout, policy, seed, lambda begun, steps: begun < count, progress=advance
        )


def manner(round_number: int, number: int) -> str:
    """How the episode of a number is planned in a round."""
    early = (GREEDY, EXPLORING, EXPLORING, EXPLORING)
    return (early if round_number <= EARLY else (GREEDY, EXPLORING, GREEDY, NOISY))[number % 4]


def layout_of_environment(environment: str) -> Layout:
    """The layout of the environment of a registered id."""
    world = environments.make(environment)
    try:
        return layout_of(environment, world.observation_space, world.action_space)
    finally:
        world.close()


# ---- files -----------------------------------------------------------------------------------------------------


def _round_file(folder: Path, number: int) -> Path:
    return folder / f"round-{number:02d}.parquet"


def _model_file(folder: Path, number: int) -> Path:
    return folder / f"model-{number:02d}.safetensors"


def _claim(recipe: Recipe, folder: Path, resume: bool) -> None:
    """Makes the folder this recipe's own; what another recipe left there is an error, not overwritten."""
    manifest = folder / "recipe.json"
    mine = recipe.collecting()
    if manifest.exists():
        try:
            theirs = json.loads(manifest.read_text())
        except (OSError, ValueError) as error:
            raise InvalidFileError(f"{manifest}: not a readable recipe ({error})") from error
        if theirs != mine:
            changed = [key for key in mine if not isinstance(theirs, dict) or theirs.get(key) != mine[key]]
            raise UsageError(
                f"{folder}: holds data of another recipe ({', '.join(changed)} differs); choose another --data"
            )
        if not resume:
            for number in range(recipe.amount.rounds + 2):
                _round_file(folder, number).unlink(missing_ok=True)
                _model_file(folder, number).unlink(missing_ok=True)
                storage.card_path(_model_file(folder, number)).unlink(missing_ok=True)
    elif folder.exists() and any(folder.iterdir()):
        raise UsageError(f"{folder}: is not empty and not made by `robotctl train`; choose another --data")
    folder.mkdir(parents=True, exist_ok=True)
    manifest.write_text(json.dumps(mine, indent=1) + "\n")


def _data_hash(folder: Path, count: int) -> str:
    """One sha256 over the rounds' files."""
    digest = hashlib.sha256()
    for number in range(count):
        digest.update(hashlib.sha256(_round_file(folder, number).read_bytes()).digest())
    return digest.hexdigest()


def versions() -> dict[str, str]:
    """Of what the weights may depend on."""
    names = ("numpy", "jax", "optax", "gymnasium", "safetensors", "pyarrow")
    return {"robotctl": robotctl.__version__, **{name: importlib.metadata.version(name) for name in names}}
