"""The commands about files: `robotctl scenes | tasks | guardrails`  list, show, check, schema and render.

Data goes to stdout, remarks to stderr. Heavy imports happen inside the commands, so that `--help` is instant.
"""

from __future__ import annotations

import sys
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from robotctl.guardrails.load import GuardrailSet
    from robotctl.scene import Scene
    from robotctl.task import PersonPlan, Task

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
SceneName = Annotated[str, typer.Argument(help="A scene by name (kitchen) or file.", show_default=False)]
TaskName = Annotated[str, typer.Argument(help="A task by name (kitchen/clear-table) or file.", show_default=False)]
SceneAndOutput = Annotated[
    list[str], typer.Argument(metavar="[SCENE] OUT.png", help="A scene by name or file, and the picture to write.")
]
TaskAndOutput = Annotated[
    list[str], typer.Argument(metavar="[TASK] OUT.png", help="A task by name or file, and the picture to write.")
]
Size = Annotated[str, typer.Option(help="Width x height in pixels.")]
Azimuth = Annotated[float, typer.Option(help="Where the camera stands: 90 south, 0 west, in degrees.")]
Elevation = Annotated[float, typer.Option(help="How high the camera stands, in degrees.", min=1, max=85)]

scenes_app = typer.Typer(help="Rooms: what is in them and where.", no_args_is_help=True)
tasks_app = typer.Typer(help="What is asked of the robot, and which people are around.", no_args_is_help=True)
guardrails_app = typer.Typer(help="What must never happen.", no_args_is_help=True)

UNITS = {  # of what guardrails and assumptions say of themselves; what is not here is a plain number
    **dict.fromkeys(("radius", "edge", "distance", "tolerance"), "m"),
    **dict.fromkeys(("human_error", "object_error", "tracking_error"), "m"),
    **dict.fromkeys(("v_max", "human_speed", "tracking_speed_error"), "m/s"),
    **dict.fromkeys(("limit", "brake_at"), "N"),
    **dict.fromkeys(("sensing_latency", "actuation_latency"), "s"),
    "slope": "1/s",
}


# ---- scenes ----------------------------------------------------------------------------------------------------


@scenes_app.command("list")
def scenes_list(as_json: Json = False) -> None:
    """The packaged scenes."""
    from robotctl.scene_files import load_scene
    from robotctl.scene_paths import scene_names

    scenes = [load_scene(name) for name in scene_names()]
    rows = [{"name": s.name, "items": len(s.items), "description": s.description, "path": s.path} for s in scenes]
    _show("robotctl/scenes.v1", {"scenes": rows}, as_json, [f"{s.name:<16} {s.description}" for s in scenes])


@scenes_app.command("show")
def scenes_show(scene: SceneName, as_json: Json = False) -> None:
    """What a scene contains."""
    from robotctl.scene_files import load_scene

    loaded = load_scene(scene)
    _show("robotctl/scene-info.v1", _scene_data(loaded), as_json, _scene_lines(loaded))


@scenes_app.command("check")
def scenes_check(file: SceneName, as_json: Json = False) -> None:
    """Checks a scene file with everything it names. Exit code 3 if it is broken."""
    from robotctl.remarks import scene_remarks
    from robotctl.scene_files import load_scene

    loaded = load_scene(file)
    remarks = scene_remarks(loaded)
    said = (
        f"ok: scene {loaded.name}, {len(loaded.items)} items of {len(loaded.kinds)} kinds, {len(loaded.boxes())} boxes"
    )
    _checked(remarks, said, as_json)


@scenes_app.command("schema")
def scenes_schema(
    kinds: Annotated[bool, typer.Option("--kinds", help="The schema of object kinds instead.")] = False,
) -> None:
    """JSON schema of scene files, for editors."""
    from robotctl.kind_files import KINDS_SCHEMA, KindsFile
    from robotctl.scene_files import SCENE_SCHEMA, SceneFile
    from robotctl.schema import json_schema

    _print(json_schema(KindsFile, KINDS_SCHEMA) if kinds else json_schema(SceneFile, SCENE_SCHEMA))


@scenes_app.command("render")
def scenes_render(
    words: SceneAndOutput,
    size: Size = "1280x720",
    azimuth: Azimuth = 70.0,
    elevation: Elevation = 30.0,
) -> None:
    """A picture of a scene, as a PNG file."""
    from robotctl.scene_files import load_scene

    scene, out = _subject_and_output(words, "kitchen")
    _render(load_scene(scene), (), out, size, azimuth, elevation, 0.0, 0)


