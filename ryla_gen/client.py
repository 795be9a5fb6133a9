"""The client: run, submit, map and find jobs. Async is the implementation; the plain client drives it on a private thread."""

from __future__ import annotations

import asyncio
import sys
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Self

from . import backends
from . import jobs as jobs_module
from .budget import affordable_seconds
from .calls import check_call, workflow_of
from .contract import new_job_id
from .errors import InvalidInputError, JobExpiredError, JobNotFoundError, RylaGenError
from .events import FINAL_STATES, Event, Started, now
from .history import History, Record
from .jobs import AsyncJob, Job, state_of
from .methods import Methods
from .portal import Portal
from .results import Generation
from .settings import Settings
from .workflows.base import Workflow

if TYPE_CHECKING:
    from .backends.base import Backend, Ticket

IN_FLIGHT = 5
"""Jobs that ``map`` keeps under way: what one GPU container takes at once."""

OnEvent = Callable[[Event], None]
"""Called with every event of a job, in order."""

_said: set[str] = set()


class AsyncClient(Methods[Awaitable[Generation]]):
    """Generate images and videos, in async code.

    Args:
        backend: ``emulator``, ``comfyui`` or ``modal``; chosen by the settings when absent.
        url: address of a ComfyUI server of your own; implies the comfyui backend.
        settings: use these instead of reading environment and configuration file.

    """

    def __init__(self, backend: str | None = None, *, url: str | None = None, settings: Settings | None = None) -> None:
        arguments = {"backend": backend or ("comfyui" if url else None), "comfyui_url": url}
        self.settings = settings or Settings.load(**{key: value for key, value in arguments.items() if value is not None})
        self.history = History(self.settings.history_path)
        self.jobs = AsyncJobs(self)
        self._backends: dict[str, Backend] = {}
        self._outcomes: set[asyncio.Task[Generation]] = set()
        self._closing = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()

    async def run(
        self, workflow: Workflow, *, on_event: OnEvent | None = None, timeout: float | None = None, tags: Iterable[str] = ()
    ) -> Generation:
        """Run a workflow and wait for its result. Cancelling this cancels the work.

        Args:
            workflow: what to run.
            on_event: called with every event, in order, on the event loop; what it raises cancels the work.
            timeout: seconds the graph may run, instead of the workflow's own limit.
            tags: words under which the job is found again.

        Raises:
            RylaGenError: see ``ryla_gen.errors``; each says what to do.

        """
        job = await self.submit(workflow, timeout=timeout, tags=tags)
        try:
            if on_event is not None:
                async for event in job.events():
                    on_event(event)
            return await job.result()
        except BaseException:
            if not job.done:
                await asyncio.shield(job.cancel())
            raise

    async def submit(self, workflow: Workflow, *, timeout: float | None = None, tags: Iterable[str] = ()) -> AsyncJob:
        """Hand a workflow to the backend and return its job at once.

        Raises:
            InvalidInputError: a picture cannot be read; nothing was sent.
            BackendError: the backend refused; nothing was started.

        """
        check_call(workflow, timeout, tags)
        ready = (await workflow.resolved()).seeded()
        name = self.settings.backend_names[0]
        self._say_backend()
        timeout = self._within_budget(ready, name, timeout)
        job = new_job_id()
        # Written before anything is spent: whatever happens now, the job can be found.
        self.history.record(
            job, backend=name, workflow=ready.name, inputs=ready.described(), seed=getattr(ready, "seed", None), tags=tuple(tags)
        )
        try:
            ticket = await self._backend(name).submit(ready, job=job, timeout=timeout)
        except BaseException as error:
            self._settle(job, None, error)
            raise
        self.history.update(job, handle=ticket.handle)
        return self._job(job, ready, name, ticket)

    async def map(
        self, workflows: Iterable[Workflow], *, in_flight: int = IN_FLIGHT, ordered: bool = True, return_exceptions: bool = False
    ) -> AsyncIterator[Generation | RylaGenError]:
        """Run many workflows, a few at a time, and yield each result. One failure loses no other result.

        Args:
            workflows: what to run; read as needed, so an endless one is fine.
            in_flight: how many may be under way at once.
            ordered: whether results come in the order of the workflows, or as they finish.
            return_exceptions: yield a failed workflow's error in its place. When false, all results come
                first and the failures are raised together at the end.

        Raises:
            ExceptionGroup: the failures, when ``return_exceptions`` is false.

        """
        if in_flight < 1:
            raise InvalidInputError("in_flight must be at least 1.", "Leave it out for 5.")
        source, pending, failures = iter(workflows), list[asyncio.Task[Generation]](), list[RylaGenError]()
        try:
            while True:
                while len(pending) < in_flight and (workflow := next(source, None)) is not None:
                    pending.append(asyncio.create_task(self.run(workflow)))
                if not pending:
                    break
                finished = await _next(pending, ordered=ordered)
                error = finished.exception()
                if error is not None and not isinstance(error, RylaGenError):
                    raise error
                if error is None:
                    yield finished.result()
                elif return_exceptions:
                    yield error
                else:
                    failures.append(error)
        finally:
            for task in pending:
                task.cancel()
            if pending:
                await asyncio.wait(pending)
        if failures:
            raise ExceptionGroup(f"{len(failures)} of the workflows failed", failures)

    async def close(self) -> None:
        """Let go of connections and of the emulator. Jobs on a server of their own go on."""
        self._closing = True
        for backend in self._backends.values():
            await backend.close()
        if self._outcomes:
            await asyncio.wait(self._outcomes, timeout=5.0)
        self._backends.clear()
        self.history.close()

    def _run(self, workflow: Workflow) -> Awaitable[Generation]:
        return self.run(workflow)

    def _backend(self, name: str) -> Backend:
        if name not in self._backends:
            self._backends[name] = backends.create(name, self.settings)
        return self._backends[name]

    def _job(self, job: str, workflow: Workflow, backend: str, ticket: Ticket, *, journal: bool = True) -> AsyncJob:
        waiting = self._outcome(job, ticket) if journal else ticket.result()
        outcome = asyncio.create_task(_only(waiting), name=f"ryla-gen outcome {job}")
        self._outcomes.add(outcome)
        outcome.add_done_callback(self._outcomes.discard)
        outcome.add_done_callback(_retrieve)
        return AsyncJob(job, workflow, backend, ticket, outcome)

    async def _outcome(self, job: str, ticket: Ticket) -> Generation:
        """Wait for a job's start and end, whoever else waits, and journal them."""
        try:
            async for event in ticket.events(previews=False):
                if isinstance(event, Started):
                    self.history.update(job, state="running", started_at=event.at)
                    break
            generation = await ticket.result()
        except BaseException as error:
            self._settle(job, None, error)
            raise
        self._settle(job, generation, None)
        return generation

    def _settle(self, job: str, generation: Generation | None, error: BaseException | None) -> None:
        if self._closing and generation is None:
            if self._backend_of(job) != "emulator":
                return  # the job goes on without us
            error = JobExpiredError("The client was closed, and the emulator with it.")
        columns: dict[str, object] = {"state": state_of(error), "finished_at": now()}
        if isinstance(error, RylaGenError):
            columns["error"] = error.to_data()
        if generation is not None:
            columns |= {
                "seed": generation.seed,
                "gpu": generation.cost.gpu,
                "gpu_seconds": generation.cost.gpu_seconds or None,
                "cost_usd": generation.cost.total_usd,
                "outputs": [
                    {"name": item.name, "media_type": item.media_type, "bytes": len(item.data)} for item in generation.outputs
                ],
            }
        self.history.update(job, **columns)

    def _backend_of(self, job: str) -> str | None:
        record = self.history.get(job)
        return record.backend if record else None

    def _within_budget(self, workflow: Workflow, backend: str, timeout: float | None) -> float | None:
        """Shorten the time limit to what the budgets pay for.

        Raises:
            BudgetExceededError: the day's allowance is spent.
        """
        settings, today = self.settings, now()[:10] + "T00:00:00.000Z"
        spent = self.history.spent_usd(today) if settings.max_usd_per_day is not None else 0.0
        rate = self._backend(backend).usd_per_second(workflow)
        seconds = affordable_seconds(rate, per_call=settings.max_usd, per_day=settings.max_usd_per_day, spent_today=spent)
        return timeout if seconds is None else min(seconds, timeout or workflow.time_limit())

    def _say_backend(self) -> None:
        """Say once per process that nothing was configured, so that nobody takes the emulator for a model."""
        if self.settings.origin("backend") == "default" and "backend" not in _said:
            _said.add("backend")
            print(f"ryla-gen: {self.settings.backend_reason}", file=sys.stderr)  # noqa: T201 - for the person, once


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
            raise JobNotFoundError(f"The job {record.id} never reached its backend (state: {record.state}).")
        workflow = workflow_of(record)
        ticket = await backend.attach(handle, workflow, job=record.id)
        # Looking at what has ended changes nothing in the journal.
        ended = record.state in FINAL_STATES
        return self._client._job(record.id, workflow, record.backend, ticket, journal=not ended)

    def list(self, *, limit: int = 50, workflow: str | None = None, state: str | None = None) -> list[Record]:
        """List jobs from the journal, the newest first."""
        return self._client.history.list(limit=limit, workflow=workflow, state=state)


