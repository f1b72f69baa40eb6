"""Pushing: what the hand meets, what the contact model promises, and a push in the simulator."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robotctl.geometry import quaternion_from_matrix, rotation_z
from robotctl.scene_files import load_scene
from robotctl.silhouette import CELL, REACH, cross, signed_distance, silhouette
from robotctl.skills.pushing import FARTHEST, plan_push
from robotctl.state import ObjectState
from robotctl.training.curiosity import curious_pushes, disagreement, pushable
from robotctl.training.fit_contact import (
    LENGTH,
    SCALE,
    Pushes,
    _bounds,
    calibrate,
    coverage_of_halvings,
    evaluate_contact,
    fit_contact,
    pushes_of,
    rolled_out,
    table_friction,
)
from robotctl.training.fit_skills import fit_skill
from robotctl.training.push_attempts import attempts_of
from robotctl.training.push_data import PushTrace, aimed_push, random_push, try_push
from robotctl.world_model.contact import INPUTS, OUTPUTS, QUASI_STATIC, STEPS, UNSEEN, ContactModel
from robotctl.world_model.ensemble import Ensemble
from robotctl.world_model.push import Push, turn
from robotctl.world_model.quasi_static import FINGERS, Friction, Pushed, Shapes, Touch, quasi_static, touch

KITCHEN = load_scene("kitchen")
KINDS = [kind.name for kind in pushable(KITCHEN)]


def random_model(seed: int) -> ContactModel:
    """A contact model with random weights."""
    rng = np.random.default_rng(seed)
    sizes = ((3, 16, INPUTS), (3, 16, 16), (3, OUTPUTS, 16))
    weights = tuple(rng.normal(scale=0.4, size=size).astype(np.float32) for size in sizes)
    return ContactModel(SCALE, Ensemble(weights, tuple(0.1 * w[:, :, 0] for w in weights)))


def ends(model: ContactModel, kind: str, thing: np.ndarray, hands: np.ndarray) -> np.ndarray:
    """Final pose (3,) that the first member foresees."""
    shapes = Shapes.of([Pushed.of(KITCHEN.kinds[kind])])
    return model.rollout(shapes, np.zeros(1, int), thing[None], hands[None])[0, 0, -1]


# ---- silhouettes -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", KINDS)
def test_a_silhouette_is_the_outline_of_its_kind(name: str) -> None:
    kind = KITCHEN.kinds[name]
    shape = silhouette(kind.urdf)
    reach = np.linalg.norm(shape.polygon, axis=1)
    assert reach.max() == pytest.approx(kind.radius, rel=0.06)
    assert np.all(cross(shape.polygon, np.roll(shape.polygon, -1, axis=0)) > 0.0)  # counter-clockwise, star-shaped
    middle = round(REACH / CELL)
    assert shape.distance[middle, middle] < -0.01  # negative inside
    corner = np.array([[-REACH, -REACH]])
    assert shape.distance[0, 0] == pytest.approx(signed_distance(shape.polygon, corner)[0])
    assert shape.distance[0, 0] > 0.1


def test_signed_distance_of_a_square() -> None:
    square = 0.1 * np.array([[1, -1], [1, 1], [-1, 1], [-1, -1]], float)
    points = np.array([[0.0, 0.0], [0.2, 0.0], [0.2, 0.2], [0.09, 0.0]])
    assert signed_distance(square, points) == pytest.approx([-0.1, 0.1, 0.1 * np.sqrt(2), -0.01])


def test_only_what_is_above_the_finger_tips_is_met() -> None:
    """The butter dish's board is lower than the tips: the hand meets its cover."""
    kind = KITCHEN.kinds["butter_dish"]
    met = Pushed.of(kind)
    assert met.tip > 0.014
    assert np.abs(met.shape.polygon[:, 0]).max() < 0.08 < np.abs(silhouette(kind.urdf).polygon[:, 0]).max()


# ---- the contact model -----------------------------------------------------------------------------------------


