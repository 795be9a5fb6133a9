"""Count requests from start to completion, by workflow, from the journal. Reads records; opens no file and runs nothing."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

from ...history import JobEnd
from ...telemetry import FAULTS
from .statistics import Spread, share, spread

FAILED = frozenset({"failed", "expired"})
"""States of jobs that failed: in an error, or with the process or server that held them."""
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
    """Completed of those that completed or failed; what was canceled counts for neither. None before any ended."""
    seconds: Spread
    """From the request to the end, of those that completed."""
    errors: dict[str, int] = field(default_factory=dict)
    """Failures by type: timeout, model_error, workflow_error."""
    codes: dict[str, int] = field(default_factory=dict)
    """Failures by error code."""

    def to_data(self) -> dict[str, Any]:
        """Return it as plain data."""
        return asdict(self)


@dataclass(slots=True)
class _Counts:
    """The counts of one workflow, or of all."""

    requested: int = 0
    emulated: int = 0
    states: Counter[str] = field(default_factory=Counter)
    codes: Counter[str] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)

    def add(self, end: JobEnd) -> None:
        """Count a job."""
        self.requested += 1
        self.emulated += end.backend == "emulator"
        self.states[end.state] += 1
        if end.seconds is not None:
            self.seconds.append(end.seconds)
        if end.state in FAILED:
            self.codes[end.code or ("job_expired" if end.state == "expired" else "internal")] += 1

    def merge(self, other: _Counts) -> None:
        """Add the counts of another workflow."""
        self.requested += other.requested
        self.emulated += other.emulated
        self.states += other.states
        self.codes += other.codes
        self.seconds += other.seconds


def funnel(ends: Iterable[JobEnd]) -> list[Stage]:
    """Count jobs by workflow, the most used first; the last one is of all, when there are several."""
    counted: defaultdict[str, _Counts] = defaultdict(_Counts)
    for end in ends:
        counted[end.workflow].add(end)
    stages = sorted((_stage(name, found) for name, found in counted.items()), key=lambda item: (-item.requested, item.workflow))
    if len(stages) > 1:
        every = _Counts()
        for found in counted.values():
            every.merge(found)
        stages.append(_stage(ALL, every))
    return stages


def _stage(name: str, found: _Counts) -> Stage:
    states, failed = found.states, found.codes.total()
    types = Counter(FAULTS.get(code, FAULTS["internal"]).error_type for code in found.codes.elements())
    return Stage(
        workflow=name,
        requested=found.requested,
        completed=states["succeeded"],
        failed=failed,
        canceled=states["canceled"],
        open=states["queued"] + states["running"],
        emulated=found.emulated,
        success_rate=share(states["succeeded"], states["succeeded"] + failed).rate,
        seconds=spread(found.seconds),
        errors=dict(types.most_common()),
        codes=dict(found.codes.most_common()),
    )
