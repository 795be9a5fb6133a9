"""Implement the sinks of the log and of PostHog.

They write and send what an event holds and nothing else: what PostHog's library adds about the machine is taken out again. Their
libraries are extras, and are imported when a sink is built.
"""

from __future__ import annotations

import logging
import os
import uuid
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .events import (
    LOGGER,
    AppDeployed,
    Completed,
    ConsistencyMeasured,
    Failed,
    JobEvent,
    LoraLoaded,
    Requested,
    TelemetryEvent,
)

if TYPE_CHECKING:
    from ..settings import Settings

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
    found = _described(event)
    if found is None or not isinstance(event, JobEvent) or event.user is None:
        return found
    return found[0], {**found[1], "user": event.user}


def _described(event: TelemetryEvent) -> PostHogEvent | None:
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
    | {
        "error_message",
        "consistency_score",
        "lora_size_mb",
        "load_time_ms",
        "app_name",
        "models_installed",
        "deployment_time",
        "user",
    }
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
