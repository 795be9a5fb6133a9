"""Pass events to the sinks that listen: a logger, PostHog, OpenTelemetry, your own functions.

Each sink has a bounded queue and a daemon thread of its own, so that no sink can slow or break a caller or another sink. This
module decides which sinks get an event; it formats and sends nothing itself.
"""

from __future__ import annotations

import atexit
import logging
import os
import queue
import sys
import threading
import time
from collections.abc import Callable, Hashable, Iterator
from contextvars import Context, copy_context
from typing import TYPE_CHECKING

from .events import LOGGER, Sink, TelemetryEvent

if TYPE_CHECKING:
    from ..settings import Settings

TRACING = "opentelemetry.trace"
"""Spans are made when the application has loaded this: else nothing could receive them."""
METERING = "opentelemetry.metrics"
"""The same for metrics."""
EMULATED = "emulator"
"""The backend whose runs are not sent to PostHog."""
AT_EXIT_SECONDS = 1.0
"""How long the end of a program waits for sinks. PostHog's own library waits for a second more at most: two in all."""
MOST_WAITING = 1000
"""Events that wait for a slow sink; what comes after that is dropped and counted."""

log = logging.getLogger("ryla_gen.telemetry")

Flush = Callable[[float], None]
"""Sends what the sink itself still holds, within so many seconds."""
SinkParts = tuple[Sink, Flush | None]
"""A sink, and how it is flushed when it holds events itself."""


class SinkThread:
    """The queue and the thread of one sink.

    Args:
        make: builds the sink, on its thread and at the first event: its imports take time.
        name: name of the thread.
        on_ready: called on the thread once the sink is built.
    """

    def __init__(self, make: Callable[[], SinkParts], name: str, on_ready: Callable[[], None]) -> None:
        self._make, self._name, self._on_ready = make, name, on_ready
        self._queue: queue.Queue[tuple[TelemetryEvent, Context] | threading.Event] = queue.Queue(MOST_WAITING)
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._flush: Flush | None = None
        self._logged: set[str] = set()
        self.dropped = 0
        """Events that found the queue full."""

    def put(self, event: TelemetryEvent, context: Context) -> None:
        """Queue an event; never waits."""
        try:
            self._queue.put_nowait((event, context))
            self._start()
        except queue.Full:
            self.dropped += 1

    def flush(self, seconds: float) -> bool:
        """Wait until everything queued before is handed over, and return whether that worked in time."""
        if self._thread is None:
            return True
        # A marker goes through the queue behind the events: once the thread sets it, they are handed over.
        deadline, reached = time.monotonic() + seconds, threading.Event()
        try:
            self._queue.put(reached, timeout=max(0.0, seconds))
        except queue.Full:
            return False
        if not reached.wait(max(0.0, deadline - time.monotonic())):
            return False
        # The library behind a sink may have a queue of its own.
        if self._flush is not None:
            self._flush(max(0.0, deadline - time.monotonic()))
        return time.monotonic() < deadline

    def _start(self) -> None:
        with self._lock:
            if self._thread is None:
                thread = threading.Thread(target=self._run, name=f"ryla-gen {self._name}", daemon=True)
                try:
                    thread.start()
                except RuntimeError as error:  # no more threads, or the interpreter is ending
                    log.debug("no thread for %s: %s", self._name, error)
                    return
                self._thread = thread

    def _run(self) -> None:
        sink = self._build()
        while True:
            item = self._queue.get()
            if isinstance(item, threading.Event):
                item.set()
            elif sink is not None:
                self._call(sink, *item)

    def _build(self) -> Sink | None:
        try:
            sink, self._flush = self._make()
        except Exception as error:  # an optional package may raise anything while it is imported; without it, no sink
            log.warning("No events to %s: %s", self._name, error)
            return None
        self._on_ready()
        return sink

    def _call(self, sink: Sink, event: TelemetryEvent, context: Context) -> None:
        try:
            context.copy().run(sink, event)  # a context can be entered by one thread at a time, and sinks run side by side
        except Exception as error:  # a user's sink may raise anything: logged once per kind, and the generation goes on
            kind = type(error).__name__
            if kind not in self._logged:
                self._logged.add(kind)
                log.warning("The sink %s failed: %s: %s", self._name, kind, error)


