"""This file makes the inputs: for each parser a valid seed, changed by a generator of its own."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import yaml

from fuzzing import containers, samples
from fuzzing.mutate import (
    BVH,
    CANONICAL,
    JSON,
    NUMBERS,
    OBJ,
    WORDS,
    XML,
    YAML,
    mutate_bytes,
    mutate_text,
    mutate_tree,
)
from robotctl.scene_paths import scenes_folder
from robotctl.world_model.composite import DEFAULT

UNITS = (
    "m",
    "cm",
    "mm",
    "km",
    "s",
    "ms",
    "us",
    "min",
    "h",
    "g",
    "kg",
    "rad",
    "mrad",
    "deg",
    "N",
    "kN",
    "Hz",
    "m/s",
    "1/s",
)


@dataclass(frozen=True)
class Source:
    """Where a parser's inputs come from."""

    folder: Path  # in which an input lies, so that the files it names are there
    suffix: str
    seeds: Sequence[bytes]
    structure: Callable[[Random, bytes], bytes]  # a change that knows the format
    tokens: Sequence[str] = ()  # of a text format; none for bytes
    card: bytes = field(default=b"")  # of a model, which lies beside it

    def make(self, rng: Random) -> bytes:
        """One input."""
        data = rng.choice(self.seeds)
        kind = rng.random()
        if kind < 0.02:
            return data
        if kind < 0.45:
            data = self.structure(rng, data)
        if kind < 0.35:
            return data
        if self.tokens and rng.random() < 0.75:
            text = data.decode("utf-8", "surrogateescape")
            others = [other.decode("utf-8", "surrogateescape") for other in self.seeds]
            return mutate_text(rng, text, others, self.tokens).encode(
                "utf-8", "surrogatepass" if rng.random() < 0.2 else "replace"
            )
        return mutate_bytes(rng, data, self.seeds)


def sources(scratch: Path) -> dict[str, Source]:
    """Every parser's source; copies the packaged scenes to `scratch`, and adds motions to them."""
    scenes = scratch / "scenes"
    if not scenes.exists():
        shutil.copytree(scenes_folder(), scenes)
    other = scratch / "other"
    motions = scenes / "motions"
    for folder in (other, motions):
        folder.mkdir(parents=True, exist_ok=True)
    arrays = samples.motion()
    (motions / "guest.npz").write_bytes(samples.npz(arrays))
    (motions / "guest.bvh").write_text(samples.bvh())
    kitchen, assets = scenes / "kitchen", scenes / "assets"
    tasks = [path.read_bytes() for path in sorted((kitchen / "tasks").glob("*.yaml"))]
    people = [_people(yaml.safe_load(task)) for task in tasks]
    plans = sorted((Path(__file__).resolve().parents[2] / "examples").glob("plan-*.json"))
    meshes = [path.read_bytes() for path in sorted((assets / "meshes").glob("*.obj")) if path.stat().st_size < 20_000]

    def npz_motion(rng: Random, _: bytes) -> bytes:
        return containers.npz_motion(rng, arrays)

    def texts(folder: Path, pattern: str) -> list[bytes]:
        return [path.read_bytes() for path in sorted(folder.glob(pattern))]

    models = [text for text in texts(assets, "*.urdf") if b"franka:" not in text]  # the robot's own is not a user's
    return {
        "scene": Source(kitchen, ".yaml", [(kitchen / "scene.yaml").read_bytes()], _yaml, YAML),
        "task": Source(kitchen / "tasks", ".yaml", tasks, _yaml, YAML),
        "people": Source(kitchen, ".yaml", [*people, _PLAYED], _yaml, YAML),
        "guardrails": Source(scenes / "guardrails", ".yaml", texts(scenes / "guardrails", "*.yaml"), _yaml, YAML),
        "kinds": Source(assets, ".yaml", [*texts(assets, "kinds.yaml"), *texts(assets, "pantry.yaml")], _yaml, YAML),
        "urdf": Source(assets, ".urdf", models, _xml, XML),
        "obj": Source(assets / "meshes", ".obj", meshes, _obj, OBJ),
        "npz": Source(other, ".npz", [samples.npz(arrays), samples.npz(arrays, True)], npz_motion),
        "bvh": Source(other, ".bvh", [samples.bvh().encode()], _bvh, BVH),
        "episode": Source(other, ".mcap", [samples.episode(other / _fresh(other))], containers.mcap),
        "bundle": Source(other, ".zip", [samples.bundle()], containers.zipped),
        "model": Source(other, ".safetensors", [DEFAULT.read_bytes()], containers.safetensors, card=_small_card()),
        "plan": Source(other, ".json", [path.read_bytes() for path in plans], _json, JSON),
        "quantity": Source(other, ".txt", _QUANTITIES, _quantity, (*NUMBERS, *UNITS, "|", "^", "/", "*")),
    }  # fmt: skip


