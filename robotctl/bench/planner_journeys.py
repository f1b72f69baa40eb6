"""This file turns a seed into a long way through the packaged kitchen: from one side of the table to the opposite one.

The straight way is blocked, and no way fits into the planner's 3 s. In a third of the journeys a screen closes the way
round the south, so that only the passage between counter and table is left; in another third somebody walks across.
Every second journey carries an upright cup.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from robotctl.bench.pictures import pyplot, saved
from robotctl.bench.planner_problems import PlanningProblem, robot_with
from robotctl.bench.planner_surroundings import DT, GRAY, STEPS, at_rest, box_gaps, household, world_model
from robotctl.errors import UsageError
from robotctl.guardrails.clearance import Boxes, Clearance
from robotctl.guardrails.guardrail import in_force
from robotctl.objectives.reach import ReachGoal
from robotctl.robot import HOME, RobotModel, tcp_pose
from robotctl.scene import Box
from robotctl.scene_files import load_scene
from robotctl.simulation.people import Person
from robotctl.state import PersonState, RobotState, State
from robotctl.task import PersonPlan

KIND = "journey"
SIDES = {  # of the table: where the base may stand, x and y [m], and which yaw looks at the table [rad]
    "north": ((-0.9, 1.5), (0.35, 0.75), -0.5 * np.pi),
    "south": ((-0.5, 1.1), (-1.9, -1.5), 0.5 * np.pi),
    "west": ((-1.7, -1.3), (-0.9, -0.1), 0.0),
    "east": ((1.9, 2.3), (-0.9, -0.1), np.pi),
}
OPPOSITE = {"north": "south", "south": "north", "west": "east", "east": "west"}
OUT = np.array([0.0, 0.3, 0.0, -1.6, 0.0, 1.9, 0.785])  # the arm over the table, the hand pointing down
SCREEN = Box("screen", np.array([0.3, -1.9, 0.6]), np.array([0.05, 0.85, 0.6]), 0.0, GRAY)  # from the table southwards
KEPT = 0.05  # of every sphere to furniture at start and goal [m]
AWAY = 0.9  # of a walker's line from where the base starts and ends [m]
ATTEMPTS = 10_000
ARM_WORDS = {"told": "with routes", "no-routes": "without routes"}


def make_journey(seed: int) -> PlanningProblem:
    """The journey of this seed, always the same."""
    generator = np.random.default_rng([seed, 77])
    scene = load_scene("kitchen")
    rules, assumptions = household()
    robot = robot_with("cup" if seed % 2 else "nothing", generator)
    boxes = (*scene.boxes(), SCREEN) if seed % 3 == 1 else scene.boxes()
    for _ in range(ATTEMPTS):
        side = str(generator.choice(list(SIDES)))
        start, goal = _posture(side, generator), _posture(OPPOSITE[side], generator)
        goal[2] = start[2] + np.remainder(goal[2] - start[2] + np.pi, 2.0 * np.pi) - np.pi
        walker = _walker(start, goal, generator) if seed % 3 == 2 else None
        if (seed % 3 == 2 and walker is None) or not _long(robot, boxes, start, goal):
            continue
        position, rotation = tcp_pose(goal)
        placed = [_over(rule, boxes) if isinstance(rule, Clearance) else rule for rule in rules]
        still = np.zeros(10)
        return PlanningProblem(
            name=f"{KIND}-{seed}",
            kind=KIND,
            joints=tuple(range(10)),
            seed=seed,
            state=State(
                10.0, RobotState(start, still, start, still, 0.08, robot.held), people=(walker,) if walker else ()
            ),
            goal=ReachGoal(position, rotation, goal),
            robot=robot,
            guardrails=in_force(placed, robot.held, "pick"),
            boxes=tuple(boxes),
            obstacles=np.zeros((0, 4)),
            model=world_model(),
            assumptions=assumptions,
            witness=np.zeros((STEPS, 10)),
        )
    raise UsageError(f"no journey found for seed {seed}")  # a few dozen draws usually do


def _over(rule: Clearance, boxes: tuple[Box, ...]) -> Clearance:
    return Clearance(rule.header, rule.distance, Boxes.of(boxes))


def _posture(side: str, generator: np.random.Generator) -> np.ndarray:
    """Joints (10,) on one side of the table: the arm tucked, or stretched out at the table."""
    x, y, facing = SIDES[side]
    out = generator.uniform() < 0.5
    yaw = facing + generator.normal(0.0, 0.2) if out else generator.uniform(-np.pi, np.pi)
    q = np.array([generator.uniform(*x), generator.uniform(*y), yaw, *(OUT if out else HOME[3:])])
    q[3] = generator.uniform(-0.4, 0.4)
    return q


def _long(robot: RobotModel, boxes: tuple[Box, ...], start: np.ndarray, goal: np.ndarray) -> bool:
    """Whether both ends have room and the straight motion between them has not."""
    way = start + np.linspace(0.0, 1.0, 41)[:, None] * (goal - start)
    gap = box_gaps(at_rest(robot, way)[0], robot.spheres.radius, boxes).min(axis=(1, 2))
    return bool(min(gap[0], gap[-1]) >= KEPT and gap.min() < 0.0)


def _walker(start: np.ndarray, goal: np.ndarray, generator: np.random.Generator) -> PersonState | None:
    """Somebody who walks through the passage, or past the table's east side, as seen; None if too near to an end."""
    if generator.uniform() < 0.5:
        line, along = generator.uniform(0.5, 0.9), 0
        path = np.array([[-3.0, line], [3.0, line]])
    else:
        line, along = generator.uniform(1.9, 2.3), 1
        path = np.array([[line, -3.5], [line, 2.5]])
    if generator.uniform() < 0.5:
        path = path[::-1]
    if min(abs(start[1 - along] - line), abs(goal[1 - along] - line)) < AWAY:
        return None
    plan = PersonPlan("ann", "walk", path, generator.uniform(0.6, 1.0), 0.0, (), 0.0, False)
    person = Person(plan, np.random.default_rng(0))  # without jitter the generator is not used
    now = generator.uniform(1.0, 3.0)
    history = np.array([person.keypoints(now + DT * k) for k in range(-5, 1)])
    return PersonState("ann", history[-1], 10.0 - household()[1].sensing_latency, history)


