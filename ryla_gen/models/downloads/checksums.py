"""Keep the verified hashes of a models folder in ``.ryla/weights.json``, and hold files to them. Must not use the network."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any
from uuid import uuid4

from filelock import Timeout

from ...errors import StorageFailedError
from ...support.file_locks import file_lock
from ..weights_table import Weights
from .base import PRIVATE
from .retry import CancelToken

VERSION = 1
"""Of the file's shape."""
POLL = 0.2
"""Seconds between two tries for a lock that another process holds; short enough for Ctrl-C."""


@dataclass(frozen=True, slots=True)
class ChecksumRecord:
    """One file that was hashed in this folder and found right."""

    repo: str
    revision: str | None
    """Commit that it came from; a row without a commit stays with this one."""
    file: str
    bytes: int
    sha256: str
    source: str
    """Source of this hash: ``table``, ``hub``, or ``first`` (none is published: it is what came at the first download)."""
    at: str
    sound: bool = True
    """False after ``verify`` found other bytes than these; the next sync replaces the file."""
    placed: bool | None = None
    """Whether a download put the file there; False where it was found there. None in records of versions that did not say."""

    def holds(self, row: Weights) -> bool:
        """Whether this is still the file that the row asks for."""
        if row.sha256:
            return row.sha256 == self.sha256
        return (row.repo, row.file) == (self.repo, self.file) and row.revision in (None, self.revision)


class Records:
    """The recorded hashes of one models folder; several processes may write at once."""

    def __init__(self, models: Path) -> None:
        self.path = models / PRIVATE / "weights.json"
        self.locks = models / PRIVATE / "locks"
        self.written = 0
        """Records put through this object."""

    def all(self) -> dict[str, ChecksumRecord]:
        """Return every record by the file's label; empty where nothing was ever recorded."""
        try:
            data = json.loads(self.path.read_text(encoding="utf-8"))
            return {name: _record(item) for name, item in data["files"].items()}
        except FileNotFoundError:
            return {}
        except NotADirectoryError as error:
            file = next(place for place in (self.path.parent, *self.path.parents) if place.is_file())
            hint = "Move it away." if file.name == PRIVATE else "Name the folder that contains the models: --local DIR"
            raise StorageFailedError(f"{file} is a file, but must be a folder.", hint) from error
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            hint = f"Move {self.path} away and run `ryla-gen weights verify`: it hashes every file and writes it again."
            raise StorageFailedError(f"The recorded hashes in {self.path} cannot be read: {error}", hint) from error

    def put(self, row: Weights, record: ChecksumRecord, stop: CancelToken) -> None:
        """Add or replace one record."""
        with self.lock("records", stop):
            everything = {**self.all(), row.label: record}
            data = {"version": VERSION, "files": {name: asdict(item) for name, item in sorted(everything.items())}}
            fresh = self.path.with_name(f"{self.path.name}.{uuid4().hex[:8]}.part")
            try:
                fresh.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
                fresh.replace(self.path)
                self.written += 1
            except OSError:
                fresh.unlink(missing_ok=True)
                raise

    @contextmanager
    def lock(self, name: str, stop: CancelToken) -> Iterator[None]:
        """Keep other processes and threads from the same file; the system frees it when its holder dies."""
        self.locks.mkdir(parents=True, exist_ok=True)
        lock = file_lock(self.locks / f"{hashlib.sha256(name.encode()).hexdigest()[:16]}.lock")
        while True:
            stop.check()
            try:
                lock.acquire(timeout=POLL, poll_interval=POLL / 4)
                break
            except Timeout:
                continue
        try:
            yield
        finally:
            lock.release()


def _record(data: dict[str, Any]) -> ChecksumRecord:
    known = {field.name for field in fields(ChecksumRecord)}
    return ChecksumRecord(**{name: value for name, value in data.items() if name in known})
