"""``client.jobs``: the jobs this machine knows, for async and for plain code. Submits nothing."""

from __future__ import annotations

import asyncio
import time
import weakref
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from ..backends.base import StopsById
from ..backends.recover import Told, told_of
from ..comfy.messages import Whereabouts
from ..errors import InvalidInputError, JobCanceledError, JobExpiredError, JobNotFoundError, RylaGenError
from ..events import FINAL_STATES, Event, Started, State
from ..history import Record
from ..results import Generation
from ..support.loop_thread import Portal
from ..workflows.base import Workflow
from ..workflows.custom import CustomWorkflow
from . import whereabouts
from .job_base import AsyncJob, Job
from .requests import estimate_again, rebuilt, unreached, workflow_of
from .submission import Sent

if TYPE_CHECKING:
    from ..backends.base import Ticket
    from .async_client import AsyncClient
    from .sync_client import Client

BY_ID = ("modal",)
"""Backends that stop a job of which they have no call yet."""
SETTLE_SECONDS = 5.0
"""How long a server may take to queue a prompt whose sender died meanwhile: it checks the graph first, as ComfyClient waits."""


class AsyncJobs:
    """The jobs this machine knows: ``client.jobs``."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client

    async def get(self, id: str) -> AsyncJob:  # noqa: A002 - the field's own name
        """Find a job of any process again, by its id, the beginning of it, or its handle; a handle also on another machine.

        Raises:
            JobNotFoundError: no such job is known, or its backend does not tell what was asked for.
            JobExpiredError: its backend no longer has it.

        """
        record = await self.look_up(id)
        found = await self._attached(record, record.handle or await self._handle(record))
        if found is None:
            raise unreached(record)
        return found

    async def take_up(self, record: Record) -> AsyncJob | None:
        """Follow a job that an earlier process may have sent; None where it never arrived, so that it may be sent.

        Raises:
            JobNotFoundError: its backend cannot tell (``details["maybe_taken"]``); only a person may send it again.
            JobExpiredError: its backend had it, and no longer has it.

        """
        if record.id in self._client._outcomes.live:
            return self._client._outcomes.live[record.id]
        handle = record.handle or await self._handle(record)
        if handle is None and record.backend == "comfyui" and record.process is not None:
            # Its process died while it sent it: the server may have it in hand still.
            deadline, pause = time.monotonic() + SETTLE_SECONDS, 0.1
            while handle is None and time.monotonic() < deadline:
                await asyncio.sleep(pause)
                handle, pause = await self._handle(record), min(2 * pause, 1.0)
        return await self._attached(record, handle)

    async def _handle(self, record: Record) -> str | None:
        """Ask a backend for the handle of a job whose process heard none, and journal it."""
        if record.id in self._client._outcomes.live:
            return None
        try:
            handle = await self._client._backend(record.backend).find(record.id)
        except JobCanceledError as error:  # it was stopped before any process of its backend had it
            self.ended(record, error)
            raise
        if handle is not None:
            self._client.history.update(record.id, handle=handle)
        return handle

    async def _attached(self, record: Record, handle: str | None) -> AsyncJob | None:
        """Follow the job that a handle names; None without one, unless it is followed here already."""
        outcomes = self._client._outcomes
        living = outcomes.live.get(record.id)
        if living is not None:  # a second follower would take its messages, and journal another end
            return living
        if handle is None:
            return None
        workflow = workflow_of(record)
        try:
            ticket = await self._client._backend(record.backend).attach(handle, workflow, job=record.id)
        except JobExpiredError as error:
            self.ended(record, error)
            raise
        # Looking at what has ended changes nothing in the journal.
        ended = record.state in FINAL_STATES
        if not ended:
            ticket = self._known(record, ticket)
        return outcomes.follow(Sent(record.id, workflow, record.backend, ticket, record.skipped), journal=not ended)

    async def look_up(self, id: str) -> Record:  # noqa: A002 - as above
        """Find what the journal knows of a job. One of another machine, named by its handle, is written down first.

        Raises:
            JobNotFoundError: no such job is known, or its backend does not tell what was asked for.
            JobExpiredError: its backend no longer has it.

        """
        history = self._client.history
        record = history.get(id)
        if record is not None:
            return record
        told = await told_of(id.strip(), self._client.settings)
        if told is None:
            raise JobNotFoundError(f"No job {id!r} is in the journal of this machine.")
        workflow = _request(told)
        history.record(
            told.job,
            backend=told.backend,
            workflow=workflow.name,
            inputs=workflow.described() | {name: told.inputs[name] for name in workflow.media_fields() if name in told.inputs},
            seed=getattr(workflow, "seed", None),
            handle=told.handle,
        )
        record = history.get(told.job)
        if record is None:
            raise JobNotFoundError(f"The journal {history.path} cannot be used, and {id!r} not be written down there.")
        return record

    def ended(self, record: Record, error: BaseException) -> None:
        """Write down how a job ended that nobody follows here, and tell it, unless its end was known before."""
        if record.state not in FINAL_STATES:
            self._estimate(record)
            self._client._outcomes.settle(record.id, None, error)

    async def locate(self, record: Record) -> Whereabouts | None:
        """Say where a server of one's own has a job, which it tells nobody but the process that submitted it.

        Returns:
            None when the job is not on such a server.

        """
        return await whereabouts.locate(self._client.settings, record)

    async def stop(self, record: Record) -> bool:
        """Stop a job without following it, where its backend can, and journal that.

        On a server of one's own it is taken out of the queue, or interrupted. On Modal it is stopped by its id when no process
        heard a handle of it: the call may be on its way all the same.

        Returns:
            Whether it was there, and was not faster.

        """
        error = await self._stopped_by_id(record) or await whereabouts.stop(self._client.settings, record)
        if error is not None:
            self.ended(record, error)
        return error is not None

    async def _stopped_by_id(self, record: Record) -> JobCanceledError | None:
        if record.handle is not None or record.backend not in BY_ID:
            return None
        backend = self._client._backend(record.backend)
        try:
            if await self._handle(record) is not None or not isinstance(backend, StopsById):
                return None
            await backend.stop(record.id)
        except JobCanceledError as error:
            return error
        return JobCanceledError(f"The job {record.id} was cancelled.")

    async def end_lost(self, records: Sequence[Record]) -> Sequence[str]:
        """Journal the end of the open jobs whose process or server is certainly gone.

        Returns:
            Addresses of servers that do not answer: what became of their jobs is not known.

        """
        found = await whereabouts.lost(whereabouts.suspects(records))
        for record, error in found.jobs:
            with suppress(RylaGenError):  # its workflow or backend is none of this machine's any more: nothing to estimate by
                self._estimate(record)
            self._client._outcomes.settle(record.id, None, error)
        return found.silent

    def _known(self, record: Record, ticket: Ticket) -> Ticket:
        """Bring back what the process that handed a job in knew of it: what it was thought to cost, and when it started."""
        self._estimate(record)
        return ticket if record.started_at is None else _Resumed(ticket, record.started_at)

    def _estimate(self, record: Record) -> None:
        estimates = self._client._outcomes.estimates
        if record.id not in estimates:
            estimates[record.id] = estimate_again(record, self._client.settings, self._client.history)

    def list(self, *, limit: int = 50, workflow: str | None = None, state: str | None = None) -> list[Record]:
        """List jobs from the journal, the newest first."""
        return self._client.history.list(limit=limit, workflow=workflow, state=state)


class _Resumed:
    """A ticket of a job whose start is in the journal: whoever follows it later says when it was, not when he came."""

    def __init__(self, ticket: Ticket, started_at: str) -> None:
        self._ticket = ticket
        self._started_at = started_at

    @property
    def handle(self) -> str:
        """Backend and its own id of the job."""
        return self._ticket.handle

    @property
    def state(self) -> State:
        """Where the job is."""
        return self._ticket.state

    async def events(self, *, previews: bool = True) -> AsyncIterator[Event]:
        """Every event from the first one on."""
        first = True  # a second start, of another container, is when it is
        async for event in self._ticket.events(previews=previews):
            known, first = first and isinstance(event, Started), first and not isinstance(event, Started)
            yield replace(event, at=self._started_at) if known else event

    async def result(self) -> Generation:
        """Wait for the result."""
        return await self._ticket.result()

    async def cancel(self) -> None:
        """Stop the job."""
        await self._ticket.cancel()


def _request(told: Told) -> Workflow:
    """The request behind a job of another machine: its own workflow where this machine knows it, else the graph that runs."""
    try:
        found = rebuilt(told.workflow, told.inputs)
    except InvalidInputError:
        if told.graph is None:
            raise
        return CustomWorkflow.from_plain({"graph": told.graph}, trusted=True)
    return found.with_seed(told.seed)


class Jobs:
    """The jobs this machine knows: ``client.jobs``."""

    def __init__(self, owner: Client, client: AsyncClient, portal: Portal) -> None:
        self._owner = weakref.ref(owner)
        self._client = client
        self._portal = portal

    def get(self, id: str) -> Job:  # noqa: A002 - the field's own name
        """Find a job of any process again; see :meth:`AsyncJobs.get`."""
        return Job(self._portal.call(self._client.jobs.get(id)), self._portal, self._owner())

    def list(self, *, limit: int = 50, workflow: str | None = None, state: str | None = None) -> list[Record]:
        """List jobs from the journal, the newest first."""
        return self._client.jobs.list(limit=limit, workflow=workflow, state=state)
