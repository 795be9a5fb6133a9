"""The options that several commands share. Types only: builds and runs nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from .screen import Screen

if TYPE_CHECKING:
    from ryla_gen.settings import Settings

DEBUG = "RYLA_GEN_DEBUG"
"""Variable that asks for the traceback of a fault of this package."""

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
MaxUsd = Annotated[
    float | None, typer.Option("--max-usd", metavar="USD", min=0.0, help="Refuse to send anything that would probably cost more.")
]
Timeout = Annotated[float | None, typer.Option("--timeout", metavar="SECONDS", help="How long the graph may run.")]
Tag = Annotated[list[str] | None, typer.Option("--tag", metavar="WORD", help="Tag to find the job by; repeatable.")]


def screen_of(context: typer.Context, *, as_json: bool, quiet: bool = False) -> Screen:
    """The screen of this command line, now that its options are understood."""
    screen = context.find_object(Screen) or Screen(context.command_path)
    screen.json, screen.quiet = as_json, quiet
    if url := context.params.get("url"):
        from ryla_gen.settings.base import without_credentials  # not for every --help

        screen.url = without_credentials(url)
    return screen


def example(line: str) -> str:
    """The end of a command's help. The mark in front keeps click from wrapping the lines."""
    return f"\b\nExample:\n  {line}"


def setting_warnings(settings: Settings) -> list[str]:
    """What the settings warn of, less the variable that is the command's own."""
    return [text for text in settings.warnings if DEBUG not in text]


def group(text: str, epilog: str) -> typer.Typer:
    """Build the app of a command with subcommands."""
    return typer.Typer(help=text, epilog=epilog, rich_markup_mode=None, add_completion=False, no_args_is_help=True)


def single() -> typer.Typer:
    """Build the app of a command without subcommands."""
    return typer.Typer(rich_markup_mode=None, add_completion=False)
