"""Tells what happened to whoever wants to know: a logger, PostHog, OpenTelemetry, sinks of your own. Decides who; sends nothing."""

from __future__ import annotations

import atexit
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Hashable, Iterator
from contextvars import copy_context
from typing import TYPE_CHECKING

from .base import LOGGER, Happening, Sink
from .queue import Lane, Made

if TYPE_CHECKING:
    from ..settings import Settings

TRACING = "opentelemetry.trace"
"""Spans are made when the application has loaded this: else nothing could receive them."""
EMULATED = "emulator"
"""The backend whose runs are counted nowhere."""
AT_EXIT_SECONDS = 1.0
"""How long the end of a program waits for sinks. PostHog's own library waits for a second more at most: two in all."""

_lock = threading.Lock()
_lanes: dict[Hashable, Lane] = {}
_own: dict[Sink, Lane] = {}


def add(sink: Sink) -> None:
    """Let a function of yours hear of everything that happens; adding it again changes nothing.

    It runs on a thread of its own, in the context (``contextvars``) of whoever asked for the generation. It may be slow; when it
    is slower than things happen, some are dropped. What it raises is logged once to ``ryla_gen.telemetry`` and costs no generation.

    Args:
        sink: called with a :class:`Happening`.
    """
    with _lock:
        if sink not in _own:
            _own[sink] = Lane(lambda: (sink, None), getattr(sink, "__name__", type(sink).__name__), _last_at_exit)


def remove(sink: Sink) -> None:
    """Stop telling a function of yours; one that was never added is fine."""
    with _lock:
        _own.pop(sink, None)


def tell(happening: Happening, settings: Settings | None = None) -> None:
    """Tell everybody who listens. Never waits and never raises; without listeners it does nothing.

    Args:
        happening: what happened.
        settings: where PostHog is, if anywhere.
    """
    lanes = list(_listening(happening, settings))
    if lanes:
        context = copy_context()
        for lane in lanes:
            lane.put(happening, context)


def listening(settings: Settings | None = None) -> bool:
    """Say whether anybody listens, for a teller who would have to find something out first."""
    return bool(
        _own
        or TRACING in sys.modules
        or logging.getLogger(LOGGER).isEnabledFor(logging.INFO)
        or (settings is not None and settings.posthog_key)
    )


def flush(seconds: float = 2.0) -> bool:
    """Wait until everything told so far is handed over, and tell whether that worked in time.

    Args:
        seconds: how long to wait at most.
    """
    deadline = time.monotonic() + seconds
    # Every lane is asked, also after one was late: what waits for nothing is handed over at once.
    late = [lane for lane in [*_lanes.values(), *_own.values()] if not lane.flush(max(0.0, deadline - time.monotonic()))]
    return not late


def dropped() -> int:
    """Count what sinks were too slow to take."""
    return sum(lane.dropped for lane in [*_lanes.values(), *_own.values()])


def _listening(happening: Happening, settings: Settings | None) -> Iterator[Lane]:
    if logging.getLogger(LOGGER).isEnabledFor(logging.INFO):
        yield _lane("log", "the log", _to_log)
    if TRACING in sys.modules:
        yield _lane("spans", "OpenTelemetry", _to_spans)
    if settings is not None and settings.posthog_key and happening.backend != EMULATED:
        where = (settings.posthog_key, settings.posthog_host, settings.posthog_distinct_id, settings.home)
        yield _lane(where, "PostHog", lambda: _to_posthog(settings))
    yield from list(_own.values())


def _lane(key: Hashable, name: str, make: Callable[[], Made]) -> Lane:
    with _lock:
        if key not in _lanes:
            _lanes[key] = Lane(make, name, _last_at_exit)
        return _lanes[key]


def _to_log() -> Made:
    from .to_log import write

    return write, None


def _to_spans() -> Made:
    from .to_spans import Spans

    return Spans(), None


def _to_posthog(settings: Settings) -> Made:
    from .to_posthog import PostHog

    sink = PostHog(settings)
    return sink, sink.flush


def _last_at_exit() -> None:
    """Be the first that is called at the end, before the libraries of the sinks close: the last to register is."""
    atexit.unregister(_end)
    atexit.register(_end)


def _end() -> None:
    flush(AT_EXIT_SECONDS)


def _forget() -> None:
    """After a fork: threads stay in the parent, and so does what it has yet to hand over."""
    global _lock
    _lock = threading.Lock()
    _lanes.clear()
    for sink in list(_own):
        del _own[sink]
        add(sink)


atexit.register(_end)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
