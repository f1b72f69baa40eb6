"""Cutting: seams that hold and break, what counts as sliced, the skill, the search that finds it, and tries of it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pybullet as p
import pytest

from robotctl.control import RunOptions, run_episode
from robotctl.episode.reader import read_episode
from robotctl.errors import InvalidFileError
from robotctl.geometry import inverse, matrix_from_quaternion, quaternion_from_matrix, rotation_z, transform
from robotctl.judge.objective import Arrangement, judge_objective
from robotctl.judge.objects import object_bodies
from robotctl.kind_files import load_kinds
from robotctl.objectives.hand_path import Posture
from robotctl.replay.rejudge import judge_again
from robotctl.robot import HOME, TCP
from robotctl.scene import Scene, Seam
from robotctl.scene_files import load_scene
from robotctl.scene_paths import scenes_folder
from robotctl.simulation.bullet import BulletSimulator
from robotctl.skills.context import SkillContext
from robotctl.skills.cut import LEFT, cut, foreseen_features, smaller_side
from robotctl.skills.cutting import PARTED, board_under, cuts, gap
from robotctl.skills.grasping import grasp_poses
from robotctl.skills.skill import Outcome, Reached
from robotctl.state import Held, ObjectState, RobotState, State
from robotctl.task import Task, load_task
from robotctl.task_planning.goals import arrangement, ground
from robotctl.task_planning.mission import Mission
from robotctl.task_planning.search import Experience, plan_task
from robotctl.training.cut_data import TOP, Arm, CutPlan, blades, collect_cuts, cut_room, cuttable, random_cut, try_cut
from robotctl.world_model.contact import QUASI_STATIC

TASK = load_task("kitchen/slice-cucumber")
SCENE = TASK.scene
KNIFE = SCENE.kinds["kitchen_knife"]
END = SCENE.kinds["cucumber_end"]
MIDDLE = SCENE.kinds["cucumber_middle"]
SEAMS = SCENE.seams()


def believed(scene: Scene = SCENE, held: Held | None = None) -> State:
    """Everything where its file says."""
    objects = tuple(
        ObjectState(
            i.name, i.kind, scene.kinds[i.kind].labels, i.position, quaternion_from_matrix(rotation_z(i.yaw)), 0.0
        )
        for i in scene.items
    )
    still = np.zeros(10)
    return State(0.0, RobotState(scene.robot_start, still, scene.robot_start, still, 0.026, held), objects)


def moved(state: State, name: str, shift: np.ndarray) -> State:
    """The state with one object elsewhere."""
    objects = tuple(replace(o, position=o.position + shift) if o.name == name else o for o in state.objects)
    return replace(state, objects=objects)


def in_hand() -> Held:
    """The knife as it is taken from above."""
    local = np.column_stack([np.cross([0.0, 1.0, 0.0], [0.0, 0.0, -1.0]), [0.0, 1.0, 0.0], [0.0, 0.0, -1.0]])
    T_blade_hand = transform(local, KNIFE.grasps[0].position - local @ TCP)
    return Held("knife_1", KNIFE.name, KNIFE.labels, inverse(T_blade_hand))


# ---- files -----------------------------------------------------------------------------------------------------


def test_the_packaged_cucumber_has_two_seams_where_its_pieces_meet() -> None:
    state = believed()
    assert [str(seam) for seam in SEAMS] == ["cucumber_1a/cucumber_1b", "cucumber_1b/cucumber_1c"]
    for seam in SEAMS:
        assert gap(seam, state.object(seam.first), state.object(seam.second)) < 1e-6
    assert load_task("kitchen/clear-table").scene.joins == ()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("cucumber_1b, cucumber_1c]", "cucumber_1d]", "no item 'cucumber_1d'; did you mean"),
        ("[cucumber_1a, cucumber_1b, cucumber_1c]", "[cucumber_1a, cucumber_1c]", "do not meet: 80 mm between"),
        ("[cucumber_1a, cucumber_1b, cucumber_1c]", "[cucumber_1a, cucumber_1b, cucumber_1a]", "part of 'cucumber_1'"),
        ("[cucumber_1a, cucumber_1b, cucumber_1c]", "[knife_1, cucumber_1a]", "'knife_1' cannot be cut: its kind"),
        ("[cucumber_1a, cucumber_1b, cucumber_1c]", "[cucumber_1a]", "joins[0].items"),
        ("0.44 1.645 0.92 m}", "0.44 1.645 0.92 m, jitter: 1 mm}", "'cucumber_1b' moves with 'cucumber_1a'"),
        ("yaw: 180 deg}", "yaw: 90 deg}", "no cut face of one looks at one of the other"),
        ("{name: cucumber_1, items", "{name: knife_1, items", "is the name of an item, too"),
        ("{sliced: cucumber_1}", "{sliced: cucumber_2}", "is called 'cucumber_2'; did you mean 'cucumber_1'"),
        ("{sliced: cucumber_1}", "{forall: {label: food}, is: sliced}", "{sliced: NAME}"),
        ("  - {name: cucumber_1, items", "  - {names: cucumber_1, items", "names"),
    ],
)
def test_a_wrong_join_is_refused_in_one_line(old: str, new: str, message: str, tmp_path: Path) -> None:
    text = TASK.text.replace("scene: ../scene.yaml", "scene: robotctl:kitchen/scene.yaml")
    text = text.replace("../../guardrails", "robotctl:guardrails")
    assert old in text
    path = tmp_path / "task.yaml"
    path.write_text(text.replace(old, new))
    with pytest.raises(InvalidFileError) as error:
        load_task(path)
    assert message in str(error.value)
    assert str(error.value).count("\n") == 0
    assert ".yaml:" in str(error.value)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("    cut_force: 5 N\n", "", "'cut_force' and 'cut_faces' go together"),
        ("cut_force: 5 N", "cut_force: 5 kg", "cut_force"),
        ("cut_faces: [40 mm]", "cut_faces: [0 mm]", "one side of the middle"),
        ("facing: [0.0, 0.0, -1.0]}", "facing: [1.0, 0.0, 0.0]}", "square to the edge"),
        ("name: fork", "name: fork\n    edge: {heel: 0 0 1 mm, tip: 80 0 1 mm, facing: [0, 0, -1]}", "'sharp'"),
    ],
)  # fmt: skip
def test_a_wrong_kind_is_refused_in_one_line(old: str, new: str, message: str, tmp_path: Path) -> None:
    source = scenes_folder() / "assets"
    text = (source / "kinds.yaml").read_text()
    assert old in text
    path = tmp_path / "kinds.yaml"
    path.write_text(text.replace(old, new, 1).replace("urdf: ", "urdf: robotctl:assets/"))
    with pytest.raises(InvalidFileError, match=r"kinds.yaml:\d+:\d+: ") as error:
        load_kinds(path)
    assert message in str(error.value)


def test_joins_without_items_are_refused(tmp_path: Path) -> None:
    text = TASK.text.replace("scene: ../scene.yaml", "scene: robotctl:kitchen/scene.yaml")
    head, rest = text.split("items:\n", 1)
    path = tmp_path / "task.yaml"
    path.write_text(head + rest[rest.index("# One cucumber") :])
    with pytest.raises(InvalidFileError, match="but there are none"):
        load_task(path)


# ---- the seam in the engine ------------------------------------------------------------------------------------


def gaps(simulator: BulletSimulator, seams: tuple[Seam, ...]) -> list[float]:
    """True width of every seam [m]."""
    truth = simulator.truth()

    def there(name: str) -> ObjectState:
        i = truth.object_names.index(name)
        return ObjectState(name, "", frozenset(), truth.object_position[-1, i], truth.object_quaternion[-1, i], 0.0)

    return [gap(seam, there(seam.first), there(seam.second)) for seam in seams]


def standing(simulator: BulletSimulator, ticks: int) -> None:
    for _ in range(ticks):
        simulator.step(np.append(np.zeros(10), 0.04))


def test_joined_pieces_start_as_one_wherever_the_jitter_puts_them() -> None:
    starts = set()
    with BulletSimulator(SCENE) as simulator:
        for seed in (1000, 1001):
            simulator.reset(seed)
            starts.add(tuple(simulator.truth().object_position[-1, 1].round(4)))
            assert max(gaps(simulator, SEAMS)) < 0.001
    assert len(starts) == 2


def test_a_seam_holds_when_the_food_is_shaken_and_dropped() -> None:
    with BulletSimulator(SCENE) as simulator:
        simulator.reset(1000)
        world = simulator._world
        body = world.objects[2].id
        p.changeDynamics(body, -1, activationState=p.ACTIVATION_STATE_WAKE_UP, physicsClientId=world.client)
        height = []
        for k in range(480):
            force = [0.0, 0.0, 7.0] if k < 60 else [0.0, 2.0 * (-1) ** (k // 24), 0.0]
            p.applyExternalForce(body, -1, force, [0, 0, 0], p.LINK_FRAME, physicsClientId=world.client)
            simulator._advance(0.0)
            height.append(p.getBasePositionAndOrientation(body, physicsClientId=world.client)[0][2])
        standing(simulator, 4)
        assert max(height) > height[-1] + 0.1, "it was thrown up and came down"
        assert max(gaps(simulator, SEAMS)) < 0.001
        assert world.seams is not None
        assert world.seams.whole == SEAMS


def pressed(turn: np.ndarray, lowest: float, force: float, along: float = 0.0) -> tuple[int, float, float]:
    """Seams that hold, the first one's width and the largest force, after a knife was pressed on it from above.

    turn: its orientation, the identity with the edge down; lowest: what of the knife is lowest then, in its own frame
    along the vertical; along: beside the seam [m].
    """
    with BulletSimulator(SCENE) as simulator:
        simulator.reset(1000)
        world = simulator._world
        truth = simulator.truth()
        piece = matrix_from_quaternion(truth.object_quaternion[-1, 1])
        seam = truth.object_position[-1, 1] + piece @ SEAMS[0].first_face + along * piece[:, 0]
        across = transform(np.column_stack([piece[:, 1], -piece[:, 0], [0.0, 0.0, 1.0]]) @ turn, np.zeros(3))
        above = np.array([0.0, 0.0, 0.022 + 0.002 - lowest])
        pose = transform(across[:3, :3], seam + above - across[:3, :3] @ [0.03, 0.0, 0.0])
        knife = world.objects[0]
        inertial = transform(matrix_from_quaternion(knife.turn), knife.offset)
        center = pose @ inverse(inertial)
        orientation = quaternion_from_matrix(center[:3, :3]).tolist()
        client = {"physicsClientId": world.client}
        p.resetBasePositionAndOrientation(knife.id, center[:3, 3].tolist(), orientation, **client)
        rail = p.createConstraint(
            knife.id, -1, -1, -1, p.JOINT_FIXED, [0, 0, 0], [0, 0, 0], center[:3, 3].tolist(), [0, 0, 0, 1],
            orientation, **client,
        )  # fmt: skip
        pieces = [world.objects[k].id for k in (1, 2)]
        largest = 0.0
        for k in range(120):
            goal = center[:3, 3] - [0.0, 0.0, 0.0002 * k]
            p.changeConstraint(rail, goal.tolist(), orientation, maxForce=force, **client)
            simulator._advance(0.0)
            points = [point for piece in pieces for point in p.getContactPoints(knife.id, piece, **client)]
            largest = max(largest, sum(point[9] for point in points))
        standing(simulator, 1)
        assert world.seams is not None
        return len(world.seams.whole), gaps(simulator, SEAMS)[0], largest


BACK_DOWN = np.diag([1.0, -1.0, -1.0])
FLAT = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]])


def test_the_edge_parts_the_pieces_the_back_and_the_flat_do_not() -> None:
    """The same knife, pressed with the same force."""
    whole, width, force = pressed(np.eye(3), 0.001, 20.0)
    assert whole == 1
    assert width > 0.002, "the blade's thickness pushes the pieces apart"
    assert force > END.cut_force
    for turn, lowest in ((BACK_DOWN, -0.036), (FLAT, -0.002)):
        whole, _, force = pressed(turn, lowest, 20.0)
        assert whole == 2
        assert force > 2 * END.cut_force


def test_too_little_force_or_an_edge_beside_the_seam_parts_nothing() -> None:
    assert pressed(np.eye(3), 0.001, 4.0)[0] == 2
    whole, _, force = pressed(np.eye(3), 0.001, 20.0, along=-0.02)
    assert whole == 2
    assert force > 2 * END.cut_force


def test_closed_fingers_part_nothing() -> None:
    """They press harder than the blade has to."""
    generator = np.random.default_rng(1000)
    room = cut_room(SCENE, END, KNIFE, CutPlan(0.04), generator)
    assert room is not None
    items = tuple(item for item in room.scene.items if item.name != "knife")
    scene = replace(room.scene, items=items)
    with BulletSimulator(scene) as simulator:
        arm = Arm(simulator, 1000)
        arm.rest(0.4)
        seams = scene.seams()
        truth = simulator.truth()
        first = matrix_from_quaternion(truth.object_quaternion[-1, 0])
        seam = truth.object_position[-1, 0] + first @ seams[0].first_face
        arm.move(np.array([*seam[:2], TOP + 0.1]), room.rotation, 0.5)
        arm.move(np.array([*seam[:2], TOP + 0.03]), room.rotation, 0.05)
        force: dict[float, float] = {}
        for contact in simulator.truth().contacts:
            if contact.other.startswith("piece"):
                force[contact.time] = force.get(contact.time, 0.0) + contact.force
        assert max(force.values()) > 2 * END.cut_force
        assert simulator._world.seams is not None
        assert simulator._world.seams.whole == seams


# ---- what counts as sliced -------------------------------------------------------------------------------------


def judged(state: State, task: Task = TASK, held: str | None = None, speed: float = 0.0) -> bool:
    where = Arrangement(
        {o.name: o.position for o in state.objects},
        {o.name: o.quaternion for o in state.objects},
        {o.name: speed for o in state.objects},
        held,
    )
    return any("sliced" in words for words in judge_objective(task, object_bodies(task.scene), where, where)[0])


def test_sliced_is_judged_from_where_all_pieces_are() -> None:
    state = believed()
    one = moved(state, "cucumber_1a", np.array([-0.006, 0.0, 0.0]))
    both = moved(one, "cucumber_1c", np.array([0.006, 0.0, 0.0]))
    assert not judged(state)
    assert not judged(one), "one seam of two"
    assert judged(both)
    assert not judged(both, speed=0.1), "not at rest"
    assert not judged(both, held="cucumber_1b"), "not out of the hand"
    assert not judged(moved(one, "cucumber_1c", np.array([0.004, 0.0, 0.0])))
    negated = replace(TASK, objective=(replace(TASK.objective[0], negate=True),))
    assert judged(state, negated)
    assert judged(one, negated)
    assert not judged(both, negated)


def test_sliced_is_believed_from_perceived_poses_alone() -> None:
    state = believed()
    goals = ground(TASK, arrangement(state), {o.name: o.labels for o in state.objects})
    assert [goal.relation for goal in goals] == ["sliced", "sliced", "on"]
    one = moved(state, "cucumber_1a", np.array([-1.1 * PARTED, 0.0, 0.0]))
    assert [goal.met(arrangement(state)) for goal in goals] == [False, False, True]
    assert [goal.met(arrangement(one)) for goal in goals] == [True, False, True]
    unseen = {name: pose for name, pose in arrangement(one).items() if name != "cucumber_1a"}
    assert not goals[0].met(unseen)
    (negated,) = ground(replace(TASK, objective=(replace(TASK.objective[0], negate=True),)), arrangement(one), {})
    assert negated.met(arrangement(one)), "one seam still holds"
    assert not negated.met(arrangement(moved(one, "cucumber_1c", np.array([0.02, 0.0, 0.0]))))


def test_progress_counts_the_task_s_conditions() -> None:
    state = believed()
    mission = Mission(ground(TASK, arrangement(state), {o.name: o.labels for o in state.objects}), context_of())
    one = moved(state, "cucumber_1a", np.array([-1.1 * PARTED, 0.0, 0.0]))
    both = moved(one, "cucumber_1c", np.array([1.1 * PARTED, 0.0, 0.0]))
    assert [mission.progress(s) for s in (state, one, both)] == [(1, 2), (1, 2), (2, 2)]


# ---- the search ------------------------------------------------------------------------------------------------


@dataclass
class Sure:
    """An outcome model with given answers."""

    rare: dict[str, float] = field(default_factory=dict)

    def success_probability(self, skill: str, kind: str, features: dict[str, float]) -> float:
        return self.rare.get(skill, 0.95)

    def duration(self, skill: str, kind: str) -> float:
        return 6.0


class Anywhere:
    """Every path is in reach."""

    def find(self, paths, q, robot, obstacles):
        return [Posture(i, tuple(HOME for _ in path.positions), 0.0) for i, path in enumerate(paths)]

    def give_up(self, q):
        pass


def context_of(scene: Scene = SCENE) -> SkillContext:
    return SkillContext(scene, scene.boxes(), Anywhere(), Sure(), QUASI_STATIC, np.random.default_rng(1000))


def planned(state: State, experience: Experience | None = None) -> tuple[list[str], bool]:
    goals = ground(TASK, arrangement(state), {o.name: o.labels for o in state.objects})
    plan = plan_task(state, goals, context_of(), experience or Experience())
    return [step.skill for step in plan.steps], plan.complete


def test_the_search_finds_knife_cuts_and_tray_by_itself() -> None:
    state = believed()
    assert planned(state) == (["pick", "cut", "cut", "place"], True)
    one = moved(state, "cucumber_1a", np.array([-0.02, 0.0, 0.0]))
    assert planned(one) == (["pick", "cut", "place"], True)
    both = moved(one, "cucumber_1c", np.array([0.02, 0.0, 0.0]))
    assert planned(both) == ([], True)
    away = moved(both, "knife_1", np.array([0.8, 0.05, 0.01]))
    assert planned(away) == (["pick", "place"], True)
    assert not planned(state, Experience(cuts=frozenset({str(SEAMS[1])})))[1]


def test_food_that_was_not_seen_is_not_cut_yet() -> None:
    state = believed()
    goals = ground(TASK, arrangement(state), {o.name: o.labels for o in state.objects})
    part = replace(state, objects=tuple(o for o in state.objects if o.name != "cucumber_1a"))
    assert not plan_task(part, goals, context_of()).complete


def test_without_something_sharp_nothing_is_cut() -> None:
    state = believed()
    state = replace(state, objects=tuple(o for o in state.objects if o.name != "knife_1"))
    steps, complete = planned(state)
    assert not complete
    assert "cut" not in steps


# ---- the skill -------------------------------------------------------------------------------------------------


def told(state: State, replies: dict[str, bool], final: State | None = None) -> tuple[list, Outcome]:
    """The phases of a cut through the first seam, each answered, and its outcome; `final` is seen at the end."""
    story = cut(SEAMS[0], state, context_of())
    phases = []
    try:
        phase = next(story)
        while True:
            phases.append(phase)
            seen = final if final is not None and phase.name == "look" else state
            phase = story.send(Reached(seen, replies.get(phase.name, True)))
    except StopIteration as end:
        return phases, end.value


def test_a_cut_goes_down_beside_the_board_pushes_aside_and_looks() -> None:
    state = believed(held=in_hand())
    apart = moved(state, "cucumber_1a", np.array([-0.02, 0.0, 0.0]))
    phases, outcome = told(state, {}, apart)
    assert [phase.name for phase in phases] == ["carry", "aim", "aim", "cut", "part", "rise", "look"]
    assert outcome.success, outcome.reason
    pieces = {"cucumber_1a", "cucumber_1b", "cucumber_1c"}
    assert phases[0].ignore == frozenset(), "the way there keeps clear of the food, too"
    assert all(phase.ignore == pieces for phase in phases[1:])
    assert all(phase.opening == 0.0 for phase in phases)
    edge = KNIFE.edge
    assert edge is not None
    held = in_hand()

    def met(phase, at: float) -> np.ndarray:
        hand = transform(phase.goal.rotation, phase.goal.position - phase.goal.rotation @ TCP)
        blade = hand @ held.T_hand_object
        return blade[:3, :3] @ (edge.heel + at * edge.along) + blade[:3, 3]

    down, part = phases[3], phases[4]
    assert met(down, 0.0)[2] == pytest.approx(0.92 + LEFT)
    assert met(down, edge.length)[2] == pytest.approx(0.92 + LEFT), "level"
    assert met(down, 0.0)[0] == pytest.approx(0.40), "above the seam"
    assert met(down, 0.0)[1] < 1.61 < 1.645 - 0.022 < met(down, edge.length)[1], "the handle is beside the board"
    assert met(part, 0.0)[0] < 0.40 - PARTED, "the end is pushed away from the middle"
    assert down.goal.speed_scale < 0.2
    assert outcome.features.keys() == {"lever", "offset", "angle", "depth", "speed", "height", "force"}
    assert 0.04 < outcome.features["lever"] < 0.07
    assert outcome.features["depth"] == pytest.approx(0.041)


def test_a_cut_that_is_stopped_comes_up_again_and_says_so() -> None:
    state = believed(held=in_hand())
    phases, outcome = told(state, {"cut": False})
    assert [phase.name for phase in phases][-3:] == ["cut", "rise", "look"]
    assert phases[-2].frees
    assert outcome.tried
    assert not outcome.success
    assert "hold together" in outcome.reason


def test_a_cut_that_seems_to_have_gone_through_but_did_not_is_no_success() -> None:
    _, outcome = told(believed(held=in_hand()), {})
    assert not outcome.success


def test_nothing_is_tried_without_a_blade_or_room_for_its_handle() -> None:
    assert not told(believed(), {})[1].tried
    state = believed(held=in_hand())
    for name in ("cucumber_1a", "cucumber_1b", "cucumber_1c"):
        state = moved(state, name, np.array([0.0, 0.10, 0.0]))
    _, outcome = told(state, {})
    assert not outcome.tried
    assert "room beside" in outcome.reason


def test_the_edge_always_spans_the_food_and_the_heel_stays_off_the_board() -> None:
    state = believed()
    edge = KNIFE.edge
    assert edge is not None
    seam = SEAMS[0]
    first, second = state.object(seam.first), state.object(seam.second)
    board = board_under(first.position, SCENE.boxes(), 0.92)
    assert board is not None
    assert board.name == "board"
    found = list(cuts(seam, first, second, END, edge, board))
    assert found
    assert [c.at for c in found] == sorted(c.at for c in found)
    for plan in found:
        T = plan.blade(edge, 0.93)
        heel, tip = (T[:3, :3] @ end + T[:3, 3] for end in (edge.heel, edge.tip))
        assert T[:3, :3] @ edge.facing == pytest.approx([0.0, 0.0, -1.0])
        assert heel[1] <= 1.61
        assert tip[1] >= 1.645 + 0.022
    assert board_under(np.array([0.45, 1.75, 1.2]), SCENE.boxes(), 1.2) is None


def test_the_smaller_part_is_pushed_away() -> None:
    assert smaller_side(SEAMS[0], SCENE) < 0
    assert smaller_side(SEAMS[1], SCENE) > 0


def test_a_knife_is_taken_by_its_handle_alone() -> None:
    state = believed()
    edge = KNIFE.edge
    assert edge is not None
    for pose in grasp_poses(state.object("knife_1"), KNIFE):
        local = rotation_z(0.0).T @ (pose.position - state.object("knife_1").position)
        assert (local - edge.heel) @ edge.along < -0.012


# ---- tries -----------------------------------------------------------------------------------------------------


def test_a_careful_try_parts_the_food_and_one_beside_the_seam_does_not() -> None:
    results = []
    for plan in (CutPlan(0.034), CutPlan(0.034, offset=0.018)):
        generator = np.random.default_rng(1000)
        room = cut_room(SCENE, MIDDLE, KNIFE, plan, generator)
        assert room is not None
        results.append(try_cut(room, generator))
    assert [attempt.success for attempt in results] == [True, False]
    assert results[0].features.keys() - {"lever"} == foreseen_features(MIDDLE).keys()
    for name, value in foreseen_features(MIDDLE).items():
        assert results[0].features[name] == pytest.approx(value), name
    assert results[1].features["offset"] == pytest.approx(0.018)


def test_tries_are_repeatable_and_of_every_kind_that_can_be_cut() -> None:
    kitchen = load_scene("kitchen")
    assert [kind.name for kind in cuttable(kitchen)] == ["cucumber_end", "cucumber_middle"]
    assert [kind.name for kind in blades(kitchen)] == ["kitchen_knife"]
    first, second = (collect_cuts(kitchen, range(2), [1000]) for _ in range(2))
    assert [a.features for a in first] == [a.features for a in second]
    assert {a.kind for a in first} == {"cucumber_end", "cucumber_middle"}
    assert all(a.skill == "cut" for a in first)
    assert collect_cuts(replace(kitchen, kinds={"cup": kitchen.kinds["cup"]}), range(2), [1000]) == []


def test_random_tries_are_careful_and_careless() -> None:
    generator = np.random.default_rng(1000)
    plans = [random_cut(END, KNIFE, generator) for _ in range(200)]
    careful = [plan for plan in plans if plan.offset == plan.angle == 0.0 and plan.left == LEFT]
    assert 80 < len(careful) < 180
    assert max(abs(plan.offset) for plan in plans) > 0.01


# ---- the whole task --------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_cucumber_is_sliced_within_the_guardrails(tmp_path: Path) -> None:
    result = run_episode(TASK, RunOptions(seed=1002, out=tmp_path / "episode.mcap"))
    answer = result.to_dict()
    assert answer["exit_code"] == 0, answer["objective"]
    assert answer["guardrails"]["violations"] == 0
    assert answer["min_separation_m"] < 0.6, "the person never came near: the test would show nothing"
    log = read_episode(tmp_path / "episode.mcap")
    assert judge_again(log).differences == ()


@pytest.mark.slow
def test_without_filter_and_guardrails_the_blade_moves_near_the_person(tmp_path: Path) -> None:
    """The test above bites: take the guardrails away and the judge sees it."""
    result = run_episode(TASK, RunOptions(seed=1002, out=tmp_path / "none.mcap", arm="none"))
    assert result.to_dict()["guardrails"]["by_id"]["blade-near-human"]["violations"] > 0
