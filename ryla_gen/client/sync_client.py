"""Drive the async client, its jobs and their list from synchronous code, on a private thread. Must not hold other logic."""

from __future__ import annotations

import weakref
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator, Sequence
from datetime import datetime
from os import PathLike
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar

from ..backends.logs import LogLine
from ..costs.estimates import Estimate
from ..costs.idle import IdleCost
from ..delivery import OutputTo
from ..errors import RylaGenError
from ..events import Event, State
from ..history import CostRow, History, Record
from ..notebook import live
from ..results import Generation
from ..settings import Settings
from ..support.cancels import noted
from ..support.loop_thread import LoopThread
from ..workflows.base import Workflow
from .async_client import IN_FLIGHT, AsyncClient
from .graphs import Graphs, find_workflow, method_for
from .job_base import AsyncJob, OnEvent, follow
from .loras import Loras
from .methods import Methods
from .submission import SentJob

if TYPE_CHECKING:
    from ..engine.output_hooks import OnOutput
    from ..forgetting.base import Forgotten

T = TypeVar("T")


class Client(Methods[Generation]):
    """Generate images and videos. Works in scripts, and inside Jupyter's running event loop.

    Args:
        backend: ``emulator``, ``comfyui``, ``modal`` or ``runpod``, or several; see :class:`AsyncClient`.
        url: address of your own ComfyUI server; implies the comfyui backend.
        settings: use these instead of reading environment and configuration file.
        max_usd: US dollars that one call may cost, instead of the settings' limit.
        references: ``bytes`` reads no path and no address that a request names, for a server that hands on its users' texts.
        on_output: asked about each output before it is returned; see :class:`AsyncClient`. It is called in a thread of its own.

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
        self._client = AsyncClient(backend, url=url, settings=settings, max_usd=max_usd, references=references, on_output=on_output)
        self._loop_thread = LoopThread()
        self.jobs = Jobs(self, self._client, self._loop_thread)
        self.loras = Loras(self._client.loras, self._loop_thread)
        # A client that is never closed still leaves no socket and no temporary folder behind.
        self._finalizer = self._loop_thread.end_with(self, self._client.close)

    def __repr__(self) -> str:
        return repr(self._client).replace("AsyncClient", type(self).__name__, 1)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    @property
    def graphs(self) -> Graphs[Generation]:
        """Locked graphs, each as a method by its name: ``client.graphs.portrait(prompt="…")``."""
        return Graphs(self, lambda name: method_for(self, self._loop_thread.call(find_workflow(name, self.settings))))

    @property
    def history(self) -> History:
        """The journal of this machine."""
        return self._client.history

    @property
    def settings(self) -> Settings:
        """The settings of this client, from arguments, environment and configuration file."""
        return self._client.settings

    def run(
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
        """Run a workflow and wait for its result; see :meth:`AsyncClient.run`. Ctrl-C cancels the work.

        ``on_event`` is called in the calling thread, so it may use this client and its jobs. Without one, a Jupyter cell shows a
        bar with the picture as it grows, unless the setting ``notebook`` is off.
        """
        on_event = on_event or live(workflow, on=self.settings.notebook)
        held: list[AsyncJob] = []  # an interrupt may come when the job is sent, before this thread has it

        async def send() -> AsyncJob:
            sent = self._client.submit(
                workflow,
                timeout=timeout,
                tags=tags,
                measure_consistency=measure_consistency,
                output_to=output_to,
                webhook=webhook,
                user=user,
            )
            held.append(await sent)
            return held[0]

        async def run() -> Generation:
            return await follow(await send(), None)

        if on_event is None:
            return self._loop_thread.call(run())
        told, telling = -1, False
        try:
            job = Job(self._loop_thread.call(send()), self._loop_thread, self)
            for event in job.events():
                told, telling = event.seq, True
                on_event(event)
                telling = False
            return job.result()
        except BaseException as error:
            # An interrupt, not a fault of on_event: the end is an event too.
            tell = on_event if not telling or not isinstance(error, Exception) else None
            for found in held:
                with noted(error):
                    _end(Job(found, self._loop_thread, self), tell, told)
            raise

    def submit(
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
    ) -> Job:
        """Submit a workflow to the backend and return its job at once; see :meth:`AsyncClient.submit`. Ctrl-C cancels the work."""
        found = self._sent(
            lambda: self._client.submit(
                workflow,
                timeout=timeout,
                tags=tags,
                measure_consistency=measure_consistency,
                output_to=output_to,
                webhook=webhook,
                job=job,
                parent=parent,
                user=user,
            ),
            lambda made: made.cancel(),
            named=job is not None,
        )
        return Job(found, self._loop_thread, self)

    def hand_in(
        self,
        workflow: Workflow,
        *,
        timeout: float | None = None,
        tags: Iterable[str] = (),
        output_to: OutputTo | Sequence[str] = None,
        webhook: str | None = None,
        user: str | None = None,
    ) -> SentJob:
        """Submit a workflow and stop following it, so that this process may end; see :meth:`AsyncClient.hand_in`."""
        return self._sent(
            lambda: self._client.hand_in(workflow, timeout=timeout, tags=tags, output_to=output_to, webhook=webhook, user=user),
            lambda made: self._client.jobs.stop_unfollowed(made.job),
        )

    def _sent(self, send: Callable[[], Awaitable[T]], stop: Callable[[T], Coroutine[Any, Any, None]], *, named: bool = False) -> T:
        """Send a job. Where an interrupt comes when it is sent, and before the caller has it, stop it: nobody would know of it.

        Args:
            send: sends it.
            stop: stops it again.
            named: whether the caller has its id, and so can find it.
        """
        held: list[T] = []

        async def hold() -> None:
            held.append(await send())

        try:
            self._loop_thread.call(hold())
            return held[0]
        except BaseException as error:
            if held and not named:
                with noted(error):
                    self._loop_thread.call(stop(held[0]))
            raise

    def map(
        self,
        workflows: Iterable[Workflow],
        *,
        in_flight: int = IN_FLIGHT,
        ordered: bool = True,
        return_exceptions: bool = False,
        output_to: str | None = None,
        webhook: str | None = None,
        user: str | None = None,
    ) -> Iterator[Generation | RylaGenError]:
        """Run many workflows, a few at a time, and yield each result; see :meth:`AsyncClient.map`."""
        return self._loop_thread.iterate(
            lambda: self._client.map(
                workflows,
                in_flight=in_flight,
                ordered=ordered,
                return_exceptions=return_exceptions,
                output_to=output_to,
                webhook=webhook,
                user=user,
            )
        )

    def estimate(self, workflow: Workflow, *, backend: str | None = None) -> Estimate:
        """Estimate what a workflow will take and cost, before anything is spent; see :meth:`AsyncClient.estimate`."""
        return self._client.estimate(workflow, backend=backend)

    def costs(self, by: str = "day", *, since: str | datetime | None = None) -> Sequence[CostRow]:
        """Sum up what the jobs of this machine cost; see :meth:`AsyncClient.costs`."""
        return self._client.costs(by, since=since)

    def idle_costs(self, *, since: str | datetime | None = None) -> Sequence[IdleCost]:
        """Estimate what Modal's containers cost beside the jobs of this machine; see :meth:`AsyncClient.idle_costs`."""
        return self._client.idle_costs(since=since)

    def close(self) -> None:
        """Close the connections, the emulator and the private thread. Jobs on a server of their own go on."""
        self._finalizer.detach()
        self._loop_thread.call(self._client.close())
        self._loop_thread.close()


