"""The safety filter: no action is executed unless the robot can still stop safely after it.

Each tick the proposed velocity is tried as a path: this tick to the proposed velocity, then a synchronised
brake to rest. The worst case of that path (see robotctl.safety.tube) must satisfy every guardrail in force:
every margin >= 0, so that NaN is unsafe. If it does not, the robot follows the brake that was verified last; and in
the ticks after that the same is tried with half of the proposal's difference to braking, too, or a quarter where half
has failed, until a proposal passes in full again. So two paths a tick bound the time that the filter takes.

Invariant. Before every tick, either the reference is at rest, or the stored brake leads it to rest and was part
of a path whose tube satisfied every guardrail then in force.
Base. At rest the stored brake is empty.
Step. If a candidate is accepted, its first tick is executed and its remainder is stored: both were verified
together. If none is accepted, the first tick of the stored brake is executed and its remainder stays stored.
Nothing else moves the reference: it is the exact integral of the commands.
Hence every executed tick was part of a verified tube. The tube over-approximates the true motion of robot and
people while the assumptions hold, whatever is sensed later, so each guardrail holds at every instant the robot
moves. At rest the guardrails on motion hold by definition and the others hold because the last instant of the
brake was verified.

Recovery. A guardrail on places (furniture, regions, tilt, joint positions) can be broken where the invariant
does not reach: at the start, or when an object has just been gripped. Then a motion passes if it is slow
(RECOVERY_SPEED) and no entry that is broken now gets any worse at the samples; all others must hold in full.
Otherwise the robot could never leave such a place. Guardrails on motion have no recovery: at rest they hold.

Fingers are commanded apart; what they may close on and where they may open: robotctl.safety.fingers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from robotctl.guardrails.blade_speed import BladeSpeed
from robotctl.guardrails.clearance import Boxes, Clearance
from robotctl.guardrails.guardrail import Assumptions, Guardrail, in_force
from robotctl.guardrails.hot import Hot
from robotctl.guardrails.joint_limits import JointLimits
from robotctl.guardrails.keep_out import KeepOut
from robotctl.guardrails.separation import Separation
from robotctl.guardrails.undisturbed import Undisturbed
from robotctl.guardrails.upright import Upright
from robotctl.robot import BRAKE, DQ_MAX, STROKE, RobotModel
from robotctl.safety.brake import brake_velocities
from robotctl.safety.fingers import Kind, permitted_opening, things_around
from robotctl.safety.tube import Tube, levers, worst_case
from robotctl.safety.verdict import Verdict
from robotctl.state import N_ACTIONS, N_JOINTS, TICK, Held, State

SLOWER = (0.5, 0.25)  # of the proposal's difference to braking: tried after a proposal has failed in full
LIMIT_SHARE = 0.92  # of the joint speed and acceleration limits: drives may be faster than their reference
JOINT_ERROR = 0.025  # how far a joint may be from its reference, friction and payload included [m, rad]
RECOVERY_SPEED = 0.10  # [m/s] for any point of the robot
NEAR = 0.10  # boxes farther than this from the robot are left out; margins beyond it are reported as this [m]


class Rules(Protocol):
    """What the filter needs of a guardrail file (guardrails.load.GuardrailSet)."""

    @property
    def guardrails(self) -> Sequence[Guardrail]: ...

    @property
    def assumptions(self) -> Assumptions: ...


@dataclass(frozen=True)
class _Check:
    """One candidate's result."""

    passed: bool
    margins: dict[str, float]
    tightest: str  # the guardrail with the smallest margin
    broken: str  # the first guardrail that failed, "" when passed


