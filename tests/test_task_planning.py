"""The search over skills: its plans follow from the objective, the arrangement and what the outcome model foresees."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robotctl.geometry import quaternion_from_matrix, rotation_z
from robotctl.objectives.hand_path import HandPath
from robotctl.planning.postures import PostureSearch
from robotctl.robot import RobotModel, tcp_pose
from robotctl.skills.context import SkillContext
from robotctl.skills.grasping import grasp_poses
from robotctl.state import ObjectState, RobotState, State
from robotctl.task import Predicate, load_task
from robotctl.task_planning.appraisal import appraise
from robotctl.task_planning.goals import Goal, arrangement, ground, places_named
from robotctl.task_planning.mission import Mission
from robotctl.task_planning.search import Experience, plan_task
from robotctl.task_planning.spots import GAP, free_spots
from robotctl.world_model.contact import QUASI_STATIC


@dataclass
class Chances:
    """An outcome model with given answers."""

    pick: dict[str, float] = field(default_factory=dict)

    def success_probability(self, skill: str, kind: str, features: dict[str, float]) -> float:
        return self.pick.get(kind, 0.95) if skill == "pick" else 0.95

    def duration(self, skill: str, kind: str) -> float:
        return 6.0


@pytest.fixture(scope="module")
def task():
    return load_task("kitchen/clear-table")


@pytest.fixture(scope="module")
def context(task):
    boxes = task.scene.boxes()
    generator = np.random.default_rng(1000)
    return SkillContext(task.scene, boxes, PostureSearch(boxes, generator), Chances(), QUASI_STATIC, generator)


@pytest.fixture(scope="module")
def state(task):
    scene = task.scene
    objects = tuple(
        ObjectState(
            i.name, i.kind, scene.kinds[i.kind].labels, i.position, quaternion_from_matrix(rotation_z(i.yaw)), 0.0
        )
        for i in scene.items
    )
    q = scene.robot_start
    return State(0.0, RobotState(q, np.zeros(10), q, np.zeros(10), 0.08), objects)


def goals_of(task, state):
    return ground(task, arrangement(state), {item.name: item.labels for item in state.objects})


def test_forall_takes_only_what_begins_on_the_table(task, state):
    names = {goal.object for goal in goals_of(task, state)}
    assert names == {"cup_1", "cup_2", "bowl_1", "bowl_2", "plate_1", "fork_1"}


def test_plan_picks_and_places_every_object_once(task, state, context):
    plan = plan_task(state, goals_of(task, state), context)
    assert plan.complete
    assert sorted(s.object for s in plan.steps if s.skill == "pick") == sorted(
        {"cup_1", "cup_2", "bowl_1", "bowl_2", "plate_1", "fork_1"}
    )
    for pick, place in zip(plan.steps[::2], plan.steps[1::2], strict=True):
        assert (pick.skill, place.skill, pick.object) == ("pick", "place", place.object)


def test_another_objective_gives_another_plan(task, state, context):
    cup = Predicate("on", "counter", frozenset(), "cup_2", False)
    plan = plan_task(state, goals_of(replace(task, objective=(cup,)), state), context)
    assert [str(step) for step in plan.steps] == ["pick cup_2", "place cup_2 on counter"]


def test_a_negated_goal_moves_the_object_anywhere_else(task, state, context):
    away = Goal("on", "cup_1", places_named(task.scene, "table"), negate=True)
    plan = plan_task(state, [away], context)
    assert plan.complete
    assert plan.steps[-1].spot is not None
    assert plan.steps[-1].spot.place != "table"


def test_a_met_objective_needs_no_step(task, state, context):
    there = Goal("on", "cup_1", places_named(task.scene, "table"))
    plan = plan_task(state, [there], context)
    assert plan.complete
    assert not plan.steps


def test_what_cannot_be_picked_leaves_the_rest_to_be_done(task, state, context):
    plan = plan_task(state, goals_of(task, state), context, Experience(picks=frozenset({"fork_1"})))
    assert not plan.complete
    assert "fork_1" in plan.reason
    assert {s.object for s in plan.steps} == {"cup_1", "cup_2", "bowl_1", "bowl_2", "plate_1"}


def test_a_plan_that_is_foreseen_to_fail_is_refused(task, state, context):
    hopeless = replace(context, outcomes=Chances({"plate": 0.002}))
    mission = Mission(goals_of(task, state), hopeless)
    assert mission.phase(state, waiting=False) is None
    assert mission.ended == "refused"
    assert "plate_1" in mission.reason
    assert mission.appraisal is not None
    assert mission.appraisal.word == "afraid"


def test_appraisal_counts_the_attempts(task, state, context):
    plan = plan_task(state, goals_of(task, state), context)
    once, often = appraise(plan, 1), appraise(plan, 4)
    assert once.success_probability == pytest.approx(0.95**12)
    assert often.success_probability > 0.99 > once.success_probability


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.floats(-0.9, 0.9), st.floats(1.55, 2.0)), max_size=6), st.sampled_from(["cup", "plate"]))
def test_spots_keep_their_distance(others, kind_name):
    scene = load_task("kitchen/clear-table").scene
    kind, place = scene.kinds[kind_name], scene.place("counter")
    taken = [(np.array([x, y, 0.9]), 0.08) for x, y in others]
    for spot in free_spots(place, kind, taken, scene.boxes()):
        assert all(np.linalg.norm(spot.position[:2] - p[:2]) > r + kind.radius + GAP for p, r in taken)
        assert abs(spot.position[0] - place.center[0]) <= place.half[0]


@pytest.mark.parametrize("name", ["cup_1", "bowl_1", "plate_1", "knife_1"])
def test_everything_in_the_task_can_be_reached(name, state, context):
    item, kind = state.object(name), context.kind(state, name)
    paths = [
        HandPath((g.before, g.position, g.position + np.array([0, 0, 0.12])), g.rotation)
        for g in grasp_poses(item, kind)
    ]
    found = context.find_postures(paths, state, frozenset({name}))
    assert found
    for station, q in zip(paths[found[0].index].positions, found[0].q, strict=True):
        assert np.linalg.norm(tcp_pose(q)[0] - station) < 3e-3


def test_a_bare_robot_has_no_load(state, context):
    assert len(context.robot(state).spheres) == len(RobotModel().spheres)