@given(st.integers(0, 2**31), st.sampled_from(KINDS))
@settings(max_examples=15, deadline=None)
def test_what_is_foreseen_does_not_depend_on_where_one_looks_from(seed: int, name: str) -> None:
    """The same push elsewhere, turned, with the hand turned by half a turn, or in a mirror (for what is symmetric).

    Drawn at random: exactly on a border between sticking and slipping, or through the middle, rounding decides.
    """
    turned, skew, offset = np.random.default_rng(seed).uniform(-1.0, 1.0, 3) * [3.0, 0.3, 0.03]
    model = random_model(0)
    push = Push(np.array([-0.17, offset]), 0.0, skew, 0.15, 0.12)
    origin, moved = np.zeros(3), np.array([0.7, -0.3, turned])
    end = ends(model, name, origin, push.hands(origin))
    elsewhere = ends(model, name, moved, push.hands(moved))
    back = rotation_z(turned)[:2, :2].T @ (elsewhere[:2] - moved[:2])
    assert np.append(back, elsewhere[2] - turned) == pytest.approx(end, abs=1e-5)
    other_side = push.hands(origin) + np.array([0.0, 0.0, np.pi])
    assert ends(model, name, origin, other_side) == pytest.approx(end, abs=1e-5)
    if name in ("cup", "bowl", "plate", "jar"):
        mirror = np.array([1.0, -1.0, -1.0])
        mirrored = ends(model, name, origin, push.hands(origin) * mirror)
        assert mirrored == pytest.approx(end * mirror, abs=1e-3)  # distances are read off a grid


@given(st.integers(0, 2**31), st.sampled_from(KINDS), st.integers(1, 3))
@settings(max_examples=20, deadline=None)
def test_uneven_friction_is_the_same_along_both_axes(seed: int, name: str, quarters: int) -> None:
    offset, skew, turned = np.random.default_rng(seed).uniform(-1.0, 1.0, 3) * [0.03, 0.3, 3.0]
    uneven = replace(QUASI_STATIC, friction=Friction(uneven=1.0, spin=0.001))
    push = Push(np.array([-0.17, offset]), 0.0, skew, 0.15, 0.12)
    here, there = np.array([0.0, 0.0, turned]), np.array([0.0, 0.0, turned + quarters * np.pi / 2])
    end, other = (ends(uneven, name, start, push.hands(start)) for start in (here, there))
    assert other[:2] == pytest.approx(rotation_z(quarters * np.pi / 2)[:2, :2] @ end[:2], abs=1e-5)
    assert other[2] - there[2] == pytest.approx(end[2] - turned, abs=1e-5)


def test_uneven_friction_lets_a_box_turn_farther() -> None:
    push = Push(np.array([-0.17, 0.03]), 0.0, 0.0, 0.15, 0.12)
    start = np.array([0.0, 0.0, 0.6])
    turned = [
        ends(replace(QUASI_STATIC, friction=Friction(uneven=u)), "book", start, push.hands(start))[2] - 0.6
        for u in (0.0, 1.0)
    ]
    assert turned[1] < 1.2 * turned[0] < 0.0


def test_friction_against_turning_holds_what_is_pushed_nearly_through_its_middle() -> None:
    start = np.zeros(3)
    push = Push(np.array([-0.17, 0.05]), 0.0, 0.0, 0.15, 0.12)

    def turned(spin: float) -> float:
        model = replace(QUASI_STATIC, friction=Friction(spin=spin))
        return abs(ends(model, "butter_dish", start, push.hands(start))[2])

    assert turned(0.0) > 0.1
    assert 0.3 * turned(0.0) < turned(0.002) < 0.95 * turned(0.0)
    assert turned(0.03) < 0.2 * turned(0.0)