class _Bounds:
    """Axis-aligned bounds of the boxes of guardrails, to leave out those that are far away."""

    def __init__(self, guardrails: Sequence[Clearance | KeepOut]) -> None:
        self._guardrails = guardrails
        self._ends = np.cumsum([0, *(len(g.boxes.center) for g in guardrails)])
        self._low = self._high = np.zeros((0, 3))
        for g in guardrails:
            reach = NEAR + (g.distance if isinstance(g, Clearance) else 0.0)
            extent = (np.abs(g.boxes.rotation) * g.boxes.half[:, None, :]).sum(axis=-1)
            self._low = np.concatenate([self._low, g.boxes.center - extent - reach])
            self._high = np.concatenate([self._high, g.boxes.center + extent + reach])
        self._last: tuple[bytes | None, dict[int, Clearance | KeepOut]] = None, {}  # which are far; what it made

    def nearby(self, low: np.ndarray, high: np.ndarray) -> dict[int, Clearance | KeepOut]:
        """By its id, each guardrail with only those boxes that can be within NEAR of what lies between low and high."""
        far = np.maximum(self._low - high, low - self._high).max(axis=1) > 0.0  # NaN stays near
        which = far.tobytes()
        if which == self._last[0]:
            return self._last[1]
        out = {}
        for i, guardrail in enumerate(self._guardrails):
            near, boxes = np.flatnonzero(~far[self._ends[i] : self._ends[i + 1]]), guardrail.boxes
            boxes = Boxes(boxes.center.take(near, 0), boxes.rotation.take(near, 0), boxes.half.take(near, 0))
            out[id(guardrail)] = replace(guardrail, boxes=boxes)
        self._last = which, out
        return out


