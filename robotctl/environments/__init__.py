"""Our tasks as Gymnasium environments: importing this package registers one for every packaged task.

`kitchen/clear-table` becomes `robotctl/KitchenClearTable-v0`. Gymnasium 1.0 dropped the loading of plugins, so somebody
has to import the package, or name it: `gymnasium.make("robotctl.environments:robotctl/KitchenClearTable-v0")`.
"""

from __future__ import annotations

from robotctl.errors import MissingPartError
from robotctl.task import task_names

try:
    import gymnasium
except ImportError:
    raise MissingPartError("the environments need gymnasium: pip install 'robotctl[gym]'") from None

VERSION = 0  # of the environments: raised when observations, actions, rewards or costs change their meaning


def environment_id(task: str) -> str:
    """Id of a packaged task's environment: `robotctl/KitchenClearTable-v0` for `kitchen/clear-table`."""
    words = task.replace("/", "-").replace("_", "-").split("-")
    return f"robotctl/{''.join(word[:1].upper() + word[1:] for word in words)}-v{VERSION}"


def environment_ids() -> dict[str, str]:
    """The id of every packaged task's environment, by the task's name."""
    return {task: environment_id(task) for task in task_names()}


def register() -> None:
    """Makes every packaged task known to gymnasium.make; what is known already stays as it is."""
    for task, name in environment_ids().items():
        if name not in gymnasium.registry:
            # No max_episode_steps: an episode's length is the task's own time limit, which the environment keeps.
            gymnasium.register(name, "robotctl.environments.task_env:TaskEnv", kwargs={"task": task})


register()
