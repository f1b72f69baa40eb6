"""The test rig: the scene's robot in the simulator, every command through the safety filter, every step recorded."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np

from robotctl.guardrails.guardrail import Assumptions, Guardrail
from robotctl.judge.grip import Grip
from robotctl.judge.machine import HAND, poses
from robotctl.judge.objects import object_bodies
from robotctl.perception import Estimator
from robotctl.safety.safety_filter import SafetyFilter
from robotctl.scene import Scene
from robotctl.simulation.bullet import BulletSimulator
from robotctl.state import N_JOINTS, Observation, State, Truth
from robotctl.trajectory import along_tick

FINGERS = frozenset({"panda_leftfinger", "panda_rightfinger", "panda_leftpad", "panda_rightpad"})


@dataclass(frozen=True)
class Recording:
    """What really happened, at N physics steps, beside the reference that was commanded."""

    dt: float  # [s]
    q: np.ndarray  # (N, 10)
    opening: np.ndarray  # (N,) [m]
    reference: np.ndarray  # (N, 10) at the same times
    torque: np.ndarray  # (N, 10) [N, N m]
    position: np.ndarray  # (N, 3) of the object that may be in the hand; NaN where there is none [m]
    quaternion: np.ndarray  # (N, 4)
    believed: np.ndarray  # (N, 4, 4) hand from object as the filter took it to be; NaN while it believed none
    gripped: np.ndarray  # (N,) bool: the judge saw the object held in the tick
    touched: np.ndarray  # (N,) bool: the robot touched something else than the object with its fingers

    def __len__(self) -> int:
        return len(self.q)

    def part(self, start: int, end: int | None = None) -> Recording:
        """Its rows from `start` to `end`."""
        rows = slice(start, end)
        arrays = {name: getattr(self, name)[rows] for name in self.__dataclass_fields__ if name != "dt"}
        return Recording(dt=self.dt, **arrays)


class Rig:
    """A simulator behind the safety filter. `step` takes a proposal, as the controller would make it."""

    def __init__(
        self,
        scene: Scene,
        assumptions: Assumptions,
        guardrails: Sequence[Guardrail] | None = None,
        thing: str | None = None,
    ) -> None:
        """`thing`: the item to be followed; guardrails None: commands go through as they are."""
        self.scene, self.thing = scene, thing
        self.simulator = BulletSimulator(scene)
        self._eyes = Estimator(scene)
        self._assumptions = assumptions
        self.filter: SafetyFilter | None = None
        if guardrails is not None:
            self.guard(guardrails)
        self._surface = {name: body.surface.points for name, body in object_bodies(scene).items()}
        self._grip = Grip({name: points for name, points in self._surface.items() if name == thing})
        self._rows: list[dict[str, np.ndarray]] = []
        self.state: State
        self.dt = 0.0

    def __enter__(self) -> Rig:
        return self

    def __exit__(self, *_: object) -> None:
        self.simulator.close()

    def guard(self, guardrails: Sequence[Guardrail]) -> None:
        """From now on other rules are in force; the robot must be at rest."""
        rules = SimpleNamespace(guardrails=guardrails, assumptions=self._assumptions)
        self.filter = SafetyFilter(rules, self.scene.kinds)

    def reset(self, seed: int) -> Observation:
        observation = self.simulator.reset(seed)
        self.state = self._eyes.update(observation)
        self._last = self.simulator.truth()
        return observation

    def step(self, proposal: np.ndarray | None) -> Observation:
        """One tick; None proposes nothing, so that the filter brakes."""
        before = self.state
        if self.filter is not None:
            action = self.filter.certify(before, proposal, "none").action
        else:
            assert proposal is not None
            action = np.asarray(proposal, float)
        observation = self.simulator.step(action)
        self.state = self._eyes.update(observation)
        self._record(before, action, self.simulator.truth())
        return observation

    def truth(self) -> Truth:
        return self.simulator.truth()

    @property
    def ticks(self) -> int:
        return len(self._rows)

    @property
    def steps(self) -> int:
        """Physics steps recorded so far."""
        return sum(len(row["q"]) for row in self._rows)

    @property
    def moving(self) -> bool:
        """Whether the reference moves."""
        return bool(np.any(self.state.robot.dq_ref))

    @property
    def held(self) -> bool:
        """Whether the judge sees the object in the hand."""
        return self._grip.held is not None

    def recording(self) -> Recording:
        """Everything since the start."""
        joined = {name: np.concatenate([row[name] for row in self._rows]) for name in self._rows[0]}
        return Recording(dt=self.dt, **joined)

    def _record(self, before: State, action: np.ndarray, truth: Truth) -> None:
        steps = len(truth.time)
        self.dt = float(truth.time[-1] - truth.time[-2])
        row = {
            "q": truth.q,
            "opening": truth.opening,
            "reference": along_tick(
                before.robot.q_ref, before.robot.dq_ref, action[:N_JOINTS], truth.time - before.time
            ),
            "torque": self.simulator.torques(),
            "position": np.full((steps, 3), np.nan),
            "quaternion": np.full((steps, 4), np.nan),
            "believed": np.full((steps, 4, 4), np.nan),
            "gripped": np.zeros(steps, bool),
            "touched": self._touched(truth),
        }
        if self.thing is not None:
            i = truth.object_names.index(self.thing)
            row["position"], row["quaternion"] = truth.object_position[:, i], truth.object_quaternion[:, i]
            held = before.robot.held
            if held is not None and held.name == self.thing:
                row["believed"] = np.tile(held.T_hand_object, (steps, 1, 1))
            row["gripped"] = np.full(steps, self._see(truth))
        self._rows.append(row)
        self._last = truth

    def _see(self, truth: Truth) -> bool:
        """Whether the judge sees the object held at the end of the tick."""
        i = [truth.object_names.index(self.thing)] if self.thing is not None else []
        hands = poses(np.stack([self._last.q[-1], truth.q[-1]]), np.full(2, truth.opening[-1]))[:, HAND]
        before, now = ((t.object_position[-1][i], t.object_quaternion[-1][i]) for t in (self._last, truth))
        names = tuple(truth.object_names[k] for k in i)
        return self._grip.update(hands[0], hands[1], float(truth.opening[-1]), names, before, now) is not None

    def _touched(self, truth: Truth) -> np.ndarray:
        """Steps in which the robot touches something else than the object with its fingers."""
        found = np.zeros(len(truth.time), bool)
        for contact in truth.contacts:
            if contact.other == self.thing and (contact.link in FINGERS or contact.link == "panda_hand"):
                continue
            found |= np.abs(truth.time - contact.time) < 1e-6
        return found


Progress = Callable[[str], None]
