"""An attack: everything an adversary chose for one episode, as a value that a JSON file holds and replays."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from robotctl.errors import InvalidFileError
from robotctl.jsontext import json_text
from robotctl.simulation.faults import NO_FAULTS, Faults

SCHEMA = "robotctl/attack.v1"
LONGEST = 600.0  # [s]
LARGEST = 5_000_000  # bytes of an attack file

Clip = Literal["walk", "reach", "dash", "appear"]
Limb = Literal["right_hand", "left_hand", "right_foot", "left_foot"]


@dataclass(frozen=True)
class Intruder:
    """A person sent against the robot.

    walk: along a straight line. reach: stands at `origin` and reaches. dash: glides upright as a whole while one limb
    goes ahead, as fast as told; nobody moves like that, and nobody within the same speeds can be worse. appear: stands
    at `origin`, and at `start` is at the target at once.
    """

    clip: Clip
    origin: tuple[float, float]  # on the floor, until `start` [m]
    target: tuple[float, float, float]  # where the limb goes [m]
    speed: float  # of the body [m/s]
    limb_speed: float  # at most, of the limb that goes ahead [m/s]
    start: float  # [s]
    short: float = 0.0  # the body stops this far short of the target [m]
    limb: Limb = "right_hand"


@dataclass(frozen=True)
class Attack:
    """One episode in the simulator."""

    task: str  # name or path
    seed: int
    time_limit: float  # [s]
    people: tuple[Intruder, ...]
    planner: str = ""  # as in `robotctl run --planner`; empty: the usual one
    faults: Faults = NO_FAULTS
    stratum: str = "inside"
    broken: str = ""  # the assumption that is broken on purpose
    factor: float = 1.0  # ... by this factor
    instrument: Literal["simulator"] = "simulator"


@dataclass(frozen=True)
class Chase:
    """One closed loop of the filter without physics: drives and people at the bound of the assumptions (chase.py).

    The factors multiply what is true; what the filter assumes stays.
    """

    task: str
    seed: int
    seconds: float
    start: tuple[float, float, float]  # of the base from the scene's start: x, y [m], yaw [rad]
    arm: tuple[float, ...]  # (7,) from the tucked arm [rad]
    held: Literal["nothing", "sharp", "fillable"]
    drive: Literal[
        "on", "there-and-back", "person", "place"
    ]  # what the hostile planner wants; nobody comes to a `place`
    command: tuple[float, ...]  # (10,) share of the joints' top speeds
    goal: float  # `place`: which box or region, as a share of their number
    turn: float  # `there-and-back` turns round each so many seconds [s]
    place: tuple[float, float]  # where the person stands: distance [m] and bearing from the robot [rad]
    charge: float  # when the person comes [s]
    haste: float  # share of the top speeds they use
    aim: Literal["nearest", "fastest"]  # the point of the robot they go for
    pull: tuple[float, float, float]  # direction in which readings are off, in shares of the bound; beside `away`
    away: float  # how much the error of readings points away from the robot
    age: float  # share of the sensing latency that readings are old
    blind: tuple[float, float]  # from, to: nothing is read [s]
    delay: float  # share of the actuation latency
    offset: tuple[float, float, float]  # direction of the tracking error, in shares
    tremble: float  # of the tracking error, frequency as a share of what the speed error allows
    slip: tuple[float, float, float]  # direction in which the held object sits elsewhere than believed
    factors: dict[str, float] = field(default_factory=dict)  # assumption -> factor
    stratum: str = "inside"
    broken: str = ""
    factor: float = 1.0
    instrument: Literal["loop"] = "loop"


def attack_dict(attack: Attack | Chase) -> dict[str, Any]:
    """The attack as JSON values."""
    return {"schema": SCHEMA, **asdict(attack)}


def save_attack(path: Path, attack: Attack | Chase, result: Mapping[str, Any]) -> None:
    """Writes an attack with what came of it, for `robotctl redteam --replay`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json_text({**attack_dict(attack), "result": dict(result)}) + "\n")


def load_attack(path: Path) -> tuple[Attack | Chase, dict[str, Any]]:
    """The attack in a file, and what came of it when it was found."""
    try:
        if path.stat().st_size > LARGEST:
            raise InvalidFileError(f"{path}: too large for an attack")
        data = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise InvalidFileError(f"{path}: no such file") from None
    except (OSError, ValueError, RecursionError) as error:
        raise InvalidFileError(f"{path}: not a readable attack: {error}") from None
    if not isinstance(data, dict) or data.get("schema") != SCHEMA:
        raise InvalidFileError(f"{path}: not an attack: 'schema' is not '{SCHEMA}'")
    result = data.pop("result", {})
    del data["schema"]
    return parse(data, str(path)), result if isinstance(result, dict) else {}


def parse(data: dict[str, Any], where: str = "attack") -> Attack | Chase:
    """The attack that these JSON values describe; InvalidFileError says what is wrong in one line."""
    from pydantic import TypeAdapter, ValidationError

    kind: type[Attack | Chase] = Chase if data.get("instrument") == "loop" else Attack
    unknown = data.keys() - kind.__dataclass_fields__.keys()
    if unknown:
        raise InvalidFileError(f"{where}: unknown key '{min(unknown)}'")
    try:
        adapter = TypeAdapter(kind)
        attack = adapter.validate_python(data)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise InvalidFileError(f"{where}: {place}: {first['msg'][:120]}") from None
    _check(attack, where)
    return attack


def _check(attack: Attack | Chase, where: str) -> None:
    seconds = attack.time_limit if isinstance(attack, Attack) else attack.seconds
    if not 0.0 < seconds <= LONGEST:
        raise InvalidFileError(f"{where}: an episode lasts between 0 and {LONGEST:.0f} s")
    if attack.seed < 0:
        raise InvalidFileError(f"{where}: seed: at least 0")
    if isinstance(attack, Chase) and (len(attack.arm) != 7 or len(attack.command) != 10):
        raise InvalidFileError(f"{where}: 'arm' has 7 and 'command' 10 numbers")
    if not _finite(asdict(attack)):
        raise InvalidFileError(f"{where}: a number is not finite")


def _finite(value: Any) -> bool:
    if isinstance(value, dict):
        return all(_finite(item) for item in value.values())
    if isinstance(value, (list, tuple)):
        return all(_finite(item) for item in value)
    return not isinstance(value, float) or abs(value) < 1e6
