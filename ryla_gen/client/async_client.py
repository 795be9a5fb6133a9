"""Run, submit and map workflows asynchronously. Must not decide prices, the order of events or file names."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import AsyncExitStack, aclosing
from datetime import datetime
from types import TracebackType
from typing import TYPE_CHECKING, Literal, Self

from .. import backends
from ..backends.rates import idle_costs
from ..contract import new_job_id
from ..costs.estimates import Estimate
from ..costs.idle import IdleCost
from ..delivery import OutputTo
from ..delivery.destinations import read_bucket
from ..errors import BackendNotConfiguredError, InvalidInputError, RylaGenError
from ..events import FINAL_STATES
from ..history import CostRow, History
from ..notebook import live
from ..results import Generation
from ..results.grid import show_lists
from ..settings import Settings
from ..support.cancels import finish, noted
from ..workflows.base import Workflow
from .graphs import Graphs, find_later
from .job_base import AsyncJob, OnEvent, follow
from .jobs import AsyncJobs
from .loras import AsyncLoras
from .mapping import results_of
from .methods import Methods
from .outcomes import Outcomes
from .requests import check_call, estimate, options_of, place_text, to_typed_error
from .submission import Order, SentJob, Submission

if TYPE_CHECKING:
    from ..backends.base import Backend
    from ..engine.output_hooks import OnOutput

IN_FLIGHT = 5
"""Jobs that ``map`` keeps under way; Modal starts a container for each, as far as it may."""

_said: set[str] = set()


class AsyncClient(Methods[Awaitable[Generation]]):
    """Generate images and videos, in async code.

    Args:
        backend: ``emulator``, ``comfyui``, ``modal`` or ``runpod``; chosen by the settings when absent. Several, in a list or
            with commas between, are tried in order, as long as each refused before anything started.
        url: address of your own ComfyUI server; implies the comfyui backend.
        settings: use these instead of reading environment and configuration file.
        max_usd: US dollars that one call may cost, instead of the settings' limit.
        references: ``bytes`` reads no path and no address that a request names, for a server that hands on its users' texts.
        on_output: asked about each output of each result before it is returned; None as an answer lets it pass, another
            ``Output`` takes its place, and ``errors.RefusedError`` fails the job. A function that is not async runs in a thread.
            There are no previews then. Hooks for all clients of a machine, and for Modal's containers, are plug-ins.

    """

    def __init__(
        self,
        backend: str | Sequence[str] | None = None,
        *,
        url: str | None = None,
        settings: Settings | None = None,
        max_usd: float | None = None,
        references: Literal["any", "bytes"] | None = None,
        on_output: OnOutput | None = None,
    ) -> None:
        self._on_output = on_output
        chosen = backend or ("comfyui" if url else None)
        arguments = {"backend": chosen, "comfyui_url": url, "max_usd": max_usd, "references": references}
        given = {key: value for key, value in arguments.items() if value is not None}
        if settings is not None and given:
            raise InvalidInputError(
                f"Give settings, or {', '.join(given)}, not both: one would silently override the other.",
                "Put them into the settings: Settings.load(backend=…, comfyui_url=…, max_usd=…)",
            )
        self.settings = settings or Settings.load(**given)
        self.history = History(self.settings.history_path)
        self.loras = AsyncLoras(self.settings)
        self._backends: dict[str, Backend] = {}
        self._outcomes = Outcomes(self.history, self.settings, self._backend)
        self.jobs = AsyncJobs(self.settings, self.history, self._outcomes, self._backend)
        self._loop: asyncio.AbstractEventLoop | None = None
        if self.settings.notebook:
            show_lists()

    def __repr__(self) -> str:
        places = ", ".join(place_text(name, self.settings) for name in self.settings.backend_names)
        return f"<{type(self).__name__} {places}{' closed' if self.closed else ''}>"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()

    @property
    def graphs(self) -> Graphs[Awaitable[Generation]]:
        """Locked graphs, each as a method by its name: ``await client.graphs.portrait(prompt="…")``."""
        return Graphs(self, find_later(self, self.settings))

    async def run(
        self,
        workflow: Workflow,
        *,
        on_event: OnEvent | None = None,
        timeout: float | None = None,
        tags: Iterable[str] = (),
        measure_consistency: bool = False,
        output_to: OutputTo | Sequence[str] = None,
        webhook: str | None = None,
        user: str | None = None,
    ) -> Generation:
        """Run a workflow and wait for its result. Canceling this cancels the work.

        Args:
            workflow: what to run.
            on_event: called with every event, in order, on the event loop; what it raises cancels the work. Without one, a
                Jupyter cell shows a bar, unless the setting ``notebook`` is off.
            timeout: seconds the graph may run, instead of the workflow's own limit.
            tags: words under which the job is found again.
            measure_consistency: whether to measure how like the reference the face is; see ``Generation.face_similarity``.
            output_to: where the files go instead of into the result: ``s3://bucket/prefix``, ``gs://bucket/prefix``, or signed
                addresses that take a PUT, one for each file. The outputs then have ``url``, ``sha256`` and ``size``.
            webhook: https address that is told when the job ends, instead of the one of the settings.
            user: the user of your app for whom it runs, by an id of yours; see the settings ``users``.

        Raises:
            RylaGenError: see ``ryla_gen.errors``; each says what to do.

        """
        bar = None if on_event else live(workflow, on=self.settings.notebook)
        job = await self.submit(
            workflow,
            timeout=timeout,
            tags=tags,
            measure_consistency=measure_consistency,
            output_to=output_to,
            webhook=webhook,
            user=user,
        )
        try:
            return await follow(job, on_event or bar)
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
        output_to: OutputTo | Sequence[str] = None,
        webhook: str | None = None,
        job: str | None = None,
        parent: str | None = None,
        user: str | None = None,
    ) -> AsyncJob:
        """Submit a workflow to the backend and return its job at once.

        Args:
            workflow: what to run.
            timeout: seconds the graph may run, instead of the workflow's own limit.
            tags: words under which the job is found again.
            measure_consistency: as for :meth:`run`.
            output_to: as for :meth:`run`. Signed addresses are not journaled: only this process brings files to them, or Modal.
            webhook: as for :meth:`run`.
            job: its id, a uuid4 that no other job has; drawn when absent. Write it down before this call, and after a crash
                call this again with it: where the journal has it, its backend is asked for it first, and it is sent only where
                it never arrived.
            parent: the job that it is a part of.
            user: as for :meth:`run`; when absent that of ``parent``.

        Raises:
            InvalidInputError: a picture cannot be read, or a job of that id has ended already; nothing was sent.
            JobNotFoundError: an earlier process may have sent a job of that id, and its backend cannot tell; nothing was sent.
            BudgetExceededError: it would likely cost more than was allowed; nothing was sent.
            TooManyRequestsError: its user has too many jobs for now; nothing was sent.
            BackendError: the backend refused; nothing was started.

        """
        if user is None and parent is not None and (whole := self.history.get(parent)) is not None:
            user = whole.user
        check_call(workflow, timeout, tags, user)
        options = options_of(self.settings, measure_consistency=measure_consistency, output_to=output_to, webhook=webhook)
        self.on_one_loop()
        before = self.history.get(job) if job is not None else None
        if before is not None and before.state in FINAL_STATES:
            text = f"The job {job} has already ended: {before.state}."
            raise InvalidInputError(text, f"Fetch it: ryla-gen jobs result {job}. A new job needs its own id.")
        if before is not None:  # an earlier process may have sent it: what is paid for is never sent again
            found = await self.jobs.take_up(before)
            if found is not None:
                return found
            workflow = workflow.with_seed(before.seed)  # the seed that the journal has, so that the result agrees with it
        order = Order(job or new_job_id(), timeout, tuple(tags), options, parent, journaled=before is not None, user=user)
        return self._outcomes.follow(await self._send(workflow, order, self._backend))

    async def hand_in(
        self,
        workflow: Workflow,
        *,
        timeout: float | None = None,
        tags: Iterable[str] = (),
        output_to: OutputTo | Sequence[str] = None,
        webhook: str | None = None,
        user: str | None = None,
    ) -> SentJob:
        """Submit a workflow and stop following it: return once its server no longer needs this process, which may then end.

        This process does not stop the job at its time limit, so the day's budget reserves what the workflow's own limit may cost.

        Args:
            workflow: what to run.
            timeout: seconds the graph may run, as far as its backend keeps that.
            tags: words under which the job is found again.
            output_to: as for :meth:`run`. Modal uploads at the end of the job; of another server's, whoever fetches its result.
            webhook: as for :meth:`run`, with the same difference.
            user: as for :meth:`run`.

        Raises:
            BackendNotConfiguredError: the embedded emulator is among the backends; it would end with this process.
            RylaGenError: as :meth:`submit`.

        """
        check_call(workflow, timeout, tags, user)
        options = options_of(self.settings, output_to=output_to, webhook=webhook)
        if "emulator" in self.settings.backend_names:
            text = "The embedded emulator ends with this process, so the job would end too."
            hint = (
                "Use ryla-gen run, or start a server that keeps running (ryla-gen emulator) and use it: --url http://127.0.0.1:8188"
            )
            raise BackendNotConfiguredError(text, hint)
        order = Order(new_job_id(), timeout, tuple(tags), options, followed=False, user=user)
        try:
            async with AsyncExitStack() as opened:

                def lent(name: str) -> Backend:
                    """Make a backend for this call alone: one that is kept would go on following the job."""
                    backend = backends.create(name, self.settings, self._on_output)
                    opened.push_async_callback(lambda: finish(backend.close()))
                    return backend

                return await self._send(workflow, order, lent)
        except asyncio.CancelledError as error:
            with noted(error):
                await asyncio.shield(self.jobs.stop_unfollowed(order.job))  # it may have been sent already
            raise

    async def map(
        self,
        workflows: Iterable[Workflow],
        *,
        in_flight: int = IN_FLIGHT,
        ordered: bool = True,
        return_exceptions: bool = False,
        output_to: str | None = None,
        webhook: str | None = None,
        user: str | None = None,
    ) -> AsyncIterator[Generation | RylaGenError]:
        """Run many workflows, a few at a time, and yield each result. One failure loses no other result.

        Args:
            workflows: what to run; read as needed, so an endless one is fine.
            in_flight: how many may be under way at once.
            ordered: whether results come in the order of the workflows, or as they finish.
            return_exceptions: yield a failed workflow's error in its place. When false, all results come
                first and the failures are raised together at the end.
            output_to: the bucket that all files go to, as for :meth:`run`; signed addresses are for one job each.
            webhook: as for :meth:`run`, told of the end of each.
            user: as for :meth:`run`, of all of them.

        Raises:
            ExceptionGroup: the failures, when ``return_exceptions`` is false.
            InvalidInputError: ``in_flight`` or ``output_to`` cannot be used; nothing was sent.

        """
        if in_flight < 1:
            raise InvalidInputError("in_flight must be at least 1.", "Leave it out to use 5.")
        bucket = read_bucket(output_to)

        async def run(workflow: Workflow) -> Generation:
            return await follow(await self.submit(workflow, output_to=bucket, webhook=webhook, user=user), None)

        failures = list[RylaGenError]()
        async with aclosing(results_of(workflows, run, in_flight=in_flight, ordered=ordered)) as results:
            async for found in results:
                if isinstance(found, RylaGenError) and not return_exceptions:
                    failures.append(found)
                else:
                    yield found
        if failures:
            raise ExceptionGroup(f"{len(failures)} of the workflows failed", failures)

    def on_one_loop(self) -> None:
        """Open the client, again after it was closed, for the running event loop; on another one its connections would hang."""
        loop = asyncio.get_running_loop()
        if self._loop not in (None, loop):
            text = "This AsyncClient is open on another event loop (another asyncio.run)."
            raise InvalidInputError(text, "Make one client per loop: async with AsyncClient() as client. Or use Client.")
        self._loop, self._outcomes.closing = loop, False

    @property
    def closed(self) -> bool:
        """Whether it was closed, or is being closed: a job that ends now only lost its follower, and may still run."""
        return self._outcomes.closing

    async def close(self) -> None:
        """Close the connections and the emulator. Jobs on a server of their own go on."""
        self._outcomes.closing = True
        await finish(self._close())

    async def _close(self) -> None:
        for backend in self._backends.values():
            await backend.close()
        await self._outcomes.wait()
        self._backends.clear()
        self._loop = None
        self.history.close()

    def estimate(self, workflow: Workflow, *, backend: str | None = None) -> Estimate:
        """Estimate what a workflow will take and cost; nothing is sent, and no picture is read.

        Args:
            workflow: what would run.
            backend: where, instead of the first backend of the settings.

        Raises:
            InvalidInputError: it is not a workflow.
            BackendNotConfiguredError: the backend is not set up.

        """
        check_call(workflow, None, ())
        return estimate(workflow, self.settings, self.history, backend)

    def costs(self, by: str = "day", *, since: str | datetime | None = None) -> Sequence[CostRow]:
        """Sum up what the jobs of this machine cost.

        Args:
            by: ``day`` (UTC), ``workflow``, ``character``, ``backend`` or ``user``.
            since: a date or time, such as ``2026-01-31``; None is the beginning.

        Raises:
            InvalidInputError: there is no such grouping, or ``since`` is not a valid date or time.

        """
        return self.history.costs(by, since)

    def idle_costs(self, *, since: str | datetime | None = None) -> Sequence[IdleCost]:
        """Estimate what Modal's containers cost beside the jobs of this machine: their starts and their idle time, class by class.

        Args:
            since: a date or time, such as ``2026-01-31``; None is the beginning.

        Raises:
            InvalidInputError: ``since`` is not a valid date or time, or a setting of a Modal family does not fit.

        """
        return idle_costs(self.history, self.settings, since)

    def _backend(self, name: str) -> Backend:
        if name not in self._backends:
            self._backends[name] = backends.create(name, self.settings, self._on_output)
        return self._backends[name]

    async def _send(self, workflow: Workflow, order: Order, backend: Callable[[str], Backend]) -> SentJob:
        """Journal a job and send it; where that fails, its end is journaled too."""

        def note(job: str, found: Estimate | None) -> None:
            self._say_backend()  # after the check: a request that cannot be sent raises that error alone
            self._outcomes.estimates[job] = found

        submission = Submission(self.history, self.settings, backend, note, has_hook=self._on_output is not None)
        try:
            return await submission.send(workflow, order)
        except BaseException as error:
            found = to_typed_error(error, order.job)
            if self.history.get(order.job) is not None:
                unstopped = isinstance(error, asyncio.CancelledError) and error.__cause__ is not None
                self._outcomes.settle(order.job, None, error.__cause__ if unstopped else found)
            if found is error:
                raise
            raise found from error

    def _say_backend(self) -> None:
        """Tell the user once per process that nothing was configured, so that the emulator is not mistaken for a model."""
        if self.settings.origin("backend") == "default" and "backend" not in _said:
            _said.add("backend")
            print(f"ryla-gen: {self.settings.backend_reason}", file=sys.stderr)  # noqa: T201 - for the person, once
