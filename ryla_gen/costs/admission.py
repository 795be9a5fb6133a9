"""Reserve a job's budget and journal the job before anything is spent; compute the cost of one without a result.

Must not send a job or know a backend: the caller passes the price of a second.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from ..history import History, Record, Reservation
from ..history.processes import this_process
from ..settings import Settings
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
) -> Admitted:
    """Check a job against the budgets and write it down, before anything is spent.

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

    Raises:
        BudgetExceededError: it would likely cost more than one call may, or than is left of the day. Nothing was written.
        StorageFailedError: a day's limit is set, and the journal cannot be used.

    """
    row: dict[str, Any] = {"backend": backend, "workflow": workflow.name, "inputs": workflow.described()}
    row |= {"seed": getattr(workflow, "seed", None), "tags": list(tags), "parent": parent}
    sender = {"server": settings.comfyui_url if backend == "comfyui" else None, "process": this_process()}
    row |= sender
    # Free of charge: nothing to estimate or reserve, but the job is journaled all the same.
    if not rate.most:
        history.record(job, **row)
        if moved:
            history.update(job, backend=backend, reserved_usd=None, **sender)
        return Admitted(None, timeout)
    found = estimate(workflow, backend, rate, history)
    budget.check_call(found.usd.likely, settings.max_usd)
    # Only a client that follows the job enforces its timeout; without one, the workflow's own limit bounds the bill.
    limit = timeout if timeout and followed else workflow.time_limit() + rate.load
    reserved = _reserve(history, settings, found, job, row, limit, followed=followed)
    if settings.max_usd is None and settings.max_usd_per_day is None:
        return Admitted(found, timeout)
    # At the highest price, the seconds that the reservation pays for: the real cost cannot exceed what is reserved.
    return Admitted(found, min(limit, reserved / rate.most))


def _reserve(
    history: History, settings: Settings, found: Estimate, job: str, row: dict[str, Any], limit: float, *, followed: bool
) -> float:
    """Reserve money, journal the job with its reservation in the same transaction, and return the amount in US dollars."""
    likely = found.usd.likely
    wanted = budget.wanted_usd(found.most_usd_per_second * limit, settings.max_usd)
    decent = min(wanted, budget.HEADROOM * likely) if followed else wanted
    asked = Reservation(min(likely, wanted), decent, wanted, budget.expiry(limit), budget.today(), settings.max_usd_per_day)
    got = history.reserve(job, asked, row)
    # The journal cannot be used. With a day's limit nothing may run unchecked; without one the job may.
    if got is None:
        if settings.max_usd_per_day is not None:
            raise budget.unknown_day(str(history.path))
        history.record(job, **row)  # kept in memory until the file works again
        return wanted
    if got.reserved_usd is None:
        raise budget.day_exceeded(likely, settings.max_usd_per_day or 0.0, got.spent_usd, got.held_usd)
    return got.reserved_usd


def unfinished_cost(record: Record | None, found: Estimate | None, error: BaseException | None = None) -> dict[str, float]:
    """Return the columns of what a job cost that ended without a result: the backend's word, else the clock since its graph began.

    By that clock it costs no more than was reserved for it: when the end is recorded a day later, a day was not paid for.
    """
    details = getattr(error, "details", {})
    if "cost_usd" in details:
        return {name: float(details[name]) for name in ("gpu_seconds", "cost_usd")}
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


def check_batch(history: History, settings: Settings, workflows: Iterable[Workflow], rate_of: Callable[[Workflow], Rate]) -> float:
    """Refuse a list of workflows as a whole, before the first one is sent.

    Args:
        history: the journal.
        settings: the limits, and the backends in their order.
        workflows: what would run.
        rate_of: what a second of a workflow costs on the first backend.

    Returns:
        What all of them will likely cost, in US dollars.

    Raises:
        BudgetExceededError: a row would cost more than one call may, or all of them more than is left of the day.

    """
    known: dict[tuple[str, Work], float] = {}
    total, rows = 0.0, 0
    for workflow in workflows:
        key = (workflow.name, workflow.work(workflow.described()))
        if key not in known:  # a thousand rows of one size are estimated once
            known[key] = estimate(workflow, settings.backend_names[0], rate_of(workflow), history).usd.likely
            budget.check_call(known[key], settings.max_usd)
        total, rows = total + known[key], rows + 1
    if settings.max_usd_per_day is not None and total:
        budget.check_batch(total, rows, settings.max_usd_per_day, history.taken_usd(budget.today()))
    return total
