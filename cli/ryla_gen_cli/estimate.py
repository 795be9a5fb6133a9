"""``ryla-gen estimate``: what a workflow would take and cost; its options are those of ``run``. Sends nothing, reads no picture."""

from __future__ import annotations

import inspect
from typing import Any

import typer
import typer.main

from ryla_gen.workflows.base import Workflow
from ryla_gen.workflows.registry import workflow_class

from .common import Backend, Json, Url, example, own_warnings, screen_of, single
from .options import parameters, values
from .run import Workflows, sample_line
from .screen import Screen, filled, width


class Estimated(Workflows):
    """A group whose commands are the workflows."""

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Build the command of one workflow.

        Raises:
            InvalidInputError: there is none of that name.

        """
        return None if cmd_name.startswith("-") else command(workflow_class(cmd_name))


app = typer.Typer(
    cls=Estimated,
    rich_markup_mode=None,
    add_completion=False,
    no_args_is_help=True,
    subcommand_metavar="WORKFLOW [PROMPT] [OPTIONS]",
    help="Say what a workflow would take and cost, and what that rests on. Nothing is sent.",
    epilog=example('ryla-gen estimate flux-dev "a lighthouse at dusk" --steps 28 --backend modal'),
)


@app.callback()
def group() -> None:
    """Hold the workflows."""


def command(cls: type[Workflow]) -> Any:
    """Build the command of one workflow class."""

    def call(**given: Any) -> None:
        context: typer.Context = given["context"]
        screen = screen_of(context, as_json=given["as_json"])
        if "prompt" in cls.model_fields and given.get("prompt_argument") is None and given.get("field_prompt") is None:
            given["prompt_argument"] = "any"  # what a prompt says costs nothing
        estimate(screen, cls(**values(cls, given)), given)

    wanted = [inspect.Parameter("context", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)]
    wanted += parameters(cls, COMMON)
    described: Any = call
    described.__signature__ = inspect.Signature(wanted)
    described.__annotations__ = {item.name: item.annotation for item in wanted}
    one = single()
    line = sample_line(cls).replace("ryla-gen run", "ryla-gen estimate").partition(" -o ")[0]
    one.command(cls.name.replace("_", "-"), help=inspect.getdoc(cls), epilog=example(line))(call)
    return typer.main.get_command(one)


def estimate(screen: Screen, workflow: Workflow, given: dict[str, Any]) -> None:
    """Say what a workflow would take and cost on each backend that is chosen.

    Raises:
        BackendNotConfiguredError: the first backend is not set up.

    """
    from contextlib import closing

    from ryla_gen.estimates import estimate as estimated  # the journal and the Modal side's tables, which no help text needs
    from ryla_gen.history import History

    from .attached import settings_for

    settings = settings_for(given["backend"], given["url"])
    for text in own_warnings(settings):
        screen.note(f"warning: {text}")
    with closing(History(settings.history_path)) as history:
        found = estimated(workflow, settings, history)
    screen.result(found.to_data(), page(found))


def page(found: Any) -> str:
    """Lay out an estimate for people."""
    room, usd, took, cold = width(), found.usd, found.seconds, found.cold_start
    free = usd.high == 0
    lines = [f"{found.workflow.replace('_', '-')} on {found.backend}{f' ({found.gpu})' if found.gpu else ''}"]
    lines.append(f"  cost   {'nothing' if free else f'${usd.likely:.4f}   ({_money(usd)})'}")
    lines.append(f"  time   {took.likely:.3g} s   ({took.low:.3g} to {took.high:.3g} s)")
    if cold.high:
        cost = "" if free else f", {_money(found.cold_start_usd)}"
        lines.append(f"  cold   {cold.likely:.3g} s more when a container has to start ({cold.low:.3g} to {cold.high:.3g} s{cost})")
    lines += ["", filled(f"Basis: {found.basis}", room)]
    lines += [filled(f"Not included: {text}.", room) for text in found.not_included]
    return "\n".join(lines)


def _money(usd: Any) -> str:
    return f"${usd.low:.4f} to ${usd.high:.4f}"


def _common(*, backend: Backend = None, url: Url = None, as_json: Json = False) -> None:
    """Hold the options that every workflow has; only its signature is read."""


COMMON = tuple(inspect.signature(_common, eval_str=True).parameters.values())
