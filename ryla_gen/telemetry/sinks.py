"""Implement the sinks that come with the package: the log, OpenTelemetry and PostHog.

They write and send what an event holds and nothing else: what PostHog's library adds about the machine is taken out again. Their
libraries are extras, and are imported when a sink is built.
"""

from __future__ import annotations

import logging
import os
import uuid
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..version import __version__
from .events import (
    LOGGER,
    AppDeployed,
    Canceled,
    Completed,
    ConsistencyMeasured,
    Failed,
    JobEvent,
    LoraLoaded,
    Requested,
    TelemetryEvent,
)

if TYPE_CHECKING:
    from opentelemetry.trace import Span

    from ..settings import Settings

MOST_OPEN = 10_000
"""Spans kept open: jobs that are submitted and never asked for again would pile up, so the oldest is dropped."""
NANOSECONDS = 1_000_000_000
NOT_ATTRIBUTES = ("type", "at", "job", "workflow", "backend")
"""Fields of an event that a span says in other ways: by its name, its times and three attributes of its own."""

SHORT_NAMES = {"flux_lora": "lora", "flux_instantid": "instantid"}
"""Workflows whose events do not have the workflow's own name."""
REQUESTED = ("prompt_length", "width", "height", "steps", "cfg", "has_seed")
OF_FACES = ("instantid_strength", "controlnet_strength", "face_provider")
LIBRARY = frozenset({"$lib", "$lib_version", "$geoip_disable", "$process_person_profile"})
"""Properties of the library that are sent: its name and version, and that PostHog must derive neither place nor person."""
ID_FILE = "telemetry_id"
"""File in the home folder with the random id under which events are counted."""
NAMESPACE = uuid.UUID("5b3f0d5e-7d57-4c0a-9c0e-3c1f1f5f7a10")
"""Namespace of the events' ids: PostHog counts an event once when two processes send it with the same id."""
SEND_SECONDS = 5.0
"""How long PostHog may take to answer a batch."""
RETRIES = 1
"""Further attempts at a batch; after them it is dropped."""
MOST_WAITING = 1000
"""Events that the library keeps while PostHog does not answer."""
MEGABYTE = 1_000_000

PostHogEvent = tuple[str, dict[str, Any]]
"""Name and properties."""

log = logging.getLogger(LOGGER)


def write_log(event: TelemetryEvent) -> None:
    """Log an event: a line for people; ``record.ryla_gen`` holds the fields for programs."""
    data = event.to_data()
    words = [event.type]
    if isinstance(event, JobEvent):
        words += [event.workflow, event.job]
    if isinstance(event, Failed):
        data |= {"error_type": event.fault.error_type, "error_message": event.fault.message}
        words += [f"{event.code}: {event.fault.message}"]
    words += [f"{data['seconds']:.3f} s"] if "seconds" in data else []
    log.info(" ".join(words), extra={"ryla_gen": data})


class SpanSink:
    """Makes a span of each generation, a child of the span in which it was asked for. Exports nothing itself.

    Raises:
        ImportError: the extra is not installed.
    """

    def __init__(self) -> None:
        from opentelemetry import trace

        self._tracer, self._error = trace.get_tracer("ryla_gen", __version__), trace.StatusCode.ERROR
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
        attributes = {**names, **_attributes(event)}
        return self._tracer.start_span(f"generate {event.workflow}", start_time=_nanoseconds(at), attributes=attributes)

    def _end(self, event: Completed | Failed | Canceled) -> None:
        took = event.seconds if isinstance(event, Completed) else 0.0
        # A job that another process requested has no span yet: its start is computed from the duration in the event.
        span = self._open.pop(event.job, None) or self._begin(event, event.at - took)
        span.set_attributes({"ryla_gen.state": event.type, **_attributes(event)})
        if isinstance(event, Failed):
            span.set_attribute("error.type", event.code)
            span.set_status(self._error, event.fault.message)
        span.end(_nanoseconds(event.at))


def _attributes(event: TelemetryEvent) -> Mapping[str, Any]:
    found = {name: value for name, value in event.to_data().items() if name not in NOT_ATTRIBUTES and value is not None}
    return {f"ryla_gen.{name}": list(value) if isinstance(value, tuple) else value for name, value in found.items()}


def _nanoseconds(at: float) -> int:
    return int(at * NANOSECONDS)


