"""The command ``ryla-gen``: its entry. Answers ``--version`` before anything is loaded; knows no command."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line and end the process with its exit code."""
    arguments = sys.argv[1:]
    if arguments == ["--version"]:
        from ryla_gen.version import __version__

        sys.stdout.write(f"ryla-gen {__version__}\n")
        return
    try:
        from .app import run

        code = run(arguments)
    except KeyboardInterrupt:  # while loading
        code = 130
    sys.exit(code)