class SafetyFilter:
    """Certifies one action per tick; keeps the brake verified last."""

    def __init__(self, rules: Rules, kinds: Mapping[str, Kind]) -> None:
        self._assumptions = rules.assumptions
        self._kinds = kinds
        self._guardrails = tuple(_reserved(g) for g in rules.guardrails)
        fraction = min((g.fraction for g in self._guardrails if isinstance(g, JointLimits)), default=LIMIT_SHARE)
        self._speed_limit = DQ_MAX * fraction * (1.0 - 1e-9)
        self._acceleration_limit = BRAKE * fraction * (1.0 - 1e-9)
        self._boxes = _Bounds([g for g in self._guardrails if isinstance(g, Clearance | KeepOut)])
        # Beyond this distance to people every speed limit has reached its ceiling.
        self._horizon = max(
            (g.radius + g.v_max / g.slope for g in self._guardrails if isinstance(g, Separation | BladeSpeed | Hot)),
            default=0.0,
        )
        self._left_alone = frozenset[str]().union(*(g.items for g in self._guardrails if isinstance(g, Undisturbed)))
        self._bare = RobotModel()
        self._bare_lever = levers(self._bare)
        self._applies: tuple[Held | None, str, tuple[Guardrail, ...]] | None = None
        self._held: Held | None = None
        self._robot, self._lever = self._bare, self._bare_lever
        self._brake = np.zeros((0, N_JOINTS))  # velocities at the ends of the coming ticks
        self._start: tuple[np.ndarray, np.ndarray] | None = None  # reference the stored brake begins at
        self._scales: tuple[float, ...] = (1.0,)  # of the proposal's difference to braking, tried in the next tick
        self._opening = np.nan  # finger opening commanded last [m]

    def certify(self, state: State, action: np.ndarray | None, skill: str) -> Verdict:
        """The action to execute in the tick that begins at `state`, for the proposed `action` (11,)."""
        reference = state.robot
        if np.isnan(self._opening):
            self._opening = float(np.clip(np.nan_to_num(reference.opening), 0.0, STROKE))
        if not (np.isfinite(reference.q_ref).all() and np.isfinite(reference.dq_ref).all()):
            return self._stand("the reference is not finite")
        proposal, complaint = _read(action)
        robot = self._model(reference.held)
        refused = ""
        if proposal is not None:
            self._opening, refused = permitted_opening(
                self._guardrails, self._kinds, self._assumptions, state, robot, skill,
                min(max(float(proposal[N_JOINTS]), 0.0), STROKE), self._opening,
            )  # fmt: skip
        fresh = brake_velocities(reference.dq_ref, self._acceleration_limit)
        slowest = fresh[0] if len(fresh) else np.zeros(N_JOINTS)
        if proposal is None:
            return self._follow(state, fresh, complaint, {}, "")
        wanted = proposal[:N_JOINTS]
        step = self._acceleration_limit * TICK
        limited = np.clip(wanted, reference.dq_ref - step, reference.dq_ref + step)
        limited = np.clip(limited, -self._speed_limit, self._speed_limit)
        clipped = bool(np.abs(limited - wanted).max() > 1e-6)
        if len(fresh) == 0 and not limited.any():
            self._store(state, fresh, np.zeros(N_JOINTS))
            return self._verdict(np.zeros(N_JOINTS), bool(refused), refused, {}, "", 1.0, False)
        if robot is None:
            return self._follow(state, fresh, f"unknown kind of object in the hand: {reference.held}", {}, "")

        scales = self._scales
        paths = [self._path(limited if scale == 1.0 else slowest + scale * (limited - slowest)) for scale in scales]
        checks = self._check(robot, state, paths, skill)
        self._scales = self._next_scales(checks)
        for scale, path, check in zip(scales, paths, checks, strict=True):
            if check.passed:
                velocity = path[0]
                self._store(state, path[1:], velocity)
                reason = (
                    checks[0].broken or refused or ("limited to the joints' speed and acceleration" if clipped else "")
                )
                return self._verdict(velocity, bool(reason), reason, check.margins, check.tightest, scale, False)
        return self._follow(state, fresh, checks[0].broken, checks[0].margins, checks[0].tightest)

    def _path(self, velocity: np.ndarray) -> np.ndarray:
        """Velocities (n, 10) at tick ends: this tick's, then those of the brake after it."""
        return np.concatenate([velocity[None], brake_velocities(velocity, self._acceleration_limit)])

    def _next_scales(self, checks: list[_Check]) -> tuple[float, ...]:
        """In full; and slower once that has failed, slower still once half has failed, too."""
        if checks[0].passed:
            return (1.0,)
        return 1.0, SLOWER[len(checks) > 1 and not checks[1].passed]

    def _check(self, robot: RobotModel, state: State, paths: list[np.ndarray], skill: str) -> list[_Check]:
        """Verify each path: this tick and the brake after it."""
        tube = worst_case(
            robot, self._lever, state.robot, paths, state.people, state.time, self._assumptions, self._horizon
        )
        low, high = tube.bounds()
        if self._left_alone:
            tube = self._with_things(tube, state, low, high)
        rows = []
        first = np.array([span.start for span in tube.spans])
        nearby = self._boxes.nearby(low, high)
        for guardrail in self._in_force(state.robot.held, skill):
            if isinstance(guardrail, Clearance | KeepOut):
                guardrail = nearby[id(guardrail)]
            margin = guardrail.margin(tube.sweep, robot)
            lowest = margin.min(axis=1, initial=np.inf)  # NaN stays
            smallest = np.minimum.reduceat(lowest, first)  # of each candidate
            rows.append((guardrail, margin, smallest))
        return [self._judge(robot, tube, i, rows) for i in range(len(first))]

    def _with_things(self, tube: Tube, state: State, low: np.ndarray, high: np.ndarray) -> Tube:
        """The tube with the things that are to be left alone, as far as they can be within NEAR of it."""
        names, center, radius = things_around(
            self._left_alone, self._kinds, self._assumptions, state, low - NEAR, high + NEAR
        )
        sweep = replace(tube.sweep, thing_names=names, thing_center=center, thing_radius=radius)
        return replace(tube, sweep=sweep)

    def _judge(
        self, robot: RobotModel, tube: Tube, candidate: int, rows: list[tuple[Guardrail, np.ndarray, np.ndarray]]
    ) -> _Check:
        """Whether one candidate of the tube passes: rules, all their margins, the smallest of each candidate."""
        span = tube.spans[candidate]
        margins: dict[str, float] = {}
        broken = ""
        for guardrail, margin, lowest in rows:
            smallest = float(lowest[candidate])
            if isinstance(guardrail, Clearance | KeepOut | Undisturbed) and smallest > NEAR:
                smallest = NEAR
            name = guardrail.header.id
            margins[name] = min(smallest, margins.get(name, np.inf))
            if not smallest >= 0 and not broken and not _recovers(guardrail, robot, tube, span, margin[span]):
                broken = name
        tightest = ""
        for name, value in margins.items():
            if not tightest or not (margins[tightest] <= value or np.isnan(margins[tightest])):  # NaN is the smallest
                tightest = name
        return _Check(not broken, margins, tightest, broken)

    def _in_force(self, held: Held | None, skill: str) -> tuple[Guardrail, ...]:
        """The guardrails whose scope applies; worked out anew when something else is held or done."""
        if self._applies is None or self._applies[0] is not held or self._applies[1] != skill:
            self._applies = held, skill, in_force(self._guardrails, held, skill)
        return self._applies[2]

    def _model(self, held: Held | None) -> RobotModel | None:
        """The robot with what it holds; None when the kind is not known."""
        if held is None:
            self._held, self._robot, self._lever = None, self._bare, self._bare_lever
        elif held is not self._held:
            kind = self._kinds.get(held.kind)
            if kind is None or not np.isfinite(held.T_hand_object).all():
                return None
            self._robot = RobotModel().holding(held, kind.spheres[:, :3], kind.spheres[:, 3], kind.blade, kind.slip)
            self._held, self._lever = held, levers(self._robot, self._assumptions.object_error)
        return self._robot

    def _store(self, state: State, brake: np.ndarray, velocity: np.ndarray) -> None:
        """Remember the brake that begins where this tick, ending with `velocity`, will leave the reference."""
        q, dq = state.robot.q_ref, state.robot.dq_ref
        self._brake = brake
        self._start = (q + 0.5 * TICK * (dq + velocity), velocity)

    def _follow(
        self, state: State, fresh: np.ndarray, reason: str, margins: dict[str, float], tightest: str
    ) -> Verdict:
        """The next tick of the stored brake; a fresh brake if the reference is not where it was left."""
        brake = self._brake
        if not self._is_where_left(state):
            brake = fresh
            if len(fresh):
                reason += "; the reference moved by other means: unverified brake"
        velocity = brake[0] if len(brake) else np.zeros(N_JOINTS)
        self._store(state, brake[1:], velocity)
        return self._verdict(velocity, True, reason, margins, tightest, 0.0, not velocity.any())

    def _is_where_left(self, state: State) -> bool:
        if self._start is None:
            return False
        q, dq = self._start
        near_q = np.abs(state.robot.q_ref - q).max() < 1e-6
        return bool(near_q and np.abs(state.robot.dq_ref - dq).max() < 1e-6)

    def _stand(self, reason: str) -> Verdict:
        self._brake, self._start = np.zeros((0, N_JOINTS)), None
        return self._verdict(np.zeros(N_JOINTS), True, reason, {}, "", 0.0, True)

    def _verdict(
        self,
        velocity: np.ndarray,
        intervened: bool,
        reason: str,
        margins: dict[str, float],
        tightest: str,
        scale: float,
        stopped: bool,
    ) -> Verdict:
        action = np.concatenate([velocity, [self._opening]])
        margin = margins[tightest] if tightest else np.inf
        return Verdict(action, intervened, reason, margin, tightest, scale, stopped, margins)


