"""How much less data curiosity needs than random play, for a contact model of equal error.

Both arms push the same kinds of objects in turn. The curious one begins with the first pushes of the other; then its
rounds double, each chosen by the model of all rounds before. Models are fitted on the first n pushes of each and tested
on the same pushes aimed at objects. All of that for several sets of data, as luck in what was pushed matters more than
in fits and tests: the interval is a bootstrap over sets, and within them over fits and test pushes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from robotctl.errors import InvalidFileError, UsageError
from robotctl.jsontext import json_text
from robotctl.training import records, units
from robotctl.training.recipe import STRANGERS, Progress
from robotctl.training.target import open_target
from robotctl.training.units import PUSHES, SIZE, Unit

RANDOM, CURIOUS, AIMED = "random", "curious", "aimed"
ARMS = (RANDOM, CURIOUS)
AHEAD = 2.0  # what errors are told of [s]
FIRST_AIMED = 5000  # number of the first unit to test with: far from those to fit
RESAMPLED = 2000  # times, for the interval


@dataclass(frozen=True)
class Study:
    """What is compared."""

    target: str
    seed: int
    aimed: int  # pushes to test with, in every set of data
    sizes: tuple[int, ...]  # pushes of kinds that are learned from, ascending
    steps: int  # of every fit
    fits: int  # of every size, with other seeds
    sets: int = 1  # of data, the others with the seeds that follow

    @property
    def seeds(self) -> range:
        return range(self.seed, self.seed + self.sets)

    def units(self, kinds: int, known: int) -> int:
        """Units of each arm, if `known` of the `kinds` that are pushed in turn are learned from."""
        return -(-self.sizes[-1] * kinds // (known * SIZE[PUSHES]))


def study(plan: Study, folder: Path, workers: int = 2, progress: Progress | None = None) -> dict[str, Any]:
    """Collects, fits and compares; whatever lies in the folder already is kept."""
    from robotctl.training.curiosity import pushable

    if not plan.sizes or list(plan.sizes) != sorted(set(plan.sizes)) or min(plan.sizes[0], plan.fits, plan.sets) < 1:
        raise UsageError("sizes must ascend from 1 or more, and there must be at least one fit of each, and one set")
    _claim(plan, folder)
    scene, _ = open_target(plan.target)
    kinds = [kind.name for kind in pushable(scene)]
    count = plan.units(len(kinds), len(set(kinds) - STRANGERS))
    fits = [fit for seed in plan.seeds for fit in _collect(plan, seed, count, folder / str(seed), workers, progress)]
    missing = [fit for fit in fits if fit.read() is None]
    done = _counted(progress, "fit")
    for i, _ in enumerate(units.in_processes(make_fit, missing, workers) if missing else ()):
        done(len(fits) - len(missing) + i + 1, len(fits))
    return {"plan": asdict(plan), **_compare(plan, fits)}


def _claim(plan: Study, folder: Path) -> None:
    """Makes the folder this study's own, as far as the data go."""
    manifest, mine = folder / "study.json", {"target": plan.target}
    if manifest.exists():
        if manifest.read_text().strip() != json.dumps(mine):
            raise UsageError(f"{folder}: holds data of another study; choose another folder")
    elif folder.exists() and any(folder.iterdir()):
        raise UsageError(f"{folder}: is not empty and not made by this study; choose another folder")
    folder.mkdir(parents=True, exist_ok=True)
    manifest.write_text(json.dumps(mine) + "\n")


def _counted(progress: Progress | None, what: str) -> Callable[[int, int], None]:
    def advance(done: int, total: int) -> None:
        if progress is not None:
            progress(what, done / total)

    return advance


# ---- collect ---------------------------------------------------------------------------------------------------


