"""Start the command ``ryla-gen``. Answers ``--version`` before anything is loaded; knows no command."""

from __future__ import annotations

import os
import sys

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
        from .app import run

        code = run(arguments)
    except KeyboardInterrupt:  # an interrupt while loading
        code = 130
    sys.exit(code)


def _tell_version(*, as_json: bool) -> None:
    from ryla_gen.version import __version__

    if as_json:
        from .screen import Screen

        Screen("", as_json=True).result({"version": __version__})
    else:
        sys.stdout.write(f"ryla-gen {__version__}\n")