class Job:
    """One job, for synchronous code. Get one from ``client.submit(workflow)`` or ``client.jobs.get(id)``."""

    def __init__(self, job: AsyncJob, loop_thread: LoopThread, owner: object) -> None:
        self._job = job
        self._loop_thread = loop_thread
        self._owner = owner  # a client lives as long as one of its jobs is held

    def __repr__(self) -> str:
        return repr(self._job).replace("AsyncJob", "Job", 1)

    @property
    def id(self) -> str:
        """The job's id, a uuid4; valid in any process of this machine."""
        return self._job.id

    @property
    def handle(self) -> str:
        """Backend and its own id, accepted in place of the id; on another machine only where the backend knows what was requested.

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
        """The job's state, by the events that this process has received."""
        return self._job.state

    @property
    def done(self) -> bool:
        """Whether the job reached a final state."""
        return self._job.done

    def events(self) -> Iterator[Event]:
        """Yield every event from the first one on; ends after ``Finished``. Leaving early does not stop the job."""
        return self._loop_thread.iterate(self._job.events)

    def result(self, timeout: float | None = None) -> Generation:
        """Wait for the result; see :meth:`AsyncJob.result`."""
        return self._loop_thread.call(self._job.result(timeout))

    def cancel(self) -> None:
        """Stop the job, queued or running; its neighbours go on. Canceling a finished job does nothing."""
        self._loop_thread.call(self._job.cancel())

    @classmethod
    def from_id(cls, id: str) -> Job:  # noqa: A002 - the field's own name
        """Find a job of any process of this machine again, by its id or handle.

        Raises:
            JobNotFoundError: no such job is known.
            JobExpiredError: its backend no longer has it.

        """
        client = Client()  # held while it looks: its list of jobs holds it weakly, and a client that is gone closes itself
        return client.jobs.get(id)