_QUANTITIES = (b"m|3|0.3 -0.6 0.75 m", b"s|1|40 ms", b"1/s|1|1.5 1/s", b"N m|7|1 2 3 4 5 6 7 N m")
_PLAYED = b"""schema: robotctl/people.v1
people:
  - {name: guest, clip: ../motions/guest.npz, path: [-1.5 -2.0 m, 0.0 -2.0 m], start: 1 s, loop: true}
  - {name: other, clip: ../motions/guest.bvh}
"""


def _fresh(folder: Path) -> str:
    """An episode is never overwritten."""
    return f"sample-{len(list(folder.glob('sample-*')))}.mcap"


def _small_card() -> bytes:
    return json.dumps({"name": "a card", "evaluation": {"parts": []}, "sha256": "0" * 64}).encode()


def _people(task: dict[str, Any]) -> bytes:
    return _dump({"schema": "robotctl/people.v1", "people": task.get("people", [])})


def _dump(tree: Any) -> bytes:
    try:
        return yaml.dump(tree, Dumper=_Plain, sort_keys=False, allow_unicode=True, width=1000).encode(
            "utf-8", "replace"
        )
    except (yaml.YAMLError, RecursionError, ValueError, TypeError):
        return b"[]"


class _Plain(getattr(yaml, "CSafeDumper", yaml.SafeDumper)):  # type: ignore[misc]
    """Writes a branch twice rather than with an alias."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _yaml(rng: Random, data: bytes) -> bytes:
    return _dump(mutate_tree(rng, yaml.load(data, getattr(yaml, "CSafeLoader", yaml.SafeLoader))))


def _json(rng: Random, data: bytes) -> bytes:
    return json.dumps(mutate_tree(rng, json.loads(data)), default=str).encode("utf-8", "replace")


def _xml(rng: Random, data: bytes) -> bytes:
    return mutate_text(rng, data.decode(), [data.decode()], ('value="', "1e999", "nan", "-1", "0", *XML)).encode(
        "utf-8", "replace"
    )


def _obj(rng: Random, data: bytes) -> bytes:
    lines = data.decode().split("\n")
    for _ in range(rng.choice((1, 2, 5))):
        lines.insert(rng.randint(0, len(lines)), rng.choice(OBJ).rstrip("\n"))
    return "\n".join(lines).encode("utf-8", "surrogatepass")


def _bvh(rng: Random, data: bytes) -> bytes:
    """Other joints, offsets, channels and numbers in a file that is well formed."""
    lines = data.decode().split("\n")
    start = lines.index("MOTION")
    for _ in range(rng.choice((1, 2, 4))):
        i = rng.randrange(start)
        if lines[i].startswith("OFFSET"):
            lines[i] = "OFFSET " + " ".join(rng.choice((*NUMBERS, "1", "-42", "1000")) for _ in range(3))
        elif lines[i].startswith("CHANNELS 3"):
            axes = rng.sample(("Xrotation", "Yrotation", "Zrotation", "Xposition", "Yposition", "Zposition"), 3)
            lines[i] = "CHANNELS 3 " + " ".join(axes)
        elif lines[i].startswith("JOINT"):
            lines[i] = "JOINT " + rng.choice((*WORDS, "LeftArm", "Hips", "LeftHand", "Head")).replace("\n", " ")
    k = rng.randrange(start + 3, len(lines))
    row = lines[k].split()
    if row and rng.random() < 0.5:
        row[rng.randrange(len(row))] = rng.choice(NUMBERS)
        lines[k] = " ".join(row)
    if rng.random() < 0.3:
        lines[start + 2] = f"Frame Time: {rng.choice((*NUMBERS, '1e-6', '60', '0.001'))}"
    return "\n".join(lines).encode("utf-8", "surrogatepass")


def _quantity(rng: Random, data: bytes) -> bytes:
    unit, count = rng.choice(CANONICAL), rng.choice((1, 1, 2, 3, 4, 7))
    numbers = " ".join(
        rng.choice((*NUMBERS, "1", "0.5")) for _ in range(rng.choice((count, count, count, 1, 40, 3000)))
    )
    written = rng.choice(
        (*UNITS, *WORDS, "m^4", "m/s/s/s", "m m m m m", "1 / s", "m^-4*s^4", "1/", "/s", "m/", "M", "MM")
    )
    return f"{unit}|{count}|{numbers}{rng.choice((' ', '', '  '))}{written}".encode("utf-8", "surrogatepass")
