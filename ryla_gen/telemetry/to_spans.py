"""Makes an OpenTelemetry span of each generation, a child of the span in which it was asked for. Exports nothing itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from opentelemetry import trace

from ..version import __version__
from .base import Canceled, Completed, Failed, Happening, OfJob, Requested

MOST_OPEN = 10_000
"""Spans kept open: of jobs that are handed in and never asked for again, the oldest is let go."""
NANOSECONDS = 1_000_000_000
UNTOLD = ("type", "at", "job", "workflow", "backend")


class Spans:
    """Keeps the spans of generations that run."""

    def __init__(self) -> None:
        self._tracer = trace.get_tracer("ryla_gen", __version__)
        self._open: dict[str, trace.Span] = {}

    def __call__(self, happening: Happening) -> None:
        """Open a span, end one, or note something in one."""
        if isinstance(happening, Requested):
            self._open[happening.job] = self._begun(happening, happening.at)
            if len(self._open) > MOST_OPEN:
                del self._open[next(iter(self._open))]
        elif isinstance(happening, Completed | Failed | Canceled):
            self._end(happening)
        elif isinstance(happening, OfJob):
            span = self._open.get(happening.job)
            if span is not None:
                span.add_event(happening.type, _attributes(happening), _nanoseconds(happening.at))
        else:
            seconds = float(happening.to_data().get("seconds", 0.0))
            span = self._tracer.start_span(
                happening.type, start_time=_nanoseconds(happening.at - seconds), attributes=_attributes(happening)
            )
            span.end(_nanoseconds(happening.at))

    def _begun(self, happening: OfJob, at: float) -> trace.Span:
        told = {"ryla_gen.job": happening.job, "ryla_gen.workflow": happening.workflow, "ryla_gen.backend": happening.backend}
        attributes = {**told, **_attributes(happening)}
        return self._tracer.start_span(f"generate {happening.workflow}", start_time=_nanoseconds(at), attributes=attributes)

    def _end(self, happening: Completed | Failed | Canceled) -> None:
        took = happening.seconds if isinstance(happening, Completed) else 0.0
        # A job that another process asked for has no span yet: it began when its time says.
        span = self._open.pop(happening.job, None) or self._begun(happening, happening.at - took)
        span.set_attributes({"ryla_gen.state": happening.type, **_attributes(happening)})
        if isinstance(happening, Failed):
            span.set_attribute("error.type", happening.code)
            span.set_status(trace.StatusCode.ERROR, happening.fault.message)
        span.end(_nanoseconds(happening.at))


def _attributes(happening: Happening) -> Mapping[str, Any]:
    found = {name: value for name, value in happening.to_data().items() if name not in UNTOLD and value is not None}
    return {f"ryla_gen.{name}": list(value) if isinstance(value, tuple) else value for name, value in found.items()}


def _nanoseconds(at: float) -> int:
    return int(at * NANOSECONDS)
