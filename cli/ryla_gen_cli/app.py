"""Dispatch the command line: list the commands, turn failures into exit codes. Loads a command only when it is used."""

from __future__ import annotations

import os
import shlex
import signal
import sys
import threading
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
import typer.core
import typer.main

from ryla_gen.errors import InternalError, InvalidInputError, JobCanceledError, RylaGenError
from ryla_gen.version import __version__

from .common import DEBUG
from .old_commands import renamed
from .screen import Screen

if TYPE_CHECKING:
    from types import FrameType

COMMANDS = {
    "init": ("init", "Set up: choose where to run, check it, make a first picture."),
    "run": ("run", "Run a workflow and save its files."),
    "samples": ("samples", "Write sample files to try everything with: a face, a LoRA, a graph."),
    "submit": ("submit", "Submit a workflow and print its job id at once."),
    "batch": ("batch", "Run a list of workflows; run it again to finish what is missing."),
    "estimate": ("estimate", "Estimate the time and cost of a workflow; sends nothing."),
    "jobs": ("jobs", "List, watch and cancel jobs; fetch their results."),
    "character": ("character", "Make a character: base images, a face swap, a sheet of angles."),
    "bench": ("bench", "Measure success rate, face consistency and speed of a workflow."),
    "rerun": ("rerun", "Run the workflow of a saved picture or video again."),
    "workflows": ("workflows", "List the workflows; show the fields, weights and schema of one."),
    "graph": ("graph", "Run, check, convert, draw or change your own ComfyUI graph."),
    "lora": ("lora", "Store, list and check the LoRAs of a backend."),
    "weights": ("weights", "List, download and check the model files that workflows need."),
    "deploy": ("deploy", "Deploy the GPU side to Modal."),
    "families": ("families", "List the pinned and the deployed ComfyUI of each family on Modal."),
    "doctor": ("doctor", "Check that the backend works, and how to fix it if it does not."),
    "local": ("local", "Install, start and stop a ComfyUI on this machine."),
    "emulator": ("emulator", "Serve an emulated ComfyUI to any client."),
    "mcp": ("mcp", "Serve workflows to an agent over the Model Context Protocol."),
    "costs": ("costs", "Show what jobs cost, by day, workflow, character, backend or user."),
    "forget": ("forget", "Erase a job, a user or a character: journal, files, servers."),
    "gallery": ("gallery", "Show a folder of results as one page that opens from disk."),
    "webhook": ("webhook", "Make a secret for webhooks, try one out, tell what is still to be told."),
    "verify": ("verify", "Show what files say of their origin, and check their signatures."),
    "provenance": ("provenance", "Make a certificate to sign results with."),
    "config": ("config", "Show and change the settings."),
}
"""Command → its module in ``commands``, and its line in ``--help``."""

GROUPS = frozenset(
    {"deploy", "local", "costs", "bench", "character", "workflows", "graph", "jobs", "weights", "config", "lora", "webhook"}
    | {"provenance"}
)
"""Commands with subcommands: the last line of ``--json`` names both."""

EPILOG = '\b\nExample:\n  ryla-gen run z-image "a lighthouse at dusk, red roof" -o lighthouse.png'

FAILED, USAGE = 1, 2
"""Exit codes; an end by a signal is 128 and its number, as shells count."""

ENDINGS = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
"""Signals after which the work is canceled too, before the process ends: asked to stop, and the terminal closed."""

IMPORTING, AGAIN_SECONDS = "<frozen importlib", 0.05
"""Where an interrupt may be lost, since Python ignores what is raised in a callback of its imports; and when it is sent again."""

RERUN_HINT = "Run it again if you still want it."

WAITING = frozenset({"jobs watch", "jobs result"})
"""Commands that only wait for a job: an interrupt stops them and not the job, so the hint must not offer to pay for it twice."""

USAGE_ERROR: Any = typer.BadParameter.__mro__[1]
"""What typer raises for a wrong command line. Some versions of typer contain click, others depend on it; this works with both."""


