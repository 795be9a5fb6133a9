"""Write paths and values into the commands that messages advise, so that a shell reads them as they are. Must not run one."""

from __future__ import annotations

import shlex
from os import PathLike


def path_word(path: str | PathLike[str]) -> str:
    """Return a path as one word of a command: quoted where a shell would read something else, and never taken for an option."""
    return shlex.quote(no_option(path))


def no_option(path: str | PathLike[str]) -> str:
    """Return a path as a command takes it for one, also where it begins with a dash."""
    text = str(path)
    return f"./{text}" if text.startswith("-") else text


def command_word(cls: object) -> str:
    """Return what names a workflow on a command line: its name, or the file of a lock that is known by nothing else."""
    own = getattr(cls, "command_word", None)
    return str(own()) if own is not None else str(getattr(cls, "name", "")).replace("_", "-")
