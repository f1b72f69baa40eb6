"""This file turns problems and methods into a comparison: who plans well, how often, how fast.

All methods answer a problem one after the other in one process, so that a busy machine is busy for all of them. Each
problem's answers are kept in a file of its own, written after every answer: an interrupted bench goes on where it
stopped.
"""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import robotctl
from robotctl.bench.peers.peer import Answer, Peer, missing
from robotctl.bench.planner_checker import Verdict, check, check_path
from robotctl.bench.planner_problems import KINDS, PlanningProblem, make_problem
from robotctl.errors import InvalidFileError, UsageError, nearest
from robotctl.jsontext import json_text

SCHEMA = "robotctl/bench-planner.v1"
LIBRARIES: dict[str, tuple[str, ...]] = {
    "cold": (),
    "budget": (),
    "rti": (),
    "slsqp": ("jax", "scipy"),
    "ipopt": ("casadi",),
    "drake": ("pydrake",),
    "cem": ("jax",),
    "mppi": ("jax",),
    "ompl": ("ompl",),
}
OURS = "cold"  # what the others' times are compared with
OURS_ALL = ("cold", "budget", "rti")
GOOD = 1.05  # a motion that costs at most this times another one is as good


def chosen_methods(text: str | None) -> tuple[list[str], dict[str, str]]:
    """Methods from `cold,rti,...`, None for all; and those that cannot run here, with what is missing."""
    names = [n.strip() for n in text.split(",") if n.strip()] if text else list(LIBRARIES)
    for name in names:
        if name not in LIBRARIES:
            raise UsageError(f"--methods: no method '{name}'{nearest(name, LIBRARIES)}")
    words = {name: missing(*LIBRARIES[name]) for name in dict.fromkeys(names)}
    return [name for name, word in words.items() if not word], {name: word for name, word in words.items() if word}


def chosen_kinds(text: str) -> list[str]:
    """Kinds from `static,person,...`."""
    kinds = [k.strip() for k in text.split(",") if k.strip()]
    for kind in kinds:
        if kind not in KINDS:
            raise UsageError(f"--kinds: no kind '{kind}'{nearest(kind, KINDS)}")
    if not kinds:
        raise UsageError(f"--kinds: name at least one of {', '.join(KINDS)}")
    return list(dict.fromkeys(kinds))


def method(name: str) -> Peer:
    """The method of that name; its library is imported here."""
    if name in OURS_ALL:
        from robotctl.bench.peers.ours import Budget, Cold, RealTime

        ours: dict[str, type[Peer]] = {"cold": Cold, "budget": Budget, "rti": RealTime}
        return ours[name]()
    if name in ("cem", "mppi"):
        from robotctl.bench.peers.sampling import Sampler

        return Sampler(name)
    if name == "slsqp":
        from robotctl.bench.peers.slsqp import Slsqp

        return Slsqp()
    if name == "ipopt":
        from robotctl.bench.peers.ipopt import Ipopt

        return Ipopt()
    if name == "drake":
        from robotctl.bench.peers.drake_kto import DrakeKto

        return DrakeKto()
    if name == "ompl":
        from robotctl.bench.peers.ompl_rrt import RrtConnect

        return RrtConnect()
    raise UsageError(f"no method '{name}'{nearest(name, LIBRARIES)}")


def expected(plan: Sequence[tuple[str, int, int]], names: Sequence[str]) -> int:
    """How many answers there will be: not every method can express every kind."""
    return sum(kind in method(name).kinds for name in names for kind, _, _ in plan)


