"""Open, check and migrate SQLite files for the journal, one write transaction at a time. Must not know a column."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .schema import MIGRATIONS, SCHEMA

BUSY_SECONDS = 2.0
"""How long a write waits for another process; writes take under a millisecond, so this is a stuck one."""
CORRUPT = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
"""Codes of a file that is no database (any more)."""


def make_private(path: Path) -> None:
    """Make a file and its folder readable by their owner only: prompts are private."""
    if not path.parent.exists():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with suppress(FileExistsError):
        # Created before SQLite opens it: SQLite would use the umask, and prompts would be readable for others.
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))


def is_corrupt(path: Path) -> bool:
    """Whether a file is not a sound SQLite file."""
    connection = sqlite3.connect(path, timeout=BUSY_SECONDS)
    try:
        answer = connection.execute("PRAGMA quick_check(1)").fetchone()
        return answer is None or answer[0] != "ok"
    except sqlite3.DatabaseError as error:
        return getattr(error, "sqlite_errorcode", 0) & 0xFF in CORRUPT
    finally:
        connection.close()


def use_wal(connection: sqlite3.Connection, patience: float) -> None:
    """Switch to WAL, so that readers and a writer do not wait for each other. SQLite does not wait at this switch: we do."""
    deadline = time.monotonic() + patience
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def version(connection: sqlite3.Connection) -> int:
    """Return the version of the table that a file has."""
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Write all of the block or none of it; no other process writes meanwhile."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        with suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        raise


def migrate(connection: sqlite3.Connection) -> None:
    """Upgrade an older file to this version's table."""
    if version(connection) < SCHEMA:
        with transaction(connection):  # checked again inside the transaction: another process may have migrated the file meanwhile
            for old in range(version(connection), SCHEMA):
                for statement in filter(str.strip, MIGRATIONS[old].split(";")):
                    connection.execute(statement)
                connection.execute(f"PRAGMA user_version = {old + 1}")
