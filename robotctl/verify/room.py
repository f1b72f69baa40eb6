"""This file turns a task's scene and guardrail files into what samples happen in: a room, rules, things to hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from robotctl.geometry import inverse, transform
from robotctl.guardrails.guardrail import Guardrail
from robotctl.guardrails.load import GuardrailSet, find_guardrails, load_guardrails
from robotctl.judge import Judge
from robotctl.judge.grip import PAD, TIP
from robotctl.judge.surface import urdf_points
from robotctl.robot import TCP, RobotModel
from robotctl.safety.safety_filter import SafetyFilter
from robotctl.scene import Box, Grasp, Item, ObjectKind
from robotctl.skills.grasping import hand_rotation
from robotctl.state import Held
from robotctl.task import Task, load_task

TASK = "kitchen/put-away-knife"  # for its scene; nothing is asked of the robot
HOUSEHOLD = "household"
GAP = 0.001  # [m] the fingers of the true hand stand this far from what is between them


@dataclass(frozen=True, eq=False)
class Room:
    """A scene and the rules in it."""

    task: Task
    rules: GuardrailSet
    files: tuple[str, ...]  # the guardrail files, as they were asked for

    def filter(self) -> SafetyFilter:
        """A filter at rest."""
        return SafetyFilter(self.rules, self.task.scene.kinds)

    def graspable(self) -> tuple[str, ...]:
        """Names of the kinds that the hand can hold, sharp ones first."""
        kinds = self.task.scene.kinds.values()
        return tuple(k.name for k in sorted(kinds, key=lambda k: "sharp" not in k.labels) if k.grasps)

    def boxes(self, label: str) -> list[Box]:
        """Boxes of all furniture and regions with that name or label; of all for ""."""
        scene = self.task.scene
        out = [box for f in scene.furniture if label in ("", f.name, *f.labels) for box in f.boxes]
        return out + [region.box for region in scene.regions if label in ("", region.name, *region.labels)]

    def judge(self, held: Held | None) -> Judge:
        """A judge over the furniture and what is held; other objects do not move here."""
        scene = self.task.scene
        items = () if held is None else (Item(held.name, held.kind, np.zeros(3), 0.0, 0.0, 0.0, held.labels),)
        kinds = {item.kind: scene.kinds[item.kind] for item in items}
        return Judge(replace(scene, items=items, kinds=kinds, joins=()), self.rules, self.task)

    def robot(self, held: Held | None) -> RobotModel:
        """The robot with what it holds."""
        if held is None:
            return RobotModel()
        kind = self.task.scene.kinds[held.kind]
        return RobotModel().holding(held, kind.spheres[:, :3], kind.spheres[:, 3], kind.blade, kind.slip)


@lru_cache(maxsize=4)
def load_room(files: tuple[str, ...] = (HOUSEHOLD,)) -> Room:
    """The kitchen under the guardrails of `files`, names or paths."""
    task = load_task(TASK)
    paths: Sequence[Path] = [find_guardrails(name) for name in files]
    return Room(task, load_guardrails(paths, task.scene), files)


def on_motion(rule: Guardrail) -> bool:
    """Whether standing still fulfils the rule whatever people do: it is a limit of speed."""
    return rule.unit == "m/s"


def held_in_grasp(kind: ObjectKind, grasp: Grasp) -> Held:
    """The object as it lies in the hand after that grasp."""
    rotation = hand_rotation(grasp.approach, grasp.closing)
    T_object_hand = transform(rotation, grasp.position - rotation @ TCP)
    return Held(f"{kind.name}_1", kind.name, kind.labels, inverse(T_object_hand))


def finger_opening(kind: ObjectKind, grasp: Grasp, held: Held) -> float:
    """How far the fingers are open on what they hold [m]."""
    T = held.T_hand_object
    points = urdf_points(kind.urdf) @ T[:3, :3].T + T[:3, 3]
    beyond = np.abs(points - TIP) - [PAD[0], 0.5 * grasp.opening, PAD[2]]
    across = points[np.all(beyond <= 0, axis=1), 1]
    return float(np.ptp(across) + GAP) if len(across) else 0.5 * grasp.opening
