"""Reserve a job's budget and journal the job before anything is spent; compute the cost of one without a result.

Must not send a job or know a backend: the caller passes the price of a second.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from ..history import History, Record, Reservation, UserUsage
from ..history.processes import this_process
from ..settings import Settings
from ..settings.allowance import Allowance
from ..support.numbers import is_number, number_or
from ..workflows.base import Workflow
from ..workflows.facts import Work
from . import budget
from .estimates import Estimate, Rate, estimate


@dataclass(frozen=True, slots=True)
class Admitted:
    """A job that the budgets allow, recorded in the journal."""

    estimate: Estimate | None
    """Its estimated cost; None where running is free."""
    timeout: float | None
    """Seconds the graph may run; None is the workflow's own limit."""
    money: budget.MoneyLimit | None = None
    """The money that sets this time; None where the time limit is what ends it."""


def admit(
    history: History,
    settings: Settings,
    workflow: Workflow,
    backend: str,
    rate: Rate,
    *,
    job: str,
    timeout: float | None = None,
    tags: Iterable[str] = (),
    parent: str | None = None,
    moved: bool = False,
    followed: bool = True,
    user: str | None = None,
) -> Admitted:
    """Check a job against the budgets and the limits of its user and write it down, before anything is spent.

    Args:
        history: the journal.
        settings: the limits.
        workflow: the request, with its seed.
        backend: where it will be sent.
        rate: what a second costs there.
        job: its id.
        timeout: seconds the graph may run, instead of the workflow's own limit.
        tags: words under which it is found again.
        parent: the job that it is a part of.
        moved: whether it is in the journal already: it was meant for another backend, or an earlier process did not send it.
        followed: whether this process stays and stops the job at its time limit; otherwise only the workflow's own limit holds.
        user: the user of the app for whom it runs; the settings say how much one may take.

    Raises:
        BudgetExceededError: it would likely cost more than one call may, or than is left of a budget. Nothing was written.
        TooManyRequestsError: its user has too many jobs for now. Nothing was written.
        StorageFailedError: a limit of a day or of a user, or an allowance, is set, and the journal cannot be used.

    """
    row: dict[str, Any] = {"backend": backend, "workflow": workflow.name, "inputs": workflow.described()}
    row |= {"seed": getattr(workflow, "seed", None), "tags": _words(tags, settings), "parent": parent}
    sender = {"server": settings.comfyui_url if backend == "comfyui" else None, "process": this_process()}
    row |= sender | ({} if user is None else {"user": history.stored_user(user, hashed=settings.users_hash)})
    usage = user_usage(history, settings, user, free=not rate.most)
    # Only a client that follows the job enforces its timeout; without one, the workflow's own limit bounds the bill.
    limit = timeout if timeout and followed else workflow.time_limit() + rate.load
    # Free of charge: nothing to estimate or reserve, but the job is journaled all the same.
    if not rate.most and usage is not None:
        _take(history, Reservation(0.0, 0.0, 0.0, budget.expiry(limit), budget.today(), user=usage), job, row)
        return Admitted(None, timeout)
    if not rate.most:
        history.record(job, **row)
        if moved:
            history.update(job, backend=backend, reserved_usd=None, **sender)
        return Admitted(None, timeout)
    found = estimate(workflow, backend, rate, history)
    budget.check_call(found.usd.likely, settings.max_usd)
    reserved = _reserve(history, settings, found, job, row, limit, usage, followed=followed)
    if not _limited(settings, usage):
        return Admitted(found, timeout)
    paid = reserved / rate.most  # seconds at the highest price: the real cost cannot exceed what is reserved
    return Admitted(found, min(limit, paid), budget.money_limit(reserved, settings, usage) if paid < limit else None)


def _words(tags: Iterable[str], settings: Settings) -> list[str]:
    """Return the tags of a job, with that of the program's allowance."""
    return list(dict.fromkeys([*tags, *([] if settings.allowance is None else [settings.allowance.tag])]))


def _limited(settings: Settings, usage: UserUsage | None) -> bool:
    limits = (settings.max_usd, settings.max_usd_per_day, settings.allowance, None if usage is None else usage.max_usd)
    return limits != (None, None, None, None)


def _reserve(
    history: History,
    settings: Settings,
    found: Estimate,
    job: str,
    row: dict[str, Any],
    limit: float,
    usage: UserUsage | None,
    *,
    followed: bool,
) -> float:
    """Reserve money, journal the job with its reservation in the same transaction, and return the amount in US dollars."""
    likely = found.usd.likely
    wanted = budget.wanted_usd(found.most_usd_per_second * limit, settings.max_usd)
    decent = min(wanted, budget.HEADROOM * likely) if followed else wanted
    own = settings.allowance
    asked = Reservation(
        min(likely, wanted),
        decent,
        wanted,
        budget.expiry(limit),
        budget.today(),
        settings.max_usd_per_day,
        tag="" if own is None else own.tag,
        tag_limit_usd=None if own is None else own.usd,
        user=usage,
    )
    return _take(history, asked, job, row, own)


