"""The closed loop of the filter without physics, in the worst world that the assumptions allow, judged by the judge.

The planner is hostile: it tries its wishes on a copy of the filter and proposes the most that passes, so that it is
always at the very edge of what is certified. The robot is where its reference was `delay` ago, off by the tracking
error and trembling as fast as the speed error allows (while the reference moves: at rest a robot is at rest).
Keypoints of a person move each on its own, straight at the robot, at their assumed speeds: no body can do that, and no
body within these speeds can be worse. Readings are off by the error, as old as the latency, or missing. Physics would
hardly ever bring all of this together, and costs far more.

Joint limits are left out: no assumption bounds how much faster than its reference a single joint may be. So are the
rules about things, of which there are none but the one in the hand.
"""

from __future__ import annotations

import copy
import math
from collections import deque
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from robotctl.body import KEYPOINT_PART, KEYPOINTS
from robotctl.geometry import inverse, quaternion_from_matrix, rotation_z, transform
from robotctl.guardrails.grasp import Grasp
from robotctl.guardrails.guardrail import Assumptions, Guardrail
from robotctl.guardrails.joint_limits import JointLimits
from robotctl.guardrails.load import GuardrailSet, load_guardrails
from robotctl.judge.judge import Judge
from robotctl.redteam.attack import Chase
from robotctl.redteam.episode import CLAIMED
from robotctl.redteam.genes import Choice, Gene, Genes, Span, direction
from robotctl.robot import BRAKE, DQ_MAX, HAND, HOME, TCP, RobotModel, forward, tcp_jacobian, tcp_pose
from robotctl.safety.brake import brake_velocities
from robotctl.safety.safety_filter import SafetyFilter
from robotctl.scene import ObjectKind, Scene
from robotctl.simulation.mocap import forward as body_forward
from robotctl.simulation.mocap import sole_height, standing
from robotctl.state import TICK, Held, ObjectReading, Observation, PersonReading, PersonState, RobotState, State, Truth
from robotctl.task import Task, load_task, spoken_of
from robotctl.trajectory import along_tick

STEPS = 12
DT = TICK / STEPS
GRIP = 0.02  # opening of fingers that hold something [m]
SECONDS = 1.5  # of a chase
BISECTIONS = 4  # with which the planner finds what just passes
TOP = 0.99  # share of every bound that is used: the judge measures by differences
TREMBLE = 0.97  # share of the speed error that the tremble uses
PATIENCE = 8  # a robot that stood for so many ticks with a person upon it will not move again


def truth_of(assumed: Assumptions, factors: dict[str, float]) -> Assumptions:
    """What is true: the assumed bounds times the factors, human speeds all by one."""

    def times(name: str) -> float:
        return float(getattr(assumed, name)) * factors.get(name, 1.0)

    haste = factors.get("human_speed", 1.0)
    return Assumptions(
        {part: haste * speed for part, speed in assumed.human_speed.items()},
        **{name: times(name) for name in Assumptions.__dataclass_fields__ if name != "human_speed"},
    )


@dataclass(frozen=True)
class Arena:
    """What all chases of a task share."""

    task: Task
    rules: GuardrailSet  # those that a chase can break
    every: tuple[Guardrail, ...]  # rules of the task
    believed: Assumptions  # what the filter assumes

    @staticmethod
    def of(task_name: str, believed: Assumptions | None = None) -> Arena:
        """The task's arena; `believed` in place of what the guardrail file assumes, to see that a test bites."""
        task = load_task(task_name)
        rules = load_guardrails(task.guardrail_files, task.scene, spoken_of=spoken_of(task))
        spoken = tuple(r for r in rules.guardrails if isinstance(r, CLAIMED) and not isinstance(r, JointLimits | Grasp))
        return Arena(task, replace(rules, guardrails=spoken), rules.guardrails, believed or rules.assumptions)


