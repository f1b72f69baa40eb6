"""This file turns the values of a step into protobuf messages, and back."""

from __future__ import annotations

from typing import Any

import numpy as np

from robotctl.body import KEYPOINTS
from robotctl.episode.schema import message_class, pack, unpack
from robotctl.episode.step import Foreseen, PlanSummary, Step, Timing, VerdictSummary
from robotctl.state import (
    N_JOINTS,
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

TOPICS = {
    "/observation": "Observation",
    "/belief": "Belief",
    "/plan": "Plan",
    "/verdict": "Verdict",
    "/truth": "Truth",
    "/timing": "Timing",
    "/status": "Status",  # last: it completes the step
}
_CLASS = {name: message_class(name) for name in TOPICS.values()}
_Margin, _Foreseen, _Named = message_class("Margin"), message_class("Foreseen"), message_class("Named")

Message = Any  # a protobuf message of robotctl.episode.schema


def encode(step: Step) -> dict[str, bytes]:
    """The step's messages by topic, in the order of `TOPICS`."""
    messages = {
        "/observation": encode_observation(step.observation),
        "/belief": encode_state(step.state, step.observation),
        "/verdict": encode_verdict(step.verdict),
        "/truth": encode_truth(step.truth),
        "/status": encode_status(step),
    }
    if step.plan is not None:
        messages["/plan"] = encode_plan(step.plan)
    if step.timing is not None:
        timing = step.timing
        messages["/timing"] = _CLASS["Timing"](plan_ms=timing.plan_ms, filter_ms=timing.filter_ms)
    return {topic: messages[topic].SerializeToString() for topic in TOPICS if topic in messages}


def decode(messages: dict[str, bytes]) -> Step:
    """The step of one tick from its messages by topic; KeyError or ValueError when they do not make one."""
    parsed = {topic: _CLASS[TOPICS[topic]].FromString(data) for topic, data in messages.items()}
    observation = decode_observation(parsed["/observation"])
    status = parsed["/status"]
    timing = parsed.get("/timing")
    return Step(
        observation=observation,
        state=decode_state(parsed["/belief"], observation),
        plan=decode_plan(parsed["/plan"]) if "/plan" in parsed else None,
        verdict=decode_verdict(parsed["/verdict"]),
        truth=decode_truth(parsed["/truth"]),
        skill=status.skill,
        appraisal=(status.appraisal, status.success_probability) if status.appraised else None,
        objective=(status.objective_done, status.objective_total),
        margins={m.id: (m.present, m.predicted) for m in status.margins},
        distance_to_people=status.distance_to_people,
        message=status.message,
        timing=Timing(timing.plan_ms, timing.filter_ms) if timing is not None else None,
        braked=status.braked,
        judged={margin.name: margin.value for margin in status.judged},
    )


def _flat(array: np.ndarray) -> list[float]:
    return array.ravel().tolist()


def _array(numbers: Any, *shape: int) -> np.ndarray:
    return np.array(numbers, dtype=float).reshape(shape)


def encode_observation(observation: Observation) -> Message:
    message = _CLASS["Observation"](
        time=observation.time,
        joint_position=_flat(observation.joint_position),
        joint_velocity=_flat(observation.joint_velocity),
        commanded_position=_flat(observation.commanded_position),
        commanded_velocity=_flat(observation.commanded_velocity),
        finger_opening=observation.finger_opening,
        contact_force=observation.contact_force,
    )
    for item in observation.objects:
        message.objects.add(
            name=item.name, position=item.position.tolist(), quaternion=item.quaternion.tolist(), stamp=item.stamp
        )
    for person in observation.people:
        message.people.add(name=person.name, keypoints=_flat(person.keypoints), stamp=person.stamp)
    return message


def decode_observation(message: Message) -> Observation:
    return Observation(
        time=message.time,
        joint_position=_array(message.joint_position, -1),
        joint_velocity=_array(message.joint_velocity, -1),
        commanded_position=_array(message.commanded_position, -1),
        commanded_velocity=_array(message.commanded_velocity, -1),
        finger_opening=message.finger_opening,
        contact_force=message.contact_force,
        objects=tuple(
            ObjectReading(o.name, _array(o.position, 3), _array(o.quaternion, 4), o.stamp) for o in message.objects
        ),
        people=tuple(PersonReading(p.name, _array(p.keypoints, -1, 3), p.stamp) for p in message.people),
    )


_AS_SENSED = {
    "q": "joint_position",
    "dq": "joint_velocity",
    "q_ref": "commanded_position",
    "dq_ref": "commanded_velocity",
}


def encode_state(state: State, observation: Observation) -> Message:
    """The belief. Joints and keypoints are left out where they are as the observation of the same tick has them.

    A person's history is not stored: it is made of the readings of earlier steps.
    """
    robot = state.robot
    message = _CLASS["Belief"](
        time=state.time,
        **{
            name: _flat(getattr(robot, name))
            for name, sensed in _AS_SENSED.items()
            if not np.array_equal(getattr(robot, name), getattr(observation, sensed))
        },
        opening=robot.opening,
        force=robot.force,
    )
    if robot.held is not None:
        held = robot.held
        message.held.name, message.held.kind = held.name, held.kind
        message.held.labels.extend(sorted(held.labels))
        message.held.hand_object.extend(_flat(held.T_hand_object))
    for item in state.objects:
        message.objects.add(
            name=item.name,
            kind=item.kind,
            labels=sorted(item.labels),
            position=item.position.tolist(),
            quaternion=item.quaternion.tolist(),
            stamp=item.stamp,
        )
    readings = {reading.name: reading.keypoints for reading in observation.people}
    for person in state.people:
        same = person.name in readings and np.array_equal(person.keypoints, readings[person.name])
        message.people.add(name=person.name, keypoints=[] if same else _flat(person.keypoints), stamp=person.stamp)
    return message


def decode_state(message: Message, observation: Observation) -> State:
    held = None
    if message.HasField("held"):
        h = message.held
        held = Held(h.name, h.kind, frozenset(h.labels), _array(h.hand_object, 4, 4))
    people = []
    readings = {reading.name: reading.keypoints for reading in observation.people}
    for person in message.people:
        keypoints = _array(person.keypoints, -1, 3) if person.keypoints else readings[person.name]
        people.append(PersonState(person.name, keypoints, person.stamp, keypoints[None]))
    return State(
        time=message.time,
        robot=RobotState(
            **{
                name: _array(getattr(message, name), -1) if getattr(message, name) else getattr(observation, sensed)
                for name, sensed in _AS_SENSED.items()
            },
            opening=message.opening,
            held=held,
            force=message.force,
        ),
        objects=tuple(
            ObjectState(o.name, o.kind, frozenset(o.labels), _array(o.position, 3), _array(o.quaternion, 4), o.stamp)
            for o in message.objects
        ),
        people=tuple(people),
    )


def encode_plan(plan: PlanSummary) -> Message:
    return _CLASS["Plan"](
        status=plan.status,
        terms=[_Named(name=name, value=cost) for name, cost in plan.cost.items()],
        iterations=plan.iterations,
        fresh=plan.fresh,
        margins=[_Foreseen(id=k, value=m.value, bound=m.bound, at=m.at, soon=m.soon) for k, m in plan.margins.items()],
        path=_flat(plan.path),
    )


def decode_plan(message: Message) -> PlanSummary:
    return PlanSummary(
        status=message.status,
        cost={term.name: term.value for term in message.terms},
        iterations=message.iterations,
        fresh=message.fresh,
        margins={m.id: Foreseen(m.value, m.bound, m.at, m.soon) for m in message.margins},
        path=_array(message.path, -1, 3),
    )


def encode_verdict(verdict: VerdictSummary) -> Message:
    return _CLASS["Verdict"](
        action=_flat(verdict.action),
        intervened=verdict.intervened,
        reason=verdict.reason,
        margin=verdict.margin,
        tightest=verdict.tightest,
        scale=verdict.scale,
        stopped=verdict.stopped,
        margins=[_Named(name=name, value=margin) for name, margin in verdict.margins.items()],
    )


def decode_verdict(message: Message) -> VerdictSummary:
    return VerdictSummary(
        action=_array(message.action, -1),
        intervened=message.intervened,
        reason=message.reason,
        margin=message.margin,
        tightest=message.tightest,
        scale=message.scale,
        stopped=message.stopped,
        margins={margin.name: margin.value for margin in message.margins},
    )


def encode_truth(truth: Truth) -> Message:
    message = _CLASS["Truth"](
        samples=len(truth.time),
        objects=truth.object_names,
        people=truth.person_names,
        keypoints_per_person=truth.keypoints.shape[2] if truth.person_names else len(KEYPOINTS),
        robot=pack(np.column_stack([truth.time, truth.q, truth.dq, truth.opening])),
        things=pack(np.concatenate([truth.object_position, truth.object_quaternion], axis=2)),
        persons=pack(truth.keypoints),
    )
    for c in truth.contacts:
        message.contacts.add(time=c.time, link=c.link, other=c.other, distance=c.distance, force=c.force)
    return message


def decode_truth(message: Message) -> Truth:
    k, objects, people = message.samples, len(message.objects), len(message.people)
    robot = unpack(message.robot, (k, 1 + 2 * N_JOINTS + 1))
    things = unpack(message.things, (k, objects, 7))
    return Truth(
        time=robot[:, 0],
        q=robot[:, 1 : 1 + N_JOINTS],
        dq=robot[:, 1 + N_JOINTS : -1],
        opening=robot[:, -1],
        object_names=tuple(message.objects),
        object_position=things[:, :, :3],
        object_quaternion=things[:, :, 3:],
        person_names=tuple(message.people),
        keypoints=unpack(message.persons, (k, people, message.keypoints_per_person, 3)),
        contacts=tuple(Contact(c.time, c.link, c.other, c.distance, c.force) for c in message.contacts),
    )


def encode_status(step: Step) -> Message:
    word, probability = step.appraisal or ("", 0.0)
    return _CLASS["Status"](
        time=step.observation.time,
        skill=step.skill,
        appraised=step.appraisal is not None,
        appraisal=word,
        success_probability=probability,
        objective_done=step.objective[0],
        objective_total=step.objective[1],
        margins=[_Margin(id=k, present=a, predicted=b) for k, (a, b) in step.margins.items()],
        distance_to_people=step.distance_to_people,
        message=step.message,
        braked=step.braked,
        judged=[_Named(name=name, value=margin) for name, margin in step.judged.items()],
    )
