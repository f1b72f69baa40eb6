"""One task as a Gymnasium environment: the real simulator, the robot's own senses, the judge's reward and cost.

A policy takes the place of the planner. With the shield, every action goes through the project's safety filter, and
what is executed is certified; without it, the environment is the raw machine, on which any policy can be measured. In
both cases the judge says from ground truth what happened, and none of that truth is in an observation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from os import PathLike
from typing import Any

import gymnasium
import numpy as np

from robotctl.drawing.camera import overview
from robotctl.drawing.portrait import Portraitist
from robotctl.environments import drives, spaces
from robotctl.errors import UsageError, nearest
from robotctl.guardrails.load import GuardrailSet, find_guardrails, load_guardrails
from robotctl.judge import Judge, JudgeVerdict
from robotctl.judge.record import ROUNDING
from robotctl.perception import Estimator
from robotctl.safety.safety_filter import SafetyFilter
from robotctl.safety.verdict import Verdict
from robotctl.simulation.bullet import BulletSimulator
from robotctl.state import N_JOINTS, TICK, Observation, State, Truth
from robotctl.task import load_task, spoken_of
from robotctl.trajectory import along_tick

PEOPLE = ("default", "none")
RENDER_MODES = ("rgb_array",)
STILL = 1e-3  # commanded joint speed below which the robot is told to stand [m/s, rad/s]
REST = 0.02  # true joint speed below which it stands: drives that hold their place tremble [m/s, rad/s]

File = str | PathLike[str]


class TaskEnv(gymnasium.Env[dict[str, np.ndarray], np.ndarray]):
    """`task` by name or file. See docs/environments.md for spaces, reward, cost and info.

    shield      every action goes through the safety filter; False: it is executed as it is
    people      "default": the task's people; "none": nobody, in observations of the same shape
    guardrails  names or files, in addition to the task's own
    render_mode "rgb_array": `render` returns a picture (height, width, 3) uint8
    """

    metadata = {"render_modes": list(RENDER_MODES), "render_fps": round(1.0 / TICK)}

    def __init__(
        self,
        task: File = "kitchen/clear-table",
        shield: bool = True,
        people: str = "default",
        guardrails: File | Sequence[File] = (),
        render_mode: str | None = None,
        width: int = 640,
        height: int = 360,
    ) -> None:
        if people not in PEOPLE:
            raise UsageError(f"people: '{people}' is unknown{nearest(str(people), PEOPLE)}")
        if render_mode is not None and render_mode not in RENDER_MODES:
            raise UsageError(f"render_mode: '{render_mode}' is unknown{nearest(str(render_mode), RENDER_MODES)}")
        if not (16 <= width <= 4096 and 16 <= height <= 4096):
            raise UsageError(f"width, height: 16 to 4096 pixels each, got {width} x {height}")
        self.task = load_task(task)
        files = [guardrails] if isinstance(guardrails, str | PathLike) else list(guardrails)
        added = [find_guardrails(str(file)) for file in files]
        self.guardrails = load_guardrails(
            (*self.task.guardrail_files, *added), self.task.scene, None, spoken_of(self.task)
        )
        self.shield = bool(shield)
        self.render_mode = render_mode
        self.action_space = spaces.action_space()
        self.observation_space = spaces.observation_space(self.task)  # type: ignore[assignment]  # Space is invariant
        self._size = width, height
        self._simulator = BulletSimulator(self.task.scene, () if people == "none" else self.task.people)
        self._portraitist: Portraitist | None = None  # made with the first picture
        self._state: State | None = None  # believed now; None before the first reset

    @property
    def sensed(self) -> Observation:
        """What the sensors delivered last, as the project's own Controller takes it."""
        self._ready()
        return self._sensed

    @property
    def state(self) -> State:
        """What is believed now: the observation with its names."""
        return self._ready()

    def verdict(self) -> JudgeVerdict:
        """The judge's verdict on the episode up to now, from ground truth."""
        self._ready()
        return self._judge.verdict()

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """A new episode. The same `seed` gives the world of `robotctl run TASK --seed`; None draws one."""
        super().reset(seed=seed)
        if options:
            raise UsageError(f"reset takes no options, got {', '.join(map(repr, options))}")
        self._seed = int(self.np_random.integers(2**31)) if seed is None else seed
        task = self.task
        self._sensed = self._simulator.reset(self._seed)
        self._estimator = Estimator(task.scene)
        self._filter = SafetyFilter(_whatever_the_skill(self.guardrails), task.scene.kinds) if self.shield else None
        self._judge = Judge(task.scene, self.guardrails, task)
        self._state = self._estimator.update(self._sensed)
        margins = self._judge.observe_tick(self._simulator.truth(), self._sensed.commanded_position[None])
        self._satisfied = len(self._judge.objective()[0])
        standing = np.append(np.zeros(N_JOINTS), self._sensed.finger_opening)
        return spaces.observe(task, self._state), self._info(margins, Verdict.unfiltered(standing), False)

    def step(self, action: np.ndarray) -> tuple[dict[str, np.ndarray], float, bool, bool, dict[str, Any]]:
        """One control tick of 50 ms. With the shield an action that is not finite brakes the robot."""
        state = self._ready()
        verdict = self._decide(state, spaces.read_action(action))
        before = self._sensed
        self._sensed = self._simulator.step(verdict.action)
        self._state = self._estimator.update(self._sensed)
        truth = self._simulator.truth()
        reference = along_tick(
            before.commanded_position, before.commanded_velocity, verdict.action[:N_JOINTS], truth.time - before.time
        )
        margins = self._judge.observe_tick(truth, reference)
        satisfied, unsatisfied = self._judge.objective()
        reward = float(len(satisfied) - self._satisfied)
        self._satisfied = len(satisfied)
        success = not unsatisfied and _at_rest(self._sensed, truth)
        truncated = self._sensed.time >= self.task.within - 1e-9
        info = self._info(margins, verdict, success)
        return spaces.observe(self.task, self._state), reward, success, truncated, info

    def render(self) -> np.ndarray | None:  # type: ignore[override]
        """A picture (height, width, 3) uint8 of the whole scene; None without a render mode."""
        self._ready()
        if self.render_mode is None:
            gymnasium.logger.warn('render() needs gymnasium.make(..., render_mode="rgb_array")')
            return None
        width, height = self._size
        if self._portraitist is None:
            self._portraitist = Portraitist(self.task.scene, overview(self.task.scene))
        return self._portraitist.picture(self._simulator.truth(), width, height)

    def close(self) -> None:
        """Frees the physics engine; a reset builds it anew."""
        self._simulator.close()
        self._state = None

    def _ready(self) -> State:
        if self._state is None:
            raise UsageError("the environment must be reset first")
        return self._state

    def _decide(self, state: State, action: np.ndarray) -> Verdict:
        """What is executed for a normalised action (11,)."""
        if self._filter is not None:
            return self._filter.certify(state, spaces.physical(action), "none")
        if not np.isfinite(action).all():
            bad = int(np.flatnonzero(~np.isfinite(action))[0])
            raise UsageError(f"action[{bad}] is {action[bad]}: without the shield every entry must be finite")
        return Verdict.unfiltered(drives.accepted(spaces.physical(action), state.robot))

    def _info(self, margins: dict[str, float], verdict: Verdict, success: bool) -> dict[str, Any]:
        return {
            "cost": float(sum(not margin >= -ROUNDING for margin in margins.values())),
            "margins": margins,
            "is_success": success,
            "conditions_met": self._satisfied,
            "intervened": verdict.intervened,
            "reason": verdict.reason,
            "executed": spaces.normalised(verdict.action).astype(np.float32),
            "seed": self._seed,
        }


def _at_rest(sensed: Observation, truth: Truth) -> bool:
    told = np.abs(sensed.commanded_velocity).max() < STILL
    return bool(told and np.abs(truth.dq[-1]).max() < REST)


def _whatever_the_skill(rules: GuardrailSet) -> GuardrailSet:
    """The rules with those scoped to a skill in force always, as the judge takes them: a policy announces no skill."""

    def always(rule: Any) -> Any:
        scope = replace(rule.header.scope, skill=frozenset())
        return replace(rule, header=replace(rule.header, scope=scope))

    return replace(rules, guardrails=tuple(always(rule) for rule in rules.guardrails))
