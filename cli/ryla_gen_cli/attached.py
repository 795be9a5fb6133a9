"""Jobs that outlive this process: handed in, found again, let go of.

Goes to the backends themselves: a client follows its jobs to their end, and journals what it no longer follows as failed.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, closing
from dataclasses import dataclass
from typing import Any

from ryla_gen import backends
from ryla_gen.backends.base import Ticket
from ryla_gen.calls import admit, unreached, workflow_of
from ryla_gen.comfy.access import connect
from ryla_gen.comfy.following import Whereabouts
from ryla_gen.contract import new_job_id
from ryla_gen.errors import GenerationTimeoutError, JobNotFoundError, RylaGenError
from ryla_gen.events import FINAL_STATES, Finished, now
from ryla_gen.fallback import first_willing
from ryla_gen.history import History, Record
from ryla_gen.jobs import state_of
from ryla_gen.results import Generation
from ryla_gen.settings import Settings
from ryla_gen.workflows.base import Workflow

LEAVE_SECONDS = 0.5
"""How long what followed a job may take to notice that it is let go of."""


@dataclass(frozen=True, slots=True)
class Attached:
    """A job of any process, followed here."""

    record: Record
    workflow: Workflow
    ticket: Ticket
    history: History
    outcome: asyncio.Task[Generation]
    """Its end. Stopping to wait stops nothing else."""

    async def result(self, timeout: float | None = None) -> Generation:
        """Wait for its result and journal it.

        Raises:
            GenerationTimeoutError: it has not finished while we waited; it goes on.
            RylaGenError: it failed.

        """
        done, _ = await asyncio.wait([self.outcome], timeout=timeout)
        if not done:
            text = f"The job {self.record.id} has not finished after {timeout:g} s of waiting; it goes on."
            hint = f"Wait again, or stop it: ryla-gen jobs cancel {self.record.id[:8]}"
            raise GenerationTimeoutError(text, hint, {"job": self.record.id})
        return self._journaled()

    def _journaled(self) -> Generation:
        error = self.outcome.exception()
        if self.record.state in FINAL_STATES:  # looking at what has ended changes nothing
            return self.outcome.result()
        columns: dict[str, Any] = {"state": state_of(error), "finished_at": now()}
        if error is not None:
            columns["error"] = error.to_data() if isinstance(error, RylaGenError) else None
            self.history.update(self.record.id, **columns)
            raise error
        made = self.outcome.result()
        outputs = [{"name": item.name, "media_type": item.media_type, "bytes": len(item.data)} for item in made.outputs]
        costs = {"gpu": made.cost.gpu, "gpu_seconds": made.cost.gpu_seconds or None, "cost_usd": made.cost.total_usd}
        self.history.update(self.record.id, **columns, **costs, seed=made.seed, outputs=outputs, error=None)
        return made


def settings_for(backend: str | None, url: str | None, max_usd: float | None = None) -> Settings:
    """The settings, under what the command line says."""
    arguments = {"backend": backend or ("comfyui" if url else None), "comfyui_url": url, "max_usd": max_usd}
    return Settings.load(**{key: value for key, value in arguments.items() if value is not None})


async def handed_in(settings: Settings, workflow: Workflow, timeout: float | None, tags: Sequence[str]) -> dict[str, Any]:
    """Submit, wait until the job does not need this process any more, and let go of it.

    Raises:
        RylaGenError: a picture cannot be read, it would cost too much, or the backend refused.

    """
    ready, names, job = (await workflow.resolved()).seeded(), settings.backend_names, new_job_id()
    async with AsyncExitStack() as opened:
        history = opened.enter_context(closing(History(settings.history_path)))

        async def attempt(name: str) -> Ticket:
            backend = backends.create(name, settings)
            opened.push_async_callback(backend.close)
            moved = name != names[0]
            # Written before anything is spent: whatever happens now, the job can be found.
            admitted = admit(history, settings, ready, name, job=job, timeout=timeout, tags=tags, moved=moved, followed=False)
            ticket = await backend.submit(ready, job=job, timeout=admitted.timeout)
            history.update(job, handle=ticket.handle)
            await _arrived(ticket, name)
            return ticket

        try:
            name, ticket, skipped = await first_willing(names, attempt)
        except (RylaGenError, asyncio.CancelledError) as error:
            data = error.to_data() if isinstance(error, RylaGenError) else None
            history.update(job, state=state_of(error), finished_at=now(), error=data)
            raise
        told = [item.to_data() for item in skipped]
        history.update(job, skipped=told)
    seed = getattr(ready, "seed", None)
    return {"job": job, "handle": ticket.handle, "workflow": ready.name, "backend": name, "seed": seed, "skipped": told}


async def _arrived(ticket: Ticket, backend: str) -> None:
    outcome = _outcome(ticket)
    try:
        if backend != "modal":  # there the call is on its way; elsewhere the engine uploads and submits from this process
            await _taken(ticket)
        if outcome.done():
            await outcome
    except asyncio.CancelledError:
        await asyncio.shield(ticket.cancel())
        raise


async def _taken(ticket: Ticket) -> None:
    """Wait for the first event after the one that every job begins with."""
    async for event in ticket.events(previews=False):
        if isinstance(event, Finished):
            await asyncio.wait([_outcome(ticket)], timeout=LEAVE_SECONDS)
        if event.seq > 0:
            return


def _outcome(ticket: Ticket) -> asyncio.Task[Generation]:
    outcome = asyncio.create_task(ticket.result())
    outcome.add_done_callback(lambda task: task.cancelled() or task.exception())  # nobody need ever ask for it
    return outcome


@asynccontextmanager
async def attached(settings: Settings, job: str) -> AsyncIterator[Attached]:
    """Follow a job of any process, by its id, the beginning of it, or its handle; afterwards it goes on without us.

    Raises:
        JobNotFoundError: no such job is known.
        JobExpiredError: its backend no longer has it.

    """
    with closing(History(settings.history_path)) as history:
        record = found(history, job)
        backend = backends.create(record.backend, settings)
        outcome: asyncio.Task[Generation] | None = None
        try:
            handle = record.handle or await backend.find(record.id)
            if handle is None:
                raise unreached(record)
            workflow = workflow_of(record)
            ticket = await backend.attach(handle, workflow, job=record.id)
            outcome = _outcome(ticket)
            yield Attached(record, workflow, ticket, history, outcome)
        finally:
            await backend.close()
            if outcome is not None:  # closed first: what follows the job then ends without cancelling it
                await asyncio.wait([outcome], timeout=LEAVE_SECONDS)
                outcome.cancel()


async def located(settings: Settings, record: Record, *, stop: bool = False) -> Whereabouts | None:
    """Say where a server of one's own has a job, which it tells nobody but the process that submitted it.

    Args:
        settings: the server's address.
        record: the job.
        stop: whether to take it out of the queue, or interrupt it.

    Returns:
        None when the job is not on such a server.

    """
    if record.backend != "comfyui" or not settings.comfyui_url:
        return None
    prompt_id = (record.handle or record.id).rpartition(":")[2]
    async with connect(settings) as client:
        place = (await client.locate([prompt_id]))[prompt_id]
        if stop and place.place in ("pending", "running"):
            await client.cancel(prompt_id)
        return place


def found(history: History, job: str) -> Record:
    """Find a job in the journal.

    Raises:
        JobNotFoundError: it is not there.

    """
    record = history.get(job)
    if record is None:
        raise JobNotFoundError(f"No job {job!r} is in the journal of this machine.")
    return record
