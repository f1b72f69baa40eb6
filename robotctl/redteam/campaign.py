"""A campaign against one task: inside the assumptions, at their edge, or beyond them.

Inside, one search in the simulator and one in the closed loop without physics; every violation is a fault of the
safety case. At the edge, one assumption after the other is broken by factors up to 2 in the closed loop, which finds
worse worlds than physics would, and the smallest factor with a violation is bisected; a few episodes in the simulator
at factor 2 show what of that physics brings about. Beyond, the simulator alone.
"""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

import robotctl
from robotctl.bench.sweep import Crew
from robotctl.errors import UsageError, nearest
from robotctl.jsontext import json_text
from robotctl.redteam import chase as loop
from robotctl.redteam.ambush import EDGES, Ambush, Scout, planners
from robotctl.redteam.attack import Attack, Chase, attack_dict, parse, save_attack
from robotctl.redteam.episode import LOST, Trial, natural_scales, run_attack, scouted, trial_of
from robotctl.redteam.journal import Entry, Journal
from robotctl.redteam.search import minimize

SCHEMA = "robotctl/redteam.v1"
STRATA = ("inside", "edge", "beyond")
INSTRUMENTS = ("both", "simulator", "loop")
FACTORS = (2.0, 1.5, 1.25)  # at which each assumption is broken, before the bisection
BISECTIONS = 4  # of the first factor with a violation
IN_SIMULATOR = {"inside": 0.25, "edge": 0.05, "beyond": 1.0}  # share of the budget when both instruments are used
KEPT = 5  # attacks and episodes that are kept of those without a violation
KEPT_VIOLATING = 20
NO_INTERVAL = "an adaptive search is no random sample: no rate and no interval can be given"


@dataclass(frozen=True)
class Plan:
    """What was asked for."""

    task: str
    stratum: str
    budget: int
    seed: int
    instrument: str = "both"
    longest: float = 6.0  # simulated seconds of an episode
    assumptions: tuple[str, ...] = EDGES  # those that the edge breaks

    def simulated(self) -> int:
        """How many of the trials run in the simulator."""
        if self.instrument == "loop":
            return 0
        if self.instrument == "simulator" or self.stratum == "beyond":
            return self.budget
        return max(1, round(IN_SIMULATOR[self.stratum] * self.budget))

    def looped(self) -> int:
        """How many run in the closed loop without physics."""
        return self.budget - self.simulated()


def planned(
    task: str, stratum: str, budget: int, seed: int, instrument: str, longest: float, assumptions: str = ""
) -> Plan:
    """The plan for what a command line says; UsageError for what does not exist."""
    for value, choices, option in ((stratum, STRATA, "--stratum"), (instrument, INSTRUMENTS, "--instrument")):
        if value not in choices:
            raise UsageError(f"{option}: '{value}' is none of them{nearest(value, choices)}")
    if stratum == "beyond" and instrument == "loop":
        raise UsageError("--stratum beyond runs in the simulator only")
    chosen = tuple(word.strip() for word in assumptions.split(",") if word.strip()) or EDGES
    for word in chosen:
        if word not in EDGES:
            raise UsageError(f"--assumptions: no assumption '{word}'{nearest(word, EDGES)}")
    return Plan(task, stratum, budget, seed, instrument, longest, chosen)


Advance = Callable[[Trial], None]