_lock = threading.Lock()
_built_in: dict[Hashable, SinkThread] = {}
_added: dict[Sink, SinkThread] = {}


def add(sink: Sink) -> None:
    """Add a function that gets every event; adding it again changes nothing.

    It runs on a thread of its own, in the context (``contextvars``) of the code that asked for the generation. It may be slow:
    when events come faster than it takes them, some are dropped. What it raises is logged once to ``ryla_gen.telemetry`` and
    costs no generation.

    Args:
        sink: called with a :class:`TelemetryEvent`.
    """
    with _lock:
        if sink not in _added:
            _added[sink] = SinkThread(lambda: (sink, None), getattr(sink, "__name__", type(sink).__name__), _register_exit)


def remove(sink: Sink) -> None:
    """Remove a function; one that was never added is fine."""
    with _lock:
        _added.pop(sink, None)


def emit(event: TelemetryEvent, settings: Settings | None = None) -> None:
    """Pass an event to every sink that listens. Never waits and never raises; without sinks it does nothing.

    Args:
        event: what happened.
        settings: where PostHog is, if anywhere.
    """
    threads = list(_listeners(event, settings))
    if threads:
        context = copy_context()
        for thread in threads:
            thread.put(event, context)


def has_listeners(settings: Settings | None = None) -> bool:
    """Return whether any sink listens, for an event that would take time to put together.

    Args:
        settings: where PostHog is, if anywhere.
    """
    return bool(
        _added
        or TRACING in sys.modules
        or METERING in sys.modules
        or logging.getLogger(LOGGER).isEnabledFor(logging.INFO)
        or (settings is not None and settings.posthog_key)
    )


def flush(seconds: float = 2.0) -> bool:
    """Wait until every event so far is handed over, and return whether that worked in time.

    Args:
        seconds: how long to wait at most.
    """
    deadline = time.monotonic() + seconds
    # Every thread is asked, also after one was late: one with an empty queue answers at once.
    late = [thread for thread in _threads() if not thread.flush(max(0.0, deadline - time.monotonic()))]
    return not late


def count_dropped() -> int:
    """Count the events that sinks were too slow to take."""
    return sum(thread.dropped for thread in _threads())


def _threads() -> list[SinkThread]:
    return [*_built_in.values(), *_added.values()]


def _listeners(event: TelemetryEvent, settings: Settings | None) -> Iterator[SinkThread]:
    if logging.getLogger(LOGGER).isEnabledFor(logging.INFO):
        yield _thread("log", "the log", _log_sink)
    if TRACING in sys.modules:
        yield _thread("spans", "OpenTelemetry", _span_sink)
    if METERING in sys.modules:
        yield _thread("metrics", "OpenTelemetry's metrics", _metric_sink)
    if settings is not None and settings.posthog_key and event.backend != EMULATED:
        project = (settings.posthog_key, settings.posthog_host, settings.posthog_distinct_id, settings.home)
        yield _thread(project, "PostHog", lambda: _posthog_sink(settings))
    yield from list(_added.values())


def _thread(key: Hashable, name: str, make: Callable[[], SinkParts]) -> SinkThread:
    with _lock:
        if key not in _built_in:
            _built_in[key] = SinkThread(make, name, _register_exit)
        return _built_in[key]


def _log_sink() -> SinkParts:
    from .sinks import write_log

    return write_log, None


def _span_sink() -> SinkParts:
    from .open_telemetry import SpanSink

    return SpanSink(), None


def _metric_sink() -> SinkParts:
    from .open_telemetry import MetricSink

    return MetricSink(), None


def _posthog_sink(settings: Settings) -> SinkParts:
    from .sinks import PostHogSink

    sink = PostHogSink(settings)
    return sink, sink.flush


def _register_exit() -> None:
    """Flush first at the end of the program, before the sinks' libraries close: what registers last is called first."""
    atexit.unregister(_flush_at_exit)
    atexit.register(_flush_at_exit)


def _flush_at_exit() -> None:
    flush(AT_EXIT_SECONDS)


def _reset_after_fork() -> None:
    """Start anew in a forked child: threads stay in the parent, and so do the events that wait there."""
    global _lock
    _lock = threading.Lock()
    _built_in.clear()
    for sink in list(_added):
        del _added[sink]
        add(sink)


atexit.register(_flush_at_exit)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_reset_after_fork)
