"""Transfer one file to the disk: continue what is there, hash what comes, rename when it is right. Knows no other file."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ...errors import BackendUnreachableError, RylaGenError, StorageFailedError
from ..weights_table import Weights
from .base import Origin, mismatch, part_path, parts_of, total_of
from .retry import BLOCK, CancelToken, PassingError, patiently, sha256_of
from .sources import Sources

Moved = Callable[[int, bool], None]
"""Told how many bytes more (or less) an unfinished file has, and whether they came over the network just now."""
NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT})


@dataclass(frozen=True, slots=True)
class TransferPlan:
    """One file that has to come: where from, what it must be, where it goes."""

    row: Weights
    origin: Origin
    path: Path
    sha256: str | None
    """What the hash must be; None when none is published."""
    size: int | None

    @property
    def part(self) -> Path:
        """Temporary name; another revision or hash gets another, so that two files are never mixed."""
        said = "|".join((self.row.label, self.row.repo, self.origin.commit or "", self.sha256 or self.origin.etag))
        return part_path(self.path, hashlib.sha256(said.encode()).hexdigest()[:12])


@dataclass(frozen=True, slots=True)
class Arrived:
    """A file that is in its place, with what is now known about it."""

    bytes: int
    sha256: str
    downloaded: int
    resumed: bool


class Part:
    """An unfinished file: what is there already is hashed first, what comes is hashed on its way to the disk."""

    def __init__(self, path: Path, moved: Moved, stop: CancelToken) -> None:
        self.path, self._moved, self._stop = path, moved, stop
        path.parent.mkdir(parents=True, exist_ok=True)
        # Unbuffered: what was received reaches the disk even when the process is killed, and a retry continues from there.
        self._file = path.open("r+b" if path.exists() else "x+b", buffering=0)
        self._digest = hashlib.sha256()
        self.size = self.received = 0

    def reread(self) -> int:
        """Hash what is there already; says how much that is."""
        while block := self._file.read(BLOCK):
            self._stop.check()
            self._took(block, False)
        return self.size

    def _took(self, block: bytes, came: bool) -> None:
        self._digest.update(block)
        self.size += len(block)
        self._moved(len(block), came)

    def write(self, block: bytes) -> None:
        """Append a piece that came over the network."""
        self._stop.check()
        view = memoryview(block)
        while view:
            view = view[self._file.write(view) :]
        self.received += len(block)
        self._took(block, True)

    def restart(self) -> None:
        """Discard what is there."""
        self._moved(-self.size, False)
        self._file.seek(0)
        self._file.truncate()
        self._digest, self.size = hashlib.sha256(), 0

    def seal(self) -> str:
        """Flush everything to the disk and return the hash."""
        os.fsync(self._file.fileno())
        return self._digest.hexdigest()

    def close(self) -> None:
        """Close the file; its content stays for the next time."""
        self._file.close()


def fetch(plan: TransferPlan, sources: Sources, moved: Moved, tries: int, stop: CancelToken) -> Arrived:
    """Download one file, verify it, put it in place. The caller holds the file's lock.

    Args:
        plan: The file to download.
        sources: Where from.
        moved: Told of every piece.
        tries: Passing faults in a row, without a byte in between, before giving up.
        stop: Looked at between pieces.

    Raises:
        StorageFailedError: no room, or what came is not the file; then it is deleted.
        HashMismatchError: what came is not the file that a lock names; then it is deleted.
        RylaGenError: as ``Sources`` raises them; what came stays for the next time.

    """
    try:
        # Parts of other revisions can never be completed any more: they only take room.
        for old in set(parts_of(plan.path)) - {plan.part}:
            old.unlink(missing_ok=True)
        part = Part(plan.part, moved, stop)
        try:
            # The part is hashed again instead of trusting a stored state: it may have been cut off in the middle of a write.
            begun = part.reread()
            patiently(lambda: _stream(plan, sources, part), lambda: part.received, tries, stop)
            digest = part.seal()
        finally:
            part.close()
        _check(plan, part.size, digest)
        # Only after the check: under its own name a file is always whole and verified.
        plan.part.replace(plan.path)
    except OSError as error:
        raise _storage(plan, error) from error
    return Arrived(part.size, digest, part.received, begun > 0)


def _stream(plan: TransferPlan, sources: Sources, part: Part) -> None:
    """Take what one connection gives."""
    size = plan.size
    if part.size > (size or 0):  # without a published size it is unknown where to continue
        part.restart()
    if part.size == size:
        return  # complete already: the last process died between the last byte and the rename
    with sources.open(plan.row, plan.origin, part.size) as response:
        start = str(response.headers.get("Content-Range", "")).removeprefix("bytes ").partition("-")[0]
        # Some servers ignore a range and send the file from its beginning (200): then what is there is dropped, not appended to.
        if part.size and (response.status_code != 206 or start != str(part.size)):
            part.restart()
            if response.status_code != 200:  # 206 with another range, or 416 (beyond the end)
                raise PassingError(BackendUnreachableError(f"The server sent a different part of {plan.row.label} than requested."))
        said = total_of(response)
        if said is not None and size is not None and said != size:
            raise _wrong_size(plan, said)  # refuse before the first byte of a file that has the wrong size
        size = size if size is not None else said
        for block in response.iter_bytes():
            part.write(block)
            if size is not None and part.size > size:
                raise _wrong_size(plan, part.size)
    if size is not None and part.size < size:
        raise PassingError(BackendUnreachableError(f"The connection ended at byte {part.size} of {size} of {plan.row.label}."))


def _check(plan: TransferPlan, size: int, digest: str) -> None:
    """Raise the error of another file, and delete what came, when it is not what it must be."""
    if plan.size is not None and size != plan.size:
        raise _wrong_size(plan, size)
    if plan.sha256 is not None and digest != plan.sha256:
        message = f"{plan.row.label} is damaged or a different file: its sha256 is {digest}, not {plan.sha256}."
        raise _wrong(plan, message, plan.sha256, digest)


def _wrong_size(plan: TransferPlan, size: int) -> RylaGenError:
    return _wrong(plan, f"{plan.row.label} has {size} bytes at its source instead of {plan.size}.", plan.size, size)


def _wrong(plan: TransferPlan, message: str, expected: object, actual: object) -> RylaGenError:
    plan.part.unlink(missing_ok=True)
    hint = "It was deleted. Run it again; if that fails too, compare its publisher's page with weights.json."
    told = {"file": plan.row.file, "folder": plan.row.folder, "repo": plan.row.repo, "revision": plan.origin.commit}
    return mismatch(plan.row, message, hint, {**told, "expected": expected, "actual": actual})


def adopt(plan: TransferPlan, cache: Path, moved: Callable[[int], None], stop: CancelToken) -> Arrived | None:
    """Take the file from a hub cache of this machine, where it lies under its hash; None when it is not there or not right.

    Linked where that is possible, so that it is on disk once, else copied; the cache itself is left as it is.
    """
    # Without a published hash a blob in the cache cannot be identified.
    if plan.sha256 is None:
        return None
    blob = cache / f"models--{plan.row.repo.replace('/', '--')}" / "blobs" / plan.sha256
    try:
        if not blob.is_file() or sha256_of(blob, moved, stop) != plan.sha256:
            return None
    except OSError:  # a cache that cannot be read is treated as missing
        return None
    source, fresh = blob.resolve(), part_path(plan.path, "cache")
    try:
        fresh.parent.mkdir(parents=True, exist_ok=True)
        fresh.unlink(missing_ok=True)
        try:
            # Linked under a temporary name first, so that the rename replaces an old file in one step.
            os.link(source, fresh)
        except OSError:  # another filesystem, or one without links
            shutil.copyfile(source, fresh)
        fresh.replace(plan.path)
        for old in parts_of(plan.path):
            old.unlink(missing_ok=True)
    except OSError as error:
        fresh.unlink(missing_ok=True)
        raise _storage(plan, error) from error
    return Arrived(source.stat().st_size, plan.sha256, 0, False)


def _storage(plan: TransferPlan, error: OSError) -> StorageFailedError:
    told = {"file": plan.row.file, "folder": plan.row.folder, "repo": plan.row.repo}
    if error.errno in NO_ROOM:
        hint = "Free some space and run it again: it continues where it stopped."
        return StorageFailedError(f"The disk filled up while {plan.row.label} was downloaded.", hint, told)
    return StorageFailedError(f"{plan.row.label} could not be written: {error.strerror or error}.", details=told)
