"""How long a job may run for the money that was allowed. Pure: prices and limits in, seconds or a refusal out."""

from __future__ import annotations

from .errors import BudgetExceededError


def affordable_seconds(usd_per_second: float, *, per_call: float | None, per_day: float | None, spent_today: float) -> float | None:
    """Return the seconds after which a job has used up what was allowed; None when nothing limits it.

    This is a bound, not an estimate: a job is never refused for what it might cost, only stopped before it costs more.

    Args:
        usd_per_second: what the backend costs while a graph runs; 0 is free.
        per_call: US dollars one job may cost.
        per_day: US dollars all jobs of a day may cost.
        spent_today: US dollars that the journal knows of today.

    Raises:
        BudgetExceededError: the day's allowance is spent, or the job's is zero.
    """
    if usd_per_second <= 0:
        return None
    allowed = [limit for limit in (per_call, None if per_day is None else per_day - spent_today) if limit is not None]
    if not allowed:
        return None
    rest = min(allowed)
    if rest <= 0:
        which = f"Today's jobs have cost ${spent_today:.4f} of ${per_day:.4f}." if per_day is not None else "Nothing may be spent."
        details = {"limit_usd": per_call if per_day is None else per_day, "spent_usd": spent_today}
        raise BudgetExceededError(which, details=details)
    return rest / usd_per_second
