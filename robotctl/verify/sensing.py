"""Whether the scene's sensors are as good as assumed: errors and ages of what its cameras deliver."""

from __future__ import annotations

import numpy as np

from robotctl.body import KEYPOINTS
from robotctl.guardrails.guardrail import Assumptions
from robotctl.scene import Scene
from robotctl.simulation.bullet_world import DT, STEPS
from robotctl.simulation.sensing import Cameras, Snapshot
from robotctl.state import TICK
from robotctl.verify.check import Check, at_most

READINGS = 400  # ticks that are looked at


def sensing_checks(scene: Scene, assumed: Assumptions, generator: np.random.Generator) -> list[Check]:
    """Readings of a person and a thing that stand still: how far off, and how old when the filter gets them."""
    sensors = scene.sensors
    cameras = Cameras(sensors, ["thing"], ["someone"], generator)
    person, thing = np.zeros((1, len(KEYPOINTS), 3)), np.zeros((1, 3))
    upright = np.array([[0.0, 0.0, 0.0, 1.0]])
    human, item, age = [], [], []
    for tick in range(READINGS):
        for step in range(STEPS if tick else 1):
            time = (max(tick - 1, 0) * STEPS + step + (1 if tick else 0)) * DT
            cameras.record(Snapshot(time, thing, upright, person))
        objects, people = cameras.read(tick * TICK)
        human += [np.linalg.norm(reading.keypoints, axis=1) for reading in people]
        item += [np.linalg.norm(reading.position) for reading in objects]
        if tick > sensors.latency / TICK + 1:  # before, the oldest there is
            age += [tick * TICK - reading.stamp for reading in people]
    mm, n = 1e3, len(age)
    note = f"when the filter gets them; {READINGS - 2 - n} of {READINGS - 2} ticks had none"

    def both(name: str, limit: float, declared: float, measured: np.ndarray, unit: str, note: str = "") -> list[Check]:
        return [
            at_most(name, "sensors, declared", mm * limit, np.array([mm * declared]), unit, "values"),
            at_most(name, "sensors, measured", mm * limit, mm * measured, unit, "readings", note=note),
        ]

    return [
        *both("human_error", assumed.human_error, sensors.human_error, np.concatenate(human), "mm"),
        *both("object_error", assumed.object_error, sensors.object_error, np.array(item), "mm"),
        *both("sensing_latency", assumed.sensing_latency, sensors.latency, np.array(age), "ms", note),
    ]