@dataclass
class Campaign:
    """A campaign while it runs."""

    plan: Plan
    folder: Path
    journal: Journal
    crew: Crew
    advance: Advance
    curves: dict[str, dict[str, Any]] = field(default_factory=dict)
    first_failure: dict[str, float | None] = field(default_factory=dict)
    confirmed: dict[str, dict[str, Any]] = field(default_factory=dict)

    def run(self) -> None:
        """All searches of the plan."""
        if self.plan.stratum == "edge":
            self._edge()
            return
        if self.plan.looped():
            self._search_loop("", 1.0, self.plan.looped(), loop.openings(self._arena().task.scene))
        if self.plan.simulated():
            self._search_simulator("", 1.0, self.plan.simulated())

    def _edge(self) -> None:
        """Breaks every assumption by several factors."""
        each = self.plan.looped() // len(self.plan.assumptions)
        for name in self.plan.assumptions if each else ():
            self._curve(name, max(each // (len(FACTORS) + BISECTIONS + 1), 1))
        each = self.plan.simulated() // len(self.plan.assumptions)
        if each or self.plan.simulated():
            for name in self.plan.assumptions:
                _, best = self._search_simulator(name, FACTORS[0], max(each, 1))
                if best is not None:
                    self.confirmed[name] = {"factor": FACTORS[0], **_figures(best.trial), "instrument": "simulator"}

    def _curve(self, name: str, budget: int) -> None:
        """Smallest margin against the factor of one assumption, and the first factor with a violation."""
        known = loop.openings(self._arena().task.scene)
        points: dict[float, Trial] = {}
        vectors: dict[float, np.ndarray] = {}

        def at(factor: float, known: Sequence[np.ndarray], enough: float = -np.inf, share: int = budget) -> float:
            vector, entry = self._search_loop(name, factor, share, known, enough)
            if entry is not None:
                points[factor], vectors[factor] = entry.trial, vector
            return entry.trial.value if entry is not None else LOST

        for factor in FACTORS:
            at(factor, [*vectors.values(), *known], share=2 * budget if factor == FACTORS[0] else budget)
        failing = [f for f, trial in points.items() if trial.violations]
        if failing:
            high = min(failing)
            low = max((f for f in (1.0, *points) if f < high), default=1.0)
            for _ in range(BISECTIONS):
                middle = round(0.5 * (low + high), 4)
                if at(middle, [vectors[high]], enough=0.0) < 0.0:
                    high = middle
                else:
                    low = middle
            self.first_failure[name] = high
        else:
            self.first_failure[name] = None
        self.curves[name] = {
            "instrument": "loop",
            "points": [{"factor": f, **_figures(points[f])} for f in sorted(points)],
        }

    # ---- searches --------------------------------------------------------------------------------------------

    def _search_loop(
        self, broken: str, factor: float, budget: int, known: Sequence[np.ndarray], enough: float = -np.inf
    ) -> tuple[np.ndarray, Entry | None]:
        arena = self._arena()
        scales = natural_scales(arena.rules.guardrails)

        def decode(vector: np.ndarray) -> Chase:
            return loop.decode(vector, arena, self.plan.seed, self.plan.stratum, broken, factor)

        axes = len(loop.genes(arena.task.scene))
        return self._search(f"loop/{broken or 'inside'}/{factor:g}", decode, axes, budget, scales, known, enough)

    def _search_simulator(self, broken: str, factor: float, budget: int) -> tuple[np.ndarray, Entry | None]:
        ambush, scales = self._ambush(broken, factor)
        name = f"simulator/{broken or self.plan.stratum}/{factor:g}"
        return self._search(name, ambush.decode, len(ambush.genes()), budget, scales)

    def _search(
        self,
        name: str,
        decode: Callable[[np.ndarray], Attack | Chase],
        axes: int,
        budget: int,
        scales: dict[str, float],
        known: Sequence[np.ndarray] = (),
        enough: float = -np.inf,
    ) -> tuple[np.ndarray, Entry | None]:
        """One search; its best vector, and that trial."""
        first = len(self.journal.entries)
        count = 0

        def evaluate(vectors: list[np.ndarray]) -> list[float]:
            nonlocal count
            begin, count = count, count + len(vectors)
            values: dict[int, float] = {}
            jobs = []
            for i, vector in enumerate(vectors, begin):
                entry = self.journal.known(name, i, vector)
                if entry is not None:
                    values[i] = entry.trial.value
                    self.advance(entry.trial)
                else:
                    jobs.append((str(i), self._payload(name, i, decode(vector), scales)))
            for outcome in self.crew.work(jobs):
                i = int(outcome.key)
                trial = outcome.value if outcome.error is None else _lost(str(outcome.error))
                attack = json.loads(json_text(attack_dict(decode(vectors[i - begin]))))
                entry = Entry(name, i, tuple(vectors[i - begin].tolist()), attack, trial)
                self.journal.add(entry)
                values[i] = trial.value
                self._tidy()
                self.advance(trial)
            return [values[i] for i in range(begin, count)]

        vector, _ = minimize(evaluate, axes, budget, self.plan.seed, known, enough)
        own = [entry for entry in self.journal.entries[first:] if not (entry.trial.discarded or entry.trial.error)]
        best = min(own, key=lambda entry: (entry.trial.value, entry.index), default=None)
        return (np.array(best.vector) if best is not None else vector), best

    def _payload(self, name: str, index: int, attack: Attack | Chase, scales: dict[str, float]) -> dict[str, Any]:
        allowed = {"": (), "stamps": ("human_error", "object_error")}.get(attack.broken, (attack.broken,))
        if attack.broken in ("tracking_error", "tracking_speed_error", "actuation_latency"):
            allowed = ("tracking",)
        return {
            "attack": attack_dict(attack),
            "out": str(self.folder / "episodes" / f"{name.replace('/', '-')}-{index:05d}.mcap"),
            "scales": scales,
            "inside": self.plan.stratum != "beyond",
            "allowed": allowed,
        }

    def _tidy(self) -> None:
        """Deletes the episodes that are not among the worst."""
        kept = {entry.trial.episode for entry in worst(self.journal.entries)}
        for entry in self.journal.entries:
            if entry.trial.episode is not None and entry.trial.episode not in kept:
                Path(entry.trial.episode).unlink(missing_ok=True)

    # ---- what all searches share -----------------------------------------------------------------------------

    def _arena(self) -> loop.Arena:
        return _arena(self.plan.task)

    def _ambush(self, broken: str, factor: float) -> tuple[Ambush, dict[str, float]]:
        arena = self._arena()
        scout, undisturbed = self._scout()
        ambush = Ambush(
            task=self.plan.task,
            scene=arena.task.scene,
            assumed=arena.rules.assumptions,
            scout=scout,
            seed=self.plan.seed,
            longest=self.plan.longest,
            stratum=self.plan.stratum,
            broken=broken,
            factor=factor,
            planners=planners(),
        )
        return ambush, natural_scales(arena.every, undisturbed)

    def _scout(self) -> tuple[Scout, dict[str, Any]]:
        """Where the robot works undisturbed; kept in the folder."""
        file = self.folder / "scout.json"
        if not file.exists():
            log = self.folder / "scout.mcap"
            log.unlink(missing_ok=True)
            scout, undisturbed = scouted(self.plan.task, self.plan.seed, self.plan.longest, log)
            file.write_text(json_text({**asdict(scout), "guardrails": undisturbed}))
        data = json.loads(file.read_text())
        track = (tuple(tuple(point) for point in data[name]) for name in ("hand", "base"))
        return Scout(tuple(data["time"]), *track), data["guardrails"]


@lru_cache(maxsize=4)
def _arena(task: str) -> loop.Arena:
    return loop.Arena.of(task)


def run_payload(payload: dict[str, Any]) -> Trial:
    """Runs one attack; what a worker does."""
    attack = parse({key: value for key, value in payload["attack"].items() if key != "schema"})
    if isinstance(attack, Chase):
        answer = loop.run_chase(attack, _arena(attack.task))
        return trial_of(answer, payload["scales"], payload["inside"], tuple(payload["allowed"]))
    out = Path(payload["out"])
    out.unlink(missing_ok=True)
    answer = run_attack(attack, out)
    trial = trial_of(answer, payload["scales"], payload["inside"], tuple(payload["allowed"]))
    return Trial(**{**asdict(trial), "episode": str(out)})


def _lost(error: str) -> Trial:
    return Trial(LOST, "", None, "", 0, error=error)


def _figures(trial: Trial) -> dict[str, Any]:
    return {
        "value": trial.value,
        "guardrail": trial.guardrail,
        "margin": trial.margin,
        "unit": trial.unit,
        "violations": trial.violations,
        "flagged": trial.flagged,
    }


def worst(entries: Sequence[Entry]) -> list[Entry]:
    """The trials that came closest to a violation, worst first; violations before all others."""
    judged = sorted(
        (entry for entry in entries if not (entry.trial.discarded or entry.trial.error)),
        key=lambda entry: (entry.trial.value, entry.search, entry.index),
    )
    violating = [entry for entry in judged if entry.trial.violations][:KEPT_VIOLATING]
    return [*violating, *[entry for entry in judged if not entry.trial.violations][:KEPT]]


def run_campaign(plan: Plan, folder: Path, workers: int, resume: bool, advance: Advance) -> dict[str, Any]:
    """Runs a campaign; the answer of `robotctl redteam --json`. After Ctrl-C it answers with what there is."""
    import hashlib

    from robotctl.episode.bundle import bundle
    from robotctl.task import load_task

    task = load_task(plan.task)
    about = {
        **asdict(plan),
        "version": robotctl.__version__,
        "planners": planners(),
        "files": hashlib.sha256(bundle(task)).hexdigest(),
    }
    journal = Journal(folder, about, resume)
    interrupted = False
    with Crew(run_payload, max(1, workers)) as crew:
        campaign = Campaign(plan, folder, journal, crew, advance)
        try:
            campaign.run()
        except KeyboardInterrupt:
            interrupted = True
    return _answer(campaign, interrupted)


def _answer(campaign: Campaign, interrupted: bool) -> dict[str, Any]:
    plan, entries = campaign.plan, campaign.journal.entries
    judged = [entry for entry in entries if not (entry.trial.discarded or entry.trial.error)]
    violating = [entry for entry in judged if entry.trial.violations]
    unflagged = [entry for entry in violating if not entry.trial.flagged]
    code = 5 if (violating if plan.stratum == "inside" else unflagged) else 0
    answer = {
        "schema": SCHEMA,
        "task": plan.task,
        "stratum": plan.stratum,
        "seed": plan.seed,
        "budget": plan.budget,
        "trials": len(entries),
        "by_instrument": {
            name: sum(entry.search.startswith(name) for entry in entries) for name in ("simulator", "loop")
        },
        "discarded": sum(entry.trial.discarded for entry in entries),
        "failed": sum(bool(entry.trial.error) for entry in entries),
        "violations": len(violating),
        "not_claimed": dict(sum((Counter(entry.trial.others) for entry in entries), Counter())),
        "flagged": round(1.0 - len(unflagged) / len(violating), 4) if violating else None,
        "interval": None,
        "note": NO_INTERVAL,
        "worst": list(_saved(campaign)),
        "first_failure": campaign.first_failure,
        "curves": campaign.curves,
        "confirmed": campaign.confirmed,
        "picture": None,
        "interrupted": interrupted,
        "exit_code": 130 if interrupted and code == 0 else code,
        "out": str(campaign.folder),
    }
    if campaign.curves:
        from robotctl.redteam.curves import draw

        answer["picture"] = str(draw(campaign.curves, campaign.first_failure, campaign.folder / "curves.svg"))
    (campaign.folder / "answer.json").write_text(json_text(answer) + "\n")
    return answer


def _saved(campaign: Campaign) -> Iterator[dict[str, Any]]:
    """The worst trials, each with its attack in a file."""
    folder = campaign.folder / "attacks"
    with contextlib.suppress(OSError):
        for old in folder.glob("*.json"):
            old.unlink()
    for rank, entry in enumerate(worst(campaign.journal.entries)):
        trial = entry.trial
        file = folder / f"{rank + 1:02d}-{entry.search.replace('/', '-')}.json"
        attack = parse({key: value for key, value in entry.attack.items() if key != "schema"})
        save_attack(file, attack, {**_figures(trial), "digest": trial.digest, "version": robotctl.__version__})
        yield {
            "guardrail": trial.guardrail,
            "margin": trial.margin,
            "unit": trial.unit,
            "value": trial.value,
            "violations": trial.violations,
            "instrument": entry.search.split("/")[0],
            "broken": sorted(trial.broken),
            "attack": str(file),
            "episode": trial.episode,
        }