class PostHogSink:
    """Sends events to one PostHog project, under the names and properties of the system this one replaces.

    Args:
        settings: its key, its address, and under which id to count.

    Raises:
        ImportError: the extra is not installed.
    """

    def __init__(self, settings: Settings) -> None:
        try:
            from posthog import Posthog
        except ModuleNotFoundError:
            hint = "RYLA_GEN_POSTHOG_KEY is set, but the library is missing. Install it: pip install 'ryla-gen[posthog]'"
            raise ImportError(hint) from None
        # Without this, Python writes the library's complaints to stderr where logging is not configured.
        logging.getLogger("posthog").addHandler(logging.NullHandler())
        self._id = settings.posthog_distinct_id or random_id(settings.home)
        self._client = Posthog(
            settings.posthog_key or "",
            host=settings.posthog_host,
            max_queue_size=MOST_WAITING,
            timeout=SEND_SECONDS,
            max_retries=RETRIES,
            gzip=True,
            disable_geoip=True,
            enable_exception_autocapture=False,
            before_send=keep_own_properties,
        )

    def __call__(self, event: TelemetryEvent) -> None:
        """Add an event to the library's queue."""
        found = posthog_event(event)
        if found is None:
            return
        name, properties = found
        subject = event.job if isinstance(event, JobEvent) else str(uuid.uuid4())
        self._client.capture(
            name,
            distinct_id=self._id,
            properties={**properties, "$process_person_profile": False},
            timestamp=datetime.fromtimestamp(event.at, UTC),
            uuid=str(uuid.uuid5(NAMESPACE, f"{subject} {name} {properties.get('lora_id', '')}")),
        )

    def flush(self, seconds: float) -> None:
        """Send the events that wait, or give up after so many seconds."""
        self._client.flush(timeout_seconds=seconds)


def posthog_event(event: TelemetryEvent) -> PostHogEvent | None:
    """Return the name and the exact properties; None for an event that PostHog does not get, such as a canceled job."""
    properties: dict[str, Any]
    match event:
        case Requested():
            return f"modal_{_short(event)}_generation_requested", _request_properties(event)
        case Completed():
            return f"modal_{_short(event)}_generation_completed", _result_properties(event)
        case Failed():
            message = f"{event.code}: {event.fault.message}"
            properties = {"workflow_type": event.workflow, "error_type": event.fault.error_type, "error_message": message}
            return f"modal_{_short(event)}_generation_failed", properties
        case ConsistencyMeasured():
            properties = {"consistency_score": event.score, "generation_time_ms": _milliseconds(event.seconds)}
            return "modal_instantid_face_consistency_measured", properties
        case LoraLoaded():
            size, took = round(event.size / MEGABYTE, 3), _milliseconds(event.seconds)
            return "modal_lora_loaded", {"lora_id": event.lora_id, "lora_size_mb": size, "load_time_ms": took}
        case AppDeployed():
            models = None if event.models is None else list(event.models)
            properties = {"app_name": event.app, "models_installed": models, "deployment_time": round(event.seconds, 3)}
            return "modal_app_deployed", properties
    return None


def _request_properties(event: Requested) -> dict[str, Any]:
    held = event.to_data()
    names = [*REQUESTED, *(name for name in OF_FACES if held[name] is not None)]
    return {"workflow_type": event.workflow, **{name: held[name] for name in names}}


def _result_properties(event: Completed) -> dict[str, Any]:
    properties = {"workflow_type": event.workflow, "generation_time_ms": _milliseconds(event.seconds), "success": True}
    if event.lora_ids:
        properties |= {"lora_id": ",".join(event.lora_ids), "lora_strength": event.lora_strength}
    return properties


def _short(event: JobEvent) -> str:
    return SHORT_NAMES.get(event.workflow, event.workflow)


def _milliseconds(seconds: float) -> int:
    return round(seconds * 1000)


def keep_own_properties(message: dict[str, Any]) -> dict[str, Any]:
    """Remove the properties that the library added: operating system, Python, tags of other parts of the application."""
    held: dict[str, Any] = message.get("properties") or {}
    kept = {name: value for name, value in held.items() if name in OWN_PROPERTIES or name in LIBRARY}
    return {**message, "properties": kept}


OWN_PROPERTIES = frozenset(
    {"workflow_type", *REQUESTED, *OF_FACES, "generation_time_ms", "success", "lora_id", "lora_strength", "error_type"}
    | {"error_message", "consistency_score", "lora_size_mb", "load_time_ms", "app_name", "models_installed", "deployment_time"}
)
"""Every property that is ever sent."""


def random_id(home: Path) -> str:
    """Return the id of this home: random, made once, no personal data. Where it cannot be kept, another one each time."""
    file = home / ID_FILE
    with suppress(OSError, ValueError):
        return str(uuid.UUID(file.read_text(encoding="ascii").strip()))
    fresh = str(uuid.uuid4())
    temporary = home / f".{ID_FILE}-{fresh}.tmp"
    with suppress(OSError):
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            temporary.write_text(fresh + "\n", encoding="ascii")
            temporary.chmod(0o600)
            os.link(temporary, file)  # fails when another process was first: then its id holds
        except FileExistsError:
            return _reread(file, fresh)
        finally:
            temporary.unlink(missing_ok=True)
    return fresh


def _reread(file: Path, fresh: str) -> str:
    """Return the id that another process wrote meanwhile; a file that holds no id is written again."""
    try:
        return str(uuid.UUID(file.read_text(encoding="ascii").strip()))
    except ValueError:
        file.write_text(fresh + "\n", encoding="ascii")
        return fresh
