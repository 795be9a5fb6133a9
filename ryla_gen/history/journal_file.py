"""Keep the connection to the journal's file: what cannot be written waits, a corrupt file is set aside. Must not know a job."""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from .files import BUSY_SECONDS, CORRUPT, is_corrupt, make_private, migrate, transaction, use_wal, version
from .schema import SCHEMA

BUSY_SECONDS_AGAIN = 0.05
"""Seconds it waits after one timeout, so that a stuck process does not slow every call."""
MOST_FRESH_STARTS = 3
"""Corrupt files that are set aside in one process: a disk that corrupts every file cannot hold a journal."""
KEPT = 1000
"""Writes kept in memory while the file cannot be written."""

_log = logging.getLogger(__name__)

_inherited: list[sqlite3.Connection | None] = []
"""Connections of a parent process, not closed here: that would drop the parent's locks (SQLite, "How To Corrupt", 2.2, 2.6)."""
_Write = tuple[str, tuple[Any, ...]]


class JournalFile:
    """One SQLite file that several processes share. Opened at the first use; every method may be called from any thread.

    Args:
        path: the file; made when it is not there, readable by its owner only.

    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.warnings: list[str] = []
        """What went wrong with the file, each trouble once."""
        self._lock = threading.RLock()
        self._connection: sqlite3.Connection | None = None
        self._process = 0
        self._waiting: deque[_Write] = deque(maxlen=KEPT)
        self._newer = False
        self._patience = BUSY_SECONDS
        self._fresh_starts = 0

    def close(self) -> None:
        """Close the file. A later call opens it again."""
        with self._lock:
            if self._waiting:
                self._flush()
            self._disconnect()

    def _write(self, sql: str, values: tuple[Any, ...]) -> None:
        with self._lock:
            # Queued first: if the file is locked or broken, the row is written with the next one that works.
            self._waiting.append((sql, values))
            self._flush()

    def _flush(self) -> None:
        """Write all pending rows in one transaction; those that cannot be written stay pending."""
        with self._trouble("written"):
            connection = self._open()
            if connection is None:
                return
            with transaction(connection):
                for sql, values in self._waiting:
                    try:
                        connection.execute(sql, values)
                    except sqlite3.IntegrityError as error:  # this row alone: dropped, so the rest get written
                        self._warn(f"The journal cannot record the job: {error}.")
            self._waiting.clear()
            self._be_patient(connection, patient=True)

    def _select(self, sql: str, values: Sequence[Any]) -> Sequence[tuple[Any, ...]]:
        rows: Sequence[tuple[Any, ...]] = ()
        with self._lock, self._trouble("read"):
            if self._waiting:
                self._flush()
            connection = self._open()
            if connection is not None:
                rows = connection.execute(sql, values).fetchall()
        return rows

    @contextmanager
    def _trouble(self, doing: str) -> Iterator[None]:
        """Turn any failure of the file into one warning. A corrupt file is set aside, and a fresh one takes what waits."""
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the low byte is the kind, the rest its variety
            # At most a few fresh files: on a failing disk each of them would soon be corrupt, too.
            if code in CORRUPT and self._fresh_starts < MOST_FRESH_STARTS and self._set_aside(error):
                if self._waiting:
                    self._flush()
                return
            self._be_patient(self._connection, patient=False)
            self._warn(f"The journal {self.path} could not be {doing}: {error}. Generations continue without it.")

    def _be_patient(self, connection: sqlite3.Connection | None, *, patient: bool) -> None:
        """Use a short busy_timeout after one timeout, so later writes do not block for the full wait again."""
        seconds = BUSY_SECONDS if patient else BUSY_SECONDS_AGAIN
        if seconds != self._patience and connection is not None:
            with suppress(sqlite3.Error):
                connection.execute(f"PRAGMA busy_timeout = {seconds * 1000:.0f}")
        self._patience = seconds

    def _warn(self, text: str) -> None:
        if text not in self.warnings:
            self.warnings.append(text)
            _log.warning(text)

    def _open(self) -> sqlite3.Connection | None:
        """Return the connection of this process, or None when the file belongs to a newer version."""
        if self._process != os.getpid():  # after a fork the parent's connection must not be used, nor closed
            _inherited.append(self._connection)
            self._connection, self._process = None, os.getpid()
        if self._connection is None and not self._newer:
            make_private(self.path)
            connection = sqlite3.connect(self.path, timeout=self._patience, isolation_level=None, check_same_thread=False)
            try:
                self._prepare(connection)
            except BaseException:
                connection.close()
                raise
            self._connection = connection
        if self._newer:
            self._waiting.clear()
            return None
        return self._connection

    def _prepare(self, connection: sqlite3.Connection) -> None:
        # A newer version's table is left alone: writing to it could lose columns that this version does not know.
        self._newer = version(connection) > SCHEMA
        if self._newer:
            known = "it is not changed. Update this version: pip install -U ryla-gen"
            self._warn(f"The journal {self.path} belongs to a newer version of ryla-gen; {known}")
            return
        use_wal(connection, self._patience)
        connection.execute("PRAGMA synchronous = NORMAL")  # a power cut may cost the last writes, never the file
        migrate(connection)

    def _disconnect(self) -> None:
        if self._connection is not None and self._process == os.getpid():
            with suppress(sqlite3.Error):
                self._connection.close()
        self._connection = None

    def _set_aside(self, error: Exception) -> bool:
        """Move a corrupt file out of the way, and return whether that worked."""
        self._disconnect()
        self._fresh_starts += 1
        aside = self.path.with_name(f"{self.path.stem}.corrupt-{time.time_ns() // 1_000_000}{self.path.suffix}")
        try:
            if not is_corrupt(self.path):  # another process has set it aside already
                return True
            # The log belongs to the corrupt file: SQLite might replay it into the fresh one.
            for tail in ("", "-wal", "-shm"):
                with suppress(FileNotFoundError):
                    self.path.with_name(self.path.name + tail).rename(aside.with_name(aside.name + tail))
        except (OSError, sqlite3.Error):
            return False
        self._warn(f"The journal {self.path} is corrupt ({error}); it was renamed to {aside.name}, and a new one was started.")
        return True
