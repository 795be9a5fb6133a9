"""Show the progress of one job on stderr: a bar on a terminal, a few plain lines anywhere else. Loads rich only for the bar."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from ryla_gen.events import Event, Progress, Queued, Started
from ryla_gen.support.control_characters import escape_controls

from .screen import Screen, use_colour

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress

PLAIN_SECONDS = 15.0
"""Between two plain lines: a log of a long job stays short, and a short job writes none."""
WIDE_ENOUGH = 60
"""Columns below which the bar shows less."""


class Follower(Protocol):
    """Something that receives every event of a job."""

    def event(self, event: Event) -> None:
        """Handle one event."""


@contextmanager
def following(screen: Screen, title: str) -> Iterator[Follower]:
    """Show a job's progress while the block runs; with ``--json`` its events go to stdout instead."""
    screen.working = True
    if screen.json:
        yield screen
    elif screen.quiet:
        yield _Silent()
    elif use_colour():
        with _bar() as bar:
            yield _Bar(bar, title)
    else:
        yield _Lines(screen)
    screen.working = False


class _Silent:
    def event(self, event: Event) -> None:
        """Ignore one event."""


class _Lines:
    """Plain lines, at most one every few seconds."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self._said = time.monotonic()

    def event(self, event: Event) -> None:
        if time.monotonic() - self._said < PLAIN_SECONDS:
            return
        self._said = time.monotonic()
        if isinstance(event, Progress):
            self._screen.note(f"{event.fraction:4.0%}  {progress_text(event)}")
        elif isinstance(event, Queued):
            self._screen.note(f"waiting: {event.position} ahead of this one")


class _Bar:
    """A bar with node, step, percent and time."""

    def __init__(self, bar: RichProgress, title: str) -> None:
        self._bar = bar
        self._task = bar.add_task(title, total=1.0, step="")

    def event(self, event: Event) -> None:
        match event:
            case Queued(position=position):
                self._bar.update(self._task, description=f"waiting ({position} ahead)" if position else "waiting")
            case Started():
                self._bar.update(self._task, description="running")
            case Progress():
                step = f"{event.step}/{event.steps}" if event.steps > 1 else ""
                self._bar.update(
                    self._task, completed=event.fraction, description=escape_controls(event.node) or "running", step=step
                )
            case _:
                pass


def progress_text(event: Progress) -> str:
    """Describe node and step."""
    node = escape_controls(event.node)
    return f"{node} {event.step}/{event.steps}" if event.steps > 1 else node


def _bar() -> RichProgress:
    from rich.console import Console
    from rich.progress import BarColumn, ProgressColumn, SpinnerColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bar
    from rich.table import Column

    console = Console(stderr=True)
    wide = console.width >= WIDE_ENOUGH
    name = TextColumn("{task.description}", markup=False, table_column=Column(no_wrap=True, overflow="ellipsis", max_width=24))
    parts: list[ProgressColumn] = [SpinnerColumn(), name, BarColumn(bar_width=30 if wide else 8), TaskProgressColumn()]
    if wide:
        parts += [TextColumn("{task.fields[step]}", markup=False), TimeElapsedColumn()]
    # Only stderr is taken over, so that what the library says there comes above the bar; stdout may be a pipe.
    return Bar(*parts, console=console, transient=True, redirect_stdout=False, redirect_stderr=True)
