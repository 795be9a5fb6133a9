"""``client.jobs``: the jobs this machine knows, for async and for plain code. Submits nothing."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING

from ..calls import unreached, workflow_of
from ..errors import JobNotFoundError
from ..events import FINAL_STATES
from ..history import Record
from ..jobs import AsyncJob, Job
from ..portal import Portal

if TYPE_CHECKING:
    from .asynchronous import AsyncClient
    from .plain import Client


class AsyncJobs:
    """The jobs this machine knows: ``client.jobs``."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client

    async def get(self, id: str) -> AsyncJob:  # noqa: A002 - the field's own name
        """Find a job of any process again, by its id, the beginning of it, or its handle.

        Raises:
            JobNotFoundError: no such job is known.
            JobExpiredError: its backend no longer has it.

        """
        record = self._client.history.get(id)
        if record is None:
            raise JobNotFoundError(f"No job {id!r} is in the journal of this machine.")
        backend = self._client._backend(record.backend)
        handle = record.handle or await backend.find(record.id)
        if handle is None:
            raise unreached(record)
        workflow = workflow_of(record)
        ticket = await backend.attach(handle, workflow, job=record.id)
        # Looking at what has ended changes nothing in the journal.
        ended = record.state in FINAL_STATES
        return self._client._job(record.id, workflow, record.backend, ticket, journal=not ended, skipped=record.skipped)

    def list(self, *, limit: int = 50, workflow: str | None = None, state: str | None = None) -> list[Record]:
        """List jobs from the journal, the newest first."""
        return self._client.history.list(limit=limit, workflow=workflow, state=state)


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
