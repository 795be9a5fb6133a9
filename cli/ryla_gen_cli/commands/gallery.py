"""Implement ``ryla-gen gallery``: write one page of a folder's pictures and videos. Starts no server, sends nothing."""

from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer

from ryla_gen.errors import InvalidInputError
from ryla_gen.history import History
from ryla_gen.settings import Settings
from ryla_gen.support.counting import count_text
from ryla_gen.tools.gallery import Collection, collect, save_page

from ..common import Json, Overwrite, Quiet, example, screen_of, single
from ..screen import Screen

app = single()

NAMED = 3
"""Unreadable files that are named; the rest is counted."""
PAGES = (".html", ".htm")


@app.command("gallery", epilog=example("ryla-gen gallery pictures --since 7d --open"))
def command(
    context: typer.Context,
    folder: Annotated[
        Path | None,
        typer.Argument(
            metavar="FOLDER", help="Folder with the pictures; subfolders are included. Default: the setting output_dir."
        ),
    ] = None,
    output: Annotated[
        str | None, typer.Option("--output", "-o", metavar="PAGE", help="Page to write. Default: gallery.html in the folder.")
    ] = None,
    since: Annotated[
        str | None, typer.Option("--since", metavar="WHEN", help="Only files made since this time: 2026-01-31, or 24h, 7d, 4w ago.")
    ] = None,
    show: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
    overwrite: Overwrite = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Show the pictures and videos of a folder on one page, with prompts, seeds, costs, and the command that makes each again."""
    screen = screen_of(context, as_json=as_json, quiet=quiet)
    settings = Settings.load()
    place = folder if folder is not None else settings.output_dir
    target = _target(output, place)
    with closing(History(settings.history_path)) as history:
        found = collect(place, history, since=since)
    page = save_page(target, found, overwrite=overwrite)
    for text in (*history.warnings, *_remarks(found)):
        screen.note(text)
    data = {"page": str(page), "folder": str(found.folder), "skipped": found.skipped}
    screen.result({**data, "items": [item.to_data() for item in found.items]}, str(page))
    if show:
        _open(screen, page)


def _target(output: str | None, folder: Path) -> Path:
    if output is None:
        return folder / "gallery.html"
    if output.endswith(("/", "\\")) or os.path.isdir(os.path.expanduser(output)):  # noqa: PTH111, PTH112 - Path's raise for odd names
        return Path(output) / "gallery.html"
    if not output.lower().endswith(PAGES):
        raise InvalidInputError(f"{output} does not end in .html.", "Use such a name: -o gallery.html")
    return Path(output)


def _remarks(found: Collection) -> list[str]:
    count = len(found.items)
    lines = [f"{count_text(count, 'file')} on the page."]
    if found.skipped:
        lines.append(f"{found.skipped} left out: they do not say how they were made.")
    lines += [f"warning: {text}" for text in found.unreadable[:NAMED]]
    if len(found.unreadable) > NAMED:
        lines.append(f"warning: {len(found.unreadable) - NAMED} more could not be read.")
    return lines


def _open(screen: Screen, page: Path) -> None:
    import webbrowser

    if not webbrowser.open(page.as_uri()):
        screen.note(f"warning: no browser could be started; open {page} yourself.")