def _read(action: np.ndarray | None) -> tuple[np.ndarray | None, str]:
    """The proposal as an array (11,), or None and what is wrong with it."""
    if action is None:
        return None, "no action proposed"
    try:
        proposal = np.asarray(action, dtype=float)
    except (TypeError, ValueError):
        return None, "the proposed action is not an array of numbers"
    if proposal.shape != (N_ACTIONS,):
        return None, f"the proposed action has shape {proposal.shape}, not ({N_ACTIONS},)"
    if not np.isfinite(proposal).all():
        return None, "the proposed action is not finite"
    return proposal, ""


def _reserved(guardrail: Guardrail) -> Guardrail:
    """Joint limits with a reserve for what the drives do beyond their reference."""
    if isinstance(guardrail, JointLimits):
        return replace(guardrail, fraction=guardrail.fraction * LIMIT_SHARE, position_error=JOINT_ERROR)
    return guardrail


def _recovers(guardrail: Guardrail, robot: RobotModel, tube: Tube, span: slice, margin: np.ndarray) -> bool:
    """Whether the rows that are negative are broken already at the start and do not get worse on the way."""
    if not isinstance(guardrail, Clearance | KeepOut | Undisturbed | Upright | JointLimits):
        return False
    places = margin.shape[1]
    if isinstance(guardrail, JointLimits):
        places = 2 * N_JOINTS  # the rest limits speed and acceleration
    if not np.all(margin[:, places:] >= 0):
        return False
    broken = ~(margin[0, :places] >= 0)
    if not np.all(margin[:, :places][:, ~broken] >= 0):
        return False
    sweep = tube.at_samples()
    slow = sweep.speed[span].max() - sweep.trajectory.speed_bound[0] <= RECOVERY_SPEED
    course = guardrail.margin(sweep, robot)[span][:, :places][:, broken]
    return bool(slow and np.all(np.diff(course, axis=0) >= -1e-9))
