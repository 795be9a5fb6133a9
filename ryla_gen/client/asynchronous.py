"""The client as it is implemented: async run, submit and map. Decides no price, no order of events and no file name."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from types import TracebackType
from typing import TYPE_CHECKING, Literal, Self

from .. import backends, hooks
from ..backends.measuring import handed_in
from ..calls import admit, check_call, references_of, unfinished_cost
from ..contract import new_job_id
from ..errors import InvalidInputError, JobExpiredError, PlainData, RylaGenError
from ..estimates import Estimate, estimate
from ..events import Event, Started, now
from ..fallback import explained, first_willing, notices, taken
from ..grids import show_lists
from ..history import CostRow, History
from ..jobs import AsyncJob, state_of
from ..methods import Methods
from ..notebook import live
from ..results import Generation
from ..settings import Settings
from ..workflows.base import Workflow
from .jobs import AsyncJobs
from .loras import AsyncLoras

if TYPE_CHECKING:
    from ..backends.base import Backend, Ticket

IN_FLIGHT = 5
"""Jobs that ``map`` keeps under way: what one GPU container takes at once."""

OnEvent = Callable[[Event], None]
"""Called with every event of a job, in order."""

_said: set[str] = set()


class AsyncClient(Methods[Awaitable[Generation]]):
    """Generate images and videos, in async code.

    Args:
        backend: ``emulator``, ``comfyui``, ``modal`` or ``runpod``; chosen by the settings when absent. Several, in a list or
            with commas between, are tried in order, as long as each refused before anything started.
        url: address of a ComfyUI server of your own; implies the comfyui backend.
        settings: use these instead of reading environment and configuration file.
        max_usd: US dollars that one call may cost, instead of the settings' limit.
        references: ``bytes`` reads no path and no address that a request names, for a server that hands on its users' texts.

    """

    def __init__(
        self,
        backend: str | Sequence[str] | None = None,
        *,
        url: str | None = None,
        settings: Settings | None = None,
        max_usd: float | None = None,
        references: Literal["any", "bytes"] | None = None,
    ) -> None:
        chosen = backend or ("comfyui" if url else None)
        arguments = {"backend": chosen, "comfyui_url": url, "max_usd": max_usd, "references": references}
        given = {key: value for key, value in arguments.items() if value is not None}
        if settings is not None and given:
            raise InvalidInputError(
                f"Give settings, or {', '.join(given)}, not both: one would silently win.",
                "Put it into the settings: Settings.load(backend=…, comfyui_url=…, max_usd=…)",
            )
        self.settings = settings or Settings.load(**given)
        self.history = History(self.settings.history_path)
        self.jobs = AsyncJobs(self)
        self.loras = AsyncLoras(self.settings)
        self._backends: dict[str, Backend] = {}
        self._estimates: dict[str, Estimate | None] = {}
        self._outcomes: set[asyncio.Task[Generation]] = set()
        self._live: dict[str, AsyncJob] = {}
        """Jobs of this client whose end is not known yet, by their ids."""
        self._closing = False
        self._loop: asyncio.AbstractEventLoop | None = None
        if self.settings.notebook:
            show_lists()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()

    async def run(
        self,
        workflow: Workflow,
        *,
        on_event: OnEvent | None = None,
        timeout: float | None = None,
        tags: Iterable[str] = (),
        measure_consistency: bool = False,
    ) -> Generation:
        """Run a workflow and wait for its result. Cancelling this cancels the work.

        Args:
            workflow: what to run.
            on_event: called with every event, in order, on the event loop; what it raises cancels the work. Without one, a
                Jupyter cell shows a bar, unless the setting ``notebook`` is off.
            timeout: seconds the graph may run, instead of the workflow's own limit.
            tags: words under which the job is found again.
            measure_consistency: whether to measure how like the reference the face is; see ``Generation.face_similarity``.

        Raises:
            RylaGenError: see ``ryla_gen.errors``; each says what to do.

        """
        bar = None if on_event else live(workflow, on=self.settings.notebook)
        job = await self.submit(workflow, timeout=timeout, tags=tags, measure_consistency=measure_consistency)
        try:
            return await _followed(job, on_event or bar)
        finally:
            if bar is not None:
                bar.end(job.state)

    async def submit(
        self,
        workflow: Workflow,
        *,
        timeout: float | None = None,
        tags: Iterable[str] = (),
        measure_consistency: bool = False,
        job: str | None = None,
        parent: str | None = None,
    ) -> AsyncJob:
        """Hand a workflow to the backend and return its job at once.

        Args:
            workflow: what to run.
            timeout: seconds the graph may run, instead of the workflow's own limit.
            tags: words under which the job is found again.
            measure_consistency: as for :meth:`run`.
            job: its id, a uuid4 that no other job has; drawn when absent. A caller who wrote it down first looks for it after a
                crash (``client.jobs.get``), and sends it again under the same id where it is not known.
            parent: the job that it is a part of.

        Raises:
            InvalidInputError: a picture cannot be read, or a job of that id has ended already; nothing was sent.
            BudgetExceededError: it would likely cost more than was allowed; nothing was sent.
            BackendError: the backend refused; nothing was started.

        """
        check_call(workflow, timeout, tags)
        self.on_one_loop()
        if job is not None and (before := self.history.get(job)) is not None and before.state not in ("queued", "running"):
            text = f"The job {job} has ended already: {before.state}."
            raise InvalidInputError(text, f"Fetch it: ryla-gen jobs result {job}. A new one needs an id of its own.")
        ready = (await workflow.resolved(references_of(self.settings))).seeded()
        self._say_backend()
        job, names, tags = job or new_job_id(), self.settings.backend_names, tuple(tags)
        seeded = getattr(workflow, "seed", None) is not None

        async def attempt(name: str) -> Ticket:
            backend, moved = self._backend(name), name != names[0]
            # Written before anything is spent: whatever happens now, the job can be found.
            admitted = admit(
                self.history, self.settings, ready, name, job=job, timeout=timeout, tags=tags, parent=parent, moved=moved
            )
            self._estimates[job] = admitted.estimate
            if not moved:
                hooks.tell(hooks.requested(ready, job=job, backend=name, has_seed=seeded), self.settings)
            ticket = await handed_in(backend, ready, job=job, timeout=admitted.timeout, measure_consistency=measure_consistency)
            if name != names[-1] or name == "comfyui":  # the caller may end now: a server that stays has to have the job first
                await taken(ticket, name)
            return ticket

        try:
            name, ticket, skipped = await first_willing(names, attempt)
        except BaseException as error:
            if self.history.get(job) is not None:
                self._settle(job, None, error)
            raise
        told = {"skipped": [item.to_data() for item in skipped]} if skipped else {}
        self.history.update(job, handle=ticket.handle, **told)
        return self._job(job, ready, name, ticket, skipped=told.get("skipped", []))

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
                    pending.append(asyncio.create_task(self._quietly(workflow)))
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

    def on_one_loop(self) -> None:
        """Open the client, again after it was closed, for the running event loop; on another one its connections would hang."""
        loop = asyncio.get_running_loop()
        if self._loop not in (None, loop):
            text = "This AsyncClient is open on another event loop (another asyncio.run)."
            raise InvalidInputError(text, "Make one client for each loop: async with AsyncClient() as client. Or use Client.")
        self._loop, self._closing = loop, False

    @property
    def closed(self) -> bool:
        """Whether it was closed, or is being closed: jobs that end now were only let go of."""
        return self._closing

    async def close(self) -> None:
        """Let go of connections and of the emulator. Jobs on a server of their own go on."""
        self._closing = True
        for backend in self._backends.values():
            await backend.close()
        if self._outcomes:
            await asyncio.wait(self._outcomes, timeout=5.0)
        self._backends.clear()
        self._loop = None
        self.history.close()

    def estimate(self, workflow: Workflow, *, backend: str | None = None) -> Estimate:
        """Estimate what a workflow will take and cost; nothing is sent, and no picture is read.

        Args:
            workflow: what would run.
            backend: where, instead of the first backend of the settings.

        Raises:
            InvalidInputError: it is no workflow.
            BackendNotConfiguredError: the backend is not set up.

        """
        check_call(workflow, None, ())
        return estimate(workflow, self.settings, self.history, backend)

    def costs(self, by: str = "day", *, since: str | datetime | None = None) -> Sequence[CostRow]:
        """Sum up what the jobs of this machine cost.

        Args:
            by: ``day`` (UTC), ``workflow``, ``character`` or ``backend``.
            since: an instant, such as ``2026-01-31``; None is the beginning.

        Raises:
            InvalidInputError: there is no such grouping, or ``since`` is no instant.

        """
        return self.history.costs(by, since)

    def _run(self, workflow: Workflow) -> Awaitable[Generation]:
        return self.run(workflow)

    async def _quietly(self, workflow: Workflow) -> Generation:
        return await _followed(await self.submit(workflow), None)

    def _backend(self, name: str) -> Backend:
        if name not in self._backends:
            self._backends[name] = backends.create(name, self.settings)
        return self._backends[name]

    def _job(
        self,
        job: str,
        workflow: Workflow,
        backend: str,
        ticket: Ticket,
        *,
        journal: bool = True,
        skipped: Sequence[PlainData] = (),
    ) -> AsyncJob:
        waiting = self._outcome(job, ticket) if journal else ticket.result()
        outcome = asyncio.create_task(_noted(waiting, skipped, backend), name=f"ryla-gen outcome {job}")
        self._outcomes.add(outcome)
        outcome.add_done_callback(self._outcomes.discard)
        outcome.add_done_callback(_retrieve)
        made = AsyncJob(job, workflow, backend, ticket, outcome)
        if journal:
            self._live[job] = made
            outcome.add_done_callback(lambda _: self._live.pop(job, None))
        return made

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
        known = self.history.get(job)
        if self._closing and generation is None:
            if known is None or known.backend != "emulator":
                return  # the job goes on without us
            error = JobExpiredError("The client was closed, and the emulator with it.")
        if isinstance(error, RylaGenError) and error.details.get("contact_lost"):
            self.history.update(job, error=error.to_data())
            return  # nobody knows how it ends: its row stays open, and its money set aside
        columns: dict[str, object] = {"state": state_of(error), "finished_at": now()}
        estimated = self._estimates.pop(job, None)
        if generation is None:
            columns |= unfinished_cost(known, estimated, error)
        if isinstance(error, RylaGenError):
            columns["error"] = error.to_data()
        if generation is not None:
            columns |= {
                "error": None,
                "seed": generation.seed,
                "gpu": generation.cost.gpu,
                "gpu_seconds": generation.cost.gpu_seconds or None,
                "cost_usd": generation.cost.total_usd,
                "outputs": [
                    {"name": item.name, "media_type": item.media_type, "bytes": len(item.data)} for item in generation.outputs
                ],
            }
        self.history.update(job, **columns)
        for happening in hooks.settled(known, generation, error):
            hooks.tell(happening, self.settings)

    def _say_backend(self) -> None:
        """Say once per process that nothing was configured, so that nobody takes the emulator for a model."""
        if self.settings.origin("backend") == "default" and "backend" not in _said:
            _said.add("backend")
            print(f"ryla-gen: {self.settings.backend_reason}", file=sys.stderr)  # noqa: T201 - for the person, once


async def _followed(job: AsyncJob, on_event: OnEvent | None) -> Generation:
    """Wait for a job and tell its events; being cancelled cancels it."""
    try:
        if on_event is not None:
            async for event in job.events():
                on_event(event)
        return await job.result()
    except BaseException:
        if not job.done:
            await asyncio.shield(job.cancel())
        raise


async def _noted(waiting: Awaitable[Generation], skipped: Sequence[PlainData], backend: str) -> Generation:
    """A result, or an error, that says which backends refused before."""
    try:
        generation = await waiting
    except RylaGenError as error:
        raise explained(error, skipped) from None
    return replace(generation, warnings=generation.warnings + notices(skipped, backend)) if skipped else generation


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