class Ended(KeyboardInterrupt):
    """The process was asked to end, by Ctrl-C or another signal, which its exit code names.

    A class of its own for Ctrl-C too: where a KeyboardInterrupt itself leaves an ``exec`` of text, as in a dataclass that is being
    made, Python ends the process by the signal when it ends, whatever its exit code, although the interrupt was caught.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class InterruptCarrier(Exception):  # noqa: N818 - an outcome, not an error
    """Carries an interrupt past typer, which would turn it into an exit code without a message."""

    def __init__(self, code: int, notes: Sequence[str], *, asking: bool) -> None:
        super().__init__(code)
        self.code = code
        self.notes = notes
        """What could not be stopped."""
        self.asking = asking
        """Whether a question stands on the line."""


class LazyGroup(typer.core.TyperGroup):
    """A group that imports a command's module when the command is used."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Name every command."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Load one command."""
        if cmd_name not in COMMANDS:
            return None
        return typer.main.get_command(import_module(f".commands.{COMMANDS[cmd_name][0]}", __package__).app)

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """Find the command.

        Raises:
            InvalidInputError: there is none of that name; the hint is the line that was probably meant.

        """
        if args[0] not in COMMANDS and not args[0].startswith("-") and not ctx.resilient_parsing:
            from .suggestions import unknown_command  # difflib and the names of the workflows, which a slip alone needs

            groups = {name: self.get_command(ctx, name) if name in GROUPS else None for name in COMMANDS}
            raise unknown_command(args, groups)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the list of commands without loading one."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])

    def make_context(self, *arguments: Any, **options: Any) -> Any:
        """Read the command line; an interrupt keeps its kind."""
        with _carried():
            return super().make_context(*arguments, **options)

    def invoke(self, ctx: Any) -> Any:
        """Run the command; an interrupt keeps its kind."""
        with _carried():
            return super().invoke(ctx)


@contextmanager
def _carried() -> Iterator[None]:
    try:
        yield
    except (KeyboardInterrupt, typer.Abort) as stop:
        # At a question typer makes the same error of an interrupt, of the end of the input and of a no.
        cause = stop.__context__ if isinstance(stop, typer.Abort) else stop
        if not isinstance(cause, KeyboardInterrupt):
            raise
        number = cause.number if isinstance(cause, Ended) else signal.SIGINT  # one that was made without our handler
        raise InterruptCarrier(128 + number, getattr(cause, "__notes__", ()), asking=cause is not stop) from None


app = typer.Typer(
    name="ryla-gen",
    cls=LazyGroup,
    rich_markup_mode=None,
    add_completion=True,
    no_args_is_help=True,
    epilog=EPILOG,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Generate images and videos with typed ComfyUI workflows: on Modal, on your own server, or on the embedded emulator.",
)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"ryla-gen {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")] = False,
) -> None:
    """Hold the options that come before any command."""


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code; no exception but an interrupt while loading gets out."""
    _fill_streams()
    with _signals():
        return _run(arguments)


def _fill_streams() -> None:
    """Open the null device for each closed standard stream: otherwise the next file or socket would get its number."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open(mode, encoding="utf-8"))  # noqa: SIM115 - open to the end


@contextmanager
def _signals() -> Iterator[None]:
    """Turn requests to end into an exception; one that is ignored (nohup) stays ignored."""
    # A signal that the parent set to be ignored (nohup) keeps that meaning.
    taken: dict[int, Any] = {number: signal.SIG_DFL for number in ENDINGS if signal.getsignal(number) is signal.SIG_DFL}
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        taken[signal.SIGINT] = signal.default_int_handler
    for number in taken:
        signal.signal(number, _end)
    try:
        yield
    finally:
        for number, before in taken.items():
            signal.signal(number, before)


def _end(number: int, frame: FrameType | None) -> None:
    if frame is not None and frame.f_code.co_filename.startswith(IMPORTING):
        again = threading.Timer(AGAIN_SECONDS, os.kill, (os.getpid(), number))
        again.daemon = True
        again.start()
        return
    raise Ended(number)


def _run(typed: Sequence[str]) -> int:
    arguments, renaming = renamed(typed)
    screen = Screen(command_of(arguments), as_json=wants_json(arguments))
    if not {"-q", "--quiet"}.intersection(typed):
        screen.note(renaming)
    try:
        result = typer.main.get_command(app).main(arguments, prog_name="ryla-gen", standalone_mode=False, obj=screen)
        code = result if isinstance(result, int) else 0
    except InterruptCarrier as stop:
        if stop.asking:
            screen.end_line()
        screen.fail(_interruption(screen, arguments, stop.notes))
        code = stop.code
    except RylaGenError as error:
        # A fault of ours is of use only with its traceback; all other errors explain themselves.
        if isinstance(error, InternalError) and os.environ.get(DEBUG) == "1":
            traceback.print_exc()
        screen.fail(error)
        code = USAGE if isinstance(error, InvalidInputError) else FAILED
    except Exception as error:
        code = _report(screen, error)
    return screen.close(code)


