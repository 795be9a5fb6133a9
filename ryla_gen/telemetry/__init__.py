"""Send events of generations to ``logging``, PostHog, OpenTelemetry, and your own functions.

>>> from ryla_gen import telemetry
>>> telemetry.add(lambda event: print(event.to_data()))

Emitting an event never waits, never raises, and loads nothing where no sink listens. See docs/telemetry.md.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

from .dispatch import add, count_dropped, emit, flush, has_listeners, remove
from .events import (
    FAULTS,
    AppDeployed,
    Canceled,
    Completed,
    ConsistencyMeasured,
    ErrorType,
    Failed,
    Fault,
    JobEvent,
    LoraLoaded,
    Requested,
    Sink,
    TelemetryEvent,
    describe_end,
    describe_failure,
    describe_request,
    describe_result,
)

__all__ = [
    "FAULTS",
    "AppDeployed",
    "Canceled",
    "Completed",
    "ConsistencyMeasured",
    "ErrorType",
    "Failed",
    "Fault",
    "JobEvent",
    "LoraLoaded",
    "Requested",
    "Sink",
    "TelemetryEvent",
    "add",
    "count_dropped",
    "describe_end",
    "describe_failure",
    "describe_request",
    "describe_result",
    "emit",
    "flush",
    "has_listeners",
    "remove",
]

RENAMED = {
    "Happening": "TelemetryEvent",
    "OfJob": "JobEvent",
    "dropped": "count_dropped",
    "failed": "describe_failure",
    "listening": "has_listeners",
    "requested": "describe_request",
    "settled": "describe_end",
    "succeeded": "describe_result",
    "tell": "emit",
}
"""Former names, which work for one release more."""

if TYPE_CHECKING:  # sinks that were annotated with the former names are still checked
    Happening, OfJob = TelemetryEvent, JobEvent
    failed, listening, requested, settled = describe_failure, has_listeners, describe_request, describe_end
    succeeded, tell = describe_result, emit
else:

    def __getattr__(name: str) -> object:
        if name not in RENAMED:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        text = f"{__name__}.{name} is now {RENAMED[name]}; the old name stops working in ryla_gen 0.3.0."
        warnings.warn(text, DeprecationWarning, stacklevel=2)
        return globals()[RENAMED[name]]
