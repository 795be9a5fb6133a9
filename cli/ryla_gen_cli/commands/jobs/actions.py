"""Implement the verbs of ``ryla-gen jobs`` that ask a job's backend: status, watch, wait, result, cancel. Starts no job."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager, closing, suppress
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
from ryla_gen.support.loop_thread import LoopThread

from ...generate import check_before, note_result, page, save_outputs, summary, with_format
from ...progress import following, progress_text
from ...run_options import RunOptions, settings_for
from ...screen import Screen

T = TypeVar("T")

FIRST_LOOK, FURTHER_LOOK = 3.0, 0.3
"""Seconds in which a job that runs says the first thing, and each further one: what was said before comes at once."""
START_LOOK = 1.0
"""Seconds in which a job that is to be canceled says that it has started; where it has, it does so at once."""
FORMATS = ("output_format", "format")


def status(screen: Screen, job: str, url: str | None) -> None:
    """Show where a job is: from the journal when it has ended, else from the backend where it runs."""
    record = _record(job, url)
    data: dict[str, Any] = {"job": record.id, "workflow": record.workflow, "backend": record.backend, "state": record.state}
    if record.state not in FINAL_STATES:
        place = _with_client(url, lambda client: client.jobs.locate(record))
        if place is not None and place.place == "running":
            _journal_running(record, url)
            data |= {"state": "running"}
        elif place is not None and place.place == "pending":
            data |= {"state": "queued", "position": place.position}
        else:
            data |= _with_job(record.id, url, _current_progress)
    where = f" · {data['fraction']:.0%} {data['node']}".rstrip() if "fraction" in data else ""
    where = f" · {data['position']} ahead of it" if data.get("position") and data["state"] == "queued" else where
    screen.result(data, f"{record.id}  {record.workflow.replace('_', '-')}  {data['state']}{where}")


def _journal_running(record: Record, url: str | None) -> None:
    """Record that a job runs; from now on if its start is not known."""
    with closing(History(settings_for(None, url).history_path)) as history:
        history.update(record.id, state="running", started_at=record.started_at or now())


async def _current_progress(job: AsyncJob) -> dict[str, Any]:
    data: dict[str, Any] = {}
    async for event in _events_so_far(job):
        if isinstance(event, Queued):
            data["position"] = event.position
        elif isinstance(event, Progress):
            data |= {"fraction": event.fraction, "node": progress_text(event)}
        elif isinstance(event, Finished):
            await _await_end(job)
    return {**data, "state": job.state}


async def _events_so_far(job: AsyncJob) -> AsyncIterator[Event]:
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


def watch(screen: Screen, job: str, url: str | None) -> None:
    """Show a job's progress until it ends. Stopping to watch does not stop it.

    Raises:
        RylaGenError: it failed.

    """
    record = _record(job, url)
    if record.state in FINAL_STATES:
        _show_end(screen, record)
        return
    with following(screen, record.workflow.replace("_", "-")) as follower:
        screen.working = False  # an interrupt stops the watching only

        async def work(found: AsyncJob) -> Generation:
            async for event in found.events():
                follower.event(event)
            return await found.result()

        _with_job(record.id, url, work)
    _show_end(screen, _record(record.id, url))


def wait(screen: Screen, job: str, url: str | None, timeout: float | None) -> None:
    """Wait until a job ends.

    Raises:
        GenerationTimeoutError: it has not ended in time; it goes on.
        RylaGenError: it failed.

    """
    _check_timeout(timeout)
    record = _record(job, url)
    if record.state not in FINAL_STATES:
        _with_job(record.id, url, lambda found: _wait_for(found, timeout))
        record = _record(record.id, url)
    _show_end(screen, record)


def result(screen: Screen, job: str, url: str | None, timeout: float | None, output: str | None, *, overwrite: bool) -> None:
    """Fetch a job's files and save them, once it has ended.

    Raises:
        RylaGenError: it failed, or its files cannot be saved.

    """
    _check_timeout(timeout)
    how = RunOptions(output, overwrite)
    record = _record(job, url)
    if record.state in FINAL_STATES and record.state != "succeeded":
        raise _failure(record)

    async def work(found: AsyncJob) -> Generation:
        kind = type(found.workflow)
        made = {name: getattr(found.workflow, name) for name in FORMATS if name in kind.model_fields}
        with_format(kind, made, output)  # refuses a name that does not fit what is made
        check_before(screen, found.workflow, how)
        return await _wait_for(found, timeout)

    generation, settings = _with_job(record.id, url, work), settings_for(None, url)
    paths = save_outputs(screen, generation, how, settings.output_dir)
    with closing(History(settings.history_path)) as history:
        history.saved(record.id, paths)
    screen.result(summary(generation, paths), page(generation, paths))
    note_result(screen, generation)


def cancel(screen: Screen, job: str, url: str | None) -> None:
    """Stop a job, queued or running."""
    record = _record(job, url)
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

    return _run_async(ask())


def _with_client(url: str | None, work: Callable[[AsyncClient], Awaitable[T]]) -> T:
    async def ask() -> T:
        async with AsyncClient(settings=settings_for(None, url)) as client:
            return await work(client)

    return _run_async(ask())


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


def _run_async(work: Coroutine[Any, Any, T]) -> T:
    loop_thread = LoopThread()
    try:
        return loop_thread.call(work)
    finally:
        loop_thread.close()


def _record(job: str, url: str | None) -> Record:
    settings = settings_for(None, url)
    with closing(History(settings.history_path)) as history:
        known = history.get(job)
    return known or _with_client(url, lambda client: client.jobs.look_up(job))


def _show_end(screen: Screen, record: Record) -> None:
    if record.state != "succeeded":
        raise _failure(record)
    text = f"{record.id} succeeded. Fetch it: ryla-gen jobs result {record.id[:8]} -o FILE"
    screen.result({"job": record.id, "state": record.state}, text)


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