class Client(Methods[Generation]):
    """Generate images and videos. Works in scripts, and inside Jupyter's running event loop.

    Args:
        backend: ``emulator``, ``comfyui`` or ``modal``; chosen by the settings when absent.
        url: address of a ComfyUI server of your own; implies the comfyui backend.
        settings: use these instead of reading environment and configuration file.

    """

    def __init__(self, backend: str | None = None, *, url: str | None = None, settings: Settings | None = None) -> None:
        self._client = AsyncClient(backend, url=url, settings=settings)
        self._portal = Portal()
        self.jobs = Jobs(self, self._client, self._portal)
        # A client that nobody closes still leaves no socket and no temporary folder behind.
        self._finalizer = weakref.finalize(self, self._portal.finish, self._client.close)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    @property
    def settings(self) -> Settings:
        """What this client was told by arguments, environment and configuration file."""
        return self._client.settings

    def run(
        self, workflow: Workflow, *, on_event: OnEvent | None = None, timeout: float | None = None, tags: Iterable[str] = ()
    ) -> Generation:
        """Run a workflow and wait for its result; see :meth:`AsyncClient.run`. Ctrl-C cancels the work.

        ``on_event`` is called in the calling thread, so it may use this client and its jobs.
        """
        if on_event is None:
            return self._portal.call(self._client.run(workflow, timeout=timeout, tags=tags))
        job = self.submit(workflow, timeout=timeout, tags=tags)
        told, telling = -1, False
        try:
            for event in job.events():
                told, telling = event.seq, True
                on_event(event)
                telling = False
            return job.result()
        except BaseException as error:
            if not job.done:
                job.cancel()
            if not telling or not isinstance(error, Exception):  # an interrupt, not a fault of on_event: the end is an event too
                for event in job.events():
                    if event.seq > told:
                        on_event(event)
            raise

    def submit(self, workflow: Workflow, *, timeout: float | None = None, tags: Iterable[str] = ()) -> Job:
        """Hand a workflow to the backend and return its job at once; see :meth:`AsyncClient.submit`."""
        return Job(self._portal.call(self._client.submit(workflow, timeout=timeout, tags=tags)), self._portal, self)

    def map(
        self, workflows: Iterable[Workflow], *, in_flight: int = IN_FLIGHT, ordered: bool = True, return_exceptions: bool = False
    ) -> Iterator[Generation | RylaGenError]:
        """Run many workflows, a few at a time, and yield each result; see :meth:`AsyncClient.map`."""
        return self._portal.iterate(
            lambda: self._client.map(workflows, in_flight=in_flight, ordered=ordered, return_exceptions=return_exceptions)
        )

    def close(self) -> None:
        """Let go of connections, of the emulator and of the private thread. Jobs on a server of their own go on."""
        self._finalizer.detach()
        self._portal.call(self._client.close())
        self._portal.close()

    def _run(self, workflow: Workflow) -> Generation:
        return self.run(workflow)


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


async def _only(waiting: Awaitable[Generation]) -> Generation:
    return await waiting


async def _next(pending: list[asyncio.Task[Generation]], *, ordered: bool) -> asyncio.Task[Generation]:
    """Wait for the first task of the list, or for any, and take it out."""
    if ordered:
        await asyncio.wait(pending[:1])
        return pending.pop(0)
    done, _ = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
    first = next(task for task in pending if task in done)
    pending.remove(first)
    return first


def _retrieve(task: asyncio.Task[Generation]) -> None:
    """Mark a failure as seen: a job nobody waits for must not print "exception was never retrieved"."""
    if not task.cancelled():
        task.exception()


def _find(id: str) -> Job:  # noqa: A002 - as Job.from_id
    client = Client()
    return client.jobs.get(id)


jobs_module.find = _find
__all__ = ["AsyncClient", "AsyncJob", "Client", "Job"]
