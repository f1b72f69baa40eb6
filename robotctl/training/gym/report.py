"""Figures on episodes: success with its interval, every scalar that the environment tells, rollout errors."""

from __future__ import annotations

from typing import Any

import numpy as np

from robotctl.training.gym import dynamics
from robotctl.training.gym.collect import Episode
from robotctl.training.gym.dynamics import Model, Moment
from robotctl.training.gym.spaces import ACHIEVED, DESIRED, Layout

import jax.numpy as jnp  # isort: skip  # after the modules that set what must be set before JAX starts

CONFIDENCE = 0.95
HORIZONS = (1, 2, 5, 10, 20)  # steps
WINDOWS = 400  # rollouts that the open-loop error is the mean of, at most
TASKS = 50  # whose goals are compared
PAIRS = 2000


def scores(episodes: list[Episode]) -> dict[str, Any]:
    """What a set of episodes achieved: success with its interval, return, and every scalar of `info`."""
    out: dict[str, Any] = {"episodes": len(episodes)}
    outcomes = [episode.success for episode in episodes]
    if all(outcome is not None for outcome in outcomes):
        successes = sum(bool(outcome) for outcome in outcomes)
        out["success"] = round(successes / len(episodes), 4)
        out["success_interval"] = interval(successes, len(episodes))
    totals = np.array([episode.total for episode in episodes])
    out["return"] = _spread(totals)
    out["steps"] = round(float(np.mean([len(episode.actions) for episode in episodes])), 1)
    keys = sorted(set.intersection(*(set(episode.last) for episode in episodes)))
    out["info"] = {
        key: {
            "final": _spread(np.array([episode.last[key] for episode in episodes])),
            "max": _spread(np.array([episode.most[key] for episode in episodes])),
        }
        for key in keys
    }
    return out


def interval(successes: int, trials: int) -> list[float]:
    """Exact two-sided 95 % interval of a rate (Clopper & Pearson 1934)."""
    from scipy.stats import binomtest

    found = binomtest(successes, trials).proportion_ci(CONFIDENCE, method="exact")
    return [round(float(found.low), 4), round(float(found.high), 4)]


def _spread(values: np.ndarray) -> dict[str, float]:
    """Mean and its 95 % half width (normal approximation)."""
    half = 1.96 * values.std(ddof=1) / np.sqrt(len(values)) if len(values) > 1 else 0.0
    return {"mean": round(float(values.mean()), 4), "half_width": round(float(half), 4)}


def evaluation(
    name: str, layout: Layout, model: Model, runs: dict[str, list[Episode]], curve: list[dict[str, Any]]
) -> dict[str, Any]:
    """All figures of a trained model on episodes that no fit has seen."""
    return {
        "objective": objective(name, layout),
        **{kind: scores(episodes) for kind, episodes in runs.items()},
        "open_loop": {kind: open_loop(layout, model, episodes) for kind, episodes in runs.items()},
        "learning_curve": curve,
    }


def objective(name: str, layout: Layout) -> dict[str, Any]:
    """What is planned for. With goals it is their distance; says how often `compute_reward` orders goals alike.

    The environment's `compute_reward(achieved, desired, info)` cannot be differentiated or batched in general, so a
    planner that uses the distance instead says on sampled pairs of goals whether it means the same.
    """
    if layout.goal is None:
        return {"kind": "learned reward"}
    from robotctl.training.gym import environments

    world = environments.make(name)
    try:
        compute = getattr(world.unwrapped, "compute_reward", None)
        if compute is None:
            return {"kind": "distance of achieved_goal to desired_goal"}
        goals = [world.reset(seed=i)[0] for i in range(TASKS)]
        achieved = np.array([o[ACHIEVED] for o in goals] + [o[DESIRED] for o in goals])
        generator = np.random.default_rng(0)
        one, two, desired = (achieved[generator.integers(len(achieved), size=PAIRS)] for _ in range(3))
        gains = [np.array([float(compute(a, d, {})) for a, d in zip(x, desired, strict=True)]) for x in (one, two)]
        apart = [np.linalg.norm((x - desired).reshape(PAIRS, -1), axis=1) for x in (one, two)]
    finally:
        world.close()
    ordered = gains[0] != gains[1]
    alike = (gains[0] > gains[1]) == (apart[0] < apart[1])
    return {
        "kind": "distance of achieved_goal to desired_goal",
        "agrees_with_compute_reward": round(float(alike[ordered].mean()), 4) if ordered.any() else None,
        "pairs": int(ordered.sum()),
    }


