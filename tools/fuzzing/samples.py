"""This file makes small valid files of the kinds that are not packaged: motions, an episode, a bundle."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import numpy as np

from robotctl.body import KEYPOINTS
from robotctl.episode.step import Foreseen, PlanSummary, Step, Timing, VerdictSummary
from robotctl.episode.writer import EpisodeWriter
from robotctl.state import (
    TICK,
    Contact,
    Held,
    ObjectReading,
    ObjectState,
    Observation,
    PersonReading,
    PersonState,
    RobotState,
    State,
    Truth,
)

_BVH_BONES = (
    ("Hips", 0, "0 0 0"), ("LeftUpLeg", 1, "10 0 0"), ("LeftLeg", 2, "0 -42 0"), ("LeftFoot", 3, "0 -42 0"),
    ("RightUpLeg", 1, "-10 0 0"), ("RightLeg", 2, "0 -42 0"), ("RightFoot", 3, "0 -42 0"),
    ("Spine", 1, "0 20 0"), ("LeftShoulder", 2, "5 30 0"), ("LeftArm", 3, "15 0 0"), ("LeftForeArm", 4, "30 0 0"),
    ("LeftHand", 5, "25 0 0"), ("RightShoulder", 2, "-5 30 0"), ("RightArm", 3, "-15 0 0"),
    ("RightForeArm", 4, "-30 0 0"), ("RightHand", 5, "-25 0 0"),
)  # fmt: skip


def bvh(frames: int = 4) -> str:
    """A person with stretched arms, in centimetres, who turns a little."""
    lines: list[str] = ["HIERARCHY"]
    open_joints = 0
    for i, (name, depth, offset) in enumerate(_BVH_BONES):
        while open_joints > depth:
            lines.append("}")
            open_joints -= 1
        lines += [f"{'JOINT' if i else 'ROOT'} {name}", "{", f"OFFSET {offset}"]
        position = "" if i else "Xposition Yposition Zposition "
        lines.append(f"CHANNELS {'3' if i else '6'} {position}Zrotation Xrotation Yrotation")
        if i + 1 == len(_BVH_BONES) or _BVH_BONES[i + 1][1] <= depth:
            lines += ["End Site", "{", "OFFSET 0 -5 0", "}"]
        open_joints = depth + 1
    lines += ["}"] * open_joints + ["MOTION", f"Frames: {frames}", "Frame Time: 0.0333333"]
    for frame in range(frames):
        row = [0.0, 90.0, 2.0 * frame] + [float((7 * i + 3 * frame) % 11) for i in range(3 * len(_BVH_BONES))]
        lines.append(" ".join(f"{value:.2f}" for value in row))
    return "\n".join(lines) + "\n"


def motion() -> dict[str, np.ndarray]:
    """The arrays of an `.npz` motion."""
    time = np.arange(5) / 30
    xyz = np.random.default_rng(0).uniform(-1.0, 1.0, (1, len(KEYPOINTS), 3)) + 0.1 * time[:, None, None]
    return {"time_s": time, "joint_names": np.array(KEYPOINTS), "xyz_m": xyz}


def npz(arrays: dict[str, np.ndarray], compressed: bool = False) -> bytes:
    stream = io.BytesIO()
    (np.savez_compressed if compressed else np.savez)(stream, **arrays)  # type: ignore[arg-type]
    return stream.getvalue()


def bundle() -> bytes:
    """The files of an episode, as far as they are unpacked."""
    stream = io.BytesIO()
    reach = {"at": 0, "target": [1.0, 2.0, 1.0], "hold": 1.0, "hand": "left"}
    ann = {"name": "ann", "clip": "stand", "path": [[0.0, 1.0]], "speed": 1.0, "start": 0.0, "reach": [reach]}
    manifest = {
        "task": "scenes/user/tasks/a.yaml",
        "guardrails": ["scenes/user/g.yaml"],
        "relaxed": {"speed": "why"},
        "people": [{**ann, "jitter": 0.0, "loop": False}],
    }
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("manifest.json", json.dumps(manifest))
        archive.writestr("scenes/user/tasks/a.yaml", "schema: robotctl/task.v1\nscene: ../scene.yaml\n")
        archive.writestr("scenes/user/g.yaml", "schema: robotctl/guardrails.v1\nname: g\nguardrails: []\n")
    return stream.getvalue()


RULES = json.dumps({"guardrails": [{"header": {"id": "speed"}, "unit": "m/s"}]}).encode()


def episode(path: Path, ticks: int = 25) -> bytes:
    """A log of steps with every field filled; not physical, but of the right shapes."""
    rng = np.random.default_rng(0)
    with EpisodeWriter(
        path, {"task.yaml": b"a: 1\n", "files.zip": bundle(), "guardrails.json": RULES}, {"seed": "0", "task": "t"}
    ) as writer:
        for tick in range(ticks):
            writer.append(_step(tick, rng))
        writer.close({"success": True, "worst": float("inf")})
    return path.read_bytes()


def _plan(rng: np.random.Generator) -> PlanSummary:
    margins = {"speed": Foreseen(0.2, 0.03, 1.4, 0.35), "separation": Foreseen(0.1, 0.0, 0.1, float("inf"))}
    return PlanSummary("SOLVED", {"pose": 1.25, "effort": 0.25}, 3, True, margins, rng.normal(size=(11, 3)))


def _step(tick: int, rng: np.random.Generator) -> Step:
    now, k, j = tick * TICK, 12, len(KEYPOINTS)
    keypoints = rng.normal(size=(1, j, 3))
    held = Held("cup_1", "cup", frozenset({"dish"}), rng.normal(size=(4, 4))) if tick % 2 else None
    joints = [rng.normal(size=10) for _ in range(8)]
    return Step(
        observation=Observation(
            now,
            *joints[:4],
            0.04,
            (ObjectReading("cup_1", rng.normal(size=3), rng.normal(size=4), now),),
            (PersonReading("ann", keypoints[0], now),),
        ),
        state=State(
            now,
            RobotState(*joints[4:], 0.04, held),
            (ObjectState("cup_1", "cup", frozenset({"dish"}), rng.normal(size=3), rng.normal(size=4), now),),
            (PersonState("ann", keypoints[0], now, keypoints),),
        ),
        plan=_plan(rng) if tick % 2 == 0 else None,
        verdict=VerdictSummary(rng.normal(size=11), True, "too near", -0.1, "speed", 0.5, False, {"speed": -0.1}),
        truth=Truth(
            time=now + np.arange(k) / 240,
            q=rng.normal(size=(k, 10)),
            dq=rng.normal(size=(k, 10)),
            opening=rng.normal(size=k),
            object_names=("cup_1",),
            object_position=rng.normal(size=(k, 1, 3)),
            object_quaternion=rng.normal(size=(k, 1, 4)),
            person_names=("ann",),
            keypoints=rng.normal(size=(k, 1, j, 3)),
            contacts=(Contact(now, "hand", "ann", -0.001, 3.5),),
        ),
        skill="pick cup_1",
        appraisal=("hopeful", 0.8) if tick else None,
        objective=(1, 6),
        margins={"speed": (0.3, -0.1)},
        distance_to_people=0.7,
        message="a person comes near" if tick == 3 else "",
        timing=Timing(12.0, 0.5),
    )
