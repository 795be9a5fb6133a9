"""Find the files that are provably of some jobs, and erase them: inside a folder of results, and with the job's note inside.

Of a kind that can carry no note, a file where the journal saved it and of the size that the journal has. Never another path: what
the journal names elsewhere, a link, or a file of another kind without the note is left and said.
"""

from __future__ import annotations

import json
import os
import shutil
import stat
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from filelock import Timeout

from .. import media
from ..errors import StorageFailedError
from ..history import Record
from ..names import BATCH_LOCK, BATCH_MANIFEST, CHARACTERS_FOLDER, GALLERY_MARK, GALLERY_PAGE
from ..results import METADATA_KEY
from ..results.notes import SHEET_KEY
from ..support.file_locks import file_lock

SUFFIXES = frozenset(
    {".png", ".jpg", ".jpeg", ".webp", ".mp4", ".mov", ".webm", ".mkv", ".mp3", ".flac", ".ogg", ".oga", ".opus", ".m4a"}
)
"""Kinds of files that carry a note of ours."""
HEAD_BYTES = 1 << 20
"""Of a PNG so much is read: its texts come before its pixels."""


@dataclass(frozen=True, slots=True)
class Places:
    """The folders in which files may be erased."""

    searched: tuple[Path, ...] = ()
    """Folders that are searched, with the folders in them."""
    allowed: tuple[Path, ...] = ()
    """Folders in which only those files are looked at that the journal names."""

    @property
    def all(self) -> tuple[Path, ...]:
        """Every folder, with links followed."""
        return tuple(path.resolve() for path in (*self.searched, *self.allowed))


@dataclass(slots=True)
class FoundFiles:
    """The files of some jobs."""

    files: list[Path] = field(default_factory=list)
    batches: list[Path] = field(default_factory=list)
    pages: list[Path] = field(default_factory=list)
    stays: list[str] = field(default_factory=list)


def find_files(records: Sequence[Record], places: Places) -> FoundFiles:
    """Find the files of jobs: those that the journal names, and those of the searched folders that name one of the jobs.

    Args:
        records: the jobs.
        places: where files may be erased.
    """
    jobs, found, roots = {record.id: record for record in records}, FoundFiles(), places.all
    beside: dict[Path, None] = {}
    for path in _named(records):
        if not os.path.lexists(path):
            continue
        reason = why_not(path, jobs, roots)
        beside[path.parent] = None
        if reason:
            found.stays.append(f"{path} stays: {reason}.")
        else:
            found.files.append(path)
    named = set(found.files)
    for folder, names in _walk(places.searched):
        beside[folder] = None
        inside = (folder / name for name in names if Path(name).suffix.lower() in SUFFIXES)
        found.files += [path for path in inside if path not in named and not why_not(path, jobs, roots)]
    for folder in beside:
        if any(folder.resolve().is_relative_to(root) for root in roots):
            _look_beside(folder, jobs, found)
    return found


def _named(records: Iterable[Record]) -> Iterator[Path]:
    yield from dict.fromkeys(Path(str(path)) for record in records for path in record.saved)


def _walk(folders: Iterable[Path]) -> Iterator[tuple[Path, list[str]]]:
    """Yield every folder with its files; hidden ones, and links to folders, are left out."""
    for top in folders:
        for place, inner, names in os.walk(top):
            inner[:] = sorted(name for name in inner if not name.startswith("."))
            yield Path(os.path.abspath(place)), sorted(names)  # noqa: PTH100 - resolve() would follow links


def _look_beside(folder: Path, jobs: Collection[str], found: FoundFiles) -> None:
    """Add the record of a batch, and the page of a gallery, that name one of the jobs."""
    manifest, page = folder / BATCH_MANIFEST, folder / GALLERY_PAGE
    if _is_file(manifest) and _without(manifest, jobs) is not None:
        found.batches.append(manifest)
    if _is_file(page):
        with suppress(OSError):
            data = page.read_bytes()
            if GALLERY_MARK in data[:400] and any(job.encode() in data for job in jobs):
                found.pages.append(page)


