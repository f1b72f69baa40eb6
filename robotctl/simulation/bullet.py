"""The kitchen in PyBullet: contact physics at 240 Hz. The only file that imports pybullet.

Everything outside sees body frames (origin at the centre of the lowest face); PyBullet's poses are those of the
centre of mass and are converted here. Nothing is ever held by a constraint: grasps hold by friction.
"""

from __future__ import annotations

import importlib.util
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from robotctl.body import CAPSULE_A, CAPSULE_B, CAPSULES, KEYPOINTS
from robotctl.errors import MissingPartError, UsageError
from robotctl.robot import JOINT_NAMES, STROKE
from robotctl.scene import Box, Furniture, Item, Scene
from robotctl.scene_files import scenes_folder
from robotctl.simulation.actuators import Drives
from robotctl.simulation.looks import LIGHT, finish, garments
from robotctl.simulation.people import Person
from robotctl.simulation.quiet import quiet
from robotctl.simulation.sensing import Cameras, Encoders, Snapshot
from robotctl.state import N_ACTIONS, TICK, Contact, Observation, Truth
from robotctl.task import PersonPlan

with quiet():
    import pybullet as p

STEPS = 12  # physics steps in a control tick
DT = TICK / STEPS  # [s]
SETTLE = 60  # physics steps before time 0, in which the objects come to rest
SOLVER_ITERATIONS = 100  # with 50 a held cup creeps by a degree a second
START_OPENING = 0.04  # of the fingers [m]
FINGER_GAIN = 0.4  # share of the remaining way that the finger motors want to cover in one physics step
GEAR_FORCE = 100.0  # the rack and pinion that moves both fingers together [N]
SPINNING_FRICTION = 0.002  # of objects [m]
WAKE_DISTANCE = 0.25  # a person this near wakes a resting object [m]

# Who collides with whom: group, and the groups it meets.
FURNITURE, ROBOT, OBJECT, PERSON = 1, 2, 4, 8
MEETS = {FURNITURE: ROBOT | OBJECT, ROBOT: FURNITURE | OBJECT | PERSON, OBJECT: 15, PERSON: ROBOT | OBJECT}

# Generators: one for each purpose, so that what one draws does not change what another sees.
_ITEMS, _CAMERAS, _ENCODERS, _PEOPLE = 0, 1, 2, 10


@dataclass(frozen=True)
class _Body:
    """A movable object in the engine: its id and its body frame in its centre-of-mass frame."""

    id: int
    offset: np.ndarray  # (3,)
    turn: np.ndarray  # (4,) xyzw


