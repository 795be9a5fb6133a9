"""Follow jobs to their ends, and journal each end once, even when several callers wait. Must not send a job."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from .. import telemetry
from ..costs.admission import unfinished_cost
from ..costs.budget import stopped
from ..costs.estimates import Estimate
from ..delivery.uploads import uploaded
from ..errors import GenerationTimeoutError, InternalError, JobExpiredError, RylaGenError
from ..events import Started, now
from ..history import History, Record
from ..results import Generation, Output
from ..settings import Settings
from .fallback import with_skipped
from .hints import fit_hint
from .job_base import AsyncJob, state_of
from .requests import to_typed_error, user_for_events
from .signing import Signatures
from .submission import SentJob
from .telling import Telling

if TYPE_CHECKING:
    from ..backends.base import Backend

CLOSE_SECONDS = 5.0
"""How long a client that is closed waits for the ends of its jobs."""


class Outcomes:
    """The jobs of one client whose ends are not known yet.

    Args:
        history: the journal.
        settings: where the telemetry of ends is sent, and whether results are signed.
        backend: returns a backend by its name.

    """

    def __init__(self, history: History, settings: Settings, backend: Callable[[str], Backend]) -> None:
        self._history, self._settings, self._backend = history, settings, backend
        self._signatures = Signatures(settings)
        self._tasks: set[asyncio.Task[Generation]] = set()
        self._telling = Telling(history, settings)
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
        if journal:
            self._telling.expect(sent.job, sent.options)
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
        """Wait a moment for the jobs whose backends were closed, and for those who are told of ends."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=CLOSE_SECONDS)
        await self._telling.wait(CLOSE_SECONDS)

    async def _outcome(self, sent: SentJob, *, journal: bool) -> Generation:
        made: Generation | None = None
        try:
            if journal and sent.started_at is None:
                await self._note_start(sent)
            made = await sent.ticket.result()
            generation = await self._signatures.sign(made)
            generation = await uploaded(generation, sent.options.output_to, private=self._settings.allow_private_addresses)
        except BaseException as error:
            if made is not None and not isinstance(error, Exception):
                raise  # cut off while it was signed or uploaded: it is paid for, and who looks next gets it from its backend
            found = to_typed_error(error, sent.job)
            if sent.money is not None and isinstance(found, GenerationTimeoutError) and not found.details.get("queued"):
                found = stopped(found, sent.money)
            if isinstance(found, RylaGenError):
                fit_hint(found, sent.backend, sent.workflow)
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
        columns: dict[str, Any] = {"state": state_of(error), "finished_at": now()}
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
                "outputs": [_journaled(item) for item in generation.outputs],
            }
        # First: once the journal has the end, nobody else tells it.
        self._telling.tell(job, known, generation, error, cost_usd=columns.get("cost_usd"))
        self._history.update(job, **columns)
        user = user_for_events(self._history, self._settings, known.user if known is not None else None)
        cost = columns.get("cost_usd", 0.0)
        for event in telemetry.describe_end(known, generation, error, cost_usd=cost):
            telemetry.emit(replace(event, user=user) if isinstance(event, telemetry.JobEvent) else event, self._settings)

    def _elsewhere(self, known: Record | None, error: RylaGenError) -> bool:
        """Whether a job is unknown to this server because it was sent to another one."""
        if not isinstance(error, JobExpiredError) or known is None or known.backend != "comfyui":
            return False
        return known.server not in (None, error.details.get("server", self._settings.comfyui_url))


def _journaled(item: Output) -> dict[str, Any]:
    """Return what the journal has of a file."""
    told: dict[str, Any] = {"name": item.name, "media_type": item.media_type, "bytes": item.bytes_made}
    return told if item.url is None else {**told, "url": item.url}


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
