"""``ryla-gen run``: one command per workflow, its options made from the class. Knows no single workflow."""

from __future__ import annotations

import inspect
from typing import Any

import typer
import typer.core
import typer.main

from ryla_gen.errors import InvalidInputError
from ryla_gen.workflows.base import Workflow
from ryla_gen.workflows.registry import BUILT_IN, workflow_class, workflow_names

from .common import Backend, Json, MaxUsd, Output, Overwrite, Quiet, Tag, Timeout, Url, example, screen_of, single
from .how import How
from .options import parameters, values


class Workflows(typer.core.TyperGroup):
    """A group whose commands are the workflows, those of plug-ins among them."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Name every workflow."""
        return [name.replace("_", "-") for name in workflow_names()]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Build the command of one workflow.

        Raises:
            InvalidInputError: there is none of that name.

        """
        if cmd_name.startswith("-"):
            return None
        return command(workflow_class(cmd_name))

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the list of workflows without building the options of each."""
        with formatter.section("Workflows"):
            formatter.write_dl([(name, _line(name)) for name in self.list_commands(ctx)])


app = typer.Typer(
    cls=Workflows,
    rich_markup_mode=None,
    add_completion=False,
    no_args_is_help=True,
    subcommand_metavar="WORKFLOW [PROMPT] [OPTIONS]",
    help="Run a workflow and save what it makes. Each has its own options: ryla-gen run WORKFLOW --help",
    epilog=example('ryla-gen run flux-dev "a lighthouse at dusk, red roof" --seed 7 -o lighthouse.png'),
)


@app.callback()
def group() -> None:
    """Hold the workflows."""


def command(cls: type[Workflow]) -> Any:
    """Build the command of one workflow class."""
    name = cls.name.replace("_", "-")

    def call(**given: Any) -> None:
        context: typer.Context = given["context"]
        screen = screen_of(context, as_json=given["as_json"], quiet=given["quiet"])
        if given["output"] == "-" and screen.json:
            raise InvalidInputError("-o - and --json both want stdout.", "Give -o FILE with --json.")
        from .generate import generate, with_format  # the client and its HTTP, which no help text needs

        fields = with_format(cls, values(cls, given), given["output"])
        generate(screen, cls(**fields), how(given))

    wanted = [inspect.Parameter("context", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)]
    wanted += parameters(cls, COMMON)
    described: Any = call
    described.__signature__ = inspect.Signature(wanted)
    described.__annotations__ = {item.name: item.annotation for item in wanted}
    one = single()
    one.command(name, help=inspect.getdoc(cls), epilog=example(sample_line(cls)))(call)
    return typer.main.get_command(one)


def _line(name: str) -> str:
    try:
        return " ".join((inspect.getdoc(workflow_class(name)) or "").split()).partition(". ")[0].rstrip(".")
    except Exception as error:
        if name.replace("-", "_") in BUILT_IN:
            raise
        return f"cannot be loaded: {error}"  # one broken plug-in must not hide all other workflows


def how(given: dict[str, Any]) -> How:
    """Everything about a run that is not the request, from the options."""
    tags = given["tag"] or ()
    return How(given["output"], given["overwrite"], given["backend"], given["url"], given["timeout"], tags, given["max_usd"])


def sample_line(cls: type[Workflow]) -> str:
    """A line that works, for the end of the help."""
    words = ["ryla-gen run", cls.name.replace("_", "-")]
    if "prompt" in cls.model_fields and cls.model_fields["prompt"].is_required():
        words.append('"a lighthouse at dusk"')
    required = [name for name, info in cls.model_fields.items() if info.is_required() and name != "prompt"]
    words += [f"--{name.replace('_', '-')} {'graph_api.json' if name == 'graph' else 'face.png'}" for name in required]
    words += ["--lora-id character"] if "lora_id" in cls.model_fields else []
    words += ["--image small.png"] if cls.family == "upscale" else []
    return f"{' '.join(words)} -o {'waves.mp4' if cls.family == 'video' else 'picture.png'}"


def _common(
    *,
    output: Output = None,
    overwrite: Overwrite = False,
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