def _take(history: History, asked: Reservation, job: str, row: dict[str, Any], own: Allowance | None = None) -> float:
    """Journal a job with what it asks for, in one transaction, and return how much it got, in US dollars."""
    got = history.reserve(job, asked, row)
    # The journal cannot be used. With a limit nothing may run unchecked; without one the job may.
    if got is None:
        if own is not None:
            raise budget.unknown_allowance(str(history.path))
        if asked.limit_usd is not None:
            raise budget.unknown_day(str(history.path))
        if asked.user is not None:
            raise budget.unknown_day(str(history.path), asked.user.setting)
        history.record(job, **row)  # kept in memory until the file works again
        return asked.wanted_usd
    if got.reserved_usd is None:
        raise budget.refusal(got, asked.needed_usd, own)
    return got.reserved_usd


def user_usage(history: History, settings: Settings, user: str | None, *, free: bool) -> UserUsage | None:
    """Return a user with the limits of the settings, of which nothing is counted yet; None where there is no limit.

    Args:
        history: the journal, which knows how it holds the user.
        settings: the limits.
        user: the user's id; None is no user.
        free: whether running is free, so that no budget counts.

    Raises:
        InvalidInputError: it cannot be a user's id.
    """
    usd = None if free else settings.users_max_usd_per_day
    limits = (usd, settings.users_max_jobs_per_minute, settings.users_max_running)
    return None if user is None or limits == (None, None, None) else UserUsage(history.user_names(user), *limits)


def unfinished_cost(record: Record | None, found: Estimate | None, error: BaseException | None = None) -> dict[str, float]:
    """Return the columns of what a job cost that ended without a result: the backend's word, else the clock since its graph began.

    By that clock it costs no more than was reserved for it: when the end is recorded a day later, a day was not paid for.
    """
    details = getattr(error, "details", {})
    if (
        is_number(details.get("cost_usd")) and details["cost_usd"] >= 0
    ):  # an app of another version may say anything, and NaN is no cost
        return {"gpu_seconds": number_or(details.get("gpu_seconds"), 0.0), "cost_usd": float(details["cost_usd"])}
    if record is None or found is None or record.started_at is None or not found.usd.likely or not found.seconds.likely:
        return {}
    usd_per_second = found.usd.likely / found.seconds.likely
    ran = seconds_since(record.started_at)
    if record.reserved_usd is not None:
        ran = min(ran, record.reserved_usd / usd_per_second)
    return {"gpu_seconds": ran, "cost_usd": ran * usd_per_second}


def seconds_since(when: str) -> float:
    """Return the seconds from a time in the journal until now, at least 0."""
    return max(0.0, (datetime.now(UTC) - datetime.fromisoformat(when)).total_seconds())


def check_batch(
    history: History,
    settings: Settings,
    workflows: Iterable[Workflow],
    rate_of: Callable[[Workflow], Rate],
    of: str = "rows",
    *,
    user: str | None = None,
) -> float:
    """Refuse a list of workflows as a whole, before the first one is sent.

    Args:
        history: the journal.
        settings: the limits, and the backends in their order.
        workflows: what would run.
        rate_of: what a second of a workflow costs on the first backend.
        of: what a person calls several of them.
        user: the user of the app for whom they would run.

    Returns:
        What all of them will likely cost, in US dollars.

    Raises:
        BudgetExceededError: a row would cost more than one call may, or all of them more than is left of a budget.

    """
    known: dict[tuple[str, Work], float] = {}
    total, rows = 0.0, 0
    for workflow in workflows:
        key = (workflow.name, workflow.work(workflow.described()))
        if key not in known:  # a thousand rows of one size are estimated once
            known[key] = estimate(workflow, settings.backend_names[0], rate_of(workflow), history).usd.likely
            budget.check_call(known[key], settings.max_usd)
        total, rows = total + known[key], rows + 1
    if settings.allowance is not None and total:
        budget.check_allowance(total, rows, settings.allowance, sum(history.tagged_usd(settings.allowance.tag)), of)
    if settings.max_usd_per_day is not None and total:
        budget.check_batch(total, rows, settings.max_usd_per_day, history.taken_usd(budget.today()), of)
    if user is not None and settings.users_max_usd_per_day is not None and total:
        taken = history.taken_usd(budget.today(), user)
        budget.check_batch(total, rows, settings.users_max_usd_per_day, taken, of, "users.max_usd_per_day")
    return total
