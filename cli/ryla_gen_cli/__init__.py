"""Start the command ``ryla-gen``. Answers ``--version`` before anything is loaded; knows no command."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence

COMPLETE = "_RYLA_GEN_COMPLETE"
"""Variable with which a shell asks for completions; its name and its values are those of typer's scripts for the shells."""


def main() -> None:
    """Run the command line and end the process with its exit code."""
    arguments = sys.argv[1:]
    if sorted(arguments) in (["--version"], ["--json", "--version"]):
        _tell_version(as_json="--json" in arguments)
        return
    try:
        if COMPLETE in os.environ:
            from .completion import complete

            sys.exit(complete(os.environ))
        run = _load()
        code = run(arguments)
    except KeyboardInterrupt as stop:  # an interrupt while loading, or another signal that ends the process
        code = 128 + getattr(stop, "number", 2)
    sys.exit(code)


def _load() -> Callable[[Sequence[str]], int]:
    """Load the commands; Ctrl-C ends the process at once meanwhile.

    Nothing is open yet, and Python may lose an interrupt that comes while a module is loaded: raised in the callback of a weak
    reference, it is ignored.
    """
    import signal

    quiet = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if quiet:
        signal.signal(signal.SIGINT, lambda *_: os._exit(130))
    from .app import run

    if quiet:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    return run


def _tell_version(*, as_json: bool) -> None:
    from ryla_gen.version import __version__

    if as_json:
        from .screen import Screen

        Screen("", as_json=True).result({"version": __version__})
    else:
        sys.stdout.write(f"ryla-gen {__version__}\n")
