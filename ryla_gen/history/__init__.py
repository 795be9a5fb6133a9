"""Keep every job of this machine and its cost in one SQLite file, the journal, which several processes share.

A job is written here before anything is spent. Nothing here may cost a generation: what cannot be written is kept in
memory, warned of once, and written when the file works again. Must not hold a picture, only its hash and size, nor know a backend.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from ..errors import InternalError, InvalidInputError
from ..events import FINAL_STATES, now
from .base import CHANGEABLE_COLUMNS, COLUMNS, Record, Records, record_of, text, to_column, to_timestamp, where_clause
from .counting import JobEnd, JobRun, JobSpan, ends, runs, spans
from .files import BUSY_SECONDS, CORRUPT, is_corrupt, make_private, migrate, transaction, use_wal, version
from .reserving import HELD, Reservation, reserve
from .schema import SCHEMA
from .spending import CostRow, cost_rows

__all__ = ["CostRow", "History", "JobEnd", "JobRun", "JobSpan", "Record", "Records", "Reservation"]

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


class History:
    """The journal in one file. Opened at the first use; every method may be called from any thread, and is quick.

    Args:
        path: the SQLite file; made when it is not there, readable by its owner only.

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

    def record(
        self,
        job: str,
        *,
        backend: str,
        workflow: str,
        inputs: Mapping[str, Any],
        seed: int | None = None,
        tags: Iterable[str] = (),
        parent: str | None = None,
        handle: str | None = None,
        server: str | None = None,
        process: str | None = None,
    ) -> None:
        """Write a job down before it is submitted; a job that is there already stays as it is.

        Args:
            job: its uuid4.
            backend: where it will be sent.
            workflow: name of its workflow.
            inputs: its fields; bytes and data URLs become their hash and size.
            seed: its seed, when it has one.
            tags: words under which it is found again.
            parent: the job that it belongs to.
            handle: the backend's own name for it, when it is known already.
            server: address of the server of one's own that it is sent to.
            process: the process that sends it.

        """
        row: dict[str, Any] = {"id": job, "handle": handle, "backend": backend, "workflow": workflow, "inputs": dict(inputs)}
        row |= {"state": "queued", "seed": seed, "created_at": now(), "tags": list(tags), "parent": parent}
        row |= {"server": server, "process": process}
        marks = ", ".join("?" * len(row))
        sql = f"INSERT INTO jobs ({', '.join(row)}) VALUES ({marks}) ON CONFLICT (id) DO NOTHING"  # noqa: S608 - our own names
        self._write(sql, tuple(to_column(name, value) for name, value in row.items()))

    def reserve(self, job: str, purse: Reservation, row: Mapping[str, Any]) -> Reservation | None:
        """Reserve money for a job and record the job in one transaction: two processes cannot both take the last of a budget.

        Args:
            job: its uuid4; one that is there already gets this reservation in place of its own.
            purse: what it may take, and what is allowed in all.
            row: ``backend``, ``workflow``, ``inputs`` and, where there are some, ``seed``, ``tags``, ``parent``, ``server`` and
                ``process``.

        Returns:
            The purse with what was reserved and what the others hold; None when the file cannot be used, so that what is
            left is not known.

        """
        full = {"id": job, "state": "queued", "created_at": now(), "tags": [], **row}
        values = {name: to_column(name, value) for name, value in full.items()}
        found: Reservation | None = None
        with self._lock, self._trouble("written"):
            connection = self._open()
            if connection is not None:
                with transaction(connection):
                    found = reserve(connection, job, purse, values)
        return found

    def update(self, job: str, **columns: Any) -> None:
        """Write down what became of a job. A job that has ended is not set back to running by a late event.

        Args:
            job: its uuid4.
            columns: new values by column name.

        Raises:
            InternalError: there is no such column, or it is fixed when the job is recorded.

        """
        unknown = set(columns) - CHANGEABLE_COLUMNS
        if unknown:
            raise InternalError(f"The journal has no changeable column {', '.join(sorted(unknown))}.")
        if not columns:
            return
        values = {name: to_column(name, value) for name, value in columns.items()}
        changes = dict.fromkeys(values, "?")
        if "state" in values and values["state"] not in FINAL_STATES:
            changes["state"] = f"CASE WHEN state IN ({', '.join(map(repr, sorted(FINAL_STATES)))}) THEN state ELSE ? END"
        sets = ", ".join(f"{name} = {mark}" for name, mark in changes.items())
        self._write(f"UPDATE jobs SET {sets} WHERE id = ?", (*values.values(), text(job)))  # noqa: S608 - our own names

    def get(self, id: str) -> Record | None:  # noqa: A002 - the column's own name
        """Find a job by its id, its handle, or a beginning of its id that no other has.

        Raises:
            InvalidInputError: several jobs begin so.

        """
        sought = text(id.strip()) if id else ""
        if not sought:
            return None
        found = self._read("WHERE id = ? OR handle = ? LIMIT 1", (sought.lower(), sought))
        if found:
            return found[0]
        beginning = sought.lower()
        found = self._read("WHERE id >= ? AND id < ? ORDER BY created_at DESC LIMIT 4", (beginning, beginning + "\U0010ffff"))
        if len(found) > 1:
            ids = ", ".join(item.id for item in found[:3])
            raise InvalidInputError(
                f"Several jobs begin with {id!r}: {ids}{' …' if len(found) > 3 else ''}.", "Give more characters of the id."
            )
        return found[0] if found else None

    def list(
        self,
        *,
        limit: int | None = 50,
        workflow: str | None = None,
        backend: str | None = None,
        state: str | None = None,
        since: str | datetime | None = None,
        tags: Iterable[str] = (),
        parent: str | None = None,
        saved_in: Path | None = None,
    ) -> Records:
        """List jobs, the newest first.

        Args:
            limit: most entries to return; None is all.
            workflow: only of this workflow.
            backend: only of this backend.
            state: only in this state.
            since: only those submitted then or later.
            tags: only those that have every one of these.
            parent: only those that belong to this job.
            saved_in: only those with files that were saved in this folder, or below it.

        Raises:
            InvalidInputError: ``since`` is not a valid date or time.

        """
        columns = {"workflow": workflow, "backend": backend, "state": state, "parent": parent}
        where, values = where_clause(since, saved_in, **columns)
        words = [text(tag) for tag in tags]
        tagged = ["EXISTS (SELECT 1 FROM json_each(tags) WHERE value = ?)"] * len(words)
        terms = " AND ".join(filter(None, [where, *tagged]))
        order = "ORDER BY created_at DESC, rowid DESC LIMIT ?"
        return self._read(f"{f'WHERE {terms} ' if terms else ''}{order}", (*values, *words, -1 if limit is None else limit))

    def ends(
        self, *, workflow: str | None = None, backend: str | None = None, since: str | datetime | None = None
    ) -> Sequence[JobEnd]:
        """Read how jobs ended, for counting them: jobs made of others count as those others.

        Args:
            workflow: only of this workflow.
            backend: only of this backend.
            since: only those submitted then or later.

        Raises:
            InvalidInputError: ``since`` is not a valid date or time.

        """
        return ends(self._select, *where_clause(since, workflow=workflow, backend=backend))

    def spans(self, backend: str, since: str | datetime | None = None) -> Sequence[JobSpan]:
        """Read when the graphs of a backend's jobs ran; of those submitted then or later."""
        return spans(self._select, *where_clause(since, backend=backend))

    def runs(self, workflow: str, backend: str, limit: int) -> Sequence[JobRun]:
        """Read the newest runs of a workflow that succeeded, for estimating the next one."""
        return runs(self._select, workflow, backend, limit)

    def spent_usd(self, since: str | datetime) -> float:
        """Sum up the cost of all jobs submitted then or later, in US dollars.

        Raises:
            InvalidInputError: ``since`` is not a valid date or time.

        """
        rows = self._select("SELECT TOTAL(cost_usd) FROM jobs WHERE created_at >= ?", (to_timestamp(since),))
        return float(rows[0][0]) if rows else 0.0

    def taken_usd(self, since: str | datetime) -> float:
        """Sum up what jobs since then have cost and what jobs under way hold, in US dollars.

        Raises:
            InvalidInputError: ``since`` is not a valid date or time.

        """
        rows = self._select(f"SELECT TOTAL(reserved_usd) FROM jobs WHERE {HELD}", (now(),))  # noqa: S608 - our own words
        return self.spent_usd(since) + (float(rows[0][0]) if rows else 0.0)

    def costs(self, by: str = "day", since: str | datetime | None = None) -> Sequence[CostRow]:
        """Sum up what jobs cost.

        Args:
            by: ``day`` (UTC), ``workflow``, ``character`` or ``backend``.
            since: only jobs submitted then or later.

        Raises:
            InvalidInputError: there is no such grouping, or ``since`` is not a valid date or time.

        """
        return cost_rows(self._select, by, None if since is None else to_timestamp(since))

    def saved(self, job: str, paths: Iterable[Path]) -> None:
        """Write down where the files of a job were saved, besides where they were saved before."""
        known = self.get(job)
        if known is not None:
            every = dict.fromkeys([*known.saved, *(str(path.absolute()) for path in paths)])
            self.update(job, saved=list(every))

    def close(self) -> None:
        """Close the file. A later call opens it again."""
        with self._lock:
            if self._waiting:
                self._flush()
            self._disconnect()

    # -- the file ------------------------------------------------------------------------------------------------------

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

    def _read(self, where: str, values: Sequence[Any]) -> Records:
        return [record_of(row) for row in self._select(f"SELECT {', '.join(COLUMNS)} FROM jobs {where}", values)]  # noqa: S608

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
