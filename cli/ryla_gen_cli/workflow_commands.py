"""Build commands with a subcommand per workflow, its options made from the class: ``run``, ``submit``, ``estimate``."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Sequence
from typing import Any

import typer
import typer.core
import typer.main

from ryla_gen.errors import InvalidInputError
from ryla_gen.settings import Settings
from ryla_gen.support.shell_words import path_word
from ryla_gen.workflows.base import Workflow
from ryla_gen.workflows.registry import BUILT_IN, LOCK_SUFFIX, workflow_class, workflow_names

from .common import example, single
from .options import fields_of, parameters

Act = Callable[[type[Workflow], dict[str, Any]], None]
"""Does what the command is for, with a workflow class and the options that were given."""


class Workflows(typer.core.TyperGroup):
    """A group whose commands are the workflows, those of plug-ins among them."""

    make: Callable[[type[Workflow]], Any]
    """Builds the command of one workflow class."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Name every workflow."""
        return [name.replace("_", "-") for name in workflow_names()]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Build the command of one workflow.

        Raises:
            InvalidInputError: there is none of that name.

        """
        return None if cmd_name.startswith("-") else type(self).make(find_class(cmd_name))

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """Find the command of a workflow.

        Raises:
            InvalidInputError: there is none of that name, or a prompt stands in its place.

        """
        if " " in args[0].strip() and not args[0].endswith(LOCK_SUFFIX) and not ctx.resilient_parsing:
            from .suggestions import without_workflow  # difflib, which a slip alone needs

            raise without_workflow(ctx.info_name, args)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the list of workflows without building the options of each."""
        with formatter.section("Workflows"):
            formatter.write_dl([(name, _line(name)) for name in self.list_commands(ctx)])


def find_class(name: str, settings: Settings | None = None) -> type[Workflow]:
    """Return a workflow's class; a name that nothing here knows may be that of a graph which is deployed on Modal.

    Args:
        name: the name, or the path of a lock.
        settings: whether Modal is among the backends, and which environment; read when absent.

    Raises:
        InvalidInputError: there is none of that name.

    """
    try:
        return workflow_class(name)
    except InvalidInputError as error:
        settings = settings or Settings.load()
        lock = f"{name}{LOCK_SUFFIX}"
        if "modal" not in settings.backend_names and os.path.isfile(lock):  # noqa: PTH113 - Path's own test raises for odd names
            raise InvalidInputError(error.message, f"Before its deploy a lock is named by its file: {path_word(lock)}") from None
        if name.endswith(LOCK_SUFFIX) or "modal" not in settings.backend_names:
            raise
        from ryla_gen.client.graphs import find_workflow  # the client, which no known name needs
        from ryla_gen.support.loop_thread import run_async

        return run_async(find_workflow(name, settings))


def per_workflow(verb: str, act: Act, common: Callable[..., None], *, text: str, options: str, saves: bool = False) -> typer.Typer:
    """Build a command with one subcommand per workflow.

    Args:
        verb: the command's name.
        act: what each subcommand does.
        common: a function whose signature holds the options that every workflow has.
        text: what the help says of it.
        options: what follows the workflow's name in the example of the command itself.
        saves: whether the examples end with a file that is written.

    """
    shared = tuple(inspect.signature(common, eval_str=True).parameters.values())

    def make(cls: type[Workflow]) -> Any:
        line = sample_line(cls).replace("ryla-gen run", f"ryla-gen {verb}")
        return _command(cls, act, shared, line if saves else line.partition(" -o ")[0])

    app = typer.Typer(
        cls=type("Workflows", (Workflows,), {"make": staticmethod(make)}),
        rich_markup_mode=None,
        add_completion=False,
        no_args_is_help=True,
        subcommand_metavar="WORKFLOW [PROMPT] [OPTIONS]",
        help=text,
        epilog=example(f"ryla-gen {verb} {options}"),
    )

    @app.callback()
    def group() -> None:
        """Hold the workflows."""

    return app


def _command(cls: type[Workflow], act: Act, shared: Sequence[inspect.Parameter], line: str) -> Any:
    def call(**given: Any) -> None:
        act(cls, given)

    wanted = [inspect.Parameter("context", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)]
    wanted += parameters(cls, tuple(shared))
    described: Any = call
    described.__signature__ = inspect.Signature(wanted)
    described.__annotations__ = {item.name: item.annotation for item in wanted}
    one = single()
    one.command(cls.name.replace("_", "-"), help=inspect.getdoc(cls), epilog=example(line))(call)
    return typer.main.get_command(one)


def _line(name: str) -> str:
    try:
        return " ".join((inspect.getdoc(workflow_class(name)) or "").split()).partition(". ")[0].rstrip(".")
    except Exception as error:
        if name.replace("-", "_") in BUILT_IN:
            raise
        return f"cannot be loaded: {error}"  # one broken plug-in must not hide all other workflows


def sample_line(cls: type[Workflow]) -> str:
    """Write a working example for the end of the help: what is required, and what chooses the input."""
    shown = cls.example.fields if cls.example else {"prompt": "a lighthouse at dusk"}
    words, options = ["ryla-gen run", cls.name.replace("_", "-")], fields_of(cls)
    for name, info in cls.model_fields.items():
        value = shown.get(name, "face.png" if name in cls.media_fields() else None)
        chooses = info.default is None and isinstance(shown.get(name), str) and name != "prompt"
        if value is not None and (info.is_required() or chooses):
            given = value if isinstance(value, list | tuple) else [value]
            option = f"{options[name].option} "
            words += [f'"{one}"' if name == "prompt" else f"{option}{one}" for one in given]
    return f"{' '.join(words)} -o {cls.example.output if cls.example else 'picture.png'}"
