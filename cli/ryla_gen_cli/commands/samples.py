"""Implement ``ryla-gen samples``: write small files to try everything with, and print what each is for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from ryla_gen.errors import InvalidInputError
from ryla_gen.support.shell_words import path_word
from ryla_gen.tools.samples import WrittenSample, write_samples

from ..common import Json, Quiet, example, screen_of, single

app = single()


@app.command("samples", epilog=example("ryla-gen samples"))
def samples(
    context: typer.Context,
    place: Annotated[Path | None, typer.Argument(metavar="[FOLDER]", hidden=True)] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="DIR", help="Folder to write into. Default: the current folder.")
    ] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write sample files: pictures, a mask, LoRAs, graphs, a list. What is there already is never written over."""
    screen = screen_of(context, as_json=as_json, quiet=quiet)
    if place is not None and output is not None:
        raise InvalidInputError("The folder is given twice.", f"Give it once: ryla-gen samples -o {path_word(str(output))}")
    folder = output or place or Path()
    done = write_samples(folder)
    screen.result({"folder": str(folder), "items": [item(each) for each in done]}, page(done, folder))
    for kept in (each.path for each in done if each.state == "kept"):
        screen.note(f"warning: {kept} is another file and was left alone. To have the sample: ryla-gen samples -o FOLDER")


def item(done: WrittenSample) -> dict[str, Any]:
    """Describe one sample for ``--json``."""
    sample = done.sample
    return {
        "name": sample.name,
        "path": str(done.path),
        "bytes": len(sample.read()),
        "state": done.state,
        "purpose": sample.purpose,
        "command": sample.command,
    }


def page(done: Sequence[WrittenSample], folder: Path) -> str:
    """Write each file with what it is for and a command to try it with."""
    first = [] if folder == Path() else [f"cd {path_word(str(folder))}", ""]
    return "\n".join([*first, *(f"{each.sample.name}: {each.sample.purpose}\n  {each.sample.command}" for each in done)])
