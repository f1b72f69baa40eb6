"""`robotctl verify`: are the assumptions of the safety case true?"""

from __future__ import annotations

import typer

verify_app = typer.Typer(help="Checks the assumptions of the safety case.", no_args_is_help=True)


@verify_app.callback()
def verify() -> None:
    """Checks the assumptions of the safety case, one by one, against the simulator, motion files and samples."""
