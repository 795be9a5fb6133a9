"""The verbs of ``ryla-gen jobs`` that ask the place where a job runs: status, watch, wait, result, cancel. Starts no job."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import closing
from typing import Any, TypeVar

from ryla_gen.errors import InvalidInputError, JobCanceledError, JobExpiredError, RylaGenError, error_from_data
from ryla_gen.events import FINAL_STATES, Event, Finished, Progress, Queued, now
from ryla_gen.history import History, Record
from ryla_gen.portal import Portal
from ryla_gen.results import Generation

from .attached import Attached, attached, found, located, settings_for
from .generate import check_before, saved, summary, tell, with_format
from .how import How
from .progress import described, following
from .screen import Screen

T = TypeVar("T")

FIRST_LOOK, FURTHER_LOOK = 3.0, 0.3
"""Seconds in which a job that runs says the first thing, and each further one: what was said before comes at once."""
FORMATS = ("output_format", "format")


def status(screen: Screen, job: str, url: str | None) -> None:
    """Say where a job is: from the journal when it has ended, else from the place where it runs."""
    record = _record(job, url)
    data: dict[str, Any] = {"job": record.id, "workflow": record.workflow, "backend": record.backend, "state": record.state}
    if record.state not in FINAL_STATES:
        place = _driven(located(settings_for(None, url), record))
        if place is not None and place.place in ("pending", "running"):
            data |= {"state": "running"} if place.place == "running" else {"state": "queued", "position": place.position}
        else:
            data |= _asked(job, url, _look)
    where = f" · {data['fraction']:.0%} {data['node']}".rstrip() if "fraction" in data else ""
    where = f" · {data['position']} before it" if data.get("position") and data["state"] == "queued" else where
    screen.result(data, f"{record.id}  {record.workflow.replace('_', '-')}  {data['state']}{where}")


async def _look(job: Attached) -> dict[str, Any]:
    data: dict[str, Any] = {}
    async for event in _said(job):
        if isinstance(event, Queued):
            data["position"] = event.position
        elif isinstance(event, Progress):
            data |= {"fraction": event.fraction, "node": described(event)}
        elif isinstance(event, Finished):
            await _ended(job)
    state = job.ticket.state
    if state not in FINAL_STATES:
        job.history.update(job.record.id, state=state)
    return {**data, "state": state}


async def _said(job: Attached) -> AsyncIterator[Event]:
    """Every event so far: until the job is silent for a moment."""
    events = job.ticket.events(previews=False)
    patience = FIRST_LOOK
    while True:
        try:
            event = await asyncio.wait_for(anext(events), patience)
        except (TimeoutError, StopAsyncIteration):
            return
        patience = FURTHER_LOOK if event.seq > 0 else FIRST_LOOK
        yield event


async def _ended(job: Attached) -> None:
    """Journal the end; what went wrong is told by its state."""
    try:
        await job.result()
    except RylaGenError:
        return


def watch(screen: Screen, job: str, url: str | None) -> None:
    """Show a job's progress until it ends. Stopping to watch does not stop it.

    Raises:
        RylaGenError: it failed.

    """
    record = _record(job, url)
    if record.state in FINAL_STATES:
        _tell_end(screen, record)
        return
    with following(screen, record.workflow.replace("_", "-")) as follower:
        screen.working = False  # an interrupt stops the watching only

        async def work(found: Attached) -> Generation:
            async for event in found.ticket.events():
                follower.event(event)
            return await found.result()

        _asked(job, url, work)
    _tell_end(screen, _record(record.id, url))


def wait(screen: Screen, job: str, url: str | None, timeout: float | None) -> None:
    """Wait until a job ends.

    Raises:
        GenerationTimeoutError: it has not ended in time; it goes on.
        RylaGenError: it failed.

    """
    _check_timeout(timeout)
    record = _record(job, url)
    if record.state not in FINAL_STATES:
        _asked(job, url, lambda found: found.result(timeout))
        record = _record(record.id, url)
    _tell_end(screen, record)


def result(screen: Screen, job: str, url: str | None, timeout: float | None, output: str | None, *, overwrite: bool) -> None:
    """Fetch a job's files and save them, once it has ended.

    Raises:
        RylaGenError: it failed, or its files cannot be saved.

    """
    _check_timeout(timeout)
    how = How(output, overwrite)
    record = _record(job, url)
    if record.state in FINAL_STATES and record.state != "succeeded":
        raise _failure(record)

    async def work(found: Attached) -> Generation:
        kind = type(found.workflow)
        made = {name: getattr(found.workflow, name) for name in FORMATS if name in kind.model_fields}
        with_format(kind, made, output)  # refuses a name that does not fit what is made
        check_before(screen, found.workflow, how)
        return await found.result(timeout)

    generation = _asked(job, url, work)
    paths = saved(screen, generation, how, settings_for(None, url).output_dir)
    screen.result(summary(generation, paths), "\n".join(str(path) for path in paths))
    tell(screen, generation)


def cancel(screen: Screen, job: str, url: str | None) -> None:
    """Stop a job, queued or running."""
    record = _record(job, url)
    if record.state not in FINAL_STATES:
        place = _driven(located(settings_for(None, url), record, stop=True))
        if place is not None and place.place in ("pending", "running"):
            _journal_cancelled(record, url)
        else:
            _asked(job, url, _cancelled)
        record = _record(record.id, url)
    data = {"job": record.id, "state": record.state}
    ended = "is cancelled" if record.state == "canceled" else f"had ended already: {record.state}"
    screen.result(data, f"{record.id} {ended}.")


def _journal_cancelled(record: Record, url: str | None) -> None:
    error = JobCanceledError(f"The job {record.id} was cancelled.").to_data()
    with closing(History(settings_for(None, url).history_path)) as history:
        history.update(record.id, state="canceled", finished_at=now(), error=error)


async def _cancelled(job: Attached) -> None:
    await job.ticket.cancel()
    await _ended(job)


def _asked(job: str, url: str | None, work: Callable[[Attached], Awaitable[T]]) -> T:
    async def ask() -> T:
        async with attached(settings_for(None, url), job) as found:
            return await work(found)

    return _driven(ask())


def _driven(work: Coroutine[Any, Any, T]) -> T:
    portal = Portal()
    try:
        return portal.call(work)
    finally:
        portal.close()


def _record(job: str, url: str | None) -> Record:
    with closing(History(settings_for(None, url).history_path)) as history:
        return found(history, job)


def _tell_end(screen: Screen, record: Record) -> None:
    if record.state != "succeeded":
        raise _failure(record)
    text = f"{record.id} succeeded. Fetch it: ryla-gen jobs result {record.id[:8]} -o FILE"
    screen.result({"job": record.id, "state": record.state}, text)


def _failure(record: Record) -> RylaGenError:
    """The error that the journal has, or the one that the state means."""
    if record.error:
        return error_from_data(record.error)
    if record.state == "expired":
        return JobExpiredError(f"The job {record.id} is gone.")
    return JobCanceledError(f"The job {record.id} was cancelled.")


def _check_timeout(timeout: float | None) -> None:
    if timeout is not None and not 0 < timeout < float("inf"):
        raise InvalidInputError(f"--timeout {timeout:g} must be more than 0.", "Leave it out to wait as long as it takes.")
