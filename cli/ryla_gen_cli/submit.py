"""``ryla-gen submit``: hands a workflow in and says its job's id at once. Waits for no result and knows no single workflow."""

from __future__ import annotations

import inspect
from typing import Any

import typer
import typer.main

from ryla_gen.errors import BackendNotConfiguredError, InvalidInputError
from ryla_gen.workflows.base import Workflow
from ryla_gen.workflows.registry import workflow_class

from .common import Backend, Json, MaxUsd, Quiet, Tag, Timeout, Url, example, own_warnings, screen_of, single
from .options import parameters, values
from .run import Workflows, sample_line
from .screen import Screen


class Submitted(Workflows):
    """A group whose commands are the workflows."""

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Build the command of one workflow.

        Raises:
            InvalidInputError: there is none of that name.

        """
        return None if cmd_name.startswith("-") else command(workflow_class(cmd_name))


app = typer.Typer(
    cls=Submitted,
    rich_markup_mode=None,
    add_completion=False,
    no_args_is_help=True,
    subcommand_metavar="WORKFLOW [PROMPT] [OPTIONS]",
    help="Hand in a workflow and get its job's id at once; fetch the result later: ryla-gen jobs result ID -o FILE",
    epilog=example('ryla-gen submit flux-dev "a lighthouse at dusk, red roof" --seed 7'),
)


@app.callback()
def group() -> None:
    """Hold the workflows."""


def command(cls: type[Workflow]) -> Any:
    """Build the command of one workflow class."""

    def call(**given: Any) -> None:
        context: typer.Context = given["context"]
        screen = screen_of(context, as_json=given["as_json"], quiet=given["quiet"])
        timeout = given["timeout"]
        if timeout is not None and not 0 < timeout < float("inf"):
            raise InvalidInputError(f"--timeout {timeout:g} must be more than 0.", "Leave it out for the workflow's own limit.")
        submit(screen, cls(**values(cls, given)), given)

    wanted = [inspect.Parameter("context", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)]
    wanted += parameters(cls, COMMON)
    described: Any = call
    described.__signature__ = inspect.Signature(wanted)
    described.__annotations__ = {item.name: item.annotation for item in wanted}
    one = single()
    line = sample_line(cls).replace("ryla-gen run", "ryla-gen submit").partition(" -o ")[0]
    one.command(cls.name.replace("_", "-"), help=inspect.getdoc(cls), epilog=example(line))(call)
    return typer.main.get_command(one)


def submit(screen: Screen, workflow: Workflow, given: dict[str, Any]) -> None:
    """Hand a workflow in and say its id.

    Raises:
        BackendNotConfiguredError: the emulator would end with this command, and the job with it.
        RylaGenError: the backend refused it.

    """
    from ryla_gen.portal import Portal

    from .attached import handed_in, settings_for  # the backends and their HTTP, which no help text needs

    settings = settings_for(given["backend"], given["url"], given["max_usd"])
    for text in own_warnings(settings):
        screen.note(f"warning: {text}")
    if "emulator" in settings.backend_names:
        text = "The embedded emulator ends with this command, and the job would end with it."
        hint = "Use ryla-gen run, or start a server that stays (ryla-gen emulator) and name it: --url http://127.0.0.1:8188"
        raise BackendNotConfiguredError(text, hint)
    portal = Portal()
    try:
        told = portal.call(handed_in(settings, workflow, given["timeout"], given["tag"] or ()))
    finally:
        portal.close()
    screen.result(told, told["job"])
    for item in told["skipped"]:
        screen.note(f"warning[fallback]: {item['backend']} did not take it ({item['code']}): {item['message']}")
    short = told["job"][:8]
    screen.note(f"Fetch it: ryla-gen jobs result {short} -o FILE   Watch it: ryla-gen jobs watch {short}")


def _common(
    *,
    backend: Backend = None,
    url: Url = None,
    timeout: Timeout = None,
    tag: Tag = None,
    max_usd: MaxUsd = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Hold the options that every workflow has; only its signature is read."""


COMMON = tuple(inspect.signature(_common, eval_str=True).parameters.values())
