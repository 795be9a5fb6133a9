"""Combine the progress of several threads into one report, sent from the caller's thread. Must not touch files."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Collection
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass
from typing import Any

from .base import FileProgress, Stage, SyncProgress
from .retry import CancelToken

BEAT = 0.1
"""Seconds between two pictures: faster cannot be read."""
WINDOW = 5.0
"""Seconds over which the speed is taken: long enough to be calm, short enough to show a stall."""


@dataclass(slots=True)
class _Line:
    stage: Stage
    bytes: int
    total: int | None


class Board:
    """The progress of every file."""

    def __init__(self, show: Callable[[SyncProgress], None] | None) -> None:
        self._show, self._lock = show, threading.Lock()
        self._lines: dict[str, _Line] = {}
        self._flow = 0
        self._samples: deque[tuple[float, int]] = deque([(time.monotonic(), 0)])
        self._shown = float("-inf")

    def add(self, name: str, total: int | None) -> None:
        """Add a file, of a known or unknown size."""
        with self._lock:
            self._lines[name] = _Line("waiting", 0, total)

    def stage(self, name: str, stage: Stage, *, bytes: int | None = None, total: int | None = None) -> None:  # noqa: A002 - the field's name
        """Set a file's stage; its size may be known only now."""
        with self._lock:
            line = self._lines[name]
            line.stage = stage
            line.total = total if total is not None else line.total
            line.bytes = bytes if bytes is not None else line.bytes

    def add_bytes(self, name: str, size: int, *, flow: bool = True) -> None:
        """Add a number of bytes (negative when a file begins again); with ``flow`` they count for the speed."""
        with self._lock:
            self._lines[name].bytes += size
            if flow:
                self._flow += max(size, 0)

    def watch(self, futures: Collection[Future[Any]], stop: CancelToken, finished: Callable[[], None] | None = None) -> None:
        """Show the picture until every future is done; call ``finished`` whenever some are. An interruption here stops them all."""
        pending = set(futures)
        try:
            while pending:
                done, pending = wait(pending, BEAT, FIRST_COMPLETED)
                if done and finished:
                    finished()
                self.show()
        except BaseException:
            stop.set()
            raise

    def show(self, *, last: bool = False) -> None:
        """Report the progress to the caller, unless it was reported just before."""
        now = time.monotonic()
        if self._show and (last or now - self._shown >= BEAT):
            self._shown = now
            self._show(self._picture(now))

    def _picture(self, now: float) -> SyncProgress:
        with self._lock:
            self._samples.append((now, self._flow))
            while len(self._samples) > 2 and self._samples[1][0] <= now - WINDOW:
                self._samples.popleft()
            began, before = self._samples[0]
            speed = (self._flow - before) / max(now - began, BEAT)
            files = tuple(FileProgress(name, line.stage, line.bytes, line.total) for name, line in self._lines.items())
        have = sum(item.bytes for item in files)
        total = sum(item.bytes if item.total is None or item.stage == "failed" else item.total for item in files)
        return SyncProgress(have, total, speed, max(total - have, 0) / speed if speed > 0 else None, files)