def run_bench(
    plan: Sequence[tuple[str, int, int]],
    names: Sequence[str],
    folder: Path,
    time_limit: float,
    resume: bool,
    advance: Callable[[dict[str, Any]], None],
) -> list[dict[str, Any]]:
    """One record for each problem and method. `advance` hears of every record, known ones included."""
    peers = [method(name) for name in names]
    records = []
    for kind, joints, seed in plan:
        file = folder / f"{kind}-{joints}-{seed}.json"
        known = known_answers(file, _fingerprint(time_limit), resume)
        problem = None
        for peer in peers:
            if kind not in peer.kinds:
                continue
            if peer.name not in known:
                problem = problem or make_problem(kind, joints, seed)
                known[peer.name] = record(problem, peer, time_limit)
                write_answers(file, {"fingerprint": _fingerprint(time_limit), "answers": known})
            records.append(known[peer.name])
            advance(known[peer.name])
    return records


def record(problem: PlanningProblem, peer: Peer, time_limit: float) -> dict[str, Any]:
    """One method's answer to one problem, judged."""
    begin = time.perf_counter()
    try:
        answer = peer.solve(problem, time_limit)
    except (RuntimeError, ValueError, ArithmeticError) as error:  # a peer's solver gave up: that is its answer
        if peer.name in OURS_ALL:
            raise
        answer = Answer(1e3 * (time.perf_counter() - begin), note=f"{type(error).__name__}: {str(error)[:200]}")
    base = {
        "problem": problem.name, "kind": problem.kind, "joints": len(problem.joints), "seed": problem.seed,
        "method": peer.name, "ms": round(answer.ms, 3), "note": answer.note,
    }  # fmt: skip
    if answer.u is None and answer.path is None:
        return {**base, "feasible": False, "solved": False, "violation": None, "violations": {}, "cost": None,
                "position_error": None, "rotation_error": None}  # fmt: skip
    verdict = _judge(problem, answer)
    return {
        **base,
        "feasible": verdict.feasible,
        "solved": verdict.feasible and verdict.arrived,
        "violation": verdict.violation,
        "violations": {name: value for name, value in verdict.violations.items() if not value <= 0.0},
        "position_error": verdict.position_error,
        "rotation_error": verdict.rotation_error,
        "cost": verdict.cost if answer.state is None else None,  # from another start costs do not compare
        "clearance": verdict.clearance if np.isfinite(verdict.clearance) else None,
        "good_ms": round(_first_good(problem, answer, verdict), 3),
    }


def _first_good(problem: PlanningProblem, answer: Answer, last: Verdict) -> float:
    """When a method first had a motion as good as its last one: as feasible, arrived, and at most 5 % dearer [ms].

    For methods that were stopped by the time limit. One that does not tell what it had before gets its whole time.
    """
    for at, u in answer.earlier:
        verdict = check(problem, u)
        if verdict.feasible >= last.feasible and verdict.arrived >= last.arrived:
            assert verdict.cost is not None
            assert last.cost is not None
            if verdict.cost <= GOOD * last.cost:
                return at
    return answer.ms


def _judge(problem: PlanningProblem, answer: Answer) -> Verdict:
    if answer.u is None:
        assert answer.path is not None
        return check_path(problem, answer.path)
    return check(problem, answer.u, answer.state)


# ---- figures ---------------------------------------------------------------------------------------------------


def best_costs(records: Iterable[dict[str, Any]]) -> dict[str, float]:
    """Of each problem the lowest cost of a feasible answer."""
    best: dict[str, float] = {}
    for r in records:
        if r["feasible"] and r["cost"] is not None:
            best[r["problem"]] = min(best.get(r["problem"], np.inf), r["cost"])
    return best


