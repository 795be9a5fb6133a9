"""Keep every job of this machine and its cost in one SQLite file, the journal, which several processes share.

A job is written here before anything is spent. Nothing here may cost a generation: what cannot be written is kept in
memory, warned of once, and written when the file works again. Must not hold a picture, only its hash and size, nor know a backend.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from ..errors import InternalError, InvalidInputError, StorageFailedError
from ..events import FINAL_STATES, now
from .base import (
    CHANGEABLE_COLUMNS,
    COLUMNS,
    HELD,
    NOT_FORGOTTEN,
    Record,
    Records,
    record_of,
    text,
    to_column,
    to_timestamp,
    where_clause,
)
from .counting import JobEnd, JobRun, JobSpan, ends, runs, spans
from .erasing import erase, wipe
from .files import transaction
from .journal_file import JournalFile
from .reserving import TAGGED, Reservation, reserve
from .spending import OF_CHARACTER, CostRow, cost_rows
from .users import UserUsage, chosen, known_names, stored_user

__all__ = ["CostRow", "History", "JobEnd", "JobRun", "JobSpan", "Record", "Records", "Reservation", "UserUsage"]


class History(JournalFile):
    """The journal in one file. Opened at the first use; every method may be called from any thread, and is quick.

    Args:
        path: the SQLite file; made when it is not there, readable by its owner only.

    """

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
        user: str | None = None,
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
            user: the user for whom it runs, as :meth:`stored_user` returns it.

        """
        row: dict[str, Any] = {"id": job, "handle": handle, "backend": backend, "workflow": workflow, "inputs": dict(inputs)}
        row |= {"state": "queued", "seed": seed, "created_at": now(), "tags": list(tags), "parent": parent}
        row |= {"server": server, "process": process, "user": user}
        marks = ", ".join("?" * len(row))
        sql = f"INSERT INTO jobs ({', '.join(row)}) VALUES ({marks}) ON CONFLICT (id) DO NOTHING"  # noqa: S608 - our own names
        self._write(sql, tuple(to_column(name, value) for name, value in row.items()))

    def reserve(self, job: str, purse: Reservation, row: Mapping[str, Any]) -> Reservation | None:
        """Reserve money for a job and record the job in one transaction: two processes cannot both take the last of a budget.

        Args:
            job: its uuid4; one that is there already gets this reservation in place of its own.
            purse: what it may take, and what is allowed in all.
            row: ``backend``, ``workflow``, ``inputs`` and, where there are some, ``seed``, ``tags``, ``parent``, ``server``,
                ``process`` and ``user``.

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
        found = self._read(
            f"WHERE id >= ? AND id < ? AND {NOT_FORGOTTEN} ORDER BY created_at DESC LIMIT 4", (beginning, beginning + "\U0010ffff")
        )
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
        user: str | None = None,
        character: str | None = None,
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
            user: only those of this user: the id, also where the journal keeps hashes.
            character: only those of this character, as costs count them.

        Raises:
            InvalidInputError: ``since`` is not a valid date or time.

        """
        columns = {"workflow": workflow, "backend": backend, "state": state, "parent": parent}
        where, values = where_clause(since, saved_in, **columns)
        words = [text(tag) for tag in tags]
        tagged = ["EXISTS (SELECT 1 FROM json_each(tags) WHERE value = ?)"] * len(words)
        names = self.user_names(user)
        if character is not None:
            tagged, words = [*tagged, f"{OF_CHARACTER} = ?"], [*words, text(character)]
        terms = " AND ".join(filter(None, [where, *tagged, chosen(names) if names else "", NOT_FORGOTTEN]))
        order = "ORDER BY created_at DESC, rowid DESC LIMIT ?"
        return self._read(f"WHERE {terms} {order}", (*values, *words, *names, -1 if limit is None else limit))

    def stored_user(self, user: str, *, hashed: bool) -> str:
        """Return a user as a new job is written down: the id, or its hash with the key that lies beside the journal.

        Raises:
            InvalidInputError: it cannot be a user's id.
            StorageFailedError: the key cannot be used.

        """
        return stored_user(self.path.parent, user, hashed=hashed)

    def user_names(self, user: str | None) -> tuple[str, ...]:
        """Return every form in which the journal may hold a user; none for None.

        Raises:
            InvalidInputError: it cannot be a user's id.
            StorageFailedError: the key cannot be used.

        """
        return () if user is None else known_names(self.path.parent, user)

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

    def taken_usd(self, since: str | datetime, user: str | None = None) -> float:
        """Sum up what jobs since then have cost and what jobs under way hold, in US dollars; all of them, or those of a user.

        Raises:
            InvalidInputError: ``since`` is not a valid date or time, or that cannot be a user's id.

        """
        names = self.user_names(user)
        of_user = f" AND {chosen(names)}" if names else ""
        spent = f"SELECT TOTAL(cost_usd) FROM jobs WHERE created_at >= ?{of_user}"  # noqa: S608 - our own words
        held = f"SELECT TOTAL(reserved_usd) FROM jobs WHERE {HELD}{of_user}"  # noqa: S608 - as above
        rows = [*self._select(spent, (to_timestamp(since), *names)), *self._select(held, (now(), *names))]
        return sum(float(row[0]) for row in rows)

    def tagged_usd(self, tag: str) -> tuple[float, float]:
        """Sum up what the jobs with a tag have cost, and what those under way hold, in US dollars."""
        rows = self._select(TAGGED, (text(tag), ""))
        return (float(rows[0][0]), float(rows[0][1])) if rows else (0.0, 0.0)

    def costs(self, by: str = "day", since: str | datetime | None = None) -> Sequence[CostRow]:
        """Sum up what jobs cost.

        Args:
            by: ``day`` (UTC), ``workflow``, ``character``, ``backend`` or ``user``.
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

    def forget(self, jobs: Iterable[str]) -> bool:
        """Erase jobs, also from the pages of the file that SQLite no longer uses. Of one that cost money stays an anonymous row.

        Returns:
            Whether nothing of them is left in the file; False while another process reads it, and so keeps the write-ahead log.

        Raises:
            StorageFailedError: the file cannot be used; what was erased before stays erased.

        """
        with self._lock:
            if self._waiting:
                self._flush()
            try:
                connection = self._open()
                if connection is None or self._waiting:
                    raise self._unusable("it cannot be written, or belongs to a newer version of ryla-gen")
                with transaction(connection):
                    erase(connection, [text(job) for job in jobs])
                return wipe(connection)
            except (sqlite3.Error, OSError) as error:
                raise self._unusable(str(error)) from None

    def _unusable(self, reason: str) -> StorageFailedError:
        text = f"Nothing, or not all, was erased from the journal {self.path}: {reason}."
        return StorageFailedError(text, "Run it again when no other process writes to it.", {"file": str(self.path)})

    def _read(self, where: str, values: Sequence[Any]) -> Records:
        return [record_of(row) for row in self._select(f"SELECT {', '.join(COLUMNS)} FROM jobs {where}", values)]  # noqa: S608