# ---- tasks -----------------------------------------------------------------------------------------------------


@tasks_app.command("list")
def tasks_list(as_json: Json = False) -> None:
    """The packaged tasks."""
    from robotctl.task import load_task, task_names

    tasks = [load_task(name) for name in task_names()]
    rows = [{"name": t.name, "description": t.description, "path": t.path} for t in tasks]
    _show("robotctl/tasks.v1", {"tasks": rows}, as_json, [f"{t.name:<26} {t.description}" for t in tasks])


@tasks_app.command("show")
def tasks_show(task: TaskName, as_json: Json = False) -> None:
    """The objective, the people and the guardrails of a task."""
    from robotctl.task import load_task

    loaded = load_task(task)
    _show("robotctl/task-info.v1", _task_data(loaded), as_json, _task_lines(loaded))


@tasks_app.command("check")
def tasks_check(file: TaskName, as_json: Json = False) -> None:
    """Checks a task file, its scene and its guardrails. Exit code 3 if one of them is broken."""
    from robotctl.guardrails.load import load_guardrails
    from robotctl.remarks import task_remarks
    from robotctl.task import load_task, spoken_of

    loaded = load_task(file)
    rules = load_guardrails(loaded.guardrail_files, loaded.scene, None, spoken_of(loaded))
    remarks = task_remarks(loaded, rules.assumptions)
    said = f"ok: task {loaded.name}, scene {loaded.scene.name}, {len(rules.guardrails)} guardrails"
    _checked(remarks, said, as_json)


@tasks_app.command("schema")
def tasks_schema(
    people: Annotated[bool, typer.Option("--people", help="The schema of files of people instead.")] = False,
) -> None:
    """JSON schema of task files, for editors."""
    from robotctl.schema import json_schema
    from robotctl.task import PEOPLE_SCHEMA, TASK_SCHEMA, PeopleFile, TaskFile

    _print(json_schema(PeopleFile, PEOPLE_SCHEMA) if people else json_schema(TaskFile, TASK_SCHEMA))


@tasks_app.command("render")
def tasks_render(
    words: TaskAndOutput,
    at: Annotated[float, typer.Option(help="Time of the picture in seconds.", min=0, max=600)] = 0.0,
    seed: Annotated[int, typer.Option(help="Seed of the start and the people.", min=0)] = 0,
    size: Size = "1280x720",
    azimuth: Azimuth = 70.0,
    elevation: Elevation = 30.0,
) -> None:
    """A picture of a task with its people, while the robot stands still, as a PNG file."""
    from robotctl.task import load_task

    task, out = _subject_and_output(words, "kitchen/clear-table")
    loaded = load_task(task)
    _render(loaded.scene, loaded.people, out, size, azimuth, elevation, at, seed)


# ---- guardrails ------------------------------------------------------------------------------------------------


@guardrails_app.command("list")
def guardrails_list(as_json: Json = False) -> None:
    """The packaged guardrail files."""
    from robotctl.files import load_yaml
    from robotctl.guardrails.load import guardrail_files, read_guardrails

    files = [(path, read_guardrails(load_yaml(path))) for path in guardrail_files()]
    rows = [{"name": f.name, "guardrails": [g.id for g in f.guardrails], "path": path} for path, f in files]
    lines = [f"{f.name:<16} {', '.join(g.id for g in f.guardrails)}" for _, f in files]
    _show("robotctl/guardrail-files.v1", {"files": rows}, as_json, lines)


@guardrails_app.command("show")
def guardrails_show(
    files: Annotated[list[str], typer.Argument(help="Guardrail files by name (household) or path.")],
    scene: Annotated[str, typer.Option(help="The scene they hold in.")] = "kitchen",
    as_json: Json = False,
) -> None:
    """What one or several files together forbid, and what they assume."""
    rules = _guardrails(files, scene)
    from robotctl.guardrails.load import resolved_values

    _show("robotctl/guardrails-info.v1", resolved_values(rules), as_json, _guardrails_lines(rules))


@guardrails_app.command("check")
def guardrails_check(
    files: Annotated[list[str], typer.Argument(help="Guardrail files by name (household) or path.")],
    scene: Annotated[str, typer.Option(help="The scene they hold in.")] = "kitchen",
    as_json: Json = False,
) -> None:
    """Checks guardrail files, alone and together with the assumptions of the household file."""
    from robotctl.files import load_yaml
    from robotctl.guardrails.load import find_guardrails, read_guardrails

    paths = [find_guardrails(file) for file in files]
    declared = any(read_guardrails(load_yaml(path)).assumptions for path in paths)
    rules = _guardrails(files if declared else [*files, "household"], scene)
    remarks = [] if declared else ["no assumptions declared: checked together with those of household"]
    _checked(remarks, f"ok: {len(rules.guardrails)} guardrails, sha256 {rules.sha256[:16]}", as_json)


