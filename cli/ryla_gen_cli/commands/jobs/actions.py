"""Implement the verbs of ``ryla-gen jobs`` that ask a job's backend: show, watch, result, cancel. Starts no job."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing, asynccontextmanager, closing, suppress
from dataclasses import replace
from typing import Any, TypeVar

from ryla_gen.client import AsyncClient
from ryla_gen.client.job_base import AsyncJob
from ryla_gen.errors import (
    GenerationTimeoutError,
    InvalidInputError,
    JobCanceledError,
    JobExpiredError,
    RylaGenError,
    error_from_data,
)
from ryla_gen.events import FINAL_STATES, Event, Finished, Progress, Queued, Started, now
from ryla_gen.history import History, Record
from ryla_gen.results import Generation
from ryla_gen.settings import Settings
from ryla_gen.support.loop_thread import run_async

from ...generate import check_before, note_result, page, save_outputs, summary, with_format
from ...progress import following, progress_text
from ...run_options import RunOptions, server_of, settings_for
from ...screen import Screen

T = TypeVar("T")

FIRST_LOOK, FURTHER_LOOK = 3.0, 1.0
"""Seconds in which a job that runs says the first thing, and each further one: what was said before comes at once."""
START_LOOK = 1.0
"""Seconds in which a job that is to be canceled says that it has started; where it has, it does so at once."""
FORMATS = ("output_format", "format")


def ask(screen: Screen, job: str, url: str | None) -> tuple[Record, dict[str, Any]]:
    """Ask for a job that has not ended where it runs: what the journal knows then, and what was said beside that.

    A backend that cannot be asked is a remark, as in a list: what is known is shown all the same.

    Raises:
        JobNotFoundError: the job is known neither here nor there.
    """
    record = _record(job, url)
    url = server_of(record, url)
    try:
        told = _where(record, url) if record.state not in FINAL_STATES else {}
    except RylaGenError as error:
        found = _record(record.id, url)
        if found.state in FINAL_STATES:
            return found, {}
        screen.note(f"warning: {error.message} The job is shown in its last known state.")
        return found, {"unreached": error.to_data()}
    found = _record(record.id, url)
    return (replace(found, state=told.pop("state", found.state)) if found.state not in FINAL_STATES else found), told


def _where(record: Record, url: str | None) -> dict[str, Any]:
    """Ask where a job is, and how far."""
    place = _with_client(url, lambda client: client.jobs.locate(record))
    if place is not None and place.place == "running":
        _journal_running(record, url)
        return {"state": "running"}
    if place is not None and place.place == "pending":
        return {"state": "queued", "position": place.position}
    if place is not None and place.place == "finished":
        return _with_job(record.id, url, _end)  # however long its outputs take to arrive
    return _with_job(record.id, url, _current_progress)


def _journal_running(record: Record, url: str | None) -> None:
    """Record that a job runs; from now on if its start is not known."""
    with closing(History(settings_for(None, url).history_path)) as history:
        history.update(record.id, state="running", started_at=record.started_at or now())


async def _end(job: AsyncJob) -> dict[str, Any]:
    await _await_end(job)
    return {"state": job.state}


async def _current_progress(job: AsyncJob) -> dict[str, Any]:
    data: dict[str, Any] = {}
    async with aclosing(_events_so_far(job)) as events:
        async for event in events:
            if isinstance(event, Queued):
                data["position"] = event.position
            elif isinstance(event, Progress):
                data |= {"fraction": event.fraction, "node": progress_text(event)}
            elif isinstance(event, Finished):
                await _await_end(job)
    return {**data, "state": job.state}


async def _events_so_far(job: AsyncJob) -> AsyncGenerator[Event, None]:
    """Yield every event so far: until the job is silent for a moment, or the time for listening is over."""
    events, clock = job.events(), asyncio.get_running_loop().time
    until = clock() + FIRST_LOOK
    patience = FIRST_LOOK
    while True:
        try:
            event = await asyncio.wait_for(anext(events), min(patience, until - clock()))
        except (TimeoutError, StopAsyncIteration):
            return
        patience = FURTHER_LOOK if event.seq > 0 else FIRST_LOOK
        yield event


async def _await_end(job: AsyncJob) -> None:
    """Wait for the end, which the client journals; what went wrong is told by its state.

    Raises:
        RylaGenError: contact was lost, so its end is not known.

    """
    try:
        await job.result()
    except RylaGenError as error:
        if error.details.get("contact_lost"):
            raise


def watch(screen: Screen, job: str, url: str | None, timeout: float | None) -> None:
    """Show a job's progress until it ends. Stopping to watch does not stop it.

    Raises:
        GenerationTimeoutError: it has not ended in time; it goes on.
        RylaGenError: it failed.

    """
    _check_timeout(timeout)
    record = _record(job, url)
    url = server_of(record, url)
    if record.state in FINAL_STATES:
        _show_end(screen, record)
        return
    with following(screen, record.workflow.replace("_", "-")) as follower:
        screen.working = False  # an interrupt stops the watching only

        tell = (lambda _: None) if screen.quiet else follower.event
        _with_job(record.id, url, lambda found: _follow(found, timeout, tell))
    _show_end(screen, _record(record.id, url))


async def _follow(job: AsyncJob, timeout: float | None, tell: Callable[[Event], None]) -> Generation:
    """Tell every event of a job while its result is waited for; the last ones come with the end."""

    async def telling() -> None:
        async for event in job.events():
            tell(event)

    events = asyncio.ensure_future(telling())
    try:
        made = await _wait_for(job, timeout)
    finally:
        if not job.done:
            events.cancel()
        with suppress(asyncio.CancelledError):
            await events
    return made


def result(screen: Screen, job: str, url: str | None, timeout: float | None, output: str | None, *, overwrite: bool) -> None:
    """Fetch a job's files and save them, once it has ended.

    Raises:
        RylaGenError: it failed, or its files cannot be saved.

    """
    _check_timeout(timeout)
    how = RunOptions(output, overwrite)
    record = _record(job, url)
    url = server_of(record, url)
    if record.state in FINAL_STATES and record.state != "succeeded":
        raise _failure(record)

    async def work(found: AsyncJob) -> Generation:
        kind = type(found.workflow)
        made = {name: getattr(found.workflow, name) for name in FORMATS if name in kind.model_fields}
        with_format(kind, made, output)  # refuses a name that does not fit what is made
        check_before(screen, found.workflow, how)
        return await _wait_for(found, timeout)

    try:
        generation = _with_job(record.id, url, work)
    except JobExpiredError as error:
        places = [*addresses_of(record), *record.saved]
        if places:
            error.hint = f"Its files went to: {', '.join(places)}"
        raise
    settings = settings_for(None, url)
    paths = save_outputs(screen, generation, how, settings.output_dir)
    if output is not None and not paths and any(item.url is not None for item in generation.outputs):
        screen.note(f"warning: {output} was not written: the job's files were uploaded. Read them at their addresses.")
    with closing(History(settings.history_path)) as history:
        history.saved(record.id, paths)
    screen.result(summary(generation, paths), page(generation, paths))
    note_result(screen, generation)


def cancel(screen: Screen, job: str, url: str | None) -> None:
    """Stop a job, queued or running."""
    record = _record(job, url)
    url = server_of(record, url)
    if record.state not in FINAL_STATES:
        if not _with_client(url, lambda client: client.jobs.stop(record)):
            _with_job(record.id, url, _await_start_and_cancel if record.started_at is None else _cancel)
        record = _record(record.id, url)
    data = {"job": record.id, "state": record.state}
    ended = "is canceled" if record.state == "canceled" else f"had already ended: {record.state}"
    screen.result(data, f"{record.id} {ended}.")


async def _await_start_and_cancel(job: AsyncJob) -> None:
    """Listen for the start of a job before it is canceled: what it cost until then is counted from there."""
    with suppress(TimeoutError):
        async with asyncio.timeout(START_LOOK):
            async for event in job.events():
                if isinstance(event, Started):
                    break
    await _cancel(job)


async def _cancel(job: AsyncJob) -> None:
    await job.cancel()
    await _await_end(job)


def _with_job(job: str, url: str | None, work: Callable[[AsyncJob], Awaitable[T]]) -> T:
    async def ask() -> T:
        async with _attach(settings_for(None, url), job) as found:
            return await work(found)

    return run_async(ask())


def _with_client(url: str | None, work: Callable[[AsyncClient], Awaitable[T]]) -> T:
    async def ask() -> T:
        async with AsyncClient(settings=settings_for(None, url)) as client:
            return await work(client)

    return run_async(ask())


@asynccontextmanager
async def _attach(settings: Settings, job: str) -> AsyncIterator[AsyncJob]:
    """Follow a job of any process, by its id, the beginning of it, or its handle; afterwards it goes on without us.

    Raises:
        JobNotFoundError: no such job is known.
        JobExpiredError: its backend no longer has it.

    """
    async with AsyncClient(settings=settings) as client:
        yield await client.jobs.get(job)


async def _wait_for(job: AsyncJob, timeout: float | None) -> Generation:
    """Wait for a job's result.

    Raises:
        GenerationTimeoutError: it has not finished while we waited; it goes on.
        RylaGenError: it failed.

    """
    try:
        return await job.result(timeout)
    except GenerationTimeoutError as error:
        if not job.done:
            error.hint = f"Wait again, or stop it: ryla-gen jobs cancel {job.id[:8]}"
        raise


def _record(job: str, url: str | None) -> Record:
    settings = settings_for(None, url)
    with closing(History(settings.history_path)) as history:
        known = history.get(job)
    return known or _with_client(url, lambda client: client.jobs.look_up(job))


def _show_end(screen: Screen, record: Record) -> None:
    if record.state != "succeeded":
        raise _failure(record)
    uploaded = addresses_of(record)
    fetch = f"Fetch it: ryla-gen jobs result {record.id[:8]} -o FILE"
    # A file that could not be uploaded is fetched like any other.
    lines = [f"{record.id} succeeded.{'' if uploaded and len(uploaded) == len(record.outputs) else ' ' + fetch}", *uploaded]
    screen.result({"job": record.id, "state": record.state}, "\n".join(lines))


def addresses_of(record: Record) -> list[str]:
    """Return where the files of a job lie that were uploaded."""
    return [str(item["url"]) for item in record.outputs if item.get("url")]


def _failure(record: Record) -> RylaGenError:
    """Return the error in the journal, or the one that the state means."""
    if record.error:
        return error_from_data(record.error)
    if record.state == "expired":
        return JobExpiredError(f"The job {record.id} has expired.")
    return JobCanceledError(f"The job {record.id} was canceled.")


def end_lost(screen: Screen, records: Sequence[Record]) -> None:
    """Journal the end of jobs whose process or server is certainly gone, and say which servers do not answer."""
    for address in _with_client(None, lambda client: client.jobs.end_lost(records)):
        screen.note(f"warning: {address} does not answer; its jobs are shown in their last known state.")


def _check_timeout(timeout: float | None) -> None:
    if timeout is not None and not 0 < timeout < float("inf"):
        raise InvalidInputError(f"--timeout {timeout:g} must be more than 0.", "Leave it out to wait without a limit.")
