"""One submitted workflow: id, state, events, result, cancel; async, and plain over it. Knows no backend's protocol."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from typing import TYPE_CHECKING

from ..errors import GenerationTimeoutError, JobCanceledError, JobNotFoundError, RylaGenError
from ..events import Event, State

if TYPE_CHECKING:
    from ..backends.base import Ticket
    from ..results import Generation
    from ..support.loop_thread import Portal
    from ..workflows.base import Workflow


class AsyncJob:
    """One job. Get one from ``client.submit(workflow)`` or ``client.jobs.get(id)``."""

    def __init__(self, id: str, workflow: Workflow, backend: str, ticket: Ticket, outcome: asyncio.Task[Generation]) -> None:  # noqa: A002
        self.id = id
        """The job's id, a uuid4; valid in any process of this machine."""
        self.workflow = workflow
        """The request, with its seed."""
        self.backend = backend
        """Name of the backend that runs it."""
        self._ticket = ticket
        self._outcome = outcome

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id} {self.workflow.name} {self.state}>"

    @property
    def handle(self) -> str:
        """Backend and its own id, accepted in place of the id; on another machine as far as the backend tells what was asked for.

        A ComfyUI server does while it has the prompt, Modal once the call has ended, RunPod never.
        """
        return self._ticket.handle

    @property
    def state(self) -> State:
        """Where the job is, as far as this process has heard."""
        if not self._outcome.done():
            return self._ticket.state
        if self._outcome.cancelled():
            return "canceled"
        return state_of(self._outcome.exception())

    @property
    def done(self) -> bool:
        """Whether the job reached a final state."""
        return self._outcome.done()

    def events(self) -> AsyncIterator[Event]:
        """Every event from the first one on; ends after ``Finished``. Leaving early does not stop the job."""
        return self._ticket.events()

    async def result(self, timeout: float | None = None) -> Generation:
        """Wait for the result. Stopping to wait does not stop the job.

        Args:
            timeout: seconds to wait here; the job goes on afterwards.

        Raises:
            GenerationTimeoutError: it did not finish while we waited, or within its own limit.
            RylaGenError: it failed.

        """
        try:
            async with asyncio.timeout(timeout):
                return await asyncio.shield(self._outcome)
        except TimeoutError as error:
            if isinstance(error, RylaGenError):
                raise
            text = f"The job {self.id} has not finished after {timeout:g} s of waiting; it continues."
            raise GenerationTimeoutError(text, "Wait again: job.result(), or job.cancel() to stop it.", {"job": self.id}) from None
        except asyncio.CancelledError:
            if self._outcome.cancelled():
                raise JobCanceledError(f"The job {self.id} was canceled.") from None
            raise

    async def cancel(self) -> None:
        """Stop the job, queued or running; its neighbours go on. Canceling a finished job does nothing."""
        await self._ticket.cancel()
        await asyncio.wait([self._outcome])


class Job:
    """One job, for plain code. Get one from ``client.submit(workflow)`` or ``client.jobs.get(id)``."""

    def __init__(self, job: AsyncJob, portal: Portal, owner: object) -> None:
        self._job = job
        self._portal = portal
        self._owner = owner  # a client lives as long as one of its jobs is held

    def __repr__(self) -> str:
        return repr(self._job).replace("AsyncJob", "Job", 1)

    @property
    def id(self) -> str:
        """The job's id, a uuid4; valid in any process of this machine."""
        return self._job.id

    @property
    def handle(self) -> str:
        """Backend and its own id, accepted in place of the id; on another machine as far as the backend tells what was asked for.

        A ComfyUI server does while it has the prompt, Modal once the call has ended, RunPod never.
        """
        return self._job.handle

    @property
    def workflow(self) -> Workflow:
        """The request, with its seed."""
        return self._job.workflow

    @property
    def backend(self) -> str:
        """Name of the backend that runs it."""
        return self._job.backend

    @property
    def state(self) -> State:
        """Where the job is, as far as this process has heard."""
        return self._job.state

    @property
    def done(self) -> bool:
        """Whether the job reached a final state."""
        return self._job.done

    def events(self) -> Iterator[Event]:
        """Every event from the first one on; ends after ``Finished``. Leaving early does not stop the job."""
        return self._portal.iterate(self._job.events)

    def result(self, timeout: float | None = None) -> Generation:
        """Wait for the result; see :meth:`AsyncJob.result`."""
        return self._portal.call(self._job.result(timeout))

    def cancel(self) -> None:
        """Stop the job, queued or running; its neighbours go on. Canceling a finished job does nothing."""
        self._portal.call(self._job.cancel())

    @classmethod
    def from_id(cls, id: str) -> Job:  # noqa: A002 - the field's own name
        """Find a job of any process of this machine again, by its id or handle.

        Raises:
            JobNotFoundError: no such job is known.
            JobExpiredError: its backend no longer has it.

        """
        return find(id)


def _no_client(id: str) -> Job:  # noqa: A002 - as above
    raise JobNotFoundError(f"Cannot look for {id}: no client is loaded.", "import ryla_gen.client")


find: Callable[[str], Job] = _no_client
"""How ``Job.from_id`` finds a job; the client, a floor above, puts its own way here."""


def state_of(error: BaseException | None) -> State:
    """The final state that an outcome means."""
    if error is None:
        return "succeeded"
    code = getattr(error, "code", "internal")
    if code == "job_expired":
        return "expired"
    return "canceled" if code == "job_canceled" or isinstance(error, asyncio.CancelledError) else "failed"
