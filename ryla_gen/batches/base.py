"""Define the parts of a batch: a row as it was written, a row that can run, and its outcome. Pure data: reads and runs nothing."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from ..errors import JobError, PlainData, RylaGenError
from ..workflows.base import Notice, Workflow

SHOWN_KEY = 8
"""Digits of the key in a file name that the row does not choose."""

UNANSWERED = frozenset({"backend_unreachable", "not_authorized", "backend_not_configured"})
"""Codes of a question without an answer: they say nothing about the job itself."""

RowState = Literal["succeeded", "failed"]


@dataclass(frozen=True, slots=True)
class Entry:
    """One row as it was written."""

    line: int
    """Where it stands in the list, for people."""
    workflow: Workflow
    output: str | None = None
    """Name of its file below the folder; chosen when absent."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row that can run."""

    line: int
    workflow: Workflow
    key: str
    """Hash of its content, pictures by their bytes; rows that are equal are told apart by their order."""
    target: str
    """Name of its file below the folder, perhaps without a suffix yet."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One row that cannot run."""

    line: int
    error: RylaGenError

    def to_data(self) -> PlainData:
        """Return the problem as plain data."""
        return {"line": self.line, **self.error.to_data()}


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of one row."""

    row: Row
    state: RowState
    job: str | None = None
    files: tuple[str, ...] = ()
    """Names below the folder."""
    uploads: tuple[str, ...] = ()
    """Addresses of what was uploaded instead of being saved."""
    warnings: tuple[Notice, ...] = ()
    seed: int | None = None
    cost_usd: float = 0.0
    seconds: float = 0.0
    error: RylaGenError | None = None

    def to_data(self) -> PlainData:
        """Return the outcome as plain data."""
        return {
            "line": self.row.line,
            "workflow": self.row.workflow.name,
            "state": self.state,
            "job": self.job,
            "files": list(self.files),
            "uploads": list(self.uploads),
            "warnings": [asdict(item) for item in self.warnings],
            "seed": self.seed,
            "cost_usd": self.cost_usd,
            "seconds": self.seconds,
            "error": self.error.to_data() if self.error else None,
        }


def left_open(error: RylaGenError) -> bool:
    """Whether a row's job may go on, or be done, after this error: its backend has to be asked before the row is sent again."""
    if error.started == "no":
        return False
    return bool(error.details.get("contact_lost")) or error.code in UNANSWERED or error.code == "server_unhealthy"


def is_gone(error: RylaGenError) -> bool:
    """Whether a backend that was asked again for a job has none to give: the row may be sent again."""
    if error.details.get("contact_lost") or error.details.get("maybe_taken"):
        return False
    return isinstance(error, JobError) or error.code == "server_unhealthy"


def chosen_name(line: int, workflow: Workflow, key: str) -> str:
    """Build a name that shows people which row it was, and that no other row can get, even after rows were added in between."""
    digest, _, number = key.partition("-")
    return f"{line:04d}-{workflow.name}-{digest[:SHOWN_KEY]}{f'-{number}' if number else ''}"


def numbered_path(path: Path, index: int, count: int, suffix: str) -> Path:
    """Return the file of one of several outputs, as ``Generation.save`` names them."""
    return path.with_name(f"{path.stem}{f'-{index}' if count > 1 else ''}{path.suffix or suffix}")


def below(path: Path, folder: Path) -> str:
    """Return a file's name below the folder, the same on every system."""
    return path.relative_to(folder).as_posix()
