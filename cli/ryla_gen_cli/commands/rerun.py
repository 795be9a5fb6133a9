"""Implement ``ryla-gen rerun``: run again what made a saved file, with some values changed. Knows no single workflow."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import typer

from ryla_gen import media
from ryla_gen.errors import InvalidInputError
from ryla_gen.results import METADATA_KEY, load
from ryla_gen.results.notes import noted_class
from ryla_gen.settings import Settings
from ryla_gen.workflows.base import DRAWN_SEED_LIMIT, Workflow
from ryla_gen.workflows.custom import CustomWorkflow
from ryla_gen.workflows.registry import LOCK_SUFFIX

from ..common import (
    Backend,
    Json,
    MaxUsd,
    Output,
    OutputTo,
    Overwrite,
    Quiet,
    Tag,
    Timeout,
    Url,
    User,
    Webhook,
    example,
    screen_of,
    single,
)
from ..generate import generate, with_format
from ..options import fields_of
from ..run_options import RunOptions, destination, settings_for
from ..terminal_images import Preview
from ..workflow_commands import find_class

app = single()

LINE = 'ryla-gen rerun lighthouse.png --set steps=30 --set "prompt=the same at noon" -o noon.png'


@app.command("rerun", epilog=example(LINE))
def rerun(
    context: typer.Context,
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="A picture or video that ryla-gen or ComfyUI saved.", show_default=False)
    ],
    seed: Annotated[int | None, typer.Option("--seed", help="Another seed. Without it you get the same picture again.")] = None,
    new_seed: Annotated[bool, typer.Option("--new-seed", help="Use a new random seed.")] = False,
    changes: Annotated[list[str] | None, typer.Option("--set", metavar="FIELD=VALUE", help="Change a field; repeatable.")] = None,
    reference_image: Annotated[
        str | None, typer.Option("--reference-image", metavar="FILE", help="Picture of the face; faces are never stored in a file.")
    ] = None,
    image: Annotated[
        list[str] | None, typer.Option("--image", metavar="[NAME=]FILE", help="Picture to enlarge, or a picture of a graph.")
    ] = None,
    video: Annotated[str | None, typer.Option("--video", metavar="FILE", help="Video to enlarge.")] = None,
    output: Output = None,
    overwrite: Overwrite = False,
    output_to: OutputTo = None,
    webhook: Webhook = None,
    backend: Backend = None,
    url: Url = None,
    timeout: Timeout = None,
    tag: Tag = None,
    max_usd: MaxUsd = None,
    user: User = None,
    preview: Preview = True,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Run the workflow of a saved picture or video again."""
    screen = screen_of(context, as_json=as_json, quiet=quiet)
    if new_seed and seed is not None:
        raise InvalidInputError("--seed and --new-seed cannot be used together.", "Use one of them.")
    cls = _class_of(file, settings_for(backend, url))
    fields = parse_changes(cls, changes or ())
    fields |= {name: value for name, value in (("reference_image", reference_image), ("video", video)) if value is not None}
    if image:
        name = "images" if "images" in cls.model_fields else "image"
        fields[name] = fields_of(cls)[name].read(image) if name == "images" else image[-1]
    if new_seed or seed is not None:
        fields["seed"] = secrets.randbelow(DRAWN_SEED_LIMIT) if seed is None else seed
    load(file, **fields)  # a picture that must be given again is asked for before anything about the output
    workflow = load(file, **with_format(cls, fields, output))
    how = RunOptions(
        output,
        overwrite,
        backend,
        url,
        timeout,
        tag or (),
        max_usd,
        preview,
        output_to=destination(output_to),
        webhook=webhook,
        user=user,
    )
    generate(screen, workflow, how)


def _class_of(file: Path, settings: Settings) -> type[Workflow]:
    """Return the workflow whose note is in a file; its class decides which fields ``--set`` may change.

    The lock of a graph that is deployed on Modal, and not known here, is brought by its name.
    """
    try:
        found = media.read_metadata(file.expanduser().read_bytes())
    except OSError as error:
        raise InvalidInputError(f"Cannot read {file}: {error.strerror or error}.", "Give the path of an existing file.") from None
    if METADATA_KEY not in found:
        return CustomWorkflow  # a ComfyUI graph, or nothing: load reports it
    import json

    try:
        name = str(json.loads(found[METADATA_KEY])["workflow"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return CustomWorkflow  # damaged: load reports it
    if not name.endswith(LOCK_SUFFIX):  # a note names no path
        with suppress(InvalidInputError):  # what is known nowhere is reported below, in the words of the note
            find_class(name, settings)
    return noted_class(file, name)


def parse_changes(cls: type[Workflow], changes: Sequence[str]) -> dict[str, Any]:
    """Read ``FIELD=VALUE`` texts as fields of a workflow.

    Raises:
        InvalidInputError: one has no equals sign.
    """
    found = fields_of(cls)
    fields: dict[str, Any] = {}
    for text in changes:
        name, equals, value = text.partition("=")
        if not equals:
            raise InvalidInputError(f"--set {text!r} is not FIELD=VALUE.", "Write it as --set steps=30.")
        name = name.strip().replace("-", "_")
        fields[name] = found[name].read(value) if name in found else value
    return fields
