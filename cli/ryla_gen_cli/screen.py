"""Print what the commands report: results on stdout, messages for people on stderr, or JSON. Knows no command."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import sys
import textwrap
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import IO, TYPE_CHECKING, Any

from ryla_gen.support.control_characters import escape_controls
from ryla_gen.support.shell_words import path_word
from ryla_gen.version import __version__

if TYPE_CHECKING:
    from ryla_gen.errors import RylaGenError
    from ryla_gen.events import Event

NARROWEST_COLUMN = 24
"""Columns of text below which the last column of a table is unreadable and its rows are written as blocks."""
SHORT = 60
"""Columns of a prompt or a default in an overview."""
FOLLOWING = re.compile(
    r"(ryla-gen (?:jobs (?:show|watch|result|cancel|logs)|character (?:status|resume|retry|cancel)) [0-9a-f]{8}[0-9a-f-]*+)"
    r"(?! --url)"
)
"""A command that asks the server for a job."""
WHERE_IT_RUNS = re.compile(r"ryla-gen (?:lora (?:push|list|show|pull|verify|remove)|doctor)(?! [^;:\n]*--(?:backend|url|local))\b")
"""A command about the place where jobs run: what was typed chose another one than the settings."""
OF_A_GRAPH = re.compile(r"(ryla-gen graph (\w+)) FILE\.json")
"""A command about a graph, in the words of modules that do not know its file."""
OF_A_LOCK = ("lock", "inputs")
"""Those of them that take a lock, too."""


class Screen:
    """One command's two streams.

    Args:
        command: the command's name in the last line of ``--json``.
        as_json: whether stdout is for programs.

    """

    def __init__(self, command: str, *, as_json: bool = False) -> None:
        self.command = command
        self.json = as_json
        self.quiet = False
        self.url = ""
        """Address that was given with this command: commands that we name for later need it again."""
        self.backend = ""
        """Backend that was chosen with this command, for the same reason."""
        self.has_timeout = True
        """Whether this command takes ``--timeout``."""
        self.file = ""
        """The graph or the lock that this command is about: commands that we name are about it too."""
        self.working = False
        """Whether a job is under way, which an interrupt then cancels."""
        self.resume = ""
        """What to do after an interrupt, where that is more than to run the command again."""
        self.came_late: RylaGenError | None = None
        """What to say of an interrupt that came when the job had ended: it is paid for, and need not be run again."""
        self._closed: set[int] = set()
        for stream in (sys.stdout, sys.stderr):
            if hasattr(stream, "reconfigure"):
                # A prompt may hold what the terminal's encoding lacks, or bytes that are no text.
                stream.reconfigure(errors="backslashreplace")

    def say(self, text: str) -> None:
        """Write a result for people to stdout."""
        if not self.json and text:
            self._write(sys.stdout, f"{escape_controls(self._whole(text))}\n")

    def note(self, text: str) -> None:
        """Write a remark for people to stderr, unless they want quiet."""
        if not self.quiet and text:
            self._write(sys.stderr, f"{escape_controls(self._whole(text))}\n")

    def paint(self, codes: str) -> None:
        """Write control codes of our own to stderr."""
        self._write(sys.stderr, f"{codes}\n")

    def end_line(self) -> None:
        """Leave the line on which a question stands unanswered."""
        self._write(sys.stderr, "\n")

    def event(self, event: Event) -> None:
        """Write an event as one line of JSON; never a preview."""
        if self.json and event.type != "preview":
            self._line(event.to_data())

    def entry(self, data: Mapping[str, Any], text: str) -> None:
        """Write one of many things as it is found: a line of JSON, or the text."""
        if self.json:
            self._line(data)
        else:
            self.say(text)

    def result(self, data: Mapping[str, Any], text: str = "") -> None:
        """Write what the command found: the last line of ``--json``, or the text."""
        if self.json:
            self._line(self._envelope(True, data, None))
        else:
            self.say(text)

    def fail(self, error: RylaGenError, data: Mapping[str, Any] | None = None) -> None:
        """Write why the command failed; for people on stderr, with a hint what to do."""
        error.hint = self._here(error.hint)
        if self.json:
            self._line(self._envelope(False, data, error.to_data()))
        hint = error.hint.strip()
        text = f"error[{error.code}]: {error.message}\n{f'  hint: {hint}' + chr(10) if hint else ''}"
        self._write(sys.stderr, escape_controls(self._whole(text)))

    def raw(self, data: bytes) -> None:
        """Write a file to stdout."""
        try:
            sys.stdout.flush()
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()
        except OSError as error:
            self._on_broken_stream(sys.stdout, error)

    def writable(self) -> bool:
        """Whether stdout takes what was written past us; where it does not, that is said."""
        self._write(sys.stdout, "")
        return 1 not in self._closed

    def close(self, code: int) -> int:
        """Flush, and return the exit code: a reader that left makes a success a failure, without a word."""
        for stream in (sys.stdout, sys.stderr):
            self._write(stream, "")
        return code or int(1 in self._closed)

    def _whole(self, text: str) -> str:
        """Add ``--url`` to the commands about jobs in a text, so that they find the server given to this command."""
        text = self._here(text)
        return FOLLOWING.sub(rf"\1 --url {shlex.quote(self.url)}", text) if self.url else text

    def _here(self, text: str) -> str:
        """Say the commands of a text for the backend and the file of this command, without options that it does not have."""
        if self.backend:
            text = WHERE_IT_RUNS.sub(lambda said: f"{said[0]} --backend {shlex.quote(self.backend)}", text)
        if not self.has_timeout:
            text = text.replace(", --timeout SECONDS", "")
        return self._with_file(text)

    def _with_file(self, text: str) -> str:
        """Name the file at hand in the commands about a graph; those about a lock's file are fewer."""
        if not self.file:
            return text
        from ryla_gen.workflows.registry import LOCK_SUFFIX  # what most commands need not know

        own, word = self.file.endswith(LOCK_SUFFIX), path_word(self.file)
        return OF_A_GRAPH.sub(lambda said: said[0] if own and said[2] not in OF_A_LOCK else f"{said[1]} {word}", text)

    def _envelope(self, ok: bool, data: Mapping[str, Any] | None, error: Mapping[str, Any] | None) -> dict[str, Any]:
        return {"ok": ok, "command": self.command, "version": __version__, "data": data, "error": error}

    def _line(self, data: Mapping[str, Any]) -> None:
        self._write(sys.stdout, json.dumps(data, default=str) + "\n")

    def _write(self, stream: IO[str], text: str) -> None:
        try:
            stream.write(text)
            stream.flush()
        except OSError as error:
            self._on_broken_stream(stream, error)

    def _on_broken_stream(self, stream: IO[str], error: OSError) -> None:
        """Redirect a stream whose reader left, or whose disk is full, so that Python's last flush is quiet too."""
        number = stream.fileno()
        self._closed.add(number)
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, number)
        os.close(nowhere)
        if not isinstance(error, BrokenPipeError) and stream is sys.stdout:
            self._write(sys.stderr, f"error[storage_failed]: stdout could not be written: {error.strerror}.\n")