def _end(job: Job, on_event: OnEvent | None, told: int) -> None:
    """Stop a job that is not wanted any more, and tell what came after the event of that number."""
    if not job.done:
        job.cancel()
    if on_event is not None:
        for event in job.events():
            if event.seq > told:
                on_event(event)


class Jobs:
    """The jobs this machine knows: ``client.jobs``."""

    def __init__(self, owner: Client, client: AsyncClient, loop_thread: LoopThread) -> None:
        self._owner = weakref.ref(owner)
        self._client = client
        self._loop_thread = loop_thread

    def get(self, id: str) -> Job:  # noqa: A002 - the field's own name
        """Find a job of any process again; see :meth:`AsyncJobs.get`."""
        return Job(self._loop_thread.call(self._client.jobs.get(id)), self._loop_thread, self._owner())

    def logs(self, id: str, *, follow: bool = False) -> Iterator[LogLine]:  # noqa: A002 - the field's own name
        """Yield what was written while a job ran, or by the app of a lock or a family; see :meth:`AsyncJobs.logs`."""
        return self._loop_thread.iterate(lambda: self._client.jobs.logs(id, follow=follow))

    def forget(
        self,
        id: str,  # noqa: A002 - the field's own name
        *,
        folders: Iterable[str | PathLike[str]] = (),
        servers: bool = True,
        dry_run: bool = False,
    ) -> Forgotten:
        """Erase a job that has ended, its files, and what its server keeps; see :meth:`AsyncJobs.forget`."""
        return self._loop_thread.call(self._client.jobs.forget(id, folders=folders, servers=servers, dry_run=dry_run))

    def forget_user(
        self, user: str, *, folders: Iterable[str | PathLike[str]] = (), servers: bool = True, dry_run: bool = False
    ) -> Forgotten:
        """Erase every job of a user of your app; see :meth:`AsyncJobs.forget_user`."""
        return self._loop_thread.call(self._client.jobs.forget_user(user, folders=folders, servers=servers, dry_run=dry_run))

    def list(
        self, *, limit: int = 50, workflow: str | None = None, state: str | None = None, user: str | None = None
    ) -> list[Record]:
        """List jobs from the journal, the newest first."""
        return self._client.jobs.list(limit=limit, workflow=workflow, state=state, user=user)
