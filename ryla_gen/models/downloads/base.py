"""Define what a download is made of: where a file goes, its state, what was done. Must not connect or hash."""

from __future__ import annotations

import glob
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from ...errors import HashMismatchError, InvalidInputError, PlainData, RylaGenError, StorageFailedError
from ...support.counting import count_text
from ..weights_table import Weights

State = Literal["present", "missing", "partial", "wrong_size", "wrong_hash", "unverified"]
"""present: its hash was checked once and its size still fits. unverified: there, but its hash was not checked.
partial: begun, and continued by the next sync. wrong_hash: found by ``verify``, or the table names another file now."""

Stage = Literal["waiting", "checking", "downloading", "done", "failed"]
"""What a file is at while a sync runs."""

Outcome = Literal["already", "verified", "copied", "downloaded", "resumed", "failed"]
"""already: nothing to do. verified: it was there and only had to be hashed. copied: taken from the hub cache of this machine."""

PRIVATE = ".ryla"
"""Folder inside ``models`` for recorded hashes and locks; ComfyUI looks only into the folders it knows by name."""


def distinct(rows: Iterable[Weights]) -> list[Weights]:
    """Remove repeated rows: several workflows share files."""
    return list({row.label: row for row in rows}.values())


def target(row: Weights, models: Path) -> Path:
    """Return where the file belongs. Raises InvalidInputError for a name that leaves the folder (rows may come from plug-ins)."""
    name = PurePosixPath(row.label)
    if name.is_absolute() or ".." in name.parts or "\\" in str(name):
        raise InvalidInputError(f"The weights name {row.label!r} points outside the models folder.", details={"file": row.label})
    return models.joinpath(*name.parts)


def part_path(path: Path, identity: str) -> Path:
    """Return a file's temporary name: beside it, so that the rename stays on one filesystem even if a folder is a link."""
    return path.with_name(f".{path.name}.{identity}.part")


def parts_of(path: Path) -> list[Path]:
    """List every unfinished download of this file, of any revision."""
    return sorted(path.parent.glob(f".{glob.escape(path.name)}.*.part"))


@dataclass(frozen=True, slots=True)
class Origin:
    """One file at its source, at one commit."""

    url: str
    headers: Mapping[str, str] = field(repr=False)
    """May hold the token; the HTTP library drops it at a redirect to another host."""
    size: int | None
    sha256: str | None
    """What the hub says that the hash is; it says so for every large file."""
    etag: str
    commit: str | None


def total_of(response: Any) -> int | None:
    """Return the size of the whole file that an answer belongs to, if the answer has it."""
    total = str(response.headers.get("Content-Range", "")).rpartition("/")[2]
    if not total and response.status_code == 200:
        total = str(response.headers.get("Content-Length", ""))
    return int(total) if total.isdigit() else None


def row_details(row: Weights, revision: str | None) -> PlainData:
    """Return what an error says about the file that it is about; what follows a question mark may be a secret."""
    return {"file": row.file, "folder": row.folder, "repo": row.repo.partition("?")[0], "revision": revision}


LOCKED = "lock"
"""A row's ``sha256_source`` when a lock of a graph says what the hash is."""


def mismatch(row: Weights, message: str, hint: str, told: PlainData) -> RylaGenError:
    """Return the error for a file that is not the one that was named: of a lock, or of the table."""
    if row.sha256_source == LOCKED:
        move = f"ryla-gen graph lock FILE.json --update {shlex.quote(row.name)}"
        again = f"Compare its publisher's page with the lock. If the new file is right: {move}"
        return HashMismatchError(message, again, told)
    return StorageFailedError(message, hint, told)


