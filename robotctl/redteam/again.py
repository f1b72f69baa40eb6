"""This file runs an attack from a file again and says whether it came out the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from robotctl.guardrails.load import load_guardrails
from robotctl.redteam.attack import Chase, load_attack
from robotctl.redteam.chase import Arena, run_chase
from robotctl.redteam.episode import natural_scales, run_attack, trial_of
from robotctl.task import load_task

SCHEMA = "robotctl/redteam-replay.v1"


def replay_attack(file: Path, folder: Path) -> dict[str, Any]:
    """What came of the attack this time; `identical` compares it with what the file says, by its digest."""
    attack, earlier = load_attack(file)
    episode = None
    if isinstance(attack, Chase):
        arena = Arena.of(attack.task)
        rules, words = arena.rules.guardrails, run_chase(attack, arena)
    else:
        task = load_task(attack.task)
        rules = load_guardrails(task.guardrail_files, task.scene).guardrails
        episode = folder / f"{file.stem}.mcap"
        words = run_attack(attack, episode)
    trial = trial_of(words, natural_scales(rules), inside=False)
    known = earlier.get("digest")
    unexplained = trial.violations and not trial.broken
    return {
        "schema": SCHEMA,
        "attack": str(file),
        "instrument": attack.instrument,
        "guardrail": trial.guardrail,
        "margin": trial.margin,
        "unit": trial.unit,
        "violations": trial.violations,
        "not_claimed": trial.others,
        "broken": trial.broken,
        "digest": trial.digest,
        "identical": trial.digest == known if isinstance(known, str) else None,
        "episode": str(episode) if episode is not None else None,
        "exit_code": 5 if unexplained else 0,
    }
