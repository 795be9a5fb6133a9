"""Sum up what the journal's jobs cost, by day, workflow, character, backend or user. Must not guess a cost that is not recorded."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import InvalidInputError

CHARACTER = "character:"
"""Beginning of the tag that says whom a job shows."""

OF_CHARACTER = f"""COALESCE(
    (SELECT substr(value, {len(CHARACTER) + 1}) FROM json_each(tags) WHERE value LIKE '{CHARACTER}%' LIMIT 1),
    CASE WHEN json_valid(inputs) THEN COALESCE(json_extract(inputs, '$.lora_id'), json_extract(inputs, '$.loras[0].id')) END,
    '')"""  # noqa: S608 - our own words
PARENTS = "id NOT IN (SELECT parent FROM jobs WHERE parent IS NOT NULL)"
"""SQL of a job that is not made of others."""
GROUPINGS = {
    "day": "substr(created_at, 1, 10)",
    "workflow": "workflow",
    "character": OF_CHARACTER,
    "backend": "backend",
    "user": "COALESCE(user, '')",
}
"""Grouping → the SQL of its key."""

Select = Callable[[str, Sequence[Any]], Sequence[tuple[Any, ...]]]
"""Runs a query on the journal."""


@dataclass(frozen=True, slots=True)
class CostRow:
    """The cost of the jobs in one group."""

    key: str
    """The day (UTC), workflow, character, backend or user; empty for jobs of no character or user."""
    jobs: int
    succeeded: int
    failed: int
    """Failed, canceled or expired."""
    gpu_seconds: float
    """Seconds on a GPU."""
    usd: float
    """US dollars, failures included as far as their cost is known."""
    reserved_usd: float
    """US dollars that jobs under way have reserved."""

    @property
    def usd_each(self) -> float | None:
        """US dollars for each job that succeeded, failures paid along; None when none did."""
        return self.usd / self.succeeded if self.succeeded else None


def cost_rows(select: Select, by: str, since: str | None) -> Sequence[CostRow]:
    """Sum up by a grouping: days in order, all others by their cost. Jobs made of others count as those others.

    Raises:
        InvalidInputError: there is no such grouping.

    """
    if by not in GROUPINGS:
        raise InvalidInputError(f"Costs cannot be grouped by {by!r}.", f"Group them by one of: {', '.join(GROUPINGS)}.")
    over = "state IN ('failed', 'canceled', 'expired')"
    order = "1" if by == "day" else "6 DESC, 2 DESC, 1"
    sql = f"""
        SELECT {GROUPINGS[by]} AS grouped, COUNT(*), SUM(state = 'succeeded'), SUM({over}), TOTAL(gpu_seconds), TOTAL(cost_usd),
            TOTAL(CASE WHEN state IN ('queued', 'running') AND expires_at > strftime('%Y-%m-%dT%H:%M:%fZ', 'now')
                THEN reserved_usd END)
        FROM jobs WHERE created_at >= ? AND {PARENTS}
        GROUP BY grouped ORDER BY {order}"""  # noqa: S608 - our own words
    return [CostRow(str(row[0]), *row[1:]) for row in select(sql, (since or "",))]