@dataclass(frozen=True, slots=True)
class FileStatus:
    """One file of a models folder, as it was found."""

    row: Weights
    path: Path
    state: State
    bytes: int
    """On disk; of an unfinished download what is there so far."""
    expected_bytes: int | None
    sha256: str | None
    """What the hash must be: the table's, else the one recorded at the first download. None: not known yet."""
    actual_sha256: str | None = None
    """What it is, where it was computed."""

    def to_data(self) -> PlainData:
        """Return the status as plain data."""
        return {
            "file": self.row.label,
            "repo": self.row.repo,
            "state": self.state,
            "bytes": self.bytes,
            "expected_bytes": self.expected_bytes,
            "sha256": self.sha256,
            "actual_sha256": self.actual_sha256,
            "gated": self.row.gated,
            "licence": self.row.licence,
        }


@dataclass(frozen=True, slots=True)
class FileProgress:
    """One file while a sync or a verification runs."""

    file: str
    stage: Stage
    bytes: int
    total: int | None

    def to_data(self) -> PlainData:
        """Return the file's progress as plain data."""
        return {"file": self.file, "stage": self.stage, "bytes": self.bytes, "total": self.total}


@dataclass(frozen=True, slots=True)
class SyncProgress:
    """The whole, at most ten times a second, always from the caller's own thread."""

    bytes: int
    """In place or checked, of all files."""
    total: int
    """Of all files whose size is known and that did not fail; grows while sizes are looked up."""
    bytes_per_second: float
    """Over the last seconds; bytes that were on disk before do not count."""
    seconds_left: float | None
    """None as long as nothing moves."""
    files: tuple[FileProgress, ...]

    def to_data(self) -> PlainData:
        """Return the progress as plain data."""
        return {
            "bytes": self.bytes,
            "total": self.total,
            "bytes_per_second": self.bytes_per_second,
            "seconds_left": self.seconds_left,
            "files": [item.to_data() for item in self.files],
        }


@dataclass(frozen=True, slots=True)
class FileReport:
    """The outcome of a sync for one file."""

    row: Weights
    path: Path
    outcome: Outcome
    downloaded: int = 0
    """Bytes that came over the network."""
    seconds: float = 0.0
    error: RylaGenError | None = None
    fixed: Mapping[str, str] = field(default_factory=dict)
    """What was pending and is recorded now, to be held to ever after: the ``hash``, the ``commit``."""

    def to_data(self) -> PlainData:
        """Return the file's report as plain data."""
        return {
            "file": self.row.label,
            "repo": self.row.repo,
            "outcome": self.outcome,
            "downloaded": self.downloaded,
            "seconds": self.seconds,
            "fixed": dict(self.fixed),
            "error": self.error.to_data() if self.error else None,
        }


@dataclass(frozen=True, slots=True)
class Report:
    """The outcome of a sync, file by file, in the order of the rows."""

    files: tuple[FileReport, ...]
    seconds: float

    @property
    def failures(self) -> tuple[FileReport, ...]:
        """The files that are not in place, each with its error."""
        return tuple(item for item in self.files if item.error is not None)

    @property
    def ok(self) -> bool:
        """Whether every file is in place and verified."""
        return not self.failures

    @property
    def downloaded(self) -> int:
        """Bytes that came over the network."""
        return sum(item.downloaded for item in self.files)

    def raise_for_failures(self) -> None:
        """Raise the error of the one file that failed, or one error that names every failure."""
        if len(self.failures) == 1 and self.failures[0].error is not None:
            raise self.failures[0].error
        if self.failures:
            lines = "\n".join(f"  {item.row.label}: {item.error.message}" for item in self.failures if item.error)
            hints = dict.fromkeys(item.error.hint for item in self.failures if item.error)
            data = [item.to_data() for item in self.failures]
            raise StorageFailedError(
                f"{len(data)} of {count_text(len(self.files), 'file')} failed:\n{lines}", "\n  ".join(hints), {"failures": data}
            )

    def to_data(self) -> PlainData:
        """Return the report as plain data."""
        return {
            "ok": self.ok,
            "seconds": self.seconds,
            "downloaded": self.downloaded,
            "files": [item.to_data() for item in self.files],
        }
