"""The kitchen in PyBullet: contact physics at 240 Hz.

Everything outside sees body frames (origin at the centre of the lowest face); PyBullet's poses are those of the
centre of mass and are converted here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from robotctl.body import KEYPOINTS, capsule_poses
from robotctl.errors import UsageError
from robotctl.robot import STROKE
from robotctl.scene import Scene
from robotctl.simulation.actuators import Drives
from robotctl.simulation.bullet_world import CAMERAS, DT, ENCODERS, SKIN, START_OPENING, STEPS, World
from robotctl.simulation.faults import NO_FAULTS, Faults
from robotctl.simulation.giving_way import BUMP, Clocks
from robotctl.simulation.quaternions import multiply, rotate
from robotctl.simulation.quiet import quiet
from robotctl.simulation.sensing import Cameras, Encoders, Skin, Snapshot
from robotctl.state import N_ACTIONS, TICK, Contact, Observation, Truth
from robotctl.task import PersonPlan

with quiet():
    import pybullet as p

SETTLE = 60  # physics steps before time 0, in which the objects come to rest
FINGER_GAIN = 0.4  # share of the remaining way that the finger motors want to cover in one physics step
WAKE_DISTANCE = 0.25  # a person this near wakes a resting object [m]


class BulletSimulator:
    """A scene with the robot and people; `faults` are how the world differs from the scene."""

    def __init__(self, scene: Scene, people: Sequence[PersonPlan] = (), faults: Faults = NO_FAULTS) -> None:
        self.scene = faults.world.scene(scene) if faults.world != NO_FAULTS.world else scene
        self._faults = faults
        self.plans = tuple(people)
        self._built: World | None = None
        self._truth: Truth | None = None
        self._torques: list[np.ndarray] = []

    # ---- the door -------------------------------------------------------------------------------------------

    def reset(self, seed: int) -> Observation:
        """Builds everything from nothing: a restored snapshot would not continue bit for bit."""
        self.close()
        self._built = World(self.scene, self.plans, seed, self._faults.world.mass)
        self._drives = Drives(self.scene.actuators, self.scene.robot_start, START_OPENING, self._inverse_dynamics)
        self._read_joints()
        self._clocks = Clocks(len(self._world.people), DT)
        self._people_at(np.zeros(1))
        sensors = self.scene.sensors
        names = [item.name for item in self.scene.items]
        self._encoders = Encoders(sensors, np.random.default_rng([seed, ENCODERS]))
        self._cameras = Cameras(
            sensors,
            names,
            [plan.name for plan in self.plans],
            np.random.default_rng([seed, CAMERAS]),
            self._faults.sensors,
        )
        self._skin = Skin(names, np.random.default_rng([seed, SKIN]))
        self._ticks = 0
        self._place_people(0)
        for step in range(-SETTLE, 0):
            self._advance(step * DT)
        self._record([self._sample(0.0)], [])
        self._torques = self._torques[-1:]
        return self._observe()

    def step(self, action: np.ndarray) -> Observation:
        """One control tick of twelve physics steps."""
        action = np.asarray(action, float)
        if action.shape != (N_ACTIONS,) or not np.all(np.isfinite(action)):
            raise UsageError(f"an action is {N_ACTIONS} finite numbers, got {action}")
        if self._built is None:
            raise UsageError("the simulator must be reset before it is stepped")
        self._drives.command(action)
        samples, contacts = [], []
        self._torques = []
        times = np.array([(self._ticks * STEPS + k + 1) * DT for k in range(STEPS)])
        self._people_at(times)
        for k in range(STEPS):
            begin = (self._ticks * STEPS + k) * DT
            self._place_people(k)
            self._advance(begin)
            samples.append(self._sample(begin + DT))
            touching = self._contacts(begin + DT)
            contacts += touching
            pressed = {contact.other for contact in touching if contact.distance < -BUMP}
            bumped = np.array([person.name in pressed for person in self._world.people], bool)
            if self._clocks.advance(bumped) and k + 1 < STEPS:
                self._people_at(times[k + 1 :], k + 1)
        self._ticks += 1
        self._record(samples, contacts)
        self._wake_near_people()
        return self._observe()

    def truth(self) -> Truth:
        """Ground truth of the last tick (of the first moment, right after a reset)."""
        if self._truth is None:
            raise UsageError("the simulator must be reset before it has a truth")
        return self._truth

    def torques(self) -> np.ndarray:
        """What the drives gave during the last tick, (K, 10) [N, N m], rows as in `truth`."""
        return np.array(self._torques)

    def close(self) -> None:
        """Frees the engine."""
        if self._built is not None:
            self._built.close()
        self._built = self._truth = None

    @property
    def _world(self) -> World:
        if self._built is None:
            raise UsageError("the simulator must be reset before it is used")
        return self._built

    def __enter__(self) -> BulletSimulator:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # ---- one physics step -----------------------------------------------------------------------------------

    def _advance(self, begin: float) -> None:
        """From `begin` to the next physics step."""
        world = self._world
        torque = self._drives.torque(begin, self._q, self._dq)
        self._torques.append(torque)
        p.setJointMotorControlArray(
            world.robot, world.joints, p.TORQUE_CONTROL, forces=torque.tolist(), physicsClientId=world.client
        )
        finger = self._drives.finger_target(DT) / 2
        grip = self.scene.actuators.grip_force
        p.setJointMotorControlArray(
            world.robot, world.fingers, p.POSITION_CONTROL, targetPositions=[finger, finger], forces=[grip, grip],
            positionGains=[FINGER_GAIN, FINGER_GAIN], physicsClientId=world.client,
        )  # fmt: skip
        p.stepSimulation(physicsClientId=world.client)
        if world.seams is not None:
            world.seams.step()
        self._read_joints()

    def _inverse_dynamics(self, q: np.ndarray, dq: np.ndarray, ddq: np.ndarray) -> np.ndarray:
        """Joint torques for accelerations ddq of the robot with empty hand, (10,)."""
        opening = self._finger_position
        torque = p.calculateInverseDynamics(
            self._world.robot,
            [*q.tolist(), *opening],
            [*dq.tolist(), 0.0, 0.0],
            [*ddq.tolist(), 0.0, 0.0],
            physicsClientId=self._world.client,
        )
        return np.array(torque[:10])

    def _read_joints(self) -> None:
        world = self._world
        states = p.getJointStates(world.robot, world.joints + world.fingers, physicsClientId=world.client)
        self._q = np.array([s[0] for s in states[:10]])
        self._dq = np.array([s[1] for s in states[:10]])
        self._finger_position = (states[10][0], states[11][0])

    def _people_at(self, times: np.ndarray, first: int = 0) -> None:
        """Prepares keypoints (K, P, J, 3) and the pose of every capsule at several times at once, from step `first`."""
        people = self._world.people
        plans = self._clocks.ahead(times)
        poses = [person.keypoints(time) for row in plans for time, person in zip(row.tolist(), people, strict=True)]
        self._first_ahead = first
        self._keypoints_ahead = np.array(poses).reshape(len(times), len(people), len(KEYPOINTS), 3)
        middle, turn = capsule_poses(self._keypoints_ahead)
        self._middle = middle.reshape(len(times), -1, 3).tolist()
        self._turn = turn.reshape(len(times), -1, 4).tolist()

    def _place_people(self, k: int) -> None:
        """Puts every capsule where it is at step k of the tick."""
        k -= self._first_ahead
        self._keypoints = self._keypoints_ahead[k]
        middle, turn = self._middle[k], self._turn[k]
        client = self._world.client
        for body, row in self._world.figures:
            p.resetBasePositionAndOrientation(body, middle[row], turn[row], physicsClientId=client)

    def _sample(self, time: float) -> tuple[Any, ...]:
        """What is true right now, as raw values."""
        client = self._world.client
        poses = [p.getBasePositionAndOrientation(body.id, physicsClientId=client) for body in self._world.objects]
        return time, self._q, self._dq, sum(self._finger_position), poses, self._keypoints

    def _record(self, samples: list[tuple[Any, ...]], contacts: list[Contact]) -> None:
        """Makes the tick's truth, with objects in their body frames, and shows it to the cameras."""
        times, q, dq, opening, poses, keypoints = zip(*samples, strict=True)
        world = self._world
        n = len(world.objects)
        center = np.array([[pose[0] for pose in step] for step in poses]).reshape(len(poses), n, 3)
        turn = np.array([[pose[1] for pose in step] for step in poses]).reshape(len(poses), n, 4)
        position = center + rotate(turn, world.offsets)
        quaternion = multiply(turn, world.turns)
        self._truth = Truth(
            time=np.array(times),
            q=np.array(q),
            dq=np.array(dq),
            opening=np.array(opening),
            object_names=tuple(item.name for item in self.scene.items),
            object_position=position,
            object_quaternion=quaternion,
            person_names=tuple(person.name for person in world.people),
            keypoints=np.array(keypoints),
            contacts=tuple(contacts),
        )
        for k, time in enumerate(times):
            self._cameras.record(Snapshot(time, position[k], quaternion[k], keypoints[k]))

    def _contacts(self, time: float) -> list[Contact]:
        """Touching pairs of a robot link and something else: deepest distance and summed force of each."""
        world = self._world
        found: dict[tuple[int, int], tuple[float, float]] = {}
        for point in p.getContactPoints(bodyA=world.robot, physicsClientId=world.client):
            distance, force = point[8], point[9]
            if distance > 0.0 and force <= 0.0:
                continue
            deepest, total = found.get((point[3], point[2]), (np.inf, 0.0))
            found[point[3], point[2]] = (min(deepest, distance), total + force)
        return [
            Contact(time, world.links[link], world.names[body], distance, force)
            for (link, body), (distance, force) in found.items()
        ]

    def _wake_near_people(self) -> None:
        """A person moves without mass and velocity, which does not wake a resting object by itself.

        Only what did not move and is not held is woken: the engine forgets its contacts with it, which shakes a grip.
        """
        world = self._world
        if not world.people or not world.objects or self._truth is None:
            return
        truth = self._truth
        position = truth.object_position[-1]
        gap = np.linalg.norm(self._keypoints.reshape(-1, 1, 3) - position, axis=2).min(axis=0)
        asleep = np.all(truth.object_position == position, axis=(0, 2))
        asleep &= np.all(truth.object_quaternion == truth.object_quaternion[-1], axis=(0, 2))
        touched = {contact.other for contact in truth.contacts}  # what is held may be perfectly still, yet awake
        asleep &= [name not in touched for name in truth.object_names]
        for i in np.flatnonzero((gap < WAKE_DISTANCE) & asleep):
            body = world.objects[i].id
            p.changeDynamics(body, -1, activationState=p.ACTIVATION_STATE_WAKE_UP, physicsClientId=world.client)

    def _observe(self) -> Observation:
        time = self._ticks * TICK
        position, velocity = self._encoders.read(self._q, self._dq)
        objects, people = self._cameras.read(time)
        reference = self._drives.reference
        return Observation(
            time=time,
            joint_position=position,
            joint_velocity=velocity,
            commanded_position=reference.position.copy(),
            commanded_velocity=reference.velocity.copy(),
            finger_opening=float(np.clip(sum(self._finger_position), 0.0, STROKE)),
            objects=objects,
            people=people,
            contact_force=self._skin.read(self.truth().contacts),
        )
