"""Represent one submitted workflow: id, state, events, result, cancel. Must not know a backend's protocol."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from ..errors import GenerationTimeoutError, JobCanceledError, RylaGenError
from ..events import Event, Started, State, state_of_error
from ..support.cancels import noted

if TYPE_CHECKING:
    from ..backends.base import Ticket
    from ..results import Generation
    from ..workflows.base import Workflow

OnEvent = Callable[[Event], None]
"""Called with every event of a job, in order."""


class AsyncJob:
    """One job. Get one from ``client.submit(workflow)`` or ``client.jobs.get(id)``."""

    def __init__(
        self,
        id: str,  # noqa: A002 - the field's own name
        workflow: Workflow,
        backend: str,
        ticket: Ticket,
        outcome: asyncio.Task[Generation],
        *,
        started_at: str | None = None,
    ) -> None:
        self.id = id
        """The job's id, a uuid4; valid in any process of this machine."""
        self.workflow = workflow
        """The request, with its seed."""
        self.backend = backend
        """Name of the backend that runs it."""
        self._ticket = ticket
        self._outcome = outcome
        self._started_at = started_at
        """When an earlier process saw it start; an event for the same start that arrives here has a later time."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id} {self.workflow.name} {self.state} on {self.backend}>"

    @property
    def handle(self) -> str:
        """Backend and its own id, accepted in place of the id; on another machine only where the backend knows what was requested.

        A ComfyUI server does while it has the prompt, Modal once the call has ended, RunPod never.
        """
        return self._ticket.handle

    @property
    def state(self) -> State:
        """The job's state, by the events that this process has received."""
        if not self._outcome.done():
            return self._ticket.state
        if self._outcome.cancelled():
            return "canceled"
        return state_of(self._outcome.exception())

    @property
    def done(self) -> bool:
        """Whether the job reached a final state."""
        return self._outcome.done()

    async def events(self) -> AsyncIterator[Event]:
        """Yield every event from the first one on; ends after ``Finished``. Leaving early does not stop the job."""
        known = self._started_at
        async for event in self._ticket.events():
            if known is not None and isinstance(event, Started):
                yield replace(event, at=known)
                known = None  # a second start, after its container was lost, keeps its own time
            else:
                yield event

    async def result(self, timeout: float | None = None) -> Generation:
        """Wait for the result. Canceling the wait does not stop the job.

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


async def follow(job: AsyncJob, on_event: OnEvent | None) -> Generation:
    """Wait for a job and pass on its events; canceling the wait cancels the job."""
    try:
        if on_event is not None:
            async for event in job.events():
                on_event(event)
        return await job.result()
    except BaseException as error:
        if not job.done:
            with noted(error):
                await asyncio.shield(job.cancel())
        raise


def state_of(error: BaseException | None) -> State:
    """Return the final state that an outcome means."""
    return "succeeded" if error is None else state_of_error(error)