def open_loop(layout: Layout, model: Model, episodes: list[Episode]) -> dict[str, Any]:
    """Error of rollouts by horizon beside that of "nothing moves": root mean square over coordinates, in their
    standard deviations; with goals also the mean distance of the achieved goal, in the environment's unit."""
    longest = max(HORIZONS)
    starts = [(e, t) for e in episodes for t in range(0, len(e.actions) - longest + 1, 5)]
    if not starts:
        longest = max([h for h in HORIZONS if h <= max(len(e.actions) for e in episodes)], default=1)
        starts = [(e, t) for e in episodes for t in range(0, len(e.actions) - longest + 1)]
    chosen = np.random.default_rng(0).permutation(len(starts))[:WINDOWS]
    # Filled up by repeating, so that one compilation serves all sets.
    picked = [starts[i] for i in np.resize(chosen, WINDOWS)]
    zero = np.zeros(layout.actions, np.float32)
    now = Moment(
        jnp.asarray(np.stack([e.states[t] for e, t in picked])),
        jnp.asarray(np.stack([e.states[t] - e.states[max(t - 1, 0)] for e, t in picked])),
        jnp.asarray(np.stack([e.actions[t - 1] if t else zero for e, t in picked])),
    )
    actions = np.stack([np.stack(e.actions[t : t + longest]) for e, t in picked], axis=1)
    truth = np.stack([np.stack(e.states[t + 1 : t + 1 + longest]) for e, t in picked], axis=1)
    told = np.asarray(dynamics.predict(model, now, jnp.asarray(actions))).mean(axis=0)
    spread = np.asarray(model.scale.spread)
    horizons = [h for h in HORIZONS if h <= longest]
    kept = slice(0, len(chosen))

    def error(guess: np.ndarray) -> list[float]:
        off = ((guess - truth) / spread)[:, kept]
        return [round(float(np.sqrt(np.mean(off[h - 1] ** 2))), 4) for h in horizons]

    still = np.broadcast_to(np.asarray(now.state), truth.shape)
    out = {"steps": horizons, "rollouts": len(chosen), "learned": error(told), "nothing_moves": error(still)}
    if layout.goal is not None:
        for kind, guess in (("learned", told), ("nothing_moves", still)):
            off = np.linalg.norm((guess - truth)[:, kept, layout.achieved], axis=-1).mean(axis=1)
            out[f"{kind}_achieved_goal"] = [round(float(off[h - 1]), 5) for h in horizons]
    return out


def text(answer: dict[str, Any]) -> list[str]:
    """A few lines for people."""
    found = answer["evaluation"]
    lines = [f"{answer['environment']}, seed {answer['seed']}, {answer['transitions']} transitions"]
    rows: list[tuple[str, str, str]] = []
    learned, chance = found["learned"], found["random"]
    if "success" in learned:
        rows.append(("success", _rate(learned), _rate(chance)))
    rows.append(("return", _mean(learned["return"]), _mean(chance["return"])))
    for key in sorted(set(learned["info"]) & set(chance["info"]) - {"is_success"}):
        for when in ("final", "max"):
            rows.append((f"{key}, {when}", _mean(learned["info"][key][when]), _mean(chance["info"][key][when])))
    lines.append(f"  {learned['episodes']:>4} episodes        {'learned, planned':<28}random actions")
    lines += [f"  {name:<20} {mine:<28}{other}" for name, mine, other in rows]
    for point in found["learning_curve"]:
        if "episodes" in point:
            said = f"success {_rate(point)}" if "success" in point else f"return {_mean(point['return'])}"
            lines.append(f"  after {point['transitions']:>6} transitions: {said} in {point['episodes']} episodes")
    loop = found["open_loop"]["learned"]
    pairs = zip(loop["steps"], loop["learned"], loop["nothing_moves"], strict=True)
    lines.append("  rollout error / nothing moves: " + ", ".join(f"{h} steps {a:.3f} / {b:.3f}" for h, a, b in pairs))
    return lines


def _rate(scored: dict[str, Any]) -> str:
    low, high = scored["success_interval"]
    return f"{scored['success']:.3f} [{low:.3f}, {high:.3f}]"


def _mean(spread: dict[str, float]) -> str:
    return f"{spread['mean']:.3f} ± {spread['half_width']:.3f}"