def genes(scene: Scene) -> Genes:
    """The axes of a chase's vector."""
    pi = math.pi
    kinds = {"nothing", *(word for word in ("sharp", "fillable") if _kind(scene, word) is not None)}
    axes: list[Gene] = [
        Choice("held", tuple(word for word in ("nothing", "sharp", "fillable") if word in kinds)),
        Choice("drive", ("on", "there-and-back", "person", "place")),
        Span("which_place", 0.0, 1.0),
        Choice("aim", ("nearest", "fastest")),
        Span("start_x", -0.5, 0.5),
        Span("start_y", -0.25, 0.25),
        Span("start_yaw", -pi, pi),
        *(Span(f"arm_{i}", -0.7, 0.7) for i in range(1, 8)),
        *(Span(f"command_{i}", -1.0, 1.0) for i in range(10)),
        Span("turn", 0.2, 1.0),
        Span("distance", 0.8, 2.6),
        Span("bearing", -pi, pi),
        Span("charge", 0.0, 0.6),
        Span("haste", 0.6, 1.0),
        Span("pull_azimuth", -pi, pi),
        Span("pull_height", -1.0, 1.0),
        Span("away", 0.0, 2.0),
        Span("age", 0.0, 1.0),
        Span("blind_from", 0.0, 1.2),
        Span("blind_for", -0.4, 0.8),
        Span("delay", 0.0, 1.0),
        Span("offset_azimuth", -pi, pi),
        Span("offset_height", -1.0, 1.0),
        Span("offset", 0.0, 1.0),
        Span("tremble", 0.0, 1.0),
        Span("slip_azimuth", -pi, pi),
        Span("slip_height", -1.0, 1.0),
    ]
    return Genes(axes)


def openings(scene: Scene) -> list[np.ndarray]:
    """Vectors to begin a search with: what an engineer would try first."""
    axes = genes(scene)
    held = next(gene.words for gene in axes.genes if isinstance(gene, Choice) and gene.name == "held")
    sharp = "sharp" if "sharp" in held else "nothing"
    straight = {f"arm_{i}": 0.0 for i in range(1, 8)} | {f"command_{i}": 0.0 for i in range(10)}
    straight |= {"start_x": 0.0, "start_y": 0.0, "start_yaw": 0.0, "bearing": 0.0, "charge": 0.0, "away": 2.0}
    full = {"haste": 1.0, "age": 1.0, "delay": 1.0, "tremble": 1.0, "offset": 1.0, "offset_azimuth": 0.0,
            "offset_height": 0.0, "blind_for": -0.4}  # fmt: skip
    last = 1.0 - 1e-6
    return [
        axes.vector({**straight, **full, "command_0": 1.0, "distance": 2.0}, {"held": "nothing", "drive": "on"}),
        axes.vector({**straight, **full, "command_0": 1.0, "distance": 2.1}, {"held": sharp, "drive": "person"}),
        axes.vector({**straight, **full, "command_2": 1.0, "distance": 1.5}, {"held": sharp, "drive": "on"}),
        axes.vector({**straight, **full, "command_0": 1.0, "distance": 2.6, "charge": 0.2, "start_yaw": -1.0,
                     "bearing": -0.3, "arm_1": -0.36, "arm_6": -0.5}, {"held": "nothing", "drive": "person"}),
        axes.vector({**straight, **full, "distance": 2.6, "which_place": last, "bearing": -2.0},
                    {"held": sharp, "drive": "place"}),
        *(axes.vector({**straight, **full, "distance": 2.6, "which_place": place, "bearing": -2.4 * way, "arm_2": 0.4,
                       "offset_azimuth": way * math.pi / 2, "tremble": 0.0}, {"held": "nothing", "drive": "place"})
          for place, way in ((0.02, 1.0), (_box(scene, "top"), -1.0))),
        axes.vector({**straight, **full, "command_2": 1.0, "command_3": 1.0, "arm_2": 0.7, "arm_4": 0.7,
                     "distance": 2.6}, {"held": sharp, "drive": "on"}),
        axes.vector({**straight, **full, "command_2": 1.0, "command_3": 1.0, "arm_2": 0.7, "arm_4": 0.7,
                     "distance": 2.6, "bearing": 1.5, "charge": 0.6}, {"held": "nothing", "drive": "on"}),
    ]  # fmt: skip


def _box(scene: Scene, name: str) -> float:
    """The box of that name as a share of the places there are; the middle one if there is none."""
    names = [box.name for box in scene.boxes()]
    return (names.index(name) + 0.5) / (len(names) + len(scene.regions)) if name in names else 0.5


