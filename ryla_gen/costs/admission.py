"""What is looked at and written down around a call: is it meant so, may it cost so much, what did it cost. Runs nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from ..costs import budget
from ..costs.estimates import Estimate, Work, estimate, rate_of, work_of
from ..errors import InternalError, InvalidInputError, JobNotFoundError
from ..history import History, Purse, Record
from ..history.processes import this_process
from ..media import References
from ..settings import Settings
from ..workflows.base import Workflow
from ..workflows.registry import plugin_behind, workflow_class


def check_call(workflow: object, timeout: object, tags: object) -> None:
    """Refuse a call that cannot be meant so, before anything happens.

    Raises:
        InvalidInputError: it is no workflow, the timeout no positive number, or the tags a single text.
    """
    if not isinstance(workflow, Workflow):
        what = workflow.__name__ if isinstance(workflow, type) else type(workflow).__name__
        raise InvalidInputError(f"{what} is not a workflow.", 'Give one with its fields: FluxDev(prompt="a fox")')
    if timeout is not None and (isinstance(timeout, bool) or not isinstance(timeout, int | float) or not 0 < timeout < 1e9):
        raise InvalidInputError(
            f"timeout must be a positive number of seconds, not {timeout!r}.", "Leave it out for the workflow's own limit."
        )
    if isinstance(tags, str):
        raise InvalidInputError(f"tags must be several words, not the text {tags!r}.", f"Write tags=[{tags!r}].")


def references_of(settings: Settings) -> References:
    """Which references to pictures and videos a caller's settings allow."""
    return References("bytes" if settings.references == "bytes" else "any", settings.allow_private_addresses)


def workflow_of(record: Record) -> Workflow:
    """Rebuild the request of a journaled job; its pictures, which the journal does not keep, are empty.

    Raises:
        InvalidInputError: the journal was written by a version with other fields.

    """
    return rebuilt(record.workflow, record.inputs)


def rebuilt(name: str, inputs: Mapping[str, Any]) -> Workflow:
    """Rebuild a request from its description, in which a picture is a hash and a size; its pictures are empty.

    Args:
        name: of its workflow.
        inputs: its fields, as ``Workflow.described`` gives them.

    Raises:
        InvalidInputError: there is no such workflow here, or it has other fields.

    """
    cls = workflow_class(name)
    blank = {
        field: ({} if isinstance(inputs.get(field), dict) and "sha256" not in inputs[field] else b"")
        for field in cls.media_fields()
    }
    given = {key: value for key, value in inputs.items() if value is not None}
    return cls.from_plain({**given, **{field: value for field, value in blank.items() if field in given}}, trusted=True)


@dataclass(frozen=True, slots=True)
class Admitted:
    """A job that the budgets allow, written down in the journal."""

    estimate: Estimate | None
    """What it was thought to cost; None where running is free."""
    timeout: float | None
    """Seconds the graph may run; None is the workflow's own limit."""


