"""Pulling: what friction holds, what is foreseen of it, when the search asks for it, and how it goes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from robotctl.control import RunOptions, run_episode
from robotctl.geometry import quaternion_from_matrix, rotation_z
from robotctl.guardrails.load import load_guardrails
from robotctl.objectives.hand_path import Posture
from robotctl.robot import HOME
from robotctl.scene import Box
from robotctl.skills.context import SkillContext
from robotctl.skills.grasping import grasp_poses
from robotctl.skills.gripping import holds, lift_load, pull_features, pull_load
from robotctl.skills.pick import ranked_grasps
from robotctl.skills.place import Spot
from robotctl.skills.pull import LONGEST, MISSED, is_clear, judged, next_way, pull, pulls_needed, ranked_pulls
from robotctl.skills.skill import Outcome, Reached
from robotctl.state import Held, ObjectState, RobotState, State
from robotctl.task import load_task
from robotctl.task_planning.goals import Goal, arrangement, ground, places_named
from robotctl.task_planning.mission import ATTEMPTS, Mission
from robotctl.task_planning.search import Experience, plan_task
from robotctl.training.curiosity import pushable
from robotctl.training.fit_skills import fit_skill
from robotctl.training.pull_data import collect_lifts, collect_pulls
from robotctl.world_model.composite import load_world_model, save_world_model
from robotctl.world_model.contact import QUASI_STATIC
from robotctl.world_model.skill_outcome import SkillAttempt, SkillModel, SkillOutcomeModel, holding_probability

TASK = load_task("kitchen/pull-pot")
SCENE = TASK.scene
POT, CUP = SCENE.kinds["pot"], SCENE.kinds["cup"]
MODEL = load_world_model(None, load_guardrails(TASK.guardrail_files, SCENE).assumptions)
NORTH = np.array([0.0, 1.0])


def known(successes: int, failures: int, duration: float, *kinds: str) -> SkillModel:
    """A skill of which only counts and times are known."""
    counts, durations = dict.fromkeys(kinds, (successes, failures)), dict.fromkeys(kinds, duration)
    return SkillModel((), np.zeros(0), np.zeros(0), None, 1.0, counts, durations, {})


EXPERIENCED = replace(
    MODEL, outcomes=SkillOutcomeModel({**MODEL.outcomes.skills, "pull": known(30, 2, 9.0, "pot", "cup", "bowl")})
)


class Anywhere:
    """Finds a posture for every path, wherever the hand should be."""

    def find(self, paths, q, robot, obstacles):
        return [Posture(i, (HOME,) * len(path.positions), 0.0) for i, path in enumerate(paths)]

    def give_up(self, q):
        pass


def standing(name: str, kind: str, x: float, y: float, yaw: float = 0.0) -> ObjectState:
    turn = quaternion_from_matrix(rotation_z(yaw))
    return ObjectState(name, kind, SCENE.kinds[kind].labels, np.array([x, y, 0.75]), turn, 0.0)


def state_of(*objects: ObjectState, held: Held | None = None, q: np.ndarray = HOME) -> State:
    return State(0.0, RobotState(q, np.zeros(10), q, np.zeros(10), 0.004, held), objects)


def context_with(outcomes=EXPERIENCED) -> SkillContext:
    generator = np.random.default_rng(1000)
    return SkillContext(SCENE, SCENE.boxes(), Anywhere(), outcomes, QUASI_STATIC, generator)


def at_coaster(name: str) -> Goal:
    return Goal("at", name, places_named(SCENE, "coaster"), within=0.03)


# ---- what friction holds ---------------------------------------------------------------------------------------


def test_the_pot_alone_is_too_heavy_for_the_grip() -> None:
    loads = {name: lift_load(kind, SCENE.actuators) for name, kind in SCENE.kinds.items() if kind.grasps}
    assert holds(POT, SCENE.actuators) < 0.4 * POT.mass * 9.81
    assert loads.pop("pot") > 2.0
    assert max(loads.values()) < 0.3


def test_pulling_asks_less_than_lifting_and_least_along_the_closing_direction() -> None:
    along, across = (pull_load(POT, SCENE.actuators, cosine) for cosine in (1.0, 0.0))
    assert along == pytest.approx(POT.friction * POT.mass * 9.81 / SCENE.actuators.grip_force)
    assert across == pytest.approx(POT.friction * POT.mass * 9.81 / holds(POT, SCENE.actuators))
    assert along < across < 1.0 < lift_load(POT, SCENE.actuators)
    assert along < pull_load(POT, SCENE.actuators, 0.7) < across


def test_a_load_of_one_is_as_likely_held_as_not() -> None:
    loads = [0.0, 0.3, 0.9, 1.0, 1.1, 2.0]
    chances = [holding_probability(load) for load in loads]
    assert chances == sorted(chances, reverse=True)
    assert chances[0] == 1.0
    assert chances[1] > 0.999
    assert chances[3] == pytest.approx(0.5)
    assert chances[5] < 1e-5


def test_until_it_was_tried_a_skill_is_foreseen_by_mechanics() -> None:
    untried = SkillOutcomeModel()
    assert untried.success_probability("pick", "pot", {"load": 2.8}) < 1e-3
    assert untried.success_probability("pick", "cup", {"load": 0.06}) == pytest.approx(0.5)
    assert untried.success_probability("pull", "pot", {}) == 0.5
    tried = SkillOutcomeModel({"pick": known(8, 2, 3.0, "pot")})
    assert tried.success_probability("pick", "pot", {"load": 2.8}) == pytest.approx(9 / 12)
    assert tried.success_probability("pick", "anvil", {"load": 2.8}) < 1e-3
    assert tried.success_probability("pick", "feather", {"load": 0.01}) == pytest.approx(9 / 12)


def test_the_packaged_model_foresees_that_the_pot_cannot_be_lifted_and_is_as_it_was_of_all_else() -> None:
    state = state_of(standing("pot_1", "pot", 0.3, -0.7), standing("cup_1", "cup", 0.8, -0.4))
    context = context_with(MODEL)
    assert ranked_grasps("pot_1", state, context)[0][0] < 1 / 20  # none of 18 tries lifted it: rule of succession
    chance, _, seen = ranked_grasps("cup_1", state, context)[0]
    assert "load" not in seen
    assert chance == MODEL.success_probability("pick", "cup", seen)
    assert chance > 0.9


def test_what_is_too_heavy_is_neither_played_with_nor_pushed_about() -> None:
    """So that what training collected before there was a pot, it collects again."""
    assert "pot" not in {kind.name for kind in pushable(SCENE)}
    light = replace(SCENE, kinds={"pot": replace(POT, mass=0.5)})
    assert [kind.name for kind in pushable(light)] == ["pot"]


# ---- features --------------------------------------------------------------------------------------------------


def test_features_tell_where_the_grasp_is_as_seen_along_the_way() -> None:
    pot = standing("pot_1", "pot", 0.3, -0.7)
    pose = min(grasp_poses(pot, POT), key=lambda p: float(np.linalg.norm(p.position[:2] - [0.3, -0.592])))
    ahead = pull_features(pose, pot, POT, 0.2 * NORTH, 0.1, SCENE.actuators)
    behind = pull_features(pose, pot, POT, -0.2 * NORTH, 0.1, SCENE.actuators)
    beside = pull_features(pose, pot, POT, np.array([0.2, 0.0]), 0.1, SCENE.actuators)
    assert ahead["way"] == pytest.approx(0.2)
    assert (ahead["ahead"], ahead["aside"]) == pytest.approx((0.108, 0.0), abs=1e-6)
    assert behind["ahead"] == pytest.approx(-0.108)
    assert (beside["ahead"], beside["aside"]) == pytest.approx((0.0, 0.108), abs=1e-6)
    assert (ahead["along_closing"], beside["along_closing"]) == pytest.approx((1.0, 0.0), abs=1e-6)
    assert ahead["tipping"] == pytest.approx(POT.friction * 0.11 / POT.radius)


@pytest.mark.parametrize("yaw", [0.7, -2.0])
def test_features_do_not_depend_on_where_one_looks_from(yaw: float) -> None:
    here, there = standing("pot_1", "pot", 0.0, 0.0), standing("pot_1", "pot", 0.5, -0.6, yaw)
    way = np.array([0.12, 0.05])
    turned = rotation_z(yaw)[:2, :2] @ way
    for one, other in zip(grasp_poses(here, POT), grasp_poses(there, POT), strict=True):
        mine = pull_features(one, here, POT, way, 0.1, SCENE.actuators)
        theirs = pull_features(other, there, POT, turned, 0.1, SCENE.actuators)
        assert mine == pytest.approx(theirs, abs=1e-9)


# ---- ways ------------------------------------------------------------------------------------------------------


def test_a_long_way_is_cut_into_equal_pulls() -> None:
    start, end = np.array([0.0, 0.0, 0.75]), np.array([2.2 * LONGEST, 0.0, 0.75])
    assert pulls_needed(start, end) == 3
    assert next_way(start, end) == pytest.approx([2.2 * LONGEST / 3, 0.0])
    assert next_way(start, start) == pytest.approx([0.0, 0.0])


def test_the_way_is_clear_of_things_of_furniture_and_of_edges() -> None:
    def clear(way, *others, boxes=(), at=(0.3, -0.7)):
        pairs = [(other, SCENE.kinds[other.kind]) for other in others]
        return is_clear(np.array([*at, 0.75]), np.array(way), POT, pairs, SCENE.places, boxes)

    assert clear((0.0, 0.3))
    assert not clear((0.0, 0.3), standing("cup_1", "cup", 0.3, -0.45)), "it ends in a cup"
    assert not clear((0.0, 0.3), standing("cup_1", "cup", 0.15, -0.55)), "it passes through a cup"
    assert clear((0.0, 0.3), standing("cup_1", "cup", 0.05, -0.55))
    assert clear((0.0, 0.3), standing("cup_1", "cup", 0.3, -0.88)), "what it stands beside is left behind"
    assert not clear((0.0, 0.6)), "the table ends"
    wall = Box("wall", np.array([0.3, -0.3, 0.85]), np.array([0.5, 0.02, 0.2]), 0.0, (0.5, 0.5, 0.5, 1.0))
    assert not clear((0.0, 0.3), boxes=(wall,))
    assert clear((0.0, -0.1), boxes=(wall,))
    assert not clear((0.0, 0.1), at=(3.0, 3.0)), "it stands nowhere known"


def test_the_outcome_is_judged_by_where_the_object_stands() -> None:
    there = np.array([0.3, -0.7])
    assert judged(standing("pot_1", "pot", 0.31, -0.7), there, 0.75, {}).success
    assert not judged(standing("pot_1", "pot", 0.3 + 1.1 * MISSED, -0.7), there, 0.75, {}).success
    assert judged(standing("pot_1", "pot", 0.3, -0.7), there, 0.90, {}).reason == "it fell"
    lying = replace(standing("pot_1", "pot", 0.3, -0.7), quaternion=np.array([0.0, 0.7071, 0.0, 0.7071]))
    assert judged(lying, there, 0.75, {}).reason == "it fell"


# ---- the search ------------------------------------------------------------------------------------------------


def test_the_search_pulls_what_is_heavy_and_picks_what_is_light() -> None:
    heavy = state_of(standing("pot_1", "pot", 0.3, -0.7))
    assert [str(s) for s in plan_task(heavy, [at_coaster("pot_1")], context_with()).steps] == [
        "pull pot_1 towards coaster"
    ]
    light = state_of(standing("cup_1", "cup", 0.3, -0.7))
    assert [str(s) for s in plan_task(light, [at_coaster("cup_1")], context_with()).steps] == [
        "pick cup_1",
        "place cup_1 on coaster",
    ]


@pytest.mark.parametrize(("mass", "skills"), [(0.3, ["pick", "place"]), (4.0, ["pull"])])
def test_of_a_kind_that_was_never_tried_its_weight_decides(mass: float, skills: list[str]) -> None:
    """Picking and placing cups nearly always worked, pulling and pushing seldom; of pans only mechanics is known."""
    often, seldom = known(30, 2, 6.0, "cup"), known(6, 26, 9.0, "cup")
    tried = {"pick": often, "place": often, "pull": seldom, "push": known(1, 31, 9.0, "cup")}
    kinds = {**SCENE.kinds, "pan": replace(POT, name="pan", mass=mass)}
    context = context_with(replace(MODEL, outcomes=SkillOutcomeModel(tried)))
    pan = replace(standing("pot_1", "pot", 0.3, -0.7), kind="pan")
    plan = plan_task(state_of(pan), [at_coaster("pot_1")], replace(context, scene=replace(SCENE, kinds=kinds)))
    assert [step.skill for step in plan.steps] == skills


def test_the_search_does_not_pull_where_something_stands_or_where_it_was_in_vain() -> None:
    goals = [at_coaster("pot_1")]
    pot, bowl = standing("pot_1", "pot", 0.3, -0.7), standing("bowl_1", "bowl", 0.32, -0.42)
    plans = [
        plan_task(state_of(pot, bowl), goals, context_with()),
        plan_task(state_of(pot), goals, context_with(), Experience(pulls=frozenset({"pot_1"}))),
    ]
    assert all(step.skill != "pull" for plan in plans for step in plan.steps)


def test_the_first_plan_of_the_task_is_a_pull() -> None:
    state = state_of(*(standing(i.name, i.kind, *i.position[:2]) for i in SCENE.items))
    labels = {item.name: item.labels for item in state.objects}
    plan = plan_task(state, ground(TASK, arrangement(state), labels), context_with())
    assert plan.complete
    assert [step.skill for step in plan.steps] == ["pull"]


def test_a_mission_gives_up_pulling_what_would_not_come() -> None:
    state = state_of(standing("pot_1", "pot", 0.3, -0.7))
    mission = Mission((at_coaster("pot_1"),), context_with())
    mission.phase(state, False)
    assert mission.now_doing == "pull pot_1 towards coaster"
    for _ in range(ATTEMPTS):
        assert mission._executive is not None
        assert mission._step is not None
        assert mission._step.skill == "pull"
        mission._executive.outcome = Outcome(False, "it slipped")
        mission._finish(state)
        mission._choose(state)
    assert len(mission.attempts) == ATTEMPTS
    assert mission.plan is not None
    assert all(step.skill != "pull" for step in mission.plan.steps)


# ---- the story -------------------------------------------------------------------------------------------------


def told(pot_in_hand: bool, arrives: bool = True) -> tuple[list, Outcome]:
    """The phases of a pull of 0.2 m and its outcome, if every phase ends as it should."""
    pot = standing("pot_1", "pot", 0.3, -0.6)
    end = standing("pot_1", "pot", 0.3, -0.4 if arrives else -0.5)
    held = Held("pot_1", "pot", POT.labels, np.eye(4)) if pot_in_hand else None
    spot = Spot("coaster", np.array([0.3, -0.4, 0.75]))
    story = pull("pot_1", spot, state_of(pot), context_with())
    phases = [next(story)]
    try:
        while True:
            name = phases[-1].name
            now = end if name == "look" else pot
            phases.append(story.send(Reached(state_of(now, held=held if name in ("close", "pull") else None), True)))
    except StopIteration as stop:
        return phases, stop.value


def test_a_pull_closes_drags_slackens_opens_and_looks() -> None:
    phases, outcome = told(True)
    names = [phase.name for phase in phases]
    order = ["approach", "descend", "close", "pull", "slacken", "open", "retreat", "look"]
    assert list(dict.fromkeys(names)) == order
    assert outcome.success
    assert outcome.features["way"] == pytest.approx(0.2)
    by_name = {phase.name: phase for phase in phases}
    assert all(by_name[name].opening == 0.0 for name in ("close", "pull", "slacken"))
    assert by_name["open"].opening > 0.05
    # The hand keeps its height and its direction on the way.
    dragged = by_name["pull"].goal.position - by_name["descend"].goal.position
    assert dragged == pytest.approx([0.0, 0.2, 0.0], abs=1e-9)
    assert np.array_equal(by_name["pull"].goal.rotation, by_name["descend"].goal.rotation)
    assert by_name["pull"].goal.speed_scale < 0.2


def test_nothing_but_the_pulled_object_may_be_touched() -> None:
    phases, _ = told(True)
    assert phases[0].ignore == frozenset()
    assert all(phase.ignore == {"pot_1"} for phase in phases[1:])
    assert [phase.name for phase in phases if phase.frees] == ["retreat"]


def test_a_pull_without_a_grip_ends_before_the_hand_moves() -> None:
    phases, outcome = told(False)
    assert "pull" not in [phase.name for phase in phases]
    assert [phase.name for phase in phases][-3:] == ["open", "retreat", "look"]
    assert outcome.tried
    assert outcome.reason == "nothing is between the fingers"


def test_a_pull_that_ends_elsewhere_is_a_failure() -> None:
    _, outcome = told(True, arrives=False)
    assert not outcome.success
    assert "100 mm" in outcome.reason


def test_a_pull_that_is_not_possible_is_not_begun() -> None:
    pot = standing("pot_1", "pot", 0.3, -0.6)

    def outcome(target, *others):
        story = pull("pot_1", Spot("table", np.array([*target, 0.75])), state_of(pot, *others), context_with())
        with pytest.raises(StopIteration) as stop:
            next(story)
        return stop.value.value

    assert not outcome((0.3, -0.6)).tried
    assert "in the way" in outcome((0.3, -0.4), standing("cup_1", "cup", 0.3, -0.42)).reason


def test_grasps_are_ranked_by_what_is_foreseen_of_the_pull() -> None:
    tries = [
        SkillAttempt("pull", "pot", {"aside": aside, "ahead": 0.1}, aside < 0.05, 9.0, 0.005)
        for aside in np.random.default_rng(1000).uniform(0.0, 0.11, 80)
    ]
    outcomes = SkillOutcomeModel({"pull": fit_skill(tries, 0)})
    ranked = ranked_pulls(standing("pot_1", "pot", 0.3, -0.7), POT, 0.2 * NORTH, context_with(outcomes))
    assert ranked[0][2]["aside"] < 0.03
    assert ranked[-1][2]["aside"] > 0.08
    assert ranked[0][0] > 0.8 > 0.2 > ranked[-1][0]


# ---- the simulator ---------------------------------------------------------------------------------------------


def test_pulls_that_succeed_and_pulls_that_cannot_are_told_apart() -> None:
    kinds = sorted(name for name, kind in SCENE.kinds.items() if kind.grasps and "sharp" not in kind.labels)
    good, bad = 17, 131
    attempts = collect_pulls(SCENE, [good, bad], [1000])
    assert [a.kind for a in attempts] == [kinds[good % len(kinds)], kinds[bad % len(kinds)]] == ["pot", "pot"]
    assert [a.success for a in attempts] == [True, False]
    assert attempts[0].displacement < 0.015 < 0.02 < attempts[1].displacement
    assert attempts[0].features["aside"] < attempts[1].features["aside"]
    again = collect_pulls(SCENE, [good], [1000])
    assert again == attempts[:1]


def test_lifting_the_pot_fails_by_trying() -> None:
    (attempt,) = collect_lifts(replace(SCENE, kinds={"pot": POT}, items=()), [0], [1000])
    assert (attempt.skill, attempt.kind, attempt.success) == ("pick", "pot", False)
    (attempt,) = collect_lifts(replace(SCENE, kinds={"cup": CUP}, items=()), [0], [1000])
    assert (attempt.skill, attempt.kind, attempt.success) == ("pick", "cup", True)
    assert collect_lifts(replace(SCENE, kinds={"cup": CUP}), [0], [1000]) == [], "a cup stands about: play knows it"


@pytest.mark.slow
def test_the_pot_is_brought_to_its_place_by_pulling_it(tmp_path) -> None:
    path = tmp_path / "model.safetensors"
    save_world_model(path, MODEL.people, MODEL.actuators, EXPERIENCED.outcomes, MODEL.contact, MODEL.card)
    result = run_episode(TASK, RunOptions(seed=1002, out=tmp_path / "episode.mcap", model=path))
    answer = result.to_dict()
    assert answer["guardrails"]["violations"] == 0, answer["guardrails"]
    assert answer["contacts"]["moving"] == 0
    assert answer["exit_code"] == 0, answer["skills"]
    assert [entry["skill"] for entry in answer["skills"]] == ["pull pot_1 towards coaster"]
