"""`robotctl train TASK|SCENE|gym:ENV_ID`: collect, fit, evaluate, save; and the steps one at a time."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

if TYPE_CHECKING:
    from robotctl.training.recipe import Progress, Recipe

GYM = "gym:"  # begins a target that is a Gymnasium environment
WHOLE = "whole"  # the command that runs when no step is named


class WithDefault(TyperGroup):
    """A group whose first word, if it is no step, belongs to the command that does everything."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] not in ("-h", "--help"):
            args = [WHOLE, *args]
        return super().parse_args(ctx, args)


train_app = typer.Typer(
    cls=WithDefault,
    help="Learns a world model from watching people, playing with the joints, and trying skills.\n\n"
    "`robotctl train kitchen` does everything; the steps can also be run one at a time. `robotctl train gym:ENV_ID` "
    "learns a Gymnasium environment instead.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Target = Annotated[
    str,
    typer.Argument(
        metavar="TASK|SCENE|gym:ENV_ID",
        help="A task or scene by name or file, or a Gymnasium environment.",
        show_default=False,
    ),
]
Data = Annotated[
    Path | None, typer.Option("--data", help="Folder for the collected data.", show_default="data/TARGET-SEED")
]
Folder = Annotated[Path, typer.Argument(metavar="DATA", help="Folder that `train collect` filled.", show_default=False)]
Out = Annotated[
    Path | None, typer.Option("--out", help="The model to write.", show_default="runs/TARGET-SEED.safetensors")
]
Workers = Annotated[int, typer.Option(help="Processes that collect.", min=1)]
Seed = Annotated[int, typer.Option(help="Same seed, same weights.", min=0, envvar="ROBOTCTL_SEED")]
Quick = Annotated[bool, typer.Option("--quick", help="Less of everything, in half of the time.")]
Resume = Annotated[bool, typer.Option("--resume", help="Keep the data files that are there.")]
Curve = Annotated[
    bool, typer.Option("--curve", help="Measure learning curves, too: fits on less of the data, some minutes more.")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


@train_app.command(WHOLE, hidden=True)
def whole(
    target: Target,
    quick: Quick = False,
    data: Data = None,
    out: Out = None,
    workers: Workers = 2,
    seed: Seed = 0,
    resume: Resume = False,
    as_json: Json = False,
    transitions: Annotated[
        int | None, typer.Option(help="gym: only: transitions to collect.", min=100, show_default="20000, quick 5000")
    ] = None,
    episodes: Annotated[
        int | None, typer.Option(help="gym: only: episodes to evaluate with.", min=1, show_default="100, quick 20")
    ] = None,
) -> None:
    """Collects, fits, evaluates and saves a world model for a scene, the scene of a task, or `gym:ENV_ID`."""
    if target.startswith(GYM):
        _train_gym(target, quick, data, out, seed, resume, as_json, transitions, episodes)
        return
    from robotctl.errors import UsageError
    from robotctl.training.train import train

    if transitions is not None or episodes is not None:
        raise UsageError(f"--transitions and --episodes are for {GYM}ENV_ID only; `{target}` takes --quick")
    recipe, folder = _recipe(target, seed, quick, data)
    path = _model_path(out, recipe)
    with speaking(folder) as progress:
        answer = train(recipe, path, folder, workers, resume, progress)
    _show(answer, as_json)


def _train_gym(
    target: str,
    quick: bool,
    data: Path | None,
    out: Path | None,
    seed: int,
    resume: bool,
    as_json: bool,
    transitions: int | None,
    episodes: int | None,
) -> None:
    """`robotctl train gym:ENV_ID`, another pipeline: nothing in it knows the kitchen."""
    from robotctl.cli.output import stdout_for_answers
    from robotctl.training.gym.recipe import recipe_of

    with stdout_for_answers():  # simulators greet on stdout when they are imported
        recipe = recipe_of(target, seed, quick, transitions, episodes)
    name = f"gym-{recipe.environment.replace('/', '-')}-{seed}"
    path = model_file(out or Path("runs") / f"{name}.safetensors")
    folder = data or Path("data") / name
    with speaking(folder) as progress:
        from robotctl.training.gym.train import train

        answer = train(recipe, path, folder, resume, progress)
    if as_json:
        _print(answer)
        return
    from robotctl.training.gym.report import text

    for line in text(answer):
        typer.echo(line)
    typer.echo(f"collected in {answer['collect_s']:.0f} s, fitted in {answer['fit_s']:.0f} s")
    typer.echo(f"model: {answer['model']}")


@train_app.command("collect")
def collect(
    target: Target,
    quick: Quick = False,
    data: Data = None,
    workers: Workers = 2,
    seed: Seed = 0,
    resume: Resume = False,
    as_json: Json = False,
) -> None:
    """Only collects: people watched, joints played with, skills tried."""
    from robotctl.training import train

    recipe, folder = _recipe(target, seed, quick, data)
    with speaking(folder) as progress:
        files = train.collect(recipe, folder, workers, resume, progress=progress)
    if as_json:
        _print({"schema": "robotctl/train-collect.v1", "data": str(folder), "files": files})
    else:
        typer.echo(f"{files} files in {folder}; next: robotctl train fit {folder}")


@train_app.command("fit")
def fit(folder: Folder, out: Out = None, curve: Curve = False, as_json: Json = False) -> None:
    """Only fits (and evaluates and saves) a model on what `collect` left in a folder."""
    from robotctl.training import train
    from robotctl.training.recipe import recipe_of

    recipe = recipe_of(folder)
    path = _model_path(out, recipe)
    with speaking(folder) as progress:
        answer = train.fit(recipe, path, folder, progress, curve=curve)
    _show(answer, as_json)


@train_app.command("evaluate")
def evaluate(
    folder: Folder,
    model: Annotated[
        Path | None, typer.Option(help="A model made by `robotctl train`.", show_default="the packaged one")
    ] = None,
    page: Annotated[
        Path | None, typer.Option(help="An HTML page with plots to write, too.", show_default="none")
    ] = None,
    curve: Curve = False,
    as_json: Json = False,
) -> None:
    """Only evaluates a model on the people and episodes of a data folder that no fit sees."""
    from robotctl.training import train
    from robotctl.training.recipe import recipe_of

    with speaking(folder) as progress:
        answer = train.evaluate_file(model, recipe_of(folder), folder, progress, curve, page)
    _show(answer, as_json)


def _recipe(target: str, seed: int, quick: bool, data: Path | None) -> tuple[Recipe, Path]:
    from robotctl.errors import UsageError
    from robotctl.training.recipe import FULL, QUICK, Recipe
    from robotctl.training.target import open_target

    if target.startswith(GYM):
        raise UsageError(f"`{GYM}` targets have no single steps; use: robotctl train {target}")
    open_target(target)
    recipe = Recipe(target, seed, QUICK if quick else FULL)
    return recipe, data or Path("data") / stem(recipe.target, recipe.seed)


def stem(target: str, seed: int) -> str:
    """How the files made for a target are called."""
    return f"{Path(target).with_suffix('').as_posix().strip('./').replace('/', '-')}-{seed}"


def _model_path(out: Path | None, recipe: Recipe) -> Path:
    return model_file(out or Path("runs") / f"{stem(recipe.target, recipe.seed)}.safetensors")


def model_file(path: Path) -> Path:
    """The path of a model to write; UsageError if it does not look like one."""
    from robotctl.errors import UsageError

    if path.suffix != ".safetensors":
        raise UsageError(f"--out {path}: a model file ends in .safetensors")
    return path


@contextmanager
def speaking(folder: Path | None) -> Iterator[Progress]:
    """Progress on stderr: a bar on a terminal, a line for each step elsewhere.

    When interrupted it says how to go on with what was collected in a folder.
    """
    from robotctl.cli.output import note, stdout_for_answers

    shown: set[str] = set()

    def lines(what: str, share: float) -> None:
        if what not in shown:
            shown.add(what)
            note(what)

    try:
        with stdout_for_answers():
            if not sys.stderr.isatty():
                yield lines
                return
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

            columns = (TextColumn("{task.description:<16}"), BarColumn(), TimeElapsedColumn())
            with Progress(*columns, console=Console(stderr=True)) as bars:
                tasks: dict[str, Any] = {}

                def advance(what: str, share: float) -> None:
                    if what not in tasks:
                        tasks[what] = bars.add_task(what, total=1.0)
                    bars.update(tasks[what], completed=share)

                yield advance
    except KeyboardInterrupt:
        if folder is not None:
            note(f"interrupted; what was collected is in {folder}, --resume goes on from there")
        raise


def _print(answer: dict[str, Any]) -> None:
    from robotctl.cli.output import print_json

    print_json(answer)


def _show(answer: dict[str, Any], as_json: bool) -> None:
    if as_json:
        _print(answer)
        return
    for part in answer["evaluation"]["parts"]:
        _show_part(part)
    if "fit_s" in answer:
        typer.echo(f"collected in {answer['collect_s']:.0f} s, fitted in {answer['fit_s']:.0f} s")
    typer.echo(f"model: {answer['model']}")
    if "page" in answer:
        typer.echo(f"with plots: {answer['page']}")


def _show_part(part: dict[str, Any]) -> None:
    """A few lines on one learned part: its error beside its baselines', and the coverage of its bounds."""
    typer.echo(f"{part['name']} [{part['unit']}], {part['n']} test cases")
    horizon = part.get("horizon_s")
    rows = {"learned": part["error"], **part["baselines"]}
    if horizon is None:
        for name, value in rows.items():
            typer.echo(f"  {name:<18} {value:.4f}")
    else:
        wanted = [i for i, h in enumerate(horizon) if h in (0.1, 0.5, 1.0, 2.0, 3.0)]
        typer.echo("  " + " " * 18 + "".join(f"{horizon[i]:>9.1f} s" for i in wanted))
        for name, values in rows.items():
            cells = "".join(f"{values[i]:>11.3f}" if values[i] is not None else f"{'-':>11}" for i in wanted)
            typer.echo(f"  {name:<18}{cells}")
    if "coverage" in part:
        coverage = part["coverage"]
        typer.echo(f"  bounds hold {coverage['moving']:.3f} of moving cases, {coverage['nominal']:.2f} declared")
