"""This file turns a world model into what it is worth: how wrong it is, and how tasks go with it and without it.

Arms: `learned` (the model), `analytic` (what is known without learning in its place), `random` (random weights in its
place). Guardrails do not depend on the model: no arm may violate one.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from robotctl.bench.guardrails import arm_figures
from robotctl.bench.statistics import median
from robotctl.bench.trials import Trial
from robotctl.world_model import storage, variants
from robotctl.world_model.composite import DEFAULT

SCHEMA = "robotctl/bench-model.v1"
ARMS = ("learned", "analytic", "random")


def model_files(model: Path | None, folder: Path, seed: int) -> dict[str, Path]:
    """The model of every arm, as a file."""
    source = model or DEFAULT
    contents = variants.read(source)
    folder.mkdir(parents=True, exist_ok=True)
    return {
        "learned": source,
        "analytic": variants.analytic(contents).save(folder / "analytic.safetensors", "analytic"),
        "random": variants.corrupted(contents, seed).save(
            folder / "random.safetensors", f"random weights, seed {seed}"
        ),
    }


def trials(
    tasks: Sequence[str], seeds: Sequence[int], arms: Sequence[str], folder: Path, files: dict[str, Path], keep: bool
) -> list[Trial]:
    """All episodes to run, arms interleaved."""
    return [
        Trial(arm, task, seed, folder, files[arm], keep=keep, options={"arm": "full"})
        for seed in seeds
        for task in tasks
        for arm in arms
    ]


def bench_answer(
    results: dict[str, list[dict[str, Any]]],
    tasks: Sequence[str],
    seeds: Sequence[int],
    folder: Path,
    model: Path | None,
) -> dict[str, Any]:
    """The answer of `bench model --json`."""
    card = storage.load_card(model or DEFAULT)
    return {
        "schema": SCHEMA,
        "tasks": list(tasks),
        "seeds": list(seeds),
        "out": folder,
        "parts": card.get("evaluation", {}).get("parts", []),
        "closed_loop": [
            {"task": task, **arm_figures(arm, chosen), **_efforts(chosen)}
            for task in tasks
            for arm, answers in results.items()
            if (chosen := [a for a in answers if a["task"] == task])
        ],
    }


def _efforts(answers: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Time and skills that the successful episodes took."""
    good = [a for a in answers if a["success"]]
    pushes = [sum(step["skill"].startswith("push ") for step in a["skills"]) for a in good]
    tried = [len(a["skills"]) for a in good]
    return {
        "time_s_median": median([a["time"]["simulated_s"] for a in good]),
        "pushes_median": median(pushes),
        "skills_median": median(tried),
    }
