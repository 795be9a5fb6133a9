"""Jobs that outlive this process: handed in, found again, let go of. A client follows them; this says when it lets go."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from ryla_gen import backends, hooks
from ryla_gen.backends.base import Ticket
from ryla_gen.calls import admit, references_of
from ryla_gen.client import AsyncClient
from ryla_gen.comfy.access import connect
from ryla_gen.comfy.client import ComfyClient
from ryla_gen.comfy.messages import End, ExecutionStart, ExecutionSuccess, Whereabouts, messages_from_history
from ryla_gen.contract import new_job_id
from ryla_gen.errors import GenerationTimeoutError, JobCanceledError
from ryla_gen.events import Finished, Started
from ryla_gen.fallback import IN_PROCESS, first_willing
from ryla_gen.history import Record
from ryla_gen.jobs import AsyncJob
from ryla_gen.results import Generation
from ryla_gen.settings import Settings
from ryla_gen.workflows.base import Workflow

LEAVE_SECONDS = 0.5
"""How long the end of a job that a server refused may take to follow the news of it."""
STOP_SECONDS, STOP_PAUSE = 3.0, 0.05
"""How long a server may take to say that a prompt has stopped, and how often it is asked: some nodes end before they stop."""


def settings_for(backend: str | None, url: str | None, max_usd: float | None = None) -> Settings:
    """The settings, under what the command line says."""
    arguments = {"backend": backend or ("comfyui" if url else None), "comfyui_url": url, "max_usd": max_usd}
    return Settings.load(**{key: value for key, value in arguments.items() if value is not None})


async def handed_in(settings: Settings, workflow: Workflow, timeout: float | None, tags: Sequence[str]) -> dict[str, Any]:
    """Submit, wait until the job does not need this process any more, and let go of it.

    Not by a client: that would follow the job to its time limit, and so would ask for less of the day's money.

    Raises:
        RylaGenError: a picture cannot be read, it would cost too much, or the backend refused.

    """
    ready, names, job = (await workflow.resolved(references_of(settings))).seeded(), settings.backend_names, new_job_id()
    seeded = getattr(workflow, "seed", None) is not None
    async with AsyncClient(settings=settings) as client, AsyncExitStack() as opened:
        history = client.history

        async def attempt(name: str) -> Ticket:
            backend = backends.create(name, settings)
            opened.push_async_callback(backend.close)
            moved = name != names[0]
            # Written before anything is spent: whatever happens now, the job can be found.
            admitted = admit(history, settings, ready, name, job=job, timeout=timeout, tags=tags, moved=moved, followed=False)
            if not moved:
                hooks.tell(hooks.requested(ready, job=job, backend=name, has_seed=seeded), settings)
            ticket = await backend.submit(ready, job=job, timeout=admitted.timeout)
            history.update(job, handle=ticket.handle)
            started = await _arrived(ticket, name)
            if started is not None:
                history.update(job, state="running", started_at=started.at)
            return ticket

        try:
            name, ticket, skipped = await first_willing(names, attempt)
        except BaseException as error:
            record = history.get(job)
            if record is not None:
                client.jobs.ended(record, error)
            raise
        told = [item.to_data() for item in skipped]
        history.update(job, skipped=told)
    seed = getattr(ready, "seed", None)
    return {"job": job, "handle": ticket.handle, "workflow": ready.name, "backend": name, "seed": seed, "skipped": told}


async def _arrived(ticket: Ticket, backend: str) -> Started | None:
    """Wait until the server has the job: where its engine is a task of this process, it uploads and submits from here."""
    outcome = asyncio.create_task(ticket.result())
    outcome.add_done_callback(lambda task: task.cancelled() or task.exception())  # nobody need ever ask for it
    started: Started | None = None
    try:
        if backend in IN_PROCESS:
            started = await _taken(ticket, outcome)
        if outcome.done():
            await outcome
    except asyncio.CancelledError:
        await asyncio.shield(ticket.cancel())
        raise
    return started


async def _taken(ticket: Ticket, outcome: asyncio.Task[Generation]) -> Started | None:
    """Wait for the first event after the one that every job begins with: its start, its place in the queue, or its end."""
    async for event in ticket.events(previews=False):
        if isinstance(event, Finished):
            await asyncio.wait([outcome], timeout=LEAVE_SECONDS)
        if event.seq > 0:
            return event if isinstance(event, Started) else None
    return None


@asynccontextmanager
async def attached(settings: Settings, job: str) -> AsyncIterator[AsyncJob]:
    """Follow a job of any process, by its id, the beginning of it, or its handle; afterwards it goes on without us.

    Raises:
        JobNotFoundError: no such job is known.
        JobExpiredError: its backend no longer has it.

    """
    async with AsyncClient(settings=settings) as client:
        yield await client.jobs.get(job)


async def waited(job: AsyncJob, timeout: float | None) -> Generation:
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


async def looked_up(settings: Settings, job: str) -> Record:
    """Find a job in the journal, or by its handle on its server, which may be another machine's job.

    Raises:
        JobNotFoundError: no such job is known, or its backend does not tell what was asked for.
        JobExpiredError: its backend no longer has it.

    """
    async with AsyncClient(settings=settings) as client:
        return await client.jobs.look_up(job)


async def located(settings: Settings, record: Record) -> Whereabouts | None:
    """Say where a server of one's own has a job, which it tells nobody but the process that submitted it.

    Args:
        settings: the server's address.
        record: the job.

    Returns:
        None when the job is not on such a server.

    """
    if record.backend != "comfyui" or not settings.comfyui_url:
        return None
    prompt_id = _prompt_id(record)
    async with connect(settings) as server:
        return (await server.locate([prompt_id]))[prompt_id]


async def stopped(settings: Settings, record: Record) -> bool:
    """Take a job out of the queue of a server of one's own, or interrupt it, and journal that.

    Returns:
        Whether it was there, and was not faster.

    """
    place = await located(settings, record)
    if place is None or place.place not in ("pending", "running"):
        return False
    prompt_id = _prompt_id(record)
    async with connect(settings) as server:
        await server.cancel(prompt_id)
        entry = await _last_entry(server, prompt_id) if place.place == "running" else {}
    said = messages_from_history(prompt_id, entry) if entry else []
    if isinstance(said[-1] if said else None, ExecutionSuccess):
        return False
    error = JobCanceledError(f"The job {record.id} was cancelled.")
    start, end = (next((item.at for item in said if isinstance(item, kind)), 0.0) for kind in (ExecutionStart, End))
    if start and end:  # what the server itself says
        error.details |= {"gpu_seconds": end - start, "cost_usd": (end - start) * settings.comfyui_hourly_usd / 3600}
    async with AsyncClient(settings=settings) as client:
        client.jobs.ended(record, error)
    return True


async def _last_entry(server: ComfyClient, prompt_id: str) -> Mapping[str, Any]:
    """The history entry of a prompt that was interrupted; empty when it takes too long to stop."""
    for _ in range(round(STOP_SECONDS / STOP_PAUSE)):
        entry = await server.history(prompt_id)
        if entry is not None:
            return entry
        await asyncio.sleep(STOP_PAUSE)
    return {}


def _prompt_id(record: Record) -> str:
    return (record.handle or record.id).rpartition(":")[2]
