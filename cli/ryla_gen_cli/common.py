"""Define the options that several commands share. Types only: builds and runs nothing."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable
from os import PathLike
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from .screen import Screen

if TYPE_CHECKING:
    from ryla_gen.settings import Settings

DEBUG = "RYLA_GEN_DEBUG"
"""Variable that asks for the traceback of a fault of this package."""

ABOUT_GRAPHS = ("graph", "deploy")
"""Commands whose file is a graph, or its lock."""

Json = Annotated[bool, typer.Option("--json", help="Write JSON to stdout, for programs.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Do not show progress or remarks.")]
Output = Annotated[
    str | None,
    typer.Option(
        "--output",
        "-o",
        metavar="PATH",
        help="File, folder, or template such as {workflow}-{seed}-{index}.png; - writes to stdout. Default: a name in output_dir.",
    ),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace an existing file.")]
Backend = Annotated[
    str | None,
    typer.Option("--backend", metavar="NAME", help="Where to run, such as emulator or modal; comfyui,modal tries them in order."),
]
Url = Annotated[str | None, typer.Option("--url", metavar="URL", help="Address of your own ComfyUI server.")]
ComfyUI = Annotated[
    str | None,
    typer.Option(
        "--comfyui", metavar="VERSION", help="ComfyUI release whose nodes are used when no server is asked: 0.28.2 or 0.3.71."
    ),
]
OutputTo = Annotated[
    list[str] | None,
    typer.Option(
        "--output-to",
        metavar="ADDRESS",
        help="Upload the files instead of saving them: s3://bucket/prefix, gs://bucket/prefix, or a signed address for each file.",
    ),
]
Webhook = Annotated[
    str | None, typer.Option("--webhook", metavar="URL", help="https address that is told when the job ends, in a signed request.")
]
MaxUsd = Annotated[
    float | None,
    typer.Option(
        "--max-usd",
        metavar="USD",
        min=0.0,
        help="Most that one job may cost: refused if it would probably cost more, stopped before it does.",
    ),
]
Environment = Annotated[str | None, typer.Option("--environment", metavar="NAME", help="Modal environment.")]
Timeout = Annotated[float | None, typer.Option("--timeout", metavar="SECONDS", help="How long the graph may run.")]
User = Annotated[
    str | None, typer.Option("--user", metavar="ID", help="The user of your app for whom it runs, for costs and limits by user.")
]
Tag = Annotated[list[str] | None, typer.Option("--tag", metavar="WORD", help="Tag to find the job by; repeatable.")]


def screen_of(context: typer.Context, *, as_json: bool, quiet: bool = False) -> Screen:
    """Return the screen of this command line, now that its options are parsed."""
    screen = context.find_object(Screen) or Screen(context.command_path)
    screen.json, screen.quiet = as_json, quiet
    if screen.command.startswith(ABOUT_GRAPHS):
        given = next((context.params[name] for name in ("file", "source", "lock") if context.params.get(name)), "")
        screen.file = str(given) if isinstance(given, str | PathLike) else ""
    screen.backend = str(context.params.get("backend") or "").partition(",")[0].strip()
    screen.has_timeout = any("--timeout" in item.opts for item in context.command.params)
    if url := context.params.get("url"):
        from ryla_gen.settings.base import without_credentials  # not for every --help

        screen.url = without_credentials(url)
    return screen


def grouped(command: Callable[..., None]) -> Callable[..., None]:
    """Let a command take options that it shares with others as one dataclass; each of its fields is an option of the command."""
    hints = get_type_hints(command, include_extras=True)
    groups: dict[str, Any] = {name: hint for name, hint in hints.items() if dataclasses.is_dataclass(hint)}
    wanted: list[inspect.Parameter] = []
    for name, parameter in inspect.signature(command).parameters.items():
        wanted += _options_of(groups[name]) if name in groups else [parameter.replace(annotation=hints[name])]

    def call(**given: Any) -> None:
        made = {
            name: kind(**{field.name: given.pop(field.name) for field in dataclasses.fields(kind)}) for name, kind in groups.items()
        }
        command(**given, **made)

    described: Any = call
    described.__name__, described.__doc__ = command.__name__, command.__doc__
    described.__signature__ = inspect.Signature([item.replace(kind=inspect.Parameter.KEYWORD_ONLY) for item in wanted])
    described.__annotations__ = {item.name: item.annotation for item in wanted}
    return call


def _options_of(kind: type[Any]) -> list[inspect.Parameter]:
    hints, keyword = get_type_hints(kind, include_extras=True), inspect.Parameter.KEYWORD_ONLY
    return [
        inspect.Parameter(field.name, keyword, default=field.default, annotation=hints[field.name])
        for field in dataclasses.fields(kind)
    ]


def example(line: str) -> str:
    """Write the end of a command's help. The mark in front keeps click from wrapping the lines."""
    return f"\b\nExample:\n  {line}"


def setting_warnings(settings: Settings) -> list[str]:
    """Return the settings' warnings, without the one about a variable of the command itself."""
    return [text for text in settings.warnings if DEBUG not in text]


def group(text: str, epilog: str) -> typer.Typer:
    """Build the app of a command with subcommands."""
    return typer.Typer(help=text, epilog=epilog, rich_markup_mode=None, add_completion=False, no_args_is_help=True)


def single() -> typer.Typer:
    """Build the app of a command without subcommands."""
    return typer.Typer(rich_markup_mode=None, add_completion=False)
