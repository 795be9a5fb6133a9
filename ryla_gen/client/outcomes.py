"""Follow jobs to their ends, and journal each end once, even when several callers wait. Must not send a job."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from .. import telemetry
from ..costs.admission import unfinished_cost
from ..costs.estimates import Estimate
from ..errors import InternalError, JobExpiredError, RylaGenError
from ..events import Started, now
from ..history import History, Record
from ..results import Generation
from ..settings import Settings
from .fallback import with_skipped
from .job_base import AsyncJob, state_of
from .requests import to_typed_error
from .submission import SentJob

if TYPE_CHECKING:
    from ..backends.base import Backend

CLOSE_SECONDS = 5.0
"""How long a client that is closed waits for the ends of its jobs."""


class Outcomes:
    """The jobs of one client whose ends are not known yet.

    Args:
        history: the journal.
        settings: where the telemetry of ends is sent.
        backend: returns a backend by its name.

    """

    def __init__(self, history: History, settings: Settings, backend: Callable[[str], Backend]) -> None:
        self._history, self._settings, self._backend = history, settings, backend
        self._tasks: set[asyncio.Task[Generation]] = set()
        self.live: dict[str, AsyncJob] = {}
        """Jobs that are followed here, by their ids."""
        self.estimates: dict[str, Estimate | None] = {}
        """Estimated cost of each job; None where running is free."""
        self.closing = False
        """Whether the client is closed, or is being closed: a job that ends now only lost its follower, and may still run."""

    def follow(self, sent: SentJob, *, journal: bool = True) -> AsyncJob:
        """Follow a job to its end.

        Args:
            sent: the job.
            journal: whether its start and end are journaled; those of a job that had ended are there already.

        """
        waiting = _with_skipped(self._outcome(sent, journal=journal), sent)
        task = asyncio.create_task(waiting, name=f"ryla-gen outcome {sent.job}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(_retrieve)
        made = AsyncJob(sent.job, sent.workflow, sent.backend, sent.ticket, task, started_at=sent.started_at)
        if journal:
            self.live[sent.job] = made
            task.add_done_callback(lambda _: self.live.pop(sent.job, None))
        return made

    async def wait(self) -> None:
        """Wait a moment for the jobs whose backends were closed."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=CLOSE_SECONDS)

    async def _outcome(self, sent: SentJob, *, journal: bool) -> Generation:
        try:
            if journal and sent.started_at is None:
                await self._note_start(sent)
            generation = await sent.ticket.result()
        except BaseException as error:
            found = to_typed_error(error, sent.job)
            # A fault of ours in the ticket, not an end reported by the backend: the job may still run and cost money.
            if isinstance(found, InternalError) and found.__cause__ is not None:
                await self._stop(sent)
            if journal:
                self.settle(sent.job, None, found)
            if found is error:
                raise
            raise found from error
        if journal:
            self.settle(sent.job, generation, None)
        return generation

    async def _note_start(self, sent: SentJob) -> None:
        async for event in sent.ticket.events(previews=False):
            if isinstance(event, Started):
                self._history.update(sent.job, state="running", started_at=event.at)
                return

    async def _stop(self, sent: SentJob) -> None:
        """Stop a job whose ticket broke: nothing follows it here any more, and its backend does not know that."""
        with suppress(Exception):  # what broke the ticket may break this too; the job's end is journaled all the same
            again = await self._backend(sent.backend).attach(sent.ticket.handle, sent.workflow, job=sent.job)
            await again.cancel()

    def settle(self, job: str, generation: Generation | None, error: BaseException | None) -> None:
        """Journal how a job ended, and emit its telemetry. A job that may go on without us stays open."""
        known = self._history.get(job)
        if self.closing and generation is None:
            if known is None or known.backend != "emulator":
                return  # the job continues on its backend
            error = JobExpiredError("The client was closed, and the emulator with it.")
        if isinstance(error, RylaGenError) and (error.details.get("contact_lost") or self._elsewhere(known, error)):
            self._history.update(job, error=error.to_data())
            return  # its end is unknown, and it may still cost money: its row stays open, and its reservation in place
        columns: dict[str, object] = {"state": state_of(error), "finished_at": now()}
        estimated = self.estimates.pop(job, None)
        if generation is None:
            columns |= unfinished_cost(known, estimated, error)
        if isinstance(error, RylaGenError):
            columns["error"] = error.to_data()
        if generation is not None:
            columns |= {
                # A job that was out of contact has an error in its row, which its success replaces.
                "error": None,
                "seed": generation.seed,
                "gpu": generation.cost.gpu,
                "gpu_seconds": generation.cost.gpu_seconds or None,
                "cost_usd": generation.cost.total_usd,
                "outputs": [
                    {"name": item.name, "media_type": item.media_type, "bytes": len(item.data)} for item in generation.outputs
                ],
            }
        self._history.update(job, **columns)
        for event in telemetry.describe_end(known, generation, error):
            telemetry.emit(event, self._settings)

    def _elsewhere(self, known: Record | None, error: RylaGenError) -> bool:
        """Whether a job is unknown to this server because it was sent to another one."""
        if not isinstance(error, JobExpiredError) or known is None or known.backend != "comfyui":
            return False
        return known.server not in (None, error.details.get("server", self._settings.comfyui_url))


async def _with_skipped(waiting: Awaitable[Generation], sent: SentJob) -> Generation:
    """Return a result, or raise an error, that says which backends refused before."""
    try:
        generation = await waiting
    except RylaGenError as error:
        raise with_skipped(error, sent.skipped) from error.__cause__
    return replace(generation, warnings=generation.warnings + sent.notices) if sent.notices else generation


def _retrieve(task: asyncio.Task[Generation]) -> None:
    """Mark a failure as seen: a job that is never awaited must not print "exception was never retrieved"."""
    if not task.cancelled():
        task.exception()