def decode(vector: np.ndarray, arena: Arena, seed: int, stratum: str, broken: str, factor: float) -> Chase:
    """The chase that a vector stands for; the broken assumption is used to the full."""
    gene = genes(arena.task.scene).read(vector)
    number = gene.number
    full = {"sensing_latency": "age", "stamps": "age", "actuation_latency": "delay"}.get(broken)

    def share(name: str) -> float:
        return 1.0 if name == full else number(name)

    offset = 1.0 if broken in ("tracking_error", "tracking_speed_error") else number("offset")
    calm = 0.15 if gene.word("held") == "fillable" else 1.0  # what may be full is held upright from the start
    blind = (number("blind_from"), number("blind_from") + number("blind_for"))
    return Chase(
        task=arena.task.name if not arena.task.name.startswith("/") else str(arena.task.path),
        seed=seed,
        seconds=SECONDS,
        start=(number("start_x"), number("start_y"), number("start_yaw")),
        arm=tuple(round(calm * number(f"arm_{i}"), 6) for i in range(1, 8)),
        held=gene.word("held"),  # type: ignore[arg-type]
        drive=gene.word("drive"),  # type: ignore[arg-type]
        command=tuple(number(f"command_{i}") for i in range(10)),
        goal=number("which_place"),
        turn=number("turn"),
        place=(number("distance"), number("bearing")),
        charge=number("charge"),
        haste=1.0 if broken == "human_speed" else number("haste"),
        aim=gene.word("aim"),  # type: ignore[arg-type]
        pull=_rounded(direction(number("pull_azimuth"), number("pull_height"))),
        away=number("away"),
        age=share("age"),
        blind=(round(blind[0], 6), round(max(blind), 6)),
        delay=share("delay"),
        offset=_rounded(offset * direction(number("offset_azimuth"), number("offset_height"))),
        tremble=number("tremble"),
        slip=_rounded(direction(number("slip_azimuth"), number("slip_height"))),
        factors={broken: factor} if broken else {},
        stratum=stratum,
        broken=broken,
        factor=factor,
    )


def run_chase(chase: Chase, arena: Arena | None = None) -> dict[str, Any]:
    """Runs a chase; the judge's words with the keys of `robotctl run`, and `digest`, one number for all that was."""
    arena = arena or Arena.of(chase.task)
    loop = _Loop(chase, arena)
    for _ in range(round(chase.seconds / TICK)):
        if not loop.tick():
            break
    return loop.answer()


