"""Implement ``ryla-gen run``: one command per workflow, its options made from the class. Knows no single workflow."""

from __future__ import annotations

from typing import Any

from ryla_gen.errors import InvalidInputError
from ryla_gen.workflows.base import Workflow

from ..common import Backend, Json, MaxUsd, Output, OutputTo, Overwrite, Quiet, Tag, Timeout, Url, User, Webhook, screen_of
from ..options import values
from ..run_options import RunOptions, destination
from ..terminal_images import Preview
from ..workflow_commands import per_workflow


def run(cls: type[Workflow], given: dict[str, Any]) -> None:
    """Run one workflow and save what it makes.

    Raises:
        InvalidInputError: stdout was asked for twice.

    """
    screen = screen_of(given["context"], as_json=given["as_json"], quiet=given["quiet"])
    if given["output"] == "-" and screen.json:
        raise InvalidInputError("-o - and --json cannot both use stdout.", "Give -o FILE with --json.")
    from ..generate import generate, with_format  # the client and its HTTP, which no help text needs

    fields = with_format(cls, values(cls, given), given["output"])
    generate(screen, cls(**fields), how(given))


def how(given: dict[str, Any]) -> RunOptions:
    """Collect everything about a run that is not the request, from the options."""
    tags = given["tag"] or ()
    return RunOptions(
        given["output"],
        given["overwrite"],
        given["backend"],
        given["url"],
        given["timeout"],
        tags,
        given["max_usd"],
        preview=given.get("preview", True),
        output_to=destination(given["output_to"]),
        webhook=given["webhook"],
        user=given.get("user"),
    )


def _common(
    *,
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
    """Hold the options that every workflow has; only its signature is read."""


app = per_workflow(
    "run",
    run,
    _common,
    text="Run a workflow and save what it makes. Each workflow has its own options: ryla-gen run WORKFLOW --help",
    options='z-image "a lighthouse at dusk, red roof" --seed 7 -o lighthouse.png',
    saves=True,
)