@given(st.integers(0, 2**31))
@settings(max_examples=60, deadline=None)
def test_a_contact_sticks_or_slips(seed: int) -> None:
    """It moves with the hand under a force inside the friction cone, or slips with one on the cone's edge."""
    generator = np.random.default_rng(seed)
    shapes, which = Shapes.of([Pushed.of(KITCHEN.kinds[str(generator.choice(KINDS))])]), np.zeros(1, int)
    angle, heading = generator.uniform(-np.pi, np.pi, 2)
    normal = np.array([[-np.cos(generator.uniform(-0.7, 0.7)), np.sin(generator.uniform(-0.7, 0.7))]])
    normal /= np.linalg.norm(normal)
    stroke, lever = np.array([[0.005, 0.0]]), np.array([[-0.03, generator.uniform(-0.03, 0.03)]])
    depth = np.sum(stroke * -normal, axis=1)  # the whole stroke is spent in contact
    feet = turn(np.array(angle), shapes.feet)
    met = Touch(np.zeros((1, 10)), -depth, depth, normal, lever, feet)
    friction = Friction(generator.uniform(0.0, 1.5), generator.uniform(0.0, 0.003))
    motion = quasi_static(shapes, which, met, stroke, np.array([heading]), friction)[0]
    at_contact = motion[:2] + motion[2] * np.array([-lever[0, 1], lever[0, 0]])
    assert at_contact @ -normal[0] == pytest.approx(depth[0])
    slid = abs(cross(normal, (at_contact - stroke[0])[None])[0])
    even = replace(shapes, lean=0.0 * shapes.lean, grip=shapes.grip + 100.0)  # nothing slips
    stuck = quasi_static(even, which, met, stroke, np.array([heading]), friction)[0]
    held = stuck[:2] + stuck[2] * np.array([-lever[0, 1], lever[0, 0]])
    assert held == pytest.approx(stroke[0], abs=1e-9)
    assert slid < 0.02


@pytest.mark.parametrize("name", ["book", pytest.param("bowl", marks=pytest.mark.slow)])
def test_how_uneven_friction_is_shows_in_pushes(name: str) -> None:
    """The engine's contact solver lets a foot give way where the object turns easily: it shows on a box."""
    kind, traces = KITCHEN.kinds[name], []
    for i in range(10):
        generator = np.random.default_rng([1000, i])
        traces.append(try_push(KITCHEN, kind, aimed_push(kind, generator), generator))
    pushes = pushes_of([trace for trace in traces if trace is not None], {name: kind})
    found = table_friction(pushes)

    def error(friction: Friction) -> float:
        away = rolled_out(replace(QUASI_STATIC, friction=friction), pushes, 20)[:, 20, :2] - pushes.thing[:, 20, :2]
        return float(np.linalg.norm(away, axis=1).mean())

    assert error(found) <= error(Friction())
    if name == "book":
        assert found.uneven >= 0.5
        assert error(found) < 0.8 * error(Friction())


def test_a_resting_thing_stays_where_no_hand_comes() -> None:
    model = random_model(1)
    push = Push(np.array([-0.2, 0.0]), np.pi, 0.0, 0.2, 0.12)  # away from it
    start = np.array([0.1, 0.2, 0.3])
    assert ends(model, "cup", start, push.hands(start)) == pytest.approx(start)


def test_a_straight_push_through_the_middle_carries_the_thing_along() -> None:
    """Quasi-static: by symmetry no turn, and it ends where the hand's face ends."""
    push = Push(np.array([-0.15, 0.0]), 0.0, 0.0, 0.20, 0.12)
    end = ends(QUASI_STATIC, "jar", np.zeros(3), push.hands(np.zeros(3)))
    face = -0.15 + 0.20 + 0.009
    assert end == pytest.approx([face + 0.050, 0.0, 0.0], abs=3e-3)


@given(st.floats(-0.05, 0.05), st.floats(-0.6, 0.6), st.sampled_from(KINDS))
@settings(max_examples=40, deadline=None)
def test_the_quasi_static_push_makes_way_for_the_hand(offset: float, slant: float, name: str) -> None:
    """After every step the hand is no deeper in the object than the approximation of a part of a step allows."""
    shapes = Shapes.of([Pushed.of(KITCHEN.kinds[name])])
    push = Push(np.array([-0.18, offset]), slant, slant, 0.2, 0.10)
    hands = push.hands(np.zeros(3))
    path = QUASI_STATIC.rollout(shapes, np.zeros(1, int), np.zeros((1, 3)), hands[None])[0, 0]
    still = np.zeros((len(path), 2))
    assert np.all(touch(shapes, np.zeros(len(path), int), path, hands, still).depth < 0.006)


