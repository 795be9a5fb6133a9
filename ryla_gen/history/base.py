"""Define one job of the journal, and how its fields are kept in SQLite's columns. Must not open a file."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from .. import media
from ..errors import InvalidInputError
from ..events import FINAL_STATES

JSON_COLUMNS = frozenset({"inputs", "error", "outputs", "tags", "skipped", "saved"})
"""Columns that hold JSON."""
NUMBER_COLUMNS = frozenset({"gpu_seconds", "cost_usd", "reserved_usd"})
"""Columns that hold numbers; all others hold text."""
TEXT_COLUMNS = frozenset(
    {
        "handle",
        "backend",
        "state",
        "seed",
        "started_at",
        "finished_at",
        "gpu",
        "parent",
        "expires_at",
        "server",
        "process",
        "output_to",
    }
)
"""Columns of text that may change after a job was recorded."""
CHANGEABLE_COLUMNS = TEXT_COLUMNS | JSON_COLUMNS | NUMBER_COLUMNS
"""Columns that may change after a job was recorded."""
FORGOTTEN = "forgotten-"
"""Beginning of the id of what stays of a forgotten job that cost money: its workflow, backend, state, day, seconds and cost."""
NOT_FORGOTTEN = f"id NOT GLOB '{FORGOTTEN}*'"
"""SQL of a job of which all is known."""
HELD = f"expires_at > ? AND state NOT IN ({', '.join(map(repr, sorted(FINAL_STATES)))})"
"""SQL of a job that counts as under way: it has not ended, nor outlived its time. So jobs whose process died end, too."""


@dataclass(frozen=True, slots=True)
class Record:
    """One job as the journal knows it."""

    id: str
    """The job's uuid4."""
    handle: str | None
    """The backend's own name for it, once it has it."""
    backend: str
    """Where it was sent."""
    workflow: str
    """Name of its workflow."""
    inputs: dict[str, Any]
    """Its fields; a picture is ``{"sha256", "bytes"}``."""
    state: str
    """Its state, as far as this machine knows."""
    error: dict[str, Any] | None
    """What went wrong, as the contract writes errors."""
    seed: int | None
    """Its seed."""
    created_at: str
    """When it was submitted; ISO 8601 UTC, like all times here."""
    started_at: str | None
    """When the graph began to run."""
    finished_at: str | None
    """When it ended."""
    gpu: str | None
    """Name of the GPU."""
    gpu_seconds: float | None
    """Seconds that the graph held the GPU."""
    cost_usd: float | None
    """US dollars."""
    outputs: list[Any] = field(default_factory=list)
    """Its files: name, media type, size."""
    tags: list[str] = field(default_factory=list)
    """Words under which it is found again."""
    parent: str | None = None
    """The job that it belongs to."""
    reserved_usd: float | None = None
    """US dollars that it holds of the day's budget until it ends."""
    expires_at: str | None = None
    """When the reservation expires if the owning process died before recording the outcome."""
    skipped: list[Any] = field(default_factory=list)
    """Backends that refused it before anything started: ``{"backend", "code", "message"}``."""
    saved: list[Any] = field(default_factory=list)
    """Where its files were saved on this machine."""
    server: str | None = None
    """Address of the server of one's own that it was sent to, without credentials."""
    process: str | None = None
    """The process that sent it, as :func:`this_process` names it."""
    output_to: str | None = None
    """The bucket that its files go to; signed addresses are not kept."""
    user: str | None = None
    """The user of your app for whom it ran: the id, or its hash (``hmac:…``)."""


Records = list[Record]
"""Outside of History, whose method ``list`` hides the builtin."""
_KINDS: tuple[tuple[str, Any], ...] = (
    ("inputs", dict),
    ("error", dict),
    ("outputs", list),
    ("tags", list),
    ("skipped", list),
    ("saved", list),
)
"""JSON column → what it holds."""
_raw_decode = json.JSONDecoder().raw_decode
"""Half the time of ``json.loads``, which skips white space that these columns do not have."""
LONGEST_SEED = 20
"""Digits of 2**64 - 1."""
_AGO = re.compile(r"(\d{1,6})([mhdw])")
_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
COLUMNS = tuple(Record.__dataclass_fields__)


def to_timestamp(when: str | datetime) -> str:
    """Format a date or time as the journal does, so that texts compare as times; without a zone it is local time.

    Args:
        when: ``2026-01-31``, ``2026-01-31T18:30:00Z``, or how long ago: ``90m``, ``24h``, ``7d``, ``4w``.

    Raises:
        InvalidInputError: it is not a valid date or time.

    """
    try:
        ago = _AGO.fullmatch(when.strip()) if isinstance(when, str) else None
        if ago:
            when = datetime.now(UTC) - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
        moment = datetime.fromisoformat(when) if isinstance(when, str) else when
        return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    except (ValueError, OverflowError):
        hint = "Write it as 2026-01-31, 2026-01-31T18:30:00Z, or as an age such as 24h, 7d or 4w."
        raise InvalidInputError(f"{when!r} is not a valid date or time.", hint) from None


def where_clause(since: str | datetime | None, saved_in: Path | None = None, **columns: str | None) -> tuple[str, tuple[str, ...]]:
    """Return SQL terms that choose jobs by their columns, and what the terms compare with; None chooses nothing.

    Raises:
        InvalidInputError: ``since`` is not a valid date or time.

    """
    terms = {f"{name} = ?": text(value) for name, value in columns.items() if value is not None}
    if since is not None:
        terms["created_at >= ?"] = to_timestamp(since)
    if saved_in is not None:  # a rough filter, since the column holds JSON; the caller compares whole paths in the records
        terms["instr(saved, ?)"] = json.dumps(str(saved_in))[1:-1]
    return " AND ".join(terms), tuple(terms.values())


def text(value: Any) -> str:
    """Write a value as text that SQLite takes."""
    return str(value).encode("utf-8", "replace").decode()  # SQLite refuses lone surrogates


def to_column(name: str, value: Any) -> Any:
    """Turn a field into what its column holds."""
    if value is None:
        return None
    if name in JSON_COLUMNS:
        return json.dumps(_plain(value), separators=(",", ":"))
    if name in NUMBER_COLUMNS:
        return float(value)
    return text(value)  # the seed too: 2**64 - 1 is beyond SQLite's integers


def _plain(value: Any) -> Any:
    """Convert to plain data without bytes: a picture becomes its hash and size, however it was given."""
    if isinstance(value, bytes | bytearray | memoryview):
        return media.describe(bytes(value))
    if isinstance(value, str):
        return media.describe(value.encode("utf-8", "replace")) if media.is_data_url(value) else value
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, bool | int) or (isinstance(value, float) and math.isfinite(value)):
        return value
    return str(value)


def record_of(row: tuple[Any, ...]) -> Record:
    """Read a row of :data:`COLUMNS`."""
    held = dict(zip(COLUMNS, row, strict=True))
    for name, kind in _KINDS:
        held[name] = from_column(held[name], kind)
    held["error"] = held["error"] or None
    seed = held["seed"]
    held["seed"] = int(seed) if isinstance(seed, str) and len(seed) <= LONGEST_SEED and seed.isdecimal() else None
    return Record(**held)


def from_column(held: Any, kind: type[dict[str, Any]] | type[list[Any]]) -> Any:
    """Read a JSON column; what is damaged, or was written by another program as something else, is empty."""
    if not held or held == "[]" or not isinstance(held, str):
        return kind()
    try:
        found, end = _raw_decode(held)
    except (ValueError, RecursionError):
        return kind()
    return found if isinstance(found, kind) and end == len(held) else kind()
