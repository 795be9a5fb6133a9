"""Implement ``ryla-gen graph client``: write a typed module that calls a locked graph."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ryla_gen import media
from ryla_gen.errors import InvalidInputError
from ryla_gen.locks.lock_reading import read_graph_lock
from ryla_gen.support.shell_words import path_word
from ryla_gen.tools.graph_client import python_client, typescript_client

from ...common import Json, Overwrite, screen_of


def client(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE.lock", help="The lock.", show_default=False)],
    python: Annotated[bool, typer.Option("--python", help="Write NAME.py, a function over this package's client.")] = False,
    typescript: Annotated[
        bool, typer.Option("--typescript", help="Write NAME.js and NAME.d.ts, a function over Modal's own client for Node.")
    ] = False,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Folder to write into.")] = Path(),
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Write a typed module that calls a locked graph, for Python or for TypeScript."""
    screen = screen_of(context, as_json=as_json)
    if not (python or typescript):
        hint = f"ryla-gen graph client {path_word(file)} --python, or --typescript, or both."
        raise InvalidInputError("For which language?", hint)
    lock = read_graph_lock(file)
    texts = {f"{lock.python_name}.py": python_client(lock)} if python else {}
    texts |= typescript_client(lock) if typescript else {}
    paths = [str(media.save_atomically(output / name, text.encode(), overwrite=overwrite)) for name, text in texts.items()]
    screen.result({"files": paths}, "\n".join(paths))
