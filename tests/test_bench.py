"""Sweeps survive what happens to processes; rates carry honest intervals; benches count what the judge saw."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from robotctl.bench import guardrails as bench
from robotctl.bench.episodes import joint_exit_code, summarize
from robotctl.bench.guardrails import exit_code
from robotctl.bench.price import PREFIX, prices
from robotctl.bench.statistics import bootstrap_median, clopper_pearson, median, per_hour, quotient, rate
from robotctl.bench.sweep import sweep
from robotctl.bench.trials import chosen_seeds, chosen_tasks, filed_answers, run_trials
from robotctl.cli.bench_command import TWO_TASKS
from robotctl.cli.bench_options import command_of, part_of
from robotctl.cli.bench_tables import guardrails_table
from robotctl.cli.output import console
from robotctl.errors import InvalidFileError, UsageError
from robotctl.task import task_names

# ---- statistics ------------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_intervals_are_those_of_scipy(data: st.DataObject) -> None:
    n = data.draw(st.integers(1, 300))
    k = data.draw(st.integers(0, n))
    low, high = clopper_pearson(k, n)
    expected = binomtest(k, n).proportion_ci(method="exact")
    assert low == pytest.approx(expected.low, abs=1e-9)
    assert high == pytest.approx(expected.high, abs=1e-9)
    assert low <= k / n <= high


def test_none_of_n_is_about_three_over_n() -> None:
    assert clopper_pearson(0, 100)[1] == pytest.approx(3.6 / 100, rel=0.02)  # two-sided; one-sided it is 3/n
    assert clopper_pearson(0, 0) == (0.0, 1.0)
    assert rate(0, 0) == (None, [0.0, 1.0])
    with pytest.raises(ValueError, match="3 successes"):
        clopper_pearson(3, 2)


def test_quotients() -> None:
    assert quotient([1.0, 2.0], [1.0, 1.0]) == 1.5
    assert quotient([], []) is None


# ---- sweeps ----------------------------------------------------------------------------------------------------


def square(x: int) -> int:
    return x * x


def misbehave(what: str) -> str:
    """A job of many moods; payload 'once:FILE' dies the first time."""
    kind, _, path = what.partition(":")
    if kind == "die" or (kind == "once" and not os.path.exists(path)):
        if path:
            Path(path).write_text("died")
        os.kill(os.getpid(), signal.SIGKILL)
    if kind == "exit":
        os._exit(3)
    if kind == "refuse":
        raise UsageError("no such thing")
    if kind == "raise":
        raise ZeroDivisionError("oops")
    if kind == "wait":
        Path(path).write_text("began")
        try:
            time.sleep(30)
        except KeyboardInterrupt:
            Path(path).write_text("braked")
            raise
    return what


def test_a_sweep_gives_every_answer() -> None:
    outcomes = {o.key: o.value for o in sweep(square, [(str(i), i) for i in range(7)], workers=2)}
    assert outcomes == {str(i): i * i for i in range(7)}
    assert list(sweep(square, [], workers=2)) == []


def test_a_sweep_survives_its_workers(tmp_path: Path) -> None:
    moods = ["fine", "die", f"once:{tmp_path / 'once'}", "refuse", "raise", "exit", "well"]
    outcomes = {o.key: o for o in sweep(misbehave, [(mood[:4], mood) for mood in moods], workers=2)}
    assert len(outcomes) == len(moods)
    assert outcomes["fine"].value == "fine"
    assert outcomes["well"].value == "well"
    assert outcomes["once"].value == moods[2]  # tried again
    assert outcomes["die"].error == "the worker died 2 times (signal 9)"
    assert outcomes["exit"].error == "the worker died 2 times (exit code 3)"
    assert outcomes["refu"].error == "no such thing"
    assert outcomes["refu"].exit_code == 2
    assert outcomes["rais"].error == "ZeroDivisionError: oops"
    assert "Traceback" in outcomes["rais"].details


def test_leaving_a_sweep_interrupts_its_workers(tmp_path: Path) -> None:
    jobs = [("fine", "fine"), ("wait", f"wait:{tmp_path / 'state'}")]
    outcomes = sweep(misbehave, jobs, workers=2)
    assert next(outcomes).value == "fine"
    while not (tmp_path / "state").exists():
        time.sleep(0.05)
    outcomes.close()  # type: ignore[attr-defined]
    assert (tmp_path / "state").read_text() == "braked"


def test_a_report_tells_no_folder_of_the_machine() -> None:
    words = "bench guardrails --tasks kitchen/* --out /home/me/b --workers=2 --resume --seeds 0:60 --out=/tmp/x --json"
    assert command_of(words.split()) == "robotctl bench guardrails --tasks 'kitchen/*' --seeds 0:60"


# ---- figures ---------------------------------------------------------------------------------------------------


def answer(seed: int = 0, task: str = "kitchen/clear-table", **changes: Any) -> dict[str, Any]:
    values: dict[str, Any] = {
        "arm": "full",
        "planner": "sqp",
        "command": "robotctl bench guardrails",
        "version": "0.1",
        "task": task,
        "seed": seed,
        "success": True,
        "exit_code": 0,
        "guardrails": {"violations": 0, "by_id": {"speed": {"violations": 0}}},
        "contacts": {"moving": 0, "passive": 1},
        "filter": {"interventions": 2, "moving_cycles": 100, "stopped_s": 1.5},
        "time": {"simulated_s": 60.0, "wall_s": 20.0, "real_time_factor": 3.0},
        "min_separation_m": 0.3,
        "moving_s": 40.0,
    }
    return {**values, **changes}


def test_summaries_count_what_the_judge_saw() -> None:
    violating = answer(1, exit_code=5, guardrails={"violations": 3, "by_id": {"speed": {"violations": 3}}})
    touching = answer(2, success=False, exit_code=5, contacts={"moving": 1, "passive": 0})
    failed = {"task": "kitchen/clear-table", "seed": 3, "success": False, "exit_code": 1, "error": "died"}
    summary = summarize([answer(0), violating, touching, failed])
    assert summary["n"] == 4
    assert summary["success_rate"] == 0.5
    assert summary["violations"] == 3
    assert summary["episodes_violating"] == 2
    assert summary["contacts_moving"] == 1
    assert summary["failed"] == 1
    assert summary["violation_ci95"] == rate(2, 3)[1]  # of those that were judged
    assert summary["real_time_factor"] == 3.0


def test_the_worst_exit_code_counts() -> None:
    def joint(*codes: int) -> int:
        return joint_exit_code([{"exit_code": code} for code in codes])

    assert joint(0, 0) == 0
    assert joint(0, 4) == 4
    assert joint(4, 5, 130) == 5
    assert joint(4, 130) == 130
    assert joint(6, 0) == 6
    assert joint(6, 4) == 4
    assert joint() == 0


def broken(violations: int, worst: float = -0.2) -> dict[str, Any]:
    rule = {
        "violations": violations,
        "worst_margin": worst,
        "unit": "m/s",
        "duration_s": 0.5,
        "severity": 0.05,
        "tier": 2,
    }
    return {"violations": violations, "by_id": {"speed": rule}}


def test_a_bench_reports_each_arm() -> None:
    answers = [
        answer(0), answer(1, task="kitchen/put-away-knife"),
        answer(0, arm="none", exit_code=5, guardrails=broken(2)), answer(1, arm="none", guardrails=broken(0, 0.1)),
    ]  # fmt: skip
    told = bench.bench_answer(answers, Path("x"))
    full, none = told["arms"]
    promised = {
        "name", "episodes", "success_rate", "success_ci95", "episodes_violating", "violation_ci95", "violations",
        "contacts_moving", "min_separation_m", "interventions_per_moving_cycle", "stopped_s", "simulated_s",
    }  # fmt: skip
    assert promised <= set(full)
    assert full["episodes_violating"] == 0
    assert full["interventions_per_moving_cycle"] == 0.02
    assert none["violations_by_id"] == {"speed": 2}
    assert none["by_id"]["speed"] == {
        "violations": 2, "episodes_violating": 1, "violation_rate": 0.5, "violation_ci95": rate(1, 2)[1],
        "severity": 0.1, "duration_s": 1.0, "depth": 0.2, "unit": "m/s", "tier": 2,
    }  # fmt: skip
    assert none["violations_per_episode"] == 1.0
    assert none["violations_per_moving_hour"] == 90.0  # 2 in 80 s
    assert [row["task"] for row in told["by_task"]] == ["kitchen/clear-table"] * 2 + ["kitchen/put-away-knife"]
    assert exit_code(told) == 0  # arm `none` may violate: that is what it is for
    terminal = console()
    with terminal.capture() as shown:
        for part in guardrails_table(told):
            terminal.print(part)
    assert "full" in shown.get()
    assert "speed 2" in shown.get()
    answers[0]["contacts"]["moving"] = 1
    assert exit_code(bench.bench_answer(answers, Path("x"))) == 5


@pytest.mark.parametrize("arm", bench.ARMS)
def test_who_has_a_filter_may_not_violate(arm: str) -> None:
    code = 5 if arm in ("full", "filter-only", "no-people") else 0
    assert exit_code(bench.bench_answer([answer(0, arm=arm, guardrails=broken(1))], Path("x"))) == code


def test_prices_are_paired() -> None:
    def lasts(seconds: float, **changes: Any) -> dict[str, Any]:
        return answer(time={"simulated_s": seconds, "wall_s": 1.0}, **changes)

    answers = [lasts(60.0 + seed, seed=seed) for seed in range(5)]
    answers[3]["success"] = False
    without = [lasts(50.0 + 2 * seed, seed=seed, arm=f"{PREFIX}speed", success=seed != 4) for seed in range(5)]
    (row,) = prices(answers + without)
    assert row["guardrail"] == "speed"
    assert row["seconds"] == [10.0, 9.0, 8.0]  # seeds 0 to 2: both succeed
    assert row["seconds_median"] == 9.0
    assert 8.0 <= row["seconds_ci95"][0] <= row["seconds_ci95"][1] <= 10.0
    assert (row["only_with"], row["only_without"]) == (1, 1)
    (part,) = row["by_task"]
    assert part["pairs"] == 3
    assert exit_code({"arms": [], "price": [row]}) == 0
    without[0]["guardrails"] = broken(1)  # of another guardrail, under the filter
    assert exit_code({"arms": [], "price": prices(answers + without)}) == 5
    assert prices(answers) == []


def test_rates_by_the_hour() -> None:
    assert per_hour(0, 0.0) == (None, [0.0, None])
    value, (low, high) = per_hour(0, 3600.0)
    assert (value, low) == (0.0, 0.0)
    assert high == pytest.approx(3.69, abs=0.01)  # Garwood: chi-square with 2 degrees of freedom, 97.5 %, halved
    value, (low, high) = per_hour(10, 7200.0)
    assert value == 5.0
    assert low == pytest.approx(4.795 / 2, abs=0.01)
    assert high == pytest.approx(18.39 / 2, abs=0.01)


def test_medians() -> None:
    assert median([]) is None
    assert median([3.0, 1.0, 2.0]) == 2.0
    assert bootstrap_median([1.0], np.random.default_rng(0)) == [None, None]
    low, high = bootstrap_median(list(np.random.default_rng(1).normal(2.0, 1.0, 200)), np.random.default_rng(0))
    assert low < 2.1 < 2.4 > high
    assert high - low == pytest.approx(2 * 1.96 * 1.2533 / np.sqrt(200), rel=0.35)  # of a normal sample's median


def test_an_arm_of_failures_is_reported() -> None:
    failed = {"task": "kitchen/clear-table", "seed": 3, "success": False, "exit_code": 1, "error": "died"}
    row = bench.arm_figures("full", [failed])
    assert row["failed"] == 1
    assert row["violation_rate"] is None
    assert row["violation_ci95"] == [0.0, 1.0]
    assert exit_code({"arms": [row]}) == 1


def test_choices() -> None:
    assert chosen_tasks("kitchen/*") == task_names()
    assert chosen_tasks("kitchen/pu*") == ["kitchen/pull-pot", "kitchen/push-mug", "kitchen/put-away-knife"]
    assert chosen_tasks("kitchen/pull-pot, kitchen/pu*")[0] == "kitchen/pull-pot"
    assert chosen_tasks(TWO_TASKS) == ["kitchen/clear-table", "kitchen/put-away-knife"]
    assert bench.chosen_arms("full, none") == ["full", "none"]
    assert bench.chosen_arms(None) == list(bench.ARMS)
    assert bench.chosen_arms("none", prices=True) == ["full", "none"]
    assert "soft-penalty" not in bench.chosen_arms(None, "nan")
    with pytest.raises(UsageError, match="planner of its own"):
        bench.chosen_arms("soft-penalty", "nan")
    assert list(chosen_seeds("3:5", 10)) == [3, 4]
    assert list(chosen_seeds(None, 2)) == [0, 1]
    for bad in ("3", "5:3", "a:b", "-1:2"):
        with pytest.raises(UsageError):
            chosen_seeds(bad, 1)
    with pytest.raises(UsageError):
        bench.chosen_arms("")


def test_shards_are_a_partition() -> None:
    plan = bench.trials(["a", "b"], range(5), list(bench.ARMS), Path("x"))
    assert len({trial.key for trial in plan}) == len(plan) == 60
    parts = [plan[part_of(f"{i}/4")] for i in (1, 2, 3, 4)]
    assert sorted(t.key for part in parts for t in part) == sorted(t.key for t in plan)
    assert plan[part_of(None)] == plan


def test_prices_need_an_episode_without_each_guardrail() -> None:
    plan = bench.trials(["kitchen/put-away-knife"], [7], ["full"], Path("x"), planner="nan", prices=True)
    relaxed = [trial.options["relax"] for trial in plan if trial.arm.startswith(PREFIX)]
    assert {"speed", "human-separation", "blade-near-human"} <= {name for relax in relaxed for name in relax}
    assert all(len(relax) == 1 and all(relax.values()) for relax in relaxed)
    assert all(trial.options["planner"] == "nan" for trial in plan)
    assert plan[0].arm == "full"
    assert len({trial.fingerprint() for trial in plan}) == len(plan)


# ---- a real bench ----------------------------------------------------------------------------------------------


def test_a_bench_runs_resumes_and_refuses_other_files(tmp_path: Path) -> None:
    """Two arms of one second each, with the real robot; then the same again from the files."""
    code = """
        import json, sys
        from pathlib import Path
        from robotctl.bench import guardrails as bench
        from robotctl.bench.trials import run_trials
        def main():
            folder, resume = Path(sys.argv[1]), sys.argv[2] == "resume"
            plan = bench.trials(["kitchen/put-away-knife"], [4], ["full", "none"], folder, time_limit=1.0)
            seen = []
            answers = run_trials(plan, 2, resume, lambda trial, answer: seen.append(trial.key))
            told = bench.bench_answer(answers, folder)
            print(json.dumps([seen, told["arms"]]), file=sys.stderr)
        if __name__ == "__main__":
            main()
    """
    script = tmp_path / "bench.py"
    script.write_text(textwrap.dedent(code))
    folder = tmp_path / "out"

    def run(mode: str) -> tuple[list[str], list[dict[str, Any]]]:
        done = subprocess.run([sys.executable, str(script), str(folder), mode], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        seen, arms = json.loads(done.stderr.splitlines()[-1])
        return seen, arms

    seen, arms = run("new")
    assert sorted(seen) == ["full/kitchen-put-away-knife/seed4", "none/kitchen-put-away-knife/seed4"]
    assert [arm["failed"] for arm in arms] == [0, 0], arms
    files = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.json"))
    assert files == [f"{arm}/kitchen-put-away-knife/seed4.json" for arm in ("full", "none")]
    assert len(list(folder.rglob("*.mcap"))) == 2  # not reached in a second: both are kept
    written = {path: path.stat().st_mtime_ns for path in folder.rglob("*.mcap")}
    again = run("resume")
    assert again[1] == arms
    assert written == {path: path.stat().st_mtime_ns for path in folder.rglob("*.mcap")}  # nothing ran twice
    assert bench.bench_answer(filed_answers(folder), folder)["arms"] == arms
    (trial,) = bench.trials(["kitchen/put-away-knife"], [4], ["full"], folder, time_limit=1.0)
    with pytest.raises(UsageError, match="--resume"):
        run_trials([trial], 1, False, lambda *_: None)
    (other,) = bench.trials(["kitchen/put-away-knife"], [4], ["full"], folder, time_limit=2.0)
    with pytest.raises(UsageError, match="other files"):
        run_trials([other], 1, True, lambda *_: None)
    (other,) = bench.trials(["kitchen/put-away-knife"], [4], ["full"], folder, time_limit=1.0, planner="stale")
    with pytest.raises(UsageError, match="other files"):
        run_trials([other], 1, True, lambda *_: None)
    trial.answer_file.write_text("{")
    with pytest.raises(InvalidFileError, match="not an answer"):
        run_trials([trial], 1, True, lambda *_: None)
