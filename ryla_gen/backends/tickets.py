"""Implement what tickets share: a task that ends in the result, and the log of its events. Must not know a protocol."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, TypeVar

from ..comfy.connection import as_typed
from ..errors import JobCanceledError, RylaGenError
from ..events import Event, Finished, Queued, State
from ..results import Generation
from .base import EventLog

if TYPE_CHECKING:
    from ..engine.output_hooks import OnOutput

E = TypeVar("E", bound=RylaGenError)


def contact_lost(error: E, job: str) -> E:
    """Mark an error: contact with a job that may still run was lost. Its end is unknown, so it must not count as ended."""
    error.details |= {"contact_lost": True, "job": job}
    error.hint = f"The job may still be running there. Fetch its result when the backend answers again: ryla-gen jobs result {job}"
    error.args = (error.message, error.hint, error.details)
    return error


class TaskTicket(ABC):
    """A job that a task of this process follows to its end. The task begins at the event loop's next turn.

    Args:
        job: its id.
        on_output: the hook that the client was given, asked about the result before anybody has it.

    """

    def __init__(self, job: str, on_output: OnOutput | None = None) -> None:
        self._log = EventLog(job, previews=on_output is None)
        self._on_output = on_output
        self._log.add(Queued, position=0)
        self._begun = asyncio.Event()
        self._task = asyncio.create_task(self._settle(), name=f"ryla-gen job {job}")
        # A task that is canceled before its first step never comes to its own end.
        self._task.add_done_callback(lambda task: self._end("canceled" if task.cancelled() else "failed"))
        # Nothing awaits a job that was only submitted; without this, asyncio would print its failure as never retrieved.
        self._task.add_done_callback(lambda task: task.cancelled() or task.exception())

    @property
    @abstractmethod
    def handle(self) -> str:
        """Backend and its own id of the job."""

    @abstractmethod
    async def cancel(self) -> None:
        """Stop the job, queued or running, and wait until that is settled."""

    @abstractmethod
    async def _work(self) -> Generation:
        """Follow the job to its result."""

    @property
    def state(self) -> State:
        """The job's state, by its events so far."""
        return self._log.state

    @property
    def _has_ended(self) -> bool:
        """Whether the job is over; one that was out of reach when this ticket lost it may run on, and can be canceled."""
        if not self._task.done() or self._task.cancelled():
            return self._task.done()
        error = self._task.exception()
        return not (isinstance(error, RylaGenError) and error.details.get("contact_lost"))

    def events(self, *, previews: bool = True) -> AsyncIterator[Event]:
        """Yield every event from the first one on, then the end."""
        return self._log.read(previews=previews)

    async def result(self) -> Generation:
        """Wait for the result; canceling the wait does not stop the job."""
        try:
            return await asyncio.shield(self._task)
        except asyncio.CancelledError:
            if self._task.cancelled():
                raise JobCanceledError(f"The job {self._log.job} was canceled.") from None
            raise

    async def let_go(self) -> None:
        """Stop following the job; where it lives elsewhere, it goes on."""
        self._task.cancel()
        await asyncio.wait([self._task])

    async def _checked(self) -> Generation:
        """Follow the job to its result, and ask the client's hook about it."""
        generation = await self._work()
        if self._on_output is None:
            return generation
        from ..engine.output_hooks import check_generation  # here, since most clients have no hook

        return await check_generation(generation, self._on_output)

    async def _settle(self) -> Generation:
        self._begun.set()
        try:
            generation = await self._checked()
        except RylaGenError as error:
            self._end("canceled" if isinstance(error, JobCanceledError) else "failed")
            raise
        except Exception as error:
            self._end("failed")
            raise as_typed(error, f"The job {self._log.job} failed") from error
        except BaseException as error:
            self._end("canceled" if isinstance(error, asyncio.CancelledError) else "failed")
            raise
        self._end("succeeded")
        return generation

    def _end(self, state: State) -> None:
        if self._log.finished:
            return
        self._log.state = state
        self._log.add(Finished, state=state)
