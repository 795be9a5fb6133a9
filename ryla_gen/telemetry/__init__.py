"""What happens, told to whoever wants to know: ``logging``, PostHog, OpenTelemetry, and functions of your own.

>>> from ryla_gen import hooks
>>> hooks.add(lambda happening: print(happening.to_data()))

Telling never waits, never raises, and loads nothing where nobody listens. See docs/telemetry.md.
"""

from __future__ import annotations

from .base import AppDeployed, Canceled, Completed, ConsistencyMeasured, Failed, Happening, LoraLoaded, OfJob, Requested, Sink
from .dispatch import add, dropped, flush, listening, remove, tell
from .error_types import FAULTS, ErrorType, Fault
from .payloads import failed, requested, settled, succeeded

__all__ = [
    "FAULTS",
    "AppDeployed",
    "Canceled",
    "Completed",
    "ConsistencyMeasured",
    "ErrorType",
    "Failed",
    "Fault",
    "Happening",
    "LoraLoaded",
    "OfJob",
    "Requested",
    "Sink",
    "add",
    "dropped",
    "failed",
    "flush",
    "listening",
    "remove",
    "requested",
    "settled",
    "succeeded",
    "tell",
]
