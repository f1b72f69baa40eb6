"""Builds a scene with the robot and people in an engine of its own: what stands where when an episode begins.

Nothing in a hand is ever held by a constraint: grasps hold by friction. Only pieces of joined food are (seams.py).
"""

from __future__ import annotations

import importlib.util
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from robotctl.body import CAPSULE_A, CAPSULE_B, CAPSULES
from robotctl.errors import MissingPartError
from robotctl.geometry import rotation_z
from robotctl.robot import JOINT_NAMES
from robotctl.scene import Box, Furniture, Item, Scene
from robotctl.scene_paths import scenes_folder
from robotctl.simulation.bodies import Body
from robotctl.simulation.people import Person
from robotctl.simulation.quiet import quiet
from robotctl.simulation.seams import Seams
from robotctl.state import TICK
from robotctl.task import PersonPlan

with quiet():
    import pybullet as p

STEPS = 12  # physics steps in a control tick
DT = TICK / STEPS  # [s]
SOLVER_ITERATIONS = 100  # with 50 a held cup creeps by a degree a second
START_OPENING = 0.04  # of the fingers [m]
GEAR_FORCE = 100.0  # the rack and pinion that moves both fingers together [N]
SPINNING_FRICTION = 0.002  # of objects [m]

# Who collides with whom: group, and the groups it meets.
FURNITURE, ROBOT, OBJECT, PERSON = 1, 2, 4, 8
MEETS = {FURNITURE: ROBOT | OBJECT, ROBOT: FURNITURE | OBJECT | PERSON, OBJECT: 15, PERSON: ROBOT | OBJECT}

# Generators: one for each purpose, so that what one draws does not change what another sees.
ITEMS, CAMERAS, ENCODERS, SKIN, PEOPLE = 0, 1, 2, 3, 10