def test_a_corner_hit_from_the_front_is_not_hit_from_the_side() -> None:
    """The hand is about to overlap a box by 3 mm across and 5 mm along the push: what counts is the way it came."""
    kind = KITCHEN.kinds["book"]
    met = Pushed.of(kind)
    shapes, which = Shapes.of([met]), np.zeros(1, int)
    x, y = met.shape.polygon.max(axis=0)
    hand = np.array([[-x - met.half[0] - 1e-3, y + met.half[1] - 3e-3, 0.0]])
    seen = touch(shapes, which, np.zeros((1, 3)), hand, np.array([[0.006, 0.0]]))
    assert seen.depth[0] == pytest.approx(0.005, abs=1e-3)
    assert seen.normal[0] == pytest.approx([-1.0, 0.0], abs=0.05)


def test_the_fingers_roots_stay_above_what_is_pushed() -> None:
    """The fingers are slim for 34 mm from their tips; what is wider would press on a rim."""
    for name in KINDS:
        kind = KITCHEN.kinds[name]
        assert kind.height - Pushed.of(kind).tip < 0.0345 - 0.004


def test_no_bound_no_promise() -> None:
    bound = {"mug": np.linspace(0.0, 0.01, STEPS + 1), UNSEEN: np.full(STEPS + 1, 0.02)}
    model = replace(QUASI_STATIC, bound=bound)
    assert model.error("mug", 3) == pytest.approx(bound["mug"][:4])
    assert model.error("mug", STEPS + 5)[-1] == 0.01
    assert model.error("ufo", 2) == pytest.approx([0.02] * 3)
    assert QUASI_STATIC.error("mug", 2).min() > 0.02  # not calibrated: as good as nothing


def test_the_model_survives_storage_and_odd_shapes_do_not() -> None:
    model = replace(random_model(2), bound={"mug": np.full(STEPS + 1, 0.01)}, friction=Friction(0.75, 0.001))
    again = ContactModel.from_arrays(model.arrays())
    push = Push(np.array([-0.15, 0.01]), 0.0, 0.0, 0.2, 0.12)
    hands = push.hands(np.zeros(3))
    assert np.array_equal(ends(again, "mug", np.zeros(3), hands), ends(model, "mug", np.zeros(3), hands))
    assert ContactModel.from_arrays({}) is QUASI_STATIC
    for name, wrong in (
        ("contact.scale", np.ones(2)),
        ("contact.bound.mug", np.full(STEPS + 1, -1.0)),
        ("contact.friction", np.array([0.0, np.nan])),
        ("contact.friction", np.array(1.0)),
    ):
        with pytest.raises(ValueError, match="contact"):
            ContactModel.from_arrays({**model.arrays(), name: wrong})
    earlier = {name: value for name, value in model.arrays().items() if name != "contact.friction"}
    with pytest.raises(ValueError, match="earlier version"):
        ContactModel.from_arrays(earlier)
    with pytest.raises(ValueError, match="must map"):
        ContactModel.from_arrays({**model.arrays(), "contact.network.w0": np.ones((3, 16, 5))})


# ---- playing and learning --------------------------------------------------------------------------------------


def test_a_push_in_the_simulator_is_repeatable_and_the_hand_goes_where_it_was_sent() -> None:
    kind = KITCHEN.kinds["mug"]
    push = aimed_push(kind, np.random.default_rng(1000))
    one, two = (try_push(KITCHEN, kind, push, np.random.default_rng(1001)) for _ in range(2))
    assert one is not None
    assert two is not None
    assert one.thing.tobytes() == two.thing.tobytes()
    assert one.moved > 0.02
    assert not one.toppled
    hands = push.hands(one.thing[0], late=0.028)[: len(one.hand)]
    assert np.abs(hands[:, :2] - one.hand[: len(hands), :2]).max() < 0.004
    assert np.abs(one.seen[0] - one.thing[0])[:2].max() < 0.004


def made_up(count: int, seed: int) -> Pushes:
    """Aimed pushes of a jar that end as the quasi-static guess has it."""
    rng = np.random.default_rng(seed)
    paths = [aimed_push(KITCHEN.kinds["jar"], rng).hands(np.zeros(3))[:LENGTH] for _ in range(count)]
    hand = np.array([np.pad(path, ((0, LENGTH - len(path)), (0, 0)), mode="edge") for path in paths])
    met = Pushed.of(KITCHEN.kinds["jar"])
    thing = QUASI_STATIC.rollout(Shapes.of([met]), np.zeros(count, int), np.zeros((count, 3)), hand)[0]
    zero = np.zeros(count, int)
    return Pushes(("jar",), (met.shape,), Shapes.of([met]), zero, hand, thing, thing, zero + 40)