def admit(
    history: History,
    settings: Settings,
    workflow: Workflow,
    backend: str,
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
        settings: limits, and what the backend runs on.
        workflow: the request, with its seed.
        backend: where it will be sent.
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
    rate = rate_of(workflow, backend, settings)
    if not rate.most:
        history.record(job, **row)
        if moved:
            history.update(job, backend=backend, reserved_usd=None, **sender)
        return Admitted(None, timeout)
    found = estimate(workflow, settings, history, backend)
    budget.check_call(found.usd.likely, settings.max_usd)
    limit = timeout if timeout and followed else workflow.time_limit() + rate.load
    reserved = _reserved(history, settings, found, job, row, limit, followed=followed)
    if settings.max_usd is None and settings.max_usd_per_day is None:
        return Admitted(found, timeout)
    return Admitted(found, min(limit, reserved / rate.most))


def _reserved(
    history: History, settings: Settings, found: Estimate, job: str, row: dict[str, Any], limit: float, *, followed: bool
) -> float:
    """Set money aside, write the job down with it, and return how much it was."""
    likely = found.usd.likely
    wanted = budget.wanted_usd(found.most_usd_per_second * limit, settings.max_usd)
    decent = min(wanted, budget.HEADROOM * likely) if followed else wanted
    asked = Purse(min(likely, wanted), decent, wanted, budget.expiry(limit), budget.today(), settings.max_usd_per_day)
    got = history.reserve(job, asked, row)
    if got is None:
        if settings.max_usd_per_day is not None:
            raise budget.unknown_day(str(history.path))
        history.record(job, **row)  # kept in memory until the file works again
        return wanted
    if got.reserved_usd is None:
        raise budget.day_exceeded(likely, settings.max_usd_per_day or 0.0, got.spent_usd, got.held_usd)
    return got.reserved_usd


def estimate_again(record: Record, settings: Settings, history: History) -> Estimate | None:
    """Estimate a job that another process handed in, and whose estimate went with it; None where running is free.

    Raises:
        BackendNotConfiguredError: its backend is not set up here.
        InvalidInputError: the journal was written by a version with other fields.

    """
    workflow = workflow_of(record)
    return estimate(workflow, settings, history, record.backend) if rate_of(workflow, record.backend, settings).most else None


def unfinished_cost(record: Record | None, found: Estimate | None, error: BaseException | None = None) -> dict[str, float]:
    """Return the columns of what a job cost that ended without a result: the backend's word, else the clock since its graph began.

    By that clock it costs no more than was set aside for it: who looks a day later has not paid for a day.
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


def seconds_since(instant: str) -> float:
    """Seconds from an instant of the journal until now; never less than none."""
    return max(0.0, (datetime.now(UTC) - datetime.fromisoformat(instant)).total_seconds())


def check_batch(history: History, settings: Settings, workflows: Iterable[Workflow]) -> float:
    """Refuse a list of workflows as a whole, before the first one is sent.

    Returns:
        What all of them will likely cost, in US dollars.

    Raises:
        BudgetExceededError: a row would cost more than one call may, or all of them more than is left of the day.

    """
    known: dict[tuple[str, Work], float] = {}
    total, rows = 0.0, 0
    for workflow in workflows:
        key = (workflow.name, work_of(workflow.name, workflow.described()))
        if key not in known:  # a thousand rows of one size are estimated once
            known[key] = estimate(workflow, settings, history).usd.likely
            budget.check_call(known[key], settings.max_usd)
        total, rows = total + known[key], rows + 1
    if settings.max_usd_per_day is not None and total:
        budget.check_batch(total, rows, settings.max_usd_per_day, history.taken_usd(budget.today()))
    return total


def typed(error: BaseException, job: str) -> BaseException:
    """Return the typed error that an error of a job stands for; an interrupt, and one that is typed, stay as they are.

    Raise it from its cause: the traceback is then that of the place where it happened.
    """
    from ..comfy.connection import as_typed  # HTTP, which counting costs does not need

    if not isinstance(error, Exception):
        return error
    found = as_typed(error, f"The job {job} failed")
    plugin = plugin_behind(error) if isinstance(found, InternalError) and found is not error else None
    if plugin is None:
        return found
    hint = "Fix or uninstall that package; RYLA_GEN_DEBUG=1 shows where it happened."
    return InternalError(f"{found.message} (in {plugin}, a plug-in)", hint, found.details)


def unreached(record: Record) -> JobNotFoundError:
    """Say that no backend has a job, and where to look instead."""
    text = f"The job {record.id} never reached its backend (state: {record.state})."
    if record.workflow.startswith("character_"):
        text = f"The job {record.id} is made of several pictures, each a job of its own."
        return JobNotFoundError(text, f"See it, or take it up again: ryla-gen character status {record.id[:8]}", {"job": record.id})
    return JobNotFoundError(text)
