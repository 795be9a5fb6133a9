"""Reserve money for jobs that have not ended, so that several processes share one budget. Must not decide prices."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from ..events import FINAL_STATES, now
from .base import HELD
from .users import UserUsage, count_usage

CHANGED = frozenset({"backend", "server", "process", "reserved_usd", "expires_at"})
"""Columns that are written anew when a job in the journal is sent again, or to another backend."""
SHARE = 0.25
"""Share of what is left that one job may reserve beyond :attr:`Purse.decent_usd`. Without this bound the first of several jobs
would reserve it all, and the others be refused although there is money for them."""

_OPEN = f"CASE WHEN state NOT IN ({', '.join(map(repr, sorted(FINAL_STATES)))}) THEN reserved_usd END"
TAGGED = f"""
    SELECT TOTAL(cost_usd), TOTAL({_OPEN}) FROM jobs
    WHERE EXISTS (SELECT 1 FROM json_each(tags) WHERE value = ?) AND id <> ?"""  # noqa: S608 - our own words
"""SQL of what the jobs with a tag have cost, and of what those of them hold whose ends are not known; without one job. These
reservations do not expire: the program that has the allowance still lives, and sees how its jobs end."""


@dataclass(frozen=True, slots=True)
class Reservation:
    """One job's request to a shared budget, and the amount reserved for it."""

    needed_usd: float
    """US dollars below which the job is not worth starting: its likely cost."""
    decent_usd: float
    """US dollars with which it has a good chance to end by itself; it takes so much even when little is left."""
    wanted_usd: float
    """US dollars to reserve for it, within the :data:`SHARE` of what is left: all that it can cost."""
    expires_at: str
    """When the reservation ends by itself; ISO 8601 UTC."""
    since: str
    """Jobs submitted before this count only while they run."""
    limit_usd: float | None = None
    """US dollars allowed in all; None is no limit."""
    tag: str = ""
    """Word of the jobs that have an allowance of their own besides."""
    tag_limit_usd: float | None = None
    """US dollars allowed to these, whenever they were submitted; None is no limit."""
    spent_usd: float = 0.0
    """US dollars that jobs since then have cost."""
    held_usd: float = 0.0
    """US dollars that jobs under way have reserved."""
    tag_spent_usd: float = 0.0
    """US dollars that jobs with that tag have cost."""
    tag_held_usd: float = 0.0
    """US dollars that jobs with it hold, until their ends are known."""
    reserved_usd: float | None = None
    """US dollars reserved for this job; None when it was refused, and then nothing was written."""
    user: UserUsage | None = None
    """What the user may take for whom it runs; None is no user, or no limit."""

    @property
    def left_usd(self) -> float | None:
        """US dollars that this job could have taken; None is no limit."""
        lefts = (self.day_left_usd, self.tag_left_usd, self.user.left_usd if self.user is not None else None)
        return min((left for left in lefts if left is not None), default=None)

    @property
    def day_left_usd(self) -> float | None:
        """US dollars left of what is allowed in all; None is no limit."""
        return None if self.limit_usd is None else self.limit_usd - self.spent_usd - self.held_usd

    @property
    def tag_left_usd(self) -> float | None:
        """US dollars left of what the tag's jobs are allowed; None is no limit."""
        return None if self.tag_limit_usd is None else self.tag_limit_usd - self.tag_spent_usd - self.tag_held_usd

    @property
    def refused_by(self) -> str:
        """The setting whose limit this job would pass; empty for none."""
        if self.user is not None and self.user.exceeded:
            return self.user.exceeded
        lefts = {
            "users.max_usd_per_day": self.user.left_usd if self.user is not None else None,
            "allowance": self.tag_left_usd,
            "max_usd_per_day": self.day_left_usd,
        }
        return next((name for name, left in lefts.items() if left is not None and (left <= 0 or left < self.needed_usd)), "")


def reserve(connection: sqlite3.Connection, job: str, purse: Reservation, row: Mapping[str, Any]) -> Reservation:
    """Reserve what a job wants, or what is left. Call it inside an immediate transaction: it reads, decides and writes.

    Args:
        connection: the journal's.
        job: its id.
        purse: what it asks for.
        row: the job's columns, as the file holds them.

    """
    spent = "SELECT TOTAL(cost_usd) FROM jobs WHERE created_at >= ? AND id <> ?"
    # Without the job's own row, which is in the journal already when the job moves to another backend.
    held = f"SELECT TOTAL(reserved_usd) FROM jobs WHERE {HELD} AND id <> ?"  # noqa: S608 - our own words
    tagged = connection.execute(TAGGED, (purse.tag, job)).fetchone() if purse.tag else (0.0, 0.0)
    found = replace(
        purse,
        tag_spent_usd=float(tagged[0]),
        tag_held_usd=float(tagged[1]),
        spent_usd=float(connection.execute(spent, (purse.since, job)).fetchone()[0]),
        held_usd=float(connection.execute(held, (now(), job)).fetchone()[0]),
        user=count_usage(connection, job, purse.user, purse.since) if purse.user is not None else None,
    )
    if found.refused_by:
        return found
    left = found.left_usd
    given = purse.wanted_usd if left is None else min(purse.wanted_usd, left, max(purse.decent_usd, left * SHARE))
    found = replace(found, reserved_usd=given)
    # One row per job: a job that is sent again, or to another backend, replaces its reservation and never holds two.
    columns = {**row, "reserved_usd": found.reserved_usd, "expires_at": purse.expires_at}
    again = ", ".join(f"{name} = excluded.{name}" for name in {**row, "reserved_usd": 0, "expires_at": 0} if name in CHANGED)
    names, marks = ", ".join(columns), ", ".join("?" * len(columns))
    sql = f"INSERT INTO jobs ({names}) VALUES ({marks}) ON CONFLICT (id) DO UPDATE SET {again}"  # noqa: S608 - our own names
    connection.execute(sql, tuple(columns.values()))
    return found