def _interruption(screen: Screen, arguments: Sequence[str], notes: Sequence[str]) -> RylaGenError:
    """Build the error for what an interrupt ended: the work, or only the waiting for it."""
    if notes:
        text, _, hint = notes[0].partition("\n  ")
        return JobCanceledError(f"Stopped by you. {text}", hint)
    if screen.came_late is not None:
        return screen.came_late
    if screen.working:
        return JobCanceledError("Stopped by you; the work was canceled.", screen.resume or RERUN_HINT)
    if screen.command in WAITING:
        return JobCanceledError("Stopped waiting; the job continues.", _watch_hint(arguments))
    return JobCanceledError("Stopped.", screen.resume or RERUN_HINT)


def _watch_hint(arguments: Sequence[str]) -> str:
    """Write the command that waits for the same job, as far as the command line names one."""
    verbs = typer.main.get_command(import_module(".commands.jobs", __package__).app)
    verb: Any = getattr(verbs, "commands")[arguments[1]]  # noqa: B009 - typer's stand-in for click does not declare it
    given = verb.make_context(arguments[1], list(arguments[2:]), resilient_parsing=True).params
    if not given.get("job"):
        return "See its state: ryla-gen jobs list"
    url = ["--url", given["url"]] if given.get("url") else []
    return f"Check again: {shlex.join(['ryla-gen', 'jobs', 'watch', given['job'], *url])}"


def _report(screen: Screen, error: Exception) -> int:
    """Report errors of other kinds: typer's usage errors and, in the end, faults of this package."""
    if isinstance(error, USAGE_ERROR):
        return _report_usage(screen, error)
    if isinstance(error, typer.Abort):
        if isinstance(error.__context__, EOFError):
            screen.end_line()
        screen.fail(JobCanceledError("Stopped.", screen.resume or RERUN_HINT))
        return FAILED
    if isinstance(error, OSError) and (isinstance(error, BrokenPipeError) or not screen.writable()):
        return FAILED
    if os.environ.get(DEBUG) == "1":
        traceback.print_exc()
    from ryla_gen.workflows.registry import plugin_behind  # imported late: --version does not need it

    plugin = plugin_behind(error)
    text = f"{type(error).__name__}: {error}" + (f" (in {plugin}, a plug-in)" if plugin else "")
    whom = "Fix or uninstall that package" if plugin else "Please report it with the command you ran"
    screen.fail(InternalError(text, f"{whom}; {DEBUG}=1 shows where it happened."))
    return FAILED


def _report_usage(screen: Screen, error: Any) -> int:
    context = getattr(error, "ctx", None)
    if type(error).__name__ == "NoArgsIsHelpError" and context is not None and not screen.json:
        screen.note(context.get_help())
        return USAGE
    path = context.command_path if context is not None else "ryla-gen"
    text = " ".join(str(error.format_message()).split()).replace("Value error, ", "")  # pydantic's prefix
    hint = f"See: {path} --help"
    words = {item.name for item in getattr(getattr(context, "command", None), "params", ())}
    if "unexpected extra argument" in text and "prompt_argument" in words:
        hint = f"Put the prompt in quotes. {hint}"
    if unknown := getattr(error, "option_name", "") if type(error).__name__ == "NoSuchOption" else "":
        from .suggestions import others_with

        hint = f"{others_with(path, unknown)}{hint}"
    screen.fail(InvalidInputError(text, hint))
    return USAGE


def command_of(arguments: Sequence[str]) -> str:
    """Return the command's name in the last line of ``--json``: ``run``, ``workflows list``."""
    words = [word for word in arguments[:2] if not word.startswith("-")]
    if not words or words[0] not in COMMANDS:
        return ""
    return " ".join(words) if words[0] in GROUPS else words[0]


def wants_json(arguments: Sequence[str]) -> bool:
    """Whether a command line asks for JSON, as far as one can tell before it is understood."""
    options = list(arguments)
    return "--json" in (options[: options.index("--")] if "--" in options else options)
