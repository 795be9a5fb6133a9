"""Implement ``ryla-gen lora``: push, list, show, pull, verify, remove LoRAs where the backend reads them. The client decides."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import typer

from ryla_gen.errors import LoraNotFoundError
from ryla_gen.events import Event
from ryla_gen.support.counting import count_text
from ryla_gen.support.numbers import format_bytes

from ..common import Backend, Json, Overwrite, Quiet, example, group, screen_of
from ..completion import remember_loras
from ..prompts import Yes, confirm
from ..screen import Screen, table, use_colour, width

if TYPE_CHECKING:
    from ryla_gen.client import Client
    from ryla_gen.models.loras.base import Card, Stored, Transfer
    from ryla_gen.workflows.base import Workflow

app = group(
    "Store, list and check the LoRAs of a backend.",
    example("ryla-gen lora push ada.safetensors --trigger-word ohwx"),
)

PLAIN_SECONDS, JSON_SECONDS = 15.0, 1.0
"""Between two lines of progress for people, and for programs."""
BAR_SECONDS = 0.1
"""Between two strokes of the bar."""

Id = Annotated[str, typer.Argument(metavar="ID", help="Id of the stored LoRA.", show_default=False)]


@dataclass(frozen=True, slots=True)
class TransferEvent(Event):
    """Progress of a transfer, as a line of ``--json``."""

    type: ClassVar[str] = "lora"
    stage: str = ""
    bytes: int = 0
    total: int | None = None


@app.command(epilog=example("ryla-gen lora push hf://owner/ada-lora/ada.safetensors@main --id ada"))
def push(
    context: typer.Context,
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE", help="A .safetensors file, or hf://OWNER/REPOSITORY/FILE.safetensors@REVISION.", show_default=False
        ),
    ],
    lora_id: Annotated[
        str | None, typer.Option("--id", metavar="ID", help="Id to store it under. Default: made from the file name.")
    ] = None,
    trigger_word: Annotated[
        list[str] | None,
        typer.Option("--trigger-word", metavar="WORD", help="Trigger word; repeatable. Default: those in the file."),
    ] = None,
    base: Annotated[
        str | None,
        typer.Option("--base", metavar="MODEL", help="flux, sdxl, wan, z_image, qwen or flux2, for a file that does not say."),
    ] = None,
    backend: Backend = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Store a LoRA where the backend reads it. It is checked first; existing content is not sent again."""
    from ryla_gen.engine.loras import takers  # here, since it loads what checks requests

    screen = screen_of(context, as_json=as_json, quiet=quiet)
    with _client(backend) as client, _transfer_progress(screen) as show:
        done = client.loras.push(source, id=lora_id, base=base, trigger_words=tuple(trigger_word or ()), progress=show)
    card = done.card
    said = "is already stored" if done.outcome == "already" else f"is stored ({format_bytes(card.bytes)})"
    words = f", trigger words: {', '.join(card.trigger_words)}" if card.trigger_words else ""
    takes = list(takers(card.model))
    use = f"Use it: {_use(*takes[0], card)}" if takes else ""
    names = [cls.name.replace("_", "-") + _size(size) for cls, size in takes]
    others = f"Also taken by: {', '.join(names[1:])}" if takes[1:] else ""
    text = f"{card.id} {said}, for {card.model}{words}."
    screen.result(done.to_data(), "\n".join(part for part in (text, *card.notes, use, others) if part))


def _use(cls: type[Workflow], size: str | None, card: Card) -> str:
    """Write the command that uses a LoRA; a workflow without a field for its trigger word has that in the prompt."""
    word = card.trigger_words[0] if card.trigger_words else ""
    own = "trigger_word" in cls.model_fields
    prompt = "PROMPT" if own or not word else f"{word}, PROMPT"
    option = "--lora-id" if "lora_id" in cls.model_fields else "--lora"
    trigger = f' --trigger-word "{word}"' if own and word else ""
    return f'ryla-gen run {cls.name.replace("_", "-")} "{prompt}"{_size(size)} {option} {card.id}{trigger}'


def _size(size: str | None) -> str:
    return f" --model {size}" if size else ""


@app.command("list", epilog=example("ryla-gen lora list --backend modal"))
def list_(context: typer.Context, backend: Backend = None, as_json: Json = False) -> None:
    """List the stored LoRAs, and plain files that were put there by hand."""
    screen = screen_of(context, as_json=as_json)
    with _client(backend) as client:
        found = client.loras.list()
        remember_loras(client.settings.home, client.settings.backend_names[0], [item.id for item in found])
    screen.result({"items": [item.to_data() for item in found]}, _stored_table(found))


@app.command(epilog=example("ryla-gen lora show ada"))
def show(context: typer.Context, lora_id: Id, backend: Backend = None, as_json: Json = False) -> None:
    """Show everything known about one LoRA."""
    screen = screen_of(context, as_json=as_json)
    with _client(backend) as client:
        found = client.loras.show(lora_id)
    data = found.to_data()
    rows = [(key.replace("_", " "), ", ".join(value) if isinstance(value, list) else value) for key, value in data.items()]
    screen.result(data, table(("", ""), [row for row in rows if row[1] not in (None, "")], width()).lstrip())


