"""Erase jobs from the journal's file for good. Of one that cost money an anonymous row stays, so that costs still add up."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from .base import FORGOTTEN

_ANONYMOUS = f"""
UPDATE jobs SET id = '{FORGOTTEN}' || lower(hex(randomblob(16))), created_at = substr(created_at, 1, 10) || 'T00:00:00.000Z',
    inputs = '{{}}', tags = '[]', outputs = '[]', handle = NULL, error = NULL, seed = NULL, started_at = NULL, finished_at = NULL,
    gpu = NULL, parent = NULL, reserved_usd = NULL, expires_at = NULL, skipped = NULL, saved = NULL, server = NULL, process = NULL,
    output_to = NULL, user = NULL
WHERE id = ? AND cost_usd > 0"""  # noqa: S608 - our own words
"""Keeps workflow, backend, state, day, seconds on a GPU and cost of a job, under an id that leads nowhere."""


def erase(connection: sqlite3.Connection, jobs: Sequence[str]) -> None:
    """Erase jobs. Call it inside a transaction.

    Args:
        connection: the journal's.
        jobs: their ids; one that is not there changes nothing.
    """
    connection.execute("PRAGMA secure_delete = ON")
    for job in jobs:
        connection.execute(_ANONYMOUS, (job,))
        connection.execute("DELETE FROM jobs WHERE id = ?", (job,))
        connection.execute("DELETE FROM webhooks WHERE job = ?", (job,))


def wipe(connection: sqlite3.Connection) -> bool:
    """Write the file anew without what was erased, and empty the write-ahead log; return whether the log could be emptied.

    A deleted row's text stays in pages that are free, and in the log, until something else is written there.
    """
    connection.execute("VACUUM")
    return not connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
