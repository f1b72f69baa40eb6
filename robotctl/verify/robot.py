"""Does the machine do what the safety case assumes of it? Measures in the simulator, at every physics step.

The robot moves at random as far as the filter lets it, with nothing in its hand and with everything that it can hold,
brakes from its largest speeds, and touches things; what is assumed of spheres and sensors is held against models and
readings. Same seed, same figures.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Any, Protocol

import numpy as np

from robotctl.guardrails.guardrail import Assumptions, Guardrail
from robotctl.robot import ROBOT_SPHERES, Spheres
from robotctl.scene import ObjectKind, Scene
from robotctl.skills.gripping import lift_load
from robotctl.state import N_JOINTS, TICK
from robotctl.verify.braking import Brake, brake, braking_checks, ways
from robotctl.verify.check import Check, at_least
from robotctl.verify.contact import Touching, cuts, drags, presses, pushes, scrapes
from robotctl.verify.coverage import object_checks, robot_checks
from robotctl.verify.gripping import back_off, empty_room, heaviest, liftable, plan_lift, rig_for, stop, take
from robotctl.verify.holding import holding_checks
from robotctl.verify.motions import Apart, Restless, free_rules, limits_only, random_posture
from robotctl.verify.rig import Recording, Rig
from robotctl.verify.sensing import sensing_checks
from robotctl.verify.tracking import tracking, tracking_checks

SCHEMA = "robotctl/verify-robot.v1"
MOTIONS = 24
LASTS, CARRIES = 4.0, 3.0  # a motion with an empty hand, and with something in it [s]
BRAKES = 6  # of all joints together, beside those of each alone
FREE, LIMITS, CARRY, BRAKE, BRAKE_LOADED, CONTACT, SENSE = range(7)  # which stream of random numbers is whose
EMPTY, ALONE, LOADED = "empty hand", "empty hand, joint limits alone", "something in the hand"


class Rules(Protocol):
    """What is needed of a guardrail file (guardrails.load.GuardrailSet)."""

    @property
    def guardrails(self) -> Sequence[Guardrail]: ...

    @property
    def assumptions(self) -> Assumptions: ...


@dataclass
class Found:
    """What has been recorded so far."""

    free: list[Recording] = field(default_factory=list)
    alone: list[Recording] = field(default_factory=list)
    carried: list[tuple[Recording, ObjectKind]] = field(default_factory=list)
    kept: dict[str, bool] = field(default_factory=dict)  # kind -> held to the end
    brakes: list[Brake] = field(default_factory=list)
    loaded: list[Brake] = field(default_factory=list)
    touching: list[Touching] = field(default_factory=list)
    touches: int = 0  # motions left out because the robot touched something


Job = Callable[[], None]


def verify_robot(
    scene: Scene,
    rules: Rules,
    seed: int = 0,
    motions: int = MOTIONS,
    progress: Callable[[int, int], None] | None = None,
    spheres: Spheres = ROBOT_SPHERES,
) -> dict[str, Any]:
    """All checks of a scene's robot against a guardrail file. progress: called with jobs done and jobs in all."""
    found = Found()
    jobs = [*_jobs(scene, rules, seed, motions, found)]
    for done, job in enumerate(jobs):
        if progress is not None:
            progress(done, len(jobs))
        job()
    assumed, limit = rules.assumptions, scene.actuators.torque_limit
    left_out = f"{found.touches} motions, with a load or without, touched something and are left out"
    checks = [
        *tracking_checks(EMPTY, found.free, assumed, limit, left_out if found.touches else ""),
        *tracking_checks(ALONE, found.alone, assumed, limit),
        *loaded_checks(found.carried, assumed, limit),
        *grip_check(found.kept),
        *brake_checks("empty hand", found.brakes, assumed, limit),
        *brake_checks(f"{_heaviest_name(scene)} in the hand", found.loaded, assumed, limit),
        *contact_checks(found.touching, assumed, limit),
        *robot_checks(spheres),
        *object_checks(scene),
        *sensing_checks(scene, assumed, np.random.default_rng([seed, SENSE])),
    ]
    if progress is not None:
        progress(len(jobs), len(jobs))
    return {
        "schema": SCHEMA,
        "scene": scene.name,
        "seed": seed,
        "motions": motions,
        "checks": [check.to_dict() for check in checks],
        "holds": all(check.holds for check in checks),
    }


