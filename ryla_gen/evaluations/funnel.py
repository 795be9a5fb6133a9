"""From requested to completed, by workflow, as the journal tells it. Reads records; opens no file and runs nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from ..history import Record
from ..hooks import FAULTS
from .statistics import Spread, share, spread

ALL = "all"
"""Name of the row that sums up the others."""


@dataclass(frozen=True, slots=True)
class Stage:
    """The funnel of one workflow, or of all."""

    workflow: str
    requested: int
    completed: int
    failed: int
    """Ended in an error, or expired with the process or server that held it."""
    canceled: int
    open: int
    """Queued, running, or handed in and never asked for again."""
    emulated: int
    """How many of the requested ran on the emulator."""
    success_rate: float | None
    """Completed of those that completed or failed; what was cancelled counts for neither. None before any ended."""
    seconds: Spread
    """From the request to the end, of those that completed."""
    errors: dict[str, int] = field(default_factory=dict)
    """Failures by type: timeout, model_error, workflow_error."""
    codes: dict[str, int] = field(default_factory=dict)
    """Failures by error code."""

    def to_data(self) -> dict[str, Any]:
        """Return it as plain data."""
        return asdict(self)


def funnel(records: Iterable[Record]) -> list[Stage]:
    """Count records by workflow, the most used first; the last one is of all, when there are several.

    A job made of others (a character sheet) counts as those others.
    """
    records = list(records)
    parents = {record.parent for record in records}
    records = [record for record in records if record.id not in parents]
    by_workflow: dict[str, list[Record]] = {}
    for record in records:
        by_workflow.setdefault(record.workflow, []).append(record)
    stages = sorted((_stage(name, found) for name, found in by_workflow.items()), key=lambda item: (-item.requested, item.workflow))
    if len(stages) > 1:
        stages.append(_stage(ALL, [record for found in by_workflow.values() for record in found]))
    return stages


def _stage(name: str, records: Sequence[Record]) -> Stage:
    states = Counter(record.state for record in records)
    failures = [record for record in records if record.state in ("failed", "expired")]
    codes = Counter(_code(record) for record in failures)
    types = Counter(FAULTS.get(code, FAULTS["internal"]).error_type for code in codes.elements())
    completed = states["succeeded"]
    return Stage(
        workflow=name,
        requested=len(records),
        completed=completed,
        failed=len(failures),
        canceled=states["canceled"],
        open=states["queued"] + states["running"],
        emulated=sum(record.backend == "emulator" for record in records),
        success_rate=share(completed, completed + len(failures)).rate,
        seconds=spread([took for record in records if (took := _seconds(record)) is not None]),
        errors=dict(types.most_common()),
        codes=dict(codes.most_common()),
    )


def _code(record: Record) -> str:
    if record.error and record.error.get("code"):
        return str(record.error["code"])
    return "job_expired" if record.state == "expired" else "internal"


def _seconds(record: Record) -> float | None:
    """How long a completed job took, as its caller saw it."""
    if record.state != "succeeded" or record.finished_at is None:
        return None
    try:
        return (datetime.fromisoformat(record.finished_at) - datetime.fromisoformat(record.created_at)).total_seconds()
    except (ValueError, TypeError):  # another program wrote into the journal
        return None