def use_colour() -> bool:
    """Whether stderr may be painted on: a terminal that understands control codes, and plain text was not asked for."""
    return sys.stderr.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def width() -> int | None:
    """Return the columns of stdout; None when it is a pipe or a file, where a row stays one line."""
    if os.environ.get("COLUMNS", "").isdecimal() or sys.stdout.isatty():
        return max(20, shutil.get_terminal_size().columns)
    return None


def table(titles: Sequence[str], rows: Iterable[Sequence[object]], room: int | None = None) -> str:
    """Format rows; the last column is wrapped to fit, and when there is no room for it every row becomes a block.

    Args:
        titles: heads of the columns.
        rows: the cells; None is an empty one.
        room: columns of the terminal, None for no limit.

    """
    lines = [[*titles], *(["" if cell is None else escape_controls(str(cell)) for cell in row] for row in rows)]
    wide = [max(map(columns, column)) for column in zip(*lines, strict=True)]
    left = sum(wide[:-1]) + 2 * (len(wide) - 1)
    if room is not None and left + wide[-1] > room and room - left < NARROWEST_COLUMN:
        return "\n\n".join(_block(titles, line, room) for line in lines[1:])
    out = []
    for line in lines:
        start = "".join(_pad(cell, size + 2) for cell, size in zip(line[:-1], wide[:-1], strict=True))
        wrapped = [line[-1]] if room is None or _fits(line[-1], room - left) else textwrap.wrap(line[-1], room - left)
        out += [(start + wrapped[0]).rstrip(), *(" " * left + more for more in wrapped[1:])]
    return "\n".join(out)


def _fits(text: str, room: int) -> bool:
    """Whether a text is one line as it stands; of long lists nearly every one is."""
    return len(text) <= room and text.isascii() and (text.isprintable() or not text)


def columns(text: str) -> int:
    """Count the columns a text takes on a terminal: East Asian wide characters take two, combining ones none."""
    if text.isascii():
        return len(text)
    return sum(0 if unicodedata.combining(sign) else 2 if unicodedata.east_asian_width(sign) in "WF" else 1 for sign in text)


def shorten(text: str, room: int = SHORT) -> str:
    """Return one line of a text, cut to a number of columns."""
    text = escape_controls(" ".join(text.split()))
    if columns(text) <= room:
        return text
    end = room - 1
    while columns(text[:end]) >= room:  # wide characters take two
        end -= 1
    while columns(text[: end + 1]) < room:  # combining ones none
        end += 1
    return f"{text[:end]}…"


def _pad(text: str, size: int) -> str:
    return text + " " * (size - columns(text))


def _block(titles: Sequence[str], line: Sequence[str], room: int) -> str:
    pairs = zip(titles[1:], line[1:], strict=True)
    return "\n".join([line[0], *(wrap(f"{title}: {cell}", room) for title, cell in pairs if cell)])


def wrap(text: str, room: int | None, indent: str = "  ") -> str:
    """Wrap one paragraph, indented."""
    if room is None:
        return indent + text
    return textwrap.fill(text, room, initial_indent=indent, subsequent_indent=indent + "  ")
