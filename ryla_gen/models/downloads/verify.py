"""Check a models folder: what is there, what is missing, what is wrong. Must not download."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from ...errors import StorageFailedError
from ..weights_table import Weights
from .base import FileStatus, State, SyncProgress, distinct, parts_of, target
from .checksums import ChecksumRecord, Records
from .progress import Board
from .retry import CancelToken, sha256_of

HASHERS = 2
"""Files hashed at once by ``verify``: SHA-256 runs at the speed of a disk, and a second file fills its pauses."""


def look(row: Weights, models: Path, record: ChecksumRecord | None) -> FileStatus:
    """Check one file by size and recorded hash, without reading it."""
    path = target(row, models)
    held = record if record is not None and record.holds(row) else None
    sha256 = row.sha256 or (held.sha256 if held else None)
    expected = row.bytes if row.bytes is not None else held.bytes if held else None

    def found(state: State, size: int) -> FileStatus:
        return FileStatus(row, path, state, size, expected, sha256)

    if not path.is_file():
        begun = sum(part.stat().st_size for part in parts_of(path))
        return found("partial" if begun else "missing", begun)
    size = path.stat().st_size
    if expected is not None and size != expected:
        return found("wrong_size", size)
    if (record is not None and held is None and row.sha256) or (held is not None and not held.sound):
        return found("wrong_hash", size)
    if held is not None and size == held.bytes:
        return found("present", size)
    return found("unverified", size)


def status(rows: Iterable[Weights], models: Path) -> list[FileStatus]:
    """Return the state of each file, by its size and by the hash recorded at its download; hashes nothing, so it is fast.

    Args:
        rows: The files to look for; repetitions are dropped.
        models: ComfyUI's models folder; need not exist.

    """
    records = Records(models).all()
    return [look(row, models, records.get(row.label)) for row in distinct(rows)]


def examine(row: Weights, models: Path, records: Records, seen: Callable[[int], None], stop: CancelToken) -> FileStatus:
    """Hash one file that is there, and record what came out. Without any known hash it stays ``unverified``."""
    known = records.all().get(row.label)
    held = known if known is not None and known.holds(row) else None
    found = look(row, models, known)
    if found.state not in ("present", "unverified", "wrong_hash"):
        return found
    actual = sha256_of(found.path, seen, stop)
    if found.sha256 is None:
        return replace(found, actual_sha256=actual)
    right = actual == found.sha256
    if held is not None and held.sound != right:
        records.put(row, replace(held, sound=right), stop)
    if held is None and right:
        record = ChecksumRecord(row.repo, row.revision, row.file, found.bytes, actual, "table", now(), placed=False)
        records.put(row, record, stop)
    return replace(found, state="present" if right else "wrong_hash", actual_sha256=actual)


def verify(rows: Iterable[Weights], models: Path, progress: Callable[[SyncProgress], None] | None = None) -> list[FileStatus]:
    """Hash every file that is there, whatever was recorded, and say what is right, wrong or missing; changes no model file.

    Args:
        rows: The files to check.
        models: ComfyUI's models folder.
        progress: Called from this thread, at most ten times a second.

    Raises:
        StorageFailedError: a file cannot be read.

    """
    wanted, records, stop = distinct(rows), Records(models), CancelToken()
    board = Board(progress)
    for item in status(wanted, models):
        there = item.state not in ("missing", "partial")
        board.add(item.row.label, item.bytes if there else 0)

    def one(row: Weights) -> FileStatus:
        board.stage(row.label, "checking")
        try:
            found = examine(row, models, records, lambda size: board.add_bytes(row.label, size), stop)
        except OSError as error:
            raise StorageFailedError(f"{row.label} cannot be read: {error}", details={"file": row.label}) from error
        board.stage(row.label, "done" if found.state == "present" else "failed")
        return found

    with ThreadPoolExecutor(HASHERS, "ryla-verify") as pool:
        futures = [pool.submit(one, row) for row in wanted]
        board.watch(futures, stop)
    board.show(last=True)
    return [future.result() for future in futures]


def now() -> str:
    """Return the current time, as records keep it."""
    return datetime.now(UTC).isoformat(timespec="seconds")
