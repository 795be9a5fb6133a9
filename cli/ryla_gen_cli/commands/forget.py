"""Implement ``ryla-gen forget``: show what would be erased, ask, erase it. Decides nothing about what may be erased."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ryla_gen.errors import InvalidInputError
from ryla_gen.support.counting import count_text

from ..common import Json, Quiet, example, screen_of, single
from ..prompts import Yes, confirm
from ..screen import Screen, width, wrap

if TYPE_CHECKING:
    from ryla_gen.client import Client
    from ryla_gen.forgetting.base import Forgotten

app = single()

SHOWN = 20
"""Items of a kind that are named on the screen; ``--json`` has them all."""


@app.command("forget", epilog=example("ryla-gen forget --user 4711 --dry-run"))
def command(
    context: typer.Context,
    job: Annotated[str | None, typer.Option("--job", metavar="ID", help="This job, and those that belong to it.")] = None,
    user: Annotated[str | None, typer.Option("--user", metavar="ID", help="Every job of this user of your app.")] = None,
    character: Annotated[
        str | None, typer.Option("--character", metavar="NAME", help="Every job of this character, and the LoRA of that id.")
    ] = None,
    folder: Annotated[
        list[Path] | None,
        typer.Option("--folder", metavar="DIR", help="A folder of results besides output_dir to erase files in; repeatable."),
    ] = None,
    servers: Annotated[bool, typer.Option("--servers/--no-servers", help="Ask servers to erase what they have.")] = True,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be erased.")] = False,
    yes: Yes = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Erase what is known of a job, a user or a character. Of costs an anonymous row stays. It says what cannot be erased."""
    screen = screen_of(context, as_json=as_json, quiet=quiet)
    if sum(item is not None for item in (job, user, character)) != 1:
        raise InvalidInputError("Say what to forget: one job, one user or one character.", "Give --job, --user or --character.")
    from ryla_gen.client import Client  # the backends and their HTTP, which no help text needs

    places = folder or []
    with Client() as client:

        def forget(*, dry_run: bool) -> Forgotten:
            return _forget(client, job, user, character)(places, servers, dry_run)

        found = forget(dry_run=True)
        if dry_run or found.empty:
            screen.result(found.to_data(), _page(found) if not found.empty else "There is nothing to erase.")
            return
        screen.note(_page(found))
        confirm(screen, f"Erase {_sum(found)}? This cannot be undone.", yes=yes)
        done = forget(dry_run=False)
    screen.result(done.to_data(), f"Erased: {_sum(done)}.")
    _warn(screen, [text for text in done.stays if text not in found.stays])


def _forget(
    client: Client, job: str | None, user: str | None, character: str | None
) -> Callable[[list[Path], bool, bool], Forgotten]:
    """Choose the call that forgets what was asked for."""
    from ryla_gen.characters import Characters

    if job is not None:
        return lambda places, servers, dry: client.jobs.forget(job, folders=places, servers=servers, dry_run=dry)
    if user is not None:
        return lambda places, servers, dry: client.jobs.forget_user(user, folders=places, servers=servers, dry_run=dry)
    name = str(character)
    return lambda places, servers, dry: Characters(client).forget(name, folders=places, servers=servers, dry_run=dry)


def _page(found: Forgotten) -> str:
    """List what would be erased, and what stays."""
    groups = {
        "Jobs": found.jobs,
        "Files": found.files,
        "Folders of characters": found.folders,
        "Rows in the records of batches": found.batches,
        "Pages of galleries (ryla-gen gallery writes them again)": found.pages,
        "LoRAs": found.loras,
        "On servers": found.servers,
    }
    lines: list[str] = []
    for title, items in groups.items():
        lines += [f"{title}: {len(items)}", *(f"  {item}" for item in items[:SHOWN])] if items else []
        lines += [f"  … and {len(items) - SHOWN} more"] if len(items) > SHOWN else []
    if found.usd:
        lines.append(f"Costs: ${found.usd:.4f} stay counted, without saying whose they were")
    lines += [wrap(f"Stays: {text}", width()) for text in found.stays[:SHOWN]]
    lines += [f"… and {len(found.stays) - SHOWN} more that stay"] if len(found.stays) > SHOWN else []
    return "\n".join(lines)


def _sum(found: Forgotten) -> str:
    counts = (
        (len(found.jobs), "job"),
        (len(found.files), "file"),
        (len(found.folders), "folder"),
        (len(found.batches), "record of a batch", "records of batches"),
        (len(found.pages), "gallery page"),
        (len(found.loras), "LoRA"),
    )
    return ", ".join(count_text(count, *words) for count, *words in counts if count)


def _warn(screen: Screen, texts: list[str]) -> None:
    for text in texts:
        screen.note(f"warning: {text}")
