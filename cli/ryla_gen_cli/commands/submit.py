"""Implement ``ryla-gen submit``: submit a workflow and print its job id at once. Must not wait for the result."""

from __future__ import annotations

from typing import Any

from ryla_gen.errors import InvalidInputError, JobCanceledError
from ryla_gen.workflows.base import Workflow

from ..common import Backend, Json, MaxUsd, OutputTo, Quiet, Tag, Timeout, Url, User, Webhook, screen_of, setting_warnings
from ..options import values
from ..screen import Screen
from ..workflow_commands import per_workflow


def submit(cls: type[Workflow], given: dict[str, Any]) -> None:
    """Submit one workflow.

    Raises:
        InvalidInputError: the time limit is none, or a field does not fit.

    """
    screen = screen_of(given["context"], as_json=given["as_json"], quiet=given["quiet"])
    timeout = given["timeout"]
    if timeout is not None and not 0 < timeout < float("inf"):
        raise InvalidInputError(f"--timeout {timeout:g} must be more than 0.", "Leave it out for the workflow's own limit.")
    hand_in(screen, cls(**values(cls, given)), given)


def hand_in(screen: Screen, workflow: Workflow, given: dict[str, Any]) -> None:
    """Submit a workflow and print its id.

    Raises:
        BackendNotConfiguredError: the emulator would end with this command, and the job with it.
        RylaGenError: the backend refused it.

    """
    from ryla_gen.client import Client

    from ..run_options import destination, settings_for  # the backends and their HTTP, which no help text needs

    settings = settings_for(given["backend"], given["url"], given["max_usd"])
    for text in setting_warnings(settings):
        screen.note(f"warning: {text}")
    with Client(settings=settings) as client:
        target = destination(given["output_to"])
        told = client.hand_in(
            workflow,
            timeout=given["timeout"],
            tags=given["tag"] or (),
            output_to=target,
            webhook=given["webhook"],
            user=given.get("user"),
        ).to_data()
        text, hint = f"Stopped by you; the job {told['job']} continues.", f"Stop it: ryla-gen jobs cancel {told['job'][:8]}"
        screen.came_late = JobCanceledError(text, hint, {"job": told["job"]})
    screen.result(told, told["job"])
    for item in told["skipped"]:
        screen.note(f"warning[fallback]: {item['backend']} did not take it ({item['code']}): {item['message']}")
    short = told["job"][:8]
    screen.note(f"Fetch it: ryla-gen jobs result {short} -o FILE   Watch it: ryla-gen jobs watch {short}")


def _common(
    *,
    backend: Backend = None,
    url: Url = None,
    output_to: OutputTo = None,
    webhook: Webhook = None,
    timeout: Timeout = None,
    tag: Tag = None,
    max_usd: MaxUsd = None,
    user: User = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Hold the options that every workflow has; only its signature is read."""


app = per_workflow(
    "submit",
    submit,
    _common,
    text="Submit a workflow and print its job id at once; fetch the result later: ryla-gen jobs result ID -o FILE",
    options='z-image "a lighthouse at dusk, red roof" --seed 7',
)
