"""Gives broken data to every parser, and tells what came out that is neither a value nor an error of ours. Seeded."""

from __future__ import annotations

import random
import shutil
import tempfile
import time
import traceback
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ryla_gen.errors import InternalError, RylaGenError

from .parsers import PARSERS, Parser

SLOW = 5.0
"""Seconds of this process's own time beyond which a case counts as a hang."""
SHOWN = 300
"""Characters of a case that a report shows."""


@dataclass(frozen=True)
class Finding:
    """The smallest case of one fault."""

    parser: str
    error: str
    place: str
    """Last line of ours that it went through."""
    case: Any
    count: int

    def __str__(self) -> str:
        return f"{self.parser}: {self.error} at {self.place} ({self.count} times)\n    {_shown(self.case)}"


def plan(cases: int, parsers: Sequence[Parser]) -> Iterator[tuple[Parser, int]]:
    """How many cases each parser gets."""
    whole = sum(parser.weight for parser in parsers)
    for parser in parsers:
        yield parser, max(1, round(cases * parser.weight / whole))


def fuzz(cases: int, *, seed: int = 1, parsers: Sequence[Parser] = PARSERS) -> tuple[int, list[Finding]]:
    """Run so many cases over all parsers; tells how many ran, and each fault once, with its smallest case."""
    found: dict[tuple[str, str, str], list[Any]] = {}
    ran = 0
    folder = Path(tempfile.mkdtemp(prefix="ryla-fuzz-"))
    try:
        for parser, count in plan(cases, parsers):
            place = folder / f"{len(list(folder.iterdir()))}"
            place.mkdir()
            source = random.Random(f"{seed} {parser.name}")
            for _ in range(count):
                case = parser.broken(source)
                ran += 1
                if (fault := _fault(parser, case, place)) is not None:
                    found.setdefault((parser.name, *fault), []).append(case)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return ran, [Finding(*key, min(held, key=lambda case: len(_shown(case, 10**9))), len(held)) for key, held in found.items()]


def _fault(parser: Parser, case: Any, folder: Path) -> tuple[str, str] | None:
    """What is wrong with how a parser took a case: kind and place; None when nothing is."""
    began = time.process_time()
    try:
        with warnings.catch_warnings(action="ignore"):  # PIL warns of broken files; in tests a warning is an error
            parser.call(case, folder)
    except RylaGenError as error:
        return ("internal", _place(error)) if isinstance(error, InternalError) else None
    except parser.allowed as error:
        return None if type(error) in parser.allowed else (type(error).__name__, _place(error))
    except Exception as error:  # all others are what is looked for
        return type(error).__name__, _place(error)
    took = time.process_time() - began
    return (f"slow: {took:.0f} s", "") if took > SLOW else None


def _place(error: BaseException) -> str:
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "ryla_gen" in frame.filename]
    last = frames[-1] if frames else None
    return f"{last.filename.partition('ryla_gen')[2]}:{last.lineno} {last.name}" if last else str(error)[:100]


def _shown(case: Any, room: int = SHOWN) -> str:
    try:
        text = repr(case)
    except (RecursionError, ValueError):
        return "<too deep or too long to show>"
    return text if len(text) <= room else f"{text[:room]}… ({len(text)} characters)"