def why_not(path: Path, jobs: Mapping[str, Record], roots: Collection[Path]) -> str:
    """Say why a file must not be erased; empty where it is provably of one of the jobs.

    Args:
        path: the file.
        jobs: the jobs by their ids.
        roots: folders in which files may be erased, with links followed.
    """
    if not _is_file(path):
        return "it is no regular file"
    if not any(path.resolve().is_relative_to(root) for root in roots):
        return "it lies outside the folder of results; name its folder, or remove it yourself"
    try:
        named = _job_in(path)
        if named in jobs:
            return ""
        if named is not None or path.suffix.lower() in SUFFIXES:
            return "it carries no note of the job"
        size = path.lstat().st_size
        saved = any(str(path) in record.saved and size in _sizes(record) for record in jobs.values())
        return "" if saved else "it carries no note of the job, and is not of the size that the journal has"
    except OSError as error:
        return f"it cannot be read ({error.strerror or error})"


def _sizes(record: Record) -> set[Any]:
    """Return the sizes in bytes of those files of a job that were not uploaded."""
    return {item.get("bytes") for item in record.outputs if isinstance(item, dict) and not item.get("url")}


def _is_file(path: Path) -> bool:
    """Whether a regular file lies there; a link is none."""
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except (OSError, ValueError):
        return False


def _job_in(path: Path) -> Any:
    """Return the job that a file's own note names: that of its request, or of the pictures on a sheet."""
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
        if not (head.startswith(b"\x89PNG") and b"IDAT" in head):
            head += file.read(media.VIDEO_LIMIT_BYTES)
    texts = media.read_metadata(head)
    note = texts.get(METADATA_KEY)
    if note is None:
        return texts.get(SHEET_KEY)
    try:
        told = json.loads(note) if note else None
    except (ValueError, RecursionError):
        return None
    return told.get("job") if isinstance(told, dict) and isinstance(told.get("job"), str) else None


def erase_files(found: FoundFiles, records: Sequence[Record], places: Places) -> None:
    """Erase what was found. Each file is looked at again: it may be another one by now.

    Raises:
        StorageFailedError: one cannot be erased, or a batch runs in its folder. Run it again for the rest.
    """
    jobs, roots = {record.id: record for record in records}, places.all
    try:
        for path in found.files:
            if not why_not(path, jobs, roots):
                path.unlink(missing_ok=True)
        for page in found.pages:
            page.unlink(missing_ok=True)
        for manifest in found.batches:
            _erase_lines(manifest, jobs)
    except OSError as error:
        raise _not_erased(error) from None


def _erase_lines(manifest: Path, jobs: Collection[str]) -> None:
    try:
        with file_lock(manifest.with_name(BATCH_LOCK), timeout=0):
            kept = _without(manifest, jobs)
            if kept is not None:
                media.save_atomically(manifest, kept, overwrite=True)
    except Timeout:
        text = f"A batch is running in {manifest.parent}, so its record of these jobs cannot be erased."
        raise StorageFailedError(text, "Run it again when the batch has ended.") from None


def _without(manifest: Path, jobs: Collection[str]) -> bytes | None:
    """Return a batch's record without the rows of some jobs; None where it names none of them."""
    try:
        lines = manifest.read_bytes().splitlines(keepends=True)
    except OSError:
        return None
    entries = [_entry(line) for line in lines]
    if not any(entry.get("job") in jobs for entry in entries):
        return None
    keys = {entry["key"] for entry in entries if entry.get("job") in jobs and "key" in entry}
    rows = zip(lines, entries, strict=True)
    return b"".join(line for line, entry in rows if entry.get("job") not in jobs and entry.get("key") not in keys)


def _entry(line: bytes) -> dict[str, str]:
    """Return a line's job and key; anything may stand in the file."""
    try:
        told = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return {name: told[name] for name in ("job", "key") if isinstance(told.get(name), str)} if isinstance(told, dict) else {}


def character_folders(home: Path, records: Iterable[Record]) -> list[Path]:
    """Find the folders of those jobs that are of several pictures."""
    folders = (home / CHARACTERS_FOLDER / record.id for record in records)
    return [folder for folder in folders if folder.is_dir() and not folder.is_symlink()]


def erase_folders(folders: Iterable[Path]) -> None:
    """Erase folders with all that is in them; a link in one is erased, and not what it leads to.

    Raises:
        StorageFailedError: one cannot be erased.
    """
    for folder in folders:
        try:
            shutil.rmtree(folder)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise _not_erased(error) from None


def _not_erased(error: OSError) -> StorageFailedError:
    text = f"{error.filename or 'A file'} could not be erased: {error.strerror or error}."
    return StorageFailedError(text, "Correct that, then run it again: it erases what is left.")
