"""Ask before something that costs money or cannot be undone. Without a terminal to ask on, the command line must confirm."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from ryla_gen.errors import InvalidInputError
from ryla_gen.support.control_characters import escape_controls

from .screen import Screen

Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")]


def confirm(screen: Screen, question: str, *, yes: bool) -> None:
    """Return when the person agrees; stop the command otherwise.

    Args:
        screen: where the question stands.
        question: one sentence that ends in a question mark.
        yes: whether the command line agreed already.

    Raises:
        InvalidInputError: there is no terminal to ask on.
        typer.Abort: the person said no.
    """
    if yes:
        return
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise InvalidInputError(
            f"{question} This needs confirmation, and there is no terminal to ask on.", "To confirm, add --yes."
        )
    if not typer.confirm(escape_controls(question), err=True):
        raise typer.Abort