@guardrails_app.command("prove")
def guardrails_prove(
    files: Annotated[
        list[str] | None, typer.Argument(help="Guardrail files by name or path.", show_default="household")
    ] = None,
    as_json: Json = False,
) -> None:
    """Takes every guardrail, and every term of the filter's margin, away once: is it missed?

    Each must bind in some plot (the filter stops because of it, and the judge sees nothing wrong), be violated when it
    alone is removed, and hold again when it is restored. Takes a minute or two. Exit code 4 if one survives.
    """
    from robotctl.cli.output import console, print_json, stdout_for_answers
    from robotctl.cli.report import proof_table
    from robotctl.cli.view import progress_bar
    from robotctl.verify.proof import answer, count, prove

    names = tuple(files or ("household",))
    with stdout_for_answers():
        total = count(names)
        with progress_bar(total, "proofs") if sys.stderr.isatty() else nullcontext() as bar:
            proofs = prove(names, None if bar is None else lambda p: bar.advance(p.proved, not (p.proved or p.note)))
    found = answer(proofs, names)
    if as_json:
        print_json(found)
    else:
        terminal = console()
        for part in proof_table(found):
            terminal.print(part)
    raise typer.Exit(4 if found["survivors"] else 0)


@guardrails_app.command("schema")
def guardrails_schema() -> None:
    """JSON schema of guardrail files, for editors."""
    from robotctl.guardrails.load import GUARDRAILS_SCHEMA, GuardrailsFile
    from robotctl.schema import json_schema

    _print(json_schema(GuardrailsFile, GUARDRAILS_SCHEMA))


def _guardrails(files: list[str], scene: str) -> GuardrailSet:
    from robotctl.guardrails.load import find_guardrails, load_guardrails
    from robotctl.scene_files import load_scene

    return load_guardrails([find_guardrails(file) for file in files], load_scene(scene))


# ---- showing ---------------------------------------------------------------------------------------------------


def _print(value: Any) -> None:
    from robotctl.jsontext import json_text

    typer.echo(json_text(value))


def _show(schema: str, data: dict[str, Any], as_json: bool, lines: list[str]) -> None:
    if as_json:
        _print({"schema": schema, **data})
    else:
        typer.echo("\n".join(lines))


def _checked(remarks: list[str], said: str, as_json: bool) -> None:
    if as_json:
        _print({"schema": "robotctl/check.v1", "valid": True, "remarks": remarks, "summary": said})
        return
    for remark in remarks:
        typer.echo(f"note: {remark}", err=True)
    typer.echo(said)


def _scene_data(scene: Scene) -> dict[str, Any]:
    return {
        "name": scene.name,
        "description": scene.description,
        "path": scene.path,
        "robot_start": scene.robot_start,
        "furniture": [{"name": f.name, "labels": f.labels, "boxes": len(f.boxes)} for f in scene.furniture],
        "places": [{"name": p.name, "labels": p.labels, "center": p.center, "size": 2 * p.half} for p in scene.places],
        "regions": [{"name": r.name, "labels": r.labels} for r in scene.regions],
        "items": [
            {"name": i.name, "kind": i.kind, "labels": scene.labels_of(i), "position": i.position} for i in scene.items
        ],
    }


def _scene_lines(scene: Scene) -> list[str]:
    def at(values: Any) -> str:
        return " ".join(f"{value:.2f}" for value in values) + " m"

    lines = [f"{scene.name}: {scene.description}".rstrip(": "), "furniture"]
    lines += [f"  {f.name:<16} {', '.join(sorted(f.labels))}" for f in scene.furniture]
    lines += ["places"] + [f"  {p.name:<16} at {at(p.center)}, {at(2 * p.half)}" for p in scene.places]
    if scene.regions:
        lines += ["regions"] + [f"  {r.name:<16} {', '.join(sorted(r.labels))}" for r in scene.regions]
    lines += ["items"]
    lines += [f"  {i.name:<16} {i.kind:<12} at {at(i.position)}" for i in scene.items]
    return lines


def _task_data(task: Task) -> dict[str, Any]:
    return {
        "name": task.name,
        "description": task.description,
        "path": task.path,
        "scene": task.scene.name,
        "objective": [_predicate_text(task, i) for i in range(len(task.objective))],
        "within_s": task.within,
        "people": [
            {"name": p.name, "clip": p.clip, "speed_m_s": p.speed, "start_s": p.start, "reaches": len(p.reach)}
            for p in task.people
        ],
        "guardrails": task.guardrail_files,
    }


