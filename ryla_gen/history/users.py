"""Name users as the journal holds them, and count what one of them has taken. Must not decide what a user may take."""

from __future__ import annotations

import os
import re
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from ..errors import InvalidInputError, StorageFailedError
from ..events import now
from ..support.control_characters import CLASS
from .base import HELD, to_timestamp
from .processes import has_ended

LONGEST_USER = 200
"""Characters of a user's id at most: a UUID, an e-mail address or an OpenID subject fits."""
KEY_FILE = "users.key"
"""File beside the journal, with the random key of the hashes: without it none can be made again, nor be found out by trying ids."""
KEY_BYTES = 32
HASHED = "hmac:"
"""Beginning of a user whose id the journal keeps as a hash."""
HASH_DIGITS = 40
"""Hexadecimal digits of a hash: 160 bits never meet by chance."""
MINUTE = 60.0
"""Seconds that jobs count against a limit for each minute."""
_HASH = re.compile(rf"{HASHED}[0-9a-f]{{{HASH_DIGITS}}}")
_UNFIT = re.compile(f"[{CLASS}\t\n\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class UserUsage:
    """What one user may take, and what the user's jobs have taken."""

    names: tuple[str, ...]
    """The user, in each form in which the journal may hold the id."""
    max_usd: float | None = None
    """US dollars of one day; None is no limit, as for the others."""
    max_jobs_per_minute: int | None = None
    max_running: int | None = None
    """Jobs that have not ended."""
    spent_usd: float = 0.0
    """US dollars that the user's jobs have cost since the day began."""
    held_usd: float = 0.0
    """US dollars that the user's jobs under way have reserved."""
    lately: int = 0
    """Jobs of the last minute, counted up to the limit."""
    running: int = 0
    wait: float = 0.0
    """Seconds until another job is within the limit for each minute."""

    @property
    def left_usd(self) -> float | None:
        """US dollars that the user may still spend today; None is no limit."""
        return None if self.max_usd is None else self.max_usd - self.spent_usd - self.held_usd

    @property
    def setting(self) -> str:
        """One of the settings that limit the user."""
        limits = {"max_usd_per_day": self.max_usd, "max_jobs_per_minute": self.max_jobs_per_minute, "max_running": self.max_running}
        return next((f"users.{name}" for name, limit in limits.items() if limit is not None), "")

    @property
    def exceeded(self) -> str:
        """The setting whose number of jobs is reached; empty for none."""
        if self.max_jobs_per_minute is not None and self.lately >= self.max_jobs_per_minute:
            return "users.max_jobs_per_minute"
        return "users.max_running" if self.max_running is not None and self.running >= self.max_running else ""


def check_user(user: object) -> None:
    """Refuse what cannot be a user's id.

    Raises:
        InvalidInputError: it is no text of 1 to 200 characters, or has control characters.
    """
    if not isinstance(user, str) or not user.strip() or len(user) > LONGEST_USER or _UNFIT.search(user):
        said = f"{user!r:.60}" if isinstance(user, str) else type(user).__name__
        text = f"A user's id is a text of 1 to {LONGEST_USER} characters without control characters, not {said}."
        raise InvalidInputError(text, "Give the id under which your app knows the user, or leave it out.")


def stored_user(home: Path, user: str, *, hashed: bool) -> str:
    """Return a user as a new job is journaled: the id, or its hash.

    Args:
        home: the folder of the journal.
        user: the id; a hash stands for itself, so that what the journal says can be given again.
        hashed: whether the journal keeps a hash. The key is made at the first use.

    Raises:
        StorageFailedError: the key cannot be read or written.
    """
    check_user(user)
    return _hash(_key(home), user) if hashed and not is_hash(user) else user


def known_names(home: Path, user: str) -> tuple[str, ...]:
    """Return every form in which the journal may hold a user: the setting may have been another when a job was written.

    Raises:
        InvalidInputError: it cannot be a user's id.
        StorageFailedError: the key cannot be read.
    """
    check_user(user)
    return (user, _hash(_key(home), user)) if (home / KEY_FILE).exists() and not is_hash(user) else (user,)


def is_hash(user: str) -> bool:
    """Whether this is a user as a journal with hashes holds it."""
    return _HASH.fullmatch(user) is not None


def _hash(key: bytes, user: str) -> str:
    import hmac  # few journals keep hashes

    return HASHED + hmac.new(key, user.encode(), "sha256").hexdigest()[:HASH_DIGITS]


def _key(home: Path) -> bytes:
    from ..support.file_locks import file_lock

    path = home / KEY_FILE
    try:
        if not path.exists():
            home.mkdir(mode=0o700, parents=True, exist_ok=True)
            with file_lock(home / f".{KEY_FILE}.lock"):  # two keys would make two users of one
                if not path.exists():
                    _make_key(path)
        key = path.read_bytes()
    except OSError as error:
        raise _no_key(path, error.strerror or str(error)) from None
    if len(key) != KEY_BYTES:
        raise _no_key(path, f"it has {len(key)} bytes instead of {KEY_BYTES}")
    return key


def _make_key(path: Path) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.unlink(missing_ok=True)
    with open(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:  # noqa: PTH123 - the mode
        file.write(os.urandom(KEY_BYTES))
    temporary.replace(path)


def _no_key(path: Path, reason: str) -> StorageFailedError:
    hint = f"Bring back {path.name} from a backup, or journal the ids themselves: ryla-gen config unset users.hash"
    return StorageFailedError(f"The key of the users' hashes, {path}, cannot be used: {reason}.", hint, {"file": str(path)})


def chosen(names: Sequence[str]) -> str:
    """Return the SQL term of jobs of a user; it compares with each of the names."""
    return f"user IN ({', '.join('?' * len(names))})"


def count_usage(connection: sqlite3.Connection, job: str, usage: UserUsage, since: str) -> UserUsage:
    """Count what a user's jobs have taken, without the given one, which may be in the journal already.

    Args:
        connection: the journal's, inside the transaction that writes the job.
        job: id of the job that asks.
        usage: the user and the limits.
        since: when the day of the budget began.
    """
    of_user, values = f"{chosen(usage.names)} AND id <> ?", (*usage.names, job)
    spent = f"SELECT TOTAL(cost_usd) FROM jobs WHERE created_at >= ? AND {of_user}"  # noqa: S608 - our own words, as below
    held = f"SELECT reserved_usd, backend, process FROM jobs WHERE {HELD} AND {of_user}"  # noqa: S608
    alive = [row for row in connection.execute(held, (now(), *values)) if not (row[1] == "emulator" and has_ended(row[2]))]
    lately, wait = _lately(connection, usage, of_user, values)
    return replace(
        usage,
        spent_usd=float(connection.execute(spent, (since, *values)).fetchone()[0]),
        held_usd=sum(row[0] or 0.0 for row in alive),
        running=len(alive),
        lately=lately,
        wait=wait,
    )


def _lately(connection: sqlite3.Connection, usage: UserUsage, of_user: str, values: Sequence[str]) -> tuple[int, float]:
    """Count the jobs of the last minute, and say how long the oldest that fills the limit still counts."""
    moment = datetime.now(UTC)
    sql = f"SELECT created_at FROM jobs WHERE created_at > ? AND {of_user} ORDER BY created_at DESC LIMIT ?"  # noqa: S608
    begin = to_timestamp(moment - timedelta(seconds=MINUTE))
    rows = connection.execute(sql, (begin, *values, usage.max_jobs_per_minute or 0)).fetchall()
    if not rows:
        return 0, 0.0 if usage.max_jobs_per_minute != 0 else MINUTE
    oldest = (datetime.fromisoformat(rows[-1][0]) - moment).total_seconds()
    return len(rows), min(MINUTE, max(0.0, oldest + MINUTE))
