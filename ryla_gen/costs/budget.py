"""Decide whether a job may start, and how long it may run. Must not read a journal: numbers in, numbers or a refusal out.

A job is refused when its *likely* cost is over a limit, and it is stopped before its *real* cost is: the money reserved for
it, at the dearest price that the configuration allows, bounds the seconds that it may run.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from ..errors import BudgetExceededError, GenerationTimeoutError, RylaGenError, StorageFailedError, TooManyRequestsError
from ..history import Reservation, UserUsage
from ..settings import Settings
from ..settings.allowance import Allowance
from ..support.counting import count_text
from ..support.numbers import format_significant

HEADROOM = 3.0
"""How many times its likely cost a job reserves even when little is left: estimates are rough, and a job that is stopped just
before its end is paid for all the same."""
QUEUED_SECONDS = 1800.0
"""Longest time that a job waits for its turn before a backend gives it up (see ``backends/modal.py``)."""
MARGIN_SECONDS = 300.0
"""Loading and saving, on top of the longest wait and the time limit, after which a reservation that was never released expires."""
RETRY_SECONDS = 5.0
"""Advised wait of a user with too many jobs under way: when one of them will end is not known."""
SHORTEST_WAIT = 0.001
"""Least advised wait, in seconds: 0 would say that trying again at once is right."""


def money(usd: float) -> str:
    """Format US dollars with enough digits to differ from 0."""
    return f"${usd:.4f}" if usd >= 0.001 or not usd else f"${format_significant(usd, 2)}"


class MoneyLimit(NamedTuple):
    """The money that bounds how long a job may run."""

    usd: float
    setting: str
    """Where it is set; ``allowance`` is what the program itself was given."""
    hint: str
    """How more is allowed."""


CALL_HINT = "Allow more: --max-usd USD, RYLA_GEN_MAX_USD, or ryla-gen config set max_usd USD."


def money_limit(reserved_usd: float, settings: Settings, usage: UserUsage | None) -> MoneyLimit:
    """Say whose limit gave a job no more than this: that of one call, of its program, of its user or of the day."""
    own = settings.allowance
    if settings.max_usd is not None and reserved_usd >= settings.max_usd:
        return MoneyLimit(reserved_usd, "max_usd", CALL_HINT)
    if own is not None:
        return MoneyLimit(reserved_usd, "allowance", own.hint)
    if usage is not None and usage.max_usd is not None:
        return MoneyLimit(reserved_usd, "users.max_usd_per_day", USER_HINT)
    return MoneyLimit(reserved_usd, "max_usd_per_day", DAY_HINT)


def stopped(error: GenerationTimeoutError, limit: MoneyLimit) -> GenerationTimeoutError:
    """Say of a job that ran out of its time that more time alone would not help: its money was spent."""
    text = f"{error.message.rstrip('.')}: the {money(limit.usd)} that it could spend paid for no more."
    details = {**error.details, "limit_usd": limit.usd, "setting": limit.setting}
    return GenerationTimeoutError(text, f"{limit.hint} Or ask for less.", details)


def check_call(estimate_usd: float, limit_usd: float | None) -> None:
    """Refuse a job that would likely cost more than one call may.

    Raises:
        BudgetExceededError: it would.
    """
    if limit_usd is None or estimate_usd <= limit_usd:
        return
    raise BudgetExceededError(
        f"It would cost about {money(estimate_usd)}, but one call may cost at most {money(limit_usd)}. Nothing was sent.",
        f"{CALL_HINT} Or ask for fewer steps or pixels.",
        {"estimate_usd": estimate_usd, "limit_usd": limit_usd, "setting": "max_usd"},
    )


def check_batch(
    estimate_usd: float, count: int, limit_usd: float | None, taken_usd: float, of: str = "rows", setting: str = "max_usd_per_day"
) -> None:
    """Refuse several requests, called ``of`` in the message, that would likely cost more than what is left of the day.

    Raises:
        BudgetExceededError: it would.
    """
    if limit_usd is None or estimate_usd <= limit_usd - taken_usd:
        return
    whose, hint = ("today's", DAY_HINT) if setting == "max_usd_per_day" else ("this user's", USER_HINT)
    text = f"The {count} {of} would cost about {money(estimate_usd)}, but only {money(max(0.0, limit_usd - taken_usd))} of {whose}"
    raise BudgetExceededError(
        f"{text} {money(limit_usd)} are left. Nothing was sent.",
        f"{hint} Or ask for fewer {of}.",
        {"estimate_usd": estimate_usd, "limit_usd": limit_usd, "taken_usd": taken_usd, "setting": setting},
    )


def check_allowance(estimate_usd: float, count: int, allowance: Allowance, taken_usd: float, of: str = "rows") -> None:
    """Refuse several requests, called ``of`` in the message, that would likely cost more than what their program may still spend.

    Raises:
        BudgetExceededError: it would.
    """
    left = max(0.0, allowance.usd - taken_usd)
    if estimate_usd <= left:
        return
    whole = f"at most {money(allowance.usd)}" if not taken_usd else f"{money(left)} more of {money(allowance.usd)}"
    raise BudgetExceededError(
        f"The {count} {of} would cost about {money(estimate_usd)}, but together they may cost {whole}. Nothing was sent.",
        f"{allowance.hint} Or ask for fewer {of}.",
        {"estimate_usd": estimate_usd, "limit_usd": allowance.usd, "taken_usd": taken_usd, "setting": "allowance"},
    )


DAY_HINT = "Allow more: RYLA_GEN_MAX_USD_PER_DAY, or ryla-gen config set max_usd_per_day USD. A day begins at 00:00 UTC."
USER_HINT = "Allow each user more: ryla-gen config set users.max_usd_per_day USD. A day begins at 00:00 UTC."


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


def refusal(asked: Reservation, estimate_usd: float, allowance: Allowance | None = None) -> RylaGenError:
    """Make the error for a job that the journal refused: too little is left of a budget, or its user has too many jobs."""
    user = asked.user
    if allowance is not None and asked.refused_by == "allowance":
        return allowance_exceeded(estimate_usd, allowance, asked.tag_spent_usd, asked.tag_held_usd)
    if user is None or asked.refused_by == "max_usd_per_day":
        return day_exceeded(estimate_usd, asked.limit_usd or 0.0, asked.spent_usd, asked.held_usd)
    return too_many(user) if user.exceeded else user_exceeded(estimate_usd, user)


def user_exceeded(estimate_usd: float, user: UserUsage) -> BudgetExceededError:
    """Make the error for a job for which too little is left of its user's day. It does not name the user."""
    limit = user.max_usd or 0.0
    held = f" and those under way hold {money(user.held_usd)}" if user.held_usd else ""
    return BudgetExceededError(
        f"It would cost about {money(estimate_usd)}; this user's jobs have cost {money(user.spent_usd)} today{held}"
        f" of {money(limit)}. Nothing was sent.",
        USER_HINT,
        {
            "estimate_usd": estimate_usd,
            "limit_usd": limit,
            "spent_usd": user.spent_usd,
            "held_usd": user.held_usd,
            "setting": "users.max_usd_per_day",
        },
    )