def _collect(plan: Study, seed: int, count: int, folder: Path, workers: int, progress: Progress | None) -> list[Fit]:
    """Makes one set of data, of `count` units in both arms; returns the fits to be made of it."""
    random = [Unit(PUSHES, i, seed, plan.target, folder / RANDOM) for i in range(count)]
    arms = {RANDOM: random, CURIOUS: _collect_both(plan, seed, folder, random, workers, progress)}
    aimed = [
        Unit(PUSHES, FIRST_AIMED + i, seed, plan.target, folder / AIMED, aimed=True)
        for i in range(-(-plan.aimed // SIZE[PUSHES]))
    ]
    units.make_all(aimed, workers, True, _counted(progress, f"collect test pushes of {seed}"))
    test = tuple(job.path for job in aimed)
    return [
        Fit(plan, seed, arm, size, k, tuple(job.path for job in arms[arm]), test, folder / "fits")
        for size in plan.sizes for k in range(plan.fits) for arm in ARMS
    ]  # fmt: skip


def _collect_both(
    plan: Study, seed: int, folder: Path, random: Sequence[Unit], workers: int, progress: Progress | None
) -> list[Unit]:
    """Makes the units of both arms; returns the curious one's."""
    units.make_all(random, workers, True, _counted(progress, f"collect {RANDOM} of {seed}"))
    curious, number = list(random[:1]), 0
    while len(curious) < len(random):
        number += 1
        chooser = folder / CURIOUS / f"curiosity-{number}.safetensors"
        end = min(2 * len(curious), len(random))
        jobs = [Unit(PUSHES, i, seed, plan.target, folder / CURIOUS, chooser) for i in range(len(curious), end)]
        # Rounds are whole: if a later study asks for more pushes, a last round that was cut short goes on as it began.
        if not chooser.exists():
            _fit_chooser(plan.target, seed, chooser, number, curious)
        units.make_all(jobs, workers, True, _counted(progress, f"collect {CURIOUS} of {seed}, round {number}"))
        curious += jobs
    return curious


def _fit_chooser(target: str, seed: int, path: Path, number: int, before: Sequence[Unit]) -> None:
    """The model that chooses a round's pushes, going on from the round's before, as `robotctl train` does."""
    from robotctl.training.fit_contact import fit_contact, pushes_of
    from robotctl.training.train import CURIOUS_STEPS
    from robotctl.world_model import storage
    from robotctl.world_model.contact import ContactModel

    last = path.with_name(f"curiosity-{number - 1}.safetensors")
    start = ContactModel.from_arrays(storage.load(last)[0]) if number > 1 else None
    scene, _ = open_target(target)
    data = pushes_of(records.pushes_from([job.path for job in before]), scene.kinds).without(STRANGERS)
    model = fit_contact(data, seed + number, CURIOUS_STEPS, start)
    storage.save(path, model.arrays(), {}, {"stage": f"curiosity {number}"})


# ---- fit -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Fit:
    """One model: which pushes it learns from, and with which seed."""

    plan: Study
    seed: int  # of the data
    arm: str
    size: int
    number: int
    learned_from: tuple[Path, ...]
    tested_on: tuple[Path, ...]
    folder: Path

    @property
    def path(self) -> Path:
        return self.folder / f"{self.arm}-{self.size}-{self.number}.json"

    def read(self) -> dict[str, Any] | None:
        """Its errors, if it was made with as many steps and tested on as many pushes."""
        if not self.path.exists():
            return None
        try:
            found = json.loads(self.path.read_text())
        except ValueError as error:
            raise InvalidFileError(f"{self.path}: not a whole result ({error}); remove it and start again") from error
        mine = {"steps": self.plan.steps, "aimed": self.plan.aimed}
        return found if {key: found.get(key) for key in mine} == mine else None


def make_fit(fit: Fit) -> None:
    """Fits one model and writes the errors of its predictions [m]."""
    from robotctl.training.fit_contact import errors_ahead, fit_contact, pushes_of

    scene, _ = open_target(fit.plan.target)
    made = [trace for trace in records.pushes_from(fit.learned_from) if trace.kind not in STRANGERS][: fit.size]
    test = pushes_of(records.pushes_from(fit.tested_on), scene.kinds)
    model = fit_contact(pushes_of(made, scene.kinds), fit.seed + 100 + fit.number, fit.plan.steps)
    strange = test.where(np.isin(np.array(test.kinds)[test.which], list(STRANGERS)))
    answer = {
        "steps": fit.plan.steps,
        "aimed": fit.plan.aimed,
        "pushes": len(made),
        "moved": float(np.mean([trace.moved > 0.01 for trace in made])),
        "known": errors_ahead(model, test.without(STRANGERS), AHEAD),
        "unseen": errors_ahead(model, strange, AHEAD),
    }
    fit.folder.mkdir(parents=True, exist_ok=True)
    partial = fit.path.with_name(fit.path.name + ".partial")
    partial.write_text(json_text(answer, indent=None))
    partial.replace(fit.path)


# ---- compare ---------------------------------------------------------------------------------------------------


def _compare(plan: Study, fits: Sequence[Fit]) -> dict[str, Any]:
    """Errors by number of pushes, and how many of one arm are worth how many of the other."""
    found = {(fit.seed, fit.arm, fit.size, fit.number): fit.read() or {} for fit in fits}

    def errors(arm: str, of: str) -> list[np.ndarray]:
        """For every set of data (fits, sizes, test pushes) [m]."""
        return [
            np.array([[found[seed, arm, n, k][of] for n in plan.sizes] for k in range(plan.fits)])
            for seed in plan.seeds
        ]

    out: dict[str, Any] = {"pushes": list(plan.sizes), "unit": "mm", "ahead_s": AHEAD}
    for of in ("known", "unseen"):
        both = {arm: errors(arm, of) for arm in ARMS}
        if all(e.shape[2] for e in both[RANDOM]):
            curves = {
                arm: [round(float(1e3 * v), 2) for v in np.mean([e.mean(axis=(0, 2)) for e in sets], axis=0)]
                for arm, sets in both.items()
            }
            out[f"{of}_kinds"] = {**curves, "test_pushes": sum(e.shape[2] for e in both[RANDOM]),
                                  "data_ratio": ratio(plan, both[RANDOM], both[CURIOUS])}  # fmt: skip
    out["share_that_moved"] = {
        arm: [round(float(np.mean([found[s, arm, n, 0]["moved"] for s in plan.seeds])), 3) for n in plan.sizes]
        for arm in ARMS
    }
    return out


def ratio(plan: Study, random: Sequence[np.ndarray], curious: Sequence[np.ndarray]) -> dict[str, Any]:
    """Random pushes needed for one curious one, at equal error; of every set of data errors (fits, sizes, tests)."""
    sizes = np.array(plan.sizes, float)
    generator = np.random.default_rng([plan.seed, 13])

    def resampled() -> tuple[np.ndarray, np.ndarray]:
        curves: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])
        for i in generator.integers(len(random), size=len(random)):
            tests = generator.integers(random[i].shape[2], size=random[i].shape[2])  # the same for both
            for curve, e in zip(curves, (random[i], curious[i]), strict=True):
                curve.append(e[generator.integers(len(e), size=len(e))][:, :, tests].mean(axis=(0, 2)))
        return np.mean(curves[0], axis=0), np.mean(curves[1], axis=0)

    drawn = [at_equal_error(sizes, *resampled()) for _ in range(RESAMPLED)]
    means = [np.mean([e.mean(axis=(0, 2)) for e in sets], axis=0) for sets in (random, curious)]
    worth = [
        {"random": int(n), "curious": None if (c := needed(sizes, means[1], means[0][i])) is None else round(c, 1)}
        for i, n in enumerate(sizes)
    ]
    low, high = np.quantile(drawn, [0.025, 0.975])
    value = at_equal_error(sizes, *means)
    return {"value": round(value, 3), "ci95": [round(float(low), 3), round(float(high), 3)], "worth": worth}


def at_equal_error(sizes: np.ndarray, random: np.ndarray, curious: np.ndarray) -> float:
    """Random over curious pushes needed for the least error that both reach; errors (sizes,)."""
    level = max(random.min(), curious.min())
    first, second = needed(sizes, random, level), needed(sizes, curious, level)
    return np.nan if first is None or second is None else first / second


def needed(sizes: np.ndarray, error: np.ndarray, level: float) -> float | None:
    """Pushes needed for an error as small as `level`, None if it is not reached; log error over log pushes is linear.

    Of pushes more than needed: an error that rises again counts as the least before.
    """
    least = np.minimum.accumulate(error)
    reached = np.flatnonzero(least <= level * (1.0 + 1e-12))
    if not len(reached):
        return None
    i = int(reached[0])
    if i == 0:
        return float(sizes[0])
    fall = np.log(least[i - 1] / least[i])
    share = np.log(least[i - 1] / max(level, least[i])) / fall if fall > 0.0 else 1.0
    return float(np.exp((1.0 - share) * np.log(sizes[i - 1]) + share * np.log(sizes[i])))
