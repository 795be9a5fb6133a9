"""A pseudo-terminal that a command owns: it may be answered as terminals answer, and typed into."""

from __future__ import annotations

import errno
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from .shell import COMMAND, SECONDS, environment

pty = pytest.importorskip("pty", reason="this system has no pseudo-terminals")

OWNER = "import fcntl, os, sys, termios; os.setsid(); fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execvp(sys.argv[1], sys.argv[1:])"
"""Makes the terminal on stdin the controlling one, as a terminal program does, and becomes the command."""


class Terminal:
    """One command on one terminal.

    Args:
        keyboard: our end of the pseudo-terminal.
        process: the command.
        answers: what the terminal says when it is sent something.

    """

    def __init__(self, keyboard: int, process: subprocess.Popen[bytes], answers: Mapping[bytes, bytes]) -> None:
        self.keyboard = keyboard
        self.process = process
        self.said = b""
        self._answers = dict(answers)

    def type(self, text: str) -> None:
        os.write(self.keyboard, text.encode())

    def interrupt(self) -> None:
        """Send Ctrl-C until it is heard: between writing a question and reading the answer Python does not hear it.

        A command that has said how it ends is left alone: on a slow machine its end takes longer than the next Ctrl-C.
        """
        start = len(self.said)
        for _ in range(SECONDS // 10):
            self.process.send_signal(signal.SIGINT)
            end = time.monotonic() + 10
            while time.monotonic() < end and self.process.poll() is None:
                if select.select([self.keyboard], [], [], 0.1)[0] and not self._read():
                    return
                if b"error[" in self.said[start:]:
                    return
            if self.process.poll() is not None:
                return

    def until(self, word: str) -> str:
        """Read until a word was said behind what was read before; return what came."""
        start, end = len(self.said), time.monotonic() + SECONDS
        while word.encode() not in self.said[start:]:
            assert time.monotonic() < end, self.said
            assert self._read(), self.said
        return self.said[start:].decode(errors="replace")

    def finish(self) -> tuple[int, bytes]:
        """Read to the end; return the exit code and everything that was said."""
        while self._read():
            pass
        return self.process.wait(timeout=SECONDS), self.said

    def _read(self) -> bool:
        if not select.select([self.keyboard], [], [], SECONDS)[0]:
            raise AssertionError(f"it says nothing any more: {self.said!r}")
        try:
            part = os.read(self.keyboard, 65536)
        except OSError as error:
            assert error.errno == errno.EIO  # Linux says so when the other side is closed
            return False
        self.said += part
        for asked in [item for item in self._answers if item in self.said]:
            os.write(self.keyboard, self._answers.pop(asked))
        return bool(part)


@contextmanager
def terminal(
    *command: str, folder: Path, answers: Mapping[bytes, bytes] | None = None, environ: Mapping[str, str] | None = None, **env: str
) -> Iterator[Terminal]:
    """Run a command with all three streams on a terminal of its own."""
    ours, theirs = pty.openpty()
    known = {name: value for name, value in (environ or environment()).items() if name not in HINTS}
    process = subprocess.Popen(
        [sys.executable, "-c", OWNER, *command],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        cwd=folder,
        env=known | {"TERM": "xterm", "COLUMNS": "80"} | env,
    )
    os.close(theirs)
    try:
        yield Terminal(ours, process, answers or {})
    finally:
        os.close(ours)
        process.kill()
        process.wait(timeout=SECONDS)


def shown(*arguments: str, folder: Path, answers: Mapping[bytes, bytes] | None = None, **env: str) -> tuple[int, bytes]:
    """Run our command to its end on a terminal."""
    with terminal(*COMMAND, *arguments, folder=folder, answers=answers, **env) as there:
        return there.finish()


HINTS: Sequence[str] = ("CI", "TMUX", "TERM_PROGRAM", "LC_TERMINAL", "KITTY_WINDOW_ID", "VTE_VERSION", "SSH_CONNECTION", "COLUMNS")
"""Variables of the terminal that the tests are run in."""