def test_bounds_hold_as_declared_and_are_told_apart_by_kind() -> None:
    train, test = made_up(120, 0), made_up(120, 1)
    noise = np.random.default_rng(3).normal(scale=0.004, size=(2, 120, 1, 3)) * [1.0, 1.0, 0.0]
    calibrated = calibrate(QUASI_STATIC, replace(train, thing=train.thing + noise[0]), frozenset())
    part = evaluate_contact(calibrated, replace(test, thing=test.thing + noise[1]), frozenset())
    assert 0.8 < part["coverage"]["moving_2s"] < 0.98
    assert set(calibrated.bound) == {"jar", UNSEEN}
    strangers = calibrate(QUASI_STATIC, train, frozenset({"jar"}))
    assert set(strangers.bound) == {UNSEEN}
    assert part["baselines"]["nothing_moves"][3] > part["error"][3]


def test_a_push_that_ended_elsewhere_than_foreseen_was_no_success() -> None:
    pushes = made_up(3, 5)
    model = replace(QUASI_STATIC, bound={"jar": np.full(STEPS + 1, 0.005)})
    traces = [
        PushTrace("jar", pushes.hand[i], thing, thing, toppled)
        for i, thing, toppled in (
            (0, pushes.thing[0], False),
            (1, pushes.thing[1] + np.linspace(0.0, 0.05, LENGTH)[:, None] * [1.0, 0.0, 0.0], False),
            (2, pushes.thing[2], True),
        )
    ]
    tried = attempts_of(model, traces, KITCHEN.kinds)
    assert [a.success for a in tried] == [True, False, False]
    assert tried[0].features["length"] == pytest.approx(np.linalg.norm(np.ptp(pushes.hand[0, :, :2], axis=0)), abs=1e-3)
    learned = fit_skill(tried * 4, 0)
    assert learned.durations == {}  # the hand was there already
    assert learned.counts == {"jar": (4, 8)}


