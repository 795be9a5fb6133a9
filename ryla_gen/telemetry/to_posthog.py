"""Sends what happens to PostHog through its official library, under the names and properties of the system this one replaces.

Sends these properties and no others: what the library adds about the machine is taken out again.
"""

from __future__ import annotations

import logging
import os
import uuid
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .base import AppDeployed, Completed, ConsistencyMeasured, Failed, Happening, LoraLoaded, OfJob, Requested

if TYPE_CHECKING:
    from ..settings import Settings

SHORT_NAMES = {"flux_lora": "lora", "flux_instantid": "instantid"}
"""Workflows whose events have another name than theirs."""
REQUESTED = ("prompt_length", "width", "height", "steps", "cfg", "has_seed")
OF_FACES = ("instantid_strength", "controlnet_strength", "face_provider")
LIBRARY = frozenset({"$lib", "$lib_version", "$geoip_disable", "$process_person_profile"})
"""What of the library's own properties is sent: its name and version, and that neither place nor person is to be made of it."""
ID_FILE = "telemetry_id"
"""File in the home folder with the random id under which events are counted."""
NAMESPACE = uuid.UUID("5b3f0d5e-7d57-4c0a-9c0e-3c1f1f5f7a10")
"""Ground of the events' ids: the same event of a job has one id, so PostHog counts it once whoever tells it."""
SEND_SECONDS = 5.0
"""How long PostHog may take to answer a batch."""
RETRIES = 1
"""Further attempts at a batch; then it is given up."""
MOST_WAITING = 1000
"""Events that the library keeps while PostHog does not answer."""
MEGABYTE = 1_000_000

Event = tuple[str, dict[str, Any]]
"""Name and properties."""


class PostHog:
    """One PostHog project.

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
        # Without this, Python writes the library's complaints to stderr where nobody configured logging.
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
            before_send=only_ours,
        )

    def __call__(self, happening: Happening) -> None:
        """Put it into the library's queue."""
        found = event_of(happening)
        if found is None:
            return
        name, properties = found
        about = happening.job if isinstance(happening, OfJob) else str(uuid.uuid4())
        self._client.capture(
            name,
            distinct_id=self._id,
            properties={**properties, "$process_person_profile": False},
            timestamp=datetime.fromtimestamp(happening.at, UTC),
            uuid=str(uuid.uuid5(NAMESPACE, f"{about} {name} {properties.get('lora_id', '')}")),
        )

    def flush(self, seconds: float) -> None:
        """Send what waits, or give up after so many seconds."""
        self._client.flush(timeout_seconds=seconds)


def event_of(happening: Happening) -> Event | None:
    """Return the event's name and exact properties; None for what has none, such as a canceled job."""
    told: dict[str, Any]
    match happening:
        case Requested():
            return f"modal_{_short(happening)}_generation_requested", _asked(happening)
        case Completed():
            return f"modal_{_short(happening)}_generation_completed", _done(happening)
        case Failed():
            message = f"{happening.code}: {happening.fault.message}"
            told = {"workflow_type": happening.workflow, "error_type": happening.fault.error_type, "error_message": message}
            return f"modal_{_short(happening)}_generation_failed", told
        case ConsistencyMeasured():
            told = {"consistency_score": happening.score, "generation_time_ms": _milliseconds(happening.seconds)}
            return "modal_instantid_face_consistency_measured", told
        case LoraLoaded():
            size, took = round(happening.size / MEGABYTE, 3), _milliseconds(happening.seconds)
            return "modal_lora_loaded", {"lora_id": happening.lora_id, "lora_size_mb": size, "load_time_ms": took}
        case AppDeployed():
            models = None if happening.models is None else list(happening.models)
            told = {"app_name": happening.app, "models_installed": models, "deployment_time": round(happening.seconds, 3)}
            return "modal_app_deployed", told
    return None


def _asked(happening: Requested) -> dict[str, Any]:
    held = happening.to_data()
    names = [*REQUESTED, *(name for name in OF_FACES if held[name] is not None)]
    return {"workflow_type": happening.workflow, **{name: held[name] for name in names}}


def _done(happening: Completed) -> dict[str, Any]:
    told = {"workflow_type": happening.workflow, "generation_time_ms": _milliseconds(happening.seconds), "success": True}
    if happening.lora_ids:
        told |= {"lora_id": ",".join(happening.lora_ids), "lora_strength": happening.lora_strength}
    return told


def _short(happening: OfJob) -> str:
    return SHORT_NAMES.get(happening.workflow, happening.workflow)


def _milliseconds(seconds: float) -> int:
    return round(seconds * 1000)


def only_ours(message: dict[str, Any]) -> dict[str, Any]:
    """Take out what the library added: operating system, Python, and tags of other parts of the application."""
    held: dict[str, Any] = message.get("properties") or {}
    kept = {name: value for name, value in held.items() if name in OURS or name in LIBRARY}
    return {**message, "properties": kept}


OURS = frozenset(
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
            return _kept(file, fresh)
        finally:
            temporary.unlink(missing_ok=True)
    return fresh


def _kept(file: Path, fresh: str) -> str:
    """What another process wrote meanwhile; a file that holds no id is written again."""
    try:
        return str(uuid.UUID(file.read_text(encoding="ascii").strip()))
    except ValueError:
        file.write_text(fresh + "\n", encoding="ascii")
        return fresh
