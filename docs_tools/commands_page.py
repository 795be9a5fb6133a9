"""The command reference: the ``--help`` of every command, as it is. Knows no command by heart."""

from __future__ import annotations

from collections.abc import Iterator

import typer.main

from .asking import output_of
from .workflow_pages import MARK

HEAD = f"""{MARK}
# Command reference

What `ryla-gen COMMAND --help` says, for every command. `ryla-gen run`, `submit` and `estimate` take one workflow's options;
those of `run` are shown.

"""
SHOWN_ONCE = ("submit", "estimate")
"""Commands whose sub-commands are the workflows again: ``run`` shows them."""


def commands_page() -> str:
    """Return the page."""
    parts = []
    for words in _commands():
        name = " ".join(("ryla-gen", *words))
        parts.append(f"## {name}\n\n```text\n{output_of(*words, '--help').strip()}\n```\n")
    return HEAD + "\n".join(parts)


def _commands() -> Iterator[tuple[str, ...]]:
    from ryla_gen_cli import app

    yield ()
    root = typer.main.get_command(app.app)
    yield from _below(root, None, ())


def _below(command: object, parent: object, path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    listing = getattr(command, "list_commands", None)
    if listing is None or path in [(name,) for name in SHOWN_ONCE]:
        return
    context = typer.Context(command, info_name=path[-1] if path else "ryla-gen", parent=parent)  # type: ignore[arg-type]
    for name in listing(context):
        inner = command.get_command(context, name)  # type: ignore[attr-defined]
        if inner is None or inner.hidden:
            continue
        yield (*path, name)
        yield from _below(inner, context, (*path, name))