def _predicate_text(task: Task, index: int) -> str:
    from robotctl.task import starting

    predicate = task.objective[index]
    names = [predicate.object] if predicate.object else list(starting(task.scene, predicate.forall, predicate.origin))
    place = f" {predicate.place}" if predicate.place else ""
    return f"{', '.join(names)}: {'not ' if predicate.negate else ''}{predicate.is_}{place}"


def _task_lines(task: Task) -> list[str]:
    from robotctl.files import show_path

    lines = [f"{task.name}: {task.description}".rstrip(": "), f"scene       {task.scene.name}"]
    lines += [f"objective   {_predicate_text(task, i)}" for i in range(len(task.objective))]
    lines += [f"within      {task.within:g} s"]
    for person in task.people:
        lines.append(f"person      {person.name}: {person.clip} from {person.start:g} s at {person.speed:g} m/s")
        lines += [f"            reaches for {r.hold:g} s at point {r.at}" for r in person.reach]
    return lines + [f"guardrails  {show_path(path)}" for path in task.guardrail_files]


def _guardrails_lines(rules: GuardrailSet) -> list[str]:
    lines = [f"{rules.name}  sha256 {rules.sha256[:16]}"]
    for rule in sorted(rules.guardrails, key=lambda rule: rule.header.tier):
        scope = rule.header.scope
        when = [f"while holding {' or '.join(sorted(scope.held))}"] if scope.held else []
        when += [f"during {' or '.join(sorted(scope.skill))}"] if scope.skill else []
        lines.append(f"  tier {rule.header.tier}  {rule.header.id:<22} {' '.join(when) or 'always'}")
        numbers = {k: v for k, v in vars(rule).items() if isinstance(v, float)}
        values = ", ".join(_with_unit(key, value) for key, value in numbers.items())
        lines.append(f"          {values + '; ' if values else ''}source: {rule.header.source}")
    lines.append("assumptions")
    for key, value in vars(rules.assumptions).items():
        text = ", ".join(f"{k} {v:g}" for k, v in value.items()) if isinstance(value, dict) else f"{value:g}"
        lines.append(f"  {key:<22} {text} {UNITS[key]}")
    return lines


def _with_unit(key: str, value: float) -> str:
    return f"{key} {value:.4g} {UNITS.get(key, '')}".rstrip()


def _subject_and_output(words: list[str], default: str) -> tuple[str, Path]:
    """What to draw, and the .png to write: in either order, the first may be left out."""
    from robotctl.errors import UsageError

    pictures = [word for word in words if word.lower().endswith(".png")]
    subjects = [word for word in words if word not in pictures]
    if len(pictures) != 1 or len(subjects) > 1:
        raise UsageError("expected one .png file to write, and at most one thing to draw")
    return (subjects or [default])[0], Path(pictures[0])


def _render(
    scene: Scene,
    people: tuple[PersonPlan, ...],
    out: Path,
    size: str,
    azimuth: float,
    elevation: float,
    at: float,
    seed: int,
) -> None:
    import re

    import numpy as np
    from PIL import Image

    from robotctl.drawing.camera import overview
    from robotctl.drawing.portrait import Portraitist
    from robotctl.errors import UsageError
    from robotctl.files import show_path
    from robotctl.simulation.bullet import BulletSimulator
    from robotctl.simulation.quiet import quiet
    from robotctl.state import N_ACTIONS, TICK

    match = re.fullmatch(r"(\d{2,4})x(\d{2,4})", size)
    if match is None or max(map(int, match.groups())) > 4096:
        raise UsageError(f"--size: expected WIDTHxHEIGHT up to 4096x4096, got '{size[:20]}'")
    if not out.parent.is_dir():
        raise UsageError(f"'{out}': no such folder")
    width, height = map(int, match.groups())
    still = np.zeros(N_ACTIONS)
    with quiet(), BulletSimulator(scene, people) as simulator:
        still[-1] = simulator.reset(seed).finger_opening
        for _ in range(round(at / TICK)):
            simulator.step(still)
        image = Portraitist(scene, overview(scene, azimuth, elevation)).picture(simulator.truth(), width, height)
    try:
        Image.fromarray(image).save(out)
    except OSError as error:
        raise UsageError(f"'{out}': {error.strerror}") from None
    typer.echo(f"wrote {show_path(out)} ({width} x {height})", err=True)
