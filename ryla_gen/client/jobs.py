"""Find, follow, stop and list the jobs this machine knows: ``client.jobs``. Must not submit one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from ..backends.base import StopsById
from ..backends.recover import RemoteRequest, recover_request
from ..comfy.messages import Whereabouts
from ..errors import InvalidInputError, JobCanceledError, JobExpiredError, JobNotFoundError, RylaGenError
from ..events import FINAL_STATES
from ..history import History, Record
from ..settings import Settings
from ..workflows.base import Workflow
from ..workflows.custom import CustomWorkflow
from . import whereabouts
from .fallback import notices
from .job_base import AsyncJob
from .requests import estimate_again, not_reached, rebuilt, workflow_of
from .submission import SentJob

if TYPE_CHECKING:
    from ..backends.base import Backend
    from .outcomes import Outcomes

BY_ID = ("modal",)
"""Backends that stop a job of which they have no call yet."""
SETTLE_SECONDS = 5.0
"""How long a server may take to queue a prompt whose sender died meanwhile: it validates the graph first. As ComfyClient waits."""


class AsyncJobs:
    """The jobs this machine knows: ``client.jobs``.

    Args:
        settings: how servers are reached.
        history: the journal.
        outcomes: the jobs that are followed here.
        backend: returns a backend by its name.

    """

    def __init__(self, settings: Settings, history: History, outcomes: Outcomes, backend: Callable[[str], Backend]) -> None:
        self._settings, self._history, self._outcomes, self._backend = settings, history, outcomes, backend

    async def get(self, id: str) -> AsyncJob:  # noqa: A002 - the field's own name
        """Find a job of any process again, by its id, the beginning of it, or its handle; a handle also on another machine.

        Raises:
            JobNotFoundError: no such job is known, or its backend does not tell what was asked for.
            JobExpiredError: its backend no longer has it.

        """
        record = await self.look_up(id)
        found = await self._attach(record, record.handle or await self._handle(record))
        if found is None:
            raise not_reached(record)
        return found

    async def take_up(self, record: Record) -> AsyncJob | None:
        """Follow a job that an earlier process may have sent; None where it never arrived, so that it may be sent.

        Raises:
            JobNotFoundError: its backend cannot tell (``details["maybe_taken"]``); only a person may send it again.
            JobExpiredError: its backend had it, and no longer has it.

        """
        if record.id in self._outcomes.live:
            return self._outcomes.live[record.id]
        handle = record.handle or await self._handle(record)
        if handle is None and record.backend == "comfyui" and record.process is not None:
            # Its process died while sending it: the server may still be validating it, and would queue it a moment later.
            deadline, pause = time.monotonic() + SETTLE_SECONDS, 0.1
            while handle is None and time.monotonic() < deadline:
                await asyncio.sleep(pause)
                handle, pause = await self._handle(record), min(2 * pause, 1.0)
        return await self._attach(record, handle)

    async def _handle(self, record: Record) -> str | None:
        """Ask a backend for the handle of a job whose process never received one, and journal it."""
        if record.id in self._outcomes.live:
            return None
        try:
            handle = await self._backend(record.backend).find(record.id)
        except JobCanceledError as error:  # it was stopped before any process of its backend had it
            self.record_end(record, error)
            raise
        if handle is not None:
            self._history.update(record.id, handle=handle)
        return handle

    async def _attach(self, record: Record, handle: str | None) -> AsyncJob | None:
        """Follow the job that a handle names; None without one, unless it is followed here already."""
        outcomes = self._outcomes
        living = outcomes.live.get(record.id)
        if living is not None:  # a second follower would compete for its messages, and journal its end twice
            return living
        if handle is None:
            return None
        workflow = workflow_of(record)
        try:
            ticket = await self._backend(record.backend).attach(handle, workflow, job=record.id)
        except JobExpiredError as error:
            self.record_end(record, error)
            raise
        # Looking at what has ended changes nothing in the journal.
        ended = record.state in FINAL_STATES
        if not ended:  # restore the estimate, which bounds the cost of a job without a result
            self._estimate(record)
        said = notices(record.skipped, record.backend)
        started_at = None if ended else record.started_at
        sent = SentJob(record.id, workflow, record.backend, ticket, record.skipped, said, started_at)
        return outcomes.follow(sent, journal=not ended)

    async def look_up(self, id: str) -> Record:  # noqa: A002 - as above
        """Find what the journal knows of a job. One of another machine, named by its handle, is written down first.

        Raises:
            JobNotFoundError: no such job is known, or its backend does not tell what was asked for.
            JobExpiredError: its backend no longer has it.

        """
        history = self._history
        record = history.get(id)
        if record is not None:
            return record
        told = await recover_request(id.strip(), self._settings)
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
            raise JobNotFoundError(f"The journal {history.path} cannot be used, so {id!r} cannot be recorded there.")
        return record

    def record_end(self, record: Record, error: BaseException) -> None:
        """Journal and report the end of a job that is not followed here, unless its end was known before."""
        if record.state not in FINAL_STATES:
            self._estimate(record)
            self._outcomes.settle(record.id, None, error)

    async def locate(self, record: Record) -> Whereabouts | None:
        """Find a job on the user's own server, which sends messages about it only to the process that submitted it.

        Returns:
            None when the job is not on such a server.

        """
        return await whereabouts.locate(self._settings, record)

    async def stop(self, record: Record) -> bool:
        """Stop a job without following it, where its backend can, and journal that.

        On a server of one's own it is taken out of the queue, or interrupted. On Modal it is stopped by its id when no process
        received a handle for it: the call may be on its way all the same.

        Returns:
            Whether the job was there, and had not ended before it could be stopped.

        """
        error = await self._stopped_by_id(record) or await whereabouts.stop(self._settings, record)
        if error is not None:
            self.record_end(record, error)
        return error is not None

    async def _stopped_by_id(self, record: Record) -> JobCanceledError | None:
        if record.handle is not None or record.backend not in BY_ID:
            return None
        backend = self._backend(record.backend)
        try:
            if await self._handle(record) is not None or not isinstance(backend, StopsById):
                return None
            await backend.stop(record.id)
        except JobCanceledError as error:
            return error
        return JobCanceledError(f"The job {record.id} was canceled.")

    async def end_lost(self, records: Sequence[Record]) -> Sequence[str]:
        """Journal the end of the open jobs whose process or server is certainly gone.

        Returns:
            Addresses of servers that do not answer: what became of their jobs is not known.

        """
        found = await whereabouts.find_lost(whereabouts.suspects(records))
        for record, error in found.jobs:
            with suppress(RylaGenError):  # its workflow or backend no longer exists on this machine: nothing to estimate by
                self._estimate(record)
            self._outcomes.settle(record.id, None, error)
        return found.silent

    def _estimate(self, record: Record) -> None:
        estimates = self._outcomes.estimates
        if record.id not in estimates:
            estimates[record.id] = estimate_again(record, self._settings, self._history)

    def list(self, *, limit: int = 50, workflow: str | None = None, state: str | None = None) -> list[Record]:
        """List jobs from the journal, the newest first."""
        return self._history.list(limit=limit, workflow=workflow, state=state)


def _request(told: RemoteRequest) -> Workflow:
    """Rebuild the request of a job from another machine: its workflow if this machine knows it, else the graph that runs."""
    try:
        found = rebuilt(told.workflow, told.inputs)
    except InvalidInputError:
        if told.graph is None:
            raise
        return CustomWorkflow.from_plain({"graph": told.graph}, trusted=True)
    return found.with_seed(told.seed)
