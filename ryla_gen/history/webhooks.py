"""Keep in the journal which webhooks are still to be told, so that it is done though a process ends. Must not send anything."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from ..events import now
from .base import from_column, text, to_timestamp

if TYPE_CHECKING:
    from . import History


@dataclass(frozen=True, slots=True)
class DueWebhook:
    """One event that is to be told now, by whoever took it from the journal."""

    job: str
    """The job that it is about."""
    url: str = field(repr=False)
    """The receiver's address, which may hold a token."""
    event: dict[str, Any] = field(repr=False)
    """What is told; empty where the journal is damaged."""
    tries: int
    """How often it was taken, this time included."""
    added_at: str
    """When the job ended; ISO 8601 UTC."""


class Outbox:
    """The journal's webhooks: one for each job and address, from the job's start until it was told or given up.

    What is next about one, its columns say:

    - ``event`` is empty: the job has not ended, or no process has seen that it has.
    - ``next_try`` is set: it is to be told then. Whoever takes it moves that into the future, so no other process takes it
      meanwhile; if that process ends, it is due again.
    - ``told_at`` or ``given_up_at`` is set: nothing more happens. The row stays, so that the same end is not told anew.

    Args:
        history: the journal.

    """

    def __init__(self, history: History) -> None:
        self._history = history

    def register(self, job: str, url: str, *, include_prompt: bool = False) -> None:
        """Write down, before a job is sent, whom its end is told; another process that sees the end can then do it."""
        sql = "INSERT INTO webhooks (job, url, include_prompt) VALUES (?, ?, ?) ON CONFLICT DO NOTHING"
        self._history._write(sql, (text(job), text(url), int(include_prompt)))

    def registered(self, job: str) -> Sequence[tuple[str, bool]]:
        """Return each address that the end of a job is still to be told, and whether its prompt is told there."""
        sql = "SELECT url, include_prompt FROM webhooks WHERE job = ? AND event IS NULL AND told_at IS NULL AND given_up_at IS NULL"
        return [(url, bool(prompt)) for url, prompt in self._history._select(sql, (text(job),))]

    def knows(self, job: str) -> bool:
        """Whether anything is written down about the webhooks of a job; nothing is where the journal cannot be used."""
        return bool(self._history._select("SELECT 1 FROM webhooks WHERE job = ? LIMIT 1", (text(job),)))

    def add(self, job: str, url: str, event: Mapping[str, Any], *, due_in: float = 0.0, at: datetime | None = None) -> None:
        """Write down an event that is to be told; of one job's end the first event stands.

        Args:
            job: the job that ended.
            url: the receiver's address.
            event: what is told.
            due_in: seconds from now until it is due: time for this process to tell it by itself.
            at: now.

        """
        sql = """
            INSERT INTO webhooks (job, url, include_prompt, event, added_at, next_try) VALUES (?, ?, 0, ?, ?, ?)
            ON CONFLICT (job, url) DO UPDATE SET event = excluded.event, added_at = excluded.added_at, next_try = excluded.next_try
            WHERE event IS NULL AND told_at IS NULL AND given_up_at IS NULL"""
        written = json.dumps(event, separators=(",", ":"))
        self._history._write(sql, (text(job), text(url), written, _time(0.0, at), _time(due_in, at)))

    def take_due(self, limit: int, lease: float, *, at: datetime | None = None) -> Sequence[DueWebhook]:
        """Take events that are due: no other process gets them for a while.

        Args:
            limit: most of them.
            lease: seconds until they are due again, if nothing is written down about them.
            at: now.

        """
        # One statement, so that two processes never choose the same rows.
        sql = """
            UPDATE webhooks SET next_try = ?, tries = tries + 1
            WHERE rowid IN (SELECT rowid FROM webhooks WHERE next_try <= ? ORDER BY next_try LIMIT ?)
            RETURNING job, url, event, tries, added_at"""
        rows = self._history._select(sql, (_time(lease, at), _time(0.0, at), limit))
        return [DueWebhook(job, url, from_column(event, dict), tries, added or "") for job, url, event, tries, added in rows]

    def told(self, job: str, url: str) -> None:
        """Write down that an event was delivered; the event itself, which may hold a prompt, is kept no longer."""
        sql = "UPDATE webhooks SET told_at = ?, event = NULL, next_try = NULL, reason = NULL WHERE job = ? AND url = ?"
        self._history._write(sql, (now(), text(job), text(url)))

    def postpone(self, job: str, url: str, seconds: float, reason: str, *, at: datetime | None = None) -> None:
        """Write down that an event was not delivered, why, and in how many seconds it is due again."""
        sql = "UPDATE webhooks SET next_try = ?, reason = ? WHERE job = ? AND url = ? AND told_at IS NULL"
        self._history._write(sql, (_time(seconds, at), text(reason), text(job), text(url)))

    def give_up(self, job: str, url: str, reason: str) -> None:
        """Write down that an event is never told, and why."""
        sql = """
            UPDATE webhooks SET given_up_at = ?, event = NULL, next_try = NULL, reason = ?
            WHERE job = ? AND url = ? AND told_at IS NULL"""
        self._history._write(sql, (now(), text(reason), text(job), text(url)))

    def waiting(self) -> int:
        """Count the events that are still to be told, now or later."""
        rows = self._history._select("SELECT COUNT(*) FROM webhooks WHERE next_try IS NOT NULL", ())
        return int(rows[0][0]) if rows else 0

    def awaited(self) -> Sequence[str]:
        """Return the jobs whose end is to be told, and has been seen by no process yet; the oldest first."""
        sql = "SELECT DISTINCT job FROM webhooks WHERE event IS NULL AND told_at IS NULL AND given_up_at IS NULL ORDER BY rowid"
        return [job for (job,) in self._history._select(sql, ())]


def _time(seconds: float, at: datetime | None) -> str:
    """Return the time so many seconds from ``at``, or from now, as the journal writes it."""
    return to_timestamp((at or datetime.now(UTC)) + timedelta(seconds=seconds))
