"""Play: placements are dared within what is documented, and what is known of them beforehand is geometry."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robotctl.geometry import rotation_z, transform
from robotctl.play import DROP, LEAN, LEAN_FILLED, MARGIN, Placement, daring
from robotctl.scene_files import load_scene
from robotctl.skills.place import RELEASE_GAP, Spot
from robotctl.skills.placing import FAR, edge_distance, placing_features
from robotctl.state import Held, RobotState, State

SCENE = load_scene("kitchen")
TABLE = next(place for place in SCENE.places if place.name == "table")
KINDS = [kind for _, kind in sorted(SCENE.kinds.items()) if kind.grasps]


def test_distance_from_the_edge_is_signed() -> None:
    assert edge_distance(TABLE, TABLE.center) == pytest.approx(TABLE.half.min())
    north = TABLE.center + np.array([0.0, TABLE.half[1] + 0.02, 0.0])
    assert edge_distance(TABLE, north) == pytest.approx(-0.02)


def test_features_of_a_placement_know_edge_neighbour_and_grip() -> None:
    kind = SCENE.kinds["cup"]
    grip = transform(rotation_z(0.3) @ np.diag([1.0, -1.0, -1.0]), np.array([0.03, 0.04, 0.17]))
    position = TABLE.center + np.array([0.0, TABLE.half[1] - 0.01, 0.0])
    beside = (position + np.array([kind.radius + 0.05 + 0.02, 0.0, 0.0]), 0.05)
    seen = placing_features(TABLE, kind, position, grip, [beside], 0.1, 0.2)
    assert seen["edge"] == pytest.approx(0.01)
    assert seen["neighbour_gap"] == pytest.approx(0.02)
    assert (seen["release_height"], seen["lean"]) == (0.1, 0.2)
    assert seen["hand_tilt"] == pytest.approx(0.0, abs=1e-6)
    assert (seen["grip_offset"], seen["grip_depth"]) == (pytest.approx(0.05), pytest.approx(0.17))
    assert placing_features(TABLE, kind, TABLE.center, grip, [])["neighbour_gap"] == FAR


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from(KINDS))
def test_what_is_dared_stays_within_its_limits(seed: int, kind) -> None:  # type: ignore[no-untyped-def]
    generator = np.random.default_rng(seed)
    usual = Placement(TABLE, Spot("table", TABLE.center.copy()))
    dared = daring(usual, kind, [(TABLE.center + 0.2, 0.05)], generator)
    assert dared.release_height == RELEASE_GAP or DROP[0] <= dared.release_height <= DROP[1]
    assert 0.0 <= dared.lean <= (LEAN_FILLED if "fillable" in kind.labels else LEAN[1])
    assert edge_distance(TABLE, dared.spot.position) >= MARGIN[0] - 1e-9
    np.testing.assert_array_equal(usual.spot.position, TABLE.center)  # what was careful stays so
    lowest = dared.raised(kind).position[2] - TABLE.center[2] - kind.radius * np.sin(dared.lean) + RELEASE_GAP
    assert lowest == pytest.approx(dared.release_height)


def test_a_leaning_object_is_believed_to_lean_in_the_hand() -> None:
    grip = transform(np.diag([1.0, -1.0, -1.0]), np.array([0.0, 0.0, 0.17]))
    robot = RobotState(*np.zeros((4, 10)), 0.04, held=Held("cup_1", "cup", frozenset(), grip))
    placement = Placement(TABLE, Spot("table", TABLE.center), lean=0.2, toward=1.0)
    held = placement.leaning(State(0.0, robot)).robot.held
    assert held is not None
    np.testing.assert_allclose(held.T_hand_object[:3, 3], grip[:3, 3])
    cosine = (grip[:3, :3] @ [0.0, 0.0, 1.0]) @ (held.T_hand_object[:3, :3] @ [0.0, 0.0, 1.0])
    assert np.arccos(cosine) == pytest.approx(0.2)
