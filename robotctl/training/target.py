"""What `robotctl train TASK|SCENE` names: a scene, and the people of its tasks to be watched."""

from __future__ import annotations

from functools import cache

from robotctl.errors import RobotctlError, UsageError, nearest
from robotctl.guardrails.load import GuardrailSet, load_guardrails
from robotctl.scene import Scene
from robotctl.scene_files import load_scene
from robotctl.scene_paths import scene_names, scenes_folder
from robotctl.task import PersonPlan, load_task, task_names


@cache
def open_target(name: str) -> tuple[Scene, tuple[PersonPlan, ...]]:
    """The scene that a name or file means, and the people to watch: the task's, or those of all its tasks."""
    if name in task_names() or (name not in scene_names() and _is_task(name)):
        task = load_task(name)
        return task.scene, task.people
    if name not in scene_names() and not name.endswith((".yaml", ".yml")):
        raise UsageError(f"no task or scene '{name}'{nearest(name, [*task_names(), *scene_names()])}")
    scene = load_scene(name)
    tasks = [load_task(task) for task in task_names() if task.startswith(f"{scene.name}/")]
    return scene, tuple(person for task in tasks for person in task.people)


def _is_task(name: str) -> bool:
    """Whether a file is a task file."""
    if not name.endswith((".yaml", ".yml")):
        return False
    try:
        load_task(name)
    except RobotctlError:
        try:
            load_scene(name)
        except RobotctlError:
            return True  # neither: let the task's error say what is wrong
        return False
    return True


def household(scene: Scene) -> GuardrailSet:
    """The packaged household guardrails: under them the robot practises."""
    return load_guardrails((scenes_folder() / "guardrails" / "household.yaml",), scene)
