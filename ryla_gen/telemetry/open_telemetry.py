"""Implement the sinks of OpenTelemetry: a span of each generation, and metrics.

They say what an event holds and nothing else, and export nothing themselves: the application decides where that goes. Names that
begin with ``gen_ai.`` are those of OpenTelemetry's conventions for generative AI (semantic conventions 1.44, status Development);
docs/telemetry.md lists them. The library is an extra, and is imported when a sink is built.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..version import __version__
from .events import Canceled, Completed, Failed, JobEvent, Requested, TelemetryEvent

if TYPE_CHECKING:
    from opentelemetry.trace import Span

MOST_OPEN = 10_000
"""Spans kept open: jobs that are submitted and never asked for again would pile up, so the oldest is dropped."""
NANOSECONDS = 1_000_000_000
NOT_ATTRIBUTES = ("type", "at", "job", "workflow", "backend", "seed", "output_kind")
"""Fields of an event that a span says in other ways: by its name, its times and attributes of its own."""
OPERATION = "generate_content"
"""The conventions' word for generating what is not only text. They have none for pictures or videos alone."""
LARGEST_NUMBER = 2**63 - 1
"""OpenTelemetry's integers are signed: a seed above this would keep a whole batch of spans from being exported."""
SECONDS_BUCKETS = tuple(0.01 * 2**power for power in range(19))
"""Bounds of seconds: the conventions' fourteen, to 82 s, and five more for videos, to 44 min."""


class SpanSink:
    """Makes a span of each generation, a child of the span in which it was asked for. Exports nothing itself.

    Raises:
        ImportError: the extra is not installed.
    """

    def __init__(self) -> None:
        from opentelemetry import trace

        self._tracer = trace.get_tracer("ryla_gen", __version__)
        self._error, self._kind = trace.StatusCode.ERROR, trace.SpanKind.CLIENT
        self._open: dict[str, Span] = {}

    def __call__(self, event: TelemetryEvent) -> None:
        """Open a span, end one, or note something in one."""
        if isinstance(event, Requested):
            self._open[event.job] = self._begin(event, event.at)
            if len(self._open) > MOST_OPEN:
                del self._open[next(iter(self._open))]
        elif isinstance(event, Completed | Failed | Canceled):
            self._end(event)
        elif isinstance(event, JobEvent):
            span = self._open.get(event.job)
            if span is not None:
                span.add_event(event.type, _attributes(event), _nanoseconds(event.at))
        else:
            seconds = float(event.to_data().get("seconds", 0.0))
            span = self._tracer.start_span(event.type, start_time=_nanoseconds(event.at - seconds), attributes=_attributes(event))
            span.end(_nanoseconds(event.at))

    def _begin(self, event: JobEvent, at: float) -> Span:
        names = {"ryla_gen.job": event.job, "ryla_gen.workflow": event.workflow, "ryla_gen.backend": event.backend}
        attributes = {**names, **_attributes(event), **describe_call(event), **_describe_fields(event)}
        name = f"{OPERATION} {event.workflow}"
        return self._tracer.start_span(name, kind=self._kind, start_time=_nanoseconds(at), attributes=attributes)

    def _end(self, event: Completed | Failed | Canceled) -> None:
        took = event.seconds if isinstance(event, Completed) else 0.0
        # A job that another process requested has no span yet: its start is computed from the duration in the event.
        span = self._open.pop(event.job, None) or self._begin(event, event.at - took)
        span.set_attributes({"ryla_gen.state": event.type, **_attributes(event)})
        if isinstance(event, Failed):
            span.set_attribute("error.type", event.code)
            span.set_status(self._error, event.fault.message)
        span.end(_nanoseconds(event.at))


class MetricSink:
    """Measures how long generations and their queues took, and adds up what they cost.

    Raises:
        ImportError: the extra is not installed.
    """

    def __init__(self) -> None:
        from opentelemetry import metrics

        meter = metrics.get_meter("ryla_gen", __version__)
        buckets: dict[str, Any] = {"unit": "s", "explicit_bucket_boundaries_advisory": SECONDS_BUCKETS}
        self._duration = meter.create_histogram(
            "gen_ai.client.operation.duration", description="Duration of a generation, from the request to its end.", **buckets
        )
        self._queued = meter.create_histogram(
            "ryla_gen.queue.duration", description="How long a generation waited behind other work.", **buckets
        )
        self._cost = meter.create_counter(
            "ryla_gen.cost", unit="{USD}", description="Cost of generations in US dollars, of those without a result too."
        )
        self._requested: dict[str, float] = {}

    def __call__(self, event: TelemetryEvent) -> None:
        """Note when a generation began, or measure one that ended."""
        if isinstance(event, Requested):
            self._requested[event.job] = event.at
            if len(self._requested) > MOST_OPEN:
                del self._requested[next(iter(self._requested))]
        elif isinstance(event, Completed | Failed | Canceled):
            self._measure(event, self._requested.pop(event.job, None))

    def _measure(self, event: Completed | Failed | Canceled, began: float | None) -> None:
        names = describe_call(event)
        if isinstance(event, Failed):
            names["error.type"] = event.code
        if isinstance(event, Completed) or event.cost_usd:
            self._cost.add(event.cost_usd, names)
        if isinstance(event, Completed):
            self._duration.record(event.seconds, names)
            if event.queued is not None:
                self._queued.record(event.queued, names)
        elif isinstance(event, Failed) and began is not None:  # how long it took is known where it was asked for
            self._duration.record(max(0.0, event.at - began), names)


def describe_call(event: JobEvent) -> dict[str, str]:
    """Return what was called, in the words of the conventions. A workflow stands for the model that it runs."""
    return {
        "gen_ai.operation.name": OPERATION,
        "gen_ai.provider.name": event.backend,
        "gen_ai.request.model": event.workflow,
    }


def _describe_fields(event: JobEvent) -> dict[str, str | int]:
    """Return the fields of a request for which the conventions have a name."""
    found: dict[str, str | int] = {}
    if isinstance(event, Requested):
        if event.seed is not None and event.seed <= LARGEST_NUMBER:
            found["gen_ai.request.seed"] = event.seed
        if event.output_kind is not None:
            found["gen_ai.output.type"] = event.output_kind
    return found


def _attributes(event: TelemetryEvent) -> Mapping[str, Any]:
    found = {name: value for name, value in event.to_data().items() if name not in NOT_ATTRIBUTES and value is not None}
    return {f"ryla_gen.{name}": list(value) if isinstance(value, tuple) else value for name, value in found.items()}


def _nanoseconds(at: float) -> int:
    return int(at * NANOSECONDS)