def _jobs(scene: Scene, rules: Rules, seed: int, motions: int, found: Found) -> Iterator[Job]:
    """Everything that is to be recorded, piece by piece."""
    assumed = rules.assumptions
    room = empty_room(scene)

    def free(k: int, stream: int, guardrails: Sequence[Guardrail], into: list[Recording]) -> Job:
        def job() -> None:
            generator = np.random.default_rng([seed, stream, k])
            recording = free_motion(room, assumed, guardrails, generator)
            if recording.touched.any():
                found.touches += 1
            else:
                into.append(recording)

        return job

    for k in range(motions):
        yield free(k, FREE, free_rules(rules.guardrails), found.free)
    for k in range(max(1, motions // 3)):
        yield free(k, LIMITS, (*limits_only(), Apart()), found.alone)

    kinds = [kind for kind in liftable(scene) if lift_load(kind, scene.actuators) < 1.0]
    for n, kind in enumerate(kinds):

        def carry(n: int = n, kind: ObjectKind = kind) -> None:
            generator = np.random.default_rng([seed, CARRY, n])
            recordings, kept = carry_motions(scene, rules, kind, max(1, motions // 8), generator)
            alone = [recording for recording in recordings if not recording.touched.any()]
            found.touches += len(recordings) - len(alone)
            found.carried += [(recording, kind) for recording in alone]
            found.kept[kind.name] = kept

        yield carry

    yield lambda: found.brakes.extend(free_brakes(room, assumed, np.random.default_rng([seed, BRAKE])))
    if kinds:
        load = heaviest(kinds)
        yield lambda: found.loaded.extend(
            loaded_brakes(scene, assumed, load, np.random.default_rng([seed, BRAKE_LOADED]))
        )
    count = max(1, motions // 12)
    from_above = [kind for kind in kinds if all(grasp.kind != "edge" for grasp in kind.grasps)]
    sources = [pushes, drags, cuts, presses]
    for n, source in enumerate(sources):
        yield lambda n=n, source=source: found.touching.extend(  # type: ignore[misc]
            source(scene, assumed, count, np.random.default_rng([seed, CONTACT, n]))
        )
    for n, kind in enumerate(sorted(from_above, key=lambda k: -k.mass)[:count]):
        yield lambda n=n, kind=kind: found.touching.extend(  # type: ignore[misc]
            scrapes(scene, assumed, kind, 1, np.random.default_rng([seed, CONTACT, len(sources) + n]))
        )


def free_motion(
    room: Scene, assumed: Assumptions, guardrails: Sequence[Guardrail], generator: np.random.Generator
) -> Recording:
    """A random motion from a random posture, with nothing around."""
    with Rig(replace(room, robot_start=random_posture(generator)), assumed, guardrails) as rig:
        rig.reset(0)
        restless = Restless(generator, float(generator.uniform(0.0, 0.08)))
        for _ in range(round(LASTS / TICK)):
            rig.step(restless.propose())
        return rig.recording()


def carry_motions(
    scene: Scene, rules: Rules, kind: ObjectKind, count: int, generator: np.random.Generator
) -> tuple[list[Recording], bool]:
    """Random motions with a thing in the hand, and whether it was there to the end."""
    lift = plan_lift(scene, kind, generator)
    if lift is None:
        return [], False
    with rig_for(lift, rules.assumptions) as rig:
        if not take(rig, lift, 0):
            return [], False
        back_off(rig)
        rig.guard(free_rules(rules.guardrails, (lift.stand,)))
        recordings = []
        for _ in range(count):
            start = rig.steps
            restless = Restless(generator, 0.0)
            for _ in range(round(CARRIES / TICK)):
                rig.step(restless.propose())
            stop(rig)
            recordings.append(rig.recording().part(start))
        return recordings, rig.held


def free_brakes(room: Scene, assumed: Assumptions, generator: np.random.Generator) -> Iterator[Brake]:
    """The brake of each joint and of all, each from a random posture, with an empty hand."""
    for way in ways(BRAKES, generator):
        with Rig(replace(room, robot_start=random_posture(generator)), assumed, (*limits_only(), Apart())) as rig:
            rig.reset(0)
            yield brake(rig, way, 0.04)


def loaded_brakes(
    scene: Scene, assumed: Assumptions, kind: ObjectKind, generator: np.random.Generator
) -> Iterator[Brake]:
    """The same one after the other with a thing in the hand, as long as it is there."""
    lift = plan_lift(scene, kind, generator)
    if lift is None:
        return
    with rig_for(lift, assumed) as rig:
        if not take(rig, lift, 0):
            return
        back_off(rig)
        rig.guard((*limits_only(), Apart((lift.stand,))))
        for way in ways(BRAKES, generator):
            one = brake(rig, way, 0.0)
            if not rig.held:  # it slipped out of the hand: the rest would be brakes without it
                return
            yield one


def loaded_checks(
    carried: Sequence[tuple[Recording, ObjectKind]], assumed: Assumptions, limit: np.ndarray
) -> list[Check]:
    """Tracking with something in the hand, with the worst kinds named, and the thing itself."""
    worst: dict[str, dict[str, float]] = {"tracking_error": {}, "tracking_speed_error": {}, "joint_error": {}}
    for name, group in groupby(carried, key=lambda entry: entry[1].name):
        found = [tracking(recording, assumed) for recording, _ in group]
        for check, values in (
            ("tracking_error", "error"),
            ("tracking_speed_error", "faster"),
            ("joint_error", "joint"),
        ):
            worst[check][name] = 1e3 * max(float(getattr(t, values).max()) for t in found)
    checks = tracking_checks(LOADED, [recording for recording, _ in carried], assumed, limit)
    named = [replace(check, note=_ranked(worst[check.name])) if check.name in worst else check for check in checks]
    return named + holding_checks(LOADED, carried, assumed)


def grip_check(kept: dict[str, bool]) -> list[Check]:
    """Were all kinds that can be lifted measured with? What slips out of the hand verifies nothing."""
    lost = ", ".join(name for name, held in kept.items() if not held)
    values = np.array([float(held) for held in kept.values()])
    note = f"lost: {lost}" if lost else ""
    return [at_least("held_to_the_end", LOADED, 1.0, values, "share", "kinds", note=note)] if kept else []


def brake_checks(load: str, brakes: Sequence[Brake], assumed: Assumptions, limit: np.ndarray) -> list[Check]:
    """Tracking while the joints speed up and while they brake, and when and where the robot is at rest."""
    if not brakes:
        return []
    speeding, braking = f"speeding up, {load}", f"braking, {load}"
    lost = f"slipped out of the hand after {len(brakes)} brakes" if len(brakes) < N_JOINTS + BRAKES else ""
    return [
        *tracking_checks(speeding, [one.run_up for one in brakes], assumed, limit, lost),
        *tracking_checks(braking, [one.from_brake(assumed) for one in brakes], assumed, limit, lost),
        *braking_checks(braking, brakes, assumed),
    ]


def contact_checks(touching: Sequence[Touching], assumed: Assumptions, limit: np.ndarray) -> list[Check]:
    """Tracking in contact, and what is held meanwhile."""
    out = []
    for condition in dict.fromkeys(one.condition for one in touching):
        own = [one for one in touching if one.condition == condition]
        note = "; ".join(dict.fromkeys(one.note for one in own if one.note))
        out += tracking_checks(condition, [one.recording for one in own], assumed, limit, note)
        held = [(one.recording, one.kind) for one in own if one.kind is not None]
        if held:
            out += holding_checks(condition, held, assumed)
    return out


def _heaviest_name(scene: Scene) -> str:
    kinds = [kind for kind in liftable(scene) if lift_load(kind, scene.actuators) < 1.0]
    return heaviest(kinds).name if kinds else "nothing"


def _ranked(worst: dict[str, float]) -> str:
    return ", ".join(f"{name} {worst[name]:.1f}" for name in sorted(worst, key=lambda n: -worst[n]))
