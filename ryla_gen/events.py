"""Define what happens to a job while it lives, as a closed set of dataclasses made for ``match``.

Events only inform: the reply alone decides how a job ended, so a lost event loses no result.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from typing import Any, ClassVar, Literal

from .errors import RylaGenError
from .support.shapes import ShapeError, build

CONTRACT = 2
"""Version of every shape that crosses a process."""

State = Literal["queued", "running", "succeeded", "failed", "canceled", "expired"]
"""Where a job can be."""

FINAL_STATES: frozenset[State] = frozenset({"succeeded", "failed", "canceled", "expired"})
"""States that no job leaves."""
_STATES: Mapping[str, State] = {"job_canceled": "canceled", "job_expired": "expired"}
"""Code of an error → the state in which it leaves a job; every other error is a failure."""


def state_of_error(error: BaseException) -> State:
    """Return the final state in which an error leaves a job: the journal, webhooks and telemetry say the same."""
    if not isinstance(error, Exception):  # CancelledError, KeyboardInterrupt
        return "canceled"
    return _STATES.get(error.code, "failed") if isinstance(error, RylaGenError) else "failed"


def now() -> str:
    """Return the present time as the contract writes it: ISO 8601 in UTC, to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


@dataclass(frozen=True, slots=True)
class Event:
    """Base class of all events."""

    type: ClassVar[str] = "event"
    job: str = ""
    """Id of the job."""
    seq: int = 0
    """Counts from 0 per job; a gap means that previews were dropped."""
    at: str = field(default_factory=now)
    """When it happened, ISO 8601 UTC."""

    def to_data(self) -> dict[str, Any]:
        """Return the event as the contract's plain data."""
        own = {item.name: getattr(self, item.name) for item in fields(self)}
        return {"contract": CONTRACT, "job": own.pop("job"), "seq": own.pop("seq"), "at": own.pop("at"), "type": self.type, **own}


@dataclass(frozen=True, slots=True)
class Queued(Event):
    """The job waits for its turn."""

    type: ClassVar[str] = "queued"
    position: int = 0
    """How many jobs are before it."""


@dataclass(frozen=True, slots=True)
class Started(Event):
    """The graph began to run; again, when its container or its server was lost meanwhile."""

    type: ClassVar[str] = "started"
    cold_start: float = 0.0
    """Seconds the server needed to come up for this job; 0 when it was warm."""


@dataclass(frozen=True, slots=True)
class Progress(Event):
    """The graph made progress."""

    type: ClassVar[str] = "progress"
    fraction: float = 0.0
    """Share of the whole graph that is done, 0 to 1; falls only after a second start."""
    step: int = 0
    """Step of the current node."""
    steps: int = 0
    """Steps the current node will take."""
    node: str = ""
    """Class of the current node, such as KSampler."""


@dataclass(frozen=True, slots=True)
class Preview(Event):
    """A small picture of the unfinished result."""

    type: ClassVar[str] = "preview"
    media_type: str = "image/jpeg"
    data: bytes = b""
    """The encoded picture."""


@dataclass(frozen=True, slots=True)
class Finished(Event):
    """The job reached its final state: exactly once, last."""

    type: ClassVar[str] = "finished"
    state: State = "succeeded"


_BY_TYPE: dict[str, type[Event]] = {cls.type: cls for cls in (Queued, Started, Progress, Preview, Finished)}


def event_from_data(data: Mapping[str, Any]) -> Event | None:
    """Read an event; None for a type that a newer side sends, and for one of another shape. Unknown keys are ignored."""
    kind = data.get("type")
    cls = _BY_TYPE.get(kind) if isinstance(kind, str) else None
    try:
        return build(cls, data, "event") if cls is not None else None
    except ShapeError:
        return None
