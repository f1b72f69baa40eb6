"""`robotctl train adapt` and `train merge`: go on from a model at home, and make one model of several homes'."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from robotctl.cli.train_command import GYM, Json, Resume, Seed, Target, Workers, model_file, speaking, stem


def adapt(
    target: Target,
    kind: Annotated[list[str], typer.Option(help="A new kind of object of the scene; may be repeated.")],
    model: Annotated[
        Path | None,
        typer.Option("--from", help="The model to go on from.", show_default="the packaged one"),
    ] = None,
    pushes: Annotated[int, typer.Option(help="Pushes in all, 10 to 200.")] = 200,
    data: Annotated[
        Path | None, typer.Option(help="Folder for the collected data.", show_default="data/TARGET-SEED-adapt")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="The model to write.", show_default="runs/TARGET-SEED-adapt.safetensors")
    ] = None,
    seed: Seed = 0,
    workers: Workers = 2,
    resume: Resume = False,
    as_json: Json = False,
) -> None:
    """Goes on from a model: pushes new kinds of objects about, and learns them without forgetting the others."""
    from robotctl.cli.output import print_json
    from robotctl.errors import UsageError

    if target.startswith(GYM):
        raise UsageError(f"`{GYM}` targets have no objects to adapt to; name a scene or task")
    from robotctl.training.adapt import adapt, plan

    name = f"{stem(target, seed)}-adapt"
    path, folder = model_file(out or Path("runs") / f"{name}.safetensors"), data or Path("data") / name
    adaptation = plan(target, model, kind, pushes, seed)
    with speaking(folder) as progress:
        answer = adapt(adaptation, model, path, folder, workers, resume, progress)
    if as_json:
        print_json(answer)
        return
    counts = answer["pushes"]
    typer.echo(
        f"{sum(counts.values())} pushes: {counts['fit']} to fit, {counts['calibrate']} to calibrate, "
        f"{counts['test']} to test with, {counts['known']} of known kinds; {answer['fallen']} things fell"
    )
    for title, shown in (("new kinds", answer["new_kinds"]), ("known kinds", answer["known_kinds"])):
        _show_errors(title, shown)
    for new in (k for k in answer["kinds"] if k not in answer["calibrated"]):
        typer.echo(f"too few pushes of '{new}' to calibrate: the bound of unseen kinds stands in")
    typer.echo(f"collected in {answer['collect_s']:.0f} s, fitted in {answer['fit_s']:.0f} s")
    typer.echo(f"model: {answer['model']}")


def _show_errors(title: str, shown: dict[str, Any] | None) -> None:
    """Mean errors of both models by horizon."""
    if shown is None:
        typer.echo(f"{title}: not tested")
        return
    typer.echo(f"{title} [mm], {shown['n']} test pushes that moved something")
    typer.echo("  " + " " * 8 + "".join(f"{h:>9.1f} s" for h in shown["horizon_s"]) + "  bounds held")
    for name in ("before", "after"):
        row = shown[name]
        cells = "".join(f"{v:>11.2f}" if v is not None else f"{'-':>11}" for v in row["error_mm"])
        held = f"{row['coverage']:>12.3f}" if row["coverage"] is not None else f"{'-':>12}"
        typer.echo(f"  {name:<8}{cells}  {held}")


def merge(
    models: Annotated[list[Path], typer.Argument(metavar="MODEL...", help="Models with a common start.")],
    home: Annotated[
        list[Path] | None,
        typer.Option(
            help="A data folder of `train` or `train adapt` to check with; may be repeated.", show_default=False
        ),
    ] = None,
    out: Annotated[Path, typer.Option(help="The model to write.")] = Path("runs/merged.safetensors"),
    force: Annotated[bool, typer.Option("--force", help="Write it even if the check fails; its card says so.")] = False,
    as_json: Json = False,
) -> None:
    """Makes one model of several, weights averaged by their amounts of data, and checks it in every home."""
    from robotctl.cli.output import note, print_json
    from robotctl.training.merge import merge

    path = model_file(out)
    with speaking(None) as progress:
        answer = merge(models, home or [], path, force, progress)
    if as_json:
        print_json(answer)
        return
    for row in answer["models"]:
        typer.echo(f"{row['weight']:6.3f}  {row['model']} ({row['transitions_since']} steps of pushes)")
    for part, how in answer["parts"].items():
        typer.echo(f"{part}: {how}")
    for row in answer["check"]:
        own = ", ".join(f"{name} {value:g}" for name, value in row["models"].items())
        typer.echo(f"{row['home']}, {row['part']} [{row['unit']}]: merged {row['merged']:g}; {own}")
    if not answer["holds"]:
        note("the merged model is worse than its parts; its card says so")
    typer.echo(f"model: {answer['model']}")