class World:
    """The bodies of a scene in the engine, by their ids there."""

    client: int
    names: dict[int, str]  # of every body but the robot
    robot: int
    links: dict[int, str]  # of the robot; -1 is its base
    joints: list[int]  # in the order of robotctl.robot.JOINT_NAMES
    fingers: list[int]
    objects: list[Body]  # in the order of the scene's items
    offsets: np.ndarray  # (n, 3) of these bodies
    turns: np.ndarray  # (n, 4)
    seams: Seams | None  # of joined food, if there is any
    people: list[Person]
    figures: list[tuple[int, int]]  # body, and which capsule of all people it follows

    def __init__(self, scene: Scene, people: Sequence[PersonPlan], seed: int, payload: float = 1.0) -> None:
        self._scene = scene
        self._payload = payload  # factor of every object's mass
        self.client = p.connect(p.DIRECT)
        p.setGravity(0, 0, -9.81, physicsClientId=self.client)
        p.setPhysicsEngineParameter(
            fixedTimeStep=DT,
            numSolverIterations=SOLVER_ITERATIONS,
            solverResidualThreshold=0.0,  # ending early lets what is held slip by millimetres when contacts reorder
            deterministicOverlappingPairs=1,
            physicsClientId=self.client,
        )
        self.names = {}
        self._build_furniture()
        self._build_robot()
        self._build_objects(np.random.default_rng([seed, ITEMS]))
        self._build_people(people, seed)

    def close(self) -> None:
        """Frees the engine."""
        p.disconnect(physicsClientId=self.client)

    def _load(self, urdf: Path, **options: Any) -> int:
        flags = options.pop("flags", 0) | p.URDF_USE_INERTIA_FROM_FILE | p.URDF_IGNORE_VISUAL_SHAPES
        try:
            with quiet():
                return int(p.loadURDF(str(urdf), flags=flags, physicsClientId=self.client, **options))
        except p.error as error:
            raise MissingPartError(f"{urdf.name}: the physics engine cannot load it: {error}") from None

    def _group(self, body: int, group: int) -> None:
        for link in range(-1, p.getNumJoints(body, physicsClientId=self.client)):
            p.setCollisionFilterGroupMask(body, link, group, MEETS[group], physicsClientId=self.client)

    def _build_furniture(self) -> None:
        floor = p.createCollisionShape(p.GEOM_PLANE, physicsClientId=self.client)
        body = p.createMultiBody(0, floor, physicsClientId=self.client)
        self.names[body] = "floor"
        self._group(body, FURNITURE)
        for piece in self._scene.furniture:
            if piece.urdf is not None and "<collision>" in piece.urdf.read_text():
                body = self._load(piece.urdf, useFixedBase=True)
                self.names[body] = piece.name
                self._group(body, FURNITURE)
                self._lock_joints(body)
            else:
                for box in piece.boxes:
                    self._build_box(piece, box)

    def _build_box(self, piece: Furniture, box: Box) -> None:
        client = {"physicsClientId": self.client}
        shape = p.createCollisionShape(p.GEOM_BOX, halfExtents=list(box.half), **client)
        turn = p.getQuaternionFromEuler([0, 0, box.yaw])
        body = p.createMultiBody(0, shape, -1, basePosition=list(box.center), baseOrientation=turn, **client)
        p.changeDynamics(body, -1, lateralFriction=0.6, **client)
        self.names[body] = piece.name
        self._group(body, FURNITURE)

    def _lock_joints(self, body: int) -> None:
        """Doors and racks of furniture stay as they are."""
        for joint in range(p.getNumJoints(body, physicsClientId=self.client)):
            p.setJointMotorControl2(
                body, joint, p.POSITION_CONTROL, targetPosition=0, force=1e4, physicsClientId=self.client
            )

    def _build_robot(self) -> None:
        client = {"physicsClientId": self.client}
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
            self.robot = robot = self._load(resolved, useFixedBase=True)
        self._group(robot, ROBOT)
        self.links = {-1: "base"}
        joint_of, movable = {}, []
        for joint in range(p.getNumJoints(robot, **client)):
            info = p.getJointInfo(robot, joint, **client)
            self.links[joint] = info[12].decode()
            joint_of[info[1].decode()] = joint
            if info[2] != p.JOINT_FIXED:
                movable.append(joint)
            p.changeDynamics(robot, joint, linearDamping=0, angularDamping=0, jointDamping=0, **client)
        self.joints = [joint_of[name] for name in JOINT_NAMES]
        self.fingers = [joint_of["panda_finger_joint1"], joint_of["panda_finger_joint2"]]
        if movable != self.joints + self.fingers:
            raise MissingPartError("robot.urdf: the joints are not in the order of robotctl.robot.JOINT_NAMES")
        start, actuators = self._scene.robot_start, self._scene.actuators
        for joint, value in zip(self.joints, start, strict=True):
            p.resetJointState(robot, joint, value, **client)
        for joint in self.fingers:
            p.resetJointState(robot, joint, START_OPENING / 2, **client)
        # A velocity motor of small force that wants to stand still is dry friction.
        p.setJointMotorControlArray(
            robot,
            self.joints,
            p.VELOCITY_CONTROL,
            targetVelocities=[0.0] * 10,
            forces=list(actuators.friction),
            **client,
        )
        gear = p.createConstraint(
            robot, self.fingers[0], robot, self.fingers[1], p.JOINT_GEAR, [0, 1, 0], [0, 0, 0], [0, 0, 0], **client
        )
        p.changeConstraint(gear, gearRatio=-1, erp=0.2, maxForce=GEAR_FORCE, **client)

    def _build_objects(self, generator: np.random.Generator) -> None:
        starts = self._starts(generator)
        self.objects = [self._build_object(item, *start) for item, start in zip(self._scene.items, starts, strict=True)]
        self.offsets = np.array([body.offset for body in self.objects]).reshape(-1, 3)
        self.turns = np.array([body.turn for body in self.objects]).reshape(-1, 4)

        self.seams = self._build_seams()

    def _starts(self, generator: np.random.Generator) -> list[tuple[np.ndarray, float]]:
        """Where every item starts: position (3,) and yaw. What is joined moves as one, with its first piece."""
        starts = []
        for item in self._scene.items:
            angle, radius = generator.uniform(0, 2 * np.pi), item.jitter * np.sqrt(generator.uniform())
            yaw = item.yaw + item.turn * generator.uniform(-1, 1)
            starts.append((item.position + radius * np.array([np.cos(angle), np.sin(angle), 0.0]), yaw))
        index = {item.name: i for i, item in enumerate(self._scene.items)}
        for seam in self._scene.seams():  # in the order of the pieces: the first of them is where it starts
            first, second = self._scene.items[index[seam.first]], self._scene.items[index[seam.second]]
            position, yaw = starts[index[seam.first]]
            turn = yaw - first.yaw
            moved = position + rotation_z(turn) @ (second.position - first.position)
            starts[index[seam.second]] = (moved, second.yaw + turn)
        return starts

    def _build_seams(self) -> Seams | None:
        scene = self._scene
        if not scene.seams():
            return None
        bodies = {item.name: body for item, body in zip(scene.items, self.objects, strict=True)}
        kinds = {item.name: scene.kinds[item.kind] for item in scene.items}
        held = [
            (s, bodies[s.first], bodies[s.second], max(kinds[s.first].cut_force, kinds[s.second].cut_force))
            for s in scene.seams()
        ]
        edges = [(bodies[name], kind.edge) for name, kind in kinds.items() if kind.edge is not None]
        return Seams(self.client, held, edges)

    def _build_object(self, item: Item, position: np.ndarray, yaw: float) -> Body:
        client = {"physicsClientId": self.client}
        kind = self._scene.kinds[item.kind]
        body = self._load(
            kind.urdf,
            basePosition=position.tolist(),
            baseOrientation=p.getQuaternionFromEuler([0, 0, yaw]),
            flags=p.URDF_ENABLE_SLEEPING,
        )
        self.names[body] = item.name
        self._group(body, OBJECT)
        p.changeDynamics(
            body, -1, lateralFriction=kind.friction, spinningFriction=SPINNING_FRICTION, linearDamping=0.0,
            angularDamping=0.0, **client,
        )  # fmt: skip
        info = p.getDynamicsInfo(body, -1, **client)
        if self._payload != 1.0:
            inertia = [self._payload * moment for moment in info[2]]
            p.changeDynamics(body, -1, mass=self._payload * info[0], localInertiaDiagonal=inertia, **client)
        offset, turn = p.invertTransform(info[3], info[4])
        return Body(body, np.array(offset), np.array(turn))

    def _build_people(self, plans: Sequence[PersonPlan], seed: int) -> None:
        client = {"physicsClientId": self.client}
        self.people = [Person(plan, np.random.default_rng([seed, PEOPLE + i])) for i, plan in enumerate(plans)]
        self.figures = []
        for i, person in enumerate(self.people):
            keypoints = person.keypoints(0.0)
            length = np.linalg.norm(keypoints[CAPSULE_B] - keypoints[CAPSULE_A], axis=1)
            for row, (capsule, extent) in enumerate(zip(CAPSULES, length, strict=True), len(CAPSULES) * i):
                shape = p.createCollisionShape(p.GEOM_CAPSULE, radius=capsule.radius, height=float(extent), **client)
                body = p.createMultiBody(0, shape, -1, basePosition=[0, 0, -10], **client)
                self.names[body] = person.name
                self._group(body, PERSON)
                self.figures.append((body, row))
