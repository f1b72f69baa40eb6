"""One world model out of its parts: exact kinematics, and learned tracking error, people and skill outcomes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from robotctl.body import KEYPOINTS, PARTS
from robotctl.errors import InvalidFileError
from robotctl.files import one_line
from robotctl.state import State
from robotctl.trajectory import Trajectory
from robotctl.world_model import storage
from robotctl.world_model.actuators import INPUTS, ActuatorModel
from robotctl.world_model.contact import ContactModel
from robotctl.world_model.ensemble import Ensemble
from robotctl.world_model.human_motion import HISTORY, STEPS, HumanMotionModel
from robotctl.world_model.kinematic import roll_out
from robotctl.world_model.skill_outcome import SkillOutcomeModel, skill_from_notes
from robotctl.world_model.world_model import HORIZON

DEFAULT = Path(__file__).parent / "default" / "model.safetensors"


class Worst(Protocol):
    """What a safety case assumes of people: no prediction may be surer than this."""

    @property
    def human_error(self) -> float: ...

    def keypoint_speed(self) -> np.ndarray: ...


@dataclass(frozen=True)
class LearnedWorldModel:
    """The world model of a file. Everything the planner optimises through goes through `rollout`."""

    people: HumanMotionModel
    actuators: ActuatorModel
    outcomes: SkillOutcomeModel
    contact: ContactModel
    keypoint_speed: np.ndarray  # (4,) assumed top speeds, in the order of robotctl.body.PARTS [m/s]
    human_error: float  # of a keypoint reading [m]
    path: str = ""
    sha256: str = ""
    card: dict[str, Any] = field(default_factory=dict)

    @property
    def position_bound(self) -> np.ndarray:
        return self.actuators.position_bound

    @property
    def speed_bound(self) -> float:
        return self.actuators.speed_bound

    @property
    def late(self) -> float:
        """How far the arm trails its reference, on average over its joints [s]."""
        return float(np.mean(self.actuators.latency[3:]))

    @property
    def used_for(self) -> tuple[str, ...]:
        """What an episode takes from this model."""
        return ("human motion", "actuator residual", "skill outcome", "pushed objects")

    def rollout(self, state: State, accelerations: np.ndarray) -> Trajectory:
        return roll_out(self, state, accelerations)

    def residual(self, q: np.ndarray, dq: np.ndarray, ddq: np.ndarray, state: State) -> tuple[np.ndarray, np.ndarray]:
        return self.actuators.residual(q, dq, ddq, state.robot)

    def residual_jacobians(
        self, q: np.ndarray, dq: np.ndarray, ddq: np.ndarray, state: State
    ) -> tuple[np.ndarray, np.ndarray]:
        return self.actuators.residual_jacobians(q, dq, ddq, state.robot)

    def predict_people(self, state: State, times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        shape = (len(times), len(state.people), len(KEYPOINTS))
        keypoints, bound = np.zeros((*shape, 3)), np.zeros(shape)
        for i, person in enumerate(state.people):
            elapsed = np.maximum(times + (state.time - person.stamp), 0.0)
            keypoints[:, i], bound[:, i] = self.people.predict_person(
                person, elapsed, self.keypoint_speed, self.human_error
            )
        return keypoints, bound

    def success_probability(self, skill: str, kind: str, features: Mapping[str, float]) -> float:
        """Predicted probability that an attempt of the skill succeeds."""
        return self.outcomes.success_probability(skill, kind, features)

    def duration(self, skill: str, kind: str) -> float:
        """Expected time of a successful attempt [s]."""
        return self.outcomes.duration(skill, kind)

    def displacement(self, skill: str, kind: str) -> float:
        """Placement error that nine of ten attempts stay below [m]."""
        return self.outcomes.displacement(skill, kind)


def load_world_model(path: Path | None, assumptions: Worst) -> LearnedWorldModel:
    """The model of a file, or the one that comes with robotctl; InvalidFileError if it is not one."""
    path = Path(path) if path is not None else DEFAULT
    arrays, notes, sha256 = storage.load(path)
    people, actuators, outcomes, contact = parts_from(path, arrays, notes)
    return LearnedWorldModel(
        people,
        actuators,
        outcomes,
        contact,
        np.asarray(assumptions.keypoint_speed(), float),
        float(assumptions.human_error),
        "robotctl default" if path == DEFAULT else str(path),
        sha256,
        storage.load_card(path),
    )


def save_world_model(
    path: Path,
    people: HumanMotionModel,
    actuators: ActuatorModel,
    outcomes: SkillOutcomeModel,
    contact: ContactModel,
    card: dict[str, Any],
) -> str:
    """Writes the parts to a model file with its card; returns the sha256."""
    arrays = {
        "people.input_mean": people.input_mean,
        "people.input_basis": people.input_basis,
        "people.output_mean": people.output_mean,
        "people.output_basis": people.output_basis,
        "people.linear": people.linear,
        "people.factor": people.factor,
        "people.unusual": people.unusual,
        **people.network.arrays("people.network"),
        "actuators.latency": actuators.latency,
        "actuators.inertia": actuators.inertia,
        "actuators.center": actuators.center,
        "actuators.spread": actuators.spread,
        "actuators.scale": actuators.scale,
        "actuators.position_bound": actuators.position_bound,
        "actuators.speed_bound": np.array([actuators.speed_bound]),
        **actuators.network.arrays("actuators.network"),
    }
    arrays |= contact.arrays()
    for name, skill in outcomes.skills.items():
        if skill.network is not None:
            arrays |= skill.network.arrays(f"skill.{name}")
    notes = {"skills": {name: skill.notes() for name, skill in outcomes.skills.items()}}
    return storage.save(path, {k: np.asarray(v, np.float32) for k, v in arrays.items()}, notes, card)


def parts_from(
    path: Path, arrays: dict[str, np.ndarray], notes: Mapping[str, Any]
) -> tuple[HumanMotionModel, ActuatorModel, SkillOutcomeModel, ContactModel]:
    """The learned parts of a file's arrays, every shape checked."""
    read, told = HISTORY * len(KEYPOINTS) * 3, len(STEPS) * len(KEYPOINTS) * 3
    storage.expect(
        path,
        arrays,
        {
            "people.input_mean": (read,),
            "people.input_basis": (read, None),
            "people.output_mean": (told,),
            "people.output_basis": (told, None),
            "people.linear": (None, None),
            "people.factor": (len(STEPS), len(PARTS)),
            "people.unusual": (2,),
            "actuators.latency": (10,),
            "actuators.inertia": (10,),
            "actuators.center": (INPUTS,),
            "actuators.spread": (INPUTS,),
            "actuators.scale": (20,),
            "actuators.position_bound": (HORIZON + 1,),
            "actuators.speed_bound": (1,),
        },
    )
    wide = {name: array.astype(float) for name, array in arrays.items()}
    components, told_components = arrays["people.input_basis"].shape[1], arrays["people.output_basis"].shape[1]
    storage.expect(path, arrays, {"people.linear": (told_components, components)})
    for name in ("people.factor", "actuators.spread", "actuators.position_bound", "actuators.speed_bound"):
        if not np.all(arrays[name] >= 0.0) or (name == "actuators.spread" and not np.all(arrays[name] > 0.0)):
            raise InvalidFileError(f"{path}: array '{name}' must be positive")
    try:
        people_network = Ensemble.from_arrays(arrays, "people.network")
        _fits(people_network, "people.network", components, told_components + len(STEPS) * len(PARTS))
        actuator_network = Ensemble.from_arrays(arrays, "actuators.network")
        _fits(actuator_network, "actuators.network", INPUTS, 20)
        skills = {}
        for name, entry in dict(notes["skills"]).items():
            network = Ensemble.from_arrays(arrays, f"skill.{name}") if entry["network"] else None
            skills[str(name)] = skill_from_notes(entry, network)
        contact = ContactModel.from_arrays(arrays)
    except (KeyError, IndexError, ValueError, TypeError, AttributeError, OverflowError) as error:
        message = f"{error.args[0]} is missing" if isinstance(error, KeyError) else str(error)
        raise InvalidFileError(f"{path}: {one_line(message)[:200]}") from error
    people = HumanMotionModel(
        wide["people.input_mean"],
        wide["people.input_basis"],
        wide["people.output_mean"],
        wide["people.output_basis"],
        wide["people.linear"],
        people_network,
        wide["people.factor"],
        wide["people.unusual"],
    )
    actuators = ActuatorModel(
        wide["actuators.latency"],
        wide["actuators.inertia"],
        wide["actuators.center"],
        wide["actuators.spread"],
        wide["actuators.scale"],
        actuator_network,
        wide["actuators.position_bound"],
        float(wide["actuators.speed_bound"][0]),
    )
    return people, actuators, SkillOutcomeModel(skills), contact


def _fits(network: Ensemble, name: str, inputs: int, outputs: int) -> None:
    if network.weights[0].shape[2] != inputs or network.weights[-1].shape[1] != outputs:
        raise ValueError(
            f"'{name}' maps {network.weights[0].shape[2]} to {network.weights[-1].shape[1]} numbers, "
            f"expected {inputs} to {outputs}"
        )
