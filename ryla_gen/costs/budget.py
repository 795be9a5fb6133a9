"""Decide whether a job may start, and how long it may run. Must not read a journal: numbers in, numbers or a refusal out.

A job is refused when its *likely* cost is over a limit, and it is stopped before its *real* cost is: the money reserved for
it, at the dearest price that the configuration allows, bounds the seconds that it may run.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from ..errors import BudgetExceededError, StorageFailedError

HEADROOM = 3.0
"""How many times its likely cost a job reserves even when little is left: estimates are rough, and a job that is stopped just
before its end is paid for all the same."""
QUEUED_SECONDS = 1800.0
"""Longest time that a job waits for its turn before a backend gives it up (see ``backends/modal.py``)."""
MARGIN_SECONDS = 300.0
"""Loading and saving, on top of the longest wait and the time limit, after which a reservation that was never released expires."""


def money(usd: float) -> str:
    """Format US dollars with enough digits to differ from 0."""
    return f"${usd:.4f}" if usd >= 0.001 or not usd else f"${usd:.2g}"


def check_call(estimate_usd: float, limit_usd: float | None) -> None:
    """Refuse a job that would likely cost more than one call may.

    Raises:
        BudgetExceededError: it would.
    """
    if limit_usd is None or estimate_usd <= limit_usd:
        return
    raise BudgetExceededError(
        f"It would cost about {money(estimate_usd)}, but one call may cost at most {money(limit_usd)}. Nothing was sent.",
        "Allow more: --max-usd USD, RYLA_GEN_MAX_USD, or ryla-gen config set max_usd USD. Or ask for fewer steps or pixels.",
        {"estimate_usd": estimate_usd, "limit_usd": limit_usd, "setting": "max_usd"},
    )


def check_batch(estimate_usd: float, rows: int, limit_usd: float | None, taken_usd: float) -> None:
    """Refuse a batch that would likely cost more than what is left of the day.

    Raises:
        BudgetExceededError: it would.
    """
    if limit_usd is None or estimate_usd <= limit_usd - taken_usd:
        return
    text = f"The {rows} rows would cost about {money(estimate_usd)}, but only {money(max(0.0, limit_usd - taken_usd))} of today's"
    raise BudgetExceededError(
        f"{text} {money(limit_usd)} are left. Nothing was sent.",
        f"{DAY_HINT} Or run fewer rows.",
        {"estimate_usd": estimate_usd, "limit_usd": limit_usd, "taken_usd": taken_usd, "setting": "max_usd_per_day"},
    )


DAY_HINT = "Allow more: RYLA_GEN_MAX_USD_PER_DAY, or ryla-gen config set max_usd_per_day USD. A day begins at 00:00 UTC."


def day_exceeded(estimate_usd: float, limit_usd: float, spent_usd: float, held_usd: float) -> BudgetExceededError:
    """Make the error for a job for which too little is left of the day's budget."""
    held = f" and jobs under way hold {money(held_usd)}" if held_usd else ""
    return BudgetExceededError(
        f"It would cost about {money(estimate_usd)}; today's jobs have cost {money(spent_usd)}{held}"
        f" of {money(limit_usd)}. Nothing was sent.",
        f"{DAY_HINT} See where it was spent: ryla-gen costs --by workflow --since 1d",
        {
            "estimate_usd": estimate_usd,
            "limit_usd": limit_usd,
            "spent_usd": spent_usd,
            "held_usd": held_usd,
            "setting": "max_usd_per_day",
        },
    )


def unknown_day(path: str) -> StorageFailedError:
    """Make the error for a job when it is not known what the day has cost."""
    return StorageFailedError(
        f"The day's budget cannot be checked: the journal {path} cannot be used. Nothing was sent.",
        "Repair or move that file, or remove the limit: ryla-gen config unset max_usd_per_day",
        {"file": path, "setting": "max_usd_per_day"},
    )


def wanted_usd(most: float, per_call: float | None) -> float:
    """Return what a job would reserve of the day's budget if enough were left: all that it can cost.

    An estimate would be too little: the first graph of a container loads its weights, which may take longer than the graph.

    Args:
        most: what it costs when it runs to its time limit, in US dollars.
        per_call: what one call may cost, in US dollars; None is no limit.

    """
    return most if per_call is None else min(most, per_call)


def expiry(seconds: float) -> str:
    """Return when the reservation of a job that may run so many seconds expires; ISO 8601 UTC."""
    end = datetime.now(UTC) + timedelta(seconds=QUEUED_SECONDS + seconds + MARGIN_SECONDS)
    return end.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def today() -> str:
    """Return when the budget's day began: 00:00 UTC."""
    return datetime.now(UTC).strftime("%Y-%m-%dT00:00:00.000Z")
