"""Find the files of a models folder that no lock and no workflow needs, and remove them. Knows no Modal and no workflow.

Two kinds of files can go: those that the models of locks have by content, and those of which a record says that a download put them
there. Whatever people placed, the LoRAs, links, and downloads that may still run are never looked at.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from ..errors import InvalidInputError, PlainData
from ..models.downloads.base import SyncProgress
from ..models.downloads.checksums import ChecksumRecord, Records
from ..models.downloads.retry import CancelToken, sha256_of
from .graph_lock import PENDING, GraphLock
from .lock_checks import SHA256, is_model_name
from .model_places import CONTENT, HASH_NOTE, PLACE_NOTE, address_key, read_note

LORAS = "loras"
"""Folder with what people push; nothing in it is ever removed here."""
PART = ".part"
"""How the name of an unfinished download ends."""
LONGEST_DOWNLOAD = 86_400.0
"""Seconds after which no download writes its file any more: Modal ends a function after a day."""
_FOLDER = re.compile(r"[0-9a-f]{32}|[0-9a-f]{64}")
"""Name of a folder of one model by content: its hash, or the key of its address."""

Outcome = Literal["removed", "kept"]
"""kept: it was needed meanwhile, or is no longer the file that was listed."""


@dataclass(frozen=True, slots=True)
class NeededFiles:
    """What has to stay in a models folder."""

    files: frozenset[str] = frozenset()
    """By folder and name."""
    models: frozenset[str] = frozenset()
    """Of locks, by hash, or by the key of the address where the first download fixes the hash."""
    complete: bool = True
    """False where something may need files that are not named here: then only files by content can go, which are of locks alone."""

    def __or__(self, other: NeededFiles) -> NeededFiles:
        return NeededFiles(self.files | other.files, self.models | other.models, self.complete and other.complete)

    def to_data(self) -> PlainData:
        """Return it as plain data."""
        return {"files": sorted(self.files), "models": sorted(self.models), "complete": self.complete}


@dataclass(frozen=True, slots=True)
class UnneededFile:
    """A file that nothing needs."""

    file: str
    """Folder and name below the models folder."""
    bytes: int
    repo: str | None
    """Where it was downloaded from; None where no record says."""
    reason: str
    """Why it can go."""

    def to_data(self) -> PlainData:
        """Return it as plain data."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Removal:
    """What became of one file."""

    file: str
    bytes: int
    outcome: Outcome

    def to_data(self) -> PlainData:
        """Return it as plain data."""
        return asdict(self)


def needed_from(data: object) -> NeededFiles:
    """Read from plain data what has to stay; its words are compared with names and never used as paths.

    Raises:
        InvalidInputError: it has another shape.

    """
    found: Mapping[str, Any] = data if isinstance(data, dict) else {}
    lists = [found.get(name) for name in ("files", "models")]
    if not all(isinstance(words, list | tuple) and all(isinstance(word, str) for word in words) for words in lists):
        raise InvalidInputError("What has to stay must be two lists of names: files and models.")
    files, models = (frozenset(words or ()) for words in lists)
    return NeededFiles(files, models, found.get("complete") is True)


def needed_by_lock(lock: GraphLock) -> NeededFiles:
    """Return what a lock needs: on a volume by content, in a folder of this machine by name."""
    wanted = [item for item in lock.models if item.needed]
    keys = (address_key(item) if item.sha256 == PENDING else item.sha256 for item in wanted)
    return NeededFiles(frozenset(item.label for item in wanted), frozenset(keys))


def unknown_hashes(needed: NeededFiles, models: Path) -> frozenset[str]:
    """Return the keys of models whose hash is not fixed yet, as far as this folder says."""
    return frozenset(key for key in needed.models if not SHA256.fullmatch(key) and not _fixed(key, models, Records(models).all()))


def find_unneeded(models: Path, needed: NeededFiles, *, local: bool = False) -> list[UnneededFile]:
    """List what can go, the largest first.

    Args:
        models: the models folder.
        needed: what has to stay.
        local: whether it is a folder of this machine, in which only those files go that a record says a download put there. On the
            volume, records of earlier versions, which do not say, count too: only downloads write there.

    Raises:
        StorageFailedError: the records cannot be read.

    """
    records = Records(models).all()
    kept = _hashes(needed, models, records)
    found = [] if local else list(_by_content(models, kept, records))
    if needed.complete:
        found += _in_folders(models, needed, kept, records, local=local)
    return sorted(found, key=lambda item: (-item.bytes, item.file))


