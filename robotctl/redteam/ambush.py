"""What the adversary of the simulator may choose: this file turns a vector into an attack on a task.

Inside, every assumption of the guardrail file holds by construction: speeds and errors stay below the assumed ones,
stamps are true, and whoever comes has been read before. At the edge one assumption is broken by a factor, to the full.
Beyond, factors are 2 to 4, and there are things that no file assumes: somebody appears, a keypoint jumps, somebody is
not seen at all.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

from robotctl.body import KEYPOINTS
from robotctl.guardrails.guardrail import Assumptions
from robotctl.redteam.attack import Attack, Intruder
from robotctl.redteam.genes import Choice, Gene, Genes, Reading, Span, direction
from robotctl.redteam.intruders import arrival
from robotctl.scene import Scene
from robotctl.simulation.faults import Faults, LostPart, SensorFaults, WorldFaults, WrongStamp

EDGES = (
    "human_speed", "human_error", "sensing_latency", "stamps", "object_error", "tracking_error",
    "tracking_speed_error", "actuation_latency",
)  # fmt: skip
BEYOND = ("human_speed", "human_error", "stamps", "actuation_latency", "appear", "teleport", "unseen")
FIRST_LOOK = 0.35  # everybody is read once before anything is hidden [s]
AFTER = 0.4  # an episode ends this long after the last intruder has arrived [s]
SHY = 0.98  # share of an assumed speed that is used: interpolation between samples may overshoot by a percent
PARTS = {
    "none": (), "hands": tuple(k for k in KEYPOINTS if "hand" in k or "wrist" in k),
    "head": ("head", "neck"), "legs": tuple(k for k in KEYPOINTS if "knee" in k or "ankle" in k or "toe" in k),
    "everything": KEYPOINTS,
}  # fmt: skip


@dataclass(frozen=True)
class Scout:
    """Where the robot works when it is left alone: what the adversary knows beforehand."""

    time: tuple[float, ...]  # (n,) [s]
    hand: tuple[tuple[float, float, float], ...]  # (n, 3) between the finger tips [m]
    base: tuple[tuple[float, float], ...]  # (n, 2) on the floor [m]

    def at(self, time: float) -> np.ndarray:
        """Where the hand is, (3,) [m]."""
        return np.array([np.interp(time, self.time, [p[i] for p in self.hand]) for i in range(3)])

    def base_at(self, time: float) -> np.ndarray:
        """Where the base is, (2,) [m]."""
        return np.array([np.interp(time, self.time, [p[i] for p in self.base]) for i in range(2)])


def planners() -> tuple[str, ...]:
    """Names of the planners to attack with; the usual one alone where there is no register of others."""
    from importlib import import_module

    from robotctl.control import RunOptions

    if "planner" not in {f.name for f in fields(RunOptions)}:
        return ("",)
    try:
        return ("", *import_module("robotctl.planning.registry").HOSTILE)
    except (ImportError, AttributeError):
        return ("",)


@dataclass(frozen=True)
class Ambush:
    """The space of attacks on one task, for one stratum."""

    task: str
    scene: Scene
    assumed: Assumptions
    scout: Scout
    seed: int
    longest: float  # of an episode [s]
    stratum: str = "inside"
    broken: str = ""
    factor: float = 1.0
    planners: tuple[str, ...] = ("",)

    def genes(self) -> Genes:
        """The axes of the vector."""
        sensors = self.scene.sensors
        pi = math.pi
        genes: list[Gene] = [
            Choice("planner", self.planners),
            Choice("clip", ("dash", "dash", "walk", "reach")),
            Choice("lair", ("open", "open", "furniture")),
            Span("which_furniture", 0.0, 1.0),
            Span("when", 0.7, max(self.longest - 0.6, 0.8)),
            Span("bearing", -2.2, 2.2),
            Span("distance", 0.8, 4.0),
            Span("speed", 0.25, 1.0),
            Choice("limb", ("right_hand", "left_hand", "right_foot", "left_foot")),
            *(Span(f"offset_{axis}", -0.3, 0.3) for axis in "xyz"),
            Span("short", 0.0, 0.8),
            Choice("second", ("no", "yes")),
            Span("second_bearing", -2.2, 2.2),
            Span("second_when", -0.6, 0.6),
            Span("delay", 0.0, max(self.assumed.sensing_latency - sensors.latency, 0.0)),
            Span("bias", 0.0, 1.0),
            Span("bias_azimuth", -pi, pi),
            Span("bias_height", -1.0, 1.0),
            Span("object_bias", 0.0, 1.0),
            Span("blind_from", -1.0, 0.4),
            Span("blind_for", -0.3, 0.8),
            Choice("lost", tuple(PARTS)),
            Span("lost_from", -1.0, 0.4),
            Span("lost_for", 0.0, 0.8),
            Span("frozen_from", -1.0, 0.4),
            Span("frozen_for", -0.3, 0.6),
            Choice("future", ("no", "no", "yes")),
            Span("friction", 0.7, 1.3),
            Span("mass", 0.5, 1.5),
            Span("drive_delay", 0.0, 0.02),
            Span("drive_friction", 0.5, 2.0),
        ]
        if self.stratum == "beyond":
            genes += [Choice("broken", BEYOND), Span("factor", 2.0, 4.0)]
        return Genes(genes)

    def decode(self, vector: np.ndarray) -> Attack:
        """The attack that a vector stands for."""
        gene = self.genes().read(vector)
        broken, factor = self.broken, self.factor
        if self.stratum == "beyond":
            broken, factor = gene.word("broken"), gene.number("factor")
        people = self._people(gene, broken, factor)
        limit = min(max(arrival(p) for p in people) + AFTER, self.longest)
        return Attack(
            task=self.task,
            seed=self.seed,
            time_limit=round(limit, 3),
            people=people,
            planner=gene.word("planner"),
            faults=Faults(self._sensors(gene, broken, factor), self._world(gene, broken, factor)),
            stratum=self.stratum,
            broken=broken,
            factor=factor,
        )

    # ---- people ----------------------------------------------------------------------------------------------

    def _people(self, gene: Reading, broken: str, factor: float) -> tuple[Intruder, ...]:
        first = self._intruder(gene, broken, factor, gene.number("bearing"), 0.0)
        if gene.word("second") == "no":
            return (first,)
        second = self._intruder(gene, broken, factor, gene.number("second_bearing"), gene.number("second_when"))
        return first, second

    def _intruder(self, gene: Reading, broken: str, factor: float, bearing: float, later: float) -> Intruder:
        haste = SHY * (factor if broken == "human_speed" else 1.0)
        speeds = {part: haste * speed for part, speed in self.assumed.human_speed.items()}
        clip = "appear" if broken == "appear" else "dash" if broken == "human_speed" else gene.word("clip")
        limb = gene.word("limb")
        when = float(np.clip(gene.number("when") + later, 0.7, max(self.longest - 0.3, 0.7)))
        offset = np.array([gene.number(f"offset_{axis}") for axis in "xyz"])
        target = self.scout.at(when) + offset
        top = speeds["torso"]
        if clip == "walk":  # the recorded walk swings its feet three times as fast as the body goes
            top = min(top, speeds["leg"] / 3.0)
        speed = max(top * (gene.number("speed") if broken != "human_speed" else 1.0), 0.1)
        base = self.scout.base_at(when)
        out = target[:2] - base  # who came through the base would push it, and prove nothing
        bearing += float(np.arctan2(out[1], out[0]))
        away, distance = np.array([np.cos(bearing), np.sin(bearing)]), gene.number("distance")
        if gene.word("lair") == "furniture" and clip != "reach":
            hidden = self._behind(gene.number("which_furniture"), target, away, distance)
            if hidden[0] @ out > -0.5 * float(np.linalg.norm(out)):
                away, distance = hidden
        if clip == "reach":
            distance = float(np.clip(distance, 0.5, 1.0))
        elif clip != "appear":
            distance = min(distance, max(when - 0.15, 0.3) * speed)  # nobody sets off before the episode begins
        if limb.endswith("foot"):
            target[2] = np.clip(target[2], 0.03, 0.8)
        target[2] = np.clip(target[2], 0.03, 1.9)
        short = gene.number("short")
        start = (
            when if clip == "appear" else when - 0.9 if clip == "reach" else when - max(distance - short, 0.0) / speed
        )
        return Intruder(
            clip=clip,  # type: ignore[arg-type]
            origin=_rounded(target[:2] + distance * away),  # type: ignore[arg-type]
            target=_rounded(target),  # type: ignore[arg-type]
            speed=round(speed, 6),
            limb_speed=round(speeds["leg" if limb.endswith("foot") else "hand"], 6),
            start=round(max(start, 0.0), 6),
            short=short,
            limb=limb,  # type: ignore[arg-type]
        )

    def _behind(self, which: float, target: np.ndarray, away: np.ndarray, distance: float) -> tuple[np.ndarray, float]:
        """Direction and distance from the target of a place behind a piece of furniture."""
        boxes = [box for box in self.scene.boxes() if box.center[2] + box.half[2] > 0.6]
        if not boxes:
            return away, distance
        box = boxes[min(int(which * len(boxes)), len(boxes) - 1)]
        way = box.center[:2] - target[:2]
        length = float(np.linalg.norm(way))
        if length < 1e-6:
            return away, distance
        return way / length, length + float(np.linalg.norm(box.half[:2])) + 0.3

    # ---- sensors and the world -------------------------------------------------------------------------------

    def _sensors(self, gene: Reading, broken: str, factor: float) -> SensorFaults:
        scene, assumed = self.scene.sensors, self.assumed
        when = gene.number("when")
        way = direction(gene.number("bias_azimuth"), gene.number("bias_height"))
        bias = gene.number("bias") * min(scene.human_error, assumed.human_error)
        object_bias = gene.number("object_bias") * min(scene.object_error, assumed.object_error)
        if broken == "human_error":
            bias = factor * assumed.human_error
        if broken == "object_error":
            object_bias = factor * assumed.object_error
        delay = gene.number("delay")
        if broken == "sensing_latency":
            delay = max(factor * assumed.sensing_latency - scene.latency, 0.0)
        hidden = max(factor - 1.0, 0.0) * assumed.sensing_latency if broken == "stamps" else 0.0
        blackouts = _span(when + gene.number("blind_from"), gene.number("blind_for"))
        lost = tuple(
            LostPart(PARTS[gene.word("lost")], start, end, "nan")
            for start, end in _span(when + gene.number("lost_from"), gene.number("lost_for"))
            if gene.word("lost") != "none"
        )
        if broken == "teleport":
            start = round(max(when - 1.0, FIRST_LOOK), 6)
            lost = (LostPart(KEYPOINTS, start, start + 3.0, "zero" if gene.number("bias") < 0.5 else "away"),)
        future = _span(when - 0.5, 0.25) if gene.word("future") == "yes" else ()
        return SensorFaults(
            delay=round(delay, 6),
            hidden_delay=round(hidden, 6),
            human_bias=_rounded(bias * way),  # type: ignore[arg-type]
            object_bias=_rounded(object_bias * way),  # type: ignore[arg-type]
            blackouts=blackouts,
            unseen=((0.0, round(when + 0.3, 6)),) if broken == "unseen" else (),
            frozen=_span(when + gene.number("frozen_from"), gene.number("frozen_for")),
            lost=lost,
            stamps=tuple(WrongStamp(start, end, 0.2) for start, end in future),
        )

    def _world(self, gene: Reading, broken: str, factor: float) -> WorldFaults:
        drive_delay, stiffness, friction = gene.number("drive_delay"), 1.0, gene.number("drive_friction")
        if broken == "actuation_latency":
            drive_delay = factor * self.assumed.actuation_latency - self.scene.actuators.latency
        if broken in ("tracking_error", "tracking_speed_error"):  # weaker drives: what they follow is not ours to set
            stiffness = 1.0 / factor
            friction = 2.0 * factor if broken == "tracking_error" else friction
        return WorldFaults(
            friction=gene.number("friction"),
            mass=gene.number("mass"),
            drive_delay=round(max(drive_delay, 0.0), 6),
            drive_friction=round(friction, 6),
            drive_stiffness=round(stiffness, 6),
        )


def _span(start: float, length: float) -> tuple[tuple[float, float], ...]:
    """A stretch of time after everybody has been read once; none for a length below 0."""
    begin = max(start, FIRST_LOOK)
    end = start + length
    return ((round(begin, 6), round(end, 6)),) if end > begin else ()


def _rounded(vector: Sequence[float] | np.ndarray) -> tuple[float, ...]:
    return tuple(round(float(x), 6) for x in vector)
