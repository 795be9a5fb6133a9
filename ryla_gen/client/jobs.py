"""Find, follow, stop and list the jobs this machine knows: ``client.jobs``. Must not submit one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Sequence
from contextlib import AsyncExitStack, aclosing, suppress
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from ..backends.base import StopsById
from ..backends.logs import LogLine
from ..backends.recover import RemoteRequest, recover_request
from ..comfy.messages import Whereabouts
from ..contract import Options
from ..errors import BackendUnreachableError, InvalidInputError, JobCanceledError, JobExpiredError, JobNotFoundError, RylaGenError
from ..events import FINAL_STATES
from ..history import History, Record
from ..history.processes import may_live_elsewhere
from ..settings import Settings
from ..workflows.base import Workflow
from ..workflows.custom import CustomWorkflow
from . import job_logs, whereabouts
from .fallback import notices
from .graphs import find_workflow
from .job_base import AsyncJob
from .requests import estimate_again, held_elsewhere, not_reached, rebuilt, workflow_of
from .submission import SentJob

if TYPE_CHECKING:
    from ..backends.base import Backend
    from ..forgetting.base import Forgotten
    from .outcomes import Outcomes

BY_ID = ("modal",)
"""Backends that stop a job of which they have no call yet."""
FOLLOWED = ("modal", "comfyui")
"""Backends whose logs are followed."""
SETTLE_SECONDS = 5.0
"""How long a server may take to queue a prompt whose sender died meanwhile: it validates the graph first. As ComfyClient waits."""

SILENT_HINT = "Run it again when it answers. If that server is gone, do not ask servers: servers=False, --no-servers"


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
            BackendUnreachableError: it runs on the emulator of another process.
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
        try:
            workflow = await self._workflow(record, handle)
            ticket = await self._backend(record.backend).attach(handle, workflow, job=record.id)
        except JobExpiredError as error:
            if record.backend == "emulator" and record.state not in FINAL_STATES and may_live_elsewhere(record.process):
                raise held_elsewhere(record) from None
            self.record_end(record, error)
            raise
        # Looking at what has ended changes nothing in the journal.
        ended = record.state in FINAL_STATES
        if not ended:  # restore the estimate, which bounds the cost of a job without a result
            self._estimate(record)
        said = notices(record.skipped, record.backend)
        started_at = None if ended else record.started_at
        options = Options(output_to=record.output_to)
        sent = SentJob(record.id, workflow, record.backend, ticket, record.skipped, said, options, started_at=started_at)
        return outcomes.follow(sent, journal=not ended)

    async def _workflow(self, record: Record, handle: str) -> Workflow:
        """Rebuild a job's request; the graph that its server has where its workflow is not known by name, as a lock's file is not.

        Raises:
            InvalidInputError: its workflow is not known here, and its backend does not tell the graph.
            JobExpiredError: the backend no longer has the job.

        """
        await self._learn(record.workflow, record.backend)
        try:
            return workflow_of(record)
        except InvalidInputError:
            if record.backend not in ("comfyui", "emulator"):
                raise
            told = await recover_request(handle, self._settings)
            if told is None or told.graph is None:
                raise
            return CustomWorkflow.from_plain({"graph": told.graph}, trusted=True)

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
        await self._learn(told.workflow, told.backend)
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

    async def _learn(self, name: str, backend: str) -> None:
        """Bring the lock of a job that ran on Modal onto this machine, where nothing here knows the name of its workflow.

        Raises:
            InvalidInputError: no app there knows it either.

        """
        if backend == "modal":
            await find_workflow(name, self._settings, at_modal=True)

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

    async def stop_unfollowed(self, id: str) -> None:  # noqa: A002 - as above
        """Stop a job that nobody follows, if it was sent and has not ended: its caller was canceled and does not have it.

        Raises:
            RylaGenError: its backend could not be told; it may run on.
        """
        record = self._history.get(id)
        if record is not None and record.state not in FINAL_STATES:
            with suppress(JobNotFoundError, JobExpiredError, JobCanceledError):
                await (await self.get(id)).cancel()

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

    async def logs(self, id: str, *, follow: bool = False) -> AsyncIterator[LogLine]:  # noqa: A002 - as above
        """Yield what was written while a job ran: the build of its image, the start of its container, ComfyUI. Secrets are masked.

        A container that is gone has its log at Modal for as long as the plan of the workspace says. A server of one's own shows
        the newest pieces of the one log that all its jobs share.

        Args:
            id: of a job, as for :meth:`get`; or the name of a deployed lock or of a family, for the newest lines of its app.
            follow: whether to go on with what is written from now on, until the job has ended; for a name without an end.

        Raises:
            JobNotFoundError: neither a job nor an app is known by it, or its backend keeps no log.
            JobExpiredError: Modal no longer knows its call.
            BackendError: its backend cannot be asked.

        """
        place = job_logs.named_app(self._settings, id)
        async with AsyncExitStack() as opened:
            if place is not None:
                lines = job_logs.app_lines(place, follow=follow)
            else:
                lines = await self._lines(id, follow=follow, opened=opened)
            await opened.enter_async_context(aclosing(lines))
            async for line in lines:
                yield line

    async def _lines(self, id: str, *, follow: bool, opened: AsyncExitStack) -> AsyncGenerator[LogLine, None]:  # noqa: A002
        try:
            record = await self.look_up(id)
        except JobNotFoundError as error:
            return job_logs.unknown_lines(self._settings, id, error, follow=follow)
        handle = record.handle or (await self._handle(record) if record.backend in BY_ID else None)
        ended = None
        if follow and record.state not in FINAL_STATES and record.backend in FOLLOWED:
            job = await self.get(record.id)
            ended = asyncio.ensure_future(_wait_end(job))
            opened.callback(ended.cancel)
        return job_logs.job_lines(self._settings, record, handle, ended)

    async def forget(
        self,
        id: str,  # noqa: A002 - as above
        *,
        folders: Iterable[str | PathLike[str]] = (),
        servers: bool = True,
        dry_run: bool = False,
    ) -> Forgotten:
        """Erase a job that has ended, with those that belong to it: rows in the journal, files, and what its server keeps.

        Of its cost an anonymous row stays. What cannot be erased from here is said: ``stays`` of the result.

        Args:
            id: of the job, or the beginning of it.
            folders: folders of results besides ``output_dir`` in which its files may be erased.
            servers: whether the server on which it ran is asked to erase what it has. Without that, a job that never ended goes
                too where the process that sent it is gone: its server may be gone as well.
            dry_run: only look what would be erased.

        Raises:
            JobNotFoundError: the journal has no such job.
            InvalidInputError: it has not ended.
            RylaGenError: its server does not answer, or something cannot be erased; run it again.

        """
        record = self._history.get(id)
        if record is None:
            raise JobNotFoundError(f"No job {id!r} is in the journal of this machine.")
        return await self.forget_records([record], folders=folders, servers=servers, dry_run=dry_run)

    async def forget_user(
        self, user: str, *, folders: Iterable[str | PathLike[str]] = (), servers: bool = True, dry_run: bool = False
    ) -> Forgotten:
        """Erase every job of a user of your app; see :meth:`forget`. That there is none is no error.

        Args:
            user: the id that was given to ``run(…, user=…)``.
            folders: as for :meth:`forget`, like the others.
            servers: whether servers are asked.
            dry_run: only look.

        """
        records = self._history.list(user=user, limit=None)
        return await self.forget_records(records, folders=folders, servers=servers, dry_run=dry_run)

    async def forget_records(
        self,
        records: Sequence[Record],
        *,
        lora: str | None = None,
        folders: Iterable[str | PathLike[str]] = (),
        servers: bool = True,
        dry_run: bool = False,
    ) -> Forgotten:
        """Erase jobs, and a LoRA with them; see :meth:`forget`."""
        from ..forgetting import forget  # files, LoRAs and locks, which running needs not

        silent = await self.end_lost([record for record in records if record.state not in FINAL_STATES])
        if silent and servers:
            raise BackendUnreachableError(f"{silent[0]} does not answer, so it is not known whether a job runs there.", SILENT_HINT)
        fresh = [found for record in records if (found := self._history.get(record.id)) is not None]
        places = [Path(folder) for folder in folders]
        return await forget(self._settings, self._history, fresh, folders=places, lora=lora, servers=servers, dry_run=dry_run)

    def _estimate(self, record: Record) -> None:
        estimates = self._outcomes.estimates
        if record.id not in estimates:
            with suppress(InvalidInputError):  # no workflow of its name is known here: nothing to estimate by
                estimates[record.id] = estimate_again(record, self._settings, self._history)

    def list(
        self, *, limit: int = 50, workflow: str | None = None, state: str | None = None, user: str | None = None
    ) -> list[Record]:
        """List jobs from the journal, the newest first; of a user, by the id that was given to ``run(…, user=…)``."""
        return self._history.list(limit=limit, workflow=workflow, state=state, user=user)


async def _wait_end(job: AsyncJob) -> None:
    """Wait until a job has ended, however; its error is not the log's."""
    with suppress(RylaGenError):
        await job.result()


def _request(told: RemoteRequest) -> Workflow:
    """Rebuild the request of a job from another machine: its workflow if this machine knows it, else the graph that runs."""
    try:
        found = rebuilt(told.workflow, told.inputs)
    except InvalidInputError:
        if told.graph is None:
            raise
        return CustomWorkflow.from_plain({"graph": told.graph}, trusted=True)
    return found.with_seed(told.seed)
