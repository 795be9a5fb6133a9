"""Record in a batch's folder, in an append-only file, what was sent and what is done. Knows no workflow."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from filelock import Timeout

from ..errors import InvalidInputError, PlainData, StorageFailedError, error_from_data
from ..events import now
from ..names import BATCH_LOCK, BATCH_MANIFEST
from ..support.file_locks import file_lock
from .base import left_open

MANIFEST = BATCH_MANIFEST
"""File in the folder that remembers what was done: one JSON object a line, only ever appended to."""
LOCK = BATCH_LOCK
"""Held while a batch runs: two at once would pay for every row twice."""


@dataclass(slots=True)
class _Known:
    """The manifest's entries for one key."""

    done: PlainData | None = None
    sent: str | None = None
    """Job whose end is unknown: its process was killed, or lost contact with it."""
    claimed: set[str] = field(default_factory=set)
    """File names that runs of this key chose: whatever lies there is ours."""


class Manifest:
    """The record of what was sent and done in a folder.

    Args:
        folder: where the results go; need not exist yet.

    Raises:
        InvalidInputError: a file of the manifest's name lies there that is none.
        StorageFailedError: it cannot be read.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / MANIFEST
        self._known: dict[str, _Known] = {}
        self._whole = True
        self._read()

    def finished(self, key: str) -> PlainData | None:
        """Return the manifest's entry of the finished row, if its files are still there with their sizes; buckets are not asked."""
        done = self._of(key).done
        if done is None:
            return None
        there = all(_size(self.folder / item["name"]) == item["bytes"] for item in done["files"])
        return done if there else None

    def unfinished_job(self, key: str) -> str | None:
        """Return the job of this row whose end is unknown: its process was killed, or lost contact with it."""
        return self._of(key).sent

    def claims(self, key: str, name: str) -> bool:
        """Whether a file of that name would be this row's own."""
        return name in self._of(key).claimed

    def add(self, key: str, state: str, **more: Any) -> None:
        """Write down what happened to a row, at once and for good.

        Raises:
            StorageFailedError: it cannot be written.
        """
        entry = {"key": key, "state": state, "at": now(), **more}
        # A line that was cut off by a crash is closed first, so that it cannot swallow the new one.
        line = ("" if self._whole else "\n") + json.dumps(entry, separators=(",", ":"), default=str) + "\n"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with self.path.open("a", encoding="utf-8") as file:
                file.write(line)
                file.flush()
                # On the disk before the job is sent: after a power cut the next run must know its id.
                os.fsync(file.fileno())
        except OSError as error:
            raise StorageFailedError(f"{self.path} could not be written: {error.strerror or error}.") from None
        self._whole = True
        self._take(entry)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Keep other batches out of the folder.

        Raises:
            StorageFailedError: one runs there, or the folder cannot be used.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with file_lock(self.folder / LOCK, timeout=0):
                yield
        except Timeout:
            text = f"Another batch is running in {self.folder}."
            raise StorageFailedError(text, "Wait until it ends, or choose another folder: -o DIR") from None
        except OSError as error:
            raise StorageFailedError(f"The folder {self.folder} cannot be used: {error.strerror or error}.") from None

    def _of(self, key: str) -> _Known:
        return self._known.get(key, _Known())

    def _read(self) -> None:
        try:
            text = self.path.read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return
        except OSError as error:
            raise StorageFailedError(f"{self.path} cannot be read: {error.strerror or error}.") from None
        self._whole = not text or text.endswith("\n")
        entries = list[PlainData]()
        for number, line in enumerate(text.split("\n"), start=1):
            try:
                entry = _entry(line)
            except ValueError:
                raise self._foreign(f" (line {number})") from None
            if entry is not None:
                entries.append(entry)
        if text.strip() and not entries:
            raise self._foreign("")
        for entry in entries:
            self._take(entry)

    def _foreign(self, where: str) -> InvalidInputError:
        hint = "Choose another folder: -o DIR. The list itself must not have this name in its own folder."
        return InvalidInputError(f"{self.path} is not the progress file of a batch{where}.", hint, {"file": str(self.path)})

    def _take(self, entry: Mapping[str, Any]) -> None:
        known = self._known.setdefault(entry["key"], _Known())
        known.claimed |= set(entry.get("claims", ()))
        if entry["state"] in ("sent", "saving"):
            known.sent = entry["job"]
        # A failure that leaves the job's end open keeps its id, so that the next run asks for it instead of paying again.
        elif entry["state"] != "failed" or not entry.get("open", left_open(error_from_data(entry.get("error") or {}))):
            known.sent = None
        if entry["state"] == "done":
            known.done = dict(entry)
            known.claimed |= {item["name"] for item in entry["files"]}


def _entry(line: str) -> PlainData | None:
    """Parse one line of the manifest; None for one that was cut off when a machine died.

    Raises:
        ValueError: a batch did not write it so.
    """
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if isinstance(found, dict) and not _fits(found):
        raise ValueError(line)
    return found if isinstance(found, dict) else None


def _fits(entry: Mapping[str, Any]) -> bool:
    """Whether an entry has the shape that :meth:`Manifest.add` gives it; further keys are of a newer version."""
    if not all(isinstance(entry.get(name), str) for name in ("key", "state")):
        return False
    claims, error, files = entry.get("claims", []), entry.get("error", {}), entry.get("files", [])
    for names in (claims, entry.get("uploads", [])):
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            return False
    if not isinstance(error, dict) or not isinstance(error.get("details", {}), dict | None):
        return False
    if entry["state"] in ("sent", "saving") and not isinstance(entry.get("job"), str):
        return False
    if entry["state"] == "done" and ("files" not in entry or not isinstance(entry.get("cost_usd", 0.0), int | float | None)):
        return False
    return isinstance(files, list) and all(
        isinstance(item, dict) and isinstance(item.get("name"), str) and isinstance(item.get("bytes"), int) for item in files
    )


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except (OSError, ValueError):  # ValueError: a NUL in the name
        return -1
