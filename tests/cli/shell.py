"""Runs the real command: as a process of its own, and, where a process adds nothing, in this one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from PIL import Image

import ryla_gen
import ryla_gen_cli
from ryla_gen_cli import app

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # tests started in the background: their children would ignore Ctrl-C
    signal.signal(signal.SIGINT, signal.default_int_handler)

COMMAND = [sys.executable, "-m", "ryla_gen_cli"]
SMALL = ["--width", "256", "--height", "256", "--steps", "1"]
"""Options that make any picture quick."""
SECONDS = 240
"""How long a command may take: a machine ten times slower passes too, and one that hangs is told before the test's own limit."""
PLACES = [str(Path(str(package.__file__)).parents[1]) for package in (ryla_gen, ryla_gen_cli)]
"""Where the packages under test are, for processes that start in another folder."""


def environment(**more: str) -> dict[str, str]:
    """This process's environment, with what was asked for."""
    return os.environ | {"PYTHONPATH": os.pathsep.join([*PLACES, os.environ.get("PYTHONPATH", "")])} | more


def ryla(*arguments: str, stdin: bytes = b"", folder: Path | None = None, **env: str) -> subprocess.CompletedProcess[bytes]:
    """Run the command to its end."""
    return subprocess.run(
        [*COMMAND, *arguments], input=stdin, capture_output=True, cwd=folder, env=environment(**env), timeout=SECONDS
    )


def started(*arguments: str, folder: Path | None = None, **env: str) -> subprocess.Popen[bytes]:
    """Start the command and go on."""
    return subprocess.Popen(
        [*COMMAND, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=folder, env=environment(**env)
    )


def here(*arguments: str) -> int:
    """Run the command in this process; what it writes is for ``capsys``."""
    return app.run(arguments)


def picture(path: Path) -> Image.Image:
    """A saved picture, its file closed."""
    with Image.open(path) as found:
        found.load()
        return found


def lines(text: str | bytes) -> list[dict[str, Any]]:
    """Every line of ``--json``; fails on a line that is no JSON object."""
    found = [json.loads(line) for line in text.splitlines()]
    assert all(isinstance(item, dict) for item in found)
    return found


def envelope(text: str | bytes) -> dict[str, Any]:
    """The last line of ``--json``, after checking that it is the only one of its kind."""
    found = lines(text)
    assert [set(item) == {"ok", "command", "version", "data", "error"} for item in found] == [False] * (len(found) - 1) + [True]
    return found[-1]
