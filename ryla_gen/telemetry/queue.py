"""A lane carries what happened to one sink: a bounded queue and a daemon thread, so that no sink can slow or break a caller.

Each sink has a lane of its own, so that one that hangs holds up no other. Knows no sink.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable
from contextvars import Context

from .base import Happening, Sink

MOST_WAITING = 1000
"""Happenings that wait for a slow sink; what comes after that is dropped and counted."""

log = logging.getLogger("ryla_gen.telemetry")

Flush = Callable[[float], None]
"""Hands over what the sink itself still holds, in so many seconds at most."""
Made = tuple[Sink, Flush | None]
"""A sink, and how it is flushed when it holds things itself."""


class Lane:
    """The way to one sink.

    Args:
        make: builds the sink, on the lane's thread and when something happens first: imports take time.
        name: name of the thread.
        ready: called on the lane's thread once the sink is made.
    """

    def __init__(self, make: Callable[[], Made], name: str, ready: Callable[[], None]) -> None:
        self._make, self._name, self._ready = make, name, ready
        self._queue: queue.Queue[tuple[Happening, Context] | threading.Event] = queue.Queue(MOST_WAITING)
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._flush: Flush | None = None
        self._said: set[str] = set()
        self.dropped = 0
        """Happenings that found the queue full."""

    def put(self, happening: Happening, context: Context) -> None:
        """Hand something over; never waits."""
        try:
            self._queue.put_nowait((happening, context))
            self._run()
        except queue.Full:
            self.dropped += 1

    def flush(self, seconds: float) -> bool:
        """Wait until what was put before is handed over, and tell whether that worked in time."""
        if self._thread is None:
            return True
        deadline, reached = time.monotonic() + seconds, threading.Event()
        try:
            self._queue.put(reached, timeout=max(0.0, seconds))
        except queue.Full:
            return False
        if not reached.wait(max(0.0, deadline - time.monotonic())):
            return False
        if self._flush is not None:
            self._flush(max(0.0, deadline - time.monotonic()))
        return time.monotonic() < deadline

    def _run(self) -> None:
        with self._lock:
            if self._thread is None:
                thread = threading.Thread(target=self._work, name=f"ryla-gen {self._name}", daemon=True)
                try:
                    thread.start()
                except RuntimeError as error:  # no more threads, or the interpreter is ending
                    log.debug("no thread for %s: %s", self._name, error)
                    return
                self._thread = thread

    def _work(self) -> None:
        sink = self._made()
        while True:
            item = self._queue.get()
            if isinstance(item, threading.Event):
                item.set()
            elif sink is not None:
                self._hand_over(sink, *item)

    def _made(self) -> Sink | None:
        try:
            sink, self._flush = self._make()
        except Exception as error:  # whatever an optional package does while it is imported; said, and then without it
            log.warning("No events to %s: %s", self._name, error)
            return None
        self._ready()
        return sink

    def _hand_over(self, sink: Sink, happening: Happening, context: Context) -> None:
        try:
            context.copy().run(sink, happening)  # sinks run side by side, and a context can be entered by one alone
        except Exception as error:  # a sink is somebody's own code: its faults are said once each, and cost no generation
            kind = type(error).__name__
            if kind not in self._said:
                self._said.add(kind)
                log.warning("The sink %s failed: %s: %s", self._name, kind, error)