@app.command(epilog=example("ryla-gen lora pull ada -o ada.safetensors"))
def pull(
    context: typer.Context,
    lora_id: Id,
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", metavar="PATH", help="File or folder to write. Default: the current folder.", show_default=False
        ),
    ] = Path(),
    overwrite: Overwrite = False,
    backend: Backend = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Copy a stored LoRA to a file on this machine, and check its hash."""
    screen = screen_of(context, as_json=as_json, quiet=quiet)
    with _client(backend) as client, _transfer_progress(screen) as report:
        path = client.loras.pull(lora_id, output, overwrite=overwrite, progress=report)
    screen.result({"id": lora_id, "file": str(path), "bytes": path.stat().st_size}, str(path))


@app.command(epilog=example("ryla-gen lora verify"))
def verify(
    context: typer.Context,
    lora_id: Annotated[
        list[str] | None, typer.Argument(metavar="[ID]...", help="LoRAs to check. Default: all.", show_default=False)
    ] = None,
    backend: Backend = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Read the stored bytes and check their hash and format. Changes nothing."""
    screen = screen_of(context, as_json=as_json, quiet=quiet)
    with _client(backend) as client, _transfer_progress(screen) as report:
        ids = list(dict.fromkeys(lora_id or [item.id for item in client.loras.list()]))
        found = [client.loras.verify(name, progress=report) for name in ids]
    data = {"items": [item.to_data() for item in found]}
    rows = [(item.stored.id, "ok" if item.ok else "wrong", "; ".join(item.problems)) for item in found]
    text = table(("id", "state", "what is wrong"), rows, width()) if rows else "No LoRA is stored."
    wrong = [item for item in found if not item.ok]
    if not wrong:
        screen.result(data, text)
        return
    screen.say(text)
    named = ", ".join(item.stored.id for item in wrong)
    hint = f"Store it again: ryla-gen lora push FILE --id {wrong[0].stored.id}"
    screen.fail(LoraNotFoundError(f"{len(wrong)} of {count_text(len(found), 'LoRA')} damaged: {named}.", hint), data)
    raise typer.Exit(1)


@app.command(epilog=example("ryla-gen lora remove ada --yes"))
def remove(context: typer.Context, lora_id: Id, backend: Backend = None, yes: Yes = False, as_json: Json = False) -> None:
    """Remove a LoRA with all its files. A job that runs on Modal has its own copy and is not affected."""
    screen = screen_of(context, as_json=as_json)
    with _client(backend) as client:
        stored = client.loras.show(lora_id)
        confirm(screen, f"Remove the LoRA {lora_id} ({format_bytes(stored.bytes)}) permanently?", yes=yes)
        gone = client.loras.remove(lora_id)
    screen.result({"id": lora_id, "removed": list(gone)}, f"{lora_id} has been removed.")


@contextmanager
def _client(backend: str | None) -> Iterator[Client]:
    from ryla_gen.client import Client

    with Client(backend) as client:
        yield client


def _stored_table(found: list[Stored]) -> str:
    if not found:
        return "No LoRA is stored. Store one: ryla-gen lora push FILE.safetensors"
    titles = ("id", "kind", "base", "size", "pushed", "trigger words")
    rows = []
    for item in found:
        card = item.card
        about = [card.model, format_bytes(item.bytes), card.pushed_at[:10]] if card else ["?", format_bytes(item.bytes), ""]
        rows.append([item.id, item.kind, *about, item.why or (", ".join(card.trigger_words) if card else "")])
    return table(titles, rows, width())


Report = Callable[["Transfer"], None]


@contextmanager
def _transfer_progress(screen: Screen) -> Iterator[Report]:
    """Show a transfer's progress while the block runs: a bar on a terminal, lines elsewhere, events for programs."""
    screen.working = True
    if not screen.json and not screen.quiet and use_colour():
        with _bar() as bar:
            task = bar.add_task("", total=None)
            yield _seldom(BAR_SECONDS, lambda now: bar.update(task, description=now.stage, completed=now.bytes, total=now.total))
    else:
        yield _seldom(JSON_SECONDS if screen.json else PLAIN_SECONDS, _line(screen), at_once=False)
    screen.working = False


def _line(screen: Screen) -> Report:
    number = 0

    def tell(now: Transfer) -> None:
        nonlocal number
        screen.event(TransferEvent(seq=number, stage=now.stage, bytes=now.bytes, total=now.total))
        number += 1
        if not screen.json:
            screen.note(f"{now.stage}: {format_bytes(now.bytes)} of {format_bytes(now.total)}")

    return tell


def _seldom(pause: float, tell: Report, *, at_once: bool = True) -> Report:
    """Report at most once per interval in seconds; progress comes from several threads."""
    lock, said = threading.Lock(), time.monotonic() - (pause if at_once else 0)

    def report(now: Transfer) -> None:
        nonlocal said
        with lock:
            if time.monotonic() - said >= pause or (at_once and now.bytes == now.total):
                said = time.monotonic()
                tell(now)

    return report


def _bar() -> Any:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        SpinnerColumn,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    parts = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    return Progress(*parts, console=Console(stderr=True), transient=True, redirect_stdout=False)
