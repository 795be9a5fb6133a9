"""Implement ``ryla-gen mcp``: serve workflows to an agent over standard input and output. Prints nothing there itself."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ryla_gen.errors import InvalidInputError
from ryla_gen.tools.mcp import ServerOptions, serve, settings_for

from .. import run_options
from ..common import Backend, Url, example, setting_warnings, single
from ..screen import Screen

app = single()


@app.command("mcp", epilog=example("ryla-gen mcp --max-usd 2 --confirm-above 0.10"))
def command(
    context: typer.Context,
    workflow: Annotated[
        list[str] | None,
        typer.Option(
            "--workflow", metavar="NAME", help="Offer only this one; repeatable. Default: five, and the others by one tool."
        ),
    ] = None,
    max_usd: Annotated[
        float | None,
        typer.Option("--max-usd", metavar="USD", min=0.0, help="What the whole process may spend. Default: 1.00."),
    ] = None,
    confirm_above: Annotated[
        float | None,
        typer.Option("--confirm-above", metavar="USD", min=0.0, help="Ask the person before a call that likely costs more."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FOLDER", help="Folder of the results. Default: output_dir, if it is set."),
    ] = None,
    allow_folder: Annotated[
        list[Path] | None,
        typer.Option(
            "--allow-folder",
            metavar="FOLDER",
            help="The agent may name pictures below it; repeatable. Default: the folder of the results.",
        ),
    ] = None,
    wait: Annotated[
        float, typer.Option("--wait", metavar="SECONDS", min=0.0, help="How long a call waits for its job, which then goes on.")
    ] = 50.0,
    backend: Backend = None,
    url: Url = None,
) -> None:
    """Serve workflows to an agent (Claude, Cursor, …) over the Model Context Protocol, with a budget."""
    screen = context.find_object(Screen) or Screen(context.command_path)
    settings, place = settings_for(run_options.settings_for(backend, url), output, max_usd)
    for text in setting_warnings(settings):
        screen.note(f"warning: {text}")
    allowed = tuple(_folder(path) for path in allow_folder) if allow_folder else ()
    options = ServerOptions(settings, place, allowed or (place.resolve(),), confirm_above, wait, tuple(workflow or ()))
    code = serve(options)
    if code:
        raise typer.Exit(code)


def _folder(path: Path) -> Path:
    found = path.expanduser().resolve()
    if not found.is_dir():
        raise InvalidInputError(f"--allow-folder {path} is not a folder.", "Name one that is there.")
    return found
