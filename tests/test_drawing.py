"""Pictures: what things look like, where they are drawn, and what of it can be seen."""

from __future__ import annotations

import io
import json
import struct
from pathlib import Path

import numpy as np
import pytest
import trimesh

from robotctl.drawing.bodies import robot_figure
from robotctl.drawing.camera import Camera, overview
from robotctl.drawing.gltf import baked
from robotctl.drawing.portrait import Portraitist
from robotctl.drawing.raster import Textures, picture, soup
from robotctl.drawing.shapes import box, read_figure, read_mesh, simplified
from robotctl.robot import JOINT_NAMES, N_FRAMES, forward
from robotctl.scene_files import load_scene
from robotctl.simulation.bullet import BulletSimulator
from robotctl.task import PersonPlan


def test_links_are_drawn_where_the_kinematics_have_them() -> None:
    rng = np.random.default_rng(0)
    q = rng.uniform(-1.0, 1.0, size=(20, 10))
    poses = robot_figure().poses({name: q[:, i] for i, name in enumerate(JOINT_NAMES)}, len(q))
    rotation, origin = forward(q)
    links = ("base", *(f"panda_link{i}" for i in range(1, 8)), "panda_hand")
    assert len(links) == N_FRAMES
    for i, link in enumerate(links):
        assert np.allclose(poses[link][:, :3, 3], origin[:, i], atol=1e-9), link
        assert np.allclose(poses[link][:, :3, :3], rotation[:, i], atol=1e-9), link


def test_meshes_are_read_with_their_materials(tmp_path: Path) -> None:
    (tmp_path / "m.mtl").write_text("newmtl red\nKd 1 0 0\nnewmtl blue\nKd 0 0 1\n")
    (tmp_path / "m.obj").write_text(
        "mtllib m.mtl\nv 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0\n"
        "usemtl red\nf 1 2 3\nusemtl blue\nf 1/1 3/1 4/1\nf -4 -3 -2 -1\n"
    )
    red, blue = read_mesh(tmp_path / "m.obj")
    assert red.color == (1.0, 0.0, 0.0)
    assert len(red.faces) == 1
    assert blue.color == (0.0, 0.0, 1.0)
    assert len(blue.faces) == 3
    assert len(simplified(red, 5.0).faces) == 0
    (tmp_path / "f.urdf").write_text(
        '<robot name="f"><link name="a"><visual><origin xyz="0 0 1"/><geometry><mesh filename="m.obj"/></geometry>'
        '<material name="m"><color rgba="0 1 0 1"/></material></visual></link><link name="b"/>'
        '<joint name="j" type="revolute"><parent link="b"/><child link="a"/><origin xyz="1 0 0" rpy="0 0 0"/>'
        '<axis xyz="0 0 1"/></joint></robot>'
    )
    figure = read_figure(tmp_path / "f.urdf")
    assert {mesh.color for mesh in figure.meshes["a"]} == {(0.0, 1.0, 0.0)}
    assert figure.meshes["a"][0].vertices[:, 2].tolist() == [1.0, 1.0, 1.0]
    turned = figure.poses({"j": np.array([np.pi / 2])})["a"][0]
    assert np.allclose(turned @ [1.0, 0.0, 0.0, 1.0], [1.0, 1.0, 0.0, 1.0])


def test_pictures_show_what_is_nearer_and_cast_its_shadow() -> None:
    ground = box(np.array([0.0, 0.0, -0.5]), np.array([3.0, 3.0, 0.5]), 0.0, (0.5, 0.5, 0.5))
    block = box(np.array([0.0, 0.0, 1.0]), np.array([0.3, 0.3, 0.3]), 0.3, (1.0, 0.0, 0.0))
    camera = Camera(np.array([0.0, -4.0, 4.0]), np.array([0.0, 0.0, 0.5]))
    bare, full = (
        picture(soup(meshes, Textures()), Textures(), camera, 160, 120) for meshes in ([ground], [ground, block])
    )
    red = (full[..., 0] > 120) & (full[..., 1] < 60)
    assert 200 < red.sum() < 4000
    darker = (full.astype(int).sum(axis=2) < bare.astype(int).sum(axis=2) - 40) & ~red
    assert darker.sum() > 100
    behind = Camera(np.array([0.0, 0.0, 0.5]), np.array([0.0, 5.0, 0.5]))  # half of the ground is behind the camera
    assert (np.ptp(picture(soup([ground], Textures()), Textures(), behind, 160, 120)[-1].astype(int)) < 20).all()


def test_a_glb_holds_the_triangles_and_how_the_light_falls_on_them() -> None:
    block = box(np.array([1.0, 2.0, 3.0]), np.array([0.3, 0.2, 0.1]), 0.0, (0.8, 0.4, 0.0))
    data = baked([block, box(np.zeros(3), np.ones(3), 0.0, (0.2, 0.2, 0.2))])
    found = trimesh.load(io.BytesIO(data), file_type="glb", force="mesh")
    assert len(found.faces) == 24
    assert np.allclose(found.bounds, [[-1.0, -1.0, -1.0], [1.3, 2.2, 3.1]])
    length = struct.unpack_from("<I", data, 12)[0]
    view = json.loads(data[20 : 20 + length])["bufferViews"][1]  # colours, which trimesh leaves out beside a material
    colors = np.frombuffer(data, np.uint8, view["byteLength"], 28 + length + view["byteOffset"]).reshape(-1, 4)[:, :3]
    colors = colors.astype(float)
    top, bottom = (colors[np.isclose(found.vertices[:, 2], z)].max(axis=0) for z in (3.1, 2.9))
    assert top[0] / top[1] == pytest.approx((0.8 / 0.4) ** 2.3, rel=0.1), "linear light of 0.8 and 0.4 in sRGB"
    assert len({tuple(color) for color in colors[np.isclose(found.vertices[:, 2], 3.1)]}) > 1, "sides are lit apart"
    assert top[0] >= bottom[0]


def test_a_scene_is_drawn_with_who_is_in_it_and_the_same_each_time() -> None:
    kitchen = load_scene("kitchen")
    guest = PersonPlan("guest", "stand", np.array([[0.4, -1.4], [0.4, -0.6]]), 0.9, 0.2, (), jitter=0.0, loop=False)
    portraits = [Portraitist(kitchen, overview(kitchen)) for _ in range(2)]
    images = []
    for people in ((guest,), ()):
        with BulletSimulator(kitchen, people) as simulator:
            simulator.reset(0)
            images.append([portrait.picture(simulator.truth(), 160, 100) for portrait in portraits])
    (with_guest, again), (alone, _) = images
    assert with_guest.shape == (100, 160, 3)
    assert with_guest.dtype == np.uint8
    assert len(np.unique(with_guest.reshape(-1, 3), axis=0)) > 500
    np.testing.assert_array_equal(with_guest, again)
    changed = (np.abs(with_guest.astype(int) - alone.astype(int)).max(axis=2) > 30).sum()
    assert 50 < changed < 4000, "a person is there, and nothing else is different"
