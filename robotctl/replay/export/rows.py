"""This file turns the steps of an episode into rows of named numbers, for every format that has columns."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from robotctl.body import KEYPOINTS
from robotctl.episode.reader import EpisodeLog
from robotctl.robot import JOINT_NAMES
from robotctl.state import TICK

RATE = round(1.0 / TICK)  # rows a second


@dataclass(frozen=True)
class Columns:
    """Groups of columns, each with the names of its numbers."""

    state: tuple[str, ...]  # what the robot sensed of itself [m, rad, m/s, rad/s, N]
    action: tuple[str, ...]  # what the filter let through [m/s, rad/s, m]
    objects: tuple[str, ...]  # where things were believed to be [m, quaternion xyzw]
    people: tuple[str, ...]  # where people were believed to be [m]


@dataclass(frozen=True)
class Row:
    """One control tick. NaN where nothing is known."""

    time: float  # [s]
    state: np.ndarray
    action: np.ndarray
    objects: np.ndarray
    people: np.ndarray
    skill: str
    intervened: bool
    stopped: bool
    goals_met: int
    last: bool


def columns(log: EpisodeLog) -> Columns:
    """The columns of an episode; two episodes of one task with as many people have the same."""
    objects: list[str] = []
    people: list[str] = []
    for step in log.steps:
        objects = sorted({*objects, *(item.name for item in step.state.objects)})
        people = sorted({*people, *(person.name for person in step.state.people)})
    return Columns(
        state=(
            *(f"{name}.position" for name in JOINT_NAMES),
            *(f"{name}.velocity" for name in JOINT_NAMES),
            "fingers.opening",
            "contact.force",
        ),
        action=(*(f"{name}.velocity" for name in JOINT_NAMES), "fingers.opening"),
        objects=tuple(f"{name}.{axis}" for name in objects for axis in ("x", "y", "z", "qx", "qy", "qz", "qw")),
        people=tuple(f"{name}.{point}.{axis}" for name in people for point in KEYPOINTS for axis in "xyz"),
    )


def rows(log: EpisodeLog, named: Columns) -> Iterator[Row]:
    """The rows of an episode, in the order of time."""
    objects = {name.rpartition(".")[0]: i for i, name in enumerate(named.objects) if name.endswith(".x")}
    people = {name.split(".")[0]: i for i, name in reversed(list(enumerate(named.people)))}
    for index, step in enumerate(log.steps):
        observation, state = step.observation, step.state
        things = np.full(len(named.objects), np.nan)
        for item in state.objects:
            things[objects[item.name] : objects[item.name] + 7] = [*item.position, *item.quaternion]
        points = np.full(len(named.people), np.nan)
        for person in state.people:
            start = people[person.name]
            points[start : start + person.keypoints.size] = person.keypoints.ravel()
        yield Row(
            time=observation.time,
            state=np.concatenate(
                [
                    observation.joint_position,
                    observation.joint_velocity,
                    [observation.finger_opening, observation.contact_force],
                ]
            ),
            action=step.verdict.action,
            objects=things,
            people=points,
            skill=step.skill,
            intervened=step.verdict.intervened,
            stopped=step.verdict.stopped,
            goals_met=step.objective[0],
            last=index == log.count - 1,
        )
