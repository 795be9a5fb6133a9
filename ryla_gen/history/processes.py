"""Name the process that sends a job, and determine whether it has certainly ended. Must not stop a process."""

from __future__ import annotations

import os
import socket
from pathlib import Path


def this_process() -> str:
    """Name this process so that another one can tell whether it still lives: number, machine and process namespace."""
    return f"{os.getpid()}@{_machine()}"


def has_ended(process: str | None) -> bool:
    """Whether a process is certainly gone; an unknown one, and one of another machine or container, may live."""
    number, _, machine = (process or "").partition("@")
    if os.name != "posix" or not number.isdecimal() or machine != _machine():  # on Windows, signal 0 is Ctrl-C
        return False
    try:
        os.kill(int(number), 0)
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):  # another user's process (it may live), or not a process id
        return False
    return False


def may_live_elsewhere(process: str | None) -> bool:
    """Whether a process is known, is not this one, and is not certainly gone."""
    return process is not None and process != this_process() and not has_ended(process)


def lives_here(process: str | None) -> bool:
    """Whether a process of this machine is known not to have ended."""
    return process is not None and process.partition("@")[2] == _machine() and not has_ended(process)


def _machine() -> str:
    """Name the host and process namespace: containers on one host may share the name, and each counts processes from 1."""
    try:
        return f"{socket.gethostname()}/{Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return socket.gethostname()