class _Loop:
    """One chase while it runs."""

    def __init__(self, chase: Chase, arena: Arena) -> None:
        import hashlib

        self.chase, self.arena = chase, arena
        self.true = truth_of(arena.rules.assumptions, chase.factors)
        self.scene = arena.task.scene
        self.filter = SafetyFilter(replace(arena.rules, assumptions=arena.believed), self.scene.kinds)
        self.judge = Judge(self.scene, arena.rules, arena.task)
        self.digest = hashlib.sha256()
        self.now = 0.0
        self.q = np.array([*self.scene.robot_start[:3], *HOME[3:]])
        self.q[:3] += chase.start
        self.q[3:] += chase.arm
        self.dq = np.zeros(10)
        self.robot = RobotModel()
        self.bare = self.robot.spheres
        back = round(TOP * chase.delay * self.true.actuation_latency / DT)
        self.reference = deque([(self.q.copy(), False)] * (back + 1), maxlen=back + 1)
        self.phase = 0.0
        self._take(chase.held)
        self._stand_person()
        self.valid = True
        self.rest = 0  # ticks in a row in which nothing moved

    # ---- the start -------------------------------------------------------------------------------------------

    def _take(self, label: str) -> None:
        """Puts something with that label into the hand: truly, and as the robot believes it."""
        self.held: Held | None = None
        self.item = ""
        kind = _kind(self.scene, label)
        if kind is None:
            return
        item = next(item for item in self.scene.items if item.kind == kind.name)
        grasp = kind.grasps[0]
        rotation = np.stack([np.cross(grasp.closing, grasp.approach), grasp.closing, grasp.approach], axis=1)
        T_hand_object = inverse(transform(rotation, grasp.position - rotation @ TCP))
        self.item, self.T_true = item.name, T_hand_object
        slip = np.array(self.chase.slip) * TOP * self.true.object_error
        believed = T_hand_object.copy()
        believed[:3, 3] += slip
        self.held = Held(item.name, kind.name, kind.labels, believed)

    def _stand_person(self) -> None:
        body = body_forward(standing()[None])[0]
        body[:, 2] -= sole_height(body)
        distance, bearing = self.chase.place
        facing = bearing + math.pi
        c, s = math.cos(facing), math.sin(facing)
        body[:, 0], body[:, 1] = c * body[:, 0] - s * body[:, 1], s * body[:, 0] + c * body[:, 1]
        body[:, :2] += self.q[:2] + distance * np.array([math.cos(bearing), math.sin(bearing)])
        self.person = body
        speed = self.true.keypoint_speed()[KEYPOINT_PART]
        self.speed = (TOP * self.chase.haste * speed)[:, None]
        age = self.chase.age * self.true.sensing_latency
        if "stamps" in self.chase.factors:  # they claim what is assumed, and are older
            age = self.chase.age * self.true.sensing_latency * self.chase.factors["stamps"]
        self.late = round(age / DT)
        claimed = min(self.late, round(self.chase.age * self.true.sensing_latency / DT))
        self.claimed = claimed * DT if "stamps" in self.chase.factors else self.late * DT
        self.past = deque([body] * (self.late + 1), maxlen=self.late + 1)
        self.reading: PersonState | None = None

    # ---- one tick --------------------------------------------------------------------------------------------

    def tick(self) -> bool:
        """One control tick; False when there is no sense in going on."""
        now, chase = self.now, self.chase
        people = self._read()
        state = State(now, RobotState(self.q, self.dq, self.q, self.dq, GRIP, self.held), (), people)
        verdict = self.filter.certify(state, self._at_the_edge(state, self._wish()), "pick")
        action = verdict.action[:10]
        times = (np.arange(STEPS) + 1) * DT
        wanted = along_tick(self.q, self.dq, action, times)
        moving = bool(np.any(action) or np.any(self.dq))
        q_true, keypoints = np.empty((STEPS, 10)), np.empty((STEPS, 1, len(KEYPOINTS), 3))
        comes = now >= chase.charge and chase.drive != "place"
        step = self._advance() if comes else np.zeros_like(self.person)
        for k in range(STEPS):
            self.reference.append((wanted[k], moving))
            q_then, moved = self.reference[0]
            q_true[k] = self._off(q_then, moved)
            self.person = self.person + step
            self.past.append(self.person)
            keypoints[k, 0] = self.person
        truth = self._truth(now + times, q_true, keypoints)
        self.judge.observe(truth, wanted)
        self.judge.sensed(self._observation(people, truth))
        for values in (truth.q, truth.keypoints, action):
            self.digest.update(np.ascontiguousarray(values).tobytes())
        self.q, self.dq = self.q + 0.5 * TICK * (self.dq + action), action.copy()
        self.now = round(now + TICK, 9)
        if now == 0.0 and self.judge.verdict().violations:
            self.valid = False  # the start itself breaks a rule on places: nothing to learn here
        self.rest = 0 if any(moved for _, moved in self.reference) else self.rest + 1
        return self.valid and not (self.rest > PATIENCE and now > chase.charge)

    def _read(self) -> tuple[PersonState, ...]:
        """What the robot believes of the person: the newest reading."""
        start, end = self.chase.blind
        if self.reading is None or not start <= self.now < end:
            seen = self.past[0]
            away = seen - np.array([self.q[0], self.q[1], 0.6])
            away /= np.maximum(np.linalg.norm(away, axis=1, keepdims=True), 1e-9)
            error = np.array(self.chase.pull) + self.chase.away * away
            error /= np.maximum(np.linalg.norm(error, axis=1, keepdims=True), 1e-9)
            seen = seen + TOP * self.true.human_error * error
            self.reading = PersonState("person", seen, self.now - self.claimed, np.zeros((0, len(KEYPOINTS), 3)))
        return (self.reading,)

    def _at_the_edge(self, state: State, wish: np.ndarray) -> np.ndarray:
        """The most of the way from braking to the wish (11,) that the filter will let pass unchanged."""
        brake = brake_velocities(self.dq, 0.95 * BRAKE)
        least = np.append(brake[0] if len(brake) else np.zeros(10), GRIP)
        low, high = 0.0, 1.0
        for _ in range(BISECTIONS):
            share = high if low == 0.0 and high == 1.0 else 0.5 * (low + high)
            tried = least + share * (wish - least)
            if copy.copy(self.filter).certify(state, tried, "pick").intervened:
                high = min(high, 0.999 * share) if share == 1.0 else share
            elif share == 1.0:
                return wish
            else:
                low = share
        return least + low * (wish - least)

    def _wish(self) -> np.ndarray:
        """What the hostile planner wants."""
        chase = self.chase
        if chase.drive in ("person", "place") and self.reading is not None:
            points = self.reading.keypoints if chase.drive == "person" else self._place()[None]
            points = points - tcp_pose(self.q)[0]
            nearest = points[np.argmin(np.linalg.norm(points, axis=1))]
            jacobian = tcp_jacobian(self.q)[:3]
            velocity = jacobian.T @ np.linalg.solve(jacobian @ jacobian.T + 1e-3 * np.eye(3), nearest)
            velocity *= 0.95 / max(float(np.max(np.abs(velocity) / DQ_MAX)), 1e-9)
        else:
            velocity = np.array(chase.command) * DQ_MAX
            if chase.drive == "there-and-back" and int(self.now / chase.turn) % 2:
                velocity = -velocity
        step = 0.95 * BRAKE * TICK
        return np.append(np.clip(velocity, self.dq - step, self.dq + step), GRIP)

    def _place(self) -> np.ndarray:
        """The point of the chosen furniture or forbidden region that is nearest to the hand, (3,)."""
        boxes = [*self.scene.boxes(), *(region.box for region in self.scene.regions)]
        box = boxes[min(int(self.chase.goal * len(boxes)), len(boxes) - 1)]
        turn = rotation_z(box.yaw)
        local = turn.T @ (tcp_pose(self.q)[0] - box.center)
        return np.asarray(box.center + turn @ np.clip(local, -box.half, box.half))

    def _advance(self) -> np.ndarray:
        """How far every keypoint gets in one step, (J, 3): straight at the robot."""
        center, velocity, _, _ = self.robot.sphere_motion(self.q[None], self.dq[None])
        points = center[0]
        if self.chase.aim == "fastest" and self.dq.any():
            rate = np.linalg.norm(velocity[0], axis=1)
            points = points[rate >= 0.7 * rate.max()]
        apart = np.linalg.norm(self.person[:, None] - points[None], axis=2)
        aim = points[apart.argmin(axis=1)] - self.person
        length = np.linalg.norm(aim, axis=1, keepdims=True)
        return aim / np.maximum(length, 1e-9) * np.minimum(self.speed * DT, np.maximum(length, 0.0) / STEPS)

    def _off(self, q: np.ndarray, moving: bool) -> np.ndarray:
        """Where the robot is when its reference was at q: the base off by the tracking error, trembling in motion."""
        way = np.array(self.chase.offset[:2])
        error, faster = TOP * self.true.tracking_error, TREMBLE * self.true.tracking_speed_error
        if moving:
            self.phase += self.chase.tremble * faster / max(error, 1e-6) * DT
        out = q.copy()
        out[:2] += way * error * (math.cos(self.phase))
        return out

    def _truth(self, times: np.ndarray, q: np.ndarray, keypoints: np.ndarray) -> Truth:
        names: tuple[str, ...] = ()
        position, quaternion = np.zeros((STEPS, 0, 3)), np.zeros((STEPS, 0, 4))
        if self.held is not None:
            names = (self.item,)
            rotation, origin = forward(q)
            poses = [transform(rotation[k, HAND], origin[k, HAND]) @ self.T_true for k in range(STEPS)]
            position = np.array([[pose[:3, 3]] for pose in poses])
            quaternion = np.array([[quaternion_from_matrix(pose[:3, :3])] for pose in poses])
        return Truth(
            times, q, np.zeros((STEPS, 10)), np.full(STEPS, GRIP), names, position, quaternion, ("person",), keypoints
        )

    def _observation(self, people: tuple[PersonState, ...], truth: Truth) -> Observation:
        """What the judge compares with the truth: the person as read, what is held as believed at the tick's end."""
        readings = tuple(PersonReading(p.name, p.keypoints, p.stamp) for p in people)
        objects: tuple[ObjectReading, ...] = ()
        if self.held is not None:
            off = TOP * self.true.object_error * np.array(self.chase.slip)
            end = float(truth.time[-1])
            objects = (
                ObjectReading(self.item, truth.object_position[-1, 0] + off, truth.object_quaternion[-1, 0], end),
            )
            return Observation(end, self.q, self.dq, self.q, self.dq, GRIP, objects, readings)
        return Observation(self.now, self.q, self.dq, self.q, self.dq, GRIP, (), readings)

    def answer(self) -> dict[str, Any]:
        out = self.judge.verdict().to_dict()
        if not self.valid:
            out["assumptions"]["broken"]["start"] = {"worst": 1.0, "assumed": 0.0, "duration_s": TICK}
        return {**out, "digest": self.digest.hexdigest()}


def _kind(scene: Scene, label: str) -> ObjectKind | None:
    """A kind of object in the scene with that label that the fingers take by a handle or a rim."""
    for item in scene.items:
        kind = scene.kinds[item.kind]
        if label in kind.labels and kind.grasps:
            return kind
    return None


def _rounded(vector: np.ndarray) -> tuple[float, float, float]:
    x, y, z = (round(float(v), 6) for v in vector)
    return x, y, z