class BulletSimulator:
    """A scene with the robot and people. `rendering` also loads what can only be seen, so that `picture` works."""

    def __init__(self, scene: Scene, people: Sequence[PersonPlan] = (), rendering: bool = False) -> None:
        self.scene = scene
        self.plans = tuple(people)
        self.rendering = rendering
        self._client = -1
        self._truth: Truth | None = None

    # ---- the door -------------------------------------------------------------------------------------------

    def reset(self, seed: int) -> Observation:
        """Builds everything from nothing: a restored snapshot would not continue bit for bit."""
        self.close()
        self._client = p.connect(p.DIRECT)
        p.setGravity(0, 0, -9.81, physicsClientId=self._client)
        p.setPhysicsEngineParameter(
            fixedTimeStep=DT,
            numSolverIterations=SOLVER_ITERATIONS,
            solverResidualThreshold=0.0,  # ending early lets what is held slip by millimetres when contacts reorder
            deterministicOverlappingPairs=1,
            physicsClientId=self._client,
        )
        self._names: dict[int, str] = {}
        self._build_furniture()
        self._build_robot()
        self._build_objects(np.random.default_rng([seed, _ITEMS]))
        self._build_people(seed)
        sensors = self.scene.sensors
        names = [item.name for item in self.scene.items]
        self._encoders = Encoders(sensors, np.random.default_rng([seed, _ENCODERS]))
        self._cameras = Cameras(
            sensors, names, [plan.name for plan in self.plans], np.random.default_rng([seed, _CAMERAS])
        )
        self._ticks = 0
        self._place_people(0)
        for step in range(-SETTLE, 0):
            self._advance(step * DT)
        self._record([self._sample(0.0)], [])
        return self._observe()

    def step(self, action: np.ndarray) -> Observation:
        """One control tick of twelve physics steps."""
        if self._client < 0:
            raise UsageError("the simulator must be reset before it is stepped")
        action = np.asarray(action, float)
        if action.shape != (N_ACTIONS,) or not np.all(np.isfinite(action)):
            raise UsageError(f"an action is {N_ACTIONS} finite numbers, got {action}")
        self._drives.command(action)
        samples, contacts = [], []
        self._people_at([(self._ticks * STEPS + k + 1) * DT for k in range(STEPS)])
        for k in range(STEPS):
            begin = (self._ticks * STEPS + k) * DT
            self._place_people(k)
            self._advance(begin)
            samples.append(self._sample(begin + DT))
            contacts += self._contacts(begin + DT)
        self._ticks += 1
        self._record(samples, contacts)
        self._wake_near_people()
        return self._observe()

    def truth(self) -> Truth:
        """Ground truth of the last tick (of the first moment, right after a reset)."""
        if self._truth is None:
            raise UsageError("the simulator must be reset before it has a truth")
        return self._truth

    def close(self) -> None:
        """Frees the engine."""
        if self._client >= 0:
            p.disconnect(physicsClientId=self._client)
        self._client, self._truth = -1, None

    def __enter__(self) -> BulletSimulator:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def picture(self, width: int, height: int, view: Sequence[float], projection: Sequence[float]) -> np.ndarray:
        """What a camera sees, (height, width, 3) uint8; `view` and `projection` as OpenGL matrices, by columns.

        PyBullet's software renderer at twice the size, averaged: smooth, the same on every machine, no driver.
        (Its OpenGL plugin was tried: headless, its light draws bright wedges on walls.)
        """
        image = p.getCameraImage(
            2 * width,
            2 * height,
            viewMatrix=list(view),
            projectionMatrix=list(projection),
            lightDirection=LIGHT,
            lightColor=[1.0, 0.98, 0.95],
            lightDistance=8.0,
            shadow=1,
            lightAmbientCoeff=0.62,
            lightDiffuseCoeff=0.48,
            lightSpecularCoeff=0.06,
            renderer=p.ER_TINY_RENDERER,
            flags=p.ER_NO_SEGMENTATION_MASK,
            physicsClientId=self._client,
        )
        color = np.asarray(image[2], np.uint8).reshape(2 * height, 2 * width, 4)[:, :, :3]
        depth = np.asarray(image[3], float).reshape(2 * height, 2 * width)
        return finish(color, depth)

    # ---- building -------------------------------------------------------------------------------------------

    def _load(self, urdf: Path, **options: Any) -> int:
        flags = options.pop("flags", 0) | p.URDF_USE_INERTIA_FROM_FILE
        flags |= p.URDF_USE_MATERIAL_COLORS_FROM_MTL if self.rendering else p.URDF_IGNORE_VISUAL_SHAPES
        try:
            with quiet():
                return int(p.loadURDF(str(urdf), flags=flags, physicsClientId=self._client, **options))
        except p.error as error:
            raise MissingPartError(f"{urdf.name}: the physics engine cannot load it: {error}") from None

    def _group(self, body: int, group: int) -> None:
        for link in range(-1, p.getNumJoints(body, physicsClientId=self._client)):
            p.setCollisionFilterGroupMask(body, link, group, MEETS[group], physicsClientId=self._client)

    def _unseen(self) -> int:
        """A visual shape for what shall not be seen: without one a picture shows the collision shape."""
        if not self.rendering:
            return -1
        return int(p.createVisualShape(p.GEOM_SPHERE, radius=1e-4, physicsClientId=self._client))

    def _build_furniture(self) -> None:
        floor = p.createCollisionShape(p.GEOM_PLANE, physicsClientId=self._client)
        visual = -1
        if self.rendering:  # a little below, so that a scene may lay its own floor on it
            visual = p.createVisualShape(
                p.GEOM_BOX,
                halfExtents=[4.0, 4.0, 0.005],
                visualFramePosition=[0, 0, -0.03],
                rgbaColor=[0.78, 0.75, 0.70, 1.0],
                physicsClientId=self._client,
            )
        body = p.createMultiBody(0, floor, visual, physicsClientId=self._client)
        self._names[body] = "floor"
        self._group(body, FURNITURE)
        for piece in self.scene.furniture:
            solid = piece.urdf is not None and "<collision>" in piece.urdf.read_text()
            if piece.urdf is not None and (solid or self.rendering):
                body = self._load(piece.urdf, useFixedBase=True)
                self._names[body] = piece.name
                self._group(body, FURNITURE)
                self._lock_joints(body)
            if not solid:
                for box in piece.boxes:
                    self._build_box(piece, box, visible=piece.urdf is None)

    def _build_box(self, piece: Furniture, box: Box, visible: bool) -> None:
        client = {"physicsClientId": self._client}
        shape = p.createCollisionShape(p.GEOM_BOX, halfExtents=list(box.half), **client)
        visual = self._unseen()
        if visible and self.rendering:
            visual = p.createVisualShape(p.GEOM_BOX, halfExtents=list(box.half), rgbaColor=list(box.color), **client)
        turn = p.getQuaternionFromEuler([0, 0, box.yaw])
        body = p.createMultiBody(0, shape, visual, basePosition=list(box.center), baseOrientation=turn, **client)
        p.changeDynamics(body, -1, lateralFriction=0.6, **client)
        self._names[body] = piece.name
        self._group(body, FURNITURE)

    def _lock_joints(self, body: int) -> None:
        """Doors and racks of furniture stay as they are."""
        for joint in range(p.getNumJoints(body, physicsClientId=self._client)):
            p.setJointMotorControl2(
                body, joint, p.POSITION_CONTROL, targetPosition=0, force=1e4, physicsClientId=self._client
            )

    def _build_robot(self) -> None:
        client = {"physicsClientId": self._client}
        source = scenes_folder() / "assets" / "robot.urdf"
        spec = importlib.util.find_spec("pybullet_data")
        if spec is None or spec.origin is None:
            raise MissingPartError("pybullet_data is missing: install pybullet")
        meshes = Path(spec.origin).parent / "franka_panda" / "meshes"
        text = source.read_text().replace("franka:meshes", str(meshes))
        text = text.replace('filename="meshes/', f'filename="{source.parent.resolve()}/meshes/')
        with tempfile.TemporaryDirectory() as folder:
            resolved = Path(folder) / "robot.urdf"
            resolved.write_text(text)
            self._robot = robot = self._load(resolved, useFixedBase=True)
        self._group(robot, ROBOT)
        self._links = {-1: "base"}
        joint_of, movable = {}, []
        for joint in range(p.getNumJoints(robot, **client)):
            info = p.getJointInfo(robot, joint, **client)
            self._links[joint] = info[12].decode()
            joint_of[info[1].decode()] = joint
            if info[2] != p.JOINT_FIXED:
                movable.append(joint)
            p.changeDynamics(robot, joint, linearDamping=0, angularDamping=0, jointDamping=0, **client)
        self._joints = [joint_of[name] for name in JOINT_NAMES]
        self._fingers = [joint_of["panda_finger_joint1"], joint_of["panda_finger_joint2"]]
        if movable != self._joints + self._fingers:
            raise MissingPartError("robot.urdf: the joints are not in the order of robotctl.robot.JOINT_NAMES")
        start, actuators = self.scene.robot_start, self.scene.actuators
        for joint, value in zip(self._joints, start, strict=True):
            p.resetJointState(robot, joint, value, **client)
        for joint in self._fingers:
            p.resetJointState(robot, joint, START_OPENING / 2, **client)
        # A velocity motor of small force that wants to stand still is dry friction.
        p.setJointMotorControlArray(
            robot,
            self._joints,
            p.VELOCITY_CONTROL,
            targetVelocities=[0.0] * 10,
            forces=list(actuators.friction),
            **client,
        )
        gear = p.createConstraint(
            robot, self._fingers[0], robot, self._fingers[1], p.JOINT_GEAR, [0, 1, 0], [0, 0, 0], [0, 0, 0], **client
        )
        p.changeConstraint(gear, gearRatio=-1, erp=0.2, maxForce=GEAR_FORCE, **client)
        if self.rendering:  # two links that pybullet_data shows by their uncoloured collision meshes
            for joint in (joint_of["arm_foot"], joint_of["panda_joint7"]):
                p.changeVisualShape(robot, joint, rgbaColor=[0.94, 0.94, 0.94, 1.0], **client)
        self._drives = Drives(actuators, start, START_OPENING, self._inverse_dynamics)
        self._read_joints()

    def _inverse_dynamics(self, q: np.ndarray, dq: np.ndarray, ddq: np.ndarray) -> np.ndarray:
        """Joint torques for accelerations ddq of the robot with empty hand, (10,)."""
        opening = self._finger_position
        torque = p.calculateInverseDynamics(
            self._robot,
            [*q.tolist(), *opening],
            [*dq.tolist(), 0.0, 0.0],
            [*ddq.tolist(), 0.0, 0.0],
            physicsClientId=self._client,
        )
        return np.array(torque[:10])

    def _build_objects(self, generator: np.random.Generator) -> None:
        self._objects = [self._build_object(item, generator) for item in self.scene.items]
        self._offsets = np.array([body.offset for body in self._objects]).reshape(-1, 3)
        self._turns = np.array([body.turn for body in self._objects]).reshape(-1, 4)

    def _build_object(self, item: Item, generator: np.random.Generator) -> _Body:
        client = {"physicsClientId": self._client}
        kind = self.scene.kinds[item.kind]
        angle, radius = generator.uniform(0, 2 * np.pi), item.jitter * np.sqrt(generator.uniform())
        yaw = item.yaw + item.turn * generator.uniform(-1, 1)
        position = item.position + radius * np.array([np.cos(angle), np.sin(angle), 0.0])
        body = self._load(
            kind.urdf,
            basePosition=position.tolist(),
            baseOrientation=p.getQuaternionFromEuler([0, 0, yaw]),
            flags=p.URDF_ENABLE_SLEEPING,
        )
        self._names[body] = item.name
        self._group(body, OBJECT)
        p.changeDynamics(
            body, -1, lateralFriction=kind.friction, spinningFriction=SPINNING_FRICTION, linearDamping=0.0,
            angularDamping=0.0, **client,
        )  # fmt: skip
        info = p.getDynamicsInfo(body, -1, **client)
        offset, turn = p.invertTransform(info[3], info[4])
        return _Body(body, np.array(offset), np.array(turn))

    def _build_people(self, seed: int) -> None:
        client = {"physicsClientId": self._client}
        self._people = [Person(plan, np.random.default_rng([seed, _PEOPLE + i])) for i, plan in enumerate(self.plans)]
        self._figures: list[tuple[int, int]] = []  # body, and which capsule of all people it follows
        assets = scenes_folder() / "assets" / "meshes"
        for i, person in enumerate(self._people):
            keypoints = person.keypoints(0.0)
            length = np.linalg.norm(keypoints[CAPSULE_B] - keypoints[CAPSULE_A], axis=1)
            for capsule, extent, meshes in zip(CAPSULES, length, garments(i), strict=True):
                shape = p.createCollisionShape(p.GEOM_CAPSULE, radius=capsule.radius, height=float(extent), **client)
                row = len(CAPSULES) * i + CAPSULES.index(capsule)
                for mesh, color in meshes if self.rendering else [("", [])]:
                    visual = -1
                    if mesh:
                        file = str(assets / f"person_{mesh}.obj")
                        scale = [1.0, 1.0, float(extent)]
                        visual = p.createVisualShape(p.GEOM_MESH, fileName=file, meshScale=scale, **client)
                    body = p.createMultiBody(0, shape, visual, basePosition=[0, 0, -10], **client)
                    if mesh:
                        p.changeVisualShape(body, -1, rgbaColor=color, **client)
                    self._names[body] = person.name
                    self._group(body, PERSON)
                    self._figures.append((body, row))
                    shape = -1  # further meshes are only seen
        self._people_at([0.0])

    # ---- one physics step -----------------------------------------------------------------------------------

    def _advance(self, begin: float) -> None:
        """From `begin` to the next physics step."""
        client = self._client
        torque = self._drives.torque(begin, self._q, self._dq)
        p.setJointMotorControlArray(
            self._robot, self._joints, p.TORQUE_CONTROL, forces=torque.tolist(), physicsClientId=client
        )
        finger = self._drives.finger_target(DT) / 2
        grip = self.scene.actuators.grip_force
        p.setJointMotorControlArray(
            self._robot, self._fingers, p.POSITION_CONTROL, targetPositions=[finger, finger], forces=[grip, grip],
            positionGains=[FINGER_GAIN, FINGER_GAIN], physicsClientId=client,
        )  # fmt: skip
        p.stepSimulation(physicsClientId=client)
        self._read_joints()

    def _read_joints(self) -> None:
        states = p.getJointStates(self._robot, self._joints + self._fingers, physicsClientId=self._client)
        self._q = np.array([s[0] for s in states[:10]])
        self._dq = np.array([s[1] for s in states[:10]])
        self._finger_position = (states[10][0], states[11][0])

    def _people_at(self, times: Sequence[float]) -> None:
        """Prepares keypoints (K, P, J, 3) and the pose of every capsule at several times at once."""
        poses = [person.keypoints(time) for time in times for person in self._people]
        self._keypoints_ahead = np.array(poses).reshape(len(times), len(self._people), len(KEYPOINTS), 3)
        a = self._keypoints_ahead[:, :, CAPSULE_A].reshape(-1, 3)
        b = self._keypoints_ahead[:, :, CAPSULE_B].reshape(-1, 3)
        axis = b - a
        axis /= np.maximum(np.sqrt(np.sum(axis * axis, axis=1, keepdims=True)), 1e-9)
        # The shortest turn from z to the axis: q = (z x axis, 1 + z . axis) normalised; half a turn about x at -z.
        turn = np.stack([-axis[:, 1], axis[:, 0], np.zeros(len(axis)), 1.0 + axis[:, 2]], axis=1)
        turn[axis[:, 2] < -0.999999] = (1.0, 0.0, 0.0, 0.0)
        turn /= np.sqrt(np.sum(turn * turn, axis=1, keepdims=True))
        self._middle = (0.5 * (a + b)).reshape(len(times), -1, 3).tolist()
        self._turn = turn.reshape(len(times), -1, 4).tolist()

    def _place_people(self, k: int) -> None:
        """Puts every capsule where it is at the k-th of the prepared times."""
        self._keypoints = self._keypoints_ahead[k]
        middle, turn = self._middle[k], self._turn[k]
        for body, row in self._figures:
            p.resetBasePositionAndOrientation(body, middle[row], turn[row], physicsClientId=self._client)

    def _sample(self, time: float) -> tuple[Any, ...]:
        """What is true right now, as raw values."""
        poses = [p.getBasePositionAndOrientation(body.id, physicsClientId=self._client) for body in self._objects]
        return time, self._q, self._dq, sum(self._finger_position), poses, self._keypoints

    def _record(self, samples: list[tuple[Any, ...]], contacts: list[Contact]) -> None:
        """Makes the tick's truth, with objects in their body frames, and shows it to the cameras."""
        times, q, dq, opening, poses, keypoints = zip(*samples, strict=True)
        n = len(self._objects)
        center = np.array([[pose[0] for pose in step] for step in poses]).reshape(len(poses), n, 3)
        turn = np.array([[pose[1] for pose in step] for step in poses]).reshape(len(poses), n, 4)
        position = center + rotate(turn, self._offsets)
        quaternion = multiply(turn, self._turns)
        self._truth = Truth(
            time=np.array(times),
            q=np.array(q),
            dq=np.array(dq),
            opening=np.array(opening),
            object_names=tuple(item.name for item in self.scene.items),
            object_position=position,
            object_quaternion=quaternion,
            person_names=tuple(person.name for person in self._people),
            keypoints=np.array(keypoints),
            contacts=tuple(contacts),
        )
        for k, time in enumerate(times):
            self._cameras.record(Snapshot(time, position[k], quaternion[k], keypoints[k]))

    def _contacts(self, time: float) -> list[Contact]:
        """Touching pairs of a robot link and something else: deepest distance and summed force of each."""
        found: dict[tuple[int, int], tuple[float, float]] = {}
        for point in p.getContactPoints(bodyA=self._robot, physicsClientId=self._client):
            distance, force = point[8], point[9]
            if distance > 0.0 and force <= 0.0:
                continue
            deepest, total = found.get((point[3], point[2]), (np.inf, 0.0))
            found[point[3], point[2]] = (min(deepest, distance), total + force)
        return [
            Contact(time, self._links[link], self._names[body], distance, force)
            for (link, body), (distance, force) in found.items()
        ]

    def _wake_near_people(self) -> None:
        """A person moves without mass and velocity, which does not wake a resting object by itself.

        Only what did not move and is not held is woken: the engine forgets its contacts with it, which shakes a grip.
        """
        if not self._people or not self._objects or self._truth is None:
            return
        truth = self._truth
        position = truth.object_position[-1]
        gap = np.linalg.norm(self._keypoints.reshape(-1, 1, 3) - position, axis=2).min(axis=0)
        asleep = np.all(truth.object_position == position, axis=(0, 2))
        asleep &= np.all(truth.object_quaternion == truth.object_quaternion[-1], axis=(0, 2))
        touched = {contact.other for contact in truth.contacts}  # what is held may be perfectly still, yet awake
        asleep &= [name not in touched for name in truth.object_names]
        for i in np.flatnonzero((gap < WAKE_DISTANCE) & asleep):
            p.changeDynamics(
                self._objects[i].id, -1, activationState=p.ACTIVATION_STATE_WAKE_UP, physicsClientId=self._client
            )

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
        )


def rotate(quaternion: np.ndarray, vector: np.ndarray) -> np.ndarray:
    """Vectors (..., 3) turned by quaternions (..., 4) xyzw, broadcast."""
    axis, w = quaternion[..., :3], quaternion[..., 3:]
    vector = np.broadcast_to(vector, axis.shape)
    twice = 2.0 * np.cross(axis, vector)
    return vector + w * twice + np.cross(axis, twice)


def multiply(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Quaternion product (..., 4) xyzw: first `b`, then `a`."""
    b = np.broadcast_to(b, a.shape)
    av, aw, bv, bw = a[..., :3], a[..., 3:], b[..., :3], b[..., 3:]
    return np.concatenate([aw * bv + bw * av + np.cross(av, bv), aw * bw - np.sum(av * bv, -1, keepdims=True)], axis=-1)