def allowance_exceeded(estimate_usd: float, allowance: Allowance, spent_usd: float, held_usd: float) -> BudgetExceededError:
    """Make the error for a job for which too little is left of what its program may spend."""
    held = f" and those under way hold {money(held_usd)}" if held_usd else ""
    return BudgetExceededError(
        f"It would cost about {money(estimate_usd)}; the jobs of this program have cost {money(spent_usd)}{held}"
        f" of the {money(allowance.usd)} that they may. Nothing was sent.",
        allowance.hint,
        {
            "estimate_usd": estimate_usd,
            "limit_usd": allowance.usd,
            "spent_usd": spent_usd,
            "held_usd": held_usd,
            "setting": "allowance",
        },
    )


def too_many(user: UserUsage) -> TooManyRequestsError:
    """Make the error for a job whose user has too many for now. It does not name the user."""
    setting = user.exceeded
    if setting == "users.max_running":
        limit, wait = user.max_running, RETRY_SECONDS
        text = f"This user has {count_text(user.running, 'job')} under way, and {limit} are allowed at once. Nothing was sent."
        hint = "Wait until one of them has ended."
    else:
        limit, wait = user.max_jobs_per_minute, max(user.wait, SHORTEST_WAIT)
        text = (
            f"This user has submitted {count_text(user.lately, 'job')} within a minute, and {limit} are allowed. Nothing was sent."
        )
        hint = f"Try again in {wait:.0f} s."
    hint = f"{hint} To allow each user more: ryla-gen config set {setting} NUMBER"
    return TooManyRequestsError(text, hint, {"setting": setting, "limit": limit, "retry_after": wait})


def unknown_allowance(path: str) -> StorageFailedError:
    """Make the error for a job when it is not known what its program has spent."""
    return StorageFailedError(
        f"What this program has spent cannot be checked: the journal {path} cannot be used. Nothing was sent.",
        "Repair or move that file.",
        {"file": path, "setting": "allowance"},
    )


def unknown_day(path: str, setting: str = "max_usd_per_day") -> StorageFailedError:
    """Make the error for a job when it is not known what has been taken of a limit."""
    what = "The day's budget" if setting == "max_usd_per_day" else "What this user may take"
    return StorageFailedError(
        f"{what} cannot be checked: the journal {path} cannot be used. Nothing was sent.",
        f"Repair or move that file, or remove the limit: ryla-gen config unset {setting}",
        {"file": path, "setting": setting},
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
