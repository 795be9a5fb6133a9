"""Show how far a transfer of model files is: a bar on a terminal, lines elsewhere, events for programs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from ryla_gen.events import Event
from ryla_gen.support.numbers import format_bytes

from .screen import Screen, use_colour

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress

PLAIN_SECONDS, JSON_SECONDS = 15.0, 1.0
"""Between two lines of progress for people, and for programs."""

Show = Callable[[dict[str, Any]], None]


@dataclass(frozen=True, slots=True)
class Moved(Event):
    """Progress of a sync, as a line of ``--json``."""

    type: ClassVar[str] = "weights"
    bytes: int = 0
    total: int = 0
    bytes_per_second: float = 0.0
    seconds_left: float | None = None


@contextmanager
def transfer_progress(screen: Screen) -> Iterator[Show]:
    """Show progress while the block runs: a bar on a terminal, lines elsewhere, events for programs."""
    screen.working = True
    if not screen.json and not screen.quiet and use_colour():
        with _bar() as bar:
            task = bar.add_task("weights", total=None)
            yield lambda data: bar.update(task, completed=data["bytes"], total=data["total"] or None)
    else:
        yield _lines(screen)
    screen.working = False


def _lines(screen: Screen) -> Show:
    pause = JSON_SECONDS if screen.json else PLAIN_SECONDS
    said, number = time.monotonic() - (pause if screen.json else 0), 0

    def show(data: dict[str, Any]) -> None:
        nonlocal said, number
        if time.monotonic() - said < pause:
            return
        said = time.monotonic()
        told = {name: data[name] for name in ("bytes", "total", "bytes_per_second", "seconds_left")}
        screen.event(Moved(seq=number, **told))
        number += 1
        left = f", {data['seconds_left'] / 60:.0f} min left" if data["seconds_left"] is not None else ""
        if not screen.json:
            screen.note(
                f"{format_bytes(data['bytes'])} of {format_bytes(data['total'])}, {data['bytes_per_second'] / 1e6:.0f} MB/s{left}"
            )

    return show


def _bar() -> RichProgress:
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, SpinnerColumn, TimeRemainingColumn, TransferSpeedColumn

    parts = (SpinnerColumn(), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    return Progress(*parts, console=Console(stderr=True), transient=True, redirect_stdout=False)