def test_every_kind_is_held_by_a_bound_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three kinds whose errors differ tenfold in size, and in shape: every one is held as often as declared."""
    generator = np.random.default_rng(1000)
    names, size = np.repeat(["bowl", "jar", "mug"], 30), np.repeat([0.001, 0.003, 0.01], 30)

    def errors() -> np.ndarray:
        drawn = np.where(names == "jar", generator.uniform(0.9, 1.1, 90), generator.exponential(size=90))
        return size[:, None] * np.linspace(0.0, 1.0, STEPS + 1) * drawn[:, None]

    held: dict[str, list[float]] = {"bowl": [], "jar": [], "mug": []}
    for _ in range(60):
        bound = _bounds(errors(), names)
        new = errors()
        for name, row in held.items():
            row.append(np.mean(new[names == name][:, -1] <= bound[name][-1]))
    assert all(0.88 < np.mean(row) < 0.93 for row in held.values())
    assert set(_bounds(errors()[:34], names[:34])) == {"bowl"}  # four jars say nothing
    assert _bounds(errors()[:8], names[:8]) == {}  # nor do eight pushes say where nine of ten are

    pushes = pushes_named(names)
    monkeypatch.setattr("robotctl.training.fit_contact._errors", lambda *_: (errors(), np.ones(90, bool)))
    found = coverage_of_halvings(QUASI_STATIC, [pushes], frozenset({"jar"}), 0)
    assert set(found) == {"bowl", "jar", "mug"}
    assert all(0.8 < share < 0.97 for share in found.values())


def pushes_named(names: np.ndarray) -> Pushes:
    """Pushes of these kinds, of which nothing else is known."""
    kinds = tuple(np.unique(names))
    blank = np.zeros((len(names), LENGTH, 3))
    which = np.searchsorted(kinds, names)
    met = [Pushed.of(KITCHEN.kinds[str(kind)]) for kind in kinds]
    length = np.full(len(names), LENGTH)
    shapes = tuple(m.shape for m in met)
    return Pushes(tuple(map(str, kinds)), shapes, Shapes.of(met), which, blank, blank, blank, length)


def test_curiosity_prefers_what_touches() -> None:
    model, kind = random_model(4), KITCHEN.kinds["mug"]
    rng = np.random.default_rng(1000)
    pushes = [random_push(kind, rng) for _ in range(40)]
    spread = disagreement(model, [kind] * len(pushes), pushes)
    missing = spread < 1e-9
    assert 0.3 < missing.mean() < 0.95  # most random pushes teach nothing
    chosen = disagreement(model, [kind] * 5, curious_pushes(model, [kind] * 5, [rng] * 5))
    assert np.mean(chosen) > 2.0 * spread.mean()


def test_each_kind_gets_its_own_push_whatever_is_chosen_beside() -> None:
    model = random_model(4)
    names = ["mug", "book", "mug"]

    def chosen(which: list[int]) -> list[Push]:
        generators = [np.random.default_rng([1000, i]) for i in which]
        return curious_pushes(model, [KITCHEN.kinds[names[i]] for i in which], generators)

    together, alone = chosen([0, 1, 2]), [chosen([i])[0] for i in range(3)]
    for one, other in zip(together, alone, strict=True):
        assert np.array_equal(one.start, other.start)
        assert one.direction == other.direction


@pytest.mark.slow
def test_learning_through_rollouts_beats_the_first_guess() -> None:
    """A book turns farther than statics says, whatever the table's friction is found to be like."""
    kinds = {"book": KITCHEN.kinds["book"]}
    traces = []
    for i in range(120):
        generator = np.random.default_rng([1000, i])
        push = aimed_push(kinds["book"], generator)
        traces.append(try_push(KITCHEN, kinds["book"], push, generator))
    data = pushes_of([t for t in traces if t is not None], kinds)
    train, test = data.where(np.arange(len(data)) < 90), data.where(np.arange(len(data)) >= 90)
    model = fit_contact(train, 0, 600)

    def error(candidate: ContactModel) -> float:
        away = rolled_out(candidate, test, 20)[:, 20, :2] - test.thing[:, 20, :2]
        return float(np.linalg.norm(away, axis=1).mean())

    assert error(model) < error(replace(QUASI_STATIC, friction=model.friction))


# ---- planning --------------------------------------------------------------------------------------------------


def standing(name: str, kind: str, x: float, y: float) -> ObjectState:
    turned = quaternion_from_matrix(rotation_z(0.4))
    return ObjectState(name, kind, KITCHEN.kinds[kind].labels, np.array([x, y, 0.75]), turned, 0.0)


def planned(others: tuple[ObjectState, ...] = (), target: tuple[float, float] = (0.2, -0.5), overhang: float = 0.0):
    model = replace(QUASI_STATIC, bound={UNSEEN: np.full(STEPS + 1, 0.01)})
    with_kinds = [(item, KITCHEN.kinds[item.kind]) for item in others]
    return plan_push(
        standing("mug", "mug", 0.0, -0.5), KITCHEN.kinds["mug"], np.array(target), KITCHEN.place("table"), with_kinds,
        model, np.random.default_rng(1000), 0.025, overhang,
    )  # fmt: skip


def test_a_push_is_planned_to_its_target_through_the_model() -> None:
    plan = planned()
    assert plan is not None
    assert plan.distance < 0.004
    assert plan.push.length <= FARTHEST
    again = planned()
    assert again is not None
    assert again.push.start == pytest.approx(plan.push.start)


def test_no_push_is_offered_that_might_do_harm() -> None:
    assert planned(target=(0.3, -0.23)) is None or planned(target=(0.3, -0.23)).distance > 0.01  # the table ends
    blocked = planned((standing("cup", "cup", 0.2, -0.5),))
    assert blocked is None or np.linalg.norm(blocked.end[:2] - [0.2, -0.5]) > 0.041 + 0.076 - 0.01


def test_the_hand_is_wider_than_its_tips() -> None:
    assert tuple(Pushed.of(KITCHEN.kinds["mug"]).half) == FINGERS
