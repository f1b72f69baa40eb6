"""Goes on from a model at home: a few pushes of new kinds of objects, and all else as it was.

The data that the model was made from are not at hand. What it says of imagined pushes stands in for them, so that what
it knows is not forgotten: pseudo-rehearsal (Robins 1995, "Catastrophic forgetting, rehearsal and pseudorehearsal").
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from robotctl.errors import InvalidFileError, UsageError, nearest
from robotctl.scene import ObjectKind
from robotctl.scene_files import load_scene
from robotctl.scene_paths import scene_names
from robotctl.training import lineage, records, units
from robotctl.training.curiosity import LATE, pushable
from robotctl.training.fit_contact import (
    DEPTH,
    LENGTH,
    MEMBERS,
    MOVED,
    SCALE,
    WIDTH,
    Pushes,
    calibrate,
    evaluate_contact,
    fit_contact,
    pushes_of,
    rolled_out,
)
from robotctl.training.push_data import PushTrace, aimed_push, random_push
from robotctl.training.recipe import Progress, claim_folder, hash_of, read_manifest
from robotctl.training.target import household, open_target
from robotctl.training.train import versions
from robotctl.training.units import PUSHES, SIZE, Unit
from robotctl.world_model import composite
from robotctl.world_model.contact import COVERAGE, INPUTS, OUTPUTS, STEPS, UNCALIBRATED, UNSEEN, ContactModel
from robotctl.world_model.quasi_static import Pushed, Shapes

MANIFEST = "adapt.json"
FIT, CALIBRATE, TEST, KNOWN = "fit", "calibrate", "test", "known"
SHARES = {FIT: 0.6, CALIBRATE: 0.2, TEST: 0.2}  # of the pushes of new kinds
KNOWN_SHARE = 0.1  # of all pushes: of kinds that the model knows, to see whether it still does
MOST = 200  # pushes
FIT_STEPS = 600
REPLAY = 2  # imagined pushes for every one of a new kind
HELD = 24  # imagined pushes of every kind by which it is told how far the model has moved
_STREAM = 105


@dataclass(frozen=True)
class Adaptation:
    """What is pushed, and from which model it goes on: the same adaptation gives the same weights."""

    target: str  # scene or task
    seed: int
    start: str  # sha256 of the model
    kinds: tuple[str, ...]  # new ones, to be learned
    known: tuple[str, ...]  # of the target, that the model was calibrated for
    pushes: int  # of all kinds

    def counts(self) -> dict[str, int]:
        """Pushes for every purpose."""
        known = round(KNOWN_SHARE * self.pushes) if self.known else 0
        new = self.pushes - known
        held = {name: round(SHARES[name] * new) for name in (CALIBRATE, TEST)}
        return {FIT: new - sum(held.values()), **held, KNOWN: known}

    def jobs(self, folder: Path, model: Path | None = None) -> dict[str, list[Unit]]:
        """The units for every purpose. model: whose disagreement chooses the pushes to fit."""
        out: dict[str, list[Unit]] = {}
        number = 0
        for name, count in self.counts().items():
            kinds, curious = (self.known if name == KNOWN else self.kinds), (model if name == FIT else None)
            out[name] = []
            for first in range(0, count, SIZE[PUSHES]):
                size = min(SIZE[PUSHES], count - first)
                out[name].append(
                    Unit(PUSHES, number, self.seed, self.target, folder, curious, name != FIT, kinds, size)
                )
                number += 1
        return out


def plan(target: str, model: Path | None, kinds: Sequence[str], pushes: int, seed: int) -> Adaptation:
    """What `robotctl train adapt` is to do; UsageError if a kind is unknown or may not be pushed."""
    scene, _ = open_target(target)
    if not 10 <= pushes <= MOST:
        raise UsageError(f"--pushes {pushes}: from 10 to {MOST}")
    allowed = [kind.name for kind in pushable(scene)]
    for name in kinds:
        if name not in scene.kinds:
            raise UsageError(f"no object kind '{name}' in {target}{nearest(name, allowed)}")
        if name not in allowed:
            raise UsageError(f"'{name}' may not be pushed: it is sharp, cutlery, or rolls{nearest(name, allowed)}")
    path = model or composite.DEFAULT
    given = composite.load_world_model(model, household(scene).assumptions)
    _continuable(path, given.contact)
    # A model that was never calibrated knows no kind; then what it says without learning must not become worse.
    calibrated = [name for name in allowed if name in given.contact.bound or not given.contact.bound]
    new = tuple(dict.fromkeys(kinds))
    return Adaptation(target, seed, given.sha256, new, tuple(k for k in calibrated if k not in new), pushes)


def _continuable(path: Path, contact: ContactModel) -> None:
    """InvalidFileError unless the fit can go on from the contact networks."""
    if contact.network is None:
        return
    inner = [(MEMBERS, WIDTH, WIDTH)] * (DEPTH - 1)
    wanted = [(MEMBERS, WIDTH, INPUTS), *inner, (MEMBERS, OUTPUTS, WIDTH)]
    if [w.shape for w in contact.network.weights] != wanted or not np.allclose(contact.scale, SCALE):
        raise InvalidFileError(f"{path}: its contact networks are not of the form that `robotctl train` makes")


# ---- collect ---------------------------------------------------------------------------------------------------


def collect(
    adaptation: Adaptation, model: Path | None, folder: Path, workers: int, resume: bool, progress: Progress | None
) -> None:
    """Pushes new kinds, where the given model is in doubt about the outcome, and a few known ones."""
    jobs = [job for group in adaptation.jobs(folder, model or composite.DEFAULT).values() for job in group]
    if claim_folder(folder, MANIFEST, _manifest(adaptation)) and not resume:
        for path in folder.glob(f"{PUSHES}-*.parquet"):
            path.unlink()

    def advance(done: int, total: int) -> None:
        if progress is not None:
            progress(f"collect {PUSHES}", done / total)

    units.make_all(jobs, workers, resume, advance)


def _manifest(adaptation: Adaptation) -> dict[str, Any]:
    """What the data depend on, as JSON."""
    scene, _ = open_target(adaptation.target)
    digest = hashlib.sha256(scene.text.encode())
    for name in (*adaptation.kinds, *adaptation.known):
        kind = scene.kinds[name]
        digest.update(f"{name} {kind.friction} {kind.height} {kind.radius}".encode() + kind.urdf.read_bytes())
    listed = {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(adaptation).items()}
    return {**listed, "scene_sha256": digest.hexdigest()}


def adaptation_of(folder: Path) -> Adaptation:
    """What an adaptation's data folder was collected for; UsageError if its objects have been changed since."""
    data = read_manifest(folder / MANIFEST)
    try:
        adaptation = Adaptation(
            str(data["target"]),
            int(data["seed"]),
            str(data["start"]),
            tuple(map(str, data["kinds"])),
            tuple(map(str, data["known"])),
            int(data["pushes"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise InvalidFileError(f"{folder / MANIFEST}: not an adaptation ({error})") from error
    if any(name not in open_target(adaptation.target)[0].kinds for name in (*adaptation.kinds, *adaptation.known)):
        raise UsageError(f"{folder}: {adaptation.target} has no longer the objects that were pushed")
    if _manifest(adaptation) != data:
        raise UsageError(f"{folder}: {adaptation.target} or its objects have been changed since they were pushed")
    return adaptation


def pushes_for(adaptation: Adaptation, folder: Path, *purposes: str) -> Pushes | None:
    """The pushes for some purposes, without those in which the object fell; None if there are none."""
    scene, _ = open_target(adaptation.target)
    jobs = adaptation.jobs(folder)
    return arranged(records.pushes_from([job.path for name in purposes for job in jobs[name]]), scene.kinds)


def arranged(traces: Sequence[PushTrace], kinds: Mapping[str, ObjectKind]) -> Pushes | None:
    """`pushes_of`, or None where nothing is left upright."""
    return pushes_of(traces, kinds) if any(not trace.toppled for trace in traces) else None


# ---- what the model knows --------------------------------------------------------------------------------------


def familiar(target: str, new: Iterable[str]) -> dict[str, ObjectKind]:
    """Kinds other than the new ones that can be imagined: those of the packaged scenes and of the target."""
    scenes = [*(load_scene(name) for name in scene_names()), open_target(target)[0]]
    return {kind.name: kind for scene in scenes for kind in pushable(scene) if kind.name not in set(new)}


def imagined(
    model: ContactModel, kinds: Sequence[ObjectKind], count: int, generator: np.random.Generator, aimed: bool
) -> list[PushTrace]:
    """`count` pushes, all kinds in turn, that end as the model's mean says; every second one at random, or none."""
    traces = []
    for number, kind in enumerate(kinds):
        share = len(range(number, count, len(kinds)))
        draws = [aimed_push if aimed or k % 2 else random_push for k in range(share)]
        if not draws:
            continue
        paths = [draw(kind, generator).hands(np.zeros(3), LATE)[:LENGTH] for draw in draws]
        hands = np.array([np.concatenate([p, np.repeat(p[-1:], LENGTH - len(p), axis=0)]) for p in paths])
        start, shapes = np.zeros((share, 3)), Shapes.of([Pushed.of(kind)])
        things = model.rollout(shapes, np.zeros(share, int), start, hands).mean(axis=0)
        for path, hand, thing in zip(paths, hands, things, strict=True):
            rows = len(path)
            traces.append(PushTrace(kind.name, hand[:rows], thing[:rows], thing[:rows], False))
    return traces


def moved_apart(one: ContactModel, other: ContactModel, pushes: Pushes) -> dict[str, np.ndarray]:
    """How far apart two models see an object that moves, in COVERAGE of the cases, by kind; (STEPS+1,) each [m]."""
    first, second = rolled_out(one, pushes, STEPS)[..., :2], rolled_out(other, pushes, STEPS)[..., :2]
    apart = np.maximum.accumulate(np.linalg.norm(first - second, axis=-1), axis=1)
    going = np.linalg.norm(first[:, -1] - first[:, 0], axis=-1) > MOVED
    kind = np.array(pushes.kinds)[pushes.which]
    return {str(k): np.quantile(apart[going & (kind == k)], COVERAGE, axis=0) for k in np.unique(kind[going])}


def bounds_after(
    given: ContactModel, adapted: ContactModel, calibration: Pushes | None, held: Pushes | None, new: Sequence[str]
) -> dict[str, np.ndarray]:
    """Bounds of the adapted model by kind, (STEPS+1,) each [m].

    New kinds: calibrated on pushes of theirs; with too few, that of unseen kinds stands in. All others: the given
    model's, wider by how far the adapted model has moved away from it on imagined pushes `held`; never narrower.
    """
    apart = moved_apart(given, adapted, held) if held is not None else {}
    most = np.max([np.zeros(STEPS + 1), *apart.values()], axis=0)
    bound = {kind: radius + apart.get(kind, most) for kind, radius in given.bound.items() if kind != UNSEEN}
    measured: dict[str, np.ndarray] = {}
    if calibration is not None:
        try:
            measured = calibrate(adapted, calibration, frozenset()).bound
        except UsageError:  # too few that moved, of every kind
            measured = {}
    measured = {kind: radius for kind, radius in measured.items() if kind in new}
    unseen = given.bound.get(UNSEEN)
    if unseen is None:
        unseen = np.max([np.full(STEPS + 1, UNCALIBRATED), *measured.values()], axis=0)
    unseen = unseen + most
    for kind in new:
        if kind in measured:
            bound[kind] = measured[kind]
        elif kind in bound:
            bound[kind] = np.maximum(bound[kind], unseen)
    return {**bound, UNSEEN: unseen}


def continued(
    given: ContactModel,
    traces: Sequence[PushTrace],
    kinds: Mapping[str, ObjectKind],
    known: Sequence[ObjectKind],
    seed: int,
    steps: int,
    progress: Callable[[float, float], None] | None = None,
) -> ContactModel:
    """The given model fitted further, to new pushes mixed with what it says itself of known kinds; without bounds."""
    generator = np.random.default_rng([seed, _STREAM, 0])
    replay = imagined(given, known, REPLAY * len(traces), generator, aimed=False)
    data = arranged([*traces, *replay], {**{kind.name: kind for kind in known}, **kinds})
    if data is None or all(trace.toppled or trace.moved < MOVED for trace in traces):
        raise UsageError("no push moved a new object without its falling over: there is nothing to learn from")
    return fit_contact(data, seed, steps, given if given.network is not None else None, progress)


# ---- the whole -------------------------------------------------------------------------------------------------


def adapt(
    adaptation: Adaptation,
    model: Path | None,
    out: Path,
    folder: Path,
    workers: int = 2,
    resume: bool = False,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Collects, goes on fitting, calibrates, evaluates and saves; the answer of `robotctl train adapt --json`."""
    started = time.perf_counter()
    collect(adaptation, model, folder, workers, resume, progress)
    collected = time.perf_counter() - started
    started = time.perf_counter()
    scene, _ = open_target(adaptation.target)
    given = composite.load_world_model(model, household(scene).assumptions)
    if given.sha256 != adaptation.start:
        raise UsageError(f"{given.path}: has been changed meanwhile; start again")
    jobs = adaptation.jobs(folder)
    tried = {name: records.pushes_from([job.path for job in group]) for name, group in jobs.items()}
    known = list(familiar(adaptation.target, adaptation.kinds).values())

    def advance(share: float, _: float) -> None:
        if progress is not None:
            progress(f"fit {PUSHES}", share)

    contact = continued(given.contact, tried[FIT], scene.kinds, known, adaptation.seed, FIT_STEPS, advance)
    generator = np.random.default_rng([adaptation.seed, _STREAM, 1])
    held = arranged(
        imagined(given.contact, known, HELD * len(known), generator, aimed=True), {k.name: k for k in known}
    )
    calibration = arranged(tried[CALIBRATE], scene.kinds)
    contact = replace(contact, bound=bounds_after(given.contact, contact, calibration, held, adaptation.kinds))
    if progress is not None:
        progress("evaluate", 0.0)
    checked = {
        name: _before_and_after(given.contact, contact, arranged(tried[name], scene.kinds)) for name in (TEST, KNOWN)
    }
    upright = [trace for group in tried.values() for trace in group if not trace.toppled]
    gained = sum(min(len(trace.hand), LENGTH) for trace in upright)
    report = {
        "target": adaptation.target,
        "kinds": list(adaptation.kinds),
        "seed": adaptation.seed,
        "continued_from": {"model": given.path, "sha256": given.sha256},
        "data_sha256": hash_of(job.path for group in jobs.values() for job in group),
        "pushes": {name: len(group) for name, group in tried.items()},
        "fallen": sum(trace.toppled for group in tried.values() for trace in group),
        "replayed": {"kinds": sorted(kind.name for kind in known), "pushes": REPLAY * len(tried[FIT])},
        "transitions": gained,
        "calibrated": [kind for kind in adaptation.kinds if kind in contact.bound],
        "new_kinds": checked[TEST],
        "known_kinds": checked[KNOWN],
    }
    card = _card(given, contact, adaptation, report, arranged(tried[TEST] + tried[KNOWN], scene.kinds))
    sha256 = composite.save_world_model(out, given.people, given.actuators, given.outcomes, contact, card)
    return {
        "schema": "robotctl/train-adapt.v1",
        "model": str(out),
        "sha256": sha256,
        **report,
        "collect_s": round(collected, 1),
        "fit_s": round(time.perf_counter() - started, 1),
    }


def _before_and_after(given: ContactModel, adapted: ContactModel, pushes: Pushes | None) -> dict[str, Any] | None:
    """Errors and coverage of both models on pushes that neither was fitted to."""
    if pushes is None:
        return None
    out: dict[str, Any] = {}
    for name, model in (("before", given), ("after", adapted)):
        part = evaluate_contact(model, pushes, frozenset())
        out[name] = {
            "error_mm": part["error"],
            "coverage": part["coverage"]["moving"],
            "by_kind": part["by_kind"],
        }
    return {"horizon_s": part["horizon_s"], **out, "n": part["n"]}


def _card(
    given: composite.LearnedWorldModel,
    contact: ContactModel,
    adaptation: Adaptation,
    report: dict[str, Any],
    tested: Pushes | None,
) -> dict[str, Any]:
    """The given model's card with what has changed; the contact part's figures are of this home's pushes."""
    before = lineage.lineage(given.card, given.sha256)
    if given.contact.network is None:
        before = [lineage.fresh(adaptation.seed)]
    counted = lineage.transitions(given.card)
    learned = counted.get(PUSHES, 0) if given.contact.network is not None else 0
    parts = [part for part in given.card.get("evaluation", {}).get("parts", []) if part.get("name") != "contact"]
    if tested is not None:
        parts.append(evaluate_contact(contact, tested, frozenset()))
    return {
        **given.card,
        "schema": "robotctl/model-card.v1",
        "command": f"robotctl train adapt {adaptation.target} --from {given.path} "
        + "".join(f"--kind {kind} " for kind in adaptation.kinds)
        + f"--pushes {adaptation.pushes} --seed {adaptation.seed}",
        "continued_from": report["continued_from"],
        "lineage": lineage.noted(before),
        "transitions": {**counted, PUSHES: learned + report["transitions"]},
        "adaptations": [*given.card.get("adaptations", []), report],
        "evaluation": {"parts": parts},
        "versions": versions(),
    }