def remove_files(
    files: Sequence[UnneededFile],
    models: Path,
    may_go: Callable[[UnneededFile], bool] = lambda _: True,
    *,
    commit: Callable[[], None] | None = None,
    progress: Callable[[SyncProgress], None] | None = None,
) -> list[Removal]:
    """Remove files that were listed. One that has changed since stays; one that is gone already is done.

    Records stay: a file counts only together with its record, and one that is downloaded again is held to the same hash.

    Args:
        files: what :func:`find_unneeded` returned, or a part of it.
        models: the models folder.
        may_go: asked right before each file is removed.
        commit: called after each file (on Modal: the volume's commit).
        progress: called as files are read and removed; what it raises ends this.

    """
    records, stop, total, done = Records(models), CancelToken(), sum(item.bytes for item in files), 0
    removals = []

    def show(read: int = 0) -> None:
        if progress is not None:
            progress(SyncProgress(done, total, 0.0, None, ()))

    for item in files:
        show()
        with records.lock(item.file, stop):  # a download of the same file on this machine waits
            gone = _is_same(item, models, records, show, stop) and may_go(item)
            if gone:
                _remove(models / item.file)
                if commit is not None:
                    commit()
        done += item.bytes
        removals.append(Removal(item.file, item.bytes, "removed" if gone else "kept"))
    show()
    return removals


def is_needed(item: UnneededFile, needed: NeededFiles, models: Path) -> bool:
    """Whether something needs a file now."""
    records = Records(models).all()
    record = records.get(item.file)
    names = {item.file.split("/")[1] if item.file.startswith(f"{CONTENT}/") else "", record.sha256 if record else ""}
    return item.file in needed.files or not names.isdisjoint(_hashes(needed, models, records))


def _by_content(models: Path, kept: frozenset[str], records: Mapping[str, ChecksumRecord]) -> Iterator[UnneededFile]:
    for path in sorted((models / CONTENT).glob("*/*")):
        folder = path.parent
        notes = path.name in (HASH_NOTE, PLACE_NOTE)
        if notes or folder.name in kept or not _FOLDER.fullmatch(folder.name) or folder.is_symlink() or not _is_file(path):
            continue
        begun = path.name.startswith(".")
        if begun and not (path.name.endswith(PART) and time.time() - path.stat().st_mtime > LONGEST_DOWNLOAD):
            continue
        label = f"{CONTENT}/{folder.name}/{path.name}"
        repo = records[label].repo.partition("?")[0] if label in records else None
        yield UnneededFile(label, path.stat().st_size, repo, "rest of a download" if begun else "no lock needs it")


def _in_folders(
    models: Path, needed: NeededFiles, kept: frozenset[str], records: Mapping[str, ChecksumRecord], *, local: bool
) -> Iterator[UnneededFile]:
    for label, record in records.items():
        elsewhere = label.partition("/")[0] in (CONTENT, LORAS) or not is_model_name(label)
        placed = record.placed is True or (record.placed is None and not local)
        path = models / label
        if elsewhere or not placed or label in needed.files or record.sha256 in kept or not _is_file(path):
            continue
        if path.stat().st_size == record.bytes:
            yield UnneededFile(label, record.bytes, record.repo.partition("?")[0], "no workflow and no lock needs it")


def _hashes(needed: NeededFiles, models: Path, records: Mapping[str, ChecksumRecord]) -> frozenset[str]:
    """Return the needed hashes and keys, with the hashes that the first downloads under these keys fixed."""
    return needed.models.union(*(_fixed(key, models, records) for key in needed.models if not SHA256.fullmatch(key)))


def _fixed(key: str, models: Path, records: Mapping[str, ChecksumRecord]) -> set[str]:
    """Return the hashes that are known for a key: by its note, and by a record, which is there before the note."""
    if not _FOLDER.fullmatch(key):
        return set()
    noted = read_note(models / CONTENT / key / HASH_NOTE)
    known = {record.sha256 for label, record in records.items() if label.startswith(f"{CONTENT}/{key}/")}
    return known | ({noted} if SHA256.fullmatch(noted) else set())


def _is_file(path: Path) -> bool:
    return not path.is_symlink() and path.is_file()


def _is_same(item: UnneededFile, models: Path, records: Records, seen: Callable[[int], None], stop: CancelToken) -> bool:
    """Whether a file is still the one that was listed. Outside of ``content`` people may have put another one there."""
    path = models / item.file
    if not path.exists():
        return True
    if not _is_file(path) or path.stat().st_size != item.bytes:
        return False
    record = records.all().get(item.file)
    return item.file.startswith(f"{CONTENT}/") or (record is not None and sha256_of(path, seen, stop) == record.sha256)


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)
    if path.parent.is_dir() and path.parent.parent.name == CONTENT and not any(path.parent.iterdir()):
        path.parent.rmdir()