def draw(arms: Mapping[str, Sequence[Mapping[str, Any]]], folder: Path) -> Path:
    """The picture planner-journeys.png in `folder`: the ways of the base from above, a panel for each arm's records."""
    plot = pyplot()
    rectangle = plot.Rectangle
    figure, axes = plot.subplots(1, len(arms), figsize=(6.4 * len(arms), 5.4), sharey=True, squeeze=False)
    for axis, (arm, records) in zip(axes[0], arms.items(), strict=True):
        for box in (*load_scene("kitchen").boxes(), SCREEN):
            corner, size = box.center - box.half, 2.0 * box.half
            hatch = "////" if box is SCREEN else None
            style = {"facecolor": "none" if box is SCREEN else box.color[:3], "edgecolor": "0.4", "hatch": hatch}
            turn = {"angle": float(np.degrees(box.yaw)), "rotation_point": "center"}
            axis.add_patch(rectangle(corner[:2], size[0], size[1], linewidth=0.6, alpha=0.75, **style, **turn))
        for record in records:
            way, good = np.array(record["base"]), record["arrived"]
            axis.plot(*way.T, color="tab:blue" if good else "tab:red", linewidth=1.1, alpha=0.8)
            axis.plot(*way[0], "o", color="0.2", markersize=3)
            axis.plot(*way[-1], "*" if good else "x", color="tab:blue" if good else "tab:red", markersize=7)
        arrived = sum(record["arrived"] for record in records)
        axis.set_title(f"{ARM_WORDS.get(arm, arm)}: {arrived} of {len(records)} arrive")
        axis.set(xlabel="x (east) [m]", xlim=(-2.6, 3.2), ylim=(-3.0, 2.2), aspect="equal")
    axes[0, 0].set_ylabel("y (north) [m]")
    last = axes[0, -1]
    for label, marker in (("start", "0.2 o"), ("arrived", "tab:blue *"), ("not there after 20 s", "tab:red x")):
        color, shape = marker.split()
        last.plot([], [], shape, color=color, label=label)
    last.add_patch(rectangle((9, 9), 1, 1, fill=False, hatch="////", edgecolor="0.4", label="screen, in a third"))
    last.legend(loc="lower right", fontsize=8)
    return saved(figure, folder, "planner-journeys.png")