def figures(name: str, records: Sequence[dict[str, Any]], best: dict[str, float]) -> dict[str, Any]:
    """The row of one method over some problems."""
    ms = [r["ms"] for r in records]
    good = [r.get("good_ms", r["ms"]) for r in records]
    clearance = [r["clearance"] for r in records if r.get("clearance") is not None]
    ratios = [r["cost"] / best[r["problem"]] for r in records if r["feasible"] and r["cost"] is not None]
    violations = [np.inf if r["violation"] is None else r["violation"] for r in records if r["note"] != "no path"]
    return {
        "name": name,
        "n": len(records),
        "solved": sum(r["solved"] for r in records),
        "feasible_rate": _rounded(np.mean([r["feasible"] for r in records])) if records else None,
        "ms_p50": _rounded(np.percentile(ms, 50), 2) if ms else None,
        "ms_p95": _rounded(np.percentile(ms, 95), 2) if ms else None,
        "ms_p99": _rounded(np.percentile(ms, 99), 2) if ms else None,
        "good_ms_p50": _rounded(np.percentile(good, 50), 2) if good else None,
        "cost_ratio_to_best": _rounded(np.median(ratios)) if ratios else None,
        "within_5_percent": _rounded(np.mean(np.array(ratios) <= GOOD)) if ratios else None,
        "clearance_p50": _rounded(np.median(clearance)) if clearance else None,
        "max_violation": _rounded(max(violations), 5) if violations else None,
    }


def ratios(by_method: dict[str, list[dict[str, Any]]]) -> dict[str, float]:
    """Median time of each method over ours, on the problems both answered."""
    if OURS not in by_method:
        return {}
    ours = {r["problem"]: r["ms"] for r in by_method[OURS]}
    out = {}
    for name, records in by_method.items():
        shared = [(r["ms"], ours[r["problem"]]) for r in records if r["problem"] in ours]
        if shared and name != OURS:
            theirs, mine = np.median(np.array(shared), axis=0)
            out[name] = _rounded(theirs / mine, 3)
    return out


def bench_answer(
    records: Sequence[dict[str, Any]], names: Sequence[str], absent: dict[str, str], time_limit: float, folder: Path
) -> dict[str, Any]:
    """The answer of `bench planner --json`."""
    best = best_costs(records)
    by_method = {name: [r for r in records if r["method"] == name] for name in names}
    groups = list(dict.fromkeys((r["kind"], r["joints"]) for r in records))
    return {
        "schema": SCHEMA,
        "problems": len({r["problem"] for r in records}),
        "methods": [figures(name, chosen, best) for name, chosen in by_method.items()],
        "ratios": ratios(by_method),
        "by_group": [
            {"kind": kind, "joints": joints, **figures(name, chosen, best)}
            for kind, joints in groups
            for name in names
            if (chosen := [r for r in by_method[name] if r["kind"] == kind and r["joints"] == joints])
        ],
        "missing": absent,
        "time_limit_s": time_limit,
        "machine": machine(),
        "out": folder,
    }


def machine() -> str:
    """The machine and how busy it was, in words."""
    try:
        cpu = next(
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        )
    except (OSError, StopIteration):
        cpu = platform.processor() or platform.machine()
    threads = os.environ.get("OMP_NUM_THREADS", "unset")
    return (
        f"{cpu}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the end, OMP_NUM_THREADS {threads}, "
        f"{platform.system()}, Python {platform.python_version()}"
    )


def _rounded(value: Any, digits: int = 4) -> float:
    return round(float(value), digits)


# ---- files -----------------------------------------------------------------------------------------------------


def _fingerprint(time_limit: float) -> str:
    return f"{robotctl.__version__}-{SCHEMA}-{time_limit}"


def known_answers(file: Path, fingerprint: str, resume: bool) -> dict[str, dict[str, Any]]:
    """Answers of an earlier run, by method."""
    if not file.exists():
        return {}
    if not resume:
        raise UsageError(f"{file}: exists already; go on with --resume or choose another --out")
    try:
        content = json.loads(file.read_text())
        made_by, answers = content["fingerprint"], dict(content["answers"])
    except (OSError, ValueError, KeyError, TypeError):
        raise InvalidFileError(f"{file}: not an answer of this bench; remove it") from None
    if made_by != fingerprint:
        raise UsageError(f"{file}: made by another version or with another time limit; choose another --out")
    return answers


def write_answers(file: Path, content: dict[str, Any]) -> None:
    """The file appears whole or not at all."""
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_suffix(".part")
    part.write_text(json_text(content))
    os.replace(part, file)
