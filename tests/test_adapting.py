"""Going on from a model at home, and merging models of several homes: what is kept, what is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from robotctl.cli.main import app
from robotctl.errors import InvalidFileError, RefusedError, UsageError
from robotctl.scene_files import load_scene
from robotctl.training import adapt, lineage, records
from robotctl.training.adapt import Adaptation, bounds_after, continued, imagined, moved_apart
from robotctl.training.fit_contact import DEPTH, MEMBERS, SCALE, WIDTH, Pushes, pushes_of, rolled_out
from robotctl.training.homes import open_home
from robotctl.training.merge import _normalised, merge, merged_skills, open_part
from robotctl.training.recipe import claim_folder
from robotctl.training.tables import save_table
from robotctl.world_model import composite, storage
from robotctl.world_model.contact import INPUTS, OUTPUTS, QUASI_STATIC, STEPS, UNSEEN, ContactModel
from robotctl.world_model.ensemble import Ensemble
from robotctl.world_model.skill_outcome import SkillModel, SkillOutcomeModel

KITCHEN = load_scene("kitchen")
MUG, CUP = KITCHEN.kinds["mug"], KITCHEN.kinds["cup"]
GROWING = np.linspace(0.004, 0.02, STEPS + 1)


def contact(seed: int, width: int = WIDTH) -> ContactModel:
    """A contact model with random weights and bounds."""
    rng = np.random.default_rng(seed)
    sizes = [(MEMBERS, width, INPUTS), *[(MEMBERS, width, width)] * (DEPTH - 1), (MEMBERS, OUTPUTS, width)]
    weights = tuple(rng.normal(scale=1.0 / np.sqrt(size[2]), size=size).astype(np.float32) for size in sizes)
    biases = tuple(0.1 * w[:, :, 0] for w in weights)
    return ContactModel(SCALE, Ensemble(weights, biases), {"mug": GROWING, UNSEEN: 2.0 * GROWING})


def mirrored(model: ContactModel) -> ContactModel:
    """The same function by other weights: the units of the first layer with their signs exchanged."""
    assert model.network is not None
    (w0, w1, *rest), (b0, *more) = model.network.weights, model.network.biases
    return replace(model, network=Ensemble((-w0, -w1, *rest), (-b0, *more)))


def write(path: Path, model: ContactModel, pushes: int = 100, **card: Any) -> Path:
    """A model file: the packaged one with another contact part."""
    people, actuators, outcomes, _ = composite.parts_from(path, *storage.load(composite.DEFAULT)[:2])
    card = {"recipe": {"seed": 7}, "transitions": {"pushes": pushes}, **card}
    composite.save_world_model(path, people, actuators, outcomes, model, card)
    return path


def home(folder: Path, truth: ContactModel) -> Path:
    """The folder of an adaptation whose objects behaved as a model says."""
    adaptation = Adaptation("kitchen", 0, "of nothing", ("mug",), ("cup",), 30)
    claim_folder(folder, adapt.MANIFEST, adapt._manifest(adaptation))
    rng = np.random.default_rng(5)
    for name, jobs in adaptation.jobs(folder).items():
        for job in jobs:
            kinds = [CUP if name == adapt.KNOWN else MUG]
            save_table(job.path, records.of_pushes(imagined(truth, kinds, job.size or 0, rng, aimed=True)))
    return folder


# ---- what is collected -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("pushes", [10, 33, 200])
def test_every_push_has_one_purpose(tmp_path: Path, pushes: int) -> None:
    adaptation = Adaptation("kitchen", 0, "", ("mug", "jar"), ("cup",), pushes)
    jobs = adaptation.jobs(tmp_path, Path("model.safetensors"))
    assert {name: sum(job.size or 0 for job in group) for name, group in jobs.items()} == adaptation.counts()
    assert sum(adaptation.counts().values()) == pushes
    paths = [job.path for group in jobs.values() for job in group]
    assert len(set(paths)) == len(paths)
    assert all((job.model is None) == job.aimed for group in jobs.values() for job in group)
    assert replace(adaptation, known=()).counts()[adapt.KNOWN] == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["kitchen", "--kind", "mugg"], "did you mean 'mug'"),
        (["kitchen", "--kind", "knife"], "sharp"),
        (["kitchen", "--kind", "mug", "--pushes", "201"], "from 10 to 200"),
        (["kitchn", "--kind", "mug"], "did you mean 'kitchen'"),
        (["gym:PushT", "--kind", "mug"], "no objects"),
        (["kitchen", "--kind", "mug", "--out", "model.bin"], "safetensors"),
    ],
)
def test_the_command_line_says_what_cannot_be_adapted_to(arguments: list[str], said: str) -> None:
    result = CliRunner().invoke(app, ["train", "adapt", *arguments])
    assert result.exit_code == 2
    assert said in result.output
    assert len(result.output.strip().splitlines()) == 1


def test_a_model_of_another_form_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "narrow.safetensors", contact(0, width=16))
    with pytest.raises(InvalidFileError, match="not of the form"):
        adapt.plan("kitchen", path, ["mug"], 20, 0)
    good = adapt.plan("kitchen", write(tmp_path / "good.safetensors", contact(0)), ["jar", "jar"], 20, 0)
    assert (good.kinds, good.known) == (("jar",), ("mug",))


def test_a_changed_home_is_told_apart(tmp_path: Path) -> None:
    folder = home(tmp_path / "home", QUASI_STATIC)
    assert set(open_home(folder).tests) == {"pushes"}
    manifest = folder / adapt.MANIFEST
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "scene_sha256": "another"}))
    with pytest.raises(UsageError, match="changed since"):
        open_home(folder)


# ---- what is remembered ----------------------------------------------------------------------------------------


def test_what_is_imagined_is_what_the_model_says() -> None:
    model = contact(1)
    traces = imagined(model, [MUG, CUP], 7, np.random.default_rng(0), aimed=True)
    assert [trace.kind for trace in traces] == ["mug"] * 4 + ["cup"] * 3
    pushes = pushes_of(traces, KITCHEN.kinds)
    within = np.arange(21) < pushes.length[:, None]  # of what was imagined: after that pushes count as resting
    assert rolled_out(model, pushes, 20)[within] == pytest.approx(pushes.thing[:, :21][within], abs=1e-9)
    assert max(np.max(v) for v in moved_apart(model, model, pushes).values()) == 0.0


def imagined_pushes(model: ContactModel, seed: int, count: int) -> Pushes:
    traces = imagined(model, [MUG, CUP, KITCHEN.kinds["jar"]], count, np.random.default_rng(seed), aimed=True)
    return pushes_of(traces, KITCHEN.kinds)


def test_bounds_never_become_narrower() -> None:
    given, adapted = contact(2), contact(3)
    calibration, held = imagined_pushes(QUASI_STATIC, 0, 45), imagined_pushes(given, 1, 45)
    bound = bounds_after(given, adapted, calibration, held, ("jar",))
    assert set(bound) == {"mug", "jar", UNSEEN}
    for kind in ("mug", UNSEEN):
        assert np.all(bound[kind] >= given.bound[kind])
    # What the given model promised of a known kind, the adapted one keeps as far as the two agree.
    apart = moved_apart(given, adapted, held)["mug"]
    assert bound["mug"] == pytest.approx(GROWING + apart)


def test_too_few_pushes_make_no_bound_of_their_own() -> None:
    few = imagined_pushes(QUASI_STATIC, 0, 9)
    assert set(bounds_after(contact(2), contact(3), few, None, ("jar",))) == {"mug", UNSEEN}
    fresh = bounds_after(QUASI_STATIC, contact(3), few, None, ("jar",))
    assert set(fresh) == {UNSEEN}
    assert np.all(fresh[UNSEEN] == QUASI_STATIC.error("anything", STEPS))
    again = bounds_after(contact(2), contact(3), few, None, ("mug",))  # a known kind is adapted to
    assert np.all(again["mug"] >= 2.0 * GROWING)


# ---- merging ---------------------------------------------------------------------------------------------------


def test_merging_a_model_with_itself_changes_nothing(tmp_path: Path) -> None:
    path = write(tmp_path / "a.safetensors", contact(4))
    copy = write(tmp_path / "b.safetensors", contact(4), pushes=300)
    answer = merge([path, copy], [home(tmp_path / "home", QUASI_STATIC)], tmp_path / "out.safetensors")
    assert answer["sha256"] == storage.load(path)[2]
    assert answer["holds"]
    assert set(answer["parts"].values()) == {"the same in all"}
    card = json.loads((tmp_path / "out.json").read_text())
    assert card["merged"]["check"][0]["home"] == str(tmp_path / "home")


def test_weights_follow_the_amounts_of_data(tmp_path: Path) -> None:
    one, two = contact(5), contact(6)
    two = replace(two, bound={"cup": 3.0 * GROWING, UNSEEN: GROWING})
    paths = [
        write(tmp_path / "a.safetensors", one, pushes=100),
        write(tmp_path / "b.safetensors", two, pushes=300),
    ]
    answer = merge(paths, [home(tmp_path / "home", QUASI_STATIC)], tmp_path / "out.safetensors", force=True)
    assert [row["weight"] for row in answer["models"]] == [0.25, 0.75]
    merged = open_part(tmp_path / "out.safetensors")
    assert merged.contact.network is not None
    for got, a, b in zip(merged.contact.network.weights, one.network.weights, two.network.weights, strict=True):
        assert got == pytest.approx(0.25 * a + 0.75 * b, abs=1e-6)
    # A kind that one model does not know counts there with the bound of unseen kinds.
    assert merged.contact.bound["mug"] == pytest.approx(GROWING)
    assert merged.contact.bound["cup"] == pytest.approx(3.0 * GROWING)
    assert merged.contact.bound[UNSEEN] == pytest.approx(2.0 * GROWING)
    assert merged.card["transitions"]["pushes"] == 400
    assert [a.name for a in merged.lineage] == ["seed 7", merged.sha256]


def test_only_what_was_learned_since_the_common_start_counts() -> None:
    base = [lineage.fresh(7), lineage.Ancestor("base", 1000)]
    lines = [[*base, lineage.Ancestor("a", 1100)], [*base, lineage.Ancestor("b", 1300)]]
    assert lineage.common_start(lines) == base[1]
    assert lineage.common_start([lines[0], [lineage.fresh(8), lineage.Ancestor("c", 5)]]) is None
    assert lineage.common_start([lines[0], [lineage.fresh(7), lineage.Ancestor("c", 5)]]) == base[0]
    assert lineage.until(lines[0], base[1]) == base


def test_a_merged_model_that_is_worse_than_its_parts_is_not_kept(tmp_path: Path) -> None:
    """Both models foresee exactly what happens; their mean, whose first layer is zero, does not."""
    truth = contact(8)
    paths = [write(tmp_path / "a.safetensors", truth), write(tmp_path / "b.safetensors", mirrored(truth))]
    folder, out = home(tmp_path / "home", truth), tmp_path / "out.safetensors"
    with pytest.raises(RefusedError, match=r"home: the merged model's pushes are off by .* mm at 2 s"):
        merge(paths, [folder], out)
    assert not out.exists()
    answer = merge(paths, [folder], out, force=True)
    (row,) = answer["check"]
    assert not row["holds"]
    assert row["merged"] > 1.0 > row["worst"]
    assert not json.loads((tmp_path / "out.json").read_text())["merged"]["holds"]
    command = ["train", "merge", *map(str, paths), "--home", str(folder), "--out", str(tmp_path / "no.safetensors")]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 6
    assert not (tmp_path / "no.safetensors").exists()


def test_what_cannot_be_merged_is_said_in_one_line(tmp_path: Path) -> None:
    folder = home(tmp_path / "home", QUASI_STATIC)
    a = write(tmp_path / "a.safetensors", contact(1))
    narrow = write(tmp_path / "narrow.safetensors", contact(1, width=16))
    stranger = write(tmp_path / "stranger.safetensors", contact(2), recipe={"seed": 8})
    bare = write(tmp_path / "bare.safetensors", QUASI_STATIC)
    (tmp_path / "thesis.safetensors").write_text("important")
    out = tmp_path / "out.safetensors"
    for other, error, said in (
        (narrow, InvalidFileError, rf"narrow.safetensors: its contact networks \({INPUTS}-16-16-3, 4\) do not fit"),
        (bare, InvalidFileError, "none"),
        (stranger, UsageError, "do not go back to the same weights"),
        (tmp_path / "thesis.safetensors", InvalidFileError, "not a complete safetensors file"),
        (tmp_path / "missing.safetensors", InvalidFileError, "cannot be read"),
    ):
        with pytest.raises(error, match=said) as caught:
            merge([a, other], [folder], out)
        assert "\n" not in str(caught.value)
    for paths, homes, said in (
        ([a], [folder], "two or more"),
        ([a, a], [], "no --home"),
        ([a, a], [tmp_path], "no data of `robotctl train`"),
    ):
        with pytest.raises(UsageError, match=said):
            merge(paths, homes, out)
    assert not out.exists()


def test_a_network_in_another_normalisation_is_the_same_function() -> None:
    model = composite.parts_from(composite.DEFAULT, *storage.load(composite.DEFAULT)[:2])[1]
    rng = np.random.default_rng(0)
    center = model.center + 0.1 * model.spread * rng.normal(size=model.center.shape)
    spread, scale = model.spread * rng.uniform(0.9, 1.1, model.spread.shape), 1.1 * model.scale
    other = replace(model, center=center, spread=spread, scale=scale, network=_normalised(model, center, spread, scale))
    q, dq, ddq = (rng.normal(scale=0.3, size=(20, 10)) for _ in range(3))
    context = model.center[36:]  # not clipped in either
    for one, two in zip(model.predict(q, dq, ddq, context), other.predict(q, dq, ddq, context), strict=True):
        assert one == pytest.approx(two, abs=1e-6)


def test_skills_add_up(tmp_path: Path) -> None:
    def outcomes(shift: float, successes: int) -> SkillOutcomeModel:
        skill = SkillModel(
            ("gap",), np.array([shift]), np.array([2.0]), None, 1.0, {"cup": (successes, 10)}, {"cup": 3.0 + shift},
            {"cup": 0.01 * (1.0 + shift)}, np.array([1.0, 0.5 * shift]),
        )  # fmt: skip
        return SkillOutcomeModel({"pick": skill})

    part = open_part(write(tmp_path / "a.safetensors", contact(0)))
    one, two = (replace(part, outcomes=outcomes(shift, 30)) for shift in (0.0, 1.0))
    merged, how = merged_skills([one, two])
    skill = merged.skills["pick"]
    assert (how, skill.counts) == ("averaged", {"cup": (60, 20)})
    assert skill.durations["cup"] == 3.5
    assert skill.displacements["cup"] == 0.02
    logits = [0.5 * (x / 2.0 + (x - 1.0) / 2.0 + 0.5) for x in (0.0, 1.0)]
    mine = [
        float((np.array([x]) - skill.center) / skill.spread @ skill.weights[:1] + skill.weights[1]) for x in (0.0, 1.0)
    ]
    assert mine == pytest.approx(logits)
    assert merged_skills([one, one])[1] == "the same in all"


# ---- learning --------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_new_kind_is_learned_and_a_known_one_not_forgotten() -> None:
    """Jars behave as one model says, mugs as another: the first is new, the second is what is known."""
    given, truth = contact(10), contact(11)
    jar = KITCHEN.kinds["jar"]
    new = imagined(truth, [jar], 60, np.random.default_rng(0), aimed=True)
    models = [continued(given, new, KITCHEN.kinds, [MUG], 1000, 200) for _ in range(2)]
    for one, two in zip(models[0].arrays().values(), models[1].arrays().values(), strict=True):
        assert np.array_equal(one, two)
    tests = {
        "new": pushes_of(imagined(truth, [jar], 40, np.random.default_rng(1), aimed=True), KITCHEN.kinds),
        "known": pushes_of(imagined(given, [MUG], 40, np.random.default_rng(2), aimed=True), KITCHEN.kinds),
    }

    def error(model: ContactModel, name: str) -> float:
        away = rolled_out(model, tests[name], 20)[:, 20, :2] - tests[name].thing[:, 20, :2]
        return float(np.linalg.norm(away, axis=1).mean())

    assert error(models[0], "new") < 0.7 * error(given, "new")
    assert error(models[0], "known") < 0.7 * error(truth, "known")


@pytest.mark.slow
def test_adapting_from_the_first_push_to_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adapt, "FIT_STEPS", 200)
    start = write(tmp_path / "start.safetensors", contact(12))
    data, out = tmp_path / "data", tmp_path / "out.safetensors"
    command = [
        "train", "adapt", "kitchen", "--from", str(start), "--kind", "jar", "--pushes", "14", "--data", str(data),
        "--out", str(out), "--workers", "1", "--json",
    ]  # fmt: skip
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    answer = json.loads(result.stdout)
    assert sum(answer["pushes"].values()) == 14
    part, given = open_part(out), open_part(start)
    assert part.card["continued_from"]["sha256"] == given.sha256
    assert [ancestor.name for ancestor in part.lineage] == ["seed 7", given.sha256, answer["sha256"]]
    assert np.array_equal(part.people.linear, given.people.linear)
    assert all(np.all(part.contact.bound[kind] >= bound - 1e-6) for kind, bound in given.contact.bound.items())
    again = CliRunner().invoke(app, [*command, "--resume"])
    assert json.loads(again.stdout)["sha256"] == answer["sha256"]
    other = CliRunner().invoke(app, [*command, "--seed", "1"])
    assert other.exit_code == 2
    assert "seed differs" in other.output
    merged = merge([out, start], [data], tmp_path / "merged.safetensors")
    assert merged["models"][0]["weight"] == 1.0  # the other has learned nothing since
